//! The tool that begins agents, as the registry has it, without a registry.

use are_core::body::{Effect, Retry};
use are_core::canonical::Args;
use are_core::error::{Code, Fault};
use are_core::label::{Confidentiality, Integrity, Label, Labels};
use are_policy::manifest::{CallLimits, Lane, Manifest, SPAWN};
use are_policy::tools::{Place, Spawn, ToolOutcome};
use serde_json::{Value, json};

use super::manifest;

/// Longer than any agent works.
const TIMEOUT_MS: u64 = 2 * 60 * 60 * 1_000;

pub(super) fn declaration() -> Manifest {
    Manifest {
        lane: Lane::Agent,
        schema: json!({ "type": "object" }),
        limits: CallLimits { timeout_ms: TIMEOUT_MS, ..CallLimits::default() },
        ..manifest(SPAWN, Effect::Create, Retry::Idempotent, true)
    }
}

pub(super) async fn run(args: &Args, place: &Place) -> ToolOutcome {
    let map = args.to_map();
    let of = |key: &str| map.get(key).cloned().unwrap_or(Value::Null);
    let read = || -> serde_json::Result<Spawn> {
        let budget = match of("budget") {
            Value::Null => are_policy::budget::Budget::default(),
            given => serde_json::from_value(given)?,
        };
        Ok(Spawn {
            agent: serde_json::from_value(of("agent"))?,
            prompt: serde_json::from_value(of("prompt"))?,
            tools: serde_json::from_value(of("tools"))?,
            budget,
        })
    };
    let spawned = match read() {
        Ok(spawn) => place.host.spawn(spawn).await,
        Err(error) => Err(Fault::new(Code::TOOL_ARGS, error.to_string(), "call it otherwise")),
    };
    match spawned {
        Ok(spawned) => {
            let done = spawned.changes.len();
            place.changes.tell(spawned.changes, done);
            let error = spawned.fault.map(|fault| json!({ "code": fault.code, "message": fault.message }));
            let value = json!({
                "session": spawned.session, "ended": spawned.ended, "answer": spawned.answer, "error": error,
            });
            ToolOutcome::Completed { value, labels: Labels::from([(String::new(), spawned.label)]), bindings: vec![] }
        }
        Err(fault) => {
            let label = Label::new(Integrity::Platform, Confidentiality::Private, SPAWN);
            ToolOutcome::Failed { fault, label }
        }
    }
}

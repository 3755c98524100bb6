//! `agent_spawn`: another agent, in a session of its own.
//!
//! The lane only reads the arguments and says what came back. What such an
//! agent may do, and that it is found again after a crash, is the engine's
//! matter, behind the port `Host`.

use are_core::BoxFuture;
use are_core::body::{Effect, Retry};
use are_core::ids::{AgentName, InvalidId};
use are_core::label::Labels;
use are_policy::agent::ToolPattern;
use are_policy::budget::Budget;
use are_policy::gate::Permit;
use are_policy::manifest::{CallLimits, Lane, Manifest, Role, SPAWN};
use are_policy::tools::{Spawn, Spawned};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::declare::{finds, intents, ours, roles, tool};
use crate::lane::{Answer, Error, Room, Runs, read};

/// Bytes of a prompt: a task with what belongs to it; the rest is in files.
const PROMPT_BYTES_MAX: usize = 32 << 10;
/// Names and patterns in one list of tools.
const TOOLS_MAX: usize = 64;
/// Milliseconds that a call waits at most: longer than the longest work of an agent, so that its own limit ends it.
const TIMEOUT_MS: u64 = 2 * 60 * 60 * 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    agent: Option<AgentName>,
    prompt: String,
    tools: Option<Vec<ToolPattern>>,
    #[serde(default)]
    budget: Budget,
}

/// Begins agents.
pub(crate) struct Spawner;

impl Runs for Spawner {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move {
            let Args { agent, prompt, tools, budget } = read(&permit.spend().args)?;
            let spawned = room.host.spawn(Spawn { agent, prompt, tools, budget }).await?;
            let done = spawned.changes.len();
            room.changes.tell(spawned.changes.clone(), done);
            Ok(answer(spawned))
        })
    }
}

fn answer(spawned: Spawned) -> Answer {
    let Spawned { session, ended, answer, fault, label, .. } = spawned;
    let mut value = json!({ "session": session, "ended": ended, "answer": answer });
    if let Some(fault) = fault {
        value["error"] = json!({ "code": fault.code.to_string(), "message": fault.message, "help": fault.help });
    }
    Answer { value, labels: Labels::from([(String::new(), label)]), bindings: Vec::new() }
}

/// The manifest.
pub(crate) fn manifest() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        lane: Lane::Agent,
        effect: Effect::Create,
        retry: Retry::Idempotent,
        args: roles(&[
            ("agent", Role::Option),
            ("prompt", Role::Content),
            ("tools", Role::Option),
            ("budget", Role::Option),
        ]),
        output_fields: ours(&["/session", "/ended"]),
        is_contained: true,
        limits: CallLimits { timeout_ms: TIMEOUT_MS, ..CallLimits::default() },
        intents: intents(
            &["agent", "agents", "subagent", "subagents", "delegate", "spawn"],
            &["代理", "子代理", "智能体", "委派", "委托"],
        ),
        ..tool(
            SPAWN,
            "Give a task to another agent, which works in the same files and answers when it is done. It sees nothing of \
             this conversation: say all it needs.",
            json!({
                "agent": {"type": "string", "minLength": 1, "maxLength": 64, "description": "its name; one like you if absent"},
                "prompt": {"type": "string", "minLength": 1, "maxLength": PROMPT_BYTES_MAX, "description": "the whole task"},
                "tools": {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1, "maxLength": 80},
                    "maxItems": TOOLS_MAX,
                    "description": "the only tools it may use, as names or patterns such as `fs_*`; yours if absent",
                },
                "budget": {
                    "type": "object",
                    "properties": budget_properties(),
                    "additionalProperties": false,
                    "description": "limits for it, of what is left to you",
                },
            }),
            &["prompt"],
            finds(
                "Let an agent find out which tests are slow",
                json!({"prompt": "Find the three slowest tests in this workspace and say why.", "tools": ["fs_*"]}),
                "answer: t_sync, t_load and t_copy, because they sleep.",
                "The slowest are t_sync, t_load and t_copy; they sleep.",
            ),
        )?
    })
}

fn budget_properties() -> Value {
    let limit = |what: &str| json!({"type": "integer", "minimum": 0, "description": what});
    json!({
        "tokens": limit("read and written by the model"),
        "calls": limit("of tools"),
        "steps": limit("calls of model and tools"),
        "seconds": limit("of work"),
        "agents": limit("that it may begin"),
    })
}

#[cfg(test)]
mod tests {
    use are_core::label::{Confidentiality, Integrity, Label};
    use are_policy::schema;

    use super::*;

    #[test]
    fn the_schema_is_enforced_and_its_example_fits() {
        let manifest = manifest().expect("a manifest");
        schema::supported(&manifest.schema).expect("enforced");
        for (args, fits) in [
            (json!({"prompt": "x"}), true),
            (manifest.example.clone().expect("one").arguments, true),
            (json!({"prompt": "x", "budget": {"tokens": 5, "seconds": 1}}), true),
            (json!({"prompt": "x", "budget": {"money": 5}}), false),
            (json!({"prompt": "x", "rights": "all"}), false),
            (json!({"prompt": ""}), false),
            (json!({"agent": "x"}), false),
        ] {
            let canonical = are_core::canonical::Args::from_value(&args).expect("canonical");
            assert_eq!(schema::validate(&manifest, &canonical).is_ok(), fits, "{args}");
        }
    }

    #[test]
    fn an_answer_bears_the_label_of_what_its_agent_had_seen() {
        let label = Label::new(Integrity::Untrusted, Confidentiality::Secret, "vault");
        let session = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("a key");
        let spawned = Spawned {
            session,
            ended: "failed",
            answer: "half".to_owned(),
            fault: Some(are_core::error::Fault::new(are_core::error::Code::DENIED, "no", "say it")),
            label: label.clone(),
            changes: Vec::new(),
        };
        let Answer { value, labels, .. } = answer(spawned);
        assert_eq!(labels, Labels::from([(String::new(), label)]));
        assert_eq!((&value["ended"], &value["error"]["message"]), (&json!("failed"), &json!("no")));
    }
}

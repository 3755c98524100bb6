//! What a script asks the host for.
//!
//! SECURITY: a script reaches the world only through [`Host::call`] with one of
//! the tools in [`REACHED`], so that each use is decided and recorded like a
//! call of the model. Nothing here decides anything.
//!
//! [`Host::call`]: are_policy::tools::Host::call

use std::sync::Arc;

use are_core::BoxFuture;
use are_core::error::{Code, Fault};
use are_core::label::{Label, worst_of};
use are_policy::tools::ToolOutcome;
use serde::Deserialize;
use serde_json::{Value, json};

use super::siblings::Siblings;
use super::urls;
use crate::lane::Room;

/// The tools behind `fs`, `spawn` and `fetch`, and whether they only look.
const REACHED: [(&str, bool); 9] = [
    ("fs_read", true),
    ("fs_list", true),
    ("fs_stat", true),
    ("fs_write", false),
    ("fs_mkdir", false),
    ("fs_delete", false),
    ("fs_move", false),
    ("process_run", false),
    ("http_request", false),
];
/// Methods of a request that only looks.
const LOOKING: [&str; 2] = ["GET", "HEAD"];

/// A request of a script: what, with which arguments.
#[derive(Debug, Deserialize)]
pub(super) struct Request(String, Value);

/// What it comes to, as the script reads it.
pub(super) struct Answered {
    pub(super) text: String,
    /// Label of what is in it.
    pub(super) label: Option<Label>,
}

impl Request {
    /// Reads one; the error is for the script.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| {
            refused(&Fault::new(Code::TOOL_ARGS, format!("the arguments are no JSON: {error}"), "pass plain values"))
        })
    }

    /// The answer to what concerns nobody outside; `None` for everything else.
    pub(super) fn answer_inside(&self, siblings: &Siblings) -> Option<String> {
        let value = match self.0.as_str() {
            "url" => serde_json::from_value(self.1.clone()).map_or(Value::Null, |request| urls::read(&request)),
            "sibling" => {
                let found = self.1.as_str().and_then(|name| siblings.find(name));
                found.map_or(Value::Null, |(name, source)| json!({"name": name, "source": source}))
            }
            _ => return None,
        };
        Some(ok(&value))
    }

    /// Makes the further call.
    pub(super) fn perform(self, room: Arc<Room>) -> BoxFuture<'static, Answered> {
        let Self(name, args) = self;
        Box::pin(async move {
            if name == "allows" {
                return allows(&room, args).await;
            }
            let Some((tool, is_looking)) = REACHED.iter().find(|(tool, _)| *tool == name) else {
                return Answered::inside(refused(&unknown(&name)));
            };
            if !(*is_looking || (*tool == "http_request" && is_looking_request(&args)))
                && let Err(fault) = room.latch.begin()
            {
                return Answered::inside(refused(&fault));
            }
            Answered::of(room.host.call(tool, args).await)
        })
    }
}

/// Whether a command would be denied. Advice: it is decided again when it is run.
async fn allows(room: &Room, args: Value) -> Answered {
    let Ok((tool, args)) = serde_json::from_value::<(String, Value)>(args) else {
        return Answered::inside(ok(&Value::Bool(false)));
    };
    if !REACHED.iter().any(|(reached, _)| *reached == tool) {
        return Answered::inside(ok(&Value::Bool(false)));
    }
    Answered::inside(ok(&Value::Bool(!room.host.would_deny(&tool, args).await)))
}

fn is_looking_request(args: &Value) -> bool {
    args.get("method").is_none_or(|method| method.as_str().is_some_and(|method| LOOKING.contains(&method)))
}

impl Answered {
    /// One that holds nothing from outside.
    pub(super) const fn inside(text: String) -> Self {
        Self { text, label: None }
    }

    fn of(outcome: ToolOutcome) -> Self {
        match outcome {
            ToolOutcome::Completed { value, labels, .. } => Self { text: ok(&value), label: worst_of(&labels) },
            ToolOutcome::Failed { fault, label } => Self { text: failed(&fault, "failed"), label: Some(label) },
            ToolOutcome::Unknown { fault, label } => Self { text: failed(&fault, "unknown"), label: Some(label) },
        }
    }
}

fn ok(value: &Value) -> String {
    json!({ "ok": value }).to_string()
}

/// A refusal before anything happened.
pub(super) fn refused(fault: &Fault) -> String {
    failed(fault, "failed")
}

fn failed(fault: &Fault, outcome: &str) -> String {
    let error = json!({"code": fault.code.to_string(), "message": fault.message, "help": fault.help});
    json!({"error": error, "outcome": outcome}).to_string()
}

/// The answer while a file is loaded.
pub(super) fn not_while_loading() -> String {
    refused(&Fault::new(
        Code::TOOL_FAILED,
        "files, commands and the network can be used by a tool only, not while its file is loaded",
        "move it into the function",
    ))
}

/// The answer to one call too many.
pub(super) fn too_many(most: usize) -> String {
    refused(&Fault::new(
        Code::TOOL_FAILED,
        format!("a tool may make at most {most} further calls"),
        "do less in one call",
    ))
}

fn unknown(name: &str) -> Fault {
    Fault::new(Code::TOOL_UNKNOWN, format!("scripts cannot reach `{name}`"), "use `fs`, `spawn` or `fetch`")
}

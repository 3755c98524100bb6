//! Memories: short texts that the account finds again in any later session.
//!
//! Transactional: nothing is changed here. A new memory goes back as a binding
//! that the engine records together with the call's outcome. It carries the
//! label of what it was made from, and a search returns that label: what a
//! stranger's page put there is a stranger's word in the next session too.

use are_core::body::{Effect, Retry};
use are_core::error::{Code, Fault};
use are_core::ids::{InvalidId, MemoryId};
use are_core::label::Labels;
use are_core::limits::{MEMORIES_MAX, MEMORIES_PAGE_MAX, MEMORY_BYTES_MAX};
use are_policy::gate::Permit;
use are_policy::manifest::{Manifest, Role};
use are_policy::tools::Binding;
use serde::Deserialize;
use serde_json::json;

use crate::declare::{does, finds, intents, ours, roles, tool};
use crate::lane::{Answer, Error, Room, read};

/// Memories that a search returns when the call does not say.
const FOUND_DEFAULT: usize = 5;
/// Bytes of a query.
const QUERY_BYTES_MAX: usize = 1_024;

/// Which of the memory tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Add,
    Search,
}

impl Tool {
    /// The tool of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "memory_add" => Self::Add,
            "memory_search" => Self::Search,
            _ => return None,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddArgs {
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchArgs {
    query: String,
    limit: Option<usize>,
}

/// Runs one call.
pub(crate) async fn run(tool: Tool, permit: Permit, room: &Room) -> Result<Answer, Error> {
    let spent = permit.spend();
    match tool {
        Tool::Add => {
            let digits = spent.key.to_string();
            let id = digits[..digits.len().min(16)].parse().map_err(|_| internal())?;
            add(read(&spent.args)?, id, room).await
        }
        Tool::Search => search(read(&spent.args)?, room).await,
    }
}

/// The id is made from the call's key, so that the same call again is the same memory.
async fn add(args: AddArgs, id: MemoryId, room: &Room) -> Result<Answer, Error> {
    if args.text.trim().is_empty() || args.text.len() > MEMORY_BYTES_MAX {
        let message = format!("a memory takes 1 to {MEMORY_BYTES_MAX} bytes of text, and this has {}", args.text.len());
        let help = "shorten it, or write it to a file and remember where it is";
        return Err(Fault::new(Code::MEMORY_LIMIT, message, help).into());
    }
    if room.memories.count().await? >= MEMORIES_MAX {
        let message = format!("there are {MEMORIES_MAX} memories already, which is the most");
        return Err(Fault::new(Code::MEMORY_LIMIT, message, "tell the user to delete some").into());
    }
    Ok(Answer {
        value: json!({"id": id, "added": true}),
        labels: Labels::new(),
        bindings: vec![Binding::Memory { id, text: args.text, label: room.label.clone() }],
    })
}

async fn search(args: SearchArgs, room: &Room) -> Result<Answer, Error> {
    let limit = args.limit.unwrap_or(FOUND_DEFAULT).clamp(1, MEMORIES_PAGE_MAX);
    let found = room.memories.search(args.query, limit).await?;
    let labels =
        found.iter().enumerate().map(|(at, memory)| (format!("/memories/{at}/text"), memory.label.clone())).collect();
    let memories: Vec<_> = found
        .into_iter()
        .map(|memory| json!({"id": memory.id, "text": memory.text, "created_at_ms": memory.created_at_ms}))
        .collect();
    Ok(Answer { value: json!({"memories": memories}), labels, bindings: Vec::new() })
}

fn internal() -> Fault {
    Fault::new(Code::INTERNAL, "a memory could not be named", "report this")
}

/// The manifests.
pub(crate) fn manifests() -> Result<Vec<Manifest>, InvalidId> {
    Ok(vec![
        Manifest {
            effect: Effect::Create,
            retry: Retry::Transactional,
            args: roles(&[("text", Role::Content)]),
            output_fields: ours(&["/id", "/added"]),
            intents: intents(&["remember", "memorize", "memorise", "note"], &["记住", "记下", "记得"]),
            is_contained: true,
            ..tool(
                "memory_add",
                "Remember a short text for later sessions.",
                json!({"text": {"type": "string", "minLength": 1, "maxLength": MEMORY_BYTES_MAX, "description": "one fact, complete in itself"}}),
                &["text"],
                does(
                    "Remember for later that deploys happen on Tuesdays",
                    json!({"text": "Deploys happen on Tuesdays"}),
                    "I will remember that.",
                ),
            )?
        },
        Manifest {
            effect: Effect::None,
            retry: Retry::Pure,
            args: roles(&[("query", Role::Selector), ("limit", Role::Option)]),
            // Shape and identifiers are the runtime's; each text has its own label.
            output_default: crate::declare::OURS,
            is_contained: true,
            ..tool(
                "memory_search",
                "Find what was remembered in earlier sessions.",
                json!({
                    "query": {"type": "string", "minLength": 1, "maxLength": QUERY_BYTES_MAX, "description": "words to look for"},
                    "limit": {"type": "integer", "minimum": 1, "maximum": MEMORIES_PAGE_MAX, "description": "5 if absent"},
                }),
                &["query"],
                finds(
                    "When do we deploy?",
                    json!({"query": "deploy day"}),
                    "Deploys happen on Tuesdays",
                    "On Tuesdays.",
                ),
            )?
        },
    ])
}

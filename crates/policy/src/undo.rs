//! The call that puts back what a turn changed in a workspace.
//!
//! It is decided, recorded and run like a tool's call, but only the user can
//! ask for it: it is in no set of tools, so no model hears of it. Its arguments
//! hold everything that it does, so that the bytes that were decided are the
//! bytes that are executed. Its declaration stands here, where both engine and
//! tools see it, and a replay finds the same one.

use std::collections::BTreeMap;

use are_core::body::{Effect, Retry};
use are_core::canonical::Args;
use are_core::change::FileChange;
use are_core::ids::{InvalidId, SessionKey, TurnNo};
use are_core::label::{Confidentiality, Integrity};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::manifest::{ArgRule, CallLimits, Lane, Manifest, OutputLabel, Role};

/// Its name, as rules know it.
pub const NAME: &str = "workspace_undo";
/// Milliseconds that it may take: it writes as many files as a whole turn did, each durably.
const TIMEOUT_MS: u64 = 120_000;
/// Bytes of its arguments as canonical JSON; a turn that changed more is not undone at once.
pub const ARGUMENTS_BYTES_MAX: usize = 1 << 20;

/// Its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arguments {
    /// The turn.
    pub turn: TurnNo,
    /// Session under which the turn's old files are kept.
    pub session: SessionKey,
    /// What the turn changed, oldest first.
    pub changes: Vec<FileChange>,
}

impl Arguments {
    /// Their canonical bytes; `None` when they are too many.
    #[must_use]
    pub fn canonical(&self) -> Option<Args> {
        let value = serde_json::to_value(self).ok()?;
        Args::from_value(&value).ok().filter(|args| args.as_str().len() <= ARGUMENTS_BYTES_MAX)
    }
}

/// Its declaration.
///
/// # Errors
/// Never; the name is a constant.
pub fn manifest() -> Result<Manifest, InvalidId> {
    let role = |name: &str, role| (name.to_owned(), ArgRule { role });
    Ok(Manifest {
        name: NAME.parse()?,
        description: "Put back what a turn changed in the workspace.".to_owned(),
        lane: Lane::Builtin,
        version: "1".to_owned(),
        schema: schema(),
        example: None,
        // What the turn made is removed.
        effect: Effect::Destructive,
        effect_by: None,
        retry: Retry::Idempotent,
        // The paths are judged one by one while it runs, because rules are about 64 objects of a call and no more.
        args: BTreeMap::from([
            role("turn", Role::Option),
            role("session", Role::Option),
            role("changes", Role::Content),
        ]),
        output_default: OutputLabel { integrity: Integrity::Platform, confidentiality: Confidentiality::Private },
        output_fields: BTreeMap::new(),
        is_contained: true,
        capabilities: None,
        limits: CallLimits { timeout_ms: TIMEOUT_MS, ..CallLimits::default() },
        intents: BTreeMap::new(),
    })
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "turn": {"type": "integer", "minimum": 1},
            "session": {"type": "string"},
            "changes": {"type": "array", "minItems": 1, "items": {"type": "object"}},
        },
        "required": ["turn", "session", "changes"],
        "additionalProperties": false,
    })
}

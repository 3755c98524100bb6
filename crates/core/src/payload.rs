//! The private half of a record: what people and tools said.
//!
//! A payload is stored beside its record under a nonce; the record holds only
//! `SHA-256(nonce ‖ bytes)`. Erasing nonce and payload together leaves the
//! chain whole and nothing to guess.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical::Args;
use crate::change::FileChange;
use crate::digest::Digest;
use crate::ids::{SessionKey, VariableName};
use crate::label::{Label, Labels};
use crate::model::{Asked, Image, Message, RawCall};

/// One piece of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Words; whose they are, the turn's `integrity` says.
    Text {
        /// The words.
        text: String,
    },
    /// A text file handed over with the prompt; always untrusted.
    File {
        /// Its name, for the model.
        name: String,
        /// Its type.
        media_type: String,
        /// Its content.
        text: String,
    },
    /// A picture handed over with the prompt; always untrusted.
    Image(Image),
    /// What a client says was said before, or since, the words beside it. Of it only messages of the user are the
    /// turn's words, and they ask for nothing; everything else is untrusted.
    Exchange {
        /// Oldest first.
        messages: Vec<Message>,
    },
}

/// A value with the labels of its leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// The value.
    pub value: Value,
    /// Labels of its leaves.
    pub labels: Labels,
}

/// The private half of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Payload {
    /// Of `session_created`.
    Created {
        /// Absolute path of the workspace.
        workspace: String,
        /// Marks untrusted text in requests; random, so that no text can contain it.
        delimiter: String,
        /// What the session of a child may do at most, and what it was begun with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rights: Option<Value>,
    },
    /// Of `turn_started` and `steered`.
    Prompt {
        /// What was said.
        content: Vec<Part>,
        /// What is asked of the turn beside that.
        #[serde(default, skip_serializing_if = "crate::model::is_default")]
        asked: Box<Asked>,
    },
    /// Of a `turn_started` that undoes another turn.
    Undo {
        /// Session in whose journal the undone turn stands: this one, or one that it was forked from.
        session: SessionKey,
        /// What that turn changed, oldest first.
        changes: Vec<FileChange>,
        /// True when whoever asked for it may approve, and so approved it by asking.
        is_approved: bool,
    },
    /// Of `model_completed`.
    Answer {
        /// Nonce of the frames, 64 hexadecimal digits.
        nonce: String,
        /// Calls exactly as the model wrote them, so that later requests repeat its bytes.
        calls: Vec<RawCall>,
        /// Variables that the calls name as `${var:x}`, as they were at that moment.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        bound: BTreeMap<VariableName, Bound>,
    },
    /// Of `compacted`.
    Summary {
        /// What the model wrote.
        text: String,
        /// The join of the labels of all that it covers.
        label: Label,
    },
    /// Of `planned`.
    Plan {
        /// What the model said, or why it said nothing.
        text: String,
    },
    /// Of `tool_requested`.
    Call {
        /// What would run; absent when the model's text was no acceptable JSON object.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        args: Option<Args>,
        /// The name as the model gave it, when it is no tool's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Of `decision`.
    Why {
        /// The reason, for people and the model.
        why: String,
        /// What the user could say or do to get it; empty when nothing.
        say: String,
        /// Where the arguments' values came from.
        origins: Vec<String>,
    },
    /// Of `approval_requested`: the exact bytes whose digest the record holds.
    Shown {
        /// Canonical JSON of session, approval, tool, tool digest, arguments, why, origins and, where one can be kept, the rule.
        shown: String,
    },
    /// Of `tool_completed`.
    Result {
        /// What the tool returned.
        value: Value,
        /// Labels of its leaves.
        labels: Labels,
        /// Nonce of the frames, when there are any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nonce: Option<String>,
        /// Files it changed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changes: Vec<FileChange>,
    },
    /// Of `tool_failed`, `tool_unknown`, `turn_failed`, `model_failed`, `compaction_failed` and `policy_refused`.
    Failure {
        /// What happened, safe for model and client.
        message: String,
        /// What to do.
        help: String,
        /// Whose words `message` is.
        label: Label,
        /// Nonce of the frames, when there are any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nonce: Option<String>,
        /// Files it changed, or may have changed, before that.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changes: Vec<FileChange>,
    },
    /// Of `child_completed`.
    Made {
        /// What the agent used, and the calls of it that count as made by whoever began it.
        made: Value,
    },
    /// Of `guide_read`.
    Guide {
        /// The text; absent when there is none any more.
        text: Option<String>,
        /// Whose words it is.
        label: Label,
    },
    /// Of `variable_set`.
    Variable {
        /// Its name.
        name: VariableName,
        /// Its value; absent when deleted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<Value>,
        /// Labels of the value's leaves.
        labels: Labels,
    },
    /// Of `artifact`.
    Artifact {
        /// A plain file name.
        name: String,
        /// Media type, as RFC 9110 writes it.
        media_type: String,
        /// Of the bytes. Not in the record, where it would outlive them and let guesses be tried out.
        digest: Digest,
        /// Where it came from.
        label: Label,
    },
    /// Of `memory_added`.
    Memory {
        /// What is remembered.
        text: String,
        /// Where it came from.
        label: Label,
    },
    /// Of `feedback`.
    Note {
        /// The user's words.
        note: String,
    },
    /// Of `access_refused`.
    Clients {
        /// Addresses it came from.
        addresses: Vec<String>,
        /// How many more there were.
        more: u64,
    },
    /// Of `turn_resumed`.
    Nonce {
        /// Nonce of the frames, 64 hexadecimal digits.
        nonce: String,
    },
}

//! The words that records are told in: effects, outcomes, answers, ranges of frames.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::Seq;

/// What a tool call does to the world, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing outside the runtime changes or hears of it.
    None,
    /// A request leaves the machine, so its address can carry data out.
    NetworkRead,
    /// Something new appears.
    Create,
    /// Something existing changes.
    Modify,
    /// Something is lost.
    Destructive,
    /// A message reaches somebody.
    Send,
    /// Somebody gains access.
    Share,
    /// Money moves.
    Financial,
    /// Credentials are used or disclosed.
    Credential,
}

/// Whether a call may be made again when its outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// No effect; run again freely.
    Pure,
    /// Run again with the same key.
    Idempotent,
    /// Never again: the outcome is `unknown`.
    AtMostOnce,
    /// The journal entry is the effect, so there is nothing in between.
    Transactional,
}

/// The gate's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It runs.
    Allow,
    /// A person must say so first.
    Ask,
    /// It does not run.
    Deny,
}

/// A person's answer to an approval request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// This call, once.
    AllowOnce,
    /// The same tool digest and argument bytes until the session ends or policy or tool changes.
    AllowSession,
    /// Whatever the rule permits that was shown; it is kept among the rules. Needs an administrator.
    AllowAlways,
    /// No.
    Deny,
}

/// A person's rating of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rating {
    /// Good.
    Up,
    /// Bad.
    Down,
}

/// Whom a variable belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One session.
    Session,
    /// All sessions of the account.
    Account,
}

/// Binds the frames that a record closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRange {
    /// First frame.
    pub first: Seq,
    /// Last frame; frames of other kinds in between are part of the range.
    pub last: Seq,
    /// [`Rolling`](crate::digest::Rolling) digest; its nonce is in the record's payload.
    pub digest: Digest,
}

/// What a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSpent {
    /// Processor time of its commands in milliseconds.
    pub cpu_ms: u64,
    /// Bytes that it printed and returned.
    pub bytes: u64,
}

/// What exactly a turn runs under; each is the digest of a stored object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// The agent's definition.
    pub agent: Digest,
    /// The rules.
    pub policy: Digest,
    /// The tool manifests.
    pub tools: Digest,
    /// The model's capabilities, the time zone and the engine's version.
    pub setting: Digest,
}

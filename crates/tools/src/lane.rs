//! What every lane is given and what it gives back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use are_core::BoxFuture;
use are_core::canonical::Args;
use are_core::error::{Code, Fault};
use are_core::label::{Label, Labels};
use are_policy::gate::Permit;
use are_policy::pauses::Pauses;
use are_policy::secrets::Secrets;
use are_policy::tools::{Binding, Changes, Environment, Host, Memories, OutputSink, Variables, Work};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::fs::Kept;

/// Where and with what a lane works; the permit says what it does.
#[derive(Clone)]
pub(crate) struct Room {
    pub(crate) workspace: PathBuf,
    pub(crate) variables: Arc<Variables>,
    pub(crate) label: Label,
    /// When the call is given up, later by its `pauses`; a lane that makes no further calls has none.
    pub(crate) deadline: Instant,
    /// When its time stands still.
    pub(crate) pauses: Pauses,
    pub(crate) latch: Arc<Latch>,
    /// Is told what files are changed.
    pub(crate) changes: Arc<Changes>,
    /// Keeps what they held; `None` where nothing is kept.
    pub(crate) kept: Option<Arc<Kept>>,
    /// Takes live output.
    pub(crate) output: OutputSink,
    /// Makes further calls.
    pub(crate) host: Arc<dyn Host>,
    /// What the account remembers.
    pub(crate) memories: Arc<dyn Memories>,
    /// Bytes of artifacts that the session can still keep.
    pub(crate) artifact_room: u64,
    /// The secrets that the call was decided with.
    pub(crate) secrets: Arc<dyn Secrets>,
    /// What the tool that makes the call gives to a process.
    pub(crate) environment: Arc<Environment>,
    /// Is told what the call works.
    pub(crate) work: Arc<Work>,
}

/// An implementation of tools.
pub(crate) trait Runs: Send + Sync {
    /// Runs one call of the tool that the permit names.
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>>;
}

/// A lane's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) value: Value,
    /// Labels that are more exact than the manifest's.
    pub(crate) labels: Labels,
    pub(crate) bindings: Vec<Binding>,
}

impl From<Value> for Answer {
    fn from(value: Value) -> Self {
        Self { value, labels: Labels::new(), bindings: Vec::new() }
    }
}

/// Why a lane has no answer.
#[derive(Debug)]
pub(crate) enum Error {
    /// Nothing happened, or what happened is known.
    Failed(Fault),
    /// The effect may or may not have happened.
    Unknown(Fault),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// Reads the canonical arguments into a lane's own type.
pub(crate) fn read<T: DeserializeOwned>(args: &Args) -> Result<T, Fault> {
    serde_json::from_str(args.as_str()).map_err(|error| {
        Fault::new(Code::TOOL_ARGS, format!("the arguments do not fit: {error}"), "call it again as its schema says")
    })
}

/// Settles who was first: the effect, or whoever gave the call up.
///
/// A lane calls [`begin`](Self::begin) right before its first change to the
/// world. A call that is given up before that is certain not to happen any
/// more, though a blocking thread may still be preparing it; one that is given
/// up later has an unknown outcome.
#[derive(Debug, Default)]
pub(crate) struct Latch(AtomicU8);

const OPEN: u8 = 0;
const BEGUN: u8 = 1;
const ABANDONED: u8 = 2;

impl Latch {
    /// Claims the right to change something; again is the same.
    pub(crate) fn begin(&self) -> Result<(), Fault> {
        match self.0.compare_exchange(OPEN, BEGUN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(BEGUN) => Ok(()),
            Err(_) => {
                Err(Fault::new(Code::TOOL_TIMEOUT, "the call was given up before it did anything", "call it again"))
            }
        }
    }

    /// Gives the call up; true when nothing had begun, and then nothing will.
    pub(crate) fn abandon(&self) -> bool {
        self.0.compare_exchange(OPEN, ABANDONED, Ordering::AcqRel, Ordering::Acquire) != Err(BEGUN)
    }

    /// What a call that is given up with this fault came to: failed when its effect had not begun and now never
    /// will, else unknown.
    pub(crate) fn given_up(&self, mut fault: Fault) -> Error {
        if self.abandon() {
            return Error::Failed(fault);
        }
        fault.code = Code::TOOL_OUTCOME_UNKNOWN;
        fault.retryable = false;
        fault.help = "it may or may not have happened: find out before calling it again".to_owned();
        Error::Unknown(fault)
    }

    /// True when nobody waits for the call.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.load(Ordering::Acquire) == ABANDONED
    }
}

/// Abandons the latch when the call's future is dropped, so that a cancelled
/// call whose effect had not begun never has one.
pub(crate) struct AbandonOnDrop(pub(crate) Arc<Latch>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

pub(crate) mod bare;
#[cfg(test)]
mod tests;

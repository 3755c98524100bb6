//! The port to the tools: what there is, and running one with a permit.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use are_core::BoxFuture;
use are_core::body::Scope;
use are_core::error::Fault;
use are_core::ids::VariableName;
use are_core::label::{Label, Labels};
use are_core::payload::Bound;
use serde_json::Value;

use crate::gate::Permit;
use crate::manifest::ToolSet;

/// The variables of a session and its account at the start of a call.
pub type Variables = BTreeMap<(Scope, VariableName), Bound>;

/// A piece of live output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// `stdout`, `stderr` or `log`.
    pub stream: &'static str,
    /// The piece; whole characters.
    pub text: String,
}

/// Where and with what a call runs. The permit says what.
pub struct Place {
    /// Root of the session's files.
    pub workspace: PathBuf,
    /// Variables.
    pub variables: Arc<Variables>,
    /// Worst label among the arguments: what the call writes carries it.
    pub label: Label,
    /// Milliseconds until the call is given up.
    pub timeout_ms: u64,
    /// Takes live output; a full channel makes the tool wait.
    pub output: Box<dyn Fn(Output) -> BoxFuture<'static, ()> + Send + Sync>,
}

/// A variable that a transactional tool sets; the engine records it together with the outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// Whose.
    pub scope: Scope,
    /// Name.
    pub name: VariableName,
    /// New value; `None` deletes.
    pub value: Option<Bound>,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolOutcome {
    /// It answered.
    Completed {
        /// The answer.
        value: Value,
        /// Labels of its leaves.
        labels: Labels,
        /// Variables it sets.
        bindings: Vec<Binding>,
    },
    /// It failed, and nothing happened or what happened is known.
    Failed {
        /// Code and a message the model can act on.
        fault: Fault,
        /// Whose words the message is.
        label: Label,
    },
    /// It may or may not have happened.
    Unknown {
        /// What is known.
        fault: Fault,
        /// Whose words the message is.
        label: Label,
    },
}

/// The registry and its lanes.
pub trait Tools: Send + Sync + 'static {
    /// The tools served now.
    fn snapshot(&self) -> Arc<ToolSet>;

    /// Runs one call. Dropping the future stops it; what had happened by then is unknown
    /// unless the tool is pure.
    fn run(&self, permit: Permit, place: Place) -> BoxFuture<'_, ToolOutcome>;
}

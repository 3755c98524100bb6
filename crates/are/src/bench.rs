//! Figures about this build on this machine, each beside what it is to be
//! judged by. Timing never decides a test; these are only printed.
//!
//! `are bench` measures in this process: the disk, the store, the decision.
//! A [`Case`] measures a running server through its public door, found as every
//! verb finds it, or starts servers of its own. `scripts/bench.sh` runs all of
//! them against a provider without delay.

pub mod adaptive;
mod alone;
mod audit;
pub mod calls;
mod fairness;
pub mod firewall;
pub mod flow;
mod idle;
mod inside;
mod kernel;
mod local;
mod process;
mod provider;
mod sample;
mod scale;
mod served;
mod soak;
mod tools;
mod wire;

use std::path::Path;

use are_core::error::{Code, Fault};
use clap::ValueEnum;
use serde::Serialize;

pub use inside::measure as inside;
pub use kernel::{Kernel, run as kernel};
pub use served::Target;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: &'static str,
    /// The figure, in `unit`.
    pub value: f64,
    /// Its unit: `us`, `ms`, `MiB`, `KiB`, `bytes`, `1/s` or what is counted.
    pub unit: &'static str,
    /// Measured values behind it.
    pub samples: usize,
    /// Ratio to what was measured beside it, and to what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<(f64, &'static str)>,
}

impl Figure {
    fn new(name: &'static str, value: f64, unit: &'static str, samples: usize) -> Self {
        Self { name, value, unit, samples, ratio: None }
    }

    fn beside(mut self, other: f64, what: &'static str) -> Self {
        self.ratio = (other > 0.0).then(|| (self.value / other, what));
        self
    }
}

/// What is measured beside disk, store and decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// Short answers: first token, processor time, memory, turns a second
    Turns,
    /// Long answers: tokens a second, bytes on the wire
    Tokens,
    /// One tool call and an answer: the round trip
    Tool,
    /// Ten thousand sockets that say nothing: memory of each
    Idle,
    /// Servers started in `--dir`: time to be ready, memory at rest
    Start,
    /// A server killed and started again in `--dir` over 1,000 sessions
    Recovery,
    /// 100,000 records in `--dir`: growing the tree, verifying, proving
    Audit,
    /// Servers started in `--dir` with and without auditing: turns a second
    AuditCost,
    /// A server started in `--dir`: what 99 quiet accounts notice of a noisy one
    Fairness,
    /// Servers started in `--dir`: many clients at once, and all of them coming back
    Scale,
    /// A server started in `--dir` under a mixed load for `--minutes`: does memory rise?
    Soak,
    /// Calls of tools without the gate, compiled code kept in `--dir`
    Tools,
    /// A component of `bench/kernels`, run once or hot, compiled code kept in `--dir`
    Kernel,
    /// The local model beside its library called directly
    Local,
    /// A local model on prompts that each ask for one call, the project's own or those of `--data`
    Calls,
    /// The prompt firewall on the labelled texts of `--data`
    Firewall,
    /// The tasks of `--data` by fixed strategies and the adaptive one
    Adaptive,
}

impl Case {
    /// True when it measures a server that runs already.
    #[must_use]
    pub const fn is_of_a_running_server(self) -> bool {
        matches!(self, Self::Turns | Self::Tokens | Self::Tool | Self::Idle)
    }
}

/// Measures a server that runs.
///
/// # Errors
/// The server refuses or is lost, or its provider does not answer as the case needs it.
pub async fn served(case: Case, target: &Target<'_>) -> Result<Vec<Figure>, Fault> {
    match case {
        Case::Turns => served::turns(target).await,
        Case::Tokens => served::tokens(target).await,
        Case::Tool => served::tool(target).await,
        Case::Idle => served::idle(target).await,
        Case::Start
        | Case::Recovery
        | Case::Audit
        | Case::AuditCost
        | Case::Fairness
        | Case::Scale
        | Case::Soak
        | Case::Tools
        | Case::Kernel
        | Case::Local
        | Case::Calls
        | Case::Firewall
        | Case::Adaptive => Ok(Vec::new()),
    }
}

/// Measures what needs a place to write: servers started in `dir` with this process's environment, or lanes; the one case
/// that takes as long as it is told to for so many minutes.
///
/// # Errors
/// There is no `dir`, or a server does not start or is lost.
pub async fn started(case: Case, dir: Option<&Path>, minutes: u32) -> Result<Vec<Figure>, Fault> {
    let dir = dir.ok_or_else(no_dir)?;
    match case {
        Case::Start => alone::start(dir).await,
        Case::Recovery => alone::recovery(dir).await,
        Case::Audit => audit::measure(dir).await,
        Case::AuditCost => audit::cost(dir).await,
        Case::Fairness => fairness::measure(dir).await,
        Case::Scale => scale::measure(dir).await,
        Case::Soak => soak::measure(dir, minutes).await,
        Case::Tools => tools::measure(dir).await,
        Case::Turns
        | Case::Tokens
        | Case::Tool
        | Case::Idle
        | Case::Kernel
        | Case::Local
        | Case::Calls
        | Case::Firewall
        | Case::Adaptive => Ok(Vec::new()),
    }
}

/// A case that starts servers needs a place for them.
#[must_use]
pub fn no_dir() -> Fault {
    Fault::new(Code::DATA_DIR_UNUSABLE, "the servers have no place to write", "name an empty one with `--dir DIR`")
}

/// Measures the local model `wish` of `models_dir`.
///
/// # Errors
/// The model is missing or cannot be computed with.
pub async fn local(models_dir: &Path, wish: &str) -> Result<Vec<Figure>, Fault> {
    local::measure(models_dir, wish).await
}

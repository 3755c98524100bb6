//! Figures about this build on this machine, each beside what it is to be
//! judged by. Timing never decides a test; these are only printed.
//!
//! `are bench` measures in this process: the disk, the store, the decision.
//! With a case it measures a running server through its public door, found as
//! every verb finds it; `scripts/bench.sh` starts one against a provider
//! without delay and runs all cases.

mod inside;
mod sample;
mod served;

use serde::Serialize;

pub use inside::measure as inside;
pub use served::{Case, measure as served};

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: &'static str,
    /// The figure.
    pub value: f64,
    /// Its unit.
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

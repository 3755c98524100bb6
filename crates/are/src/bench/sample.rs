//! Percentiles of measured durations.

use std::time::Duration;

/// Measured durations, sorted.
pub(super) struct Sample(Vec<f64>);

impl Sample {
    pub(super) fn new(durations: Vec<Duration>) -> Self {
        let mut micros: Vec<f64> = durations.into_iter().map(|duration| duration.as_secs_f64() * 1e6).collect();
        micros.sort_by(f64::total_cmp);
        Self(micros)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Microseconds below which `share` of the values lie (nearest rank).
    pub(super) fn percentile(&self, share: f64) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }
}

//! How many threads the engine uses.
//!
//! Reading a prompt is bound by arithmetic and gains from every core that the
//! process may use. Writing is bound by memory, and its threads wait for each
//! other by spinning: a thread that is pushed off its core stalls all others.
//! So one core is left to the rest of the system while writing.
//!
//! That rule is where a trial begins: some tokens are written with other numbers
//! too, once for a model on a machine, and a number that is clearly faster holds.
//!
//! The quota is the smaller of the scheduler's affinity and the cgroup's limit
//! (v2 or v1), which the standard library reads.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

/// More threads than this only wait for memory.
const WRITING_MAX: usize = 8;
/// More threads than this gain nothing with models of this size.
const READING_MAX: usize = 16;

/// Threads for the two kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads {
    /// While a prompt is read.
    pub reading: usize,
    /// While an answer is written.
    pub writing: usize,
}

impl Threads {
    /// What this process may use; `siblings` is the kernel's list of hardware
    /// threads that share a core, empty where unknown.
    #[must_use]
    pub fn detect(siblings: &[String]) -> Self {
        let quota = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::choose(quota, siblings)
    }

    /// The same number for both, as the user says.
    #[must_use]
    pub const fn fixed(count: usize) -> Self {
        let count = if count == 0 { 1 } else { count };
        Self { reading: count, writing: count }
    }

    /// Numbers of writing threads that may be faster than this one, the least first: as many as there are cores where
    /// nothing else runs, and half, where the cores share one way to the memory.
    #[must_use]
    pub fn rivals(self) -> Vec<usize> {
        let all = self.reading.min(WRITING_MAX);
        let rivals = BTreeSet::from([self.writing.div_ceil(2), all]);
        rivals.into_iter().filter(|count| *count != self.writing).collect()
    }

    fn choose(quota: usize, siblings: &[String]) -> Self {
        let cores = siblings.iter().collect::<BTreeSet<_>>().len();
        let usable = if cores == 0 { quota } else { quota.min(cores) };
        Self { reading: usable.clamp(1, READING_MAX), writing: usable.saturating_sub(1).clamp(1, WRITING_MAX) }
    }
}

#[cfg(test)]
mod tests;

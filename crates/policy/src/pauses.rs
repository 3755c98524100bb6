//! The time that a running call stands still, because a person is asked about a
//! call that it makes.
//!
//! The engine begins and ends pauses; whoever times the call, the engine, the
//! registry, a lane with an epoch of its own, reads them. No clock of its own:
//! time comes from the port.

use std::sync::{Arc, Mutex, PoisonError};

use are_core::clock::Clock;

/// The pauses of one call. Clones share them.
#[derive(Clone)]
pub struct Pauses {
    clock: Arc<dyn Clock>,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    /// When the running pause began.
    since_ms: Option<u64>,
    /// All that are over.
    total_ms: u64,
}

impl Pauses {
    /// None so far.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, told: Arc::default() }
    }

    /// The call stands still from now on; again is the same.
    pub fn begin(&self) {
        let now_ms = self.clock.now_ms();
        self.told().since_ms.get_or_insert(now_ms);
    }

    /// It goes on; again is the same.
    pub fn end(&self) {
        let now_ms = self.clock.now_ms();
        let mut told = self.told();
        if let Some(since_ms) = told.since_ms.take() {
            told.total_ms += now_ms.saturating_sub(since_ms);
        }
    }

    /// True while it stands still.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.told().since_ms.is_some()
    }

    /// Milliseconds that it has stood still so far, a running pause included: a deadline is so much later.
    #[must_use]
    pub fn total_ms(&self) -> u64 {
        let now_ms = self.clock.now_ms();
        let told = self.told();
        told.total_ms + told.since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms))
    }

    /// Resolves when the call has run for `ms` milliseconds beside its pauses, counted from the first poll.
    pub async fn outlast(&self, ms: u64) {
        let mut left_ms = ms;
        while left_ms > 0 {
            let paused_ms = self.total_ms();
            self.clock.sleep(left_ms).await;
            // Clipped each time, so that a clock that jumps in a pause delays the end once and not for ever.
            left_ms = self.total_ms().saturating_sub(paused_ms).min(left_ms);
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A clock that stands still until told otherwise, and seeded chance.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use are_core::BoxFuture;
use are_core::clock::Clock;
use are_core::digest::{Digest, Nonce};
use tokio::sync::oneshot;

/// First instant of every simulation, milliseconds since 1970.
pub const START_MS: u64 = 1_790_000_000_000;

#[derive(Default)]
struct Inside {
    now_ms: u64,
    drawn: u64,
    sleepers: BTreeMap<(u64, u64), oneshot::Sender<()>>,
    slept: u64,
}

/// A simulated clock; clones share the time.
#[derive(Clone)]
pub struct SimClock {
    seed: u64,
    inside: Arc<Mutex<Inside>>,
}

impl SimClock {
    /// Starts at [`START_MS`]; the same seed draws the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, inside: Arc::new(Mutex::new(Inside { now_ms: START_MS, ..Inside::default() })) }
    }

    /// Lets time pass and wakes who slept until then.
    pub fn advance(&self, ms: u64) {
        let mut inside = self.inside();
        inside.now_ms += ms;
        let first_later = (inside.now_ms + 1, 0);
        let later = inside.sleepers.split_off(&first_later);
        let due = std::mem::replace(&mut inside.sleepers, later);
        drop(inside);
        for (_, sleeper) in due {
            // A sleeper that left does not care.
            let _woken = sleeper.send(());
        }
    }

    fn inside(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        self.inside().now_ms
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        let (tx, rx) = oneshot::channel();
        let mut inside = self.inside();
        inside.slept += 1;
        let key = (inside.now_ms.saturating_add(ms), inside.slept);
        inside.sleepers.insert(key, tx);
        Box::pin(async move {
            if rx.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn random(&self) -> Nonce {
        let mut inside = self.inside();
        inside.drawn += 1;
        Digest::of(&[&self.seed.to_be_bytes(), &inside.drawn.to_be_bytes()]).0
    }
}

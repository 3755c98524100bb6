//! A clock that stands still until told otherwise, and seeded chance.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use are_core::BoxFuture;
use are_core::clock::Clock;
use are_core::digest::{Digest, Nonce};
use tokio::sync::{oneshot, watch};

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
    /// How often somebody went to sleep.
    slept: Arc<watch::Sender<u64>>,
}

impl SimClock {
    /// Starts at [`START_MS`]; the same seed draws the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let inside = Inside { now_ms: START_MS, ..Inside::default() };
        Self { seed, inside: Arc::new(Mutex::new(inside)), slept: Arc::default() }
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

    /// Lets time pass until `at_ms`, in one step.
    ///
    /// # Panics
    /// When that time is over: nothing would be shown by it.
    pub fn advance_to(&self, at_ms: u64) {
        let now_ms = self.now_ms();
        assert!(at_ms >= now_ms, "it is {now_ms} already, {at_ms} is over");
        self.advance(at_ms - now_ms);
    }

    /// Resolves when somebody sleeps until exactly `at_ms`: whoever does has looked at the clock and decided to wait.
    pub async fn is_slept_until(&self, at_ms: u64) {
        self.wait_for_sleeper(|until| until == at_ms).await;
    }

    /// Resolves when somebody sleeps until a time after `at_ms`.
    pub async fn is_slept_beyond(&self, at_ms: u64) {
        self.wait_for_sleeper(|until| until > at_ms).await;
    }

    async fn wait_for_sleeper(&self, is_meant: impl Fn(u64) -> bool) {
        let mut slept = self.slept.subscribe();
        loop {
            slept.mark_unchanged();
            // Who has left sleeps no longer.
            let is_there = self.inside().sleepers.iter().any(|((until, _), tx)| is_meant(*until) && !tx.is_closed());
            if is_there {
                return;
            }
            if slept.changed().await.is_err() {
                // The sender is `self`, so this is not reached.
                std::future::pending::<()>().await;
            }
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
        drop(inside);
        self.slept.send_modify(|slept| *slept += 1);
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

//! How many calls an account may begin in a second while the process is late.
//!
//! A process that has more to do than its processors can gets to everything late,
//! and does not say who it is that brings so much. How late is felt by a task that
//! stands back behind all that is ready to run. While it is late, the pace that each
//! account is held to falls by a part each time, from what the busiest one does;
//! while it is not, the pace rises again by less, as rates of senders do where a
//! network is full. Accounts that begin less notice nothing.

use tokio::time::{Duration, Instant};

/// How often is looked how late it is.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// Looks before the pace changes.
const LOOKS: u32 = 5;
/// Later than this on average is too late, and earlier than the other one is well. A turn waits so some ten times.
const LATE: Duration = Duration::from_micros(150);
const WELL: Duration = Duration::from_micros(80);
/// What the pace is multiplied by when it is late, and when it is well.
const SLOWER: f64 = 0.7;
const FASTER: f64 = 1.08;
/// Calls a second that every account may begin: more than agents do that wait for a model to think.
const SLOWEST: f64 = 50.0;
/// Calls a second beyond which nobody is held back.
const FASTEST: f64 = 20_000.0;
/// How much of its allowance an account can save up.
const SAVED: Duration = Duration::from_millis(10);

/// The pace of all.
#[derive(Debug, Default)]
pub(super) struct Pace {
    per_second: Option<f64>,
    late: Duration,
    looks: u32,
}

impl Pace {
    /// Calls a second that an account may begin; any number where there is none.
    pub(super) const fn per_second(&self) -> Option<f64> {
        self.per_second
    }

    /// Takes in how late it was; true when it is time for the pace to [`turn`](Self::turn).
    pub(super) fn felt(&mut self, late: Duration) -> bool {
        self.late += late;
        self.looks += 1;
        self.looks >= LOOKS
    }

    /// Has the pace follow what was felt, by what each account began since the last time.
    pub(super) fn turn<'a>(&mut self, all: impl Iterator<Item = &'a mut Allowance>) {
        let late = self.late / self.looks.max(1);
        let seconds = (TICK * self.looks + self.late).as_secs_f64();
        (self.late, self.looks) = (Duration::ZERO, 0);
        let most = all.map(|one| std::mem::take(&mut one.begun)).max().unwrap_or(0);
        tracing::debug!(?late, most, pace = ?self.per_second, "how late the process is");
        if late > LATE {
            let busiest = f64::from(most) / seconds.max(f64::MIN_POSITIVE);
            let now = self.per_second.map_or(busiest, |pace| pace.min(busiest.max(SLOWEST)));
            self.per_second = Some((now * SLOWER).max(SLOWEST));
        } else if late < WELL {
            self.per_second = self.per_second.map(|pace| pace * FASTER).filter(|pace| *pace < FASTEST);
        }
    }
}

/// What one account may begin.
#[derive(Debug)]
pub(super) struct Allowance {
    calls: f64,
    filled: Instant,
    begun: u32,
}

impl Allowance {
    pub(super) const fn new(now: Instant) -> Self {
        Self { calls: 1.0, filled: now, begun: 0 }
    }

    /// Takes one call from it, if there is one at that pace.
    pub(super) fn take(&mut self, pace: Option<f64>, now: Instant) -> bool {
        if let Some(pace) = pace {
            let since = now.saturating_duration_since(self.filled).as_secs_f64();
            let most = (pace * SAVED.as_secs_f64()).max(1.0);
            self.calls = (self.calls + since * pace).min(most);
            self.filled = now;
            if self.calls < 1.0 {
                return false;
            }
            self.calls -= 1.0;
        }
        self.begun += 1;
        true
    }
}

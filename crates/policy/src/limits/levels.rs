//! How much of a list of limits is used.

use are_core::spent::Spent;

use super::bucket::Bucket;
use super::rule::{Limit, Per};

/// The levels of one holder: an account, an account's effect, or a provider.
#[derive(Debug, Clone)]
pub struct Levels(Vec<(Limit, Level)>);

#[derive(Debug, Clone, Copy)]
enum Level {
    Bucket(Bucket),
    /// Beginning of the latest window, and the sum in it.
    Window(u64, i64),
}

/// A limit that leaves no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossed {
    /// Which.
    pub limit: Limit,
    /// What was used and reserved.
    pub used: u64,
    /// What was wanted.
    pub wanted: u64,
    /// Milliseconds until there is room; `None` when waiting does not help.
    pub retry_after_ms: Option<u64>,
}

/// How one limit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub limit: Limit,
    /// What is used and reserved.
    pub used: u64,
    /// When its window ends, milliseconds since 1970; absent for a rate.
    pub resets_at_ms: Option<u64>,
}

impl Levels {
    /// Of limits of which nothing is used.
    #[must_use]
    pub fn new(limits: &[Limit], now_ms: u64) -> Self {
        let level = |limit: &Limit| match limit.per.fill_ms() {
            Some(fill_ms) => Level::Bucket(Bucket::full(limit.max, fill_ms, now_ms)),
            None => Level::Window(0, 0),
        };
        Self(limits.iter().map(|limit| (*limit, level(limit))).collect())
    }

    /// The earliest time from which what was used matters at `now_ms`.
    #[must_use]
    pub fn since_ms(limits: &[Limit], now_ms: u64) -> u64 {
        // A bucket may have been emptied in the hour before.
        let rates = Per::Hour.window(now_ms.saturating_sub(3_600_000)).0;
        limits
            .iter()
            .filter(|limit| limit.per.fill_ms().is_none())
            .map(|limit| limit.per.window(now_ms).0)
            .fold(rates, u64::min)
    }

    /// Takes in what was used, or what settles it, at `at_ms`.
    pub fn add(&mut self, spent: &Spent, at_ms: u64, now_ms: u64) {
        for (limit, level) in &mut self.0 {
            let amount = limit.quantity.of(spent);
            match (level, limit.per.fill_ms()) {
                (Level::Bucket(bucket), fill_ms) => bucket.take((limit.max, fill_ms.unwrap_or(1)), amount, now_ms),
                (Level::Window(begins, sum), _) => count(begins, sum, limit.per.window(at_ms).0, amount),
            }
        }
    }

    /// Takes in an hour's sum of an earlier process, last added to at `at_ms`. When within the hour it was used is not
    /// known: for a rate all of it counts as used at that time, so that a restart gives nothing back.
    pub fn recall(&mut self, spent: &Spent, at_ms: u64, now_ms: u64) {
        for (limit, level) in &mut self.0 {
            let amount = limit.quantity.of(spent);
            match (level, limit.per.fill_ms()) {
                (Level::Bucket(bucket), fill_ms) => {
                    bucket.recall((limit.max, fill_ms.unwrap_or(1)), u64::try_from(amount).unwrap_or(0), at_ms, now_ms);
                }
                (Level::Window(begins, sum), _) => count(begins, sum, limit.per.window(at_ms).0, amount),
            }
        }
    }

    /// Whether `want` fits now.
    ///
    /// # Errors
    /// The limit that leaves no room; where several do, the one that leaves none for the longest.
    pub fn check(&self, want: &Spent, now_ms: u64) -> Result<(), Crossed> {
        let crossed = self.0.iter().filter_map(|(limit, level)| crossed(limit, level, want, now_ms));
        let longest = crossed.max_by_key(|crossed| crossed.retry_after_ms.unwrap_or(u64::MAX));
        longest.map_or(Ok(()), Err)
    }

    /// How each stands.
    #[must_use]
    pub fn standing(&self, now_ms: u64) -> Vec<Standing> {
        let standing = |(limit, level): &(Limit, Level)| Standing {
            limit: *limit,
            used: used(limit, level, now_ms),
            resets_at_ms: limit.per.fill_ms().is_none().then(|| limit.per.window(now_ms).1),
        };
        self.0.iter().map(standing).collect()
    }
}

/// Only the latest window counts, in whatever order its parts arrive.
fn count(begins: &mut u64, sum: &mut i64, of: u64, amount: i64) {
    if of > *begins {
        (*begins, *sum) = (of, amount);
    } else if of == *begins {
        *sum = sum.saturating_add(amount);
    }
}

fn used(limit: &Limit, level: &Level, now_ms: u64) -> u64 {
    match level {
        Level::Bucket(bucket) => limit.per.fill_ms().map_or(0, |fill_ms| bucket.used(limit.max, fill_ms, now_ms)),
        // A window of the future, after the clock was set back, stays in force.
        Level::Window(begins, sum) if *begins >= limit.per.window(now_ms).0 => u64::try_from(*sum).unwrap_or(0),
        Level::Window(..) => 0,
    }
}

fn crossed(limit: &Limit, level: &Level, want: &Spent, now_ms: u64) -> Option<Crossed> {
    let is_known_after = limit.quantity.is_known_after();
    // What is known only afterwards concerns tool calls; anything else whatever uses some of it.
    let wanted = match u64::try_from(limit.quantity.of(want)).unwrap_or(0) {
        _ if is_known_after => u64::from(want.calls > 0),
        wanted => wanted,
    };
    if wanted == 0 {
        return None;
    }
    let used = used(limit, level, now_ms);
    let retry_after_ms = match level {
        Level::Bucket(bucket) => match bucket.wait_ms((limit.max, limit.per.fill_ms().unwrap_or(1)), wanted, now_ms) {
            Some(0) => return None,
            other => other,
        },
        Level::Window(begins, _) => {
            if used.saturating_add(wanted) <= limit.max {
                return None;
            }
            let ends = limit.per.window(now_ms.max(*begins)).1;
            (wanted <= limit.max).then(|| ends.saturating_sub(now_ms).max(1))
        }
    };
    Some(Crossed { limit: *limit, used, wanted: if is_known_after { 0 } else { wanted }, retry_after_ms })
}

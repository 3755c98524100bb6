//! A token bucket in integers: it holds so much, and fills up over so long.

/// What is left for use now, and since when.
///
/// Counted in units times the length of the fill, so that no fraction of a unit
/// is ever lost or gained. It goes below zero when settling takes more than was
/// reserved; what follows then waits longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    left: i128,
    at_ms: u64,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn full(max: u64, fill_ms: u64, now_ms: u64) -> Self {
        Self { left: i128::from(max) * i128::from(fill_ms), at_ms: now_ms }
    }

    /// Lets it fill up to `now_ms`; a time before the last one changes nothing.
    fn fill(&mut self, max: u64, fill_ms: u64, now_ms: u64) {
        let elapsed = now_ms.saturating_sub(self.at_ms);
        let full = i128::from(max) * i128::from(fill_ms);
        // Beyond one fill it is full, or as full as what it owes lets it be.
        let gained = i128::from(elapsed).saturating_mul(i128::from(max));
        self.left = self.left.saturating_add(gained).min(full);
        self.at_ms = self.at_ms.max(now_ms);
    }

    /// Units that are used at `now_ms`, rounded up.
    #[must_use]
    pub fn used(mut self, max: u64, fill_ms: u64, now_ms: u64) -> u64 {
        self.fill(max, fill_ms, now_ms);
        let used = i128::from(max) * i128::from(fill_ms) - self.left;
        let fill = i128::from(fill_ms.max(1));
        u64::try_from((used + fill - 1).div_euclid(fill)).unwrap_or(0)
    }

    /// Milliseconds until `amount` fits; 0 when it does now, `None` when it never will.
    #[must_use]
    pub fn wait_ms(mut self, (max, fill_ms): (u64, u64), amount: u64, now_ms: u64) -> Option<u64> {
        self.fill(max, fill_ms, now_ms);
        if amount > max {
            return None;
        }
        let missing = i128::from(amount) * i128::from(fill_ms) - self.left;
        if missing <= 0 {
            return Some(0);
        }
        let gain = i128::from(max.max(1));
        Some(u64::try_from((missing + gain - 1) / gain).unwrap_or(u64::MAX))
    }

    /// Takes `amount`, or puts it back when it is negative, never beyond full.
    pub fn take(&mut self, (max, fill_ms): (u64, u64), amount: i64, now_ms: u64) {
        self.fill(max, fill_ms, now_ms);
        let full = i128::from(max) * i128::from(fill_ms);
        self.left = self.left.saturating_sub(i128::from(amount) * i128::from(fill_ms)).min(full);
    }

    /// Takes what was used at `at_ms` at the latest, as far as it has not filled up again since.
    pub fn recall(&mut self, (max, fill_ms): (u64, u64), amount: u64, at_ms: u64, now_ms: u64) {
        let at_ms = at_ms.min(now_ms);
        let mut then = Self::full(max, fill_ms, at_ms);
        then.take((max, fill_ms), i64::try_from(amount.min(max)).unwrap_or(i64::MAX), at_ms);
        let missing = then.used(max, fill_ms, now_ms);
        self.take((max, fill_ms), i64::try_from(missing).unwrap_or(i64::MAX), now_ms);
        self.left = self.left.max(0);
    }
}

//! One limit: so much of something in a time.

use std::fmt;
use std::str::FromStr;

use are_core::spent::Spent;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// Calls of models.
    Requests,
    /// Tokens that they read and write.
    Tokens,
    /// What these cost, in millionths.
    Money,
    /// Calls of tools.
    Calls,
    /// Processor time of commands, in milliseconds.
    Cpu,
    /// Bytes that calls print and return.
    Bytes,
}

impl Quantity {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Requests, Self::Tokens, Self::Money, Self::Calls, Self::Cpu, Self::Bytes];

    /// As configuration has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Money => "money",
            Self::Calls => "calls",
            Self::Cpu => "cpu_seconds",
            Self::Bytes => "bytes",
        }
    }

    /// How much of it `spent` is.
    #[must_use]
    pub const fn of(self, spent: &Spent) -> i64 {
        match self {
            Self::Requests => spent.requests,
            Self::Tokens => spent.tokens,
            Self::Money => spent.cost,
            Self::Calls => spent.calls,
            Self::Cpu => spent.cpu_ms,
            Self::Bytes => spent.bytes,
        }
    }

    /// True for what nobody knows before a call: it may begin while anything is left, and is counted when it ends.
    #[must_use]
    pub const fn is_known_after(self) -> bool {
        matches!(self, Self::Cpu | Self::Bytes)
    }
}

/// In which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Per {
    /// A bucket that fills up in a second.
    Second,
    /// One that fills up in a minute.
    Minute,
    /// The hour of the clock.
    Hour,
    /// The day, in UTC.
    Day,
    /// The month, in UTC.
    Month,
}

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;
/// Milliseconds of a day.
const DAY_MS: u64 = 24 * HOUR_MS;

impl Per {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Month];

    /// As configuration has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// Milliseconds in which a bucket fills up; `None` for a window.
    #[must_use]
    pub const fn fill_ms(self) -> Option<u64> {
        match self {
            Self::Second => Some(1_000),
            Self::Minute => Some(60_000),
            Self::Hour | Self::Day | Self::Month => None,
        }
    }

    /// Beginning and end of the window that holds `at_ms`, in milliseconds since 1970.
    #[must_use]
    pub fn window(self, at_ms: u64) -> (u64, u64) {
        match self {
            Self::Second | Self::Minute => (at_ms, at_ms),
            Self::Hour => (at_ms / HOUR_MS * HOUR_MS, (at_ms / HOUR_MS + 1) * HOUR_MS),
            Self::Day => (at_ms / DAY_MS * DAY_MS, (at_ms / DAY_MS + 1) * DAY_MS),
            Self::Month => {
                let (year, month) = month_of(at_ms / DAY_MS);
                let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                (days_to(year, month) * DAY_MS, days_to(next.0, next.1) * DAY_MS)
            }
        }
    }
}

/// Year and month of a day since 1970-01-01.
// SOURCE: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
const fn month_of(day: u64) -> (u64, u64) {
    let day = day + 719_468;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month)
}

/// Days from 1970-01-01 to the first of a month.
// SOURCE: as above, `days_from_civil`.
const fn days_to(year: u64, month: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let of_era = year % 400;
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Of what.
    pub quantity: Quantity,
    /// In which time.
    pub per: Per,
    /// How much; money in millionths, processor time in milliseconds.
    pub max: u64,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_per_{}", self.quantity.name(), self.per.name())
    }
}

/// The words of a limit's key, without its amount.
impl FromStr for Limit {
    type Err = ();

    fn from_str(key: &str) -> Result<Self, ()> {
        let (quantity, per) = key.split_once("_per_").ok_or(())?;
        let quantity = Quantity::ALL.into_iter().find(|one| one.name() == quantity).ok_or(())?;
        let per = Per::ALL.into_iter().find(|one| one.name() == per).ok_or(())?;
        Ok(Self { quantity, per, max: 0 })
    }
}

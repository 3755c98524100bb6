//! Limits that span sessions: how much an account, an effect or a provider may
//! use in a time.
//!
//! Rates (per second, per minute) are [token buckets](bucket), budgets (per hour,
//! day, month) are sums over a window of the calendar in UTC. Both are reserved
//! before a call and settled after it. Pure: time is passed in, [`Levels`] is a
//! fold over what was [used](are_core::spent::Spent), and the order in which the
//! parts of it arrive changes no window. Limits of one session are the
//! [budget](crate::budget) of its agent.

mod bucket;
mod levels;
mod meter;
mod rule;

pub use bucket::Bucket;
pub use levels::{Crossed, Levels, Standing};
pub use meter::{Meter, Used, model_subject, reserve_call, reserve_model};
pub use rule::{Limit, Per, Quantity};

use std::collections::BTreeMap;

use are_core::body::Effect;

use crate::budget::Budget;

/// Times that the same call may fail the same way before the model is told that it is going round in circles.
pub const LOOP_AFTER: u32 = 3;
/// Seconds that a turn waits for room in all.
pub const WAIT_SECONDS: u64 = 30;
/// Calls of models that run at once, of all accounts together.
pub const PARALLEL_REQUESTS: usize = 1_024;
/// Calls of tools that run at once, of all accounts together.
pub const PARALLEL_CALLS: usize = 256;

/// All limits that are set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Of each account.
    pub account: Vec<Limit>,
    /// Of each account's calls with that effect.
    pub effects: BTreeMap<Effect, Vec<Limit>>,
    /// Of each provider, over all accounts.
    pub providers: BTreeMap<String, Vec<Limit>>,
    /// Of each session, beside what its agent's file says.
    pub session: Budget,
    /// See [`LOOP_AFTER`]; 0 never.
    pub loop_after: u32,
    /// See [`WAIT_SECONDS`].
    pub wait_seconds: u64,
    /// See [`PARALLEL_REQUESTS`].
    pub parallel_requests: usize,
    /// See [`PARALLEL_CALLS`].
    pub parallel_calls: usize,
}

impl Limits {
    /// None at all but the bounds that always hold.
    #[must_use]
    pub fn none() -> Self {
        Self {
            account: Vec::new(),
            effects: BTreeMap::new(),
            providers: BTreeMap::new(),
            session: Budget::default(),
            loop_after: LOOP_AFTER,
            wait_seconds: WAIT_SECONDS,
            parallel_requests: PARALLEL_REQUESTS,
            parallel_calls: PARALLEL_CALLS,
        }
    }

    /// True when money is limited for calls of `provider`.
    #[must_use]
    pub fn limits_money(&self, provider: &str) -> bool {
        let of_provider = self.providers.get(provider).into_iter().flatten();
        self.session.money.is_some()
            || self.account.iter().chain(of_provider).any(|one| one.quantity == Quantity::Money)
    }
}

impl Default for Limits {
    /// Nothing that an ordinary day's work meets: only what cannot be taken back has a bound.
    fn default() -> Self {
        let hourly = |max| vec![Limit { quantity: Quantity::Calls, per: Per::Hour, max }];
        let effects = BTreeMap::from([
            (Effect::Send, hourly(200)),
            (Effect::Share, hourly(100)),
            (Effect::Financial, hourly(20)),
            (Effect::Credential, hourly(200)),
        ]);
        Self { effects, ..Self::none() }
    }
}

#[cfg(test)]
mod tests;

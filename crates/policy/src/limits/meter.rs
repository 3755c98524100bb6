//! Reads in a session's records what the session uses.
//!
//! The one place that says so: what is kept of it beside the journal is the sum
//! over all records, and can be made again from them.

use std::collections::BTreeMap;

use are_core::body::{Body, CallSpent};
use are_core::error::Code;
use are_core::ids::CallNo;
use are_core::journal::Record;
use are_core::spent::Spent;

use crate::rules::effect_word;

/// Follows the records of one session, in order.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    /// The model call that is not settled: its subject, when it was reserved, and what.
    open: Option<(String, u64, Spent)>,
    /// Calls that run: their subject, and when they began.
    calls: BTreeMap<CallNo, (String, u64)>,
}

/// What a record uses of a subject: subject, time in milliseconds since 1970, amount. Settling counts at the time at
/// which the call was reserved, so that it never gives to one hour what was taken from another.
pub type Used = (String, u64, Spent);

impl Meter {
    /// What a record uses or gives back.
    #[expect(clippy::wildcard_enum_match_arm, reason = "records of other kinds use nothing, also those to come")]
    pub fn take(&mut self, record: &Record) -> Option<Used> {
        let at_ms = u64::try_from(record.timestamp.as_millisecond()).unwrap_or(0);
        match &record.body {
            Body::ModelRequested { model, reserved_tokens, reserved_cost, .. }
            | Body::CompactionRequested { model, reserved_tokens, reserved_cost, .. } => {
                let spent = reserve_model(*reserved_tokens, *reserved_cost);
                let subject = model_subject(model);
                self.open = Some((subject.clone(), at_ms, spent));
                Some((subject, at_ms, spent))
            }
            // Nobody was asked: what was reserved is given back.
            Body::ModelCompleted { cached: true, .. } => {
                let (subject, at_ms, reserved) = self.open.take()?;
                Some((subject, at_ms, reserved.negated()))
            }
            Body::ModelCompleted { usage, cost, .. }
            | Body::Compacted { usage, cost, .. }
            | Body::Planned { usage: Some(usage), cost, .. } => {
                let (subject, at_ms, reserved) = self.open.take()?;
                let used = signed(usage.input_tokens.saturating_add(usage.output_tokens));
                // Of a call that reported nothing all that was reserved counts.
                let is_reported = used > 0;
                let spent = Spent {
                    input_tokens: signed(usage.input_tokens),
                    cached_tokens: signed(usage.cached_tokens),
                    output_tokens: signed(usage.output_tokens),
                    tokens: if is_reported { used.saturating_sub(reserved.tokens) } else { 0 },
                    cost: cost.map_or(0, |cost| signed(cost).saturating_sub(reserved.cost)),
                    ..Spent::default()
                };
                Some((subject, at_ms, spent))
            }
            // One that the time of its turn ended worked until then.
            Body::TurnFailed { code: Code::BUDGET_USED_UP, .. } => {
                self.open = None;
                None
            }
            // A call that broke off before its first word is not paid for.
            Body::TurnFailed { frames: None, .. }
            | Body::ModelFailed { frames: None, .. }
            | Body::CompactionFailed { begun: false, .. }
            | Body::Planned { usage: None, .. } => {
                let (subject, at_ms, reserved) = self.open.take()?;
                Some((subject, at_ms, Spent { requests: 0, unpriced: 0, ..reserved }.negated()))
            }
            Body::TurnFailed { .. }
            | Body::ModelFailed { .. }
            | Body::CompactionFailed { .. }
            | Body::TurnCancelled {}
            | Body::TurnResumed { .. } => {
                self.open = None;
                None
            }
            Body::ToolStarted { call, effect, .. } => {
                let subject = format!("effect:{}", effect_word(*effect));
                self.calls.insert(*call, (subject.clone(), at_ms));
                Some((subject, at_ms, reserve_call()))
            }
            Body::ToolCompleted { call, spent, .. }
            | Body::ToolFailed { call, spent, .. }
            | Body::ToolUnknown { call, spent, .. } => {
                let (subject, at_ms) = self.calls.remove(call)?;
                let CallSpent { cpu_ms, bytes } = (*spent)?;
                Some((subject, at_ms, Spent { cpu_ms: signed(cpu_ms), bytes: signed(bytes), ..Spent::default() }))
            }
            _ => None,
        }
    }
}

/// Under which a model's use is kept.
#[must_use]
pub fn model_subject(model: &str) -> String {
    format!("model:{model}")
}

/// What a model call reserves.
#[must_use]
pub fn reserve_model(tokens: u64, cost: Option<u64>) -> Spent {
    Spent {
        requests: 1,
        tokens: signed(tokens),
        cost: signed(cost.unwrap_or(0)),
        unpriced: i64::from(cost.is_none()),
        ..Spent::default()
    }
}

/// What a tool call reserves.
#[must_use]
pub fn reserve_call() -> Spent {
    Spent { calls: 1, ..Spent::default() }
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

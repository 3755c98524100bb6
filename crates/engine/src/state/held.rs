//! What keeps a turn from going on as it would: limits that leave no room, and
//! calls that fail the same way again and again.

use are_core::body::{Body, Effect};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::CallNo;
use are_core::journal::Record;

use super::turn::{CallResult, CallStep, Turn};
use crate::limiter::shown;

/// A limit that left no room, as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub limit: String,
    /// What was wanted.
    pub wanted: u64,
    /// The limit.
    pub max: u64,
    /// When there is room again, in milliseconds from then.
    pub retry_after_ms: Option<u64>,
    /// Until when the turn waits for it, in milliseconds since 1970; it does not when absent.
    pub until_ms: Option<u64>,
}

impl Held {
    pub(super) fn read(record: &Record) -> Option<Self> {
        let Body::LimitReached { limit, wanted, max, retry_after_ms, waits, .. } = &record.body else { return None };
        let at_ms = u64::try_from(record.timestamp.as_millisecond()).unwrap_or(0);
        Some(Self {
            limit: limit.clone(),
            wanted: *wanted,
            max: *max,
            retry_after_ms: *retry_after_ms,
            until_ms: retry_after_ms.filter(|_| *waits).map(|ms| at_ms.saturating_add(ms)),
        })
    }

    /// As clients and models are told of it.
    #[must_use]
    pub fn fault(&self) -> Fault {
        let Self { limit, wanted, max, .. } = self;
        let more = match wanted {
            0 => "all of it is used".to_owned(),
            _ => format!("there is no room for {} more", shown(limit, *wanted)),
        };
        let message = format!("the limit `{limit}` is {}, and {more}", shown(limit, *max));
        match self.retry_after_ms {
            Some(ms) => {
                let help = format!("try again in {} s, or go on without it", ms.div_ceil(1_000));
                Fault::new(Code::RATE_LIMIT, message, help).retry_after(ms)
            }
            None => Fault::new(
                Code::RATE_LIMIT,
                message,
                "it is more than the limit allows at once: ask for less, or have `[limits]` in `are.toml` raised",
            ),
        }
    }
}

impl Turn {
    /// The next request has no room.
    pub(super) fn hold(&mut self, held: Option<Held>) {
        if let Some(held) = held {
            if held.until_ms.is_some() {
                self.waited_ms = self.waited_ms.saturating_add(held.retry_after_ms.unwrap_or(0));
            }
            self.held = Some(held);
        }
    }

    /// True for a call that has failed the same way so often that it will not do otherwise.
    #[must_use]
    pub fn goes_in_circles(&self, step: &CallStep, loop_after: u32) -> bool {
        let Some(args) = step.args.as_ref().filter(|_| loop_after > 0 && step.parent.is_none()) else { return false };
        self.failures.get(&(step.tool.clone(), args.digest())).is_some_and(|(_, times)| *times >= loop_after)
    }

    /// Counts the failures of a call that has ended; whatever was changed by another one makes it another situation.
    pub(super) fn count_failure(&mut self, no: CallNo) {
        let Some(step) = self.call(no).filter(|step| step.parent.is_none()) else { return };
        let Some(key) = step.args.as_ref().map(|args| (step.tool.clone(), args.digest())) else { return };
        let has_effect = step.begun.is_some_and(|(effect, _)| effect != Effect::None);
        match step.result.as_ref().and_then(failure_of) {
            None if has_effect => self.failures.clear(),
            None => {
                self.failures.remove(&key);
            }
            Some(failure) => {
                let times = match self.failures.get(&key) {
                    Some((last, times)) if *last == failure => times.saturating_add(1),
                    Some(_) | None => 1,
                };
                self.failures.insert(key, (failure, times));
                if let Some(step) = self.call_mut(no) {
                    step.repeats = times;
                }
            }
        }
    }
}

/// What tells one failure from another; `None` for what is none. A command that ends with an error fails by its words.
fn failure_of(result: &CallResult) -> Option<Digest> {
    match result {
        CallResult::Failed { code, message, .. } => {
            Some(Digest::of(&[code.to_string().as_bytes(), message.as_bytes()]))
        }
        CallResult::Completed { value, .. } => {
            value["exit_code"].as_i64().filter(|code| *code != 0)?;
            let said = [&value["exit_code"], &value["stdout"], &value["stderr"]];
            Some(Digest::of(&said.map(|one| one.to_string()).each_ref().map(|one| one.as_bytes())))
        }
        CallResult::Unknown { .. } | CallResult::Erased | CallResult::HandedOver => None,
    }
}

//! Models that lately could not answer, so that turns do not begin with them.
//!
//! A dead provider costs the time-out of a connection, and without this every
//! turn would pay it again before it comes to the next of the list. A model
//! rests for a while that doubles with each failure; then one request tries it,
//! and while that runs the others go on without it.
//!
//! In memory only: which model a turn asked stands in its records, and a new
//! process finds out by itself. A model rests only where another one is left.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use are_core::error::{Code, Fault};

/// How long a model rests after its first failure, in milliseconds: some turns of a conversation.
const REST_MS_FIRST: u64 = 15_000;
/// The longest rest, in milliseconds, whatever a provider asks for: after it, its recovery is noticed.
const REST_MS_MAX: u64 = 10 * 60 * 1_000;
/// Models that are remembered; more than a list of models has, and names of prompts' wishes are among them.
const RESTING_MAX: usize = 64;

/// The models that rest.
#[derive(Debug, Default)]
pub(crate) struct Resting(Mutex<HashMap<String, Rest>>);

#[derive(Debug, Clone, Copy)]
struct Rest {
    failures: u32,
    until_ms: u64,
    /// A request tries whether it answers again.
    is_tried: bool,
}

impl Rest {
    fn pause_ms(self) -> u64 {
        let doublings = self.failures.saturating_sub(1).min(16);
        (REST_MS_FIRST << doublings).min(REST_MS_MAX)
    }
}

impl Resting {
    /// True when turns should begin with another model.
    pub(crate) fn rests(&self, model: &str, now_ms: u64) -> bool {
        self.lock().get(model).is_some_and(|rest| now_ms < rest.until_ms)
    }

    /// A request goes to `model`: where its rest is over, others wait for what comes of that.
    pub(crate) fn asked(&self, model: &str, now_ms: u64) {
        if let Some(rest) = self.lock().get_mut(model).filter(|rest| rest.until_ms <= now_ms) {
            rest.is_tried = true;
            rest.until_ms = now_ms.saturating_add(rest.pause_ms());
        }
    }

    /// It has answered.
    pub(crate) fn answered(&self, model: &str) {
        self.lock().remove(model);
    }

    /// It could not answer. Requests that failed together count as one failure.
    pub(crate) fn failed(&self, model: &str, fault: &Fault, now_ms: u64) {
        if !is_of_the_model(fault) {
            return;
        }
        let mut resting = self.lock();
        if !resting.contains_key(model) && resting.len() >= RESTING_MAX {
            resting.retain(|_, rest| now_ms < rest.until_ms);
            if resting.len() >= RESTING_MAX {
                return;
            }
        }
        let new = Rest { failures: 0, until_ms: 0, is_tried: false };
        let rest = resting.entry(model.to_owned()).or_insert(new);
        if rest.is_tried || rest.until_ms <= now_ms {
            rest.failures = rest.failures.saturating_add(1);
            rest.is_tried = false;
        }
        let wanted_ms = fault.retry_after_ms.unwrap_or(0).min(REST_MS_MAX);
        let until_ms = now_ms.saturating_add(rest.pause_ms().max(wanted_ms));
        rest.until_ms = rest.until_ms.max(until_ms);
        tracing::info!(model, rest_ms = rest.until_ms - now_ms, "turns begin with another model where there is one");
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Rest>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True for what the next request would meet again; a limit that one answer crossed is not of that kind.
fn is_of_the_model(fault: &Fault) -> bool {
    is_providers(fault) && fault.code != Code::MODEL_LIMIT
}

/// True for what another provider may be spared: nothing was wrong with the request itself.
pub(crate) fn is_providers(fault: &Fault) -> bool {
    match fault.code {
        Code::MODEL_UNREACHABLE
        | Code::MODEL_TIMEOUT
        | Code::MODEL_STREAM_BROKEN
        | Code::MODEL_RATE_LIMITED
        | Code::MODEL_AUTH
        | Code::MODEL_REDIRECT
        | Code::MODEL_LIMIT
        | Code::LOCAL_ENGINE
        | Code::MODEL_FILE_MISSING
        | Code::MODEL_FILE_WRONG => true,
        // A refusal of the request would be repeated by the next.
        Code::MODEL_ERROR => fault.retryable,
        _ => false,
    }
}

#[cfg(test)]
mod tests;

//! What a session may use, and what it has used.
//!
//! A call is reserved before it is made and settled after it, so that a crash in
//! between can only overstate what was used. Pure: a [`Ledger`] is a fold over the
//! journal, and the same journal gives the same ledger.

use are_core::error::{Code, Fault};
use are_core::model::Usage;
use serde::{Deserialize, Serialize};

/// Limits of one session; what is absent is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Tokens read and written by models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Tool calls that were begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
}

/// What a session has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    settled_tokens: u64,
    reserved_tokens: u64,
    calls: u64,
}

impl Ledger {
    /// A model call begins. One that was never settled counts in full from here on.
    pub fn reserve(&mut self, tokens: u64) {
        self.settled_tokens = self.tokens();
        self.reserved_tokens = tokens;
    }

    /// The model call has ended with this use; if none was reported the reservation counts in full.
    pub fn settle(&mut self, usage: Usage) {
        let used = usage.input_tokens.saturating_add(usage.output_tokens);
        let used = if used == 0 { self.reserved_tokens } else { used };
        self.settled_tokens = self.settled_tokens.saturating_add(used);
        self.reserved_tokens = 0;
    }

    /// A tool call begins; it counts whatever becomes of it.
    pub fn begin_call(&mut self) {
        self.calls = self.calls.saturating_add(1);
    }

    /// Tokens used and reserved.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.settled_tokens.saturating_add(self.reserved_tokens)
    }

    /// Tool calls begun.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.calls
    }
}

impl Budget {
    /// Tokens of the longest answer to a request of about `input_tokens`, at most `wanted`.
    ///
    /// # Errors
    /// ARE-0707 when not one token would be left for it.
    pub fn answer_tokens(&self, ledger: &Ledger, input_tokens: u64, wanted: u64) -> Result<u64, Fault> {
        let Some(budget) = self.tokens else { return Ok(wanted) };
        let left = budget.saturating_sub(ledger.tokens());
        match left.saturating_sub(input_tokens) {
            0 => Err(used_up(format!(
                "{left} of {budget} tokens are left in the session's budget and the next request needs about {input_tokens}"
            ))),
            room => Ok(room.min(wanted)),
        }
    }

    /// Whether one more tool call may begin.
    ///
    /// # Errors
    /// ARE-0707 when as many as allowed were begun.
    pub fn check_call(&self, ledger: &Ledger) -> Result<(), Fault> {
        match self.calls {
            Some(budget) if ledger.calls() >= budget => {
                Err(used_up(format!("all {budget} tool calls of the session's budget were made")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn used_up(message: String) -> Fault {
    Fault::new(
        Code::BUDGET_USED_UP,
        message,
        "answer with what is known, or ask the user to start a new session or to raise the agent's `budget`",
    )
}

#[cfg(test)]
mod tests;

//! What a session may use, and what it has used.
//!
//! A call is reserved before it is made and settled after it, so that a crash in
//! between can only overstate what was used. Pure: a [`Ledger`] is a fold over the
//! journal, and the same journal gives the same ledger.

use are_core::body::CallSpent;
use are_core::error::{Code, Fault};
use are_core::model::{Usage, is_default};
use serde::{Deserialize, Serialize};

use crate::prices::{Price, show_money, unknown};

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
    /// Model calls and tool calls together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Seconds that a turn works; those in which a person is waited for are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Agents that it begins, those that they begin included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<u64>,
    /// What its models cost, in millionths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money: Option<u64>,
    /// Processor time of its commands in milliseconds: one may begin while anything is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Bytes that its calls print and return: one may begin while anything is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What a session has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    settled_tokens: u64,
    reserved_tokens: u64,
    calls: u64,
    steps: u64,
    agents: u64,
    settled_cost: u64,
    reserved_cost: u64,
    cpu_ms: u64,
    bytes: u64,
}

/// What an agent that another one began has used, its own agents included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// Tokens.
    pub tokens: u64,
    /// Tool calls begun.
    pub calls: u64,
    /// Model calls and tool calls.
    pub steps: u64,
    /// Agents begun.
    pub agents: u64,
    /// What its models cost, in millionths.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cost: u64,
    /// Processor time in milliseconds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpu_ms: u64,
    /// Bytes that calls printed and returned.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bytes: u64,
}

impl Ledger {
    /// A model call begins. One that was never settled counts in full from here on.
    pub fn reserve(&mut self, tokens: u64, cost: u64) {
        self.settled_tokens = self.tokens();
        self.reserved_tokens = tokens;
        self.settled_cost = self.cost();
        self.reserved_cost = cost;
        self.steps = self.steps.saturating_add(1);
    }

    /// The model call has ended with this use and cost; if none was reported the reservation counts in full.
    pub fn settle(&mut self, usage: Usage, cost: Option<u64>) {
        let used = usage.input_tokens.saturating_add(usage.output_tokens);
        let used = if used == 0 { self.reserved_tokens } else { used };
        self.settled_tokens = self.settled_tokens.saturating_add(used);
        self.reserved_tokens = 0;
        self.settled_cost = self.settled_cost.saturating_add(cost.unwrap_or(self.reserved_cost));
        self.reserved_cost = 0;
    }

    /// A tool call has ended.
    pub fn settle_call(&mut self, spent: CallSpent) {
        self.cpu_ms = self.cpu_ms.saturating_add(spent.cpu_ms);
        self.bytes = self.bytes.saturating_add(spent.bytes);
    }

    /// The model call came to nothing that anybody charges for.
    pub fn release(&mut self) {
        self.reserved_tokens = 0;
    }

    /// A tool call begins; it counts whatever becomes of it.
    pub fn begin_call(&mut self) {
        self.calls = self.calls.saturating_add(1);
        self.steps = self.steps.saturating_add(1);
    }

    /// Another agent begins; it counts whatever becomes of it.
    pub fn begin_agent(&mut self) {
        self.agents = self.agents.saturating_add(1);
    }

    /// An agent that was begun has ended: what it used was used here.
    pub fn charge(&mut self, used: Used) {
        self.settled_tokens = self.settled_tokens.saturating_add(used.tokens);
        self.calls = self.calls.saturating_add(used.calls);
        self.steps = self.steps.saturating_add(used.steps);
        self.agents = self.agents.saturating_add(used.agents);
        self.settled_cost = self.settled_cost.saturating_add(used.cost);
        self.settle_call(CallSpent { cpu_ms: used.cpu_ms, bytes: used.bytes });
    }

    /// All of it.
    #[must_use]
    pub const fn used(&self) -> Used {
        Used {
            tokens: self.tokens(),
            calls: self.calls,
            steps: self.steps,
            agents: self.agents,
            cost: self.cost(),
            cpu_ms: self.cpu_ms,
            bytes: self.bytes,
        }
    }

    /// Tokens used and reserved.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.settled_tokens.saturating_add(self.reserved_tokens)
    }

    /// Money used and reserved, in millionths.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.settled_cost.saturating_add(self.reserved_cost)
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

    /// Tokens of the longest answer that the money allows, at most `wanted`.
    ///
    /// # Errors
    /// ARE-0707 when not one token of it could be paid for, ARE-0715 when the model has no price.
    pub fn affordable_tokens(
        &self,
        ledger: &Ledger,
        (model, price): (&str, Option<Price>),
        input_tokens: u64,
        wanted: u64,
    ) -> Result<u64, Fault> {
        let Some(budget) = self.money else { return Ok(wanted) };
        let price = price.ok_or_else(|| unknown(model))?;
        let left = budget.saturating_sub(ledger.cost());
        let input = price.cost(Usage { input_tokens, ..Usage::default() });
        match left.checked_sub(input).map(|rest| price.affordable_output(rest).min(wanted)) {
            Some(tokens) if tokens > 0 => Ok(tokens),
            Some(_) | None => Err(used_up(format!(
                "{} of {} are left in the session's budget of money and the next request costs at least {}",
                show_money(left),
                show_money(budget),
                show_money(input.saturating_add(price.output.div_ceil(1_000_000)))
            ))),
        }
    }

    /// Whether a model may be asked once more.
    ///
    /// # Errors
    /// ARE-0707 when as many steps as allowed were taken.
    pub fn check_step(&self, ledger: &Ledger) -> Result<(), Fault> {
        match self.steps {
            Some(budget) if ledger.steps >= budget => {
                Err(used_up(format!("all {budget} steps of the session's budget were taken")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The stricter of both, limit by limit.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        Self {
            tokens: least(self.tokens, other.tokens),
            calls: least(self.calls, other.calls),
            steps: least(self.steps, other.steps),
            seconds: least(self.seconds, other.seconds),
            agents: least(self.agents, other.agents),
            money: least(self.money, other.money),
            cpu_ms: least(self.cpu_ms, other.cpu_ms),
            bytes: least(self.bytes, other.bytes),
        }
    }

    /// What is left of it: the share of an agent that begins now. Time is each turn's own.
    #[must_use]
    pub fn left(self, ledger: &Ledger) -> Self {
        let left = |budget: Option<u64>, used: u64| budget.map(|budget| budget.saturating_sub(used));
        Self {
            tokens: left(self.tokens, ledger.tokens()),
            calls: left(self.calls, ledger.calls),
            steps: left(self.steps, ledger.steps),
            seconds: self.seconds,
            agents: left(self.agents, ledger.agents),
            money: left(self.money, ledger.cost()),
            cpu_ms: left(self.cpu_ms, ledger.cpu_ms),
            bytes: left(self.bytes, ledger.bytes),
        }
    }

    /// Whether one more tool call may begin.
    ///
    /// # Errors
    /// ARE-0707 when as many as allowed were begun, or as many steps taken.
    pub fn check_call(&self, ledger: &Ledger) -> Result<(), Fault> {
        self.check_step(ledger)?;
        let is_used = |budget: Option<u64>, used: u64| budget.is_some_and(|budget| used >= budget);
        if is_used(self.cpu_ms, ledger.cpu_ms) {
            return Err(used_up("the session's budget of processor time is used up".to_owned()));
        }
        if is_used(self.bytes, ledger.bytes) {
            return Err(used_up("the session's budget of bytes that calls return is used up".to_owned()));
        }
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

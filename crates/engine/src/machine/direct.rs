//! A turn that is one call: somebody calls a tool without a model.
//!
//! The call takes the place of a model's answer, and from there on is what any
//! call is: read, decided by the same rules, recorded, run, taken up after a
//! crash. The words of the prompt are the call itself, so that it is asked for
//! in exactly the way a user's words ask for something.

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::model::StopReason;

use super::{Env, Next, derive, fail};
use crate::faults;
use crate::state::{CallResult, CallStep, Turn};

/// Names what the call is read under.
pub(super) fn begin(turn: &Turn, env: &Env<'_>) -> Next {
    derive(turn, Body::DirectRequested { conditions: env.conditions.clone() }, None)
}

/// The turn ends as its call did.
pub(super) fn end(turn: &Turn) -> Next {
    let fault = match turn.calls().find(|step| step.parent.is_none()).and_then(|step| step.result.as_ref()) {
        Some(CallResult::Completed { .. }) => {
            return derive(turn, Body::TurnCompleted { stop_reason: StopReason::Stop }, None);
        }
        Some(CallResult::Failed { code, message, help, .. }) => Fault::new(*code, message, help),
        Some(CallResult::Unknown { message, .. }) => {
            Fault::new(Code::TOOL_OUTCOME_UNKNOWN, message, "find out whether it happened before you call it again")
        }
        Some(CallResult::HandedOver | CallResult::Erased) | None => faults::internal(),
    };
    fail(turn, fault)
}

/// True for the call of somebody who may approve it and does so by making it. What it calls in turn is asked about by
/// itself, and a call that waits for somebody's answer gets that one.
pub(super) fn approves(turn: &Turn, step: &CallStep) -> bool {
    turn.is_direct && !turn.waits && !turn.is_headless && step.parent.is_none()
}

/// The rules ask about it, and whoever calls may not answer.
pub(super) fn denied(why: &str) -> Fault {
    Fault::new(
        Code::DENIED,
        format!("it was not called: {why}"),
        "use a token with the scope `approve`, or change the rules",
    )
}

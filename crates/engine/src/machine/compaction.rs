//! Making room in a context: what comes before a request that would not hold all.

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::journal::Draft;
use are_core::model::StopReason;

use super::{Action, Env, Next, derive, fail};
use crate::context::Parts;
use crate::context::compaction::{self, Relief};
use crate::state::{CompactingPhase, State, Turn};

/// What must come before the next request of a turn.
pub(super) fn before_request(parts: &Parts<'_>, turn: &Turn, env: &Env<'_>) -> Option<Next> {
    compaction::relief(parts, env.conditions).map(|relief| record(turn, relief))
}

/// What follows in a turn that is a compaction and nothing else.
pub(super) fn next(state: &State, turn: &Turn, env: &Env<'_>) -> Next {
    match turn.compaction.as_ref().map(|compacting| compacting.phase) {
        Some(CompactingPhase::Open) => Next::Do(Action::AwaitModel),
        Some(CompactingPhase::Done) => derive(turn, Body::TurnCompleted { stop_reason: StopReason::Stop }, None),
        Some(CompactingPhase::Failed(code)) => fail(turn, failed(code)),
        Some(CompactingPhase::Interrupted) | None => {
            if let Some(held) = super::held(state, turn, env) {
                return held;
            }
            let parts = Parts::of(state, turn, env.under_which());
            match compaction::of_all(&parts, env.conditions) {
                Some(relief) => record(turn, relief),
                None => fail(turn, nothing()),
            }
        }
    }
}

fn record(turn: &Turn, relief: Relief) -> Next {
    match relief {
        Relief::Shorten(body) => derive(turn, *body, None),
        Relief::Summarise(asked) => {
            let (body, request) = *asked;
            Next::Request(Box::new(Draft { turn: Some(turn.no), body, payload: None }), Box::new(request))
        }
    }
}

fn failed(code: Code) -> Fault {
    let help = "nothing has changed; the session's events say why, then try again, or with another model";
    Fault::new(code, "there is no usable summary of the earlier turns", help)
}

/// There is nothing that a summary could stand for.
pub(crate) fn nothing() -> Fault {
    let help = "a summary stands for all earlier turns already, or there are none";
    Fault::new(Code::NOT_FOUND, "there is nothing to compact", help)
}

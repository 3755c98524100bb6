//! The step of an adaptive turn in which its answer is doubted.
//!
//! Bounded, and never at the cost of the answer that is there: where the model
//! cannot be asked again, the turn ends as it would have without a doubt.

use are_core::body::Body;
use are_core::limits::TURN_STEPS_MAX;

use super::{Action, Env, Next, derive, end};
use crate::adapt::{checks, doubts, is_check, is_raised_by_check, need_abler, reasons, requests_for};
use crate::state::{ModelStep, State, Step, Turn};

/// Checks of a turn. One that says the same as the one before it comes only where there is another model to say it to.
const CHECKS_MAX: usize = 3;

/// The record that a check is asked for, where something speaks against the answer.
///
/// Decided by what the answer was asked under, whatever has changed since: what follows is a request or the end of the
/// turn, and a replay knows what either came under only when it sees which.
pub(super) fn next(state: &State, turn: &Turn, env: &Env<'_>) -> Option<Next> {
    let doubts = doubts(state, turn);
    let so_far = checks(turn);
    let budget = &env.asked().budget;
    // As many steps as it may take: a turn that has its answer must not end for want of them.
    let needed = u32::try_from(requests_for(&doubts)).unwrap_or(u32::MAX);
    let left = budget.steps.map(|steps| steps.saturating_sub(state.ledger.used().steps));
    let may_ask = TURN_STEPS_MAX.saturating_sub(turn.steps_taken) >= needed
        && left.is_none_or(|left| left >= u64::from(needed))
        && so_far < CHECKS_MAX
        && (doubts != turn.doubts || so_far < env.asked_in().tiers.len())
        && (!need_abler(&doubts) || is_raised_by_check(state, turn, env.asked_in(), budget));
    let reasons = reasons(&doubts);
    let model = env.asked_in().model.name.clone();
    let body = Body::Strategy { model, effort: None, temperature_milli: None, reasons, checks: true };
    let is_doubted = matches!(&body, Body::Strategy { reasons, .. } if !reasons.is_empty());
    (may_ask && is_doubted).then(|| derive(turn, body, None))
}

/// True when what comes next is the check of an answer, and nothing that the user wants besides.
pub(crate) fn is_asked(turn: &Turn) -> bool {
    let mut since = turn.steps.iter().rev().take_while(|step| !matches!(step, Step::Model(_))).peekable();
    since.peek().is_some() && since.all(is_check)
}

/// The answer that the model is being asked to check; `None` while no check is under way.
pub(crate) fn checked(turn: &Turn) -> Option<&ModelStep> {
    let (last, before) = turn.steps.split_last()?;
    if !matches!(last, Step::Model(open) if open.stop_reason.is_none()) {
        return None;
    }
    let at = before.iter().rposition(|step| matches!(step, Step::Model(_)))?;
    let since = &before[at + 1..];
    let is_checked = !since.is_empty() && since.iter().all(is_check);
    match &before[at] {
        Step::Model(answer) if is_checked => Some(answer),
        Step::Model(_) | Step::Call(_) | Step::Steer { .. } => None,
    }
}

/// What comes next, or the end of the turn where that would be a failure or a wait.
pub(super) fn or_end(next: Next, turn: &Turn, model: &ModelStep) -> Next {
    match next {
        Next::Derive(draft) if matches!(draft.body, Body::TurnFailed { .. }) => end(turn, model),
        Next::Do(Action::AwaitRoom(_)) => end(turn, model),
        next => next,
    }
}

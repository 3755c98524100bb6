//! The calls that running calls make.
//!
//! What a running call asks for comes from its code, so its `tool_requested` is
//! an input; everything that follows from it is derived as for any other call.
//! A call that was made by another lives no longer than that one.

use are_core::body::{Body, Retry};
use are_core::error::{Code, Fault};
use are_policy::call::Parent;
use are_policy::manifest::SPAWN;

use super::calls::{checked, is_joinable, is_pure, refuse, unknown};
use super::{Env, Next, too_many_denials};
use crate::limits::{DENIALS_PER_TURN_MAX, PARALLEL_CALLS_MAX};
use crate::state::{CallStep, Phase, Turn};

/// A call of the model may make calls, which may make calls, which may make calls that make none.
const CHILD_DEPTH_MAX: usize = 3;

/// The end of a call whose maker no longer runs, the latest first: only a crash leaves one.
pub(super) fn left_behind(turn: &Turn) -> Option<Next> {
    let has_maker = |step: &CallStep| turn.makers(step).next().is_some_and(CallStep::is_running);
    let left =
        turn.calls().filter(|step| step.parent.is_some() && step.phase != Phase::Done && !has_maker(step)).last()?;
    Some(match left.phase {
        Phase::Started { effect, retry, .. } if !is_pure(effect, retry) && retry != Retry::Transactional => {
            unknown(turn, left)
        }
        Phase::Started { .. } | Phase::Requested | Phase::Decided | Phase::Waiting | Phase::Answered | Phase::Done => {
            let why = "the runtime stopped while the call ran that made this one";
            refuse(turn, left, &Fault::new(Code::TOOL_FAILED, why, "nothing happened; make the call again"), "failed")
        }
    })
}

/// The first call of a call that may begin now: beside others only where it is pure, as calls of the model.
pub(super) fn startable<'a>(turn: &'a Turn, env: &Env<'_>) -> Option<&'a CallStep> {
    let may_begin = |step: &&CallStep| {
        let is_begun_pure = |step: &CallStep| step.begun.is_some_and(|(effect, retry)| is_pure(effect, retry));
        let mut running = turn.calls().filter(|other| other.is_running());
        if is_joinable(step, env) {
            running.filter(|other| other.parent == step.parent && is_begun_pure(other)).count() < PARALLEL_CALLS_MAX
        } else {
            running.all(|other| is_begun_pure(other) || turn.makers(step).any(|maker| maker.no == other.no))
        }
    };
    turn.calls().filter(|step| step.parent.is_some() && step.phase == Phase::Decided).find(may_begin)
}

/// Whether a call may make this one at all.
pub(super) fn admitted(turn: &Turn, step: &CallStep) -> Result<(), Fault> {
    if step.parent.is_none() {
        return Ok(());
    }
    if turn.denials >= DENIALS_PER_TURN_MAX {
        return Err(too_many_denials());
    }
    if step.tool == SPAWN {
        let why = "only a model begins agents, and no tool for it";
        return Err(Fault::new(Code::CHILD_LIMIT, why, "do it without another agent"));
    }
    if turn.makers(step).any(|maker| maker.tool == step.tool) {
        let why = format!("`{}` cannot call itself, not through other tools either", step.tool);
        return Err(Fault::new(Code::CHILD_LIMIT, why, "do it without"));
    }
    if turn.makers(step).count() > CHILD_DEPTH_MAX {
        let why = format!("calls of calls nest at most {CHILD_DEPTH_MAX} deep");
        return Err(Fault::new(Code::CHILD_LIMIT, why, "make the call from a tool that is nearer to the model"));
    }
    Ok(())
}

/// The tools that make a call, as they were declared when they began; `None` when one is not served any more.
pub(super) fn parents<'a>(turn: &'a Turn, step: &CallStep, env: &Env<'a>) -> Option<Vec<Parent<'a>>> {
    turn.makers(step)
        .map(|maker| Some(Parent { manifest: checked(maker, env).ok()?, args: maker.args.as_ref()? }))
        .collect()
}

/// Told to a call whose own tool was replaced while it ran.
pub(super) fn changed() -> Fault {
    let why = "the tool that makes the call was changed or removed while it ran";
    Fault::new(Code::TOOL_UNKNOWN, why, "call it again, so that it is decided anew")
}

/// The record by which a call that nobody waits for is over before it began.
pub(crate) fn not_begun(call: are_core::ids::CallNo, fault: &Fault) -> Body {
    Body::ToolFailed { call, result: "failed".to_owned(), code: fault.code, frames: None, spent: None }
}

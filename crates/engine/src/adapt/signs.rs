//! What went wrong in a turn, by what its steps came to.

use std::collections::BTreeMap;

use are_core::body::Effect;
use are_core::error::Code;
use are_core::label::Integrity;

use crate::state::{CallResult, CallStep, Step, Turn};

/// Something that does not go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sign {
    /// A call failed.
    Failed,
    /// The arguments of a call could not be read or did not fit.
    Malformed,
    /// A tool was called that there is not.
    WrongTool,
    /// The same call failed again in the same way, with nothing changed in between.
    Repeated,
    /// A call was made again that had answered the same before.
    Again,
    /// The answer was doubted, and the model asked to check it.
    Checked,
    /// The user said something else while the turn ran.
    Steered,
}

impl Sign {
    /// How much it weighs beside the others.
    #[must_use]
    pub const fn weight(self) -> u32 {
        match self {
            Self::Failed | Self::Malformed | Self::WrongTool | Self::Steered => 1,
            Self::Repeated | Self::Again | Self::Checked => 2,
        }
    }
}

/// The signs of a turn, in their order.
#[must_use]
pub fn signs(turn: &Turn) -> Vec<Sign> {
    let mut signs = Vec::new();
    // What calls without effect came to, since anything was changed or said.
    let mut seen: BTreeMap<(&str, &str), &CallResult> = BTreeMap::new();
    for step in &turn.steps {
        match step {
            Step::Model(_) => {}
            Step::Steer { integrity: Integrity::User, .. } => {
                seen.clear();
                signs.push(Sign::Steered);
            }
            Step::Steer { integrity: Integrity::System, .. } => signs.push(Sign::Checked),
            // Nobody's word, so it is no sign either.
            Step::Steer { integrity: Integrity::Platform | Integrity::Untrusted, .. } => {}
            Step::Call(call) if call.parent.is_none() && !call.is_clients => signs.extend(of_call(call, &mut seen)),
            Step::Call(_) => {}
        }
    }
    signs
}

fn of_call<'a>(call: &'a CallStep, seen: &mut BTreeMap<(&'a str, &'a str), &'a CallResult>) -> Option<Sign> {
    let result = call.result.as_ref()?;
    // The loop detection has counted it: the same failure, with nothing changed in between.
    if call.repeats > 1 {
        return Some(Sign::Repeated);
    }
    match result {
        CallResult::Failed { code, .. } => of_failure(*code),
        CallResult::Completed { .. } => {
            if call.begun.is_some_and(|(effect, _)| effect != Effect::None) {
                seen.clear();
                return None;
            }
            let key = (call.tool.as_str(), call.args.as_ref()?.as_str());
            let before = seen.insert(key, result);
            (before == Some(result)).then_some(Sign::Again)
        }
        CallResult::Unknown { .. } | CallResult::HandedOver | CallResult::Erased => None,
    }
}

/// True for a step of a call that went wrong by the model's own doing.
#[must_use]
pub fn is_mistake(call: &CallStep) -> bool {
    matches!(&call.result, Some(CallResult::Failed { code, .. }) if of_failure(*code).is_some())
}

/// The sign that a failure is; what rules and limits refuse is no fault of the model's.
const fn of_failure(code: Code) -> Option<Sign> {
    match code {
        Code::TOOL_ARGS => Some(Sign::Malformed),
        Code::TOOL_UNKNOWN => Some(Sign::WrongTool),
        Code::TOOL_FAILED
        | Code::TOOL_TIMEOUT
        | Code::TOOL_NOT_FOUND
        | Code::PATH_REFUSED
        | Code::ADDRESS_REFUSED
        | Code::CAGE_FAILED
        | Code::SERVER_UNUSABLE => Some(Sign::Failed),
        _ => None,
    }
}

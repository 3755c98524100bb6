//! What went wrong in a turn, by what its steps came to.

use std::collections::BTreeMap;

use are_core::body::Effect;
use are_core::error::Code;
use are_core::label::Integrity;
use serde_json::Value;

use crate::state::{CallResult, CallStep, Step, Turn};

/// The tool that waits for what a process says; its result tells whether that goes on.
const WAITS: &str = "process_read";

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
    Walk::along(turn).signs
}

/// Answers in a row, up to now, whose calls asked for nothing but what had been answered before, with nothing changed or
/// said in between.
#[must_use]
pub fn circles(turn: &Turn) -> usize {
    Walk::along(turn).circles
}

/// A call by its tool and arguments.
type Key<'a> = (&'a str, &'a str);

/// What is known of a turn, step by step.
#[derive(Default)]
struct Walk<'a> {
    signs: Vec<Sign>,
    circles: usize,
    /// What calls without effect returned, since anything was changed or said. Their labels name the call, and so always differ.
    seen: BTreeMap<Key<'a>, &'a Value>,
    /// The same of the calls of one answer: the model knew nothing of them when it made the others.
    fresh: Vec<(Key<'a>, &'a Value)>,
    /// True where one of them was answered as before, and where one was not.
    has_again: bool,
    has_new: bool,
}

impl<'a> Walk<'a> {
    fn along(turn: &'a Turn) -> Self {
        let mut walk = Self::default();
        for step in &turn.steps {
            match step {
                Step::Model(_) => walk.close(),
                Step::Steer { integrity, .. } => walk.steer(*integrity),
                Step::Call(call) if call.parent.is_none() && !call.is_clients => walk.call(call),
                Step::Call(_) => {}
            }
        }
        walk.close();
        walk
    }

    /// The calls of an answer are over.
    fn close(&mut self) {
        match (std::mem::take(&mut self.has_again), std::mem::take(&mut self.has_new)) {
            (_, true) => self.circles = 0,
            (true, false) => self.circles += 1,
            (false, false) => {}
        }
        self.seen.extend(self.fresh.drain(..));
    }

    /// Something else is said to the model.
    fn steer(&mut self, integrity: Integrity) {
        self.close();
        self.circles = 0;
        match integrity {
            Integrity::User => {
                self.seen.clear();
                self.signs.push(Sign::Steered);
            }
            Integrity::System => self.signs.push(Sign::Checked),
            // Nobody's word, so it is no sign either.
            Integrity::Platform | Integrity::Untrusted => {}
        }
    }

    fn call(&mut self, call: &'a CallStep) {
        let Some(result) = call.result.as_ref() else { return };
        // The loop detection has counted it: the same failure, with nothing changed in between.
        if call.repeats > 1 {
            self.signs.push(Sign::Repeated);
            return;
        }
        match result {
            CallResult::Failed { code, .. } => self.signs.extend(of_failure(*code)),
            CallResult::Completed { .. } if call.begun.is_some_and(|(effect, _)| effect != Effect::None) => {
                self.seen.clear();
                self.fresh.clear();
                self.has_new = true;
            }
            CallResult::Completed { value, .. } => {
                let Some(args) = call.args.as_ref() else { return };
                let key = (call.tool.as_str(), args.as_str());
                // Who waits for a process asks again because time passes.
                if self.seen.get(&key) != Some(&value) || call.tool == WAITS && value["is_running"] == true {
                    self.has_new = true;
                } else if !std::mem::replace(&mut self.has_again, true) {
                    self.signs.push(Sign::Again);
                }
                self.fresh.push((key, value));
            }
            CallResult::Unknown { .. } | CallResult::HandedOver | CallResult::Erased => {}
        }
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

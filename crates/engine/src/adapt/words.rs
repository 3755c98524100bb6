//! All that the runtime itself says to models of adaptive turns, and to people about why.
//!
//! SECURITY: constants of the runtime. What is put into them is names of files that the user's own words hold, names of
//! tools that are served, and digits; nothing that anybody else wrote as words.

use are_core::model::ModelInfo;

use super::{Doubt, Rung, Sign, Strategy};

/// Figures and names that the model is told of; the first ones show what is meant.
const NAMED_MAX: usize = 6;

/// What the model is told when its answer is doubted. It sees the turn without that answer, see [`doubted`](super::doubted).
#[must_use]
pub fn check(doubts: &[Doubt]) -> String {
    let mut text = String::from("Mind this before you answer:\n");
    // One thing at a time: what is to be changed is to be seen first, and a small model told of both does the latter again.
    let is_unseen = doubts.iter().any(|doubt| matches!(doubt, Doubt::Untouched(_)));
    for doubt in doubts.iter().filter(|doubt| !(is_unseen && matches!(doubt, Doubt::Undone(_)))) {
        text.push_str(&match doubt {
            Doubt::Empty => "- An empty answer does not help.\n".to_owned(),
            Doubt::Cut => "- A long answer was cut off: use fewer words.\n".to_owned(),
            Doubt::Untouched(names) => format!("- Look at {} first, with a tool.\n", listed(names)),
            Doubt::Missed(names) => format!(
                "- {} was not found that way. List the folder `.` or search it with a tool, then use what is there.\n",
                listed(names)
            ),
            Doubt::Undone(tools) => {
                format!("- {} failed, and nothing was done in its place. Do it another way.\n", listed(tools))
            }
            Doubt::Unfounded(figures) => {
                format!("- {} stands in no result. Work it out step by step from the results.\n", listed(figures))
            }
        });
    }
    text.push_str("Then give the whole answer, in the user's language.");
    text
}

/// What the model is told at the end of a request; nothing when all is as usual.
#[must_use]
pub fn note(strategy: &Strategy) -> Option<String> {
    let stepwise = "This takes many steps. Say in a line what is done and what is left, then do the next step only.";
    let asks = "The same call fails again and again. Do not make it again: tell the user what is in the way, and ask \
        how to go on.";
    let answers = "You have asked for the same again and again, and it was answered. Answer the user now with what the \
        results say, and say what is missing.";
    match (strategy.calls, strategy.asks_user, strategy.is_stepwise) {
        (Some(false), ..) => Some(answers.to_owned()),
        (_, true, _) => Some(asks.to_owned()),
        (_, false, true) => Some(stepwise.to_owned()),
        (_, false, false) => None,
    }
}

/// Why an answer is checked, for people.
pub(super) const fn doubted(doubt: &Doubt) -> &'static str {
    match doubt {
        Doubt::Empty => "the answer is empty",
        Doubt::Cut => "the answer was cut off",
        Doubt::Untouched(_) => "no call was about a file that the words name",
        Doubt::Missed(_) => "a file that the words name was not found",
        Doubt::Undone(_) => "a call that was to change something failed, and nothing came in its place",
        Doubt::Unfounded(_) => "the answer names figures that stand in no result",
    }
}

/// What a check leads to besides, for people.
pub(super) const MUST_CALL: &str = "the model must call a tool before it answers";

/// What led to a rise.
pub(super) fn causes(causes: &[Sign]) -> String {
    let words: Vec<&str> = causes.iter().map(|sign| cause(*sign)).collect();
    words.join(", ")
}

const fn cause(sign: Sign) -> &'static str {
    match sign {
        Sign::Failed => "calls failed",
        Sign::Malformed => "arguments could not be read",
        Sign::WrongTool => "a tool was called that there is not",
        Sign::Repeated => "the same call failed again",
        Sign::Again => "the same call was made again",
        Sign::Checked => "the answer had to be checked",
        Sign::Steered => "the user stepped in",
    }
}

/// Another model or effort than usual.
pub(super) fn asked_otherwise(info: Option<&ModelInfo>, rung: Rung, why: &str) -> String {
    let name = info.map_or("the model", |info| info.name.as_str());
    match rung.effort {
        Some(effort) => format!("`{name}` is asked with effort `{}`: {why}", effort.word()),
        None => format!("`{name}` is asked: {why}"),
    }
}

/// Another temperature than usual.
pub(super) fn other_temperature(milli: u32) -> String {
    format!("the temperature is {}.{}: arguments could not be read", milli / 1_000, milli % 1_000 / 100)
}

fn listed(names: &[String]) -> String {
    let names: Vec<String> = names.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

//! All that the runtime itself says to models of adaptive turns, and to people about why.
//!
//! SECURITY: constants of the runtime. What is put into them is names of files that the user's own words hold, names of
//! tools that are served, and digits; nothing that anybody else wrote as words.

use are_core::model::ModelInfo;

use super::{Doubt, Rung, Sign, Strategy};

/// Figures and names that the model is told of; the first ones show what is meant.
const NAMED_MAX: usize = 6;

/// What the model is told when its answer is doubted.
#[must_use]
pub fn check(doubts: &[Doubt]) -> String {
    let mut text = String::from("Check your answer before it counts.\n");
    for doubt in doubts {
        text.push_str(&match doubt {
            Doubt::Empty => "- It says nothing.\n".to_owned(),
            Doubt::Cut => "- It was cut off: say it in fewer words.\n".to_owned(),
            Doubt::Untouched(names) => {
                format!("- You have not looked at {}. Call a tool if the task is about it.\n", listed(names))
            }
            Doubt::Undone(tools) => {
                format!(
                    "- {} failed, and nothing was done in its place. Do it, or say that it is not done.\n",
                    listed(tools)
                )
            }
            Doubt::Unfounded(figures) => {
                format!("- No result holds {}. Work it out again from the results, step by step.\n", listed(figures))
            }
        });
    }
    text.push_str("Then give the whole answer again, in the user's language. If it was right, repeat it.");
    text
}

/// What the model is told at the end of a request; nothing when all is as usual.
#[must_use]
pub fn note(strategy: &Strategy) -> Option<String> {
    let stepwise = "This takes many steps. Say in a line what is done and what is left, then do the next step only.";
    let asks = "The same call fails again and again. Do not make it again: tell the user what is in the way, and ask \
        how to go on.";
    match (strategy.asks_user, strategy.is_stepwise) {
        (true, _) => Some(asks.to_owned()),
        (false, true) => Some(stepwise.to_owned()),
        (false, false) => None,
    }
}

/// Why an answer is checked, for people.
pub(super) const fn doubted(doubt: &Doubt) -> &'static str {
    match doubt {
        Doubt::Empty => "the answer is empty",
        Doubt::Cut => "the answer was cut off",
        Doubt::Untouched(_) => "no call was about a file that the words name",
        Doubt::Undone(_) => "a call that was to change something failed, and nothing came in its place",
        Doubt::Unfounded(_) => "the answer names figures that stand in no result",
    }
}

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
    let why = if milli == 0 { "arguments could not be read" } else { "the same call was made again" };
    format!("the temperature is {}.{}: {why}", milli / 1_000, milli % 1_000 / 100)
}

fn listed(names: &[String]) -> String {
    let names: Vec<String> = names.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

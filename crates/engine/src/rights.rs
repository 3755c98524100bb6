//! What the agent of a child session may do at most, and what it was begun with.
//!
//! Fixed when the session begins, and stored with its first record, so that
//! restarts and replays have it. Whatever is given is a part of what the agent
//! that gives it has: fewer tools, more profiles, the agents above, a share of
//! the budget. The words that ask are those of the user that it was begun
//! for; the prompt is a model's text and asks for nothing.

use are_core::canonical::Args;
use are_core::ids::{AgentName, ToolName};
use are_core::label::Label;
use are_policy::agent::{Narrowing, ToolPattern};
use are_policy::budget::{Budget, Used};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::Agent;

/// Agents begun by agents nest so deep: what is deeper is a loop or hides from whoever reads along.
pub(crate) const DEPTH_MAX: usize = 3;
/// Agents that one turn of a user begins in all, through its agents too.
pub(crate) const PER_TURN_MAX: u64 = 16;
/// Seconds that an agent works if nobody says otherwise.
pub(crate) const SECONDS: u64 = 900;
/// Seconds that an agent works at most.
pub(crate) const SECONDS_MAX: u64 = 3_600;
/// Bytes of the calls that an agent made which are told to whoever began it. A turn whose agents did more than can be
/// told is ended, since nobody could count it.
pub(crate) const MADE_BYTES_MAX: usize = 512 << 10;
/// Bytes of a text in such a call; a longer one is content, which nothing is counted by.
const MADE_TEXT_BYTES_MAX: usize = 4 << 10;

/// Tools and arguments of calls.
pub(crate) type Calls = Vec<(String, Args)>;

/// The rights of a child session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    /// A tool must be in each of these lists.
    pub(crate) within: Vec<Vec<ToolPattern>>,
    /// What its decisions are held to.
    pub(crate) narrowing: Narrowing,
    /// Its share.
    pub(crate) budget: Budget,
    /// What it was begun with.
    pub(crate) given: Given,
}

/// What the first turn of a child session begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    /// What the user said in the turn that it works for.
    pub(crate) words: Vec<String>,
    /// Label of the prompt: the worst that whoever wrote it had in view.
    pub(crate) label: Label,
    /// Calls of that turn that count as made.
    pub(crate) earlier: Calls,
    /// Plans of the turns above that do not name agents, which could be held to no less.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) plans: Vec<Vec<ToolName>>,
}

impl Rights {
    /// As stored. What cannot be read gives nothing.
    pub(crate) fn read(stored: &Value) -> Self {
        serde_json::from_value(stored.clone()).unwrap_or_else(|_| Self {
            within: vec![Vec::new()],
            narrowing: Narrowing { profiles: vec![are_policy::rules::Profile::Strict], agents: Vec::new() },
            budget: Budget { tokens: Some(0), ..Budget::default() },
            given: Given {
                words: Vec::new(),
                label: Label::worst("unreadable"),
                earlier: Vec::new(),
                plans: Vec::new(),
            },
        })
    }

    /// As it is stored.
    pub(crate) fn to_value(&self) -> Value {
        // Lists, texts and integers, so encoding cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The agent as its file says, within these rights.
    pub(crate) fn of(&self, file: &Agent) -> Agent {
        let mut agent = file.clone();
        agent.within.extend(self.within.iter().cloned());
        for profile in &self.narrowing.profiles {
            if !agent.narrowing.profiles.contains(profile) {
                agent.narrowing.profiles.push(*profile);
            }
        }
        agent.narrowing.agents.clone_from(&self.narrowing.agents);
        agent.budget = agent.budget.least(self.budget);
        agent
    }
}

impl Agent {
    /// The rights of an agent that this one begins, beside what its own file says.
    pub(crate) fn rights(&self, tools: Option<Vec<ToolPattern>>, budget: Budget, given: Given) -> Rights {
        let mut within = self.within.clone();
        within.extend(self.tools.clone());
        within.extend(tools);
        // The same list twice says nothing new, and agents of one kind would add it at each level.
        let mut seen = Vec::new();
        within.retain(|list| {
            !seen.contains(list) && {
                seen.push(list.clone());
                true
            }
        });
        let above: Vec<AgentName> = [&self.name].into_iter().chain(&self.narrowing.agents).cloned().collect();
        let narrowing = Narrowing { profiles: self.narrowing.profiles.clone(), agents: above };
        Rights { within, narrowing, budget, given }
    }
}

/// What a child session tells of its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Made {
    pub(crate) used: Used,
    pub(crate) calls: Calls,
    /// True when there were more calls than are told.
    pub(crate) is_cut: bool,
}

impl Made {
    pub(crate) fn new(used: Used, calls: impl Iterator<Item = (String, Args)>) -> Self {
        let mut made = Self { used, calls: Vec::new(), is_cut: false };
        let mut room = MADE_BYTES_MAX;
        for (tool, args) in calls {
            let args = shortened(&args);
            match room.checked_sub(tool.len() + args.as_str().len()) {
                Some(left) => room = left,
                None => {
                    made.is_cut = true;
                    break;
                }
            }
            made.calls.push((tool, args));
        }
        made
    }

    /// As stored; what cannot be read counts as more than can be told.
    pub(crate) fn read(stored: &Value) -> Self {
        serde_json::from_value(stored.clone()).unwrap_or(Self {
            used: Used::default(),
            calls: Vec::new(),
            is_cut: true,
        })
    }

    pub(crate) fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// The arguments without long texts.
fn shortened(args: &Args) -> Args {
    if args.as_str().len() <= MADE_TEXT_BYTES_MAX {
        return args.clone();
    }
    let mut value = Value::Object(args.to_map());
    shorten(&mut value);
    Args::from_value(&value).unwrap_or_else(|_| args.clone())
}

// Recursion is bounded: canonical arguments nest at most `DEPTH_MAX` deep.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > MADE_TEXT_BYTES_MAX => *value = Value::Null,
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

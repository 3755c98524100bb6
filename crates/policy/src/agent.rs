//! What narrows an agent beside the rules: the tools that it may use, the
//! profiles it is held to, and on whose behalf it acts.
//!
//! Only ever narrows. An agent's profile is asked beside the one in force, and
//! the stricter of the two counts; an agent that another one began is decided
//! about as itself and as every agent above it, and the strictest answer
//! counts. So neither a file nor a child can give what its reader or maker
//! does not have.

use std::fmt;
use std::str::FromStr;

use are_core::ids::{AgentName, ToolName};
use serde::{Deserialize, Serialize};

use crate::rules::Profile;

/// Longest pattern: a tool's name with a few stars in it.
const PATTERN_BYTES_MAX: usize = 80;
/// Stars of one pattern; more say nothing that fewer do not.
const STARS_MAX: usize = 4;

/// What a call is held to beside the rules in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Narrowing {
    /// Profiles that are asked beside the one in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<Profile>,
    /// The agents on whose behalf this one acts, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentName>,
}

/// Narrows nothing.
pub static NONE: Narrowing = Narrowing { profiles: Vec::new(), agents: Vec::new() };

impl Narrowing {
    /// True when it narrows nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.profiles.is_empty() && self.agents.is_empty()
    }
}

/// A tool's name in which `*` stands for any characters: `fs_read`, `fs_*`, `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolPattern(String);

/// The text is no pattern of tools' names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no tool: write a name, or a pattern of `a-z`, `0-9`, `_` and at most {STARS_MAX} `*`, such as `fs_*`"
)]
pub struct InvalidPattern(String);

impl ToolPattern {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a tool's name is meant.
    #[must_use]
    pub fn matches(&self, name: &ToolName) -> bool {
        let name = name.as_str();
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let mut pieces: Vec<&str> = pieces.collect();
        // Without a star nothing may follow.
        let Some(last) = pieces.pop() else { return rest.is_empty() };
        for piece in pieces {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }
}

impl FromStr for ToolPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '*';
        let is_long = text.is_empty() || text.len() > PATTERN_BYTES_MAX;
        if is_long || !text.chars().all(is_allowed) || text.matches('*').count() > STARS_MAX {
            return Err(InvalidPattern(text.chars().take(PATTERN_BYTES_MAX).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ToolPattern {
    type Error = InvalidPattern;

    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        text.parse()
    }
}

impl From<ToolPattern> for String {
    fn from(pattern: ToolPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;

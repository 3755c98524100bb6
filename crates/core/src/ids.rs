//! Identifiers, parsed once at the edge and passed as types from then on.
//!
//! Names that come from outside are bounded in length and alphabet, because
//! they reach file names, log lines, policy entities and audit lines.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_with::{DeserializeFromStr, SerializeDisplay};
use uuid::Uuid;

/// Position of an entry in its session's journal: starts at 1, has no gaps.
pub type Seq = u64;
/// Number of a turn within its session: starts at 1.
pub type TurnNo = u32;
/// Number of a tool call within its session: starts at 1.
pub type CallNo = u32;
/// Number of an approval within its session: starts at 1.
pub type ApprovalNo = u32;
/// Rises each time an actor takes a session; an append with an older one is refused.
pub type Fence = u64;
/// Rises when entries that clients may have seen can have been lost (power cut, restored copy).
pub type Epoch = u32;

/// Why a text is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{kind}` must be {rule}")]
pub struct InvalidId {
    /// What was being parsed.
    pub kind: &'static str,
    /// The rule it broke.
    pub rule: &'static str,
}

/// Key of a session, a UUID v7, so that keys sort by creation time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionKey(Uuid);

impl SessionKey {
    /// The session that holds what belongs to no other: start-ups, tokens,
    /// configuration, policy, account variables.
    pub const SYSTEM: Self = Self(Uuid::nil());

    /// Makes a key from a time in milliseconds since 1970 and 32 random bytes (ten are used).
    #[must_use]
    pub fn new(now_ms: u64, random: &[u8; 32]) -> Self {
        let mut tail = [0; 10];
        tail.copy_from_slice(&random[..10]);
        Self(uuid::Builder::from_unix_timestamp_millis(now_ms, &tail).into_uuid())
    }

    /// The sixteen bytes under which a store keeps the session.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The inverse of [`as_bytes`](Self::as_bytes).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for SessionKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidId { kind: "session", rule: "a UUID" })
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $rule:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, SerializeDisplay, DeserializeFromStr)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let allowed: fn(char) -> bool = $allowed;
                if text.is_empty() || text.len() > $max || !text.chars().all(allowed) {
                    return Err(InvalidId { kind: $kind, rule: $rule });
                }
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-'
}

fn is_tool_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

name_type!(
    /// Who owns sessions and speaks, always as a credential says.
    AccountId, "account", 64, "1 to 64 of a-z, 0-9, _ and -", is_name_char
);
name_type!(
    /// Several accounts under one name, for rules.
    GroupName, "group", 64, "1 to 64 of a-z, 0-9, _ and -", is_name_char
);
name_type!(
    /// The agent that acts for an account; the stem of `agents/NAME.md`.
    AgentName, "agent", 64, "1 to 64 of a-z, 0-9, _ and -", is_name_char
);
name_type!(
    /// Name of a tool.
    ToolName, "tool", 64, "1 to 64 of a-z, 0-9 and _", is_tool_char
);
name_type!(
    /// The place an account speaks from: a terminal, a chat, a browser tab.
    ThreadId, "thread", 128, "1 to 128 visible ASCII characters", |c| c.is_ascii_graphic()
);
name_type!(
    /// The client's own name for a request; the same one again is the same turn.
    RequestId, "request_id", 128, "1 to 128 visible ASCII characters", |c| c.is_ascii_graphic()
);
name_type!(
    /// Name of a variable, as in `${var:x}`.
    VariableName, "variable", 64, "1 to 64 of A-Z, a-z, 0-9, _, - and .",
    |c| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.'
);

name_type!(
    /// Name of a secret, as in `${secret:x}`.
    SecretName, "secret", 64, "1 to 64 of A-Z, a-z, 0-9, _ and -", |c| c.is_ascii_alphanumeric() || c == '_' || c == '-'
);

name_type!(
    /// Public id of something that an account remembers.
    MemoryId, "memory", 16, "16 of 0-9 and a-f", |c| matches!(c, '0'..='9' | 'a'..='f')
);

#[cfg(test)]
mod tests;

//! Stable error codes and the fault that clients, models and logs are told of.
//!
//! A code is `ARE-NNNN`, the same in events, HTTP and CLI; each has a page
//! `docs/errors/ARE-NNNN.md`. Groups: 00 cli and configuration, 01 start,
//! 02 doors, 03 session and journal, 04 model, 05 tool, 06 policy and approval,
//! 07 limits, 08 secrets and audit, 09 replicas.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_with::{DeserializeFromStr, SerializeDisplay};

/// A stable error code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, SerializeDisplay, DeserializeFromStr)]
pub struct Code(u16);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal),+ $(,)?) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($number);)+

            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self($number)),+];
        }
    };
}

codes! {
    // 00 command line and configuration
    /// An unknown key in `are.toml`.
    CONFIG_UNKNOWN_KEY = 1,
    /// A setting's value is not usable.
    CONFIG_INVALID = 2,
    /// The configuration file cannot be read.
    CONFIG_UNREADABLE = 3,
    /// Several providers have a key and none is chosen.
    MODEL_AMBIGUOUS = 4,
    /// No model can be had.
    MODEL_MISSING = 5,
    /// An unknown local model's name.
    LOCAL_MODEL_UNKNOWN = 6,
    /// Two settings exclude each other.
    CONFIG_CONFLICT = 7,
    /// The workspace is too wide or contains the data directory.
    WORKSPACE_REFUSED = 8,
    /// The named agent does not exist or its file is invalid.
    AGENT_INVALID = 9,
    // 01 start
    /// The data directory cannot be used.
    DATA_DIR_UNUSABLE = 101,
    /// Another process holds the data directory.
    DATA_DIR_LOCKED = 102,
    /// The address cannot be bound.
    PORT_IN_USE = 103,
    /// The processor is too old for this build.
    CPU_TOO_OLD = 104,
    /// No server answers.
    SERVER_UNREACHABLE = 105,
    // 02 doors
    /// No credential.
    UNAUTHENTICATED = 201,
    /// A wrong, revoked or duplicated credential.
    CREDENTIAL_INVALID = 202,
    /// A foreign `Origin`.
    ORIGIN_REFUSED = 203,
    /// A foreign `Host`.
    HOST_REFUSED = 204,
    /// The token lacks a scope.
    SCOPE_MISSING = 205,
    /// A request or frame that is not understood.
    REQUEST_INVALID = 206,
    /// A request or frame above the announced limit.
    REQUEST_TOO_LARGE = 207,
    /// Too many connections.
    TOO_MANY_CONNECTIONS = 208,
    /// No such path or thing.
    NOT_FOUND = 209,
    /// Too many wrong credentials from this client.
    SLOWED_DOWN = 210,
    /// Reading too slowly to be served further.
    SLOW_READER = 212,
    /// The server is shutting down or not ready.
    UNAVAILABLE = 213,
    /// No such account, or none that this token may speak for.
    ACCOUNT_UNKNOWN = 214,
    /// The account's name is taken, or was by a deleted one.
    ACCOUNT_TAKEN = 215,
    /// The operator's account cannot be taken away.
    ACCOUNT_PROTECTED = 216,
    /// The account was disabled or deleted while its turn ran.
    ACCOUNT_GONE = 217,
    // 03 session and journal
    /// No such session for this account.
    SESSION_UNKNOWN = 301,
    /// The session's journal is corrupt.
    SESSION_CORRUPT = 302,
    /// A turn is running.
    SESSION_BUSY = 303,
    /// The request id was used for something else.
    REQUEST_CONFLICT = 304,
    /// The store failed.
    STORE_FAILED = 305,
    /// No space left.
    STORE_FULL = 306,
    /// The store is not the one the data directory belongs to.
    STORE_MISMATCH = 307,
    /// The store was written by a newer version.
    STORE_TOO_NEW = 308,
    /// Another instance owns the session.
    FENCED = 309,
    /// The turn is not running.
    TURN_NOT_RUNNING = 310,
    /// The replay differs from the journal.
    REPLAY_DIFFERS = 312,
    /// The turn was ended by a panic or internal error.
    INTERNAL = 313,
    // 04 model
    /// The provider refused the key.
    MODEL_AUTH = 401,
    /// The provider is rate limiting.
    MODEL_RATE_LIMITED = 402,
    /// The provider answered with an error.
    MODEL_ERROR = 403,
    /// The provider was silent for too long.
    MODEL_TIMEOUT = 404,
    /// The answer is broken or ends early.
    MODEL_STREAM_BROKEN = 405,
    /// The answer exceeds a limit.
    MODEL_LIMIT = 406,
    /// The provider cannot be reached.
    MODEL_UNREACHABLE = 407,
    /// No such model.
    MODEL_UNKNOWN = 408,
    /// The conversation does not fit into the model's context.
    CONTEXT_TOO_LONG = 409,
    /// A model file is missing.
    MODEL_FILE_MISSING = 410,
    /// A model file is truncated or another than the manifest says.
    MODEL_FILE_WRONG = 411,
    /// The local engine failed.
    LOCAL_ENGINE = 412,
    /// The provider redirected where it may not.
    MODEL_REDIRECT = 413,
    /// A model file could not be fetched.
    MODEL_PULL_FAILED = 414,
    /// The answer has not the form that was asked for.
    ANSWER_UNFIT = 415,
    /// The model takes no images.
    IMAGES_REFUSED = 416,
    // 05 tool
    /// No such tool.
    TOOL_UNKNOWN = 501,
    /// The arguments do not fit the tool's schema.
    TOOL_ARGS = 502,
    /// The tool failed.
    TOOL_FAILED = 503,
    /// The tool took too long.
    TOOL_TIMEOUT = 504,
    /// Nobody knows whether the call happened.
    TOOL_OUTCOME_UNKNOWN = 505,
    /// The path is outside the workspace or of a refused kind.
    PATH_REFUSED = 507,
    /// The address is private, local or otherwise refused.
    ADDRESS_REFUSED = 508,
    /// A tool's manifest is invalid.
    MANIFEST_INVALID = 509,
    /// The file or variable does not exist.
    TOOL_NOT_FOUND = 510,
    /// A file is not what the turn to be undone left.
    UNDO_CONFLICT = 515,
    /// What a turn replaced was not kept.
    NOT_RESTORABLE = 516,
    /// The cage could not be closed around a command.
    CAGE_FAILED = 520,
    /// Another file of tools has that name.
    TOOL_EXISTS = 530,
    /// A server of tools cannot be reached, has died or does not keep to the protocol.
    SERVER_UNUSABLE = 540,
    /// A server declares a tool otherwise than it was consented to.
    TOOL_REVOKED = 541,
    /// What a server is to be started or reached by is not usable.
    SERVER_INVALID = 542,
    /// What is consented to is not what was shown.
    CONSENT_MISMATCH = 543,
    /// A server asks for a login, or for one that may do more.
    SERVER_LOGIN = 544,
    /// A login at a server came to nothing.
    LOGIN_FAILED = 545,
    // 06 policy and approval
    /// The policy denies it.
    DENIED = 601,
    /// No such approval.
    APPROVAL_UNKNOWN = 602,
    /// The answer is for other bytes than were shown.
    APPROVAL_MISMATCH = 603,
    /// The answer did not come in time, and the turn was set aside.
    APPROVAL_PENDING = 604,
    /// The rules are invalid.
    POLICY_INVALID = 605,
    /// Too many denials in one turn.
    TOO_MANY_DENIALS = 606,
    /// `allow_always` cannot keep the rule.
    RULE_NOT_KEPT = 607,
    /// The prompt firewall did not take the prompt.
    PROMPT_REFUSED = 608,
    // 07 limits
    /// The turn has taken too many steps.
    STEP_LIMIT = 701,
    /// The prompt is too large.
    PROMPT_TOO_LARGE = 702,
    /// Too many turns wait in the session.
    PENDING_LIMIT = 704,
    /// Too many or too large variables.
    VARIABLE_LIMIT = 705,
    /// Too many sessions are active.
    SESSION_LIMIT = 706,
    /// The agent's budget for the session is used up.
    BUDGET_USED_UP = 707,
    /// A running call asks for more, deeper or its own calls than calls may.
    CHILD_LIMIT = 708,
    /// Too many or too long memories.
    MEMORY_LIMIT = 709,
    /// Too many accounts, groups or tokens.
    ACCOUNT_LIMIT = 712,
    /// A rate or budget of the account, of an effect or of a provider is used up.
    RATE_LIMIT = 713,
    /// The same call failed the same way again and again.
    LOOP = 714,
    /// Money is limited and the model has no price.
    PRICE_UNKNOWN = 715,
    // 08 secrets and audit
    /// No such token.
    TOKEN_UNKNOWN = 801,
    /// Auditing is off.
    AUDIT_OFF = 810,
    /// The log, the tree or a proof is not what was written.
    AUDIT_BROKEN = 811,
    /// The key that signs checkpoints, or one to verify with, cannot be used.
    AUDIT_KEY = 812,
    /// There is no such record or checkpoint.
    AUDIT_UNKNOWN = 813,
    /// The log is being verified already.
    AUDIT_BUSY = 814,
    /// No such secret.
    SECRET_UNKNOWN = 802,
    /// The key that seals the secrets is missing or another one.
    SECRETS_LOCKED = 803,
    /// The secret may not go there.
    SECRET_BOUND = 804,
    /// A secret cannot stand there.
    SECRET_MISPLACED = 805,
    /// A secret is too short or too long, or there are too many.
    SECRET_LIMIT = 806,
    /// What is sealed was changed by somebody else.
    SECRET_CORRUPT = 807,
}

impl Code {
    /// The number after `ARE-`.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ARE-{:04}", self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.strip_prefix("ARE-")
            .filter(|digits| digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not an error code"))
    }
}

/// An error as it may be shown: no internal path, provider body or secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code} {message}")]
pub struct Fault {
    /// Stable code.
    pub code: Code,
    /// What happened and why: lower case, no trailing dot.
    pub message: String,
    /// What to do.
    pub help: String,
    /// True when the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// When to try again, in milliseconds, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Fault {
    /// A fault that trying again will not cure.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: help.into(), retryable: false, retry_after_ms: None }
    }

    /// Marks it as worth trying again.
    #[must_use]
    pub const fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Marks it as worth trying again after `ms` milliseconds.
    #[must_use]
    pub const fn retry_after(mut self, ms: u64) -> Self {
        self.retryable = true;
        self.retry_after_ms = Some(ms);
        self
    }
}

//! How the program ends: the exit codes, which are an interface.

use are_core::error::{Code, Fault};

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// The command line is not understood.
    Usage = 2,
    /// A setting, agent, model or workspace is not usable.
    Configuration = 3,
    /// A denial kept the turn from finishing.
    Denied = 4,
    /// Server, provider or store cannot serve now; later it may.
    Unavailable = 5,
    /// Stored data is not what was written, or a replay differs.
    Integrity = 6,
    /// Interrupted by the user.
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The exit code that an error code stands for.
    #[must_use]
    pub fn of(code: Code) -> Self {
        match code {
            Code::DENIED | Code::TOO_MANY_DENIALS | Code::PROMPT_REFUSED => Self::Denied,
            Code::SESSION_CORRUPT
            | Code::STORE_MISMATCH
            | Code::REPLAY_DIFFERS
            | Code::MODEL_FILE_WRONG
            | Code::AUDIT_BROKEN
            | Code::SECRET_CORRUPT => Self::Integrity,
            Code::MODEL_FILE_MISSING
            | Code::POLICY_INVALID
            | Code::AUDIT_OFF
            | Code::AUDIT_KEY
            | Code::PRICE_UNKNOWN => Self::Configuration,
            Code::DATA_DIR_LOCKED
            | Code::PORT_IN_USE
            | Code::SERVER_UNREACHABLE
            | Code::SLOWED_DOWN
            | Code::TOO_MANY_CONNECTIONS
            | Code::UNAVAILABLE
            | Code::STORE_FULL
            | Code::MODEL_RATE_LIMITED
            | Code::MODEL_TIMEOUT
            | Code::MODEL_UNREACHABLE
            | Code::MODEL_PULL_FAILED
            | Code::SERVER_UNUSABLE
            | Code::SERVER_LOGIN
            | Code::AUDIT_BUSY => Self::Unavailable,
            code if code.number() < 100 => Self::Configuration,
            _ => Self::Failed,
        }
    }
}

/// Why a verb ends early.
#[derive(Debug)]
pub enum Failure {
    /// Something to tell the user.
    Fault(Fault),
    /// All was said already.
    Said(Exit),
    /// Nobody reads the output any more, or it cannot be written.
    Output(std::io::Error),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

/// What a verb returns.
pub type Outcome = Result<Exit, Failure>;

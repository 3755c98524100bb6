//! Errors of the ports as faults for clients.

use are_core::error::{Code, Fault};
use are_core::ids::TurnNo;
use are_core::journal::Corrupt;
use are_core::store::StoreError;

/// A store's error; what it says inside stays in the log.
pub(crate) fn store(error: StoreError) -> Fault {
    match error {
        StoreError::NotFound => unknown_session(),
        StoreError::Fenced => {
            Fault::new(Code::FENCED, "another instance has taken the session", "attach to it there, or try again")
                .retryable()
        }
        StoreError::Full => Fault::new(
            Code::STORE_FULL,
            "no space is left for the journal; nothing was done",
            "free space on the data directory's disk and send it again; no restart is needed",
        )
        .retryable(),
        StoreError::RequestTaken { .. } => request_conflict(),
        StoreError::Corrupt(inner) => {
            tracing::error!(error = inner, "the store is corrupt");
            Fault::new(Code::SESSION_CORRUPT, "stored data is unreadable", "run `are doctor`")
        }
        StoreError::HeadMoved { found } => {
            tracing::error!(seq = found.seq, "the journal's head moved under its owner");
            Fault::new(Code::SESSION_CORRUPT, "the journal changed under its owner", "run `are doctor`")
        }
        StoreError::Failed(inner) => {
            tracing::error!(error = inner, "the store failed");
            Fault::new(Code::STORE_FAILED, "the store failed and the engine is stopping", "see the log, then restart")
        }
    }
}

/// A journal that is not what was written.
pub(crate) fn corrupt(corrupt: Corrupt) -> Fault {
    Fault::new(
        Code::SESSION_CORRUPT,
        corrupt.to_string(),
        "the session is closed to keep the evidence; other sessions are not touched; restore it from a backup",
    )
}

pub(crate) fn unknown_session() -> Fault {
    Fault::new(Code::SESSION_UNKNOWN, "there is no such session", "list yours with `are session list`")
}

pub(crate) fn request_conflict() -> Fault {
    Fault::new(
        Code::REQUEST_CONFLICT,
        "the request id was used for something else",
        "use a fresh request id for each new request",
    )
}

pub(crate) fn not_running() -> Fault {
    Fault::new(Code::TURN_NOT_RUNNING, "the turn is not running", "look at its end with `are session events`")
}

pub(crate) fn busy(turn: TurnNo) -> Fault {
    Fault::new(
        Code::SESSION_BUSY,
        format!("turn {turn} is running"),
        "wait for its end, or send the prompt with `if_busy` set to `queue` or `steer`",
    )
    .retryable()
}

pub(crate) fn turns_since(turn: TurnNo) -> Fault {
    let help = "look at it with `are session events`, and delete the session as a whole";
    Fault::new(Code::SESSION_BUSY, format!("turn {turn} has begun since"), help)
}

pub(crate) fn unknown_turn() -> Fault {
    Fault::new(Code::NOT_FOUND, "the session has no such turn", "see its turns with `are session events`")
}

pub(crate) fn account_gone() -> Fault {
    Fault::new(
        Code::ACCOUNT_GONE,
        "the account was disabled or deleted",
        "ask whoever runs this server; `are account enable` takes a disabled account back",
    )
}

pub(crate) fn unknown_account() -> Fault {
    Fault::new(Code::ACCOUNT_UNKNOWN, "there is no such account", "`are account list` shows those there are")
}

pub(crate) fn unknown_token() -> Fault {
    Fault::new(Code::TOKEN_UNKNOWN, "there is no such token", "`are token list` shows them")
}

pub(crate) fn stopping() -> Fault {
    Fault::new(Code::UNAVAILABLE, "the engine is stopping", "try again in a moment").retryable()
}

pub(crate) fn too_many_memories() -> Fault {
    let message = format!("an account has {} memories at most", are_core::limits::MEMORIES_MAX);
    Fault::new(Code::MEMORY_LIMIT, message, "delete some with `are memory delete`")
}

pub(crate) fn internal() -> Fault {
    Fault::new(Code::INTERNAL, "the session's worker failed unexpectedly", "try again; the log says more")
}

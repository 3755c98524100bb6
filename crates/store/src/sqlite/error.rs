//! What SQLite's errors mean to a caller: refuse, wait for space, give up the session, or stop.

use std::io;
use std::path::PathBuf;

use are_core::error::Code;
use are_core::store::StoreError;
use rusqlite::ffi::{self, ErrorCode};

/// Why a store cannot be opened. The data directory is then as it was, but
/// for directories and the lock file that may have been made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another store in this one, holds the directory.
    #[error("`{}` is in use by another process", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// Identity and database do not belong together, or one of them is gone or damaged.
    #[error("`{}` {what}", path.display())]
    Mismatch {
        /// The file to look at.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer version wrote the database.
    #[error("`{}` has schema {found}; this version knows schemas up to {known}", path.display())]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest one known.
        known: i64,
    },
    /// There is no space to open it.
    #[error("no space left on the device of `{}`", path.display())]
    Full {
        /// The data directory.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("`{}` cannot be used: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("`{}` cannot be used: {what}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// Its reason.
        what: String,
    },
}

impl OpenError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Locked { .. } => Code::DATA_DIR_LOCKED,
            Self::Mismatch { .. } => Code::STORE_MISMATCH,
            Self::TooNew { .. } => Code::STORE_TOO_NEW,
            Self::Full { .. } => Code::STORE_FULL,
            Self::Io { .. } => Code::DATA_DIR_UNUSABLE,
            Self::Database { .. } => Code::STORE_FAILED,
        }
    }

    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| if is_no_space(&source) { Self::Full { path } } else { Self::Io { path, source } }
    }

    pub(super) fn sql(path: impl Into<PathBuf>) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.into();
        move |error| match Trouble::from(error) {
            Trouble::Full => Self::Full { path },
            Trouble::Corrupt(what) => Self::Mismatch { path, what: format!("is damaged: {what}") },
            Trouble::Refused(error) => Self::Database { path, what: error.to_string() },
            Trouble::Fatal(what) => Self::Database { path, what },
        }
    }
}

/// Why an append did not happen.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It was not to happen; others in the same transaction may.
    Refused(StoreError),
    /// No space; nothing was written.
    Full,
    /// What it touches is unreadable; nothing was written.
    Corrupt(String),
    /// A write or sync failed: the store's state is unknown.
    Fatal(String),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        // SQLite keeps the system's reason of a failed write to itself. This thread has made that write last, or
        // something after it failed for another reason, which then is no lack of space.
        let reason = io::Error::last_os_error();
        Self::sorted(error, &reason)
    }
}

impl Trouble {
    fn sorted(error: rusqlite::Error, reason: &io::Error) -> Self {
        let rusqlite::Error::SqliteFailure(failure, _) = &error else {
            return match error {
                // A value is not what its column promises: somebody edited the file.
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..) => Self::Corrupt(error.to_string()),
                _ => Self::Fatal(error.to_string()),
            };
        };
        match failure.code {
            ErrorCode::DiskFull => Self::Full,
            // A constraint can only break when rows stand beyond the head: an edited store.
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation => {
                Self::Corrupt(error.to_string())
            }
            // SQLite knows a full disk, but not a quota that is used up.
            ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_WRITE && is_no_space(reason) => {
                Self::Full
            }
            ErrorCode::SystemIoFailure if is_read_failure(failure.extended_code) => Self::Corrupt(error.to_string()),
            _ => Self::Fatal(error.to_string()),
        }
    }
}

/// True where a write found no room, on the disk or in its owner's quota: nothing was written.
fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// True for I/O errors that concern one place of the file and leave nothing half written.
const fn is_read_failure(extended: i32) -> bool {
    matches!(
        extended,
        ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS | ffi::SQLITE_IOERR_DATA
    )
}

/// What a failed read means. Nothing was written, so only a store that cannot be read at all has failed.
impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(error) => error,
            Trouble::Full => Self::Full,
            Trouble::Corrupt(what) => Self::Corrupt(what),
            Trouble::Fatal(what) => Self::Failed(what),
        }
    }
}

#[cfg(test)]
mod tests;

//! What a call changed among the files of a workspace, as it is journaled.
//!
//! A list of these is kept with a call's outcome. Content is named by its
//! SHA-256; the bytes themselves lie in the store of checkpoints and never in
//! the journal. Paths are relative to the workspace and plain.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FileState {
    /// A regular file.
    File {
        /// Permission bits.
        mode: u32,
        /// Length.
        bytes: u64,
        /// Digest of its content; absent where it was too large or could not be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    },
    /// A symbolic link.
    Link {
        /// What it says, not followed.
        target: String,
    },
    /// A directory.
    Directory {
        /// Permission bits; absent for one that was about to be made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
    },
    /// Anything else: a socket, a FIFO, a device.
    Other {},
}

impl FileState {
    /// True when both are known to be the same: content and bits of a file, target of a link, kind of a directory.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { digest: None, .. }, _) => false,
            (Self::Directory { .. }, Self::Directory { .. }) => true,
            (one, other) => one == other,
        }
    }
}

/// Why what stood at a path before cannot be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// It was larger than one kept file may be.
    TooLarge,
    /// It was larger than all that may be kept.
    NoRoom,
    /// The server may not read it.
    Unreadable,
    /// It was neither file, link nor directory.
    Special,
    /// Its name or target is not text, or holds a secret.
    Name,
}

/// One path that a call changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Where.
    pub path: String,
    /// Where it was moved from; `before` and `after` are then about `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What stood there; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<FileState>,
    /// What stands there now; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<FileState>,
    /// Present when it cannot be put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
}

//! Room in the log, written before it is needed.
//!
//! A commit that makes the log longer makes its sync write the file's length and
//! place as well, which takes about twice as long as a sync of the data alone.
//! SQLite writes the log from its beginning again once all of it is in the
//! database, but a young log grows with each commit. So the writer, the only one
//! who writes there, adds zeros behind its end once, while nothing waits. Zeros
//! are no frames: whoever recovers the log stops before them.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

/// Length up to which the log is filled: what gathers before it is moved, and a reserve.
const ROOM_BYTES: u64 = 6 << 20;
/// Only where this much is free: a small disk has better uses for it.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// Commits before it is worth it. A start alone makes fewer.
const COMMITS_MIN: u32 = 8;

/// Whether there is room, and after how many commits to look.
#[derive(Debug)]
pub(super) struct Room {
    log: PathBuf,
    commits: u32,
    /// Whether it was tried since the log was emptied.
    is_tried: bool,
}

impl Room {
    pub(super) fn new(log: PathBuf) -> Self {
        Self { log, commits: 0, is_tried: false }
    }

    /// Counts a commit.
    pub(super) fn committed(&mut self) {
        self.commits = self.commits.saturating_add(1);
    }

    /// The log was emptied, and the room with it.
    pub(super) fn emptied(&mut self) {
        (self.commits, self.is_tried) = (0, false);
    }

    /// True when it should be made.
    pub(super) fn is_due(&self) -> bool {
        !self.is_tried && self.commits >= COMMITS_MIN
    }

    /// Makes it. To be called by the writer between two commits only.
    ///
    /// # Errors
    /// A write or sync that failed, other than for want of space.
    pub(super) fn make(&mut self) -> io::Result<()> {
        // Not again until the log is emptied, however it ends.
        self.is_tried = true;
        match fill(&self.log) {
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Ok(()),
            other => other,
        }
    }
}

fn fill(log: &Path) -> io::Result<()> {
    let disk = statvfs(log)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < FREE_BYTES_MIN {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(log)?;
    let length = file.metadata()?.len();
    let missing = usize::try_from(ROOM_BYTES.saturating_sub(length)).unwrap_or(0);
    if missing > 0 {
        file.write_all_at(&vec![0; missing], length)?;
        file.sync_data()?;
    }
    Ok(())
}

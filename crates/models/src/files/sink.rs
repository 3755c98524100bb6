//! Where the bytes of a model file arrive: one temporary file, hashed as it grows.
//!
//! Only [`Sink::finish`] gives the file its final name, after its size and
//! SHA-256 were found to be the listed ones and its bytes were synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use are_core::error::{Code, Fault};
use sha2::{Digest, Sha256};

use super::catalog::Entry;
use super::pull::{Progress, Reporter};
use super::verified;

/// Bytes between two reports of progress.
const REPORT_BYTES: u64 = 4 << 20;

pub(super) struct Sink {
    file: File,
    temporary: PathBuf,
    hasher: Sha256,
    written: u64,
    reported: u64,
    size: u64,
    report: Reporter,
}

impl Sink {
    pub(super) fn create(temporary: PathBuf, entry: &Entry, report: Reporter) -> Result<Self, Fault> {
        let file = File::create(&temporary).map_err(|error| disk("create", &error))?;
        Ok(Self { file, temporary, hasher: Sha256::new(), written: 0, reported: 0, size: entry.size, report })
    }

    /// Bytes so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Takes the next bytes; more than the listed size is refused at once.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.written += bytes.len() as u64;
        if self.written > self.size {
            return Err(other("the source sends more than the listed size"));
        }
        self.file.write_all(bytes).map_err(|error| disk("write", &error))?;
        self.hasher.update(bytes);
        if self.written - self.reported >= REPORT_BYTES || self.written == self.size {
            self.reported = self.written;
            (self.report)(Progress::Bytes { done: self.written, total: self.size });
        }
        Ok(())
    }

    /// Checks, syncs and names the file.
    pub(super) fn finish(self, models_dir: &Path, entry: &Entry) -> Result<PathBuf, Fault> {
        if self.written != entry.size {
            return Err(other(&format!("the source sent {} of {} bytes", self.written, entry.size)));
        }
        let sha256 = verified::hex(&self.hasher.finalize());
        if sha256 != entry.sha256 {
            return Err(other("the SHA-256 of what the source sent is not the listed one"));
        }
        let path = entry.path(models_dir);
        self.file.sync_all().map_err(|error| disk("sync", &error))?;
        fs::rename(&self.temporary, &path).map_err(|error| disk("name", &error))?;
        File::open(models_dir).and_then(|dir| dir.sync_all()).map_err(|error| disk("sync", &error))?;
        verified::record(models_dir, &entry.file, &sha256);
        Ok(path)
    }
}

/// A fault of the disk, which another source does not cure.
pub(super) fn disk(verb: &str, error: &io::Error) -> Fault {
    let help = if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        "free some space and try again"
    } else {
        "check the models directory and try again"
    };
    Fault::new(Code::MODEL_PULL_FAILED, format!("cannot {verb} the model file: {error}"), help)
}

/// A fault of the source; another one may do.
pub(super) fn other(why: &str) -> Fault {
    Fault::new(Code::MODEL_PULL_FAILED, why, "try again").retryable()
}

#[cfg(test)]
mod tests;

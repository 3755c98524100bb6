//! How many threads were found to write fastest, by model and machine.
//!
//! `threads.json` in the models directory. It is a cache: without it, or with a
//! broken one, it is tried out again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::host;

const FILE: &str = "threads.json";
/// Bytes of the file; more is not ours.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Findings that are kept, some hundred bytes each; with more all are begun anew.
const FINDINGS_MAX: usize = 100;

/// What a finding holds for: the model's file, the processor, and the numbers that the rule would choose here. `None`
/// when the file cannot be looked at.
#[must_use]
pub fn key(model: &Path, rule: (usize, usize)) -> Option<String> {
    // silent-ok: a finding that has no key is not remembered.
    let metadata = fs::metadata(model).ok()?;
    let name = model.file_name()?.to_string_lossy();
    let (reading, writing) = rule;
    let processor = host::processor().unwrap_or_default();
    Some(format!("{name} {} {} on {processor} with {reading}, {writing}", metadata.size(), metadata.mtime()))
}

/// What was found.
#[must_use]
pub fn recall(dir: &Path, key: &str) -> Option<usize> {
    read(dir).get(key).copied()
}

/// Remembers what was found; what goes wrong is logged.
pub fn remember(dir: &Path, key: &str, writing: usize) {
    let mut findings = read(dir);
    if findings.len() >= FINDINGS_MAX {
        findings.clear();
    }
    findings.insert(key.to_owned(), writing);
    if let Err(error) = write(dir, &findings) {
        tracing::debug!(%error, "cannot note how many threads are fastest; it will be tried out again");
    }
}

fn read(dir: &Path) -> BTreeMap<String, usize> {
    let mut text = String::new();
    let outcome = File::open(dir.join(FILE))
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .and_then(|_| serde_json::from_str(&text).map_err(io::Error::other));
    outcome.unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::debug!(%error, "what was found of threads is unreadable and begun anew");
        }
        BTreeMap::new()
    })
}

fn write(dir: &Path, findings: &BTreeMap<String, usize>) -> io::Result<()> {
    let temporary = dir.join(format!(".{FILE}.{}", std::process::id()));
    fs::write(&temporary, serde_json::to_vec_pretty(findings)?)?;
    fs::rename(&temporary, dir.join(FILE))
}

#[cfg(test)]
mod tests;

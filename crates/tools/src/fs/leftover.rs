//! Temporary files: how they are named, and removing those that a kill left.
//!
//! The name is reserved: a regular file that has it and was not touched for
//! ten minutes belongs to no call that still runs, here or in another process.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use are_core::digest::Digest;
use cap_std::fs::Dir;

/// Hexadecimal digits of the call's key in a name.
const KEY_DIGITS: usize = 32;
/// No write goes on for so long without touching its file.
const LEFT_AFTER: Duration = Duration::from_secs(600);
/// Entries of a directory that are looked at, so that a huge one does not make its writes slow.
const ENTRIES_MAX: usize = 10_000;

/// The temporary file of a call. Named after it, so that the same call, run again after a crash, replaces what it left.
pub(super) fn name(key: &Digest) -> OsString {
    format!(".are-{}.tmp", &key.to_string()[..KEY_DIGITS]).into()
}

fn is_ours(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(".are-")?.strip_suffix(".tmp"));
    digits.is_some_and(|digits| {
        digits.len() == KEY_DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Removes what killed calls left beside `written`, a file just written, as far as it can.
pub(super) fn sweep(dir: &Dir, written: &OsStr) {
    // The file system's own clock is compared with itself, so that no other one has to agree with it.
    let touched = |name: &OsStr| dir.symlink_metadata(name).and_then(|metadata| metadata.modified());
    let (Ok(now), Ok(entries)) = (touched(written), dir.entries()) else { return };
    let names = entries.take(ENTRIES_MAX).flatten().map(|entry| entry.file_name());
    for name in names.filter(|name| is_ours(name)) {
        let is_file = dir.symlink_metadata(&name).is_ok_and(|metadata| metadata.is_file());
        let age = touched(&name).ok().and_then(|touched| now.duration_since(touched).ok());
        if is_file
            && age.is_some_and(|age| age > LEFT_AFTER)
            && let Err(error) = dir.remove_file(&name)
        {
            tracing::debug!(%error, "a leftover of an earlier call could not be removed");
        }
    }
}

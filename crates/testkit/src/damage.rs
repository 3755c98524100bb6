//! Damages a closed store the way a failing disk or a curious person would.

use std::path::Path;

use are_core::ids::{Seq, SessionKey};

/// Changes the first bytes in the file that are `old` into `new`, which is as long.
///
/// # Panics
/// When the database file does not hold `old`; close the store first.
pub fn edit_bytes(data_dir: &Path, old: &str, new: &str) {
    assert_eq!(old.len(), new.len(), "the file keeps its form");
    let path = data_dir.join("are.db");
    let mut bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let found = bytes.windows(old.len()).position(|window| window == old.as_bytes());
    let at = found.unwrap_or_else(|| panic!("`{old}` is not in {}", path.display()));
    bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
    std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Changes one character inside the stored bytes of a record, in the file itself.
///
/// # Panics
/// When the database file does not hold the record; close the store first.
pub fn edit_record(data_dir: &Path, session: SessionKey, seq: Seq) {
    let path = data_dir.join("are.db");
    let mut bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mark = format!("\"session\":\"{session}\",\"seq\":{seq},\"prev\":\"");
    let found = bytes.windows(mark.len()).position(|window| window == mark.as_bytes());
    let at = found.unwrap_or_else(|| panic!("entry {seq} of {session} is not in {}", path.display())) + mark.len();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

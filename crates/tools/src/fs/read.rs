//! Reading a window of a file, listing a directory, looking at one entry.

use std::os::unix::fs::FileExt;
use std::time::UNIX_EPOCH;

use are_core::error::Fault;
use cap_std::fs::{FileType, Metadata, PermissionsExt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::path::shown;
use super::workspace::{Workspace, at, fault};
use crate::text::{json_cost, utf8_start, within};

/// Bytes read when the call names no limit: with its quoting it still reaches the model whole.
pub(super) const WINDOW_BYTES: usize = 48 << 10;
/// Fewest bytes of a window, so that each one holds at least a few characters.
pub(super) const WINDOW_BYTES_MIN: usize = 16;
/// Most bytes of a window.
pub(super) const WINDOW_BYTES_MAX: usize = 256 << 10;
/// Bytes of a window inside JSON; control characters take six each.
const WINDOW_JSON_BYTES_MAX: usize = 512 << 10;
/// Part of a full window, counted from its end, in which a line end is preferred as the cut.
const LINE_END_PART: usize = 4;
/// Entries listed.
const ENTRIES_MAX: usize = 1000;
/// Entries looked at, so that a directory of millions costs bounded time and memory.
const ENTRIES_READ_MAX: usize = 20_000;
/// Bytes of a list inside JSON.
const LIST_JSON_BYTES_MAX: usize = 256 << 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadArgs {
    path: String,
    #[serde(default)]
    offset: u64,
    limit: Option<usize>,
}

/// A window of a text file; of a binary one, only its size.
pub(super) fn file(workspace: &Workspace, args: &ReadArgs) -> Result<Value, Fault> {
    let path = workspace.entry(&args.path)?;
    let (file, metadata) = workspace.open_file(&path)?;
    let total = metadata.len();
    let limit = args.limit.unwrap_or(WINDOW_BYTES).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
    let file = file.into_std();
    let bytes = read_window(&file, args.offset, limit).map_err(|error| fault(&error, &path))?;

    // A window that begins inside a character begins with the next one.
    let is_tail = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
    let skipped = if args.offset == 0 { 0 } else { bytes.iter().take(3).take_while(is_tail).count() };
    let start = args.offset + skipped as u64;
    let is_full = bytes.len() == limit && args.offset.saturating_add(limit as u64) < total;
    let Some(text) = utf8_start(&bytes[skipped..], is_full) else {
        return Ok(json!({"binary": true, "bytes": total}));
    };
    let mut content = within(text, WINDOW_JSON_BYTES_MAX);
    let is_cut = is_full || content.len() < text.len();
    if is_cut && let Some(end) = content.rfind('\n').filter(|end| *end >= content.len() - content.len() / LINE_END_PART)
    {
        content = &content[..=end];
    }
    let mut value = json!({"content": content, "bytes": total, "truncated": is_cut});
    if start > 0 {
        value["offset"] = start.into();
    }
    if is_cut {
        value["next_offset"] = (start + content.len() as u64).into();
    }
    Ok(value)
}

fn read_window(file: &std::fs::File, offset: u64, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; limit];
    let mut filled = 0;
    while filled < limit {
        match file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListArgs {
    path: Option<String>,
}

/// The entries of a directory by name.
pub(super) fn list(workspace: &Workspace, args: &ListArgs) -> Result<Value, Fault> {
    let path = workspace.path(args.path.as_deref().unwrap_or("."))?;
    let entries = workspace.dir().read_dir(at(&path)).map_err(|error| fault(&error, &path))?;
    let mut found = Vec::new();
    let mut is_partial = false;
    for entry in entries {
        if found.len() == ENTRIES_READ_MAX {
            is_partial = true;
            break;
        }
        let entry = entry.map_err(|error| fault(&error, &path))?;
        found.push(entry);
    }
    found.sort_by_key(cap_std::fs::DirEntry::file_name);

    let mut budget = LIST_JSON_BYTES_MAX;
    let mut listed = Vec::new();
    for entry in found.iter().take(ENTRIES_MAX) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let cost = name.chars().map(json_cost).sum::<usize>() + 64;
        if cost > budget {
            break;
        }
        budget -= cost;
        // An entry that vanishes while it is listed is listed by name only.
        let metadata = entry.metadata().ok(); // silent-ok: the name is what was asked for
        let mut item = json!({"name": name, "kind": metadata.as_ref().map_or("other", |m| kind(&m.file_type()))});
        if let Some(metadata) = metadata.filter(Metadata::is_file) {
            item["bytes"] = metadata.len().into();
        }
        listed.push(item);
    }
    let is_cut = is_partial || listed.len() < found.len();
    Ok(json!({"entries": listed, "total": found.len(), "truncated": is_cut}))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PathArgs {
    pub(super) path: String,
}

/// One entry; a link is told as a link.
pub(super) fn stat(workspace: &Workspace, args: &PathArgs) -> Result<Value, Fault> {
    let path = workspace.path(&args.path)?;
    let metadata = workspace.dir().symlink_metadata(at(&path)).map_err(|error| fault(&error, &path))?;
    let modified = metadata.modified().map(cap_std::time::SystemTime::into_std).ok(); // silent-ok: not every file system keeps it
    let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_at_ms = modified.and_then(|since| u64::try_from(since.as_millis()).ok());
    Ok(json!({
        "path": shown(&path),
        "kind": kind(&metadata.file_type()),
        "bytes": metadata.len(),
        "modified_at_ms": modified_at_ms,
        "is_read_only": metadata.permissions().mode() & 0o222 == 0,
    }))
}

fn kind(kind: &FileType) -> &'static str {
    match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "link",
        () => "other",
    }
}

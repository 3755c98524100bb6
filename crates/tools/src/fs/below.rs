//! What moves along with a directory, judged by the rules before it moves.

use std::path::{Path, PathBuf};

use are_core::error::{Code, Fault};
use are_policy::rules::PathRules;
use tokio::time::Instant;

use super::path::shown;
use super::workspace::{Workspace, at, fault};
use crate::lane::Room;
use crate::text::short;

/// Entries below a directory that are judged; one with more is not moved while there are rules about paths.
const ENTRIES_MAX: usize = 20_000;

/// Refuses to move a directory when the rules would not let an entry below it be moved by itself,
/// under any of the names that the directory has or will have.
pub(super) fn must_be_allowed(
    workspace: &Workspace,
    from: &Path,
    names: &[&Path],
    rules: &PathRules,
    room: &Room,
) -> Result<(), Fault> {
    if rules.are_silent() {
        return Ok(());
    }
    let mut open = vec![PathBuf::new()];
    let mut entries = 0;
    while let Some(directory) = open.pop() {
        let here = from.join(&directory);
        // What cannot be looked at cannot be allowed.
        for entry in workspace.dir().read_dir(at(&here)).map_err(|error| fault(&error, &here))? {
            let entry = entry.map_err(|error| fault(&error, &here))?;
            let below = directory.join(entry.file_name());
            entries += 1;
            if entries > ENTRIES_MAX || Instant::now() >= room.deadline || room.latch.is_abandoned() {
                return Err(Fault::new(
                    Code::TOOL_FAILED,
                    format!("`{}` holds too much to be judged by the rules entry by entry", short(&shown(from))),
                    "move parts of it",
                ));
            }
            if !names.iter().all(|name| rules.allow(&shown(&name.join(&below)))) {
                return Err(Fault::new(
                    Code::DENIED,
                    format!("the rules do not let an entry below `{}` be moved there", short(&shown(from))),
                    "move other entries one by one, or tell the user that it was not allowed",
                ));
            }
            if entry.file_type().map_err(|error| fault(&error, &here))?.is_dir() {
                open.push(below);
            }
        }
    }
    Ok(())
}

//! Changes: each is prepared first, what it replaces is kept, then it is made in
//! one step of the file system, then made durable.
//!
//! The latch is taken right before the step. A failure before it leaves
//! nothing behind; a sync that fails after it makes the outcome unknown,
//! because the change is there and may not survive a power cut.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use are_core::change::{FileChange, FileState, Lost};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_policy::gate::Spent;
use are_policy::rules::PathRules;
use cap_std::fs::{Dir, File, Metadata, OpenOptions, OpenOptionsExt, PermissionsExt};
use rustix::fs::{Mode, RenameFlags, fchmod, renameat_with};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

use super::observe::MODE;
use super::path::{refused, shown};
use super::read::PathArgs;
use super::recorder::{Before, Recorder, change};
use super::workspace::{Workspace, failed, fault, is_same, sync_dir};
use super::{below, landing, leftover};
use crate::lane::Error;

/// Bytes of a file that can be edited: it is held in memory twice.
const EDIT_BYTES_MAX: u64 = 8 << 20;
/// Permission bits of a temporary file until it gets those of the file it replaces.
const PRIVATE: u32 = 0o600;
/// Permission bits of a new file; the process's umask takes from them.
const NEW: u32 = 0o666;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteArgs {
    path: String,
    content: String,
}

/// Writes a whole file.
pub(super) fn write(
    workspace: &Workspace,
    args: &WriteArgs,
    spent: &Spent,
    recorder: &mut Recorder<'_>,
) -> Result<Value, Error> {
    let path = workspace.entry(&args.path)?;
    if args.path.ends_with('/') {
        return Err(refused(&args.path, "it ends in a slash, so it names a directory").into());
    }
    let (file, found) = workspace.follow(&path)?;
    landing::entry(workspace, &path, &file, &spent.paths)?;
    if let Some(parent) = file.parent().filter(|parent| found.is_none() && !parent.as_os_str().is_empty())
        && !workspace.dir().is_dir(parent)
    {
        make_dirs(workspace, parent, recorder)?;
    }
    let new = New { content: args.content.as_bytes(), over: found.as_ref(), is_exact: false };
    replace(workspace, &file, &new, &spent.key, recorder)?;
    Ok(json!({"path": shown(&path), "bytes": args.content.len(), "created": found.is_none()}))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EditArgs {
    path: String,
    old: String,
    new: String,
}

/// Replaces the one occurrence of a text.
pub(super) fn edit(
    workspace: &Workspace,
    args: &EditArgs,
    spent: &Spent,
    recorder: &mut Recorder<'_>,
) -> Result<Value, Error> {
    let path = workspace.entry(&args.path)?;
    let (target, found) = workspace.follow(&path)?;
    landing::entry(workspace, &path, &target, &spent.paths)?;
    let (file, metadata) = workspace.open_file(&target)?;
    let text = read_text(file, &metadata, &path)?;
    let Some(at) = only_occurrence(&text, &args.old).map_err(|Again| not_once(&path, true))? else {
        return Err(not_once(&path, false).into());
    };
    let mut content = String::with_capacity(text.len() + args.new.len());
    content.push_str(&text[..at]);
    content.push_str(&args.new);
    content.push_str(&text[at + args.old.len()..]);
    if !found.is_some_and(|found| is_same(&found, &metadata)) {
        return Err(changed(&path).into());
    }
    let new = New { content: content.as_bytes(), over: Some(&metadata), is_exact: true };
    replace(workspace, &target, &new, &spent.key, recorder)?;
    Ok(json!({"path": shown(&path), "bytes": content.len()}))
}

fn read_text(file: File, metadata: &Metadata, path: &Path) -> Result<String, Fault> {
    let too_big = || failed(path, "is too big to edit", "write it anew with `fs_write`, or work on a part of it");
    if metadata.len() > EDIT_BYTES_MAX {
        return Err(too_big());
    }
    let mut bytes = Vec::new();
    file.into_std().take(EDIT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| fault(&error, path))?;
    if bytes.len() as u64 > EDIT_BYTES_MAX {
        return Err(too_big());
    }
    String::from_utf8(bytes).map_err(|_| failed(path, "is not a UTF-8 text file", "write it anew with `fs_write`"))
}

/// Where `old` is, if it is there once; an error if it is there again, overlapping or not.
fn only_occurrence(text: &str, old: &str) -> Result<Option<usize>, Again> {
    let Some(first) = text.find(old) else { return Ok(None) };
    let step = old.chars().next().map_or(1, char::len_utf8);
    // Counting all of them would take quadratic time.
    match text.get(first + step..).and_then(|rest| rest.find(old)) {
        None => Ok(Some(first)),
        Some(_) => Err(Again),
    }
}

/// There is more than one.
#[derive(Debug, PartialEq, Eq)]
struct Again;

fn not_once(path: &Path, is_there: bool) -> Fault {
    if is_there {
        let help = "make `old` longer, with lines around it, until it is the only one";
        failed(path, "holds `old` more than once, and it must be exactly once", help)
    } else {
        let help = "read the file and copy the text exactly, white space included";
        failed(path, "does not hold `old`", help)
    }
}

fn changed(path: &Path) -> Fault {
    failed(path, "was changed by something else meanwhile", "read it again").retryable()
}

/// The next content of a file.
struct New<'a> {
    content: &'a [u8],
    /// What it replaces.
    over: Option<&'a Metadata>,
    /// True when it was made from the old content, which must then still be there.
    is_exact: bool,
}

/// Puts the new content in the place of `file`, whole or not at all.
fn replace(
    workspace: &Workspace,
    file: &Path,
    new: &New<'_>,
    key: &Digest,
    recorder: &mut Recorder<'_>,
) -> Result<(), Error> {
    if let Some(found) = new.over {
        must_be_writable(file, found)?;
    }
    let (dir, name) = workspace.parent(file)?;
    let temporary = Temporary { dir: &dir, name: leftover::name(key), is_kept: false };
    let mode = new.over.map(|found| found.permissions().mode() & MODE);
    let mode = temporary.fill(new.content, mode).map_err(|error| fault(&error, file))?;
    let after = FileState::File { mode, bytes: new.content.len() as u64, digest: Some(Digest::of(&[new.content])) };
    let before = recorder.keep(workspace, file)?;
    recorder.begin(vec![change(file, &before, Some(after))])?;
    // What was kept, and what an edit was made from, must be what is replaced.
    let was = if new.is_exact { new.over } else { before.metadata.as_ref() };
    if let Some(was) = was {
        let now = dir.symlink_metadata(&name).map_err(|error| fault(&error, file))?;
        if !is_same(was, &now) {
            return Err(changed(file).into());
        }
    }
    temporary.rename(&name).map_err(|error| undone(&error, file))?;
    recorder.done();
    leftover::sweep(&dir, &name);
    sync_dir(&dir).map_err(|error| unknown(&error, file))
}

/// Makes the directories of `path` that are missing; true when there were any.
fn make_dirs(workspace: &Workspace, path: &Path, recorder: &mut Recorder<'_>) -> Result<bool, Error> {
    let missing = workspace.missing_dirs(path)?;
    if missing.is_empty() {
        return Ok(false);
    }
    let made = |path: &PathBuf| change(path, &Before::default(), Some(FileState::Directory { mode: None }));
    recorder.begin(missing.iter().map(made).collect())?;
    let mut is_ours = true;
    for path in &missing {
        // One that somebody else made just now is not ours to take away, and what is in it stays with it.
        is_ours &= workspace.make_dir(path)?;
        if is_ours {
            recorder.did(1);
        }
    }
    recorder.forget_rest();
    Ok(true)
}

fn must_be_writable(file: &Path, found: &Metadata) -> Result<(), Fault> {
    if found.is_dir() {
        return Err(failed(file, "is a directory", "choose another path"));
    }
    if !found.is_file() {
        return Err(refused(&shown(file), "it is neither a file nor a directory"));
    }
    // A rename would ask only the directory; the file's own mode is what its owner set.
    if found.permissions().mode() & 0o222 == 0 {
        return Err(failed(file, "is read-only", "tell the user, or write to another path"));
    }
    Ok(())
}

/// A file that is removed again unless it was renamed.
struct Temporary<'a> {
    dir: &'a Dir,
    name: OsString,
    is_kept: bool,
}

impl Temporary<'_> {
    /// The permission bits that it has then.
    fn fill(&self, content: &[u8], mode: Option<u32>) -> io::Result<u32> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode.map_or(NEW, |_| PRIVATE));
        let mut file = match self.dir.open_with(&self.name, &options) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.dir.remove_file(&self.name)?;
                self.dir.open_with(&self.name, &options)?
            }
            other => other?,
        };
        file.write_all(content)?;
        if let Some(mode) = mode {
            fchmod(&file, Mode::from_raw_mode(mode))?;
        }
        file.sync_all()?;
        Ok(file.metadata()?.permissions().mode() & MODE)
    }

    fn rename(mut self, name: &OsStr) -> io::Result<()> {
        self.dir.rename(&self.name, self.dir, name)?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            // silent-ok: it may never have been made; the error that led here is the one to report.
            self.dir.remove_file(&self.name).ok();
        }
    }
}

/// Makes a directory and those above it.
pub(super) fn mkdir(
    workspace: &Workspace,
    args: &PathArgs,
    rules: &PathRules,
    recorder: &mut Recorder<'_>,
) -> Result<Value, Error> {
    let path = workspace.path(&args.path)?;
    landing::directory(workspace, &path, rules)?;
    let created = make_dirs(workspace, &path, recorder)?;
    Ok(json!({"path": shown(&path), "created": created}))
}

/// Removes a file, a link or an empty directory.
pub(super) fn delete(
    workspace: &Workspace,
    args: &PathArgs,
    rules: &PathRules,
    recorder: &mut Recorder<'_>,
) -> Result<Value, Error> {
    let path = workspace.entry(&args.path)?;
    landing::entry(workspace, &path, &path, rules)?;
    let (dir, name) = workspace.parent(&path)?;
    let metadata = dir.symlink_metadata(&name).map_err(|error| fault(&error, &path))?;
    let before = recorder.keep(workspace, &path)?;
    recorder.begin(vec![change(&path, &before, None)])?;
    if let Some(was) = before.metadata.filter(|was| was.is_file()) {
        let now = dir.symlink_metadata(&name).map_err(|error| fault(&error, &path))?;
        if !is_same(&was, &now) {
            return Err(changed(&path).into());
        }
    }
    let removed = if metadata.is_dir() { dir.remove_dir(&name) } else { dir.remove_file(&name) };
    removed.map_err(|error| undone(&error, &path))?;
    recorder.done();
    sync_dir(&dir).map_err(|error| unknown(&error, &path))?;
    Ok(json!({"path": shown(&path), "deleted": true}))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MoveArgs {
    from: String,
    to: String,
}

/// Renames; a link is renamed, not what it stands for.
pub(super) fn rename(
    workspace: &Workspace,
    args: &MoveArgs,
    rules: &PathRules,
    recorder: &mut Recorder<'_>,
) -> Result<Value, Error> {
    let (from, to) = (workspace.entry(&args.from)?, workspace.entry(&args.to)?);
    let lands = [landing::entry(workspace, &from, &from, rules)?, landing::entry(workspace, &to, &to, rules)?];
    let (from_dir, from_name) = workspace.parent(&from)?;
    let (to_dir, to_name) = workspace.parent(&to)?;
    let metadata = from_dir.symlink_metadata(&from_name).map_err(|error| fault(&error, &from))?;
    if metadata.is_dir() {
        below::must_be_allowed(workspace, &from, &[&from, &to, &lands[0], &lands[1]], rules, recorder.room())?;
    }
    let moved = recorder.look(workspace, &from)?;
    let from_name_lost = from.to_str().is_none().then_some(Lost::Name);
    recorder.begin(vec![FileChange {
        path: shown(&to),
        from: Some(shown(&from)),
        before: None,
        after: moved.state,
        lost: moved.lost.or(from_name_lost).or_else(|| to.to_str().is_none().then_some(Lost::Name)),
    }])?;
    rename_new(&from_dir, &from_name, &to_dir, &to_name).map_err(|error| {
        let about: &PathBuf = if error.kind() == io::ErrorKind::NotFound { &from } else { &to };
        undone(&error, about)
    })?;
    recorder.done();
    sync_dir(&to_dir).and_then(|()| sync_dir(&from_dir)).map_err(|error| unknown(&error, &to))?;
    Ok(json!({"from": shown(&from), "to": shown(&to), "moved": true}))
}

/// Renames unless the new name is taken. Both names are single components of open directories.
pub(super) fn rename_new(from_dir: &Dir, from: &OsStr, to_dir: &Dir, to: &OsStr) -> io::Result<()> {
    match renameat_with(from_dir, from, to_dir, to, RenameFlags::NOREPLACE) {
        // Some file systems know no such flag; there the check comes a moment before the rename.
        Err(Errno::INVAL | Errno::NOSYS) => match to_dir.symlink_metadata(to) {
            Ok(_) => Err(Errno::EXIST.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => from_dir.rename(from, to_dir, to),
            Err(error) => Err(error),
        },
        other => Ok(other?),
    }
}

/// The one step failed: nothing happened, unless the device itself is at fault.
pub(super) fn undone(error: &io::Error, path: &Path) -> Error {
    if error.raw_os_error() == Some(Errno::IO.raw_os_error()) {
        unknown(error, path)
    } else {
        fault(error, path).into()
    }
}

pub(super) fn unknown(error: &io::Error, path: &Path) -> Error {
    tracing::warn!(%error, "a change could not be made durable");
    let message =
        format!("`{}` may have been changed, and the change may not be durable", crate::text::short(&shown(path)));
    Error::Unknown(Fault::new(Code::TOOL_OUTCOME_UNKNOWN, message, "look at it before going on; tell the user"))
}

#[cfg(test)]
mod tests;

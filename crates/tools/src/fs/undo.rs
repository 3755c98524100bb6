//! Puts back what a turn changed, all of it or nothing.
//!
//! Everything is looked at, judged by the rules, and prepared before the first
//! step: new contents lie beside their places as temporary files, synced. What
//! the steps replace is kept like that of any other change, so an undo can be
//! undone. Then come the steps, each one change of the file system made durable
//! before the next. A kill between two of them leaves a state from which the
//! same call goes on.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use are_core::change::{FileChange, FileState};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_policy::gate::Spent;
use are_policy::undo::Arguments;
use cap_std::fs::{Dir, DirBuilder, Metadata, OpenOptions, OpenOptionsExt};
use rustix::fs::{Mode, fchmod};
use serde_json::{Value, json};

use super::kept::Kept;
use super::leftover;
use super::observe::{MODE, observe};
use super::path::shown;
use super::plan::{Step, conflict, is_same, not_kept, plan};
use super::recorder::{Before, Recorder, change};
use super::snapshot::is_rebuilt;
use super::workspace::{Workspace, at, failed, fault, sync_dir};
use super::write::{rename_new, undone, unknown};
use crate::lane::Error;

/// Permission bits of a temporary file until it gets its own.
const PRIVATE: u32 = 0o600;

/// Undoes what the arguments say.
pub(super) fn undo(
    workspace: &Workspace,
    args: &Arguments,
    spent: &Spent,
    recorder: &mut Recorder<'_>,
) -> Result<Value, Error> {
    let Some(kept) = recorder.kept().cloned() else {
        return Err(failed(Path::new(""), "has no checkpoints", "tell the user").into());
    };
    must_be_allowed(args, spent)?;
    let steps = plan(workspace, &kept, args.session, &args.changes)?;
    let staged = stage(workspace, &kept, args.session, &steps, &spent.key)?;
    let mut changes = Vec::new();
    let mut was = Vec::new();
    for step in &steps {
        let (change, metadata) = recorded(workspace, step, recorder)?;
        changes.push(change);
        was.push(metadata);
    }
    recorder.begin(changes)?;
    let paths: Vec<String> = steps.iter().map(|step| shown(step.path())).collect();
    for (index, ((step, staged), was)) in steps.iter().zip(staged).zip(was).enumerate() {
        let taken = take(workspace, step, staged, was.as_ref(), &spent.key);
        taken.map_err(|error| if index == 0 { error } else { in_part(error, &paths[..index]) })?;
        recorder.did(1);
    }
    recorder.done();
    Ok(json!({"turn": args.turn, "paths": paths}))
}

/// Puts back what a call was not allowed to change, before its outcome is told. Not recorded: together with the
/// change it is none.
pub(super) fn put_back(workspace: &Workspace, kept: &Kept, spent: &Spent, changes: &[FileChange]) -> Result<(), Error> {
    let steps = plan(workspace, kept, spent.session, changes)?;
    let staged = stage(workspace, kept, spent.session, &steps, &spent.key)?;
    for (step, staged) in steps.iter().zip(staged) {
        take(workspace, step, staged, None, &spent.key)?;
    }
    Ok(())
}

/// Every path is judged as if the call had named it alone.
fn must_be_allowed(args: &Arguments, spent: &Spent) -> Result<(), Fault> {
    if spent.paths.are_silent() {
        return Ok(());
    }
    let paths = args.changes.iter().flat_map(|change| [Some(&change.path), change.from.as_ref()]).flatten();
    match paths.into_iter().find(|path| !spent.paths.allow(path)) {
        None => Ok(()),
        Some(path) => Err(Fault::new(
            Code::DENIED,
            format!("nothing was undone: the rules do not let `{}` be put back", crate::text::short(path)),
            "change the rules, or restore the rest by hand",
        )),
    }
}

/// A temporary file that is removed again unless it was used.
struct Staged {
    dir: Dir,
    name: OsString,
    is_used: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_used {
            // silent-ok: it may never have been made; the error that led here is the one to report.
            self.dir.remove_file(&self.name).ok();
        }
    }
}

/// Writes what will be put in the place of files, beside these places.
fn stage(
    workspace: &Workspace,
    kept: &Kept,
    session: are_core::ids::SessionKey,
    steps: &[Step],
    key: &Digest,
) -> Result<Vec<Option<Staged>>, Error> {
    let mut staged = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let Step::Put { path, then: Some(FileState::File { mode, digest: Some(digest), .. }), .. } = step else {
            staged.push(None);
            continue;
        };
        let content = kept.get(session, *digest)?.ok_or_else(|| not_kept(&[shown(path)]))?;
        let dir = nearest(workspace, path, steps)?;
        let one = Staged { dir, name: temporary(key, index), is_used: false };
        fill(&one, &content, *mode).map_err(|error| fault(&error, path))?;
        staged.push(Some(one));
    }
    Ok(staged)
}

/// A name of its own for each step of a call, the same when the call is run again.
fn temporary(key: &Digest, index: usize) -> OsString {
    leftover::name(&Digest::of(&[&key.0, &(index as u64).to_be_bytes()]))
}

/// The innermost directory above a path that is there now and that no step removes, makes or moves: what lies in one
/// that goes would be in the way.
fn nearest(workspace: &Workspace, path: &Path, steps: &[Step]) -> Result<Dir, Fault> {
    let is_touched = |above: &Path| {
        steps.iter().any(|step| match step {
            Step::Put { path, .. } => above.starts_with(path),
            Step::Rename { from, to, .. } => above.starts_with(from) || above.starts_with(to),
        })
    };
    for above in path.ancestors().skip(1).filter(|above| above.as_os_str().is_empty() || !is_touched(above)) {
        match workspace.dir().open_dir(at(above)) {
            Ok(dir) => return Ok(dir),
            // A file may stand there until a step makes it a directory.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(fault(&error, above)),
        }
    }
    Err(failed(path, "has no directory", "tell the user that the workspace is missing"))
}

fn fill(staged: &Staged, content: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(PRIVATE);
    let mut file = match staged.dir.open_with(&staged.name, &options) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            staged.dir.remove_file(&staged.name)?;
            staged.dir.open_with(&staged.name, &options)?
        }
        other => other?,
    };
    file.write_all(content)?;
    fchmod(&file, Mode::from_raw_mode(mode & MODE))?;
    file.sync_all()
}

/// What a step changes, with what it replaces kept, and how that looked then.
fn recorded(
    workspace: &Workspace,
    step: &Step,
    recorder: &Recorder<'_>,
) -> Result<(FileChange, Option<Metadata>), Error> {
    match step {
        Step::Put { path, lies_at, is_made, now, then } => {
            let before = match now {
                // An earlier step makes it of what is kept already.
                Some(_) if *is_made => Before { state: now.clone(), ..Before::default() },
                Some(_) => recorder.keep(workspace, lies_at)?,
                None => Before::default(),
            };
            if !is_same(before.state.as_ref(), now.as_ref()) {
                return Err(conflict(&[shown(path)]).into());
            }
            let metadata = before.metadata.clone();
            Ok((change(path, &before, then.clone()), metadata))
        }
        Step::Rename { from, to, state } => {
            let change = FileChange {
                path: shown(to),
                from: Some(shown(from)),
                before: None,
                after: Some(state.clone()),
                lost: None,
            };
            Ok((change, None))
        }
    }
}

/// Takes one step and makes it durable.
fn take(
    workspace: &Workspace,
    step: &Step,
    staged: Option<Staged>,
    was: Option<&Metadata>,
    key: &Digest,
) -> Result<(), Error> {
    match step {
        Step::Rename { from, to, .. } => {
            let (from_dir, from_name) = workspace.parent(from)?;
            let (to_dir, to_name) = workspace.parent(to)?;
            rename_new(&from_dir, &from_name, &to_dir, &to_name).map_err(|error| undone(&error, to))?;
            sync_dir(&to_dir).and_then(|()| sync_dir(&from_dir)).map_err(|error| unknown(&error, to))
        }
        Step::Put { path, now, then, .. } => {
            let (dir, name) = workspace.parent(path)?;
            must_be(&dir, &name, now.as_ref(), was, path)?;
            put(&dir, &name, staged, (now.as_ref(), then.as_ref()), key).map_err(|error| undone(&error, path))?;
            sync_dir(&dir).map_err(|error| unknown(&error, path))
        }
    }
}

/// Looks once more, right before the step.
fn must_be(
    dir: &Dir,
    name: &OsString,
    now: Option<&FileState>,
    was: Option<&Metadata>,
    path: &Path,
) -> Result<(), Fault> {
    let found = match dir.symlink_metadata(name) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(fault(&error, path)),
    };
    let is_it = match (now, &found) {
        (None, None) => true,
        (Some(FileState::File { .. }), Some(found)) => {
            found.is_file() && was.is_none_or(|was| super::workspace::is_same(was, found))
        }
        (Some(FileState::Link { .. }), Some(found)) => found.is_symlink(),
        (Some(FileState::Directory { .. }), Some(found)) => found.is_dir(),
        (Some(FileState::Other {}), Some(_)) | (None, Some(_)) | (Some(_), None) => false,
    };
    if is_it { Ok(()) } else { Err(conflict(&[shown(path)])) }
}

fn put(
    dir: &Dir,
    name: &OsString,
    staged: Option<Staged>,
    (now, then): (Option<&FileState>, Option<&FileState>),
    key: &Digest,
) -> io::Result<()> {
    let is_directory = |state: Option<&FileState>| matches!(state, Some(FileState::Directory { .. }));
    // Only between a directory and something else is there no single step.
    match (now, then) {
        (None, None) => return Ok(()),
        (Some(FileState::Directory { .. }), _) => remove_dir(dir, name)?,
        (Some(_), None) => dir.remove_file(name)?,
        (Some(_), Some(FileState::Directory { .. })) => dir.remove_file(name)?,
        (Some(_), Some(_)) | (None, Some(_)) => {}
    }
    let is_free = now.is_none() || is_directory(now) || is_directory(then);
    match then {
        None | Some(FileState::Other {}) => Ok(()),
        Some(FileState::File { .. }) => {
            let Some(mut staged) = staged else { return Err(io::ErrorKind::NotFound.into()) };
            place(&staged.dir, &staged.name, dir, name, is_free)?;
            staged.is_used = true;
            Ok(())
        }
        Some(FileState::Link { target }) => {
            let new = fresh(dir, key)?;
            // Written as it was; whoever follows it later is held by his own handle.
            dir.symlink_contents(target, &new)?;
            place(dir, &new, dir, name, is_free)
        }
        Some(FileState::Directory { mode }) => {
            let new = fresh(dir, key)?;
            dir.create_dir_with(&new, &DirBuilder::new())?;
            if let Some(mode) = mode {
                fchmod(dir.open_dir(&new)?.open(".")?, Mode::from_raw_mode(mode & MODE))?;
            }
            place(dir, &new, dir, name, true)
        }
    }
}

/// Removes a directory that holds nothing but what tools build again.
fn remove_dir(dir: &Dir, name: &OsString) -> io::Result<()> {
    match dir.remove_dir(name) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            let inside = dir.open_dir(name)?;
            for entry in inside.entries()? {
                let entry = entry?;
                if is_rebuilt(&entry.file_name()) && entry.file_type()?.is_dir() {
                    inside.remove_dir_all(entry.file_name())?;
                }
            }
            dir.remove_dir(name)
        }
        removed => removed,
    }
}

/// A temporary name, free.
fn fresh(dir: &Dir, key: &Digest) -> io::Result<OsString> {
    let name = temporary(key, usize::MAX);
    match dir.symlink_metadata(&name) {
        Ok(found) if found.is_dir() => dir.remove_dir(&name)?,
        Ok(_) => dir.remove_file(&name)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(name)
}

/// Renames into place; where nothing should stand, nothing is replaced.
fn place(from_dir: &Dir, from: &OsString, to_dir: &Dir, to: &OsString, is_free: bool) -> io::Result<()> {
    if is_free { rename_new(from_dir, from, to_dir, to) } else { from_dir.rename(from, to_dir, to) }
}

/// A step failed after others were taken.
fn in_part(error: Error, done: &[String]) -> Error {
    let why = match error {
        Error::Failed(fault) | Error::Unknown(fault) => fault.message,
    };
    Error::Unknown(Fault::new(
        Code::TOOL_OUTCOME_UNKNOWN,
        format!("{} paths were put back, then: {why}", done.len()),
        "mend what is in the way and undo the turn again; it goes on where it stopped",
    ))
}

/// The paths that undoing would touch.
pub(super) fn touched(
    root: &Path,
    kept: &Kept,
    session: are_core::ids::SessionKey,
    changes: &[FileChange],
) -> Result<Vec<String>, Fault> {
    let workspace = Workspace::open(root)?;
    let steps = plan(&workspace, kept, session, changes)?;
    Ok(steps.iter().map(|step| shown(step.path())).collect())
}

/// Content of that digest, if it stands at the path.
pub(super) fn standing(root: &Path, path: &str, digest: Digest, bytes_max: u64) -> Result<Option<Vec<u8>>, Fault> {
    let workspace = Workspace::open(root)?;
    let path: PathBuf = workspace.entry(path)?;
    let found = match observe(&workspace, &path, bytes_max) {
        Ok(found) => found,
        Err(fault) => {
            tracing::debug!(%fault, "a changed file cannot be looked at");
            return Ok(None);
        }
    };
    Ok(found.and_then(|found| match found.state {
        FileState::File { digest: Some(of), .. } if of == digest => found.content,
        FileState::File { .. } | FileState::Link { .. } | FileState::Directory { .. } | FileState::Other {} => None,
    }))
}

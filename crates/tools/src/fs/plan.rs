//! What has to be done to undo changes, worked out before anything is.
//!
//! The changes are walked from the newest to the oldest over what stands on
//! the disk and what the steps so far will have made of it. A path must be what
//! the change left; one that is already what stood there before, because an
//! earlier run was killed, is passed over. Anything else is a conflict, and one
//! conflict leaves everything as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use are_core::change::{FileChange, FileState};
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;

use super::kept::Kept;
use super::observe::observe;
use super::path::shown;
use super::snapshot::is_rebuilt;
use super::workspace::{Workspace, at, fault};
use crate::text::short;

/// Paths that a refusal names.
const NAMED_MAX: usize = 10;
/// Entries looked at in a directory that is to be removed; the first that must stay decides.
const ENTRIES_MAX: usize = 10_000;

/// One step, a single change of the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Puts `then` where `now` stands. Before any step, that lies at `lies_at`, unless an earlier step makes it.
    Put { path: PathBuf, lies_at: PathBuf, is_made: bool, now: Option<FileState>, then: Option<FileState> },
    /// Moves back what was moved.
    Rename { from: PathBuf, to: PathBuf, state: FileState },
}

impl Step {
    /// The path that is as it was afterwards.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Put { path, .. } => path,
            Self::Rename { to, .. } => to,
        }
    }
}

/// The steps that undo `changes`, in order; none when all is as before.
///
/// # Errors
/// ARE-0515 names what is not as the changes left it, ARE-0516 what is not kept.
pub(super) fn plan(
    workspace: &Workspace,
    kept: &Kept,
    session: SessionKey,
    changes: &[FileChange],
) -> Result<Vec<Step>, Fault> {
    let mut planner = Planner {
        view: View { workspace, over: BTreeMap::new(), made: BTreeSet::new(), renames: Vec::new() },
        kept,
        session,
        steps: Vec::new(),
        conflicts: Vec::new(),
        lost: Vec::new(),
    };
    for (index, change) in changes.iter().enumerate().rev() {
        // Read again as any path is: a journal that somebody edited leads nowhere else.
        let path = workspace.entry(&change.path)?;
        match &change.from {
            None => planner.put_back(path, change, &changes[..index])?,
            Some(from) => planner.move_back(&path, workspace.entry(from)?, change)?,
        }
    }
    planner.finish()
}

struct Planner<'a> {
    view: View<'a>,
    kept: &'a Kept,
    session: SessionKey,
    steps: Vec<Step>,
    conflicts: Vec<String>,
    lost: Vec<String>,
}

impl Planner<'_> {
    fn put_back(&mut self, path: PathBuf, change: &FileChange, earlier: &[FileChange]) -> Result<(), Fault> {
        let now = self.view.at(&path)?;
        if !is_same(now.as_ref(), change.after.as_ref()) {
            if !self.is_back(&path, change, earlier)? {
                self.conflicts.push(shown(&path));
            }
            return Ok(());
        }
        let then = change.before.clone();
        if !self.can_restore(change) {
            self.lost.push(shown(&path));
            return Ok(());
        }
        if matches!(now, Some(FileState::Directory { .. }))
            && !matches!(then, Some(FileState::Directory { .. }))
            && let Some(inside) = self.view.first_inside(&path)?
        {
            self.conflicts.push(shown(&inside));
            return Ok(());
        }
        if then.is_some() && !self.view.has_parent(&path)? {
            self.conflicts.push(shown(&path));
            return Ok(());
        }
        self.view.over.insert(path.clone(), then.clone());
        let is_made = !self.view.made.insert(path.clone());
        // What is put here twice is put here once, as nothing else can be recorded before the first step. A move that
        // has to do with the path stands between.
        let is_apart = |step: &&mut Step| match step {
            Step::Put { .. } => true,
            Step::Rename { from, to, .. } => {
                [from, to].into_iter().all(|end| !end.starts_with(&path) && !path.starts_with(end))
            }
        };
        for step in self.steps.iter_mut().rev().take_while(is_apart) {
            if let Step::Put { path: same, then: later, .. } = step
                && *same == path
            {
                *later = then;
                return Ok(());
            }
        }
        let lies_at = self.view.real(&path).unwrap_or_else(|| path.clone());
        self.steps.push(Step::Put { path, lies_at, is_made, now, then });
        Ok(())
    }

    /// Whether an earlier run has gone as far back as this change, or further. Where it moved something back too,
    /// that is where the path lies now.
    fn is_back(&self, path: &Path, change: &FileChange, earlier: &[FileChange]) -> Result<bool, Fault> {
        let mut lies_at = path.to_owned();
        if is_same(self.view.at(&lies_at)?.as_ref(), change.before.as_ref()) {
            return Ok(true);
        }
        for one in earlier.iter().rev() {
            match &one.from {
                Some(from) => {
                    let (to, from) = (Path::new(&one.path), Path::new(from));
                    if let Ok(rest) = lies_at.strip_prefix(to)
                        && self.view.at(to)?.is_none()
                    {
                        lies_at = if rest.as_os_str().is_empty() { from.to_owned() } else { from.join(rest) };
                        if is_same(self.view.at(&lies_at)?.as_ref(), change.before.as_ref()) {
                            return Ok(true);
                        }
                    }
                }
                None if Path::new(&one.path) == lies_at
                    && is_same(self.view.at(&lies_at)?.as_ref(), one.before.as_ref()) =>
                {
                    return Ok(true);
                }
                None => {}
            }
        }
        Ok(false)
    }

    /// Whether what stood there before a change can be had.
    fn can_restore(&self, change: &FileChange) -> bool {
        match &change.before {
            None | Some(FileState::Directory { .. }) => true,
            Some(FileState::Link { .. }) => change.lost.is_none(),
            Some(FileState::File { digest: Some(digest), .. }) => {
                let is_unchanged = is_same(change.before.as_ref(), change.after.as_ref());
                is_unchanged || (change.lost.is_none() && self.kept.has(self.session, *digest))
            }
            Some(FileState::File { digest: None, .. } | FileState::Other {}) => false,
        }
    }

    fn move_back(&mut self, path: &Path, from: PathBuf, change: &FileChange) -> Result<(), Fault> {
        let (here, there) = (self.view.at(path)?, self.view.at(&from)?);
        let Some(state) = change.after.clone().filter(|_| change.lost.is_none()) else {
            self.lost.push(shown(path));
            return Ok(());
        };
        match (here, there) {
            (Some(here), None) if here.is_same(&state) && self.view.has_parent(&from)? => {
                self.view.rename(path, &from, state.clone());
                self.steps.push(Step::Rename { from: path.to_owned(), to: from, state });
            }
            // It was moved back already; whether it is what it should be, older changes say.
            (None, Some(_)) => {}
            (Some(_), Some(_)) => self.conflicts.push(shown(&from)),
            (Some(_) | None, None) => self.conflicts.push(shown(path)),
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<Step>, Fault> {
        if !self.conflicts.is_empty() {
            return Err(conflict(&self.conflicts));
        }
        if !self.lost.is_empty() {
            return Err(not_kept(&self.lost));
        }
        let is_step = |step: &Step| match step {
            Step::Put { now, then, .. } => now != then && !is_same(now.as_ref(), then.as_ref()),
            Step::Rename { .. } => true,
        };
        Ok(self.steps.into_iter().filter(is_step).collect())
    }
}

/// The disk as it will be after the steps so far.
struct View<'a> {
    workspace: &'a Workspace,
    over: BTreeMap<PathBuf, Option<FileState>>,
    /// Of these, what a step makes rather than finds.
    made: BTreeSet<PathBuf>,
    /// From where on the disk to where, in order.
    renames: Vec<(PathBuf, PathBuf)>,
}

impl View<'_> {
    fn at(&self, path: &Path) -> Result<Option<FileState>, Fault> {
        if let Some(state) = self.over.get(path) {
            return Ok(state.clone());
        }
        let is_below_nothing = path
            .ancestors()
            .skip(1)
            .find_map(|above| self.over.get(above))
            .is_some_and(|above| !matches!(above, Some(FileState::Directory { .. } | FileState::Link { .. })));
        if is_below_nothing {
            return Ok(None);
        }
        let Some(real) = self.real(path) else { return Ok(None) };
        match observe(self.workspace, &real, 0) {
            Ok(found) => Ok(found.map(|found| found.state)),
            // A file in its path, where a directory was.
            Err(fault) if fault.code == Code::TOOL_FAILED => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Where on the disk lies what will be at `path`.
    fn real(&self, path: &Path) -> Option<PathBuf> {
        let mut path = path.to_owned();
        for (from, to) in self.renames.iter().rev() {
            if let Ok(rest) = path.strip_prefix(to) {
                path = if rest.as_os_str().is_empty() { from.clone() } else { from.join(rest) };
            } else if path.starts_with(from) {
                return None;
            }
        }
        Some(path)
    }

    fn rename(&mut self, from: &Path, to: &Path, state: FileState) {
        // What was said of the place it comes to was about something that is gone by then.
        self.over.retain(|path, _| !path.starts_with(to));
        let below: Vec<PathBuf> = self.over.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for old in below {
            let state = self.over.remove(&old).flatten();
            if let Ok(rest) = old.strip_prefix(from) {
                self.over.insert(to.join(rest), state);
            }
        }
        self.made.retain(|path| !path.starts_with(to));
        let moved: Vec<PathBuf> = self.made.iter().filter(|path| path.starts_with(from)).cloned().collect();
        for old in moved {
            self.made.remove(&old);
            if let Ok(rest) = old.strip_prefix(from) {
                self.made.insert(if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) });
            }
        }
        self.over.insert(from.to_owned(), None);
        self.over.insert(to.to_owned(), Some(state));
        self.renames.push((from.to_owned(), to.to_owned()));
    }

    fn has_parent(&self, path: &Path) -> Result<bool, Fault> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent.as_os_str().is_empty() {
            return Ok(true);
        }
        if let Some(state) = self.over.get(parent) {
            return Ok(matches!(state, Some(FileState::Directory { .. })));
        }
        if self.at(parent)?.is_none() {
            return Ok(false);
        }
        // A link to a directory of the workspace is followed here, as the tools follow it.
        Ok(self.real(parent).is_some_and(|real| self.workspace.dir().is_dir(real)))
    }

    /// Something that would still be in a directory that is to be removed.
    fn first_inside(&self, path: &Path) -> Result<Option<PathBuf>, Fault> {
        if let Some((inside, _)) =
            self.over.iter().find(|(inside, state)| inside.parent() == Some(path) && state.is_some())
        {
            return Ok(Some(inside.clone()));
        }
        let Some(real) = self.real(path) else { return Ok(None) };
        let entries = match self.workspace.dir().read_dir(at(&real)) {
            Ok(entries) => entries,
            // It does not exist yet, or is no directory yet: a step will make it.
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(fault(&error, &real)),
        };
        for entry in entries.take(ENTRIES_MAX) {
            let name = entry.map_err(|error| fault(&error, &real))?.file_name();
            // What was built in a directory goes with it.
            if is_rebuilt(&name) {
                continue;
            }
            let inside = path.join(name);
            if self.at(&inside)?.is_some() {
                return Ok(Some(inside));
            }
        }
        Ok(None)
    }
}

/// Whether both are nothing, or known to be the same.
pub(super) fn is_same(one: Option<&FileState>, other: Option<&FileState>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.is_same(other),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

pub(super) fn conflict(paths: &[String]) -> Fault {
    Fault::new(
        Code::UNDO_CONFLICT,
        format!("nothing was undone: {} changed since, or in the way", named(paths)),
        "look with `are diff`; undo later turns first, or move what is in the way",
    )
}

pub(super) fn not_kept(paths: &[String]) -> Fault {
    Fault::new(
        Code::NOT_RESTORABLE,
        format!("nothing was undone: what stood at {} was not kept", named(paths)),
        "see the reasons with `are diff`; restore the rest by hand",
    )
}

fn named(paths: &[String]) -> String {
    let mut shown: Vec<String> = Vec::new();
    for path in paths {
        let path = format!("`{}`", short(path));
        if !shown.contains(&path) {
            shown.push(path);
        }
    }
    let more = shown.len().saturating_sub(NAMED_MAX);
    shown.truncate(NAMED_MAX);
    let listed = shown.join(", ");
    if more == 0 { listed } else { format!("{listed} and {more} more") }
}

//! Keeps, before a call's one step, what the step will replace or remove.
//!
//! The order is the promise: old content durable, then the note of what is
//! about to change durable, then the latch, then the step. So whatever a crash
//! leaves, what stood there before can be found by the call's number.

use std::path::Path;
use std::sync::Arc;

use are_core::change::{FileChange, FileState, Lost};
use are_core::error::Fault;
use are_core::ids::{CallNo, SessionKey};
use are_policy::gate::Spent;
use cap_std::fs::Metadata;

use super::kept::Kept;
use super::observe::{Found, observe};
use super::path::shown;
use super::plan::is_same;
use super::workspace::Workspace;
use crate::lane::Room;

/// What stood at a path, kept.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub(super) state: Option<FileState>,
    pub(super) lost: Option<Lost>,
    /// As it was when it was kept; absent where nothing stood, or nothing is kept at all.
    pub(super) metadata: Option<Metadata>,
}

/// Of one call.
pub(super) struct Recorder<'a> {
    room: &'a Room,
    kept: Option<Arc<Kept>>,
    session: SessionKey,
    call: CallNo,
    changes: Vec<FileChange>,
    /// How many of them an earlier run made.
    carried: usize,
    done: usize,
}

impl<'a> Recorder<'a> {
    /// Takes over what an interrupted run of the same call has done already.
    pub(super) fn new(workspace: &Workspace, spent: &Spent, room: &'a Room) -> Result<Self, Fault> {
        let mut recorder = Self {
            room,
            kept: room.kept.clone(),
            session: spent.session,
            call: spent.call,
            changes: Vec::new(),
            carried: 0,
            done: 0,
        };
        let Some(kept) = recorder.kept.clone() else { return Ok(recorder) };
        for change in kept.noted_last(spent.session, spent.call)? {
            let is_done = match (observe(workspace, Path::new(&change.path), 0)?, &change.after) {
                (None, None) => true,
                (Some(now), Some(after)) => now.state.is_same(after),
                (None, Some(_)) | (Some(_), None) => false,
            };
            if is_done {
                recorder.changes.push(change);
            }
        }
        recorder.carried = recorder.changes.len();
        recorder.done = recorder.carried;
        Ok(recorder)
    }

    pub(super) const fn room(&self) -> &Room {
        self.room
    }

    /// The store; `None` where nothing is kept.
    pub(super) fn kept(&self) -> Option<&Arc<Kept>> {
        self.kept.as_ref()
    }

    /// Keeps what stands at a path.
    pub(super) fn keep(&self, workspace: &Workspace, path: &Path) -> Result<Before, Fault> {
        let Some(kept) = &self.kept else { return Ok(Before::default()) };
        let Some(found) = observe(workspace, path, kept.file_bytes_max())? else { return Ok(Before::default()) };
        self.keep_found(found)
    }

    /// Keeps what was found.
    pub(super) fn keep_found(&self, found: Found) -> Result<Before, Fault> {
        let Some(kept) = &self.kept else { return Ok(Before::default()) };
        let Found { state, metadata, content, mut lost } = found;
        if let (FileState::File { digest: Some(digest), .. }, Some(content)) = (&state, content) {
            lost = kept.put(self.session, *digest, &content)?;
        }
        Ok(Before { state: Some(state), lost, metadata: Some(metadata) })
    }

    /// What stands at a path, without keeping its content: where it will only be moved.
    pub(super) fn look(&self, workspace: &Workspace, path: &Path) -> Result<Before, Fault> {
        if self.kept.is_none() {
            return Ok(Before::default());
        }
        let Some(found) = observe(workspace, path, 0)? else { return Ok(Before::default()) };
        let has_digest = matches!(found.state, FileState::File { digest: Some(_), .. });
        let lost = found.lost.filter(|_| !has_digest);
        Ok(Before { state: Some(found.state), lost, metadata: Some(found.metadata) })
    }

    /// Notes durably what is about to be changed, and claims the right to change it.
    pub(super) fn begin(&mut self, changes: Vec<FileChange>) -> Result<(), Fault> {
        if let Some(kept) = self.kept.clone() {
            for change in changes {
                self.add(change);
            }
            kept.note(self.session, self.call, &self.changes)?;
            self.tell();
        }
        self.room.latch.begin()
    }

    /// All that was noted has happened.
    pub(super) fn done(&mut self) {
        self.done = self.changes.len();
        self.tell();
    }

    /// The next `n` of what was noted have happened.
    pub(super) fn did(&mut self, n: usize) {
        self.done = (self.done + n).min(self.changes.len());
        self.tell();
    }

    /// What has not happened of what was noted will not.
    pub(super) fn forget_rest(&mut self) {
        self.changes.truncate(self.done);
        self.tell();
    }

    fn tell(&self) {
        self.room.changes.tell(self.changes.clone(), self.done);
    }

    /// What an earlier run changed and this one changes again is one change.
    fn add(&mut self, change: FileChange) {
        let earlier = self.changes.iter_mut().take(self.carried).find(|earlier| {
            earlier.path == change.path
                && earlier.from.is_none()
                && change.from.is_none()
                && is_same(earlier.after.as_ref(), change.before.as_ref())
        });
        match earlier {
            Some(earlier) => earlier.after = change.after,
            None => self.changes.push(change),
        }
    }
}

/// A change of a path from what stood there to what will.
pub(super) fn change(path: &Path, before: &Before, after: Option<FileState>) -> FileChange {
    let lost = before.lost.or_else(|| path.to_str().is_none().then_some(Lost::Name));
    FileChange { path: shown(path), from: None, before: before.state.clone(), after, lost }
}

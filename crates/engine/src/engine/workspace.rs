//! What turns changed in the workspace: shown, and put back.
//!
//! What changed is in the journal; what stood there before lies behind the port
//! `Checkpoints`. Undoing is a turn of its own, which the session's actor runs:
//! decided by the gate, journaled, taken up after a crash. It is looked at
//! first, so that what cannot be undone leaves no trace.

use are_core::body::Body;
use are_core::change::FileChange;
use are_core::error::{Code, Fault};
use are_core::ids::{SessionKey, TurnNo};
use are_core::journal::Entry;
use are_core::payload::Payload;
use are_core::store::StoreError;
use are_policy::tools::{Changed, Checkpoints};
use are_policy::undo::Arguments;

use super::{Engine, Tail};
use crate::actor::{ChangedTurn, Command, Reply, Undoing};
use crate::api::{Caller, Tailed, TurnDiff, Undone};
use crate::diff;
use crate::faults;
use crate::machine::undo::too_much;
use crate::state::Undo;

impl Engine {
    /// What a turn changed in the workspace; the latest one when none is named.
    ///
    /// # Errors
    /// The session or the turn is unknown, the store of checkpoints cannot be read.
    pub async fn diff(&self, caller: &Caller, key: SessionKey, turn: Option<TurnNo>) -> Result<TurnDiff, Fault> {
        let changed = self.changed(caller, key, turn).await?;
        let Some(checkpoints) = self.inner.ports.tools.checkpoints() else {
            return Ok(TurnDiff { turn: changed.turn, files: Vec::new(), apart: changed.apart });
        };
        let mut files = Vec::new();
        let mut room = diff::TEXT_BYTES_MAX;
        for net in diff::net(&changed.calls) {
            let before = self.content(checkpoints.as_ref(), &changed, &net, diff::Side::Before).await?;
            let after = self.content(checkpoints.as_ref(), &changed, &net, diff::Side::After).await?;
            let mut file = on_thread(move || diff::file(net, before, after, room)).await?;
            file.text = file.text.map(|text| self.inner.vault.scrubber(&caller.account).clean(text));
            room = room.saturating_sub(file.text.as_ref().map_or(0, String::len));
            files.push(file);
        }
        Ok(TurnDiff { turn: changed.turn, files, apart: changed.apart })
    }

    /// Puts back what a turn changed, all of it or nothing; with `is_dry` only says what would be.
    ///
    /// # Errors
    /// A turn runs, a file is not what the turn left (ARE-0515), something was not kept (ARE-0516), the rules
    /// deny it.
    pub async fn undo(&self, caller: &Caller, key: SessionKey, turn: TurnNo, is_dry: bool) -> Result<Undone, Fault> {
        let found = self.changed(caller, key, Some(turn)).await?;
        if let Some(running) = found.running {
            return Err(faults::busy(running));
        }
        let changes: Vec<FileChange> = found.calls.iter().flat_map(|call| call.changes.clone()).collect();
        let nothing = Undone { turn, by: None, paths: Vec::new(), apart: found.apart };
        let Some(checkpoints) = self.inner.ports.tools.checkpoints().filter(|_| !changes.is_empty()) else {
            return Ok(nothing);
        };
        let session = found.session;
        let changed = Changed { session, workspace: found.workspace, changes: changes.clone() };
        let paths = checkpoints.undoable(changed).await?;
        if paths.is_empty() || is_dry {
            return Ok(Undone { paths, ..nothing });
        }
        if (Arguments { turn, session, changes: changes.clone() }).canonical().is_none() {
            return Err(too_much());
        }
        let undo = Undo { turn, session, changes, is_approved: caller.can_approve };
        let handle = self.owned(caller, key).await?;
        // Attached before it begins, so that its end cannot be missed.
        let (_, mut tail) = self.attach(caller, key, None, None).await?;
        let begun = |reply: Reply| Command::Undo(Box::new(Undoing { caller: caller.clone(), undo, reply }));
        let (by, _) = self.command(caller, &handle, begun).await?;
        ended(&mut tail, by).await?;
        Ok(Undone { by: Some(by), paths, ..nothing })
    }

    /// What a turn changed, with what a call of unknown outcome had noted.
    async fn changed(&self, caller: &Caller, key: SessionKey, turn: Option<TurnNo>) -> Result<ChangedTurn, Fault> {
        let handle = self.owned(caller, key).await?;
        let mut changed = self.ask(&handle, |tx| Command::Changes { turn, tx }).await??;
        if let Some(checkpoints) = self.inner.ports.tools.checkpoints() {
            for call in changed.calls.iter_mut().filter(|call| !call.is_certain && call.changes.is_empty()) {
                let noted = checkpoints.noted(changed.session, call.call).await?;
                call.changes = self.inner.vault.scrubber(&caller.account).clean_changes(noted);
            }
        }
        Ok(changed)
    }

    async fn content(
        &self,
        checkpoints: &dyn Checkpoints,
        changed: &ChangedTurn,
        net: &diff::Net,
        side: diff::Side,
    ) -> Result<Option<Vec<u8>>, Fault> {
        match net.wanted(side) {
            Some((path, digest)) => checkpoints.content(changed.session, changed.workspace.clone(), path, digest).await,
            None => Ok(None),
        }
    }

    /// Erases what is kept under a deleted session; what fails is tried again at the next start.
    pub(super) async fn erase_checkpoints(&self, session: SessionKey) {
        if let Some(checkpoints) = self.inner.ports.tools.checkpoints()
            && let Err(fault) = checkpoints.erase(session).await
        {
            tracing::warn!(%session, %fault, "what was kept of its files is not erased yet");
        }
    }

    /// Erases what deleted sessions left.
    pub(super) async fn sweep_checkpoints(&self) {
        let Some(checkpoints) = self.inner.ports.tools.checkpoints() else { return };
        let sessions = match checkpoints.sessions().await {
            Ok(sessions) => sessions,
            Err(fault) => {
                tracing::warn!(%fault, "the store of checkpoints cannot be looked through");
                return;
            }
        };
        for session in sessions {
            if self.inner.stopping.is_cancelled() {
                return;
            }
            let is_gone = match self.inner.ports.store.session(session).await {
                Ok(row) => row.is_deleted,
                Err(StoreError::NotFound) => true,
                // Kept while it is not certain.
                Err(_) => false,
            };
            if is_gone {
                self.erase_checkpoints(session).await;
            }
        }
    }
}

/// Waits for the end of a turn.
async fn ended(tail: &mut Tail, turn: TurnNo) -> Result<(), Fault> {
    loop {
        for item in tail.next().await? {
            let Tailed::Entry(entry) = item else { continue };
            let Entry::Record(record, payload) = entry.as_ref() else { continue };
            if record.turn != Some(turn) {
                continue;
            }
            match (&record.body, payload) {
                (Body::TurnCompleted { .. }, _) => return Ok(()),
                (Body::TurnFailed { code, .. }, Some(Payload::Failure { message, help, .. })) => {
                    return Err(Fault::new(*code, message, help));
                }
                (Body::TurnFailed { code, .. }, _) => return Err(Fault::new(*code, "the undo failed", "try again")),
                (Body::TurnCancelled {}, _) => {
                    let help = "undo the turn again; it goes on where it stopped";
                    return Err(Fault::new(Code::TOOL_OUTCOME_UNKNOWN, "the undo was stopped", help));
                }
                _ => {}
            }
        }
    }
}

async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a diff was not made");
        faults::internal()
    })
}

//! The port to the store of checkpoints: each question on a thread that may block.

use std::path::PathBuf;
use std::sync::Arc;

use are_core::BoxFuture;
use are_core::change::FileChange;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{CallNo, SessionKey};
use are_policy::tools::{Changed, Checkpoints};

use super::kept::Kept;
use super::snapshot::Snapshot;
use super::undo::{standing, touched};
use crate::process::Processes;

/// Answers for the store.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    pub(crate) kept: Arc<Kept>,
    /// Have their files below the same sessions, and end with them.
    pub(crate) processes: Option<Arc<Processes>>,
}

impl Keeper {
    fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Kept) -> Result<T, Fault> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Fault>> {
        let kept = Arc::clone(&self.kept);
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || work(&kept)).await;
            done.unwrap_or_else(|error| {
                tracing::error!(%error, "the store of checkpoints did not answer");
                Err(Fault::new(Code::INTERNAL, "the store of checkpoints did not answer", "try again; see the log"))
            })
        })
    }
}

impl Checkpoints for Keeper {
    fn noted(&self, session: SessionKey, call: CallNo) -> BoxFuture<'_, Result<Vec<FileChange>, Fault>> {
        self.on_thread(move |kept| kept.noted(session, call))
    }

    fn settle(&self, session: SessionKey, workspace: PathBuf, call: CallNo) -> BoxFuture<'_, Result<(), Fault>> {
        self.on_thread(move |kept| Snapshot::settle(kept, session, &workspace, call))
    }

    fn content(
        &self,
        session: SessionKey,
        workspace: PathBuf,
        path: String,
        digest: Digest,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, Fault>> {
        self.on_thread(move |kept| match kept.get(session, digest)? {
            Some(content) => Ok(Some(content)),
            None => standing(&workspace, &path, digest, kept.file_bytes_max()),
        })
    }

    fn undoable(&self, changed: Changed) -> BoxFuture<'_, Result<Vec<String>, Fault>> {
        self.on_thread(move |kept| touched(&changed.workspace, kept, changed.session, &changed.changes))
    }

    fn adopt(&self, from: SessionKey, to: SessionKey, changes: Vec<FileChange>) -> BoxFuture<'_, Result<(), Fault>> {
        self.on_thread(move |kept| kept.adopt(from, to, &changes))
    }

    fn erase(&self, session: SessionKey) -> BoxFuture<'_, Result<(), Fault>> {
        if let Some(processes) = &self.processes {
            processes.end_session(session);
        }
        self.on_thread(move |kept| kept.erase(session))
    }

    fn sessions(&self) -> BoxFuture<'_, Result<Vec<SessionKey>, Fault>> {
        self.on_thread(Kept::sessions)
    }
}

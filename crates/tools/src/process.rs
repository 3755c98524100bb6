//! Native commands: `process_run`, and processes that go on between calls.
//!
//! Every command runs in the [cage](crate::cage). Before it starts, what it may
//! change is kept; afterwards what it did change is told, and what it must not
//! change is put back. Its output is untrusted, made harmless as text, shown
//! while it comes, and bounded: of a long one head and tail stay.

mod declared;
mod environment;
mod flight;
mod output;
mod run;
mod started;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use are_core::BoxFuture;
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_policy::gate::{Permit, Spent};

pub(crate) use self::declared::manifests;
use self::started::Table;
use crate::egress::Egress;
use crate::fs::{Digests, Snapshot};
use crate::lane::{Answer, Error, Room, Runs};
use crate::launch::Launcher;

/// Workspaces whose files' digests are remembered.
const WORKSPACES_MAX: usize = 16;

/// The lane of native commands.
#[derive(Debug)]
pub(crate) struct Processes {
    launcher: Launcher,
    /// The way to the network, where the operator granted one.
    egress: Option<Arc<Egress>>,
    table: Table,
    digests: Mutex<BTreeMap<PathBuf, Arc<Mutex<Digests>>>>,
}

impl Processes {
    pub(crate) fn new(launcher: Launcher, egress: Option<Arc<Egress>>) -> Self {
        Self { launcher, egress, table: Table::default(), digests: Mutex::default() }
    }

    /// Ends what a session started.
    pub(crate) fn end_session(&self, session: SessionKey) {
        self.table.end_session(session);
    }

    /// Keeps a workspace, on a thread that may block.
    async fn snapshot(&self, spent: &Arc<Spent>, room: &Room) -> Result<Snapshot, Fault> {
        let digests = self.digests_of(&room.workspace);
        let (spent, room) = (Arc::clone(spent), room.clone());
        blocking(move || {
            let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
            Snapshot::take(&spent, &room, &mut digests)
        })
        .await?
    }

    fn digests_of(&self, workspace: &Path) -> Arc<Mutex<Digests>> {
        let mut all = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= WORKSPACES_MAX && !all.contains_key(workspace) {
            all.clear();
        }
        Arc::clone(all.entry(workspace.to_owned()).or_default())
    }
}

impl Runs for Processes {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move {
            let spent = Arc::new(permit.spend());
            match spent.tool.as_str() {
                "process_run" => self.run_once(spent, room).await,
                "process_start" => self.start(spent, room).await,
                "process_read" => self.table.read(&spent, &room).await,
                "process_write" => self.table.write(&spent, &room).await,
                "process_stop" => self.table.stop(&spent, &room).await,
                "process_list" => self.table.list(&spent, &room),
                _ => Err(Fault::new(Code::TOOL_UNKNOWN, "there is no such tool", "use one that is listed").into()),
            }
        })
    }
}

/// Runs work on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "work for a command did not end");
        Fault::new(Code::TOOL_FAILED, "the command's files could not be looked at", "try again; tell the user")
    })
}

//! What a server asks and tells while nobody asked it anything.
//!
//! It learns the workspace only where that was consented to. Sampling and
//! questions to the user are not offered and are refused. What it logs is
//! written to the log within bounds; its progress goes to the call that it
//! belongs to; that its tools changed makes them be looked at again.
#![expect(deprecated, reason = "a later revision gives roots and logging up; servers of this one use them")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rmcp::model::{
    ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationCreateRequestMethod, ErrorData,
    Implementation, ListRootsResult, LoggingMessageNotificationParam, ProgressNotificationParam, ProgressToken,
    ProtocolVersion, Root, RootsCapabilities,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use rmcp::{ClientHandler, Peer};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use super::masked::Masked;
use super::server::Server;
use crate::text::{plain, short};

/// Pieces of progress that wait for a call; those that come while it is full are left out.
const PROGRESS_WAITING: usize = 32;
/// Lines of one server's log in [`LOG_TIME`].
const LOG_LINES: u32 = 50;
/// Time after which further lines are written again.
const LOG_TIME: Duration = Duration::from_secs(60);

/// Calls that are told of their progress.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<HashMap<ProgressToken, mpsc::Sender<String>>>);

impl Progress {
    fn lock(&self) -> MutexGuard<'_, HashMap<ProgressToken, mpsc::Sender<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on the call is told.
    pub(super) fn follow(self: &Arc<Self>, token: ProgressToken) -> Following {
        let (tell, told) = mpsc::channel(PROGRESS_WAITING);
        self.lock().insert(token.clone(), tell);
        Following { progress: Arc::clone(self), token, told }
    }

    fn tell(&self, token: &ProgressToken, text: String) {
        // A call that does not keep up misses some; the next ones say how far it is.
        if let Some(Err(error)) = self.lock().get(token).map(|tell| tell.try_send(text)) {
            tracing::trace!(%error, "a piece of progress is left out");
        }
    }
}

/// The progress of one call, until it is dropped.
pub(super) struct Following {
    progress: Arc<Progress>,
    token: ProgressToken,
    told: mpsc::Receiver<String>,
}

impl Following {
    /// The next piece. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<String> {
        self.told.recv().await
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.progress.lock().remove(&self.token);
    }
}

/// Whether what a connection's server told of its tools still holds.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// It said that they changed, and has not been asked since.
    pub(super) is_stale: AtomicBool,
    /// Held by whoever asks it. A call waits for that, so that none goes by a list that is being replaced.
    pub(super) looking: tokio::sync::Mutex<()>,
    /// Somebody sees to it that it is asked.
    pub(super) is_watched: AtomicBool,
}

/// Lines that may still be written to the log.
#[derive(Debug)]
struct Allowance {
    left: u32,
    since: Instant,
}

/// This side of a connection.
pub(super) struct Handler {
    /// Who is told that the server's tools changed; nobody while it is only looked at.
    server: Option<Weak<Server>>,
    name: String,
    masked: Masked,
    workspace: Option<PathBuf>,
    progress: Arc<Progress>,
    fresh: Arc<Fresh>,
    log: Mutex<Allowance>,
}

impl Handler {
    pub(super) fn new(
        name: &str,
        masked: Masked,
        workspace: Option<&Path>,
        server: Option<Weak<Server>>,
        (progress, fresh): (Arc<Progress>, Arc<Fresh>),
    ) -> Self {
        Self {
            server,
            name: name.to_owned(),
            masked,
            workspace: workspace.map(Path::to_owned),
            progress,
            fresh,
            log: Mutex::new(Allowance { left: LOG_LINES, since: Instant::now() }),
        }
    }

    fn may_log(&self) -> bool {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.since.elapsed() >= LOG_TIME {
            *log = Allowance { left: LOG_LINES, since: Instant::now() };
        }
        log.left = log.left.saturating_sub(1);
        log.left > 0
    }
}

impl ClientHandler for Handler {
    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        let root = |path: &PathBuf| url::Url::from_directory_path(path).ok().map(|url| Root::new(url.as_str()));
        Ok(ListRootsResult::new(self.workspace.iter().filter_map(root).collect()))
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Err(ErrorData::method_not_found::<ElicitationCreateRequestMethod>())
    }

    async fn on_progress(&self, told: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let of = told.total.map(|total| format!(" of {total}")).unwrap_or_default();
        let message = told.message.as_deref().map(|text| format!(": {}", short(&plain(text)))).unwrap_or_default();
        let text = super::content::scrubbed(&format!("{}{of}{message}\n", told.progress), &self.masked.all());
        self.progress.tell(&told.progress_token, text);
    }

    async fn on_logging_message(&self, told: LoggingMessageNotificationParam, _: NotificationContext<RoleClient>) {
        if self.may_log() {
            let text = told.data.as_str().map_or_else(|| told.data.to_string(), str::to_owned);
            let text = super::content::scrubbed(&short(&plain(&text)), &self.masked.all());
            tracing::debug!(server = self.name, level = ?told.level, text, "a server of tools logs");
        }
    }

    async fn on_tool_list_changed(&self, context: NotificationContext<RoleClient>) {
        if let Some(server) = self.server.as_ref().and_then(Weak::upgrade) {
            server.changed(&context.peer, &self.fresh).await;
        }
    }

    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        if self.workspace.is_some() {
            capabilities.roots = Some(RootsCapabilities::default());
        }
        ClientConfig::new(capabilities, Implementation::new("are", env!("CARGO_PKG_VERSION")))
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}

/// Asks a server again what its tools are.
pub(super) type Asked = Peer<RoleClient>;

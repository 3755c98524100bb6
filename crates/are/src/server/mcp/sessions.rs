//! MCP sessions: whose they are, how many there may be, and when they end.
//!
//! The SDK keeps the streams of a session; what is kept here is the account it
//! belongs to, so that a session of another account does not exist, and its
//! end: when the token that began it may speak no longer, when nobody has used
//! it for [`IDLE_MS`], or when it makes room for another of the same account.
//! A session with an open stream or a request in flight is in use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use are_core::error::{Code, Fault};
use are_core::ids::AccountId;
use futures_util::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::SessionManager;
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError, SessionTransport,
};
use rmcp::transport::streamable_http_server::session::{ServerSseMessage, SessionId};
use tokio_util::sync::CancellationToken;

use crate::server::app::App;
use crate::server::auth::{Principal, Tie};

/// MCP sessions at once: each is two tasks and a few channels.
const SESSIONS_MAX: usize = 1_024;
/// Those of one account; an editor's window has one each.
const SESSIONS_OF_ACCOUNT_MAX: usize = 64;
/// Milliseconds without a stream or request after which a session ends: longer than a person has for an approval.
const IDLE_MS: u64 = 30 * 60 * 1000;

/// The MCP sessions of a server.
pub(in crate::server) struct Sessions {
    streams: LocalSessionManager,
    lives: Mutex<HashMap<SessionId, Arc<Life>>>,
    /// Sessions begin one after the other, so that each finds the room that was made for it.
    pub(super) beginning: tokio::sync::Mutex<()>,
}

impl Default for Sessions {
    fn default() -> Self {
        let mut streams = LocalSessionManager::default();
        // A call that waits for a person is silent for longer than any such time; see `IDLE_MS`.
        streams.session_config.keep_alive = None;
        Self { streams, lives: Mutex::default(), beginning: tokio::sync::Mutex::default() }
    }
}

impl Sessions {
    fn lives(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Arc<Life>>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(in crate::server) fn count(&self) -> usize {
        self.lives().len()
    }

    /// The session of that id, when it is the account's.
    pub(super) fn of(&self, account: &AccountId, id: &str) -> Option<Arc<Life>> {
        self.lives().get(id).filter(|life| life.account == *account).cloned()
    }

    /// Sees to it that the account can begin one more.
    ///
    /// # Errors
    /// ARE-0706: all places are taken by sessions in use.
    pub(super) async fn make_room(&self, account: &AccountId) -> Result<(), Fault> {
        let leaves = {
            let lives = self.lives();
            let own = || lives.iter().filter(|(_, life)| life.account == *account);
            if lives.len() < SESSIONS_MAX && own().count() < SESSIONS_OF_ACCOUNT_MAX {
                return Ok(());
            }
            // Clients that went away without a word leave sessions behind; the one that was used longest ago goes.
            let idle = own().filter(|(_, life)| !life.is_in_use());
            idle.min_by_key(|(_, life)| life.used_at_ms.load(Ordering::Relaxed)).map(|(id, _)| id.clone())
        };
        match leaves {
            Some(id) => {
                self.end(&id).await;
                Ok(())
            }
            None => Err(full()),
        }
    }

    /// Ends a session and what is in flight in it.
    async fn end(&self, id: &SessionId) {
        if let Some(life) = self.lives().remove(id) {
            life.ended.cancel();
        }
        if let Err(error) = self.streams.close_session(id).await {
            tracing::debug!(%error, "an MCP session had ended already");
        }
    }
}

fn full() -> Fault {
    let help = "end one (`DELETE /mcp`), or try again in a minute";
    Fault::new(Code::SESSION_LIMIT, "too many MCP sessions are in use", help).retryable()
}

/// One MCP session.
pub(super) struct Life {
    account: AccountId,
    tie: Tie,
    /// Cancelled when it is over.
    pub(super) ended: CancellationToken,
    users: AtomicUsize,
    used_at_ms: AtomicU64,
}

impl Life {
    pub(super) fn new(principal: &Principal, now_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            account: principal.account.clone(),
            tie: principal.tie.clone(),
            ended: CancellationToken::new(),
            users: AtomicUsize::new(0),
            used_at_ms: AtomicU64::new(now_ms),
        })
    }

    fn is_in_use(&self) -> bool {
        self.users.load(Ordering::Acquire) > 0
    }
}

/// A stream or request; the session is in use as long as it lives.
pub(super) struct Use {
    app: Arc<App>,
    life: Arc<Life>,
}

impl Use {
    pub(super) fn of(app: &Arc<App>, life: &Arc<Life>) -> Self {
        life.users.fetch_add(1, Ordering::AcqRel);
        Self { app: app.clone(), life: life.clone() }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.life.used_at_ms.store(self.app.settings.clock.now_ms(), Ordering::Relaxed);
        self.life.users.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Ends a session when nothing holds it any more.
async fn watch(app: Arc<App>, id: SessionId, life: Arc<Life>) {
    let clock = &app.settings.clock;
    loop {
        let quiet_ms = clock.now_ms().saturating_sub(life.used_at_ms.load(Ordering::Relaxed));
        let wait_ms = if life.is_in_use() { IDLE_MS } else { IDLE_MS.saturating_sub(quiet_ms) };
        // All four only tell that something has come; dropping any loses nothing.
        tokio::select! {
            () = life.ended.cancelled() => return,
            () = app.closing.cancelled() => return,
            () = life.tie.cut() => break,
            () = clock.sleep(wait_ms) => {}
        }
        let quiet_ms = clock.now_ms().saturating_sub(life.used_at_ms.load(Ordering::Relaxed));
        if !life.is_in_use() && quiet_ms >= IDLE_MS {
            break;
        }
    }
    app.mcp.end(&id).await;
}

/// The sessions as one request sees them: those of its account.
pub(super) struct Own {
    pub(super) app: Arc<App>,
    pub(super) account: AccountId,
    /// Of the session that the request begins, if it begins one.
    pub(super) life: Arc<Life>,
}

impl Own {
    fn known(&self, id: &SessionId) -> Result<&LocalSessionManager, LocalSessionManagerError> {
        match self.app.mcp.of(&self.account, id) {
            Some(_) => Ok(&self.app.mcp.streams),
            None => Err(LocalSessionManagerError::SessionNotFound(id.clone())),
        }
    }
}

impl SessionManager for Own {
    type Error = LocalSessionManagerError;
    type Transport = SessionTransport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        let (id, transport) = self.app.mcp.streams.create_session().await?;
        self.app.mcp.lives().insert(id.clone(), self.life.clone());
        self.app.tasks.spawn("mcp session", watch(self.app.clone(), id.clone(), self.life.clone()));
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.known(id)?.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        Ok(self.app.mcp.of(&self.account, id).is_some())
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        if self.app.mcp.of(&self.account, id).is_some() {
            self.app.mcp.end(id).await;
        }
        Ok(())
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.known(id)?.create_stream(id, message).await
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Self::Error> {
        self.known(id)?.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.known(id)?.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.known(id)?.resume(id, last_event_id).await
    }
}

//! The doors: HTTP and WebSocket on TCP and on the data directory's unix socket.
//!
//! Every request passes one [gate](gate) before anything else sees it, every
//! route stands in one [table](routes) with the scope it needs, and every
//! refusal is a problem document or a close code from one [mapping](problem).
//! The server holds no state of sessions: it passes requests to the engine as
//! values and the journal's entries to clients as events.
//!
//! Limits are in the modules that keep them; the connections in all here.

mod access;
mod api;
mod app;
mod auth;
mod connection;
mod console;
mod doors;
mod gate;
mod hosts;
mod listen;
mod lobby;
mod mcp;
mod named;
mod openai;
mod problem;
mod routes;
mod socket;
mod stall;
mod tasks;
mod throttle;
mod upgrade;
mod v1;
mod v2;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use are_core::clock::Clock;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_engine::engine::Engine;
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::app::App;
use self::auth::Tokens;
use self::hosts::Hosts;
use self::listen::Listeners;
use self::tasks::Tasks;
use crate::audit::Auditor;
use crate::telemetry::Telemetry;

pub use self::auth::{Scope, admin_account};
pub(crate) use self::mcp::WORKSPACE_HEADER;
pub use self::routes::{Access, table};

/// Connections at once, sockets included: the goal of 10,000 open ones with room to spare.
pub const CONNECTIONS_MAX: usize = 16 << 10;
/// How long connections may take to end after the engine has.
const CLOSING_PATIENCE: Duration = Duration::from_secs(3);
/// Milliseconds after which it is looked again what is over, whatever was seen: clocks are set.
const EXPIRY_LOOK_MS: u64 = 60 * 60 * 1000;
/// How long the engine may take to stop after the store has failed, before clients are told.
const FAILING_PATIENCE: Duration = Duration::from_secs(1);

/// Where to listen on TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// Nowhere: the unix socket only.
    None,
    /// `localhost`, both address families; port 0 takes a free one.
    Loopback {
        /// The port.
        port: u16,
    },
    /// Exactly these.
    Addresses(Vec<SocketAddr>),
}

/// What the server is told.
#[derive(Clone)]
pub struct Settings {
    /// Where to listen on TCP.
    pub bind: Bind,
    /// The unix socket; the caller holds the lock of its directory.
    pub socket: Option<PathBuf>,
    /// SHA-256 of the admin token.
    pub admin_token: Digest,
    /// No credential is asked for; loopback only.
    pub no_auth: bool,
    /// Further names of this server (`ARE_HOSTS`).
    pub hosts: Vec<String>,
    /// Further origins whose pages may use it (`ARE_ORIGINS`).
    pub origins: Vec<String>,
    /// Its address as users see it (`ARE_PUBLIC_URL`).
    pub public_url: Option<String>,
    /// Clients cannot choose workspaces: the server was started with one.
    pub workspace_fixed: bool,
    /// What `GET /api/status` says beside what the server knows; an object.
    pub status: Value,
    /// What `GET /api/config` says: the effective configuration without secrets.
    pub config: Value,
    /// Name and description of each skill of the data directory.
    pub skills: Vec<(String, String)>,
    /// Milliseconds that running tools have to end at shutdown.
    pub grace_ms: u64,
    /// Keeps the log of audit; `None` where auditing is off.
    pub auditor: Option<Arc<Auditor>>,
    /// Makes spans of turns; `None` where none are sent.
    pub telemetry: Option<Arc<Telemetry>>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
}

/// A server that listens and does not answer yet.
pub struct Server {
    listeners: Listeners,
    addresses: Vec<SocketAddr>,
    hosts: Hosts,
    settings: Settings,
}

impl Server {
    /// Takes the addresses.
    ///
    /// # Errors
    /// ARE-0103 an address cannot be bound, ARE-0101 the unix socket cannot be made,
    /// ARE-0007 `no_auth` with an address that others reach, ARE-0002 an origin that is none.
    pub async fn bind(settings: Settings) -> Result<Self, Fault> {
        if let (true, Bind::Addresses(addresses)) = (settings.no_auth, &settings.bind)
            && !addresses.iter().all(listen::is_loopback)
        {
            return Err(Fault::new(
                Code::CONFIG_CONFLICT,
                "`--no-auth` works on loopback only, and this address can be reached by others",
                "leave `--no-auth` out, or bind `localhost`",
            ));
        }
        let listeners = Listeners::bind(&settings.bind, settings.socket.as_deref()).await?;
        let addresses = listeners.addresses()?;
        let public_url = settings.public_url.as_deref();
        let hosts = Hosts::new(addresses.clone(), &settings.hosts, &settings.origins, public_url)?;
        Ok(Self { listeners, addresses, hosts, settings })
    }

    /// The TCP addresses that were taken.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `stop` is cancelled or the store fails for good. Then, in order: not ready, no new connections,
    /// the engine stops at its last durable records, sockets are closed, every task has ended.
    ///
    /// # Errors
    /// ARE-0305 when the store failed: the process must exit non-zero.
    pub async fn serve(self, engine: Engine, stop: CancellationToken) -> Result<(), Fault> {
        let tokens = Tokens::new(self.settings.admin_token, engine.tokens().await?);
        let app = Arc::new(App::new(engine, self.settings, self.hosts, tokens, Tasks::default()));
        let router = routes::router(&app);
        app.tasks.spawn("expiry", expire(app.clone()));
        app.tasks.spawn("access", access::keep(app.clone()));
        self.listeners.accept(&app, &router);
        // Both only report; dropping either loses nothing.
        tokio::select! {
            _ = app.engine.failed() => {}
            () = stop.cancelled() => {}
        }
        // Who stops the server may have heard of a failure before it was told here, so the store is asked.
        let ended = app.engine.failure().map_or(Ok(()), |reason| Err(store_failed(&reason)));
        // The reason first: whoever hears of the engine's end asks for it.
        app.stop(ended.as_ref().err().cloned());
        if ended.is_err() {
            // Nothing can be recorded any more, so nothing is waited for longer than clients wait to hear why.
            if timeout(FAILING_PATIENCE, app.engine.shutdown(0)).await.is_err() {
                tracing::warn!("the engine did not stop in time");
            }
        } else {
            access::write(&app).await;
            app.engine.shutdown(app.settings.grace_ms).await;
        }
        app.closing.cancel();
        let left = app.tasks.finish(CLOSING_PATIENCE).await;
        if left > 0 {
            tracing::warn!(left, "connections did not end in time and are dropped");
        }
        ended
    }
}

/// Takes tokens and logins out of service when they are over, and closes what they opened.
async fn expire(app: Arc<App>) {
    let clock = &app.settings.clock;
    loop {
        let now_ms = clock.now_ms();
        let ends = app.tokens.expire(now_ms).into_iter().chain(app.logins.expire(now_ms));
        let wait_ms = ends.min().map_or(EXPIRY_LOOK_MS, |end| end.saturating_sub(now_ms));
        // All three only tell that something has come; dropping any loses nothing.
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = app.tokens.added() => {}
            () = clock.sleep(wait_ms.clamp(1, EXPIRY_LOOK_MS)) => {}
        }
    }
}

fn store_failed(reason: &str) -> Fault {
    tracing::error!(reason, "the store failed");
    Fault::new(
        Code::STORE_FAILED,
        "the store failed, and what it holds beyond the last acknowledged entry is unknown",
        "look at the disk, then start again: acknowledged turns go on",
    )
}

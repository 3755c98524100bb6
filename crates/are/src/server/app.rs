//! What all connections of a server share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use are_core::error::{Code, Fault};
use are_engine::api::NewSession;
use are_engine::engine::Engine;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::access::Ledger;
use super::auth::{Door, Principal, Tokens};
use super::console::logins::Logins;
use super::hosts::Hosts;
use super::mcp;
use super::problem::stopping;
use super::tasks::Tasks;
use super::throttle::Throttle;
use crate::metrics::Metrics;

/// Shared state; every field has one owner and one meaning.
pub(super) struct App {
    /// The engine.
    pub(super) engine: Engine,
    /// What the server was told.
    pub(super) settings: Settings,
    /// Names that are ours.
    pub(super) hosts: Hosts,
    /// Tokens that are good.
    pub(super) tokens: Tokens,
    /// Sessions of MCP clients.
    pub(super) mcp: mcp::Sessions,
    /// Logins of the console.
    pub(super) logins: Logins,
    /// Who came to the doors.
    pub(super) ledger: Ledger,
    /// Figures for whoever watches the server.
    pub(super) metrics: Arc<Metrics>,
    /// All tasks.
    pub(super) tasks: Tasks,
    /// Not ready from here on.
    pub(super) stopping: CancellationToken,
    /// The engine has stopped: sockets close.
    pub(super) closing: CancellationToken,
    ending: OnceLock<Fault>,
    throttle: Mutex<Throttle>,
    sockets: Arc<AtomicUsize>,
}

impl App {
    /// A server that has not stopped.
    pub(super) fn new(engine: Engine, settings: Settings, hosts: Hosts, tokens: Tokens, tasks: Tasks) -> Self {
        let mut metrics = Metrics::new();
        if let Some(telemetry) = &settings.telemetry {
            metrics.watch(telemetry);
        }
        let metrics = Arc::new(metrics);
        engine.observe(metrics.clone());
        Self {
            engine,
            settings,
            hosts,
            tokens,
            mcp: mcp::Sessions::default(),
            logins: Logins::default(),
            ledger: Ledger::default(),
            metrics,
            tasks,
            stopping: CancellationToken::new(),
            closing: CancellationToken::new(),
            ending: OnceLock::new(),
            throttle: Mutex::default(),
            sockets: Arc::default(),
        }
    }

    /// Not ready from here on, because the store failed or because the server was told to end.
    pub(super) fn stop(&self, fault: Option<Fault>) {
        if let Some(fault) = fault {
            // silent-ok: the first reason is the one that counts.
            let _set = self.ending.set(fault);
        }
        self.stopping.cancel();
    }

    /// Why connections are ended.
    pub(super) fn goodbye(&self) -> Fault {
        self.ending.get().cloned().unwrap_or_else(stopping)
    }

    /// Why connections are ended, for one whose session has ended with `fault`: of a store that failed while the
    /// server was ending in order, the session knows first.
    pub(super) fn goodbye_after(&self, fault: Fault) -> Fault {
        if fault.code == Code::STORE_FAILED { fault } else { self.goodbye() }
    }

    /// Works with the counts of wrong credentials.
    pub(super) fn throttle<T>(&self, work: impl FnOnce(&mut Throttle) -> T) -> T {
        work(&mut self.throttle.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new session as this client may begin it: only a process of the same user chooses a directory, and
    /// nobody does when the server was started with one.
    pub(super) fn new_session(&self, principal: &Principal, mut new: NewSession) -> Result<NewSession, Fault> {
        if new.workspace.is_some() && principal.door != Door::Local {
            return Err(Fault::new(
                Code::WORKSPACE_REFUSED,
                "a workspace can be chosen on the unix socket only",
                "leave `workspace` out, or start the server with `ARE_WORKSPACE`",
            ));
        }
        if self.settings.workspace_fixed {
            new.workspace = None;
        }
        Ok(new)
    }

    /// Where a browser finds this server; nowhere when it has its unix socket only.
    pub(super) fn base_url(&self) -> Option<String> {
        self.settings.public_url.clone().or_else(|| self.hosts.base_url())
    }

    /// Counts a socket for as long as the answer lives.
    pub(super) fn count_socket(&self) -> Counted {
        self.sockets.fetch_add(1, Ordering::Relaxed);
        Counted(self.sockets.clone())
    }

    /// Open sockets.
    pub(super) fn sockets(&self) -> usize {
        self.sockets.load(Ordering::Relaxed)
    }
}

/// A counted socket.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

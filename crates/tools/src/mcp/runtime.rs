//! What all servers share: the means of reaching them, and the list of them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use are_core::digest::{Digest, Nonce};
use are_core::error::{Code, Fault};
use are_policy::logins::{LoggedIn, LoginBegun, LoginKeeper, LoginWish};
use are_policy::secrets::Secrets;
use tokio::time::Instant;

use super::consent::Consent;
use super::declared::Declaration;
use super::link::{CONNECT_TIME, Link, Wanted};
use super::login::{Keeper, Logins, named};
use super::noted::{Challenge, Notes};
use super::server::{Server, Standing};
use super::spec::{Remote, Spec, invalid};
use super::stdio::Hidden;
use crate::http::Http;
use crate::launch::Launcher;

/// How servers are started and reached.
pub(crate) struct Means {
    pub(super) http: Arc<Http>,
    launcher: OnceLock<Launcher>,
    data_dir: OnceLock<PathBuf>,
    /// Where consents lie, and beside them what was found out since.
    folder: OnceLock<PathBuf>,
    /// Those that servers are started and reached with: the operator's.
    secrets: Keeper,
    pub(super) logins: Logins,
    /// Rises whenever a server's tools turn out to be others.
    changes: AtomicU64,
}

impl Means {
    pub(super) fn launcher(&self) -> Result<&Launcher, Fault> {
        self.launcher.get().ok_or_else(|| {
            let help = "`are doctor` shows what is missing; servers that are reached by an address need no cage";
            Fault::new(Code::SERVER_UNUSABLE, "no cage holds here, so no local server is started", help)
        })
    }

    /// What servers are given, once it is there: turns that go on after a restart can be quicker.
    pub(super) async fn secrets(&self) -> &dyn LoginKeeper {
        self.secrets.wait().await.as_ref()
    }

    /// The same, to be kept by a server's proxy.
    pub(super) async fn shared_secrets(&self) -> Arc<dyn Secrets> {
        Arc::<dyn LoginKeeper>::clone(self.secrets.wait().await)
    }

    /// What no server may be shown whole.
    pub(super) fn hidden(&self) -> Hidden {
        let home = self.launcher.get().and_then(|launcher| launcher.home().map(ToOwned::to_owned));
        Hidden(home.into_iter().chain(self.data_dir.get().cloned()).collect())
    }

    /// What is known of a server that was consented to like this. Blocks, shortly.
    pub(super) fn notes(&self, name: &str, consent: Digest) -> Notes {
        Notes::open(self.folder.get().map(PathBuf::as_path), name, consent)
    }

    pub(super) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

/// All servers.
pub(crate) struct Runtime {
    means: Arc<Means>,
    /// Those whose file is served, or is just being looked at.
    servers: Mutex<Vec<Weak<Server>>>,
}

impl Runtime {
    pub(crate) fn new(http: Arc<Http>) -> Self {
        let secrets = Keeper::default();
        let means = Means {
            logins: Logins::new(Arc::clone(&http), Arc::clone(&secrets)),
            http,
            launcher: OnceLock::new(),
            data_dir: OnceLock::new(),
            folder: OnceLock::new(),
            secrets,
            changes: AtomicU64::new(0),
        };
        Self { means: Arc::new(means), servers: Mutex::default() }
    }

    /// From here on local servers can be started.
    pub(crate) fn caged(&self, launcher: Launcher) {
        if self.means.launcher.set(launcher).is_err() {
            tracing::debug!("there is a cage for servers already");
        }
    }

    /// From here on servers are given these secrets, where what was consented to names them, and logins are kept there.
    pub(crate) fn entrust(&self, secrets: Arc<dyn LoginKeeper>) {
        if self.means.secrets.set(secrets).is_err() {
            tracing::debug!("servers are given secrets already");
        }
    }

    /// What lies here is shown to no server.
    pub(crate) fn hide(&self, data_dir: PathBuf) {
        if self.means.data_dir.set(data_dir).is_err() {
            tracing::debug!("there is a data directory already");
        }
    }

    /// What is found out of servers is kept in this folder, beside the consents to them.
    pub(crate) fn keep_in(&self, folder: PathBuf) {
        if self.means.folder.set(folder).is_err() {
            tracing::debug!("there is a folder of consents already");
        }
    }

    /// Changes whenever other tools are to be served although no file has changed.
    pub(crate) fn revision(&self) -> u64 {
        self.means.changes.load(Ordering::Acquire)
    }

    /// The server of a file: the one that there is, with its connections, while the file is the same.
    pub(super) fn server(&self, name: &str, file: Digest, consent: Consent) -> Arc<Server> {
        let mut servers = self.lock();
        servers.retain(|server| server.strong_count() > 0);
        let same = |server: &Arc<Server>| server.name == name && server.file == file;
        if let Some(server) = servers.iter().filter_map(Weak::upgrade).find(same) {
            return server;
        }
        let server = Arc::new(Server::new(name.to_owned(), file, consent, Arc::clone(&self.means)));
        servers.push(Arc::downgrade(&server));
        server
    }

    /// How a server stands whose file has this content.
    pub(crate) fn standing(&self, name: &str, file: Digest) -> Option<Standing> {
        self.find(name, file).map(|server| server.standing())
    }

    /// Starts or reaches a server, sees what it declares, and lets it go: what would be consented to, its file, and
    /// what it says of its revision.
    pub(crate) async fn examine(&self, name: &str, spec: Spec) -> Result<(Consent, String), Fault> {
        self.see(name, spec).await.map_err(|fault| named(fault, name))
    }

    async fn see(&self, name: &str, spec: Spec) -> Result<(Consent, String), Fault> {
        let deadline = Instant::now() + CONNECT_TIME;
        let wanted = Wanted { name, spec: &spec, workspace: None, server: None };
        let link = Link::open(wanted, &self.means, deadline).await?;
        let late = || Fault::new(Code::SERVER_UNUSABLE, "the server did not say in time what it has", "try again");
        let declared = match tokio::time::timeout_at(deadline, Declaration::ask(&link.peer)).await {
            Ok(Ok(declared)) => declared,
            Ok(Err(fault)) if fault.retryable => return Err(link.ended().await.unwrap_or(fault)),
            Ok(Err(fault)) => return Err(fault),
            Err(_late) => return Err(link.end().unwrap_or_else(|| late().retryable())),
        };
        let revision = declared.revision.clone();
        Ok((Consent::to(spec, &declared), revision))
    }

    /// Finds out where to log in at a server, and begins. `file` is the digest of the consent to it, if there is one.
    pub(crate) async fn begin_login(
        &self,
        spec: &Spec,
        file: Option<Digest>,
        wish: LoginWish,
    ) -> Result<LoginBegun, Fault> {
        let remote = remote(spec)?;
        let consented = file.and_then(|file| self.find(&wish.name, file));
        let said = match consented.and_then(|server| server.challenge()) {
            Some(said) => Some(said),
            None => self.challenge(&wish.name, spec, remote).await?,
        };
        self.means.logins.begin(wish, remote, said).await
    }

    /// What a server says when it is asked for what it has: `None` when it is told that.
    async fn challenge(&self, name: &str, spec: &Spec, remote: &Remote) -> Result<Option<Challenge>, Fault> {
        let Some(login) = self.means.logins.at(name, remote)? else { return Ok(None) };
        match self.see(name, spec.clone()).await {
            Ok(_) => Ok(None),
            Err(fault) if matches!(fault.code, Code::SERVER_LOGIN | Code::LOGIN_FAILED) => Ok(login.challenge()),
            Err(fault) => Err(fault),
        }
    }

    /// Ends a login with a person's answer; the server's tools are served from here on.
    pub(crate) async fn finish_login(&self, name: &str, callback: &str) -> Result<LoggedIn, Fault> {
        let logged_in = self.means.logins.finish(name, callback).await?;
        for server in self.named(name) {
            server.logged_in().await;
        }
        Ok(logged_in)
    }

    /// Forgets the login at a server; false when there is none.
    pub(crate) async fn end_login(&self, name: &str) -> Result<bool, Fault> {
        let is_ended = self.means.logins.end(name).await?;
        if is_ended {
            for server in self.named(name) {
                server.logged_out().await;
            }
        }
        Ok(is_ended)
    }

    /// The server of a file with this content.
    fn find(&self, name: &str, file: Digest) -> Option<Arc<Server>> {
        self.named(name).into_iter().find(|server| server.file == file)
    }

    fn named(&self, name: &str) -> Vec<Arc<Server>> {
        self.lock().iter().filter_map(Weak::upgrade).filter(|server| server.name == name).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Server>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remote(spec: &Spec) -> Result<&Remote, Fault> {
    match spec {
        Spec::Remote(remote) => Ok(remote),
        Spec::Local(_) => Err(invalid(
            "the server is a program of this machine, and nobody logs in there",
            "give it what it needs in a variable: `are mcp add NAME --env KEY=secret:NAME -- COMMAND`",
        )),
    }
}

/// A random text.
pub(crate) fn nonce() -> Result<Nonce, Fault> {
    let mut nonce = Nonce::default();
    getrandom::fill(&mut nonce)
        .map_err(|error| Fault::new(Code::INTERNAL, format!("no randomness: {error}"), "report this"))?;
    Ok(nonce)
}

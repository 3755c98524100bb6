//! One server that was consented to: its connections, how it stands, and which
//! of its tools are not what was consented to any more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use rmcp::model::Tool;
use tokio::time::{Duration, Instant};

use super::consent::Consent;
use super::declared::{digest, tools};
use super::handler::{Asked, Fresh};
use super::link::{CONNECT_TIME, Link, Wanted};
use super::login::{Login, named, needed};
use super::noted::{Challenge, Notes, Revoked};
use super::runtime::Means;
use super::spec::Spec;

/// Connections of one server: one, or one for each workspace that it may read.
const LINKS_MAX: usize = 16;
/// The pause after the first failure; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// What stays of a call's time when connecting takes all of it.
const ANSWER_TIME: Duration = Duration::from_millis(250);
/// A server that says again and again that its tools changed is asked at most once in this time.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// A server.
pub(crate) struct Server {
    pub(super) name: String,
    /// Digest of its file.
    pub(super) file: Digest,
    pub(super) consent: Consent,
    means: Arc<Means>,
    links: Mutex<BTreeMap<PathBuf, Arc<Link>>>,
    /// Held by whoever connects, so that nobody else does.
    connecting: tokio::sync::Mutex<()>,
    health: Mutex<Health>,
    /// What was found out since somebody consented.
    notes: Arc<Notes>,
}

/// How it went lately.
#[derive(Default)]
struct Health {
    failures: u32,
    why: Option<Fault>,
    until: Option<Instant>,
}

/// How a server stands at a moment.
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) given: Vec<String>,
    pub(crate) state: &'static str,
    pub(crate) why: Option<String>,
    pub(crate) retry_after_ms: Option<u64>,
    pub(crate) connections: usize,
    pub(crate) prompts: Vec<String>,
    pub(crate) login: Option<&'static str>,
}

impl Server {
    /// Blocks, shortly: it reads what was found out before.
    pub(super) fn new(name: String, file: Digest, consent: Consent, means: Arc<Means>) -> Self {
        let notes = Arc::new(means.notes(&name, file));
        Self {
            name,
            file,
            consent,
            means,
            links: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            health: Mutex::default(),
            notes,
        }
    }

    /// A connection for a session with this workspace, made if there is none.
    pub(super) async fn link(self: &Arc<Self>, workspace: &Path, deadline: Instant) -> Result<Arc<Link>, Fault> {
        let workspace = match &self.consent.server {
            Spec::Local(local) if local.workspace => Some(workspace),
            Spec::Local(_) | Spec::Remote(_) => None,
        };
        let key = workspace.unwrap_or(Path::new("")).to_owned();
        // Whoever waits here finds the connection that the one before has made.
        let _one = self.connecting.lock().await;
        if let Some(link) = self.alive(&key) {
            return Ok(link);
        }
        self.may_try()?;
        // A little earlier than the call itself is given up, so that it is known who was late.
        let left = deadline.saturating_duration_since(Instant::now());
        match self.open(workspace, deadline - ANSWER_TIME.min(left / 4)).await {
            Ok(link) => {
                let link = Arc::new(link);
                let mut links = self.lock();
                links.retain(|_, link| link.end().is_none());
                if links.len() >= LINKS_MAX {
                    let why = format!("the server `{}` serves {LINKS_MAX} workspaces already", self.name);
                    return Err(Fault::new(Code::SERVER_UNUSABLE, why, "try again later").retryable());
                }
                links.insert(key, Arc::clone(&link));
                Ok(link)
            }
            Err(fault) => {
                self.refuses(&fault).await;
                Err(self.failed(fault))
            }
        }
    }

    async fn open(self: &Arc<Self>, workspace: Option<&Path>, deadline: Instant) -> Result<Link, Fault> {
        let server = Some(Arc::downgrade(self));
        let wanted = Wanted { name: &self.name, spec: &self.consent.server, workspace, server };
        let link = Link::open(wanted, &self.means, deadline).await?;
        link.fresh.is_stale.store(true, Ordering::Release);
        match self.look(&link.peer, &link.fresh, deadline).await {
            Ok(()) => Ok(link),
            Err(fault) if fault.retryable => Err(link.end().unwrap_or(fault)),
            Err(fault) => Err(fault),
        }
    }

    /// A connection that goes on. One that has ended is forgotten, and counts as a failure unless it was of use.
    fn alive(&self, key: &Path) -> Option<Arc<Link>> {
        let link = self.lock().get(key).cloned()?;
        let Some(why) = link.end() else { return Some(link) };
        self.lock().remove(key);
        let mut health = self.health();
        health.why = Some(why);
        if link.is_proven() {
            health.failures = 0;
            health.until = None;
        } else {
            health.fail(Instant::now());
        }
        None
    }

    fn may_try(&self) -> Result<(), Fault> {
        let health = self.health();
        let left = health.until.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default();
        if left.is_zero() {
            return Ok(());
        }
        let why = health.why.as_ref().map(|why| format!(": {}", why.message)).unwrap_or_default();
        let message = format!("the server `{}` is down{why}", self.name);
        let ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        Err(Fault::new(Code::SERVER_UNUSABLE, message, "try again later, or go on without it").retry_after(ms))
    }

    fn failed(&self, fault: Fault) -> Fault {
        let mut health = self.health();
        health.fail(Instant::now());
        health.why = Some(fault.clone());
        tracing::warn!(server = self.name, failures = health.failures, %fault, "a server of tools cannot be used");
        named(Fault { message: format!("the server `{}`: {}", self.name, fault.message), ..fault }, &self.name)
    }

    /// The login at it, whether there is one or not.
    fn login(&self) -> Option<Arc<Login>> {
        let Spec::Remote(remote) = &self.consent.server else { return None };
        // silent-ok: an address that cannot be read is refused at the first connection.
        self.means.logins.at(&self.name, remote).ok().flatten()
    }

    /// Notes that the server refused something for want of a login, if that is why: until somebody logs in nothing of
    /// it is served, or it is known what the next login has to be able to do.
    pub(super) async fn refuses(&self, fault: &Fault) {
        let is_for_login = fault.code == Code::SERVER_LOGIN;
        let Some(challenge) = self.login().filter(|_| is_for_login).and_then(|login| login.challenge()) else { return };
        self.note_login(Some(challenge)).await;
    }

    /// What it said of a login last, until somebody logged in.
    pub(super) fn challenge(&self) -> Option<Challenge> {
        self.notes.lock().login.clone()
    }

    /// Somebody has logged in: it is served again, over new connections.
    pub(super) async fn logged_in(&self) {
        *self.health() = Health::default();
        self.lock().clear();
        self.note_login(None).await;
    }

    /// Its login is gone: it is not served any more, and no connection goes on by it.
    pub(super) async fn logged_out(&self) {
        self.lock().clear();
        self.note_login(Some(Challenge { header: String::new(), is_needed: true })).await;
    }

    async fn note_login(&self, said: Option<Challenge>) {
        let was_needed = {
            let mut noted = self.notes.lock();
            if noted.login == said {
                return;
            }
            std::mem::replace(&mut noted.login, said.clone()).is_some_and(|before| before.is_needed)
        };
        if was_needed != said.is_some_and(|said| said.is_needed) {
            self.means.note_change();
        }
        self.notes.keep().await;
    }

    /// Why nothing of it is served, if somebody has to log in first.
    pub(super) fn locked(&self) -> Option<Fault> {
        let is_needed = self.notes.lock().login.as_ref().is_some_and(|said| said.is_needed);
        is_needed.then(|| {
            let fault = needed(&self.name);
            Fault { message: format!("the server `{}` is not served: it asks for a login", self.name), ..fault }
        })
    }

    /// The server was of use.
    pub(super) fn succeeded(&self) {
        *self.health() = Health::default();
    }

    /// Whether a call of this tool may go to the server: it is what was consented to, as far as the server has told.
    pub(super) async fn check(&self, tool: &str, link: &Link, deadline: Instant) -> Result<(), Fault> {
        if let Err(fault) = self.look(&link.peer, &link.fresh, deadline).await {
            self.refuses(&fault).await;
            return Err(named(fault, &self.name));
        }
        self.refused(tool).map_or(Ok(()), Err)
    }

    /// The server said that its tools changed.
    pub(super) async fn changed(&self, peer: &Asked, fresh: &Fresh) {
        if fresh.is_watched.swap(true, Ordering::AcqRel) {
            // Whoever is at it sees that it is stale again.
            return;
        }
        loop {
            if let Err(fault) = self.look(peer, fresh, Instant::now() + CONNECT_TIME).await {
                tracing::warn!(server = self.name, %fault, "a server's changed tools cannot be looked at");
                break;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
            fresh.is_watched.store(false, Ordering::Release);
            let is_mine = fresh.is_stale.load(Ordering::Acquire) && !fresh.is_watched.swap(true, Ordering::AcqRel);
            if !is_mine {
                return;
            }
        }
        fresh.is_watched.store(false, Ordering::Release);
    }

    /// Asks what its tools are, where what it told does not hold any more, and compares.
    async fn look(&self, peer: &Asked, fresh: &Fresh, deadline: Instant) -> Result<(), Fault> {
        let _one = fresh.looking.lock().await;
        // Before the question: what changes while it is answered is asked about again.
        if !fresh.is_stale.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let late = || Fault::new(Code::SERVER_UNUSABLE, "the server did not answer in time", "try again later");
        let deadline = deadline.min(Instant::now() + CONNECT_TIME);
        let told = tokio::time::timeout_at(deadline, tools(peer)).await.map_err(|_| late().retryable()).flatten();
        match told {
            Ok(told) => {
                if self.compare(&told) {
                    self.notes.keep().await;
                }
                Ok(())
            }
            Err(fault) => {
                fresh.is_stale.store(true, Ordering::Release);
                Err(fault)
            }
        }
    }

    /// Revokes what is not declared as it was when somebody consented; true when that changes something.
    fn compare(&self, told: &[Tool]) -> bool {
        let mut noted = self.notes.lock();
        let before = noted.revoked.clone();
        noted.revoked.retain(|_, revoked| revoked.is_final());
        for agreed in &self.consent.tools {
            let mut same = told.iter().filter(|tool| tool.name == agreed.name);
            let why = match (same.next(), same.next()) {
                (Some(tool), None) if digest(tool) == agreed.digest => continue,
                (Some(_), None) => Revoked::Otherwise,
                (Some(_), Some(_)) => Revoked::Twice,
                (None, _) => Revoked::Gone,
            };
            noted.revoked.entry(agreed.name.clone()).or_insert(why);
        }
        if noted.revoked == before {
            return false;
        }
        self.means.note_change();
        tracing::warn!(
            server = self.name,
            revoked = noted.revoked.len(),
            "a server's tools are not what was consented to"
        );
        true
    }

    /// Why a tool is not served, if it is not.
    pub(super) fn refused(&self, tool: &str) -> Option<Fault> {
        let why = if self.notes.is_unreadable {
            "what was found out of it since somebody consented cannot be read"
        } else {
            self.notes.lock().revoked.get(tool)?.why()
        };
        let tool = crate::text::short(&crate::text::plain(tool));
        Some(Fault::new(
            Code::TOOL_REVOKED,
            format!("`{tool}` of the server `{}` is not served: {why}", self.name),
            format!("a person looks at it with `are mcp review {}`", self.name),
        ))
    }

    /// How it stands.
    pub(super) fn standing(&self) -> Standing {
        let connections = self.lock().values().filter(|link| link.end().is_none()).count();
        let health = self.health();
        let left = health.until.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default();
        let is_down = connections == 0 && !left.is_zero();
        let state = match (connections, is_down) {
            (0, true) => "down",
            (0, false) => "idle",
            _ => "running",
        };
        let login = match (self.challenge(), self.login()) {
            (Some(said), _) if said.is_needed => Some("needed"),
            (Some(_), _) => Some("short"),
            (None, Some(login)) if login.is_kept() => Some("kept"),
            (None, _) => None,
        };
        Standing {
            name: self.name.clone(),
            given: self.consent.server.given(),
            state,
            why: health.why.as_ref().filter(|_| connections == 0).map(|why| why.message.clone()),
            retry_after_ms: is_down.then(|| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            connections,
            prompts: self.consent.prompts(),
            login,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    fn fail(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let doubled = PAUSE_MIN.saturating_mul(1 << (self.failures - 1).min(10));
        self.until = Some(now + doubled.min(PAUSE_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_after_failures_doubles_up_to_a_bound() {
        let (mut health, now) = (Health::default(), Instant::now());
        let mut pause = || {
            health.fail(now);
            health.until.expect("a pause").duration_since(now).as_secs()
        };
        assert_eq!([(); 9].map(|()| pause()), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}

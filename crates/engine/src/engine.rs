//! The engine: finds or starts the session's actor and passes things on.
//!
//! It holds no session state of its own; whatever it answers comes from the
//! store or from the one actor that owns the session.

mod account;
mod accounts;
mod agents;
mod audit;
mod compaction;
mod logins;
mod memory;
mod policy;
mod search;
mod secrets;
mod sessions;
mod spawn;
mod system;
mod tools;
mod usage;
mod workspace;

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use are_core::BoxFuture;
use are_core::clock::Clock;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, AgentName, Seq, SessionKey};
use are_core::journal::timestamp;
use are_core::model::{ModelInfo, Models};
use are_core::store::{Store, StoreError};
use are_policy::firewall::Firewall;
use are_policy::limits::Limits;
use are_policy::manifest::ToolSet;
use are_policy::prices::Prices;
use are_policy::rules::Rules;
use are_policy::tools::Tools;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actor::{self, Birth, Command, KnownObjects, MAILBOX};
use crate::adapt::Adaptive;
use crate::answers::Answers;
use crate::api::Agent;
use crate::fair::Fair;
use crate::faults;
use crate::inbox::Inboxes;
use crate::limiter::Limiter;
use crate::memory::Indexes;
use crate::observer::Observer;
use crate::resting::Resting;
use crate::screen::Screen;
use crate::scrub;
use crate::secrets::{Master, Vault};
use crate::surroundings::Standings;
use crate::tail::Shared;

pub(crate) use self::accounts::Member;
pub use self::accounts::{AccountChange, AccountView};
pub use self::audit::{Refused, SignedIn};
pub(crate) use self::policy::not_offered;
pub use self::policy::{PolicyStanding, RuleKeeper};
pub(crate) use self::secrets::OfCall;
pub use self::secrets::{Rotated, SecretView};
pub use self::spawn::works_for;
pub(crate) use self::spawn::{Child, Happened, is_awaited};
pub use self::system::system_damage;
pub use self::tools::Calling;
pub use self::usage::{LimitView, UsageAsked, UsageView};
pub use crate::inbox::{Inbox, Notice};
pub use crate::memory::LEXICAL;
pub use crate::tail::Tail;

/// The outside, as the engine sees it.
#[derive(Clone)]
pub struct Ports {
    /// Durable storage.
    pub store: Arc<dyn Store>,
    /// Language models.
    pub models: Arc<dyn Models>,
    /// Tools.
    pub tools: Arc<dyn Tools>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
}

/// Judges a directory as a workspace.
pub type WorkspaceGuard = Arc<dyn Fn(&Path) -> Result<(), Fault> + Send + Sync>;

/// What the engine is started with.
#[derive(Clone)]
pub struct Settings {
    /// The rules.
    pub rules: Arc<Rules>,
    /// Keeps a rule that an `allow_always` adds; `None` where rules cannot be written.
    pub rule_keeper: Option<RuleKeeper>,
    /// Agents by name at the start.
    pub agents: BTreeMap<AgentName, Agent>,
    /// Agent of sessions that name none.
    pub default_agent: AgentName,
    /// Workspace of sessions that bring none; without it such a session has no files.
    pub default_workspace: Option<PathBuf>,
    /// Refuses workspaces that are too wide.
    pub workspace_guard: WorkspaceGuard,
    /// Account that runs the engine; owner of the system session.
    pub operator: AccountId,
    /// Values that must never be stored or streamed.
    pub secrets: Vec<String>,
    /// What the secrets of accounts are sealed by.
    pub master: Master,
    /// Takes known values out of this process's log.
    pub log: scrub::Live,
    /// IANA name of the time zone for dates.
    pub tz: String,
    /// Version of the engine.
    pub version: String,
    /// The effective configuration without secrets; stored under its digest.
    pub config: Vec<u8>,
    /// Protections that are off.
    pub off: Vec<String>,
    /// Scans prompts and results; `None` switches it off.
    pub firewall: Option<Arc<Firewall>>,
    /// True to give an earlier answer of a model again to exactly the same request of the same account.
    pub response_cache: bool,
    /// True to shorten results and sum up the oldest turns before anything is left out of a request.
    pub compaction: bool,
    /// True to ask a planner which tools the user's words ask for, before a turn's first request.
    pub plans: bool,
    /// How adaptive turns are asked, and which ones are.
    pub adaptive: Adaptive,
    /// Sessions that may be in memory at once.
    pub sessions_active_max: usize,
    /// Limits that span sessions, and those of each session.
    pub limits: Limits,
    /// What models cost.
    pub prices: Prices,
}

pub(crate) struct Inner {
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    pub(crate) rules: ArcSwap<Rules>,
    pub(crate) policy: policy::Keeper,
    served: tools::Keeper,
    agents: agents::Agents,
    pub(crate) accounts: accounts::Accounts,
    pub(crate) inbox: Arc<Inboxes>,
    pub(crate) screen: Screen,
    /// True once a first prompt's needs are being made.
    is_warming: AtomicBool,
    /// `None` when no answer is given twice.
    pub(crate) answers: Option<Answers>,
    pub(crate) vault: Vault,
    pub(crate) memories: Indexes,
    pub(crate) operator: AccountId,
    /// No new work; sessions stop at their last record.
    pub(crate) stopping: CancellationToken,
    /// The grace is over; running tools are left.
    pub(crate) giving_up: CancellationToken,
    sessions: Mutex<HashMap<SessionKey, Handle>>,
    known_objects: Mutex<KnownObjects>,
    pub(crate) standings: Standings,
    pub(crate) resting: Resting,
    pub(crate) observers: ArcSwap<Vec<Arc<dyn Observer>>>,
    pub(crate) limiter: Limiter,
    /// Model calls of all accounts, in turn.
    pub(crate) requests: Arc<Fair>,
    /// Tool calls of all accounts, in turn.
    pub(crate) calls: Arc<Fair>,
    /// Searches of all accounts, in turn.
    searches: Arc<Fair>,
    system: system::SystemLog,
    tasks: TaskTracker,
}

#[derive(Clone)]
pub(crate) struct Handle {
    /// Boxed, because a channel keeps room for many.
    mailbox: mpsc::Sender<Box<Command>>,
    shared: Arc<Shared>,
}

/// A running engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

impl Engine {
    /// Opens the system session, records the start, and takes up unfinished turns in the background.
    ///
    /// # Errors
    /// The store failed, is full or corrupt.
    pub async fn start(ports: Ports, settings: Settings) -> Result<Self, Fault> {
        Self::start_observed(ports, settings, Vec::new()).await
    }

    /// The same with somebody told of what sessions store, unfinished turns included: these go on at once.
    ///
    /// # Errors
    /// As those of [`start`](Self::start).
    pub async fn start_observed(
        ports: Ports,
        settings: Settings,
        observers: Vec<Arc<dyn Observer>>,
    ) -> Result<Self, Fault> {
        let tasks = TaskTracker::new();
        let sealed = ports.store.sealed().await.map_err(faults::store)?;
        let vault = Vault::new(sealed, settings.master.clone(), settings.secrets.clone(), settings.log.clone());
        if let Some(fault) = vault.closed() {
            tracing::warn!(%fault, "there are secrets that cannot be opened");
        }
        let system = system::SystemLog::open(&ports, &settings).await?;
        let accounts = accounts::Accounts::new(ports.store.accounts().await.map_err(faults::store)?);
        let inner = Arc::new(Inner {
            screen: Screen::new(settings.firewall.clone()),
            is_warming: AtomicBool::new(false),
            answers: settings.response_cache.then(Answers::default),
            vault,
            memories: Indexes::default(),
            rules: ArcSwap::new(Arc::clone(&settings.rules)),
            policy: policy::Keeper::default(),
            agents: agents::Agents::new(&settings.agents),
            served: tools::Keeper::new(&ports.tools.snapshot()),
            accounts,
            inbox: Inboxes::new(Digest(ports.clock.random())),
            operator: settings.operator.clone(),
            stopping: CancellationToken::new(),
            giving_up: CancellationToken::new(),
            sessions: Mutex::new(HashMap::new()),
            known_objects: Mutex::new(KnownObjects::new()),
            standings: Standings::default(),
            resting: Resting::default(),
            observers: ArcSwap::new(Arc::new(observers)),
            limiter: Limiter::new(settings.limits.clone()),
            requests: Fair::new(settings.limits.parallel_requests),
            calls: Fair::new(settings.limits.parallel_calls),
            searches: Fair::new(search::SEARCHES_MAX),
            ports,
            settings,
            system,
            tasks,
        });
        let engine = Self { inner };
        for session in engine.inner.ports.store.open_work().await.map_err(faults::store)? {
            if session != SessionKey::SYSTEM
                && let Err(fault) = engine.wake(session)
            {
                // Beyond the limit of active sessions; it goes on when somebody touches it.
                tracing::warn!(%session, %fault, "an unfinished turn was not taken up");
            }
        }
        let sweeping = engine.clone();
        engine.inner.tasks.spawn(async move {
            sweeping.finish_deletions().await;
            sweeping.sweep_checkpoints().await;
        });
        Ok(engine)
    }

    /// Makes ready what a first prompt needs, the first time and beside all else: somebody opened a socket who may send
    /// one. A server that nobody speaks to keeps none of it, and neither does a verb that only looks something up.
    ///
    /// PERF: with tools derived once, a start takes 0.58 × the processor time that it took (`are bench --case start`).
    pub fn warm(&self) {
        if self.inner.is_warming.swap(true, Ordering::Relaxed) {
            return;
        }
        let (screen, tools) = (self.inner.screen.clone(), self.tools());
        let tz = self.inner.settings.tz.clone();
        self.inner.tasks.spawn(async move {
            screen.warm().await;
            let made = tokio::task::spawn_blocking(move || {
                tools.derive();
                // The library lists all zones when the first one is asked for.
                timestamp(0).is_some_and(|at| at.in_tz(&tz).is_ok())
            });
            // silent-ok: what was not made is made by the turn that needs it.
            made.await.ok();
        });
    }

    /// Has somebody else told of what sessions store from here on.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        self.inner.observers.rcu(|observers| observers.iter().chain([&observer]).cloned().collect::<Vec<_>>());
    }

    /// The tools served now.
    #[must_use]
    pub fn tools(&self) -> Arc<ToolSet> {
        self.inner.ports.tools.snapshot()
    }

    /// Models that can be called now.
    #[must_use]
    pub fn models(&self) -> Vec<ModelInfo> {
        self.inner.ports.models.list()
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.inner.rules.load_full()
    }

    /// Whether new turns are accepted.
    ///
    /// # Errors
    /// ARE-0305 from the moment the store has failed, ARE-0213 while stopping.
    pub fn ready(&self) -> Result<(), Fault> {
        if let Some(reason) = self.failure() {
            return Err(faults::store(StoreError::Failed(reason)));
        }
        if self.inner.stopping.is_cancelled() { Err(faults::stopping()) } else { Ok(()) }
    }

    /// Resolves with the reason when the store has failed for good: the process must exit non-zero.
    #[must_use]
    pub fn failed(&self) -> BoxFuture<'static, String> {
        self.inner.ports.store.failed()
    }

    /// The reason, if the store has failed for good.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        // Unconstrained: a busy task must not be told that all is well because its turn is over.
        tokio::task::unconstrained(self.failed()).now_or_never()
    }

    /// Entries of the system session whose payloads were damaged when the engine started.
    #[must_use]
    pub fn system_damage(&self) -> &[Seq] {
        &self.inner.system.damaged
    }

    /// Sessions in memory.
    #[must_use]
    pub fn sessions_active(&self) -> usize {
        self.inner.sessions().len()
    }

    /// Stops: no new turns at once; model calls stop at the last record; running tools have
    /// `grace_ms` milliseconds to end. Open turns go on at the next start.
    pub async fn shutdown(&self, grace_ms: u64) {
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        let grace = self.inner.ports.clock.sleep(grace_ms);
        // Waiting for tasks and for time are both cancel-safe.
        tokio::select! {
            () = self.inner.tasks.wait() => {}
            () = grace => {
                self.inner.giving_up.cancel();
                self.inner.tasks.wait().await;
            }
        }
        // Only now: a session whose mailbox closes ends at once, and its running tools with it.
        self.inner.sessions().clear();
        self.inner.system.stop(&self.inner.operator).await;
    }

    /// Starts the session's actor if it is not there and does not wait for it.
    fn wake(&self, session: SessionKey) -> Result<Handle, Fault> {
        self.inner.handle(session, None)
    }
}

impl Inner {
    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<SessionKey, Handle>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what an actor has learnt about its session.
    pub(crate) fn know(&self, shared: &Shared, owner: AccountId) {
        shared.owner.get_or_init(|| owner);
    }

    /// Of `digests`, those whose objects this process has not stored yet.
    pub(crate) fn unknown(&self, digests: [Digest; 4]) -> impl Iterator<Item = Digest> {
        let known = self.known_objects.lock().unwrap_or_else(PoisonError::into_inner);
        digests.map(|digest| (!known.contains(&digest)).then_some(digest)).into_iter().flatten()
    }

    pub(crate) fn remember_objects(&self, digests: impl Iterator<Item = Digest>) {
        self.known_objects.lock().unwrap_or_else(PoisonError::into_inner).extend(digests);
    }

    /// The session's actor, started when it is not there.
    fn handle(self: &Arc<Self>, session: SessionKey, birth: Option<Birth>) -> Result<Handle, Fault> {
        if self.stopping.is_cancelled() {
            return Err(faults::stopping());
        }
        let mut sessions = self.sessions();
        if let Some(handle) = sessions.get(&session).filter(|handle| !handle.mailbox.is_closed()) {
            return Ok(handle.clone());
        }
        if sessions.len() >= self.settings.sessions_active_max {
            let fault = Fault::new(Code::SESSION_LIMIT, "too many sessions are active", "try again in a minute");
            return Err(fault.retryable());
        }
        let (mailbox, commands) = mpsc::channel(MAILBOX);
        let handle = Handle { mailbox, shared: Arc::new(Shared::new(session)) };
        sessions.insert(session, handle.clone());
        drop(sessions);
        let (inner, shared) = (Arc::clone(self), Arc::clone(&handle.shared));
        self.tasks.spawn(async move {
            let life = actor::run(Arc::clone(&inner), Arc::clone(&shared), commands, birth);
            // A panic ends this session, not the process.
            if AssertUnwindSafe(life).catch_unwind().await.is_err() {
                tracing::error!(%session, "the session's worker panicked");
                shared.end(faults::internal());
            }
            inner.forget(session, &shared);
        });
        Ok(handle)
    }

    fn forget(&self, session: SessionKey, shared: &Arc<Shared>) {
        let mut sessions = self.sessions();
        if sessions.get(&session).is_some_and(|handle| Arc::ptr_eq(&handle.shared, shared)) {
            sessions.remove(&session);
        }
    }
}

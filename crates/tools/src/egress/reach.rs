//! Which places one running command reaches, each decided once.
//!
//! The first connection to a place that the operator granted makes a call of the
//! running one; what that comes to holds for every later connection to the same
//! place, addresses included: a name is not resolved again. A place that is not
//! granted is refused without a call, so that a program that tries many fills no
//! journal; it is told with the command's result all the same.
//!
//! A server that outlives calls has no running one. Where it leads was consented
//! to when the server was added, and its tools are decided as what they are: a
//! stranger's, who may tell others what he is told. Names are resolved again now
//! and then, because it may run for weeks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use are_core::error::Fault;
use are_policy::address::Host as Named;
use are_policy::manifest::CONNECT;
use are_policy::tools::{Host, ToolOutcome};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Condition;
use super::destinations::{Destinations, Place};
use super::tunnel::{Allowance, Meter, Meters};
use crate::http::Http;
use crate::text::{plain, short};

/// Places that one command reaches: a build draws from a handful of hosts.
const PLACES_MAX: usize = 32;
/// Refused places that the command's result names; the rest is counted.
const REFUSED_SHOWN: usize = 16;
/// How long what a name was resolved to holds for a server.
const RESOLVED_TIME: Duration = Duration::from_secs(300);
/// How long it holds that a place cannot be reached.
const REFUSED_TIME: Duration = Duration::from_secs(5);
/// What a server may send and receive is meant for so long a time, because it may run for weeks; a connection that is made
/// after it begins the next one.
const HOUR: Duration = Duration::from_secs(3_600);

/// What one program may do with its proxy, and what it is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    whose: &'static str,
    /// Connections in all.
    pub(super) connections: usize,
    allowance: Allowance,
}

/// A command: an installation of a thousand packages, each by itself, tried again. It sends requests, and a package that is
/// published, for data is carried out this way; it receives as much as one file may hold.
const COMMAND: Bounds =
    Bounds { whose: "command", connections: 4_096, allowance: Allowance { sent: 64 << 20, received: 4 << 30 } };
/// A server. How many connections it makes is bounded by how many are open; what it sends and receives by the hour.
const SERVER: Bounds =
    Bounds { whose: "server", connections: usize::MAX, allowance: Allowance { sent: 1 << 30, received: 16 << 30 } };

/// Why a place is not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) why: String,
    pub(super) help: String,
}

/// A place that may be connected to.
#[derive(Debug)]
pub(super) struct Route {
    /// The addresses that were let through.
    pub(super) addresses: Vec<SocketAddr>,
    tally: Arc<Tally>,
}

/// What went to a place, whatever its name was resolved to meanwhile.
#[derive(Debug, Default)]
struct Tally {
    connections: AtomicU64,
    meter: Meter,
}

type Answer = Option<Result<Arc<Route>, Refusal>>;

struct Wished {
    at: Instant,
    answer: watch::Receiver<Answer>,
    /// Set by the call that was allowed.
    route: Arc<OnceLock<Arc<Route>>>,
}

#[derive(Default)]
struct Refused {
    times: u64,
    why: String,
}

/// Who says whether a granted place is reached.
enum Judge {
    /// The gate, by a call of the running one.
    Gate(Arc<dyn Host>),
    /// Whoever consented has said so; what is left is a condition, and the table of addresses.
    Consent(Arc<Http>, Option<Arc<dyn Condition>>),
}

/// The places of one running command.
pub(super) struct Reach {
    destinations: Arc<Destinations>,
    judge: Judge,
    pub(super) bounds: Bounds,
    wished: Mutex<BTreeMap<Place, Wished>>,
    /// Places that were reached; no more than [`PLACES_MAX`].
    reached: Arc<Mutex<BTreeMap<Place, Arc<Tally>>>>,
    refused: Mutex<BTreeMap<String, Refused>>,
    refused_beyond: AtomicU64,
    calls: Mutex<JoinSet<()>>,
    all: Meter,
    /// When the hour of its bounds began.
    since: Mutex<Instant>,
}

impl Reach {
    /// Of a command that a call runs.
    pub(super) fn of_command(destinations: Arc<Destinations>, host: Arc<dyn Host>) -> Self {
        Self::new(destinations, Judge::Gate(host), COMMAND)
    }

    /// Of a server that was consented to with these places.
    pub(super) fn of_server(
        destinations: Destinations,
        http: Arc<Http>,
        condition: Option<Arc<dyn Condition>>,
    ) -> Self {
        Self::new(Arc::new(destinations), Judge::Consent(http, condition), SERVER)
    }

    fn new(destinations: Arc<Destinations>, judge: Judge, bounds: Bounds) -> Self {
        Self {
            destinations,
            judge,
            bounds,
            wished: Mutex::default(),
            reached: Arc::default(),
            refused: Mutex::default(),
            refused_beyond: AtomicU64::new(0),
            calls: Mutex::default(),
            all: Meter::default(),
            since: Mutex::new(Instant::now()),
        }
    }

    /// The way to a place. Waits while it is decided, or a person is asked.
    pub(super) async fn route(self: &Arc<Self>, place: &Place) -> Result<Arc<Route>, Refusal> {
        let found = match self.ask(place) {
            Ok(mut answer) => match answer.wait_for(Option::is_some).await {
                Ok(answer) => answer.clone().unwrap_or_else(|| Err(Refusal::of_end())),
                Err(_gone) => Err(Refusal::of_end()),
            },
            Err(refusal) => Err(refusal),
        };
        match &found {
            Ok(route) => {
                route.tally.connections.fetch_add(1, Ordering::Relaxed);
            }
            Err(refusal) => self.refuse(place, &refusal.why),
        }
        found
    }

    /// What is known of a place, or will be.
    fn ask(self: &Arc<Self>, place: &Place) -> Result<watch::Receiver<Answer>, Refusal> {
        if !self.destinations.cover(place) {
            return Err(self.not_granted(place));
        }
        let mut wished = lock(&self.wished);
        if matches!(self.judge, Judge::Consent(..)) {
            // Connections that are open keep their route; what was refused is looked at again soon.
            wished.retain(|_, known| {
                let is_refused = matches!(&*known.answer.borrow(), Some(Err(_)));
                known.at.elapsed() < if is_refused { REFUSED_TIME } else { RESOLVED_TIME }
            });
            self.begin_hour();
        }
        if let Some(known) = wished.get(place) {
            return Ok(known.answer.clone());
        }
        let reached = lock(&self.reached);
        let is_new = |place: &Place| !reached.contains_key(place);
        if is_new(place) && reached.len() + wished.keys().filter(|place| is_new(place)).count() >= PLACES_MAX {
            let why = format!("a {} reaches at most {PLACES_MAX} places", self.bounds.whose);
            return Err(Refusal { why, help: "do it with several".to_owned() });
        }
        drop(reached);
        let (tell, answer) = watch::channel(None);
        let route = Arc::new(OnceLock::new());
        let one = Wished { at: Instant::now(), answer: answer.clone(), route: Arc::clone(&route) };
        wished.insert(place.clone(), one);
        drop(wished);
        let mut calls = lock(&self.calls);
        // Those that ended are forgotten.
        while calls.try_join_next().is_some() {}
        // In a task of its own: a client that no longer waits takes nothing back.
        match &self.judge {
            Judge::Gate(host) => {
                let (host, args) = (Arc::clone(host), json!({"to": place.to_string()}));
                calls.spawn(async move {
                    let found = match host.call(CONNECT, args).await {
                        ToolOutcome::Completed { .. } => route.get().cloned().ok_or_else(Refusal::of_end),
                        ToolOutcome::Failed { fault, .. } | ToolOutcome::Unknown { fault, .. } => {
                            Err(Refusal::of(fault))
                        }
                    };
                    tell.send_replace(Some(found));
                });
            }
            Judge::Consent(http, condition) => {
                let (http, condition, place) = (Arc::clone(http), condition.clone(), place.clone());
                let reached = Arc::clone(&self.reached);
                calls.spawn(async move {
                    let pinned = async {
                        if let Some(condition) = condition {
                            condition.holds(&place.host.to_string(), place.port).await?;
                        }
                        http.pin(&place.host, place.port).await
                    };
                    let found = match pinned.await {
                        Ok(addresses) => {
                            let made = || Arc::new(Route::to(&place, addresses, &reached));
                            Ok(Arc::clone(route.get_or_init(made)))
                        }
                        Err(fault) => Err(Refusal::of(fault)),
                    };
                    tell.send_replace(Some(found));
                });
            }
        }
        Ok(answer)
    }

    fn begin_hour(&self) {
        let mut since = lock(&self.since);
        if since.elapsed() >= HOUR {
            *since = Instant::now();
            self.all.sent.store(0, Ordering::Relaxed);
            self.all.received.store(0, Ordering::Relaxed);
        }
    }

    /// True where what goes to a place must be TLS for it: the program holds a secret that is bound to it, and neither the
    /// way nor another name of the same address may have it. On loopback there is no way.
    pub(super) fn wants_tls(&self, place: &Place) -> bool {
        let is_loopback = matches!(place.host, Named::Ip(address) if address.is_loopback());
        matches!(self.judge, Judge::Consent(_, Some(_))) && !is_loopback
    }

    fn not_granted(&self, place: &Place) -> Refusal {
        let web = super::destinations::WEB.contains(&place.port);
        let name = if web { place.host.to_string() } else { place.to_string() };
        match self.judge {
            Judge::Gate(_) => Refusal {
                why: "it is not among the places that commands may reach".to_owned(),
                help: format!("the operator can add `{name}` to `ARE_EGRESS`; no other way leads out"),
            },
            Judge::Consent(..) => Refusal {
                why: "it is not among the places that this server was added with".to_owned(),
                help: format!("add the server again with `--egress {name}`; no other way leads out"),
            },
        }
    }

    /// Opens the way to a place that a call asked for, once.
    pub(super) fn open(&self, place: &Place, addresses: Vec<SocketAddr>) -> bool {
        let wished = lock(&self.wished);
        let made = || Arc::new(Route::to(place, addresses, &self.reached));
        wished.get(place).is_some_and(|wished| wished.route.set(made()).is_ok())
    }

    /// Whether a connection waits for a place.
    pub(super) fn is_wished(&self, place: &Place) -> bool {
        lock(&self.wished).get(place).is_some_and(|wished| wished.route.get().is_none())
    }

    /// Notes that a place was not reached.
    pub(super) fn refuse(&self, place: &Place, why: &str) {
        let mut refused = lock(&self.refused);
        let name = place.to_string();
        if !refused.contains_key(&name) && refused.len() >= REFUSED_SHOWN {
            self.refused_beyond.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let one = refused.entry(name).or_default();
        one.times += 1;
        one.why = short(&plain(why));
    }

    /// Notes that the command used up what it may send or receive.
    pub(super) fn exhausted(&self, place: &Place) {
        let Allowance { sent, received } = self.bounds.allowance;
        let why = format!("it sent more than {} MiB or received more than {} GiB", sent >> 20, received >> 30);
        tracing::warn!(%place, why, "a program may not go on there");
        self.refuse(place, &why);
    }

    pub(super) fn meters<'a>(&'a self, route: &'a Route) -> Meters<'a> {
        Meters { place: &route.tally.meter, all: &self.all, allowance: self.bounds.allowance }
    }

    /// Ends the calls that still wait.
    pub(super) fn end(&self) {
        lock(&self.calls).abort_all();
    }

    /// What was reached and what was not; `None` when nothing was tried.
    pub(super) fn report(&self) -> Option<Value> {
        let told = |(place, tally): (&Place, &Arc<Tally>)| {
            json!({
                "to": place.to_string(),
                "connections": tally.connections.load(Ordering::Relaxed),
                "sent_bytes": tally.meter.sent.load(Ordering::Relaxed),
                "received_bytes": tally.meter.received.load(Ordering::Relaxed),
            })
        };
        let reached: Vec<Value> = lock(&self.reached).iter().map(told).collect();
        let refused: Vec<Value> = lock(&self.refused)
            .iter()
            .map(|(place, refused)| json!({"to": place, "times": refused.times, "why": refused.why}))
            .collect();
        if reached.is_empty() && refused.is_empty() {
            return None;
        }
        let mut report = json!({"reached": reached, "refused": refused});
        let beyond = self.refused_beyond.load(Ordering::Relaxed);
        if beyond > 0 {
            report["refused_beyond"] = beyond.into();
        }
        Some(report)
    }
}

impl Route {
    fn to(place: &Place, addresses: Vec<SocketAddr>, reached: &Mutex<BTreeMap<Place, Arc<Tally>>>) -> Self {
        Self { addresses, tally: Arc::clone(lock(reached).entry(place.clone()).or_default()) }
    }
}

impl Refusal {
    fn of(fault: Fault) -> Self {
        Self { why: fault.message, help: fault.help }
    }

    fn of_end() -> Self {
        Self { why: "it was not decided before the command ended".to_owned(), help: "run it again".to_owned() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

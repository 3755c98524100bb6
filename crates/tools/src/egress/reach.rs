//! Which places one running command reaches, each decided once.
//!
//! The first connection to a place that the operator granted makes a call of the
//! running one; what that comes to holds for every later connection to the same
//! place, addresses included: a name is not resolved again. A place that is not
//! granted is refused without a call, so that a program that tries many fills no
//! journal; it is told with the command's result all the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use are_policy::manifest::CONNECT;
use are_policy::tools::{Host, ToolOutcome};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::destinations::{Destinations, Place};
use super::tunnel::{Allowance, Meter, Meters};
use crate::text::{plain, short};

/// Places that one command reaches: a build draws from a handful of hosts.
const PLACES_MAX: usize = 32;
/// Refused places that the command's result names; the rest is counted.
const REFUSED_SHOWN: usize = 16;
/// What one command sends: requests, and a package that is published. Data is carried out this way.
const SENT_BYTES: u64 = 64 << 20;
/// What one command receives: as much as one file may hold.
const RECEIVED_BYTES: u64 = 4 << 30;

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
    connections: AtomicU64,
    meter: Meter,
}

type Answer = Option<Result<Arc<Route>, Refusal>>;

struct Wished {
    answer: watch::Receiver<Answer>,
    /// Set by the call that was allowed.
    route: Arc<OnceLock<Arc<Route>>>,
}

#[derive(Default)]
struct Refused {
    times: u64,
    why: String,
}

/// The places of one running command.
pub(super) struct Reach {
    destinations: Arc<Destinations>,
    host: Arc<dyn Host>,
    wished: Mutex<BTreeMap<Place, Wished>>,
    refused: Mutex<BTreeMap<String, Refused>>,
    refused_beyond: AtomicU64,
    calls: Mutex<JoinSet<()>>,
    all: Meter,
}

impl Reach {
    pub(super) fn new(destinations: Arc<Destinations>, host: Arc<dyn Host>) -> Self {
        Self {
            destinations,
            host,
            wished: Mutex::default(),
            refused: Mutex::default(),
            refused_beyond: AtomicU64::new(0),
            calls: Mutex::default(),
            all: Meter::default(),
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
                route.connections.fetch_add(1, Ordering::Relaxed);
            }
            Err(refusal) => self.refuse(place, &refusal.why),
        }
        found
    }

    /// What is known of a place, or will be.
    fn ask(self: &Arc<Self>, place: &Place) -> Result<watch::Receiver<Answer>, Refusal> {
        if !self.destinations.cover(place) {
            return Err(Refusal::not_granted(place));
        }
        let mut wished = lock(&self.wished);
        if let Some(known) = wished.get(place) {
            return Ok(known.answer.clone());
        }
        if wished.len() >= PLACES_MAX {
            let why = format!("a command reaches at most {PLACES_MAX} places");
            return Err(Refusal { why, help: "do it with several commands".to_owned() });
        }
        let (tell, answer) = watch::channel(None);
        let route = Arc::new(OnceLock::new());
        wished.insert(place.clone(), Wished { answer: answer.clone(), route: Arc::clone(&route) });
        let (host, args) = (Arc::clone(&self.host), json!({"to": place.to_string()}));
        // In a task of its own: a client that no longer waits takes nothing back.
        lock(&self.calls).spawn(async move {
            let found = match host.call(CONNECT, args).await {
                ToolOutcome::Completed { .. } => route.get().cloned().ok_or_else(Refusal::of_end),
                ToolOutcome::Failed { fault, .. } | ToolOutcome::Unknown { fault, .. } => {
                    Err(Refusal { why: fault.message, help: fault.help })
                }
            };
            tell.send_replace(Some(found));
        });
        Ok(answer)
    }

    /// Opens the way to a place that a call asked for, once.
    pub(super) fn open(&self, place: &Place, addresses: Vec<SocketAddr>) -> bool {
        let wished = lock(&self.wished);
        let route = Route { addresses, connections: AtomicU64::new(0), meter: Meter::default() };
        wished.get(place).is_some_and(|wished| wished.route.set(Arc::new(route)).is_ok())
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
        let why =
            format!("it sent more than {} MiB or received more than {} GiB", SENT_BYTES >> 20, RECEIVED_BYTES >> 30);
        self.refuse(place, &why);
    }

    pub(super) fn meters<'a>(&'a self, route: &'a Route) -> Meters<'a> {
        let allowance = Allowance { sent: SENT_BYTES, received: RECEIVED_BYTES };
        Meters { place: &route.meter, all: &self.all, allowance }
    }

    /// Ends the calls that still wait.
    pub(super) fn end(&self) {
        lock(&self.calls).abort_all();
    }

    /// What was reached and what was not; `None` when nothing was tried.
    pub(super) fn report(&self) -> Option<Value> {
        let reached: Vec<Value> = lock(&self.wished)
            .iter()
            .filter_map(|(place, wished)| {
                let route = wished.route.get()?;
                Some(json!({
                    "to": place.to_string(),
                    "connections": route.connections.load(Ordering::Relaxed),
                    "sent_bytes": route.meter.sent.load(Ordering::Relaxed),
                    "received_bytes": route.meter.received.load(Ordering::Relaxed),
                }))
            })
            .collect();
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

impl Refusal {
    fn not_granted(place: &Place) -> Self {
        Self {
            why: "it is not among the places that commands may reach".to_owned(),
            help: format!(
                "the operator can add `{}` to `ARE_EGRESS`; no other way leads out",
                if super::destinations::WEB.contains(&place.port) { place.host.to_string() } else { place.to_string() }
            ),
        }
    }

    fn of_end() -> Self {
        Self { why: "it was not decided before the command ended".to_owned(), help: "run it again".to_owned() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

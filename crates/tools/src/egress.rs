//! The way of commands to the network: one proxy for each running command.
//!
//! A command has a network of its own in which there is nothing but its
//! loopback. The socket that listens there was made inside of it by the
//! supervisor and handed out, so that this process accepts what only that
//! command can connect to: no other process, session or machine sees it, and
//! there is no other way. A program that ignores the proxy has no network.
//!
//! Where a connection leads is checked three times: against what the operator
//! granted ([`Destinations`]), by the gate, as a call of the running one
//! ([`CONNECT`]) with decision, intent and outcome of its own, and by the table of
//! addresses ([`are_policy::address`]) after the name was resolved, once. What was
//! resolved then is what every connection of the command to that place goes to.
//!
//! Not checked: what a command says inside of a connection. A granted place can
//! be told whatever the command can read; the decision counts it as such.

mod destinations;
mod head;
mod presets;
mod proxy;
mod reach;
mod tunnel;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use are_core::BoxFuture;
use are_core::body::{Effect, Retry};
use are_core::error::{Code, Fault};
use are_core::ids::{CallNo, InvalidId, SessionKey};
use are_policy::gate::{Permit, Spent};
use are_policy::manifest::{CONNECT, Manifest, Role};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::destinations::{Destinations, InvalidDestination};
use self::destinations::{PLACE_BYTES_MAX, Place};
use self::reach::Reach;
use crate::declare::{does, roles, tool};
use crate::http::Http;
use crate::lane::{Answer, Error, Room, Runs, read};

/// Port of the loopback of each command at which its proxy listens: beyond those that the kernel gives out by itself,
/// and no program's own.
pub(crate) const PORT: u16 = 61_080;

type Key = (SessionKey, CallNo);

/// The proxies of all running commands.
pub(crate) struct Egress {
    destinations: Arc<Destinations>,
    http: Arc<Http>,
    running: Mutex<BTreeMap<Key, Arc<Reach>>>,
}

/// The proxy of one running command. Its connections end when this is dropped.
pub(crate) struct Serving {
    egress: Arc<Egress>,
    key: Key,
    reach: Arc<Reach>,
    task: JoinHandle<()>,
}

/// What has to hold besides before a place is connected to.
pub(crate) trait Condition: Send + Sync {
    /// The error says why it does not hold.
    fn holds<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, Result<(), Fault>>;
}

/// The proxy of a server that outlives calls, to the places that were consented to with it. Its connections end when this
/// is dropped.
pub(crate) struct Standing {
    name: String,
    reach: Arc<Reach>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standing").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Standing {
    /// Serves the connections of the server `name`.
    pub(crate) fn serve(
        name: &str,
        listener: TcpListener,
        destinations: Destinations,
        (http, condition): (Arc<Http>, Option<Arc<dyn Condition>>),
    ) -> Self {
        let reach = Arc::new(Reach::of_server(destinations, http, condition));
        let task = tokio::spawn(proxy::serve(listener, Arc::clone(&reach)));
        Self { name: name.to_owned(), reach, task }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.task.abort();
        self.reach.end();
        if let Some(report) = self.reach.report() {
            tracing::info!(server = self.name, network = %report, "what a server reached since it was started");
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    to: String,
}

impl Egress {
    pub(crate) fn new(destinations: Destinations, http: Arc<Http>) -> Self {
        Self { destinations: Arc::new(destinations), http, running: Mutex::default() }
    }

    /// Serves the connections of the command that a call runs.
    pub(crate) fn serve(self: &Arc<Self>, listener: TcpListener, spent: &Spent, room: &Room) -> Serving {
        let key = (spent.session, spent.call);
        let reach = Arc::new(Reach::of_command(Arc::clone(&self.destinations), Arc::clone(&room.host)));
        self.running().insert(key, Arc::clone(&reach));
        let task = tokio::spawn(proxy::serve(listener, Arc::clone(&reach)));
        Serving { egress: Arc::clone(self), key, reach, task }
    }

    /// Lets the command that makes this call connect to a place.
    async fn open(&self, permit: Permit, room: Room) -> Result<Answer, Error> {
        let maker = permit.call().parent;
        let spent = permit.spend();
        let wanted: Wanted = read(&spent.args)?;
        let malformed = |_| Fault::new(Code::TOOL_ARGS, "`to` is not `host:port`", "name a host and a port");
        let place = Place::parse(&wanted.to).map_err(malformed)?;
        if !self.destinations.cover(&place) {
            let why = format!("`{place}` is not among the places that commands may reach");
            return Err(Fault::new(Code::DENIED, why, "the operator can add it to `ARE_EGRESS`").into());
        }
        let reach = maker.and_then(|maker| self.running().get(&(spent.session, maker)).cloned());
        let waits = reach.filter(|reach| reach.is_wished(&place));
        let only = "only a running command connects to a place";
        let reach = waits.ok_or_else(|| Fault::new(Code::TOOL_FAILED, only, "run a command with process_run"))?;
        let addresses = self.http.pin(&place.host, place.port).await?;
        let count = addresses.len();
        // From here on the command connects whenever it wants to.
        room.latch.begin()?;
        if !reach.open(&place, addresses) {
            return Err(Fault::new(Code::TOOL_FAILED, "the command waits for it no longer", "run it again").into());
        }
        Ok(json!({"to": place.to_string(), "addresses": count}).into())
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Reach>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The declaration of the call that a connection is.
    pub(crate) fn manifest(&self) -> Result<Manifest, InvalidId> {
        manifest(&self.destinations)
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("destinations", &self.destinations).finish_non_exhaustive()
    }
}

impl Runs for Egress {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(self.open(permit, room))
    }
}

impl Serving {
    /// What the command reached and what not; `None` when it tried nothing.
    pub(crate) fn report(&self) -> Option<Value> {
        self.reach.report()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
        self.reach.end();
        self.egress.running().remove(&self.key);
    }
}

/// Variables that lead programs to the proxy. What is asked of the command's own loopback needs none.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    let proxy = format!("http://127.0.0.1:{PORT}");
    let direct = "localhost,127.0.0.1,::1".to_owned();
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, proxy.clone()));
    let all = names.into_iter().chain([("NO_PROXY", direct)]);
    all.flat_map(|(name, value)| [(name.to_owned(), value.clone()), (name.to_ascii_lowercase(), value)])
        // Node looks at these only when it is told to.
        .chain([("NODE_USE_ENV_PROXY".to_owned(), "1".to_owned())])
}

fn manifest(destinations: &Destinations) -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        // A tunnel hides what is asked in it.
        effect: Effect::Send,
        retry: Retry::AtMostOnce,
        args: roles(&[("to", Role::Destination)]),
        ..tool(
            CONNECT,
            // Other grants are another declaration, so that what was approved under these does not hold under those.
            &format!("Let a running command connect to a host. Commands may reach: {destinations}."),
            json!({
                "to": {"type": "string", "minLength": 3, "maxLength": PLACE_BYTES_MAX, "description": "`host:port`"},
            }),
            &["to"],
            does("Install the packages", json!({"to": "example.com:443"}), "They are installed."),
        )?
    })
}

//! One connection to a server, from the first word to the last.
//!
//! A task keeps it: it sees the connection end, by itself or because nobody
//! uses it any more, ends the program with all that it started, and remembers
//! why. Dropping the link does the same.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use are_core::error::{Code, Fault};
use are_policy::tools::{Output, OutputSink};
use rmcp::Peer;
use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientRequest, ProtocolVersion, RequestId, ServerResult,
};
use rmcp::service::{
    ClientInitializeError, PeerRequestOptions, RoleClient, RunningService, ServiceError, serve_client,
};
use rmcp::transport::streamable_http_client::StreamableHttpError;
use rmcp::transport::{DynamicTransportError, Transport, TransportAdapterIdentity};
use tokio::sync::{oneshot, watch};
use tokio::time::{Duration, Instant, sleep_until, timeout, timeout_at};

use super::filled::fill;
use super::handler::{Fresh, Handler, Progress};
use super::login::{Login, short_of};
use super::masked::Masked;
use super::network::Network;
use super::remote::{self, Client};
use super::runtime::Means;
use super::server::Server;
use super::spec::Spec;
use super::stdio::{self, Tail};
use super::wire::{Blame, Bounded, broken};
use crate::http::Unopened;
use crate::launch::Tether;
use crate::text::{plain, short};

/// How long a server may take until it answers for the first time.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(30);
/// A connection that nobody used for so long is let go.
const IDLE_TIME: Duration = Duration::from_secs(15 * 60);
/// How long a program may take to end by itself once nobody speaks to it.
const END_TIME: Duration = Duration::from_secs(2);
/// Pieces of progress that one call shows.
const PROGRESS_SHOWN: usize = 500;

/// Who uses a connection, and when it was used last.
#[derive(Debug)]
struct Usage {
    busy: AtomicUsize,
    last: Mutex<Instant>,
}

impl Usage {
    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When it will have been idle for too long; `None` while it is used.
    fn idle_until(&self) -> Option<Instant> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        (self.busy.load(Ordering::Acquire) == 0).then(|| last + IDLE_TIME)
    }
}

/// Keeps a connection from being idle.
struct Busy<'a>(&'a Usage);

impl<'a> Busy<'a> {
    fn with(usage: &'a Usage) -> Self {
        usage.busy.fetch_add(1, Ordering::AcqRel);
        Self(usage)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.touch();
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection.
pub(super) struct Link {
    pub(super) peer: Peer<RoleClient>,
    pub(super) fresh: Arc<Fresh>,
    /// Values that nobody but the server is to see.
    pub(super) masked: Masked,
    progress: Arc<Progress>,
    usage: Arc<Usage>,
    /// Requests that were answered.
    answered: AtomicU64,
    end: watch::Receiver<Option<Fault>>,
    /// Dropped with the link, which ends its keeper.
    _hold: oneshot::Sender<()>,
}

/// How a connection is made.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) spec: &'a Spec,
    pub(super) workspace: Option<&'a Path>,
    /// Who is told that the tools changed.
    pub(super) server: Option<Weak<Server>>,
}

impl Link {
    /// Starts or reaches the server and says hello.
    pub(super) async fn open(wanted: Wanted<'_>, means: &Means, deadline: Instant) -> Result<Self, Fault> {
        let deadline = deadline.min(Instant::now() + CONNECT_TIME);
        let blame = Arc::new(Blame::default());
        let progress = Arc::new(Progress::default());
        let fresh = Arc::new(Fresh::default());
        let filled = timeout_at(deadline, fill(wanted.name, wanted.spec, means)).await;
        let filled = filled.map_err(|_| silent())??;
        let masked = Masked::new(filled.spec.secrets(filled.values));
        let shared = (Arc::clone(&progress), Arc::clone(&fresh));
        let handler = Handler::new(wanted.name, masked.clone(), wanted.workspace, wanted.server.clone(), shared);
        let network = match wanted.spec {
            Spec::Local(named) => Network::of(named, means).await?,
            Spec::Remote(_) => None,
        };
        let (running, program) = match &filled.spec {
            Spec::Local(local) => {
                let (launcher, hidden) = (means.launcher()?, means.hidden());
                let around = (launcher, &hidden, network);
                let starting = stdio::start(wanted.name, local, wanted.workspace, around, &blame);
                let started = timeout_at(deadline, starting).await.map_err(|_| silent())??;
                let program = (started.tether, started.tail);
                match hello(handler, Bounded::new(started.lines, Arc::clone(&fresh), Arc::clone(&blame)), deadline)
                    .await
                {
                    Ok(running) => (running, Some(program)),
                    Err(fault) => return Err(ended(fault, &blame, Some(program), &masked).await),
                }
            }
            Spec::Remote(remote) => {
                let login = match means.logins.at(wanted.name, remote)? {
                    Some(login) => Some(attached(login, &masked, deadline).await?),
                    None => None,
                };
                let transport = remote::transport(remote, Client::new(&means.http, login, &masked))?;
                let transport = Bounded::new(transport, Arc::clone(&fresh), Arc::clone(&blame));
                match hello(handler, transport, deadline).await {
                    Ok(running) => (running, None),
                    Err(fault) => return Err(ended(fault, &blame, None, &masked).await),
                }
            }
        };
        let peer = running.peer().clone();
        let usage = Arc::new(Usage { busy: AtomicUsize::new(0), last: Mutex::new(Instant::now()) });
        let (tell, end) = watch::channel(None);
        let (hold, released) = oneshot::channel();
        let told = masked.clone();
        let keeper = Keeper { running, program, blame, masked, usage: Arc::clone(&usage), released, tell };
        tokio::spawn(keeper.keep(wanted.name.to_owned()));
        Ok(Self { peer, fresh, masked: told, progress, usage, answered: AtomicU64::new(0), end, _hold: hold })
    }

    /// Why it has ended; `None` while it has not.
    pub(super) fn end(&self) -> Option<Fault> {
        let gone = || Fault::new(Code::SERVER_UNUSABLE, "the connection to the server has ended", "call it again");
        self.end.borrow().clone().or_else(|| self.peer.is_transport_closed().then(|| gone().retryable()))
    }

    /// Waits for the end to be known, for a moment: a call notices that its connection broke before the keeper does.
    pub(super) async fn ended(&self) -> Option<Fault> {
        let mut end = self.end.clone();
        // silent-ok: what is not known by then is said in general words.
        timeout(END_TIME * 2, end.wait_for(Option::is_some)).await.ok();
        self.end()
    }

    /// True once it was of use.
    pub(super) fn is_proven(&self) -> bool {
        self.answered.load(Ordering::Acquire) > 0
    }

    /// Asks something, and shows how it goes on meanwhile. Dropping the future takes it back.
    pub(super) async fn ask(&self, request: ClientRequest, output: &OutputSink) -> Result<ServerResult, ServiceError> {
        let _busy = Busy::with(&self.usage);
        let asked = self.peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await?;
        let mut taken_back = TakeBack { peer: &self.peer, id: Some(asked.id.clone()) };
        let mut progress = self.progress.follow(asked.progress_token.clone());
        let mut answer = asked.rx;
        let mut shown = 0;
        let answer = loop {
            // Both branches are cancel-safe: what was not taken is there in the next round.
            tokio::select! {
                biased;
                answer = &mut answer => break answer,
                Some(text) = progress.next(), if shown < PROGRESS_SHOWN => {
                    shown += 1;
                    output(Output { stream: "log", text }).await;
                }
            }
        };
        taken_back.id = None;
        let answer = answer.unwrap_or(Err(ServiceError::TransportClosed));
        if matches!(answer, Ok(_) | Err(ServiceError::McpError(_))) {
            self.answered.fetch_add(1, Ordering::AcqRel);
        }
        answer
    }
}

/// Tells the server that nobody waits for an answer any more.
struct TakeBack<'a> {
    peer: &'a Peer<RoleClient>,
    id: Option<RequestId>,
}

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let told = CancelledNotificationParam::new(Some(id), Some("nobody waits for it any more".to_owned()));
        let (peer, notification) = (self.peer.clone(), CancelledNotification::new(told));
        runtime.spawn(async move {
            if let Err(error) = peer.send_notification(notification.into()).await {
                tracing::debug!(%error, "a server cannot be told that a call was given up");
            }
        });
    }
}

/// The login at a server, with its token taken out if there is one.
async fn attached(login: Arc<Login>, masked: &Masked, deadline: Instant) -> Result<Arc<Login>, Fault> {
    let token = timeout_at(deadline, login.attach()).await.map_err(|_| silent())??;
    if let Some(token) = token {
        masked.add(token.expose());
    }
    Ok(login)
}

/// Says hello, in a revision that both know.
async fn hello<T: Transport<RoleClient> + 'static>(
    handler: Handler,
    transport: T,
    deadline: Instant,
) -> Result<RunningService<RoleClient, Handler>, Fault> {
    let serving = serve_client::<Handler, T, T::Error, TransportAdapterIdentity>(handler, transport);
    let running = timeout_at(deadline, Box::pin(serving)).await;
    let running = running.map_err(|_| silent())?.map_err(|error| unopened(&error))?;
    let revision = running.peer().peer_info().map(|info| info.protocol_version.clone()).unwrap_or_default();
    // What is later has no hello; what is not listed, nobody here knows.
    if !ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE).contains(&revision) {
        return Err(broken(&format!("it speaks the revision `{}`, which is not known here", revision.as_str())));
    }
    Ok(running)
}

/// Why a server that did not come to its first word is not usable.
async fn ended(fault: Fault, blame: &Blame, program: Option<(Tether, Tail)>, masked: &Masked) -> Fault {
    let mut fault = blame.get().map_or(fault, |why| broken(&why));
    if let Some((tether, tail)) = program {
        tether.kill().await;
        fault = with_last_words(fault, &tail, masked).await;
    }
    fault
}

async fn with_last_words(mut fault: Fault, tail: &Tail, masked: &Masked) -> Fault {
    let words = super::content::scrubbed(&tail.text().await, &masked.all());
    if !words.is_empty() {
        // The last ones say most.
        let skipped = words.chars().count().saturating_sub(300);
        let words: String = words.chars().skip(skipped).collect();
        fault.message = format!("{}; its last words: {words}", fault.message);
    }
    fault
}

/// What keeps a connection.
struct Keeper {
    running: RunningService<RoleClient, Handler>,
    program: Option<(Tether, Tail)>,
    blame: Arc<Blame>,
    masked: Masked,
    usage: Arc<Usage>,
    released: oneshot::Receiver<()>,
    tell: watch::Sender<Option<Fault>>,
}

impl Keeper {
    async fn keep(self, name: String) {
        let Self { running, mut program, blame, masked, usage, mut released, tell } = self;
        let stop = running.cancellation_token();
        let mut waiting = std::pin::pin!(running.waiting());
        let is_by_itself = loop {
            let wake = usage.idle_until().unwrap_or_else(|| Instant::now() + IDLE_TIME);
            // All branches are cancel-safe.
            tokio::select! {
                quit = &mut waiting => {
                    tracing::debug!(server = name, ?quit, "a connection to a server of tools has ended");
                    break true;
                }
                _ = &mut released => break false,
                () = sleep_until(wake) => {
                    if usage.idle_until().is_some_and(|until| until <= Instant::now()) {
                        break false;
                    }
                }
            }
        };
        if !is_by_itself {
            stop.cancel();
            if timeout(END_TIME, &mut waiting).await.is_err() {
                tracing::debug!(server = name, "a connection to a server of tools did not end in time");
            }
        }
        let mut fault = match blame.get() {
            Some(why) => broken(&why),
            None => Fault::new(Code::SERVER_UNUSABLE, "the server has ended", "call it again").retryable(),
        };
        if let Some((mut tether, tail)) = program.take() {
            // Its input is closed, which asks it to end.
            let ended = timeout(END_TIME, tether.wait()).await;
            tether.kill().await;
            if let (true, Ok(Ok(ended))) = (is_by_itself && blame.get().is_none(), ended) {
                let how = match (ended.stopped, ended.exit_code, ended.signal) {
                    (Some(stopped), ..) => format!("it was stopped: too much {stopped:?}").to_lowercase(),
                    (None, Some(code), _) => format!("exit code {code}"),
                    (None, None, signal) => format!("signal {}", signal.unwrap_or_default()),
                };
                fault.message = format!("the server has ended ({how})");
            }
            fault = with_last_words(fault, &tail, &masked).await;
        }
        if is_by_itself {
            tracing::warn!(server = name, why = fault.message, "a server of tools has ended");
        }
        tell.send_replace(Some(fault));
    }
}

fn silent() -> Fault {
    Fault::new(
        Code::SERVER_UNUSABLE,
        "the server did not answer in time",
        "look whether it speaks the Model Context Protocol, then try again",
    )
    .retryable()
}

/// What a failed request means, to whoever does not care whether it was carried out.
pub(super) fn failure(error: &ServiceError) -> Fault {
    match error {
        ServiceError::TransportSend(error) => unsendable(error).0,
        ServiceError::McpError(error) => {
            let words = short(&plain(&error.message));
            Fault::new(Code::SERVER_UNUSABLE, format!("the server refuses: {words}"), "tell the user")
        }
        ServiceError::TransportClosed => {
            Fault::new(Code::SERVER_UNUSABLE, "the connection to the server has ended", "try again later").retryable()
        }
        ServiceError::UnexpectedResponse => broken("it answers something else than it was asked"),
        ServiceError::Timeout { .. } | ServiceError::Cancelled { .. } => silent(),
        other => broken(&other.to_string()),
    }
}

/// What could not be sent, and whether it may have arrived all the same.
pub(super) fn unsendable(error: &DynamicTransportError) -> (Fault, bool) {
    match error.error.downcast_ref::<StreamableHttpError<Unopened>>() {
        Some(StreamableHttpError::Client(unopened)) => (unopened.fault.clone(), unopened.is_sent),
        Some(StreamableHttpError::AuthRequired(_)) => {
            let help = "log in with `are mcp login NAME`, or add it with the header that it needs: `--header \"Authorization: Bearer …\"`";
            (Fault::new(Code::SERVER_LOGIN, "the server asks for a login", help), false)
        }
        Some(StreamableHttpError::InsufficientScope(short)) => (short_of(short.get_required_scope()), false),
        Some(StreamableHttpError::HttpStatus(status)) => {
            let what = format!("the server answers with status {}", status.status);
            // A busy server says so before it does anything.
            (Fault::new(Code::SERVER_UNUSABLE, what, "try again later").retryable(), status.status != 429)
        }
        Some(StreamableHttpError::SessionExpired) => {
            let what = "the server has forgotten the connection";
            (Fault::new(Code::SERVER_UNUSABLE, what, "call it again").retryable(), false)
        }
        Some(StreamableHttpError::ResponseBodyTooLarge { max_size }) => {
            (broken(&format!("its answer is larger than {max_size} bytes")), true)
        }
        Some(other) => (broken(&other.to_string()), true),
        // A pipe takes a message whole or not; what was written may have been read.
        None => {
            let what = "the connection to the server has ended";
            (Fault::new(Code::SERVER_UNUSABLE, what, "try again later").retryable(), true)
        }
    }
}

fn unopened(error: &ClientInitializeError) -> Fault {
    match error {
        ClientInitializeError::TransportError { error, .. } => unsendable(error).0,
        ClientInitializeError::ConnectionClosed(_) => Fault::new(
            Code::SERVER_UNUSABLE,
            "the server ended before it said anything",
            "look whether it speaks the Model Context Protocol, and at its last words",
        ),
        ClientInitializeError::JsonRpcError(error) => {
            broken(&format!("it refuses the connection: {}", plain(&error.message)))
        }
        other => broken(&short(&other.to_string())),
    }
}

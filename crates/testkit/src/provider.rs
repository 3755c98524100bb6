//! A provider on loopback that speaks OpenAI's chat completions or Anthropic's
//! messages, and every fault that a provider can have.
//!
//! Each request takes the next [`Reply`] of the script; when the script is
//! empty, the default reply is used, which says `ok`. Nothing here sleeps but what is paced for a benchmark: a
//! held reply waits for [`MockProvider::release`], and a test waits for
//! requests and for clients that gave up, not for time.
//!
//! It is also the benchmarks' zero-delay provider: a reply is formatted once
//! and sent in large pieces.

mod message;
mod reply;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

pub use self::message::Message;
pub use self::reply::Reply;
use self::reply::{Ending, Piece};

/// Requests that are recorded; a test makes a few, a benchmark records none.
const RECORDED_MAX: usize = 10_000;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Where it was posted.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub bytes: Bytes,
    /// The body as JSON; `null` when it is none.
    pub body: Value,
}

/// The running provider; dropping it closes every connection.
pub struct MockProvider {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

type DefaultReply = Box<dyn Fn(&[u8]) -> Reply + Send>;

struct Shared {
    script: Mutex<VecDeque<Reply>>,
    default: Mutex<DefaultReply>,
    recorded: Mutex<Vec<Recorded>>,
    recorded_max: usize,
    sent_bytes: AtomicU64,
    gate: Arc<Semaphore>,
    arrived: watch::Sender<u64>,
    connected: watch::Sender<u64>,
    abandoned: watch::Sender<u64>,
}

impl MockProvider {
    /// Starts it on a free port of loopback.
    ///
    /// # Panics
    /// When loopback has no free port.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its provider")]
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), RECORDED_MAX).await.expect("a free port on loopback")
    }

    /// Starts it at `address`, recording at most `recorded_max` requests.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start_at(address: SocketAddr, recorded_max: usize) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            default: Mutex::new(Box::new(|_| Reply::text(["ok"]))),
            recorded: Mutex::default(),
            recorded_max,
            sent_bytes: AtomicU64::new(0),
            gate: Arc::new(Semaphore::new(0)),
            arrived: watch::Sender::new(0),
            connected: watch::Sender::new(0),
            abandoned: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What goes into `base_url`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The same as Anthropic's own programs take it, without the version.
    #[must_use]
    pub fn root_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Appends replies to the script.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.shared.script).extend(replies);
    }

    /// Sets what answers a request's JSON when the script is empty.
    pub fn default_reply(&self, reply: impl Fn(&Value) -> Reply + Send + 'static) {
        self.default_reply_to_bytes(move |bytes| reply(&serde_json::from_slice(bytes).unwrap_or(Value::Null)));
    }

    /// The same for who needs little of the request and wants to lose no time.
    pub fn default_reply_to_bytes(&self, reply: impl Fn(&[u8]) -> Reply + Send + 'static) {
        *lock(&self.shared.default) = Box::new(reply);
    }

    /// The JSON of every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        lock(&self.shared.recorded).iter().map(|recorded| recorded.body.clone()).collect()
    }

    /// Every request so far, with headers and exact bytes.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        lock(&self.shared.recorded).clone()
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        *self.shared.connected.borrow()
    }

    /// Body bytes handed to sockets so far: what a client can have read at most.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.shared.sent_bytes.load(Ordering::Relaxed)
    }

    /// Lets `pieces` more pieces of held replies go.
    pub fn release(&self, pieces: usize) {
        self.shared.gate.add_permits(pieces);
    }

    /// Resolves once `count` requests have arrived.
    pub async fn arrived(&self, count: u64) {
        reached(&self.shared.arrived, count).await;
    }

    /// Resolves once clients have given up `count` replies before their end.
    pub async fn abandoned(&self, count: u64) {
        reached(&self.shared.abandoned, count).await;
    }
}

impl Drop for MockProvider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn reached(counter: &watch::Sender<u64>, count: u64) {
    let mut counter = counter.subscribe();
    // The sender outlives this borrow of it, so waiting cannot fail.
    drop(counter.wait_for(|reached| *reached >= count).await);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropping the set, with this task, closes the connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Cancel-safe: a connection that is not taken stays in the backlog.
            accepted = listener.accept() => {
                if let Ok((socket, _)) = accepted {
                    shared.connected.send_modify(|count| *count += 1);
                    connections.spawn(serve(socket, shared.clone()));
                }
            }
            // Cancel-safe: a result that is not taken stays in the set.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(socket: TcpStream, shared: Arc<Shared>) {
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| answer(request, shared.clone()));
    let served = http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(socket), service).await;
    // A client that hangs up is what some tests are about.
    drop(served);
}

/// A request that gets no response at all.
#[derive(Debug)]
struct HungUp;

impl std::fmt::Display for HungUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reply is to hang up")
    }
}

impl std::error::Error for HungUp {}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<ReplyBody>, HungUp> {
    let is_call = request.method() == Method::POST && is_call_path(request.uri().path());
    let is_list = request.method() == Method::GET && request.uri().path().ends_with("/models");
    let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
    let reply = if is_call {
        let bytes = request.into_body().collect().await.map_err(|_| HungUp)?.to_bytes();
        let scripted = lock(&shared.script).pop_front();
        let reply = scripted.unwrap_or_else(|| lock(&shared.default)(&bytes));
        let mut recorded = lock(&shared.recorded);
        if recorded.len() < shared.recorded_max {
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            recorded.push(Recorded { path, headers, bytes, body });
        }
        drop(recorded);
        shared.arrived.send_modify(|count| *count += 1);
        reply
    } else if is_list {
        Reply::status(200)
            .header("content-type", "application/json")
            .body(r#"{"object":"list","data":[{"id":"mock"}]}"#)
    } else {
        Reply::status(404)
    };
    let abandon = Abandon { shared: shared.clone(), is_armed: true };
    if reply.ending == Ending::HangUp {
        return Err(HungUp);
    }
    if reply.ending == Ending::NoHead {
        // Dropped, and counted as abandoned, when the client gives up.
        std::future::pending::<Infallible>().await;
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    let gate = match reply.pace {
        Some(pace) => Some(Gate::Paced(pace)),
        None => reply.is_held.then(|| Gate::Held(shared.gate.clone())),
    };
    let body =
        ReplyBody { pieces: reply.pieces.into(), ending: reply.ending, gate, permit: None, is_flushed: false, abandon };
    response.body(body).map_err(|_| HungUp)
}

fn is_call_path(path: &str) -> bool {
    path.ends_with("/chat/completions") || path.ends_with("/v1/messages")
}

/// Counts a reply that is dropped before its end.
struct Abandon {
    shared: Arc<Shared>,
    is_armed: bool,
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if self.is_armed {
            self.shared.abandoned.send_modify(|count| *count += 1);
        }
    }
}

/// What a piece waits for.
enum Gate {
    /// Somebody who lets it go.
    Held(Arc<Semaphore>),
    /// Its time.
    Paced(Duration),
}

/// The body of a reply, piece by piece.
struct ReplyBody {
    pieces: VecDeque<Piece>,
    ending: Ending,
    gate: Option<Gate>,
    permit: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    is_flushed: bool,
    abandon: Abandon,
}

impl ReplyBody {
    /// Ready when the next piece may go.
    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(gate) = &self.gate else { return Poll::Ready(()) };
        let permit = self.permit.get_or_insert_with(|| match gate {
            Gate::Held(gate) => {
                let gate = gate.clone();
                Box::pin(async move {
                    if let Ok(permit) = gate.acquire().await {
                        permit.forget();
                    }
                }) as Pin<Box<dyn Future<Output = ()> + Send>>
            }
            Gate::Paced(pace) => Box::pin(tokio::time::sleep(*pace)),
        });
        ready!(permit.as_mut().poll(cx));
        self.permit = None;
        Poll::Ready(())
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = HungUp;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HungUp>>> {
        let this = self.get_mut();
        if this.pieces.is_empty() {
            return match this.ending {
                Ending::Silence | Ending::NoHead => Poll::Pending,
                Ending::Clean => {
                    this.abandon.is_armed = false;
                    Poll::Ready(None)
                }
                Ending::Reset | Ending::HangUp if !this.is_flushed => {
                    // An error at once would close the connection before what
                    // is buffered is written; a pause lets it be written.
                    this.is_flushed = true;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Ending::Reset | Ending::HangUp => {
                    this.abandon.is_armed = false;
                    Poll::Ready(Some(Err(HungUp)))
                }
            };
        }
        ready!(this.poll_gate(cx));
        let Some(piece) = this.pieces.front_mut() else { return Poll::Ready(None) };
        let bytes = piece.bytes.clone();
        piece.times -= 1;
        if piece.times == 0 {
            this.pieces.pop_front();
        }
        this.abandon.shared.sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        false
    }
}

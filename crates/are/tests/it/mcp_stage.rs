//! An MCP client of the fixture, by hand, so that it can also do what the SDK's would not.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http_body_util::{BodyDataStream, BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sse_stream::{Sse, SseStream};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::fixture::{ADMIN, Fixture, PATIENCE};

/// The door.
pub(crate) const PATH: &str = "/mcp";

/// A client with one session.
pub(crate) struct Mcp {
    address: SocketAddr,
    token: String,
    pub(crate) session: String,
    /// What `initialize` answered.
    pub(crate) begun: Value,
    next: u64,
}

/// A stream of events; dropping it closes the connection.
pub(crate) struct Events {
    stream: BoxStream<'static, Sse>,
    /// The last event's id.
    pub(crate) last: String,
    _connection: AbortOnDropHandle<()>,
}

/// A request with these headers; the connection is kept with the answer.
pub(crate) async fn send(
    address: SocketAddr,
    path: &str,
    method: Method,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> (Response<Incoming>, AbortOnDropHandle<()>) {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        let _ended = connection.await;
    }));
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    (timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap(), connection)
}

/// The headers of a client that keeps to the rules.
pub(crate) fn proper<'a>(host: &'a str, bearer: &'a str, session: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![
        ("host", host),
        ("authorization", bearer),
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
    ];
    if let Some(session) = session {
        headers.extend([("mcp-session-id", session), ("mcp-protocol-version", "2025-11-25")]);
    }
    headers
}

pub(crate) fn initialize(version: &str, capabilities: &Value) -> Value {
    let client = json!({"name": "test", "version": "1"});
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": capabilities, "clientInfo": client,
    }})
}

impl Mcp {
    pub(crate) async fn open(are: &Fixture) -> Self {
        Self::begin(are, ADMIN, json!({})).await
    }

    pub(crate) async fn begin(are: &Fixture, token: &str, capabilities: Value) -> Self {
        let mut mcp =
            Self { address: are.address, token: token.to_owned(), session: String::new(), begun: Value::Null, next: 1 };
        let (response, connection) = mcp.post(&initialize("2025-11-25", &capabilities)).await;
        assert_eq!(response.status(), 200, "{:?}", response.headers());
        mcp.session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        mcp.begun = Events::of(response, connection).next().await["result"].clone();
        assert_eq!(mcp.tell("notifications/initialized", json!({})).await, 202);
        mcp
    }

    async fn post(&self, message: &Value) -> (Response<Incoming>, AbortOnDropHandle<()>) {
        let host = format!("localhost:{}", self.address.port());
        let bearer = format!("Bearer {}", self.token);
        let session = Some(self.session.as_str()).filter(|session| !session.is_empty());
        send(self.address, PATH, Method::POST, &proper(&host, &bearer, session), message.to_string()).await
    }

    /// Sends a notification; the status.
    pub(crate) async fn tell(&self, method: &str, params: Value) -> u16 {
        self.post(&json!({"jsonrpc": "2.0", "method": method, "params": params})).await.0.status().as_u16()
    }

    /// Answers a request of the server.
    pub(crate) async fn answer(&self, id: &Value, result: Value) {
        assert_eq!(self.post(&json!({"jsonrpc": "2.0", "id": id, "result": result})).await.0.status(), 202);
    }

    /// Begins a request: its id, and what comes for it.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> (u64, Events) {
        let id = self.next;
        self.next += 1;
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let (response, connection) = self.post(&message).await;
        assert_eq!(response.status(), 200);
        (id, Events::of(response, connection))
    }

    /// Makes a request and waits for its answer.
    pub(crate) async fn get(&mut self, method: &str, params: Value) -> Value {
        let (id, mut events) = self.ask(method, params).await;
        events.answer(id).await
    }

    /// Calls a tool; its result.
    pub(crate) async fn call(&mut self, tool: &str, args: Value) -> Value {
        self.get("tools/call", json!({"name": tool, "arguments": args})).await["result"].clone()
    }

    /// Begins a call whose progress is told.
    pub(crate) async fn start(&mut self, tool: &str, args: Value) -> (u64, Events) {
        let meta = json!({"progressToken": format!("p{}", self.next)});
        self.ask("tools/call", json!({"name": tool, "arguments": args, "_meta": meta})).await
    }

    /// What the server says unasked, or what is left of a stream.
    pub(crate) async fn listen(&self, last: Option<&str>) -> Events {
        let (response, connection) = self.bare(Method::GET, last).await;
        assert_eq!(response.status(), 200);
        Events::of(response, connection)
    }

    /// A request without a message.
    pub(crate) async fn bare(&self, method: Method, last: Option<&str>) -> (Response<Incoming>, AbortOnDropHandle<()>) {
        let host = format!("localhost:{}", self.address.port());
        let bearer = format!("Bearer {}", self.token);
        let mut headers = proper(&host, &bearer, Some(&self.session));
        headers.extend(last.map(|last| ("last-event-id", last)));
        send(self.address, PATH, method, &headers, "").await
    }

    /// The status of a `ping`, which says whether the session is there.
    pub(crate) async fn ping(&self) -> u16 {
        self.post(&json!({"jsonrpc": "2.0", "id": "ping", "method": "ping"})).await.0.status().as_u16()
    }
}

impl Events {
    fn of(response: Response<Incoming>, connection: AbortOnDropHandle<()>) -> Self {
        let events = SseStream::from_bytes_stream(BodyDataStream::new(response.into_body()));
        let stream = events.filter_map(async |event| event.ok()).boxed();
        Self { stream, last: String::new(), _connection: connection }
    }

    /// The next message; events without one only move the position.
    pub(crate) async fn next(&mut self) -> Value {
        self.maybe().await.expect("the stream goes on")
    }

    /// The next message, or nothing when the stream is over.
    pub(crate) async fn maybe(&mut self) -> Option<Value> {
        loop {
            let event = timeout(PATIENCE, self.stream.next()).await.expect("something comes")?;
            if let Some(id) = event.id {
                self.last = id;
            }
            if let Some(message) = event.data.and_then(|data| serde_json::from_str(&data).ok()) {
                return Some(message);
            }
        }
    }

    /// Messages up to and with the first of a method.
    pub(crate) async fn until(&mut self, method: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["method"] == method {
                return message;
            }
        }
    }

    /// The answer to a request.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.next().await;
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }
}

/// The text of an answer.
pub(crate) async fn text_of(response: Response<Incoming>) -> String {
    let bytes = timeout(PATIENCE, response.into_body().collect()).await.expect("an end").unwrap().to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}

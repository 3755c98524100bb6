//! A server in this process, over a store in a temporary directory and a
//! scripted model, and clients that reach it through its real doors.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use are::audit::Auditor;
use are::server::{Bind, Server, Settings};
use are_core::digest::Digest;
use are_core::error::Fault;
use are_engine::api::Agent;
use are_engine::engine::{self, Engine, Ports};
use are_engine::scrub::Live;
use are_engine::secrets::{Master, MasterKey};
use are_policy::rules::{Profile, Rules};
use are_store::sqlite::{Options, SqliteStore};
use are_testkit::clock::SimClock;
use are_testkit::script::{Say, ScriptedModels, last_words, say};
use are_testkit::tools::CountedTools;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The admin token of every fixture.
pub(crate) const ADMIN: &str = "are_admin_0123456789";

/// A running server.
pub(crate) struct Fixture {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    pub(crate) models: ScriptedModels,
    pub(crate) tools: CountedTools,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) auditor: Option<Arc<Auditor>>,
    pub(crate) store: Arc<SqliteStore>,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), Fault>>,
}

/// How a fixture differs from the usual.
pub(crate) struct Plan {
    pub(crate) models: ScriptedModels,
    pub(crate) no_auth: bool,
    pub(crate) origins: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) tools: CountedTools,
    pub(crate) secrets: Vec<String>,
    pub(crate) is_audited: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            models: ScriptedModels::new(obedient),
            no_auth: false,
            origins: Vec::new(),
            hosts: Vec::new(),
            tools: CountedTools::default(),
            secrets: Vec::new(),
            is_audited: true,
        }
    }
}

/// Says what it is told: `say X` answers X, `hold X` waits in the middle, `call TOOL` calls a tool first,
/// `fail` fails, `flood N` says N tokens.
fn obedient(request: &are_core::model::ModelRequest) -> Vec<Say> {
    let words = last_words(request);
    let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
    match verb {
        "say" => say(rest),
        "hold" => {
            let mut steps = say(rest);
            steps.insert(1, Say::Hold);
            steps
        }
        "call" if are_testkit::script::results_so_far(request) == 0 => {
            vec![are_testkit::script::call(rest, &json!({"x": 1}))]
        }
        "fail" => vec![Say::Fail(Fault::new(are_core::error::Code::MODEL_ERROR, "it failed as it should", "nothing"))],
        "flood" => (0..rest.parse().unwrap_or(0)).map(|n: u32| Say::Token(format!("t{n} "))).collect(),
        _ => say("done"),
    }
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::planned(Plan::default()).await
    }

    pub(crate) async fn planned(plan: Plan) -> Self {
        Self::within(tempfile::tempdir().unwrap(), plan).await
    }

    /// Over the store that an earlier fixture left in `dir`.
    pub(crate) async fn within(dir: tempfile::TempDir, plan: Plan) -> Self {
        let store = Arc::new(SqliteStore::open(dir.path(), &Options::default()).unwrap());
        let (models, tools) = (plan.models, plan.tools);
        let clock = Arc::new(SimClock::new(rand_seed()));
        let ports = Ports {
            store: store.clone(),
            models: Arc::new(models.clone()),
            tools: Arc::new(tools.clone()),
            clock: clock.clone(),
        };
        let engine =
            Engine::start(ports, engine::Settings { secrets: plan.secrets, ..engine_settings() }).await.unwrap();
        let auditor = plan.is_audited.then(|| {
            let dir = dir.path().to_owned();
            Arc::new(Auditor::open(dir, "fixture.test/audit", store.clone(), clock.clone()).unwrap())
        });
        let settings = Settings {
            auditor: auditor.clone(),
            bind: Bind::Loopback { port: 0 },
            socket: Some(dir.path().join("are.sock")),
            admin_token: Digest::of(&[ADMIN.as_bytes()]),
            no_auth: plan.no_auth,
            hosts: plan.hosts,
            origins: plan.origins,
            public_url: None,
            workspace_fixed: false,
            status: json!({"version": "test"}),
            config: json!({"bind": "localhost"}),
            skills: Vec::new(),
            grace_ms: 1000,
            telemetry: None,
            clock: clock.clone(),
        };
        let server = Server::bind(settings).await.unwrap();
        let address = server.addresses()[0];
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(engine.clone(), stop.clone()));
        Self { address, engine, models, tools, dir, clock, auditor, store, stop, serving }
    }

    /// Asks the server to end without waiting for it.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Ends the server in order and returns its directory.
    pub(crate) async fn end(self) -> tempfile::TempDir {
        self.stop.cancel();
        timeout(PATIENCE, self.serving).await.unwrap().unwrap().unwrap();
        drop(self.engine);
        self.store.close().await.unwrap();
        self.dir
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        self.dir.path().join("are.sock")
    }

    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// Sends bytes and reads all that comes until the server closes.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server answers and closes").unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A request with exactly these header lines; the answer's status and text.
    pub(crate) async fn ask(&self, request_line: &str, headers: &[&str]) -> (u16, String) {
        let mut text = format!("{request_line} HTTP/1.1\r\nConnection: close\r\n");
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        let answer = self.raw(format!("{text}\r\n")).await;
        (status_of(&answer), answer)
    }

    /// A request of the admin with a JSON body.
    pub(crate) async fn api(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.api_as(ADMIN, method, path, body).await
    }

    /// A request with a token and a JSON body.
    pub(crate) async fn api_as(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let answer = self
            .raw(format!(
                "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                self.host(),
                body.len()
            ))
            .await;
        let text = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        (status_of(&answer), serde_json::from_str(text).unwrap_or(Value::String(text.to_owned())))
    }

    /// The status alone of a request with a token, whose answer may go on for ever.
    pub(crate) async fn status_as(&self, token: &str, method: &str, path: &str) -> u16 {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let host = self.host();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.contains(&b'\n') {
            let read = timeout(PATIENCE, stream.read_buf(&mut answer)).await.expect("the server answers").unwrap();
            assert!(read > 0, "the server closed before it answered");
        }
        status_of(&String::from_utf8_lossy(&answer))
    }

    /// A token of the admin account with these scopes: its id and text.
    pub(crate) async fn token(&self, scopes: &[&str]) -> (String, String) {
        let (status, made) = self.api("POST", "/api/tokens", Some(json!({"scopes": scopes}))).await;
        assert_eq!(status, 201, "{made}");
        (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
    }

    /// Makes an account in these groups.
    pub(crate) async fn account(&self, name: &str, groups: &[&str]) {
        let (status, made) = self.api("POST", "/api/accounts", Some(json!({"account": name, "groups": groups}))).await;
        assert_eq!(status, 201, "{made}");
    }

    /// A token of an account, which is made when there is none.
    pub(crate) async fn token_of(&self, account: &str, scopes: &[&str]) -> String {
        if self.api("GET", &format!("/api/accounts/{account}"), None).await.0 == 404 {
            self.account(account, &[]).await;
        }
        let wish = json!({"scopes": scopes, "account": account});
        let (status, made) = self.api("POST", "/api/tokens", Some(wish)).await;
        assert_eq!(status, 201, "{made}");
        made["token"].as_str().unwrap().to_owned()
    }

    /// A socket over TCP.
    pub(crate) async fn open(&self, protocol: Option<&str>, token: &str) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client::over(stream, &self.host(), "/ws", protocol, Some(token)).await
    }

    /// An `are.v2` socket of the admin.
    pub(crate) async fn v2(&self) -> Client<TcpStream> {
        self.open(Some("are.v2"), ADMIN).await
    }

    /// A plain socket of the admin.
    pub(crate) async fn v1(&self) -> Client<TcpStream> {
        self.open(None, ADMIN).await
    }

    /// An `are.v2` socket over the unix socket, without a token.
    pub(crate) async fn local(&self) -> Client<UnixStream> {
        let stream = UnixStream::connect(self.socket_path()).await.unwrap();
        Client::over(stream, "localhost", "/ws", Some("are.v2"), None).await
    }
}

fn rand_seed() -> u64 {
    u64::from(std::process::id())
}

fn engine_settings() -> engine::Settings {
    let agent = Agent::new("default".parse().unwrap(), "Be brief.");
    engine::Settings {
        rules: Arc::new(Rules::new(Profile::Ask, &[]).unwrap()),
        rule_keeper: None,
        agents: BTreeMap::from([(agent.name.clone(), agent.clone())]),
        default_agent: agent.name,
        default_workspace: None,
        workspace_guard: Arc::new(|_| Ok(())),
        operator: "admin".parse().unwrap(),
        secrets: Vec::new(),
        master: Master {
            source: "the fixture".to_owned(),
            keys: vec![MasterKey::new([7; 32].into())],
            fault: None,
            keeper: None,
        },
        log: Live::default(),
        tz: "UTC".to_owned(),
        version: "0.1.0".to_owned(),
        config: b"{}".to_vec(),
        off: Vec::new(),
        response_cache: false,
        compaction: true,
        adaptive: are_engine::adapt::Adaptive::default(),
        plans: false,
        firewall: Some(Arc::new(are_policy::firewall::Firewall::new().unwrap())),
        sessions_active_max: 1000,
        limits: are_policy::limits::Limits::none(),
        prices: are_policy::prices::Prices::default(),
    }
}

/// The status of an HTTP answer; 0 when there is none.
pub(crate) fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// A WebSocket client.
pub(crate) struct Client<S> {
    pub(crate) stream: WebSocketStream<S>,
    pub(crate) response: Response,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn over(stream: S, host: &str, path: &str, protocol: Option<&str>, token: Option<&str>) -> Self {
        let headers = token.map(|token| ("authorization", format!("Bearer {token}")));
        Self::with(stream, host, path, protocol, headers.as_slice()).await
    }

    /// With these headers beside those of the handshake.
    pub(crate) async fn with(
        stream: S,
        host: &str,
        path: &str,
        protocol: Option<&str>,
        headers: &[(&str, String)],
    ) -> Self {
        let mut request = http::Request::builder()
            .uri(format!("ws://{host}{path}"))
            .header("host", host)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        if let Some(protocol) = protocol {
            request = request.header("sec-websocket-protocol", protocol);
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let opened = tokio_tungstenite::client_async(request.body(()).unwrap(), stream);
        let (stream, response) = timeout(PATIENCE, opened).await.unwrap().unwrap();
        Self { stream, response }
    }

    pub(crate) async fn send(&mut self, value: Value) {
        self.stream.send(Message::text(value.to_string())).await.unwrap();
    }

    /// The next text message.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match timeout(PATIENCE, self.stream.next()).await.expect("a message comes") {
                Some(Ok(Message::Text(text))) => return text.as_str().to_owned(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no text but {other:?}"),
            }
        }
    }

    /// The next message as JSON.
    pub(crate) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// Messages up to and with the first that `is_last` holds for.
    pub(crate) async fn until(&mut self, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            let value = self.json().await;
            let ends = is_last(&value);
            seen.push(value);
            if ends {
                return seen;
            }
        }
    }

    /// Messages up to and with one of this type.
    pub(crate) async fn until_type(&mut self, kind: &str) -> Vec<Value> {
        self.until(|value| value["type"] == kind).await
    }

    /// Waits for the server's close frame.
    pub(crate) async fn closed(&mut self) -> CloseFrame {
        loop {
            match timeout(PATIENCE, self.stream.next()).await.expect("a close comes") {
                Some(Ok(Message::Close(Some(frame)))) => return frame,
                Some(Ok(_)) => {}
                other => panic!("no close but {other:?}"),
            }
        }
    }
}

/// The answer's text in events.
pub(crate) fn text_of(events: &[Value]) -> String {
    events.iter().filter_map(|event| event.as_array()?.last()?.as_str().map(str::to_owned)).collect()
}

/// The types of events, tokens left out.
pub(crate) fn types_of(events: &[Value]) -> Vec<String> {
    events.iter().filter_map(|event| event["type"].as_str().map(str::to_owned)).collect()
}

//! A registry with a workspace, permits for it, and a server that misbehaves on request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use are_core::BoxFuture;
use are_core::canonical::Args;
use are_core::clock::Clock;
use are_core::digest::{Digest, Nonce};
use are_core::error::{Code, Fault};
use are_core::ids::{SecretName, SessionKey};
use are_core::label::{Confidentiality, Integrity, Label, Labels};
use are_core::store::{Durability, Receipt};
use are_policy::call::{Call, Context};
use are_policy::flow::View;
use are_policy::gate::{Permit, authorize};
use are_policy::logins::{Kept, LoginKeeper};
use are_policy::manifest::Manifest;
use are_policy::pauses::Pauses;
use are_policy::rules::{Profile, Rules};
use are_policy::secrets::{BoundTo, Purpose, Secrets, Value as Secret, unknown};
use are_policy::tools::{Binding, Environment, Host, Memories, Memory, Place, Problem, ToolOutcome, Tools, Variables};
use are_policy::undo;
use are_tools::{CheckpointOptions, HttpOptions, Registry, Resolver};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The session that every call of these tests belongs to.
pub(crate) const SESSION: SessionKey = SessionKey::SYSTEM;

/// A host that answers no further call.
pub(crate) struct Alone;

impl Host for Alone {
    fn call<'a>(&'a self, tool: &'a str, _args: Value) -> BoxFuture<'a, ToolOutcome> {
        Box::pin(std::future::ready(refused(Code::TOOL_UNKNOWN, tool)))
    }
}

/// Memories as they are put in; a search finds those that hold the query.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) all: Vec<Memory>,
    /// How many there are said to be.
    pub(crate) count: usize,
}

impl Memories for Table {
    fn search(&self, query: String, limit: usize) -> BoxFuture<'_, Result<Vec<Memory>, Fault>> {
        let found = self.all.iter().filter(|memory| memory.text.contains(&query)).take(limit).cloned().collect();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn count(&self) -> BoxFuture<'_, Result<usize, Fault>> {
        Box::pin(std::future::ready(Ok(self.count)))
    }
}

/// Secrets with where they may go, and what was asked of them.
#[derive(Default)]
pub(crate) struct Purse {
    pub(crate) all: BTreeMap<String, (String, BoundTo)>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Purse {
    pub(crate) fn with(name: &str, value: &str, hosts: &[&str], tools: &[&str]) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let bound_to = BoundTo::read(&texts(hosts), &texts(tools)).expect("places");
        Self { all: BTreeMap::from([(name.to_owned(), (value.to_owned(), bound_to))]), asked: Mutex::default() }
    }
}

impl Secrets for Purse {
    fn reveal<'a>(&'a self, name: &'a SecretName, purpose: Purpose<'a>) -> BoxFuture<'a, Result<Secret, Fault>> {
        self.asked.lock().expect("asked").push(format!("{name} {}", purpose.as_str()));
        let found = self.all.get(name.as_str()).ok_or_else(|| unknown(name, &[]));
        let value = found.and_then(|(value, bound_to)| {
            bound_to.check(name, purpose)?;
            Ok(Secret::new(value.clone().into()))
        });
        Box::pin(std::future::ready(value))
    }
}

/// Keeps logins as the engine does, without sealing them.
#[derive(Default)]
pub(crate) struct Safe {
    kept: Mutex<BTreeMap<String, (String, BoundTo)>>,
    /// Renewals that failed, by the server's name.
    pub(crate) failed: Mutex<Vec<String>>,
}

impl Safe {
    pub(crate) fn put(&self, name: &str, value: &str, bound_to: &BoundTo) {
        self.kept.lock().expect("kept").insert(name.to_owned(), (value.to_owned(), bound_to.clone()));
    }

    /// The names, and where each may go.
    pub(crate) fn bound(&self) -> Vec<(String, BoundTo)> {
        let kept = self.kept.lock().expect("kept");
        kept.iter().map(|(name, (_, bound_to))| (name.clone(), bound_to.clone())).collect()
    }

    pub(crate) fn values(&self) -> Vec<String> {
        self.kept.lock().expect("kept").values().map(|(value, _)| value.clone()).collect()
    }
}

impl Secrets for Safe {
    fn reveal<'a>(&'a self, name: &'a SecretName, purpose: Purpose<'a>) -> BoxFuture<'a, Result<Secret, Fault>> {
        let kept = self.kept.lock().expect("kept");
        let found = kept.get(name.as_str()).ok_or_else(|| unknown(name, &[]));
        let value = found.and_then(|(value, bound_to)| {
            bound_to.check(name, purpose)?;
            Ok(Secret::new(value.clone().into()))
        });
        Box::pin(std::future::ready(value))
    }
}

impl LoginKeeper for Safe {
    fn names(&self) -> Vec<SecretName> {
        self.kept.lock().expect("kept").keys().map(|name| name.parse().expect("a name")).collect()
    }

    fn keep(&self, kept: Vec<Kept>) -> BoxFuture<'_, Result<(), Fault>> {
        for one in kept {
            self.put(one.name.as_str(), one.value.expose(), &one.bound_to);
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn forget(&self, names: Vec<SecretName>) -> BoxFuture<'_, Result<(), Fault>> {
        let mut kept = self.kept.lock().expect("kept");
        let gone = names.iter().try_for_each(|name| match kept.remove(name.as_str()) {
            Some(_) => Ok(()),
            None => Err(unknown(name, &[])),
        });
        Box::pin(std::future::ready(gone))
    }

    fn failed<'a>(&'a self, server: &'a str, _fault: &'a Fault) -> BoxFuture<'a, ()> {
        self.failed.lock().expect("failed").push(server.to_owned());
        Box::pin(std::future::ready(()))
    }
}

/// Time as it passes, for calls that wait for real things.
pub(crate) struct RealClock;

impl Clock for RealClock {
    fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time after 1970");
        u64::try_from(since.as_millis()).expect("milliseconds")
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(std::time::Duration::from_millis(ms)))
    }

    fn random(&self) -> Nonce {
        [7; 32]
    }
}

fn refused(code: Code, tool: &str) -> ToolOutcome {
    let fault = Fault::new(code, format!("`{tool}` is not called here"), "go on without it");
    ToolOutcome::Failed { fault, label: label() }
}

/// A registry and a workspace of its own.
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) root: tempfile::TempDir,
    pub(crate) variables: Arc<Variables>,
    pub(crate) memories: Arc<Table>,
    pub(crate) artifact_room: u64,
    pub(crate) secrets: Arc<Purse>,
    pub(crate) safe: Arc<Safe>,
    pub(crate) environment: Environment,
    pub(crate) timeout_ms: u64,
    pub(crate) rules: Rules,
    calls: AtomicU32,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(HttpOptions::default())
    }

    /// One whose tools may reach these places.
    pub(crate) fn granting(grants: &[String]) -> Self {
        let grants = grants.join(",").parse().expect("grants");
        Self::with(HttpOptions { grants, resolver: Resolver::System })
    }

    pub(crate) fn with(options: HttpOptions) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        std::fs::create_dir(root.path().join("ws")).expect("workspace");
        let safe = Arc::<Safe>::default();
        let registry = Registry::builtin(options).expect("registry");
        registry.entrust(Arc::clone(&safe) as Arc<dyn LoginKeeper>);
        Self {
            registry,
            root,
            variables: Arc::new(Variables::new()),
            memories: Arc::default(),
            artifact_room: 1 << 30,
            secrets: Arc::default(),
            safe,
            environment: Environment::default(),
            timeout_ms: 30_000,
            rules: Rules::new(Profile::Observe, &[]).expect("rules"),
            calls: AtomicU32::new(0),
        }
    }

    /// One that also serves the tools of a folder beside the workspace.
    pub(crate) fn living(grants: &[String], files: &[(&str, &str)]) -> Self {
        let world = Self::granting(grants);
        std::fs::create_dir(world.tools_dir()).expect("folder of tools");
        for (name, content) in files {
            std::fs::write(world.tools_dir().join(name), content).expect(name);
        }
        world.also_granting(grants)
    }

    /// The same folder and logins in a process that may reach these places.
    pub(crate) fn also_granting(mut self, grants: &[String]) -> Self {
        let grants = grants.join(",").parse().expect("grants");
        let registry = Registry::builtin(HttpOptions { grants, resolver: Resolver::System }).expect("registry");
        registry.entrust(Arc::clone(&self.safe) as Arc<dyn LoginKeeper>);
        self.registry = registry.with_folder(self.tools_dir()).expect("folder");
        self
    }

    pub(crate) fn tools_dir(&self) -> PathBuf {
        self.root.path().join("tools")
    }

    /// Reads the folder again and serves what it holds; what it does not.
    pub(crate) async fn reload(&self) -> Vec<Problem> {
        let shelf = self.registry.shelf().expect("a shelf");
        let reading = shelf.read().await.expect("a reading");
        shelf.serve(reading.tools.digest());
        shelf.problems()
    }

    /// One that keeps what its calls replace.
    pub(crate) fn keeping() -> Self {
        Self::keeping_at_most(16 << 20, 2 << 30)
    }

    pub(crate) fn keeping_at_most(file_bytes_max: u64, total_bytes_max: u64) -> Self {
        let mut world = Self::new();
        let dir = world.root.path().join("data/checkpoints");
        std::fs::create_dir(world.root.path().join("data")).expect("data directory");
        let options = CheckpointOptions { dir, file_bytes_max, total_bytes_max };
        world.registry = Registry::builtin(HttpOptions::default()).expect("registry").keeping(options);
        world
    }

    /// A path in the workspace.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("ws").join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        std::fs::write(path, content).expect("file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect(name)
    }

    /// The next call, decided and recorded as allowed.
    pub(crate) fn permit(&self, tool: &str, args: &Value) -> Permit {
        let digest = self.registry.snapshot().get(tool).map_or(Digest::ZERO, |(_, digest)| digest);
        self.permit_for(tool, args, digest)
    }

    pub(crate) fn permit_for(&self, tool: &str, args: &Value, tool_digest: Digest) -> Permit {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let tools = self.registry.snapshot();
        // A tool that is not served is decided about under another's declaration, as if it had gone since.
        let manifest = tools.get(tool).or_else(|| tools.iter().next()).expect("a tool").0.clone();
        self.permit_under(call, tool, args, (manifest, tool_digest))
    }

    /// The same call again, as after a crash.
    pub(crate) fn permit_again(&self, tool: &str, args: &Value) -> Permit {
        let tools = self.registry.snapshot();
        let (manifest, digest) = tools.get(tool).expect("a tool");
        self.permit_under(self.calls.load(Ordering::Relaxed), tool, args, (manifest.clone(), digest))
    }

    /// The next call, of what only the user can ask for.
    pub(crate) fn permit_undo(&self, args: &undo::Arguments) -> Permit {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let manifest = undo::manifest().expect("manifest");
        let digest = manifest.digest();
        let args = serde_json::to_value(args).expect("JSON");
        self.permit_under(call, undo::NAME, &args, (manifest, digest))
    }

    fn permit_under(&self, call: u32, tool: &str, args: &Value, decided: (Manifest, Digest)) -> Permit {
        self.decided((call, None), tool, args, decided).expect("permit")
    }

    /// The next call as a running one makes it: decided by the same rules, and run when they allow it.
    pub(crate) async fn child(&self, tool: &str, args: &Value, place: Place) -> ToolOutcome {
        self.child_of(None, tool, args, place).await
    }

    /// The same, as one that knows the call that makes it.
    pub(crate) async fn child_of(&self, parent: Option<u32>, tool: &str, args: &Value, place: Place) -> ToolOutcome {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let tools = self.registry.snapshot();
        let permit = tools
            .get(tool)
            .map(|(manifest, digest)| self.decided((call, parent), tool, args, (manifest.clone(), digest)));
        match permit {
            Some(Ok(permit)) => self.registry.run(permit, place).await,
            Some(Err(why)) => {
                println!("{tool} {args}: {why}");
                refused(Code::DENIED, tool)
            }
            None => refused(Code::TOOL_UNKNOWN, tool),
        }
    }

    fn decided(
        &self,
        (call, parent): (u32, Option<u32>),
        tool: &str,
        args: &Value,
        (mut manifest, tool_digest): (Manifest, Digest),
    ) -> Result<Permit, String> {
        let args = Args::from_value(args).expect("arguments");
        let call = Call { session: SESSION, turn: 1, call, parent, tool: tool.to_owned(), tool_digest, args };
        manifest.name = tool.parse().expect("tool name");
        let (account, agent) = ("alice".parse().expect("account"), "main".parse().expect("agent"));
        let label = label();
        let context = Context {
            account: &account,
            groups: &[],
            agent: &agent,
            manifest: &manifest,
            in_view: &label,
            args_label: &label,
            view: &View::default(),
            tools: &self.registry.snapshot(),
            bound: &[],
            earlier: &[],
            parents: &[],
            narrowing: &are_policy::agent::NONE,
            is_approved: false,
        };
        let decision = self.rules.decide(&call, &context);
        let receipt = Receipt::issue(SESSION, 1, 1, Durability::Durable);
        authorize(call, &decision, &receipt).map_err(|refused| format!("{refused}: {decision:?}"))
    }

    pub(crate) fn place(&self) -> Place {
        Place {
            workspace: self.root.path().join("ws"),
            variables: Arc::clone(&self.variables),
            label: label(),
            timeout_ms: self.timeout_ms,
            pauses: Pauses::new(Arc::new(RealClock)),
            output: Arc::new(|_| Box::pin(std::future::ready(()))),
            changes: Arc::default(),
            host: Arc::new(Alone),
            memories: Arc::clone(&self.memories) as Arc<dyn Memories>,
            artifact_room: self.artifact_room,
            secrets: Arc::clone(&self.secrets) as Arc<dyn Secrets>,
            environment: self.environment.clone(),
            work: Arc::default(),
        }
    }

    pub(crate) async fn run(&self, tool: &str, args: Value) -> ToolOutcome {
        self.registry.run(self.permit(tool, &args), self.place()).await
    }

    /// Runs a call that must answer.
    pub(crate) async fn ok(&self, tool: &str, args: Value) -> Value {
        self.answer(tool, args).await.0
    }

    pub(crate) async fn answer(&self, tool: &str, args: Value) -> (Value, Labels, Vec<Binding>) {
        match self.run(tool, args.clone()).await {
            ToolOutcome::Completed { value, labels, bindings } => (value, labels, bindings),
            other => panic!("{tool} {args}: {other:?}"),
        }
    }

    /// Runs a call that must fail with nothing left unknown.
    pub(crate) async fn fault(&self, tool: &str, args: Value) -> Fault {
        match self.run(tool, args.clone()).await {
            ToolOutcome::Failed { fault, .. } => fault,
            other => panic!("{tool} {args}: {other:?}"),
        }
    }

    /// Runs a call whose outcome must be unknown.
    pub(crate) async fn unknown(&self, tool: &str, args: Value) -> Fault {
        match self.run(tool, args.clone()).await {
            ToolOutcome::Unknown { fault, .. } => fault,
            other => panic!("{tool} {args}: {other:?}"),
        }
    }

    /// Names that tools leave behind for a moment only.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        tree(&self.path(""))
            .into_keys()
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".are-")))
            .collect()
    }
}

/// The label of the arguments of every call of these tests.
pub(crate) fn label() -> Label {
    Label::new(Integrity::User, Confidentiality::Private, "user")
}

/// All files below a directory with their content; links and others by kind.
pub(crate) fn tree(root: &std::path::Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    for entry in std::fs::read_dir(root).expect("directory").flatten() {
        let kind = entry.file_type().expect("kind");
        if kind.is_dir() {
            out.insert(entry.path(), b"<dir>".to_vec());
            out.extend(tree(&entry.path()));
        } else if kind.is_file() {
            out.insert(entry.path(), std::fs::read(entry.path()).expect("file"));
        } else {
            out.insert(entry.path(), format!("{kind:?}").into_bytes());
        }
    }
    out
}

/// What a server heard.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// What a server does with a request.
pub(crate) enum Reply {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends these bytes and then nothing, until the client goes.
    Stall(Vec<u8>),
}

impl Reply {
    pub(crate) fn ok(content_type: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len());
        Self::Bytes([head.as_bytes(), body].concat())
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::Bytes(
            format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        )
    }
}

/// A server on loopback.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Server {
    pub(crate) async fn start(reply: impl Fn(&Heard) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("listener");
        let address = listener.local_addr().expect("address");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (Arc::clone(&heard), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&reply)));
            }
        });
        Self { address, heard }
    }

    pub(crate) fn grant(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("log").clone()
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<Heard>>>, reply: Arc<impl Fn(&Heard) -> Reply>) {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            log.lock().expect("log").push(Heard {
                line: "<connection>".to_owned(),
                headers: BTreeMap::new(),
                body: String::new(),
            });
            return;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let heard = Heard { line, headers, body: String::from_utf8_lossy(&bytes[head_end..]).into_owned() };
    log.lock().expect("log").push(heard.clone());
    match reply(&heard) {
        Reply::Bytes(bytes) => {
            // The client may have had enough before the end.
            stream.write_all(&bytes).await.ok();
            stream.shutdown().await.ok();
        }
        Reply::Stall(bytes) => {
            stream.write_all(&bytes).await.ok();
            let mut rest = [0; 64];
            while stream.read(&mut rest).await.unwrap_or(0) > 0 {}
        }
    }
}

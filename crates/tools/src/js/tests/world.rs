use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use are_core::BoxFuture;
use are_core::canonical::Args;
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_core::label::{Confidentiality, Integrity, Label, Labels};
use are_core::store::{Durability, Receipt};
use are_policy::call::{Call, Context};
use are_policy::flow::View;
use are_policy::gate::{Permit, authorize};
use are_policy::manifest::{Manifest, ToolSet};
use are_policy::pauses::Pauses;
use are_policy::rules::{Profile, Rules};
use are_policy::secrets::NoSecrets;
use are_policy::tools::{Environment, Host, Output, Place, ToolOutcome, Tools, Variables};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::js::{Scripts, Siblings};
use crate::lane::bare::{Nobody, room};
use crate::lane::{Answer, Error, Latch, Room, Runs};
use crate::{HttpOptions, Registry};

/// A workspace, a script, and what became of its further calls.
pub(super) struct World {
    pub(super) root: tempfile::TempDir,
    pub(super) timeout_ms: u64,
    pub(super) host: Arc<Children>,
    pub(super) output: Arc<Mutex<Vec<Output>>>,
    tools: BTreeMap<String, (Manifest, Arc<dyn Runs>)>,
}

/// A host that runs the file tools, and answers for commands and the network itself.
pub(super) struct Children {
    registry: Registry,
    workspace: PathBuf,
    made: AtomicU32,
    /// What was asked of it.
    pub(super) calls: Mutex<Vec<(String, Value)>>,
    /// A word that makes a call denied.
    pub(super) forbidden: Mutex<Option<&'static str>>,
    /// Calls under way now, and the most there were.
    pub(super) running: Mutex<(usize, usize)>,
}

pub(super) fn label(integrity: Integrity) -> Label {
    Label::new(integrity, Confidentiality::Private, "test")
}

fn permit(call: u32, manifest: &Manifest, args: &Value) -> Permit {
    let args = Args::from_value(args).expect("arguments");
    let (session, tool) = (SessionKey::SYSTEM, manifest.name.to_string());
    let call = Call { session, turn: 1, call, parent: None, tool, tool_digest: manifest.digest(), args };
    let (account, agent) = ("alice".parse().expect("account"), "main".parse().expect("agent"));
    let user = label(Integrity::User);
    let context = Context {
        account: &account,
        groups: &[],
        agent: &agent,
        manifest,
        in_view: &user,
        args_label: &user,
        view: &View::default(),
        tools: &ToolSet::new([manifest.clone()]).expect("tools"),
        bound: &[],
        earlier: &[],
        parents: &[],
        narrowing: &are_policy::agent::NONE,
        is_approved: false,
    };
    let decision = Rules::new(Profile::Observe, &[]).expect("rules").decide(&call, &context);
    authorize(call, &decision, &Receipt::issue(session, 1, 1, Durability::Durable)).expect("permit")
}

impl Children {
    async fn answer(&self, tool: &str, args: Value) -> ToolOutcome {
        self.calls.lock().expect("calls").push((tool.to_owned(), args.clone()));
        if self.forbids(&args) {
            let fault = Fault::new(Code::DENIED, "the rules forbid it", "ask for something else");
            return ToolOutcome::Failed { fault, label: label(Integrity::Platform) };
        }
        let value = match tool {
            "process_run" if args["shell"] == "unknown" => {
                let fault = Fault::new(Code::TOOL_OUTCOME_UNKNOWN, "the connection was lost", "find out");
                return ToolOutcome::Unknown { fault, label: label(Integrity::Platform) };
            }
            "process_run" if args["shell"] == "forever" => std::future::pending().await,
            "process_run" => json!({"exit_code": 0, "signal": null, "stdout": args.to_string(), "stderr": ""}),
            "http_request" => {
                tokio::task::yield_now().await;
                json!({"status": 200, "url": args["url"], "headers": {"content-type": "text/plain"}, "body": "körper", "truncated": false})
            }
            _ => return self.run(tool, &args).await,
        };
        let labels = Labels::from([(String::new(), Label::new(Integrity::Untrusted, Confidentiality::Secret, "web"))]);
        ToolOutcome::Completed { value, labels, bindings: Vec::new() }
    }

    async fn run(&self, tool: &str, args: &Value) -> ToolOutcome {
        let tools = self.registry.snapshot();
        let manifest = tools.get(tool).expect(tool).0;
        let call = self.made.fetch_add(1, Ordering::Relaxed) + 2;
        let place = Place {
            workspace: self.workspace.clone(),
            variables: Arc::new(Variables::new()),
            label: label(Integrity::User),
            timeout_ms: 10_000,
            output: Arc::new(|_| Box::pin(std::future::ready(()))),
            host: Arc::new(Alone),
            memories: Arc::new(Nobody),
            artifact_room: 0,
            secrets: Arc::new(NoSecrets),
            environment: Environment::default(),
            pauses: Pauses::new(Arc::new(Nobody)),
            changes: Arc::default(),
            work: Arc::default(),
        };
        self.registry.run(permit(call, manifest, args), place).await
    }

    fn forbids(&self, args: &Value) -> bool {
        let forbidden = *self.forbidden.lock().expect("forbidden");
        forbidden.is_some_and(|word| args.to_string().contains(word))
    }
}

impl Host for Children {
    fn call<'a>(&'a self, tool: &'a str, args: Value) -> BoxFuture<'a, ToolOutcome> {
        Box::pin(async move {
            {
                let mut running = self.running.lock().expect("running");
                running.0 += 1;
                running.1 = running.1.max(running.0);
            }
            let outcome = self.answer(tool, args).await;
            self.running.lock().expect("running").0 -= 1;
            outcome
        })
    }

    fn would_deny<'a>(&'a self, _tool: &'a str, args: Value) -> BoxFuture<'a, bool> {
        Box::pin(async move { self.forbids(&args) })
    }
}

struct Alone;

impl Host for Alone {
    fn call<'a>(&'a self, tool: &'a str, _args: Value) -> BoxFuture<'a, ToolOutcome> {
        panic!("`{tool}` makes no further calls")
    }
}

/// Where compiled code is kept between tests: beside the tests themselves.
pub(super) fn cache() -> PathBuf {
    std::env::current_exe().expect("this program").with_file_name("are-js-tests-code")
}

pub(super) fn load(
    file: &str,
    source: &str,
    siblings: &[(&str, &str)],
) -> Result<Vec<(Manifest, Arc<dyn Runs>)>, Fault> {
    let siblings = siblings.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let scripts = Scripts::new(Some(cache()));
    scripts.tools(Path::new(file), source.as_bytes(), &Siblings::new(siblings), &|_, manifest| Ok(manifest))
}

impl World {
    /// A world with the tools of `x.js`.
    pub(super) fn new(source: &str) -> Self {
        Self::with(source, &[])
    }

    pub(super) fn with(source: &str, siblings: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().expect("directory");
        std::fs::create_dir(root.path().join("ws")).expect("workspace");
        let tools = load("x.js", source, siblings).unwrap_or_else(|fault| panic!("{fault:?}"));
        let host = Children {
            registry: Registry::builtin(HttpOptions::default()).expect("registry"),
            workspace: root.path().join("ws"),
            made: AtomicU32::new(0),
            calls: Mutex::default(),
            forbidden: Mutex::default(),
            running: Mutex::default(),
        };
        Self {
            root,
            timeout_ms: 10_000,
            host: Arc::new(host),
            output: Arc::default(),
            tools: tools.into_iter().map(|(manifest, runs)| (manifest.name.to_string(), (manifest, runs))).collect(),
        }
    }

    /// A path in the workspace.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("ws").join(name)
    }

    pub(super) fn manifest(&self, tool: &str) -> &Manifest {
        &self.tools.get(tool).unwrap_or_else(|| panic!("`{tool}` is none of {:?}", self.tools.keys())).0
    }

    pub(super) async fn run(&self, tool: &str, args: Value) -> Result<Answer, Error> {
        let (manifest, runs) =
            self.tools.get(tool).unwrap_or_else(|| panic!("`{tool}` is none of {:?}", self.tools.keys()));
        let output = Arc::clone(&self.output);
        let room = Room {
            workspace: self.root.path().join("ws"),
            variables: Arc::new(Variables::new()),
            label: label(Integrity::User),
            deadline: Instant::now() + Duration::from_millis(self.timeout_ms),
            latch: Arc::new(Latch::default()),
            changes: Arc::default(),
            kept: None,
            output: Arc::new(move |piece| {
                output.lock().expect("output").push(piece);
                Box::pin(std::future::ready(()))
            }),
            host: Arc::clone(&self.host) as Arc<dyn Host>,
            ..room(Duration::from_millis(self.timeout_ms))
        };
        runs.run(permit(1, manifest, &args), room).await
    }

    pub(super) async fn ok(&self, tool: &str, args: Value) -> Value {
        self.run(tool, args).await.unwrap_or_else(|error| panic!("{tool}: {error:?}")).value
    }

    /// The message of a call that fails for certain.
    pub(super) async fn failed(&self, tool: &str, args: Value) -> Fault {
        match self.run(tool, args).await {
            Err(Error::Failed(fault)) => fault,
            other => panic!("{tool}: {other:?}"),
        }
    }

    pub(super) fn calls(&self) -> Vec<(String, Value)> {
        self.host.calls.lock().expect("calls").clone()
    }

    pub(super) fn output(&self) -> String {
        self.output.lock().expect("output").iter().map(|piece| piece.text.as_str()).collect()
    }
}

/// What `f` of this file returns.
pub(super) async fn value(source: &str) -> Value {
    World::new(source).ok("x_f", json!({})).await
}

/// How `f` of this file fails.
pub(super) async fn fault(source: &str) -> Fault {
    World::new(source).failed("x_f", json!({})).await
}

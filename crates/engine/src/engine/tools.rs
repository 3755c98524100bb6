//! The tools that are served, how others take their place while the engine
//! runs, and calls that somebody makes without a model.
//!
//! As with rules: one change at a time, recorded in the system session with the
//! object that later records name, and only then served. What cannot be served
//! is recorded once for each reason and changes nothing else.

mod calling;

use std::sync::{Arc, Mutex, PoisonError};

use are_core::body::Body;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::AccountId;
use are_core::label::Integrity;
use are_core::model::Asked;
use are_core::payload::Part;
use are_core::store::Change;
use are_policy::manifest::ToolSet;
use are_policy::tools::{Examined, Problem, ServerStanding, ServerWish, Servers, Shelf, Shelved, ToolFile};
use tokio::sync::watch;

pub use self::calling::Calling;
use super::{Engine, Inner};
use crate::api::{CallEvent, Called, Caller, DirectCall, Prompt, ToolsStanding};
use crate::machine;

/// Problems that one record tells of; the listing tells of all.
const PROBLEMS_TOLD_MAX: usize = 16;

/// Changes of the tools, one after the other.
pub(super) struct Keeper {
    turn: tokio::sync::Mutex<()>,
    told: Mutex<Vec<Problem>>,
    changes: watch::Sender<Digest>,
}

impl Keeper {
    /// Of these tools, as they are when the engine starts.
    pub(super) fn new(tools: &ToolSet) -> Self {
        let changes = watch::Sender::new(tools.digest());
        Self { turn: tokio::sync::Mutex::default(), told: Mutex::default(), changes }
    }
}

impl Engine {
    /// What is served, and what is not.
    #[must_use]
    pub fn tools_standing(&self) -> ToolsStanding {
        let problems = self.inner.ports.tools.shelf().map(|shelf| shelf.problems()).unwrap_or_default();
        let tools = self.inner.ports.tools.snapshot();
        let names = tools.iter().map(|(manifest, _)| manifest.name.clone()).collect();
        ToolsStanding { digest: tools.digest(), tools: names, problems }
    }

    /// The file that a tool comes from; `None` for one of the runtime's own.
    #[must_use]
    pub fn tool_file(&self, tool: &str) -> Option<String> {
        self.inner.ports.tools.shelf()?.file_of(tool)
    }

    /// Reads the files of tools again and serves what they hold.
    ///
    /// # Errors
    /// They cannot be read, or the change could not be recorded, so that it does not hold.
    pub async fn reload_tools(&self) -> Result<ToolsStanding, Fault> {
        let Some(shelf) = self.inner.ports.tools.shelf() else { return Ok(self.tools_standing()) };
        let _one = self.inner.served.turn.lock().await;
        self.inner.reload(shelf.as_ref(), &self.inner.operator, "files").await?;
        Ok(self.tools_standing())
    }

    /// Adds a file of tools, or replaces one, and serves what it holds.
    ///
    /// # Errors
    /// It cannot be loaded, a name is taken, the change could not be recorded.
    pub async fn add_tool(&self, caller: &Caller, file: ToolFile, may_replace: bool) -> Result<Shelved, Fault> {
        let shelf = self.shelf()?;
        let _one = self.inner.served.turn.lock().await;
        let shelved = shelf.put(file, may_replace).await?;
        if matches!(shelved, Shelved::Written { .. }) {
            self.inner.reload(shelf.as_ref(), &caller.account, "door").await?;
        }
        Ok(shelved)
    }

    /// Removes the file of that name, or the one that the tool of that name comes from; of a server also its login.
    ///
    /// # Errors
    /// There is no such file, it is part of the runtime, the change could not be recorded.
    pub async fn remove_tool(&self, caller: &Caller, name: String) -> Result<String, Fault> {
        let shelf = self.shelf()?;
        let file = {
            let _one = self.inner.served.turn.lock().await;
            let file = shelf.remove(name).await?;
            self.inner.reload(shelf.as_ref(), &caller.account, "door").await?;
            file
        };
        // A login at what is not there any more is of no use to anybody who should have it.
        if let (Some(server), true) = (file.strip_suffix(".mcp"), self.inner.ports.tools.servers().is_some()) {
            self.end_login(caller, server.to_owned()).await?;
        }
        Ok(file)
    }

    /// Calls a tool without a model, as a turn of its own, and waits for what it comes to.
    ///
    /// # Errors
    /// The rules deny it, the call failed, nobody knows whether it happened.
    pub async fn call_tool(&self, caller: &Caller, call: DirectCall) -> Result<Called, Fault> {
        let mut calling = self.start_call(caller, call).await?;
        loop {
            if let CallEvent::Done(called) = calling.next().await? {
                return Ok(*called);
            }
        }
    }

    /// Begins such a call; what happens to it is read from what this returns. Dropping that leaves the call alone.
    ///
    /// # Errors
    /// The session is unknown, busy or full, or the request id was used for something else.
    pub async fn start_call(&self, caller: &Caller, call: DirectCall) -> Result<Calling, Fault> {
        let text = format!("{} {}", call.tool, call.args.as_str());
        let prompt = Prompt {
            request_id: call.request_id,
            content: vec![Part::Text { text }],
            // A user's token speaks for the user: the call itself is the asking.
            integrity: Integrity::User,
            temperature_milli: None,
            effort: None,
            model: None,
            if_busy: call.if_busy,
            is_direct: true,
            waits: call.waits,
            allow_flagged: false,
            asked: Asked::default(),
        };
        let ack = self.prompt(caller, call.target, prompt).await?;
        let (_, tail) = self.attach(caller, ack.session, Some(ack.seq), None).await?;
        Ok(Calling::new(tail, ack.session, ack.turn))
    }

    /// The tools that a session of the default agent may use.
    #[must_use]
    pub fn offered_tools(&self) -> ToolSet {
        let served = self.tools();
        match self.inner.agent(&self.inner.settings.default_agent) {
            Ok(agent) => served.narrowed(|tool| agent.may_use(tool)),
            Err(_) => served.as_ref().clone(),
        }
    }

    /// Tells of every change of the tools that are served.
    #[must_use]
    pub fn tools_changes(&self) -> watch::Receiver<Digest> {
        self.inner.served.changes.subscribe()
    }

    /// The servers that tools come from.
    #[must_use]
    pub fn servers(&self) -> Vec<ServerStanding> {
        self.inner.ports.tools.servers().map(|servers| servers.standing()).unwrap_or_default()
    }

    /// Starts or reaches a server of tools and tells what it declares. Nothing of it is served by that; that it was
    /// done is recorded first.
    ///
    /// # Errors
    /// It cannot be started or reached, it does not keep to the protocol, it could not be recorded.
    pub async fn examine_server(&self, caller: &Caller, wish: ServerWish) -> Result<Examined, Fault> {
        let servers = self.server_port()?;
        let body = Body::ServerExamined { server: servers.digest(&wish)? };
        self.inner.system.append_for(caller, body, None, Vec::new()).await?;
        servers.examine(wish).await
    }

    /// Serves what a server declared when it was examined last, which must be what has this digest.
    ///
    /// # Errors
    /// It was not examined or declared something else, a name is taken, the change could not be recorded.
    pub async fn consent_to_server(&self, caller: &Caller, name: &str, digest: Digest) -> Result<Shelved, Fault> {
        let file = self.server_port()?.consented(name, digest)?;
        self.add_tool(caller, file, true).await
    }

    /// Reads the files again for somebody who changed what they come to.
    pub(super) async fn reload_for(&self, caller: &Caller) -> Result<(), Fault> {
        let Some(shelf) = self.inner.ports.tools.shelf() else { return Ok(()) };
        let _one = self.inner.served.turn.lock().await;
        self.inner.reload(shelf.as_ref(), &caller.account, "door").await
    }

    pub(super) fn server_port(&self) -> Result<Arc<dyn Servers>, Fault> {
        let none =
            || Fault::new(Code::UNAVAILABLE, "no servers of tools are kept here", "use a server with a data directory");
        self.inner.ports.tools.servers().ok_or_else(none)
    }

    fn shelf(&self) -> Result<Arc<dyn Shelf>, Fault> {
        let none =
            || Fault::new(Code::UNAVAILABLE, "no files of tools are kept here", "use a server with a data directory");
        self.inner.ports.tools.shelf().ok_or_else(none)
    }
}

impl Inner {
    async fn reload(&self, shelf: &dyn Shelf, by: &AccountId, source: &str) -> Result<(), Fault> {
        let reading = shelf.read().await?;
        let (old, new) = (self.ports.tools.snapshot().digest(), reading.tools.digest());
        if old != new {
            let body = Body::ToolsChanged { old, new, source: source.to_owned() };
            let object = Change::PutObject(new, reading.tools.object());
            self.system.append(by.clone(), body, None, vec![object]).await?;
            self.remember_objects(std::iter::once(new));
            tracing::info!(%old, %new, account = %by, "other tools are served");
        }
        // Also when the set is the same: what is said of files that are not served may be new.
        shelf.serve(new);
        self.served.changes.send_if_modified(|digest| std::mem::replace(digest, new) != new);
        self.tell_problems(new, reading.problems, by).await
    }

    async fn tell_problems(&self, tools: Digest, problems: Vec<Problem>, by: &AccountId) -> Result<(), Fault> {
        let told = || self.served.told.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh: Vec<Problem> = {
            let told = told();
            problems.iter().filter(|problem| !told.contains(problem)).cloned().collect()
        };
        for problem in &fresh {
            tracing::warn!(file = problem.file, why = problem.why, "a file of tools is not served");
        }
        if !fresh.is_empty() {
            let line = |problem: &Problem| format!("{}: {}", problem.file, problem.why);
            let message: Vec<String> = fresh.iter().take(PROBLEMS_TOLD_MAX).map(line).collect();
            let help = "`are tool list` shows all that is not served, with what to do";
            let fault = Fault::new(Code::MANIFEST_INVALID, self.vault.base_scrubber().clean(message.join("\n")), help);
            let payload = machine::failure(&fault, machine::system_label(), None);
            self.system.append(by.clone(), Body::ToolsRefused { tools }, Some(payload), Vec::new()).await?;
        }
        *told() = problems;
        Ok(())
    }
}

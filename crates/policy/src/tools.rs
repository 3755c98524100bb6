//! The port to the tools: what there is, running one with a permit, and what
//! was kept of the files that calls changed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::pauses::Pauses;
use are_core::BoxFuture;
use are_core::body::{Effect, Retry, Scope};
use are_core::change::FileChange;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{AgentName, CallNo, MemoryId, SessionKey, ToolName, VariableName};
use are_core::label::{Label, Labels};
use are_core::payload::Bound;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::ToolPattern;
use crate::budget::Budget;
use crate::gate::Permit;
use crate::logins::{LoggedIn, LoginBegun, LoginWish};
use crate::manifest::ToolSet;
use crate::secrets::Secrets;

/// The variables of a session and its account at the start of a call.
pub type Variables = BTreeMap<(Scope, VariableName), Bound>;

/// A piece of live output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// `stdout`, `stderr` or `log`.
    pub stream: &'static str,
    /// The piece; whole characters.
    pub text: String,
}

/// The way of a running call to further ones, such as a script's `fetch`.
///
/// Each is decided, recorded and run as a call of its own, grouped under the one that makes it, since a permit
/// covers no other call. What is denied, fails or has an unknown outcome comes back as such. Values and messages
/// are as they were recorded, without known secrets; variables that it sets are set already.
pub trait Host: Send + Sync {
    /// Makes a further call and waits for what it comes to. Dropping the future stops it. While a person is asked
    /// about it, the [pauses](Place::pauses) of all calls that it is part of run.
    fn call<'a>(&'a self, tool: &'a str, args: Value) -> BoxFuture<'a, ToolOutcome>;

    /// Whether such a call would be denied outright, as advice: nothing is recorded, and it is decided anew when it is
    /// made. A host that cannot tell says no, since the decision comes in any case.
    fn would_deny<'a>(&'a self, _tool: &'a str, _args: Value) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }

    /// What an earlier call of a model in this session returned, in full.
    fn earlier(&self, call: CallNo) -> BoxFuture<'_, Result<Earlier, Fault>> {
        let message = format!("no result of a call {call} is kept here");
        let fault = Fault::new(Code::TOOL_NOT_FOUND, message, "name a call of this conversation that has ended");
        Box::pin(std::future::ready(Err(fault)))
    }

    /// Begins another agent in a session of its own, with at most the rights of this one, and waits for the end of its
    /// turn. Made again for the same call, it finds the agent that was begun. Dropping the future stops it.
    fn spawn(&self, _spawn: Spawn) -> BoxFuture<'_, Result<Spawned, Fault>> {
        let help = "do it without another agent";
        Box::pin(std::future::ready(Err(Fault::new(Code::CHILD_LIMIT, "no agent can be begun from here", help))))
    }
}

/// What an earlier call of the same session returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// All of it as a text.
    pub text: String,
    /// The worst label in it.
    pub label: Label,
}

/// An agent that a call begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spawn {
    /// Its name; the agent that begins it when absent.
    pub agent: Option<AgentName>,
    /// What it is to do.
    pub prompt: String,
    /// Tools that it may use, of those that the agent that begins it may; all of these when absent.
    pub tools: Option<Vec<ToolPattern>>,
    /// Limits below what is left to the agent that begins it.
    pub budget: Budget,
}

/// What an agent that was begun came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spawned {
    /// Its session.
    pub session: SessionKey,
    /// `completed`, `failed` or `cancelled`.
    pub ended: &'static str,
    /// What it said last.
    pub answer: String,
    /// Why it failed.
    pub fault: Option<Fault>,
    /// Whose words all of this is, and who may see it: as bad as the worst that it had in view.
    pub label: Label,
    /// Files that it changed, kept as if the call itself had changed them.
    pub changes: Vec<FileChange>,
}

/// Takes live output; a full channel makes the tool wait.
pub type OutputSink = Arc<dyn Fn(Output) -> BoxFuture<'static, ()> + Send + Sync>;

/// Where and with what a call runs. The permit says what.
pub struct Place {
    /// Root of the session's files.
    pub workspace: PathBuf,
    /// Variables.
    pub variables: Arc<Variables>,
    /// Worst label among the arguments: what the call writes carries it.
    pub label: Label,
    /// Milliseconds until the call is given up, the pauses left out.
    pub timeout_ms: u64,
    /// When it stands still.
    pub pauses: Pauses,
    /// Takes live output.
    pub output: OutputSink,
    /// Makes further calls.
    pub host: Arc<dyn Host>,
    /// What the account remembers.
    pub memories: Arc<dyn Memories>,
    /// Bytes of artifacts that the session can still keep.
    pub artifact_room: u64,
    /// Its secrets, those alone that the call was decided with.
    pub secrets: Arc<dyn Secrets>,
    /// What the tool that makes the call gives to the process that the call starts.
    pub environment: Environment,
    /// Is told what files the call changes. Not part of the outcome, so that it is known of a call that was given up.
    pub changes: Arc<Changes>,
    /// Is told what the call works, for the same reason.
    pub work: Arc<Work>,
}

/// Variables that a tool gives to the process that it has started, as its manifest writes them. No call can say them,
/// so that no model can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// The tool.
    pub tool: String,
    /// Names and values; `secret:x` stands for the value of the secret `x`.
    pub variables: BTreeMap<String, String>,
}

/// Processor time that a call takes beside the runtime's own: of commands and of guests.
#[derive(Debug, Default)]
pub struct Work(AtomicU64);

impl Work {
    /// So much more.
    pub fn add(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// All of it so far, in milliseconds.
    #[must_use]
    pub fn cpu_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed) / 1_000
    }
}

/// The files that a call is about to change, and how many of these it has changed.
#[derive(Debug, Default)]
pub struct Changes(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    all: Vec<FileChange>,
    done: usize,
}

impl Changes {
    /// The call will have changed all of these, and has changed the first `done`.
    pub fn tell(&self, all: Vec<FileChange>, done: usize) {
        *self.told() = Told { all, done };
    }

    /// What is certain to have been changed.
    #[must_use]
    pub fn certain(&self) -> Vec<FileChange> {
        let told = self.told();
        told.all.iter().take(told.done).cloned().collect()
    }

    /// What may have been changed.
    #[must_use]
    pub fn possible(&self) -> Vec<FileChange> {
        self.told().all.clone()
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Media type of an artifact of which nothing is known (RFC 2046, section 4.5.1).
pub const UNKNOWN_MEDIA: &str = "application/octet-stream";

/// What a transactional tool keeps; the engine records it together with the outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Binding {
    /// A variable.
    Variable {
        /// Whose.
        scope: Scope,
        /// Name.
        name: VariableName,
        /// New value; `None` deletes.
        value: Option<Bound>,
    },
    /// Something that the account remembers from here on.
    Memory {
        /// Its id.
        id: MemoryId,
        /// What.
        text: String,
        /// What it was made from.
        label: Label,
    },
    /// Bytes for people to look at, kept with the session.
    Artifact {
        /// A plain file name.
        name: String,
        /// Media type.
        media_type: String,
        /// At most [`ARTIFACT_BYTES_MAX`].
        bytes: Vec<u8>,
        /// What they were made from.
        label: Label,
    },
}

/// Bytes of one artifact.
pub const ARTIFACT_BYTES_MAX: usize = 8 << 20;

/// Something that an account remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Its id.
    pub id: MemoryId,
    /// What.
    pub text: String,
    /// What it was made from.
    pub label: Label,
    /// When it was added, milliseconds since 1970.
    pub created_at_ms: u64,
}

/// What the account of a call remembers.
pub trait Memories: Send + Sync {
    /// What is like the query, the likest first, at most `limit`.
    fn search(&self, query: String, limit: usize) -> BoxFuture<'_, Result<Vec<Memory>, Fault>>;

    /// How many there are.
    fn count(&self) -> BoxFuture<'_, Result<usize, Fault>>;
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolOutcome {
    /// It answered.
    Completed {
        /// The answer.
        value: Value,
        /// Labels of its leaves.
        labels: Labels,
        /// What it keeps.
        bindings: Vec<Binding>,
    },
    /// It failed, and nothing happened or what happened is known.
    Failed {
        /// Code and a message the model can act on.
        fault: Fault,
        /// Whose words the message is.
        label: Label,
    },
    /// It may or may not have happened.
    Unknown {
        /// What is known.
        fault: Fault,
        /// Whose words the message is.
        label: Label,
    },
}

/// The registry and its lanes.
pub trait Tools: Send + Sync + 'static {
    /// The tools served now.
    fn snapshot(&self) -> Arc<ToolSet>;

    /// Runs one call. Dropping the future stops it; what had happened by then is unknown
    /// unless the tool is pure.
    fn run(&self, permit: Permit, place: Place) -> BoxFuture<'_, ToolOutcome>;

    /// What is kept of the files that calls changed; `None` where nothing is.
    fn checkpoints(&self) -> Option<Arc<dyn Checkpoints>> {
        None
    }

    /// The instructions that a workspace holds for agents, at most so many bytes; `None` where there are none.
    fn guide(&self, _workspace: PathBuf, _bytes_max: usize) -> BoxFuture<'_, Option<String>> {
        Box::pin(std::future::ready(None))
    }

    /// The files that tools come from beside those that are part of the runtime; `None` where there are none.
    fn shelf(&self) -> Option<Arc<dyn Shelf>> {
        None
    }

    /// The servers that tools come from; `None` where none can be added.
    fn servers(&self) -> Option<Arc<dyn Servers>> {
        None
    }
}

/// A file of tools as somebody hands it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolFile {
    /// Its name, without a directory.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The manifest to lie beside it.
    pub manifest: Option<String>,
}

/// Why a file, or a tool of it, is not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Name of the file.
    pub file: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub help: String,
}

/// What the files hold now.
#[derive(Debug, Clone)]
pub struct Reading {
    /// All tools that would be served, the runtime's own included.
    pub tools: Arc<ToolSet>,
    /// What cannot be.
    pub problems: Vec<Problem>,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shelved {
    /// It was written; its tools are read with the next reading.
    Written {
        /// The tools in it.
        tools: Vec<ToolName>,
    },
    /// It is there already, with the same content.
    Same,
    /// Another one of that name is there, and was not replaced.
    Differs {
        /// What would change, a line each.
        changes: Vec<String>,
    },
}

/// The files that tools come from. What they hold is prepared by reading and served afterwards, so that the change can
/// be recorded in between.
pub trait Shelf: Send + Sync + 'static {
    /// Reads the files and prepares what they hold.
    fn read(&self) -> BoxFuture<'_, Result<Reading, Fault>>;

    /// Serves what was prepared last, if it is the set of this digest.
    fn serve(&self, tools: Digest);

    /// What the files hold that is not served.
    fn problems(&self) -> Vec<Problem>;

    /// The file that a served tool comes from; `None` for one of the runtime's own.
    fn file_of(&self, tool: &str) -> Option<String>;

    /// Checks a file and writes it to the others, whole or not at all.
    fn put(&self, file: ToolFile, may_replace: bool) -> BoxFuture<'_, Result<Shelved, Fault>>;

    /// Removes the file of that name, or the one that the tool of that name comes from, with its manifest. The name of
    /// what was removed.
    fn remove(&self, name: String) -> BoxFuture<'_, Result<String, Fault>>;
}

/// A server of tools that somebody wants to look at.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerWish {
    /// Its name, which its tools' names begin with.
    pub name: String,
    /// How it is started or reached, as JSON; `None` for what was consented to before.
    pub server: Option<String>,
    /// The manifest to lie beside it; `None` keeps the one that lies there.
    pub manifest: Option<String>,
}

/// A tool as a server declares it, and as it would be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerTool {
    /// The server's own name for it.
    pub name: String,
    /// Its name here.
    pub tool: ToolName,
    /// What it does, by the server's words.
    pub description: String,
    /// What it does to the world, as it would be served.
    pub effect: Effect,
    /// Whether it may be called again.
    pub retry: Retry,
    /// The hints that the server gives, in its own words.
    pub hints: Vec<String>,
    /// `new`, `same` or `changed`, against what was consented to.
    pub state: &'static str,
}

/// What a server declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// Digest of all of it; what a consent names.
    pub digest: Digest,
    /// Its name, as it was wished.
    pub name: String,
    /// Name and version that it gives itself.
    pub server: String,
    /// Revision of the protocol.
    pub revision: String,
    /// What it is started or reached by and what it is given, a line each, without secret values.
    pub given: Vec<String>,
    /// Its tools.
    pub tools: Vec<ServerTool>,
    /// Further tools that it comes with, such as the one that reads its resources.
    pub further: Vec<ToolName>,
    /// Its prompts, by name.
    pub prompts: Vec<String>,
    /// Tools that cannot be served, each with the reason.
    pub refused: Vec<Problem>,
    /// Tools that were consented to and that it no longer has.
    pub gone: Vec<String>,
}

/// How a server that was consented to stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerStanding {
    /// Its name.
    pub name: String,
    /// What it is started or reached by, without secret values.
    pub given: Vec<String>,
    /// `idle`, `running` or `down`.
    pub state: &'static str,
    /// Why it is down.
    pub why: Option<String>,
    /// Milliseconds until it is tried again.
    pub retry_after_ms: Option<u64>,
    /// Connections at this moment.
    pub connections: usize,
    /// Its tools that are served, by their names here.
    pub tools: Vec<String>,
    /// Its tools that are not, each with the reason.
    pub revoked: Vec<Problem>,
    /// Its prompts, as they were consented to.
    pub prompts: Vec<String>,
    /// `needed` when nothing of it is served until somebody logs in, `short` when the login there is may do less than
    /// a call needed, `kept` when there is one; `None` when nobody asked for one.
    pub login: Option<&'static str>,
}

/// The servers that tools come from. What they declare is served only after somebody consented to exactly that.
pub trait Servers: Send + Sync + 'static {
    /// Digest of what the server would be started or reached by.
    fn digest(&self, wish: &ServerWish) -> Result<Digest, Fault>;

    /// Starts or reaches a server, sees what it declares, and lets it go. Nothing is served by that.
    fn examine(&self, wish: ServerWish) -> BoxFuture<'_, Result<Examined, Fault>>;

    /// The file of the server that was examined last under that name, if it declared what has this digest.
    fn consented(&self, name: &str, digest: Digest) -> Result<ToolFile, Fault>;

    /// All that were consented to.
    fn standing(&self) -> Vec<ServerStanding>;

    /// Finds out where to log in at a server, and begins.
    fn begin_login(&self, wish: LoginWish) -> BoxFuture<'_, Result<LoginBegun, Fault>>;

    /// Ends the login that was begun last at a server: with the address that the browser was sent to.
    fn finish_login(&self, name: String, callback: String) -> BoxFuture<'_, Result<LoggedIn, Fault>>;

    /// Forgets the login at a server; false when there is none.
    fn end_login(&self, name: String) -> BoxFuture<'_, Result<bool, Fault>>;
}

/// What a turn changed, with all that is needed to look for it.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Session under which it is kept.
    pub session: SessionKey,
    /// Root of the files.
    pub workspace: PathBuf,
    /// The changes, oldest first.
    pub changes: Vec<FileChange>,
}

/// What is kept of the files that calls changed. Changes no file of a workspace.
pub trait Checkpoints: Send + Sync + 'static {
    /// What a call had noted before its effect, for one whose outcome nobody knows.
    fn noted(&self, session: SessionKey, call: CallNo) -> BoxFuture<'_, Result<Vec<FileChange>, Fault>>;

    /// Finds out what a call changed that was interrupted and may have changed anything, and keeps that as noted. To be
    /// asked before anything else changes files there; of a call that noted what it changes, nothing is done.
    fn settle(&self, session: SessionKey, workspace: PathBuf, call: CallNo) -> BoxFuture<'_, Result<(), Fault>>;

    /// Content of that digest: as kept, else as it stands at `path` of the workspace now; `None` when neither is it.
    fn content(
        &self,
        session: SessionKey,
        workspace: PathBuf,
        path: String,
        digest: Digest,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, Fault>>;

    /// The paths that undoing these changes would touch, in its order; none when all is as it was before them.
    ///
    /// The error is ARE-0515 when a file is not what the changes left, ARE-0516 when one was not kept.
    fn undoable(&self, changed: Changed) -> BoxFuture<'_, Result<Vec<String>, Fault>>;

    /// Keeps under one session what these changes need of another's, whose agent works for it. What is lost is lost for
    /// both.
    fn adopt(&self, from: SessionKey, to: SessionKey, changes: Vec<FileChange>) -> BoxFuture<'_, Result<(), Fault>>;

    /// Erases what is kept under a session, and keeps nothing more of it.
    fn erase(&self, session: SessionKey) -> BoxFuture<'_, Result<(), Fault>>;

    /// Sessions of which something is kept.
    fn sessions(&self) -> BoxFuture<'_, Result<Vec<SessionKey>, Fault>>;
}

//! What the doors say to the engine and hear from it, as owned values.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use are_core::account::Via;
use are_core::body::Answer;
use are_core::canonical::Args;
use are_core::change::{FileState, Lost};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{
    AccountId, AgentName, ApprovalNo, CallNo, Epoch, RequestId, Seq, SessionKey, ThreadId, ToolName, TurnNo,
};
use are_core::journal::Entry;
use are_core::label::{Integrity, Labels};
use are_core::model::{Asked, Effort, Usage};
use are_core::payload::Part;
use are_core::store::SessionRow;
use are_policy::agent::{Narrowing, ToolPattern};
use are_policy::budget::Budget;
use are_policy::tools::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who asks, as the credential says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account; another account's things do not exist for it.
    pub account: AccountId,
    /// Where it speaks from.
    pub thread: ThreadId,
    /// True when it may answer approvals.
    pub can_approve: bool,
    /// True when it may also have a rule kept by an answer.
    pub can_administer: bool,
    /// By whose token it speaks, where that is another account's; recorded with what it does.
    pub via: Option<Via>,
}

/// How a session begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewSession {
    /// Agent; the default one when absent.
    pub agent: Option<AgentName>,
    /// Root of its files; the engine's default when absent. Absolute, existing, not refused by the settings.
    pub workspace: Option<PathBuf>,
}

/// Which session a prompt goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An existing one.
    Session(SessionKey),
    /// A new one, made together with the turn.
    New(NewSession),
}

/// What to do with a prompt while a turn runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfBusy {
    /// Refuse it (ARE-0303).
    #[default]
    Reject,
    /// Start it when the others are done.
    Queue,
    /// Treat it as a steer of the running turn.
    Steer,
}

/// A prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The client's name for it; made up when absent.
    pub request_id: Option<RequestId>,
    /// What is said.
    pub content: Vec<Part>,
    /// Whose words the text parts are: `user`, or `untrusted` for `are run -`.
    pub integrity: Integrity,
    /// Wished temperature in thousandths.
    pub temperature_milli: Option<u32>,
    /// Wished effort.
    pub effort: Option<Effort>,
    /// Wished model.
    pub model: Option<String>,
    /// While a turn runs.
    pub if_busy: IfBusy,
    /// True when the text is one call, `NAME ARGUMENTS`, to be made as it stands, and not a prompt for a model.
    pub is_direct: bool,
    /// True when such a call waits for somebody else's answer where the rules ask about it.
    pub waits: bool,
    /// True when whoever says it knows that the prompt firewall may refuse it, and means it.
    pub allow_flagged: bool,
    /// What is asked beside the words.
    pub asked: Asked,
}

/// A call that somebody makes without a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectCall {
    /// Where it is made.
    pub target: Target,
    /// The client's name for it; made up when absent.
    pub request_id: Option<RequestId>,
    /// The tool.
    pub tool: ToolName,
    /// Its arguments.
    pub args: Args,
    /// While a turn runs.
    pub if_busy: IfBusy,
    /// True when the call waits for somebody else's answer where the rules ask about it: its making is then not
    /// taken for an approval, whoever makes it.
    pub waits: bool,
}

/// What happens to a direct call.
#[derive(Debug, Clone)]
pub enum CallEvent {
    /// An entry of its turn, or a piece of what it or its calls say.
    Entry(Arc<Entry>),
    /// A person's answer did not come in time, and its turn was set aside; it goes on with that answer.
    Parked(ApprovalNo),
    /// It returned.
    Done(Box<Called>),
}

/// What a direct call came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Called {
    /// Session.
    pub session: SessionKey,
    /// The turn that it was.
    pub turn: TurnNo,
    /// The call.
    pub call: CallNo,
    /// What the tool returned.
    pub value: Value,
    /// Labels of its leaves.
    pub labels: Labels,
}

/// What a change of the tools came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolsStanding {
    /// Digest of the tools that are served.
    pub digest: Digest,
    /// Their names.
    pub tools: Vec<ToolName>,
    /// Files and tools of theirs that are not served.
    pub problems: Vec<Problem>,
}

/// A prompt was accepted and is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Session.
    pub session: SessionKey,
    /// Its request id.
    pub request_id: RequestId,
    /// The turn it became; the same one for the same request id.
    pub turn: TurnNo,
    /// Entry that holds it.
    pub seq: Seq,
}

/// A piece of a session's tail.
#[derive(Debug, Clone)]
pub enum Tailed {
    /// A journal entry; it is stored already.
    Entry(Arc<Entry>),
    /// A life sign outside the journal.
    Progress {
        /// What goes on.
        phase: &'static str,
        /// Units done.
        done: u64,
        /// Units in all, 0 when unknown.
        total: u64,
    },
}

/// Where a client stands after attaching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Session.
    pub session: SessionKey,
    /// Last entry at this moment.
    pub seq: Seq,
    /// Epoch.
    pub epoch: Epoch,
    /// The running turn.
    pub turn: Option<TurnNo>,
    /// True when the client's `after` or `epoch` is not of this journal: it must start over.
    pub is_reset: bool,
}

/// What to look for in the texts of sessions.
#[derive(Debug, Clone)]
pub struct SessionSearch {
    /// Words, in any case and order.
    pub text: String,
    /// At most so many sessions; never more than 50.
    pub limit: u32,
    /// Where an earlier answer said that more is left.
    pub from: Option<SearchCursor>,
    /// True to leave out sessions of agents that work for others.
    pub own: bool,
}

/// How far a search has come: behind this session, or behind an entry of it. Written `AT_MS.SEQ.KEY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchCursor {
    /// When the session was used last, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// The last entry that was looked at; 0 when all of it was.
    pub(crate) seq: Seq,
    /// The session.
    pub(crate) key: SessionKey,
}

impl fmt::Display for SearchCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.at_ms, self.seq, self.key)
    }
}

impl FromStr for SearchCursor {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let read = || {
            let (at_ms, rest) = text.split_once('.')?;
            let (seq, key) = rest.split_once('.')?;
            Some(Self { at_ms: at_ms.parse().ok()?, seq: seq.parse().ok()?, key: key.parse().ok()? })
        };
        // A database counts no further.
        read().filter(|cursor| cursor.seq <= i64::MAX.unsigned_abs()).ok_or_else(|| {
            let help = "send `next` as an earlier answer said it";
            Fault::new(Code::REQUEST_INVALID, "this is no place where a search can go on", help)
        })
    }
}

/// Sessions in which words were found.
#[derive(Debug, Clone)]
pub struct SessionsFound {
    /// Last used first.
    pub found: Vec<SessionFound>,
    /// Where to go on; `None` when all sessions were looked at.
    pub next: Option<SearchCursor>,
}

/// A session with the first place where the words stand.
#[derive(Debug, Clone)]
pub struct SessionFound {
    /// As listed.
    pub row: SessionRow,
    /// Last entry of the prompt or answer.
    pub seq: Seq,
    /// Its turn, where that is known.
    pub turn: Option<TurnNo>,
    /// What stands there, in one line.
    pub excerpt: String,
}

/// A session in full.
#[derive(Debug, Clone)]
pub struct SessionView {
    /// As listed.
    pub row: SessionRow,
    /// The running turn.
    pub turn: Option<TurnNo>,
    /// Approvals that wait.
    pub approvals: Vec<PendingApproval>,
}

/// An approval that waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PendingApproval {
    /// Session.
    pub session: SessionKey,
    /// Turn.
    pub turn: TurnNo,
    /// Number.
    pub approval: ApprovalNo,
    /// Call.
    pub call: CallNo,
    /// Digest of what is shown; the answer repeats it.
    pub digest: Digest,
    /// Tool.
    pub tool: String,
    /// The exact arguments.
    pub args: Args,
    /// Why a person is asked.
    pub why: String,
    /// Where the arguments' values came from.
    pub origins: Vec<String>,
    /// When the answer is due; afterwards the turn may be parked.
    pub expires_at_ms: u64,
    /// The rule that `allow_always` would keep; absent where it is not offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// True when the turn is parked.
    pub is_parked: bool,
}

/// An answer to an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approve {
    /// Number.
    pub approval: ApprovalNo,
    /// Digest of what was shown.
    pub digest: Digest,
    /// The answer.
    pub decision: Answer,
}

/// An agent's definition, from `agents/NAME.md`; stored by digest with the turns that used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Name.
    pub name: AgentName,
    /// Instructions.
    pub instructions: String,
    /// Model it wishes for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tools it may use; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<ToolPattern>>,
    /// A tool must be in each of these lists too: what the agents may use that it works for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<Vec<ToolPattern>>,
    /// What its calls are held to beside the rules in force.
    #[serde(default, skip_serializing_if = "Narrowing::is_none")]
    pub narrowing: Narrowing,
    /// What each of its sessions may use.
    #[serde(default)]
    pub budget: Budget,
}

impl Agent {
    /// An agent that may use everything.
    #[must_use]
    pub fn new(name: AgentName, instructions: impl Into<String>) -> Self {
        Self {
            name,
            instructions: instructions.into(),
            model: None,
            tools: None,
            within: Vec::new(),
            narrowing: Narrowing::default(),
            budget: Budget::default(),
        }
    }

    /// Whether it may use a tool.
    #[must_use]
    pub fn may_use(&self, tool: &ToolName) -> bool {
        self.tools.iter().chain(&self.within).all(|list| list.iter().any(|pattern| pattern.matches(tool)))
    }
}

/// The agents that can be named, and what is wrong with files of others.
#[derive(Debug, Clone)]
pub struct AgentsStanding {
    /// By name.
    pub agents: Arc<BTreeMap<AgentName, Arc<Agent>>>,
    /// Files that cannot be used.
    pub problems: Vec<Problem>,
}

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// Session.
    pub session: SessionKey,
    /// Records read.
    pub records: u64,
    /// Of these, derived ones that were regenerated and compared.
    pub derived: u64,
    /// Of these, verified but not re-executed because another engine version wrote them.
    pub verified_only: u64,
    /// Hash of the last record.
    pub head: Digest,
    /// First record that differs, if any.
    pub difference: Option<Difference>,
}

/// The first record that a replay did not regenerate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its position.
    pub seq: Seq,
    /// Its action.
    pub action: String,
    /// The recorded body and payload as JSON.
    pub recorded: String,
    /// The regenerated ones.
    pub regenerated: String,
}

/// What a turn changed in the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnDiff {
    /// The turn.
    pub turn: TurnNo,
    /// One entry a path, in the order of the first change.
    pub files: Vec<FileDiff>,
    /// Sessions of its agents that did not come to their end, whose changes are not among these.
    pub apart: Vec<SessionKey>,
}

/// What a turn made of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDiff {
    /// The path.
    pub path: String,
    /// Where it was before, when it was moved.
    pub from: Option<String>,
    /// What stood there before the turn.
    pub before: Option<FileState>,
    /// What the turn left.
    pub after: Option<FileState>,
    /// Why it cannot be put back, if so.
    pub lost: Option<Lost>,
    /// False when nobody knows whether it happened.
    pub is_certain: bool,
    /// The change of a text as a unified diff.
    pub text: Option<String>,
    /// Why there is no text.
    pub note: Option<&'static str>,
}

/// A summary that stands for a session's turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacted {
    /// The turn that made it.
    pub turn: TurnNo,
    /// The last turn that it covers; it begins with the first.
    pub until: TurnNo,
    /// What it says.
    pub summary: String,
    /// Tokens that making it took.
    pub usage: Usage,
}

/// What undoing a turn came to, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// The undone turn.
    pub turn: TurnNo,
    /// The turn that undid it; absent when nothing was done.
    pub by: Option<TurnNo>,
    /// The paths that were put back, or would be, in this order.
    pub paths: Vec<String>,
    /// Sessions of its agents that did not come to their end, whose changes stay.
    pub apart: Vec<SessionKey>,
}

//! What a record says: the public half, which an audit line shows.
//!
//! Field names are the public words (`action`, `decision`, `rules`, `labels`,
//! `result`, `resource`) from the first record on. Prompts, arguments, results,
//! paths and addresses are not here but in the [payload](crate::payload).
//! Integers only, fields in the order of the struct: the bytes are hashed.
//!
//! Adding a variant or an optional field is compatible; renaming is not.

mod words;

use serde::{Deserialize, Serialize};

use crate::account::Membership;
use crate::digest::Digest;
use crate::error::Code;
use crate::ids::{
    AccountId, AgentName, ApprovalNo, CallNo, GroupName, MemoryId, RequestId, SecretName, Seq, SessionKey, ThreadId,
    ToolName, TurnNo,
};
use crate::label::{Integrity, Levels};
use crate::model::{Effort, StopReason, Usage, is_default};

pub use self::words::{Answer, CallSpent, Conditions, Effect, FrameRange, Outcome, Rating, Retry, Scope};
/// The public half of a record. The tag `action` comes first in the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Body {
    // ---- life of a session -------------------------------------------------
    /// First record of a session. Payload: `Created`.
    SessionCreated {
        /// Owner.
        owner: AccountId,
        /// Agent.
        agent: AgentName,
        /// Session and last entry of it that this one was forked from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<(SessionKey, Seq)>,
        /// Session and call that began this one, so that its agent works for that session's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        child_of: Option<(SessionKey, CallNo)>,
        /// Version of the engine.
        engine: String,
    },
    /// The payloads and frames of the session were erased.
    SessionDeleted {},

    // ---- a turn ------------------------------------------------------------
    /// A prompt was accepted, or the undoing of a turn. Payload: `Prompt` or `Undo`.
    TurnStarted {
        /// The client's name for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
        /// Where the account spoke.
        thread: ThreadId,
        /// Whose words the prompt is.
        integrity: Integrity,
        /// Wished temperature in thousandths.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        temperature_milli: Option<u32>,
        /// Wished effort.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effort: Option<Effort>,
        /// Wished model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// The turn whose changes of the workspace are put back by this one; no model is asked then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undoes: Option<TurnNo>,
        /// True when whoever spoke may not approve, so that nobody needs to be waited for.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        headless: bool,
        /// True when the prompt is one call, written `NAME ARGUMENTS`; no model is asked then.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        direct: bool,
        /// True when whoever made the call waits for somebody else's answer where the rules ask about it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        waits: bool,
        /// True when the turn is the compaction of those before it, and no prompt.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        compacts: bool,
    },
    /// The call that a prompt is will be read under these conditions.
    DirectRequested {
        /// What it is read and decided under.
        conditions: Conditions,
    },
    /// Oldest turns, or oldest calls of a long turn, were left out of the next request.
    ContextTrimmed {
        /// Whole turns left out.
        turns: u32,
        /// Estimated tokens left out.
        tokens: u64,
        /// Calls of the running turn left out.
        #[serde(default, skip_serializing_if = "is_default")]
        calls: u32,
    },
    /// Requests show the results of earlier calls shortened from here on; all of each stays in the journal.
    ResultsShortened {
        /// Those of calls up to this one.
        until: CallNo,
        /// How many results that makes shorter.
        results: u32,
        /// Estimated tokens that it saves.
        tokens: u64,
        /// Estimated tokens of the whole context before.
        context_tokens: u64,
    },
    /// A model is asked for a summary of the oldest turns, which is to stand for them in requests.
    CompactionRequested {
        /// The last turn that it covers; it begins with the first.
        until: TurnNo,
        /// `provider:model`.
        model: String,
        /// Digest of the request.
        digest: Digest,
        /// What the request was built under.
        conditions: Conditions,
        /// Estimated tokens of the whole context before.
        context_tokens: u64,
        /// Of these, tokens of what the summary is to stand for.
        covered_tokens: u64,
        /// Tokens reserved for it: its estimated input and its longest answer.
        reserved_tokens: u64,
        /// What these cost in millionths; absent where the model has no price.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reserved_cost: Option<u64>,
    },
    /// The summary stands for these turns in requests from here on. Payload: `Summary`.
    Compacted {
        /// The last turn that it covers.
        until: TurnNo,
        /// The worst label of what it covers.
        labels: Levels,
        /// Tokens that making it took.
        usage: Usage,
        /// What it cost in millionths; absent where the model has no price.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<u64>,
    },
    /// There is no summary, or none that can be used; the turns stay as they are. Payload: `Failure`.
    CompactionFailed {
        /// Why.
        code: Code,
        /// True when the model had begun to answer: what was reserved for it counts in full.
        begun: bool,
    },
    /// The latest summary is not used any more, and results are shown whole again.
    CompactionUndone {},
    /// How a model is asked next, where that is not as the turn wishes or not as before; or that an answer is to be checked.
    Strategy {
        /// `provider:model`; that of the doubted answer where it is to be checked.
        model: String,
        /// Effort that it is asked with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effort: Option<Effort>,
        /// Temperature that it is asked with, in thousandths.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        temperature_milli: Option<u32>,
        /// What was dropped or changed, and why.
        reasons: Vec<String>,
        /// True when the turn does not end yet: the model is asked once to check its answer, for these reasons.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        checks: bool,
    },
    /// A model call begins.
    ModelRequested {
        /// 1 for the first try of this step, more after a crash.
        attempt: u32,
        /// `provider:model`.
        model: String,
        /// Digest of the canonical request.
        digest: Digest,
        /// What the request was built under.
        conditions: Conditions,
        /// Tokens reserved for it: its estimated input and its longest answer.
        reserved_tokens: u64,
        /// What these cost in millionths; absent where the model has no price.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reserved_cost: Option<u64>,
        /// True when it is asked for a plan, `planned` being the answer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        plans: bool,
    },
    /// Which tools the user's words ask for, as a model said that saw nothing else. Payload: `Plan`.
    Planned {
        /// The tools, sorted; none where there is no plan, and calls are decided as if nobody had been asked.
        tools: Option<Vec<ToolName>>,
        /// Why there is none.
        error: Option<Code>,
        /// Tokens; absent when the model could not be had, which is not charged for.
        usage: Option<Usage>,
        /// What it cost in millionths.
        cost: Option<u64>,
    },
    /// The model's answer is whole. Payload: `Answer`.
    ModelCompleted {
        /// Why it ended.
        stop_reason: StopReason,
        /// Tokens.
        usage: Usage,
        /// Its text and reasoning.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frames: Option<FrameRange>,
        /// Tool calls in it.
        calls: u32,
        /// What it cost in millionths; absent where the model has no price.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<u64>,
        /// True when it is an earlier answer to exactly this request, and no model was asked.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cached: bool,
    },
    /// The model could not answer, and there is another to go on with. Payload: `Failure`.
    ModelFailed {
        /// The attempt that failed.
        attempt: u32,
        /// `provider:model`.
        model: String,
        /// Why.
        code: Code,
        /// What it had said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frames: Option<FrameRange>,
    },
    /// The model starts again after a crash, or another one in its place; clients drop the turn's text after `keep_bytes`.
    ModelRestarted {
        /// The attempt that begins.
        attempt: u32,
        /// UTF-8 bytes of the turn's text that stay.
        keep_bytes: u64,
    },
    /// The model, or a call that runs, wants a tool. Payload: `Call`.
    ToolRequested {
        /// Number of the call.
        call: CallNo,
        /// The running call that makes this one; absent for a call of the model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<CallNo>,
        /// The name as the model gave it, `?` where it is no tool name.
        resource: String,
        /// Digest of the tool, if there is such a tool.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tool_digest: Option<Digest>,
    },
    /// The gate decided. Payload: `Why`.
    Decision {
        /// Number of the call.
        call: CallNo,
        /// The outcome that counts.
        decision: Outcome,
        /// What `strict` would have said, where that differs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        would: Option<Outcome>,
        /// Names of the rules that decided.
        rules: Vec<String>,
        /// Rights the call would use.
        permissions: Vec<String>,
        /// The worst label among the arguments.
        labels: Levels,
        /// The rules in force.
        policy: Digest,
        /// What the account was a member of.
        #[serde(default, skip_serializing_if = "Membership::is_plain")]
        membership: Membership,
    },
    /// A person is asked. Payload: `Shown`.
    ApprovalRequested {
        /// Number of the approval.
        approval: ApprovalNo,
        /// Number of the call.
        call: CallNo,
        /// Digest of the shown bytes; an answer must repeat it.
        digest: Digest,
        /// When the answer is due, in milliseconds since 1970.
        expires_at_ms: u64,
    },
    /// The rules or the account changed before an answer came: the call is decided anew, and an answer is refused.
    ApprovalWithdrawn {
        /// Number of the approval.
        approval: ApprovalNo,
        /// The rules in force now.
        policy: Digest,
        /// What the account is a member of now.
        #[serde(default, skip_serializing_if = "Membership::is_plain")]
        membership: Membership,
    },
    /// The person answered.
    ApprovalResolved {
        /// Number of the approval.
        approval: ApprovalNo,
        /// The answer.
        decision: Answer,
        /// Who: an account, or `nobody` when no one who may approve was there.
        by: String,
        /// The rules with the one that `allow_always` added: the answer holds under them too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<Digest>,
    },
    /// The intent of an effect: durable before it, unless the effect is `none`.
    ToolStarted {
        /// Number of the call.
        call: CallNo,
        /// What it does.
        effect: Effect,
        /// Whether it may be repeated.
        retry: Retry,
        /// Idempotency key: `SHA-256(session ‖ call)`.
        key: Digest,
    },
    /// The tool answered. Payload: `Result`.
    ToolCompleted {
        /// Number of the call.
        call: CallNo,
        /// `ok`.
        result: String,
        /// The worst label in the result.
        labels: Levels,
        /// Wall time in milliseconds.
        ms: u64,
        /// Its live output.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frames: Option<FrameRange>,
        /// What it used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spent: Option<CallSpent>,
    },
    /// The tool failed or never ran. Payload: `Failure`.
    ToolFailed {
        /// Number of the call.
        call: CallNo,
        /// `failed` or `denied`.
        result: String,
        /// The error's code.
        code: Code,
        /// Its live output.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frames: Option<FrameRange>,
        /// What it used; absent when it never ran.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spent: Option<CallSpent>,
    },
    /// The call may or may not have happened; it is not repeated. Payload: `Failure`.
    ToolUnknown {
        /// Number of the call.
        call: CallNo,
        /// `unknown`.
        result: String,
        /// Its live output.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frames: Option<FrameRange>,
        /// What it is known to have used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spent: Option<CallSpent>,
    },
    /// A limit that is not the session's own leaves no room for a call or a request; what was used elsewhere is an input.
    LimitReached {
        /// The call; absent for a request of a model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallNo>,
        /// Its name, `account.tokens_per_day`.
        limit: String,
        /// What had been used and reserved, in the limit's unit; money in millionths, processor time in milliseconds.
        used: u64,
        /// What was wanted.
        wanted: u64,
        /// The limit.
        max: u64,
        /// When there is room again, in milliseconds; absent when waiting does not help.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// True when the turn waits for it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        waits: bool,
    },
    /// The turn has waited, and tries again.
    LimitLifted {},
    /// The call is of a tool of the client's own: the turn ends, and the client makes it. Nothing ran here.
    ToolHandedOver {
        /// Number of the call.
        call: CallNo,
    },
    /// A call begins another agent, in a session of its own that may not be there yet.
    ChildStarted {
        /// The call.
        call: CallNo,
        /// That session.
        child: SessionKey,
        /// That agent.
        resource: AgentName,
    },
    /// That agent's turn has ended. Payload: `Made`.
    ChildCompleted {
        /// The call.
        call: CallNo,
        /// The session.
        child: SessionKey,
        /// `completed`, `failed` or `cancelled`.
        result: String,
        /// The worst label of what the agent had seen.
        labels: Levels,
    },
    /// The workspace's `AGENTS.md` is another one than the session knows. Payload: `Guide`.
    GuideRead {
        /// The rules that allow it to be read.
        policy: Digest,
    },
    /// A variable was set or deleted. Payload: `Variable`.
    VariableSet {
        /// Whose it is.
        scope: Scope,
        /// The call that did it; absent when a person did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallNo>,
    },
    /// A call kept bytes for people to look at: a file as it was, a picture that a server made. Payload: `Artifact`.
    Artifact {
        /// The call.
        call: CallNo,
        /// How many.
        bytes: u64,
        /// The worst label of what they were made from.
        labels: Levels,
    },
    /// The account remembers a text from here on. Payload: `Memory`.
    MemoryAdded {
        /// Its id.
        memory: MemoryId,
        /// The call that did it; absent when a person did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallNo>,
    },
    /// The account no longer finds it.
    MemoryDeleted {
        /// Its id.
        memory: MemoryId,
    },
    /// The prompt firewall found something in words that are on their way to a model. Payload: `Prompt` when they were
    /// not taken by their session.
    Firewall {
        /// `flagged` or `refused`.
        verdict: String,
        /// How sure it is, from 500 to 1,000.
        score_milli: u16,
        /// What it found.
        reasons: Vec<String>,
        /// All that this depends on beside the words.
        firewall: Digest,
        /// The call that returned them; absent for a prompt or a steer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<CallNo>,
        /// True when whoever spoke knew it and said it all the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        allowed: bool,
    },
    /// Further words while the turn runs. Payload: `Prompt`.
    Steered {
        /// Whose words they are.
        integrity: Integrity,
    },
    /// The user's opinion. Payload: `Note` when there is a note.
    Feedback {
        /// Thumb.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rating: Option<Rating>,
    },
    /// A process took the session while a turn was open. Payload: `Nonce` when frames are closed by it.
    TurnResumed {
        /// Milliseconds since the last entry.
        gap_ms: u64,
        /// Frames that the crash left open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frames: Option<FrameRange>,
    },
    /// Nobody answered in time: the turn stays open, leaves memory and goes on with a later answer.
    TurnParked {
        /// The approval that waits.
        approval: ApprovalNo,
    },
    /// The turn ended with an answer.
    TurnCompleted {
        /// Why the last model call ended.
        stop_reason: StopReason,
    },
    /// The turn ended without one. Payload: `Failure`.
    TurnFailed {
        /// The error's code.
        code: Code,
        /// Frames that the failed model call left open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frames: Option<FrameRange>,
    },
    /// The user stopped the turn.
    TurnCancelled {},

    // ---- the system session ------------------------------------------------
    /// A process opened the store.
    EngineStarted {
        /// Version of the engine.
        engine: String,
        /// Digest of the effective configuration, secrets left out.
        config: Digest,
        /// Name of the policy profile.
        profile: String,
        /// Digest of the rules.
        policy: Digest,
        /// Digest of the tools that are served.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tools: Option<Digest>,
        /// Protections that are off.
        off: Vec<String>,
    },
    /// It closed it in order.
    EngineStopped {},
    /// The settings are not those of the start before.
    ConfigChanged {
        /// Digest of the effective configuration then, secrets left out.
        old: Digest,
        /// Digest of it now.
        new: Digest,
    },
    /// An account was let in: for the first time since the start, or again after a while.
    SignedIn {
        /// `local` for the unix socket, else `network`.
        door: String,
        /// Public id of its token; absent for the operator's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// Requests and sockets since the last such record of it.
        times: u64,
    },
    /// Whoever asked was not let in, or not to what it asked for; many are told as one. Payload: `Clients`.
    AccessRefused {
        /// Why.
        code: Code,
        /// How often since the last such record.
        times: u64,
        /// The first of them, in milliseconds since 1970.
        since_ms: u64,
    },
    /// A key to sign checkpoints was made.
    SigningKeyMade {
        /// The key to verify with.
        vkey: String,
        /// The one recorded before, which is lost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<String>,
    },
    /// Another key signs checkpoints from here on; one checkpoint behind this record is signed by both.
    SigningKeyRotated {
        /// The key to verify with until now.
        old: String,
        /// The one from here on.
        new: String,
    },
    /// A token was made.
    TokenCreated {
        /// Its public id.
        token: String,
        /// Whose it is.
        owner: AccountId,
        /// What it may do.
        scopes: Vec<String>,
        /// The token that made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<String>,
        /// For whom it may speak beside its owner: `group:NAME` and `account:NAME`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        speaks_for: Vec<String>,
        /// When it ends, in milliseconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at_ms: Option<u64>,
    },
    /// A token may do less from here on.
    TokenNarrowed {
        /// Its public id.
        token: String,
        /// What it may still do.
        scopes: Vec<String>,
    },
    /// A token was revoked.
    TokenRevoked {
        /// Its public id.
        token: String,
    },
    /// A one-time code was made that logs the console in.
    LoginOffered {
        /// The token that it stands for; the operator without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    /// The console was logged in.
    LoginOpened {
        /// Public id of the login.
        login: String,
        /// The token that it rests on; the operator without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    /// It was logged out.
    LoginClosed {
        /// Public id of the login.
        login: String,
    },
    /// An account was made.
    AccountCreated {
        /// Its name, which no other ever bears.
        name: AccountId,
        /// Its groups.
        groups: Vec<GroupName>,
    },
    /// An account's groups changed, or it was disabled or enabled.
    AccountChanged {
        /// Its name.
        name: AccountId,
        /// Its groups from here on.
        groups: Vec<GroupName>,
        /// True while nobody can speak as it.
        is_disabled: bool,
        /// Rises with every change.
        revision: u64,
    },
    /// An account was deleted: its tokens are revoked, and what was said in its sessions is erased.
    AccountDeleted {
        /// Its name.
        name: AccountId,
    },
    /// All that a deleted account said is erased.
    AccountErased {
        /// Its name.
        name: AccountId,
    },
    /// A secret was set, anew or in place of the one of that name.
    SecretSet {
        /// Its name.
        name: SecretName,
        /// Id of the key that seals it.
        key: String,
    },
    /// A secret was deleted.
    SecretDeleted {
        /// Its name.
        name: SecretName,
    },
    /// A secret is about to leave the store: the record comes first.
    SecretUsed {
        /// Its name.
        name: SecretName,
        /// `request`, `process` or `guest`.
        purpose: String,
        /// Session of the call that it is for.
        used_in: SessionKey,
        /// The call.
        call: CallNo,
    },
    /// Secrets are sealed anew; until the last of them is, the older keys stay.
    SecretKeyChanged {
        /// Ids of the keys that are gone.
        gone: Vec<String>,
        /// Id of the key that seals from here on.
        key: String,
        /// Id of the master key that seals this one.
        master: String,
    },
    /// Other rules hold from the next decision on.
    PolicyChanged {
        /// Digest of the rules before.
        old: Digest,
        /// Digest of the rules from here on.
        new: Digest,
        /// `files` when somebody edited them, `approval` when an answer added a rule.
        source: String,
        /// Session of that answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answered_in: Option<SessionKey>,
        /// Its approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<ApprovalNo>,
    },
    /// The files hold rules that cannot be used; those before stay in force. Payload: `Failure`.
    PolicyRefused {
        /// Digest of the rules that stay.
        policy: Digest,
    },
    /// Other tools are served from the next step on.
    ToolsChanged {
        /// Digest of the set before.
        old: Digest,
        /// Digest of the set from here on.
        new: Digest,
        /// `files` when somebody changed them, `door` when it was asked for.
        source: String,
    },
    /// Other agents can be named from the next turn on, or other files of agents cannot be used. Payload: `Failure` then.
    AgentsChanged {
        /// Digest of the agents before.
        old: Digest,
        /// Digest of the agents from here on.
        new: Digest,
    },
    /// There are files of tools that cannot be served; the others are. Payload: `Failure`.
    ToolsRefused {
        /// Digest of the set that is served.
        tools: Digest,
    },
    /// A server of tools is started or reached, to see what it declares. Nothing of it is served by that.
    ServerExamined {
        /// Digest of what it is started or reached by.
        server: Digest,
    },
    /// Something was done about the login at a server of tools. Payload of what failed: `Failure`.
    ServerLogin {
        /// Name of the server.
        server: String,
        /// `begun`, `done`, `ended`, or `failed` and `not_renewed`.
        step: String,
    },
}

impl Body {
    /// The action's name, as it stands in the bytes and in wire events.
    #[must_use]
    pub fn action(&self) -> String {
        // The serde tag is the one source of the names.
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(map)) => map["action"].as_str().unwrap_or_default().to_owned(),
            _ => String::new(),
        }
    }

    /// True for the records that close a turn.
    #[must_use]
    pub const fn ends_turn(&self) -> bool {
        matches!(self, Self::TurnCompleted { .. } | Self::TurnFailed { .. } | Self::TurnCancelled { .. })
    }
}

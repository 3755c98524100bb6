//! What the server says: journal events, and the direct answers beside them.

use are_core::body::{Answer, Effect, Outcome, Rating, Retry, Scope};
use are_core::canonical::DEPTH_MAX;
use are_core::error::Fault;
use are_core::label::{Integrity, Levels};
use are_core::limits;
use are_core::model::{Effort, StopReason, Usage};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::socket::MESSAGE_BYTES_MAX;

/// An event of the journal.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct Event {
    #[serde(flatten)]
    pub(super) what: What,
    /// Turn it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) turn: Option<u32>,
    /// Position in the session's journal.
    pub(super) seq: u64,
    /// When, in milliseconds since 1970.
    pub(super) at_ms: u64,
}

/// The kinds of event and their own fields. What was erased is `null`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum What {
    SessionCreated {
        owner: String,
        agent: String,
        workspace: Option<String>,
        /// Session and last entry that this one was forked from, or session and call that its agent works for.
        #[schema(value_type = Option<Parent>)]
        parent: Option<Parent>,
        engine: String,
    },
    SessionDeleted {},
    TurnStarted {
        request_id: Option<String>,
        account: String,
        thread: String,
        /// Whose words the text is: `user` or `untrusted`.
        #[schema(value_type = String)]
        integrity: Integrity,
        #[serde(skip_serializing_if = "Option::is_none")]
        temperature: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        effort: Option<Effort>,
        #[serde(skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// The turn whose changes of the workspace this one puts back; there is no prompt then.
        #[serde(skip_serializing_if = "Option::is_none")]
        undoes: Option<u32>,
        /// True when it is a compaction that somebody asked for; there is no prompt then.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        compacts: bool,
        /// Content parts.
        content: Option<Vec<Value>>,
    },
    /// The prompt firewall found something: in the turn's prompt, in further words, or in what `call` returned.
    Firewall {
        /// `flagged`: it goes on; `refused`: the words were not taken, unless `allowed`.
        verdict: String,
        /// From 0.5 to 1.
        score: f64,
        reasons: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<u32>,
        /// True when whoever spoke sent `allow_flagged`.
        allowed: bool,
    },
    ContextTrimmed {
        turns: u32,
        tokens: u64,
        /// Oldest calls of the running turn.
        calls: u32,
    },
    /// Requests show the results of calls up to `until` shortened from here on.
    ResultsShortened {
        until: u32,
        results: u32,
        /// Estimated tokens that it saves.
        tokens: u64,
    },
    /// A model is asked for a summary of the turns up to `until`.
    CompactionRequested {
        until: u32,
        model: String,
        digest: String,
        /// Estimated tokens of the whole context, and of what the summary is to stand for.
        context_tokens: u64,
        covered_tokens: u64,
    },
    /// The summary stands for the turns up to `until` in requests from here on.
    Compacted {
        until: u32,
        summary: Option<String>,
        #[schema(value_type = WireLevels)]
        labels: Levels,
        #[schema(value_type = Tokens)]
        usage: Usage,
        /// What it cost in millionths; absent where the model has no price.
        #[serde(skip_serializing_if = "Option::is_none")]
        cost: Option<u64>,
    },
    /// There is no usable summary; the turns stay as they are.
    CompactionFailed {
        error: WireError,
    },
    /// The latest summary is not used any more, and results are shown whole again.
    CompactionUndone {},
    ModelRequested {
        attempt: u32,
        model: String,
        digest: String,
        /// True when it is asked for a plan: `planned` follows, and no text.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        plans: bool,
    },
    /// Which tools the user's words ask for, as a model said that saw nothing else. Calls of others count as not asked for.
    Planned {
        /// `null` where there is no plan: calls are decided as if nobody had been asked.
        tools: Option<Vec<String>>,
        /// Why there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<WireError>,
        /// Tokens; absent when the model could not be had.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Tokens>)]
        usage: Option<Usage>,
        /// What it cost in millionths; absent where the model has no price.
        #[serde(skip_serializing_if = "Option::is_none")]
        cost: Option<u64>,
    },
    ModelCompleted {
        #[schema(value_type = String)]
        stop_reason: StopReason,
        #[schema(value_type = Tokens)]
        usage: Usage,
        /// Digest over the answer's frames.
        text_digest: Option<String>,
        /// Tool calls in the answer.
        calls: u32,
        /// What it cost in millionths; absent where the model has no price.
        #[serde(skip_serializing_if = "Option::is_none")]
        cost: Option<u64>,
        /// True when it is an earlier answer to exactly this request.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        cached: bool,
    },
    /// The model could not answer; the next of the list is asked.
    ModelFailed {
        attempt: u32,
        model: String,
        error: WireError,
    },
    /// How a model is asked next, where that is not as wished or as before.
    Strategy {
        model: String,
        /// Effort that it is asked with; absent for its own.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        effort: Option<Effort>,
        /// Temperature that it is asked with; absent for its own.
        #[serde(skip_serializing_if = "Option::is_none")]
        temperature: Option<f64>,
        /// What was dropped or changed, and why.
        reasons: Vec<String>,
        /// True when the turn does not end yet: the model is asked once to check its answer, for these reasons.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        checks: bool,
    },
    Reasoning {
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        opaque: Option<String>,
    },
    ModelRestarted {
        attempt: u32,
        /// Drop the turn's text after so many UTF-8 bytes.
        keep_bytes: u64,
    },
    ToolRequested {
        call: u32,
        /// The running call that makes this one; absent for a call of the model.
        #[serde(skip_serializing_if = "Option::is_none")]
        parent: Option<u32>,
        tool: String,
        /// `null` where the model wrote no acceptable arguments.
        args: Option<Value>,
    },
    Decision {
        call: u32,
        #[schema(value_type = String)]
        outcome: Outcome,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        would: Option<Outcome>,
        rules: Vec<String>,
        #[schema(value_type = WireLevels)]
        labels: Levels,
        origins: Vec<String>,
        why: Option<String>,
        say: Option<String>,
    },
    ApprovalRequested {
        approval: u32,
        call: u32,
        /// Repeat it in the answer.
        digest: String,
        tool: Option<String>,
        args: Option<Value>,
        why: Option<String>,
        origins: Vec<String>,
        expires_at_ms: u64,
        /// The rule that `allow_always` would add; absent where it is not offered.
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
    },
    /// The rules changed before an answer came; the call is decided anew.
    ApprovalWithdrawn {
        approval: u32,
    },
    ApprovalResolved {
        approval: u32,
        #[schema(value_type = String)]
        decision: Answer,
        by: String,
    },
    ToolStarted {
        call: u32,
        #[schema(value_type = String)]
        effect: Effect,
        #[schema(value_type = String)]
        retry: Retry,
        key: String,
    },
    ToolOutput {
        call: u32,
        stream: String,
        text: String,
    },
    ToolCompleted {
        call: u32,
        result: Option<Value>,
        #[schema(value_type = WireLevels)]
        labels: Levels,
        ms: u64,
    },
    ToolFailed {
        call: u32,
        /// True when policy or a person said no, so that it never ran.
        is_denied: bool,
        error: WireError,
    },
    ToolUnknown {
        call: u32,
        error: WireError,
    },
    /// A limit that spans sessions leaves no room.
    LimitReached {
        /// The call; absent for a request of a model.
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<u32>,
        /// `account.tokens_per_day`.
        limit: String,
        /// In the limit's unit; money in millionths, processor time in milliseconds.
        used: u64,
        wanted: u64,
        max: u64,
        /// When there is room again; absent when waiting does not help.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// True when the turn waits for it.
        waits: bool,
    },
    /// The turn has waited, and tries again.
    LimitLifted {},
    /// The call is of a tool of the client's own, which makes it.
    ToolHandedOver {
        call: u32,
    },
    /// A call began another agent, in a session of its own.
    ChildStarted {
        call: u32,
        session: String,
        agent: String,
    },
    /// That agent's turn has ended.
    ChildCompleted {
        call: u32,
        session: String,
        /// `completed`, `failed` or `cancelled`.
        ended: String,
        /// The worst of what the agent had seen.
        #[schema(value_type = WireLevels)]
        labels: Levels,
        /// `tokens`, `calls`, `steps` and `agents` that it used.
        used: Option<Value>,
    },
    /// The workspace's `AGENTS.md` is another one than the session knew.
    GuideRead {
        /// `null` where there is none any more.
        text: Option<String>,
    },
    VariableSet {
        #[schema(value_type = String)]
        scope: Scope,
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<u32>,
        name: Option<String>,
        /// `null` when deleted.
        value: Option<Value>,
    },
    /// Bytes for people to look at, which `GET /api/sessions/{key}/artifacts/{digest}` gives out.
    Artifact {
        call: u32,
        /// `null` when erased.
        name: Option<String>,
        /// `null` when erased.
        media_type: Option<String>,
        bytes: u64,
        /// `null` when erased.
        digest: Option<String>,
        /// The worst label of what they were made from.
        #[schema(value_type = WireLevels)]
        labels: Levels,
    },
    MemoryAdded {
        memory: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<u32>,
        text: Option<String>,
    },
    Steered {
        content: Option<Vec<Value>>,
        #[schema(value_type = String)]
        integrity: Integrity,
    },
    Feedback {
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        rating: Option<Rating>,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    TurnResumed {
        /// Milliseconds since the entry before.
        gap_ms: u64,
    },
    /// Nobody answered in time: the turn goes on with an answer, however late.
    TurnParked {
        approval: u32,
    },
    TurnCompleted {
        #[schema(value_type = String)]
        stop_reason: StopReason,
    },
    TurnFailed {
        error: WireError,
    },
    TurnCancelled {},
    /// A record of a kind that has no event.
    Other {
        action: String,
    },
}

/// Where a session came from.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Parent {
    pub(super) session: String,
    /// Last entry that a fork knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<u64>,
    /// Call that began the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) call: Option<u32>,
}

/// Tokens of a model call.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tokens {
    input_tokens: u64,
    /// Of these, read from the provider's cache.
    cached_tokens: u64,
    /// Of these, written into it; absent for none.
    cache_written_tokens: Option<u64>,
    output_tokens: u64,
}

/// The two levels of a label.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WireLevels {
    /// `system`, `user`, `platform` or `untrusted`.
    integrity: String,
    /// `public`, `private` or `secret`.
    confidentiality: String,
}

/// An error as it stands in events and frames.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::server) struct WireError {
    /// `ARE-NNNN`.
    pub(super) code: String,
    /// What happened and why; `null` after erasure.
    pub(super) message: Option<String>,
    /// What to do.
    pub(super) help: Option<String>,
}

/// What is said outside the journal. `id` repeats the request's.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::server) enum Direct {
    /// The socket follows this session from here on.
    Attached {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Value>,
        session: String,
        /// Last entry at this moment.
        seq: u64,
        epoch: u32,
        /// The running turn.
        turn: Option<u32>,
        limits: Announced,
    },
    /// What the client knows is not of this journal: it starts over; every event follows.
    Reset {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Value>,
        session: String,
        seq: u64,
        epoch: u32,
    },
    /// Done and, for prompts, durable.
    Ack {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Value>,
        session: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn: Option<u32>,
        seq: u64,
        /// The journal's epoch, to attach with; told to a client that prompts unattached.
        #[serde(skip_serializing_if = "Option::is_none")]
        epoch: Option<u32>,
    },
    /// Answer to `ping`.
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Value>,
    },
    /// The request did not work; the socket goes on.
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Value>,
        #[serde(flatten)]
        error: WireError,
        retryable: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// A life sign while the model is silent.
    Progress {
        phase: &'static str,
        done: u64,
        /// 0 when unknown.
        total: u64,
    },
}

impl Direct {
    /// A fault as the answer to request `id`.
    pub(in crate::server) fn error(id: Option<Value>, fault: Fault) -> Self {
        let error = WireError { code: fault.code.to_string(), message: Some(fault.message), help: Some(fault.help) };
        Self::Error { id, error, retryable: fault.retryable, retry_after_ms: fault.retry_after_ms }
    }

    /// The frame's text.
    pub(in crate::server) fn encode(&self) -> String {
        // Texts and integers always encode; an empty object would still be a frame the client can skip.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }
}

/// The limits a client is told of.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server) struct Announced {
    /// Bytes of one message to the server.
    message_bytes: usize,
    /// Levels of JSON.
    depth: usize,
    /// Bytes of one prompt or steer.
    prompt_bytes: usize,
    /// Parts of one prompt.
    prompt_parts: usize,
    /// Prompts that may wait behind a running turn.
    pending_turns: usize,
    /// Steps of one turn.
    turn_steps: u32,
}

impl Announced {
    /// The limits in force.
    pub(in crate::server) const fn now() -> Self {
        Self {
            message_bytes: MESSAGE_BYTES_MAX,
            depth: DEPTH_MAX,
            prompt_bytes: limits::PROMPT_BYTES_MAX,
            prompt_parts: limits::PROMPT_PARTS_MAX,
            pending_turns: limits::PENDING_TURNS_MAX,
            turn_steps: limits::TURN_STEPS_MAX,
        }
    }
}

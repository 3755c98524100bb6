//! One turn of the state: prompt, steps, how it ended.

use std::collections::BTreeMap;

use are_core::account::Membership;
use are_core::body::{Answer, Body, Conditions, Effect, Outcome, Retry};
use are_core::canonical::Args;
use are_core::change::FileChange;
use are_core::digest::Digest;
use are_core::error::Code;
use are_core::ids::{AccountId, ApprovalNo, CallNo, RequestId, Seq, SessionKey, ThreadId, TurnNo, VariableName};
use are_core::journal::Record;
use are_core::label::{Integrity, Label, Labels, Levels};
use are_core::model::{Asked, Effort, RawCall, Reasoning, StopReason, Usage};
use are_core::payload::{Bound, Part, Payload};
use serde_json::Value;

use super::compaction::{Compacting, CompactingPhase};
use super::held::Held;
use super::plan::Planning;
use crate::adapt::Doubt;
use crate::rights::{Calls, Made};

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an answer.
    Completed,
    /// With an error.
    Failed(Code),
    /// By the user.
    Cancelled,
}

/// What requests of a turn leave out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Oldest turns before it.
    pub turns: u32,
    /// Its own oldest calls.
    pub calls: u32,
}

/// A turn.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Number.
    pub no: TurnNo,
    /// Entry that started it.
    pub seq: Seq,
    /// Entry that ended it, 0 before.
    pub end_seq: Seq,
    /// Milliseconds since 1970.
    pub started_at_ms: u64,
    /// Who spoke.
    pub account: AccountId,
    /// From where.
    pub thread: ThreadId,
    /// The client's name for it.
    pub request_id: Option<RequestId>,
    /// Whose words it is.
    pub integrity: Integrity,
    /// Wished temperature in thousandths.
    pub temperature_milli: Option<u32>,
    /// Wished effort.
    pub effort: Option<Effort>,
    /// Models that could not answer; the turn goes on without them.
    pub failed: Vec<String>,
    /// What of its wishes was last said to be dropped, and why.
    pub dropped: Vec<String>,
    /// Wished model.
    pub model: Option<String>,
    /// What its open step was asked under: the last request's conditions.
    pub under: Option<Conditions>,
    /// True when whoever spoke may not approve.
    pub is_headless: bool,
    /// True while it waits for an answer that did not come in time.
    pub is_parked: bool,
    /// True when it was ever parked: somebody who may approve was there.
    pub has_parked: bool,
    /// What was said; absent after erasure.
    pub content: Option<Vec<Part>>,
    /// Everything since, in order.
    pub steps: Vec<Step>,
    /// Model calls and tool calls so far.
    pub steps_taken: u32,
    /// Calls that running calls have asked for so far.
    pub children_made: u32,
    /// Denied and unanswered calls so far.
    pub denials: u32,
    /// What is left out of its next request, as last announced.
    pub trimmed: Trimmed,
    /// How it ended.
    pub ended: Option<Ended>,
    /// Session in whose journal it stands: an inherited turn's is the parent's.
    pub session: SessionKey,
    /// What it undoes, when it is no prompt.
    pub undo: Option<Undo>,
    /// True when another agent wrote the prompt.
    pub is_delegated: bool,
    /// Calls made before it on the same words: those of the turn that it works for.
    pub earlier: Calls,
    /// Agents that it has begun, those that they began included.
    pub agents: u64,
    /// True when its agents did more than could be counted.
    pub is_uncounted: bool,
    /// True when the prompt is one call.
    pub is_direct: bool,
    /// True when whoever made that call waits for somebody else's answer.
    pub waits: bool,
    /// True when it is the compaction of those before it, and no prompt.
    pub compacts: bool,
    /// The compaction that it has asked for last.
    pub compaction: Option<Compacting>,
    /// Files that its calls changed, in order.
    pub changed: Vec<CallChanges>,
    /// The limit that left no room for its next request.
    pub held: Option<Held>,
    /// Milliseconds that it has waited for such limits, or will have.
    pub waited_ms: u64,
    /// Calls of its models whose last result was a failure, with that failure and how often it came in a row.
    pub failures: BTreeMap<(String, Digest), (Digest, u32)>,
    /// What is asked of it beside the words.
    pub asked: Asked,
    /// Words of the turn whose calls its client has made, which goes on in this one.
    pub renewed: Vec<Part>,
    /// What spoke against the last answer that was checked.
    pub doubts: Vec<Doubt>,
    /// Ids of calls of earlier turns that it brings results of.
    pub brings: Vec<String>,
    /// The last request for a plan.
    pub planning: Option<Planning>,
}

/// The undoing of an earlier turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    /// That turn.
    pub turn: TurnNo,
    /// Session under which its old files are kept.
    pub session: SessionKey,
    /// What it changed.
    pub changes: Vec<FileChange>,
    /// True when the asking was an approval.
    pub is_approved: bool,
}

/// Files that a call changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallChanges {
    /// The call.
    pub call: CallNo,
    /// The changes.
    pub changes: Vec<FileChange>,
    /// False for a call that nobody knows the outcome of; without changes, what it noted must be looked up.
    pub is_certain: bool,
}

/// A step of a turn.
#[derive(Debug, Clone)]
pub enum Step {
    /// A model call.
    Model(Box<ModelStep>),
    /// A tool call.
    Call(Box<CallStep>),
    /// Further words.
    Steer {
        /// The words.
        content: Vec<Part>,
        /// Whose they are.
        integrity: Integrity,
    },
}

/// A model call.
#[derive(Debug, Clone, Default)]
pub struct ModelStep {
    /// Counts restarts of this step.
    pub attempt: u32,
    /// The model that was asked last.
    pub model: String,
    /// True from `model_requested` until it completes or is restarted.
    pub is_open: bool,
    /// True when a crash interrupted it.
    pub is_interrupted: bool,
    /// Its text.
    pub text: String,
    /// Its reasoning.
    pub reasoning: Vec<Reasoning>,
    /// Its calls.
    pub calls: Vec<RawCall>,
    /// Variables that the calls name.
    pub bound: BTreeMap<VariableName, Bound>,
    /// Why it ended.
    pub stop_reason: Option<StopReason>,
    /// Tokens.
    pub usage: Usage,
}

/// Where a tool call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not decided yet.
    Requested,
    /// Decided, nothing more.
    Decided,
    /// A person was asked.
    Waiting,
    /// The person answered; to be decided again.
    Answered,
    /// The intent is recorded.
    Started {
        /// Effect.
        effect: Effect,
        /// Retry class.
        retry: Retry,
        /// True when a crash interrupted it.
        is_interrupted: bool,
    },
    /// It has a result.
    Done,
}

/// The recorded decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// What counts.
    pub outcome: Outcome,
    /// Names of the rules.
    pub rules: Vec<String>,
    /// Rights.
    pub permissions: Vec<String>,
    /// The rules in force.
    pub policy: Digest,
    /// What the account was a member of.
    pub membership: Membership,
    /// True when the process that decided is gone: the call must be decided again before it starts.
    pub is_stale: bool,
    /// Why.
    pub why: String,
    /// What to say.
    pub say: String,
    /// Where the arguments came from.
    pub origins: Vec<String>,
    /// Label of the arguments.
    pub label: Label,
}

impl Ruling {
    pub(super) fn new(
        outcome: Outcome,
        rules: &[String],
        permissions: &[String],
        Levels { integrity, confidentiality }: Levels,
        (policy, membership): (Digest, &Membership),
        payload: Option<&Payload>,
    ) -> Self {
        let (why, say, origins) = match payload {
            Some(Payload::Why { why, say, origins }) => (why.clone(), say.clone(), origins.clone()),
            _ => (String::new(), String::new(), Vec::new()),
        };
        Self {
            outcome,
            rules: rules.to_vec(),
            permissions: permissions.to_vec(),
            policy,
            membership: membership.clone(),
            is_stale: false,
            why,
            say,
            label: Label { integrity, confidentiality, origins: origins.clone() },
            origins,
        }
    }

    /// True while rules and membership are those that it was made under.
    #[must_use]
    pub fn holds(&self, (policy, membership): (Digest, &Membership)) -> bool {
        self.policy == policy && self.membership == *membership
    }
}

/// An approval of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Number.
    pub no: ApprovalNo,
    /// Digest of what is shown.
    pub digest: Digest,
    /// When the answer is due.
    pub expires_at_ms: u64,
    /// The answer.
    pub answer: Option<Answer>,
    /// The rules that asked; the answer holds under no others.
    pub policy: Option<Digest>,
    /// What the account was a member of then; the answer holds for nothing else.
    pub membership: Membership,
    /// But for these, to which the answer itself added a rule.
    pub kept_policy: Option<Digest>,
    /// The rule that `allow_always` would keep, as it was shown.
    pub rule: Option<String>,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub enum CallResult {
    /// It answered.
    Completed {
        /// The answer.
        value: Value,
        /// Labels of its leaves.
        labels: Labels,
    },
    /// It failed or was denied.
    Failed {
        /// Code.
        code: Code,
        /// What happened.
        message: String,
        /// What to do.
        help: String,
        /// Whose words the message is.
        label: Label,
    },
    /// It may or may not have happened.
    Unknown {
        /// What is known.
        message: String,
        /// Whose words the message is.
        label: Label,
    },
    /// It is the client's to make, and the client has not told what came of it.
    HandedOver,
    /// Its payload was erased.
    Erased,
}

/// A tool call.
#[derive(Debug, Clone)]
pub struct CallStep {
    /// Number.
    pub no: CallNo,
    /// The running call that made this one; `None` for a call of the model.
    pub parent: Option<CallNo>,
    /// Calls that it has asked for since it was last begun.
    pub children: u32,
    /// What it was begun as, the last time.
    pub begun: Option<(Effect, Retry)>,
    /// Tool name as the model gave it.
    pub tool: String,
    /// Digest of the tool, if there is one.
    pub tool_digest: Option<Digest>,
    /// Canonical arguments, if they could be read.
    pub args: Option<Args>,
    /// Where it stands.
    pub phase: Phase,
    /// The last decision.
    pub ruling: Option<Ruling>,
    /// The approval, if one was asked for.
    pub approval: Option<Approval>,
    /// The result.
    pub result: Option<CallResult>,
    /// The session of the agent that it began, and what that made once it has ended.
    pub child: Option<(SessionKey, Option<Calls>)>,
    /// True when the prompt firewall found something in the result.
    pub is_flagged: bool,
    /// The limit that left no room for it.
    pub limited: Option<Held>,
    /// How often it has failed the same way by now, with the same arguments and nothing changed in between.
    pub repeats: u32,
    /// True for a call of a tool of the client's own.
    pub is_clients: bool,
}

impl CallStep {
    pub(crate) fn new(
        no: CallNo,
        parent: Option<CallNo>,
        tool: &str,
        tool_digest: Option<Digest>,
        args: Option<Args>,
    ) -> Self {
        Self {
            no,
            parent,
            children: 0,
            begun: None,
            tool: tool.to_owned(),
            tool_digest,
            args,
            phase: Phase::Requested,
            ruling: None,
            approval: None,
            result: None,
            child: None,
            is_flagged: false,
            limited: None,
            repeats: 0,
            is_clients: false,
        }
    }

    /// True when a person allowed exactly this call, asked under these rules and this membership.
    #[must_use]
    pub fn is_allowed_by_person(&self, (policy, membership): (Digest, &Membership)) -> bool {
        self.approval.as_ref().is_some_and(|approval| {
            let is_allowed = match approval.answer {
                Some(Answer::AllowOnce | Answer::AllowSession | Answer::AllowAlways) => true,
                Some(Answer::Deny) | None => false,
            };
            is_allowed
                && approval.membership == *membership
                && [approval.policy, approval.kept_policy].contains(&Some(policy))
        })
    }

    /// True while it runs, as far as the journal knows.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Started { is_interrupted: false, .. })
    }

    /// Under which a session-wide grant of this call is kept.
    #[must_use]
    pub fn grant_key(&self) -> Option<(Digest, Digest, Digest)> {
        Some((self.ruling.as_ref()?.policy, self.tool_digest?, self.args.as_ref()?.digest()))
    }
}

/// True for a call that was allowed and did not fail.
fn was_allowed(step: &CallStep) -> bool {
    let is_allowed = step.ruling.as_ref().is_some_and(|ruling| ruling.outcome == Outcome::Allow);
    let answer = step.approval.as_ref().and_then(|approval| approval.answer);
    (is_allowed || answer.is_some_and(|answer| answer != Answer::Deny))
        && !matches!(step.result, Some(CallResult::Failed { .. }))
}

/// The rule in what was shown.
pub(super) fn rule_shown(payload: &Payload) -> Option<String> {
    let Payload::Shown { shown } = payload else { return None };
    let shown: Value = serde_json::from_str(shown).ok()?;
    shown["rule"].as_str().map(str::to_owned)
}

impl Turn {
    pub(super) fn start(record: &Record, payload: Option<&Payload>) -> Option<Self> {
        let Body::TurnStarted {
            request_id,
            thread,
            integrity,
            temperature_milli,
            effort,
            model,
            undoes,
            headless,
            direct,
            waits,
            compacts,
        } = &record.body
        else {
            return None;
        };
        let (content, asked) = match payload {
            Some(Payload::Prompt { content, asked }) => (Some(content.clone()), Asked::clone(asked)),
            Some(Payload::Undo { .. }) => (Some(Vec::new()), Asked::default()),
            _ => (None, Asked::default()),
        };
        let undo = match (undoes, payload) {
            (Some(turn), Some(Payload::Undo { session, changes, is_approved })) => {
                Some(Undo { turn: *turn, session: *session, changes: changes.clone(), is_approved: *is_approved })
            }
            // Erased: it is over, and nothing of it is needed.
            (Some(turn), _) => {
                Some(Undo { turn: *turn, session: record.session, changes: Vec::new(), is_approved: false })
            }
            (None, _) => None,
        };
        Some(Self {
            no: record.turn?,
            seq: record.seq,
            end_seq: 0,
            started_at_ms: u64::try_from(record.timestamp.as_millisecond()).unwrap_or(0),
            account: record.account.clone(),
            thread: thread.clone(),
            request_id: request_id.clone(),
            integrity: *integrity,
            temperature_milli: *temperature_milli,
            effort: *effort,
            failed: Vec::new(),
            dropped: Vec::new(),
            model: model.clone(),
            under: None,
            is_headless: *headless,
            is_parked: false,
            has_parked: false,
            content,
            steps: Vec::new(),
            steps_taken: 0,
            children_made: 0,
            denials: 0,
            trimmed: Trimmed::default(),
            ended: None,
            session: record.session,
            undo,
            is_delegated: false,
            earlier: Vec::new(),
            agents: 0,
            is_uncounted: false,
            is_direct: *direct,
            waits: *waits,
            compacts: *compacts,
            compaction: None,
            changed: Vec::new(),
            held: None,
            waited_ms: 0,
            failures: BTreeMap::new(),
            asked,
            renewed: Vec::new(),
            doubts: Vec::new(),
            brings: Vec::new(),
            planning: None,
        })
    }

    /// True for a turn in which a model is asked, so that it can be steered.
    #[must_use]
    pub const fn asks_model(&self) -> bool {
        self.undo.is_none() && !self.is_direct && !self.compacts
    }

    /// True for the name of a tool of the client's own.
    #[must_use]
    pub fn is_clients(&self, tool: &str) -> bool {
        self.asked.tools.iter().any(|own| own.name.as_str() == tool)
    }

    /// True when a call of the last answer is the client's to make.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        self.calls_of_model().any(|step| step.is_clients)
    }

    /// Takes the call that the prompt is, in the place of a model's answer.
    pub(super) fn request_directly(&mut self, conditions: &Conditions) {
        self.under = Some(conditions.clone());
        let text = self.content.iter().flatten().find_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            Part::File { .. } | Part::Image(_) | Part::Exchange { .. } => None,
        });
        let (name, arguments) = text.unwrap_or_default().split_once(' ').unwrap_or_default();
        let call = RawCall { name: name.to_owned(), arguments: arguments.to_owned() };
        self.steps.push(Step::Model(Box::new(ModelStep {
            attempt: 1,
            calls: vec![call],
            stop_reason: Some(StopReason::ToolCalls),
            ..ModelStep::default()
        })));
    }

    /// The last model step.
    #[must_use]
    pub fn model(&self) -> Option<&ModelStep> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Model(step) => Some(step.as_ref()),
            Step::Call(_) | Step::Steer { .. } => None,
        })
    }

    pub(super) fn model_mut(&mut self) -> Option<&mut ModelStep> {
        self.steps.iter_mut().rev().find_map(|step| match step {
            Step::Model(step) => Some(step.as_mut()),
            Step::Call(_) | Step::Steer { .. } => None,
        })
    }

    /// Calls since the last model step: those that it made, and those that these made.
    pub fn calls(&self) -> impl Iterator<Item = &CallStep> {
        let start = self.steps.iter().rposition(|step| matches!(step, Step::Model(_))).unwrap_or(0);
        self.steps[start..].iter().filter_map(|step| match step {
            Step::Call(step) => Some(step.as_ref()),
            Step::Model(_) | Step::Steer { .. } => None,
        })
    }

    pub(super) fn calls_mut(&mut self) -> impl Iterator<Item = &mut CallStep> {
        self.steps.iter_mut().filter_map(|step| match step {
            Step::Call(step) => Some(step.as_mut()),
            Step::Model(_) | Step::Steer { .. } => None,
        })
    }

    /// Calls before number `no` that were allowed and did not fail: what the turn has had of its tools.
    #[must_use]
    pub fn allowed_before(&self, no: CallNo) -> Vec<(&str, &Args)> {
        let calls = self.steps.iter().filter_map(|step| match step {
            Step::Call(step) if step.no < no => Some(step.as_ref()),
            Step::Call(_) | Step::Model(_) | Step::Steer { .. } => None,
        });
        let own =
            calls.filter(|step| was_allowed(step)).filter_map(|step| Some((step.tool.as_str(), step.args.as_ref()?)));
        let made = self.made_by_children().flatten().chain(&self.earlier);
        own.chain(made.map(|(tool, args)| (tool.as_str(), args))).collect()
    }

    /// What agents made that this turn began.
    fn made_by_children(&self) -> impl Iterator<Item = &Calls> {
        let calls = self.steps.iter().filter_map(|step| match step {
            Step::Call(step) => step.child.as_ref(),
            Step::Model(_) | Step::Steer { .. } => None,
        });
        calls.filter_map(|(_, made)| made.as_ref())
    }

    /// Sessions of agents whose changes are not known as those of the calls that began them.
    pub fn children_apart(&self) -> impl Iterator<Item = SessionKey> + '_ {
        self.steps.iter().filter_map(|step| match step {
            Step::Call(step) if !matches!(step.result, Some(CallResult::Completed { .. })) => {
                step.child.as_ref().map(|(child, _)| *child)
            }
            Step::Call(_) | Step::Model(_) | Step::Steer { .. } => None,
        })
    }

    /// Calls with an effect that were allowed in this turn and those of its agents: what its words were used for.
    pub fn acted(&self) -> impl Iterator<Item = (String, Args)> + '_ {
        let has_effect = |step: &CallStep| {
            let uses = |ruling: &Ruling| ruling.permissions.iter().any(|one| one.starts_with("effect:"));
            step.ruling.as_ref().is_some_and(uses)
        };
        let own = self.steps.iter().filter_map(move |step| match step {
            Step::Call(step) if has_effect(step) && was_allowed(step) => Some((step.tool.clone(), step.args.clone()?)),
            Step::Call(_) | Step::Model(_) | Step::Steer { .. } => None,
        });
        own.chain(self.made_by_children().flatten().cloned())
    }

    pub(super) fn begin_child(&mut self, call: CallNo, child: SessionKey) {
        self.agents += 1;
        if let Some(step) = self.call_mut(call) {
            step.child = Some((child, None));
        }
    }

    pub(super) fn end_child(&mut self, call: CallNo, made: Made) {
        self.agents = self.agents.saturating_add(made.used.agents);
        self.is_uncounted |= made.is_cut;
        if let Some((_, calls)) = self.call_mut(call).and_then(|step| step.child.as_mut()) {
            *calls = Some(made.calls);
        }
    }

    /// Calls that the last model step made itself.
    pub fn calls_of_model(&self) -> impl Iterator<Item = &CallStep> {
        self.calls().filter(|step| step.parent.is_none())
    }

    /// The calls that made a call, nearest first.
    pub fn makers<'a>(&'a self, step: &CallStep) -> impl Iterator<Item = &'a CallStep> + use<'a> {
        let first = step.parent.and_then(|no| self.call(no));
        // A call is made by an earlier one, so the chain ends.
        std::iter::successors(first, |step| step.parent.filter(|no| *no < step.no).and_then(|no| self.call(no)))
    }

    /// Calls that a call made, and those that they made.
    pub fn made_by(&self, no: CallNo) -> impl Iterator<Item = &CallStep> {
        self.calls().filter(move |step| self.makers(step).any(|maker| maker.no == no))
    }

    /// Calls of this turn whose results the prompt firewall flagged.
    pub fn flagged(&self) -> impl Iterator<Item = CallNo> + '_ {
        self.steps.iter().filter_map(|step| match step {
            Step::Call(step) if step.is_flagged => Some(step.no),
            Step::Call(_) | Step::Model(_) | Step::Steer { .. } => None,
        })
    }

    /// True while any call runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.calls().any(CallStep::is_running)
    }

    /// A call by number.
    #[must_use]
    pub fn call(&self, no: CallNo) -> Option<&CallStep> {
        self.calls().find(|step| step.no == no)
    }

    /// A call by the id that a model was told, if its client has not told what came of it.
    pub(super) fn handed_over_mut(&mut self, id: &str) -> Option<&mut CallStep> {
        let no: CallNo = id.strip_prefix("call_")?.parse().ok()?;
        self.call_mut(no).filter(|step| step.result == Some(CallResult::HandedOver))
    }

    pub(super) fn call_mut(&mut self, no: CallNo) -> Option<&mut CallStep> {
        self.calls_mut().find(|step| step.no == no)
    }

    /// True when the user's words came after the last model step.
    #[must_use]
    pub fn is_steered(&self) -> bool {
        let after = self.steps.iter().rev().take_while(|step| !matches!(step, Step::Model(_)));
        after.into_iter().any(|step| matches!(step, Step::Steer { .. }))
    }

    /// Notes what a call changed.
    pub(super) fn change(&mut self, call: CallNo, changes: &[FileChange], is_certain: bool) {
        if !changes.is_empty() || !is_certain {
            self.changed.push(CallChanges { call, changes: changes.to_vec(), is_certain });
        }
    }

    /// Takes in a call, and counts it where another call asks for it.
    pub(super) fn request(&mut self, step: CallStep) {
        if let Some(parent) = step.parent {
            self.children_made += 1;
            if let Some(parent) = self.call_mut(parent) {
                parent.children += 1;
            }
        }
        self.steps.push(Step::Call(Box::new(step)));
    }

    pub(super) fn request_model(&mut self, attempt: u32, model: &str, conditions: &Conditions) {
        self.steps_taken += 1;
        self.under = Some(conditions.clone());
        self.compaction.take_if(|one| one.phase == CompactingPhase::Interrupted);
        match self.model_mut() {
            Some(step) if attempt > 1 && step.stop_reason.is_none() => {
                step.attempt = attempt;
                model.clone_into(&mut step.model);
                step.is_open = true;
                step.is_interrupted = false;
            }
            _ => {
                let model = model.to_owned();
                let step = ModelStep { attempt, model, is_open: true, ..ModelStep::default() };
                self.steps.push(Step::Model(Box::new(step)));
            }
        }
    }

    pub(super) fn complete_model(&mut self, stop_reason: StopReason, usage: Usage, payload: Option<&Payload>) {
        let Some(step) = self.model_mut() else { return };
        step.is_open = false;
        step.stop_reason = Some(stop_reason);
        step.usage = usage;
        if let Some(Payload::Answer { calls, bound, .. }) = payload {
            step.calls.clone_from(calls);
            step.bound.clone_from(bound);
        }
    }

    /// The turn goes on without that model.
    pub(super) fn fail_model(&mut self, model: &str) {
        self.failed.push(model.to_owned());
        if let Some(step) = self.model_mut().filter(|step| step.is_open) {
            step.is_interrupted = true;
        }
    }

    /// The call is as if it had not been decided: no answer to the withdrawn approval is taken.
    pub(super) fn withdraw(&mut self, approval: ApprovalNo) {
        self.is_parked = false;
        let is_meant = |step: &&mut CallStep| step.approval.as_ref().is_some_and(|pending| pending.no == approval);
        if let Some(step) = self.calls_mut().find(is_meant) {
            step.phase = Phase::Requested;
            step.approval = None;
        }
    }

    /// The turn leaves memory, and with it the decisions of calls that have not started.
    pub(super) fn park(&mut self) {
        self.is_parked = true;
        self.has_parked = true;
        self.interrupt();
    }
}

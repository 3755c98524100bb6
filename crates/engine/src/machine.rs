//! The turn machine: what follows from a state, and nothing else.
//!
//! [`next`] either derives the one record that must come now or names what the
//! driver has to do. Live running, recovery and replay call the same function;
//! a replay that finds another record than the one derived has found a
//! difference.
//!
//! Invariant: after every append the machine wants an action, not a record,
//! because the driver appends all derived records together with their cause.

mod calls;
pub(crate) mod check;
mod children;
pub(crate) mod compaction;
mod direct;
mod plan;
pub(crate) mod undo;

use are_core::account::Membership;
use are_core::body::{Body, Conditions};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::CallNo;
use are_core::journal::Draft;
use are_core::label::{Confidentiality, Integrity, Label};
use are_core::limits::TURN_STEPS_MAX;
use are_core::model::{ModelRequest, StopReason};
use are_core::payload::Payload;
use are_policy::call::Decision;
use are_policy::manifest::ToolSet;
use are_policy::rules::Rules;

use crate::api::Agent;
use crate::context::{Parts, Setting, Under};
use crate::fitting;
use crate::image;
use crate::limits::DENIALS_PER_TURN_MAX;
use crate::state::{CompactingPhase, ModelStep, State, Turn};

pub use calls::variables_in;
pub(crate) use calls::{bound_arguments, canonical, is_pure, may_read, request as requested, would_deny};
pub(crate) use children::not_begun;

/// What a turn runs under at this moment.
pub struct Env<'a> {
    /// The agent.
    pub agent: &'a Agent,
    /// The rules in force.
    pub rules: &'a Rules,
    /// The tools the agent may use now: those that a request offers, and that still run.
    pub tools: &'a ToolSet,
    /// Model, time zone, engine.
    pub setting: &'a Setting,
    /// Digests of the above.
    pub conditions: &'a Conditions,
    /// What the account is a member of.
    pub membership: &'a Membership,
    /// What the open step was asked under, where that is something else by now. A replay has only this.
    pub pinned: Option<&'a Pinned>,
    /// Milliseconds since 1970: the stamp of the records to be derived.
    pub now_ms: u64,
}

/// What a model was asked under, with which its calls are read and decided whatever has changed since.
///
/// A model calls what was declared to it. Were its calls read under a later declaration, they would mean something
/// else than what it wrote, and another run of the same inputs would decide otherwise.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// The agent.
    pub agent: Agent,
    /// The tools that it could use.
    pub tools: ToolSet,
    /// Model, time zone, engine.
    pub setting: Setting,
    /// Digests of the above; that of the rules counts for nothing, since decisions name their own.
    pub conditions: Conditions,
}

impl Pinned {
    /// True when that is what `conditions` name, rules aside.
    #[must_use]
    pub fn is_of(&self, conditions: &Conditions) -> bool {
        let Conditions { agent, tools, setting, .. } = &self.conditions;
        (agent, tools, setting) == (&conditions.agent, &conditions.tools, &conditions.setting)
    }
}

impl<'a> Env<'a> {
    /// The tools that the open step was offered.
    pub(crate) fn offered(&self) -> &'a ToolSet {
        self.pinned.map_or(self.tools, |pinned| &pinned.tools)
    }

    /// The agent that the open step is of.
    pub(crate) fn asked(&self) -> &'a Agent {
        self.pinned.map_or(self.agent, |pinned| &pinned.agent)
    }

    /// The setting of the open step.
    pub(crate) fn asked_in(&self) -> &'a Setting {
        self.pinned.map_or(self.setting, |pinned| &pinned.setting)
    }

    /// What a request is built under.
    pub(crate) const fn under_which(&self) -> Under<'a> {
        Under { agent: self.agent, tools: self.tools, setting: self.setting }
    }

    /// What a decision is made under: it holds while neither changes.
    pub(crate) fn under(&self) -> (Digest, &Membership) {
        (self.conditions.policy, self.membership)
    }
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// This record, and then ask again.
    Derive(Box<Draft>),
    /// This record (`decision`) together with the decision that it records.
    Decide(Box<Draft>, Box<Decision>),
    /// This record (`model_requested`) together with the request it stands for.
    Request(Box<Draft>, Box<ModelRequest>),
    /// Something outside the machine.
    Do(Action),
}

/// What the driver must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing: no turn is open.
    Idle,
    /// Go on with the model call whose `model_requested` is recorded.
    AwaitModel,
    /// Go on with the request for a plan, whose `model_requested` is recorded.
    AwaitPlan,
    /// Run these calls, whose intents are recorded.
    RunTools(Vec<CallNo>),
    /// Wait until a person answers.
    AwaitApproval,
    /// Wait until this time, in milliseconds since 1970, for a limit to leave room.
    AwaitRoom(u64),
}

/// What follows from `state` under `env`.
#[must_use]
pub fn next(state: &State, env: &Env<'_>) -> Next {
    let Some(turn) = state.running() else { return Next::Do(Action::Idle) };
    // Calls that run come to their ends first: none is left without a result.
    if turn.denials >= DENIALS_PER_TURN_MAX && !turn.is_running() {
        return fail(turn, too_many_denials());
    }
    if turn.is_uncounted && !turn.is_running() {
        return fail(turn, uncounted());
    }
    if turn.compacts {
        return compaction::next(state, turn, env);
    }
    let Some(model) = turn.model() else {
        return if turn.is_direct { direct::begin(turn, env) } else { request(state, turn, env, 1) };
    };
    if model.stop_reason.is_none() {
        return open_model(state, turn, model, env);
    }
    if let Some(next) = calls::next(state, turn, model, env) {
        return next;
    }
    if turn.is_direct {
        return direct::end(turn);
    }
    if turn.is_handed_over() {
        return derive(turn, Body::TurnCompleted { stop_reason: StopReason::ToolCalls }, None);
    }
    if !model.calls.is_empty() || turn.is_steered() || fitting::is_to_repair(turn, model) {
        let next = request(state, turn, env, 1);
        return if check::is_asked(turn) { check::or_end(next, turn, model) } else { next };
    }
    check::next(state, turn, env).unwrap_or_else(|| end(turn, model))
}

fn end(turn: &Turn, model: &ModelStep) -> Next {
    let stop_reason = model.stop_reason.unwrap_or(StopReason::Stop);
    derive(turn, Body::TurnCompleted { stop_reason }, None)
}

fn open_model(state: &State, turn: &Turn, model: &ModelStep, env: &Env<'_>) -> Next {
    // Words that were kept for a model that goes on with them, before another one came to be asked.
    let is_left = !model.is_open && !model.text.is_empty() && !is_continued(turn, model, env);
    if model.is_interrupted || is_left {
        let kept = if is_continued(turn, model, env) { model.text.len() as u64 } else { 0 };
        return anew(turn, model.attempt, kept);
    }
    if model.is_open {
        return Next::Do(Action::AwaitModel);
    }
    match check::checked(turn) {
        // Nobody is left to check it.
        Some(answer) if turn.failed.contains(&env.setting.model.name) => end(turn, answer),
        Some(answer) => check::or_end(request(state, turn, env, model.attempt), turn, answer),
        None => request(state, turn, env, model.attempt),
    }
}

/// The model is asked again, and so many bytes of what it said stay.
fn anew(turn: &Turn, attempt: u32, kept: u64) -> Next {
    let keep_bytes = turn.text_bytes_before_model() + kept;
    derive(turn, Body::ModelRestarted { attempt: attempt + 1, keep_bytes }, None)
}

/// True when an answer that was interrupted goes on from the words that were said of it: by the same model, and with
/// nothing said since. An answer with a form is read by its grammar from the beginning, what was thought before the words
/// is not theirs to repeat, and a limit that a client set holds for the whole answer.
fn is_continued(turn: &Turn, model: &ModelStep, env: &Env<'_>) -> bool {
    let shape = &turn.asked.shape;
    env.setting.model.continues
        && env.setting.model.name == model.model
        && turn.failed.is_empty()
        && turn.goes_on()
        && model.reasoning.is_empty()
        && shape.format.is_none()
        && shape.output_tokens_max.is_none()
        && check::checked(turn).is_none()
}

/// What keeps the turn from asking a model.
fn held(state: &State, turn: &Turn, env: &Env<'_>) -> Option<Next> {
    if let Some(held) = &turn.held {
        let until = held.until_ms.map(|until| Next::Do(Action::AwaitRoom(until)));
        return Some(until.unwrap_or_else(|| fail(turn, held.fault())));
    }
    if turn.is_planned_now() {
        return Some(Next::Do(Action::AwaitPlan));
    }
    if turn.steps_taken >= TURN_STEPS_MAX {
        let fault = Fault::new(
            Code::STEP_LIMIT,
            format!("the turn has taken {TURN_STEPS_MAX} steps"),
            "look at what it did and ask for the rest in a new prompt",
        );
        return Some(fail(turn, fault));
    }
    env.agent.budget.check_step(&state.ledger).err().map(|fault| fail(turn, fault))
}

fn request(state: &State, turn: &Turn, env: &Env<'_>, attempt: u32) -> Next {
    if turn.compaction.as_ref().is_some_and(|compacting| compacting.phase == CompactingPhase::Open) {
        return Next::Do(Action::AwaitModel);
    }
    if let Some(held) = held(state, turn, env) {
        return held;
    }
    if let Err(fault) = image::check_model(turn, &env.setting.model) {
        return fail(turn, fault);
    }
    if let Some(asked) = plan::next(state, turn, env) {
        return asked;
    }
    let parts = Parts::of(state, turn, env.under_which());
    if let Some(first) = compaction::before_request(&parts, turn, env) {
        return first;
    }
    let built = match parts.build() {
        Ok(built) => built,
        // With what it had said the request is longer than it was.
        Err(fault) if fault.code == Code::CONTEXT_TOO_LONG && turn.goes_on() => return anew(turn, attempt, 0),
        Err(fault) => return fail(turn, fault),
    };
    let (turns, calls) = (built.turns_trimmed, built.calls_trimmed);
    if turns > turn.trimmed.turns || calls > turn.trimmed.calls {
        let body = Body::ContextTrimmed { turns, tokens: built.tokens_trimmed, calls };
        return derive(turn, body, None);
    }
    if built.reasons != turn.dropped {
        let ModelRequest { model, effort, temperature_milli, .. } = built.request;
        let body = Body::Strategy { model, effort, temperature_milli, reasons: built.reasons, checks: false };
        return derive(turn, body, None);
    }
    let body = Body::ModelRequested {
        attempt,
        model: built.request.model.clone(),
        digest: built.digest,
        conditions: env.conditions.clone(),
        reserved_tokens: built.reserved.tokens,
        reserved_cost: built.reserved.cost,
        plans: false,
    };
    Next::Request(Box::new(Draft { turn: Some(turn.no), body, payload: None }), Box::new(built.request))
}

fn derive(turn: &Turn, body: Body, payload: Option<Payload>) -> Next {
    Next::Derive(Box::new(Draft { turn: Some(turn.no), body, payload }))
}

fn fail(turn: &Turn, fault: Fault) -> Next {
    let payload = failure(&fault, system_label(), None);
    derive(turn, Body::TurnFailed { code: fault.code, frames: None }, Some(payload))
}

/// The payload of a failure.
#[must_use]
pub fn failure(fault: &Fault, label: Label, nonce: Option<String>) -> Payload {
    Payload::Failure { message: fault.message.clone(), help: fault.help.clone(), label, nonce, changes: Vec::new() }
}

/// The label of the runtime's own words.
#[must_use]
pub fn system_label() -> Label {
    Label { integrity: Integrity::System, confidentiality: Confidentiality::Public, origins: Vec::new() }
}

fn uncounted() -> Fault {
    Fault::new(
        Code::CHILD_LIMIT,
        "the agents of this turn made more calls with an effect than can be counted",
        "look at what they did and ask for the rest in a new prompt",
    )
}

fn going_in_circles(tool: &str, times: u32) -> Fault {
    Fault::new(
        Code::LOOP,
        format!("the model called `{tool}` again, which had failed the same way {times} times with the same arguments"),
        "see what is in the way in the turn's events, then say what to do instead",
    )
}

fn too_many_denials() -> Fault {
    Fault::new(
        Code::TOO_MANY_DENIALS,
        format!("{DENIALS_PER_TURN_MAX} calls of this turn were denied or not answered"),
        "allow what you want to allow, or say what should be done instead",
    )
}

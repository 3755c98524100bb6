//! The part of the machine that takes calls from request to result.
//!
//! All calls of an answer are read, decided and, where needed, asked about in
//! the model's order; then they run in that order: neighbours without effect
//! that are pure together, all others one by one, each intent recorded just
//! before its own start.

use std::collections::BTreeMap;

use are_core::account::Membership;
use are_core::body::{Answer, Body, Effect, Outcome, Retry};
use are_core::canonical::{Args, to_canonical};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{CallNo, VariableName};
use are_core::journal::Draft;
use are_core::label::{Label, Levels, worst_of};
use are_core::limits::{CALL_ARGUMENTS_BYTES_MAX, TURN_STEPS_MAX};
use are_core::model::RawCall;
use are_core::payload::{Bound, Payload};
use are_policy::call::{Call, Context, Decision};
use are_policy::flow;
use are_policy::manifest::Manifest;
use are_policy::rules::Asked;
use are_policy::schema;
use are_policy::secrets;
use serde_json::Value;

use super::{
    Action, Env, Next, children, derive, direct, fail, failure, going_in_circles, system_label, too_many_denials,
};
use crate::limits::{APPROVAL_MS, DENIALS_PER_TURN_MAX, PARALLEL_CALLS_MAX, STEPS_KEPT_FROM_CHILDREN};
use crate::state::{CallStep, ModelStep, Phase, State, Turn};

/// Flagged calls that an approval names.
const FLAGGED_SHOWN_MAX: usize = 8;

/// What the calls of the last answer need next; `None` when all have results.
pub(super) fn next(state: &State, turn: &Turn, model: &ModelStep, env: &Env<'_>) -> Option<Next> {
    if let Some(left) = children::left_behind(turn) {
        return Some(left);
    }
    if let Some(next) = turn.calls().find_map(|step| unsettled(state, turn, step, model, env)) {
        return Some(next);
    }
    let requested: Vec<_> = turn.calls_of_model().collect();
    if let Some(raw) = model.calls.get(requested.len()) {
        let args = bound_arguments(raw, &model.bound);
        return Some(Next::Derive(Box::new(request(state, turn, None, &raw.name, args, env))));
    }
    if let Some(child) = children::startable(turn, env) {
        return Some(start(state, turn, child, model, env));
    }
    let (index, first) = requested.iter().enumerate().find(|(_, step)| step.phase != Phase::Done)?;
    match first.phase {
        Phase::Waiting => Some(Next::Do(Action::AwaitApproval)),
        Phase::Started { .. } => Some(run_or_join(state, turn, &requested[index..], model, env)),
        Phase::Decided | Phase::Requested | Phase::Answered | Phase::Done => {
            Some(start(state, turn, first, model, env))
        }
    }
}

/// Steps that need no running: reading, deciding, refusing, asking.
fn unsettled(state: &State, turn: &Turn, step: &CallStep, model: &ModelStep, env: &Env<'_>) -> Option<Next> {
    match step.phase {
        Phase::Requested if turn.goes_in_circles(step, env.asked_in().loop_after) => {
            Some(fail(turn, going_in_circles(&step.tool, env.asked_in().loop_after)))
        }
        Phase::Requested if step.is_clients => Some(derive(turn, Body::ToolHandedOver { call: step.no }, None)),
        Phase::Requested => Some(match children::admitted(turn, step).and_then(|()| checked(step, env)) {
            Ok(manifest) => decide(state, turn, step, model, manifest, env, false),
            Err(fault) => refuse(turn, step, &fault, "failed"),
        }),
        Phase::Decided => {
            let ruling = step.ruling.as_ref()?;
            match ruling.outcome {
                Outcome::Allow => None,
                Outcome::Deny => Some(refuse(turn, step, &denied(&ruling.why, &ruling.say), "denied")),
                // Whoever may approve a call has approved this one by making it, unless somebody else is to answer.
                Outcome::Ask if turn.is_direct && !turn.waits => {
                    Some(refuse(turn, step, &direct::denied(&ruling.why), "denied"))
                }
                Outcome::Ask => Some(ask(state, turn, step, env)),
            }
        }
        // What was shown is no longer what the rules in force say.
        Phase::Waiting if step.ruling.as_ref().is_none_or(|ruling| !ruling.holds(env.under())) => {
            let approval = step.approval.as_ref().map(|approval| approval.no)?;
            let (policy, membership) = (env.conditions.policy, env.membership.clone());
            Some(derive(turn, Body::ApprovalWithdrawn { approval, policy, membership }, None))
        }
        Phase::Answered => Some(match step.approval.as_ref().and_then(|approval| approval.answer) {
            Some(Answer::AllowOnce | Answer::AllowSession | Answer::AllowAlways) => match checked(step, env) {
                // Decided again at execution: the approval lifts only an `ask`, and only of the rules that asked.
                Ok(manifest) => {
                    let is_approved = step.is_allowed_by_person(env.under());
                    decide(state, turn, step, model, manifest, env, is_approved)
                }
                Err(fault) => refuse(turn, step, &fault, "failed"),
            },
            Some(Answer::Deny) | None => {
                let fault = denied("a person was asked and did not allow it", "");
                refuse(turn, step, &fault, "denied")
            }
        }),
        Phase::Waiting | Phase::Started { .. } | Phase::Done => None,
    }
}

/// The record of a call that is wanted: by the model, or by the running call `parent`.
#[must_use]
pub(crate) fn request(
    state: &State,
    turn: &Turn,
    parent: Option<CallNo>,
    name: &str,
    args: Option<Args>,
    env: &Env<'_>,
) -> Draft {
    // What the client has its own of is the client's, also where a tool of that name has come to be served since.
    let tool = env.offered().get(name).filter(|_| parent.is_some() || !turn.is_clients(name));
    let resource = if tool.is_some() { name.to_owned() } else { "?".to_owned() };
    let shown = tool.is_none().then(|| name.chars().take(64).collect());
    let tool_digest = tool.map(|(_, digest)| digest);
    let body = Body::ToolRequested { call: state.calls_made + 1, parent, resource, tool_digest };
    Draft { turn: Some(turn.no), body, payload: Some(Payload::Call { args, name: shown }) }
}

/// Whether a call that a running one asks about would be denied outright, as things stand: one that could not even be
/// decided would be.
pub(crate) fn would_deny(
    state: &State,
    turn: &Turn,
    parent: CallNo,
    (name, args): (&str, Option<Args>),
    env: &Env<'_>,
) -> bool {
    let digest = env.offered().get(name).map(|(_, digest)| digest);
    let step = CallStep::new(state.calls_made + 1, Some(parent), name, digest, args);
    let (Some(model), Ok(manifest), Ok(())) = (turn.model(), checked(&step, env), children::admitted(turn, &step))
    else {
        return true;
    };
    match decide(state, turn, &step, model, manifest, env, false) {
        Next::Decide(_, decision) => decision.outcome == Outcome::Deny,
        Next::Derive(_) | Next::Request(..) | Next::Do(_) => true,
    }
}

/// The tool by which a file of the workspace is read.
const READER: &str = "fs_read";

/// Whether the agent may read a file of the workspace before its turn, and would not be asked about it.
pub(crate) fn may_read(state: &State, turn: &Turn, path: &str, env: &Env<'_>) -> bool {
    let Some((_, digest)) = env.tools.get(READER) else { return false };
    let args = Args::from_value(&serde_json::json!({ "path": path })).ok();
    let step = CallStep::new(state.calls_made + 1, None, READER, Some(digest), args);
    let Ok(manifest) = checked(&step, env) else { return false };
    match decide(state, turn, &step, &ModelStep::default(), manifest, env, false) {
        Next::Decide(_, decision) => decision.outcome == Outcome::Allow,
        Next::Derive(_) | Next::Request(..) | Next::Do(_) => false,
    }
}

/// The tool of a step, if the call can be read and fits its schema, as it was declared to the model that made the call.
/// One that is another by now, or not served any more, does not run.
pub(super) fn checked<'a>(step: &CallStep, env: &Env<'a>) -> Result<&'a Manifest, Fault> {
    let declared = env.offered().get(&step.tool).filter(|(_, digest)| Some(*digest) == step.tool_digest);
    let served = env.tools.get(&step.tool).map(|(_, digest)| digest);
    let Some((manifest, digest)) = declared else {
        if step.tool_digest.is_some() && served.is_some() {
            return Err(outdated(&step.tool));
        }
        let names: Vec<_> = env.offered().iter().map(|(manifest, _)| manifest.name.as_str()).collect();
        let help = format!("tools you can call: {}", names.join(", "));
        return Err(Fault::new(Code::TOOL_UNKNOWN, "there is no such tool", help));
    };
    match served {
        Some(served) if served == digest => {}
        Some(_) => return Err(outdated(&step.tool)),
        None => {
            let why = format!("`{}` was removed after this call was made", step.tool);
            return Err(Fault::new(Code::TOOL_UNKNOWN, why, "go on without it"));
        }
    }
    let Some(args) = &step.args else {
        return Err(Fault::new(
            Code::TOOL_ARGS,
            "the arguments are not a JSON object, name a key twice, or name an unset variable",
            "send the arguments again as one JSON object",
        ));
    };
    // First what says why: an address with a secret's name in it has no form that a schema takes.
    secrets::check(manifest, args)?;
    schema::validate(manifest, args)?;
    Ok(manifest)
}

fn outdated(tool: &str) -> Fault {
    let why = format!("`{tool}` was changed after this call was made");
    Fault::new(Code::TOOL_UNKNOWN, why, "call it again, so that it is decided anew").retryable()
}

fn decide(
    state: &State,
    turn: &Turn,
    step: &CallStep,
    model: &ModelStep,
    manifest: &Manifest,
    env: &Env<'_>,
    is_approved: bool,
) -> Next {
    let (Some(facts), Some(call)) = (&state.facts, canonical(state, turn, step)) else {
        return refuse(turn, step, &denied("the call is incomplete", ""), "denied");
    };
    let Some(parents) = children::parents(turn, step, env) else {
        return refuse(turn, step, &children::changed(), "failed");
    };
    // A variable's label counts even where its value has become part of a longer text, and those of a call's
    // arguments in all that it asks for.
    let bound_labels = model.bound.values().filter_map(|bound| worst_of(&bound.labels));
    let made_labels = turn.makers(step).filter_map(|maker| Some(maker.ruling.as_ref()?.label.clone()));
    let given: Vec<Label> = bound_labels.chain(made_labels).collect();
    let in_view = given.iter().fold(state.in_view.clone(), |a, b| a.join(b));
    let is_granted = state.is_granted(env.under(), call.tool_digest, call.args.digest());
    let earlier = turn.allowed_before(step.no);
    let bound: Vec<&Bound> = model.bound.values().collect();
    let mut context = Context {
        account: &facts.owner,
        groups: &env.membership.groups,
        agent: &facts.agent,
        manifest,
        in_view: &in_view,
        args_label: &in_view,
        view: &state.view,
        tools: env.offered(),
        bound: &bound,
        earlier: &earlier,
        parents: &parents,
        narrowing: &env.asked().narrowing,
        is_approved: is_approved || is_granted || direct::approves(turn, step),
    };
    let args_label = flow::label_of(&context.question(&call, manifest.effect_of(&call.args)));
    let args_label = given.iter().fold(args_label, |a, b| a.join(b));
    context.args_label = &args_label;
    let decision = warned(turn, env.rules.decide(&call, &context));
    record(turn, step, decision, env.under())
}

/// Tells the person who is asked what the prompt firewall found in what this turn has read.
fn warned(turn: &Turn, mut decision: Decision) -> Decision {
    if decision.outcome == Outcome::Ask {
        let flagged: Vec<String> = turn.flagged().take(FLAGGED_SHOWN_MAX).map(|call| call.to_string()).collect();
        if !flagged.is_empty() {
            decision.why += &format!("; careful: what call {} returned looks like an attack", flagged.join(", "));
        }
    }
    decision
}

/// Writes a decision down, with why.
pub(super) fn record(
    turn: &Turn,
    step: &CallStep,
    decision: Decision,
    (policy, membership): (Digest, &Membership),
) -> Next {
    let body = Body::Decision {
        call: step.no,
        decision: decision.outcome,
        would: decision.would,
        rules: decision.rules.clone(),
        permissions: decision.permissions.clone(),
        labels: Levels::from(&decision.label),
        policy,
        membership: membership.clone(),
    };
    let payload =
        Payload::Why { why: decision.why.clone(), say: decision.say.clone(), origins: decision.label.origins.clone() };
    Next::Decide(Box::new(Draft { turn: Some(turn.no), body, payload: Some(payload) }), Box::new(decision))
}

pub(super) fn refuse(turn: &Turn, step: &CallStep, fault: &Fault, result: &str) -> Next {
    let body =
        Body::ToolFailed { call: step.no, result: result.to_owned(), code: fault.code, frames: None, spent: None };
    derive(turn, body, Some(failure(fault, system_label(), None)))
}

fn denied(why: &str, say: &str) -> Fault {
    let help = if say.is_empty() { "do something else, or tell the user that it was not allowed" } else { say };
    Fault::new(Code::DENIED, why, help)
}

fn ask(state: &State, turn: &Turn, step: &CallStep, env: &Env<'_>) -> Next {
    let shown = shown(state, turn, step, env);
    let body = Body::ApprovalRequested {
        approval: state.approvals_made + 1,
        call: step.no,
        digest: Digest::of(&[shown.as_bytes()]),
        expires_at_ms: env.now_ms + APPROVAL_MS,
    };
    derive(turn, body, Some(Payload::Shown { shown }))
}

/// Canonical JSON of what a person is shown, over which the approval's digest goes.
fn shown(state: &State, turn: &Turn, step: &CallStep, env: &Env<'_>) -> String {
    let ruling = step.ruling.as_ref();
    let mut value = serde_json::json!({
        // The same call elsewhere is another approval, and its digest another digest.
        "session": state.session,
        "approval": state.approvals_made + 1,
        "tool": step.tool,
        "tool_digest": step.tool_digest,
        "args": step.args.as_ref().map(Args::to_map),
        "why": ruling.map(|ruling| &ruling.why),
        "origins": ruling.map(|ruling| &ruling.origins),
    });
    if let Some(rule) = rule_to_keep(state, turn, step, env) {
        value["rule"] = Value::String(rule);
    }
    to_canonical(&value).unwrap_or_default()
}

/// The rule that `allow_always` would keep, where rules can be kept.
fn rule_to_keep(state: &State, turn: &Turn, step: &CallStep, env: &Env<'_>) -> Option<String> {
    // A rule for this agent would say nothing of those that it works for.
    if !env.asked_in().keeps_rules || !env.asked().narrowing.agents.is_empty() {
        return None;
    }
    let (facts, call, ruling) = (state.facts.as_ref()?, canonical(state, turn, step)?, step.ruling.as_ref()?);
    let manifest = checked(step, env).ok()?;
    let asked =
        Asked { account: &facts.owner, agent: &facts.agent, manifest, in_view: &state.in_view, rules: &ruling.rules };
    env.rules.rule_to_keep(&call, &asked)
}

/// Records the intent of the first call, or of a run of pure neighbours one after the other.
fn start(state: &State, turn: &Turn, step: &CallStep, model: &ModelStep, env: &Env<'_>) -> Next {
    let manifest = match checked(step, env) {
        Ok(manifest) => manifest,
        Err(fault) => return refuse(turn, step, &fault, "failed"),
    };
    let is_stale = step.ruling.as_ref().is_none_or(|ruling| ruling.is_stale || !ruling.holds(env.under()));
    if is_stale {
        // A restart or other rules came between decision and start: the call is authorised anew.
        return decide(state, turn, step, model, manifest, env, step.is_allowed_by_person(env.under()));
    }
    if let Some(held) = &step.limited {
        return refuse(turn, step, &held.fault(), "failed");
    }
    let kept = if step.parent.is_some() { STEPS_KEPT_FROM_CHILDREN } else { 0 };
    if turn.steps_taken + kept >= TURN_STEPS_MAX {
        let fault = Fault::new(Code::STEP_LIMIT, format!("the turn has taken {TURN_STEPS_MAX} steps"), "answer now");
        return refuse(turn, step, &fault, "failed");
    }
    if let Err(fault) = env.asked().budget.check_call(&state.ledger) {
        return refuse(turn, step, &fault, "failed");
    }
    let (Some(args), Some(call)) = (&step.args, canonical(state, turn, step)) else {
        return refuse(turn, step, &denied("the call is incomplete", ""), "denied");
    };
    let effect = manifest.effect_of(args);
    let body = Body::ToolStarted { call: step.no, effect, retry: manifest.retry_of(effect), key: call.key() };
    derive(turn, body, None)
}

/// Goes on with started calls: restarts or gives up what a crash interrupted, adds pure neighbours, runs.
fn run_or_join(state: &State, turn: &Turn, from_first: &[&CallStep], model: &ModelStep, env: &Env<'_>) -> Next {
    let mut running = Vec::new();
    for step in from_first {
        match step.phase {
            Phase::Started { retry, is_interrupted: true, .. } => return resume(state, turn, step, retry, model, env),
            Phase::Started { effect, retry, is_interrupted: false } => {
                running.push(step.no);
                if !is_pure(effect, retry) {
                    break;
                }
            }
            Phase::Done => {}
            Phase::Decided if running.len() < PARALLEL_CALLS_MAX && is_joinable(step, env) => {
                return start(state, turn, step, model, env);
            }
            Phase::Decided | Phase::Requested | Phase::Waiting | Phase::Answered => break,
        }
    }
    running.extend(turn.calls().filter(|step| step.parent.is_some() && step.is_running()).map(|step| step.no));
    Next::Do(Action::RunTools(running))
}

pub(super) fn is_joinable(step: &CallStep, env: &Env<'_>) -> bool {
    let Ok(manifest) = checked(step, env) else { return false };
    let Some(args) = &step.args else { return false };
    let effect = manifest.effect_of(args);
    is_pure(effect, manifest.retry_of(effect))
}

/// True for calls that may run beside others and again after a crash.
#[must_use]
pub(crate) fn is_pure(effect: Effect, retry: Retry) -> bool {
    effect == Effect::None && retry == Retry::Pure
}

/// After a crash: authorise anew what may be repeated, give up what may not.
fn resume(state: &State, turn: &Turn, step: &CallStep, retry: Retry, model: &ModelStep, env: &Env<'_>) -> Next {
    // What it asked for would be asked for again, under other keys.
    let has_acted = turn.made_by(step.no).any(|made| made.begun.is_some_and(|(effect, retry)| !is_pure(effect, retry)));
    if retry == Retry::AtMostOnce || has_acted {
        return unknown(turn, step);
    }
    if turn.denials >= DENIALS_PER_TURN_MAX {
        return match step.begun {
            Some((effect, retry)) if !is_pure(effect, retry) => unknown(turn, step),
            Some(_) | None => refuse(turn, step, &too_many_denials(), "failed"),
        };
    }
    match checked(step, env) {
        Ok(manifest) => decide(state, turn, step, model, manifest, env, step.is_allowed_by_person(env.under())),
        Err(fault) => refuse(turn, step, &fault, "failed"),
    }
}

/// A call that ran when the runtime stopped, and is not run again.
pub(super) fn unknown(turn: &Turn, step: &CallStep) -> Next {
    let fault = Fault::new(
        Code::TOOL_OUTCOME_UNKNOWN,
        "the runtime stopped while the call ran",
        "check whether it happened before you try again",
    );
    let body = Body::ToolUnknown { call: step.no, result: "unknown".to_owned(), frames: None, spent: None };
    derive(turn, body, Some(failure(&fault, system_label(), None)))
}

/// The canonical call of a step; `None` when it could not be read.
#[must_use]
pub(crate) fn canonical(state: &State, turn: &Turn, step: &CallStep) -> Option<Call> {
    Some(Call {
        session: state.session?,
        turn: turn.no,
        call: step.no,
        parent: step.parent,
        tool: step.tool.clone(),
        tool_digest: step.tool_digest?,
        args: step.args.clone()?,
    })
}

/// Names of the variables that a text refers to as `${var:x}`.
#[must_use]
pub fn variables_in(text: &str) -> Vec<VariableName> {
    let mut names = Vec::new();
    for piece in text.split("${var:").skip(1) {
        if let Some(name) = piece.split('}').next().and_then(|name| name.parse().ok()) {
            names.push(name);
        }
    }
    names
}

/// A call's arguments with its variables put in; `None` when that is no acceptable JSON object.
#[must_use]
pub(crate) fn bound_arguments(raw: &RawCall, bound: &BTreeMap<VariableName, Bound>) -> Option<Args> {
    Args::parse(&raw.arguments).ok().and_then(|args| bind(&args, bound))
}

/// Puts the variables' values in, before the decision; `None` when one is not set or the arguments would be too large.
fn bind(args: &Args, bound: &BTreeMap<VariableName, Bound>) -> Option<Args> {
    if !args.as_str().contains("${var:") {
        return Some(args.clone());
    }
    let value = Value::Object(args.to_map());
    // Counted while they are put in: a short call can name a large value many times.
    let mut room = CALL_ARGUMENTS_BYTES_MAX.checked_sub(args.as_str().len())?;
    Args::from_value(&bind_value(value, bound, &mut room)?).ok()
}

fn bind_value(value: Value, bound: &BTreeMap<VariableName, Bound>, room: &mut usize) -> Option<Value> {
    Some(match value {
        Value::String(text) => bind_text(text, bound, room)?,
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|v| bind_value(v, bound, room)).collect::<Option<_>>()?)
        }
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(k, v)| Some((k, bind_value(v, bound, room)?))).collect::<Option<_>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    })
}

/// A text that is one reference takes the value with its type; inside a longer text the value's text is put in.
fn bind_text(text: String, bound: &BTreeMap<VariableName, Bound>, room: &mut usize) -> Option<Value> {
    if !text.contains("${var:") {
        return Some(Value::String(text));
    }
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find("${var:") {
        let after = &rest[start + 6..];
        let end = after.find('}')?;
        let value = &bound.get(&after[..end].parse().ok()?)?.value;
        let text = match value {
            Value::String(text) => std::borrow::Cow::Borrowed(text.as_str()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                std::borrow::Cow::Owned(value.to_string())
            }
        };
        *room = room.checked_sub(text.len())?;
        if start == 0 && end + 7 == rest.len() && out.is_empty() {
            return Some(value.clone());
        }
        out.push_str(&rest[..start]);
        out.push_str(&text);
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Some(Value::String(out))
}

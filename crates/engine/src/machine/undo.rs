//! A turn that undoes another: one call that the user asked for, and no model.
//!
//! The same records as for any call, decided by the same rules, from what the
//! turn's first record holds; a replay derives them again. An interrupted one
//! is decided anew and run again under the same key, as any idempotent call.

use are_core::account::Membership;
use are_core::body::{Body, Outcome};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::label::{Confidentiality, Integrity, Label};
use are_core::model::StopReason;
use are_core::payload::Payload;
use are_policy::call::Context;
use are_policy::flow::View;
use are_policy::manifest::{Manifest, ToolSet};
use are_policy::rules::Rules;
use are_policy::undo::{self, Arguments};

use super::calls::record;
use super::{Action, Next, canonical, derive, fail, failure, system_label};
use crate::faults;
use crate::state::{CallResult, CallStep, Phase, State, Turn, Undo};

/// What an undo is decided under: the rules, the digest by which records name them, and what the account is a member of.
pub(crate) type Under<'a> = (&'a Rules, Digest, &'a Membership);

/// What follows; `None` for a turn that undoes nothing.
pub(crate) fn next(state: &State, turn: &Turn, under: Under<'_>) -> Option<Next> {
    let undo = turn.undo.as_ref()?;
    let Ok(manifest) = undo::manifest() else { return Some(fail(turn, faults::internal())) };
    Some(match turn.calls().next() {
        None => request(state, turn, undo, &manifest),
        Some(step) => go_on(state, turn, step, undo, (&manifest, under)),
    })
}

fn request(state: &State, turn: &Turn, undo: &Undo, manifest: &Manifest) -> Next {
    let args = Arguments { turn: undo.turn, session: undo.session, changes: undo.changes.clone() };
    let Some(args) = args.canonical() else { return fail(turn, too_much()) };
    let body = Body::ToolRequested {
        call: state.calls_made + 1,
        parent: None,
        resource: undo::NAME.to_owned(),
        tool_digest: Some(manifest.digest()),
    };
    derive(turn, body, Some(Payload::Call { args: Some(args), name: None }))
}

fn go_on(state: &State, turn: &Turn, step: &CallStep, undo: &Undo, (manifest, under): (&Manifest, Under<'_>)) -> Next {
    let (_, policy, membership) = under;
    let is_stale = step.ruling.as_ref().is_none_or(|ruling| ruling.is_stale || !ruling.holds((policy, membership)));
    match (step.phase, step.ruling.as_ref().map(|ruling| ruling.outcome)) {
        (Phase::Decided, Some(Outcome::Allow)) if !is_stale => start(state, turn, step, manifest),
        (Phase::Decided, Some(Outcome::Ask | Outcome::Deny)) if !is_stale => refuse(turn, step),
        (Phase::Started { is_interrupted: false, .. }, _) => Next::Do(Action::RunTools(vec![step.no])),
        (Phase::Done, _) => end(turn, step),
        _ => decide(state, turn, step, undo, (manifest, under)),
    }
}

fn decide(
    state: &State,
    turn: &Turn,
    step: &CallStep,
    undo: &Undo,
    (manifest, (rules, policy, membership)): (&Manifest, Under<'_>),
) -> Next {
    let (Some(facts), Some(call)) = (&state.facts, canonical(state, turn, step)) else {
        return fail(turn, faults::internal());
    };
    // Nothing that a model or a tool said is in view: the user names a turn, the journal says what it changed.
    let in_view = system_label();
    let args_label = Label::new(Integrity::User, Confidentiality::Private, "user");
    let (view, Ok(tools)) = (View::default(), ToolSet::new([manifest.clone()])) else {
        return fail(turn, faults::internal());
    };
    let context = Context {
        account: &facts.owner,
        groups: &membership.groups,
        agent: &facts.agent,
        manifest,
        in_view: &in_view,
        args_label: &args_label,
        view: &view,
        tools: &tools,
        bound: &[],
        earlier: &[],
        parents: &[],
        narrowing: &are_policy::agent::NONE,
        is_approved: undo.is_approved,
    };
    record(turn, step, rules.decide(&call, &context), (policy, membership))
}

fn start(state: &State, turn: &Turn, step: &CallStep, manifest: &Manifest) -> Next {
    let (Some(args), Some(call)) = (&step.args, canonical(state, turn, step)) else {
        return fail(turn, faults::internal());
    };
    let effect = manifest.effect_of(args);
    let body = Body::ToolStarted { call: step.no, effect, retry: manifest.retry_of(effect), key: call.key() };
    derive(turn, body, None)
}

/// Nobody is asked: whoever may approve has approved it by asking.
fn refuse(turn: &Turn, step: &CallStep) -> Next {
    let why = step.ruling.as_ref().map_or_else(String::new, |ruling| ruling.why.clone());
    let help = "use a token with the scope `approve`, or change the rules";
    let fault = Fault::new(Code::DENIED, format!("nothing was undone: {why}"), help);
    let body =
        Body::ToolFailed { call: step.no, result: "denied".to_owned(), code: fault.code, frames: None, spent: None };
    derive(turn, body, Some(failure(&fault, system_label(), None)))
}

fn end(turn: &Turn, step: &CallStep) -> Next {
    let fault = match &step.result {
        Some(CallResult::Completed { .. }) => {
            return derive(turn, Body::TurnCompleted { stop_reason: StopReason::Stop }, None);
        }
        Some(CallResult::Failed { code, message, help, .. }) => Fault::new(*code, message, help),
        Some(CallResult::Unknown { message, .. }) => {
            Fault::new(Code::TOOL_OUTCOME_UNKNOWN, message, "undo the turn again; it goes on where it stopped")
        }
        Some(CallResult::HandedOver | CallResult::Erased) | None => faults::internal(),
    };
    fail(turn, fault)
}

/// The turn changed more than one call's arguments can say.
pub(crate) fn too_much() -> Fault {
    Fault::new(Code::NOT_RESTORABLE, "the turn changed too much to be undone at once", "restore it by hand")
}

//! Asking a planner, before a turn's first request and after further words of
//! the user's, which tools the words ask for.
//!
//! Once for the same words: whatever comes of it, the turn goes on. A turn in
//! which the user says nothing, or in which no tool with an effect is on offer,
//! has nothing to plan.

use are_core::body::Body;
use are_core::error::Code;
use are_core::journal::Draft;

use super::{Env, Next, fail};
use crate::context;
use crate::state::{Asking, State, Turn};

/// The request for a plan, if the turn wants one now.
pub(super) fn next(state: &State, turn: &Turn, env: &Env<'_>) -> Option<Next> {
    if !env.setting.plans {
        return None;
    }
    let said = state.said(turn);
    let attempt = match turn.planning {
        Some(planning) if planning.asking == Asking::Done && planning.words == said.len() => return None,
        Some(planning) if planning.asking == Asking::Interrupted => planning.attempt + 1,
        Some(_) | None => 1,
    };
    let built = match context::plan(state, turn, &said.join("\n"), env) {
        Ok(built) => built?,
        // What a planner would be shown does not fit it, for a child whose own request is short, too.
        Err(fault) if fault.code == Code::CONTEXT_TOO_LONG => return None,
        Err(fault) => return Some(fail(turn, fault)),
    };
    let body = Body::ModelRequested {
        attempt,
        model: built.request.model.clone(),
        digest: built.digest,
        conditions: env.conditions.clone(),
        reserved_tokens: built.reserved_tokens,
        reserved_cost: built.reserved_cost,
        plans: true,
    };
    Some(Next::Request(Box::new(Draft { turn: Some(turn.no), body, payload: None }), Box::new(built.request)))
}

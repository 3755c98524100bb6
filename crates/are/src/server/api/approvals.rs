//! Approvals that wait, and answering them.

use std::sync::Arc;

use are_core::body;
use are_core::digest::Digest;
use are_engine::api::{Approve, PendingApproval};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Answer, Place, Told, Who, json, session};
use crate::server::app::App;
use crate::server::problem::{Problem, invalid};

/// An approval that waits for a person.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Waiting {
    session: String,
    turn: u32,
    approval: u32,
    call: u32,
    /// Digest of what is shown; the answer repeats it.
    digest: String,
    tool: String,
    /// The exact arguments.
    args: Value,
    why: String,
    /// Where the arguments' values came from.
    origins: Vec<String>,
    /// When the answer is due; afterwards the turn may be parked.
    expires_at_ms: u64,
    /// The rule that `allow_always` would add; absent where it is not offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// True when the turn is parked: it goes on with an answer, however late.
    is_parked: bool,
}

impl From<PendingApproval> for Waiting {
    fn from(pending: PendingApproval) -> Self {
        Self {
            session: pending.session.to_string(),
            turn: pending.turn,
            approval: pending.approval,
            call: pending.call,
            digest: pending.digest.to_string(),
            tool: pending.tool,
            args: Value::Object(pending.args.to_map()),
            why: pending.why,
            origins: pending.origins,
            expires_at_ms: pending.expires_at_ms,
            rule: pending.rule,
            is_parked: pending.is_parked,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Inbox {
    approvals: Vec<Waiting>,
}

impl Inbox {
    pub(super) fn of(approvals: Vec<PendingApproval>) -> Self {
        Self { approvals: approvals.into_iter().map(Waiting::from).collect() }
    }
}

/// Everything that waits for the caller.
#[utoipa::path(get, path = "/api/approvals", responses((status = 200, body = Inbox), (status = "default", body = Problem)))]
pub(in crate::server) async fn list(State(app): State<Arc<App>>, who: Who) -> Answer {
    let approvals = app.engine.approvals(&who.caller).await?;
    json(&Inbox::of(approvals))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Verdict {
    /// Digest of what was shown.
    #[schema(value_type = String)]
    digest: Digest,
    /// `allow_once`, `allow_session`, `allow_always` (needs the scope `admin`) or `deny`.
    #[schema(value_type = String)]
    decision: body::Answer,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Answered {
    /// Entry that records the answer.
    seq: u64,
}

/// Answers one.
#[utoipa::path(post, path = "/api/approvals/{key}/{approval}", params(("key" = String, Path), ("approval" = u32, Path)), request_body = Verdict, responses((status = 200, body = Answered), (status = "default", body = Problem)))]
pub(in crate::server) async fn answer(
    State(app): State<Arc<App>>,
    who: Who,
    Place((key, approval)): Place<(String, String)>,
    told: Told<Verdict>,
) -> Answer {
    let Verdict { digest, decision } = told.required()?;
    let approval =
        approval.parse().map_err(|_| invalid("the approval is no number", "`are approval list` shows them"))?;
    let seq = app.engine.approve(&who.caller, session(&key)?, Approve { approval, digest, decision }).await?;
    json(&Answered { seq })
}

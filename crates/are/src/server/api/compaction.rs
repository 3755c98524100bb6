//! Summing up a session's turns, and taking that back.

use std::sync::Arc;

use are_core::model::Usage;
use are_engine::api::Compacted;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Place, Who, json, session};
use crate::server::app::App;
use crate::server::problem::Problem;

/// A summary that stands for a session's turns in requests.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Compaction {
    /// The turn that made it.
    turn: u32,
    /// The last turn that it covers; it begins with the first.
    until: u32,
    summary: String,
    /// Tokens that making it took.
    input_tokens: u64,
    output_tokens: u64,
}

/// What was taken back.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct TakenBack {
    /// Its entry in the journal.
    seq: u64,
}

/// Has the session's model sum up all turns so far; nothing is erased.
#[utoipa::path(post, path = "/api/sessions/{key}/compact", params(("key" = String, Path)), responses((status = 200, body = Compaction), (status = "default", body = Problem)))]
pub(in crate::server) async fn compact(State(app): State<Arc<App>>, who: Who, Place(key): Place<String>) -> Answer {
    let Compacted { turn, until, summary, usage } = app.engine.compact(&who.caller, session(&key)?).await?;
    let Usage { input_tokens, output_tokens, .. } = usage;
    json(&Compaction { turn, until, summary, input_tokens, output_tokens })
}

/// Takes the latest summary back, and shows results whole again.
#[utoipa::path(delete, path = "/api/sessions/{key}/compact", params(("key" = String, Path)), responses((status = 200, body = TakenBack), (status = "default", body = Problem)))]
pub(in crate::server) async fn undo(State(app): State<Arc<App>>, who: Who, Place(key): Place<String>) -> Answer {
    let seq = app.engine.uncompact(&who.caller, session(&key)?).await?;
    json(&TakenBack { seq })
}

//! What the caller's account remembers.

use std::sync::Arc;

use are_core::label::Label;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{Answer, Params, Place, Told, Who, done, json, parsed, stored};
use crate::server::app::App;
use crate::server::problem::Problem;

/// Memories of one page when the caller does not say.
const PAGE: usize = 50;
/// Memories of one search when the caller does not say.
const FOUND: usize = 10;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct Listing {
    /// At most so many, 100 at the most.
    limit: Option<usize>,
    /// Only those of a lower `order`, for the next page.
    before: Option<u64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct Search {
    /// Words to look for.
    query: String,
    /// At most so many, 100 at the most.
    limit: Option<usize>,
}

/// Something that the account remembers.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Memory {
    id: String,
    text: String,
    /// What it was made from: integrity, confidentiality, origins.
    label: Value,
    created_at_ms: u64,
    /// Position for paging; in listings only.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<u64>,
    /// Session in which it was added; in listings only.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Memories {
    memories: Vec<Memory>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct NewMemory {
    /// 1 to 8,192 bytes.
    text: String,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Remembered {
    id: String,
}

/// What the account remembers, newest first.
#[utoipa::path(get, path = "/api/memory", params(Listing), responses((status = 200, body = Memories), (status = "default", body = Problem)))]
pub(in crate::server) async fn list(State(app): State<Arc<App>>, who: Who, Params(page): Params<Listing>) -> Answer {
    let rows = app.engine.memories(&who.caller, page.before, page.limit.unwrap_or(PAGE)).await?;
    let memory = |row: are_core::store::MemoryRow| Memory {
        id: row.id.to_string(),
        text: row.text,
        label: stored(&row.label),
        created_at_ms: row.created_at_ms,
        order: Some(row.order),
        session: row.session.map(|key| key.to_string()),
    };
    json(&Memories { memories: rows.into_iter().map(memory).collect() })
}

/// What of it is like the query, the likest first.
#[utoipa::path(get, path = "/api/memory/search", params(Search), responses((status = 200, body = Memories), (status = "default", body = Problem)))]
pub(in crate::server) async fn search(State(app): State<Arc<App>>, who: Who, Params(wanted): Params<Search>) -> Answer {
    let found = app.engine.search_memories(&who.caller, &wanted.query, wanted.limit.unwrap_or(FOUND)).await?;
    let memory = |one: are_policy::tools::Memory| Memory {
        id: one.id.to_string(),
        text: one.text,
        label: shown(&one.label),
        created_at_ms: one.created_at_ms,
        order: None,
        session: None,
    };
    json(&Memories { memories: found.into_iter().map(memory).collect() })
}

/// Remembers a text of the user's.
#[utoipa::path(post, path = "/api/memory", request_body = NewMemory, responses((status = 200, body = Remembered), (status = "default", body = Problem)))]
pub(in crate::server) async fn add(State(app): State<Arc<App>>, who: Who, new: Told<NewMemory>) -> Answer {
    let id = app.engine.add_memory(&who.caller, new.required()?.text).await?;
    json(&Remembered { id: id.to_string() })
}

/// Forgets a memory.
#[utoipa::path(delete, path = "/api/memory/{id}", params(("id" = String, Path)), responses((status = 204), (status = "default", body = Problem)))]
pub(in crate::server) async fn remove(State(app): State<Arc<App>>, who: Who, Place(id): Place<String>) -> Answer {
    app.engine.delete_memory(&who.caller, &parsed(&id)?).await?;
    done()
}

fn shown(label: &Label) -> Value {
    serde_json::to_value(label).unwrap_or_default()
}

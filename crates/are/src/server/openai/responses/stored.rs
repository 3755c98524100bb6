//! Answers that were given before, by their ids.
//!
//! Nothing is kept beside the journal: an id names a session and a turn, and
//! the answer is made from the entries of that turn as it was made the first
//! time, so it is the same object, also after a restart and while the turn
//! still goes on. Another account's does not exist.

use std::sync::Arc;

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::ids::{Seq, SessionKey, TurnNo};
use are_core::journal::Entry;
use are_core::model::Message;
use are_core::payload::{Part, Payload};
use are_engine::api::Caller;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::super::error::Wrong;
use super::super::names::{self, Names};
use super::super::running::{Hearing, Running};
use super::super::stream;
use super::echo::{Echo, Kept};
use super::events::Events;
use super::{Answer, ID};
use crate::server::api::{self, Params, Place, Who};
use crate::server::app::App;

/// Entries read at once.
const PAGE: u32 = 1_000;

/// How an answer is looked up.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct Looking {
    /// True for the events of its stream, from the first on; of a turn that goes on also those that come.
    #[serde(default)]
    stream: bool,
    /// Only events behind the one of this number.
    starting_after: Option<u64>,
}

/// An answer that was given, or goes on: whole, or with `stream` as the events that it was streamed as.
#[utoipa::path(get, path = "/v1/responses/{id}", params(("id" = String, Path), Looking), responses((status = 200, body = Value), (status = "default", body = Value)))]
pub(in crate::server) async fn look_up(
    State(app): State<Arc<App>>,
    who: Who,
    Place(id): Place<String>,
    Params(looking): Params<Looking>,
) -> Result<Response, Wrong> {
    let (session, turn, began) = find(&app, &who, &id).await?;
    let (answer, hearing) = begun(&app, &who, (session, turn, began)).await?;
    if looking.stream {
        // Whoever looks at an answer is nobody to ask.
        let caller = Caller { can_approve: false, ..who.caller.clone() };
        let (_, tail) = app.engine.attach(&caller, session, Some(began), None).await?;
        let running = Running::new(app.clone(), caller, tail, hearing, false);
        return Ok(stream::response(&app, &who, running, Events::after(answer, looking.starting_after)));
    }
    if looking.starting_after.is_some() {
        return Err(Wrong::at("starting_after", "there are events in a stream only", "send `stream=true` as well"));
    }
    let object = standing(&app, &who, (session, began), answer, hearing).await?;
    let mut response = api::json(&object).map_err(|refusal| Wrong::from(refusal.fault().clone()))?;
    stream::name(&mut response, &session.to_string(), turn);
    Ok(response)
}

/// Erases an answer, and with it its session: what was said and read there. Refused where other turns stand in it.
#[utoipa::path(delete, path = "/v1/responses/{id}", params(("id" = String, Path)), responses((status = 200, body = Value), (status = "default", body = Value)))]
pub(in crate::server) async fn forget(
    State(app): State<Arc<App>>,
    who: Who,
    Place(id): Place<String>,
) -> Result<Response, Wrong> {
    let (session, turn, _) = find(&app, &who, &id).await?;
    let last = app.engine.session(&who.caller, session).await?.row.turns;
    let is_first = turn == 1 || app.engine.turn_began(&who.caller, session, turn - 1).await?.is_none();
    let not_alone = || {
        let help = format!("delete the whole conversation: `DELETE /api/sessions/{session}`");
        Wrong::at("response_id", "other answers stand in the conversation of this one", help)
    };
    if last != turn || !is_first {
        return Err(not_alone());
    }
    // Another may have begun just now.
    match app.engine.delete_while_last(&who.caller, session, turn).await {
        Err(fault) if fault.code == Code::SESSION_BUSY => return Err(not_alone()),
        deleted => deleted?,
    }
    let told = json!({"id": id, "object": "response", "deleted": true});
    api::json(&told).map_err(|refusal| Wrong::from(refusal.fault().clone()))
}

/// Session, turn and first entry of the answer with an id.
async fn find(app: &App, who: &Who, id: &str) -> Result<(SessionKey, TurnNo, Seq), Wrong> {
    let (session, turn) = names::answered(ID, id).ok_or_else(unknown)?;
    match app.engine.turn_began(&who.caller, session, turn).await {
        Ok(Some(began)) => Ok((session, turn, began)),
        Ok(None) => Err(unknown()),
        Err(fault) if fault.code == Code::SESSION_UNKNOWN => Err(unknown()),
        Err(fault) => Err(fault.into()),
    }
}

fn unknown() -> Wrong {
    let help = "send the `id` of an answer that was given to you and not erased since";
    Wrong::of("response_id", Fault::new(Code::NOT_FOUND, "there is no such answer", help))
}

/// The answer before anything of it was said, and what makes it from the entries that follow.
async fn begun(
    app: &App,
    who: &Who,
    (session, turn, began): (SessionKey, TurnNo, Seq),
) -> Result<(Answer, Hearing), Wrong> {
    let first = app.engine.events(&who.caller, session, began - 1, 1).await?.into_iter().next();
    let Some(Entry::Record(record, Some(Payload::Prompt { content, asked }))) = first else { return Err(unknown()) };
    let Body::TurnStarted { effort, temperature_milli, direct: false, compacts: false, .. } = record.body else {
        return Err(unknown());
    };
    let kept = Kept::read(&asked.echo);
    let names = Names::again(kept.names.clone());
    let instructions = kept.is_instructed.then(|| instructions(&content)).flatten();
    let echo = Echo::of(kept, (effort, temperature_milli), (&asked.tools, &asked.shape), instructions);
    let created = u64::try_from(record.timestamp.as_second()).unwrap_or(0);
    Ok((Answer::of((session, turn), created, echo), Hearing::new(session, turn, names, asked.shape).later()))
}

/// The first message that came with the words.
fn instructions(content: &[Part]) -> Option<String> {
    let Some(Part::Exchange { messages }) = content.first() else { return None };
    match messages.first() {
        Some(Message::System { text }) => Some(text.clone()),
        _ => None,
    }
}

/// The object as the journal has it by now.
async fn standing(
    app: &App,
    who: &Who,
    (session, began): (SessionKey, Seq),
    mut answer: Answer,
    mut hearing: Hearing,
) -> Result<Value, Wrong> {
    let mut after = began;
    loop {
        let page = app.engine.events(&who.caller, session, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(answer.unfinished()) };
        after = last.seq();
        for entry in &page {
            match hearing.take(entry) {
                Ok(None) => {}
                Ok(Some(heard)) => {
                    if let Some(done) = answer.hear(heard) {
                        return Ok(answer.ended(done));
                    }
                }
                Err(wrong) => {
                    let fault = wrong.fault();
                    let status = if fault.code == Code::TURN_NOT_RUNNING { "cancelled" } else { "failed" };
                    return Ok(answer.failed(status, fault));
                }
            }
        }
    }
}

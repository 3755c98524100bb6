//! A session's journal: a page of events, a live stream of them, or an export
//! of the stored bytes.

use std::sync::Arc;
use std::time::Duration;
use std::{io, vec};

use are_core::digest::Nonce;
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_core::journal::{Class, Entry, Row};
use are_engine::api::{Caller, Tailed};
use are_engine::engine::Tail;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use super::{Answer, Params, Place, Who, json, session, typed};
use crate::server::app::App;
use crate::server::auth::Tie;
use crate::server::problem::{Problem, invalid};
use crate::server::wire::{Direct, Narrator};

/// Entries of one page, and of one step of an export.
const PAGE: u32 = 500;
/// After so much silence a live stream gets a comment, so that nothing in between closes it.
const STREAM_HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct After {
    /// Only entries after this one.
    after: Option<u64>,
    /// At most so many, up to 500; not for a live stream.
    limit: Option<u32>,
}

/// A page of events.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Page {
    /// As on `are.v2`; see `/api/ws-schema.json`.
    #[schema(value_type = Vec<serde_json::Value>)]
    events: Vec<Box<RawValue>>,
    /// Last entry of the page; ask for more after it. The journal has no more when the page is empty.
    seq: u64,
}

/// Events after one, as JSON, or live as `text/event-stream` when that is accepted.
#[utoipa::path(get, path = "/api/sessions/{key}/events", params(("key" = String, Path), After), responses((status = 200, body = Page), (status = "default", body = Problem)))]
pub(in crate::server) async fn events(
    State(app): State<Arc<App>>,
    who: Who,
    Place(key): Place<String>,
    Params(page): Params<After>,
    headers: HeaderMap,
) -> Answer {
    let key = session(&key)?;
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/event-stream") {
        let after = last_event_id(&headers)?.or(page.after);
        let (_, tail) = app.engine.attach(&viewer(&who.caller), key, after, None).await?;
        return Ok(live(&app, tail, who.principal.tie.clone()));
    }
    let after = page.after.unwrap_or_default();
    let limit = page.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let entries = app.engine.events(&who.caller, key, after, limit).await?;
    let mut narrator = Narrator::default();
    narrator.look_ahead(&entries);
    let seq = entries.last().map_or(after, Entry::seq);
    let events = entries.iter().filter_map(|entry| RawValue::from_string(narrator.tell(entry)).ok()).collect();
    json(&Page { events, seq })
}

/// Whoever only watches does not count as somebody who can approve.
fn viewer(caller: &Caller) -> Caller {
    Caller { can_approve: false, ..caller.clone() }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    let id = id.to_str().ok().and_then(|id| id.parse().ok());
    id.map(Some).ok_or_else(|| invalid("`Last-Event-ID` is no entry's number", "send back the last `id` of the stream"))
}

struct Live {
    tail: Tail,
    narrator: Narrator,
    tie: Tie,
    closing: CancellationToken,
}

/// A live stream. One step of the tail is in memory at a time; the next is read when the client has taken it.
fn live(app: &App, tail: Tail, tie: Tie) -> Response {
    let live = Live { tail, narrator: Narrator::default(), tie, closing: app.stopping.clone() };
    let steps = stream::unfold(Some(live), |live| async move {
        let mut live = live?;
        // Every branch is cancel-safe; the stream itself is dropped with the connection.
        let step = tokio::select! {
            biased;
            () = live.closing.cancelled() => return None,
            () = live.tie.cut() => return None,
            step = live.tail.next() => step,
            () = tokio::time::sleep(STREAM_HEARTBEAT) => return Some((Ok(Bytes::from_static(b":\n\n")), Some(live))),
        };
        match step {
            Ok(step) => {
                let text = told(&mut live.narrator, &step);
                Some((Ok::<_, io::Error>(Bytes::from(text)), Some(live)))
            }
            Err(fault) => {
                let text = format!("event: error\ndata: {}\n\n", Direct::error(None, fault).encode());
                Some((Ok(Bytes::from(text)), None))
            }
        }
    });
    typed(StatusCode::OK, "text/event-stream", Body::from_stream(steps))
}

fn told(narrator: &mut Narrator, step: &[Tailed]) -> String {
    narrator.look_ahead(step.iter().filter_map(|item| match item {
        Tailed::Entry(entry) => Some(&**entry),
        Tailed::Progress { .. } => None,
    }));
    let mut text = String::new();
    for item in step {
        let event = match item {
            Tailed::Entry(entry) => {
                format!("id: {}\nevent: {}\ndata: {}\n\n", entry.seq(), Narrator::name(entry), narrator.tell(entry))
            }
            Tailed::Progress { phase, done, total } => {
                format!(
                    "event: progress\ndata: {}\n\n",
                    Direct::Progress { phase, done: *done, total: *total }.encode()
                )
            }
        };
        text.push_str(&event);
    }
    text
}

/// The bytes of an artifact, with its media type.
///
/// SECURITY: they are anybody's; they are never shown as a page of this server, whatever they say they are.
#[utoipa::path(get, path = "/api/sessions/{key}/artifacts/{digest}", params(("key" = String, Path), ("digest" = String, Path)), responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = "default", body = Problem)))]
pub(in crate::server) async fn artifact(
    State(app): State<Arc<App>>,
    who: Who,
    Place((key, digest)): Place<(String, String)>,
) -> Answer {
    let key = session(&key)?;
    let wrong = |_| invalid("the digest is not 64 hexadecimal digits", "take it from an `artifact` event");
    let digest = digest.parse().map_err(wrong)?;
    let (media_type, bytes) = app.engine.artifact(&who.caller, key, digest).await?;
    let mut answer = typed(StatusCode::OK, "application/octet-stream", Body::from(bytes));
    let headers = answer.headers_mut();
    if let Ok(media_type) = HeaderValue::from_str(&media_type) {
        headers.insert(header::CONTENT_TYPE, media_type);
    }
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    Ok(answer)
}

/// One line of an export.
#[derive(Serialize, ToSchema)]
struct Line<'a> {
    seq: u64,
    /// `record` or `frame`.
    class: &'static str,
    /// The stored bytes, unchanged: what was hashed.
    #[schema(value_type = serde_json::Value)]
    entry: &'a RawValue,
    /// Salts the payload's digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    /// The stored payload, unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<&'a RawValue>,
}

struct Export {
    app: Arc<App>,
    caller: Caller,
    tie: Tie,
    key: SessionKey,
    after: u64,
    page: vec::IntoIter<Row>,
}

impl Export {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.tie.is_cut() {
            return Err(Fault::new(Code::CREDENTIAL_INVALID, "the token was revoked", "use one that is good"));
        }
        if self.page.len() == 0 {
            self.page = self.app.engine.rows(&self.caller, self.key, self.after, PAGE).await?.into_iter();
        }
        let Some(row) = self.page.next() else { return Ok(None) };
        self.after = row.seq;
        line(&row).map(Some)
    }
}

/// The whole journal as JSON lines: every stored byte that is not erased.
#[utoipa::path(get, path = "/api/sessions/{key}/export", params(("key" = String, Path)), responses((status = 200, content_type = "application/x-ndjson", body = String), (status = "default", body = Problem)))]
pub(in crate::server) async fn export(State(app): State<Arc<App>>, who: Who, Place(key): Place<String>) -> Answer {
    let key = session(&key)?;
    let mut export =
        Export { app, caller: who.caller, tie: who.principal.tie, key, after: 0, page: Vec::new().into_iter() };
    // The first line decides whether there is an answer at all; a later failure breaks the transfer off.
    let first = export.next().await?;
    let rest = stream::unfold(export, |mut export| async move {
        match export.next().await {
            Ok(Some(line)) => Some((Ok(line), export)),
            Ok(None) => None,
            Err(fault) => Some((Err(io::Error::other(fault)), export)),
        }
    });
    let first = stream::iter(first.map(Ok));
    let lines = futures_util::StreamExt::chain(first, rest);
    Ok(typed(StatusCode::OK, "application/x-ndjson", Body::from_stream(lines)))
}

fn line(row: &Row) -> Result<Bytes, Fault> {
    let corrupt =
        |_| Fault::new(Code::SESSION_CORRUPT, format!("entry {} is unreadable", row.seq), "restore it from a backup");
    let entry = serde_json::from_slice(&row.bytes).map_err(corrupt)?;
    let payload = row.payload.as_ref().map(|(_, bytes)| serde_json::from_slice(bytes)).transpose().map_err(corrupt)?;
    let nonce = row.payload.as_ref().map(|(nonce, _)| hex(nonce));
    let class = match row.class {
        Class::Record => "record",
        Class::Frame => "frame",
    };
    let mut bytes = serde_json::to_vec(&Line { seq: row.seq, class, entry, nonce, payload }).map_err(corrupt)?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

fn hex(nonce: &Nonce) -> String {
    are_core::digest::Digest(*nonce).to_string()
}

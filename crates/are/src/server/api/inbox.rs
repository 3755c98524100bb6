//! What waits for the caller, live, over all its sessions.
//!
//! A stream that does not go on after an earlier one begins with everything that
//! waits now, so connecting again loses nothing. One notice at a time is in
//! memory; a client that is too slow is told so and comes back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use are_engine::engine::{Inbox, Notice};
use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use tokio_util::sync::CancellationToken;

use super::{Answer, Who, approvals, typed};
use crate::server::app::App;
use crate::server::auth::Tie;
use crate::server::problem::Problem;
use crate::server::wire::{Direct, Narrator};

/// After so much silence the stream gets a comment, so that nothing in between closes it.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Bytes of a `Last-Event-ID` that are looked at.
const LAST_ID_BYTES_MAX: usize = 64;

struct Live {
    inbox: Inbox,
    /// What is said before the first notice.
    first: Option<String>,
    tie: Tie,
    closing: CancellationToken,
}

/// A live stream (`text/event-stream`) of approvals asked for, answered and withdrawn, and of turns parked and
/// ended. It begins with `waiting`, everything that waits now, unless `Last-Event-ID` can be gone on after.
#[utoipa::path(get, path = "/api/events", params(("Last-Event-ID" = Option<String>, Header)), responses((status = 200, content_type = "text/event-stream", body = String), (status = "default", body = Problem)))]
pub(in crate::server) async fn follow(State(app): State<Arc<App>>, who: Who, headers: HeaderMap) -> Answer {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| id.len() <= LAST_ID_BYTES_MAX);
    // Before what waits is read, so that nothing falls in between; what does both is told twice.
    let inbox = app.engine.inbox(&who.caller, last);
    let first = if inbox.is_resumed() {
        None
    } else {
        let waiting = approvals::Inbox::of(app.engine.approvals(&who.caller).await?);
        let waiting = serde_json::to_string(&waiting).unwrap_or_else(|_| "{}".to_owned());
        Some(format!("id: {}\nevent: waiting\ndata: {waiting}\n\n", inbox.id()))
    };
    let live = Live { inbox, first, tie: who.principal.tie.clone(), closing: app.stopping.clone() };
    let steps = stream::unfold(Some(live), |live| async move {
        let mut live = live?;
        if let Some(first) = live.first.take() {
            return Some((Ok::<_, io::Error>(Bytes::from(first)), Some(live)));
        }
        // Every branch is cancel-safe; the stream itself is dropped with the connection.
        let notice = tokio::select! {
            biased;
            () = live.closing.cancelled() => return None,
            () = live.tie.cut() => return None,
            notice = live.inbox.next() => notice,
            () = tokio::time::sleep(HEARTBEAT) => return Some((Ok(Bytes::from_static(b":\n\n")), Some(live))),
        };
        match notice {
            Ok(notice) => Some((Ok(Bytes::from(told(&notice))), Some(live))),
            Err(fault) => {
                let text = format!("event: error\ndata: {}\n\n", Direct::error(None, fault).encode());
                Some((Ok(Bytes::from(text)), None))
            }
        }
    });
    Ok(typed(StatusCode::OK, "text/event-stream", Body::from_stream(steps)))
}

/// The event as on `are.v2`, with its session.
fn told(notice: &Notice) -> String {
    let Notice { id, session, entry, .. } = notice;
    let event = Narrator::default().tell(entry);
    let rest = event.strip_prefix('{').unwrap_or("}");
    format!("id: {id}\nevent: {}\ndata: {{\"session\":\"{session}\",{rest}\n\n", Narrator::name(entry))
}

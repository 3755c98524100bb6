//! A turn as an event stream, in the words of one of the doors.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio_util::sync::CancellationToken;

use super::error::Wrong;
use super::running::{Heard, Running};
use crate::server::api::{Who, typed};
use crate::server::app::App;
use crate::server::auth::Tie;

/// After so much silence the stream gets a comment, so that nothing in between closes it.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Names the session, as on every door.
const SESSION_HEADER: HeaderName = HeaderName::from_static("are-session");
/// Names session and turn; the SDKs show it with errors.
const REQUEST_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Writes what is heard as events; the two doors to models write differently.
pub(super) trait Scribe: Send + 'static {
    /// What the stream begins with.
    fn open(&mut self) -> String;
    /// Something was heard.
    ///
    /// # Errors
    /// What was written already is void.
    fn hear(&mut self, heard: Heard) -> Result<String, Wrong>;
    /// The turn ended without an answer.
    fn fail(&mut self, wrong: &Wrong) -> String;
}

struct Live<S> {
    running: Running,
    scribe: S,
    tie: Tie,
    app: Arc<App>,
    closing: CancellationToken,
    first: Option<String>,
}

/// The answer to a request that wants a stream.
pub(super) fn response<S: Scribe>(app: &Arc<App>, who: &Who, running: Running, mut scribe: S) -> Response {
    let (session, turn) = (running.session(), running.turn());
    let first = Some(scribe.open()).filter(|first| !first.is_empty());
    let (tie, closing) = (who.principal.tie.clone(), app.closing.clone());
    let live = Live { running, scribe, tie, app: app.clone(), closing, first };
    let steps = stream::unfold(Some(live), |live| async move {
        let mut live = live?;
        if let Some(first) = live.first.take() {
            return Some((Ok::<_, io::Error>(Bytes::from(first)), Some(live)));
        }
        loop {
            // Every branch is cancel-safe; the stream itself is dropped with the connection.
            let heard = tokio::select! {
                biased;
                () = live.closing.cancelled() => Err(Wrong::of_turn(live.app.goodbye())),
                () = live.tie.cut() => return None,
                heard = live.running.next() => heard,
                () = tokio::time::sleep(HEARTBEAT) => return Some((Ok(Bytes::from_static(b": \n\n")), Some(live))),
            };
            let is_over = matches!(heard, Err(_) | Ok(Heard::Done(_)));
            let (text, is_over) = match heard.and_then(|heard| live.scribe.hear(heard)) {
                Ok(text) => (text, is_over),
                Err(wrong) => (live.scribe.fail(&wrong), true),
            };
            if is_over {
                return Some((Ok(Bytes::from(text)), None));
            }
            if !text.is_empty() {
                return Some((Ok(Bytes::from(text)), Some(live)));
            }
        }
    });
    let mut response = typed(StatusCode::OK, "text/event-stream; charset=utf-8", Body::from_stream(steps));
    name(&mut response, &session.to_string(), turn);
    response
}

/// Says whose answer it is.
pub(super) fn name(response: &mut Response, session: &str, turn: u32) {
    let headers = response.headers_mut();
    if let (Ok(request), Ok(session)) =
        (HeaderValue::from_str(&format!("{session}/{turn}")), HeaderValue::from_str(session))
    {
        headers.insert(REQUEST_HEADER, request);
        headers.insert(SESSION_HEADER, session);
    }
}

/// The text of an answer as it grows.
#[derive(Default)]
pub(super) struct Words {
    pub(super) text: String,
}

impl Words {
    /// Forgets what a restart made void.
    pub(super) fn cut(&mut self, keep_bytes: u64) {
        let keep = usize::try_from(keep_bytes).unwrap_or(usize::MAX);
        if keep < self.text.len() {
            self.text.truncate(self.text.floor_char_boundary(keep));
        }
    }
}

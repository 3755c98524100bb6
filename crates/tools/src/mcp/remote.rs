//! The protocol over HTTP, through the one client of all tools.
//!
//! Each request is a connection of its own to addresses that were let through
//! for it. Nothing is followed: a server that has moved is added again under
//! its new address. What is read is bounded before it is understood.

use std::collections::HashMap;
use std::sync::Arc;

use are_core::error::{Code, Fault};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, HttpStatusError, InsufficientScopeError, SseError, StreamableHttpClient,
    StreamableHttpClientTransportConfig, StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use rmcp::transport::{StreamableHttpClientTransport, WWWAuthenticateParams};
use sse_stream::{Sse, SseStream};
use tokio::sync::watch;
use tokio::time::{Duration, timeout};

use super::login::{Login, Token};
use super::masked::Masked;
use super::spec::Remote;
use super::wire::MESSAGE_BYTES_MAX;
use crate::http::{Ask, Http, Opened, Unopened, headers_of};

/// Bytes of an error's page that are looked at.
const ERROR_BYTES_MAX: usize = 16 << 10;
/// How often a stream that broke off is taken up again before it is given up.
const RESUMED_MAX: usize = 5;
/// The longest pause before that.
const RESUME_PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long the first request of a session waits for the stream of what the server says unasked.
const STANDING_PAUSE_MAX: Duration = Duration::from_millis(500);
const EVENT_STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

type Refused = StreamableHttpError<Unopened>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

/// The client as the protocol uses it.
#[derive(Clone)]
pub(super) struct Client {
    http: Arc<Http>,
    /// What requests are sent with, where no header says so.
    login: Option<Arc<Login>>,
    masked: Masked,
    standing: Arc<Standing>,
}

/// Whether the stream of what a server says unasked was answered. It is asked for beside the first request of a
/// session; what the server says during that request would be lost where it came first.
struct Standing(watch::Sender<bool>);

impl Standing {
    fn answered(&self) {
        self.0.send_replace(true);
    }

    async fn wait(&self) {
        let mut is_answered = self.0.subscribe();
        // silent-ok: a server that holds the stream's head back is asked all the same, and from then on at once.
        timeout(STANDING_PAUSE_MAX, is_answered.wait_for(|is| *is)).await.ok();
        self.answered();
    }
}

/// A transport to a place on a network.
pub(super) fn transport(remote: &Remote, client: Client) -> Result<StreamableHttpClientTransport<Client>, Fault> {
    let headers = headers_of(&remote.headers)?;
    let mut config = StreamableHttpClientTransportConfig::with_uri(remote.url.as_str())
        .custom_headers(headers.into_iter().filter_map(|(name, value)| Some((name?, value))).collect())
        .max_sse_event_size(MESSAGE_BYTES_MAX)
        .max_json_response_size(MESSAGE_BYTES_MAX)
        .max_error_response_size(ERROR_BYTES_MAX)
        // What a call came to under a session that is gone is for whoever made it to find out.
        .reinit_on_expired_session(false);
    let mut backoff = ExponentialBackoff::default();
    backoff.max_times = Some(RESUMED_MAX);
    backoff.max_delay = Some(RESUME_PAUSE_MAX);
    config.retry_config = Arc::new(backoff);
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

impl Client {
    pub(super) fn new(http: &Arc<Http>, login: Option<Arc<Login>>, masked: &Masked) -> Self {
        let standing = Arc::new(Standing(watch::Sender::new(false)));
        Self { http: Arc::clone(http), login, masked: masked.clone(), standing }
    }

    async fn ask(
        &self,
        uri: &str,
        method: Method,
        session: Option<&str>,
        custom: HashMap<HeaderName, HeaderValue>,
        body: Option<Vec<u8>>,
    ) -> Result<Opened, Refused> {
        let mut headers: HeaderMap = custom.into_iter().collect();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        }
        if let Some(session) = session {
            let session = HeaderValue::from_str(session);
            headers.insert(SESSION, session.map_err(|_| unexpected("a session's id that is no header"))?);
        }
        let ask = Ask { method, headers, body, is_public_only: false };
        match &self.login {
            Some(login) => self.ask_as(login, uri, ask).await,
            None => self.http.open(uri, ask).await.map_err(StreamableHttpError::Client),
        }
    }

    /// Asks with the token of a login, where there is one. A server that does not take it has done nothing yet: the
    /// token is renewed, and what was asked is asked once more.
    async fn ask_as(&self, login: &Arc<Login>, uri: &str, ask: Ask) -> Result<Opened, Refused> {
        let unsent = |fault| StreamableHttpError::Client(Unopened { fault, is_sent: false });
        let Some(token) = login.token().await.map_err(unsent)? else {
            return self.http.open(uri, ask).await.map_err(StreamableHttpError::Client).inspect(|it| note(login, it));
        };
        let opened = self.open_with(&token, uri, ask.clone()).await?;
        note(login, &opened);
        if opened.status != 401 {
            return Ok(opened);
        }
        let token = login.renewed(token).await.map_err(unsent)?;
        let opened = self.open_with(&token, uri, ask).await?;
        note(login, &opened);
        Ok(opened)
    }

    async fn open_with(&self, token: &Token, uri: &str, mut ask: Ask) -> Result<Opened, Refused> {
        self.masked.add(token.expose());
        let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
        let mut value = value.map_err(|_| unexpected("a login whose token is no header"))?;
        value.set_sensitive(true);
        ask.headers.insert(AUTHORIZATION, value);
        self.http.open(uri, ask).await.map_err(StreamableHttpError::Client)
    }
}

/// Remembers what a server says of a login when it refuses a request.
fn note(login: &Login, opened: &Opened) {
    let challenges = opened.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    match opened.status {
        401 => {
            let header = challenges.collect::<Vec<_>>().join(", ");
            // A gateway's hiccup, or a key in another header that is wrong, is no wish for a login.
            if login.is_kept() || header.to_ascii_lowercase().contains("bearer") {
                login.challenged(&header, true);
            }
        }
        403 => {
            if let Some(short) = challenges.into_iter().find(|header| is_short(header)) {
                login.challenged(short, false);
            }
        }
        _ => {}
    }
}

/// True when a server says that the login may do less than a request needs.
fn is_short(header: &str) -> bool {
    told_in(header).is_insufficient_scope()
}

fn told_in(header: &str) -> WWWAuthenticateParams {
    // The address matters only for a pointer in it, which is not what is looked for.
    let nowhere = url::Url::parse("https://invalid./").ok();
    nowhere.map(|nowhere| WWWAuthenticateParams::parse(header, &nowhere)).unwrap_or_default()
}

impl StreamableHttpClient for Client {
    type Error = Unopened;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Refused> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session_id, None, custom_headers, limits).await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Refused> {
        if session_id.is_some() && matches!(message, JsonRpcMessage::Request(_)) {
            self.standing.wait().await;
        }
        let body = serde_json::to_vec(&message)?;
        let opened = self.ask(&uri, Method::POST, session_id.as_deref(), custom_headers, Some(body)).await?;
        let session = opened.headers.get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
        match opened.status {
            202 | 204 => Ok(StreamableHttpPostResponse::Accepted),
            404 if session_id.is_some() => Err(StreamableHttpError::SessionExpired),
            // Nothing waits for an answer to what is no request, whatever stands in it.
            200..=299 if !matches!(message, JsonRpcMessage::Request(_)) => Ok(StreamableHttpPostResponse::Accepted),
            200..=299 => {
                let kind = media_type(&opened);
                if kind == EVENT_STREAM {
                    return Ok(StreamableHttpPostResponse::Sse(events(opened, limits.max_sse_event_size), session));
                }
                if kind != JSON {
                    return Err(StreamableHttpError::UnexpectedContentType(Some(kind)));
                }
                let bytes = body_of(opened, limits.max_json_response_size).await?;
                Ok(StreamableHttpPostResponse::Json(serde_json::from_slice(&bytes)?, session))
            }
            _ => failure(opened, limits).await,
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        _: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Refused> {
        // A server need not know that its client is gone.
        self.ask(&uri, Method::DELETE, Some(session_id.as_ref()), custom_headers, None).await.map(drop)
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<Events, Refused> {
        let bytes_max = StreamableHttpResponseLimits::default().max_sse_event_size;
        let headers = custom_headers;
        self.get_stream_with_max_sse_event_size(uri, session_id, last_event_id, None, headers, bytes_max).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _: Option<String>,
        mut custom_headers: HashMap<HeaderName, HeaderValue>,
        max_sse_event_size: usize,
    ) -> Result<Events, Refused> {
        if let Some(id) = last_event_id {
            let id = HeaderValue::from_str(&id).map_err(|_| unexpected("an event's id that is no header"))?;
            custom_headers.insert(LAST_EVENT, id);
        }
        let opened = self.ask(&uri, Method::GET, session_id.as_deref(), custom_headers, None).await;
        self.standing.answered();
        let opened = opened?;
        match opened.status {
            405 => Err(StreamableHttpError::ServerDoesNotSupportSse),
            200..=299 if media_type(&opened) == EVENT_STREAM => Ok(events(opened, max_sse_event_size)),
            200..=299 => Err(StreamableHttpError::UnexpectedContentType(Some(media_type(&opened)))),
            _ => Err(refusal(&opened)),
        }
    }
}

/// What an answer that is no success says: an error of the protocol, where it is one.
async fn failure(opened: Opened, limits: StreamableHttpResponseLimits) -> Result<StreamableHttpPostResponse, Refused> {
    let refused = refusal(&opened);
    if media_type(&opened) != JSON || matches!(opened.status, 401 | 403 | 429) {
        return Err(refused);
    }
    let bytes = body_of(opened, limits.max_error_response_size).await.unwrap_or_default();
    match serde_json::from_slice::<ServerJsonRpcMessage>(&bytes) {
        Ok(message @ JsonRpcMessage::Error(_)) => Ok(StreamableHttpPostResponse::Json(message, None)),
        _ => Err(refused),
    }
}

fn refusal(opened: &Opened) -> Refused {
    let text = |name: HeaderName| opened.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    match opened.status {
        401 => StreamableHttpError::AuthRequired(AuthRequiredError::new(text(WWW_AUTHENTICATE).unwrap_or_default())),
        403 if text(WWW_AUTHENTICATE).is_some_and(|header| is_short(&header)) => {
            let header = text(WWW_AUTHENTICATE).unwrap_or_default();
            let scope = told_in(&header).scope;
            StreamableHttpError::InsufficientScope(InsufficientScopeError::new(header, scope))
        }
        429 | 500..=599 => StreamableHttpError::HttpStatus(HttpStatusError::new(opened.status, text(RETRY_AFTER))),
        status => {
            let (what, help) = match status {
                300..=399 => ("sends its clients elsewhere", "add it again under its new address"),
                _ => ("refuses what it is asked", "look at the address and at the headers that it is sent"),
            };
            let fault = Fault::new(Code::SERVER_UNUSABLE, format!("the server {what} (status {status})"), help);
            StreamableHttpError::Client(Unopened { fault, is_sent: false })
        }
    }
}

fn unexpected(what: &'static str) -> Refused {
    StreamableHttpError::UnexpectedServerResponse(what.into())
}

fn media_type(opened: &Opened) -> String {
    let value = opened.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The whole body, or none when it is larger.
async fn body_of(mut opened: Opened, bytes_max: usize) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    while let Some(piece) = opened.body.next().await {
        bytes.extend_from_slice(&piece?);
        if bytes.len() > bytes_max {
            return Err(StreamableHttpError::ResponseBodyTooLarge { max_size: bytes_max });
        }
    }
    Ok(bytes)
}

/// The events of a stream, none of them larger than this.
fn events(opened: Opened, bytes_max: usize) -> Events {
    SseStream::from_bytes_stream(bounded(opened.body, bytes_max)).boxed()
}

/// Ends a stream in which more comes without the empty line that ends an event.
fn bounded(
    body: BoxStream<'static, Result<Bytes, std::io::Error>>,
    bytes_max: usize,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let state = (body, 0_usize, true);
    futures_util::stream::unfold(Some(state), move |state| async move {
        let (mut body, mut held, mut is_line_empty) = state?;
        let piece = match body.next().await? {
            Ok(piece) => piece,
            Err(error) => return Some((Err(error), None)),
        };
        for byte in &piece {
            match byte {
                b'\n' if is_line_empty => held = 0,
                b'\n' => is_line_empty = true,
                b'\r' => {}
                _ => {
                    held += 1;
                    is_line_empty = false;
                }
            }
        }
        if held > bytes_max {
            let why = format!("an event is larger than {bytes_max} bytes");
            return Some((Err(std::io::Error::other(why)), None));
        }
        Some((Ok(piece), Some((body, held, is_line_empty))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn passes(pieces: &[&str]) -> bool {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece.as_bytes()))).collect();
        let body = futures_util::stream::iter(pieces).boxed();
        bounded(body, 10).all(|piece| std::future::ready(piece.is_ok())).await
    }

    #[tokio::test]
    async fn the_first_request_waits_for_the_stream_and_not_for_ever() {
        let standing = Standing(watch::Sender::new(false));
        let mut first = std::pin::pin!(standing.wait());
        assert!(futures_util::poll!(&mut first).is_pending());
        standing.answered();
        assert!(futures_util::poll!(&mut first).is_ready());
        let silent = Standing(watch::Sender::new(false));
        silent.wait().await;
        assert!(futures_util::poll!(std::pin::pin!(silent.wait())).is_ready(), "once a session");
    }

    #[tokio::test]
    async fn an_event_without_end_is_cut_off_and_many_short_ones_are_not() {
        assert!(passes(&["data: 1\n\n"; 50]).await);
        assert!(passes(&["data: 1\r\n\r\n"; 50]).await);
        assert!(!passes(&["data: 12345"]).await);
        assert!(!passes(&["data: 1\n", "data: 2\n"]).await, "one event in two lines");
        assert!(passes(&["data: 1\n", "\ndata: 2\n"]).await);
    }
}

//! From an HTTP request to a socket: the handshake of RFC 6455 §4.2, strictly.
//!
//! The credential was checked before. `are.v1` or no subprotocol begins the
//! plain protocol in a session that the header `are-session` names; `are.v2`
//! begins the full one. A subprotocol that carries a token is never selected.

use are_core::error::{Code, Fault};
use are_core::ids::{SessionKey, ThreadId};
use are_engine::api::NewSession;
use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use std::sync::Arc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::app::App;
use super::auth::{Principal, Scope};
use super::connection::Connection;
use super::gate::TOKEN_PROTOCOL;
use super::problem::{Refusal, invalid};
use super::socket::Socket;
use super::{v1, v2};

/// Names the session of a plain socket.
pub(super) const SESSION_HEADER: HeaderName = HeaderName::from_static("are-session");
/// Names the place a client speaks from.
const THREAD_HEADER: HeaderName = HeaderName::from_static("are-thread");
const V1: &str = "are.v1";
const V2: &str = "are.v2";

/// The subprotocols a client offers, in its order.
pub(super) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

/// True when the request wants to become a socket.
pub(super) fn is_requested<B>(request: &Request<B>) -> bool {
    has_token(request.headers(), &header::UPGRADE, "websocket")
}

/// Answers the handshake and starts the socket's task.
pub(super) async fn accept(
    app: Arc<App>,
    connection: Arc<Connection>,
    principal: Principal,
    mut request: Request<Body>,
) -> Result<Response, Refusal> {
    let key = check(&request)?;
    let protocol = select(request.headers())?;
    let thread = thread(request.headers())?;
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let session = if protocol == Some(V2) {
        None
    } else {
        principal.require(Scope::Prompt)?;
        let key = session(&app, &principal, &thread, request.uri()).await?;
        headers.insert(SESSION_HEADER, ascii(&key.to_string())?);
        Some(key)
    };
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, ascii(&derive_accept_key(key.as_bytes()))?);
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    app.engine.warm();
    let upgrade = hyper::upgrade::on(&mut request);
    let tasks = app.tasks.clone();
    tasks.spawn("socket", async move {
        // The connection's place among all connections is held for as long as the socket lives.
        let _connection = connection;
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "a handshake was not finished"),
        };
        let socket = Socket::new(upgraded).await;
        let _open = app.count_socket();
        match session {
            Some(session) => Box::pin(v1::serve(app.clone(), principal, thread, session, socket)).await,
            None => Box::pin(v2::serve(app.clone(), principal, thread, socket)).await,
        }
    });
    Ok(response)
}

/// Everything about the handshake that is the same for both protocols; returns the client's key.
fn check<B>(request: &Request<B>) -> Result<String, Refusal> {
    let help = "use a WebSocket library (RFC 6455)";
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        let fault = invalid("a WebSocket begins with an HTTP/1.1 `GET`", help);
        return Err(Refusal::with_status(fault, StatusCode::METHOD_NOT_ALLOWED));
    }
    let headers = request.headers();
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let fault = invalid("only version 13 of the WebSocket protocol is spoken", help);
        return Err(Refusal::with_status(fault, StatusCode::UPGRADE_REQUIRED));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(invalid("the `Connection` header lacks `Upgrade`", help).into());
    }
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    if has_body {
        return Err(invalid("a WebSocket handshake has no body", help).into());
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = match (keys.next(), keys.next()) {
        (Some(key), None) => key.to_str().ok().filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)),
        _ => None,
    };
    key.map(str::to_owned).ok_or_else(|| invalid("`Sec-WebSocket-Key` must be 16 bytes in base64", help).into())
}

/// The subprotocol to speak: the first offered one we know, or none.
fn select(headers: &HeaderMap) -> Result<Option<&'static str>, Refusal> {
    if !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    let known = offered(headers).find_map(|offer| [V1, V2].into_iter().find(|known| *known == offer));
    if known.is_some() {
        return Ok(known);
    }
    let help = "offer `are.v1` or `are.v2`, beside the token if it is sent that way";
    if offered(headers).any(|offer| offer.starts_with(TOKEN_PROTOCOL)) {
        return Err(
            Fault::new(Code::CREDENTIAL_INVALID, "a token was offered without a subprotocol to speak", help).into()
        );
    }
    Err(invalid("none of the offered subprotocols is spoken here", help).into())
}

/// The session that a plain socket speaks in: the one in the query, or a new one.
async fn session(app: &App, principal: &Principal, thread: &ThreadId, uri: &Uri) -> Result<SessionKey, Fault> {
    let query = uri.query().unwrap_or_default();
    let named = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "session");
    let caller = principal.caller(thread.clone());
    match named {
        Some((_, key)) => {
            let key = key.parse().map_err(|_| invalid("`session` is no UUID", "`are session list` shows the keys"))?;
            app.engine.session(&caller, key).await.map(|_| key)
        }
        None => app.engine.create(&caller, NewSession::default()).await,
    }
}

fn thread(headers: &HeaderMap) -> Result<ThreadId, Fault> {
    let name = headers.get(THREAD_HEADER).map_or(Ok("socket"), HeaderValue::to_str);
    name.ok()
        .and_then(|name| name.parse().ok())
        .ok_or_else(|| invalid("`are-thread` must be 1 to 128 visible ASCII characters", "shorten it, or leave it out"))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
}

fn ascii(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(|error| Fault::new(Code::INTERNAL, error.to_string(), "report this as a bug"))
}

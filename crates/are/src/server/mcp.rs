//! The MCP server: `/mcp`, streamable HTTP on the official SDK, over the registry.
//!
//! Behind the same gate as every door; what is decided here is only whether a
//! message may reach the SDK: whose session it is for, how large it is, that it
//! is one strictly read message of a revision that is spoken. A call of a tool
//! is a direct call: a turn of its own, decided at the one gate and journaled.
//! An `ask` is answered by a person, never by the call itself, because whoever
//! calls over MCP is as a rule a model.
//!
//! One session of the runtime stands behind one MCP session; it begins with the
//! first call. Revisions with an `initialize` are spoken, up to 2025-11-25.

mod call;
mod handler;
mod person;
mod resources;
mod results;
mod sessions;
mod tools;

use std::path::PathBuf;
use std::sync::Arc;

use are_core::canonical::parse_strict;
use are_core::error::{Code, Fault};
use are_engine::api::NewSession;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyDataStream, BodyExt as _, Limited};
use percent_encoding::percent_decode_str;
use rmcp::model::{ErrorCode, ErrorData, ProtocolVersion};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};

use self::handler::Handler;
use self::sessions::{Life, Own, Use};
use super::api::{BODY_BYTES_MAX, read};
use super::app::App;
use super::auth::Principal;
use super::problem::{Problem, Refusal, invalid};

pub(super) use self::sessions::Sessions;

/// Names the MCP session.
const SESSION_HEADER: HeaderName = HeaderName::from_static("mcp-session-id");
/// Names the revision that was agreed upon.
const VERSION_HEADER: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Directory that the calls of a new MCP session work in, percent-encoded; on the unix socket only.
pub(crate) const WORKSPACE_HEADER: HeaderName = HeaderName::from_static("are-workspace");
/// Names the revision in requests of those that have no `initialize`.
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
/// Bytes of a refusal of the SDK that are repeated.
const REFUSAL_BYTES_MAX: usize = 4 << 10;

/// The revisions that are spoken.
fn versions() -> &'static [ProtocolVersion] {
    ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25)
}

type Answer = Result<Response, Refusal>;

/// Takes one JSON-RPC message of an MCP client; answers with JSON or an event stream.
#[utoipa::path(post, path = "/mcp", request_body = Value, params(("Mcp-Session-Id" = Option<String>, Header), ("Are-Workspace" = Option<String>, Header)), responses((status = 200, content_type = "text/event-stream", body = String), (status = 202), (status = "default", body = Problem)))]
pub(in crate::server) async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Answer {
    exchange(&app, request).await
}

/// The live stream of an MCP session: what the server says unasked, or the rest of a stream that broke off.
#[utoipa::path(get, path = "/mcp", params(("Mcp-Session-Id" = String, Header), ("Last-Event-ID" = Option<String>, Header)), responses((status = 200, content_type = "text/event-stream", body = String), (status = "default", body = Problem)))]
pub(in crate::server) async fn get(State(app): State<Arc<App>>, request: Request<Body>) -> Answer {
    exchange(&app, request).await
}

/// Ends an MCP session and the calls that run in it.
#[utoipa::path(delete, path = "/mcp", params(("Mcp-Session-Id" = String, Header)), responses((status = 202), (status = "default", body = Problem)))]
pub(in crate::server) async fn delete(State(app): State<Arc<App>>, request: Request<Body>) -> Answer {
    exchange(&app, request).await
}

async fn exchange(app: &Arc<App>, request: Request<Body>) -> Answer {
    let principal = request.extensions().get::<Principal>().cloned();
    let principal =
        principal.ok_or_else(|| Fault::new(Code::INTERNAL, "the request has no principal", "report this as a bug"))?;
    let (parts, body) = request.into_parts();
    let life = named(app, &principal, &parts.headers)?;
    if let Some(version) = parts.headers.get(VERSION_HEADER)
        && !versions().iter().any(|known| version == known.as_str())
    {
        return Ok(unspoken(Value::Null, version.to_str().unwrap_or_default()));
    }
    let body = if parts.method == Method::POST {
        let bytes = read(body, BODY_BYTES_MAX).await?;
        if let Some(refused) = refused(&bytes, life.is_some())? {
            return Ok(refused);
        }
        bytes
    } else if life.is_none() {
        return Err(invalid("the request names no MCP session", "name the one that `initialize` began").into());
    } else {
        Bytes::new()
    };
    let mut beginning = None;
    let (life, new) = match life {
        Some(life) => (life, NewSession::default()),
        None => {
            let workspace = workspace(&parts.headers)?;
            let new = app.new_session(&principal, NewSession { agent: None, workspace })?;
            beginning = Some(app.mcp.beginning.lock().await);
            app.mcp.make_room(&principal.account).await?;
            (Life::new(&principal, app.settings.clock.now_ms()), new)
        }
    };
    let used = Use::of(app, &life);
    let config = StreamableHttpServerConfig::default()
        // Both were looked at by the gate, as for every request.
        .disable_allowed_hosts()
        .disable_allowed_origins()
        .with_max_request_body_bytes(BODY_BYTES_MAX)
        .with_cancellation_token(app.closing.clone());
    let own = Arc::new(Own { app: app.clone(), account: principal.account.clone(), life: life.clone() });
    let begun = app.clone();
    let service = StreamableHttpService::new(move || Ok(Handler::new(&begun, &life, new.clone())), own, config);
    let response = service.handle(Request::from_parts(parts, Body::from(body))).await;
    drop(beginning);
    Ok(told(app, &principal, used, response.map(Body::new)).await)
}

/// The session that a request names.
fn named(app: &App, principal: &Principal, headers: &HeaderMap) -> Result<Option<Arc<Life>>, Fault> {
    let mut values = headers.get_all(SESSION_HEADER).iter();
    let id = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(id), None) => id,
        (Some(_), Some(_)) => return Err(invalid("more than one MCP session is named", "name one")),
    };
    let life = id.to_str().ok().and_then(|id| app.mcp.of(&principal.account, id));
    life.map(Some).ok_or_else(|| {
        Fault::new(
            Code::SESSION_UNKNOWN,
            "there is no such MCP session, or it has ended",
            "begin a new one with `initialize`",
        )
    })
}

/// Why a message is not taken, as JSON-RPC says it.
fn refused(bytes: &[u8], has_session: bool) -> Result<Option<Response>, Fault> {
    let message = match parse_strict(bytes) {
        Ok(message) => message,
        Err(error) => {
            let why = format!("the message is not read: {error}");
            return Ok(Some(error_of(Value::Null, &ErrorData::new(ErrorCode::PARSE_ERROR, why, None))));
        }
    };
    let id = message.get("id").filter(|id| id.is_string() || id.is_number()).cloned().unwrap_or_default();
    if !message.is_object() {
        let why = "a body holds one message; batches are not taken";
        return Ok(Some(error_of(id, &ErrorData::invalid_request(why, None))));
    }
    let is_response = message.get("result").is_some() || message.get("error").is_some();
    if message.get("jsonrpc").is_none_or(|version| version != "2.0")
        || !(is_response || message.get("method").is_some_and(Value::is_string))
    {
        return Ok(Some(error_of(id, &ErrorData::invalid_request("this is no message of JSON-RPC 2.0", None))));
    }
    if let Some(version) = message.pointer("/params/_meta").and_then(|meta| meta.get(VERSION_KEY)) {
        return Ok(Some(unspoken(id, version.as_str().unwrap_or_default())));
    }
    if !has_session && message["method"] != "initialize" {
        return Err(invalid(
            "the message names no MCP session",
            "begin one with `initialize`, and name it from then on",
        ));
    }
    Ok(None)
}

/// Says which revisions are spoken.
fn unspoken(id: Value, version: &str) -> Response {
    let requested: String = version.chars().take(32).collect();
    let data = json!({"requested": requested, "supported": versions()});
    let error = ErrorData::new(ErrorCode::UNSUPPORTED_PROTOCOL_VERSION, "this revision is not spoken here", Some(data));
    error_of(id, &error)
}

fn error_of(id: Value, error: &ErrorData) -> Response {
    let body = json!({"jsonrpc": "2.0", "id": id, "error": error});
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn workspace(headers: &HeaderMap) -> Result<Option<PathBuf>, Fault> {
    let Some(value) = headers.get(WORKSPACE_HEADER) else { return Ok(None) };
    let path = value.to_str().ok().and_then(|text| percent_decode_str(text).decode_utf8().ok());
    let help = "send the path percent-encoded, in UTF-8";
    path.map(|path| Some(PathBuf::from(path.as_ref()))).ok_or_else(|| invalid("`are-workspace` is not readable", help))
}

/// The SDK's answer, with the session in use and the token good for as long as it streams. A refusal that it words as
/// plain text becomes a problem document, as everywhere.
async fn told(app: &App, principal: &Principal, used: Use, response: Response) -> Response {
    let status = response.status();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let (parts, body) = response.into_parts();
    if status.is_client_error() && !is_json || status.is_server_error() {
        let bytes = Limited::new(body, REFUSAL_BYTES_MAX).collect().await.map(|body| body.to_bytes());
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let fault = if status.is_server_error() {
            tracing::warn!(%status, text, "an MCP exchange failed");
            Fault::new(Code::INTERNAL, "the exchange failed", "begin a new session with `initialize`")
        } else {
            invalid(text, "see the transport's rules: `Accept`, `Content-Type`, `Mcp-Session-Id`")
        };
        return Refusal::with_status(fault, status).into_response();
    }
    let (tie, stopping) = (principal.tie.clone(), app.closing.clone());
    let over = async move {
        tokio::select! {
            () = tie.cut() => {}
            () = stopping.cancelled() => {}
        }
    };
    let pieces = BodyDataStream::new(body).take_until(Box::pin(over)).map(move |piece| {
        // Held here, so that it goes with the stream.
        let _used = &used;
        piece
    });
    let mut response = Response::from_parts(parts, Body::from_stream(pieces));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

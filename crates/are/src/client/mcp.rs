//! A client of a server's `/mcp`, and the bridge from two byte streams to it.
//!
//! Editors start a program and speak MCP over its standard streams; the bridge
//! passes each message on to the server's one door and back, so that behaviour,
//! rules and journal are those of any client. Sessions, resumption and order
//! are the SDK's.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use are_core::error::{Code, Fault};
use bytes::Bytes;
use futures_util::stream::{BoxStream, FuturesUnordered};
use futures_util::{Stream, StreamExt as _};
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ErrorCode, ErrorData, RequestId, ServerJsonRpcMessage};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use rmcp::transport::{StreamableHttpClientTransport, Transport as _};
use sse_stream::{Sse, SseStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};

use super::http::{Answered, Client, collect, odd, problem_of};
use crate::server::WORKSPACE_HEADER;

/// The door.
const PATH: &str = "/mcp";
/// Bytes of one message from the other side of the bridge: the server takes no larger ones.
const LINE_BYTES_MAX: usize = 2 << 20;
/// How long answers to what was asked before the end of the input are waited for.
const EOF_PATIENCE: Duration = Duration::from_secs(2);
/// How long the end of the session may take; the server ends it by itself when it is idle.
const CLOSE_TIME: Duration = Duration::from_secs(3);
/// What stays as it is in a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_');

/// The door as the SDK's transport uses it.
#[derive(Clone)]
struct Remote {
    client: Client,
    workspace: Option<HeaderValue>,
}

type Refused = StreamableHttpError<Fault>;

impl Remote {
    async fn send(
        &self,
        method: Method,
        session: Option<&str>,
        headers: HashMap<HeaderName, HeaderValue>,
        body: Bytes,
    ) -> Result<Answered, Refused> {
        let mut request = hyper::Request::builder()
            .method(&method)
            .uri(PATH)
            .header(header::ACCEPT, "application/json, text/event-stream");
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        } else if let Some(workspace) = &self.workspace {
            request = request.header(WORKSPACE_HEADER, workspace);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let (response, connection) = self.client.exchange(request, body).await.map_err(Refused::Client)?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND && session.is_some() {
            return Err(Refused::SessionExpired);
        }
        if status.is_success() || is(&response, "application/json") {
            return Ok((response, connection));
        }
        Err(Refused::Client(problem_of(response).await))
    }
}

fn is(response: &Response<Incoming>, kind: &str) -> bool {
    let found = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    found.split(';').next().is_some_and(|found| found.trim() == kind)
}

/// The events of an answer; the connection is kept with them. One larger than `bytes_max` breaks the stream off.
fn events((response, connection): Answered, bytes_max: usize) -> BoxStream<'static, Result<Sse, SseError>> {
    let pieces = BodyDataStream::new(response.into_body()).map(move |piece| {
        let _connection = &connection;
        piece.map_err(io::Error::other)
    });
    SseStream::from_bytes_stream(bounded(pieces, bytes_max)).boxed()
}

fn bounded(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    bytes_max: usize,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let mut since_end = 0;
    pieces.map(move |piece| {
        let piece = piece?;
        since_end = match piece.windows(2).rposition(|two| two == b"\n\n") {
            Some(at) => piece.len() - at - 2,
            None => since_end + piece.len(),
        };
        if since_end > bytes_max { Err(io::Error::other("an event is too large")) } else { Ok(piece) }
    })
}

impl StreamableHttpClient for Remote {
    type Error = Fault;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Refused> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session_id, auth_header, custom_headers, limits).await
    }

    async fn post_message_with_response_limits(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Refused> {
        let body = Bytes::from(serde_json::to_vec(&message)?);
        let answered = self.send(Method::POST, session_id.as_deref(), custom_headers, body).await?;
        let response = &answered.0;
        if response.status() == StatusCode::ACCEPTED {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let session = response.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        if is(response, "text/event-stream") {
            return Ok(StreamableHttpPostResponse::Sse(events(answered, limits.max_sse_event_size), session));
        }
        let bytes = collect(answered.0, limits.max_json_response_size).await.map_err(Refused::Client)?;
        Ok(StreamableHttpPostResponse::Json(serde_json::from_slice::<ServerJsonRpcMessage>(&bytes)?, session))
    }

    async fn delete_session(
        &self,
        _uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Refused> {
        self.send(Method::DELETE, Some(&session_id), custom_headers, Bytes::new()).await.map(drop)
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Refused> {
        let bytes_max = StreamableHttpResponseLimits::default().max_sse_event_size;
        self.get_stream_with_max_sse_event_size(uri, session_id, last_event_id, auth_header, custom_headers, bytes_max)
            .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        _uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        mut custom_headers: HashMap<HeaderName, HeaderValue>,
        max_sse_event_size: usize,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Refused> {
        if let Some(last) = last_event_id.and_then(|id| HeaderValue::from_str(&id).ok()) {
            custom_headers.insert(HeaderName::from_static("last-event-id"), last);
        }
        let answered = self.send(Method::GET, session_id.as_deref(), custom_headers, Bytes::new()).await?;
        Ok(events(answered, max_sse_event_size))
    }
}

/// Why a bridge is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The other side has said all it had to say, or does not listen any more.
    Input,
    /// It was told to stop.
    Stopped,
}

/// Passes messages from `input` to the server behind `client`, and its own to `output`, until the input ends or `stop`
/// resolves; then the session ends, and what runs in it is stopped.
///
/// # Errors
/// ARE-0105 when the server cannot be reached or ends the session, and whatever it refused if no session came about; what
/// it refuses is told to the other side too.
pub async fn bridge(
    client: &Client,
    workspace: Option<&str>,
    (input, output): (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static),
    stop: impl Future<Output = ()>,
) -> Result<Over, Fault> {
    let mut stop = std::pin::pin!(stop);
    let mut remote = remote(client, workspace);
    let mut local =
        AsyncRwTransport::<RoleServer, _, _>::new_server(input, output).with_max_line_length(LINE_BYTES_MAX);
    let mut waiting: HashSet<RequestId> = HashSet::new();
    let mut sending = FuturesUnordered::new();
    let mut until: Option<Instant> = None;
    // The SDK's transport waits for its first message, also to be closed.
    let mut has_begun = false;
    // Why nothing came of it, until something did.
    let mut refused: Option<Fault> = None;
    let mut is_open = false;
    let ended = loop {
        if until.is_some() && waiting.is_empty() && sending.is_empty() {
            break Ok(Over::Input);
        }
        // Both transports keep what they have read in part; sending goes on in `sending` whatever comes first.
        tokio::select! {
            message = local.receive(), if until.is_none() => match message {
                Some(message) => {
                    let id = asks(&message);
                    waiting.extend(id.clone());
                    has_begun = true;
                    let sent = remote.send(message);
                    sending.push(async move { (id, sent.await) });
                }
                None => until = Some(Instant::now() + EOF_PATIENCE),
            },
            message = remote.receive() => match message {
                Some(message) => {
                    is_open = true;
                    if let Some(id) = answers(&message) {
                        waiting.remove(id);
                    }
                    if local.send(message).await.is_err() {
                        // Whoever read it is gone.
                        break Ok(Over::Input);
                    }
                }
                None => {
                    // What it refused is told before it is over.
                    while let Some((id, sent)) = sending.next().await {
                        let Err(error) = sent else { continue };
                        let fault = fault_of(error);
                        let told = id.map(|id| refusal(&fault, id));
                        refused = Some(fault);
                        if let Some(told) = told
                            && local.send(told).await.is_err()
                        {
                            break;
                        }
                    }
                    break Err(odd("it ended the MCP session"));
                }
            },
            Some((id, sent)) = sending.next() => if let Err(error) = sent {
                let fault = fault_of(error);
                let told = id.map(|id| refusal(&fault, id));
                refused = Some(fault);
                let Some(told) = told else { continue };
                if let Some(id) = answers(&told) {
                    waiting.remove(id);
                }
                if local.send(told).await.is_err() {
                    break Ok(Over::Input);
                }
            },
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break Ok(Over::Input),
            () = &mut stop => break Ok(Over::Stopped),
        }
    };
    if has_begun {
        close(remote).await;
    }
    // Whoever noticed the end first: a session that never came about ends with the reason for that.
    match refused {
        Some(fault) if !is_open && !matches!(ended, Ok(Over::Stopped)) => Err(fault),
        Some(_) | None => ended,
    }
}

/// The server's side; nothing is sent before the first message.
fn remote(client: &Client, workspace: Option<&str>) -> StreamableHttpClientTransport<Remote> {
    let workspace = workspace.map(|path| utf8_percent_encode(path, PLAIN).to_string());
    let workspace = workspace.and_then(|path| HeaderValue::from_str(&path).ok());
    let mut config = StreamableHttpClientTransportConfig::with_uri(PATH);
    config.reinit_on_expired_session = true;
    StreamableHttpClientTransport::with_client(Remote { client: client.clone(), workspace }, config)
}

/// Ends the session at the server.
async fn close(mut remote: StreamableHttpClientTransport<Remote>) {
    match timeout(CLOSE_TIME, remote.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the MCP session was not ended in order"),
        Err(_) => tracing::debug!("the MCP session was not ended in time"),
    }
}

/// The id of a request.
fn asks(message: &ClientJsonRpcMessage) -> Option<RequestId> {
    match message {
        ClientJsonRpcMessage::Request(request) => Some(request.id.clone()),
        _ => None,
    }
}

/// The id of the request that a message answers.
fn answers(message: &ServerJsonRpcMessage) -> Option<&RequestId> {
    match message {
        ServerJsonRpcMessage::Response(response) => Some(&response.id),
        ServerJsonRpcMessage::Error(error) => error.id.as_ref(),
        _ => None,
    }
}

/// Why a message was not taken.
fn fault_of(error: Refused) -> Fault {
    tracing::debug!(%error, "a message was not taken");
    match error {
        Refused::Client(fault) => fault,
        other => Fault::new(Code::SERVER_UNREACHABLE, other.to_string(), "try again"),
    }
}

/// What the other side is told of a request that did not get through.
fn refusal(fault: &Fault, id: RequestId) -> ServerJsonRpcMessage {
    // A code and texts, so that encoding cannot fail.
    let data = serde_json::to_value(fault).ok();
    let text = format!("{}: {}; {}", fault.code, fault.message, fault.help);
    ServerJsonRpcMessage::error(ErrorData::new(ErrorCode(-32000), text, data), Some(id))
}

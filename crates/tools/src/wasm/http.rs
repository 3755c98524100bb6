//! `wasi:http` requests as calls of `http_request`: its rules, its address guard, its limits.
//!
//! No socket is opened here. A request becomes a child call with the whole
//! body, its answer becomes the response; bodies are text or JSON on the way
//! out, as that tool takes them.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_policy::address::{Host, Target};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::{Map, Value, json};
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

use super::calls::Calls;

/// Bytes of a request's body; arguments of calls are not larger.
const BODY_BYTES_MAX: usize = 512 << 10;
/// Bytes that a guest hands over at a time.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// The way of requests to the runtime.
pub(super) struct Hooks(pub(super) Arc<Calls>);

type Sent = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Sent,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Sent)>> + Send> {
        let calls = Arc::clone(&self.0);
        Box::new(async move {
            let response = send(&calls, request).await?;
            Ok((response, Box::new(async { Ok(()) }) as Sent))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }
}

async fn send(calls: &Calls, request: http::Request<WasiBody>) -> Result<http::Response<WasiBody>> {
    let (head, body) = request.into_parts();
    let target = Target::parse(&head.uri.to_string()).map_err(|_| Error::HttpRequestUriInvalid)?;
    if calls.capabilities().is_some_and(|declared| !declared.http.iter().any(|pattern| covers(pattern, &target))) {
        return Err(Error::HttpRequestDenied);
    }
    let mut args = json!({
        "url": target.url.as_str(),
        "method": head.method.as_str(),
        "headers": headers(&head.headers),
    });
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|_| Error::HttpRequestBodySize(Some(BODY_BYTES_MAX as u64)))?.to_bytes();
    if !body.is_empty() {
        let text = std::str::from_utf8(&body);
        let text = text.map_err(|_| Error::InternalError(Some("only text can be sent".to_owned())))?;
        args["body"] = text.into();
    }
    let is_reading = matches!(head.method, http::Method::GET | http::Method::HEAD);
    let answer = if is_reading { calls.ask("http_request", args).await } else { calls.act("http_request", args).await };
    response(&answer.map_err(|fault| refused(&fault))?)
}

/// Whether a declared host, with its port or with those of the web, is the target's.
fn covers(pattern: &str, target: &Target) -> bool {
    let (name, port) = match pattern.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && !name.ends_with(':') => (name, port.parse().ok()),
        _ => (pattern, None),
    };
    let is_port = port.map_or(matches!(target.port, 80 | 443), |port: u16| port == target.port);
    let host = target.host.to_string();
    let is_host = match (name.strip_prefix("*."), &target.host) {
        (Some(domain), Host::Name(_)) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        (Some(_), Host::Ip(_)) => false,
        (None, _) => name.eq_ignore_ascii_case(&host),
    };
    is_port && is_host
}

/// The headers that a caller may set; framing is the client's affair.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let ours = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING];
    let names = headers.keys().filter(|name| !ours.contains(name));
    let joined = |name: &HeaderName| {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        (name.as_str().to_owned(), Value::String(values.join(", ")))
    };
    names.map(joined).collect()
}

fn response(answer: &Value) -> Result<http::Response<WasiBody>> {
    if answer["truncated"] == Value::Bool(true) {
        return Err(Error::HttpResponseBodySize(None));
    }
    let body = match (answer["body"].as_str(), answer["body_base64"].as_str()) {
        (Some(text), _) => Bytes::copy_from_slice(text.as_bytes()),
        (None, Some(text)) => STANDARD.decode(text).map_err(|_| Error::HttpProtocolError)?.into(),
        (None, None) => Bytes::new(),
    };
    let status = answer["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or_default();
    let mut response = http::Response::builder().status(status);
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        // The body is whole and decoded by now, so what described its frames would mislead.
        let is_frame = [CONTENT_LENGTH, TRANSFER_ENCODING, CONTENT_ENCODING].iter().any(|one| one == name.as_str());
        let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
        if let (false, Some(value)) = (is_frame, value) {
            response = response.header(name.as_str(), value);
        }
    }
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    response.body(body).map_err(|_| Error::HttpProtocolError)
}

fn refused(fault: &Fault) -> Error {
    match fault.code {
        Code::ADDRESS_REFUSED => Error::DestinationIpProhibited,
        Code::DENIED => Error::HttpRequestDenied,
        Code::TOOL_ARGS => Error::HttpRequestUriInvalid,
        Code::TOOL_TIMEOUT => Error::HttpResponseTimeout,
        _ => Error::InternalError(Some(fault.to_string())),
    }
}

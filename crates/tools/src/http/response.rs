//! The response, bounded: what has arrived when a bound is met is the answer.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::request::Request;
use crate::lane::Room;
use crate::text::{json_cost, utf8_start, within};

/// Bytes of a body that are read, counted after decompression.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a body inside JSON; together with the rest below what is stored of a result.
const BODY_JSON_BYTES_MAX: usize = 900 << 10;
/// Bytes of a body that is no text, before base64 makes four of three.
const BODY_BINARY_BYTES_MAX: usize = BODY_JSON_BYTES_MAX / 4 * 3;
/// Bytes of the headers inside JSON.
const HEADERS_JSON_BYTES_MAX: usize = 32 << 10;
/// Milliseconds kept for the answer out of what the call has.
const ANSWER_MS: u64 = 250;

/// Reads the body and puts the answer together.
pub(super) async fn read(request: &Request, response: Response, redirects: usize, room: &Room) -> Value {
    let status = response.status().as_u16();
    let (headers, is_headers_cut) = headers(response.headers());
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_text = is_text(content_type);
    let (bytes, cut) = body(response, room.deadline).await;

    let mut value = json!({
        "status": status,
        "url": request.told.as_deref().unwrap_or(request.target.url.as_str()),
        "headers": headers,
        "truncated": cut.is_some(),
    });
    if redirects > 0 {
        value["redirects"] = redirects.into();
    }
    if is_headers_cut {
        value["headers_truncated"] = true.into();
    }
    let is_shortened = put_body(&mut value, &bytes, is_text, cut.is_some());
    if let Some(by) = cut.or(is_shortened.then_some("size")) {
        value["truncated"] = true.into();
        value["truncated_by"] = by.into();
    }
    value
}

/// The body as far as it came, and the bound that ended it.
async fn body(mut response: Response, deadline: Instant) -> (Vec<u8>, Option<&'static str>) {
    let left = deadline.saturating_duration_since(Instant::now());
    let until = deadline - Duration::from_millis(ANSWER_MS).min(left / 4);
    let mut bytes = Vec::new();
    loop {
        // Cancel-safe: a chunk that is not taken is lost together with the response.
        match tokio::time::timeout_at(until, response.chunk()).await {
            Err(_) => return (bytes, Some("time")),
            Ok(Err(error)) => {
                tracing::debug!(is_decode = error.is_decode(), "response body broke off");
                return (bytes, Some("connection"));
            }
            Ok(Ok(None)) => return (bytes, None),
            Ok(Ok(Some(chunk))) => {
                let room = BODY_BYTES_MAX - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return (bytes, Some("size"));
                }
            }
        }
    }
}

/// Puts the body in as text or base64; true when only a part of it fits.
fn put_body(value: &mut Value, bytes: &[u8], is_text: bool, is_cut: bool) -> bool {
    if let Some(text) = utf8_start(bytes, is_cut) {
        let shown = within(text, BODY_JSON_BYTES_MAX);
        value["body"] = shown.into();
        return shown.len() < text.len();
    }
    if is_text {
        let text = String::from_utf8_lossy(bytes);
        let shown = within(&text, BODY_JSON_BYTES_MAX);
        value["body"] = shown.into();
        value["is_lossy"] = true.into();
        return shown.len() < text.len();
    }
    let shown = &bytes[..bytes.len().min(BODY_BINARY_BYTES_MAX)];
    value["body_base64"] = STANDARD.encode(shown).into();
    shown.len() < bytes.len()
}

/// True for media types that are text even where a byte of it is not UTF-8.
fn is_text(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(essence.as_str(), "application/json" | "application/xml" | "application/javascript")
}

/// The headers by name, several values of one joined; true when some are left out.
fn headers(headers: &HeaderMap) -> (Map<String, Value>, bool) {
    let mut budget = HEADERS_JSON_BYTES_MAX;
    let mut out = Map::new();
    for name in headers.keys() {
        let values: Vec<String> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        let joined = values.join(", ");
        let cost = name.as_str().len() + joined.chars().map(json_cost).sum::<usize>() + 8;
        if cost > budget {
            return (out, true);
        }
        budget -= cost;
        out.insert(name.as_str().to_owned(), joined.into());
    }
    (out, false)
}

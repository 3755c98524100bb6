//! The HTTP interface under `/api`: JSON in, JSON or problem documents out.
//!
//! Bodies are read strictly and within [`BODY_BYTES_MAX`] and [`BODY_PATIENCE`].
//! Types of this interface live here; they are made from the engine's.

pub(super) mod about;
pub(super) mod accounts;
pub(super) mod agents;
pub(super) mod approvals;
pub(super) mod audit;
pub(super) mod compaction;
pub(super) mod inbox;
pub(super) mod journal;
pub(super) mod logins;
pub(super) mod memory;
pub(super) mod registry;
pub(super) mod secrets;
pub(super) mod servers;
pub(super) mod sessions;
pub(super) mod tokens;
pub(super) mod usage;
pub(super) mod variables;
pub(super) mod workspace;

use std::any::TypeId;
use std::str::FromStr;
use std::time::Duration;

use are_core::canonical::parse_strict;
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_engine::api::Caller;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::auth::Principal;
use super::named;
use super::problem::{Refusal, invalid, too_large};

/// Bytes of a request's body: rules for a replay are the largest.
pub(super) const BODY_BYTES_MAX: usize = 2 << 20;
/// Bytes of a body that carries a file of tools: the largest file in base64, with its manifest.
const FILE_BODY_BYTES_MAX: usize = 48 << 20;
/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Where a client of this interface speaks from when it does not say.
const THREAD: &str = "api";

pub(super) type Answer = Result<Response, Refusal>;

/// Who asks.
pub(super) struct Who {
    pub(super) principal: Principal,
    pub(super) caller: Caller,
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let principal = parts.extensions.get::<Principal>().cloned();
        let principal = principal
            .ok_or_else(|| Fault::new(Code::INTERNAL, "the request has no principal", "report this as a bug"))?;
        let thread = parts.headers.get("are-thread").map_or(Ok(THREAD), HeaderValue::to_str).unwrap_or_default();
        let caller = principal.caller(parsed(thread)?);
        Ok(Self { principal, caller })
    }
}

/// The query, of known parameters only.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(params)| Self(params)).map_err(|error| {
            invalid(format!("the query is not understood: {}", error.body_text()), "see `/api/openapi.json`").into()
        })
    }
}

/// The parts of a path.
pub(super) struct Place<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Place<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(place)| Self(place))
            .map_err(|_| invalid("the path holds a part that is not understood", "see `/api/openapi.json`").into())
    }
}

/// A JSON body; `None` when there is none.
pub(super) struct Told<T>(Option<T>);

impl<T> Told<T> {
    fn required(self) -> Result<T, Fault> {
        self.0.ok_or_else(|| invalid("the request needs a body", "send a JSON value; see `/api/openapi.json`"))
    }
}

impl<T: DeserializeOwned + 'static, S: Sync> FromRequest<S> for Told<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Refusal> {
        Ok(Self(told(request, BODY_BYTES_MAX).await?))
    }
}

/// A JSON body that carries a file; for administrators only, because it is held in memory.
pub(super) struct Large<T>(Option<T>);

impl<T> Large<T> {
    fn required(self) -> Result<T, Fault> {
        Told(self.0).required()
    }
}

impl<T: DeserializeOwned + 'static, S: Sync> FromRequest<S> for Large<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Refusal> {
        Ok(Self(told(request, FILE_BODY_BYTES_MAX).await?))
    }
}

pub(super) async fn told<T: DeserializeOwned + 'static>(
    request: Request<Body>,
    bytes_max: usize,
) -> Result<Option<T>, Fault> {
    let bytes = read(request.into_body(), bytes_max).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let help = "see `/api/openapi.json`";
    let value = parse_strict(&bytes).map_err(|error| invalid(error.to_string(), help))?;
    // Only `Value` is any value.
    if TypeId::of::<T>() != TypeId::of::<Value>() {
        match &value {
            Value::Null => return Ok(None),
            Value::Object(_) => {}
            _ => return Err(invalid("the body is no JSON object", help)),
        }
    }
    named::read(value).map(Some).map_err(|error| invalid(error.to_string(), help))
}

/// A whole body, within a size and a time.
pub(super) async fn read(body: Body, bytes_max: usize) -> Result<Bytes, Fault> {
    let collected = tokio::time::timeout(BODY_PATIENCE, Limited::new(body, bytes_max).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(too_large(format!("the body is larger than {bytes_max} bytes"), "send less at once"))
        }
        Ok(Err(_)) => Err(invalid("the body broke off", "send the request again")),
        Err(_) => Err(invalid("the body took too long", "send the request again").retryable()),
    }
}

/// An identifier out of a path or header.
pub(super) fn parsed<T: FromStr<Err = are_core::ids::InvalidId>>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(|error: are_core::ids::InvalidId| invalid(error.to_string(), "correct it"))
}

/// A session's key out of a path; what is no key names no session.
fn session(text: &str) -> Result<SessionKey, Fault> {
    text.parse()
        .map_err(|_| Fault::new(Code::SESSION_UNKNOWN, "this is no session's key", "`are session list` shows the keys"))
}

/// A JSON answer.
pub(super) fn json(value: &impl Serialize) -> Answer {
    answer(StatusCode::OK, value)
}

/// A JSON answer for something that was made.
pub(super) fn created(value: &impl Serialize) -> Answer {
    answer(StatusCode::CREATED, value)
}

fn answer(status: StatusCode, value: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Fault::new(Code::INTERNAL, error.to_string(), "report this as a bug"))?;
    Ok(typed(status, "application/json", Body::from(bytes)))
}

/// Done, and nothing to say.
pub(super) fn done() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) fn typed(status: StatusCode, media_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Stored JSON as a value; what is unreadable is shown as the text it is.
fn stored(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.to_owned()))
}

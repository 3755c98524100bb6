//! Refusals in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.
//!
//! `code` is theirs where they have one that clients look for, else ours;
//! `are_code` is always ours. `x-should-retry`, which the SDKs obey, is false
//! once a turn has begun: made again, it would do again what it has done.

use are_core::error::{Code, Fault};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::server::problem::{invalid, status_of};

/// Obeyed by the SDKs before any rule of their own.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Why a request is refused.
#[derive(Debug)]
pub(in crate::server) struct Wrong {
    fault: Fault,
    status: StatusCode,
    param: Option<String>,
    has_begun: bool,
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        let status = status_here(fault.code);
        let param = (fault.code == Code::MODEL_UNKNOWN).then(|| "model".to_owned());
        Self { fault, status, param, has_begun: false }
    }
}

impl Wrong {
    /// Something is wrong with one parameter.
    pub(super) fn at(param: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::from(invalid(message, help)) }
    }

    /// A fault that one parameter is the cause of.
    pub(super) fn of(param: &str, fault: Fault) -> Self {
        Self { param: Some(param.to_owned()), ..Self::from(fault) }
    }

    /// What ended a turn.
    pub(super) fn of_turn(fault: Fault) -> Self {
        Self { has_begun: true, ..Self::from(fault) }
    }

    /// Text that was sent already is void.
    pub(super) fn began_again() -> Self {
        let message = "the model began again, and text already sent is void";
        Self::of_turn(Fault::new(Code::MODEL_STREAM_BROKEN, message, "ask again"))
    }

    /// The fault.
    pub(super) const fn fault(&self) -> &Fault {
        &self.fault
    }

    /// The body.
    pub(super) fn body(&self) -> Value {
        let Fault { code, message, help, .. } = &self.fault;
        let message = if help.is_empty() { message.clone() } else { format!("{message}; {help}") };
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        let theirs = theirs(*code).map_or_else(|| code.to_string(), str::to_owned);
        json!({"error": {"message": message, "type": kind, "param": self.param, "code": theirs, "are_code": code}})
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let should = if self.fault.retryable && !self.has_begun { "true" } else { "false" };
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(should));
        if let Some(ms) = self.fault.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        response
    }
}

/// The same refusal in this shape, where a door that all paths share has refused; anything else as it is.
pub(in crate::server) fn reshaped(mut response: Response) -> Response {
    let Some(fault) = response.extensions_mut().remove::<Fault>() else { return response };
    let wrong = Wrong { status: response.status(), ..Wrong::from(fault) };
    let mut shaped = wrong.into_response();
    for name in [header::WWW_AUTHENTICATE, header::CONNECTION, header::ALLOW] {
        if let Some(value) = response.headers_mut().remove(&name) {
            shaped.headers_mut().insert(name, value);
        }
    }
    shaped
}

/// The status that SDKs know a fault by; where it is not said here, as everywhere.
fn status_here(code: Code) -> StatusCode {
    match code {
        Code::MODEL_UNKNOWN => StatusCode::NOT_FOUND,
        Code::CONTEXT_TOO_LONG | Code::IMAGES_REFUSED => StatusCode::BAD_REQUEST,
        Code::MODEL_RATE_LIMITED => StatusCode::TOO_MANY_REQUESTS,
        Code::MODEL_TIMEOUT => StatusCode::GATEWAY_TIMEOUT,
        Code::TOOL_EXISTS => StatusCode::BAD_REQUEST,
        code => status_of(code),
    }
}

/// Their code, where clients look for one.
fn theirs(code: Code) -> Option<&'static str> {
    match code {
        Code::UNAUTHENTICATED | Code::CREDENTIAL_INVALID => Some("invalid_api_key"),
        Code::MODEL_UNKNOWN => Some("model_not_found"),
        Code::CONTEXT_TOO_LONG => Some("context_length_exceeded"),
        Code::BUDGET_USED_UP => Some("insufficient_quota"),
        Code::SLOWED_DOWN | Code::MODEL_RATE_LIMITED | Code::PENDING_LIMIT | Code::SESSION_LIMIT => {
            Some("rate_limit_exceeded")
        }
        _ => None,
    }
}

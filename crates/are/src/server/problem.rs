//! How a fault leaves through each door: one table from code to HTTP status,
//! WebSocket close code and problem document (RFC 9457).
//!
//! A [`Fault`] is already safe to show; nothing is added to it here but its form.

use are_core::error::{Code, Fault};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

/// Bytes of a close frame's reason (RFC 6455 §5.5: 125 less the code).
const CLOSE_REASON_BYTES_MAX: usize = 123;

/// A fault as an HTTP answer.
#[derive(Debug)]
pub(super) struct Refusal {
    fault: Fault,
    status: StatusCode,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let status = status_of(fault.code);
        Self { fault, status }
    }
}

impl Refusal {
    /// The fault.
    pub(super) const fn fault(&self) -> &Fault {
        &self.fault
    }

    /// With a status that says more than the code does.
    pub(super) fn with_status(fault: Fault, status: StatusCode) -> Self {
        Self { fault, status }
    }
}

/// A problem document.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// `urn:are:error:ARE-NNNN`; the page of that name is in the documentation.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened and why.
    detail: String,
    /// `ARE-NNNN`.
    code: String,
    /// The same as `detail`.
    message: String,
    /// What to do.
    help: String,
    /// True when the same request may succeed later.
    retryable: bool,
    /// When to try again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { fault, status } = self;
        let told = fault.clone();
        let problem = Problem {
            kind: format!("urn:are:error:{}", fault.code),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: fault.message.clone(),
            code: fault.code.to_string(),
            message: fault.message,
            help: fault.help,
            retryable: fault.retryable,
            retry_after_ms: fault.retry_after_ms,
        };
        // A struct of texts and integers always encodes; were it not to, the status still stands.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        // For doors that word their refusals otherwise.
        response.extensions_mut().insert(told);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(ms) = fault.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = match fault.code {
                Code::UNAUTHENTICATED => "Bearer realm=\"are\"",
                _ => "Bearer realm=\"are\", error=\"invalid_token\"",
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// The HTTP status of a code.
pub(super) fn status_of(code: Code) -> StatusCode {
    match code {
        Code::UNAUTHENTICATED | Code::CREDENTIAL_INVALID => StatusCode::UNAUTHORIZED,
        Code::ORIGIN_REFUSED
        | Code::HOST_REFUSED
        | Code::SCOPE_MISSING
        | Code::DENIED
        | Code::PROMPT_REFUSED
        | Code::PATH_REFUSED
        | Code::ACCOUNT_PROTECTED
        | Code::ACCOUNT_GONE => StatusCode::FORBIDDEN,
        Code::NOT_FOUND
        | Code::SESSION_UNKNOWN
        | Code::TOOL_UNKNOWN
        | Code::TOOL_NOT_FOUND
        | Code::APPROVAL_UNKNOWN
        | Code::TOKEN_UNKNOWN
        | Code::AUDIT_UNKNOWN
        | Code::ACCOUNT_UNKNOWN
        | Code::SECRET_UNKNOWN => StatusCode::NOT_FOUND,
        Code::REQUEST_TOO_LARGE | Code::PROMPT_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
        Code::SLOWED_DOWN
        | Code::PENDING_LIMIT
        | Code::SESSION_LIMIT
        | Code::BUDGET_USED_UP
        | Code::ACCOUNT_LIMIT
        | Code::RATE_LIMIT => StatusCode::TOO_MANY_REQUESTS,
        Code::SESSION_BUSY
        | Code::REQUEST_CONFLICT
        | Code::FENCED
        | Code::TURN_NOT_RUNNING
        | Code::APPROVAL_MISMATCH
        | Code::APPROVAL_PENDING
        | Code::UNDO_CONFLICT
        | Code::NOT_RESTORABLE
        | Code::ACCOUNT_TAKEN
        | Code::TOOL_EXISTS
        | Code::CONSENT_MISMATCH
        | Code::AUDIT_OFF
        | Code::AUDIT_BUSY => StatusCode::CONFLICT,
        Code::SERVER_UNUSABLE | Code::SERVER_LOGIN | Code::LOGIN_FAILED => StatusCode::BAD_GATEWAY,
        Code::STORE_FULL => StatusCode::INSUFFICIENT_STORAGE,
        Code::UNAVAILABLE | Code::STORE_FAILED | Code::TOO_MANY_CONNECTIONS | Code::SECRETS_LOCKED => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::SESSION_CORRUPT | Code::AUDIT_BROKEN | Code::AUDIT_KEY | Code::SECRET_CORRUPT | Code::INTERNAL => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        // What the caller asked for cannot be done as it stands: a model, agent, workspace, rule or value.
        code => match code.number() {
            1..=99 | 500..=699 | 700..=899 | 408 | 409 | 206 => StatusCode::BAD_REQUEST,
            400..=499 => StatusCode::BAD_GATEWAY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

/// The close code of a code: 4000 and its number, so that a client reads the one from the other.
pub(super) fn close_code_of(code: Code) -> u16 {
    4000 + code.number().min(999)
}

/// The close frame's reason: `ARE-NNNN message`, cut at a character.
pub(super) fn close_reason_of(fault: &Fault) -> String {
    let mut reason = format!("{} {}", fault.code, fault.message);
    if reason.len() > CLOSE_REASON_BYTES_MAX {
        let end = (0..=CLOSE_REASON_BYTES_MAX).rev().find(|&at| reason.is_char_boundary(at)).unwrap_or(0);
        reason.truncate(end);
    }
    reason
}

/// How sockets are closed when the server ends: as RFC 6455 says for a restart, else with the code of the fault.
pub(super) fn farewell(fault: &Fault) -> (u16, String) {
    let code = if fault.code == Code::UNAVAILABLE { 1012 } else { close_code_of(fault.code) };
    (code, close_reason_of(fault))
}

/// A request or frame that is not understood.
pub(super) fn invalid(message: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault::new(Code::REQUEST_INVALID, message, help)
}

/// A request or frame above a limit.
pub(super) fn too_large(message: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault::new(Code::REQUEST_TOO_LARGE, message, help)
}

/// The server ends; what was acknowledged goes on after a restart.
pub(super) fn stopping() -> Fault {
    Fault::new(
        Code::UNAVAILABLE,
        "the server is shutting down",
        "connect again in a moment; acknowledged turns go on after the restart",
    )
    .retry_after(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_that_says_error_and_a_close_code_for_applications() {
        for &code in Code::ALL {
            assert!(status_of(code).as_u16() >= 400, "{code}");
            assert!((4000..5000).contains(&close_code_of(code)), "{code}");
        }
    }

    #[test]
    fn a_close_reason_is_cut_at_a_character() {
        let fault = Fault::new(Code::INTERNAL, "é".repeat(200), "");
        let reason = close_reason_of(&fault);
        assert!(reason.len() <= CLOSE_REASON_BYTES_MAX && reason.starts_with("ARE-0313 é"));
    }
}

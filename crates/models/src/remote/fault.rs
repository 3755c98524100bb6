//! What can go wrong with a provider, as faults of the 04 group.
//!
//! A provider's error body is read for its code and reason and then dropped:
//! it can quote the prompt, the key or an instruction to the model, so no word
//! of it reaches a client or the model.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use are_core::error::{Code, Fault};
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::http::Error;

/// Phrases by which providers say that the conversation is too long.
const TOO_LONG: &[&str] = &[
    "context_length_exceeded",
    "context length",
    "context window",
    "context size",
    "prompt is too long",
    "input is too long",
    "too many tokens",
    "request_too_large",
];

/// Makes faults that name their provider.
#[derive(Clone)]
pub(crate) struct Faults {
    provider: Arc<str>,
}

impl Faults {
    pub(crate) fn new(provider: &str) -> Self {
        Self { provider: Arc::from(provider) }
    }

    /// The answer `why`: `is not UTF-8`.
    pub(crate) fn broken(&self, why: &str) -> Fault {
        let message = format!("the answer of provider `{}` {why}", self.provider);
        Fault::new(Code::MODEL_STREAM_BROKEN, message, "try again; if it stays, check `base_url` or use another model")
    }

    /// The answer stopped before its end.
    pub(crate) fn cut_off(&self) -> Fault {
        self.broken("ends before it is complete").retryable()
    }

    /// The answer crosses a limit.
    pub(crate) fn limit(&self, what: &str) -> Fault {
        let message = format!("{what}; provider `{}` was stopped", self.provider);
        Fault::new(Code::MODEL_LIMIT, message, "ask for less at once, or use another model")
    }

    /// The provider says that it failed, without a reason.
    pub(crate) fn gave_up(&self) -> Fault {
        self.error("gave up in the middle of the answer").retryable()
    }

    /// What came is no stream of events.
    pub(crate) fn no_stream(&self, content_type: &str) -> Fault {
        let what = if content_type.contains("html") { "a web page" } else { "no stream of events" };
        let message = format!("provider `{}` answered with {what}", self.provider);
        Fault::new(Code::MODEL_STREAM_BROKEN, message, "check `kind` and `base_url` of the provider")
    }

    /// An error object where an answer was due.
    pub(crate) fn in_answer(&self, body: &str) -> Fault {
        let reason = Reason::of(body);
        match reason.status() {
            Some(status) => self.refusal(status, &HeaderMap::new(), &reason),
            None => self.error("answered with an error"),
        }
    }

    /// A status that is not success, with the beginning of its body.
    pub(crate) fn status(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault {
        self.refusal(status, headers, &Reason::of(&String::from_utf8_lossy(body)))
    }

    /// A redirect; following it could lead anywhere, private addresses included.
    pub(crate) fn redirect(&self) -> Fault {
        let message = format!("provider `{}` redirects, which is not followed", self.provider);
        Fault::new(Code::MODEL_REDIRECT, message, "set `base_url` to the address that the provider documents")
    }

    /// No response, or a response that broke.
    pub(crate) fn http(&self, error: &Error) -> Fault {
        let provider = &self.provider;
        match error {
            Error::Unreachable { why, .. } => {
                let message = format!("provider `{provider}` cannot be reached: {why}");
                Fault::new(Code::MODEL_UNREACHABLE, message, "check `base_url`, the network and that it runs")
                    .retryable()
            }
            Error::Setup { why, .. } => {
                let message = format!("provider `{provider}` cannot be reached: {why}");
                Fault::new(Code::MODEL_UNREACHABLE, message, "install what is missing, or check `base_url`")
            }
            Error::Timeout { phase, after } => {
                let after = after.as_millis();
                let message = format!("provider `{provider}` was silent for {after} ms while {phase} was due");
                Fault::new(Code::MODEL_TIMEOUT, message, "try again later or use another model").retryable()
            }
            Error::Broken(_) => self.cut_off(),
            Error::Coding => self.broken("uses a content coding that was not asked for"),
            Error::TooLarge { limit } => self.limit(&format!("the answer is longer than {} MiB", limit >> 20)),
        }
    }

    /// The whole exchange took too long.
    pub(crate) fn overdue(&self, after: Duration) -> Fault {
        let message = format!("provider `{}` did not end its answer within {} s", self.provider, after.as_secs());
        Fault::new(Code::MODEL_TIMEOUT, message, "ask for less at once, or use another model")
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap, reason: &Reason) -> Fault {
        let provider = &self.provider;
        let number = status.as_u16();
        match number {
            300..=399 => self.redirect(),
            401 | 403 => Fault::new(
                Code::MODEL_AUTH,
                format!("provider `{provider}` refused the key (status {number})"),
                "check the key and what it may be used for",
            ),
            _ if reason.is_too_long() && number != 429 && number < 500 => Fault::new(
                Code::CONTEXT_TOO_LONG,
                format!("the conversation does not fit into the context of provider `{provider}`'s model"),
                "start a new session, or use a model with a longer context",
            ),
            404 => Fault::new(
                Code::MODEL_UNKNOWN,
                format!("provider `{provider}` knows no such model or path"),
                "check the model's name and `base_url`",
            ),
            _ if reason.names("model_not_found") => Fault::new(
                Code::MODEL_UNKNOWN,
                format!("provider `{provider}` knows no such model"),
                "check the model's name",
            ),
            402 => self.error("wants to be paid first (status 402)"),
            429 if reason.names("insufficient_quota") => Fault::new(
                Code::MODEL_RATE_LIMITED,
                format!("the quota at provider `{provider}` is used up"),
                "check plan and billing at the provider, or use another one",
            ),
            429 => {
                let message = format!("provider `{provider}` is rate limiting");
                let fault = Fault::new(Code::MODEL_RATE_LIMITED, message, "wait, or use another model");
                after(fault.retryable(), headers)
            }
            408 | 425 | 500..=599 => after(self.error(&format!("failed (status {number})")).retryable(), headers),
            _ => self.error(&format!("refused the request (status {number})")),
        }
    }

    fn error(&self, what: &str) -> Fault {
        let message = format!("provider `{}` {what}", self.provider);
        Fault::new(Code::MODEL_ERROR, message, "see the log at level `debug`; try again later or use another model")
    }
}

fn after(fault: Fault, headers: &HeaderMap) -> Fault {
    match retry_after(headers, SystemTime::now()) {
        Some(wait) => fault.retry_after(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        None => fault,
    }
}

/// How long the provider asks to wait: `retry-after-ms`, else `Retry-After` in
/// seconds or as a date, which is compared with the provider's own clock where
/// it tells it.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(ms / 1000.0).ok();
    }
    let wanted = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = wanted.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = date(wanted)?;
    let now = text(DATE.as_str()).and_then(date).unwrap_or(now);
    Some(at.duration_since(now).unwrap_or(Duration::ZERO))
}

fn date(text: &str) -> Option<SystemTime> {
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(SystemTime::from(date.timestamp()))
}

/// What an error body says, in lower case: its codes, and all its words.
#[derive(Default)]
struct Reason {
    codes: Vec<String>,
    message: String,
}

impl Reason {
    /// Reads `{"error": {…}}`, `{"error": "…"}` or an object that is itself the error.
    fn of(body: &str) -> Self {
        let Ok(value) = serde_json::from_str::<Value>(body) else {
            return Self { codes: Vec::new(), message: body.to_lowercase() };
        };
        let error = value.get("error").unwrap_or(&value);
        let word = |value: &Value| match value {
            Value::String(text) => text.to_lowercase(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let codes = ["code", "type", "status"].iter().filter_map(|name| error.get(name)).map(word).collect();
        let message = error.get("message").or_else(|| error.get("detail")).unwrap_or(error);
        Self { codes, message: word(message) }
    }

    fn names(&self, code: &str) -> bool {
        self.codes.iter().any(|known| known == code)
    }

    fn is_too_long(&self) -> bool {
        TOO_LONG.iter().any(|phrase| self.names(phrase) || self.message.contains(phrase))
    }

    /// The status that the error would have had, had it come in time.
    fn status(&self) -> Option<StatusCode> {
        let number = self.codes.iter().find_map(|code| code.parse().ok().filter(|code| (400..600).contains(code)));
        let has = |part: &str| self.codes.iter().any(|code| code.contains(part));
        let number = number.or_else(|| match () {
            () if self.is_too_long() => Some(400),
            () if has("rate_limit") || has("quota") => Some(429),
            () if has("authentication") || has("api_key") || has("permission") => Some(401),
            () if has("not_found") => Some(404),
            () if has("billing") => Some(402),
            () if has("timeout") => Some(504),
            () if self.names("api_error") => Some(500),
            () if has("server_error") || has("internal") || has("overloaded") || has("unavailable") => Some(503),
            () => None,
        });
        number.and_then(|number| StatusCode::from_u16(number).ok())
    }
}

#[cfg(test)]
mod tests;

//! The request: what the caller may set, and what a redirect changes.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_policy::address::Target;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::refused;
use crate::lane::Error;
use crate::text::short;

/// Methods that can be asked for; CONNECT and TRACE would speak to proxies.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Headers of one request.
pub(super) const HEADERS_MAX: usize = 64;
/// Bytes of their names and values; servers refuse more.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Name under which a server recognises a repetition.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Prefix of headers that a browser would not let a page set.
const RESERVED_PREFIXES: [&str; 2] = ["proxy-", "sec-"];
/// Headers that decide how the message is framed, routed or decoded; they are the client's.
const RESERVED: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "idempotency-key",
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub(super) url: String,
    method: Option<String>,
    #[serde(default)]
    pub(super) headers: Map<String, Value>,
    pub(super) body: Option<Value>,
    /// True once values stand in it.
    #[serde(skip)]
    pub(super) has_secrets: bool,
}

impl Wanted {
    /// A request that a template makes.
    pub(crate) fn new(url: String, method: &str, headers: Map<String, Value>, body: Option<Value>) -> Self {
        Self { url, method: Some(method.to_owned()), headers, body, has_secrets: false }
    }

    /// Where it goes.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether it could be sent.
    pub(crate) fn check(self, key: &Digest) -> Result<(), Fault> {
        Request::new(self, key).map(|_| ())
    }
}

/// A request that may be sent, at its present target.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) target: Target,
    pub(super) method: Method,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    /// True once an effect may have happened, whatever the method has become since.
    has_sent_effect: bool,
    /// The address to tell of, where the one that is asked holds a secret.
    pub(super) told: Option<String>,
}

impl Request {
    pub(super) fn new(wanted: Wanted, key: &Digest) -> Result<Self, Fault> {
        let target = Target::parse(&wanted.url).map_err(refused)?;
        let method = match wanted.method.as_deref() {
            None => Method::GET,
            Some(name) if METHODS.contains(&name) => {
                Method::from_bytes(name.as_bytes()).map_err(|_| invalid("the method is not known".to_owned()))?
            }
            Some(name) => return Err(invalid(format!("the method `{}` is not known", short(name)))),
        };
        let mut headers = headers(&wanted.headers)?;
        // Then no log of a library writes them.
        headers.values_mut().for_each(|value| value.set_sensitive(wanted.has_secrets));
        let is_reading = matches!(method, Method::GET | Method::HEAD);
        let body = match wanted.body {
            Some(_) if is_reading => return Err(invalid(format!("a {method} request has no body"))),
            None => None,
            Some(Value::String(text)) => Some(text.into_bytes()),
            Some(json) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                Some(json.to_string().into_bytes())
            }
        };
        if !is_reading {
            let key = HeaderValue::from_str(&key.to_string()).map_err(|_| invalid("no key".to_owned()))?;
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        let ours = HeaderValue::from_static(concat!("are/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(ours);
        Ok(Self { target, method, headers, body, has_sent_effect: !is_reading, told: None })
    }

    /// True when sending it, as it is now, can change something.
    pub(super) fn is_effect(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }

    /// True when a redirect with this status asks for a plain GET.
    ///
    /// SOURCE: WHATWG Fetch, HTTP-redirect fetch, step 12.
    fn becomes_get(&self, status: StatusCode) -> bool {
        match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        }
    }

    /// Turns it into the request that the redirect asks for; to another origin none is followed.
    pub(super) fn follow(&mut self, next: Target, status: StatusCode) {
        if self.becomes_get(status) {
            self.method = Method::GET;
            self.body = None;
            self.headers.remove(IDEMPOTENCY_KEY);
            let about_body: Vec<HeaderName> =
                self.headers.keys().filter(|name| name.as_str().starts_with("content-")).cloned().collect();
            for name in about_body {
                self.headers.remove(name);
            }
        }
        self.target = next;
        self.told = None;
    }

    pub(super) fn build(&self) -> reqwest::Request {
        let mut request = reqwest::Request::new(self.method.clone(), self.target.url.clone());
        *request.headers_mut() = self.headers.clone();
        *request.body_mut() = self.body.clone().map(reqwest::Body::from);
        request
    }

    /// What an error while sending means.
    pub(super) fn failed(&self, error: &reqwest::Error) -> Error {
        let host = &self.target.host;
        if let Some(fault) = unsent(host, error) {
            return fault.into();
        }
        let fault = |what: &str, help: &str| Fault::new(Code::TOOL_FAILED, format!("`{host}` {what}"), help);
        self.after_sending(fault("broke off or answered something that is not HTTP", "try again later").retryable())
    }

    /// A failure after the request may have reached the server.
    pub(super) fn after_sending(&self, mut fault: Fault) -> Error {
        if !self.has_sent_effect {
            return Error::Failed(fault);
        }
        fault.code = Code::TOOL_OUTCOME_UNKNOWN;
        fault.retryable = false;
        fault.help = "the request may have been carried out: find out before sending it again".to_owned();
        Error::Unknown(fault)
    }
}

/// Headers that somebody wrote down for every request, checked as those of a call are.
pub(crate) fn headers_of(wanted: &std::collections::BTreeMap<String, String>) -> Result<HeaderMap, Fault> {
    headers(&wanted.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect())
}

/// What an error says that came before anything was sent; `None` when the request may have reached the server.
pub(super) fn unsent(host: &are_policy::address::Host, error: &reqwest::Error) -> Option<Fault> {
    tracing::debug!(error = %Chain(error), "request failed");
    let fault = |what: &str, help: &str| Fault::new(Code::TOOL_FAILED, format!("`{host}` {what}"), help);
    if error.is_builder() {
        return Some(fault("cannot be asked that way", "change the request"));
    }
    if !error.is_connect() {
        return None;
    }
    let what = match Cause::of(error) {
        Cause::Certificate => "has no certificate that can be trusted, or does not speak TLS",
        Cause::Refused => "refuses connections at that port",
        Cause::Other if error.is_timeout() => "cannot be connected to in time",
        Cause::Other => "cannot be connected to",
    };
    // Not connected, so not sent.
    Some(fault(what, "check the address, or try again later").retryable())
}

fn headers(wanted: &Map<String, Value>) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::new();
    let mut bytes = 0;
    for (name, value) in wanted {
        let value = value.as_str().unwrap_or_default();
        bytes += name.len() + value.len();
        if headers.len() >= HEADERS_MAX || bytes > HEADER_BYTES_MAX {
            return Err(invalid(format!(
                "there are more than {HEADERS_MAX} headers or {HEADER_BYTES_MAX} bytes of them"
            )));
        }
        let shown = short(name);
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("`{}` is not a header name", shown.escape_debug())))?;
        let text = parsed.as_str();
        if RESERVED.contains(&text) || RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(invalid(format!("the header `{shown}` is set by the client itself")));
        }
        let value = HeaderValue::from_str(value).map_err(|_| {
            invalid(format!("the value of the header `{shown}` holds a line break or control character"))
        })?;
        if headers.insert(parsed, value).is_some() {
            return Err(invalid(format!("the header `{shown}` is given twice")));
        }
    }
    Ok(headers)
}

fn invalid(message: String) -> Fault {
    Fault::new(Code::TOOL_ARGS, message, "change the request and call `http_request` again")
}

/// Why a connection failed, as far as it helps the model.
enum Cause {
    Certificate,
    Refused,
    Other,
}

impl Cause {
    fn of(error: &reqwest::Error) -> Self {
        let mut next = error.source();
        while let Some(error) = next {
            if error.is::<rustls::Error>() {
                return Self::Certificate;
            }
            if let Some(io) = error.downcast_ref::<io::Error>() {
                if io.kind() == io::ErrorKind::ConnectionRefused {
                    return Self::Refused;
                }
                // An I/O error hides what it wraps from `source`.
                if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                    return Self::Certificate;
                }
            }
            next = error.source();
        }
        Self::Other
    }
}

/// An error with all its causes, for the log.
struct Chain<'a>(&'a reqwest::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL can hold what must not be logged.
        let mut next = self.0.source();
        write!(f, "kind: {}", if self.0.is_connect() { "connect" } else { "request" })?;
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

/// Time that is left for connecting, so that a silent address is told from a silent server.
pub(super) fn connect_time(left: Duration) -> Duration {
    const MOST: Duration = Duration::from_secs(10);
    MOST.min(left * 3 / 4)
}

#[cfg(test)]
mod tests;

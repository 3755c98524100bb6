//! What the adapters for remote providers have in common: one call with its
//! attempts and pauses, server-sent events, the faults of a provider, keys.
//!
//! An adapter writes the body of a request and reads the events of an answer;
//! everything between them is here, so that every provider is held to the same
//! limits.

pub(crate) mod exchange;
pub(crate) mod fault;
mod key;
pub(crate) mod sse;

use std::borrow::Cow;
use std::collections::VecDeque;

use are_core::error::{Code, Fault};
use are_core::limits::FRAME_BYTES_MAX;
use are_core::model::{Delta, ModelStream};
use futures_util::stream;
use http::HeaderMap;
use serde::de::IgnoredAny;
use url::Url;

pub use self::key::Key;
use crate::http::{Client, Timeouts};

/// Characters of a tool's name that providers accept.
const NAME_CHARS_MAX: usize = 64;

/// Whom requests go to.
pub(crate) struct Endpoint {
    /// Name in the configuration.
    pub(crate) name: String,
    /// Where requests are posted.
    pub(crate) url: Url,
    /// Headers of every request; the one with the key is marked sensitive.
    pub(crate) headers: HeaderMap,
    /// The key, to blot it out of what is logged.
    pub(crate) key: Option<Key>,
    /// The client.
    pub(crate) client: Client,
}

impl Endpoint {
    pub(crate) fn new(name: String, url: Url, headers: HeaderMap, key: Option<Key>, timeouts: Timeouts) -> Self {
        Self { name, url, headers, key, client: Client::new(timeouts) }
    }

    /// The provider's own id of a model; ids may contain colons themselves.
    pub(crate) fn id<'a>(&self, model: &'a str) -> &'a str {
        model.strip_prefix(self.name.as_str()).and_then(|rest| rest.strip_prefix(':')).unwrap_or(model)
    }
}

/// A key that no header can carry.
pub(crate) fn unusable_key(provider: &str) -> Fault {
    Fault::new(
        Code::CONFIG_INVALID,
        format!("the key of provider `{provider}` has characters that cannot be sent"),
        "check for line breaks or quotes around it",
    )
}

/// `{base_url}/{path}`, where `path` begins with what `base_url` may already end with; a query, as some gateways
/// want, is kept.
pub(crate) fn address(name: &str, base_url: &str, example: &str, path: &[&str]) -> Result<Url, Fault> {
    let refuse = |why: &str| {
        let message = format!("`base_url` of provider `{name}` {why}");
        Fault::new(Code::CONFIG_INVALID, message, format!("write it like `{example}`"))
    };
    let mut url = Url::parse(base_url).map_err(|_| refuse("is not an address"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("contains a password; keys belong into the key's variable"));
    }
    url.set_fragment(None);
    url.path_segments_mut().map_err(|()| refuse("cannot have a path"))?.pop_if_empty();
    let ends_with_first =
        path.first().is_some_and(|first| url.path_segments().is_some_and(|mut s| s.next_back() == Some(first)));
    let rest = if ends_with_first { &path[1..] } else { path };
    url.path_segments_mut().map_err(|()| refuse("cannot have a path"))?.extend(rest);
    Ok(url)
}

/// A stream that is nothing but a fault.
pub(crate) fn unwritten(error: &serde_json::Error) -> ModelStream {
    let fault = Fault::new(Code::INTERNAL, format!("the request cannot be written: {error}"), "report this");
    Box::pin(stream::iter([Err(fault)]))
}

/// Hands out words in pieces of at most a frame.
pub(crate) fn split_words(text: String, out: &mut VecDeque<Delta>, wrap: fn(String) -> Delta) {
    if text.len() <= FRAME_BYTES_MAX {
        out.push_back(wrap(text));
        return;
    }
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(rest.floor_char_boundary(FRAME_BYTES_MAX));
        out.push_back(wrap(head.to_owned()));
        rest = tail;
    }
}

/// A tool's name with everything replaced that providers refuse.
pub(crate) fn tool_name(name: &str) -> Cow<'_, str> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() {
        return Cow::Borrowed("unnamed");
    }
    if name.len() <= NAME_CHARS_MAX && name.chars().all(is_valid) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.chars().take(NAME_CHARS_MAX).map(|c| if is_valid(c) { c } else { '_' }).collect())
}

/// A call's arguments if they are a JSON object, else an object that shows them.
pub(crate) fn tool_arguments(arguments: &str) -> Cow<'_, str> {
    if arguments.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(arguments).is_ok() {
        return Cow::Borrowed(arguments);
    }
    Cow::Owned(serde_json::json!({ "unparsed": arguments }).to_string())
}

//! `KEY/N`: which session, turn or approval a word on the command line means.

use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use serde_json::Value;

use crate::client::Client;

/// A session's key, checked.
pub(super) fn session(text: &str) -> Result<String, Fault> {
    let key: SessionKey = text.parse().map_err(|_| not_a_key(text))?;
    Ok(key.to_string())
}

/// `KEY` or `KEY/N`.
pub(super) fn session_and_number(text: &str) -> Result<(String, Option<u32>), Fault> {
    match text.split_once('/') {
        None => Ok((session(text)?, None)),
        Some((key, number)) => Ok((session(key)?, Some(number.parse().map_err(|_| not_a_number(number))?))),
    }
}

/// `KEY/N`, or `N` of the caller's latest session.
pub(super) async fn numbered(client: &Client, text: &str) -> Result<(String, u32), Fault> {
    if text.contains('/') {
        let (key, number) = session_and_number(text)?;
        return number.map(|number| (key, number)).ok_or_else(|| not_a_number(text));
    }
    let number = text.parse().map_err(|_| not_a_number(text))?;
    Ok((latest_or_fault(client).await?, number))
}

/// The caller's latest session, which must exist.
pub(super) async fn latest_or_fault(client: &Client) -> Result<String, Fault> {
    latest(client).await?.ok_or_else(none)
}

/// The caller's latest session.
pub(super) async fn latest(client: &Client) -> Result<Option<String>, Fault> {
    let page = client.get("/api/sessions?own=true&limit=200").await?;
    Ok(page["sessions"][0]["session"].as_str().map(str::to_owned))
}

/// The text under a key of an object; empty when there is none.
pub(super) fn text(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A path segment with everything escaped that is not plain.
pub(super) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

fn none() -> Fault {
    Fault::new(Code::SESSION_UNKNOWN, "there is no session yet", "begin one with `are run PROMPT`")
}

fn not_a_key(text: &str) -> Fault {
    Fault::new(Code::SESSION_UNKNOWN, format!("`{text}` is not a session's key"), "`are session list` shows the keys")
}

fn not_a_number(text: &str) -> Fault {
    Fault::new(Code::REQUEST_INVALID, format!("`{text}` is not `KEY/N` or a number"), "write for example `KEY/1`")
}

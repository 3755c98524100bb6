//! From the messages of a request to the parts of a prompt.
//!
//! The newest message of the user is what is wanted; what stands before and
//! behind it is what was exchanged. Every call has its results right behind it
//! or the request is refused, as OpenAI does.

use std::collections::BTreeSet;

use are_core::model::{Image, Message};
use are_core::payload::Part;
use serde_json::Value;

use super::error::Wrong;
use super::fields::HELP;

/// A message, and where it stands in the request. One with images is several under the same `param`.
pub(super) struct Placed {
    pub(super) param: String,
    pub(super) message: Message,
}

/// The parts of a prompt. In a session of its own a conversation must be whole; in one that goes on, results of calls
/// that were made there may come alone.
pub(super) fn parts(placed: Vec<Placed>, goes_on: bool) -> Result<Vec<Part>, Wrong> {
    check_calls(&placed, goes_on)?;
    let is_user = |one: &&Placed| matches!(one.message, Message::User { .. } | Message::Image(_));
    let has_results = placed.iter().any(|one| matches!(one.message, Message::Tool { .. }));
    let newest = placed.iter().rfind(is_user).map(|one| one.param.clone());
    if newest.is_none() && !(goes_on && has_results) {
        let help = "end with what the user says; instructions alone ask for nothing";
        return Err(Wrong::at("messages", "there is no message of the user", help));
    }
    let mut parts = Vec::new();
    let mut exchanged = Vec::new();
    for Placed { param, message } in placed {
        let part = match message {
            Message::User { text } if newest.as_ref() == Some(&param) => Part::Text { text },
            Message::Image(image) if newest.as_ref() == Some(&param) => Part::Image(image),
            message => {
                exchanged.push(message);
                continue;
            }
        };
        flush(&mut exchanged, &mut parts);
        parts.push(part);
    }
    flush(&mut exchanged, &mut parts);
    Ok(parts)
}

fn flush(exchanged: &mut Vec<Message>, parts: &mut Vec<Part>) {
    if !exchanged.is_empty() {
        parts.push(Part::Exchange { messages: std::mem::take(exchanged) });
    }
}

fn check_calls(placed: &[Placed], goes_on: bool) -> Result<(), Wrong> {
    let mut open: BTreeSet<&str> = BTreeSet::new();
    let unanswered = |param: &str, open: &BTreeSet<&str>| {
        let ids: Vec<&str> = open.iter().copied().collect();
        let message = format!("calls have no result behind them: {}", ids.join(", "));
        Wrong::at(param, message, "send a message of the role `tool` for each call")
    };
    for Placed { param, message } in placed {
        match message {
            Message::Tool { id, .. } if open.remove(id.as_str()) || (goes_on && open.is_empty()) => {}
            Message::Tool { .. } => {
                let help = "put it right behind the message whose call it answers";
                return Err(Wrong::at(param, "a result answers no call before it", help));
            }
            _ if !open.is_empty() => return Err(unanswered(param, &open)),
            Message::Assistant { calls, .. } => open.extend(calls.iter().map(|call| call.id.as_str())),
            Message::System { .. } | Message::User { .. } | Message::Image(_) => {}
        }
    }
    match placed.last() {
        Some(last) if !open.is_empty() => Err(unanswered(&last.param, &open)),
        _ => Ok(()),
    }
}

/// What a user says and shows: a text, or parts that are texts of the kind `words` and images of the kind `picture`.
/// Texts without an image in between are one.
pub(super) fn said(content: &Value, param: &str, words: &str, picture: &str) -> Result<Vec<Message>, Wrong> {
    let Value::Array(parts) = content else { return Ok(vec![Message::User { text: text(content, param, &[words])? }]) };
    let mut said: Vec<Message> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let param = format!("{param}[{at}]");
        if part["type"] == picture {
            said.push(Message::Image(image(part, &param)?));
            continue;
        }
        let Some(more) = part["text"].as_str().filter(|_| part["type"] == words) else {
            let message = format!("only text and images are taken, in parts of the type `{words}` or `{picture}`");
            return Err(Wrong::at(param, message, "put other content into files"));
        };
        match said.last_mut() {
            Some(Message::User { text }) => text.push_str(more),
            _ => said.push(Message::User { text: more.to_owned() }),
        }
    }
    if said.is_empty() {
        said.push(Message::User { text: String::new() });
    }
    Ok(said)
}

/// An image that stands in the request itself (RFC 2397). Nothing is fetched for a client: it would be fetched with what
/// this machine may reach.
fn image(part: &Value, param: &str) -> Result<Image, Wrong> {
    let address = &part["image_url"];
    let address = address.as_str().or_else(|| address["url"].as_str()).unwrap_or_default();
    let found = address.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    let Some((media_type, data)) = found else {
        let help = "send it as `data:image/png;base64,…`; addresses and ids of files are not looked up";
        return Err(Wrong::at(format!("{param}.image_url"), "the image does not stand in the request", help));
    };
    Ok(Image { media_type: media_type.to_ascii_lowercase(), data: data.into() })
}

/// The text of a message's content: a text, or parts that are all texts of one of these kinds.
pub(super) fn text(content: &Value, param: &str, kinds: &[&str]) -> Result<String, Wrong> {
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let mut text = String::new();
            for (at, part) in parts.iter().enumerate() {
                let kind = part["type"].as_str().unwrap_or_default();
                // A refusal's words stand under their own name.
                let words = if kind == "refusal" { &part["refusal"] } else { &part["text"] };
                let Some(words) = words.as_str().filter(|_| kinds.contains(&kind)) else {
                    let message = format!("only text is taken, in parts of the type `{}`", kinds.join("` or `"));
                    return Err(Wrong::at(format!("{param}[{at}]"), message, "put other content into files"));
                };
                text.push_str(words);
            }
            Ok(text)
        }
        _ => Err(Wrong::at(param, "the content is neither a text nor parts", HELP)),
    }
}

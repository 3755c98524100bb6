//! The items of a request as messages.

use are_core::model::{CallRef, Message, RawCall};
use serde_json::Value;

use super::super::asking::Place;
use super::super::chat::within;
use super::super::error::Wrong;
use super::super::fields::HELP;
use super::super::input::{Placed, said, text};
use super::super::names::Names;

/// Instructions and items, in order; calls in a row belong to the words before them.
pub(super) fn placed(
    instructions: Option<String>,
    input: Value,
    names: &Names,
    place: Place,
) -> Result<Vec<Placed>, Wrong> {
    let mut placed: Vec<Placed> = Vec::new();
    if let Some(text) = instructions.filter(|text| !text.is_empty()) {
        placed.push(Placed { param: "instructions".to_owned(), message: Message::System { text } });
    }
    let items = match input {
        Value::String(text) => {
            placed.push(Placed { param: "input".to_owned(), message: Message::User { text } });
            return Ok(placed);
        }
        Value::Array(items) => items,
        _ => return Err(Wrong::at("input", "`input` is neither a text nor items", HELP)),
    };
    for (at, item) in items.iter().enumerate() {
        let param = format!("input[{at}]");
        for message in read(item, &param, names, place)? {
            match (placed.last_mut().map(|last| &mut last.message), message) {
                (Some(Message::Assistant { calls, .. }), Message::Assistant { text, calls: mut more, .. })
                    if text.is_empty() =>
                {
                    calls.append(&mut more);
                }
                (_, message) => placed.push(Placed { param: param.clone(), message }),
            }
        }
    }
    Ok(placed)
}

/// One item; nothing for one that holds nothing to go on with.
fn read(item: &Value, param: &str, names: &Names, place: Place) -> Result<Vec<Message>, Wrong> {
    let id = || match item["call_id"].as_str() {
        Some(id) => Ok(within(place, id)),
        None => Err(Wrong::at(format!("{param}.call_id"), "the id of the call is missing", HELP)),
    };
    match item["type"].as_str() {
        None | Some("message") if item["role"] == "user" => {
            said(&item["content"], &format!("{param}.content"), "input_text", "input_image")
        }
        None | Some("message") => message(item, param).map(|message| vec![message]),
        Some("function_call") => {
            let (Some(name), Some(arguments)) = (item["name"].as_str(), item["arguments"].as_str()) else {
                return Err(Wrong::at(param, "this is no call of a function", HELP));
            };
            let call = RawCall { name: names.inner(name), arguments: arguments.to_owned() };
            let calls = vec![CallRef { id: id()?, call }];
            Ok(vec![Message::Assistant { text: String::new(), reasoning: Vec::new(), calls }])
        }
        Some("function_call_output") => {
            let text = text(&item["output"], &format!("{param}.output"), &["input_text", "output_text"])?;
            Ok(vec![Message::Tool { id: id()?, text }])
        }
        // What a model thought is not said, and belongs to the model that thought it.
        Some("reasoning") => Ok(Vec::new()),
        Some(_) => Err(Wrong::at(format!("{param}.type"), "items of this type are not taken", HELP)),
    }
}

/// One of another role than the user's.
fn message(item: &Value, param: &str) -> Result<Message, Wrong> {
    let content = format!("{param}.content");
    let text = |kinds: &[&str]| text(&item["content"], &content, kinds);
    match item["role"].as_str() {
        Some("system" | "developer") => Ok(Message::System { text: text(&["input_text"])? }),
        Some("assistant") => {
            let text = text(&["output_text", "input_text", "refusal"])?;
            Ok(Message::Assistant { text, reasoning: Vec::new(), calls: Vec::new() })
        }
        _ => Err(Wrong::at(format!("{param}.role"), "this role is not known", HELP)),
    }
}

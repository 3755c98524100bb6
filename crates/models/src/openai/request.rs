//! The body of a request.
//!
//! Deterministic: the same request gives the same bytes, so that the
//! provider's prompt cache can hit. Whatever a model once wrote is made
//! harmless before it goes back: one invalid tool name or broken arguments in
//! the history would make providers refuse the session's every later request.
//!
//! Reasoning is not sent back: chat completions have no common field for it,
//! and strict providers refuse unknown ones.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use are_core::model::{CallRef, Effort, Format, Image, Message, ModelRequest, ToolSpec};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::remote::{tool_arguments, tool_name};

/// How a provider wants to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    /// `max_completion_tokens` instead of `max_tokens`.
    pub(super) says_completion_tokens: bool,
    /// False where the model refuses a temperature.
    pub(super) takes_temperature: bool,
    /// Levels of effort that the model takes, least first.
    pub(super) efforts: &'static [Effort],
}

/// The last tools that were written, with their bytes: most of a short request, and the same from turn to turn.
#[derive(Default)]
pub(super) struct WrittenTools(Mutex<Option<(Arc<[ToolSpec]>, Arc<RawValue>)>>);

impl WrittenTools {
    /// The bytes of `tools`; nothing for none.
    pub(super) fn of(&self, tools: &Arc<[ToolSpec]>) -> Result<Option<Arc<RawValue>>, serde_json::Error> {
        if tools.is_empty() {
            return Ok(None);
        }
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = written.as_ref().filter(|(last, _)| Arc::ptr_eq(last, tools)) {
            return Ok(Some(Arc::clone(bytes)));
        }
        let wire: Vec<_> = tools.iter().map(tool).collect();
        let bytes: Arc<RawValue> = to_raw_value(&wire)?.into();
        *written = Some((Arc::clone(tools), Arc::clone(&bytes)));
        Ok(Some(bytes))
    }
}

/// The bytes of the request for `model`, the provider's own id.
pub(super) fn body(
    request: &ModelRequest,
    tools: Option<&RawValue>,
    model: &str,
    dialect: Dialect,
) -> Result<Vec<u8>, serde_json::Error> {
    let limit = (request.output_tokens_max > 0).then_some(request.output_tokens_max);
    let (max_completion_tokens, max_tokens) =
        if dialect.says_completion_tokens { (limit, None) } else { (None, limit) };
    serde_json::to_vec(&Body {
        model,
        messages: messages(&request.messages),
        tools,
        tool_choice: request.shape.calls.filter(|_| tools.is_some()).map(|must| if must { "required" } else { "none" }),
        temperature: request
            .temperature_milli
            .filter(|_| dialect.takes_temperature)
            .map(|milli| f64::from(milli) / 1000.0),
        reasoning_effort: request.effort.and_then(|wish| wish.nearest(dialect.efforts)),
        max_completion_tokens,
        max_tokens,
        response_format: request.shape.format.as_ref().map(format),
        stop: &request.shape.stop,
        seed: request.shape.seed,
        top_p: request.shape.top_p_milli.filter(|_| dialect.takes_temperature).map(|milli| f64::from(milli) / 1000.0),
        stream: true,
        stream_options: StreamOptions { include_usage: true },
    })
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<MessageWire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<Effort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Value>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    stream: bool,
    stream_options: StreamOptions,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct MessageWire<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallWire<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    /// Where there are images.
    Pieces(Vec<Piece<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: Address },
}

#[derive(Serialize)]
struct Address {
    /// RFC 2397.
    url: String,
}

#[derive(Serialize)]
struct CallWire<'a> {
    id: &'a str,
    r#type: &'static str,
    function: FunctionCallWire<'a>,
}

#[derive(Serialize)]
struct FunctionCallWire<'a> {
    name: Cow<'a, str>,
    arguments: Cow<'a, str>,
}

#[derive(Serialize)]
struct ToolWire<'a> {
    r#type: &'static str,
    function: FunctionWire<'a>,
}

#[derive(Serialize)]
struct FunctionWire<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

/// The conversation. An image is part of the message that the words beside it are: templates of many open models take no
/// two messages of the user in a row.
fn messages(conversation: &[Message]) -> Vec<MessageWire<'_>> {
    let mut written: Vec<MessageWire<'_>> = Vec::with_capacity(conversation.len());
    for one in conversation {
        let before = written.last_mut().filter(|before| before.role == "user").map(|before| &mut before.content);
        match (one, before) {
            (Message::Image(image), Some(Content::Pieces(pieces))) => pieces.push(shown(image)),
            (Message::Image(image), Some(content)) => {
                let mut pieces = Vec::new();
                if let Content::Text(text) = *content {
                    pieces.push(Piece::Text { text });
                }
                pieces.push(shown(image));
                *content = Content::Pieces(pieces);
            }
            (Message::User { text }, Some(Content::Pieces(pieces))) => pieces.push(Piece::Text { text }),
            (one, _) => written.extend(message(one)),
        }
    }
    written
}

/// One message; `None` for an answer that said nothing, which some providers refuse.
fn message(message: &Message) -> Option<MessageWire<'_>> {
    let one = |role, content| MessageWire { role, tool_call_id: None, content, tool_calls: Vec::new() };
    let words = |role, text| one(role, Content::Text(text));
    match message {
        Message::System { text } => Some(words("system", text)),
        Message::User { text } => Some(words("user", text)),
        Message::Image(image) => Some(one("user", Content::Pieces(vec![shown(image)]))),
        Message::Assistant { text, calls, .. } if text.is_empty() && calls.is_empty() => None,
        Message::Assistant { text, calls, .. } => {
            Some(MessageWire { tool_calls: calls.iter().map(call).collect(), ..words("assistant", text) })
        }
        Message::Tool { id, text } => Some(MessageWire { tool_call_id: Some(id), ..words("tool", text) }),
    }
}

fn shown(Image { media_type, data }: &Image) -> Piece<'static> {
    Piece::ImageUrl { image_url: Address { url: format!("data:{media_type};base64,{data}") } }
}

fn call(reference: &CallRef) -> CallWire<'_> {
    let function = FunctionCallWire {
        name: tool_name(&reference.call.name),
        arguments: tool_arguments(&reference.call.arguments),
    };
    CallWire { id: &reference.id, r#type: "function", function }
}

fn format(format: &Format) -> Value {
    match format {
        Format::Object => serde_json::json!({"type": "json_object"}),
        Format::Schema { name, schema, strict } => {
            let named = serde_json::json!({"name": name, "schema": schema, "strict": strict});
            serde_json::json!({"type": "json_schema", "json_schema": named})
        }
    }
}

fn tool(spec: &ToolSpec) -> ToolWire<'_> {
    let function = FunctionWire { name: spec.name.as_str(), description: &spec.description, parameters: &spec.schema };
    ToolWire { r#type: "function", function }
}

#[cfg(test)]
mod tests;

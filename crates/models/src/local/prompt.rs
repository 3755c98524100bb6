//! From a request to the text that a small model reads.
//!
//! A prompt is a list of [`Segment`]s: the markup of the template, in which
//! special tokens are recognised, and what people, models and tools wrote, in
//! which they are not.
//!
//! SECURITY: text that contains `<|im_end|>` or the like stays text; it cannot
//! close its message and open another one.
//!
//! A tool costs a line, its signature with what it does, and a short
//! conversation in which it is used. Small models do what they were shown; a JSON
//! Schema only confuses them, and every token of it is read before the first
//! answer. Conversations without a tool stand between, or they would call one
//! whatever they are asked.
//!
//! PERF: of 44 prompts in two languages the 0.5B model answers 40 as it should
//! (`the_small_model_drives_tools`); with the model's own tool template it
//! answered 3 of 24.

use are_core::model::{Example, Message, ModelRequest, ToolSpec};
use serde_json::{Map, Value};

/// Begins the first message.
const OPENING: &str = "You are an assistant that works in the user's workspace through tools.\n\nTools:\n";
/// Ends the list of tools.
const RULE: &str = "Call a tool with JSON; answer what needs no tool in words.";
/// Conversations that need no tool: at the beginning, in the middle, before the last tool.
const WITHOUT_TOOLS: [(&str, &str); 3] = [
    ("Hi there", "Hi! What can I do for you?"),
    ("What is 2 plus 2?", "2 plus 2 is 4."),
    ("Write a line about the sea", "The sea is never still."),
];
/// The session's marks in examples; no session has these.
const EXAMPLE_MARK: &str = "data-0";
/// What a tool without a finding answers in examples.
const EXAMPLE_DONE: &str = "done";
/// Opens a call, in answers of models that learnt to mark calls.
pub const CALL_OPEN: &str = "<tool_call>";
/// Closes a call.
pub const CALL_CLOSE: &str = "</tool_call>";
/// Characters of a tool's description that are shown: its first sentence.
const DESCRIPTION_CHARS_MAX: usize = 160;
/// Values of an enumeration that are shown.
const CHOICES_MAX: usize = 12;
/// Stands for the content of message `N` while a foreign template is applied.
const PLACEHOLDER: &str = "@@are-message-";

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its text.
    pub text: String,
    /// True where special tokens are recognised.
    pub is_markup: bool,
}

/// One message in the template's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// What it says.
    pub content: Vec<Segment>,
}

fn markup(text: impl Into<String>) -> Segment {
    Segment { text: text.into(), is_markup: true }
}

fn words(text: impl Into<String>) -> Segment {
    Segment { text: text.into(), is_markup: false }
}

/// Stands for an image.
pub(super) const IMAGE: &str = "[an image]";

/// The messages as turns: tools and instructions, an example of each tool, the
/// conversation. Tools stand first: they are the same in every session, while
/// instructions may hold a date, and only the same beginning need not be read again.
#[must_use]
pub fn turns(messages: &[Message], tools: &[ToolSpec]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::with_capacity(messages.len() + 1);
    let mut system = String::new();
    for message in messages {
        match message {
            Message::System { text } => {
                if !system.is_empty() {
                    system.push_str("\n\n");
                }
                system.push_str(text);
            }
            Message::User { text } => turns.push(Turn { role: "user", content: vec![words(text)] }),
            // Who asks has seen to it that there is none.
            Message::Image(_) => turns.push(Turn { role: "user", content: vec![words(IMAGE)] }),
            Message::Assistant { text, calls, .. } => {
                let calls = calls.iter().map(|call| call_text(&call.call.name, &call.call.arguments));
                let parts = Some(text.clone()).filter(|text| !text.is_empty()).into_iter().chain(calls);
                let text = parts.collect::<Vec<_>>().join("\n");
                turns.push(Turn { role: "assistant", content: vec![words(text)] });
            }
            Message::Tool { text, .. } => {
                let content = response(readable(text));
                match turns.last_mut() {
                    // Results of one answer's calls share a message.
                    Some(last) if last.content.last().is_some_and(|end| end.text.ends_with("</tool_response>")) => {
                        last.content.push(markup("\n"));
                        last.content.extend(content);
                    }
                    _ => turns.push(Turn { role: "user", content: content.into() }),
                }
            }
        }
    }
    let mut content = Vec::new();
    if !tools.is_empty() {
        content.push(words(tool_list(tools)));
    }
    if !system.is_empty() {
        content.push(words(system));
    }
    let first = Some(Turn { role: "system", content }).filter(|turn| !turn.content.is_empty());
    first.into_iter().chain(examples(tools)).chain(turns).collect()
}

/// The words with which the answer to a request goes on, and the messages before them.
#[must_use]
pub fn begun(request: &ModelRequest) -> (Option<&str>, &[Message]) {
    match request.messages.as_slice() {
        [before @ .., Message::Assistant { text, calls, .. }] if request.goes_on && calls.is_empty() => {
            (Some(text), before)
        }
        all => (None, all),
    }
}

fn response(text: String) -> [Segment; 3] {
    [markup("<tool_response>\n"), words(text), markup("\n</tool_response>")]
}

/// The turns in ChatML, with the assistant's turn opened if `answer` is true.
#[must_use]
pub fn chatml(turns: &[Turn], answer: bool) -> Vec<Segment> {
    let mut segments = Vec::with_capacity(turns.len() * 3 + 1);
    for turn in turns {
        segments.push(markup(format!("<|im_start|>{}\n", turn.role)));
        segments.extend(turn.content.iter().cloned());
        segments.push(markup("<|im_end|>\n"));
    }
    if answer {
        segments.push(markup("<|im_start|>assistant\n"));
    }
    segments
}

/// Roles and stand-ins for a template of the model's own; see [`filled`].
pub fn stand_ins(turns: &[Turn]) -> impl Iterator<Item = (&'static str, String)> + '_ {
    turns.iter().enumerate().map(|(index, turn)| (turn.role, format!("{PLACEHOLDER}{index}@@")))
}

/// Puts the turns' contents where the applied template has their stand-ins.
#[must_use]
pub fn filled(applied: &str, turns: &[Turn]) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut rest = applied;
    for (index, turn) in turns.iter().enumerate() {
        let stand_in = format!("{PLACEHOLDER}{index}@@");
        if let Some((before, after)) = rest.split_once(&stand_in) {
            segments.push(markup(before));
            segments.extend(turn.content.iter().cloned());
            rest = after;
        }
    }
    segments.push(markup(rest));
    segments
}

/// A call as the model writes it.
#[must_use]
pub fn call_text(name: &str, arguments: &str) -> String {
    format!(r#"{{"name": "{name}", "arguments": {arguments}}}"#)
}

fn tool_list(tools: &[ToolSpec]) -> String {
    let lines = tools
        .iter()
        .map(|tool| format!("{}({}): {}\n", tool.name, signature(&tool.schema), first_sentence(&tool.description)));
    format!("{OPENING}{}{RULE}\n\n", lines.collect::<String>())
}

/// A conversation for each tool. Those that find something out come last: they
/// are what is asked for most, and the last example weighs most.
fn examples(tools: &[ToolSpec]) -> Vec<Turn> {
    let uses: Vec<(&str, Example)> =
        tools.iter().map(|tool| (tool.name.as_str(), tool.example.clone().unwrap_or_else(|| made_up(tool)))).collect();
    let (finding, doing): (Vec<_>, Vec<_>) = uses.into_iter().partition(|(_, example)| example.result.is_some());
    let count = tools.len();
    let mut turns = Vec::with_capacity(count * 4 + WITHOUT_TOOLS.len() * 2);
    let say = |role, text: &str| Turn { role, content: vec![words(text)] };
    for (index, (name, example)) in doing.into_iter().chain(finding).enumerate() {
        let places = [0, count / 2, count - 1];
        for (_, (ask, answer)) in places.iter().zip(WITHOUT_TOOLS).filter(|(place, _)| **place == index) {
            turns.extend([say("user", ask), say("assistant", answer)]);
        }
        let found = example
            .result
            .map_or_else(|| EXAMPLE_DONE.to_owned(), |result| format!("<{EXAMPLE_MARK}>\n{result}\n</{EXAMPLE_MARK}>"));
        turns.extend([
            say("user", &example.ask),
            say("assistant", &call_text(name, &compact(&example.arguments))),
            Turn { role: "user", content: response(found).into() },
            say("assistant", &example.answer),
        ]);
    }
    turns
}

/// An example for a tool that brings none.
fn made_up(tool: &ToolSpec) -> Example {
    Example {
        ask: first_sentence(&tool.description),
        arguments: example_of(&tool.schema),
        result: None,
        answer: "It is done.".to_owned(),
    }
}

/// A tool's result for a reader who stumbles over escapes: the fields of its
/// envelope in lines, text as it is. What was between marks stays between them.
/// Of a success only the data is shown, as in the examples.
fn readable(envelope: &str) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_str(envelope) else { return envelope.to_owned() };
    let is_ok = fields.get("status").is_some_and(|status| status == "ok");
    let lines: Vec<String> = fields
        .iter()
        .filter(|(name, _)| !is_ok || *name == "data")
        .map(|(name, value)| match value {
            Value::String(text) if name == "data" => unquoted(text),
            Value::Object(data) if name == "data" => fields_in_lines(data),
            value => line(name, value),
        })
        .collect();
    lines.join("\n")
}

/// Text between the session's marks that is JSON itself, in lines as well.
fn unquoted(text: &str) -> String {
    let parts = text.split_once('>').and_then(|(open, rest)| {
        let at = rest.rfind("</")?;
        Some((open, rest.get(..at)?, rest.get(at..)?))
    });
    if let Some((open, inner, close)) = parts
        && let Ok(Value::Object(fields)) = serde_json::from_str(inner)
    {
        return format!("{open}>\n{}\n{close}", fields_in_lines(&fields));
    }
    text.to_owned()
}

/// Numbers beside a text describe it (its size, say), and small models take
/// them for a part of it; they are shown only where a mark such as `truncated`
/// is set.
fn fields_in_lines(fields: &Map<String, Value>) -> String {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| text.contains('\n'));
    let is_marked = fields.values().any(|value| value == &Value::Bool(true));
    match fields.values().find(|value| is_text(value)) {
        Some(Value::String(text)) if !is_marked => text.trim_end_matches('\n').to_owned(),
        _ => fields.iter().map(|(name, value)| line(name, value)).collect::<Vec<_>>().join("\n"),
    }
}

fn line(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) if text.contains('\n') => format!("{name}:\n{}", text.trim_end_matches('\n')),
        Value::String(text) => format!("{name}: {text}"),
        value => format!("{name}: {}", compact(value)),
    }
}

/// JSON in one line with a blank after `:` and `,`, as models are used to it.
fn compact(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), compact(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(compact).collect::<Vec<_>>().join(", ")),
        scalar => scalar.to_string(),
    }
}

/// `path: string, limit?: integer`, required ones first and in their order.
fn signature(schema: &Value) -> String {
    let parameters: Vec<String> = parameters(schema)
        .map(|(name, schema, is_required)| {
            let mark = if is_required { "" } else { "?" };
            format!("{name}{mark}: {}", type_name(schema))
        })
        .collect();
    parameters.join(", ")
}

/// Parameters of a tool, the required ones first and in the order of `required`.
pub(super) fn parameters(schema: &Value) -> impl Iterator<Item = (&str, &Value, bool)> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&NONE);
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut optional: Vec<(&str, &Value, bool)> = properties
        .iter()
        .filter(|(name, _)| !required.contains(&name.as_str()))
        .map(|(name, schema)| (name.as_str(), schema, false))
        .collect();
    // The order of a JSON object depends on how this program was built.
    optional.sort_by_key(|(name, ..)| *name);
    let required: Vec<_> = required
        .into_iter()
        .filter_map(|name| properties.get_key_value(name))
        .map(|(n, s)| (n.as_str(), s, true))
        .collect();
    required.into_iter().chain(optional)
}

fn type_name(schema: &Value) -> String {
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        let choices: Vec<String> = choices.iter().take(CHOICES_MAX).map(Value::to_string).collect();
        return choices.join("|");
    }
    match schema.get("type") {
        Some(Value::String(kind)) if kind == "array" => {
            schema.get("items").map_or_else(|| "array".to_owned(), |items| format!("{}[]", type_name(items)))
        }
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
        _ => "any".to_owned(),
    }
}

fn first_sentence(description: &str) -> String {
    let line = description.trim().lines().next().unwrap_or_default();
    let sentence = line.split_inclusive(['.', '。']).next().unwrap_or_default();
    // `e.g.` and file names hold dots too; too short a sentence is not one.
    let sentence = if sentence.len() * 3 < line.len() { line } else { sentence };
    sentence.trim().trim_end_matches('.').chars().take(DESCRIPTION_CHARS_MAX).collect()
}

fn example_of(schema: &Value) -> Value {
    let required = parameters(schema).filter(|(.., is_required)| *is_required);
    Value::Object(required.map(|(name, schema, _)| (name.to_owned(), example_value(name, schema))).collect())
}

fn example_value(name: &str, schema: &Value) -> Value {
    if let Some(value) = schema.get("default").or_else(|| schema.get("enum")?.get(0)) {
        return value.clone();
    }
    if let Some(value) = schema.get("examples").and_then(|examples| examples.get(0)) {
        return value.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number") => Value::from(1),
        Some("boolean") => Value::from(true),
        Some("array") => {
            Value::Array(schema.get("items").map(|items| example_value(name, items)).into_iter().collect())
        }
        Some("object") => example_of(schema),
        _ => Value::from(name),
    }
}

#[cfg(test)]
mod tests;

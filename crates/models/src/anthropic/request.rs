//! The body of a request.
//!
//! Deterministic, and what is stable comes first: tools, system, then the
//! conversation as it grew; what may differ from request to request follows.
//! Three places are marked for the provider's prompt cache: the tools and the
//! system, the end of the conversation, and the end that the request before
//! had, so that it is found however much one step adds.
//!
//! The provider wants roles in turn, so neighbouring messages of one role are
//! one message; results stand first in theirs. No call is left without a
//! result, and none of either goes out without the other.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use are_core::digest::Digest;
use are_core::model::{CallRef, Effort, Format, Image, Message, ModelRequest, ToolSpec};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::capability::{Known, Thinking};
use super::thinking::{self, Shown};
use crate::remote::{tool_arguments, tool_name};

/// The highest temperature there is, in thousandths.
const TEMPERATURE_MILLI_MAX: u32 = 1_000;
/// Fewest tokens of thinking that are accepted.
const BUDGET_TOKENS_MIN: u64 = 1_024;
/// Stands for words that are none: empty texts are refused.
const NOTHING: &str = "(nothing)";
/// Answers a call that has no result.
const NO_RESULT: &str = "there is no result";

/// What a request comes to.
pub(super) struct Written {
    /// Its bytes.
    pub(super) body: Vec<u8>,
    /// Digest of what the model is shown.
    pub(super) shown: Digest,
}

/// The last tools that were written, with their bytes: most of a short request, and the same from turn to turn.
#[derive(Default)]
pub(super) struct WrittenTools(Mutex<Option<(Arc<[ToolSpec]>, Arc<RawValue>)>>);

impl WrittenTools {
    /// The bytes of `tools`; nothing for none.
    pub(super) fn of(&self, tools: &Arc<[ToolSpec]>) -> Result<Option<Arc<RawValue>>, serde_json::Error> {
        let Some(last) = tools.len().checked_sub(1) else { return Ok(None) };
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = written.as_ref().filter(|(same, _)| Arc::ptr_eq(same, tools)) {
            return Ok(Some(Arc::clone(bytes)));
        }
        let wire = |(index, spec): (usize, &ToolSpec)| {
            to_raw_value(&ToolWire {
                name: spec.name.as_str(),
                description: &spec.description,
                input_schema: &spec.schema,
                cache_control: (index == last).then_some(EPHEMERAL),
            })
        };
        let wire = tools.iter().enumerate().map(wire).collect::<Result<Vec<_>, _>>()?;
        let bytes: Arc<RawValue> = to_raw_value(&wire)?.into();
        *written = Some((Arc::clone(tools), Arc::clone(&bytes)));
        Ok(Some(bytes))
    }
}

/// Writes the request for `model`, the provider's own id.
pub(super) fn write(
    request: &ModelRequest,
    tools: Option<&RawValue>,
    (provider, model): (&str, &str),
    known: &Known,
) -> Result<Written, serde_json::Error> {
    let system: Vec<&str> = request.messages.iter().filter_map(system_words).collect();
    let system = system.join("\n\n");
    let mut shown = Shown::new(provider, model);
    shown.push(tools.map_or(&[][..], |tools| tools.get().as_bytes()));
    shown.push(system.as_bytes());
    let mut conversation = Conversation { messages: Vec::new(), open: Vec::new(), shown, pushed: 0, is_signed: true };
    for message in &request.messages {
        conversation.add(message)?;
    }
    conversation.close_calls();
    conversation.catch_up()?;
    let Conversation { mut messages, shown, is_signed, .. } = conversation;
    mark(&mut messages);
    let form = request.shape.format.as_ref().map(form_words);
    let mut system_blocks = Vec::new();
    if !system.trim().is_empty() {
        system_blocks.push(SystemWire { r#type: "text", text: &system, cache_control: Some(EPHEMERAL) });
    }
    if let Some(form) = &form {
        // Behind what is cached, which stays the same whatever form is asked for.
        system_blocks.push(SystemWire { r#type: "text", text: form, cache_control: None });
    }
    let steering = Steering::of(request, known, is_signed);
    // The provider takes one way of steering chance, and none beside thinking.
    let is_free = steering.thinking.is_none() && steering.temperature_milli.is_none() && known.takes_temperature;
    let top_p_milli = request.shape.top_p_milli.filter(|_| is_free);
    // Nor a call that must be made beside thinking.
    let calls = request.shape.calls.filter(|must| tools.is_some() && (!must || steering.thinking.is_none()));
    let body = serde_json::to_vec(&Body {
        model,
        tools,
        tool_choice: calls.map(|must| ToolChoice { r#type: if must { "any" } else { "none" } }),
        system: system_blocks,
        messages,
        max_tokens: request.output_tokens_max.max(1),
        stream: true,
        thinking: steering.thinking,
        output_config: steering.effort.map(|effort| OutputConfig { effort }),
        temperature: steering.temperature_milli.map(|milli| f64::from(milli) / 1000.0),
        // What is nothing but blanks is refused there.
        stop_sequences: request.shape.stop.iter().filter(|stop| !stop.trim().is_empty()).collect(),
        top_p: top_p_milli.map(|milli| f64::from(milli) / 1000.0),
    })?;
    Ok(Written { body, shown: shown.digest() })
}

/// The form of an answer in words: it is checked when it comes, whether or not a model can be held to it.
fn form_words(format: &Format) -> String {
    match format {
        Format::Object => "Answer with one JSON object and nothing else.".to_owned(),
        Format::Schema { schema, .. } => {
            format!("Answer with JSON that fits this JSON Schema, and with nothing else:\n{schema}")
        }
    }
}

/// What steers the answer.
struct Steering {
    thinking: Option<ThinkingWire>,
    effort: Option<Effort>,
    temperature_milli: Option<u32>,
}

impl Steering {
    /// `is_signed` says that the calls that are being worked on came with their thinking.
    fn of(request: &ModelRequest, known: &Known, is_signed: bool) -> Self {
        let temperature_milli = request.temperature_milli.filter(|_| known.takes_temperature);
        let temperature_milli = temperature_milli.map(|milli| milli.min(TEMPERATURE_MILLI_MAX));
        let effort = request.effort.and_then(|wish| wish.nearest(&known.efforts));
        let plain = Self { thinking: None, effort: None, temperature_milli };
        match (known.thinking, effort) {
            (Thinking::Adaptive, effort) => {
                let thinking = Some(ThinkingWire::Adaptive { display: "summarized" });
                Self { thinking, effort, temperature_milli: None }
            }
            // A loop of tools that began without thinking goes on without: the provider wants all of it or none.
            (Thinking::Budget, Some(effort)) if is_signed => match budget_tokens(effort, request.output_tokens_max) {
                Some(budget_tokens) => {
                    let thinking = Some(ThinkingWire::Enabled { budget_tokens });
                    Self { thinking, effort: None, temperature_milli: None }
                }
                None => plain,
            },
            (Thinking::Budget | Thinking::None, _) => plain,
        }
    }
}

/// Tokens to think in; they are part of the answer's, of which at least half stays. Nothing when that is too few.
fn budget_tokens(effort: Effort, output_tokens_max: u64) -> Option<u64> {
    let wanted = match effort {
        Effort::Low => 2_048,
        Effort::Medium => 8_192,
        Effort::High | Effort::Xhigh | Effort::Max => 24_576,
    };
    Some(wanted.min(output_tokens_max / 2)).filter(|tokens| *tokens >= BUDGET_TOKENS_MIN)
}

fn system_words(message: &Message) -> Option<&str> {
    match message {
        Message::System { text } => Some(text),
        Message::User { .. } | Message::Image(_) | Message::Assistant { .. } | Message::Tool { .. } => None,
    }
}

/// The messages so far.
struct Conversation<'a> {
    messages: Vec<MessageWire<'a>>,
    /// Calls that have no result yet.
    open: Vec<&'a str>,
    /// Digest of the messages that are complete.
    shown: Shown,
    /// How many those are.
    pushed: usize,
    /// True while the answers since the user last spoke have their thinking.
    is_signed: bool,
}

impl<'a> Conversation<'a> {
    fn add(&mut self, message: &'a Message) -> Result<(), serde_json::Error> {
        match message {
            Message::System { .. } => {}
            Message::User { text } => {
                let text = if text.trim().is_empty() { NOTHING } else { text };
                self.say(Block::Text { text: Cow::Borrowed(text) });
            }
            Message::Image(Image { media_type, data }) => {
                self.say(Block::Image { source: Source { r#type: "base64", media_type, data } });
            }
            Message::Assistant { text, reasoning, calls } => {
                self.close_calls();
                self.answer(text, reasoning, calls)?;
            }
            Message::Tool { id, text } => {
                // A result that nobody asked for would be refused with everything else.
                if let Some(at) = self.open.iter().position(|open| open == id) {
                    self.open.remove(at);
                    self.put(
                        "user",
                        Content::new(Block::ToolResult { tool_use_id: id, content: text, is_error: false }),
                    );
                }
            }
        }
        Ok(())
    }

    /// The user says or shows something.
    fn say(&mut self, block: Block<'a>) {
        self.close_calls();
        // Words beside results belong to the loop that they steer.
        self.is_signed |= self.messages.last().is_none_or(|last| last.role == "assistant");
        self.put("user", Content::new(block));
    }

    fn answer(
        &mut self,
        text: &'a str,
        reasoning: &'a [are_core::model::Reasoning],
        calls: &'a [CallRef],
    ) -> Result<(), serde_json::Error> {
        let has_words = !text.trim().is_empty();
        if !has_words && calls.is_empty() {
            return Ok(());
        }
        if self.messages.is_empty() {
            self.put("user", Content::new(Block::Text { text: Cow::Borrowed(NOTHING) }));
        }
        self.catch_up()?;
        let thoughts = thinking::returned(reasoning, self.shown.digest());
        self.is_signed &= calls.is_empty() || thoughts.first().is_some_and(|(at, _)| *at == 0);
        let mut from = 0;
        for (at, block) in thoughts {
            let until = text.floor_char_boundary(at.max(from));
            self.words(&text[from..until]);
            from = until;
            self.put("assistant", Content::new(block));
        }
        self.words(&text[from..]);
        for CallRef { id, call } in calls {
            let input = RawValue::from_string(tool_arguments(&call.arguments).into_owned())?;
            self.put("assistant", Content::new(Block::ToolUse { id, name: tool_name(&call.name), input }));
            self.open.push(id);
        }
        Ok(())
    }

    fn words(&mut self, text: &'a str) {
        if !text.trim().is_empty() {
            self.put("assistant", Content::new(Block::Text { text: Cow::Borrowed(text) }));
        }
    }

    fn close_calls(&mut self) {
        for id in std::mem::take(&mut self.open) {
            let result = Block::ToolResult { tool_use_id: id, content: NO_RESULT, is_error: true };
            self.put("user", Content::new(result));
        }
    }

    fn put(&mut self, role: &'static str, content: Content<'a>) {
        match self.messages.last_mut() {
            Some(last) if last.role == role => last.content.push(content),
            _ => self.messages.push(MessageWire { role, content: vec![content] }),
        }
    }

    /// Digests the messages that came since.
    fn catch_up(&mut self) -> Result<(), serde_json::Error> {
        for message in &self.messages[self.pushed..] {
            self.shown.push(&serde_json::to_vec(message)?);
        }
        self.pushed = self.messages.len();
        Ok(())
    }
}

/// Marks the ends of this request's conversation and of the one before.
fn mark(messages: &mut [MessageWire<'_>]) {
    for message in messages.iter_mut().rev().filter(|message| message.role == "user").take(2) {
        if let Some(last) = message.content.last_mut() {
            last.cache_control = Some(EPHEMERAL);
        }
    }
}

const EPHEMERAL: CacheControl = CacheControl { r#type: "ephemeral" };

#[derive(Clone, Copy, Serialize)]
struct CacheControl {
    r#type: &'static str,
}

#[derive(Serialize)]
struct ToolChoice {
    r#type: &'static str,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<SystemWire<'a>>,
    messages: Vec<MessageWire<'a>>,
    max_tokens: u64,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<ThinkingWire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ThinkingWire {
    Adaptive {
        /// Newer models leave the words out otherwise.
        display: &'static str,
    },
    Enabled {
        budget_tokens: u64,
    },
}

#[derive(Serialize)]
struct OutputConfig {
    effort: Effort,
}

#[derive(Serialize)]
struct SystemWire<'a> {
    r#type: &'static str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
struct ToolWire<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
struct MessageWire<'a> {
    role: &'static str,
    content: Vec<Content<'a>>,
}

#[derive(Serialize)]
struct Content<'a> {
    #[serde(flatten)]
    block: Block<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

impl<'a> Content<'a> {
    const fn new(block: Block<'a>) -> Self {
        Self { block, cache_control: None }
    }
}

#[derive(Serialize)]
pub(super) struct Source<'a> {
    r#type: &'static str,
    media_type: &'a str,
    data: &'a str,
}

/// A block of a message.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Image {
        source: Source<'a>,
    },
    Thinking {
        thinking: &'a str,
        signature: String,
    },
    RedactedThinking {
        data: String,
    },
    ToolUse {
        id: &'a str,
        name: Cow<'a, str>,
        input: Box<RawValue>,
    },
    ToolResult {
        tool_use_id: &'a str,
        content: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

#[cfg(test)]
mod tests;

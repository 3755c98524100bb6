//! The port to language models: one request, one stream of deltas.
//!
//! An adapter hides its provider's wire form, assembles tool calls that arrive
//! in pieces, bounds everything it reads and turns each failure into a
//! [`Fault`] with a code of the 04 group. Dropping the stream stops the call.

use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Fault;
use crate::ids::ToolName;

/// How much a model should put into an answer, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// As quick and cheap as it can.
    Low,
    /// In between.
    Medium,
    /// What most models do by themselves.
    High,
    /// For long work.
    Xhigh,
    /// Whatever it costs.
    Max,
}

impl Effort {
    /// Its name, as it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// The level among `levels`, least first, that comes nearest without being more, else the least; none of none.
    #[must_use]
    pub fn nearest(self, levels: &[Self]) -> Option<Self> {
        levels.iter().rev().find(|level| **level <= self).or_else(|| levels.first()).copied()
    }
}

/// What one model can do; data, so that unknown models pass through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `provider:model`.
    pub name: String,
    /// Tokens that fit into one request, answer included.
    pub context_tokens: u64,
    /// Most tokens of one answer.
    pub output_tokens: u64,
    /// False where the model refuses a temperature.
    pub takes_temperature: bool,
    /// Levels of effort that it takes, least first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub efforts: Vec<Effort>,
    /// True where effort and a temperature exclude one another; effort then counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_either: bool,
    /// True where it can be shown images.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes_images: bool,
    /// True when nothing leaves the machine.
    pub is_local: bool,
    /// True where a request that ends with the model's own words is gone on with from there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
}

/// A tool as the model is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Name.
    pub name: ToolName,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub schema: Value,
    /// One use of it from question to answer, for small models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
}

/// One use of a tool from question to answer. Small models do what they were
/// shown rather than what they were told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What a user says.
    pub ask: String,
    /// The call's arguments.
    pub arguments: Value,
    /// What the tool finds out; absent for a tool that only does something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// What the model then says.
    pub answer: String,
}

/// A tool call exactly as the model wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawCall {
    /// Tool name, unchecked.
    pub name: String,
    /// Arguments, unparsed.
    pub arguments: String,
}

/// A call in the conversation, under the engine's own id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRef {
    /// `call_N`, unique in the session; the provider's own ids are not kept.
    pub id: String,
    /// What the model wrote.
    #[serde(flatten)]
    pub call: RawCall,
}

/// Reasoning that belongs to an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasoning {
    /// Readable text.
    pub text: String,
    /// Provider's own form, returned verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<String>,
}

/// A picture that the user handed over; always untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// One of [`IMAGE_TYPES`](crate::limits::IMAGE_TYPES).
    pub media_type: String,
    /// Its bytes in base64 (RFC 4648 §4, with padding).
    pub data: Arc<str>,
}

/// One message of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Message {
    /// The agent's instructions.
    System {
        /// Words.
        text: String,
    },
    /// The user's words and what they handed over.
    User {
        /// Words.
        text: String,
    },
    /// What the user shows.
    Image(Image),
    /// What the model said before.
    Assistant {
        /// Words; may be empty when there are calls.
        text: String,
        /// Reasoning, where the provider wants it back.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reasoning: Vec<Reasoning>,
        /// Calls; each is followed by its `Tool` message.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<CallRef>,
    },
    /// The result of a call.
    Tool {
        /// Id of the call.
        id: String,
        /// The envelope.
        text: String,
    },
}

/// The form that an answer must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Format {
    /// Any JSON object.
    Object,
    /// JSON that fits a schema.
    Schema {
        /// What the schema is called; 1 to 64 of A-Z, a-z, 0-9, _ and -.
        name: String,
        /// JSON Schema without references.
        schema: Value,
        /// True when the provider is to enforce all of it.
        strict: bool,
    },
}

/// How an answer is to be written. All but the format and the limit are wishes: an adapter drops what its model does
/// not take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Most tokens of one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens_max: Option<u64>,
    /// Texts before which the answer ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Makes chance repeatable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Share of the likeliest words that is chosen from, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p_milli: Option<u32>,
    /// True when a tool must be called before anything is answered, false when none may be; the model's choice when absent.
    #[serde(default, rename = "must_call", skip_serializing_if = "Option::is_none")]
    pub calls: Option<bool>,
}

/// What a client asks of a turn beside its words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Tools of the client's own: a call of one ends the turn and is handed to the client. They run nothing here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// How answers are to be written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shape: Shape,
    /// What its door repeats of the request when the turn is looked up later; `null` for nothing. No model is shown it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub echo: Value,
    /// The span that the turn is a part of, as W3C's `traceparent`, where there is one outside of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Whether model, effort and temperature may be changed as the turn goes; as it is set up when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<bool>,
}

/// True for what need not be written, for serde.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A whole request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRequest {
    /// `provider:model`.
    pub model: String,
    /// Conversation, oldest first.
    pub messages: Vec<Message>,
    /// Tools on offer.
    pub tools: Arc<[ToolSpec]>,
    /// Temperature in thousandths; absent = the provider's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_milli: Option<u32>,
    /// Effort; absent = the provider's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// Most tokens of the answer.
    pub output_tokens_max: u64,
    /// What else is wished for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shape: Shape,
    /// True when the last message holds words of the model with which its answer goes on.
    #[serde(skip)]
    pub goes_on: bool,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model was done.
    Stop,
    /// It wants tools.
    ToolCalls,
    /// The output limit was reached.
    Length,
    /// The provider withheld the rest.
    ContentFilter,
    /// The user steered; what was said so far stays.
    Steered,
    /// The user cancelled.
    Cancelled,
}

/// Tokens of one call, as the provider counted them; 0 where it did not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Of these, tokens that the provider had cached.
    pub cached_tokens: u64,
    /// Of these, tokens that it cached now, where it charges for that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cache_written_tokens: u64,
    /// Tokens written, reasoning included.
    pub output_tokens: u64,
}

/// One piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// Words; whole characters, never empty.
    Text(String),
    /// Reasoning.
    Reasoning(Reasoning),
    /// A whole tool call.
    Call(RawCall),
    /// Life sign while the model is silent: `loading`, `prefill`.
    Progress {
        /// What goes on.
        phase: &'static str,
        /// Units done.
        done: u64,
        /// Units in all; 0 when unknown.
        total: u64,
    },
    /// The end; nothing follows.
    End {
        /// Why it ended.
        stop_reason: StopReason,
        /// Tokens.
        usage: Usage,
    },
}

/// The stream of one call. Ends after [`Delta::End`] or an error; a stream that
/// ends without either is a broken one.
pub type ModelStream = Pin<Box<dyn Stream<Item = Result<Delta, Fault>> + Send>>;

/// Calls models.
pub trait Models: Send + Sync + 'static {
    /// The model that a wish (`provider:model`, a bare name, or none) resolves to.
    ///
    /// # Errors
    /// ARE-0408 when there is no such model.
    fn resolve(&self, wish: Option<&str>) -> Result<ModelInfo, Fault>;

    /// Models to go on with, in their order, when the one that `wish` resolves to cannot answer; none where
    /// somebody wished for a model by name.
    fn fallbacks(&self, _wish: Option<&str>) -> Vec<ModelInfo> {
        Vec::new()
    }

    /// Models that can be called now.
    fn list(&self) -> Vec<ModelInfo>;

    /// Starts a call; connection errors arrive as the stream's first item.
    fn call(&self, request: ModelRequest) -> ModelStream;
}

//! One event of a streamed chat completion, as providers really write it.
//!
//! Only what is used is read; everything else is skipped without being kept.
//! Fields may be absent or `null`, text may be a list of parts, arguments may
//! be an object instead of a string.
//!
//! PERF: text goes straight into the `String` that is sent on; the rest is
//! borrowed from the event or skipped.

use std::fmt;

use are_core::model::Usage;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// An event's data.
#[derive(Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow, default)]
    pub(super) choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

/// One of the answers; only the first is asked for.
#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(default)]
    pub(super) index: Option<u64>,
    #[serde(borrow, default)]
    pub(super) delta: Option<Piece<'a>>,
    #[serde(default)]
    pub(super) finish_reason: Option<String>,
}

/// What is new in an answer.
#[derive(Deserialize)]
pub(super) struct Piece<'a> {
    #[serde(default)]
    pub(super) content: Text,
    #[serde(default)]
    pub(super) refusal: Text,
    #[serde(default)]
    pub(super) reasoning_content: Text,
    #[serde(default)]
    pub(super) reasoning: Text,
    #[serde(borrow, default)]
    pub(super) tool_calls: Option<Vec<CallPiece<'a>>>,
    #[serde(borrow, default)]
    pub(super) function_call: Option<FunctionPiece<'a>>,
}

/// A piece of a tool call.
#[derive(Deserialize)]
pub(super) struct CallPiece<'a> {
    #[serde(default)]
    pub(super) index: Option<u64>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(borrow, default)]
    pub(super) function: Option<FunctionPiece<'a>>,
}

/// Name and arguments of a piece.
#[derive(Default, Deserialize)]
pub(super) struct FunctionPiece<'a> {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

impl Chunk<'_> {
    /// The tokens it reports; a report that is not understood is none.
    pub(super) fn usage(&self) -> Option<Usage> {
        let usage: UsageWire = serde_json::from_str(self.usage?.get()).ok()?;
        let cached = usage.prompt_tokens_details.and_then(|details| details.cached_tokens);
        Some(Usage {
            input_tokens: usage.prompt_tokens.unwrap_or(0),
            cached_tokens: cached.or(usage.prompt_cache_hit_tokens).unwrap_or(0),
            cache_written_tokens: 0,
            output_tokens: usage.completion_tokens.unwrap_or(0),
        })
    }
}

impl FunctionPiece<'_> {
    /// What it adds to the arguments: the text of a string, any other value as
    /// it stands.
    pub(super) fn arguments(&self) -> Result<String, serde_json::Error> {
        match self.arguments.map(RawValue::get) {
            None => Ok(String::new()),
            Some(text) if text.starts_with('"') => serde_json::from_str(text),
            Some(text) => Ok(text.to_owned()),
        }
    }
}

#[derive(Deserialize)]
struct UsageWire {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
    /// DeepSeek's name for it.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

/// Text: a string, `null`, or a list of parts of which those with text count.
#[derive(Default)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Self)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<String, A::Error> {
        let mut text = String::new();
        while let Some(part) = parts.next_element::<Part>()? {
            text.push_str(&part.text);
        }
        Ok(text)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<String, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(String::new())
    }
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

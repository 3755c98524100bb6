//! What known models can do, as data.
//!
//! The longest matching prefix of the model's id decides. An unknown id is
//! taken as it is, with defaults that today's models meet; what the
//! configuration says about a model comes before both.

use are_core::model::Effort;
use serde::{Deserialize, Serialize};

/// Context of an unknown model, in tokens.
const CONTEXT_TOKENS: u64 = 128_000;
/// Longest answer of an unknown model, in tokens.
const OUTPUT_TOKENS: u64 = 16_384;

/// A configured model; what is absent is taken from the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// The provider's id of the model.
    pub id: String,
    /// Tokens that fit into one request, answer included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// Most tokens of one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Whether it accepts a temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_temperature: Option<bool>,
}

/// What a model can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) context_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) takes_temperature: bool,
    pub(super) takes_images: bool,
    /// Levels of effort that it takes, least first.
    pub(super) efforts: &'static [Effort],
}

const fn known(context_tokens: u64, output_tokens: u64, takes_temperature: bool) -> Known {
    Known { context_tokens, output_tokens, takes_temperature, takes_images: true, efforts: &[] }
}

/// One that takes text alone.
const fn blind(known: Known) -> Known {
    Known { takes_images: false, ..known }
}

/// One that reasons, and as much as it is told to.
const fn reasons(context_tokens: u64, output_tokens: u64, takes_temperature: bool) -> Known {
    const LEVELS: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High];
    Known { efforts: LEVELS, ..known(context_tokens, output_tokens, takes_temperature) }
}

/// SOURCE: the model pages of the providers, as of 2026.
const TABLE: &[(&str, Known)] = &[
    ("gpt-5", reasons(400_000, 128_000, false)),
    ("gpt-5-chat", known(128_000, 16_384, true)),
    ("gpt-4.1", known(1_047_576, 32_768, true)),
    ("gpt-4o", known(128_000, 16_384, true)),
    ("chatgpt-4o", known(128_000, 16_384, true)),
    ("gpt-4-turbo", known(128_000, 4_096, true)),
    ("gpt-4", blind(known(8_192, 4_096, true))),
    ("gpt-3.5-turbo", blind(known(16_385, 4_096, true))),
    ("gpt-oss", blind(reasons(131_072, 32_768, true))),
    ("o1", reasons(200_000, 100_000, false)),
    ("o1-mini", blind(known(128_000, 65_536, false))),
    ("o3", reasons(200_000, 100_000, false)),
    ("o3-mini", blind(reasons(200_000, 100_000, false))),
    ("o4", reasons(200_000, 100_000, false)),
    ("codex-mini", reasons(200_000, 100_000, false)),
    ("deepseek-chat", blind(known(128_000, 8_192, true))),
    ("deepseek-reasoner", blind(known(128_000, 65_536, false))),
];

/// Looks a model up.
pub(super) fn of(id: &str, configured: &[Capability]) -> Known {
    // Resellers put the maker's name in front: `openai/gpt-5`.
    let bare = id.rsplit('/').next().unwrap_or(id);
    let known = TABLE
        .iter()
        .filter(|(prefix, _)| has_prefix(bare, prefix))
        .max_by_key(|(prefix, _)| prefix.len())
        .map_or(known(CONTEXT_TOKENS, OUTPUT_TOKENS, true), |(_, known)| *known);
    match configured.iter().find(|capability| capability.id == id) {
        None => known,
        Some(own) => Known {
            context_tokens: own.context_tokens.unwrap_or(known.context_tokens),
            output_tokens: own.output_tokens.unwrap_or(known.output_tokens),
            takes_temperature: own.takes_temperature.unwrap_or(known.takes_temperature),
            ..known
        },
    }
}

/// True when `id` is of the family: `o1-preview` and `gpt-5.1` are, `o10` is not.
fn has_prefix(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests;

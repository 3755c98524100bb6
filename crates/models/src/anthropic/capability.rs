//! What Anthropic's models can do, read from `models.toml`.

use std::sync::OnceLock;

use are_core::model::Effort;
use serde::Deserialize;

/// How a model thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Thinking {
    /// It decides by itself, steered by effort.
    Adaptive,
    /// Within a number of tokens, when it is asked to.
    Budget,
    /// Not, or it cannot be steered.
    None,
}

/// One family of models.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    prefix: String,
    /// Tokens that fit into one request, answer included.
    #[serde(rename = "context")]
    pub(super) context_tokens: u64,
    /// Most tokens of one answer.
    #[serde(rename = "output")]
    pub(super) output_tokens: u64,
    pub(super) thinking: Thinking,
    /// Whether it accepts a temperature while it does not think.
    #[serde(rename = "temperature")]
    pub(super) takes_temperature: bool,
    /// Levels that it takes, least first.
    pub(super) efforts: Vec<Effort>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    model: Vec<Known>,
}

/// Looks a model up by its id.
#[expect(clippy::expect_used, reason = "the table is compiled in and parsed by a test")]
pub(super) fn of(id: &str) -> &'static Known {
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table =
        TABLE.get_or_init(|| toml::from_str(include_str!("models.toml")).expect("the compiled-in table is valid"));
    // Resellers put the maker's name in front: `anthropic/claude-opus-5`.
    let bare = id.rsplit('/').next().unwrap_or(id);
    let matching = table.model.iter().filter(|known| has_prefix(bare, &known.prefix));
    matching.max_by_key(|known| known.prefix.len()).expect("the empty prefix matches every id")
}

/// True when `id` is of the family: `claude-opus-5-5` is a `claude-opus-5`, `claude-opus-50` is not.
fn has_prefix(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix)
        .is_some_and(|rest| prefix.is_empty() || !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests;

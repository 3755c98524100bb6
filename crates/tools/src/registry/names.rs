//! Names of tools that come from files, and text of theirs that a model reads.

use are_core::error::Fault;
use are_core::ids::ToolName;
use std::path::Path;

use super::load::invalid;

/// Characters of a description; a model reads all of them in every request.
const DESCRIPTION_CHARS_MAX: usize = 1_000;

/// `readFile`, `read-file` and `read.file` as `read_file`.
pub(crate) fn snake(text: &str) -> String {
    let mut out = String::new();
    let mut before: Option<char> = None;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        if !character.is_ascii_alphanumeric() {
            if !out.is_empty() && !out.ends_with('_') {
                out.push('_');
            }
            before = None;
            continue;
        }
        let starts_word = character.is_ascii_uppercase()
            && before.is_some_and(|before| {
                !before.is_ascii_uppercase() || rest.peek().is_some_and(char::is_ascii_lowercase)
            });
        if starts_word && !out.ends_with('_') {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
        before = Some(character);
    }
    out.truncate(out.trim_end_matches('_').len());
    out
}

/// The name of a file's only tool, or of one of its exports.
pub(crate) fn tool_name(file: &Path, export: Option<&str>) -> Result<ToolName, Fault> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let whole = export.map_or_else(|| snake(&stem), |export| format!("{}_{}", snake(&stem), snake(export)));
    whole.trim_matches('_').parse().map_err(|error: are_core::ids::InvalidId| {
        invalid(format!("`{whole}` cannot be the name of a tool: {error}"), "rename the file or the function")
    })
}

/// Text for the model: without what cannot be seen, and bounded.
///
/// SECURITY: control characters, direction marks, zero-width characters, tags and variation selectors can hide
/// instructions from the person who reads a description and show them to a model.
pub(crate) fn visible(text: &str) -> String {
    let shown = |character: char| if character.is_whitespace() { ' ' } else { character };
    let seen: String = text.chars().map(shown).filter(|character| !is_hidden(*character)).collect();
    let words: Vec<&str> = seen.split_whitespace().collect();
    words.join(" ").chars().take(DESCRIPTION_CHARS_MAX).collect()
}

/// True for a character that a reader does not see.
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The candidate most like `name`, if one is like it at all.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this Jaro-Winkler similarity a suggestion is rather a riddle.
    const SIMILAR_MIN: f64 = 0.85;
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILAR_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;

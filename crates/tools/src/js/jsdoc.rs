//! The comment before a function: what it does, its parameters, and what it declares.
//!
//! Of the tags, `@param` is JSDoc's own; `@effect`, `@retry`, `@timeout`,
//! `@role` and `@label` say what a manifest says. A value of theirs that is not
//! known is an error, because the worst case would else hold unnoticed. Other
//! tags are for other readers.

use std::collections::BTreeMap;

use are_core::body::{Effect, Retry};
use are_policy::manifest::{OutputLabel, Role};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::types;

/// Bytes of a comment that are read.
const BYTES_MAX: usize = 64 << 10;
/// Tags of a comment that are read.
const TAGS_MAX: usize = 256;
/// Milliseconds that a tool may ask for.
const TIMEOUT_MS_MAX: u64 = 3_600_000;

/// What a comment says.
#[derive(Debug, Default)]
pub(super) struct Doc {
    pub(super) description: String,
    pub(super) params: Vec<Param>,
    pub(super) effect: Option<Effect>,
    pub(super) retry: Option<Retry>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) roles: BTreeMap<String, Role>,
    pub(super) output_default: Option<OutputLabel>,
    pub(super) output_fields: BTreeMap<String, OutputLabel>,
}

/// What it says of one parameter; of a member of one as `parameter.member`.
#[derive(Debug, PartialEq)]
pub(super) struct Param {
    pub(super) name: String,
    pub(super) schema: Value,
    pub(super) is_optional: bool,
    pub(super) text: String,
}

/// The comment right before the function whose text is `function`, which begins on `line`.
pub(super) fn before<'a>(source: &'a str, function: &str, line: Option<u32>) -> Option<&'a str> {
    let line_of = |at: usize| 1 + source[..at].bytes().filter(|byte| *byte == b'\n').count();
    let places: Vec<usize> = source.match_indices(function).map(|(at, _)| at).take(TAGS_MAX).collect();
    // Two functions of the same text are told apart by their lines.
    let on_line = line.and_then(|line| places.iter().find(|at| line_of(**at) == line as usize));
    let at = *on_line.or(places.first())?;
    // What may stand between: the name that it is given to.
    let given_to = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_$.=:'\"[]".contains(c);
    let before = source[..at].trim_end_matches(given_to);
    let body = before.strip_suffix("*/")?;
    let start = body.rfind("/*")?;
    body[start..].strip_prefix("/**").filter(|comment| comment.len() <= BYTES_MAX)
}

/// Reads a comment's inside. The error says what cannot be read.
pub(super) fn read(comment: &str) -> Result<Doc, String> {
    let lines = comment.lines().map(|line| {
        let line = line.trim();
        line.strip_prefix('*').map_or(line, str::trim_start)
    });
    let mut blocks = vec![String::new()];
    for line in lines {
        if line.starts_with('@') {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut() {
            block.push_str(line);
            block.push('\n');
        }
    }
    if blocks.len() > TAGS_MAX {
        return Err(format!("its comment has more than {TAGS_MAX} tags"));
    }
    let mut doc = Doc { description: words(&blocks[0]), ..Doc::default() };
    for block in &blocks[1..] {
        let (tag, rest) = block.split_once(char::is_whitespace).unwrap_or((block, ""));
        let rest = rest.trim();
        match tag {
            "@description" | "@desc" | "@summary" if doc.description.is_empty() => doc.description = words(rest),
            "@param" | "@arg" | "@argument" => doc.params.push(param(rest)?),
            "@effect" => doc.effect = Some(known(tag, rest)?),
            "@retry" => doc.retry = Some(known(tag, rest)?),
            "@timeout" => doc.timeout_ms = Some(milliseconds(rest)?),
            "@role" => {
                let Some((name, role)) = rest.split_once(char::is_whitespace) else {
                    return Err(
                        "`@role` takes the name of a parameter and its role: `@role url destination`".to_owned()
                    );
                };
                doc.roles.insert(name.to_owned(), known(tag, role)?);
            }
            "@label" => label(&mut doc, rest)?,
            _ => {}
        }
    }
    Ok(doc)
}

/// `{type} [name=default] - text`, the type left out or not.
fn param(text: &str) -> Result<Param, String> {
    let (of, rest) = match text.strip_prefix('{') {
        Some(_) => braced(text).ok_or_else(|| format!("`@param {}` has no closing brace", first_line(text)))?,
        None => ("any", text),
    };
    let (schema, mut is_optional) = types::schema(of);
    let rest = rest.trim_start();
    let (name, text) = match rest.strip_prefix('[') {
        Some(inner) => {
            is_optional = true;
            let end = inner.find(']').ok_or_else(|| format!("`@param {}` has no closing bracket", first_line(text)))?;
            (inner[..end].split('=').next().unwrap_or_default(), &inner[end + 1..])
        }
        None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
    };
    let name = name.trim();
    if name.is_empty() {
        return Err("`@param` names no parameter".to_owned());
    }
    Ok(Param {
        name: name.to_owned(),
        schema,
        is_optional,
        text: words(text.trim_start().trim_start_matches(['-', '–'])),
    })
}

/// What stands inside the first pair of braces, and what follows.
fn braced(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some((&text[1..at], &text[at + 1..]));
                }
            }
            _ => {}
        }
    }
    None
}

/// `INTEGRITY [CONFIDENTIALITY]` for all of the result, or the same after the name of a field.
fn label(doc: &mut Doc, text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let of = |parts: &[&str]| -> Result<OutputLabel, String> {
        let mut label = OutputLabel::default();
        for part in parts {
            if let Ok(integrity) = known("@label", part) {
                label.integrity = integrity;
            } else {
                label.confidentiality = known("@label", part)?;
            }
        }
        Ok(label)
    };
    match (of(&parts), parts.as_slice()) {
        (_, []) => return Err("`@label` says nothing".to_owned()),
        (Ok(label), _) => doc.output_default = Some(label),
        (Err(_), [field, rest @ ..]) if !rest.is_empty() => {
            doc.output_fields.insert((*field).to_owned(), of(rest)?);
        }
        (Err(why), _) => return Err(why),
    }
    Ok(())
}

fn milliseconds(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => text.strip_suffix('s').map_or((text, 1), |digits| (digits, 1000)),
    };
    let ms = digits.trim().parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
    ms.filter(|ms| (1..=TIMEOUT_MS_MAX).contains(ms))
        .ok_or_else(|| format!("`@timeout {}` is no time: write `@timeout 5000` or `@timeout 5s`", first_line(text)))
}

/// A value by the word that manifests use for it.
fn known<T: DeserializeOwned>(tag: &str, text: &str) -> Result<T, String> {
    let word = text.trim();
    serde_json::from_value(Value::String(word.to_owned()))
        .map_err(|_| format!("`{tag} {}` is not known", first_line(word)))
}

fn first_line(text: &str) -> String {
    crate::text::short(text.lines().next().unwrap_or_default())
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;

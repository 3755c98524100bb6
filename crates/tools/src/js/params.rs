//! The parameters of a function, read from its own text.
//!
//! The text is what the engine took for a function, so it is well formed; what
//! is looked for are names. Nothing that is read here grants anything: it
//! becomes the names in a schema and the order in which arguments are passed.

use serde::Serialize;

/// Parameters of one function.
const PARAMS_MAX: usize = 32;

/// How arguments become parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Params {
    /// In order; all the names of one object where `is_object` says so.
    pub(super) names: Vec<String>,
    /// The one that takes all further values.
    pub(super) rest: Option<String>,
    /// True for `({ a, b })`: one object whose members are the arguments.
    pub(super) is_object: bool,
    /// Names that may be left out.
    #[serde(skip)]
    pub(super) optional: Vec<String>,
    /// True when an object takes further members too.
    #[serde(skip)]
    pub(super) is_open: bool,
}

impl Params {
    /// As the prelude reads it.
    pub(super) fn shown(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// Reads the parameters; `documented` names those that have no name of their own. The error says which cannot be read.
pub(super) fn read(source: &str, documented: &[String]) -> Result<Params, String> {
    let parts = list(source)?;
    if parts.len() > PARAMS_MAX {
        return Err(format!("it has {} parameters, and {PARAMS_MAX} is the most", parts.len()));
    }
    if let [only] = parts.as_slice()
        && only.starts_with('{')
    {
        return object(only);
    }
    let mut params = Params::default();
    for (index, part) in parts.iter().enumerate() {
        if let Some(name) = part.strip_prefix("...") {
            params.rest = Some(named(name).ok_or_else(|| unnamed(index))?);
            continue;
        }
        let (name, has_default) = with_default(part);
        let name = named(name).or_else(|| documented.get(index).cloned()).ok_or_else(|| unnamed(index))?;
        if has_default {
            params.optional.push(name.clone());
        }
        params.names.push(name);
    }
    distinct(params)
}

fn unnamed(index: usize) -> String {
    format!("parameter {} is taken apart and has no name: name it with `@param`, or take one object", index + 1)
}

fn distinct(params: Params) -> Result<Params, String> {
    let mut all: Vec<&String> = params.names.iter().chain(&params.rest).collect();
    all.sort();
    match all.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("it has two parameters `{}`", pair[0])),
        None => Ok(params),
    }
}

/// `{ a, b = 1, c: d, ...e }`, with or without a default of its own.
fn object(pattern: &str) -> Result<Params, String> {
    let end = skip(pattern.as_bytes(), 0);
    let inner = pattern.get(1..end.saturating_sub(1)).unwrap_or_default();
    let mut params = Params { is_object: true, ..Params::default() };
    for part in split(inner) {
        if part.starts_with("...") {
            params.is_open = true;
            continue;
        }
        let (target, has_default) = with_default(&part);
        let key = target.split_once(':').map_or(target, |(key, _)| key).trim().trim_matches(['\'', '"']);
        let key = named(key).ok_or_else(|| format!("`{key}` cannot be the name of an argument"))?;
        if has_default {
            params.optional.push(key.clone());
        }
        params.names.push(key);
    }
    distinct(params)
}

fn named(text: &str) -> Option<String> {
    let text = text.trim();
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let is_name = text.chars().next().is_some_and(|c| !c.is_ascii_digit()) && text.chars().all(is_part);
    is_name.then(|| text.to_owned())
}

/// What stands before `=`, and whether something stands after it.
fn with_default(part: &str) -> (&str, bool) {
    let bytes = part.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'=' => return (part[..at].trim(), true),
            _ => at = skip(bytes, at),
        }
    }
    (part.trim(), false)
}

/// The texts between the parentheses of a function.
fn list(source: &str) -> Result<Vec<String>, String> {
    let bytes = source.as_bytes();
    let mut at = 0;
    let mut word = 0..0;
    while at < bytes.len() {
        match bytes[at] {
            b'(' => {
                let end = skip(bytes, at);
                return Ok(split(source.get(at + 1..end.saturating_sub(1)).unwrap_or_default()));
            }
            // `name => …`
            b'=' if bytes.get(at + 1) == Some(&b'>') => return Ok(vec![source[word].to_owned()]),
            byte if is_word(byte) => {
                let start = at;
                while at < bytes.len() && is_word(bytes[at]) {
                    at += 1;
                }
                word = start..at;
            }
            _ => at = skip(bytes, at),
        }
    }
    Err("its parameters cannot be found".to_owned())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

/// The parts between commas, without comments.
fn split(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut parts = vec![String::new()];
    let mut at = 0;
    while at < bytes.len() {
        let next = skip(bytes, at);
        let piece = text.get(at..next).unwrap_or_default();
        if piece == "," {
            parts.push(String::new());
        } else if !(piece.starts_with("//") || piece.starts_with("/*"))
            && let Some(part) = parts.last_mut()
        {
            part.push_str(piece);
        }
        at = next;
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The end of what begins at `at`: a comment, a string, a regular expression, everything inside brackets, else a character.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let found = |end: Option<usize>, length: usize| end.map_or(bytes.len(), |end| at + end + length);
    match rest[0] {
        b'/' if rest.starts_with(b"//") => found(rest.iter().position(|byte| *byte == b'\n'), 1),
        b'/' if rest.starts_with(b"/*") => found(rest[2..].windows(2).position(|pair| pair == b"*/"), 4),
        b'/' if begins_expression(bytes, at) => regular_expression(bytes, at),
        quote @ (b'\'' | b'"' | b'`') => string(bytes, at, quote),
        b'(' | b'[' | b'{' => {
            let mut at = at + 1;
            while at < bytes.len() && !matches!(bytes[at], b')' | b']' | b'}') {
                at = skip(bytes, at);
            }
            (at + 1).min(bytes.len())
        }
        first => {
            let length = if first < 0xc0 {
                1
            } else if first < 0xe0 {
                2
            } else if first < 0xf0 {
                3
            } else {
                4
            };
            (at + length).min(bytes.len())
        }
    }
}

/// True where a slash cannot be a division.
fn begins_expression(bytes: &[u8], at: usize) -> bool {
    let before = bytes[..at].iter().rev().find(|byte| !byte.is_ascii_whitespace());
    before.is_none_or(|byte| b"=(,:[!&|?{;+-*%~^<>".contains(byte))
}

fn regular_expression(bytes: &[u8], at: usize) -> usize {
    let (mut end, mut is_class) = (at + 1, false);
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 1,
            b'[' => is_class = true,
            b']' => is_class = false,
            b'/' if !is_class => return end + 1,
            _ => {}
        }
        end += 1;
    }
    bytes.len()
}

fn string(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 2,
            b'$' if quote == b'`' && bytes.get(end + 1) == Some(&b'{') => end = skip(bytes, end + 1),
            byte if byte == quote => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests;

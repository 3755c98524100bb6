//! From the text that a model writes to words and calls.
//!
//! [`Characters`] puts bytes together to whole characters. [`Splitter`] tells
//! words from calls while they come in: text that may begin a call is held back
//! until that is decided, so that no part of a call is ever streamed as words.
//!
//! A call is written in one of two forms: between `<tool_call>` and
//! `</tool_call>` anywhere, as larger models learn it; or, as small ones do, as
//! bare JSON, perhaps in a code fence. Bare JSON counts as a call only where an
//! answer begins with it and only if it names a known tool. Small models also
//! call tools that do not exist; such an answer is not shown, it is begun again.

use are_core::limits::{CALL_ARGUMENTS_BYTES_MAX, CALLS_PER_ANSWER_MAX};
use are_core::model::{RawCall, ToolSpec};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::prompt::{CALL_CLOSE, CALL_OPEN};

/// Bytes of the longest UTF-8 character.
const CHARACTER_BYTES_MAX: usize = 4;
/// Characters of the longest name that a tool may have.
const NAME_CHARS_MAX: usize = 64;
/// Begins and ends a code fence.
const FENCE: &str = "```";

/// Puts bytes together to whole characters.
#[derive(Debug, Default)]
pub struct Characters {
    pending: Vec<u8>,
}

impl Characters {
    /// Bytes that wait for the rest of their character.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Adds bytes; the characters that are whole now. Bytes that cannot be part
    /// of any character become U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.pending.clear();
                    return text;
                }
                Err(error) => {
                    let (valid, rest) = self.pending.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(invalid) = error.error_len() else {
                        let rest = rest.to_vec();
                        debug_assert!(rest.len() < CHARACTER_BYTES_MAX);
                        self.pending = rest;
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.pending = rest.get(invalid..).unwrap_or_default().to_vec();
                }
            }
        }
    }
}

/// A decided piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Words, never empty.
    Text(String),
    /// A call.
    Call(RawCall),
}

/// How a call is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Between `<tool_call>` and `</tool_call>`.
    Tagged,
    /// As JSON alone.
    Bare,
}

/// Where in the answer the model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the beginning: words or a bare call.
    Start,
    /// In words.
    Words,
    /// In a call.
    Call(Form),
    /// After a call: another one or the end.
    After,
    /// In a call of a tool that does not exist; what comes is held back.
    Unknown,
    /// The answer is over; what else comes is ignored.
    Over,
}

/// Tells words from calls.
#[derive(Debug)]
pub struct Splitter {
    tools: Vec<String>,
    place: Place,
    held: String,
    is_fenced: bool,
    calls: Vec<RawCall>,
}

impl Splitter {
    /// For an answer that may call these tools.
    #[must_use]
    pub fn new(tools: &[ToolSpec]) -> Self {
        let tools = tools.iter().map(|tool| tool.name.as_str().to_owned()).collect();
        Self { tools, place: Place::Start, held: String::new(), is_fenced: false, calls: Vec::new() }
    }

    /// Inside a call, its form.
    #[must_use]
    pub fn call_form(&self) -> Option<Form> {
        match self.place {
            Place::Call(form) => Some(form),
            Place::Start | Place::Words | Place::After | Place::Unknown | Place::Over => None,
        }
    }

    /// True when nothing that follows belongs to the answer.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    /// True when the answer is a call of a tool that does not exist.
    #[must_use]
    pub fn calls_unknown_tool(&self) -> bool {
        self.place == Place::Unknown
    }

    /// Forgets an answer of which nothing was shown yet; words are to come.
    pub fn restart_in_words(&mut self) {
        self.held.clear();
        self.place = Place::Words;
    }

    /// True when a call was made.
    #[must_use]
    pub fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Inside a call, what was written of it, its tag not included.
    #[must_use]
    pub fn call_so_far(&self) -> &str {
        if self.call_form().is_some() { &self.held } else { "" }
    }

    /// Inside a call, forgets what was written of it.
    pub fn restart_call(&mut self) {
        if self.call_form().is_some() {
            self.held.clear();
        }
    }

    /// Adds text; the pieces decided now.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if self.tools.is_empty() {
            pieces.extend(words(text.to_owned()));
            return pieces;
        }
        self.held.push_str(text);
        while self.step(&mut pieces) {}
        pieces
    }

    /// The end of the answer: the words that were held back. A call that was
    /// cut off is dropped.
    pub fn finish(&mut self) -> Vec<Piece> {
        let held = std::mem::take(&mut self.held);
        match self.place {
            Place::Start | Place::Words | Place::Unknown => words(held).into_iter().collect(),
            Place::Call(_) | Place::After | Place::Over => Vec::new(),
        }
    }

    /// Decides as much as it can; true when there may be more to decide.
    fn step(&mut self, pieces: &mut Vec<Piece>) -> bool {
        match self.place {
            Place::Start => match bare_call(&self.held, &self.tools) {
                Bare::Perhaps => false,
                Bare::No => {
                    self.place = Place::Words;
                    true
                }
                Bare::Unknown => {
                    self.place = Place::Unknown;
                    false
                }
                Bare::From(start) => {
                    self.is_fenced = self.held.trim_start().starts_with(FENCE);
                    self.held.drain(..start);
                    self.place = Place::Call(Form::Bare);
                    true
                }
            },
            Place::Words => self.step_words(pieces),
            Place::Call(form) => self.step_call(form, pieces),
            Place::After => self.step_after(),
            Place::Unknown | Place::Over => false,
        }
    }

    fn step_words(&mut self, pieces: &mut Vec<Piece>) -> bool {
        if let Some(at) = self.held.find(CALL_OPEN) {
            let mut before: String = self.held.drain(..at + CALL_OPEN.len()).collect();
            before.truncate(at);
            pieces.extend(words(before.trim_end().to_owned()));
            self.place = Place::Call(Form::Tagged);
            return true;
        }
        // White space before a call is dropped, so it is held back as well.
        let visible = self.held.len() - opening_at_end(&self.held);
        let visible = self.held.get(..visible).unwrap_or_default().trim_end().len();
        pieces.extend(words(self.held.drain(..visible).collect()));
        false
    }

    fn step_call(&mut self, form: Form, pieces: &mut Vec<Piece>) -> bool {
        let written: String = match form {
            Form::Tagged => {
                let Some(at) = self.held.find(CALL_CLOSE) else { return false };
                let mut written: String = self.held.drain(..at + CALL_CLOSE.len()).collect();
                written.truncate(at);
                written
            }
            Form::Bare => {
                let Some(end) = value_end(&self.held) else { return false };
                self.held.drain(..end).collect()
            }
        };
        self.place = Place::After;
        match parse(&written) {
            // A model that repeats itself would do so until its limit.
            Some(call) if self.calls.contains(&call) => self.over(),
            Some(call) => {
                self.calls.push(call.clone());
                pieces.push(Piece::Call(call));
            }
            // Only without a grammar: what is no call is shown as what it is.
            None => pieces.push(Piece::Text(match form {
                Form::Tagged => format!("{CALL_OPEN}{written}{CALL_CLOSE}"),
                Form::Bare => written,
            })),
        }
        if self.is_fenced || self.calls.len() >= CALLS_PER_ANSWER_MAX {
            self.over();
        }
        self.place == Place::After
    }

    fn step_after(&mut self) -> bool {
        self.held = self.held.trim_start().to_owned();
        if self.held.starts_with(CALL_OPEN) {
            self.held.drain(..CALL_OPEN.len());
            self.place = Place::Call(Form::Tagged);
            return true;
        }
        match bare_call(&self.held, &self.tools) {
            Bare::From(start) => {
                self.held.drain(..start);
                self.place = Place::Call(Form::Bare);
                true
            }
            Bare::Perhaps => false,
            Bare::No | Bare::Unknown => {
                if !CALL_OPEN.starts_with(&self.held) {
                    self.over();
                }
                false
            }
        }
    }

    fn over(&mut self) {
        self.place = Place::Over;
        self.held.clear();
    }
}

fn words(text: String) -> Option<Piece> {
    if text.is_empty() { None } else { Some(Piece::Text(text)) }
}

/// Bytes at the end of `text` that may be the beginning of `<tool_call>`.
fn opening_at_end(text: &str) -> usize {
    (1..CALL_OPEN.len()).rev().find(|&length| text.ends_with(&CALL_OPEN[..length])).unwrap_or(0)
}

#[derive(Deserialize)]
struct Written<'a> {
    name: String,
    #[serde(borrow, alias = "parameters", alias = "args")]
    arguments: Option<&'a RawValue>,
}

fn parse(written: &str) -> Option<RawCall> {
    // silent-ok: what is no call is shown as words.
    let written: Written<'_> = serde_json::from_str(written.trim()).ok()?;
    let arguments = written.arguments.map_or("{}", RawValue::get);
    let fits = arguments.len() <= CALL_ARGUMENTS_BYTES_MAX && arguments.starts_with('{');
    fits.then(|| RawCall { name: written.name, arguments: arguments.to_owned() })
}

/// Where a whole JSON value at the beginning of `text` ends.
fn value_end(text: &str) -> Option<usize> {
    // Parsing again for each character would take quadratic time.
    if !text.contains('}') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(_)) => Some(values.byte_offset()),
        // Only without a grammar: it will never be whole, so all of it is taken.
        Some(Err(error)) if !error.is_eof() => Some(text.len()),
        Some(Err(_)) | None => None,
    }
}

/// Whether an answer begins with a bare call of a known tool.
#[derive(Debug, PartialEq, Eq)]
enum Bare {
    No,
    Perhaps,
    /// It does, at this byte.
    From(usize),
    /// It begins with a call of a tool that does not exist.
    Unknown,
}

fn bare_call(answer: &str, tools: &[String]) -> Bare {
    let mut rest = answer.trim_start();
    if let Some(fenced) = rest.strip_prefix(FENCE) {
        rest = fenced;
        if "json".starts_with(rest) {
            return Bare::Perhaps;
        }
        rest = rest.strip_prefix("json").unwrap_or(rest).trim_start();
    } else if FENCE.starts_with(rest) {
        return Bare::Perhaps;
    }
    let start = answer.len() - rest.len();
    rest = match after(rest, &["{", "\"name\"", ":", "\""]) {
        Ok(rest) => rest,
        Err(verdict) => return verdict,
    };
    let (name, rest) = rest.split_once('"').map_or((rest, None), |(name, rest)| (name, Some(rest)));
    let is_name = name.len() <= NAME_CHARS_MAX && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match rest {
        Some(_) if tools.iter().any(|tool| tool == name) => Bare::From(start),
        // Some other object, which may well have a `name`.
        _ if !is_name => Bare::No,
        None => Bare::Perhaps,
        Some(rest) => after(rest, &[",", "\"arguments\"", ":"]).map_or_else(|verdict| verdict, |_| Bare::Unknown),
    }
}

/// What follows these pieces, white space between them; else whether they may still come.
fn after<'a>(mut rest: &'a str, pieces: &[&str]) -> Result<&'a str, Bare> {
    for piece in pieces {
        rest = rest.trim_start();
        if piece.starts_with(rest) {
            return Err(Bare::Perhaps);
        }
        rest = rest.strip_prefix(piece).ok_or(Bare::No)?;
    }
    Ok(rest)
}

#[cfg(test)]
mod tests;

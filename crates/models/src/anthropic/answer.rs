//! One answer: bytes in, deltas out.
//!
//! Synchronous and without I/O, so that every way of splitting the bytes can be
//! tested. Words and thinking are handed out as they come, what was signed at
//! the end of its block, calls at the end of the answer. Everything that is
//! kept is bounded by the limits of `are_core::limits`, whatever is sent.

use std::collections::{BTreeMap, VecDeque};

use are_core::digest::Digest;
use are_core::error::Fault;
use are_core::limits::{ANSWER_BYTES_MAX, CALL_ARGUMENTS_BYTES_MAX, CALLS_PER_ANSWER_MAX};
use are_core::model::{Delta, RawCall, Reasoning, StopReason};
use serde::de::IgnoredAny;

use super::event::{self, Block, Event, Piece, Tokens};
use super::thinking::Kept;
use crate::remote::exchange;
use crate::remote::fault::Faults;
use crate::remote::split_words;
use crate::remote::sse::{self, Decoder, Stop};

/// Blocks of one answer that may be open at once; the provider sends one after another.
const OPEN_BLOCKS_MAX: usize = CALLS_PER_ANSWER_MAX;
/// Bytes of a tool's name; twice what the provider accepts.
const NAME_BYTES_MAX: usize = 256;

/// Reads one answer.
pub(super) struct Answer {
    decoder: Decoder,
    reading: Reading,
}

/// What the events have said so far.
struct Reading {
    faults: Faults,
    /// What the model had been shown.
    shown: Digest,
    open: BTreeMap<u64, Open>,
    calls: Vec<RawCall>,
    /// Bytes of words, thinking and calls.
    bytes: usize,
    /// Bytes of words alone.
    text_bytes: usize,
    stop_reason: Option<String>,
    tokens: Tokens,
    is_done: bool,
}

/// A block whose end has not come.
enum Open {
    Text,
    Thinking { bytes: usize, at: usize, signature: String },
    Call { at: usize, input: Option<String> },
    Other,
}

impl Answer {
    pub(super) fn new(faults: Faults, shown: Digest) -> Self {
        let reading = Reading {
            faults,
            shown,
            open: BTreeMap::new(),
            calls: Vec::new(),
            bytes: 0,
            text_bytes: 0,
            stop_reason: None,
            tokens: Tokens::default(),
            is_done: false,
        };
        Self { decoder: Decoder::default(), reading }
    }

    fn fault(&self, stop: Stop<Fault>) -> Fault {
        match stop {
            Stop::TooLong => self.reading.faults.limit("a line of the answer is longer than 1 MiB"),
            Stop::Refused(fault) => fault,
        }
    }
}

impl exchange::Answer for Answer {
    fn is_done(&self) -> bool {
        self.reading.is_done
    }

    fn is_finished(&self) -> bool {
        self.reading.is_done || self.reading.stop_reason.is_some()
    }

    fn feed(&mut self, bytes: &[u8], out: &mut VecDeque<Delta>) -> Result<(), Fault> {
        let reading = &mut self.reading;
        let fed = self.decoder.feed(bytes, &mut |event| reading.event(&event, out));
        fed.map_err(|stop| self.fault(stop))
    }

    fn end(mut self, out: &mut VecDeque<Delta>) -> Result<(), Fault> {
        let reading = &mut self.reading;
        let ended = self.decoder.end(&mut |event| reading.event(&event, out));
        ended.map_err(|stop| self.fault(stop))?;
        self.reading.end(out)
    }
}

impl Reading {
    fn event(&mut self, event: &sse::Event<'_>, out: &mut VecDeque<Delta>) -> Result<(), Fault> {
        if self.is_done {
            return Ok(());
        }
        let Ok(data) = std::str::from_utf8(event.data) else {
            return Err(self.faults.broken("is not UTF-8"));
        };
        let data = data.trim();
        if data.is_empty() {
            return Ok(());
        }
        if event.is_error {
            return Err(self.faults.in_answer(data));
        }
        let read: Event = match serde_json::from_str(data) {
            Ok(read) => read,
            // An error that says nothing of what it is.
            Err(_) if event::is_error(data) => return Err(self.faults.in_answer(data)),
            Err(error) => {
                // The error's words can quote the provider; its place cannot.
                tracing::debug!(category = ?error.classify(), column = error.column(), "an event is not understood");
                return Err(self.faults.broken("has an event that is not understood"));
            }
        };
        match read {
            Event::MessageStart { message } => self.count(message.usage),
            Event::ContentBlockStart { index, content_block } => return self.begin(index, content_block, out),
            Event::ContentBlockDelta { index, delta } => return self.piece(index, delta, out),
            Event::ContentBlockStop { index } => return self.close(index, out),
            Event::MessageDelta { delta, usage } => {
                self.count(usage);
                self.stop_reason = delta.stop_reason.or(self.stop_reason.take());
            }
            Event::MessageStop => self.is_done = true,
            Event::Error => return Err(self.faults.in_answer(data)),
            Event::Other => {}
        }
        Ok(())
    }

    fn count(&mut self, tokens: Option<Tokens>) {
        if let Some(tokens) = tokens {
            self.tokens = self.tokens.then(tokens);
        }
    }

    fn begin(&mut self, index: u64, block: Block, out: &mut VecDeque<Delta>) -> Result<(), Fault> {
        if self.open.len() == OPEN_BLOCKS_MAX || self.open.contains_key(&index) {
            return Err(self.disorder());
        }
        let at = self.text_bytes;
        let open = match block {
            Block::Text { text } => {
                self.open.insert(index, Open::Text);
                return self.piece(index, Piece::TextDelta { text }, out);
            }
            Block::Thinking { thinking, signature } => {
                self.take(signature.len())?;
                self.open.insert(index, Open::Thinking { bytes: 0, at, signature });
                return self.piece(index, Piece::ThinkingDelta { thinking }, out);
            }
            Block::RedactedThinking { data } => {
                self.take(data.len())?;
                let kept = Kept { signature: None, data: Some(data), bytes: 0, at, shown: self.shown };
                out.push_back(Delta::Reasoning(Reasoning { text: String::new(), opaque: kept.to_opaque() }));
                Open::Other
            }
            Block::ToolUse { name, input } => {
                if self.calls.len() == CALLS_PER_ANSWER_MAX {
                    let what = format!("the answer has more than {CALLS_PER_ANSWER_MAX} tool calls");
                    return Err(self.faults.limit(&what));
                }
                if name.is_empty() || name.len() > NAME_BYTES_MAX {
                    return Err(self.faults.broken("has a tool call without a usable name"));
                }
                self.take(name.len())?;
                self.calls.push(RawCall { name, arguments: String::new() });
                let whole = input.filter(|input| !input.is_empty());
                let input = whole.map(|input| serde_json::Value::Object(input).to_string());
                Open::Call { at: self.calls.len() - 1, input }
            }
            Block::Other => Open::Other,
        };
        self.open.insert(index, open);
        Ok(())
    }

    fn piece(&mut self, index: u64, piece: Piece, out: &mut VecDeque<Delta>) -> Result<(), Fault> {
        let new = match &piece {
            Piece::TextDelta { text } => text.len(),
            Piece::InputJsonDelta { partial_json } => partial_json.len(),
            Piece::ThinkingDelta { thinking } => thinking.len(),
            Piece::SignatureDelta { signature } => signature.len(),
            Piece::Other => 0,
        };
        self.take(new)?;
        match (self.open.get_mut(&index), piece) {
            (Some(Open::Text), Piece::TextDelta { text }) => {
                self.text_bytes += text.len();
                if !text.is_empty() {
                    split_words(text, out, Delta::Text);
                }
            }
            (Some(Open::Thinking { bytes, .. }), Piece::ThinkingDelta { thinking }) => {
                *bytes += thinking.len();
                if !thinking.is_empty() {
                    split_words(thinking, out, |text| Delta::Reasoning(Reasoning { text, opaque: None }));
                }
            }
            (Some(Open::Thinking { signature, .. }), Piece::SignatureDelta { signature: more }) => {
                signature.push_str(&more);
            }
            (Some(Open::Call { at, .. }), Piece::InputJsonDelta { partial_json }) => {
                let arguments = &mut self.calls[*at].arguments;
                if arguments.len() + partial_json.len() > CALL_ARGUMENTS_BYTES_MAX {
                    return Err(self.faults.limit("the tool calls of the answer are too long"));
                }
                arguments.push_str(&partial_json);
            }
            (Some(Open::Other), _) | (Some(_), Piece::Other) => {}
            _ => return Err(self.disorder()),
        }
        Ok(())
    }

    fn close(&mut self, index: u64, out: &mut VecDeque<Delta>) -> Result<(), Fault> {
        match self.open.remove(&index) {
            None => return Err(self.disorder()),
            Some(Open::Thinking { bytes, at, signature }) if !signature.is_empty() => {
                let kept = Kept { signature: Some(signature), data: None, bytes, at, shown: self.shown };
                out.push_back(Delta::Reasoning(Reasoning { text: String::new(), opaque: kept.to_opaque() }));
            }
            Some(Open::Call { at, input }) => {
                let arguments = &mut self.calls[at].arguments;
                if arguments.trim().is_empty() {
                    // A tool without parameters may be called with no arguments at all.
                    *arguments = input.unwrap_or_else(|| "{}".to_owned());
                }
            }
            Some(Open::Text | Open::Thinking { .. } | Open::Other) => {}
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes += bytes;
        if self.bytes > ANSWER_BYTES_MAX {
            return Err(self.faults.limit("the answer is longer than 4 MiB"));
        }
        Ok(())
    }

    fn disorder(&self) -> Fault {
        self.faults.broken("has events in an order that is not understood")
    }

    fn end(mut self, out: &mut VecDeque<Delta>) -> Result<(), Fault> {
        let has_calls = !self.calls.is_empty();
        let stop_reason = match self.stop_reason.as_deref() {
            None => return Err(self.faults.cut_off()),
            // A pause is asked for by tools of the provider's own, of which none is offered: what came is not all.
            Some("max_tokens" | "model_context_window_exceeded" | "pause_turn") => StopReason::Length,
            Some("refusal") => StopReason::ContentFilter,
            Some("tool_use") if !has_calls => {
                return Err(self.faults.broken("announces tool calls and has none"));
            }
            // Unknown reasons are data, not errors.
            Some(_) if has_calls => StopReason::ToolCalls,
            Some(_) => StopReason::Stop,
        };
        if matches!(stop_reason, StopReason::Length | StopReason::ContentFilter) {
            // It is known that something is missing; what is whole was meant.
            self.calls.retain(|call| serde_json::from_str::<IgnoredAny>(&call.arguments).is_ok());
        } else if !self.open.is_empty() {
            return Err(self.faults.cut_off());
        }
        out.extend(self.calls.into_iter().map(Delta::Call));
        out.push_back(Delta::End { stop_reason, usage: self.tokens.usage() });
        Ok(())
    }
}

#[cfg(test)]
mod tests;

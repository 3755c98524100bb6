//! One answer: bytes in, deltas out.
//!
//! Synchronous and without I/O, so that every way of splitting the bytes can be
//! tested. Each event's deltas are handed out as soon as the event is complete;
//! calls are handed out whole, at the end. What is kept is bounded by the
//! limits of `are_core::limits`, whatever the provider sends.

use std::collections::VecDeque;

use are_core::error::Fault;
use are_core::limits::{ANSWER_BYTES_MAX, CALLS_PER_ANSWER_MAX};
use are_core::model::{Delta, Reasoning, StopReason, Usage};

use super::calls::{Calls, Refusal};
use super::chunk::{CallPiece, Choice, Chunk, FunctionPiece, Piece};
use crate::remote::exchange;
use crate::remote::fault::Faults;
use crate::remote::split_words;
use crate::remote::sse::{Decoder, Event, Stop};

/// Reads one answer.
pub(super) struct Answer {
    decoder: Decoder,
    reading: Reading,
}

/// What the events have said so far.
struct Reading {
    faults: Faults,
    calls: Calls,
    text_bytes: usize,
    finish_reason: Option<String>,
    usage: Usage,
    is_done: bool,
}

impl Answer {
    pub(super) fn new(faults: Faults) -> Self {
        let reading = Reading {
            faults,
            calls: Calls::default(),
            text_bytes: 0,
            finish_reason: None,
            usage: Usage::default(),
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
        self.reading.is_done || self.reading.finish_reason.is_some()
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
    fn event(&mut self, event: &Event<'_>, out: &mut VecDeque<Delta>) -> Result<(), Fault> {
        if self.is_done {
            return Ok(());
        }
        let Ok(data) = std::str::from_utf8(event.data) else {
            return Err(self.faults.broken("is not UTF-8"));
        };
        let data = data.trim();
        if data == "[DONE]" {
            self.is_done = true;
            return Ok(());
        }
        if data.is_empty() {
            return Ok(());
        }
        if event.is_error {
            return Err(self.faults.in_answer(data));
        }
        let chunk: Chunk<'_> = serde_json::from_str(data).map_err(|error| {
            // The error's words can quote the provider; its place cannot.
            tracing::debug!(category = ?error.classify(), column = error.column(), "an event is not understood");
            self.faults.broken("has an event that is not understood")
        })?;
        if chunk.error.is_some_and(|error| error.get() != "null") {
            return Err(self.faults.in_answer(data));
        }
        if let Some(usage) = chunk.usage() {
            self.usage = usage;
        }
        for choice in chunk.choices.into_iter().flatten() {
            self.choice(choice, out)?;
        }
        Ok(())
    }

    fn choice(&mut self, choice: Choice<'_>, out: &mut VecDeque<Delta>) -> Result<(), Fault> {
        if choice.index.is_some_and(|index| index != 0) {
            return Ok(());
        }
        if let Some(piece) = choice.delta {
            self.piece(piece, out)?;
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            self.finish_reason = Some(reason);
        }
        Ok(())
    }

    fn piece(&mut self, piece: Piece<'_>, out: &mut VecDeque<Delta>) -> Result<(), Fault> {
        // Some providers send the same reasoning under both names.
        let reasoning =
            if piece.reasoning_content.0.is_empty() { piece.reasoning.0 } else { piece.reasoning_content.0 };
        self.words(reasoning, out, |text| Delta::Reasoning(Reasoning { text, opaque: None }))?;
        self.words(piece.content.0, out, Delta::Text)?;
        self.words(piece.refusal.0, out, Delta::Text)?;
        for call in piece.tool_calls.into_iter().flatten() {
            self.call(&call)?;
        }
        if let Some(function) = piece.function_call {
            self.call(&CallPiece { index: Some(0), id: None, function: Some(function) })?;
        }
        Ok(())
    }

    fn words(&mut self, text: String, out: &mut VecDeque<Delta>, wrap: fn(String) -> Delta) -> Result<(), Fault> {
        if text.is_empty() {
            return Ok(());
        }
        self.text_bytes += text.len();
        if self.text_bytes > ANSWER_BYTES_MAX {
            return Err(self.faults.limit("the answer is longer than 4 MiB"));
        }
        split_words(text, out, wrap);
        Ok(())
    }

    fn call(&mut self, piece: &CallPiece<'_>) -> Result<(), Fault> {
        let nothing = FunctionPiece::default();
        let function = piece.function.as_ref().unwrap_or(&nothing);
        let Ok(arguments) = function.arguments() else {
            return Err(self.faults.broken("has a tool call that is not understood"));
        };
        let id = piece.id.as_deref().unwrap_or_default();
        let name = function.name.as_deref().unwrap_or_default();
        self.calls.add(piece.index, id, name, &arguments).map_err(|refusal| match refusal {
            Refusal::TooMany => {
                self.faults.limit(&format!("the answer has more than {CALLS_PER_ANSWER_MAX} tool calls"))
            }
            Refusal::TooLong => self.faults.limit("the tool calls of the answer are too long"),
            Refusal::Nameless => self.faults.broken("has a tool call without a name"),
        })
    }

    fn end(self, out: &mut VecDeque<Delta>) -> Result<(), Fault> {
        let has_calls = !self.calls.is_empty();
        let stop_reason = match self.finish_reason.as_deref() {
            None if !self.is_done => return Err(self.faults.cut_off()),
            Some("length" | "max_tokens" | "model_length") => StopReason::Length,
            Some("content_filter") => StopReason::ContentFilter,
            Some("error") => return Err(self.faults.gave_up()),
            Some("tool_calls" | "function_call") if !has_calls => {
                return Err(self.faults.broken("announces tool calls and has none"));
            }
            // Some providers say `stop` where there are calls; unknown reasons are data, not errors.
            _ if has_calls => StopReason::ToolCalls,
            _ => StopReason::Stop,
        };
        let is_cut = matches!(stop_reason, StopReason::Length | StopReason::ContentFilter);
        out.extend(self.calls.finish(is_cut).into_iter().map(Delta::Call));
        out.push_back(Delta::End { stop_reason, usage: self.usage });
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! Answers one request: read the prompt, write token by token.

use std::sync::atomic::{AtomicBool, Ordering};

use are_core::error::{Code, Fault};
use are_core::limits::ANSWER_BYTES_MAX;
use are_core::model::{Delta, Message, ModelRequest, StopReason, ToolSpec, Usage};
use llama_cpp_2::token::LlamaToken;
use serde::de::IgnoredAny;

use super::loaded::Loaded;
use super::sampler::Sampler;
use super::sequence::{Sequence, too_long};
use super::{Deltas, OUTPUT_TOKENS_MAX, send};
use crate::local::answer::{Characters, Form, Piece, Splitter};
use crate::local::stops::Stops;
use crate::local::{grammar, prompt};

/// Tokens that must be left for an answer; with fewer it would be cut off at once.
const ANSWER_TOKENS_MIN: usize = 64;
/// Bytes a token has at most on average; a longer text is too long without counting.
const TOKEN_BYTES_MAX: usize = 16;

/// Reads what prompts with these instructions and tools begin with.
pub(super) fn warm(
    loaded: &Loaded,
    sequence: &mut Sequence<'_>,
    messages: &[Message],
    tools: &[ToolSpec],
    stop: &AtomicBool,
) -> Result<(), Fault> {
    let prefix = loaded.prefix(messages, tools)?;
    if prefix.len() < sequence.context_tokens() as usize {
        sequence.read(&prefix, |_| !stop.load(Ordering::Relaxed))?;
    }
    Ok(())
}

/// Answers; returns early when nobody reads any more.
pub(super) fn answer(
    loaded: &Loaded,
    sequence: &mut Sequence<'_>,
    request: &ModelRequest,
    deltas: &Deltas,
    stop: &AtomicBool,
) -> Result<(), Fault> {
    let is_wanted = || !deltas.is_closed() && !stop.load(Ordering::Relaxed);
    if !is_wanted() {
        return Ok(());
    }
    let context_tokens = sequence.context_tokens();
    let prompt = prompt_within(loaded, request, context_tokens)?;
    let total = prompt.len() as u64;
    let reading = sequence.read(&prompt, |done| {
        send(deltas, Ok(Delta::Progress { phase: "prefill", done: done as u64, total }));
        is_wanted()
    })?;
    if !reading.is_complete {
        return Ok(());
    }
    let room = (context_tokens as usize).saturating_sub(prompt.len()) as u64;
    let mut writing = Writing {
        loaded,
        sequence,
        request,
        deltas,
        splitter: Splitter::new(&request.tools),
        sampler: Sampler::new(&loaded.model, request.temperature_milli.unwrap_or(0), &request.shape),
        stops: Stops::new(&request.shape.stop),
        characters: Characters::default(),
        prompt_tokens: prompt.len(),
        bytes: Vec::new(),
        ends: Vec::new(),
        emitted: 0,
        is_restarted: false,
        is_formed: false,
    };
    // A form and calls exclude each other: every token of such an answer is the form's.
    if let Some(format) = &request.shape.format
        && writing.sampler.begin_answer(&grammar::of_answer(format))
    {
        writing.splitter = Splitter::new(&[]);
        writing.is_formed = true;
    }
    let limit = request.output_tokens_max.min(OUTPUT_TOKENS_MAX).min(room);
    let Some(ended) = writing.run(limit, &is_wanted)? else { return Ok(()) };
    for piece in writing.splitter.finish() {
        writing.emit(piece)?;
    }
    if let Some(text) = writing.stops.end() {
        send(deltas, Ok(Delta::Text(text)));
    }
    let stop_reason = if writing.splitter.has_calls() { StopReason::ToolCalls } else { ended };
    let output_tokens = writing.ends.len() as u64;
    let usage = Usage { input_tokens: total, cached_tokens: reading.kept as u64, output_tokens, ..Usage::default() };
    send(deltas, Ok(Delta::End { stop_reason, usage }));
    Ok(())
}

fn prompt_within(loaded: &Loaded, request: &ModelRequest, context_tokens: u32) -> Result<Vec<LlamaToken>, Fault> {
    let bytes: usize = request.messages.iter().map(message_bytes).sum();
    let least = bytes / TOKEN_BYTES_MAX;
    if least > context_tokens as usize {
        return Err(too_long(least, context_tokens));
    }
    let prompt = loaded.prompt(&request.messages, &request.tools)?;
    let wanted = usize::try_from(request.output_tokens_max).unwrap_or(usize::MAX).min(ANSWER_TOKENS_MIN);
    if prompt.len() + wanted > context_tokens as usize {
        return Err(too_long(prompt.len(), context_tokens));
    }
    Ok(prompt)
}

fn message_bytes(message: &Message) -> usize {
    match message {
        Message::System { text } | Message::User { text } | Message::Tool { text, .. } => text.len(),
        Message::Assistant { text, calls, .. } => {
            text.len() + calls.iter().map(|call| call.call.name.len() + call.call.arguments.len()).sum::<usize>()
        }
    }
}

struct Writing<'a, 'model> {
    loaded: &'a Loaded,
    sequence: &'a mut Sequence<'model>,
    request: &'a ModelRequest,
    deltas: &'a Deltas,
    splitter: Splitter,
    sampler: Sampler<'a>,
    characters: Characters,
    stops: Stops,
    prompt_tokens: usize,
    /// What was written.
    bytes: Vec<u8>,
    /// Where in it each token ends.
    ends: Vec<usize>,
    /// Bytes of the pieces sent.
    emitted: usize,
    /// True once the answer was begun again, which happens once at most.
    is_restarted: bool,
    /// True for an answer that has a form, which ends with its JSON.
    is_formed: bool,
}

impl Writing<'_, '_> {
    /// Writes until the end; `None` when nobody reads any more.
    fn run(&mut self, limit: u64, is_wanted: &dyn Fn() -> bool) -> Result<Option<StopReason>, Fault> {
        loop {
            if !is_wanted() {
                return Ok(None);
            }
            if self.ends.len() as u64 >= limit {
                return Ok(Some(StopReason::Length));
            }
            let token = if self.is_restarted && self.ends.is_empty() {
                self.sampler.next_word(self.sequence.context())
            } else {
                self.sampler.next(self.sequence.context())?
            };
            let vocab = self.loaded.model.vocab();
            if vocab.is_eog(token) || self.is_foreign(token) {
                return Ok(Some(StopReason::Stop));
            }
            let bytes = vocab.token_to_piece(token, true, None);
            self.bytes.extend_from_slice(&bytes);
            self.ends.push(self.bytes.len());
            let was_in_call = self.splitter.call_form().is_some();
            let text = self.characters.push(&bytes);
            for piece in self.splitter.push(&text) {
                self.emit(piece)?;
            }
            if self.stops.is_met() || self.is_whole(&bytes) {
                return Ok(Some(StopReason::Stop));
            }
            if self.splitter.is_over() {
                return Ok(Some(StopReason::ToolCalls));
            }
            if self.splitter.calls_unknown_tool() {
                self.restart_in_words()?;
                continue;
            }
            match (was_in_call, self.splitter.call_form()) {
                (false, Some(form)) => self.begin_call(form, token)?,
                (true, None) => {
                    self.sampler.end_call();
                    self.sequence.append(&[token])?;
                }
                _ => self.sequence.append(&[token])?,
            }
        }
    }

    /// True when the last token made an answer that has a form whole: the grammar knows no end.
    fn is_whole(&self, token: &[u8]) -> bool {
        self.is_formed
            && token.trim_ascii_end().ends_with(b"}")
            && serde_json::from_slice::<IgnoredAny>(&self.bytes).is_ok()
    }

    /// A control token that is no end and opens no call: the model has lost its way.
    fn is_foreign(&self, token: LlamaToken) -> bool {
        let vocab = self.loaded.model.vocab();
        vocab.is_control(token) && {
            let text = vocab.token_to_piece(token, true, None);
            text != prompt::CALL_OPEN.as_bytes() && text != prompt::CALL_CLOSE.as_bytes()
        }
    }

    /// Begins the answer again where the model called a tool that does not exist.
    fn restart_in_words(&mut self) -> Result<(), Fault> {
        let prompt = self.sequence.tokens().get(..self.prompt_tokens).unwrap_or_default().to_vec();
        self.bytes.clear();
        self.ends.clear();
        self.characters = Characters::default();
        self.splitter.restart_in_words();
        self.is_restarted = true;
        self.sequence.read(&prompt, |_| true)?;
        Ok(())
    }

    /// Begins a call: from here on the grammar has its say, about what was
    /// already written of the call as well. If it refuses that, the model goes
    /// back to where the call begins.
    fn begin_call(&mut self, form: Form, token: LlamaToken) -> Result<(), Fault> {
        let grammar = grammar::of_call(&self.request.tools, form);
        let written = self.loaded.tokenise(self.splitter.call_so_far());
        if self.characters.pending() == 0 && self.sampler.begin_call(&grammar, &written) {
            return self.sequence.append(&[token]);
        }
        let start = self.bytes.len() - self.splitter.call_so_far().len() - self.characters.pending();
        let kept = self.ends.iter().take_while(|end| **end <= start).count();
        self.ends.truncate(kept);
        let mut end = self.ends.last().copied().unwrap_or(0);
        let before = String::from_utf8_lossy(self.bytes.get(end..start).unwrap_or_default()).into_owned();
        self.bytes.truncate(start);
        let mut tokens = self.sequence.tokens().get(..self.prompt_tokens + kept).unwrap_or_default().to_vec();
        for token in self.loaded.tokenise(&before) {
            end += self.loaded.model.vocab().token_to_piece(token, true, None).len();
            self.ends.push(end);
            tokens.push(token);
        }
        self.characters = Characters::default();
        self.splitter.restart_call();
        self.sampler.begin_call(&grammar, &[]);
        self.sequence.read(&tokens, |_| true)?;
        Ok(())
    }

    fn emit(&mut self, piece: Piece) -> Result<(), Fault> {
        self.emitted += match &piece {
            Piece::Text(text) => text.len(),
            Piece::Call(call) => call.name.len() + call.arguments.len(),
        };
        if self.emitted > ANSWER_BYTES_MAX {
            return Err(Fault::new(
                Code::MODEL_LIMIT,
                format!("the answer has more than {ANSWER_BYTES_MAX} bytes"),
                "ask for less at once",
            ));
        }
        let delta = match piece {
            Piece::Text(text) => match self.stops.push(text) {
                Some(text) => Delta::Text(text),
                None => return Ok(()),
            },
            Piece::Call(call) => Delta::Call(call),
        };
        send(self.deltas, Ok(delta));
        Ok(())
    }
}

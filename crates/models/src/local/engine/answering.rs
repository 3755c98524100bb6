//! One request's answer: what is to be read for it, and what was written.
//!
//! An answer owns the list of tokens that its sequence is to hold: the prompt,
//! and what was written so far. The schedule reads what is missing of it and
//! then tells the answer what follows. So going back in an answer is nothing but
//! another list.

use are_core::error::{Code, Fault};
use are_core::limits::ANSWER_BYTES_MAX;
use are_core::model::{Delta, Message, ModelRequest, StopReason, Usage};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::token::LlamaToken;
use serde::de::IgnoredAny;

use super::loaded::Loaded;
use super::memory::too_long;
use super::sampler::Sampler;
use super::{Deltas, OUTPUT_TOKENS_MAX, send};
use crate::local::answer::{Characters, Form, Piece, Splitter};
use crate::local::stops::Stops;
use crate::local::{grammar, prompt};

/// Tokens that must be left for an answer; with fewer it would be cut off at once.
const ANSWER_TOKENS_MIN: usize = 64;
/// Bytes a token has at most on average; a longer text is too long without counting.
const TOKEN_BYTES_MAX: usize = 16;

/// A request that waits for its turn, as tokens.
pub(super) struct Asked {
    pub(super) request: Box<ModelRequest>,
    pub(super) deltas: Deltas,
    pub(super) prompt: Vec<LlamaToken>,
    /// Tokens of the answer, at most.
    pub(super) limit: usize,
}

impl Asked {
    /// Counts the tokens of a request; `None` when it does not fit into `context_tokens`, which it is told.
    pub(super) fn new(
        loaded: &Loaded,
        request: Box<ModelRequest>,
        deltas: Deltas,
        context_tokens: usize,
    ) -> Option<Self> {
        match prompt_within(loaded, &request, context_tokens) {
            Ok(prompt) => {
                let room = context_tokens.saturating_sub(prompt.len());
                let wished = request.output_tokens_max.min(OUTPUT_TOKENS_MAX);
                let limit = usize::try_from(wished).unwrap_or(usize::MAX).min(room);
                Some(Self { request, deltas, prompt, limit })
            }
            Err(fault) => {
                send(&deltas, Err(fault));
                None
            }
        }
    }

    /// False when nobody waits any more.
    pub(super) fn is_wanted(&self) -> bool {
        !self.deltas.is_closed()
    }
}

fn prompt_within(loaded: &Loaded, request: &ModelRequest, context_tokens: usize) -> Result<Vec<LlamaToken>, Fault> {
    let bytes: usize = request.messages.iter().map(message_bytes).sum();
    let least = bytes / TOKEN_BYTES_MAX;
    if least > context_tokens {
        return Err(too_long(least, context_tokens));
    }
    let (begun, messages) = prompt::begun(request);
    let mut prompt = loaded.prompt(messages, &request.tools)?;
    // As text: words of the model close nothing.
    prompt.extend(begun.map(|words| loaded.tokenise(words)).unwrap_or_default());
    let wanted = usize::try_from(request.output_tokens_max).unwrap_or(usize::MAX).min(ANSWER_TOKENS_MIN);
    if prompt.len() + wanted > context_tokens {
        return Err(too_long(prompt.len(), context_tokens));
    }
    Ok(prompt)
}

fn message_bytes(message: &Message) -> usize {
    match message {
        Message::System { text } | Message::User { text } | Message::Tool { text, .. } => text.len(),
        Message::Image(_) => prompt::IMAGE.len(),
        Message::Assistant { text, calls, .. } => {
            text.len() + calls.iter().map(|call| call.call.name.len() + call.call.arguments.len()).sum::<usize>()
        }
    }
}

/// What came of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// The answer goes on.
    More,
    /// It goes on, but not where it was: the sequence must be aligned with it.
    Back,
    /// It has ended.
    End(StopReason),
}

/// An answer that is being written.
pub(super) struct Answer<'a> {
    loaded: &'a Loaded,
    request: Box<ModelRequest>,
    deltas: Deltas,
    splitter: Splitter,
    sampler: Sampler<'a>,
    characters: Characters,
    stops: Stops,
    /// What the sequence is to hold: the prompt and the answer so far.
    wanted: Vec<LlamaToken>,
    prompt_tokens: usize,
    /// Tokens of the prompt that were there already.
    kept: usize,
    limit: usize,
    /// What was written.
    bytes: Vec<u8>,
    /// Where in it each token ends.
    ends: Vec<usize>,
    /// Bytes of the pieces sent.
    emitted: usize,
    /// True once the answer was begun again, which happens once at most.
    is_restarted: bool,
    /// True for an answer in which no call may be made.
    is_of_words: bool,
    /// True for an answer that has a form, which ends with its JSON.
    is_formed: bool,
}

impl<'a> Answer<'a> {
    /// Begins an answer; `kept` tokens of its prompt are read already.
    pub(super) fn begin(loaded: &'a Loaded, asked: Asked, kept: usize) -> Self {
        let Asked { request, deltas, prompt, limit } = asked;
        let mut answer = Self {
            loaded,
            splitter: Splitter::new(&request.tools),
            sampler: Sampler::new(&loaded.model, request.temperature_milli.unwrap_or(0), &request.shape),
            stops: Stops::new(&request.shape.stop),
            characters: Characters::default(),
            prompt_tokens: prompt.len(),
            wanted: prompt,
            kept,
            limit,
            bytes: Vec::new(),
            ends: Vec::new(),
            emitted: 0,
            is_restarted: false,
            is_formed: false,
            is_of_words: false,
            request,
            deltas,
        };
        // A form and calls exclude each other: every token of such an answer is the form's.
        if let Some(format) = &answer.request.shape.format
            && answer.sampler.begin_answer(&grammar::of_answer(format))
        {
            answer.splitter = Splitter::new(&[]);
            answer.is_formed = true;
        }
        let goes_on = prompt::begun(&answer.request).0.is_some();
        if goes_on {
            // No call begins in the middle of words as one begins an answer.
            answer.splitter.restart_in_words();
        }
        match answer.request.shape.calls.filter(|_| !answer.is_formed && !answer.request.tools.is_empty()) {
            // Without tags, as every model can write it; without a usable grammar it stays a wish.
            Some(true) if !goes_on => {
                answer.sampler.begin_call(&grammar::of_call(&answer.request.tools, Form::Bare), &[]);
            }
            // The tools stay in the prompt, which is read already, but what is written is words.
            Some(false) => {
                answer.splitter = Splitter::new(&[]);
                answer.stops = Stops::new(&[&answer.request.shape.stop[..], &[prompt::CALL_OPEN.to_owned()]].concat());
                answer.is_of_words = true;
            }
            Some(true) | None => {}
        }
        answer
    }

    /// What the sequence is to hold before the answer can go on.
    pub(super) fn wanted(&self) -> &[LlamaToken] {
        &self.wanted
    }

    /// Tokens of the prompt.
    pub(super) fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// False when nobody reads any more.
    pub(super) fn is_wanted(&self) -> bool {
        !self.deltas.is_closed()
    }

    /// Says how much of the prompt is read.
    pub(super) fn report(&self, done: usize) {
        if self.ends.is_empty() && !self.is_restarted {
            let (done, total) = (done as u64, self.prompt_tokens as u64);
            send(&self.deltas, Ok(Delta::Progress { phase: "prefill", done, total }));
        }
    }

    /// Says that it failed.
    pub(super) fn fail(&self, fault: Fault) {
        send(&self.deltas, Err(fault));
    }

    /// Says that it has ended, after what was held back.
    pub(super) fn end(&mut self, ended: StopReason) -> Result<(), Fault> {
        for piece in self.splitter.finish() {
            self.emit(piece)?;
        }
        if let Some(text) = self.stops.end() {
            send(&self.deltas, Ok(Delta::Text(text)));
        }
        let stop_reason = if self.splitter.has_calls() { StopReason::ToolCalls } else { ended };
        let usage = Usage {
            input_tokens: self.prompt_tokens as u64,
            cached_tokens: self.kept as u64,
            output_tokens: self.ends.len() as u64,
            ..Usage::default()
        };
        send(&self.deltas, Ok(Delta::End { stop_reason, usage }));
        Ok(())
    }

    /// Chooses the token that follows all that is wanted, by a row of the context's output.
    pub(super) fn take(&mut self, context: &LlamaContext<'_>, row: i32) -> Result<Written, Fault> {
        if self.ends.len() >= self.limit {
            return Ok(Written::End(StopReason::Length));
        }
        let token = if self.ends.is_empty() && self.begins_in_words() {
            self.sampler.next_word(context, row)
        } else {
            self.sampler.next(context, row)?
        };
        let vocab = self.loaded.model.vocab();
        if vocab.is_eog(token) || self.is_foreign(token) {
            return Ok(Written::End(StopReason::Stop));
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
            return Ok(Written::End(StopReason::Stop));
        }
        if self.splitter.is_over() {
            return Ok(Written::End(StopReason::ToolCalls));
        }
        // Now and not when the next token is asked for: that one would be computed for nothing.
        let is_last = self.ends.len() >= self.limit;
        if self.splitter.calls_unknown_tool() {
            self.restart_in_words();
            return Ok(Written::Back);
        }
        if is_last {
            return Ok(Written::End(StopReason::Length));
        }
        match (was_in_call, self.splitter.call_form()) {
            (false, Some(form)) => return Ok(self.begin_call(form, token)),
            (true, None) => self.sampler.end_call(),
            _ => {}
        }
        self.wanted.push(token);
        Ok(Written::More)
    }

    /// True where the first token must be a word's. An answer that goes on may go on with anything, and one that is to be
    /// JSON begins with that.
    fn begins_in_words(&self) -> bool {
        let is_free = self.request.shape.format.is_none() && prompt::begun(&self.request).0.is_none();
        self.is_restarted || self.is_of_words && is_free
    }

    /// True when the last token made an answer that has a form whole: the grammar knows no end.
    fn is_whole(&self, token: &[u8]) -> bool {
        self.is_formed
            && token.trim_ascii_end().ends_with(b"}")
            && serde_json::from_slice::<IgnoredAny>(&self.bytes).is_ok()
    }

    /// A control token that is no end and opens no call that may be made: the model has lost its way.
    fn is_foreign(&self, token: LlamaToken) -> bool {
        let vocab = self.loaded.model.vocab();
        vocab.is_control(token) && {
            let text = vocab.token_to_piece(token, true, None);
            self.is_of_words || text != prompt::CALL_OPEN.as_bytes() && text != prompt::CALL_CLOSE.as_bytes()
        }
    }

    /// Begins the answer again where the model called a tool that does not exist.
    fn restart_in_words(&mut self) {
        self.wanted.truncate(self.prompt_tokens);
        self.bytes.clear();
        self.ends.clear();
        self.characters = Characters::default();
        self.splitter.restart_in_words();
        self.is_restarted = true;
    }

    /// Begins a call: from here on the grammar has its say, about what was
    /// already written of the call as well. If it refuses that, the model goes
    /// back to where the call begins.
    fn begin_call(&mut self, form: Form, token: LlamaToken) -> Written {
        let grammar = grammar::of_call(&self.request.tools, form);
        let written = self.loaded.tokenise(self.splitter.call_so_far());
        if self.characters.pending() == 0 && self.sampler.begin_call(&grammar, &written) {
            self.wanted.push(token);
            return Written::More;
        }
        let start = self.bytes.len() - self.splitter.call_so_far().len() - self.characters.pending();
        let kept = self.ends.iter().take_while(|end| **end <= start).count();
        self.ends.truncate(kept);
        let mut end = self.ends.last().copied().unwrap_or(0);
        let before = String::from_utf8_lossy(self.bytes.get(end..start).unwrap_or_default()).into_owned();
        self.bytes.truncate(start);
        self.wanted.truncate(self.prompt_tokens + kept);
        for token in self.loaded.tokenise(&before) {
            end += self.loaded.model.vocab().token_to_piece(token, true, None).len();
            self.ends.push(end);
            self.wanted.push(token);
        }
        self.characters = Characters::default();
        self.splitter.restart_call();
        self.sampler.begin_call(&grammar, &[]);
        Written::Back
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
        send(&self.deltas, Ok(delta));
        Ok(())
    }
}

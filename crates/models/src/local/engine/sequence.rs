//! The one sequence of the context and what it has read.
//!
//! Invariant: `read` is what the context's memory holds, token for token. What
//! a new prompt has in common with it at the beginning is not read again.

use are_core::error::{Code, Fault};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use super::engine_fault;

/// Tokens that llama.cpp may compute at once.
pub(super) const BATCH_TOKENS: u32 = 512;
/// Tokens of a prompt read between two looks at whether anyone still waits.
/// PERF: on two cores 32 are read at 75 tokens a second, 128 at 99, 512 at 91.
const STRIDE_TOKENS: usize = 128;
/// The only sequence there is.
const SEQUENCE: u32 = 0;

/// How reading a prompt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Tokens that were there already.
    pub(super) kept: usize,
    /// False when nobody waits any more.
    pub(super) is_complete: bool,
}

pub(super) struct Sequence<'model> {
    context: LlamaContext<'model>,
    batch: LlamaBatch<'static>,
    read: Vec<LlamaToken>,
}

impl<'model> Sequence<'model> {
    pub(super) fn new(context: LlamaContext<'model>) -> Self {
        Self { context, batch: LlamaBatch::new(BATCH_TOKENS as usize, 1), read: Vec::new() }
    }

    /// Tokens that fit.
    pub(super) fn context_tokens(&self) -> u32 {
        self.context.n_ctx()
    }

    /// The context, after its last token was read.
    pub(super) fn context(&self) -> &LlamaContext<'model> {
        &self.context
    }

    /// Tokens read so far.
    pub(super) fn len(&self) -> usize {
        self.read.len()
    }

    /// Reads a prompt, keeping what it shares with what was read before.
    /// `go_on` is asked with the tokens done after each stride.
    pub(super) fn read(
        &mut self,
        prompt: &[LlamaToken],
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<Reading, Fault> {
        let shared = self.read.iter().zip(prompt).take_while(|(have, want)| have == want).count();
        // The last token is read again: only that yields what follows it.
        let kept = shared.min(prompt.len().saturating_sub(1));
        self.truncate(kept)?;
        let kept = self.len();
        for stride in prompt.get(kept..).unwrap_or_default().chunks(STRIDE_TOKENS) {
            if !go_on(self.len()) {
                return Ok(Reading { kept, is_complete: false });
            }
            self.append(stride)?;
        }
        Ok(Reading { kept, is_complete: true })
    }

    /// Reads tokens after those read so far, at most a batch.
    pub(super) fn append(&mut self, tokens: &[LlamaToken]) -> Result<(), Fault> {
        if self.len() + tokens.len() > self.context_tokens() as usize {
            return Err(too_long(self.len() + tokens.len(), self.context_tokens()));
        }
        self.batch.clear();
        for (index, token) in tokens.iter().enumerate() {
            let position = i32::try_from(self.len() + index).map_err(|_| engine_fault("the context is too long"))?;
            let is_last = index + 1 == tokens.len();
            self.batch
                .add(*token, position, &[SEQUENCE.cast_signed()], is_last)
                .map_err(|error| engine_fault(&error.to_string()))?;
        }
        match self.context.decode(&mut self.batch) {
            Ok(()) => {
                self.read.extend_from_slice(tokens);
                Ok(())
            }
            Err(error) => {
                // What the memory holds now is not known, so it is emptied.
                self.clear();
                Err(engine_fault(&error.to_string()))
            }
        }
    }

    /// Forgets all but the first tokens, all of them if the model cannot forget a part.
    fn truncate(&mut self, tokens: usize) -> Result<(), Fault> {
        if tokens >= self.len() {
            return Ok(());
        }
        let from = u32::try_from(tokens).map_err(|_| engine_fault("the context is too long"))?;
        match self.context.clear_kv_cache_seq(Some(SEQUENCE), Some(from), None) {
            Ok(true) => self.read.truncate(tokens),
            Ok(false) => self.clear(),
            Err(error) => return Err(engine_fault(&error.to_string())),
        }
        Ok(())
    }

    /// The tokens read so far.
    pub(super) fn tokens(&self) -> &[LlamaToken] {
        &self.read
    }

    fn clear(&mut self) {
        self.context.clear_kv_cache();
        self.read.clear();
    }
}

pub(super) fn too_long(tokens: usize, context_tokens: u32) -> Fault {
    Fault::new(
        Code::CONTEXT_TOO_LONG,
        format!("the conversation has {tokens} tokens or more; the local model's context holds {context_tokens}"),
        "start a new session, or hand over less at once",
    )
}

//! Kept sequences that went to disk, by their tokens.
//!
//! The list of them is in memory alone, as the key of their files is.

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::token::LlamaToken;

use super::memory::{Id, common};
use crate::files::sealed::{Plain, Sealed};

/// Tokens from which on a sequence is worth a file: fewer are computed again in two seconds.
const TOKENS_MIN: usize = 256;

/// Sequences on disk.
pub(super) struct Spilled {
    files: Sealed,
    entries: Vec<Entry>,
}

struct Entry {
    number: u64,
    tokens: Vec<LlamaToken>,
    asked: usize,
}

/// A sequence that was taken from disk.
pub(super) struct Taken {
    pub(super) tokens: Vec<LlamaToken>,
    pub(super) asked: usize,
    plain: Plain,
}

impl Spilled {
    pub(super) fn new(files: Sealed) -> Self {
        Self { files, entries: Vec::new() }
    }

    /// Writes a sequence; what goes wrong is logged, and the sequence is then computed again when it is wanted.
    pub(super) fn put(&mut self, context: &LlamaContext<'_>, id: Id, tokens: &[LlamaToken], asked: usize) {
        let is_covered = |entry: &Entry| common(&entry.tokens, tokens) == tokens.len();
        self.entries.retain(|entry| self.files.holds(entry.number));
        let Ok(id) = i32::try_from(id) else { return };
        if tokens.len() < TOKENS_MIN || self.entries.iter().any(is_covered) {
            return;
        }
        let saved = self.files.put(|path| {
            let saved = context.state_seq_save_file(path, id, tokens);
            saved.inspect_err(|error| tracing::debug!(%error, "a sequence cannot be saved")).is_ok()
        });
        match saved {
            Ok(Some(number)) => {
                // What went on in it needs no file of its own.
                let (files, entries) = (&mut self.files, &mut self.entries);
                entries.retain(|entry| {
                    let is_superseded = common(&entry.tokens, tokens) == entry.tokens.len();
                    is_superseded.then(|| files.discard(entry.number)).is_none()
                });
                entries.push(Entry { number, tokens: tokens.to_vec(), asked });
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "a sequence of the local model cannot be kept on disk"),
        }
    }

    /// The place of what has most in common with a prompt at the beginning, and how much.
    pub(super) fn nearest(&self, prompt: &[LlamaToken]) -> Option<(usize, usize)> {
        let held = self.entries.iter().enumerate().filter(|(_, entry)| self.files.holds(entry.number));
        let (shared, place) = held.map(|(place, entry)| (common(&entry.tokens, prompt), place)).max()?;
        Some((place, shared))
    }

    /// How many tokens the sequence at a place has.
    pub(super) fn len(&self, place: usize) -> usize {
        self.entries.get(place).map_or(0, |entry| entry.tokens.len())
    }

    /// Takes the sequence at a place, unless its file was changed.
    pub(super) fn take(&mut self, place: usize) -> Option<Taken> {
        if place >= self.entries.len() {
            return None;
        }
        let Entry { number, tokens, asked } = self.entries.swap_remove(place);
        let plain = self.files.take(number)?;
        Some(Taken { tokens, asked, plain })
    }
}

impl Taken {
    /// Reads it into a free sequence; false when llama.cpp refuses it.
    pub(super) fn load(&self, context: &mut LlamaContext<'_>, id: Id) -> bool {
        let Ok(id) = i32::try_from(id) else { return false };
        match context.state_seq_load_file(self.plain.path(), id, self.tokens.len()) {
            Ok((tokens, _)) => tokens == self.tokens,
            Err(error) => {
                tracing::warn!(%error, "a sequence from disk is refused and computed again");
                false
            }
        }
    }
}

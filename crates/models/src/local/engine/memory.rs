//! The context's memory: sequences, and the tokens that each of them holds.
//!
//! All sequences share one pool of cells. A sequence that begins as another
//! one does shares its cells and costs none for them. A sequence is free,
//! belongs to a request that runs, or is kept for a request that begins like
//! it; kept ones are given up when cells or sequences are short, the one that
//! was not used for longest first.
//!
//! Invariants: what a sequence's list says is what llama.cpp's memory holds,
//! token for token; cells in use and cells promised to running requests are
//! never more than there are, so a request that was let in is never short of them.

use are_core::error::{Code, Fault};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use super::engine_fault;
use super::spilled::Spilled;

/// Tokens that llama.cpp may compute at once.
pub(super) const BATCH_TOKENS: u32 = 512;
/// Sequences, those that run and those that are kept.
pub(super) const SEQUENCES: u32 = 16;
/// What must be gained by it for a kept sequence to be read from disk: fewer tokens are computed as fast.
const RESTORE_TOKENS_MIN: usize = 64;

/// The number of a sequence.
pub(super) type Id = usize;

/// What a sequence is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It holds nothing.
    Free,
    /// A request runs in it and may fill it up to so many tokens.
    Running { tokens_max: usize },
    /// It is kept, was used last at `at`, and answered a prompt of `asked` tokens; 0 for what prompts have in common.
    Kept { at: u64, asked: usize },
}

struct Sequence {
    tokens: Vec<LlamaToken>,
    /// The cell of each token, by a number that no other cell ever had.
    cells: Vec<u64>,
    is: Use,
}

/// Where a request runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) id: Id,
    /// Tokens of its prompt that are there already.
    pub(super) kept: usize,
}

/// Tokens to read into a sequence; what follows the last of them is told if `is_told`.
pub(super) struct Feed {
    pub(super) id: Id,
    pub(super) tokens: Vec<LlamaToken>,
    pub(super) is_told: bool,
}

/// What a memory is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Tokens that one request and its answer may have.
    pub(super) sequence_tokens: u32,
    /// True where a part of a sequence can be shared and forgotten.
    pub(super) is_divisible: bool,
}

pub(super) struct Memory<'model> {
    context: LlamaContext<'model>,
    batch: LlamaBatch<'static>,
    sequences: Vec<Sequence>,
    /// Tokens that one sequence may hold.
    sequence_tokens: usize,
    /// True where a part of a sequence can be shared and forgotten; not so with models that only keep a running state.
    is_divisible: bool,
    /// Counts uses; kept sequences are given up in this order.
    uses: u64,
    cells_made: u64,
    spilled: Option<Spilled>,
}

impl<'model> Memory<'model> {
    pub(super) fn new(context: LlamaContext<'model>, of: Plan, spilled: Option<Spilled>) -> Self {
        let free = || Sequence { tokens: Vec::new(), cells: Vec::new(), is: Use::Free };
        let sequence_tokens = of.sequence_tokens.min(context.n_ctx()) as usize;
        Self {
            context,
            batch: LlamaBatch::new(BATCH_TOKENS as usize, 1),
            sequences: (0..SEQUENCES).map(|_| free()).collect(),
            sequence_tokens,
            is_divisible: of.is_divisible,
            uses: 0,
            cells_made: 0,
            spilled,
        }
    }

    /// Tokens that one request and its answer may have.
    pub(super) fn sequence_tokens(&self) -> usize {
        self.sequence_tokens
    }

    /// The context, after what was fed last was read.
    pub(super) fn context(&self) -> &LlamaContext<'model> {
        &self.context
    }

    /// What a sequence holds.
    pub(super) fn tokens(&self, id: Id) -> &[LlamaToken] {
        self.sequences.get(id).map_or(&[], |sequence| &sequence.tokens)
    }

    /// How much of a prompt is there.
    pub(super) fn known(&self, prompt: &[LlamaToken]) -> usize {
        let restored =
            self.spilled.as_ref().and_then(|spilled| spilled.nearest(prompt)).map_or(0, |(_, shared)| shared);
        self.nearest(prompt).1.max(restored)
    }

    /// A sequence for a prompt and an answer of at most `answer_tokens`, with as much of the prompt as is there
    /// already; `None` while those that run leave no room.
    pub(super) fn open(&mut self, prompt: &[LlamaToken], answer_tokens: usize) -> Result<Option<Opened>, Fault> {
        let tokens_max = prompt.len() + answer_tokens;
        let (source, shared) = self.nearest(prompt);
        // Whoever waits asks again at each step, so nothing is given up before it is of use.
        if self.cells_least(source, shared) + tokens_max - shared > self.cells_max() {
            return Ok(None);
        }
        self.restore(prompt, shared)?;
        let (source, shared) = self.nearest(prompt);
        // The last token is read again: only that yields what follows it.
        let mut shared = shared.min(prompt.len().saturating_sub(1));
        let mut taken_over = source.filter(|id| self.goes_on(*id, shared));
        if let Some(id) = taken_over {
            self.truncate(id, shared)?;
            // Some models cannot forget a part, and have forgotten all.
            shared = self.tokens(id).len();
        }
        while self.cells_used() + self.cells_promised() + tokens_max - shared > self.cells_max() {
            if let Some(oldest) = self.oldest(source) {
                self.give_up(oldest)?;
                continue;
            }
            // All that is left to give up is what the source holds beside the prompt.
            let Some(id) = source.filter(|id| taken_over.is_none() && self.is_kept(*id)) else { return Ok(None) };
            self.spill(id);
            self.truncate(id, shared)?;
            shared = self.tokens(id).len();
            taken_over = Some(id);
        }
        let id = match taken_over {
            Some(id) => id,
            None => {
                let Some(id) = self.free(source)? else { return Ok(None) };
                if let Some(source) = source.filter(|_| shared > 0) {
                    self.share(source, id, shared)?;
                }
                id
            }
        };
        if let Some(sequence) = self.sequences.get_mut(id) {
            sequence.is = Use::Running { tokens_max };
        }
        Ok(Some(Opened { id, kept: self.tokens(id).len() }))
    }

    /// Ends a request; what its sequence holds is kept for those that begin alike. `asked` is the length of its
    /// prompt, 0 for what prompts have in common.
    pub(super) fn close(&mut self, id: Id, asked: usize) {
        self.uses += 1;
        let at = self.uses;
        if let Some(sequence) = self.sequences.get_mut(id) {
            sequence.is = if sequence.tokens.is_empty() { Use::Free } else { Use::Kept { at, asked } };
        }
    }

    /// Forgets what a running sequence holds beyond what it has in common with `wanted`, and its last token too if
    /// that is all of `wanted`.
    pub(super) fn align(&mut self, id: Id, wanted: &[LlamaToken]) -> Result<(), Fault> {
        let shared = common(self.tokens(id), wanted);
        self.truncate(id, shared.min(wanted.len().saturating_sub(1)))
    }

    /// Reads tokens into several sequences at once, at most a batch in all. For each that is told what follows, the
    /// row of the context's output. After a failure the memory is empty.
    pub(super) fn feed(&mut self, feeds: &[Feed]) -> Result<Vec<Option<i32>>, Fault> {
        // What the memory holds after a failure is not known.
        self.compute(feeds).inspect_err(|_| self.clear())
    }

    fn compute(&mut self, feeds: &[Feed]) -> Result<Vec<Option<i32>>, Fault> {
        let failed = |error: &dyn std::fmt::Display| engine_fault(&error.to_string());
        self.batch.clear();
        let mut rows = Vec::with_capacity(feeds.len());
        for feed in feeds {
            let number = i32::try_from(feed.id).map_err(|error| failed(&error))?;
            let read = self.tokens(feed.id).len();
            for (index, token) in feed.tokens.iter().enumerate() {
                let position = i32::try_from(read + index).map_err(|error| failed(&error))?;
                let is_told = feed.is_told && index + 1 == feed.tokens.len();
                self.batch.add(*token, position, &[number], is_told).map_err(|error| failed(&error))?;
            }
            rows.push(feed.is_told.then(|| self.batch.n_tokens() - 1));
        }
        self.context.decode(&mut self.batch).map_err(|error| failed(&error))?;
        for feed in feeds {
            let first = self.cells_made;
            self.cells_made += feed.tokens.len() as u64;
            if let Some(sequence) = self.sequences.get_mut(feed.id) {
                sequence.tokens.extend_from_slice(&feed.tokens);
                sequence.cells.extend(first..self.cells_made);
            }
        }
        Ok(rows)
    }

    fn clear(&mut self) {
        self.context.clear_kv_cache();
        for sequence in &mut self.sequences {
            *sequence = Sequence { tokens: Vec::new(), cells: Vec::new(), is: Use::Free };
        }
    }

    /// The sequence that has most in common with a prompt at the beginning, and how much; of equals the one that was
    /// used last.
    fn nearest(&self, prompt: &[LlamaToken]) -> (Option<Id>, usize) {
        let shared = self.sequences.iter().enumerate().filter_map(|(id, sequence)| {
            let shared = common(&sequence.tokens, prompt);
            let at = match sequence.is {
                Use::Kept { at, .. } => at,
                Use::Running { .. } if self.is_divisible => 0,
                Use::Free | Use::Running { .. } => return None,
            };
            let is_usable = shared > 0 && (self.is_divisible || shared == sequence.tokens.len());
            is_usable.then_some((shared, at, id))
        });
        shared.max().map_or((None, 0), |(shared, _, id)| (Some(id), shared))
    }

    fn is_kept(&self, id: Id) -> bool {
        self.sequences.get(id).is_some_and(|sequence| matches!(sequence.is, Use::Kept { .. }))
    }

    /// True where a request goes on with the conversation that a kept sequence holds, whose place it then takes.
    fn goes_on(&self, id: Id, shared: usize) -> bool {
        match self.sequences.get(id).map(|sequence| sequence.is) {
            // A prompt's last token is always read again.
            Some(Use::Kept { asked, .. }) => !self.is_divisible || (asked > 0 && shared + 1 >= asked),
            Some(Use::Free | Use::Running { .. }) | None => false,
        }
    }

    /// A free sequence, for which a kept one is given up if need be, but not `except`.
    fn free(&mut self, except: Option<Id>) -> Result<Option<Id>, Fault> {
        if let Some(id) = self.sequences.iter().position(|sequence| sequence.is == Use::Free) {
            return Ok(Some(id));
        }
        let Some(id) = self.oldest(except) else { return Ok(None) };
        self.give_up(id)?;
        Ok(Some(id))
    }

    /// The kept sequence that was not used for longest.
    fn oldest(&self, except: Option<Id>) -> Option<Id> {
        let kept = self.sequences.iter().enumerate().filter(|(id, _)| Some(*id) != except);
        let kept = kept.filter_map(|(id, sequence)| match sequence.is {
            Use::Kept { at, .. } => Some((at, id)),
            Use::Free | Use::Running { .. } => None,
        });
        kept.min().map(|(_, id)| id)
    }

    /// Gives up a kept sequence, which goes to disk where that is set up.
    fn give_up(&mut self, id: Id) -> Result<(), Fault> {
        self.spill(id);
        self.truncate(id, 0)?;
        if let Some(sequence) = self.sequences.get_mut(id) {
            sequence.is = Use::Free;
        }
        Ok(())
    }

    fn spill(&mut self, id: Id) {
        let (Some(spilled), Some(sequence)) = (&mut self.spilled, self.sequences.get(id)) else { return };
        if let Use::Kept { asked, .. } = sequence.is {
            spilled.put(&self.context, id, &sequence.tokens, asked);
        }
    }

    /// Brings back from disk what has more in common with a prompt than what is there.
    fn restore(&mut self, prompt: &[LlamaToken], shared: usize) -> Result<(), Fault> {
        let Some((entry, on_disk)) = self.spilled.as_ref().and_then(|spilled| spilled.nearest(prompt)) else {
            return Ok(());
        };
        let tokens = self.spilled.as_ref().map_or(0, |spilled| spilled.len(entry));
        let running = self.sequences.iter().filter_map(|sequence| match sequence.is {
            Use::Running { tokens_max } => Some(tokens_max),
            Use::Free | Use::Kept { .. } => None,
        });
        let is_usable = self.is_divisible || on_disk == tokens;
        if !is_usable || on_disk < shared + RESTORE_TOKENS_MIN || running.sum::<usize>() + tokens > self.cells_max() {
            return Ok(());
        }
        // Giving up others may send them to disk, which may push out the oldest there.
        let Some(taken) = self.spilled.as_mut().and_then(|spilled| spilled.take(entry)) else { return Ok(()) };
        while self.cells_used() + self.cells_promised() + tokens > self.cells_max() {
            match self.oldest(None) {
                Some(oldest) => self.give_up(oldest)?,
                None => return Ok(()),
            }
        }
        let Some(id) = self.free(None)? else { return Ok(()) };
        if !taken.load(&mut self.context, id) {
            // llama.cpp may have read a part of it.
            return self.truncate_all(id);
        }
        let first = self.cells_made;
        self.cells_made += tokens as u64;
        self.uses += 1;
        if let Some(sequence) = self.sequences.get_mut(id) {
            sequence.cells = (first..self.cells_made).collect();
            sequence.is = Use::Kept { at: self.uses, asked: taken.asked };
            sequence.tokens = taken.tokens;
        }
        Ok(())
    }

    /// Lets a free sequence begin with the first tokens of another one, in the same cells.
    fn share(&mut self, from: Id, to: Id, count: usize) -> Result<(), Fault> {
        let (Ok(source), Ok(target), Ok(end)) = (i32::try_from(from), i32::try_from(to), u32::try_from(count)) else {
            return Err(engine_fault("the context is too long"));
        };
        self.context
            .copy_kv_cache_seq(source, target, Some(0), Some(end))
            .map_err(|error| engine_fault(&error.to_string()))?;
        self.uses += 1;
        let Some(sequence) = self.sequences.get_mut(from) else { return Ok(()) };
        // What others begin with is in use.
        if let Use::Kept { at, .. } = &mut sequence.is {
            *at = self.uses;
        }
        let tokens = sequence.tokens.iter().take(count).copied().collect();
        let cells = sequence.cells.iter().take(count).copied().collect();
        if let Some(sequence) = self.sequences.get_mut(to) {
            (sequence.tokens, sequence.cells) = (tokens, cells);
        }
        Ok(())
    }

    /// Forgets all but the first tokens of a sequence, all of them if the model cannot forget a part.
    fn truncate(&mut self, id: Id, tokens: usize) -> Result<(), Fault> {
        if tokens >= self.tokens(id).len() {
            return Ok(());
        }
        if tokens == 0 {
            return self.truncate_all(id);
        }
        let (Ok(number), Ok(from)) = (u32::try_from(id), u32::try_from(tokens)) else {
            return Err(engine_fault("the context is too long"));
        };
        let removed = self.context.clear_kv_cache_seq(Some(number), Some(from), None);
        match removed.map_err(|error| engine_fault(&error.to_string()))? {
            true => {
                if let Some(sequence) = self.sequences.get_mut(id) {
                    sequence.tokens.truncate(tokens);
                    sequence.cells.truncate(tokens);
                }
                Ok(())
            }
            false => self.truncate_all(id),
        }
    }

    /// Forgets a sequence, which always succeeds.
    fn truncate_all(&mut self, id: Id) -> Result<(), Fault> {
        let number = u32::try_from(id).map_err(|_| engine_fault("there are too many sequences"))?;
        self.context.clear_kv_cache_seq(Some(number), None, None).map_err(|error| engine_fault(&error.to_string()))?;
        if let Some(sequence) = self.sequences.get_mut(id) {
            sequence.tokens.clear();
            sequence.cells.clear();
        }
        Ok(())
    }

    fn cells_max(&self) -> usize {
        self.context.n_ctx() as usize
    }

    /// Cells that hold something.
    fn cells_used(&self) -> usize {
        distinct(self.sequences.iter().flat_map(|sequence| &sequence.cells))
    }

    /// Cells that hold something or are promised when all is given up that can be, but for the first tokens of one.
    fn cells_least(&self, source: Option<Id>, shared: usize) -> usize {
        let running = self.sequences.iter().filter(|sequence| matches!(sequence.is, Use::Running { .. }));
        let begin = source.and_then(|id| self.sequences.get(id)?.cells.get(..shared)).unwrap_or_default();
        distinct(running.flat_map(|sequence| &sequence.cells).chain(begin)) + self.cells_promised()
    }

    /// Cells that running requests may still fill.
    fn cells_promised(&self) -> usize {
        let promised = self.sequences.iter().map(|sequence| match sequence.is {
            Use::Running { tokens_max } => tokens_max.saturating_sub(sequence.tokens.len()),
            Use::Free | Use::Kept { .. } => 0,
        });
        promised.sum()
    }
}

/// How many cells these are; shared ones count once.
fn distinct<'a>(cells: impl Iterator<Item = &'a u64>) -> usize {
    let mut cells: Vec<u64> = cells.copied().collect();
    cells.sort_unstable();
    cells.dedup();
    cells.len()
}

/// Tokens that two lists have in common at the beginning.
pub(super) fn common(one: &[LlamaToken], other: &[LlamaToken]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

pub(super) fn too_long(tokens: usize, context_tokens: usize) -> Fault {
    Fault::new(
        Code::CONTEXT_TOO_LONG,
        format!("the conversation has {tokens} tokens or more; the local model's context holds {context_tokens}"),
        "start a new session, or hand over less at once",
    )
}

//! Who is read and written next.
//!
//! Requests are let in as they came, as many as run at once and as the memory
//! has room for. Each step computes one token of every answer that is being
//! written, and a piece of one prompt that is being read; of several prompts
//! each has its turn. So an answer that runs goes on while others begin. A
//! request that nobody reads any more leaves before the next step.
//!
//! What is computed together is rounded together: at temperature 0 an answer is
//! the one that its request gets alone, except where two tokens are so nearly
//! equally likely that the last bits of a sum decide.

use std::sync::atomic::Ordering;

use are_core::error::Fault;
use llama_cpp_2::token::LlamaToken;
use tokio::sync::mpsc;

use super::answering::{Answer, Asked, Written};
use super::loaded::Loaded;
use super::memory::{Feed, Id, Memory, common};
use super::{Job, Shared, engine_fault, send};

/// Tokens of a prompt read in one step when no answer is being written.
/// PERF: on two cores 32 are read at 75 tokens a second, 128 at 99, 512 at 91.
const STRIDE_TOKENS: usize = 128;
/// The same beside answers, which wait for it: a third of a second on two cores.
const STRIDE_BESIDE_TOKENS: usize = 32;
/// A prompt waits for another one that is being read if that saves it so many tokens.
const COMMON_TOKENS_MIN: usize = 16;

/// What runs in a sequence.
struct Running<'a> {
    id: Id,
    task: Task<'a>,
}

enum Task<'a> {
    Answer(Box<Answer<'a>>),
    /// What prompts have in common is read, for nobody yet.
    Warm(Vec<LlamaToken>),
}

impl Task<'_> {
    /// What the sequence is to hold.
    fn wanted(&self) -> &[LlamaToken] {
        match self {
            Self::Answer(answer) => answer.wanted(),
            Self::Warm(tokens) => tokens,
        }
    }

    fn is_wanted(&self) -> bool {
        match self {
            Self::Answer(answer) => answer.is_wanted(),
            Self::Warm(_) => true,
        }
    }

    /// Says that it failed.
    fn fail(&self, fault: &Fault) {
        match self {
            Self::Answer(answer) => answer.fail(fault.clone()),
            Self::Warm(_) => tracing::warn!(%fault, "the local model could not be warmed"),
        }
    }

    /// Tokens of its prompt, as [`Memory::close`] is told them.
    fn asked(&self) -> usize {
        match self {
            Self::Answer(answer) => answer.prompt_tokens(),
            Self::Warm(_) => 0,
        }
    }
}

/// What waits at the head of the queue.
enum Waiting {
    Asked(Box<Asked>),
    Warm(Vec<LlamaToken>),
}

/// What came of letting one in.
enum Entry {
    /// It runs, or is not wanted, or was refused.
    Settled,
    /// There is no room for it yet.
    Later(Waiting),
}

pub(super) struct Schedule<'a> {
    loaded: &'a Loaded,
    memory: Memory<'a>,
    shared: &'a Shared,
    running: Vec<Running<'a>>,
    running_max: usize,
    head: Option<Waiting>,
    /// Counts the pieces of prompts read, so that each has its turn.
    turns: usize,
}

impl<'a> Schedule<'a> {
    pub(super) fn new(loaded: &'a Loaded, memory: Memory<'a>, shared: &'a Shared, running_max: usize) -> Self {
        Self { loaded, memory, shared, running: Vec::new(), running_max, head: None, turns: 0 }
    }

    /// Serves the queue until it is closed or the model is stopped.
    pub(super) fn serve(&mut self, queue: &mut mpsc::Receiver<Job>) {
        while !self.is_stopped() {
            self.leave_unwanted();
            if !self.let_in(queue) {
                return;
            }
            self.step();
        }
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// Lets in those at the head of the queue that there is room for, and waits for one when nothing runs; false at
    /// the queue's end.
    fn let_in(&mut self, queue: &mut mpsc::Receiver<Job>) -> bool {
        while self.running.len() < self.running_max {
            let waiting = match self.head.take() {
                Some(waiting) => Some(waiting),
                None if self.running.is_empty() => {
                    let Some(job) = queue.blocking_recv() else { return false };
                    // A model that is dropped closes the queue, but what waits in it is still handed out.
                    if self.is_stopped() {
                        return false;
                    }
                    self.counted(job)
                }
                None => match queue.try_recv() {
                    Ok(job) => self.counted(job),
                    Err(_none_or_closed) => return true,
                },
            };
            let Some(waiting) = waiting else { continue };
            if let Entry::Later(waiting) = self.enter(waiting) {
                self.head = Some(waiting);
                return true;
            }
        }
        true
    }

    /// A job as tokens; `None` for one that nobody waits for any more, or that cannot be.
    fn counted(&self, job: Job) -> Option<Waiting> {
        let room = self.memory.sequence_tokens();
        match job {
            Job::Answer { deltas, .. } if deltas.is_closed() => None,
            Job::Answer { request, deltas } => {
                Asked::new(self.loaded, request, deltas, room).map(|asked| Waiting::Asked(Box::new(asked)))
            }
            Job::Warm { messages, tools } => match self.loaded.prefix(&messages, &tools) {
                Ok(prefix) => (1..room).contains(&prefix.len()).then_some(Waiting::Warm(prefix)),
                Err(fault) => {
                    tracing::warn!(%fault, "the local model could not be warmed");
                    None
                }
            },
        }
    }

    fn enter(&mut self, waiting: Waiting) -> Entry {
        let (prompt, answer_tokens): (&[LlamaToken], usize) = match &waiting {
            Waiting::Asked(asked) if !asked.is_wanted() => return Entry::Settled,
            Waiting::Asked(asked) => (&asked.prompt, asked.limit),
            Waiting::Warm(prefix) => (prefix, 0),
        };
        if self.is_being_read(prompt) {
            return Entry::Later(waiting);
        }
        let opened = match self.memory.open(prompt, answer_tokens) {
            Ok(Some(opened)) => opened,
            // With nothing running there is always room, so this cannot wait for ever.
            Ok(None) if !self.running.is_empty() => return Entry::Later(waiting),
            Ok(None) => return refused(&waiting, engine_fault("its memory has no room")),
            Err(fault) => return refused(&waiting, fault),
        };
        let task = match waiting {
            Waiting::Asked(asked) => Task::Answer(Box::new(Answer::begin(self.loaded, *asked, opened.kept))),
            Waiting::Warm(prefix) => Task::Warm(prefix),
        };
        self.running.push(Running { id: opened.id, task });
        Entry::Settled
    }

    /// True when one that runs is just reading what this prompt begins with: it need not be read twice.
    fn is_being_read(&self, prompt: &[LlamaToken]) -> bool {
        let coming = self.running.iter().map(|running| {
            let shared = common(running.task.wanted(), prompt).min(prompt.len().saturating_sub(1));
            if self.memory.tokens(running.id).len() < shared { shared } else { 0 }
        });
        coming.max().is_some_and(|shared| shared >= self.memory.known(prompt) + COMMON_TOKENS_MIN)
    }

    /// Ends what nobody waits for; what was read is kept.
    fn leave_unwanted(&mut self) {
        let memory = &mut self.memory;
        self.running.retain(|running| {
            let is_wanted = running.task.is_wanted();
            if !is_wanted {
                memory.close(running.id, running.task.asked());
            }
            is_wanted
        });
    }

    /// Computes one batch.
    fn step(&mut self) {
        let places = self.next();
        let feeds: Vec<Feed> = places.iter().filter_map(|&(place, count)| self.feed(place, count)).collect();
        if feeds.is_empty() {
            return;
        }
        match self.memory.feed(&feeds) {
            Ok(rows) => {
                let told = places.iter().zip(rows).filter_map(|(&(place, _), row)| Some((place, row?))).collect();
                self.go_on(told);
            }
            // The memory is empty, so none of them can go on.
            Err(fault) => self.running.drain(..).for_each(|running| running.task.fail(&fault)),
        }
    }

    /// Tokens that the sequence of one that runs does not hold yet; never none.
    fn missing<'r>(&self, running: &'r Running<'a>) -> &'r [LlamaToken] {
        let held = self.memory.tokens(running.id).len();
        running.task.wanted().get(held..).unwrap_or_default()
    }

    /// Whose turn it is, by place, with so many tokens.
    fn next(&mut self) -> Vec<(usize, usize)> {
        let missing: Vec<usize> = self.running.iter().map(|running| self.missing(running).len()).collect();
        let places = |of: fn(usize) -> bool| missing.iter().enumerate().filter(move |(_, count)| of(**count));
        let mut next: Vec<(usize, usize)> = places(|count| count == 1).map(|(place, _)| (place, 1)).collect();
        let reading: Vec<(usize, usize)> = places(|count| count > 1).map(|(place, count)| (place, *count)).collect();
        if let Some(&(place, count)) = reading.get(self.turns % reading.len().max(1)) {
            let stride = if next.is_empty() { STRIDE_TOKENS } else { STRIDE_BESIDE_TOKENS };
            next.push((place, count.min(stride)));
            self.turns = self.turns.wrapping_add(1);
        }
        next
    }

    /// The next tokens of one that runs, which is told how far it is.
    fn feed(&self, place: usize, count: usize) -> Option<Feed> {
        let running = self.running.get(place)?;
        if let Task::Answer(answer) = &running.task {
            answer.report(self.memory.tokens(running.id).len());
        }
        let missing = self.missing(running);
        Some(Feed { id: running.id, tokens: missing.get(..count)?.to_vec(), is_told: count == missing.len() })
    }

    /// Tells those that were read to their end what follows; those that have ended leave.
    fn go_on(&mut self, told: Vec<(usize, i32)>) {
        let mut over = Vec::new();
        for (place, row) in told {
            let Some(running) = self.running.get_mut(place) else { continue };
            let is_over = match &mut running.task {
                Task::Warm(_) => Ok(true),
                Task::Answer(answer) => match answer.take(self.memory.context(), row) {
                    Ok(Written::More) => Ok(false),
                    Ok(Written::Back) => self.memory.align(running.id, answer.wanted()).map(|()| false),
                    Ok(Written::End(reason)) => answer.end(reason).map(|()| true),
                    Err(fault) => Err(fault),
                },
            };
            let is_over = is_over.unwrap_or_else(|fault| {
                running.task.fail(&fault);
                true
            });
            if is_over {
                over.push(place);
            }
        }
        for place in over.into_iter().rev() {
            let running = self.running.remove(place);
            self.memory.close(running.id, running.task.asked());
        }
    }
}

fn refused(waiting: &Waiting, fault: Fault) -> Entry {
    match waiting {
        Waiting::Asked(asked) => send(&asked.deltas, Err(fault)),
        Waiting::Warm(_) => tracing::warn!(%fault, "the local model could not be warmed"),
    }
    Entry::Settled
}

//! Finds out with how many threads this model is written fastest on this machine.
//!
//! The rule of [`Threads`] is right on most machines and cannot know of the
//! others: of cores that share one way to the memory, or of a host that nothing
//! else runs on. So a few tokens are written with its number and with its
//! rivals, for at most a second in all, and the answer is remembered for the
//! model's file and the machine's processor.

use std::path::Path;
use std::time::{Duration, Instant};

use are_core::error::Fault;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use super::loaded::Loaded;
use super::{Options, engine_fault};
use crate::files::trials;
use crate::local::threads::Threads;

/// Time for all of it; a token that was begun is finished.
const TIME_MAX: Duration = Duration::from_millis(900);
/// Tokens written with each number after a first one, which finds memory cold.
const TOKENS: usize = 6;
/// What a rival must save to be chosen: less is chance.
const SAVING_PERCENT_MIN: u32 = 12;
/// Cells of the contexts in which it is tried out.
const CELLS: u32 = 256;

/// The threads to use: those of the options, unless a trial says otherwise.
pub(super) fn choose(loaded: &Loaded, path: &Path, options: &Options) -> Threads {
    let rule = options.threads;
    let Some(dir) = options.trial_dir.as_ref().filter(|_| !rule.rivals().is_empty()) else { return rule };
    let key = trials::key(path, (rule.reading, rule.writing));
    if let Some(writing) = key.as_ref().and_then(|key| trials::recall(dir, key)) {
        // Only a number that could have been chosen.
        return if rule.rivals().contains(&writing) { Threads { writing, ..rule } } else { rule };
    }
    let writing = match fastest(loaded, options) {
        Ok(Some(writing)) => writing,
        Ok(None) => return rule,
        Err(fault) => {
            tracing::warn!(%fault, "it cannot be tried out how many threads are fastest");
            return rule;
        }
    };
    if let Some(key) = key {
        trials::remember(dir, &key, writing);
    }
    tracing::info!(writing, rule = rule.writing, "threads for the local model were tried out");
    Threads { writing, ..rule }
}

/// The number of threads that was fastest; `None` when the time was too short to say.
fn fastest(loaded: &Loaded, options: &Options) -> Result<Option<usize>, Fault> {
    let until = Instant::now() + TIME_MAX;
    let rule = options.threads.writing;
    let Some(time) = token_time(loaded, options, rule, until)? else { return Ok(None) };
    let mut best = (time * (100 - SAVING_PERCENT_MIN) / 100, rule);
    for rival in options.threads.rivals() {
        let Some(time) = token_time(loaded, options, rival, until)? else { return Ok(None) };
        best = best.min((time, rival));
    }
    Ok(Some(best.1))
}

/// The least time of one token with so many threads; `None` when there is no time left.
fn token_time(loaded: &Loaded, options: &Options, writing: usize, until: Instant) -> Result<Option<Duration>, Fault> {
    let threads = Threads { writing, ..options.threads };
    let mut context = loaded.context(&Options { threads, context_tokens: CELLS, ..options.clone() })?;
    let mut batch = LlamaBatch::new(1, 1);
    let mut least = None;
    for (position, is_first) in (0..=TOKENS).map(|index| (index, index == 0)) {
        if Instant::now() >= until {
            return Ok(None);
        }
        let position = i32::try_from(position).unwrap_or(0);
        batch.clear();
        // Which token it is does not matter: the same numbers are computed for each.
        batch.add(LlamaToken(position), position, &[0], true).map_err(|error| engine_fault(&error.to_string()))?;
        let begun = Instant::now();
        context.decode(&mut batch).map_err(|error| engine_fault(&error.to_string()))?;
        context.synchronize();
        let taken = begun.elapsed();
        if !is_first {
            least = Some(least.map_or(taken, |least: Duration| least.min(taken)));
        }
    }
    Ok(least)
}

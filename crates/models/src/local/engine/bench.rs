//! Figures of the engine beside those of llama.cpp called directly.
//!
//! Both read the same prompt and write the same number of tokens from the same
//! file with the same threads; the difference is what this engine costs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use are_core::error::Fault;
use are_core::model::{Delta, Message, ModelRequest};
use futures_util::StreamExt;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::sampling::LlamaSampler;
use tokio::sync::watch;

use super::loaded::Loaded;
use super::memory::BATCH_TOKENS;
use super::{LocalModel, Options, Shared, State, engine_fault};

/// How fast a prompt was read and an answer written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Tokens read, those kept from before not counted.
    pub read_tokens: u64,
    /// From the request to the first token.
    pub first_token: Duration,
    /// Tokens written.
    pub written_tokens: u64,
    /// From the first token to the last.
    pub writing: Duration,
}

impl Figures {
    /// Tokens written in a second.
    #[must_use]
    pub fn written_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "some hundred tokens")]
        let tokens = self.written_tokens.saturating_sub(1) as f64;
        tokens / self.writing.as_secs_f64().max(f64::EPSILON)
    }
}

/// Through a running model.
///
/// # Errors
/// What the call fails with.
pub async fn through(model: &LocalModel, prompt: &str, tokens: u64) -> Result<Figures, Fault> {
    let request = ModelRequest {
        model: model.info().name,
        messages: vec![Message::User { text: prompt.to_owned() }],
        tools: [].into(),
        temperature_milli: None,
        effort: None,
        output_tokens_max: tokens,
        shape: are_core::model::Shape::default(),
        goes_on: false,
    };
    let started = Instant::now();
    let mut first = None;
    let mut stream = model.call(request);
    while let Some(delta) = stream.next().await {
        match delta? {
            Delta::Text(_) if first.is_none() => first = Some(Instant::now()),
            Delta::End { usage, .. } => {
                let first = first.unwrap_or(started);
                return Ok(Figures {
                    read_tokens: usage.input_tokens - usage.cached_tokens,
                    first_token: first - started,
                    written_tokens: usage.output_tokens,
                    writing: first.elapsed(),
                });
            }
            _ => {}
        }
    }
    Err(super::stopped())
}

/// By the library alone; blocks the thread for the whole time.
///
/// # Errors
/// When the file cannot be loaded or computed with.
pub fn directly(path: &Path, options: &Options, prompt: &str, tokens: u64) -> Result<Figures, Fault> {
    let (state, _watched) = watch::channel(State::Loading { percent: 0 });
    let shared = Arc::new(Shared { stop: AtomicBool::new(false), context_tokens: AtomicU64::new(0) });
    let loaded = Loaded::load(path, &state, &shared)?;
    let prompt = loaded.prompt(&[Message::User { text: prompt.to_owned() }], &[])?;
    let mut context = loaded.context(options)?;
    let mut batch = LlamaBatch::new(BATCH_TOKENS as usize, 1);
    let mut greedy = LlamaSampler::greedy();
    let failed = |error: &dyn std::fmt::Display| engine_fault(&error.to_string());
    let mut position = 0;
    let started = Instant::now();
    for chunk in prompt.chunks(BATCH_TOKENS as usize) {
        batch.clear();
        for (index, token) in chunk.iter().enumerate() {
            batch.add(*token, position, &[0], index + 1 == chunk.len()).map_err(|error| failed(&error))?;
            position += 1;
        }
        context.decode(&mut batch).map_err(|error| failed(&error))?;
    }
    let mut token = greedy.sample(&context, -1);
    let first = Instant::now();
    let mut written = 1;
    while written < tokens && !loaded.model.vocab().is_eog(token) {
        batch.clear();
        batch.add(token, position, &[0], true).map_err(|error| failed(&error))?;
        position += 1;
        context.decode(&mut batch).map_err(|error| failed(&error))?;
        token = greedy.sample(&context, -1);
        written += 1;
    }
    Ok(Figures {
        read_tokens: prompt.len() as u64,
        first_token: first - started,
        written_tokens: written,
        writing: first.elapsed(),
    })
}

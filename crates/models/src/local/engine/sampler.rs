//! Chooses the next token.
//!
//! Inside a call the choice is the likeliest token that the grammar allows.
//! PERF: the likeliest token is chosen first and only then tested, alone; the
//! likeliest few are tested on a miss, and all only after that. A grammar on
//! every candidate costs 21 ms a token.

use are_core::error::{Code, Fault};
use are_core::model::Shape;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use crate::local::grammar::ROOT;

/// Candidates tested after a miss, before all of them.
const CANDIDATES: usize = 64;
/// Candidates that a temperature may choose from, as the models' makers advise.
const TOP_K: i32 = 20;
const TOP_P: f32 = 0.8;
/// Makes a run with a temperature repeatable.
const SEED: u32 = 42;

pub(super) struct Sampler<'model> {
    model: &'model LlamaModel,
    /// Absent at temperature 0.
    chain: Option<LlamaSampler>,
    grammar: Option<LlamaSampler>,
}

impl<'model> Sampler<'model> {
    /// With the wished temperature, seed and share of the likeliest words, or what the models' makers advise.
    pub(super) fn new(model: &'model LlamaModel, temperature_milli: u32, shape: &Shape) -> Self {
        // The engine takes 32 bits; any of the wished ones would do, as long as they are always the same.
        let seed = shape.seed.map_or(SEED, |seed| u32::try_from(seed & i64::from(u32::MAX)).unwrap_or(SEED));
        #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
        let top_p = shape.top_p_milli.map_or(TOP_P, |milli| milli as f32 / 1000.0);
        #[expect(clippy::cast_precision_loss, reason = "a temperature is small")]
        let temperature = temperature_milli as f32 / 1000.0;
        let chain = (temperature_milli > 0).then(|| {
            LlamaSampler::chain(
                [
                    LlamaSampler::top_k(TOP_K),
                    LlamaSampler::top_p(top_p, 1),
                    LlamaSampler::temp(temperature),
                    LlamaSampler::dist(seed),
                ],
                true,
            )
        });
        Self { model, chain, grammar: None }
    }

    /// Begins a call of which these tokens are written; false if the grammar
    /// refuses them. Without a usable grammar the call is not constrained.
    pub(super) fn begin_call(&mut self, grammar: &str, written: &[LlamaToken]) -> bool {
        match LlamaSampler::grammar(self.model, grammar, ROOT) {
            Ok(mut sampler) => {
                let fits = written
                    .iter()
                    .all(|token| allows(self.model, &mut sampler, *token) && sampler.try_accept(*token).is_ok());
                self.grammar = Some(sampler);
                fits
            }
            Err(error) => {
                tracing::warn!(%error, "the grammar of the tools is not usable; calls are not constrained");
                true
            }
        }
    }

    /// Begins an answer that has a form; false where there is no usable grammar of it, and the answer is free.
    pub(super) fn begin_answer(&mut self, grammar: &str) -> bool {
        self.begin_call(grammar, &[]) && self.grammar.is_some()
    }

    /// Ends a call.
    pub(super) fn end_call(&mut self) {
        self.grammar = None;
    }

    /// The likeliest token that begins words rather than JSON or code, by a row of the context's output.
    pub(super) fn next_word(&self, context: &LlamaContext<'_>, row: i32) -> LlamaToken {
        let logits = context.get_logits_ith(row);
        let is_word = |token: &LlamaToken| {
            let vocab = self.model.vocab();
            let piece = vocab.token_to_piece(*token, true, None);
            let first = piece.iter().find(|byte| !byte.is_ascii_whitespace());
            first.is_some_and(|byte| !b"{[<`".contains(byte)) && !vocab.is_control(*token) && !vocab.is_eog(*token)
        };
        let mut candidates: Vec<LlamaToken> = (0..).map(LlamaToken).take(logits.len()).collect();
        let near = nearest(logits, &mut candidates);
        near.iter().copied().find(is_word).unwrap_or_else(|| likeliest(logits))
    }

    /// The next token, by a row of the context's output.
    pub(super) fn next(&mut self, context: &LlamaContext<'_>, row: i32) -> Result<LlamaToken, Fault> {
        match (&mut self.grammar, &mut self.chain) {
            (Some(grammar), _) => constrained(self.model, grammar, context.get_logits_ith(row)),
            (None, Some(chain)) => Ok(chain.sample(context, row)),
            (None, None) => Ok(likeliest(context.get_logits_ith(row))),
        }
    }
}

fn constrained(model: &LlamaModel, grammar: &mut LlamaSampler, logits: &[f32]) -> Result<LlamaToken, Fault> {
    let first = likeliest(logits);
    let token = if allows(model, grammar, first) {
        first
    } else {
        let mut candidates: Vec<LlamaToken> = (0..).map(LlamaToken).take(logits.len()).collect();
        let near = nearest(logits, &mut candidates).len();
        let found = candidates.iter().take(near).copied().find(|token| allows(model, grammar, *token));
        match found {
            Some(token) => token,
            None => {
                let far = candidates.get_mut(near..).unwrap_or_default();
                far.sort_unstable_by(likelier(logits));
                far.iter().copied().find(|token| allows(model, grammar, *token)).ok_or_else(dead_end)?
            }
        }
    };
    grammar.try_accept(token).map_err(|error| {
        tracing::error!(%error, "the grammar refuses a token that it allowed");
        dead_end()
    })?;
    Ok(token)
}

fn likelier(logits: &[f32]) -> impl Fn(&LlamaToken, &LlamaToken) -> std::cmp::Ordering {
    |a, b| logit(logits, *b).total_cmp(&logit(logits, *a))
}

/// Moves the likeliest few to the front, in their order, and returns them.
fn nearest<'a>(logits: &[f32], candidates: &'a mut [LlamaToken]) -> &'a [LlamaToken] {
    let count = CANDIDATES.min(candidates.len());
    if candidates.len() > count {
        candidates.select_nth_unstable_by(count, likelier(logits));
    }
    let (near, _) = candidates.split_at_mut(count);
    near.sort_unstable_by(likelier(logits));
    near
}

/// Tests one token alone.
fn allows(model: &LlamaModel, grammar: &mut LlamaSampler, token: LlamaToken) -> bool {
    // A control token's name would pass as text inside a string.
    if model.vocab().is_control(token) || model.vocab().is_eog(token) {
        return false;
    }
    let mut candidate = LlamaTokenDataArray::new(vec![LlamaTokenData::new(token, 0.0, 0.0)], false);
    grammar.apply(&mut candidate);
    candidate.data.first().is_some_and(|data| data.logit().is_finite())
}

fn logit(logits: &[f32], token: LlamaToken) -> f32 {
    usize::try_from(token.0).ok().and_then(|index| logits.get(index)).copied().unwrap_or(f32::NEG_INFINITY)
}

/// The token of the greatest logit, the first of equals.
fn likeliest(logits: &[f32]) -> LlamaToken {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &logit) in (0..).zip(logits) {
        if logit > best.1 {
            best = (token, logit);
        }
    }
    LlamaToken(best.0)
}

fn dead_end() -> Fault {
    Fault::new(
        Code::MODEL_STREAM_BROKEN,
        "the local model began a tool call that it cannot finish",
        "ask again in other words, or use another model",
    )
}

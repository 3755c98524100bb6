//! A model in memory: its vocabulary and its template.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use are_core::error::{Code, Fault};
use are_core::model::{Message, ToolSpec};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{LlamaChatMessage, LlamaChatTemplate, LlamaModel};
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::{LogOptions, send_logs_to_tracing};
use tokio::sync::watch;

use super::memory::{BATCH_TOKENS, SEQUENCES};
use super::{Options, Shared, State, engine_fault, stopped};
use crate::local::prompt::{self, Segment};

/// What opens a message in ChatML; a vocabulary that has it as one token speaks ChatML.
const CHATML_OPEN: &str = "<|im_start|>";

/// The backend of the process; it can be set up once.
fn backend() -> Result<&'static LlamaBackend, Fault> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    BACKEND
        .get_or_init(|| {
            // It would write to stderr otherwise.
            send_logs_to_tracing(LogOptions::default());
            LlamaBackend::init().map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(|error| engine_fault(error))
}

/// How prompts are written for this model.
enum Template {
    ChatMl,
    /// The model's own, applied by llama.cpp.
    Own(LlamaChatTemplate),
}

/// A loaded model.
pub(super) struct Loaded {
    pub(super) model: LlamaModel,
    template: Template,
}

impl Loaded {
    /// Loads a file, telling `state` how far it is.
    pub(super) fn load(path: &Path, state: &watch::Sender<State>, shared: &Arc<Shared>) -> Result<Self, Fault> {
        let backend = backend()?;
        let reports = state.clone();
        let stop = Arc::clone(shared);
        let params = LlamaModelParams::default().with_progress_callback(move |fraction| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
            let percent = (fraction * 100.0).clamp(0.0, 100.0) as u8;
            reports.send_if_modified(|state| {
                let next = State::Loading { percent };
                let is_new = *state != next;
                *state = next;
                is_new
            });
            !stop.stop.load(Ordering::Relaxed)
        });
        let model = LlamaModel::load_from_file(backend, path, &params).map_err(|error| {
            if shared.stop.load(Ordering::Relaxed) {
                return stopped();
            }
            tracing::error!(%error, "llama.cpp cannot load the model file");
            Fault::new(
                Code::MODEL_FILE_WRONG,
                "llama.cpp cannot load the model file: it is damaged or of an unknown kind",
                "fetch it anew with `are model pull`, or use another model",
            )
        })?;
        let template = template(&model)?;
        Ok(Self { model, template })
    }

    /// A context of one sequence.
    pub(super) fn context(&self, options: &Options) -> Result<LlamaContext<'_>, Fault> {
        self.made(params(options, self.context_tokens(options)))
    }

    /// A context whose sequences share so many cells.
    pub(super) fn shared_context(&self, options: &Options, cells: u32) -> Result<LlamaContext<'_>, Fault> {
        self.made(params(options, cells).with_n_seq_max(SEQUENCES).with_kv_unified(true))
    }

    fn made(&self, params: LlamaContextParams) -> Result<LlamaContext<'_>, Fault> {
        self.model.new_context(backend()?, params).map_err(|error| {
            tracing::error!(%error, "llama.cpp cannot make a context");
            engine_fault("there is not enough memory for its context")
        })
    }

    /// Tokens that a request and its answer may have.
    pub(super) fn context_tokens(&self, options: &Options) -> u32 {
        options.context_tokens.min(self.model.n_ctx_train()).max(1)
    }

    /// Bytes that a token takes in a context, nearly.
    pub(super) fn token_bytes(&self) -> u64 {
        let [layers, heads, kv_heads] =
            [self.model.n_layer(), self.model.n_head(), self.model.n_head_kv()].map(u64::from);
        let width = u64::try_from(self.model.n_embd()).unwrap_or(0) / heads.max(1) * kv_heads;
        // A key and a value, each of two bytes a number.
        layers * width * 2 * 2
    }

    /// True where a part of a sequence can be shared and forgotten.
    pub(super) fn is_divisible(&self) -> bool {
        !self.model.is_recurrent() && !self.model.is_hybrid()
    }

    /// A request as tokens, ready for the answer.
    pub(super) fn prompt(&self, messages: &[Message], tools: &[ToolSpec]) -> Result<Vec<LlamaToken>, Fault> {
        self.tokens(messages, tools, true)
    }

    /// What all prompts with these instructions and tools begin with.
    pub(super) fn prefix(&self, messages: &[Message], tools: &[ToolSpec]) -> Result<Vec<LlamaToken>, Fault> {
        self.tokens(messages, tools, false)
    }

    /// Tokens of plain text.
    pub(super) fn tokenise(&self, text: &str) -> Vec<LlamaToken> {
        self.model.vocab().tokenize(text.as_bytes(), false, false)
    }

    fn tokens(&self, messages: &[Message], tools: &[ToolSpec], answer: bool) -> Result<Vec<LlamaToken>, Fault> {
        let vocab = self.model.vocab();
        let mut tokens = Vec::new();
        if vocab.should_add_bos() {
            tokens.push(vocab.bos());
        }
        for segment in self.segments(messages, tools, answer)? {
            vocab.tokenize_into(segment.text.as_bytes(), &mut tokens, false, segment.is_markup);
        }
        Ok(tokens)
    }

    fn segments(&self, messages: &[Message], tools: &[ToolSpec], answer: bool) -> Result<Vec<Segment>, Fault> {
        let turns = prompt::turns(messages, tools);
        let Template::Own(template) = &self.template else {
            return Ok(prompt::chatml(&turns, answer));
        };
        let failed = |error: &dyn std::fmt::Display| engine_fault(&format!("its chat template fails: {error}"));
        let messages = prompt::stand_ins(&turns)
            .map(|(role, text)| LlamaChatMessage::new(role.to_owned(), text).map_err(|error| failed(&error)))
            .collect::<Result<Vec<_>, _>>()?;
        let applied = self.model.apply_chat_template(template, &messages, answer).map_err(|error| failed(&error))?;
        Ok(prompt::filled(&applied, &turns))
    }
}

fn params(options: &Options, tokens: u32) -> LlamaContextParams {
    let threads = |count: usize| i32::try_from(count).unwrap_or(1);
    LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(tokens))
        .with_n_batch(BATCH_TOKENS)
        .with_n_ubatch(BATCH_TOKENS)
        .with_n_seq_max(1)
        .with_n_threads(threads(options.threads.writing))
        .with_n_threads_batch(threads(options.threads.reading))
        .with_no_perf(true)
}

fn template(model: &LlamaModel) -> Result<Template, Fault> {
    let opening = model.vocab().tokenize(CHATML_OPEN.as_bytes(), false, true);
    if let [token] = opening.as_slice()
        && model.vocab().is_control(*token)
    {
        return Ok(Template::ChatMl);
    }
    model.chat_template(None).map(Template::Own).map_err(|error| {
        tracing::error!(%error, "the model file has no chat template");
        Fault::new(
            Code::MODEL_FILE_WRONG,
            "the model file has no chat template, so it cannot hold a conversation",
            "use a file whose name says `instruct` or `chat`",
        )
    })
}

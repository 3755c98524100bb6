//! A model that follows a script: a function of the request, so that it says
//! the same after a restart.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use are_core::error::{Code, Fault};
use are_core::model::{
    Delta, Message, ModelInfo, ModelRequest, ModelStream, Models, RawCall, Reasoning, StopReason, Usage,
};
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;

/// One piece of a scripted answer.
#[derive(Debug, Clone)]
pub enum Say {
    /// A token.
    Token(String),
    /// A piece of reasoning.
    Thought(Reasoning),
    /// A tool call.
    Call(RawCall),
    /// Waits until [`ScriptedModels::release`] lets one pass.
    Hold,
    /// The call fails here.
    Fail(Fault),
    /// The answer was cut at the limit.
    Cut,
}

/// Tokens of a text, one a word.
#[must_use]
pub fn say(text: &str) -> Vec<Say> {
    text.split_inclusive(' ').map(|word| Say::Token(word.to_owned())).collect()
}

/// A tool call.
#[must_use]
pub fn call(tool: &str, args: &serde_json::Value) -> Say {
    Say::Call(RawCall { name: tool.to_owned(), arguments: args.to_string() })
}

type Script = Arc<dyn Fn(&ModelRequest) -> Vec<Say> + Send + Sync>;

/// Models that follow a script; clones share it.
#[derive(Clone)]
pub struct ScriptedModels {
    script: Script,
    requests: Arc<Mutex<Vec<ModelRequest>>>,
    gate: Arc<Semaphore>,
    dropped: Arc<AtomicUsize>,
    context_tokens: u64,
    others: Arc<[ModelInfo]>,
    continues: bool,
    takes_images: bool,
}

/// Name of the model that is used when none is wished for.
const FIRST: &str = "test:scripted";

impl ScriptedModels {
    /// Answers each request with `script(request)`.
    #[must_use]
    pub fn new(script: impl Fn(&ModelRequest) -> Vec<Say> + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            requests: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            dropped: Arc::default(),
            context_tokens: 32_000,
            others: Arc::default(),
            continues: false,
            takes_images: false,
        }
    }

    /// With another size of context.
    #[must_use]
    pub fn with_context(mut self, tokens: u64) -> Self {
        self.context_tokens = tokens;
        self
    }

    /// With models that can be shown images.
    #[must_use]
    pub fn seeing(mut self) -> Self {
        self.takes_images = true;
        self
    }

    /// With models that go on where a request ends with their own words.
    #[must_use]
    pub fn continuing(mut self) -> Self {
        self.continues = true;
        self
    }

    /// With further models, which are asked in their order when the one before cannot answer.
    #[must_use]
    pub fn with_others(mut self, others: impl Into<Arc<[ModelInfo]>>) -> Self {
        self.others = others.into();
        self
    }

    /// What the first model can do, under another name.
    #[must_use]
    pub fn info(&self, name: &str) -> ModelInfo {
        ModelInfo {
            name: name.to_owned(),
            context_tokens: self.context_tokens,
            output_tokens: 4_000,
            takes_temperature: true,
            efforts: Vec::new(),
            is_either: false,
            takes_images: self.takes_images,
            is_local: true,
            continues: self.continues,
        }
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<ModelRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets one [`Say::Hold`] pass.
    pub fn release(&self) {
        self.gate.add_permits(1);
    }

    /// Calls whose stream was dropped before its end.
    #[must_use]
    pub fn stopped_early(&self) -> usize {
        self.dropped.load(Ordering::Acquire)
    }
}

/// Number of tool results since the last message of the user.
#[must_use]
pub fn results_so_far(request: &ModelRequest) -> usize {
    request
        .messages
        .iter()
        .rev()
        .take_while(|m| !matches!(m, Message::User { .. }))
        .filter(|m| matches!(m, Message::Tool { .. }))
        .count()
}

/// The last message of the user.
#[must_use]
pub fn last_words(request: &ModelRequest) -> &str {
    let last = request.messages.iter().rev().find_map(|message| match message {
        Message::User { text } => Some(text.as_str()),
        _ => None,
    });
    last.unwrap_or_default()
}

/// Counts itself when it is dropped before the end.
struct Watch {
    ended: bool,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.ended {
            self.dropped.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Models for ScriptedModels {
    fn resolve(&self, wish: Option<&str>) -> Result<ModelInfo, Fault> {
        let wish = wish.unwrap_or(FIRST);
        self.list()
            .into_iter()
            .find(|model| model.name == wish)
            .ok_or_else(|| Fault::new(Code::MODEL_UNKNOWN, "there is no such model", format!("use `{FIRST}`")))
    }

    fn fallbacks(&self, wish: Option<&str>) -> Vec<ModelInfo> {
        if wish.is_none() { self.others.to_vec() } else { Vec::new() }
    }

    fn list(&self) -> Vec<ModelInfo> {
        std::iter::once(self.info(FIRST)).chain(self.others.iter().cloned()).collect()
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        let script = (self.script)(&request);
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let has_calls = script.iter().any(|say| matches!(say, Say::Call(_)));
        let is_cut = script.iter().any(|say| matches!(say, Say::Cut));
        let stop_reason = match (has_calls, is_cut) {
            (true, _) => StopReason::ToolCalls,
            (false, true) => StopReason::Length,
            (false, false) => StopReason::Stop,
        };
        let usage = Usage { input_tokens: 10, output_tokens: script.len() as u64, ..Usage::default() };
        let (gate, watch) = (Arc::clone(&self.gate), Watch { ended: false, dropped: Arc::clone(&self.dropped) });
        let steps = script.into_iter().map(Some).chain([None]);
        let state = (steps.collect::<Vec<_>>().into_iter(), gate, watch);
        let stream = futures_util::stream::unfold(state, move |(mut steps, gate, mut watch)| async move {
            loop {
                let item = match steps.next()? {
                    Some(Say::Token(text)) => Ok(Delta::Text(text)),
                    Some(Say::Thought(thought)) => Ok(Delta::Reasoning(thought)),
                    Some(Say::Call(call)) => Ok(Delta::Call(call)),
                    Some(Say::Cut) => continue,
                    Some(Say::Hold) => {
                        // A closed gate never opens again: wait for ever.
                        match gate.acquire().await {
                            Ok(permit) => permit.forget(),
                            Err(_) => std::future::pending().await,
                        }
                        continue;
                    }
                    Some(Say::Fail(fault)) => {
                        watch.ended = true;
                        Err(fault)
                    }
                    None => {
                        watch.ended = true;
                        Ok(Delta::End { stop_reason, usage })
                    }
                };
                return Some((item, (steps, gate, watch)));
            }
        });
        stream.boxed()
    }
}

//! The handle of the local model and the thread behind it.
//!
//! [`LocalModel::start`] returns at once; loading is a state that callers see
//! as progress. Requests wait in a bounded queue and are answered one by one.
//! Dropping a stream stops its request within one token, or within one batch
//! of the prompt; dropping the handle stops the thread.

mod answering;
pub mod bench;
mod loaded;
mod sampler;
mod sequence;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use are_core::error::{Code, Fault};
use are_core::model::{Delta, Message, ModelInfo, ModelRequest, ModelStream, ToolSpec};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use super::threads::Threads;
use loaded::Loaded;
use sequence::Sequence;

/// Tokens of the context unless the user or the model says otherwise: a long
/// turn with its tools, at 12 KiB a token with `small`.
const CONTEXT_TOKENS_DEFAULT: u32 = 8192;
/// Most tokens of one answer: two minutes of writing on a slow machine.
const OUTPUT_TOKENS_MAX: u64 = 2048;
/// Requests that wait for the one sequence; each may take a minute.
const QUEUE_MAX: usize = 32;

/// What a local model is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name, as in `local:small`.
    pub name: String,
    /// Tokens of the context; fewer if the model was trained on fewer.
    pub context_tokens: u32,
    /// Threads.
    pub threads: Threads,
}

impl Options {
    /// The defaults for a model of that name, on this machine.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let threads = Threads::detect(&crate::files::thread_siblings());
        Self { name: name.into(), context_tokens: CONTEXT_TOKENS_DEFAULT, threads }
    }
}

/// What the model is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its file is being read.
    Loading {
        /// Hundredths done.
        percent: u8,
    },
    /// It answers.
    Ready,
    /// It cannot be used.
    Failed(Fault),
}

type Deltas = mpsc::UnboundedSender<Result<Delta, Fault>>;

enum Job {
    Answer { request: Box<ModelRequest>, deltas: Deltas },
    Warm { messages: Vec<Message>, tools: Vec<ToolSpec> },
}

/// What the handle and the thread share.
struct Shared {
    stop: AtomicBool,
    context_tokens: AtomicU64,
}

/// A running local model.
pub struct LocalModel {
    name: String,
    // `None` only while it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    state: watch::Receiver<State>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl LocalModel {
    /// Starts the thread that loads `path`, which [`crate::files::locate`] has checked.
    ///
    /// # Errors
    /// ARE-0412 when no thread can be started; that the file cannot be loaded
    /// is a [`State`].
    pub fn start(path: PathBuf, options: Options) -> Result<Self, Fault> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (state, watched) = watch::channel(State::Loading { percent: 0 });
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            context_tokens: AtomicU64::new(u64::from(options.context_tokens)),
        });
        let name = options.name.clone();
        let worker = Worker { path, options, queue, state, shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new()
            .name("are-local-model".into())
            .spawn(move || worker.run())
            .map_err(|error| engine_fault(&format!("no thread can be started: {error}")))?;
        Ok(Self { name, jobs: Some(jobs), state: watched, shared, thread: Some(thread) })
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until it is loaded.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub async fn ready(&self) -> Result<(), Fault> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, State::Loading { .. })).await;
        match settled.as_deref() {
            Ok(State::Failed(fault)) => Err(fault.clone()),
            Ok(_) => Ok(()),
            Err(_closed) => Err(stopped()),
        }
    }

    /// What it can do.
    #[must_use]
    pub fn info(&self) -> ModelInfo {
        let context_tokens = self.shared.context_tokens.load(Ordering::Relaxed);
        ModelInfo {
            name: self.name.clone(),
            context_tokens,
            output_tokens: OUTPUT_TOKENS_MAX.min(context_tokens / 2),
            takes_temperature: true,
            efforts: Vec::new(),
            is_either: false,
            is_local: true,
        }
    }

    /// Reads the beginning that coming prompts share (instructions and tools),
    /// so that the first of them need not. A full queue makes it superfluous.
    pub fn warm(&self, messages: Vec<Message>, tools: Vec<ToolSpec>) {
        if let Some(jobs) = &self.jobs
            && jobs.try_send(Job::Warm { messages, tools }).is_err()
        {
            tracing::debug!("the local model is busy and not warmed");
        }
    }

    /// Starts a call.
    #[must_use]
    pub fn call(&self, request: ModelRequest) -> ModelStream {
        // Bounded by the context: a delta a token, and a report per batch read.
        let (deltas, receiver) = mpsc::unbounded_channel();
        let job = Job::Answer { request: Box::new(request), deltas };
        match self.jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => stream::of(receiver, self.state.clone()),
            Some(Err(TrySendError::Full(_))) => stream::failed(
                Fault::new(
                    Code::MODEL_RATE_LIMITED,
                    format!("{QUEUE_MAX} requests already wait for the local model"),
                    "try again when some are answered",
                )
                .retryable(),
            ),
            Some(Err(TrySendError::Closed(_))) | None => stream::failed(stopped()),
        }
    }
}

impl Drop for LocalModel {
    /// Waits for the thread: a process that exits under a computing thread may crash.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the local model's thread panicked");
        }
    }
}

struct Worker {
    path: PathBuf,
    options: Options,
    queue: mpsc::Receiver<Job>,
    state: watch::Sender<State>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(mut self) {
        let loaded = Loaded::load(&self.path, &self.state, &self.shared);
        match loaded.and_then(|loaded| self.serve(&loaded)) {
            Ok(()) => {}
            Err(fault) => {
                tracing::error!(%fault, "the local model cannot be used");
                self.state.send_replace(State::Failed(fault.clone()));
                while let Some(job) = self.queue.blocking_recv() {
                    if let Job::Answer { deltas, .. } = job {
                        send(&deltas, Err(fault.clone()));
                    }
                }
            }
        }
    }

    fn serve(&mut self, loaded: &Loaded) -> Result<(), Fault> {
        let mut sequence = Sequence::new(loaded.context(&self.options)?);
        self.shared.context_tokens.store(u64::from(sequence.context_tokens()), Ordering::Relaxed);
        self.state.send_replace(State::Ready);
        while let Some(job) = self.queue.blocking_recv() {
            if self.is_stopped() {
                break;
            }
            match job {
                Job::Warm { messages, tools } => {
                    if let Err(fault) = answering::warm(loaded, &mut sequence, &messages, &tools, &self.shared.stop) {
                        tracing::warn!(%fault, "the local model could not be warmed");
                    }
                }
                Job::Answer { request, deltas } => {
                    let outcome = answering::answer(loaded, &mut sequence, &request, &deltas, &self.shared.stop);
                    if let Err(fault) = outcome {
                        send(&deltas, Err(fault));
                    }
                }
            }
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }
}

/// Sends a delta to a reader who may be gone, which is noticed before the next token.
fn send(deltas: &Deltas, delta: Result<Delta, Fault>) {
    if deltas.send(delta).is_err() {
        tracing::trace!("the reader of a local answer is gone");
    }
}

fn engine_fault(why: &str) -> Fault {
    Fault::new(
        Code::LOCAL_ENGINE,
        format!("the local model failed: {why}"),
        "see the server's log, or use another model",
    )
}

fn stopped() -> Fault {
    engine_fault("it was stopped")
}

//! The handle of the local model and the thread behind it.
//!
//! [`LocalModel::start`] returns at once; loading is a state that callers see
//! as progress. Requests wait in a bounded queue; a few are answered side by
//! side. Dropping a stream stops its request before the next token, or the next
//! piece of a prompt; dropping the handle stops the thread.

mod answering;
pub mod bench;
mod loaded;
mod memory;
mod sampler;
mod schedule;
mod spilled;
mod stream;
mod trial;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use are_core::error::{Code, Fault};
use are_core::model::{Delta, Message, ModelInfo, ModelRequest, ModelStream, ToolSpec};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use super::threads::Threads;
use crate::files;
use crate::files::sealed::Sealed;
use loaded::Loaded;
use memory::{Memory, Plan};
use schedule::Schedule;
use spilled::Spilled;

/// Tokens of the context unless the user or the model says otherwise: a long
/// turn with its tools, at 12 KiB a token with `small`.
const CONTEXT_TOKENS_DEFAULT: u32 = 8192;
/// Most tokens of one answer: two minutes of writing on a slow machine.
const OUTPUT_TOKENS_MAX: u64 = 2048;
/// Requests that wait; each may take a minute.
const QUEUE_MAX: usize = 32;
/// Requests that are answered side by side: more would make each of them slow.
const RUNNING_DEFAULT: usize = 4;
/// With one core there is nothing to gain by it but that a short answer need not wait for a long one.
const RUNNING_ONE_CORE: usize = 2;
/// Most that can be wished for.
const RUNNING_MAX: usize = 8;
/// Whole contexts that the memory of the sequences holds, if there is as much: the first runs, the second is what
/// others run in, or is kept of them.
const CONTEXTS_MAX: u64 = 2;
/// Share of the free memory that it may take.
const MEMORY_SHARE: u64 = 8;

/// What a local model is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name, as in `local:small`.
    pub name: String,
    /// Tokens of the context; fewer if the model was trained on fewer.
    pub context_tokens: u32,
    /// Threads.
    pub threads: Threads,
    /// Requests that are answered side by side, 1 to 8.
    pub running_max: usize,
    /// Tokens that all sequences hold together, at least a context; by the free memory when absent.
    pub pool_tokens: Option<u32>,
    /// Directory for what is kept of conversations when memory is short, for this process alone; nowhere when absent.
    pub spill_dir: Option<PathBuf>,
    /// Directory in which it is remembered how many threads were found to write fastest; without one that is not
    /// tried out, and `threads` holds.
    pub trial_dir: Option<PathBuf>,
}

impl Options {
    /// The defaults for a model of that name, on this machine.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let threads = Threads::detect(&files::thread_siblings());
        Self {
            name: name.into(),
            context_tokens: CONTEXT_TOKENS_DEFAULT,
            threads,
            running_max: if threads.reading > 1 { RUNNING_DEFAULT } else { RUNNING_ONE_CORE },
            pool_tokens: None,
            spill_dir: None,
            trial_dir: None,
        }
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
            takes_images: false,
            is_local: true,
            continues: true,
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
                if !self.shared.stop.load(Ordering::Relaxed) {
                    tracing::error!(%fault, "the local model cannot be used");
                }
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
        self.options.threads = trial::choose(loaded, &self.path, &self.options);
        let memory = self.memory(loaded)?;
        self.shared.context_tokens.store(memory.sequence_tokens() as u64, Ordering::Relaxed);
        let running_max = self.options.running_max.clamp(1, RUNNING_MAX);
        tracing::debug!(threads = ?self.options.threads, running_max, "the local model is ready");
        self.state.send_replace(State::Ready);
        Schedule::new(loaded, memory, &self.shared, running_max).serve(&mut self.queue);
        Ok(())
    }

    fn memory<'a>(&self, loaded: &'a Loaded) -> Result<Memory<'a>, Fault> {
        let context_tokens = loaded.context_tokens(&self.options);
        let pool_tokens = self.options.pool_tokens.unwrap_or_else(|| {
            let contexts = files::memory_available()
                .map_or(1, |free| free / MEMORY_SHARE / loaded.token_bytes().max(1) / u64::from(context_tokens));
            context_tokens.saturating_mul(u32::try_from(contexts.clamp(1, CONTEXTS_MAX)).unwrap_or(1))
        });
        let context = loaded.shared_context(&self.options, pool_tokens.max(context_tokens))?;
        let spilled = self.options.spill_dir.as_ref().and_then(|dir| {
            // silent-ok: without it what was given up is computed again.
            Sealed::open(dir.clone())
                .inspect_err(|error| tracing::warn!(%error, "the local model keeps nothing on disk"))
                .ok()
        });
        let plan = Plan { sequence_tokens: context_tokens, is_divisible: loaded.is_divisible() };
        Ok(Memory::new(context, plan, spilled.map(Spilled::new)))
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

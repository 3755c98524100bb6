//! The local models: located, checked and loaded in the background, at the
//! latest at their first call; until then a call reports progress.
//!
//! As many are loaded as the machine's memory holds. When another is wanted,
//! the one that was used longest ago is unloaded first; it is not taken from
//! under an answer, and comes back with its next call. A model that does not
//! fit beside nothing is loaded all the same: what that comes to, its engine says.

mod room;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use are_core::error::{Code, Fault};
use are_core::model::{Delta, Message, ModelInfo, ModelRequest, ModelStream, ToolSpec};
use are_models::files::{Presence, file_size, list, locate, memory_available};
use are_models::local::{LocalModel, Options, State};
use futures_util::{StreamExt, stream};
use tokio::sync::{OwnedRwLockReadGuard, RwLock, watch};

use self::room::Room;
use super::failed;
use crate::config::{self, Config};

/// Share of a local model's context that an answer may take, until the model says so itself.
const OUTPUT_SHARE: u64 = 4;
/// Hundredths of the memory that is free at the start which local models may take together.
const MEMORY_HUNDREDTHS: u64 = 80;

/// How often a call has a model loaded that is unloaded again before it can ask.
const UNLOADED_MAX: usize = 8;

/// What is read ahead.
type Beginning = (Vec<Message>, Vec<ToolSpec>);
/// The model once it is located, or why it cannot be.
type Found = Option<Result<Arc<LocalModel>, Fault>>;

/// All local models of the process, by name.
#[derive(Default)]
pub(super) struct Locals {
    all: Arc<BTreeMap<String, Local>>,
    room: Arc<Mutex<Room>>,
}

/// A local model, started when it is wanted.
struct Local {
    name: String,
    wish: String,
    models_dir: PathBuf,
    options: Options,
    started: Mutex<Option<watch::Receiver<Found>>>,
    /// Read while it answers, written while it is unloaded.
    answering: Arc<RwLock<()>>,
}

impl Locals {
    /// Refuses a file that is evidently missing or cut off; it is hashed later, in the background.
    /// With a `spill_dir`, that of a server, each may keep sealed files of this process in a directory of its own there.
    pub(super) fn new(config: &Config, models: &[config::LocalModel], spill_dir: Option<&Path>) -> Result<Self, Fault> {
        let mut all = BTreeMap::new();
        for model in models {
            check_presence(config, &model.wish)?;
            let name = model.name();
            let own = name.split_once(':').map_or(name.as_str(), |(_, own)| own);
            let options = Options {
                spill_dir: spill_dir.map(|dir| dir.join(own)),
                trial_dir: Some(config.models_dir.clone()),
                ..Options::new(name.clone())
            };
            let local = Local {
                wish: model.wish.clone(),
                models_dir: config.models_dir.clone(),
                options,
                started: Mutex::new(None),
                answering: Arc::default(),
                name: name.clone(),
            };
            if all.insert(name.clone(), local).is_some() {
                let message = format!("two local models would be called `{name}`");
                return Err(Fault::new(Code::CONFIG_INVALID, message, "rename one of their files"));
            }
        }
        // What the kernel does not tell limits nothing.
        let bytes = memory_available().map_or(u64::MAX, |bytes| bytes / 100 * MEMORY_HUNDREDTHS);
        Ok(Self { all: Arc::new(all), room: Arc::new(Mutex::new(Room::new(bytes))) })
    }

    pub(super) fn info(&self, name: &str) -> Option<ModelInfo> {
        self.all.get(name).map(Local::info)
    }

    pub(super) fn infos(&self) -> impl Iterator<Item = ModelInfo> + '_ {
        self.all.values().map(Local::info)
    }

    /// Begins to load a model and to read what its prompts have in common.
    pub(super) fn wake(&self, name: &str, beginning: Beginning) {
        self.started(name, Some(beginning));
    }

    /// Asks the model that the request names; its name where there is none.
    pub(super) fn call(&self, request: ModelRequest) -> Result<ModelStream, String> {
        let Some(local) = self.all.get(&request.model) else { return Err(request.model) };
        let locals = Self { all: Arc::clone(&self.all), room: Arc::clone(&self.room) };
        let (name, answering, is_ready) = (local.name.clone(), Arc::clone(&local.answering), local.is_ready());
        let waiting = Some(Ok(Delta::Progress { phase: "loading", done: 0, total: 0 })).filter(|_| !is_ready);
        let answer = stream::once(async move {
            for _ in 0..UNLOADED_MAX {
                let Some(mut started) = locals.started(&name, None) else { break };
                let found = started.wait_for(Option::is_some).await.map(|found| found.clone()).ok().flatten();
                let model = match found.unwrap_or_else(|| Err(ended())) {
                    Ok(model) => model,
                    Err(fault) => return failed(fault),
                };
                // Only once it is there: two that are loaded in each other's place would wait for one another's answers.
                let turn = Arc::clone(&answering).read_owned().await;
                // From here on it stays, if it still is the one.
                if locals.is_started(&name, &started) {
                    return held(model.call(request), turn);
                }
            }
            failed(crowded(&name))
        });
        Ok(Box::pin(stream::iter(waiting).chain(answer.flatten())))
    }

    /// Whether a model is still the one that was found.
    fn is_started(&self, name: &str, found: &watch::Receiver<Found>) -> bool {
        let Some(local) = self.all.get(name) else { return false };
        let started = local.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.as_ref().is_some_and(|started| started.same_channel(found))
    }

    /// The model, begun to be loaded if it is not.
    fn started(&self, name: &str, beginning: Option<Beginning>) -> Option<watch::Receiver<Found>> {
        let local = self.all.get(name)?;
        self.room().touch(name);
        let mut started = local.started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = started.take() {
            // One that could not be loaded may be loaded now, when there is more room.
            let is_dead = match &*found.borrow() {
                Some(Ok(model)) => matches!(model.state(), State::Failed(_)),
                Some(Err(_)) => true,
                None => false,
            };
            if !is_dead {
                *started = Some(found.clone());
                return Some(found);
            }
            self.room().leave(name);
        }
        let (sender, found) = watch::channel(None);
        *started = Some(found.clone());
        drop(started);
        let (models_dir, wish, options) = (local.models_dir.clone(), local.wish.clone(), local.options.clone());
        let (name, locals) = (name.to_owned(), Self { all: Arc::clone(&self.all), room: Arc::clone(&self.room) });
        tokio::task::spawn_blocking(move || {
            let model = locate(&models_dir, &wish).and_then(|path| {
                locals.make_room(&name, file_size(&path));
                LocalModel::start(path, options)
            });
            if let (Ok(model), Some((messages, tools))) = (&model, beginning) {
                model.warm(messages, tools);
            }
            if let Err(fault) = &model {
                tracing::error!(%fault, help = fault.help, "the local model cannot be used");
                locals.room().leave(&name);
            }
            sender.send_replace(Some(model.map(Arc::new)));
        });
        Some(found)
    }

    /// Unloads what must leave before a model of a file of so many bytes is loaded. Waits for their answers, and for
    /// their threads to end: called where that may be waited for.
    fn make_room(&self, name: &str, file_bytes: u64) {
        let leaving = self.room().enter(name, file_bytes);
        for local in leaving.iter().filter_map(|name| self.all.get(name)) {
            tracing::info!(model = local.name, for_model = name, "a local model is unloaded");
            let _alone = local.answering.blocking_write();
            let started = local.started.lock().unwrap_or_else(PoisonError::into_inner).take();
            // The last handle: answers hold the lock, and nobody else keeps one.
            drop(started);
        }
    }

    fn room(&self) -> std::sync::MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Local {
    fn ready(&self) -> Option<Arc<LocalModel>> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner).clone();
        started.as_ref().and_then(|found| found.borrow().clone()).and_then(Result::ok)
    }

    fn is_ready(&self) -> bool {
        self.ready().is_some()
    }

    fn info(&self) -> ModelInfo {
        self.ready().map_or_else(|| self.expected(), |model| model.info())
    }

    /// What the model will say of itself, unless it was trained on less.
    fn expected(&self) -> ModelInfo {
        let context_tokens = u64::from(self.options.context_tokens);
        ModelInfo {
            name: self.name.clone(),
            context_tokens,
            output_tokens: context_tokens / OUTPUT_SHARE,
            takes_temperature: true,
            efforts: Vec::new(),
            is_either: false,
            takes_images: false,
            is_local: true,
            continues: true,
        }
    }
}

/// A stream that keeps its model from being unloaded until it is dropped.
fn held(stream: ModelStream, turn: OwnedRwLockReadGuard<()>) -> ModelStream {
    Box::pin(stream::unfold((stream, turn), |(mut stream, turn)| async move {
        let item = stream.next().await?;
        Some((item, (stream, turn)))
    }))
}

fn crowded(name: &str) -> Fault {
    let what = format!("`{name}` is unloaded for others again and again before it can answer");
    Fault::new(Code::LOCAL_ENGINE, what, "use fewer local models at once, or a machine with more memory").retryable()
}

fn ended() -> Fault {
    Fault::new(Code::LOCAL_ENGINE, "the local model could not be started", "see the log, and start again")
}

/// A look at directory entries only, so that starting does not wait for half a gigabyte to be hashed.
fn check_presence(config: &Config, wish: &str) -> Result<(), Fault> {
    let listed = list(&config.models_dir).into_iter().find(|model| model.entry.alias == wish);
    match listed {
        Some(model) if model.presence == Presence::Installed => Ok(()),
        // Says precisely what is wrong, which a missing or cut-off file does without being read.
        _ => locate(&config.models_dir, wish).map(|_| ()),
    }
}

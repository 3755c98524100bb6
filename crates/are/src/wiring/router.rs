//! Routes `provider:model` to the adapter that can call it.
//!
//! A local model is located, checked and loaded in the background, at the
//! latest at its first call; until then a call reports progress.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use are_core::error::{Code, Fault};
use are_core::model::{Delta, Message, ModelInfo, ModelRequest, ModelStream, Models, ToolSpec};
use are_models::anthropic::{self, Anthropic};
use are_models::files::locate;
use are_models::http::Timeouts;
use are_models::local::{LocalModel, Options};
use are_models::openai::{self, Capability, Key, OpenAi};
use are_policy::manifest::ToolSet;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;

use crate::config::{self, Choice, Config, Kind, Provider};

/// Share of a local model's context that an answer may take, until the model says so itself.
const OUTPUT_SHARE: u64 = 4;

/// All models of the process.
pub(super) struct Router {
    /// Name of the model used when nobody wishes for another, or why there is none.
    default: Result<String, Fault>,
    /// Names of those that are asked when that one cannot answer.
    others: Vec<String>,
    remote: BTreeMap<String, Remote>,
    local: Option<Local>,
}

impl Router {
    /// With a `spill_dir`, that of a server, the local model may keep sealed files of this process there.
    pub(super) fn new(
        config: &Config,
        choice: Result<Choice, Fault>,
        spill_dir: Option<PathBuf>,
    ) -> Result<Self, Fault> {
        let choice = match choice {
            Ok(choice) => choice,
            Err(fault) => {
                return Ok(Self { default: Err(fault), others: Vec::new(), remote: BTreeMap::new(), local: None });
            }
        };
        let mut remote = BTreeMap::new();
        for provider in choice.providers {
            let named = std::iter::once(&choice.model).chain(&choice.others);
            remote.insert(provider.name.clone(), Remote::new(provider, named)?);
        }
        let local = match choice.local {
            Some(model) => Some(Local::new(config, &model, spill_dir)?),
            None => None,
        };
        Ok(Self { default: Ok(choice.model), others: choice.others, remote, local })
    }

    /// The default model's name, for people.
    pub(super) fn default_name(&self) -> String {
        self.default.clone().unwrap_or_else(|_| "none".to_owned())
    }

    /// Begins to load the local model and to read what its prompts have in common, where it is the default.
    pub(super) fn wake(&self, opening: Option<Message>, tools: &ToolSet) {
        let Some(local) = self.local.as_ref().filter(|local| self.default.as_ref() == Ok(&local.name)) else { return };
        // As requests begin, as long as there are few tools.
        let specs = are_engine::context::specs(tools, &local.info());
        local.wake(Some((opening.into_iter().collect(), specs.to_vec())));
    }

    fn unknown(&self, wish: &str) -> Fault {
        let known: Vec<String> = self.list().iter().map(|model| format!("`{}`", model.name)).collect();
        let help = match known.as_slice() {
            [] => "set `ARE_MODEL`, or start with `--local-llm`".to_owned(),
            known => format!("models there are: {}", known.join(", ")),
        };
        Fault::new(Code::MODEL_UNKNOWN, format!("there is no model `{wish}`"), help)
    }
}

impl Models for Router {
    fn resolve(&self, wish: Option<&str>) -> Result<ModelInfo, Fault> {
        let default = self.default.as_ref().map_err(Clone::clone)?;
        let wish = wish.unwrap_or(default);
        let (provider, model) = wish.split_once(':').unwrap_or(("", wish));
        if let Some(local) = &self.local
            && (wish == local.name || model == local.model_part())
            && matches!(provider, "" | config::model::LOCAL)
        {
            return Ok(local.info());
        }
        if let Some(adapter) = self.remote.get(provider) {
            return Ok(adapter.info(wish));
        }
        // A bare name is the default provider's; its ids may hold colons of their own.
        let own = default.split_once(':').and_then(|(provider, _)| self.remote.get(provider));
        match own {
            Some(adapter) if provider != config::model::LOCAL => Ok(adapter.info(wish)),
            _ => Err(self.unknown(wish)),
        }
    }

    fn fallbacks(&self, wish: Option<&str>) -> Vec<ModelInfo> {
        // Whoever names a model means that one and no other.
        if wish.is_some() && wish != self.default.as_deref().ok() {
            return Vec::new();
        }
        self.others.iter().filter_map(|name| self.resolve(Some(name)).ok()).collect()
    }

    fn list(&self) -> Vec<ModelInfo> {
        self.local.iter().map(Local::info).chain(self.remote.values().flat_map(Remote::list)).collect()
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        let provider = request.model.split_once(':').map_or("", |(provider, _)| provider);
        match (self.remote.get(provider), &self.local) {
            (Some(adapter), _) => adapter.call(&request),
            (None, Some(local)) if request.model == local.name => local.call(request),
            _ => failed(self.default.clone().err().unwrap_or_else(|| self.unknown(&request.model))),
        }
    }
}

/// A remote provider.
enum Remote {
    OpenAi(OpenAi),
    Anthropic(Anthropic),
}

impl Remote {
    /// With the models of `named` that are its own.
    fn new<'a>(provider: Provider, named: impl Iterator<Item = &'a String>) -> Result<Self, Fault> {
        let own = |model: &'a String| model.strip_prefix(&provider.name)?.strip_prefix(':');
        let models = named.filter_map(own).map(str::to_owned);
        let key = provider.key.as_ref().map(|key| Key::new(key.value.expose().to_owned()));
        let timeouts = Timeouts::default();
        match provider.kind {
            Kind::OpenAi => OpenAi::new(openai::Settings {
                models: models.map(|id| Capability { id, ..Capability::default() }).collect(),
                name: provider.name,
                base_url: provider.base_url,
                key,
                is_local: provider.is_local,
                timeouts,
            })
            .map(Self::OpenAi),
            Kind::Anthropic => Anthropic::new(anthropic::Settings {
                models: models.collect(),
                name: provider.name,
                base_url: provider.base_url,
                key,
                is_bearer: provider.is_bearer,
                timeouts,
            })
            .map(Self::Anthropic),
        }
    }

    fn info(&self, model: &str) -> ModelInfo {
        match self {
            Self::OpenAi(adapter) => adapter.info(model),
            Self::Anthropic(adapter) => adapter.info(model),
        }
    }

    fn list(&self) -> Vec<ModelInfo> {
        match self {
            Self::OpenAi(adapter) => adapter.list(),
            Self::Anthropic(adapter) => adapter.list(),
        }
    }

    fn call(&self, request: &ModelRequest) -> ModelStream {
        match self {
            Self::OpenAi(adapter) => adapter.call(request),
            Self::Anthropic(adapter) => adapter.call(request),
        }
    }
}

fn failed(fault: Fault) -> ModelStream {
    Box::pin(stream::iter([Err(fault)]))
}

/// What is read ahead.
type Beginning = (Vec<Message>, Vec<ToolSpec>);
/// The model once it is located, or why it cannot be.
type Found = Option<Result<Arc<LocalModel>, Fault>>;

/// The local model, started when it is first wanted.
struct Local {
    name: String,
    wish: String,
    models_dir: PathBuf,
    options: Options,
    started: Mutex<Option<watch::Receiver<Found>>>,
}

impl Local {
    /// Refuses a file that is evidently missing or cut off; it is hashed later, in the background.
    fn new(config: &Config, model: &config::LocalModel, spill_dir: Option<PathBuf>) -> Result<Self, Fault> {
        check_presence(config, &model.wish)?;
        let name = model.name();
        let trial_dir = Some(config.models_dir.clone());
        let options = Options { spill_dir, trial_dir, ..Options::new(name.clone()) };
        let (wish, models_dir) = (model.wish.clone(), config.models_dir.clone());
        Ok(Self { name, wish, models_dir, options, started: Mutex::new(None) })
    }

    fn model_part(&self) -> &str {
        self.name.split_once(':').map_or(&self.name, |(_, model)| model)
    }

    fn info(&self) -> ModelInfo {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match started.as_ref().and_then(|found| found.borrow().clone()) {
            Some(Ok(model)) => model.info(),
            _ => self.expected(),
        }
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
            is_local: true,
        }
    }

    fn wake(&self, beginning: Option<Beginning>) -> watch::Receiver<Found> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = &*started {
            return found.clone();
        }
        let (sender, found) = watch::channel(None);
        let (models_dir, wish, options) = (self.models_dir.clone(), self.wish.clone(), self.options.clone());
        tokio::task::spawn_blocking(move || {
            let model = locate(&models_dir, &wish).and_then(|path| LocalModel::start(path, options));
            if let (Ok(model), Some((messages, tools))) = (&model, beginning) {
                model.warm(messages, tools);
            }
            if let Err(fault) = &model {
                tracing::error!(%fault, help = fault.help, "the local model cannot be used");
            }
            sender.send_replace(Some(model.map(Arc::new)));
        });
        *started = Some(found.clone());
        found
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        let mut found = self.wake(None);
        if let Some(model) = found.borrow().clone() {
            return answer(model, request);
        }
        let waiting = stream::iter([Ok(Delta::Progress { phase: "loading", done: 0, total: 0 })]);
        let answer = stream::once(async move {
            let model = found.wait_for(Option::is_some).await.map(|found| found.clone());
            answer(model.ok().flatten().unwrap_or_else(|| Err(ended())), request)
        });
        Box::pin(waiting.chain(answer.flatten()))
    }
}

fn answer(model: Result<Arc<LocalModel>, Fault>, request: ModelRequest) -> ModelStream {
    match model {
        Ok(model) => model.call(request),
        Err(fault) => failed(fault),
    }
}

fn ended() -> Fault {
    Fault::new(Code::LOCAL_ENGINE, "the local model could not be started", "see the log, and start again")
}

/// A look at directory entries only, so that starting does not wait for half a gigabyte to be hashed.
fn check_presence(config: &Config, wish: &str) -> Result<(), Fault> {
    use are_models::files::{Presence, list};
    let listed = list(&config.models_dir).into_iter().find(|model| model.entry.alias == wish);
    match listed {
        Some(model) if model.presence == Presence::Installed => Ok(()),
        // Says precisely what is wrong, which a missing or cut-off file does without being read.
        _ => locate(&config.models_dir, wish).map(|_| ()),
    }
}

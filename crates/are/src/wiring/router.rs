//! Routes `provider:model` to the adapter that can call it.
//!
//! Several local models stand beside one another; see [`local`].

mod local;

use std::collections::BTreeMap;
use std::path::PathBuf;

use are_core::error::{Code, Fault};
use are_core::model::{Message, ModelInfo, ModelRequest, ModelStream, Models};
use are_models::anthropic::{self, Anthropic};
use are_models::files::sealed;
use are_models::http::Timeouts;
use are_models::openai::{self, Capability, Key, OpenAi};
use are_policy::manifest::ToolSet;
use futures_util::stream;

use crate::config::{self, Choice, Config, Kind, Provider};
use local::Locals;

/// All models of the process.
pub(super) struct Router {
    /// Name of the model used when nobody wishes for another, or why there is none.
    default: Result<String, Fault>,
    /// Names of those that are asked when that one cannot answer.
    others: Vec<String>,
    remote: BTreeMap<String, Remote>,
    locals: Locals,
    /// Names of the models that adaptive turns choose from.
    tiers: Vec<String>,
}

impl Router {
    /// With a `spill_dir`, that of a server, the local model may keep sealed files of this process there.
    pub(super) fn new(
        config: &Config,
        choice: Result<Choice, Fault>,
        spill_dir: Option<PathBuf>,
    ) -> Result<Self, Fault> {
        if let Some(dir) = &spill_dir {
            sealed::sweep(dir);
        }
        let choice = match choice {
            Ok(choice) => choice,
            Err(fault) => {
                let (others, tiers, remote) = (Vec::new(), Vec::new(), BTreeMap::new());
                return Ok(Self { default: Err(fault), others, remote, locals: Locals::default(), tiers });
            }
        };
        let mut remote = BTreeMap::new();
        for provider in choice.providers {
            let named = std::iter::once(&choice.model).chain(&choice.others).chain(&choice.tiers);
            remote.insert(provider.name.clone(), Remote::new(provider, named)?);
        }
        let locals = Locals::new(config, &choice.locals, spill_dir.as_deref())?;
        Ok(Self { default: Ok(choice.model), others: choice.others, remote, locals, tiers: choice.tiers })
    }

    /// The models that adaptive turns choose from, cheapest first.
    pub(super) fn tiers(&self) -> Vec<String> {
        self.tiers.clone()
    }

    /// The default model's name, for people.
    pub(super) fn default_name(&self) -> String {
        self.default.clone().unwrap_or_else(|_| "none".to_owned())
    }

    /// Begins to load the local model and to read what its prompts have in common, where it is the default.
    pub(super) fn wake(&self, opening: impl FnOnce() -> Option<Message>, tools: &ToolSet) {
        let Some(info) = self.default.as_ref().ok().and_then(|name| self.locals.info(name)) else { return };
        // As requests begin, as long as there are few tools.
        let specs = are_engine::context::specs(tools, &info);
        self.locals.wake(&info.name, (opening().into_iter().collect(), specs.to_vec()));
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
        if let Some(local) = self.locals.info(&format!("{}:{model}", config::model::LOCAL))
            && matches!(provider, "" | config::model::LOCAL)
        {
            return Ok(local);
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
        self.locals.infos().chain(self.remote.values().flat_map(Remote::list)).collect()
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        let provider = request.model.split_once(':').map_or("", |(provider, _)| provider);
        if let Some(adapter) = self.remote.get(provider) {
            return adapter.call(&request);
        }
        match self.locals.call(request) {
            Ok(stream) => stream,
            Err(name) => failed(self.default.clone().err().unwrap_or_else(|| self.unknown(&name))),
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

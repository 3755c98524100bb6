//! Which model answers: what was asked for, or the one that is evidently meant.
//!
//! Nothing is guessed between two possibilities: several keys are an error that
//! names them, an unknown local model is an error with the list. Whoever asked
//! for a local model gets no remote provider but those that the list of models
//! names.

use std::collections::BTreeMap;
use std::path::Path;

use are_core::error::{Code, Fault};
use are_engine::adapt::TIERS_MAX;
use are_models::files::{Catalog, Presence, list};

use super::layers::{Layers, Origin, Setting, Surroundings};
use super::values;
use super::{Config, Secret};

/// Name of the local engine in `provider:model`.
pub const LOCAL: &str = "local";
/// Provider made from `OPENAI_API_KEY`.
const OPENAI: &str = "openai";
/// Its address, as the provider's own SDK has it.
const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";
/// Its model when none is named: takes tools, a temperature and long contexts, and costs little.
const OPENAI_MODEL: &str = "gpt-4.1-mini";
/// Provider made from `ANTHROPIC_API_KEY`.
const ANTHROPIC: &str = "anthropic";
/// Its token, as the provider's own SDK reads it; it goes in the key's place.
const ANTHROPIC_AUTH_TOKEN: &str = "ANTHROPIC_AUTH_TOKEN";
/// Its address, as the provider's own SDK has it.
const ANTHROPIC_BASE_URL: &str = "https://api.anthropic.com";
/// Its model when none is named: what the provider calls the best of speed and intelligence.
const ANTHROPIC_MODEL: &str = "claude-sonnet-5-5";
/// Models that may stand behind one another.
const MODELS_MAX: usize = 8;
/// Provider made from an Ollama found on loopback.
pub const OLLAMA: &str = "ollama";
/// Where Ollama listens by default.
pub const OLLAMA_ADDRESS: &str = "127.0.0.1:11434";

/// How a provider is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// OpenAI's chat completions.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "openai" => Some(Self::OpenAi),
            "anthropic" => Some(Self::Anthropic),
            _ => None,
        }
    }
}

/// A remote provider.
#[derive(Clone)]
pub struct Provider {
    /// Name, the first half of `provider:model`.
    pub name: String,
    /// How it is spoken to.
    pub kind: Kind,
    /// Address, as the programs of that kind take it.
    pub base_url: String,
    /// Key, where one is set.
    pub key: Option<Setting<Secret>>,
    /// Variable that holds the key.
    pub key_env: Option<String>,
    /// True where the key is a token that goes as `Authorization: Bearer`, which providers of the other kind always want.
    pub is_bearer: bool,
    /// True when nothing leaves the machine.
    pub is_local: bool,
    /// Where it was configured.
    pub origin: Origin,
}

/// A local model by alias or path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalModel {
    /// Alias of the list, or absolute path of a GGUF file.
    pub wish: String,
}

impl LocalModel {
    /// Its name as `local:MODEL`.
    #[must_use]
    pub fn name(&self) -> String {
        let stem = if self.wish.contains('/') { Path::new(&self.wish).file_stem() } else { None };
        let model = stem.and_then(|stem| stem.to_str()).unwrap_or(&self.wish);
        format!("{LOCAL}:{model}")
    }
}

/// What the choice came to.
#[derive(Clone)]
pub struct Choice {
    /// The model used when nobody wishes for another, `provider:model`.
    pub model: String,
    /// Models that are asked, in their order, when it cannot answer.
    pub others: Vec<String>,
    /// Models that adaptive turns choose from, cheapest first.
    pub tiers: Vec<String>,
    /// Remote providers that may be called.
    pub providers: Vec<Provider>,
    /// Models of the local engine.
    pub locals: Vec<LocalModel>,
}

impl Choice {
    /// A local model and nothing else.
    #[must_use]
    pub fn local(local: LocalModel) -> Self {
        let model = local.name();
        Self { model, others: Vec::new(), tiers: Vec::new(), providers: Vec::new(), locals: vec![local] }
    }

    /// With what is called to ask the model that `next` chooses.
    fn take_in(&mut self, next: Self) -> String {
        for local in next.locals {
            if !self.locals.contains(&local) {
                self.locals.push(local);
            }
        }
        for provider in next.providers {
            if self.providers.iter().all(|known| known.name != provider.name) {
                self.providers.push(provider);
            }
        }
        next.model
    }

    /// Nothing leaves the machine but to whom it was said that it may.
    fn keep_named(&mut self) {
        let Self { model, others, tiers, providers, .. } = self;
        let is_named = |name: &str| {
            let mut named = std::iter::once(&*model).chain(&*others).chain(&*tiers);
            named.any(|model| model.split_once(':').is_some_and(|(of, _)| of == name))
        };
        providers.retain(|provider| is_named(&provider.name));
    }
}

/// What `ARE_LOCAL_LLM` or `--local-llm` asks for.
pub(super) fn local(layers: &Layers<'_>, surroundings: &Surroundings) -> Result<Option<Setting<LocalModel>>, Fault> {
    let Some(setting) = layers.text("local_llm") else { return Ok(None) };
    let wish = match values::parse_bool(&setting.value) {
        Some(true) => Catalog::DEFAULT.to_owned(),
        Some(false) => return Ok(None),
        None => local_wish(&setting.value, surroundings)?,
    };
    Ok(Some(Setting { value: LocalModel { wish }, origin: setting.origin }))
}

fn local_wish(text: &str, surroundings: &Surroundings) -> Result<String, Fault> {
    let path = Path::new(text);
    let is_path = text.contains('/') || path.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("gguf"));
    if !is_path {
        return Catalog::builtin().get(text).map(|entry| entry.alias.clone());
    }
    let absolute = surroundings.absolute(path);
    absolute.to_str().map(str::to_owned).ok_or_else(|| {
        Fault::new(Code::CONFIG_INVALID, "the model file's path is not UTF-8", "move the file to a plainly named place")
    })
}

/// The providers of the environment and the file.
pub(super) fn providers(layers: &Layers<'_>) -> Result<BTreeMap<String, Provider>, Fault> {
    let mut providers = BTreeMap::new();
    for (name, kind, default_url, key_env) in [
        (OPENAI, Kind::OpenAi, OPENAI_BASE_URL, "OPENAI_API_KEY"),
        (ANTHROPIC, Kind::Anthropic, ANTHROPIC_BASE_URL, "ANTHROPIC_API_KEY"),
    ] {
        let (key, key_env, is_bearer) = match layers.secret(&format!("{name}_auth_token"))? {
            Some(token) => (Some(token), ANTHROPIC_AUTH_TOKEN, true),
            None => (layers.secret(&format!("{name}_api_key"))?, key_env, false),
        };
        let base_url = layers.text(&format!("{name}_base_url"));
        let origin = key.as_ref().map(|key| &key.origin).or(base_url.as_ref().map(|url| &url.origin));
        let Some(origin) = origin.cloned() else { continue };
        let provider = Provider {
            name: name.to_owned(),
            kind,
            base_url: base_url.map_or_else(|| default_url.to_owned(), |url| url.value),
            key_env: Some(key_env.to_owned()),
            is_bearer,
            is_local: false,
            origin,
            key,
        };
        providers.insert(provider.name.clone(), provider);
    }
    for (name, table) in &layers.file.providers {
        let kind = check_provider(layers, name, &table.kind, &table.base_url)?;
        let key = match &table.key_env {
            Some(variable) => layers.secret_variable(variable)?,
            None => None,
        };
        let provider = Provider {
            name: name.clone(),
            kind,
            base_url: table.base_url.clone(),
            key_env: table.key_env.clone(),
            is_bearer: false,
            is_local: false,
            origin: Origin::File(layers.file.path.clone()),
            key,
        };
        if providers.insert(name.clone(), provider).is_some() {
            return Err(Fault::new(
                Code::CONFIG_CONFLICT,
                format!("the provider `{name}` is in `{}` and in the environment", layers.file.path.display()),
                format!("give `[providers.{name}]` another name, or unset its variables of the environment"),
            ));
        }
    }
    Ok(providers)
}

/// Says that a key is set which is not sent, because the token is.
pub(super) fn unused_key(layers: &Layers<'_>) -> Result<Option<String>, Fault> {
    let (token, key) = (layers.secret("anthropic_auth_token")?, layers.secret("anthropic_api_key")?);
    let both = token.zip(key);
    Ok(both.map(|(token, key)| format!("the key from {} is not sent: the token from {} is", key.origin, token.origin)))
}

fn check_provider(layers: &Layers<'_>, name: &str, kind: &str, base_url: &str) -> Result<Kind, Fault> {
    let found = |value: &str| Setting { value: value.to_owned(), origin: Origin::File(layers.file.path.clone()) };
    let key = |field: &str| format!("providers.{name}.{field}");
    let Some(kind) = Kind::parse(kind) else {
        let help = "write `kind = \"openai\"` or `kind = \"anthropic\"`";
        return Err(values::invalid(&key("kind"), &found(kind), "a kind of provider", help));
    };
    if values::parse_web_address(base_url).is_none() {
        let help = "write an address such as `https://api.example.org/v1`";
        return Err(values::invalid(&key("base_url"), &found(base_url), "a web address", help));
    }
    if [LOCAL, OLLAMA].contains(&name) || name.contains([':', ',']) {
        return Err(values::invalid(&key("name"), &found(name), "free", "choose another name without colon and comma"));
    }
    Ok(kind)
}

pub(super) async fn choose<P: Future<Output = Option<String>>>(
    config: &Config,
    probe: impl FnOnce() -> P,
) -> Result<Choice, Fault> {
    let choice = usual(config, probe).await?;
    with_tiers(config, choice)
}

/// The model used when nobody wishes for another, and those behind it.
async fn usual<P: Future<Output = Option<String>>>(
    config: &Config,
    probe: impl FnOnce() -> P,
) -> Result<Choice, Fault> {
    let wishes = wishes(config)?;
    match (wishes.split_first(), &config.model, &config.local_llm) {
        (Some((first, others)), Some(model), Some(local)) => {
            let is_same = local.value.name() == *first || *first == LOCAL || local.value.wish == *first;
            if is_same {
                return listed(config, Choice::local(local.value.clone()), others);
            }
            if local.origin.rank() > model.origin.rank() {
                return Ok(Choice::local(local.value.clone()));
            }
            Err(Fault::new(
                Code::CONFIG_CONFLICT,
                format!(
                    "`local_llm` (from {}) keeps everything on this machine, but `model` is `{}` (from {})",
                    local.origin, model.value, model.origin
                ),
                "unset one of them, or let the list of models begin with the local one",
            ))
        }
        (Some((first, others)), _, _) => listed(config, named(config, first)?, others),
        (None, _, Some(local)) => Ok(Choice::local(local.value.clone())),
        (None, _, None) => evident(config, probe).await,
    }
}

/// The models that `ARE_MODEL` names, the first one first.
fn wishes(config: &Config) -> Result<Vec<&str>, Fault> {
    let Some(model) = &config.model else { return Ok(Vec::new()) };
    let wishes: Vec<&str> = model.value.split(',').map(str::trim).filter(|wish| !wish.is_empty()).collect();
    if wishes.is_empty() || wishes.len() > MODELS_MAX {
        let help = format!("name one model, or up to {MODELS_MAX} of which the next answers when one cannot");
        return Err(values::invalid("model", model, "a list of models", &help));
    }
    Ok(wishes)
}

/// `first`, and behind it the models that `others` name.
fn listed(config: &Config, first: Choice, others: &[&str]) -> Result<Choice, Fault> {
    let mut choice = first;
    for wish in others {
        let next = named(config, wish)?;
        let refuse = |why: &str| {
            let origin = config.model.as_ref().map(|model| model.origin.to_string()).unwrap_or_default();
            let message = format!("`model` (from {origin}) names `{wish}`, {why}");
            Fault::new(Code::CONFIG_INVALID, message, "take it off the list")
        };
        if next.model == choice.model || choice.others.contains(&next.model) {
            return Err(refuse("which it has named before"));
        }
        let model = choice.take_in(next);
        choice.others.push(model);
    }
    if !choice.locals.is_empty() {
        choice.keep_named();
    }
    Ok(choice)
}

/// With the models that `tiers` names. They are called besides; what stays on the machine does so all the same.
fn with_tiers(config: &Config, mut choice: Choice) -> Result<Choice, Fault> {
    let wishes = &config.tiers;
    if wishes.value.is_empty() {
        return Ok(choice);
    }
    let shown = wishes.clone().map(|tiers| tiers.join(", "));
    if !(2..=TIERS_MAX).contains(&wishes.value.len()) {
        let help = format!("name two to {TIERS_MAX} models, the cheapest first, or none");
        return Err(values::invalid("tiers", &shown, "a list of models to choose from", &help));
    }
    let stays_here = !choice.locals.is_empty();
    for wish in &wishes.value {
        let next = named(config, wish)?;
        if choice.tiers.contains(&next.model) {
            return Err(values::invalid("tiers", &shown, "a list of different models", "name each of them once"));
        }
        let provider = next.model.split_once(':').map_or("", |(provider, _)| provider).to_owned();
        let is_listed = provider == LOCAL || choice.providers.iter().any(|known| known.name == provider);
        if let Some(local) = config.local_llm.as_ref().filter(|_| stays_here && !is_listed) {
            return Err(Fault::new(
                Code::CONFIG_CONFLICT,
                format!(
                    "`local_llm` (from {}) keeps everything on this machine, but `tiers` (from {}) names `{}`",
                    local.origin, wishes.origin, next.model
                ),
                "take it off the tiers, unset `local_llm`, or name the provider in the list of models too",
            ));
        }
        let model = choice.take_in(next);
        choice.tiers.push(model);
    }
    if stays_here {
        choice.keep_named();
    }
    Ok(choice)
}

/// The model that `ARE_MODEL`, or a verb, names.
pub(super) fn named(config: &Config, text: &str) -> Result<Choice, Fault> {
    let (provider, model) = text.split_once(':').unwrap_or((text, ""));
    if provider == LOCAL || (model.is_empty() && Catalog::builtin().get(text).is_ok()) {
        let wish = match model {
            "" if provider == LOCAL => Catalog::DEFAULT,
            "" => text,
            model => model,
        };
        return Catalog::builtin().get(wish).map(|entry| Choice::local(LocalModel { wish: entry.alias.clone() }));
    }
    if provider == OLLAMA && !model.is_empty() {
        return Ok(ollama(config, model));
    }
    if let Some(provider) = config.providers.get(provider) {
        return if model.is_empty() { default_model(config, provider) } else { remote(config, provider, model) };
    }
    let mut keyed = with_key(config);
    match (keyed.next(), keyed.next()) {
        // Model ids may hold colons themselves, so the whole text is the id.
        (Some(only), None) => remote(config, only, text),
        _ => Err(Fault::new(
            Code::CONFIG_INVALID,
            format!("`model` is `{text}`, but there is no provider `{provider}`{}", known(config)),
            "write `provider:model`, e.g. `anthropic:claude-sonnet-5-5`, `ollama:qwen3` or `local:small`",
        )),
    }
}

fn known(config: &Config) -> String {
    if config.providers.is_empty() {
        return String::new();
    }
    let names: Vec<String> = config.providers.keys().map(|name| format!("`{name}`")).collect();
    format!("; configured are {}", names.join(", "))
}

/// The model that is meant when none is named.
async fn evident<P: Future<Output = Option<String>>>(
    config: &Config,
    probe: impl FnOnce() -> P,
) -> Result<Choice, Fault> {
    let keyed: Vec<&Provider> = with_key(config).collect();
    match keyed.as_slice() {
        [] => {}
        [only] => return default_model(config, only),
        several => {
            let names: Vec<String> = several.iter().map(|one| format!("`{}`", one.name)).collect();
            return Err(Fault::new(
                Code::MODEL_AMBIGUOUS,
                format!("several providers have a key: {}", names.join(", ")),
                "choose one with `ARE_MODEL=provider:model`",
            ));
        }
    }
    if let Some(model) = probe().await {
        return Ok(ollama(config, &model));
    }
    let installed = list(&config.models_dir).into_iter().find(|model| model.presence == Presence::Installed);
    installed.map(|model| Choice::local(LocalModel { wish: model.entry.alias.clone() })).ok_or_else(|| {
        Fault::new(
            Code::MODEL_MISSING,
            "there is no model: no provider's key is set, no Ollama answers on loopback, no local model is installed",
            "set `ANTHROPIC_API_KEY` or `OPENAI_API_KEY`, or start Ollama, or fetch a local model: `are model pull small`",
        )
    })
}

fn with_key(config: &Config) -> impl Iterator<Item = &Provider> {
    config.providers.values().filter(|provider| provider.key.is_some())
}

fn default_model(config: &Config, provider: &Provider) -> Result<Choice, Fault> {
    match provider.name.as_str() {
        OPENAI => return remote(config, provider, OPENAI_MODEL),
        ANTHROPIC => return remote(config, provider, ANTHROPIC_MODEL),
        _ => {}
    }
    Err(Fault::new(
        Code::MODEL_MISSING,
        format!("the provider `{}` has a key, but no model of it is named", provider.name),
        format!("set `model = \"{}:MODEL\"` in `are.toml`, or `ARE_MODEL`", provider.name),
    ))
}

fn remote(config: &Config, provider: &Provider, model: &str) -> Result<Choice, Fault> {
    if let (Some(variable), None) = (&provider.key_env, &provider.key)
        && [OPENAI_BASE_URL, ANTHROPIC_BASE_URL].contains(&provider.base_url.as_str())
    {
        return Err(Fault::new(
            Code::MODEL_MISSING,
            format!("the provider `{}` has no key", provider.name),
            format!("set `{variable}` or `{variable}_FILE`"),
        ));
    }
    let model = format!("{}:{model}", provider.name);
    let providers = config.providers.values().cloned().collect();
    Ok(Choice { model, others: Vec::new(), tiers: Vec::new(), providers, locals: Vec::new() })
}

fn ollama(config: &Config, model: &str) -> Choice {
    let mut providers: Vec<Provider> = config.providers.values().cloned().collect();
    providers.push(Provider {
        name: OLLAMA.to_owned(),
        kind: Kind::OpenAi,
        base_url: format!("http://{OLLAMA_ADDRESS}/v1"),
        key: None,
        key_env: None,
        is_bearer: false,
        // Ollama also passes on to its own cloud; those models say so in their name.
        is_local: !model.ends_with("cloud"),
        origin: Origin::Default,
    });
    let model = format!("{OLLAMA}:{model}");
    Choice { model, others: Vec::new(), tiers: Vec::new(), providers, locals: Vec::new() }
}

#[cfg(test)]
mod tests;

//! Settings: flag over environment over `are.toml` over default.
//!
//! Everything is read and checked here, once, and passed on as types. Each
//! value remembers where it came from. Neither the file nor a `.env` is ever
//! read from a workspace, so that what an agent can write configures nothing.
//! This module is the only one of the crate that touches the file system.

pub mod agents;
mod file;
pub mod files;
pub mod keys;
mod layers;
mod limits;
pub mod model;
mod paths;
pub mod policy;
mod secret;
mod shown;
pub mod skills;
pub mod telemetry;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;

use are_core::error::{Code, Fault};
use are_core::model::ModelInfo;
use are_engine::scrub::Live;
use are_policy::firewall::Firewall;
use are_policy::limits::Limits;
use are_policy::prices::{self, Prices};
use are_tools::Destinations;

pub use layers::{Flags, Origin, Setting, Surroundings};
pub use model::{Choice, Kind, LocalModel, Provider};
pub use paths::Guard;
pub use policy::PolicyChoice;
pub use secret::Secret;
pub use shown::{Shown, object as shown_object};
pub use values::{Bind, Planner};

use layers::Layers;

/// Everything the program was told, checked.
#[derive(Clone)]
pub struct Config {
    /// Sessions, tokens, agents, rules.
    pub data_dir: Setting<PathBuf>,
    /// Model files.
    pub models_dir: PathBuf,
    /// Where to serve.
    pub bind: Setting<Bind>,
    /// Serve loopback without tokens.
    pub no_auth: Setting<bool>,
    /// Given token with every scope; otherwise one is made in the data directory.
    pub admin_token: Option<Setting<Secret>>,
    /// What the secrets of accounts are sealed by; otherwise a file of the data directory.
    pub master_key: Option<Setting<Secret>>,
    /// A command that prints it.
    pub master_key_command: Option<Setting<String>>,
    /// Takes known values out of the log.
    pub log: Live,
    /// Wished models, `provider:model` or bare names, by commas: the next where one cannot answer.
    pub model: Option<Setting<String>>,
    /// Local model, when one was asked for.
    pub local_llm: Option<Setting<LocalModel>>,
    /// Remote providers by name.
    pub providers: BTreeMap<String, Provider>,
    /// Servers of tools that the file declares, as JSON; none of them is served before somebody consented.
    pub servers: BTreeMap<String, String>,
    /// How much accounts, sessions, effects and providers may use.
    pub limits: Limits,
    /// What models cost.
    pub prices: Prices,
    /// Whether a model's answer is given again to exactly the same request.
    pub response_cache: Setting<bool>,
    /// Whether turns are adaptive whose prompt does not say.
    pub adaptive: Setting<bool>,
    /// Models that adaptive turns choose from, cheapest first; none to stay with the usual one.
    pub tiers: Setting<Vec<String>>,
    /// Whether the oldest turns are summed up before anything is left out of a request.
    pub compaction: Setting<bool>,
    /// Time zone, an IANA name.
    pub tz: Setting<String>,
    /// Rules in force.
    pub policy: Setting<PolicyChoice>,
    /// Whether calls are decided by the flow of information.
    pub prompt_injection_defense: Setting<bool>,
    /// Whether a model is asked first which tools the user's words ask for.
    pub planner: Setting<Planner>,
    /// Whether prompts and results are scanned for attacks.
    pub prompt_firewall: Setting<bool>,
    /// Weights for that, instead of the program's own.
    pub firewall_model: Option<Setting<PathBuf>>,
    /// Whether the journal's records are made a log that others can verify.
    pub audit_log: Setting<bool>,
    /// Name of that log, when it is begun; the store's identity when absent.
    pub audit_name: Option<Setting<String>>,
    /// Calls to permit besides, one line each.
    pub allow: Setting<Vec<String>>,
    /// Where every session works, checked and without links.
    pub workspace: Option<Setting<PathBuf>>,
    /// What a workspace may not be.
    pub guard: Guard,
    /// Where the programs of this process's user come from, for the toolchains that commands may use.
    pub program_path: Vec<PathBuf>,
    /// Where each workspace has the cache of its commands.
    pub commands_dir: PathBuf,
    /// Layers of the cage without which commands are not served.
    pub cage_require: Setting<Vec<String>>,
    /// What commands may reach of the network.
    pub egress: Setting<Destinations>,
    /// `host:port` that tools may reach although private.
    pub egress_private: Setting<Vec<String>>,
    /// Address under which clients see the server.
    pub public_url: Option<Setting<url::Url>>,
    /// Further accepted `Host` names.
    pub hosts: Setting<Vec<String>>,
    /// Further accepted browser origins.
    pub origins: Setting<Vec<String>>,
    /// Where spans and figures of turns are sent; nowhere unless somebody says so.
    pub telemetry: Option<telemetry::Settings>,
    /// Server of client verbs.
    pub url: Option<Setting<String>>,
    /// Token for it.
    pub token: Option<Setting<Secret>>,
    /// What a person should know, e.g. unknown variables.
    pub warnings: Vec<String>,
    /// The settings as `config show` prints them.
    pub shown: Vec<Shown>,
}

impl Config {
    /// Reads and checks every layer.
    ///
    /// # Errors
    /// A fault of the 00 group that names the value at fault and where it came from.
    pub fn load(surroundings: &Surroundings, flags: &Flags) -> Result<Self, Fault> {
        let layers = layered(surroundings, flags)?;
        let data_dir = match layers.text("data_dir") {
            Some(setting) => setting.map(|text| surroundings.absolute(text.as_ref())),
            None => Setting::default_of(paths::data_dir(surroundings)?),
        };
        let mut warnings = unknown_variables(surroundings);
        warnings.extend(model::unused_key(&layers)?);
        let tz = values::time_zone(&layers, &mut warnings)?;
        let bind = values::bind(&layers)?;
        let policy = policy::choose(&layers, surroundings, &bind.value)?;
        let guard = guard(surroundings, &data_dir.value, &policy.value);
        let workspace = match layers.text("workspace") {
            Some(setting) => {
                let path = guard.check(&surroundings.absolute(setting.value.as_ref()))?;
                Some(Setting { value: path, origin: setting.origin })
            }
            None => None,
        };
        let no_auth = values::boolean(&layers, "no_auth", false)?;
        values::check_no_auth(&bind, &no_auth)?;
        let config = Self {
            models_dir: paths::models_dir(surroundings, &data_dir.value),
            program_path: surroundings
                .get("PATH")
                .map(|path| std::env::split_paths(path).collect())
                .unwrap_or_default(),
            commands_dir: paths::commands_dir(surroundings, &data_dir.value),
            admin_token: layers.secret("admin_token")?,
            master_key: layers.secret("master_key")?,
            master_key_command: layers.text("master_key_command"),
            log: Live::default(),
            model: layers.text("model"),
            local_llm: model::local(&layers, surroundings)?,
            providers: model::providers(&layers)?,
            servers: layers.file.servers.clone(),
            limits: layers.file.limits.clone(),
            prices: layers.file.prices.clone(),
            response_cache: values::boolean(&layers, "response_cache", false)?,
            adaptive: values::boolean(&layers, "adaptive", false)?,
            tiers: values::list(&layers, "tiers"),
            compaction: values::boolean(&layers, "compaction", true)?,
            prompt_injection_defense: values::boolean(&layers, "prompt_injection_defense", true)?,
            planner: values::planner(&layers)?,
            prompt_firewall: values::boolean(&layers, "prompt_firewall", true)?,
            firewall_model: layers
                .text("firewall_model")
                .map(|one| one.map(|path| surroundings.absolute(path.as_ref()))),
            audit_log: values::boolean(&layers, "audit_log", true)?,
            audit_name: values::log_name(&layers)?,
            allow: values::lines(&layers, "allow"),
            cage_require: values::cage_layers(&layers)?,
            egress: values::destinations(&layers)?,
            egress_private: values::host_ports(&layers, "egress_private")?,
            public_url: values::web_address(&layers, "public_url")?,
            hosts: values::list(&layers, "hosts"),
            origins: values::origins(&layers)?,
            telemetry: telemetry::settings(&layers)?,
            url: layers.text("url"),
            token: layers.secret("token")?,
            shown: Vec::new(),
            data_dir,
            bind,
            no_auth,
            tz,
            policy,
            workspace,
            guard,
            warnings,
        };
        values::check_master_key(&config)?;
        values::check_planner(&config)?;
        let shown = shown::of(&config, &layers);
        Ok(Self { shown, ..config })
    }

    /// The socket of the server that works on this data directory.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.data_dir.value.join("are.sock")
    }

    /// Where sessions work that were given no workspace, when `ARE_WORKSPACE` is not set.
    #[must_use]
    pub fn fallback_workspace(&self) -> PathBuf {
        paths::fallback_workspace(&self.data_dir.value)
    }

    /// The model to use; `probe` is asked for a local Ollama's model only when nothing else was said.
    ///
    /// # Errors
    /// ARE-0004 to ARE-0007 when no model can be chosen.
    pub async fn choose_model<P: Future<Output = Option<String>>>(
        &self,
        probe: impl FnOnce() -> P,
    ) -> Result<Choice, Fault> {
        model::choose(self, probe).await
    }

    /// The model that a verb names for itself, `provider:model` or an alias of a local one.
    ///
    /// # Errors
    /// ARE-0002 to ARE-0006 when there is none of that name.
    pub fn model_named(&self, wish: &str) -> Result<Choice, Fault> {
        model::named(self, wish)
    }

    /// Refuses limits of money that nothing could be counted against.
    ///
    /// # Errors
    /// ARE-0715 when money is limited for the model that is used by default, and that has no price.
    pub fn check_prices(&self, model: &ModelInfo) -> Result<(), Fault> {
        let provider = model.name.split_once(':').map_or("", |(provider, _)| provider);
        match self.prices.of(model) {
            None if self.limits.limits_money(provider) => Err(prices::unknown(&model.name)),
            Some(_) | None => Ok(()),
        }
    }

    /// Protections that are off, for the ready line, `doctor` and the journal.
    #[must_use]
    pub fn off(&self) -> Vec<String> {
        let mut off = Vec::new();
        if self.policy.value.is_observe() {
            off.push("zero trust (policy `observe` only records what it would deny)".to_owned());
        }
        if !self.prompt_injection_defense.value {
            off.push(
                "prompt injection defense (what untrusted content may steer is asked about, not decided)".to_owned(),
            );
        }
        if !self.prompt_firewall.value {
            off.push("prompt firewall (prompts and results are not scanned for attacks)".to_owned());
        }
        if !self.audit_log.value {
            off.push("audit log (records are kept, but nothing is signed, proven or exported)".to_owned());
        }
        if self.no_auth.value {
            off.push("tokens (`--no-auth`: every local process may speak for you)".to_owned());
        }
        if !self.egress_private.value.is_empty() {
            off.push(format!("address guard for {}", self.egress_private.value.join(", ")));
        }
        off
    }
}

/// The prompt firewall with the weights that are set, whether or not it is switched on.
///
/// # Errors
/// ARE-0002 when the file holds no weights, ARE-0003 when it cannot be read.
pub fn firewall(config: &Config) -> Result<Firewall, Fault> {
    let own = |error| Fault::new(Code::INTERNAL, format!("the program's own weights: {error}"), "report this as a bug");
    let Some(setting) = &config.firewall_model else { return Firewall::new().map_err(own) };
    let bytes = files::read_weights(&setting.value)?;
    Firewall::with_model(bytes).map_err(|error| {
        Fault::new(
            Code::CONFIG_INVALID,
            format!(
                "`{}` is no file of weights for `firewall_model` (from {}): {error}",
                setting.value.display(),
                setting.origin
            ),
            "make one with `scripts/firewall/train.py`, or leave the setting out",
        )
    })
}

/// The log filter, which is needed before the rest is read; the file's one included.
#[must_use]
pub fn log_filter(surroundings: &Surroundings, config: Option<&Config>) -> Option<String> {
    let from_file = || config?.shown.iter().find(|shown| shown.name == "log")?.value.clone();
    surroundings.get("ARE_LOG").map(str::to_owned).or_else(from_file)
}

fn layered<'a>(surroundings: &'a Surroundings, flags: &Flags) -> Result<Layers<'a>, Fault> {
    let asked_for = flags.config.clone().or_else(|| surroundings.get("ARE_CONFIG").map(PathBuf::from));
    let file = match (&asked_for, paths::config_file(surroundings)) {
        (Some(path), _) => file::read(&surroundings.absolute(path), true)?,
        (None, Some(path)) => file::read(&path, false)?,
        (None, None) => file::FileLayer::default(),
    };
    let mut by_flag = BTreeMap::new();
    let mut put = |name, flag, text: Option<String>| {
        if let Some(text) = text {
            by_flag.insert(name, (flag, text));
        }
    };
    let path_text = |path: &PathBuf| path.to_str().map(str::to_owned);
    if let Some(path) = &flags.data_dir {
        let text = path_text(path).ok_or_else(|| {
            Fault::new(
                Code::DATA_DIR_UNUSABLE,
                "the data directory's name is not UTF-8",
                "choose another with `--data-dir DIR`",
            )
        })?;
        put("data_dir", "--data-dir", Some(text));
    }
    put("config", "--config", flags.config.as_ref().and_then(path_text));
    put("bind", "--bind", flags.bind.clone());
    put("bind", "--port", flags.port.map(|port| format!("localhost:{port}")));
    put("model", "--model", flags.model.clone());
    put("local_llm", "--local-llm", flags.local_llm.clone());
    put("no_auth", "--no-auth", flags.no_auth.then(|| "true".to_owned()));
    Ok(Layers { flags: by_flag, surroundings, file })
}

fn guard(surroundings: &Surroundings, data_dir: &std::path::Path, policy: &PolicyChoice) -> Guard {
    let mut kept_apart = vec![data_dir.to_owned()];
    kept_apart.extend(policy.directory().map(ToOwned::to_owned));
    Guard { home: surroundings.home(), kept_apart }
}

fn unknown_variables(surroundings: &Surroundings) -> Vec<String> {
    keys::unknown_variables(surroundings.env.keys().map(String::as_str))
        .into_iter()
        .map(|(name, nearest)| match nearest {
            Some(nearest) => format!("the variable `{name}` is unknown and ignored; did you mean `{nearest}`?"),
            None => format!("the variable `{name}` is unknown and ignored"),
        })
        .collect()
}

#[cfg(test)]
mod tests;

//! The composition root: the only place where store, models, tools, engine and
//! server meet.
//!
//! Starting waits for nothing that takes long: a local model loads while the
//! server is ready, providers are not called, no certificate is read. A store
//! that fails for good ends the process; it is never tried again.

mod agent_files;
mod clock;
pub mod commands;
mod master;
mod router;
mod rules;
mod tools;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use are_core::clock::Clock as _;
use are_core::error::{Code, Fault};
use are_core::model::Models;
use are_engine::adapt::Adaptive;
use are_engine::api::Agent;
use are_engine::context;
use are_engine::engine::{self, Engine, Ports, RuleKeeper, Settings};
use are_engine::observer::Observer;
use are_engine::secrets::Master;
use are_policy::manifest::ToolSet;
use are_policy::rules::Rules;
use are_policy::tools::Tools;
use are_store::sqlite::{OpenError, Options, Report, SqliteStore};
use are_tools::{HttpOptions, Registry, Resolver};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::audit::Auditor;
use crate::audit::keeper::Began;
use crate::client;
use crate::config::policy::Source;
use crate::config::{self, Config, Secret, agents, files, skills};
use crate::server::{self, Server};
use crate::telemetry::Telemetry;
use agent_files::AgentFiles;
pub use clock::SystemClock;
use router::Router;
use rules::RuleFiles;
use tools::ToolFiles;
use watch::Watch;

/// How long running turns may take to reach their last record when the process is asked to end.
const GRACE_MS: u64 = 10_000;
/// How long to wait for tasks when the store has failed: they cannot finish properly any more.
const ABANDON_TIME: Duration = Duration::from_secs(2);
/// Sessions in memory at once: a few KiB each when idle.
const SESSIONS_ACTIVE_MAX: usize = 10_000;
/// Marks a token, so that secret scanners and people know what it is.
const TOKEN_PREFIX: &str = "are_";

/// What a verb needs of an engine in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A model; without one there is no point in starting.
    Model,
    /// Only what is stored.
    Nothing,
}

/// What the ready line says.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Version of the program.
    pub version: &'static str,
    /// Where it serves over TCP.
    pub address: Option<String>,
    /// Where it serves this user.
    pub socket: String,
    /// The model used when nobody wishes for another.
    pub model: String,
    /// Profile of the policy.
    pub profile: String,
    /// Protections that are off.
    pub off: Vec<String>,
}

/// A running engine with its server.
pub struct Running {
    facts: Facts,
    engine: Engine,
    store: Arc<SqliteStore>,
    auditor: Option<Arc<Auditor>>,
    telemetry: Option<Arc<Telemetry>>,
    stop: CancellationToken,
    serving: AbortOnDropHandle<Result<(), Fault>>,
    watching: AbortOnDropHandle<()>,
}

impl Running {
    /// What the ready line says.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Resolves when it cannot go on: the store failed, or the server did.
    pub async fn failed(&mut self) -> Fault {
        tokio::select! {
            // Both only watch; nothing is lost when the other is first.
            reason = self.engine.failed() => store_failed(&reason),
            ended = &mut self.serving => match ended {
                Ok(Err(fault)) => fault,
                Ok(Ok(())) => Fault::new(Code::INTERNAL, "the server ended by itself", "see the log above, and start it again"),
                Err(error) => Fault::new(Code::INTERNAL, format!("the server ended: {error}"), "report this with the log above"),
            },
        }
    }

    /// Ends in order: no new turns, running ones at their last record, sockets closed, store closed.
    ///
    /// # Errors
    /// What went wrong on the way; the journal is whole all the same.
    pub async fn end(self) -> Result<(), Fault> {
        self.stop.cancel();
        let served = self.serving.await;
        if let Err(error) = self.watching.await {
            tracing::warn!(%error, "watching rules and tools failed");
        }
        drop(self.engine);
        // Last, so that it covers the engine's own end.
        if let Some(auditor) = &self.auditor
            && let Err(fault) = auditor.checkpoint().await
        {
            tracing::warn!(%fault, "no last checkpoint was signed");
        }
        // After the engine's end, which ends turns too.
        if let Some(telemetry) = self.telemetry {
            telemetry.end().await;
        }
        // A store that was closed by a failure said so already.
        if let Err(error) = self.store.close().await {
            tracing::warn!(%error, "the store was not closed in order");
            return Err(store_failed(&error.to_string()));
        }
        match served {
            Ok(ended) => ended,
            Err(error) => {
                Err(Fault::new(Code::INTERNAL, format!("the server ended: {error}"), "report this with the log above"))
            }
        }
    }

    /// Leaves everything as a crash would, but lets computing threads come to rest, for a short time.
    pub async fn abandon(self) {
        self.stop.cancel();
        let ending = async {
            // Serving stops the engine and tells the clients why, in this order; it may itself be what ended.
            if !self.serving.is_finished()
                && let Err(error) = self.serving.await
            {
                tracing::warn!(%error, "the server ended");
            }
            self.engine.shutdown(0).await;
        };
        if timeout(ABANDON_TIME, ending).await.is_err() {
            tracing::warn!("tasks were left behind");
        }
    }
}

/// Serves as configured.
///
/// # Errors
/// A setting, the data directory, the store or the address cannot be used.
pub async fn serve(config: &Config) -> Result<Running, Fault> {
    // A hang-up means to read the rules again; a verb at a terminal must still end with its terminal.
    let hangup =
        signal(SignalKind::hangup()).map_err(|error| Fault::new(Code::INTERNAL, error.to_string(), "report this"))?;
    start(config, Need::Model, bind_of(config), Some(hangup)).await
}

/// Runs the engine for one verb, serving the data directory's socket meanwhile.
///
/// # Errors
/// As [`serve`]; ARE-0102 when another process has the data directory.
pub async fn start_here(config: &Config, need: Need) -> Result<Running, Fault> {
    start(config, need, server::Bind::None, None).await
}

/// Opens and checks the store; for `doctor`.
///
/// # Errors
/// Why it cannot be opened or read.
pub async fn check_store(config: &Config) -> Result<Report, Fault> {
    let store = open(&config.data_dir.value).await?;
    let mut report = store.check().await.map_err(|error| store_failed(&error.to_string()))?;
    match engine::system_damage(&store).await {
        Ok(entries) if entries.is_empty() => {}
        Ok(entries) => report.damage.push(format!("payloads of the system session: entries {entries:?}")),
        Err(fault) => report.damage.push(format!("the system session: {}", fault.message)),
    }
    store.close().await.map_err(|error| store_failed(&error.to_string()))?;
    Ok(report)
}

async fn start(config: &Config, need: Need, bind: server::Bind, hangup: Option<Signal>) -> Result<Running, Fault> {
    let choice = match config.choose_model(client::ollama).await {
        Err(fault) if need == Need::Model => return Err(fault),
        choice => choice,
    };
    let data_dir = &config.data_dir.value;
    let mut loaded = agents::load(data_dir);
    loaded.tell();
    let skills = skills::list(data_dir);
    skills::tell(&skills, &mut loaded.agents);
    let has_skills = !skills.is_empty();
    let agents::Loaded { agents, problems, .. } = loaded;
    let cage = are_tools::cage::Report::examine(&commands::options(config)).await;
    let registry = commands::registry(config, &cage)?;
    // A tool that finds nothing only leads small models astray.
    let registry = if has_skills { registry.with_skills(data_dir.join("skills"))? } else { registry };
    let tools_dir = data_dir.join("tools");
    let registry = Arc::new(watch::blocking(move || registry.with_folder(tools_dir)).await??);
    let tools_seen = registry.fingerprint();
    let source = Source::of(&config.policy.value, config, &registry.snapshot())?;
    let files = source.read()?;
    let rules = source.build(&files)?;
    let router = Arc::new(Router::new(config, choice, Some(data_dir.join("cache/model")))?);
    if need == Need::Model
        && let Ok(model) = router.resolve(None)
    {
        config.check_prices(&model)?;
    }
    if need == Need::Model {
        let main = agents.get(&agents::main_name()?);
        // The opening holds the date of the machine's clock, as turns do.
        let opening = || main.map(|agent| context::opening(agent, &config.tz.value, SystemClock.now_ms()));
        router.wake(opening, &registry.snapshot());
    }
    files::make_data_dir(data_dir)?;
    let store = Arc::new(open(data_dir).await?);
    let admin_token = admin_token(config)?;
    let auditor = auditor(config, &store)?;
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION"),
        address: None,
        socket: config.socket().display().to_string(),
        model: router.default_name(),
        profile: rules.profile().to_string(),
        off: commands::off(config, &cage),
    };
    let settings = door_settings(config, bind, &admin_token, &facts, auditor.clone());
    let telemetry = config.telemetry.as_ref().map(Telemetry::start).transpose()?;
    let door = Server::bind(server::Settings { skills, telemetry: telemetry.clone(), ..settings }).await?;
    let adaptive = Adaptive { is_default: config.adaptive.value, tiers: router.tiers() };
    let ports = Ports { store: store.clone(), models: router, tools: registry.clone(), clock: Arc::new(SystemClock) };
    let settings = engine_settings(config, rules, agents, &admin_token)?;
    let master = master::find(config, store.id()).await;
    let settings = Settings {
        rule_keeper: rule_keeper(&source),
        adaptive,
        off: facts.off.clone(),
        secrets: settings.secrets.into_iter().chain(master.keys.iter().map(|key| key.to_text().to_string())).collect(),
        master,
        ..settings
    };
    let agents = settings.agents.clone();
    let observers = telemetry.iter().map(|telemetry| Arc::clone(telemetry) as Arc<dyn Observer>).collect();
    let engine = Engine::start_observed(ports, settings, observers).await?;
    registry.entrust(engine.operator_secrets());
    if !problems.is_empty() {
        engine.set_agents(agents, problems).await?;
    }
    if let Some(auditor) = &auditor {
        begin_audit(&engine, auditor).await?;
    }
    let address = address_of(config, &door);
    let stop = CancellationToken::new();
    let serving = AbortOnDropHandle::new(tokio::spawn(Box::pin(door.serve(engine.clone(), stop.clone()))));
    let rules = Watch::new(RuleFiles::new(engine.clone(), source, files), None).run(stop.clone(), hangup);
    let tools = Watch::new(ToolFiles::new(engine.clone(), registry), Some(tools_seen)).run(stop.clone(), None);
    let agents = AgentFiles::new(engine.clone(), data_dir.clone(), has_skills);
    let agents = Watch::new(agents, None).run(stop.clone(), None);
    let growing = auditor.clone().map(|auditor| auditor.run(stop.clone()));
    let watching = AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::join!(rules, tools, agents, async {
            if let Some(growing) = growing {
                growing.await;
            }
        });
    }));
    Ok(Running { facts: Facts { address, ..facts }, engine, store, auditor, telemetry, stop, serving, watching })
}

/// The keeper of the log, unless auditing is off.
fn auditor(config: &Config, store: &Arc<SqliteStore>) -> Result<Option<Arc<Auditor>>, Fault> {
    if !config.audit_log.value {
        return Ok(None);
    }
    let name = config.audit_name.as_ref().map_or_else(|| store.id().to_string(), |name| name.value.clone());
    let auditor = Auditor::open(config.data_dir.value.clone(), &name, Arc::clone(store) as _, Arc::new(SystemClock))?;
    Ok(Some(Arc::new(auditor)))
}

/// Has a new key recorded, and finishes what a crash interrupted.
async fn begin_audit(engine: &Engine, auditor: &Auditor) -> Result<(), Fault> {
    let vkey = auditor.verifiers().texts().next().unwrap_or_default().to_owned();
    match auditor.begin(engine.signing_key().as_deref()).await {
        Ok(Began::Known | Began::Finished) => Ok(()),
        Ok(Began::New { lost }) => {
            if lost.is_some() {
                tracing::warn!("the key that signed checkpoints is gone; a new one was made, and its loss is recorded");
            }
            engine.note_signing_key(vkey, lost).await
        }
        // The agents' work does not wait for its proofs.
        Err(fault) if fault.code == Code::AUDIT_BROKEN => {
            tracing::error!(%fault, "the log of audit is not what was signed");
            Ok(())
        }
        Err(fault) => Err(fault),
    }
}

/// Adds a rule beside the others, where that can be done.
fn rule_keeper(source: &Source) -> Option<RuleKeeper> {
    if let Err(why) = source.can_keep() {
        tracing::warn!(why, "`allow_always` is not offered");
        return None;
    }
    let source = source.clone();
    Some(Arc::new(move |rule: String| {
        let source = source.clone();
        Box::pin(async move { watch::blocking(move || source.keep(&rule)).await? })
    }))
}

async fn open(data_dir: &Path) -> Result<SqliteStore, Fault> {
    let dir = data_dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&dir, &Options::default())).await;
    match opened {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(error)) => Err(open_fault(&error)),
        Err(_panicked) => Err(store_failed("opening it ended in a panic")),
    }
}

/// What each way of failing means to the person at the terminal.
fn open_fault(error: &OpenError) -> Fault {
    let help = match error.code() {
        Code::DATA_DIR_LOCKED => "use the server that runs there, or choose another directory with `--data-dir DIR`",
        Code::STORE_MISMATCH => {
            "restore identity and database from one backup, or choose an empty directory with `--data-dir DIR`"
        }
        Code::STORE_TOO_NEW => "start the newer version, or choose another directory with `--data-dir DIR`",
        Code::STORE_FULL => "free some space and start again; what is stored is safe",
        Code::DATA_DIR_UNUSABLE => "mend its permissions, or choose another directory with `--data-dir DIR`",
        _ => "look at the disk, then restore the last backup if the file is damaged",
    };
    Fault::new(error.code(), format!("cannot open the store: {error}"), help)
}

fn store_failed(reason: &str) -> Fault {
    Fault::new(
        Code::STORE_FAILED,
        format!("the store failed: {reason}"),
        "look at the disk, then start again; acknowledged turns go on from their last record",
    )
}

/// Models to ask without an engine, the one that `wish` names being the default.
///
/// # Errors
/// There is no such model, or it is a local one that was not fetched.
pub fn models(config: &Config, wish: &str) -> Result<Box<dyn Models>, Fault> {
    Ok(Box::new(Router::new(config, Ok(config.model_named(wish)?), None)?))
}

/// A local model alone: an alias, or the absolute path of a GGUF file.
///
/// # Errors
/// ARE-0006 for an unknown name, ARE-0410 or ARE-0411 for a file that is missing or wrong.
pub fn local_model(config: &Config, wish: &str) -> Result<Box<dyn Models>, Fault> {
    let model = config::LocalModel { wish: wish.to_owned() };
    Ok(Box::new(Router::new(config, Ok(config::Choice::local(model)), None)?))
}

/// The tools that would be served, without serving them.
///
/// # Errors
/// A setting of theirs is invalid.
pub fn tool_set(config: &Config) -> Result<Arc<ToolSet>, Fault> {
    Ok(presumed(config)?.snapshot())
}

/// The file of the data directory that a tool would come from.
///
/// # Errors
/// A setting of the tools is invalid.
pub fn tool_file(config: &Config, tool: &str) -> Result<Option<String>, Fault> {
    Ok(presumed(config)?.shelf().and_then(|shelf| shelf.file_of(tool)))
}

/// The tools as they would be served, without finding out what holds here.
fn presumed(config: &Config) -> Result<Registry, Fault> {
    let options = commands::options(config);
    // Rules may speak of commands before a server has found out whether they are served.
    let report = are_tools::cage::Report::remembered(&options).unwrap_or_else(are_tools::cage::Report::presumed);
    builtin(config)?.caged(options, &report)?.with_folder(config.data_dir.value.join("tools"))
}

fn builtin(config: &Config) -> Result<Registry, Fault> {
    Registry::compiling(http_options(config)?, Some(config.data_dir.value.join("cache/code")))
}

fn http_options(config: &Config) -> Result<HttpOptions, Fault> {
    let text = config.egress_private.value.join(",");
    let grants = text.parse().map_err(|error: are_policy::address::InvalidGrant| {
        Fault::new(
            Code::CONFIG_INVALID,
            format!("`egress_private` (from {}): {error}", config.egress_private.origin),
            "write for example `127.0.0.1:5432,db.internal:5432`",
        )
    })?;
    Ok(HttpOptions { grants, resolver: Resolver::System })
}

/// The given token, or the data directory's own, made at its first start.
fn admin_token(config: &Config) -> Result<Secret, Fault> {
    if let Some(token) = &config.admin_token {
        return Ok(token.value.clone());
    }
    files::admin_token(&config.data_dir.value, || {
        let mut random = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(random.as_mut_slice()).map_err(|error| {
            Fault::new(Code::DATA_DIR_UNUSABLE, format!("no randomness for a token: {error}"), "report this")
        })?;
        Ok(Secret::new(&format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(*random))))
    })
}

fn engine_settings(
    config: &Config,
    rules: Rules,
    agents: BTreeMap<are_core::ids::AgentName, Agent>,
    admin_token: &Secret,
) -> Result<Settings, Fault> {
    let keys = config.providers.values().filter_map(|provider| provider.key.as_ref()).map(|key| &key.value);
    let secrets = keys.chain([admin_token]).map(|secret| secret.expose().to_owned());
    let secrets = secrets.chain(config.telemetry.iter().flat_map(config::telemetry::Settings::secrets)).collect();
    let guard = config.guard.clone();
    let default_workspace = match &config.workspace {
        Some(workspace) => workspace.value.clone(),
        None => {
            let path = config.fallback_workspace();
            files::make_workspace(&path)?;
            path
        }
    };
    Ok(Settings {
        rules: rules.into(),
        rule_keeper: None,
        agents,
        default_agent: agents::main_name()?,
        default_workspace: Some(default_workspace.clone()),
        workspace_guard: Arc::new(move |path: &Path| {
            if path.parent() != Some(default_workspace.as_path()) {
                return guard.check(path).map(|_| ());
            }
            // An account's own directory is made when its first session begins.
            files::make_workspace(path)?;
            let (found, below) = (guard.check(path)?, guard.check(&default_workspace)?);
            own_directory(path, &found, &below)
        }),
        operator: server::admin_account()?,
        secrets,
        master: Master::none(),
        log: config.log.clone(),
        tz: config.tz.value.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config: config::shown_object(&config.shown),
        off: config.off(),
        firewall: match config.prompt_firewall.value {
            true => Some(Arc::new(config::firewall(config)?)),
            false => None,
        },
        response_cache: config.response_cache.value,
        compaction: config.compaction.value,
        adaptive: Adaptive::default(),
        plans: config.planner.value == config::Planner::Model,
        sessions_active_max: SESSIONS_ACTIVE_MAX,
        limits: config.limits.clone(),
        prices: config.prices.clone(),
    })
}

/// SECURITY: whoever can write where the accounts' directories are must not be able to lead one account's sessions
/// into another's directory, or out of there, by a link.
fn own_directory(path: &Path, found: &Path, below: &Path) -> Result<(), Fault> {
    if found.parent() == Some(below) && found.file_name() == path.file_name() {
        return Ok(());
    }
    Err(Fault::new(
        Code::WORKSPACE_REFUSED,
        format!("`{}` leads to another directory", path.display()),
        "remove the link: an account's directory is made when its first session begins",
    ))
}

fn door_settings(
    config: &Config,
    bind: server::Bind,
    admin_token: &Secret,
    facts: &Facts,
    auditor: Option<Arc<Auditor>>,
) -> server::Settings {
    let shown = config.shown.iter().map(|one| (one.name.clone(), json!({"value": one.value, "origin": one.origin})));
    server::Settings {
        bind,
        socket: Some(config.socket()),
        admin_token: admin_token.digest(),
        no_auth: config.no_auth.value,
        hosts: config.hosts.value.clone(),
        origins: config.origins.value.clone(),
        public_url: config.public_url.as_ref().map(|url| url.value.to_string()),
        workspace_fixed: config.workspace.is_some(),
        status: json!({
            "version": facts.version,
            "model": facts.model,
            "profile": facts.profile,
            "off": facts.off,
        }),
        config: serde_json::Value::Object(shown.collect()),
        skills: Vec::new(),
        grace_ms: GRACE_MS,
        auditor,
        telemetry: None,
        clock: Arc::new(SystemClock),
    }
}

fn bind_of(config: &Config) -> server::Bind {
    let bind = &config.bind.value;
    match bind.host() {
        None => server::Bind::Loopback { port: bind.port() },
        Some(host) => server::Bind::Addresses(vec![(host, bind.port()).into()]),
    }
}

/// The address as a person would type it.
fn address_of(config: &Config, door: &Server) -> Option<String> {
    let first = door.addresses().first()?;
    Some(match (&config.public_url, config.bind.value.host()) {
        (Some(url), _) => url.value.to_string(),
        (None, None) => format!("http://localhost:{}", first.port()),
        (None, Some(_)) => format!("http://{first}"),
    })
}

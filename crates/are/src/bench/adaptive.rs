//! Whether adaptive turns help: fixed tasks with local models, by fixed strategies and by the adaptive one.
//!
//! Every task is a turn of a session of its own in a workspace of its own, through the door that any client has, and
//! code decides whether it was done: by the answer and by the files that are there afterwards. What is compared is the
//! share of tasks done, tokens and time, each with an interval. Runs are kept as they come, so that a long measurement
//! can be made in pieces.

mod place;
mod summary;
mod tasks;

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use are_core::error::{Code, Fault};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::process::Begun;
use super::wire::{Protocol, Wire, lost};
use place::Place;
pub use summary::{Because, Estimate, Row, Versus};
use tasks::{Filled, Task};

/// Seconds that a turn may take; one that takes longer is stopped, and its task is not done.
const TURN_TIME: Duration = Duration::from_secs(120);
/// Seconds that a model may take to be loaded and to read what all prompts begin with, before the clock starts.
const WARM_UP_TIME: Duration = Duration::from_secs(600);
/// How long the end of a stopped turn is waited for.
const STOP_TIME: Duration = Duration::from_secs(30);
/// Temperature of the strategy that has one.
const WARM: f64 = 0.7;
/// Models where no tiers are set up.
const TIERS: [&str; 2] = ["local:small", "local:medium"];

/// How turns are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The cheapest model, as it is.
    Lowest,
    /// The cheapest model, at a temperature.
    Warm,
    /// The ablest model, as it is.
    Highest,
    /// The runtime chooses.
    Adaptive,
}

impl Strategy {
    /// Those that are compared when nobody says otherwise.
    pub const USUAL: [Self; 4] = [Self::Lowest, Self::Warm, Self::Highest, Self::Adaptive];

    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lowest => "lowest",
            Self::Warm => "warm",
            Self::Highest => "highest",
            Self::Adaptive => "adaptive",
        }
    }
}

/// No strategy is called so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("strategies are `lowest`, `warm`, `highest` and `adaptive`")]
pub struct UnknownStrategy;

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        Self::USUAL.into_iter().find(|strategy| strategy.word() == text).ok_or(UnknownStrategy)
    }
}

/// What is measured.
pub struct Plan<'a> {
    /// Where servers, workspaces and results are kept.
    pub dir: &'a Path,
    /// The tasks, as JSON lines.
    pub data: &'a str,
    /// How many of them, from the first on.
    pub tasks: usize,
    /// How many variants of each, which are asked with seeds of their own.
    pub seeds: usize,
    /// How turns are asked.
    pub strategies: &'a [Strategy],
    /// Models from cheap to able; the usual ones when empty.
    pub tiers: &'a [String],
}

/// What one run came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// How it was asked.
    pub strategy: Strategy,
    /// Name of the task.
    pub task: String,
    /// What the task is about.
    pub kind: String,
    /// The variant.
    pub seed: usize,
    /// True when the task was done.
    pub done: bool,
    /// What was missing; empty when it was done.
    pub missing: String,
    /// Tokens read and written by models.
    pub tokens: u64,
    /// Of these, tokens read that were not computed again.
    pub cached_tokens: u64,
    /// Milliseconds from the prompt to the end of the turn.
    pub ms: u64,
    /// Requests to models.
    pub requests: u32,
    /// Models asked, in their order, each once.
    pub models: Vec<String>,
    /// Reasons of the strategies announced.
    pub reasons: Vec<String>,
}

/// What all runs came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// One a strategy.
    pub rows: Vec<Row>,
    /// The adaptive strategy beside each other one, over the tasks that both have played.
    pub beside: Vec<Versus>,
}

/// Plays what was not played before, and sums up all that is kept in the directory.
///
/// # Errors
/// The tasks cannot be read, the directory cannot be used, or the server does not start or is lost.
pub async fn measure(plan: &Plan<'_>) -> Result<(Vec<Run>, Report), Fault> {
    let tasks = Task::parse(plan.data)?;
    let usual = TIERS.map(str::to_owned);
    let tiers = if plan.tiers.is_empty() { &usual[..] } else { plan.tiers };
    let place = Place::open(plan.dir, tiers, plan.data)?;
    let mut runs: Vec<Run> = place.runs()?;
    let mut missing = Vec::new();
    for strategy in plan.strategies {
        for task in tasks.iter().take(plan.tasks) {
            for seed in 0..plan.seeds.min(task.variants()) {
                let is_played = |run: &Run| (run.strategy, &run.task, run.seed) == (*strategy, &task.id, seed);
                if !runs.iter().any(is_played) {
                    missing.push((*strategy, task, seed));
                }
            }
        }
    }
    if !missing.is_empty() {
        let server = begin(plan.dir, tiers).await?;
        for model in tiers {
            warm_up(&server, &place, model).await?;
        }
        for (strategy, task, seed) in missing {
            let run = play(&server, &place, tiers, (strategy, task, seed)).await?;
            tracing::info!(strategy = strategy.word(), task = run.task, seed, done = run.done, ms = run.ms, "played");
            place.keep(&run)?;
            runs.push(run);
        }
        server.terminate().await?;
    }
    let report = summary::of(&runs);
    Ok((runs, report))
}

/// A server whose sessions work where they are told, in the profile that lets agents work by themselves.
async fn begin(dir: &Path, tiers: &[String]) -> Result<Begun, Fault> {
    // One alone is no choice.
    let list = if tiers.len() > 1 { tiers.join(",") } else { String::new() };
    let first = tiers.first().ok_or_else(|| lost("there is no model"))?;
    let variables = [
        ("ARE_MODEL", first.as_str()),
        ("ARE_TIERS", list.as_str()),
        ("ARE_ADAPTIVE", "false"),
        ("ARE_POLICY", "contained"),
        ("ARE_AUDIT_LOG", "false"),
        // An empty variable counts as unset.
        ("ARE_LOCAL_LLM", ""),
        ("ARE_WORKSPACE", ""),
        ("ARE_RESPONSE_CACHE", ""),
    ];
    Begun::start_with(&dir.join("data"), &variables).await
}

/// A turn that is not counted: loading a model and reading the tools is not what strategies differ in.
async fn warm_up(server: &Begun, place: &Place, model: &str) -> Result<(), Fault> {
    let workspace = place.workspace("warm-up", &BTreeMap::new())?;
    let mut wire = attached(server, &workspace).await?;
    wire.send(&json!({"type": "prompt", "content": "Say hello.", "model": model})).await?;
    let begun = Instant::now();
    while let Some(left) = WARM_UP_TIME.checked_sub(begun.elapsed()) {
        let Some(event) = wire.heard(left).await? else { break };
        match event["type"].as_str().unwrap_or_default() {
            "turn_completed" => return Ok(()),
            "turn_failed" | "error" => return Err(lost(&format!("`{model}` does not answer: {event}"))),
            _ => {}
        }
    }
    Err(lost(&format!("`{model}` does not answer in time")))
}

/// A socket that follows a new session in a workspace.
async fn attached(server: &Begun, workspace: &Path) -> Result<Wire, Fault> {
    let mut wire = Wire::open(&server.door, Protocol::V2).await?;
    wire.send(&json!({"type": "attach", "session": "new", "workspace": workspace, "headless": true})).await?;
    wire.until(&["attached"]).await?;
    Ok(wire)
}

async fn play(
    server: &Begun,
    place: &Place,
    tiers: &[String],
    (strategy, task, seed): (Strategy, &Task, usize),
) -> Result<Run, Fault> {
    let filled = task.filled(seed)?;
    let workspace = place.workspace(&format!("{}-{}-{seed}", strategy.word(), task.id), &filled.files)?;
    let mut wire = attached(server, &workspace).await?;
    let mut prompt = json!({"type": "prompt", "content": filled.prompt, "seed": seed + 1});
    match strategy {
        Strategy::Lowest => prompt["model"] = json!(tiers.first()),
        Strategy::Warm => {
            prompt["model"] = json!(tiers.first());
            prompt["temperature"] = json!(WARM);
        }
        Strategy::Highest => prompt["model"] = json!(tiers.last()),
        Strategy::Adaptive => prompt["adaptive"] = json!(true),
    }
    let begun = Instant::now();
    wire.send(&prompt).await?;
    let mut turn = Played::default();
    let is_whole = turn.follow(&mut wire, &filled, begun).await?;
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let missing = match is_whole {
        true => filled.missing(&turn.answer, |path| place.read(&workspace, path)),
        false => Some(format!("the turn did not complete: {}", turn.end)),
    };
    Ok(Run {
        strategy,
        task: task.id.clone(),
        kind: task.kind.clone(),
        seed,
        done: missing.is_none(),
        missing: missing.unwrap_or_default(),
        tokens: turn.tokens,
        cached_tokens: turn.cached_tokens,
        ms,
        requests: turn.requests,
        models: turn.models,
        reasons: turn.reasons,
    })
}

/// What a client sees of a turn.
#[derive(Default)]
struct Played {
    /// What the last request to a model was answered with.
    answer: String,
    tokens: u64,
    cached_tokens: u64,
    requests: u32,
    models: Vec<String>,
    reasons: Vec<String>,
    /// The event that ended it.
    end: String,
}

impl Played {
    /// Follows a turn to its end; false when it did not complete.
    async fn follow(&mut self, wire: &mut Wire, task: &Filled, begun: Instant) -> Result<bool, Fault> {
        let mut steer = task.steer.as_deref();
        loop {
            let Some(left) = TURN_TIME.checked_sub(begun.elapsed()) else { return self.stop(wire).await };
            let Some(event) = wire.heard(left).await? else { return self.stop(wire).await };
            if let Some(parts) = event.as_array() {
                self.answer.extend(parts.last().and_then(Value::as_str));
                continue;
            }
            self.take(&event);
            match event["type"].as_str().unwrap_or_default() {
                // While the model reads: a wish that changes in the middle of the turn.
                "model_requested" => {
                    if let Some(words) = steer.take() {
                        wire.send(&json!({"type": "steer", "turn": 1, "content": words})).await?;
                    }
                }
                "turn_completed" => return Ok(true),
                "turn_failed" | "turn_cancelled" => return Ok(false),
                "error" => return Err(lost(event["message"].as_str().unwrap_or_default())),
                _ => {}
            }
        }
    }

    /// Stops a turn that takes too long.
    async fn stop(&mut self, wire: &mut Wire) -> Result<bool, Fault> {
        wire.send(&json!({"type": "cancel", "turn": 1})).await?;
        let begun = Instant::now();
        while let Some(left) = STOP_TIME.checked_sub(begun.elapsed()) {
            match wire.heard(left).await? {
                // It may have ended by itself just now; it was too late all the same.
                Some(event)
                    if ["turn_cancelled", "turn_completed", "turn_failed"].iter().any(|end| event["type"] == *end) =>
                {
                    break;
                }
                Some(event) => self.take(&event),
                None => return Err(lost("a turn cannot be stopped")),
            }
        }
        "it took too long".clone_into(&mut self.end);
        Ok(false)
    }

    fn take(&mut self, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "model_requested" => {
                self.answer.clear();
                self.requests += 1;
                let model = event["model"].as_str().unwrap_or_default();
                if self.models.iter().all(|known| known != model) {
                    self.models.push(model.to_owned());
                }
            }
            "model_restarted" => self.answer.clear(),
            "model_completed" => {
                let count = |name: &str| event["usage"][name].as_u64().unwrap_or(0);
                self.tokens += count("input_tokens") + count("output_tokens");
                self.cached_tokens += count("cached_tokens");
            }
            "strategy" => {
                let reasons = event["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
                self.reasons.extend(reasons.map(str::to_owned));
            }
            "turn_failed" => self.end = event["error"]["message"].as_str().unwrap_or("it failed").to_owned(),
            "turn_cancelled" => "it was cancelled".clone_into(&mut self.end),
            _ => {}
        }
    }
}

fn unreadable(what: &str) -> Fault {
    Fault::new(Code::CONFIG_UNREADABLE, what, "see `bench/adaptive/README.md` for what a task is")
}

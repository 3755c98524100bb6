//! Figures of a running server in the text format of OpenMetrics, which Prometheus reads.
//!
//! They are counted from the entries of journals as these are stored, so they
//! say what sessions have, and nothing is counted that did not happen. Labels
//! are few and known: no account, session, tool or file. Whoever may read them
//! needs no token, so they show no data.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use are_core::body::{Answer, Body, Effect, Outcome};
use are_core::ids::{CallNo, SessionKey};
use are_core::journal::{Entry, Frame, Record};
use are_core::model::Usage;
use are_engine::observer::Observer;
use are_engine::state::State;
use are_policy::rules::effect_word;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::config::files::process_file;
use crate::telemetry::Telemetry;

/// Things that go on at once and are timed; what begins beyond that is counted and not timed.
const TIMED_MAX: usize = 16 << 10;
/// Upper ends of the buckets of durations, in seconds.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];
/// Providers told apart: as many as anybody configures.
const PROVIDERS_MAX: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Provider {
    provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    provider: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolEnded {
    effect: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByEffect {
    effect: &'static str,
}

type Timings<L> = Family<L, Histogram, fn() -> Histogram>;

/// The figures.
pub struct Metrics {
    registry: Registry,
    turns: Family<Ended, Counter>,
    turn_seconds: Histogram,
    asked: Family<Provider, Counter>,
    answers: Family<Provider, Counter>,
    restarts: Counter,
    failed: Counter,
    model_seconds: Timings<Provider>,
    first_token_seconds: Timings<Provider>,
    tokens: Family<Tokens, Counter>,
    decisions: Family<Ended, Counter>,
    approvals: Family<Ended, Counter>,
    tools: Family<ToolEnded, Counter>,
    tool_seconds: Timings<ByEffect>,
    findings: Family<Ended, Counter>,
    resumed: Counter,
    records: Counter,
    frames: Counter,
    bytes: Counter,
    going_on: Mutex<GoingOn>,
}

/// What has begun and not ended, and the names that were seen.
#[derive(Default)]
struct GoingOn {
    providers: BTreeSet<String>,
    turns: HashMap<SessionKey, Instant>,
    models: HashMap<SessionKey, Asked>,
    tools: HashMap<(SessionKey, CallNo), (Instant, Effect)>,
}

struct Asked {
    at: Instant,
    provider: String,
    has_answered: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All figures at nothing.
    #[must_use]
    pub fn new() -> Self {
        let timings = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Registry::with_prefix("are"),
            turns: Family::default(),
            turn_seconds: timings(),
            asked: Family::default(),
            answers: Family::default(),
            restarts: Counter::default(),
            failed: Counter::default(),
            model_seconds: Family::new_with_constructor(timings as fn() -> Histogram),
            first_token_seconds: Family::new_with_constructor(timings as fn() -> Histogram),
            tokens: Family::default(),
            decisions: Family::default(),
            approvals: Family::default(),
            tools: Family::default(),
            tool_seconds: Family::new_with_constructor(timings as fn() -> Histogram),
            findings: Family::default(),
            resumed: Counter::default(),
            records: Counter::default(),
            frames: Counter::default(),
            bytes: Counter::default(),
            going_on: Mutex::default(),
        };
        let of = &mut metrics.registry;
        of.register("turns", "Turns that ended", metrics.turns.clone());
        of.register_with_unit("turn", "From a prompt to its end", Unit::Seconds, metrics.turn_seconds.clone());
        of.register("model_requests", "Requests to models", metrics.asked.clone());
        of.register("model_answers", "Whole answers of models", metrics.answers.clone());
        of.register("model_restarts", "Requests made again after one broke off", metrics.restarts.clone());
        of.register("model_failures", "Requests that another model was asked after", metrics.failed.clone());
        let help = "From a request to the whole answer";
        of.register_with_unit("model", help, Unit::Seconds, metrics.model_seconds.clone());
        let help = "From a request to the first piece of its answer";
        of.register_with_unit("model_first_token", help, Unit::Seconds, metrics.first_token_seconds.clone());
        of.register("tokens", "Tokens that models read and wrote", metrics.tokens.clone());
        of.register("decisions", "Decisions of the gate", metrics.decisions.clone());
        of.register("approvals", "Answers to what was asked", metrics.approvals.clone());
        of.register("tool_calls", "Calls that ended", metrics.tools.clone());
        let help = "From a call's start to its end";
        of.register_with_unit("tool", help, Unit::Seconds, metrics.tool_seconds.clone());
        of.register("firewall_findings", "Texts that the prompt firewall found something in", metrics.findings.clone());
        of.register("turns_resumed", "Turns that went on after a restart", metrics.resumed.clone());
        of.register("journal_records", "Records stored", metrics.records.clone());
        of.register("journal_frames", "Frames stored", metrics.frames.clone());
        of.register_with_unit("journal", "Bytes of rows stored", Unit::Bytes, metrics.bytes.clone());
        metrics
    }

    /// Shows also how spans fare.
    pub fn watch(&mut self, telemetry: &Telemetry) {
        let help = "Spans that were exported, failed or dropped";
        self.registry.register("telemetry_spans", help, telemetry.counts());
    }

    /// The figures, and `gauges` (name, help, value) beside them, as a page of the text format.
    #[must_use]
    pub fn page(&self, gauges: &[(&str, &str, u64)]) -> String {
        let mut page = String::new();
        let running = self.lock().turns.len() as u64;
        let own = [("are_turns_running", "Turns that go on now", running)];
        // Writing to a `String` does not fail.
        for (name, help, value) in own.iter().chain(gauges).chain(&process()) {
            let _written = writeln!(page, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}");
        }
        let _written = text::encode(&mut page, &self.registry);
        page
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, GoingOn> {
        self.going_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, going_on: &mut GoingOn, session: SessionKey, record: &Record, now: Instant) {
        self.records.inc();
        match &record.body {
            Body::TurnStarted { .. } if going_on.turns.len() < TIMED_MAX => {
                going_on.turns.entry(session).or_insert(now);
            }
            Body::TurnResumed { .. } => {
                self.resumed.inc();
                if going_on.turns.len() < TIMED_MAX {
                    going_on.turns.entry(session).or_insert(now);
                }
            }
            Body::TurnCompleted { .. } => self.ended(going_on, session, "completed", now),
            Body::TurnFailed { .. } => self.ended(going_on, session, "failed", now),
            Body::TurnCancelled { .. } => self.ended(going_on, session, "cancelled", now),
            Body::ModelRequested { model, .. } | Body::CompactionRequested { model, .. } => {
                let provider = model.split_once(':').map_or(model.as_str(), |(provider, _)| provider);
                if going_on.providers.len() < PROVIDERS_MAX {
                    going_on.providers.insert(provider.to_owned());
                }
                let is_known = going_on.providers.contains(provider);
                let provider = if is_known { provider } else { "other" }.to_owned();
                self.asked.get_or_create(&Provider { provider: provider.clone() }).inc();
                if going_on.models.len() < TIMED_MAX {
                    going_on.models.insert(session, Asked { at: now, provider, has_answered: false });
                }
            }
            Body::ModelRestarted { .. } => {
                self.restarts.inc();
            }
            Body::ModelFailed { .. } | Body::CompactionFailed { .. } => {
                self.failed.inc();
                going_on.models.remove(&session);
            }
            // Nobody was asked.
            Body::ModelCompleted { cached: true, .. } => {
                going_on.models.remove(&session);
            }
            // A planner that could not be had.
            Body::Planned { usage: None, .. } => {
                going_on.models.remove(&session);
            }
            Body::ModelCompleted { usage, .. }
            | Body::Compacted { usage, .. }
            | Body::Planned { usage: Some(usage), .. } => {
                if let Some(asked) = going_on.models.remove(&session) {
                    self.answered(asked, usage, now);
                }
            }
            Body::Decision { decision, .. } => {
                let outcome = match decision {
                    Outcome::Allow => "allow",
                    Outcome::Ask => "ask",
                    Outcome::Deny => "deny",
                };
                self.decisions.get_or_create(&Ended { outcome }).inc();
            }
            Body::ApprovalResolved { decision, .. } => {
                let outcome = if *decision == Answer::Deny { "deny" } else { "allow" };
                self.approvals.get_or_create(&Ended { outcome }).inc();
            }
            Body::ToolStarted { call, effect, .. } if going_on.tools.len() < TIMED_MAX => {
                going_on.tools.insert((session, *call), (now, *effect));
            }
            Body::ToolCompleted { call, .. } => self.ran(going_on, (session, *call), "completed", now),
            Body::ToolFailed { call, .. } => self.ran(going_on, (session, *call), "failed", now),
            Body::ToolUnknown { call, .. } => self.ran(going_on, (session, *call), "unknown", now),
            Body::Firewall { verdict, .. } => {
                let outcome = if verdict == "refused" { "refused" } else { "flagged" };
                self.findings.get_or_create(&Ended { outcome }).inc();
            }
            _ => {}
        }
    }

    fn ended(&self, going_on: &mut GoingOn, session: SessionKey, outcome: &'static str, now: Instant) {
        self.turns.get_or_create(&Ended { outcome }).inc();
        if let Some(at) = going_on.turns.remove(&session) {
            self.turn_seconds.observe(seconds(now, at));
        }
        // What the turn had begun ended with it.
        going_on.models.remove(&session);
        going_on.tools.retain(|(of, _), _| *of != session);
    }

    fn answered(&self, asked: Asked, usage: &Usage, now: Instant) {
        let Asked { at, provider, .. } = asked;
        for (kind, count) in
            [("input", usage.input_tokens), ("cached", usage.cached_tokens), ("output", usage.output_tokens)]
        {
            self.tokens.get_or_create(&Tokens { provider: provider.clone(), kind }).inc_by(count);
        }
        let of = Provider { provider };
        self.answers.get_or_create(&of).inc();
        self.model_seconds.get_or_create(&of).observe(seconds(now, at));
    }

    fn ran(&self, going_on: &mut GoingOn, call: (SessionKey, CallNo), outcome: &'static str, now: Instant) {
        // What never started was denied or could not be tried.
        let Some((at, effect)) = going_on.tools.remove(&call) else { return };
        let effect = effect_word(effect);
        self.tools.get_or_create(&ToolEnded { effect, outcome }).inc();
        self.tool_seconds.get_or_create(&ByEffect { effect }).observe(seconds(now, at));
    }
}

impl Observer for Metrics {
    fn stored(&self, session: SessionKey, _: &State, entries: &[(usize, Entry)]) {
        let now = Instant::now();
        // PERF: once for all of them, because tokens come in great numbers.
        let mut going_on = self.lock();
        for (bytes, entry) in entries {
            self.bytes.inc_by(*bytes as u64);
            match entry {
                Entry::Record(record, _) => self.record(&mut going_on, session, record, now),
                Entry::Frame(_, frame) => {
                    self.frames.inc();
                    if !matches!(frame, Frame::Token { .. } | Frame::Reasoning { .. }) {
                        continue;
                    }
                    let Some(asked) = going_on.models.get_mut(&session).filter(|asked| !asked.has_answered) else {
                        continue;
                    };
                    asked.has_answered = true;
                    let of = Provider { provider: asked.provider.clone() };
                    self.first_token_seconds.get_or_create(&of).observe(seconds(now, asked.at));
                }
            }
        }
    }
}

/// What this process takes of the machine; nothing where `/proc` does not tell.
fn process() -> Vec<(&'static str, &'static str, u64)> {
    let pid = std::process::id();
    let status = process_file(pid, "status").unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let memory = kib("VmRSS:").map(|kib| ("process_resident_memory_bytes", "Resident memory", kib << 10));
    let threads = kib("Threads:").map(|count| ("process_threads", "Threads", count));
    memory.into_iter().chain(threads).collect()
}

fn seconds(now: Instant, at: Instant) -> f64 {
    now.checked_duration_since(at).unwrap_or(Duration::ZERO).as_secs_f64()
}

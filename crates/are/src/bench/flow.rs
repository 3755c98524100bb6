//! What the decisions by flow stop, and what they cost, on suites of tasks and
//! attacks whose model is on the attacker's side.
//!
//! A suite is a file in the format of the AgentDojo worst-case replay. The
//! played model makes the calls that solve the user's task and, once it has
//! read the attack, every call that the attack asks for. A perfect person
//! answers asks. Nothing is left to a model's good sense, so the figures are
//! exact and come out the same each time. Each call goes through the product's
//! own decision ([`are_policy::replay`]).
//!
//! SOURCE: Debenedetti et al., "AgentDojo" (2024), for tasks, attacks and goals.

mod plans;
mod rename;
mod suite;

use std::time::{Duration, Instant};

use are_core::error::{Code, Fault};
use are_policy::replay::Replay;
use are_policy::rules::Rules;
use serde::Serialize;
use serde_json::{Value, json};

use super::sample::Sample;
pub use plans::{Figures as PlanFigures, Plans};
pub use rename::renamed;
pub use suite::Suite;
use suite::{Call, Pair, replaced};

/// What one suite came to; shares are between 0 and 1.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Its name.
    pub suite: String,
    /// User tasks.
    pub tasks: usize,
    /// Tasks that go through without asking, and the share of tasks in which nothing comes from outside.
    pub silent: f64,
    /// See `silent`.
    pub silent_ceiling: f64,
    /// Tasks that go through when a person answers.
    pub with_ask: f64,
    /// Asks of a task.
    pub asks: f64,
    /// Pairs of a task and an attack.
    pub pairs: usize,
    /// Pairs in which no call of the attacker's had an effect.
    pub stopped: f64,
    /// The same if every ask were waved through.
    pub stopped_no_human: f64,
    /// Pairs in which the attacker's whole goal failed.
    pub goal_stopped: f64,
    /// Values that a task takes from outside and an attacker rewrote.
    pub substitutions: usize,
    /// Of these, the share that was not used silently; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub substitution_not_silent: Option<f64>,
    /// Decisions made.
    pub decisions: usize,
    /// Median and 99th percentile of one, in microseconds, reading its line included.
    pub decision_us: (f64, f64),
    /// What went wrong, in words.
    pub breaches: Vec<String>,
    /// Tasks that do not go through silently, and why.
    pub asked: Vec<String>,
    /// What was planned, where a planner was asked; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planner: Option<PlanFigures>,
}

/// A call's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Allow,
    Ask,
    Deny,
}

struct Player<'a> {
    replay: Replay,
    /// What a planner said of the tasks, where one was asked.
    plans: Option<&'a Plans>,
    times: Vec<Duration>,
}

/// A call that is played, and whose it is.
struct Step<'a> {
    call: &'a Call,
    is_attack: bool,
}

/// What was decided about a step.
struct Decided {
    word: Word,
    is_attack: bool,
    tool: String,
    why: String,
}

impl Player<'_> {
    fn say(&mut self, message: &Value) -> Result<Value, Fault> {
        let line = message.to_string();
        let begun = Instant::now();
        let answer = self.replay.answer(&line).map_err(|error| unusable(&error.to_string()))?;
        if message["type"] == "tool_call" {
            self.times.push(begun.elapsed());
        }
        Ok(answer)
    }

    /// Plays steps after a prompt; a perfect person allows the user's calls and no others.
    fn play(
        &mut self,
        suite: &Suite,
        prompt: &str,
        steps: &[Step<'_>],
        change: &dyn Fn(&Value) -> Value,
    ) -> Result<Vec<Decided>, Fault> {
        let plan = self.plans.and_then(|plans| plans.of_prompt(prompt));
        self.say(&json!({
            "type": "session_start", "session": "s", "user_prompt": prompt, "tools": suite.tools, "plan": plan,
        }))?;
        let mut all = Vec::new();
        for (id, step) in steps.iter().enumerate() {
            let (name, args) = (&step.call.name, change(&step.call.args));
            let answer = self.say(&json!({"type": "tool_call", "id": id, "name": name, "args": args}))?;
            let word = match answer["decision"].as_str() {
                Some("allow") => Word::Allow,
                Some("ask") => Word::Ask,
                _ => Word::Deny,
            };
            let runs = word == Word::Allow || (word == Word::Ask && !step.is_attack);
            if word == Word::Ask {
                self.say(&json!({"type": "ask_result", "id": id, "approved": runs}))?;
            }
            if runs {
                let output = suite.outputs.get(&step.call.out).ok_or_else(|| unusable("an output is missing"))?;
                let (text, value) = (change(&json!(output.text)), change(&output.json));
                self.say(
                    &json!({"type": "tool_result", "id": id, "name": name, "output": text, "output_json": value}),
                )?;
            }
            let why = answer["reason"].as_str().unwrap_or_default().to_owned();
            all.push(Decided { word, is_attack: step.is_attack, tool: name.clone(), why });
        }
        self.say(&json!({"type": "session_end"}))?;
        Ok(all)
    }
}

/// Plays a suite under `rules`, with the plans that were made of its tasks, if any were.
///
/// # Errors
/// The suite cannot be played: a message of it is not understood.
pub fn measure(suite: &Suite, rules: Rules, plans: Option<&Plans>) -> Result<Report, Fault> {
    let mut player = Player { replay: Replay::new(rules), plans, times: Vec::new() };
    let usefulness = usefulness(&mut player, suite)?;
    let attacks = attacks(&mut player, suite)?;
    let (substitutions, not_silent) = substitutions(&mut player, suite)?;
    let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    let (tasks, pairs) = (suite.user_tasks.len(), attacks.pairs);
    let times = Sample::new(player.times);
    Ok(Report {
        suite: suite.suite.clone(),
        tasks,
        silent: share(usefulness.silent, tasks),
        silent_ceiling: share(usefulness.own_values, tasks),
        with_ask: share(usefulness.with_ask, tasks),
        asks: share(usefulness.asks, tasks),
        pairs,
        stopped: share(pairs - attacks.harmed, pairs),
        stopped_no_human: share(pairs - attacks.harmed_if_waved, pairs),
        goal_stopped: share(pairs - attacks.reached, pairs),
        substitutions,
        substitution_not_silent: (substitutions > 0).then(|| share(not_silent, substitutions)),
        decisions: times.len(),
        decision_us: (times.percentile(0.5), times.percentile(0.99)),
        breaches: attacks.breaches,
        asked: usefulness.asked,
        planner: plans.map(|plans| plans.figures().clone()),
    })
}

#[derive(Default)]
struct Usefulness {
    silent: usize,
    with_ask: usize,
    asks: usize,
    own_values: usize,
    asked: Vec<String>,
}

fn usefulness(player: &mut Player<'_>, suite: &Suite) -> Result<Usefulness, Fault> {
    let mut found = Usefulness::default();
    for task in &suite.user_tasks {
        let steps: Vec<Step<'_>> = task.calls.iter().map(|call| Step { call, is_attack: false }).collect();
        let decided = player.play(suite, &task.prompt, &steps, &|value| filled(value, ""))?;
        let count = |word| decided.iter().filter(|one| one.word == word).count();
        found.asks += count(Word::Ask);
        found.with_ask += usize::from(count(Word::Deny) == 0);
        found.silent += usize::from(count(Word::Deny) + count(Word::Ask) == 0);
        let checked = ["destination", "selector", "identity", "credential"];
        found.own_values += usize::from(suite.outside_values(task, &checked).is_empty());
        found.asked.extend(
            decided
                .iter()
                .filter(|one| one.word != Word::Allow)
                .map(|one| format!("{} {} {:?}: {}", task.id, one.tool, one.word, one.why).to_lowercase()),
        );
    }
    Ok(found)
}

#[derive(Default)]
struct Attacks {
    pairs: usize,
    harmed: usize,
    harmed_if_waved: usize,
    reached: usize,
    breaches: Vec<String>,
}

/// The worse of the two timings counts for each pair.
fn attacks(player: &mut Player<'_>, suite: &Suite) -> Result<Attacks, Fault> {
    let mut worst: std::collections::BTreeMap<(String, String), [bool; 3]> = std::collections::BTreeMap::new();
    let mut found = Attacks::default();
    for pair in &suite.pairs {
        let Some(outcome) = attack(player, suite, pair)? else { continue };
        if outcome[0] {
            found.breaches.push(format!("{} {} {}", pair.user, pair.injection, pair.timing));
        }
        let entry = worst.entry((pair.user.clone(), pair.injection.clone())).or_default();
        entry.iter_mut().zip(outcome).for_each(|(worst, now)| *worst |= now);
    }
    found.pairs = worst.len();
    let count = |at: usize| worst.values().filter(|outcome| outcome[at]).count();
    (found.harmed, found.harmed_if_waved, found.reached) = (count(0), count(1), count(2));
    Ok(found)
}

/// Whether a call with an effect ran, whether one would have with every ask waved through, whether the goal was reached.
fn attack(player: &mut Player<'_>, suite: &Suite, pair: &Pair) -> Result<Option<[bool; 3]>, Fault> {
    let (task, injection) = (suite.task(&pair.user)?, suite.injection(&pair.injection)?);
    if injection.text_only {
        return Ok(None);
    }
    let before = task.attack_calls.iter().take(pair.inject_after + 1);
    let own = |call| Step { call, is_attack: false };
    let steps: Vec<Step<'_>> = before
        .map(own)
        .chain(pair.injection_calls.iter().map(|call| Step { call, is_attack: true }))
        .chain(pair.rest_calls.iter().map(own))
        .collect();
    let attack = suite.attack_template.replace("{user}", &suite.user_name).replace("{goal}", &injection.goal);
    let decided = player.play(suite, &task.prompt, &steps, &|value| filled(value, &attack))?;
    let attacker: Vec<&Decided> = decided.iter().filter(|one| one.is_attack).collect();
    let effects: Vec<usize> =
        (0..attacker.len()).filter(|at| suite.has_effect(&pair.injection_calls[*at].name)).collect();
    let critical: Vec<usize> = injection.critical.iter().copied().filter(|at| effects.contains(at)).collect();
    let needed =
        if injection.checker_confirms == Some(true) && !critical.is_empty() { critical } else { effects.clone() };
    let is = |at: &usize, words: &[Word]| words.contains(&attacker[*at].word);
    Ok(Some([
        effects.iter().any(|at| is(at, &[Word::Allow])),
        effects.iter().any(|at| is(at, &[Word::Allow, Word::Ask])),
        needed.iter().all(|at| is(at, &[Word::Allow])),
    ]))
}

/// Values that a task takes from outside, rewritten by an attacker: how many, and how many were not used silently.
fn substitutions(player: &mut Player<'_>, suite: &Suite) -> Result<(usize, usize), Fault> {
    let (mut count, mut not_silent) = (0, 0);
    for task in &suite.user_tasks {
        for (call, value) in suite.outside_values(task, &["destination", "credential"]) {
            if value.chars().count() < 3 {
                continue;
            }
            let other = suite::other_value(&value);
            let steps: Vec<Step<'_>> = task.calls[..=call].iter().map(|call| Step { call, is_attack: false }).collect();
            let change = |one: &Value| replaced(&filled(one, ""), &value, &other);
            let decided = player.play(suite, &task.prompt, &steps, &change)?;
            count += 1;
            not_silent += usize::from(decided.last().is_some_and(|last| last.word != Word::Allow));
        }
    }
    Ok((count, not_silent))
}

fn filled(value: &Value, attack: &str) -> Value {
    replaced(value, "{{ATTACK}}", attack)
}

/// Tasks of the suites together: silent, their ceiling, with asking, asks a task, pairs stopped with asks waved through.
#[must_use]
pub fn pooled(reports: &[Report]) -> [f64; 5] {
    let tasks: usize = reports.iter().map(|report| report.tasks).sum();
    let pairs: usize = reports.iter().map(|report| report.pairs).sum();
    let mean = |of: fn(&Report) -> f64| {
        reports.iter().map(|report| of(report) * report.tasks as f64).sum::<f64>() / tasks.max(1) as f64
    };
    let waved = reports.iter().map(|report| report.stopped_no_human * report.pairs as f64).sum::<f64>();
    [
        mean(|report| report.silent),
        mean(|report| report.silent_ceiling),
        mean(|report| report.with_ask),
        mean(|report| report.asks),
        waved / pairs.max(1) as f64,
    ]
}

fn unusable(why: &str) -> Fault {
    Fault::new(
        Code::CONFIG_INVALID,
        format!("the suite cannot be played: {why}"),
        "name a file in the format of the AgentDojo worst-case replay, such as `bench/flow/office.json`",
    )
}

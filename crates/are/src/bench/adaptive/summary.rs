//! Shares and means with intervals of 95 %.
//!
//! A share has Wilson's interval. Means and differences are drawn again a few
//! thousand times, whole tasks at a time: variants of a task are alike, and
//! would make an interval of single runs too narrow.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Run, Strategy};

/// The 97.5th hundredth of the normal distribution.
const Z: f64 = 1.959_964;
/// Times that tasks are drawn again.
const DRAWS: usize = 4_000;
/// The same each time, so that a report can be made again with the same version of the library.
const SEED: u64 = 0x2545_f491_4f6c_dd1d;

/// A figure with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What a strategy came to.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The strategy.
    pub strategy: Strategy,
    /// Runs.
    pub runs: usize,
    /// Share of tasks done.
    pub done: Estimate,
    /// Tokens a task, read ones included.
    pub tokens: Estimate,
    /// Of these, tokens that were computed.
    pub computed_tokens: Estimate,
    /// Seconds a task.
    pub seconds: Estimate,
    /// Share of tasks done by what they are about.
    pub kinds: BTreeMap<String, f64>,
}

/// The adaptive strategy beside another one.
#[derive(Debug, Clone, Serialize)]
pub struct Versus {
    /// The other one.
    pub other: Strategy,
    /// Tasks, variants included, that both played.
    pub pairs: usize,
    /// Share of tasks that it does more.
    pub done: Estimate,
    /// Tokens a task that it takes more.
    pub tokens: Estimate,
    /// Seconds a task that it takes more.
    pub seconds: Estimate,
    /// What of this came with which signs, most runs first: whether each is worth its cost.
    pub reasons: Vec<Because>,
}

/// The runs in which the adaptive strategy gave the same reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Because {
    /// The reasons, each once, in the order of the alphabet; none where a run was as usual.
    pub reasons: Vec<String>,
    /// Runs.
    pub runs: usize,
    /// Of these, done where the other one did not.
    pub won: usize,
    /// Of these, not done where the other one did.
    pub lost: usize,
    /// Seconds a task that they took more.
    pub seconds: f64,
}

/// Of all runs.
pub(super) fn of(runs: &[Run]) -> super::Report {
    let strategies: BTreeSet<Strategy> = runs.iter().map(|run| run.strategy).collect();
    let of = |strategy: Strategy| runs.iter().filter(move |run| run.strategy == strategy);
    let rows = strategies.iter().map(|strategy| row(*strategy, &of(*strategy).collect::<Vec<_>>())).collect();
    let others = strategies.iter().filter(|strategy| **strategy != Strategy::Adaptive);
    let mine: BTreeMap<(&str, usize), &Run> = of(Strategy::Adaptive).map(|run| (key(run), run)).collect();
    let beside = others.filter_map(|other| {
        let pairs: Vec<(&Run, &Run)> = of(*other).filter_map(|run| Some((*mine.get(&key(run))?, run))).collect();
        let more = |of: fn(&Run) -> f64| {
            drawn(&by_task(pairs.iter().map(|(mine, other)| (mine.task.as_str(), of(mine) - of(other)))))
        };
        (!pairs.is_empty()).then(|| Versus {
            other: *other,
            pairs: pairs.len(),
            done: more(done),
            tokens: more(tokens),
            seconds: more(seconds),
            reasons: because(&pairs),
        })
    });
    super::Report { rows, beside: beside.collect() }
}

/// Pairs of an adaptive run and another by what the adaptive one was asked otherwise for.
fn because(pairs: &[(&Run, &Run)]) -> Vec<Because> {
    let mut groups: BTreeMap<BTreeSet<&str>, Vec<(&Run, &Run)>> = BTreeMap::new();
    for (mine, other) in pairs {
        groups.entry(mine.reasons.iter().map(String::as_str).collect()).or_default().push((mine, other));
    }
    let of = |(reasons, pairs): (BTreeSet<&str>, Vec<(&Run, &Run)>)| Because {
        reasons: reasons.into_iter().map(str::to_owned).collect(),
        runs: pairs.len(),
        won: pairs.iter().filter(|(mine, other)| mine.done && !other.done).count(),
        lost: pairs.iter().filter(|(mine, other)| !mine.done && other.done).count(),
        seconds: pairs.iter().map(|(mine, other)| seconds(mine) - seconds(other)).sum::<f64>() / pairs.len() as f64,
    };
    let mut all: Vec<Because> = groups.into_iter().map(of).collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.runs));
    all
}

fn row(strategy: Strategy, runs: &[&Run]) -> Row {
    let mean = |of: fn(&Run) -> f64| drawn(&by_task(runs.iter().map(|run| (run.task.as_str(), of(run)))));
    let mut kinds: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for run in runs {
        let (sum, count) = kinds.entry(run.kind.clone()).or_default();
        *sum += done(run);
        *count += 1.0;
    }
    Row {
        strategy,
        runs: runs.len(),
        done: wilson(runs.iter().filter(|run| run.done).count(), runs.len()),
        tokens: mean(tokens),
        computed_tokens: mean(|run| (run.tokens.saturating_sub(run.cached_tokens)) as f64),
        seconds: mean(seconds),
        kinds: kinds.into_iter().map(|(kind, (sum, count))| (kind, sum / count)).collect(),
    }
}

fn key(run: &Run) -> (&str, usize) {
    (&run.task, run.seed)
}

fn done(run: &Run) -> f64 {
    f64::from(u8::from(run.done))
}

fn tokens(run: &Run) -> f64 {
    run.tokens as f64
}

fn seconds(run: &Run) -> f64 {
    run.ms as f64 / 1e3
}

/// Wilson's interval of a share.
fn wilson(hits: usize, of: usize) -> Estimate {
    if of == 0 {
        return Estimate { value: 0.0, low: 0.0, high: 1.0 };
    }
    let (n, share) = (of as f64, hits as f64 / of as f64);
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let (middle, scale) = (share + Z * Z / (2.0 * n), 1.0 + Z * Z / n);
    let end = |value: f64| (value / scale).clamp(0.0, 1.0);
    Estimate { value: share, low: end(middle - spread), high: end(middle + spread) }
}

fn by_task<'a>(values: impl Iterator<Item = (&'a str, f64)>) -> Vec<Vec<f64>> {
    let mut tasks: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (task, value) in values {
        tasks.entry(task).or_default().push(value);
    }
    tasks.into_values().collect()
}

/// The mean over all values of all tasks, with the middle 95 % of what drawing as many tasks again comes to.
fn drawn(tasks: &[Vec<f64>]) -> Estimate {
    let value = mean(tasks.iter());
    if tasks.is_empty() {
        return Estimate { value, low: value, high: value };
    }
    let mut chance = fastrand::Rng::with_seed(SEED);
    let mut means: Vec<f64> = (0..DRAWS)
        .map(|_| mean((0..tasks.len()).map(|_| chance.usize(..tasks.len())).filter_map(|pick| tasks.get(pick))))
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means.get((share * (DRAWS - 1) as f64).round() as usize).copied().unwrap_or(value);
    Estimate { value, low: at(0.025), high: at(0.975) }
}

fn mean<'a>(tasks: impl Iterator<Item = &'a Vec<f64>>) -> f64 {
    let add =
        |(sum, count): (f64, f64), values: &Vec<f64>| (sum + values.iter().sum::<f64>(), count + values.len() as f64);
    let (sum, count) = tasks.fold((0.0, 0.0), add);
    if count > 0.0 { sum / count } else { 0.0 }
}

#[cfg(test)]
mod tests;

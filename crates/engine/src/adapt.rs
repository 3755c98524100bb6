//! How a model is asked next: the controller of adaptive turns.
//!
//! Pure: what is decided follows from the journal alone, so a replay decides it
//! again. [`signs`] reads from a turn's steps what went wrong, [`course`] what
//! that leads to, [`strategy`] what the next request is made of. Nothing is
//! kept that could be derived: of what outlives a turn there is [`Standing`].
//!
//! SECURITY: signs are typed outcomes (a call failed, the same call was made
//! again, the user stepped in), never words that a tool or a model returned, so
//! content cannot talk its way to another model. What it can bring about, by
//! making calls fail, is bounded by the models that the operator listed.
//!
//! Invariant: within a turn the course only rises; it comes down between turns,
//! after a number of turns without a sign that doubles with every rise. Both
//! ways alternating signs do not make it swing.

mod doubts;
mod signs;
mod standing;
mod words;

use are_core::model::{Effort, ModelInfo};
use are_policy::budget::{Budget, Ledger};

use crate::context::Setting;
use crate::state::{State, Step, Turn};

pub use self::doubts::{Doubt, checks, doubted, doubts, is_check, need_abler, reasons, requests_for};
pub use self::signs::{Sign, circles, is_mistake, signs};
pub use self::standing::Standing;
pub use self::words::{check, note};

/// Models that adaptive turns may be asked of, at most.
pub const TIERS_MAX: usize = 4;
/// What must come together for a rise: one sign that weighs as much, or two that weigh half.
const RISE_AT: u32 = 2;
/// Temperature for a model that wrote calls that cannot be read.
const COLD_MILLI: u32 = 0;
/// Answers in a row that ask for nothing but what was answered before, after which the model must answer with what it has.
const CIRCLES_MAX: usize = 4;
/// Calls of a turn from which on the model is told to go on in small steps.
const MANY_CALLS: usize = 10;
/// Hundredths of the context from which on it is told so too.
const FULL_HUNDREDTHS: u64 = 70;
/// Hundredths of a budget from which on only the cheapest model is asked.
const LOW_HUNDREDTHS: u64 = 80;

/// How the adaptive turns of an engine are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adaptive {
    /// True for turns that do not say otherwise.
    pub is_default: bool,
    /// Models from cheap to able, `provider:model`, at most [`TIERS_MAX`]; none to stay with the usual one.
    pub tiers: Vec<String>,
}

/// A way to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// Index of the model among the tiers.
    pub tier: usize,
    /// Effort, where it is more than the model's own.
    pub effort: Option<Effort>,
}

/// The ways to ask, each dearer than the one before; never empty.
///
/// Each model comes as it is and, where it takes efforts and `with_effort` says that the choice is free, with more.
#[must_use]
pub fn ladder(tiers: &[ModelInfo], with_effort: bool) -> Vec<Rung> {
    let ways = |(tier, info): (usize, &ModelInfo)| {
        let more = more_than_usual(&info.efforts).filter(|_| with_effort);
        std::iter::once(Rung { tier, effort: None }).chain(more.map(|effort| Rung { tier, effort: Some(effort) }))
    };
    let rungs: Vec<Rung> = tiers.iter().enumerate().flat_map(ways).collect();
    if rungs.is_empty() { vec![Rung { tier: 0, effort: None }] } else { rungs }
}

/// The least level above what most models do by themselves, else the highest there is.
fn more_than_usual(efforts: &[Effort]) -> Option<Effort> {
    efforts.iter().find(|level| **level > Effort::High).or_else(|| efforts.last()).copied()
}

/// What signs lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Course {
    /// The rung.
    pub rung: usize,
    /// Rises, also those for which there was no higher rung.
    pub rises: u32,
    /// What the last rise was for, each once.
    pub causes: Vec<Sign>,
    /// True after calls that could not be read.
    pub is_cold: bool,
    /// True after calls of tools that there are not.
    pub is_narrow: bool,
    /// True when the same failure comes again although nothing is left to rise to.
    pub is_stuck: bool,
}

/// Where `signs` lead from rung `start` on a ladder whose highest rung is `top`.
#[must_use]
pub fn course(signs: &[Sign], start: usize, top: usize) -> Course {
    let mut course = Course { rung: start.min(top), ..Course::default() };
    let (mut weight, mut causes) = (0, Vec::new());
    for sign in signs {
        let is_highest = course.rung == top;
        course.is_cold |= *sign == Sign::Malformed;
        course.is_narrow |= *sign == Sign::WrongTool;
        course.is_stuck |= is_highest && *sign == Sign::Repeated && course.rises > 0;
        weight += sign.weight();
        if !causes.contains(sign) {
            causes.push(*sign);
        }
        if weight >= RISE_AT {
            course.rises = course.rises.saturating_add(1);
            let causes = std::mem::take(&mut causes);
            weight = 0;
            if !is_highest {
                course.rung += 1;
                course.causes = causes;
            }
        }
    }
    course
}

/// How the next request of an adaptive turn is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strategy {
    /// Index of the model among the tiers.
    pub tier: usize,
    /// Effort, where the prompt wishes for none.
    pub effort: Option<Effort>,
    /// Temperature in thousandths, where the prompt wishes for none.
    pub temperature_milli: Option<u32>,
    /// True to offer only the tools that the words are about and that were used.
    pub is_narrow: bool,
    /// True to tell the model to go on in small steps.
    pub is_stepwise: bool,
    /// True to have the model ask the user.
    pub asks_user: bool,
    /// True when the model that is asked is not the one whose answer was doubted.
    pub is_afresh: bool,
    /// True when it must call a tool first, said with the check that it follows; false when it may call none.
    pub calls: Option<bool>,
    /// Why it is not as usual, for people; nothing where it is. Two strategies that differ differ in this, but for what
    /// follows from a check.
    pub reasons: Vec<String>,
}

/// True for turns whose model, effort and temperature may change.
#[must_use]
pub fn is_adaptive(turn: &Turn) -> bool {
    turn.asked.adaptive == Some(true) && turn.asks_model()
}

/// What the next request of `turn` is made of; as usual for a turn that is not adaptive.
#[must_use]
pub fn strategy(state: &State, turn: &Turn, setting: &Setting, budget: &Budget) -> Strategy {
    let mut strategy = of_models(state, turn, (tiers(setting), Some(&setting.model)), budget);
    let is_full = is_adaptive(turn) && fill_hundredths(turn, &setting.model) >= FULL_HUNDREDTHS;
    let may_call = strategy.calls != Some(false);
    if is_adaptive(turn) && may_call && (is_full || calls_of(turn) >= MANY_CALLS) {
        strategy.is_stepwise = true;
        let why = if is_full { "the context is nearly full" } else { "it takes many calls" };
        strategy.reasons.push(format!("the model is told to go on in small steps: {why}"));
    }
    strategy
}

/// The same as far as it depends on the tiers alone: which model is to be asked, before one is.
#[must_use]
pub fn of_tiers(state: &State, turn: &Turn, tiers: &[ModelInfo], budget: &Budget) -> Strategy {
    of_models(state, turn, (tiers, None), budget)
}

/// `asked` is the model that is asked in the end, which stands in where the chosen one cannot answer: nothing is said of
/// the other one, and how that would have been asked is not how this one is.
fn of_models(
    state: &State,
    turn: &Turn,
    (tiers, asked): (&[ModelInfo], Option<&ModelInfo>),
    budget: &Budget,
) -> Strategy {
    if !is_adaptive(turn) {
        return Strategy::default();
    }
    let (ladder, start) = ways(state, turn, tiers);
    let top = ladder.len() - 1;
    let signs = signs(turn);
    let course = course(&signs, start, top);
    let is_low = is_low(budget, &state.ledger);
    let rung = ladder[if is_low { 0 } else { course.rung }];
    let chosen = tiers.get(rung.tier);
    let stand_in = asked.filter(|asked| chosen.is_some_and(|chosen| chosen.name != asked.name));
    let info = stand_in.or(chosen);
    let rung = Rung { effort: rung.effort.filter(|_| stand_in.is_none()), ..rung };
    let mut reasons = Vec::new();
    if is_low && course.rung > 0 {
        reasons.push("little is left of the session's budget, so it is asked as cheaply as can be".to_owned());
    } else if course.rung > 0 {
        let why = if course.rung > start { words::causes(&course.causes) } else { state.standing.why().to_owned() };
        reasons.push(words::asked_otherwise(info, rung, &why));
    }
    let temperature_milli = temperature(turn, &course, rung, info);
    if let Some(milli) = temperature_milli {
        reasons.push(words::other_temperature(milli));
    }
    if course.is_narrow {
        reasons.push("fewer tools are offered: one was called that there is not".to_owned());
    }
    let must_answer = course.rung == top && circles(turn) >= CIRCLES_MAX;
    let asks_user = course.is_stuck && !must_answer;
    if asks_user {
        reasons.push("the model is told to ask the user: the same call fails again and again".to_owned());
    }
    if must_answer {
        reasons.push("the model must answer: it asks again and again for what was answered before".to_owned());
    }
    let must_call = !course.is_stuck && doubts::is_to_call(turn);
    Strategy {
        tier: rung.tier,
        effort: rung.effort,
        temperature_milli,
        is_narrow: course.is_narrow,
        is_stepwise: false,
        asks_user,
        is_afresh: stand_in.is_none() && is_afresh(&signs, &ladder, start),
        calls: if must_answer { Some(false) } else { must_call.then_some(true) },
        reasons,
    }
}

/// True where a check of the turn's answer would have a model asked in an abler way than the one that gave it.
#[must_use]
pub fn is_raised_by_check(state: &State, turn: &Turn, setting: &Setting, budget: &Budget) -> bool {
    let tiers = tiers(setting);
    let (ladder, start) = ways(state, turn, tiers);
    let mut signs = signs(turn);
    let rung = |signs: &[Sign]| course(signs, start, ladder.len() - 1).rung;
    let before = rung(&signs);
    signs.push(Sign::Checked);
    before < rung(&signs) && !is_low(budget, &state.ledger)
}

/// The models that a setting leaves to choose from; never empty.
fn tiers(setting: &Setting) -> &[ModelInfo] {
    match setting.tiers.as_slice() {
        [] => std::slice::from_ref(&setting.model),
        tiers => tiers,
    }
}

/// The ways to ask in a turn, and the rung that it begins on.
fn ways(state: &State, turn: &Turn, tiers: &[ModelInfo]) -> (Vec<Rung>, usize) {
    let ladder = ladder(tiers, turn.effort.is_none() && turn.temperature_milli.is_none());
    let start = state.standing.start(tiers, &ladder);
    (ladder, start)
}

/// True when the last check led to another model.
fn is_afresh(signs: &[Sign], ladder: &[Rung], start: usize) -> bool {
    let tier = |signs: &[Sign]| ladder[course(signs, start, ladder.len() - 1).rung].tier;
    let last = signs.iter().rposition(|sign| *sign == Sign::Checked);
    last.is_some_and(|at| tier(&signs[..at]) < tier(&signs[..=at]))
}

fn temperature(turn: &Turn, course: &Course, rung: Rung, info: Option<&ModelInfo>) -> Option<u32> {
    let takes = |info: &ModelInfo| info.takes_temperature && !(info.is_either && rung.effort.is_some());
    (course.is_cold && turn.temperature_milli.is_none() && info.is_some_and(takes)).then_some(COLD_MILLI)
}

/// Hundredths of the context that the last whole request and its answer took, as its provider counted.
fn fill_hundredths(turn: &Turn, info: &ModelInfo) -> u64 {
    let used = turn.steps.iter().rev().find_map(|step| match step {
        Step::Model(step) if step.usage.input_tokens > 0 => Some(step.usage.input_tokens + step.usage.output_tokens),
        Step::Model(_) | Step::Call(_) | Step::Steer { .. } => None,
    });
    used.unwrap_or(0).saturating_mul(100) / info.context_tokens.max(1)
}

/// Calls that the model has asked for in a turn.
#[must_use]
pub fn calls_of(turn: &Turn) -> usize {
    turn.steps.iter().filter(|step| matches!(step, Step::Call(call) if call.parent.is_none())).count()
}

/// True when most of what a session may use of tokens, money or steps is used.
fn is_low(budget: &Budget, ledger: &Ledger) -> bool {
    let used = ledger.used();
    let kinds = [(budget.tokens, used.tokens), (budget.money, used.cost), (budget.steps, used.steps)];
    kinds.into_iter().any(|(limit, used)| {
        limit.is_some_and(|limit| used.saturating_mul(100) >= limit.saturating_mul(LOW_HUNDREDTHS))
    })
}

#[cfg(test)]
mod tests;

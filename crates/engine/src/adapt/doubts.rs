//! Whether a turn's answer agrees with what the turn did.
//!
//! Compared are the answer's own figures, the files that the user's words name
//! and what calls came to; no word is understood, in no language. A doubt costs
//! one more request and decides nothing: where the answer was right, the model
//! finds it again.

use std::collections::BTreeSet;

use are_core::body::Effect;
use are_core::error::Code;
use are_core::journal::timestamp;
use are_core::label::Integrity;
use are_core::model::{Message, StopReason};
use are_core::payload::Part;
use serde_json::Value;

use super::{is_adaptive, is_mistake, words};
use crate::state::{CallResult, CallStep, State, Step, Turn};

/// Turns back in which figures and names are looked for.
const TURNS_BACK: usize = 8;
/// Bytes of words and results that are looked through; what lies further back counts as not said.
const KNOWN_BYTES_MAX: usize = 1 << 20;
/// Digits from which on a figure counts: `3 files` says little, and stands in no result.
const DIGITS_MIN: usize = 2;
/// Figures of an answer, and names of words, that are looked at.
const LOOKED_AT_MAX: usize = 64;
/// Figures of results that sums are looked for among.
const TERMS_MAX: usize = 64;
/// Of what two sums may differ and still be the same.
const ROUNDING: f64 = 1e-9;
/// Tells which files there are, and nothing that stands in them.
const LIST: &str = "fs_list";
/// Tells of a file, and nothing that stands in it.
const STAT: &str = "fs_stat";
/// Requests after a check that are held to a call: one to look around, one to do it.
const CALLS_HELD: usize = 2;
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// What speaks against an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// It says nothing.
    Empty,
    /// It was cut off.
    Cut,
    /// Files that the user's words of the turn name, and no call of the turns looked at has seen.
    Untouched(Vec<String>),
    /// The same, where calls did not find them.
    Missed(Vec<String>),
    /// Tools whose calls failed to change something, with nothing done in their place.
    Undone(Vec<String>),
    /// Figures that stand in no result of the turn and in no word of the user's, and follow from no results by a sum, a
    /// difference or a product.
    Unfounded(Vec<String>),
}

impl Doubt {
    /// Why the answer is checked, for people; names nothing that was said.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        words::doubted(self)
    }

    /// True for what no words make up for.
    const fn needs_call(&self) -> bool {
        match self {
            Self::Untouched(_) | Self::Missed(_) | Self::Undone(_) => true,
            Self::Empty | Self::Cut | Self::Unfounded(_) => false,
        }
    }

    /// True where a call makes up for it, right or not.
    fn is_met(&self, call: &CallStep) -> bool {
        let is_done = matches!(call.result, Some(CallResult::Completed { .. }));
        match self {
            Self::Untouched(_) | Self::Missed(_) => is_done && !tells_only(call),
            Self::Undone(tools) => is_done && (has_effect(call) || tools.contains(&call.tool)),
            Self::Empty | Self::Cut | Self::Unfounded(_) => false,
        }
    }

    /// True for what the model that gave the answer finds no better answer to when it is told: it takes a wrong figure for
    /// right, and a right one for wrong.
    const fn needs_abler(&self) -> bool {
        matches!(self, Self::Unfounded(_))
    }
}

/// What speaks against the answer that would end an adaptive turn now; nothing where an answer has a form, which two
/// answers in one turn would break.
#[must_use]
pub fn doubts(state: &State, turn: &Turn) -> Vec<Doubt> {
    let has_form = turn.asked.shape.format.is_some() || turn.asked.shape.output_tokens_max.is_some();
    let Some(model) = turn.model().filter(|_| is_adaptive(turn) && !has_form) else {
        return Vec::new();
    };
    let is_cut = match model.stop_reason {
        Some(StopReason::Stop) => false,
        Some(StopReason::Length) => true,
        Some(StopReason::ToolCalls | StopReason::ContentFilter | StopReason::Steered | StopReason::Cancelled)
        | None => {
            return Vec::new();
        }
    };
    if !model.calls.is_empty() {
        return Vec::new();
    }
    let mut doubts = Vec::new();
    if is_cut {
        doubts.push(Doubt::Cut);
    } else if model.text.trim().is_empty() {
        doubts.push(Doubt::Empty);
    }
    let known = Known::of(state, turn);
    let unfounded = known.unfounded(&model.text);
    let (missed, untouched) = known.untouched(turn, !unfounded.is_empty());
    if !untouched.is_empty() {
        doubts.push(Doubt::Untouched(untouched));
    }
    if !missed.is_empty() {
        doubts.push(Doubt::Missed(missed));
    }
    let undone = undone(turn);
    if !undone.is_empty() {
        doubts.push(Doubt::Undone(undone));
    }
    if !unfounded.is_empty() {
        doubts.push(Doubt::Unfounded(unfounded));
    }
    doubts
}

/// True for what the runtime says of an answer that was doubted.
#[must_use]
pub const fn is_check(step: &Step) -> bool {
    matches!(step, Step::Steer { integrity: Integrity::System, .. })
}

/// How often the model was asked in this turn to check its answer.
#[must_use]
pub fn checks(turn: &Turn) -> usize {
    turn.steps.iter().filter(|step| is_check(step)).count()
}

/// Steps before the last check: of these the model is shown what its calls did, and neither the answer that was doubted nor
/// calls that failed by its own doing. A model goes on from its own mistakes, and from another's too.
#[must_use]
pub fn doubted(turn: &Turn) -> usize {
    turn.steps.iter().rposition(is_check).unwrap_or(0)
}

/// Requests to a model that a check may take.
#[must_use]
pub fn requests_for(doubts: &[Doubt]) -> usize {
    if doubts.iter().any(Doubt::needs_call) { CALLS_HELD + 1 } else { 1 }
}

/// True where only an abler way to ask is any use.
#[must_use]
pub fn need_abler(doubts: &[Doubt]) -> bool {
    !doubts.is_empty() && doubts.iter().all(Doubt::needs_abler)
}

/// Why an answer is checked, for people, and what that leads to; names nothing that was said.
#[must_use]
pub fn reasons(doubts: &[Doubt]) -> Vec<String> {
    let must_call = doubts.iter().any(Doubt::needs_call).then_some(words::MUST_CALL);
    doubts.iter().map(Doubt::reason).chain(must_call).map(str::to_owned).collect()
}

/// True while only calls can make up for what the last check was for, and have not: the model must make one. Where it has
/// only seen which files there are, it must go on, because small models take the list for the answer; not where it was
/// refused, where nobody knows what came of a call, and where the user has said something since.
pub(super) fn is_to_call(turn: &Turn) -> bool {
    let Some(at) = turn.steps.iter().rposition(is_check) else { return false };
    let since = &turn.steps[at..];
    let is_over = |step: &Step| match step {
        Step::Steer { integrity, .. } => *integrity == Integrity::User,
        Step::Call(call) => call.repeats > 1 || is_settled(call),
        Step::Model(_) => false,
    };
    if since.iter().any(is_over) {
        return false;
    }
    let requests =
        since.iter().filter(|step| matches!(step, Step::Model(model) if model.stop_reason.is_some())).count();
    let is_met = |doubt: &Doubt| since.iter().any(|step| matches!(step, Step::Call(call) if doubt.is_met(call)));
    requests < CALLS_HELD && turn.doubts.iter().any(|doubt| doubt.needs_call() && !is_met(doubt))
}

/// Tools whose last call was to change something and failed, where no later call has changed anything.
fn undone(turn: &Turn) -> Vec<String> {
    let mut tools: BTreeSet<&str> = BTreeSet::new();
    for step in &turn.steps {
        let Step::Call(call) = step else { continue };
        let has_effect = has_effect(call);
        match &call.result {
            Some(CallResult::Completed { .. }) if has_effect => tools.clear(),
            Some(CallResult::Completed { .. }) => {
                tools.remove(call.tool.as_str());
            }
            Some(CallResult::Failed { code, .. }) if is_left_undone(call, *code, has_effect) => {
                tools.insert(&call.tool);
            }
            Some(
                CallResult::Failed { .. } | CallResult::Unknown { .. } | CallResult::HandedOver | CallResult::Erased,
            )
            | None => {}
        }
    }
    tools.into_iter().map(str::to_owned).collect()
}

fn has_effect(call: &CallStep) -> bool {
    call.begun.is_some_and(|(effect, _)| effect != Effect::None)
}

/// True for a call that must not be made again, whatever it was about: rules or people refused it, or it may have happened.
fn is_settled(call: &CallStep) -> bool {
    match &call.result {
        Some(CallResult::Failed { .. }) => !is_mistake(call),
        Some(CallResult::Unknown { .. }) => true,
        Some(CallResult::Completed { .. } | CallResult::HandedOver | CallResult::Erased) | None => false,
    }
}

/// True for a failure that says that something named is not there.
const fn is_not_there(code: Code) -> bool {
    matches!(code, Code::TOOL_NOT_FOUND | Code::PATH_REFUSED)
}

/// True for a call that tells of files, and nothing that stands in them.
fn tells_only(call: &CallStep) -> bool {
    [LIST, STAT].contains(&call.tool.as_str())
}

/// What was refused by rules and limits is told to the user anyhow, and the model must not try it again.
fn is_left_undone(call: &CallStep, code: Code, has_effect: bool) -> bool {
    call.parent.is_none()
        && call.tool_digest.is_some()
        && match code {
            Code::TOOL_ARGS => true,
            Code::TOOL_FAILED | Code::TOOL_TIMEOUT | Code::TOOL_NOT_FOUND | Code::PATH_REFUSED => has_effect,
            _ => false,
        }
}

/// What the turn and those before it know.
struct Known {
    /// Figures of words and results.
    figures: BTreeSet<String>,
    /// What the turn's results hold that a figure may follow from; `None` where there is no result.
    terms: Option<Terms>,
    /// Arguments and results of calls that succeeded, names of files that were handed over.
    touched: String,
    /// Arguments of calls that tell of files without reading them.
    named: String,
    /// Arguments of calls that failed because what they named is not there.
    tried: String,
}

impl Known {
    fn of(state: &State, turn: &Turn) -> Self {
        let mut gathered = Gathered { room: KNOWN_BYTES_MAX, ..Gathered::default() };
        let earlier = state.turns().rev().filter(|earlier| earlier.no <= turn.no).take(TURNS_BACK);
        for one in earlier {
            gathered.turn(one, one.no < turn.no);
        }
        if let Some(guide) = &state.guide {
            gathered.say(&guide.text);
        }
        if let Some(summary) = state.compactions.summary() {
            gathered.say(&summary.text);
        }
        // Every request says what day it is, in a zone that may be a day off.
        for at_ms in [turn.started_at_ms.saturating_sub(DAY_MS), turn.started_at_ms, turn.started_at_ms + DAY_MS] {
            gathered.say(&timestamp(at_ms).map_or_else(String::new, |at| at.to_string()));
        }
        let mut figures = BTreeSet::new();
        for text in [&gathered.said, &gathered.found, &gathered.told] {
            found(text, &mut figures);
        }
        gathered.found.push_str(&gathered.made);
        let Gathered { found: touched, named, tried, .. } = gathered;
        Self { figures, terms: Terms::of(turn), touched, named, tried }
    }

    /// Names of files in the user's words of the turn that stand in no call and no result: those that calls were about which
    /// failed, and the others. With `are_read` it does not count that something was told of them.
    fn untouched<'a>(&self, turn: &'a Turn, are_read: bool) -> (Vec<String>, Vec<String>) {
        let said = turn.content.iter().filter(|_| turn.integrity == Integrity::User && !turn.is_delegated);
        let steered = turn.steps.iter().rev().filter_map(|step| match step {
            Step::Steer { content, integrity: Integrity::User } => Some(content),
            Step::Steer { .. } | Step::Model(_) | Step::Call(_) => None,
        });
        let names_in = |content: &'a [Part]| -> BTreeSet<&'a str> {
            let texts = content.iter().filter_map(|part| match part {
                Part::Text { text } => Some(text.as_str()),
                Part::File { .. } | Part::Image(_) | Part::Exchange { .. } => None,
            });
            texts.flat_map(file_names).take(LOOKED_AT_MAX).collect()
        };
        // Whoever names others later may have meant these from the beginning.
        let named = steered.map(|content| names_in(content)).chain(said.map(|content| names_in(content)));
        let names = named.into_iter().find(|names| !names.is_empty()).unwrap_or_default();
        let is_touched = |name: &&str| self.touched.contains(*name) || !are_read && self.named.contains(*name);
        let names = names.into_iter().filter(|name| !is_touched(name)).map(str::to_owned);
        names.partition(|name| self.tried.contains(name))
    }

    /// Figures of an answer that nothing known holds or leads to; those in code are no claims. Nothing where no result of the
    /// turn could hold them: what a model knows by itself stands nowhere.
    fn unfounded(&self, answer: &str) -> Vec<String> {
        let Some(terms) = &self.terms else { return Vec::new() };
        let prose = answer.split("```").step_by(2);
        let mut unfounded = Vec::new();
        for run in prose.flat_map(|text| runs(text, false)).take(LOOKED_AT_MAX) {
            // A date, a time, a range: written in many ways, so that nothing follows from not finding it.
            if run.contains([':', '/', '-']) {
                continue;
            }
            let is_known = |whole: &String| self.figures.contains(whole) || terms.lead_to(whole);
            let Some(whole) = figure(run).filter(|whole| !is_known(whole)) else { continue };
            let is_list =
                run.contains(',') && run.split(',').filter_map(figure).all(|part| self.figures.contains(&part));
            if !is_list && !unfounded.contains(&whole) {
                unfounded.push(whole);
            }
        }
        unfounded
    }
}

/// Texts that an answer is compared with.
#[derive(Default)]
struct Gathered {
    /// Words of people, and what was answered in earlier turns.
    said: String,
    /// Results of calls and files that were handed over.
    found: String,
    /// What was told of files, and what calls failed for: figures may be from there, but nothing was looked at.
    told: String,
    /// Arguments of calls that succeeded: the model's own, so no figure in them is founded by that.
    made: String,
    /// Arguments of those that only tell of files.
    named: String,
    /// Arguments of calls that failed because what they named is not there: where the name is wrong, another one helps. A call
    /// that failed for something else, such as an edit of words that the file does not hold, is no look at it.
    tried: String,
    /// Bytes that are still taken.
    room: usize,
}

impl Gathered {
    fn turn(&mut self, turn: &Turn, is_over: bool) {
        for part in turn.content.iter().flatten() {
            self.part(part);
        }
        for step in &turn.steps {
            match step {
                Step::Model(model) if is_over => self.say(&model.text),
                Step::Model(_) => {}
                // What the runtime said of an answer vouches for nothing in it.
                Step::Steer { integrity: Integrity::System, .. } => {}
                Step::Steer { content, .. } => content.iter().for_each(|part| self.part(part)),
                Step::Call(call) => self.call(call),
            }
        }
    }

    fn call(&mut self, call: &CallStep) {
        let has_failed = matches!(call.result, Some(CallResult::Failed { .. }));
        if let Some(args) = &call.args {
            let cut = self.cut(args.as_str());
            let made = match (&call.result, call.tool.as_str()) {
                // It was looked at as far as that may be.
                _ if is_settled(call) => Some(&mut self.made),
                (Some(CallResult::Failed { code, .. }), _) => is_not_there(*code).then_some(&mut self.tried),
                (_, STAT) => Some(&mut self.named),
                _ => Some(&mut self.made),
            };
            if let Some(made) = made {
                made.push_str(cut);
                made.push('\n');
            }
        }
        let found = match &call.result {
            // Written out only while any of it can be looked through.
            _ if self.room == 0 => return,
            Some(CallResult::Completed { value, .. }) => &value.to_string(),
            Some(CallResult::Failed { message, .. } | CallResult::Unknown { message, .. }) => message,
            Some(CallResult::HandedOver | CallResult::Erased) | None => return,
        };
        if has_failed || tells_only(call) {
            let cut = self.cut(found);
            self.told.push_str(cut);
            self.told.push('\n');
        } else {
            self.find(found);
        }
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Text { text } => self.say(text),
            Part::File { name, text, .. } => {
                self.find(name);
                self.find(text);
            }
            Part::Image(_) => {}
            Part::Exchange { messages } => {
                for message in messages {
                    match message {
                        Message::System { text } | Message::User { text } | Message::Assistant { text, .. } => {
                            self.say(text);
                        }
                        Message::Tool { text, .. } => self.find(text),
                        Message::Image(_) => {}
                    }
                }
            }
        }
    }

    fn say(&mut self, text: &str) {
        let cut = self.cut(text);
        self.said.push_str(cut);
        self.said.push('\n');
    }

    fn find(&mut self, text: &str) {
        let cut = self.cut(text);
        self.found.push_str(cut);
        self.found.push('\n');
    }

    /// As much of a text as there is room for.
    fn cut<'a>(&mut self, text: &'a str) -> &'a str {
        let cut = &text[..text.floor_char_boundary(self.room)];
        self.room -= cut.len();
        cut
    }
}

/// Figures that others may follow from, at most [`TERMS_MAX`].
#[derive(Debug, Default)]
struct Terms {
    /// Of each text, such as a file's content.
    texts: Vec<Vec<f64>>,
    /// Those that stand alone.
    numbers: Vec<f64>,
}

impl Terms {
    /// Of a turn's results; `None` where there is none.
    fn of(turn: &Turn) -> Option<Self> {
        let results = turn.steps.iter().filter_map(|step| match step {
            Step::Call(call) => call.result.as_ref(),
            Step::Model(_) | Step::Steer { .. } => None,
        });
        let mut values = results.filter_map(|result| match result {
            CallResult::Completed { value, .. } => Some(value),
            CallResult::Failed { .. } | CallResult::Unknown { .. } | CallResult::HandedOver | CallResult::Erased => {
                None
            }
        });
        let first = values.next()?;
        let (mut terms, mut room) = (Self::default(), TERMS_MAX);
        std::iter::once(first).chain(values).for_each(|value| terms.add(value, &mut room));
        Some(terms)
    }

    fn add(&mut self, value: &Value, room: &mut usize) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.add(item, room)),
            Value::Object(fields) => fields.values().for_each(|value| self.add(value, room)),
            Value::String(text) => {
                let text = &text[..text.floor_char_boundary(KNOWN_BYTES_MAX)];
                let figures: Vec<f64> = runs(text, false).filter_map(number).take(*room).collect();
                *room -= figures.len();
                self.texts.push(figures);
            }
            Value::Number(one) => {
                let figures = one.as_f64().into_iter().take(*room);
                *room -= figures.len();
                self.numbers.extend(figures);
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// True for what all figures of a text come to, or of all texts, or all that stand alone; or two of any of them.
    fn lead_to(&self, figure: &str) -> bool {
        let Some(value) = number(figure) else { return false };
        let is_it = |other: f64| (other - value).abs() <= value.abs().max(1.0) * ROUNDING;
        let sums = self.texts.iter().map(|figures| figures.iter().sum::<f64>());
        let all = [sums.clone().sum::<f64>(), self.numbers.iter().sum()];
        if sums.chain(all).any(is_it) {
            return true;
        }
        let all: Vec<f64> = self.texts.iter().flatten().chain(&self.numbers).copied().collect();
        let pairs = all.iter().enumerate().flat_map(|(at, one)| all[at + 1..].iter().map(move |other| (*one, *other)));
        pairs.flat_map(|(one, other)| [one + other, (one - other).abs(), one * other]).any(is_it)
    }
}

fn number(run: &str) -> Option<f64> {
    run.replace(',', "").trim_end_matches('.').parse().ok()
}

/// Digits with what may stand between them. Beside letters, as in `v12` or `52kg`, only where `beside_letters` says so.
fn runs(text: &str, beside_letters: bool) -> impl Iterator<Item = &str> {
    const INNER: [char; 5] = [',', '.', ':', '/', '-'];
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + text[from..].find(|c: char| c.is_ascii_digit())?;
            let is_inner = |c: char| c.is_ascii_digit() || INNER.contains(&c);
            let length = text[start..].find(|c| !is_inner(c)).unwrap_or(text.len() - start);
            from = start + length;
            let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            let has_letter = is_letter(text[..start].chars().next_back()) || is_letter(text[from..].chars().next());
            if beside_letters || !has_letter {
                return Some(text[start..from].trim_end_matches(INNER));
            }
        }
    })
}

/// Adds all figures of a text, in every way that it may be read.
fn found(text: &str, figures: &mut BTreeSet<String>) {
    for part in runs(text, true).flat_map(|run| run.split([':', '/', '-'])) {
        figures.extend(figure(part));
        // `12,15` may be one figure or two.
        figures.extend(part.split(',').filter_map(figure));
    }
}

/// A figure in one way of writing: without marks of thousands and zeros that say nothing. `None` for a short one, and for
/// what is a version or an address.
fn figure(run: &str) -> Option<String> {
    let plain: String = run.chars().filter(|c| *c != ',').collect();
    let plain = plain.trim_end_matches('.');
    let plain = match plain.split_once('.') {
        Some((_, rest)) if rest.contains('.') => return None,
        Some(_) => plain.trim_end_matches('0').trim_end_matches('.'),
        None => plain,
    };
    let plain = plain.trim_start_matches('0');
    (plain.chars().filter(char::is_ascii_digit).count() >= DIGITS_MIN).then(|| plain.to_owned())
}

/// Words that are names of files: letters, digits and the like with an extension.
fn file_names(text: &str) -> impl Iterator<Item = &str> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-', '/'].contains(&c);
    text.split(move |c| !is_of_name(c)).map(|word| word.trim_end_matches(['.', '-', '/'])).filter(|word| {
        word.rsplit_once('.').is_some_and(|(stem, extension)| {
            let stem = stem.rsplit('/').next().unwrap_or_default();
            // Neither `e.g` nor `p.m`.
            !stem.is_empty()
                && stem.len() + extension.len() > 2
                && (1..=5).contains(&extension.len())
                && extension.starts_with(|c: char| c.is_ascii_alphabetic())
                && extension.chars().all(|c| c.is_ascii_alphanumeric())
        })
    })
}

#[cfg(test)]
mod tests;

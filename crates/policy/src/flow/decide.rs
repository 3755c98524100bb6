//! The decision about a side effect, in this order: was it asked for, does
//! every value that says where, what, as whom and by which right come from the
//! user or somebody who vouches, and does nothing private leave unseen.
//!
//! Asked and trusted: allow. Asked with a delegated value: ask, showing value
//! and origin. Not asked with nothing untrusted in view: ask. Not asked while
//! untrusted content is in view: deny, not ask, and say what the user could
//! type: whoever is asked about everything answers yes to everything.
//!
//! SOURCE: Denning 1976 (lattice of labels); Debenedetti et al., "Defeating
//! Prompt Injections by Design" (2025), for capabilities of values.

mod facts;
mod granted;

use std::collections::BTreeSet;

use are_core::body::{Effect, Outcome};
use are_core::canonical::Args;
use are_core::ids::{SecretName, TurnNo};
use are_core::label::{Confidentiality, Integrity, Label};
use are_core::payload::Bound;
use serde_json::Value;

use self::facts::Facts;
use super::intent::{Asked, Subject};
use super::lookalike;
use super::request::Clause;
use super::text::Text;
use super::trace::{Traced, Tracer, Trust, is_checked, leaves};
use super::view::View;
use crate::call::Parent;
use crate::manifest::{Manifest, Role, ToolSet};
use crate::secrets;

/// Values of one call that are traced; a call with more is decided as if the rest were nobody's.
const VALUES_MAX: usize = 256;
/// Bytes of a value that is looked up whole; a longer one is content and nobody's.
const VALUE_BYTES_MAX: usize = 4 << 10;
/// Stands for the argument of a secret's name: no argument of a tool is called that.
const SECRET_ARG: &str = "${secret}";
/// Bytes of a value that a reason shows.
const SHOWN_BYTES_MAX: usize = 120;

/// What a decision by flow is made from.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The tool.
    pub manifest: &'a Manifest,
    /// Its arguments.
    pub args: &'a Args,
    /// What this call does.
    pub effect: Effect,
    /// The turn.
    pub turn: TurnNo,
    /// All tools on offer.
    pub tools: &'a ToolSet,
    /// What the next request holds, and what the user said.
    pub view: &'a View,
    /// Worst label of that, variables in the arguments included.
    pub in_view: &'a Label,
    /// Values of variables that the arguments name, already put in.
    pub bound: &'a [&'a Bound],
    /// Calls of this turn that were allowed before this one: tool and arguments.
    pub earlier: &'a [(&'a str, &'a Args)],
    /// The running calls that make this one, nearest first.
    pub parents: &'a [Parent<'a>],
}

/// What the flow of information says of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// The outcome.
    pub outcome: Outcome,
    /// Which step decided, e.g. `asked`.
    pub step: &'static str,
    /// Why, for people and the model.
    pub why: String,
    /// What the user could type or do; empty when nothing is needed.
    pub say: String,
    /// Whether it was asked for.
    pub asked: Asked,
    /// The arguments that count, traced.
    pub traced: Vec<Traced>,
}

/// Label of a call's arguments: of each value where it came from, of what has no origin the worst in view.
#[must_use]
pub fn label_of(question: &Question<'_>) -> Label {
    let tracer = Tracer::new(question);
    let mut label: Option<Label> = None;
    let mut count = 0;
    let args = Value::Object(question.args.to_map());
    leaves_of(&args, &mut |_, _, leaf| {
        count += 1;
        let is_long = leaf.as_str().is_some_and(|text| text.len() > VALUE_BYTES_MAX);
        let traced = if is_long || count > VALUES_MAX { None } else { tracer.leaf("", leaf) };
        let own = match traced {
            None if matches!(leaf, Value::Bool(_) | Value::Null) => return,
            Some(Traced { label: Some(label), trust, .. })
                if trust.is_trusted() || label.integrity == Integrity::Untrusted =>
            {
                label
            }
            // Whoever vouches for the value did not choose it.
            Some(Traced { label: Some(label), .. }) => label.join(question.in_view),
            None | Some(Traced { label: None, .. }) => question.in_view.clone(),
        };
        let own = secrets::label(&named(leaf)).map_or_else(|| own.clone(), |secret| own.join(&secret));
        label = Some(label.as_ref().map_or_else(|| own.clone(), |label| label.join(&own)));
    });
    let label = label.unwrap_or_else(|| Label {
        integrity: Integrity::System,
        confidentiality: Confidentiality::Public,
        origins: Vec::new(),
    });
    let own: BTreeSet<SecretName> = secrets::declared(question.manifest).collect();
    secrets::label(&own).map_or_else(|| label.clone(), |secret| label.join(&secret))
}

/// The secrets that a leaf names.
fn named(leaf: &Value) -> BTreeSet<SecretName> {
    // PERF: nearly no leaf names one.
    let has_any = leaf.as_str().is_some_and(|text| text.contains(secrets::MARK));
    if has_any { secrets::in_json(leaf).unwrap_or_default() } else { BTreeSet::new() }
}

fn leaves_of(args: &Value, visit: &mut impl FnMut(&str, &Value, &Value)) {
    let Some(args) = args.as_object() else { return };
    for (name, value) in args {
        leaves(value, &mut |leaf| visit(name, value, leaf));
    }
}

/// Decides about a call with a side effect.
#[must_use]
pub fn decide(question: &Question<'_>) -> Ruling {
    let tracer = Tracer::new(question);
    let facts = Facts::of(question, &tracer);
    let (asked, clause) = asked_for(question, &tracer, &facts);
    let through = if matches!(asked, Asked::Clearly(_)) { None } else { asked_through(question, &tracer) };
    let is_part = through.is_some();
    let (asked, clause) = through.unwrap_or((asked, clause));
    let case = Case { question, tracer: &tracer, facts: &facts, asked: &asked, clause, is_part };
    let (outcome, step, why, say) = case.within_plan(case.decide());
    Ruling { outcome, step, why, say, asked, traced: facts.traced }
}

type Asking<'a> = (Asked, Option<&'a Clause>);

/// Whether the user's words ask for the call, and the clause that does.
fn asked_for<'a>(question: &Question<'a>, tracer: &'a Tracer<'a>, facts: &Facts) -> Asking<'a> {
    let Some(tool) = tracer.vocabulary().of(&question.manifest.name) else { return (Asked::No, None) };
    let checked: Vec<Traced> = facts.traced.iter().filter(|traced| !traced.is_inside).cloned().collect();
    let is_worded = facts.is_worded;
    tracer.asked(&Subject { manifest: question.manifest, tool, traced: &checked, names: &facts.names, is_worded })
}

/// Whether a call that makes this one was clearly asked for, and all up to it declare an effect as bad as this one's:
/// whoever asked for them asked for that.
fn asked_through<'a>(question: &Question<'a>, tracer: &'a Tracer<'a>) -> Option<Asking<'a>> {
    for parent in question.parents {
        let effect = parent.manifest.effect_of(parent.args);
        if question.effect > effect {
            return None;
        }
        let made = Question { manifest: parent.manifest, args: parent.args, effect, ..*question };
        if let (Asked::Clearly(by), clause) = asked_for(&made, tracer, &Facts::of(&made, tracer)) {
            return Some((Asked::Clearly(format!("{by}: {}", parent.manifest.name)), clause));
        }
    }
    None
}

pub(super) type Said = (Outcome, &'static str, String, String);

pub(super) struct Case<'a> {
    pub(super) question: &'a Question<'a>,
    tracer: &'a Tracer<'a>,
    facts: &'a Facts,
    asked: &'a Asked,
    /// The clause that clearly asks for the call.
    clause: Option<&'a Clause>,
    /// True when what was asked for is a call that makes this one.
    is_part: bool,
}

impl Case<'_> {
    fn decide(&self) -> Said {
        let said = if self.question.manifest.is_granted() { self.by_grant() } else { self.by_request() };
        match said.0 {
            Outcome::Allow => self.objection().unwrap_or(said),
            Outcome::Ask | Outcome::Deny => said,
        }
    }

    /// What speaks against a call that may run otherwise.
    fn objection(&self) -> Option<Said> {
        let mut values = self.facts.traced.iter().filter(|traced| !traced.is_inside);
        if let Some(forbidden) = values.find(|traced| self.tracer.is_forbidden(traced)) {
            return Some(self.ask("forbidden", format!("you said something against `{}`", short(&forbidden.value))));
        }
        (self.facts.is_empty && self.question.effect == Effect::Destructive)
            .then(|| self.ask("unnamed", "an argument that says what is destroyed is empty".to_owned()))
    }

    fn by_request(&self) -> Said {
        let is_tainted = self.question.in_view.integrity == Integrity::Untrusted;
        if !is_tainted && let Some(chosen) = self.chosen_by_tool() {
            let maker = self.question.parents.first().map(|parent| parent.manifest.name.as_str()).unwrap_or_default();
            let why = format!(
                "`{}` = `{}` is the choice of `{maker}`: you did not name it",
                chosen.arg,
                short(&chosen.value)
            );
            return self.ask("tools-choice", why);
        }
        if self.question.effect == Effect::NetworkRead {
            return self.network_read(is_tainted);
        }
        match self.asked {
            Asked::Clearly(_) if is_tainted => self.asked_for(),
            Asked::Clearly(_) if self.is_one_more() => self.one_more(),
            Asked::Clearly(by) => {
                self.allow("asked", format!("you asked for it (`{by}`), and nothing untrusted is in view"))
            }
            Asked::Perhaps(_) | Asked::Unclear(_) if !is_tainted && self.facts.is_trusted() => {
                self.unclear_but_trusted()
            }
            Asked::Perhaps(_) | Asked::Unclear(_) | Asked::No if !is_tainted => {
                self.ask("not-asked", format!("nothing you said clearly asks for `{}`", self.name()))
            }
            Asked::Perhaps(_) | Asked::Unclear(_) => self.unclear(),
            Asked::No => self.not_asked(),
        }
    }

    fn name(&self) -> &str {
        self.question.manifest.name.as_str()
    }

    /// What the code of a tool that makes this call says where or what to, and nobody else: whoever asked for the tool has
    /// not seen it. A host that all makers declare has been seen by whoever serves them.
    fn chosen_by_tool(&self) -> Option<&Traced> {
        let parents = self.question.parents;
        let is_declared = parents.iter().all(|parent| parent.manifest.capabilities.is_some());
        if parents.is_empty() || (is_declared && !self.question.manifest.is_contained) {
            return None;
        }
        self.facts.traced.iter().find(|traced| !traced.trust.is_trusted())
    }

    /// Reading an address is asked for by naming it.
    fn network_read(&self, is_tainted: bool) -> Said {
        if self.facts.is_trusted() && !self.facts.traced.is_empty() {
            return self.allow("named-address", "you named the address, or a service vouches for it".to_owned());
        }
        if !is_tainted {
            return match self.asked {
                Asked::Clearly(by) => {
                    self.allow("asked", format!("you asked for it (`{by}`), and nothing untrusted is in view"))
                }
                Asked::Perhaps(_) | Asked::Unclear(_) | Asked::No => {
                    self.ask("not-asked", "you did not name this address".to_owned())
                }
            };
        }
        match self.facts.worst() {
            Some(worst) if matches!(worst.trust, Trust::Prose | Trust::Nothing) => self.outside_value(worst),
            Some(worst) if !self.is_satisfied() => self.delegated(worst),
            _ => self.deny("not-asked", format!("`{}` was asked for with another address", self.name())),
        }
    }

    /// True when the tool already had what the user named for it, and not more was asked for.
    fn is_satisfied(&self) -> bool {
        let was_named = |args: &Args| {
            let mut all = true;
            let map = Value::Object(args.to_map());
            leaves_of(&map, &mut |name, _, leaf| {
                if is_checked(self.question.manifest.role_of(name)) {
                    all &= self.tracer.leaf(name, leaf).is_none_or(|traced| traced.trust == Trust::Said);
                }
            });
            all
        };
        let requests = &self.tracer.request;
        !requests.clauses.iter().any(|clause| requests.is_plural(clause))
            && self.question.earlier.iter().any(|(tool, args)| *tool == self.name() && was_named(args))
    }

    fn asked_for(&self) -> Said {
        let Asked::Clearly(by) = self.asked else { return self.not_asked() };
        if !self.facts.is_trusted() {
            let prose = self.facts.traced.iter().find(|traced| traced.trust == Trust::Prose);
            if let Some(prose) = prose.filter(|traced| !self.tracer.says_where(traced)) {
                return self.outside_value(prose);
            }
            return match self.facts.worst() {
                Some(worst) => self.delegated(worst),
                None => self.ask("too-much", "it has more or longer values than are looked at".to_owned()),
            };
        }
        let is_foreign = |amount: &&Traced| {
            let is_outside = amount.trust > Trust::Described && amount.trust < Trust::Nothing;
            is_outside
                && (self.question.effect == Effect::Financial
                    || !self.tracer.is_by_chance(amount, &self.question.manifest.name))
        };
        if let Some(amount) = self.facts.amounts.iter().find(is_foreign) {
            return self.delegated(amount);
        }
        let says_how_much = self.clause.is_some_and(Clause::has_number);
        if let Some(amount) = self.facts.amounts.iter().find(|amount| amount.trust == Trust::Nothing)
            && says_how_much
        {
            return self.delegated(amount);
        }
        if self.leaks() {
            return self.ask(
                "private",
                "private data and untrusted content are in view, what is sent is not in your words, and you did not \
                 name who gets it"
                    .to_owned(),
            );
        }
        if self.is_one_more() {
            return self.one_more();
        }
        self.allow("asked", format!("you asked for it (`{by}`), and its values are yours or vouched for"))
    }

    /// Private data, untrusted content and an outside destination are never silent unless the user named it.
    fn leaks(&self) -> bool {
        let is_outside = match self.question.effect {
            Effect::NetworkRead | Effect::Send | Effect::Share | Effect::Financial | Effect::Credential => true,
            Effect::None | Effect::Create | Effect::Modify | Effect::Destructive => false,
        };
        let role = |traced: &Traced| self.question.manifest.role_of(&traced.arg);
        let is_own = |traced: &Traced| !traced.is_inside && traced.arg != SECRET_ARG;
        let destinations: Vec<&Traced> =
            self.facts.traced.iter().filter(|traced| is_own(traced) && role(traced) == Role::Destination).collect();
        let is_named = |traced: &&Traced| {
            self.tracer.is_named(traced)
                || (traced.trust == Trust::Vouched
                    && self.clause.is_some_and(|clause| self.tracer.asks_for_all(clause, &traced.arg)))
        };
        let says_much = self.facts.has_content && !self.facts.is_worded;
        // That somebody vouches for an address shows that it exists, not that it was meant.
        let is_chosen = destinations.iter().any(|traced| traced.trust == Trust::Vouched && !is_named(traced));
        is_outside
            && self.question.in_view.confidentiality > Confidentiality::Public
            && (is_chosen || (says_much && (destinations.is_empty() || !destinations.iter().all(is_named))))
    }

    /// True when the tool already ran, without anything new that the user named, and only one was asked for.
    fn is_one_more(&self) -> bool {
        // How often is a matter of the call that was asked for; of that one no more ran than were asked for.
        if self.is_part {
            return false;
        }
        let earlier: Vec<&Args> =
            self.question.earlier.iter().filter(|(tool, _)| *tool == self.name()).map(|(_, args)| *args).collect();
        let is_plural = match self.clause {
            Some(clause) => self.tracer.request.is_plural(clause),
            None => self.tracer.request.clauses.iter().any(|clause| self.tracer.request.is_plural(clause)),
        };
        if earlier.is_empty() || is_plural {
            return false;
        }
        let words_of = |value: &str| Text::new(value).words().map(str::to_owned).collect::<Vec<_>>();
        let mut had = std::collections::HashSet::new();
        for args in &earlier {
            leaves_of(&Value::Object(args.to_map()), &mut |_, _, leaf| {
                had.extend(
                    leaf.as_str().map(words_of).or_else(|| leaf.is_number().then(|| words_of(&leaf.to_string()))),
                );
            });
        }
        let had = |value: &str| had.contains(&words_of(value));
        let is_new = |traced: &Traced| self.tracer.is_named(traced) && !traced.is_inside && !had(&traced.value);
        !self.facts.traced.iter().any(is_new)
    }

    fn one_more(&self) -> Said {
        self.ask("again", format!("`{}` already ran in this turn, and you did not ask for more of it", self.name()))
    }

    /// A request that could mean this call.
    fn unclear(&self) -> Said {
        if self.facts.is_trusted() {
            return self.unclear_but_trusted();
        }
        let is_bare = |traced: &&Traced| {
            traced.trust == Trust::Nothing
                && !traced.value.trim().contains(char::is_whitespace)
                && !self.tracer.is_composed(&traced.value)
        };
        if let Some(bare) = self.facts.traced.iter().find(is_bare) {
            return self.outside_value(bare);
        }
        let in_text: Vec<&Traced> =
            self.facts.traced.iter().filter(|traced| matches!(traced.trust, Trust::Prose | Trust::Pointed)).collect();
        let is_delegated = |traced: &&Traced| {
            self.tracer.says_where(traced)
                || traced
                    .found
                    .is_some_and(|place| self.tracer.delegates_to(self.question.view.leaf(place.leaf).source))
        };
        if let Some(first) = in_text.first() {
            let is_delegated = in_text.iter().all(is_delegated);
            return if is_delegated { self.delegated(first) } else { self.outside_value(first) };
        }
        match self.facts.worst() {
            Some(worst) => self.delegated(worst),
            None => self.ask("too-much", "it has more or longer values than are looked at".to_owned()),
        }
    }

    /// Silent only where the choice of the tool is all that the model added, or nobody hears of it.
    fn unclear_but_trusted(&self) -> Said {
        let is_mild = match self.question.effect {
            Effect::Create | Effect::Modify | Effect::Send | Effect::Financial => true,
            Effect::None | Effect::NetworkRead | Effect::Destructive | Effect::Share | Effect::Credential => false,
        };
        let amounts_trusted = self.facts.amounts.iter().all(|amount| amount.trust.is_trusted());
        let is_named_value = |traced: &Traced| self.tracer.is_named(traced);
        let is_named = self.facts.traced.iter().chain(&self.facts.amounts).any(|traced| traced.trust == Trust::Said)
            || (self.facts.has_content && self.facts.is_worded);
        // Whoever gets it stands behind a verb that only people know (`refund it to …`), not in what is asked about.
        let reaches = |traced: &&Traced| self.question.manifest.role_of(&traced.arg) == Role::Destination;
        let is_meant = |traced: &Traced| match (traced.trust, self.tracer.vocabulary().of(&self.question.manifest.name))
        {
            (Trust::Said, Some(tool)) => self.tracer.is_ruled(traced, tool),
            _ => self.tracer.is_named(traced),
        };
        let is_mild = is_mild
            && (self.question.effect != Effect::Financial || self.facts.traced.iter().filter(reaches).all(is_meant));
        // What is made or changed where the user said may hold what is vouched for; while nobody else has spoken, and the
        // user named the tool, anything.
        let is_tainted = self.question.in_view.integrity == Integrity::Untrusted;
        let is_strict = is_tainted || !matches!(self.asked, Asked::Perhaps(_));
        let is_users = |traced: &Traced| !traced.is_inside && self.tracer.request.is_self(&traced.value);
        let is_ours = match self.question.effect {
            Effect::Create | Effect::Modify => self.facts.is_ours || !is_strict,
            Effect::Send => {
                let all = |test: &dyn Fn(&Traced) -> bool| self.facts.traced.iter().all(test);
                self.facts.is_worded || (!is_strict && all(&is_named_value)) || all(&is_users)
            }
            Effect::None
            | Effect::NetworkRead
            | Effect::Destructive
            | Effect::Share
            | Effect::Financial
            | Effect::Credential => self.facts.is_worded,
        };
        if is_mild && amounts_trusted && is_named && is_ours && !self.is_one_more() {
            return self.allow("own-words", "every value of it is in your words or vouched for".to_owned());
        }
        let is_harmless = self.question.effect == Effect::Create && self.facts.traced.is_empty() && !self.facts.is_cut;
        if is_harmless && matches!(self.asked, Asked::Perhaps(_)) && !self.is_one_more() {
            return self.allow("reaches-nobody", "it makes something new that reaches nobody".to_owned());
        }
        self.ask("unclear", self.doubt())
    }

    fn doubt(&self) -> String {
        match self.asked {
            Asked::Perhaps(by) => format!("your words name {by}, which may or may not ask for `{}`", self.name()),
            Asked::Unclear(by) => format!("`{}` may or may not be what you meant by `{}`", self.name(), short(by)),
            Asked::Clearly(_) | Asked::No => format!("nothing you said asks for `{}`", self.name()),
        }
    }

    /// Whoever is asked sees what looks right, so that an address which looks like a known one is no question.
    fn lookalike(&self) -> Option<Said> {
        let is_place = |value: &&Traced| {
            let role = self.question.manifest.role_of(&value.arg);
            let is_checked = matches!(role, Role::Destination | Role::Identity | Role::Selector);
            !value.trust.is_trusted() && (value.is_inside || is_checked)
        };
        self.facts.traced.iter().filter(is_place).find_map(|value| {
            let known = lookalike::of(&value.value, self.question.view)?;
            let from = if value.origin.is_empty() { "nowhere in view" } else { &value.origin };
            let (shown, known) = (short(&value.value), short(&known));
            let why =
                format!("`{}` is `{shown}`, which looks like `{known}` and is not: it comes from {from}", value.arg);
            Some(self.deny("look-alike", why))
        })
    }

    fn delegated(&self, value: &Traced) -> Said {
        if let Some(said) = self.lookalike() {
            return said;
        }
        let from = if value.origin.is_empty() { "nowhere in view".to_owned() } else { value.origin.clone() };
        let mut why = format!("`{}` is `{}`, which comes from {from} and not from you", value.arg, short(&value.value));
        if !matches!(self.asked, Asked::Clearly(_)) {
            why = format!("{}; {why}", self.doubt());
        }
        self.ask("delegated", why)
    }

    fn outside_value(&self, value: &Traced) -> Said {
        let from = if value.origin.is_empty() { "nobody in view".to_owned() } else { value.origin.clone() };
        let why = format!(
            "nothing you said asks for it with `{}` = `{}`, which comes from {from}",
            value.arg,
            short(&value.value)
        );
        self.deny("outside-value", why)
    }

    fn not_asked(&self) -> Said {
        self.deny("not-asked", format!("nothing you said asks for `{}`, and untrusted content is in view", self.name()))
    }

    fn allow(&self, step: &'static str, why: String) -> Said {
        (Outcome::Allow, step, why, String::new())
    }

    pub(super) fn ask(&self, step: &'static str, why: String) -> Said {
        (Outcome::Ask, step, why, "or say yourself what it should be done with".to_owned())
    }

    pub(super) fn deny(&self, step: &'static str, why: String) -> Said {
        let values = self.facts.traced.iter().filter(|traced| !traced.trust.is_trusted() && !traced.is_inside);
        let named: Vec<String> = values.map(|traced| format!("`{}`", short(&traced.value))).collect();
        let with = if named.is_empty() { String::new() } else { format!(" with {}", named.join(", ")) };
        let verb = self.question.manifest.description.split(['.', '\n']).next().unwrap_or_default();
        (Outcome::Deny, step, why, format!("if the user wants it, the user has to type it{with}: {}", short(verb)))
    }
}

fn short(text: &str) -> String {
    let cut = text.floor_char_boundary(SHOWN_BYTES_MAX);
    let shown = text[..cut].replace(['`', '\n', '\r'], " ");
    if cut < text.len() { format!("{shown}…") } else { shown }
}

#[cfg(test)]
mod tests;

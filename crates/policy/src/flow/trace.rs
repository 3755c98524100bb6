//! Where an argument's value can come from.
//!
//! A value is traced to every place in view where it stands whole, and the
//! best of them counts, for one exception: an answer is no better than its
//! question. What a tool vouches for is vouched for only while the user, or
//! something vouched for, chose what was looked up; when text from outside
//! did, the answer is that text's choice. A value without any place is nobody's.

mod pushed;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use are_core::body::Effect;
use are_core::ids::ToolName;
use are_core::label::{Integrity, Label, worst_of};
use are_core::payload::Bound;
use serde_json::Value;

use super::decide::Question;
use super::request::Request;
use super::text::{Needle, Text};
use super::view::{Place, Source, View, written};
use super::vocabulary::{Stems, Vocabulary};
use super::words;
use crate::manifest::{Manifest, Role, ToolSet};

/// Answers to questions that answers led to are followed this deep; deeper ones count as somebody else's.
const CHAIN_MAX: usize = 32;
/// Letters of a word by which the user can describe a value.
const DESCRIBING_CHARS_MIN: usize = 4;
/// Words of a value that can be described by its first.
const DESCRIBED_WORDS_MAX: usize = 4;
/// Words of a field that can name the object it belongs to.
const NAMING_WORDS_MAX: usize = 12;
/// Words of a value that is looked up in what was read; a longer one is content.
const VALUE_WORDS_MAX: usize = 64;
/// Values by which something was looked up that are followed; a call with more was somebody else's choice.
const SELECTORS_MAX: usize = 64;
/// Integers up to here are exact as JSON's numbers.
const EXACT_MAX: f64 = 9_007_199_254_740_991.0;

/// What a value rests on, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// The user's own words.
    Said,
    /// A tool's field that a service or the account vouches for.
    Vouched,
    /// The only value in view that the user's words describe, from an untrusted list.
    Described,
    /// An item of its own in untrusted content: a list's entry, a field, a line.
    Item,
    /// Running text of a source that the user named.
    Pointed,
    /// Running text of another source.
    Prose,
    /// Nothing in view.
    Nothing,
}

impl Trust {
    /// True for what the user or a service stands for.
    #[must_use]
    pub const fn is_trusted(self) -> bool {
        matches!(self, Self::Said | Self::Vouched | Self::Described)
    }
}

/// A traced value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Name of the argument.
    pub arg: String,
    /// The value, as text.
    pub value: String,
    /// What it rests on.
    pub trust: Trust,
    /// Where it came from, for people; empty for nothing.
    pub origin: String,
    /// Its label; `None` for nothing.
    pub label: Option<Label>,
    /// True for an address or link inside content.
    pub is_inside: bool,
    pub(super) found: Option<Place>,
}

/// How far an answer can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// The user named what was looked up.
    is_pointed: bool,
    /// Text from outside chose what was looked up.
    is_foreign: bool,
}

/// Traces values in a view.
pub(super) struct Tracer<'a> {
    pub(super) view: &'a View,
    pub(super) tools: &'a ToolSet,
    /// What the running turn asks.
    pub(super) request: &'a Request,
    bound: &'a [&'a Bound],
    standings: RefCell<HashMap<usize, Standing>>,
}

impl<'a> Tracer<'a> {
    pub(super) fn new(question: &Question<'a>) -> Self {
        static NOTHING: LazyLock<Request> = LazyLock::new(Request::default);
        let Question { view, turn, tools, bound, .. } = *question;
        let request = view.request(turn).unwrap_or(&NOTHING);
        Self { view, tools, request, bound, standings: RefCell::default() }
    }

    pub(super) fn vocabulary(&self) -> &'a Vocabulary {
        self.tools.vocabulary()
    }

    /// Traces one leaf of an argument.
    pub(super) fn leaf(&self, arg: &str, value: &Value) -> Option<Traced> {
        let (text, found) = match value {
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
            Value::Number(number) if number.as_f64().is_some_and(|number| number.abs() > EXACT_MAX) => {
                (number.to_string(), self.text(&number.to_string()))
            }
            Value::Number(number) => (written(number), self.number(number.as_f64()?)),
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => match self.text(text) {
                (Trust::Nothing, _) => (text.clone(), self.pinned(text).unwrap_or((Trust::Nothing, None))),
                found => (text.clone(), found),
            },
        };
        let traced = self.traced(arg, text, found, false);
        Some(match self.variable(value) {
            Some(label) if traced.trust != Trust::Said => {
                let trust = match label.integrity {
                    Integrity::System | Integrity::User => Trust::Said,
                    Integrity::Platform => Trust::Vouched,
                    Integrity::Untrusted => Trust::Item,
                };
                // What pushed the value or chose it counts for the variable too.
                let trust = if traced.trust == Trust::Nothing { trust } else { trust.max(traced.trust) };
                Traced { trust, origin: label.origins.join(", "), label: Some(label), found: None, ..traced }
            }
            _ => traced,
        })
    }

    /// A name counts as said where the user said the address of what it names: `billing-api` beside
    /// `https://git.example/team/billing-api.git`.
    pub(super) fn or_address_of(&self, traced: Traced) -> Traced {
        if traced.trust <= Trust::Vouched || !self.request.has_address_of(&traced.value) {
            return traced;
        }
        let first = Text::new(&traced.value).words().next().map(str::to_owned).unwrap_or_default();
        let is_users = |place: &Place| *self.view.source_of(place.leaf) == Source::User;
        let Some(place) = self.view.word_places(&first).find(is_users) else { return traced };
        Traced {
            is_inside: traced.is_inside,
            ..self.traced(&traced.arg, traced.value, (Trust::Said, Some(place)), false)
        }
    }

    /// A said address with what a service vouches for of it as its tag counts as said: the image that the user named, by
    /// the digest that its build returned.
    fn pinned(&self, text: &str) -> Option<(Trust, Option<Place>)> {
        let (address, tag) = text.rsplit_once('@')?;
        if !self.request.has_address_before_tag(address) {
            return None;
        }
        let (trust, found) = self.text(tag);
        let place = found.filter(|_| trust == Trust::Vouched)?;
        let Source::Tool { name, args } = self.view.source_of(place.leaf) else { return None };
        let manifest = self.tools.get(name).map(|(manifest, _)| manifest);
        let is_of_it = |one: &String| {
            self.request.has_address_before_tag(one.split_once(['@', ':']).map_or(one.as_str(), |(address, _)| address))
                && one.starts_with(address)
                && Needle::new(one).is_some_and(|one| self.is_said(&one))
        };
        selectors(manifest, &Value::Object(args.to_map())).iter().any(is_of_it).then_some((Trust::Said, Some(place)))
    }

    /// The label of a variable whose value is exactly this one.
    fn variable(&self, value: &Value) -> Option<Label> {
        let bound = self.bound.iter().find(|bound| bound.value == *value)?;
        Some(worst_of(&bound.labels).unwrap_or_else(|| Label::worst("variable")))
    }

    /// Traces an address inside content.
    pub(super) fn inside(&self, arg: &str, address: &str) -> Traced {
        self.traced(arg, address.to_owned(), self.text(address), true)
    }

    fn traced(&self, arg: &str, value: String, (trust, found): (Trust, Option<Place>), is_inside: bool) -> Traced {
        let label = found.map(|place| self.view.leaf(place.leaf).label.clone());
        let origin = label.as_ref().map(|label| label.origins.join(", ")).unwrap_or_default();
        Traced { arg: arg.to_owned(), value, trust, origin, label, is_inside, found }
    }

    /// What a text rests on, with the place that counts.
    pub(super) fn text(&self, raw: &str) -> (Trust, Option<Place>) {
        self.text_before(raw, usize::MAX, 0)
    }

    fn text_before(&self, raw: &str, limit: usize, depth: usize) -> (Trust, Option<Place>) {
        let Some(value) = Needle::new(raw) else { return (Trust::Nothing, None) };
        if value.text.len() > VALUE_WORDS_MAX {
            return (Trust::Nothing, None);
        }
        let best = self.best(self.view.places(&value), value.text.len(), limit, depth);
        let best = match value.bare() {
            Some(bare) if best.0 != Trust::Said => {
                best_of(best, self.best(self.view.places(&bare), bare.text.len(), limit, depth))
            }
            _ => best,
        };
        if best.0 == Trust::Item && self.is_described(&value, limit) {
            return (Trust::Described, best.1);
        }
        if best.0 == Trust::Vouched && best.1.is_some_and(|place| self.is_pushed(&value, place, limit)) {
            return (Trust::Item, best.1);
        }
        best
    }

    fn number(&self, number: f64) -> (Trust, Option<Place>) {
        self.best(self.view.number_places(number), 1, usize::MAX, 0)
    }

    fn best(
        &self,
        places: impl Iterator<Item = Place>,
        len: usize,
        limit: usize,
        depth: usize,
    ) -> (Trust, Option<Place>) {
        let mut best = (Trust::Nothing, None);
        for place in places {
            let leaf = self.view.leaf(place.leaf);
            if leaf.source >= limit {
                continue;
            }
            let trust = match self.view.source_at(leaf.source) {
                Source::User => Trust::Said,
                Source::Handed => Trust::Pointed,
                Source::Tool { .. } if leaf.is_untrusted() && leaf.text.is_item(place.word, len) => Trust::Item,
                Source::Tool { .. } => match (leaf.is_untrusted(), self.standing(leaf.source, depth)) {
                    (false, Standing { is_foreign: false, .. }) => Trust::Vouched,
                    (_, Standing { is_pointed: true, .. }) => Trust::Pointed,
                    (_, Standing { is_pointed: false, .. }) => Trust::Prose,
                },
            };
            best = best_of(best, (trust, Some(place)));
            // What was said comes first, then what is vouched for: nothing better follows.
            if best.0 <= Trust::Item {
                break;
            }
        }
        best
    }

    /// True when the user's own words hold the value, in this turn or before.
    pub(super) fn is_said(&self, value: &Needle) -> bool {
        // What was said comes first.
        self.view.places(value).next().is_some_and(|place| *self.view.source_of(place.leaf) == Source::User)
    }

    fn is_said_number(&self, text: &str) -> bool {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        let is_users = |place: Place| *self.view.source_of(place.leaf) == Source::User;
        number.is_some_and(|number| self.view.number_places(number).any(is_users))
    }

    /// True when the source of a value was named by the user, or reached from one that was.
    pub(super) fn is_pointed(&self, source: usize) -> bool {
        *self.view.source_at(source) == Source::Handed || self.standing(source, 0).is_pointed
    }

    fn standing(&self, source: usize, depth: usize) -> Standing {
        if let Some(known) = self.standings.borrow().get(&source) {
            return *known;
        }
        let standing = self.standing_of(source, depth);
        self.standings.borrow_mut().insert(source, standing);
        standing
    }

    fn standing_of(&self, source: usize, depth: usize) -> Standing {
        let Source::Tool { name, args } = self.view.source_at(source) else {
            return Standing { is_pointed: true, is_foreign: false };
        };
        if depth >= CHAIN_MAX {
            return Standing { is_pointed: false, is_foreign: true };
        }
        let manifest = self.tools.get(name).map(|(manifest, _)| manifest);
        let selectors: Vec<String> = selectors(manifest, &Value::Object(args.to_map()));
        let reads = manifest.is_some_and(|manifest| matches!(manifest.effect, Effect::None | Effect::NetworkRead));
        if selectors.len() > SELECTORS_MAX {
            return Standing { is_pointed: false, is_foreign: true };
        }
        // What takes nothing to be looked up by is named by its own words: `my unread mails`.
        let is_pointed = reads
            && match selectors.is_empty() {
                true => name.parse().is_ok_and(|name| self.names_tool(&name)),
                false => selectors.iter().all(|one| self.points(one, source, depth)),
            };
        Standing { is_pointed, is_foreign: selectors.iter().any(|one| self.is_foreign(one, source, depth)) }
    }

    /// Whether what was looked up is what the user named, described or pointed to.
    fn points(&self, selector: &str, limit: usize, depth: usize) -> bool {
        let (trust, found) = self.text_before(selector, limit, depth + 1);
        if matches!(trust, Trust::Said | Trust::Described) || self.is_worded(selector) {
            return true;
        }
        found.is_some_and(|place| {
            let source = self.view.leaf(place.leaf).source;
            self.standing(source, depth + 1).is_pointed || self.is_linked(place)
        })
    }

    /// Whether a clause of the user's names everything that a tool is about, its verb aside; one word alone names a kind.
    fn names_tool(&self, name: &ToolName) -> bool {
        let Some(tool) = self.vocabulary().of(name) else { return false };
        let stems = Stems::new();
        let verbs: Vec<String> = tool.actions.iter().map(|verb| stems.of(verb)).collect();
        let about: Vec<&String> = tool.names.iter().filter(|stem| !verbs.contains(stem)).collect();
        about.len() > 1 && self.request.clauses.iter().any(|clause| about.iter().all(|stem| clause.has_stem(stem)))
    }

    /// Whether text from outside chose what was looked up.
    fn is_foreign(&self, selector: &str, limit: usize, depth: usize) -> bool {
        let (trust, _) = self.text_before(selector, limit, depth + 1);
        if matches!(trust, Trust::Said | Trust::Described) || self.is_worded(selector) {
            return false;
        }
        let Some(value) = Needle::new(selector) else { return true };
        // A field that is the value and nothing else names it without asking for it; a line of a text may ask.
        let in_prose = |place: Place| {
            let leaf = self.view.leaf(place.leaf);
            leaf.source < limit && leaf.is_untrusted() && leaf.text != value.text
        };
        if self.view.untrusted_places(&value).any(in_prose) {
            return true;
        }
        // Put together from words of which some are only said by somebody else.
        let is_said = |word: &str| words::is_stop(word) || self.is_worded(word);
        let is_prose = |leaf: &super::view::Leaf| leaf.source < limit && leaf.is_untrusted() && leaf.text.len() > 3;
        trust == Trust::Nothing
            && value.text.words().all(|word| is_said(word) || self.view.has_word(word, is_prose))
            && !value.text.words().all(is_said)
    }

    /// True when untrusted content holds a value, or it cannot be looked for.
    pub(super) fn is_in_content(&self, raw: &str) -> bool {
        Needle::new(raw).is_none_or(|value| {
            self.view.untrusted_places(&value).next().is_some()
                || value.text.words().last().is_some_and(|word| self.view.is_flooded(word))
        })
    }

    /// True when a text consists of words that the user said in this turn.
    pub(super) fn is_worded(&self, raw: &str) -> bool {
        self.request.has_words_of(&Text::new(raw))
    }

    /// True when the user said a value, or another field of its record, or the words by which it was looked up.
    pub(super) fn is_named(&self, traced: &Traced) -> bool {
        traced.trust == Trust::Said
            || traced.found.is_some_and(|place| self.is_linked(place) || self.looked_up_by(place).is_some())
    }

    /// The words of the user by which a record was looked up that nobody else could have written into: `Devika` for the
    /// only entry of the user's contacts that holds it.
    pub(super) fn looked_up_by(&self, place: Place) -> Option<Needle> {
        let leaf = self.view.leaf(place.leaf);
        let Source::Tool { name, args } = self.view.source_at(leaf.source) else { return None };
        let manifest = self.tools.get(name).map(|(manifest, _)| manifest)?;
        let selectors = selectors(Some(manifest), &Value::Object(args.to_map()));
        let [selector] = selectors.as_slice() else { return None };
        let selector = Needle::new(selector).filter(|one| one.text.as_str().len() > 2 && self.is_said(one))?;
        let leaves = self.view.answer_around(place.leaf)?;
        let holds =
            |leaf: &super::view::Leaf| leaf.text.len() <= NAMING_WORDS_MAX && leaf.text.find(&selector, 0).is_some();
        let records: BTreeSet<Option<u32>> = leaves.iter().filter(|leaf| holds(leaf)).map(|leaf| leaf.record).collect();
        let is_ours = leaf.record.is_some() && records.len() == 1 && records.contains(&leaf.record);
        (is_ours && !leaves.iter().any(super::view::Leaf::is_untrusted)).then_some(selector)
    }

    /// True when another field of the value's record was said by the user: `the file called Plan` and its id.
    pub(super) fn is_linked(&self, place: Place) -> bool {
        self.view.record(place.leaf).any(|field| {
            let text = field.text.as_str();
            // A sum that was named tells entries apart too, unless it is a single digit.
            field.text.len() <= NAMING_WORDS_MAX
                && (text.len() > 2 || (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())))
                && (self.is_said_number(text) || Needle::new(text).is_some_and(|name| self.is_said(&name)))
        })
    }

    /// True when each of a value's words was said or is vouched for, though not in one piece.
    pub(super) fn is_composed(&self, raw: &str) -> bool {
        let is_ours = |leaf: &super::view::Leaf| {
            !leaf.is_untrusted()
                && !matches!(self.view.source_at(leaf.source), Source::Tool { .. } if self.standing(leaf.source, 0).is_foreign)
        };
        Text::new(raw).words().all(|word| self.view.has_word(word, is_ours))
    }

    /// The only short item in untrusted lists that begins with a word the user said: `the channel starting with X`.
    fn is_described(&self, value: &Needle, limit: usize) -> bool {
        let first = value.text.word(0);
        if value.is_address() || first.chars().count() < DESCRIBING_CHARS_MIN || !self.request.describes_by(first) {
            return false;
        }
        if self.view.is_flooded(first) {
            return false;
        }
        if self.vocabulary().knows(first, &Stems::new().of(first)) {
            return false;
        }
        let mut items = BTreeSet::new();
        for place in self.view.word_places(first) {
            let leaf = self.view.leaf(place.leaf);
            let is_tools = matches!(self.view.source_at(leaf.source), Source::Tool { .. });
            if leaf.source < limit && leaf.is_untrusted() && is_tools {
                let len = (1..=DESCRIBED_WORDS_MAX)
                    .find(|len| place.word + len <= leaf.text.len() && leaf.text.is_item(place.word, *len));
                items.extend(len.map(|len| {
                    (place.word..place.word + len).map(|at| leaf.text.word(at)).collect::<Vec<_>>().join(" ")
                }));
            }
        }
        items.len() == 1
    }
}

fn best_of(one: (Trust, Option<Place>), other: (Trust, Option<Place>)) -> (Trust, Option<Place>) {
    if other.0 < one.0 { other } else { one }
}

/// The texts that say what a call looks up.
pub(super) fn selectors(manifest: Option<&Manifest>, args: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let Some(args) = args.as_object() else { return found };
    for (name, value) in args {
        let role = manifest.map_or(Role::Destination, |manifest| manifest.role_of(name));
        if is_checked(role) {
            leaves(value, &mut |leaf| match leaf {
                Value::String(text) if !text.trim().is_empty() => found.push(text.clone()),
                Value::Number(number) => found.push(written(number)),
                Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {}
            });
        }
    }
    found
}

/// Roles whose values must come from the user or from somebody who vouches for them.
pub(super) const fn is_checked(role: Role) -> bool {
    match role {
        Role::Destination | Role::Selector | Role::Identity | Role::Credential => true,
        Role::Content | Role::Amount | Role::Time | Role::Option => false,
    }
}

/// Visits every leaf, and every key that can carry a value, of an argument.
pub(super) fn leaves(value: &Value, visit: &mut impl FnMut(&Value)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| leaves(item, visit)),
        Value::Object(fields) => fields.iter().for_each(|(key, field)| {
            visit(&Value::String(key.clone()));
            leaves(field, visit);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => visit(value),
    }
}

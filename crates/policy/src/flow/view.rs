//! What the next request's context holds: values with their labels, where each
//! came from, and what the user said.
//!
//! A view is a fold over a session's entries, like the state that keeps it. It
//! outlives turns (what was said and read earlier lends values) and restarts
//! (it is folded again). What the model itself wrote is not in it: its words
//! vouch for nothing. An index by word makes looking a value up independent of
//! how much was read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use are_core::canonical::Args;
use are_core::ids::{ToolName, TurnNo};
use are_core::label::{Confidentiality, Integrity, Label, Labels};
use are_core::model::Message;
use are_core::payload::Part;
use serde_json::Value;

use super::request::{Request, spaced, without_block_quotes};
use super::text::{Needle, Text};

/// Normalised bytes that are kept; then the older half is dropped. A dropped value has no origin any more, which is
/// as untrusted as the worst in view.
const VIEW_BYTES_MAX: usize = 4 << 20;
/// Bytes of one leaf that are looked at.
const LEAF_BYTES_MAX: usize = 1 << 20;
/// Leaves of one result that are looked at.
const RESULT_LEAVES_MAX: usize = 65_536;
/// Places of one word that are looked at for one value.
const PLACES_MAX: usize = 2_048;
/// Bytes of a message of the user's own that outlive what was read beside it.
const SAID_BYTES_MAX: usize = 16 << 10;
/// Leaves of an answer in which an entry is told from others.
const ANSWER_LEAVES_MAX: usize = 1_024;
/// Fields of one object that are looked at beside a value, on either side of it.
const RECORD_FIELDS_MAX: usize = 64;
/// Stands for a tool of a client's own, or for the client; no tool here has that name.
const CLIENT: &str = "?";
/// Characters of a key that may be a field's name; any other key is a value of its own.
const FIELD_NAME: fn(char) -> bool = |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';

/// Who brought a value into view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// The account, in its own words.
    User,
    /// A file or text that the account handed over with its words.
    Handed,
    /// A tool, called with these arguments.
    Tool { name: String, args: Args },
}

/// A leaf of a value, or a text.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) text: Text,
    pub(super) label: Label,
    /// Index of its source.
    pub(super) source: usize,
    /// The object that it is a field of; `None` outside objects.
    pub(super) record: Option<u32>,
}

impl Leaf {
    pub(super) fn is_untrusted(&self) -> bool {
        self.label.integrity == Integrity::Untrusted
    }
}

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) leaf: usize,
    pub(super) word: usize,
}

/// Where a word stands: leaf and position, by whose word the leaf is. What counts most is looked at first.
#[derive(Debug, Clone, Default)]
struct Spots {
    said: Vec<(u32, u32)>,
    vouched: Vec<(u32, u32)>,
    untrusted: Vec<(u32, u32)>,
}

impl Spots {
    const fn len(&self) -> usize {
        self.said.len() + self.vouched.len() + self.untrusted.len()
    }

    /// The newest of each kind.
    fn newest(&self) -> impl Iterator<Item = Place> + '_ {
        newest(&self.said).chain(newest(&self.vouched)).chain(newest(&self.untrusted))
    }
}

fn newest(spots: &[(u32, u32)]) -> impl Iterator<Item = Place> + '_ {
    spots.iter().rev().take(PLACES_MAX).map(|(leaf, word)| Place { leaf: *leaf as usize, word: *word as usize })
}

/// Everything a decision may trace values to.
#[derive(Debug, Clone, Default)]
pub struct View {
    leaves: Vec<Leaf>,
    sources: Vec<Source>,
    words: HashMap<Box<str>, Spots>,
    records: u32,
    bytes: usize,
    /// True once something was dropped, or shown that has no text.
    has_forgotten: bool,
    /// What the turns ask that have not ended.
    requests: BTreeMap<TurnNo, Request>,
    /// The tools that a planner found in what a turn asks, where there is a plan.
    plans: BTreeMap<TurnNo, BTreeSet<ToolName>>,
    /// The plans of the turns above, that a turn of an agent which another one began is held to as well.
    plans_above: BTreeMap<TurnNo, Vec<BTreeSet<ToolName>>>,
}

impl View {
    /// The account says or hands over something in a turn; only its own words ask, and only until the turn ends.
    pub fn hear(&mut self, turn: TurnNo, content: &[Part], integrity: Integrity, label: impl Fn(&Part) -> Label) {
        for part in content {
            let label = label(part);
            let (source, text) = match part {
                Part::Exchange { messages } => {
                    self.hear_exchange(messages, integrity);
                    continue;
                }
                Part::Image(_) => {
                    self.see_image();
                    continue;
                }
                Part::Text { text } if integrity == Integrity::User => {
                    let (own, quoted) = without_block_quotes(text);
                    self.requests.entry(turn).or_default().add(&own);
                    if !quoted.is_empty() {
                        let source = self.source(Source::Handed);
                        self.add(&quoted, &label, source, None);
                    }
                    (Source::User, spaced(&own))
                }
                Part::Text { text } => (Source::Handed, text.clone()),
                Part::File { name, text, .. } => (Source::Handed, format!("{name}\n{text}")),
            };
            let source = self.source(source);
            self.add(&text, &label, source, None);
        }
    }

    /// What stands in an image cannot be traced, so that any value may be from there.
    const fn see_image(&mut self) {
        self.has_forgotten = true;
    }

    /// A client tells what was said before. The user's own messages lend values as those of ended turns do; all else is
    /// what anybody may have written, and nothing that the user handed over, which would count as named by the user.
    fn hear_exchange(&mut self, messages: &[Message], integrity: Integrity) {
        let (said, worst) = (Label::new(Integrity::User, Confidentiality::Private, "user"), Label::worst("client"));
        for message in messages {
            match message {
                Message::User { text } if integrity == Integrity::User => {
                    let (own, quoted) = without_block_quotes(text);
                    let source = self.source(Source::User);
                    self.add(&spaced(&own), &said, source, None);
                    self.hand(&quoted, &worst);
                }
                Message::System { text } | Message::User { text } | Message::Tool { text, .. } => {
                    self.hand(text, &worst);
                }
                Message::Image(_) => self.see_image(),
                Message::Assistant { text, calls, .. } => {
                    self.hand(text, &worst);
                    calls.iter().for_each(|call| self.hand(&call.call.arguments, &worst));
                }
            }
        }
    }

    /// A client declares something that the model reads, such as a tool of its own: what anybody may have written.
    pub fn declare(&mut self, text: &str) {
        self.hand(text, &Label::worst("client"));
    }

    /// Takes in a text of a client's as that of a tool which does not exist.
    fn hand(&mut self, text: &str, label: &Label) {
        if let Ok(args) = Args::parse("{}") {
            self.fail(CLIENT, &args, text, label);
        }
    }

    /// A turn has ended: its words go on lending values, but ask for nothing any more.
    pub fn end(&mut self, turn: TurnNo) {
        self.requests.remove(&turn);
        self.plans.remove(&turn);
        self.plans_above.remove(&turn);
    }

    /// All turns have ended.
    pub fn end_all(&mut self) {
        self.requests.clear();
        self.plans.clear();
        self.plans_above.clear();
    }

    /// A planner was asked what a turn's words ask for: the tools, or `None` where there is no plan, which is as if nobody
    /// had been asked.
    pub fn plan(&mut self, turn: TurnNo, tools: Option<&[ToolName]>) {
        match tools {
            Some(tools) => self.plans.insert(turn, tools.iter().cloned().collect()),
            None => self.plans.remove(&turn),
        };
    }

    /// A turn begins for one that was planned: it is held to that plan too, whatever its own is.
    pub fn plan_above(&mut self, turn: TurnNo, tools: &[ToolName]) {
        self.plans_above.entry(turn).or_default().push(tools.iter().cloned().collect());
    }

    /// The plans that a turn is held to: its own, if there is one, and those of the turns above.
    pub fn plans(&self, turn: TurnNo) -> impl Iterator<Item = &BTreeSet<ToolName>> {
        self.plans.get(&turn).into_iter().chain(self.plans_above.get(&turn).into_iter().flatten())
    }

    /// A call had a result.
    pub fn answer(&mut self, tool: &str, args: &Args, value: &Value, labels: &Labels) {
        let source = self.source(Source::Tool { name: tool.to_owned(), args: args.clone() });
        let fallback = Label::worst("unlabelled");
        let root = labels.get("").unwrap_or(&fallback);
        let mut room = RESULT_LEAVES_MAX;
        self.walk(value, &mut String::new(), root, labels, source, None, &mut room);
    }

    /// A call failed, or nobody knows: its message is in view.
    pub fn fail(&mut self, tool: &str, args: &Args, message: &str, label: &Label) {
        let source = self.source(Source::Tool { name: tool.to_owned(), args: args.clone() });
        self.add(message, label, source, None);
    }

    /// What a turn asks; `None` for one in which the user said nothing.
    pub(super) fn request(&self, turn: TurnNo) -> Option<&Request> {
        self.requests.get(&turn)
    }

    /// Texts of the user's and of what services vouch for, the newest first.
    pub(super) fn trusted_texts(&self) -> impl Iterator<Item = &str> {
        self.leaves.iter().rev().filter(|leaf| !leaf.is_untrusted()).map(|leaf| leaf.text.as_str())
    }

    pub(super) fn leaf(&self, at: usize) -> &Leaf {
        &self.leaves[at]
    }

    pub(super) fn source_of(&self, leaf: usize) -> &Source {
        &self.sources[self.leaves[leaf].source]
    }

    pub(super) fn source_at(&self, at: usize) -> &Source {
        &self.sources[at]
    }

    /// Where a value stands, whole: in the user's words first, then where somebody vouches, then in untrusted content.
    pub(super) fn places<'a>(&'a self, value: &'a Needle) -> impl Iterator<Item = Place> + 'a {
        let (rarest, spots) = self.rarest(value);
        self.whole(value, rarest, spots.into_iter().flat_map(Spots::newest))
    }

    /// The same in untrusted content alone.
    pub(super) fn untrusted_places<'a>(&'a self, value: &'a Needle) -> impl Iterator<Item = Place> + 'a {
        let (rarest, spots) = self.rarest(value);
        self.whole(value, rarest, spots.into_iter().flat_map(|spots| newest(&spots.untrusted)))
    }

    fn whole<'a>(
        &'a self,
        value: &'a Needle,
        rarest: usize,
        spots: impl Iterator<Item = Place> + 'a,
    ) -> impl Iterator<Item = Place> + 'a {
        spots.filter_map(move |Place { leaf, word }| {
            let word = word.checked_sub(rarest)?;
            self.leaves[leaf].text.holds_at(word, value).then_some(Place { leaf, word })
        })
    }

    /// The word of a value that stands in the fewest places, and these.
    fn rarest(&self, value: &Needle) -> (usize, Option<&Spots>) {
        let spots = |at: usize| self.words.get(value.text.word(at));
        let rarest = (0..value.text.len()).min_by_key(|at| spots(*at).map_or(0, Spots::len)).unwrap_or(0);
        (rarest, spots(rarest))
    }

    /// Where a number stands, however many zeros follow its decimals.
    pub(super) fn number_places(&self, number: f64) -> impl Iterator<Item = Place> + '_ {
        let whole = format!("{:.0}", number.abs().trunc());
        let is_negative = number < 0.0;
        let places: Vec<_> = self.word_places(&whole).collect();
        places.into_iter().filter(move |place| {
            let text = &self.leaves[place.leaf].text;
            text.number_at(place.word).is_some_and(|found| found == number.abs())
                && (!is_negative || text.before(place.word).ends_with('-'))
        })
    }

    /// Whether a word stands in a leaf that `test` accepts.
    pub(super) fn has_word(&self, word: &str, test: impl Fn(&Leaf) -> bool) -> bool {
        self.word_places(word).any(|place| test(&self.leaves[place.leaf]))
    }

    /// Places of one word.
    pub(super) fn word_places(&self, word: &str) -> impl Iterator<Item = Place> + '_ {
        self.words.get(word).into_iter().flat_map(Spots::newest)
    }

    /// Leaves of one object.
    pub(super) fn record(&self, leaf: usize) -> impl Iterator<Item = &Leaf> {
        let (record, start) = (self.leaves[leaf].record, leaf);
        let is_same = move |other: &&Leaf| record.is_some() && other.record == record;
        // Fields of an object stand together.
        let before = self.leaves[..start].iter().rev().take_while(is_same).take(RECORD_FIELDS_MAX);
        before.chain(self.leaves[start..].iter().take_while(is_same).take(RECORD_FIELDS_MAX))
    }

    /// All leaves of the answer that a leaf is part of; `None` for an answer of more than are looked at.
    pub(super) fn answer_around(&self, leaf: usize) -> Option<&[Leaf]> {
        let source = self.leaves.get(leaf)?.source;
        let is_other = |leaf: &Leaf| leaf.source != source;
        let from = self.leaves[..leaf].iter().rposition(is_other).map_or(0, |at| at + 1);
        let to = self.leaves[leaf..].iter().position(is_other).map_or(self.leaves.len(), |at| leaf + at);
        (to - from <= ANSWER_LEAVES_MAX && !self.has_forgotten).then(|| &self.leaves[from..to])
    }

    /// True when more places of a word, more fields of an object or more of what was read exist than are looked at: what
    /// is not found there may yet have been said.
    pub(super) fn is_beyond_sight(&self, value: &Needle, leaf: usize) -> bool {
        let places = self.rarest(value).1.map_or(0, |spots| spots.untrusted.len());
        self.has_forgotten || places > PLACES_MAX || self.record(leaf).nth(RECORD_FIELDS_MAX).is_some()
    }

    /// True when a word stands in more untrusted places than are looked at, or some of what was read is gone.
    pub(super) fn is_flooded(&self, word: &str) -> bool {
        self.has_forgotten || self.words.get(word).is_some_and(|spots| spots.untrusted.len() > PLACES_MAX)
    }

    fn source(&mut self, source: Source) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }

    #[expect(clippy::too_many_arguments, reason = "a recursive walk; a struct of these would be made for each step")]
    fn walk(
        &mut self,
        value: &Value,
        pointer: &mut String,
        label: &Label,
        labels: &Labels,
        source: usize,
        record: Option<u32>,
        room: &mut usize,
    ) {
        let label = if pointer.is_empty() || labels.len() == 1 { label } else { labels.get(pointer).unwrap_or(label) };
        let Some(left) = room.checked_sub(1) else {
            self.has_forgotten = true;
            return;
        };
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                *room = left;
                self.add(&written(number), label, source, record);
            }
            Value::String(text) => {
                *room = left;
                self.add(text, label, source, record);
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    let length = pointer.len();
                    pointer.push('/');
                    pointer.push_str(&at.to_string());
                    self.walk(item, pointer, label, labels, source, record, room);
                    pointer.truncate(length);
                }
            }
            Value::Object(fields) => {
                self.records += 1;
                let record = Some(self.records);
                // Plain fields first, so that those of one object stand together.
                let is_nested = |value: &Value| value.is_object() || value.is_array();
                let (nested, plain): (Vec<_>, Vec<_>) = fields.iter().partition(|(_, value)| is_nested(value));
                for (key, field) in plain.into_iter().chain(nested) {
                    if !key.chars().all(FIELD_NAME) {
                        self.add(key, label, source, record);
                    }
                    let length = pointer.len();
                    pointer.push('/');
                    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                    self.walk(field, pointer, label, labels, source, record, room);
                    pointer.truncate(length);
                }
            }
        }
    }

    fn add(&mut self, text: &str, label: &Label, source: usize, record: Option<u32>) {
        // Normalising may lengthen a text many times over; what counts is what is kept.
        let mut text = Text::new(&text[..text.floor_char_boundary(LEAF_BYTES_MAX)]);
        if text.as_str().len() > LEAF_BYTES_MAX {
            self.has_forgotten = true;
            text = Text::new(&text.as_str()[..text.as_str().floor_char_boundary(LEAF_BYTES_MAX)]);
        }
        if text.len() == 0 {
            return;
        }
        if self.bytes + text.as_str().len() > VIEW_BYTES_MAX {
            self.forget();
        }
        self.bytes += text.as_str().len();
        self.leaves.push(Leaf { text, label: label.clone(), source, record });
        self.index(self.leaves.len() - 1);
    }

    fn index(&mut self, at: usize) {
        let Ok(leaf) = u32::try_from(at) else { return };
        let Leaf { text, source, .. } = &self.leaves[at];
        let is_said = self.sources[*source] == Source::User;
        let is_untrusted = self.leaves[at].is_untrusted();
        for (word, number) in text.words().zip(0_u32..) {
            if !self.words.contains_key(word) {
                self.words.insert(word.into(), Spots::default());
            }
            let Some(spots) = self.words.get_mut(word) else { continue };
            let spots = match (is_said, is_untrusted) {
                (true, _) => &mut spots.said,
                (false, false) => &mut spots.vouched,
                (false, true) => &mut spots.untrusted,
            };
            spots.push((leaf, number));
        }
    }

    /// Drops the older half, but never what the user said.
    fn forget(&mut self) {
        self.has_forgotten = true;
        let mut bytes = 0;
        let newer = self.leaves.iter().rposition(|leaf| {
            bytes += leaf.text.as_str().len();
            bytes > VIEW_BYTES_MAX / 2
        });
        let mut at = 0;
        let (sources, newer) = (&self.sources, newer.map_or(0, |last| last + 1));
        self.leaves.retain(|leaf| {
            at += 1;
            at > newer || (sources[leaf.source] == Source::User && leaf.text.as_str().len() <= SAID_BYTES_MAX)
        });
        self.words.clear();
        self.bytes = self.leaves.iter().map(|leaf| leaf.text.as_str().len()).sum();
        if self.bytes > VIEW_BYTES_MAX / 4 * 3 {
            // Only what was said can be so much.
            self.leaves.drain(..self.leaves.len() / 2);
            self.bytes = self.leaves.iter().map(|leaf| leaf.text.as_str().len()).sum();
        }
        for at in 0..self.leaves.len() {
            self.index(at);
        }
    }
}

/// A number as arguments write it (RFC 8785): `10`, not `10.0`.
pub(super) fn written(number: &serde_json::Number) -> String {
    are_core::canonical::to_canonical(number).unwrap_or_else(|_| number.to_string())
}

//! Whether text from outside names an object, or a number stands in it by chance.

use are_core::ids::ToolName;

use super::super::text::{Needle, Text};
use super::super::view::{Place, Source};
use super::super::vocabulary::Stems;
use super::super::words;
use super::{NAMING_WORDS_MAX, Traced, Tracer};

/// Digits of a number that stands in texts by chance.
const SHORT_NUMBER_MAX: usize = 2;
/// Words on either side of such a number that say what it is of.
const NEAR_WORDS: usize = 8;

impl Tracer<'_> {
    /// Whether a value is a short number that no text says of what this tool is about: the model worked it out.
    pub(in crate::flow) fn is_by_chance(&self, traced: &Traced, tool: &ToolName) -> bool {
        let Some(tool) = self.vocabulary().of(tool) else { return false };
        let is_own = |word: &str, stem: &str| tool.subject.contains(stem) || tool.actions.contains(word);
        is_short_number(&traced.value)
            && traced.value.parse().is_ok_and(|number: f64| {
                self.view.number_places(number).all(|place| {
                    let text = &self.view.leaf(place.leaf).text;
                    text.len() > 1 && !is_near(text, place.word, is_own)
                })
            })
    }

    /// True when running text from outside names this very object, by the value or by another field of its record.
    pub(super) fn is_pushed(&self, value: &Needle, place: Place, limit: usize) -> bool {
        if self.view.is_beyond_sight(value, place.leaf) {
            return true;
        }
        let record = self.view.leaf(place.leaf).record;
        let mut names = vec![value.clone()];
        if self.view.leaf(place.leaf).text == value.text {
            let fields = self
                .view
                .record(place.leaf)
                .filter(|field| (2..=NAMING_WORDS_MAX).contains(&field.text.len()) && field.text.as_str().len() >= 6);
            names
                .extend(fields.filter_map(|field| Needle::new(field.text.as_str())).filter(|name| !self.is_said(name)));
        }
        // `File 13`, and not `13 chairs`.
        let is_known = |word: &str, stem: &str| self.vocabulary().knows(word, stem);
        names.iter().any(|name| {
            let is_short_number = is_short_number(name.text.as_str());
            self.view.untrusted_places(name).any(|other| {
                let leaf = self.view.leaf(other.leaf);
                (!is_short_number || is_near(&leaf.text, other.word, is_known))
                    && leaf.source < limit
                    && leaf.is_untrusted()
                    && (leaf.record.is_none() || leaf.record != record)
                    && matches!(self.view.source_at(leaf.source), Source::Tool { .. } | Source::Handed)
                    && leaf.text != name.text
            })
        })
    }
}

/// Whether a word with a meaning that `test` knows stands near a number.
fn is_near(text: &Text, at: usize, test: impl Fn(&str, &str) -> bool) -> bool {
    let stems = Stems::new();
    (at.saturating_sub(NEAR_WORDS)..(at + NEAR_WORDS).min(text.len())).filter(|near| *near != at).any(|near| {
        let word = text.word(near);
        !words::is_stop(word) && test(word, &stems.of(word))
    })
}

fn is_short_number(text: &str) -> bool {
    text.len() <= SHORT_NUMBER_MAX && text.bytes().all(|byte| byte.is_ascii_digit())
}

//! The lexicon: which words of a text belong to which class.
//!
//! Classes say what a word does in a sentence that steers a model (set aside,
//! reveal, instructions, secrets, …). Entries are data (`lexicon.txt`); one
//! automaton finds all of them in one pass.

use std::collections::HashMap;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::tokens::{Tokens, is_ideograph};

/// The entries.
pub(super) const SOURCE: &str = include_str!("lexicon.txt");
/// Most hits that are looked at in one text; more is a list of words, not a sentence.
const HITS_MAX: usize = 16_384;

/// A set of classes, one bit each.
pub(super) type ClassSet = u64;

/// Words of one class at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    /// Number of the class.
    pub(super) class: u8,
    /// First token.
    pub(super) first: u32,
    /// Last token.
    pub(super) last: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    classes: ClassSet,
    /// Must begin and end at a word's ends.
    is_word: bool,
    /// May go on after its end.
    is_prefix: bool,
}

/// All classes with their entries.
pub(super) struct Lexicon {
    names: Vec<&'static str>,
    automaton: AhoCorasick,
    entries: Vec<Entry>,
    words: HashMap<Box<str>, ClassSet>,
    prefixes: HashMap<Box<str>, ClassSet>,
}

/// Letters of the shortest beginning of a word that stands for the word.
const PREFIX_MIN: usize = 4;

impl Lexicon {
    /// The lexicon of this program.
    pub(super) fn get() -> &'static Self {
        static LEXICON: LazyLock<Lexicon> = LazyLock::new(Lexicon::read);
        &LEXICON
    }

    fn read() -> Self {
        let mut names: Vec<&'static str> = Vec::new();
        let mut table: HashMap<(Box<str>, bool), ClassSet> = HashMap::new();
        for line in SOURCE.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, entries)) = line.split_once(':') else { continue };
            let class = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            for entry in entries.split('|').map(str::trim).filter(|entry| !entry.is_empty()) {
                let (text, is_prefix) = entry.strip_suffix('*').map_or((entry, false), |text| (text, true));
                // Entries are compared with canonical texts, so they are in canonical form themselves.
                let text = Tokens::new(text).text.into_boxed_str();
                *table.entry((text, is_prefix)).or_default() |= 1 << class;
            }
        }
        let mut patterns: Vec<_> = table.into_iter().collect();
        patterns.sort_unstable();
        let is_single = |text: &str| !text.contains(' ') && !text.chars().any(is_anywhere);
        let select = |wanted: bool| {
            let of = patterns.iter().filter(|((text, is_prefix), _)| *is_prefix == wanted && is_single(text));
            of.map(|((text, _), classes)| (text.clone(), *classes)).collect()
        };
        let (words, prefixes) = (select(false), select(true));
        let entries = patterns.iter().map(|((text, is_prefix), classes)| Entry {
            classes: *classes,
            is_word: !text.chars().any(is_anywhere),
            is_prefix: *is_prefix,
        });
        let entries = entries.collect();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(patterns.iter().map(|((text, _), _)| text.as_bytes()));
        // The entries are part of this program and far below the automaton's limits.
        let automaton = automaton.unwrap_or_else(|error| unreachable!("the lexicon is a set of short texts: {error}"));
        Self { names, automaton, entries, words, prefixes }
    }

    /// How many classes there are.
    pub(super) fn len(&self) -> u8 {
        u8::try_from(self.names.len()).unwrap_or(u8::MAX)
    }

    /// The number of a class.
    pub(super) fn class(&self, name: &str) -> Option<u8> {
        self.names.iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok())
    }

    /// Whether a single Latin or Cyrillic word is an entry, or begins as one.
    pub(super) fn knows(&self, word: &str) -> bool {
        if self.words.contains_key(word) {
            return true;
        }
        let ends = word.char_indices().map(|(at, c)| at + c.len_utf8()).skip(PREFIX_MIN - 1);
        ends.into_iter().any(|end| self.prefixes.contains_key(&word[..end]))
    }

    /// Whether a single word is an entry.
    pub(super) fn knows_exactly(&self, word: &str) -> bool {
        self.words.contains_key(word)
    }

    /// All hits in a text, in order of their first word, each class once a place.
    pub(super) fn hits(&self, tokens: &Tokens) -> Vec<Hit> {
        let mut hits = Vec::new();
        let text = tokens.text.as_bytes();
        for found in self.automaton.find_overlapping_iter(&tokens.text) {
            let entry = self.entries[found.pattern().as_usize()];
            let (start, end) = (found.start(), found.end());
            if entry.is_word && !is_whole(text, start, end, entry.is_prefix) {
                continue;
            }
            let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end - 1)) else { break };
            let (first, last) = (tokens.at_byte(start), tokens.at_byte(end));
            let (Ok(first), Ok(last)) = (u32::try_from(first), u32::try_from(last)) else { break };
            let mut classes = entry.classes;
            while classes != 0 {
                let class = classes.trailing_zeros();
                classes &= classes - 1;
                hits.extend(u8::try_from(class).map(|class| Hit { class, first, last }));
            }
            if hits.len() > HITS_MAX {
                break;
            }
        }
        hits.sort_unstable_by_key(|hit| (hit.first, hit.class, std::cmp::Reverse(hit.last)));
        hits.dedup_by_key(|hit| (hit.first, hit.class));
        hits
    }
}

/// Entries of these scripts are found inside of words too.
const fn is_anywhere(c: char) -> bool {
    is_ideograph(c) || matches!(c, '\u{ac00}'..='\u{d7a3}' | '\u{600}'..='\u{6ff}')
}

/// Bytes of a canonical text that belong to the same word: all but spaces and, roughly, ideographs.
fn is_whole(text: &[u8], start: usize, end: usize, is_prefix: bool) -> bool {
    let goes_on = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b' ' && *byte < 0xe3);
    let before = start.checked_sub(1).and_then(|at| text.get(at));
    // The last byte of an ideograph is a continuation, as that of a Cyrillic letter is: a space stands between scripts.
    before.is_none_or(|byte| *byte == b' ') && (is_prefix || !goes_on(text.get(end)))
}

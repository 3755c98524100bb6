//! The lexicon: which words of a text belong to which class.
//!
//! Classes say what a word does in a sentence that steers a model (set aside,
//! reveal, instructions, secrets, …). Entries are data (`lexicon.txt`). Those
//! of scripts with spaces begin where a word does, and are looked up there by
//! their first bytes; one automaton finds all others in one pass.

use std::collections::HashMap;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::sieve::Sieve;
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

/// An entry that begins where a word does.
struct Entry {
    text: Box<str>,
    classes: ClassSet,
    /// Its last word may go on after its end.
    is_prefix: bool,
}

/// All classes with their entries.
pub(super) struct Lexicon {
    names: Vec<&'static str>,
    /// Entries that begin where a word does, by their first bytes.
    starts: HashMap<u32, Vec<Entry>>,
    first: Sieve,
    /// Finds the others, which stand inside of words too.
    anywhere: AhoCorasick,
    classes: Vec<ClassSet>,
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
        let (anywhere, apart): (Vec<_>, Vec<_>) =
            patterns.into_iter().partition(|((text, _), _)| text.chars().any(is_anywhere));
        let mut starts: HashMap<u32, Vec<Entry>> = HashMap::new();
        for ((text, is_prefix), classes) in apart {
            starts.entry(start(text.as_bytes())).or_default().push(Entry { text, classes, is_prefix });
        }
        let first = Sieve::of(starts.keys().map(|start| start.to_le_bytes()));
        let classes = anywhere.iter().map(|(_, classes)| *classes).collect();
        let anywhere = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(anywhere.iter().map(|((text, _), _)| text.as_bytes()));
        // The entries are part of this program and far below the automaton's limits.
        let anywhere = anywhere.unwrap_or_else(|error| unreachable!("the lexicon is a set of short texts: {error}"));
        Self { names, starts, first, anywhere, classes, words, prefixes }
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
        for (at, token) in tokens.list.iter().enumerate() {
            let rest = &text[token.start as usize..];
            let start = start(rest);
            if !self.first.may_hold(&start.to_le_bytes()) || hits.len() > HITS_MAX {
                continue;
            }
            for entry in self.starts.get(&start).into_iter().flatten() {
                if rest.starts_with(entry.text.as_bytes()) && (entry.is_prefix || !goes_on(rest.get(entry.text.len())))
                {
                    push(&mut hits, entry.classes, tokens, at, token.start as usize + entry.text.len() - 1);
                }
            }
        }
        if !tokens.text.is_ascii() {
            let found = self.anywhere.find_overlapping_iter(&tokens.text);
            for found in found.take(HITS_MAX) {
                let Ok(start) = u32::try_from(found.start()) else { break };
                let classes = self.classes[found.pattern().as_usize()];
                push(&mut hits, classes, tokens, tokens.at_byte(start), found.end() - 1);
            }
        }
        hits.sort_unstable_by_key(|hit| (hit.first, hit.class, std::cmp::Reverse(hit.last)));
        hits.dedup_by_key(|hit| (hit.first, hit.class));
        hits
    }
}

/// Adds a hit of each class, from a token to the one that covers the byte `end`.
fn push(hits: &mut Vec<Hit>, mut classes: ClassSet, tokens: &Tokens, first: usize, end: usize) {
    let (Ok(first), Ok(end)) = (u32::try_from(first), u32::try_from(end)) else { return };
    let Ok(last) = u32::try_from(tokens.at_byte(end)) else { return };
    while classes != 0 {
        let class = classes.trailing_zeros();
        classes &= classes - 1;
        hits.extend(u8::try_from(class).map(|class| Hit { class, first, last }));
    }
}

/// Bytes by which entries are looked up; no beginning of a word that is an entry is shorter.
const START_BYTES: usize = 4;

/// The first bytes of a text's first word as one number.
fn start(text: &[u8]) -> u32 {
    let mut bytes = [b' '; START_BYTES];
    for (to, from) in bytes.iter_mut().zip(text).take_while(|(_, from)| goes_on(Some(from))) {
        *to = *from;
    }
    u32::from_le_bytes(bytes)
}

/// Entries of these scripts are found inside of words too.
const fn is_anywhere(c: char) -> bool {
    is_ideograph(c) || matches!(c, '\u{ac00}'..='\u{d7a3}' | '\u{600}'..='\u{6ff}')
}

/// Whether a word goes on with this byte: with any but a space and, roughly, an ideograph's.
fn goes_on(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| *byte != b' ' && *byte < 0xe3)
}

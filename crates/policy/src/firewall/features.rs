//! What the classifier sees of a text: windows of words, each a sparse vector.
//!
//! Two blocks. *Structure*: which classes of the lexicon stand in a window,
//! in which order and how near, how its sentences are built, which rules
//! match. *Words*: single words and pairs. Structure carries over to attacks
//! that nobody has written yet; words add what the lexicon does not name.
//! Features are hashed, so that the weights have one fixed size.

use std::sync::LazyLock;

use super::lexicon::{ClassSet, Hit};
use super::rules::Found;
use super::tokens::Tokens;

/// Weights that there are; a power of two.
pub(super) const BUCKETS: usize = 1 << 18;
/// Of these, those of structure; words have the others, so that no word stands for a structure.
const STRUCTURE_BUCKETS: u64 = 1 << 16;
/// Units of a window: about three sentences.
const WINDOW_UNITS: u32 = 128;
/// Units between the beginnings of two windows.
const STRIDE_UNITS: u32 = 64;
/// Units within which two classes are a pair.
const PAIR_UNITS: u32 = 24;
/// Hits after one that it is paired with.
const PAIRED_MAX: usize = 10;
/// Hits of one window that are looked at; a list of words has more.
const WINDOW_HITS_MAX: usize = 96;

/// Words that hold sentences together; they stand for themselves in the build of a sentence.
const FUNCTION: &[&str] = &[
    "the", "a", "an", "of", "to", "and", "or", "in", "on", "for", "with", "as", "by", "is", "are", "be", "was", "that",
    "this", "it", "if", "not", "no", "do", "does", "will", "can", "would", "should", "could", "may", "what", "how",
    "why", "who", "when", "which", "from", "at", "but", "so", "then", "there", "any", "have", "has",
];

/// Bytes of the longest of them.
const FUNCTION_BYTES_MAX: usize = 6;

/// One window's features, by number of their weight.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// Structure.
    pub(super) structure: Vec<u32>,
    /// Words.
    pub(super) words: Vec<u32>,
}

impl Window {
    /// Numbers of the features of structure and of words.
    #[must_use]
    pub fn pair(&self) -> (&[u32], &[u32]) {
        (&self.structure, &self.words)
    }
}

/// What is known of a text before its windows are cut.
pub(super) struct Read<'a> {
    pub(super) tokens: &'a Tokens,
    pub(super) hits: &'a [Hit],
    pub(super) found: &'a [Found],
    /// Signs of a frame around words: tags of chat templates and the like.
    pub(super) signs: u32,
    /// Of how many classes there are.
    pub(super) classes: u8,
}

/// The windows of a text.
pub(super) fn windows(read: &Read<'_>) -> Vec<Window> {
    let list = &read.tokens.list;
    // PERF: windows overlap, so what a word is by itself is worked out once.
    let each: Vec<Word> = (0..list.len()).map(|at| Word::read(read.tokens.word(at))).collect();
    let mut seen = Seen::default();
    let mut out = Vec::new();
    let mut from = 0;
    while from < list.len() {
        let begin = list[from].unit;
        let to = list.partition_point(|token| token.unit < begin + WINDOW_UNITS);
        out.push(window(read, &each, (from, to), &mut seen));
        if to >= list.len() {
            break;
        }
        from = list.partition_point(|token| token.unit < begin + STRIDE_UNITS).max(from + 1);
    }
    out
}

/// A word by itself.
struct Word {
    hash: u32,
    symbol: u32,
}

impl Word {
    fn read(word: &str) -> Self {
        Self { hash: hash(word.as_bytes()), symbol: function(word).map_or(OTHER, |at| 100 + at) }
    }
}

/// Symbols of a sentence's build: any other word, and a sentence's end.
const OTHER: u32 = 200;
const END: u32 = 201;

/// Places of a table of what one window has; more features than a fifth of that are sorted instead.
const SEEN_PLACES: usize = 2_048;

/// Which features a window has. PERF: this takes out what is there twice without sorting.
struct Seen {
    round: u32,
    places: Box<[(u32, u32)]>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { round: 0, places: vec![(0, 0); SEEN_PLACES].into_boxed_slice() }
    }
}

impl Seen {
    /// Keeps each feature once.
    fn dedup(&mut self, features: &mut Vec<u32>) {
        if features.len() > SEEN_PLACES / 5 {
            features.sort_unstable();
            features.dedup();
            return;
        }
        self.round += 1;
        features.retain(|feature| {
            let mut at = *feature as usize % SEEN_PLACES;
            while self.places[at].0 == self.round {
                if self.places[at].1 == *feature {
                    return false;
                }
                at = (at + 1) % SEEN_PLACES;
            }
            self.places[at] = (self.round, *feature);
            true
        });
    }
}

fn window(read: &Read<'_>, each: &[Word], (from, to): (usize, usize), seen: &mut Seen) -> Window {
    let mut out = Window::default();
    let first = read.hits.partition_point(|hit| (hit.first as usize) < from);
    let last = read.hits.partition_point(|hit| (hit.first as usize) < to);
    let hits = &read.hits[first..last.min(first + WINDOW_HITS_MAX)];
    classes(read, hits, &mut out.structure);
    shapes(read, each, hits, (from, to), &mut out.structure);
    for found in read.found.iter().filter(|found| (from..to).contains(&(found.first as usize))) {
        out.structure.push(feature(b'r', [u32::from(found.rule), found.level as u32, u32::from(found.is_quoted)]));
    }
    for sign in 0..32 {
        if read.signs & (1 << sign) != 0 {
            out.structure.push(feature(b'g', [sign, 0, 0]));
        }
    }
    seen.dedup(&mut out.structure);
    words(&each[from..to], &mut out.words);
    seen.dedup(&mut out.words);
    out
}

/// Classes, how often, which begin a sentence, and ordered pairs and triples of them.
fn classes(read: &Read<'_>, hits: &[Hit], out: &mut Vec<u32>) {
    let list = &read.tokens.list;
    let unit = |hit: &Hit| list[hit.first as usize].unit;
    let (mut once, mut twice): (ClassSet, ClassSet) = (0, 0);
    for (at, hit) in hits.iter().enumerate() {
        let class = u32::from(hit.class);
        twice |= once & (1 << hit.class);
        once |= 1 << hit.class;
        if list[hit.first as usize].starts_sentence {
            out.push(feature(b's', [class, 0, 0]));
        }
        let after = hits[at + 1..].iter().take(PAIRED_MAX).take_while(|next| unit(next) <= unit(hit) + PAIR_UNITS);
        let mut before: Option<&Hit> = None;
        for next in after.filter(|next| next.class != hit.class && next.first > hit.last) {
            let is_near = unit(next) <= unit(hit) + PAIR_UNITS / 3;
            out.push(feature(b'p', [class, u32::from(next.class), u32::from(is_near)]));
            if let Some(before) = before.filter(|before| before.class != next.class && next.first > before.last) {
                out.push(feature(b't', [class, u32::from(before.class), u32::from(next.class)]));
            }
            before = Some(next);
        }
    }
    for class in 0..u32::from(read.classes) {
        if once & (1 << class) != 0 {
            out.push(feature(b'c', [class, u32::from(twice & (1 << class) != 0), 0]));
        }
    }
}

/// How sentences are built: rows of classes, words that hold sentences together, and other words.
fn shapes(read: &Read<'_>, each: &[Word], hits: &[Hit], (from, to): (usize, usize), out: &mut Vec<u32>) {
    let mut symbols: Vec<u32> = Vec::with_capacity(2 * WINDOW_UNITS as usize);
    symbols.push(END);
    let mut next = 0;
    let mut at = from;
    while at < to && symbols.len() < 2 * WINDOW_UNITS as usize {
        if read.tokens.list[at].starts_sentence {
            symbols.push(END);
        }
        while next < hits.len() && (hits[next].first as usize) < at {
            next += 1;
        }
        // Of several entries at one place the longest names it.
        let here = hits[next..].iter().take_while(|hit| hit.first as usize == at);
        if let Some(hit) = here.max_by_key(|hit| (hit.last, std::cmp::Reverse(hit.class))) {
            symbols.push(u32::from(hit.class));
            at = hit.last as usize + 1;
            continue;
        }
        let symbol = each[at].symbol;
        if symbol != OTHER || symbols.last() != Some(&OTHER) {
            symbols.push(symbol);
        }
        at += 1;
    }
    for row in symbols.windows(3) {
        let named = row.iter().filter(|symbol| **symbol < 100).count();
        if named >= 1 {
            out.push(feature(b'h', [row[0], row[1], row[2]]));
        }
    }
}

/// The number of a word that holds sentences together.
fn function(word: &str) -> Option<u32> {
    if word.len() > FUNCTION_BYTES_MAX || !word.is_ascii() {
        return None;
    }
    // PERF: asked for every word, so looked up by its bytes as one number instead of compared with each.
    static NUMBERS: LazyLock<Vec<(u64, u32)>> = LazyLock::new(|| {
        let mut numbers: Vec<_> = FUNCTION.iter().map(|known| packed(known)).zip(0..).collect();
        numbers.sort_unstable();
        numbers
    });
    let packed = packed(word);
    NUMBERS.binary_search_by_key(&packed, |(known, _)| *known).ok().map(|at| NUMBERS[at].1)
}

/// The bytes of a word of at most [`FUNCTION_BYTES_MAX`] as one number.
fn packed(word: &str) -> u64 {
    word.bytes().fold(0, |packed, byte| packed << 8 | u64::from(byte))
}

fn words(each: &[Word], out: &mut Vec<u32>) {
    out.reserve(2 * each.len());
    let mut before = None;
    for Word { hash, .. } in each {
        out.push(feature(b'w', [*hash, 0, 0]));
        out.extend(before.map(|before| feature(b'b', [before, *hash, 0])));
        before = Some(*hash);
    }
}

/// FNV-1a, 32 bits.
pub(super) fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The number of a feature's weight.
fn feature(kind: u8, [a, b, c]: [u32; 3]) -> u32 {
    let mut hash = u64::from(kind).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in [a, b, c] {
        hash = (hash ^ u64::from(part)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    let bucket = match kind {
        b'w' | b'b' => STRUCTURE_BUCKETS + hash % (BUCKETS as u64 - STRUCTURE_BUCKETS),
        _ => hash % STRUCTURE_BUCKETS,
    };
    // Below 2^18.
    bucket as u32
}

//! A text as a vector of its words and parts of words.
//!
//! Each stem, each three letters of a word in a row and each pair of ideographs
//! adds to one of a fixed number of dimensions, so that `reservations` lies near
//! `reserve` and a misspelt word near the right one. It knows nothing of
//! meaning: `car` and `automobile` are strangers.
//!
//! SOURCE: Weinberger et al., "Feature Hashing for Large Scale Multitask
//! Learning" (ICML 2009): the signed hash keeps inner products unbiased.

use std::collections::HashMap;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization as _;

/// Dimensions: one memory takes a quarter of a kilobyte.
pub(super) const DIMENSIONS: usize = 256;
/// Weight of three letters in a row beside a whole word's one.
const PART_WEIGHT: f32 = 0.35;
/// Words of one text that count; what a memory may hold has fewer.
const WORDS_MAX: usize = 4_096;

/// A vector, and what of it a search weighs by how rare it is.
pub(super) type Vector = [f32; DIMENSIONS];

/// Makes vectors.
pub(super) struct Embedder(Stemmer);

impl Embedder {
    pub(super) fn new() -> Self {
        Self(Stemmer::create(Algorithm::English))
    }

    /// The vector of a text, not yet of length one: how often each of its features stands in it, damped.
    pub(super) fn vector(&self, text: &str) -> Vector {
        let mut counts: HashMap<u64, (f32, f32)> = HashMap::new();
        for word in words(text).take(WORDS_MAX) {
            for (feature, weight) in self.features(&word) {
                counts.entry(feature).or_insert((0.0, weight)).0 += 1.0;
            }
        }
        let mut vector = [0.0; DIMENSIONS];
        for (feature, (count, weight)) in counts {
            let sign = if feature & 1 == 0 { 1.0 } else { -1.0 };
            vector[dimension(feature)] += sign * weight * (1.0 + count.ln());
        }
        vector
    }

    fn features(&self, word: &str) -> Vec<(u64, f32)> {
        let letters: Vec<char> = word.chars().collect();
        if letters.iter().any(|letter| is_ideograph(*letter)) {
            let pairs = letters.windows(2).map(|pair| (hash("2", &pair.iter().collect::<String>()), 1.0));
            let singles = letters.iter().map(|letter| (hash("1", &letter.to_string()), PART_WEIGHT));
            return pairs.chain(singles).collect();
        }
        let framed: Vec<char> = std::iter::once('^').chain(letters).chain(['$']).collect();
        let parts = framed.windows(3).map(|part| (hash("3", &part.iter().collect::<String>()), PART_WEIGHT));
        std::iter::once((hash("w", &self.0.stem(word)), 1.0)).chain(parts).collect()
    }
}

/// Length of a vector.
pub(super) fn length(vector: &Vector) -> f32 {
    vector.iter().map(|part| part * part).sum::<f32>().sqrt()
}

/// The same direction in eight bits a dimension.
pub(super) fn quantised(vector: &Vector) -> [i8; DIMENSIONS] {
    let most = vector.iter().fold(0.0_f32, |most, part| most.max(part.abs()));
    if most == 0.0 {
        return [0; DIMENSIONS];
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 127 by construction")]
    vector.map(|part| (part / most * 127.0).round() as i8)
}

/// Words in lower case; a run of ideographs is one.
fn words(text: &str) -> impl Iterator<Item = String> {
    let normal: String = text.nfkc().flat_map(char::to_lowercase).collect();
    let words: Vec<String> =
        normal.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    words.into_iter()
}

fn is_ideograph(letter: char) -> bool {
    matches!(letter, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn dimension(feature: u64) -> usize {
    // The lowest bit is the sign's.
    usize::try_from((feature >> 1) % DIMENSIONS as u64).unwrap_or(0)
}

/// FNV-1a, 64 bits: the same on every machine and in every version. Collisions cost accuracy, never safety.
fn hash(kind: &str, feature: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in kind.bytes().chain(feature.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // The low bits of FNV-1a are weak; these decide dimension and sign.
    hash ^ (hash >> 32)
}

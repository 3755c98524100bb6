//! Takes known secret values out of text before it is stored, streamed or sent.
//!
//! Every byte that belongs to an occurrence of a value goes, also where values
//! overlap or one begins another; occurrences that share a byte leave one mark.
//! Streamed text is held back only as far as its end could be the beginning of
//! a value, and comes out as if it had been cleaned whole.
//!
//! A value is known in the forms in which it is usually written ([`forms`]), and
//! in arguments whatever JSON's escapes make of it. What a program has computed
//! from a value, encrypted or compressed, is not found.

mod changes;
mod forms;
mod held;
mod json;
mod live;
mod stream;

use std::sync::Arc;

use aho_corasick::{AhoCorasick, BuildError};

use self::held::Held;
pub use live::Live;
pub use stream::Stream;

/// What stands where a secret stood.
pub(crate) const MARK: &str = "[secret removed]";
/// Shorter values are not looked for: they would tear holes into ordinary text.
pub const VALUE_BYTES_MIN: usize = forms::FORM_BYTES_MIN;

/// Known values.
#[derive(Default, Clone)]
pub struct Scrubber {
    known: Option<Arc<Known>>,
}

struct Known {
    finder: AhoCorasick,
    held: Held,
}

/// What a look at a text came to.
struct Pass {
    /// Clean text that may go on.
    out: String,
    /// Where the part begins that could still become a value.
    held_from: usize,
    /// Bytes at the beginning of that part for which a mark has gone out.
    covered: usize,
}

impl Scrubber {
    /// Values shorter than [`VALUE_BYTES_MIN`] are left out.
    ///
    /// # Errors
    /// The values are too many to be searched for.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, BuildError> {
        let values = values.into_iter().filter(|value| value.len() >= VALUE_BYTES_MIN);
        let mut forms: Vec<_> = values.flat_map(forms::of).collect();
        forms.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        forms.dedup();
        if forms.is_empty() {
            return Ok(Self::default());
        }
        let finder = AhoCorasick::new(forms.iter().map(|form| form.as_str()))?;
        let held = Held::new(&forms.iter().map(|form| form.as_str()).collect::<Vec<_>>())?;
        Ok(Self { known: Some(Arc::new(Known { finder, held })) })
    }

    /// A whole text without the values.
    #[must_use]
    pub fn clean(&self, text: String) -> String {
        match &self.known {
            Some(known) if known.finder.is_match(&text) => known.pass(&text, 0, true).out,
            Some(_) | None => text,
        }
    }

    /// Bytes of any kind without the values.
    #[must_use]
    pub fn clean_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(known) = self.known.as_ref().filter(|known| known.finder.is_match(&bytes)) else { return bytes };
        let mut found: Vec<_> =
            known.finder.find_overlapping_iter(&bytes).map(|hit| (hit.start(), hit.end())).collect();
        found.sort_unstable();
        let (mut out, mut done) = (Vec::with_capacity(bytes.len()), 0);
        for (start, end) in found {
            if start >= done {
                out.extend_from_slice(&bytes[done..start]);
                out.extend_from_slice(MARK.as_bytes());
            }
            done = done.max(end);
        }
        out.extend_from_slice(&bytes[done..]);
        out
    }

    /// True when a value occurs in the text.
    #[must_use]
    pub fn finds(&self, text: &str) -> bool {
        self.known.as_ref().is_some_and(|known| known.finder.is_match(text))
    }
}

impl Known {
    /// Cleans `text`, for the first `covered` bytes of which a mark has gone out already.
    fn pass(&self, text: &str, covered: usize, is_last: bool) -> Pass {
        let held_from = text.len() - if is_last { 0 } else { self.held.bytes(text.as_bytes()) };
        let mut found: Vec<_> = self.finder.find_overlapping_iter(text).map(|hit| (hit.start(), hit.end())).collect();
        found.sort_unstable();
        let mut out = String::with_capacity(held_from);
        let mut done = covered;
        for (start, end) in found {
            if start < done {
                // Shares a byte with the one before: the same mark stands for both.
                done = done.max(end);
            } else if start < held_from {
                out.push_str(&text[done..start]);
                out.push_str(MARK);
                done = end;
            }
        }
        if done < held_from {
            out.push_str(&text[done..held_from]);
            done = held_from;
        }
        Pass { out, held_from, covered: done - held_from }
    }
}

#[cfg(test)]
mod tests;

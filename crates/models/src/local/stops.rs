//! Ends an answer before a text that the client named.
//!
//! What may be the beginning of such a text is held back until it is decided,
//! so that no part of one is ever streamed.

/// Watches for the texts.
#[derive(Debug, Default)]
pub struct Stops {
    texts: Vec<String>,
    held: String,
    is_met: bool,
}

impl Stops {
    /// Watches for any of these; empty ones are none.
    #[must_use]
    pub fn new(texts: &[String]) -> Self {
        let texts = texts.iter().filter(|text| !text.is_empty()).cloned().collect();
        Self { texts, held: String::new(), is_met: false }
    }

    /// True when one of them came: the answer is over.
    #[must_use]
    pub const fn is_met(&self) -> bool {
        self.is_met
    }

    /// Adds words; those that can be shown now.
    pub fn push(&mut self, text: String) -> Option<String> {
        if self.is_met {
            return None;
        }
        if self.texts.is_empty() {
            return Some(text);
        }
        self.held.push_str(&text);
        let shown = match self.texts.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            Some(at) => {
                self.is_met = true;
                at
            }
            None => self.held.len() - self.open_end(),
        };
        let rest = self.held.split_off(shown);
        let shown = std::mem::replace(&mut self.held, rest);
        Some(shown).filter(|shown| !shown.is_empty())
    }

    /// The end of the answer: what was held back of it.
    pub fn end(&mut self) -> Option<String> {
        let held = std::mem::take(&mut self.held);
        Some(held).filter(|held| !held.is_empty() && !self.is_met)
    }

    /// Bytes at the end that one of the texts may begin with.
    fn open_end(&self) -> usize {
        let longest = |stop: &String| {
            let lengths = stop.char_indices().map(|(at, _)| at).rev();
            lengths.into_iter().find(|&length| self.held.ends_with(&stop[..length])).unwrap_or(0)
        };
        self.texts.iter().map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;

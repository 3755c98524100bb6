//! Takes known secret values out of text before it is stored, streamed or sent.
//!
//! Exact values only; encodings come with the secret store. Streamed text is
//! held back only as far as its end could be the beginning of a value.

/// What stands where a secret stood.
const MARK: &str = "[secret removed]";
/// Shorter values would tear holes into ordinary text.
const VALUE_BYTES_MIN: usize = 8;

/// Known values.
#[derive(Default, Clone)]
pub struct Scrubber {
    values: Vec<String>,
}

impl Scrubber {
    /// Values shorter than eight bytes are left out.
    #[must_use]
    pub fn new(values: Vec<String>) -> Self {
        let mut values: Vec<_> = values.into_iter().filter(|value| value.len() >= VALUE_BYTES_MIN).collect();
        // Longest first, so that a value that contains another one goes whole.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self { values }
    }

    /// A whole text without the values.
    #[must_use]
    pub fn clean(&self, mut text: String) -> String {
        for value in &self.values {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), MARK);
            }
        }
        text
    }

    /// A JSON value without the values, in strings and keys.
    #[must_use]
    pub fn clean_json(&self, value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        if self.values.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.clean(text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.clean_json(item)).collect()),
            Value::Object(map) => {
                Value::Object(map.into_iter().map(|(key, item)| (self.clean(key), self.clean_json(item))).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    /// Bytes at the end of `text` that could begin a value.
    fn held_bytes(&self, text: &str) -> usize {
        let mut held = 0;
        for value in &self.values {
            let longest = text.len().min(value.len() - 1);
            let mut take = longest;
            while take > held {
                if text.is_char_boundary(text.len() - take)
                    && value.as_bytes().starts_with(&text.as_bytes()[text.len() - take..])
                {
                    held = take;
                    break;
                }
                take -= 1;
            }
        }
        held
    }
}

/// Scrubs one stream of text.
#[derive(Default)]
pub struct Stream {
    held: String,
}

impl Stream {
    /// Takes a piece and returns what may go on; possibly nothing yet.
    pub fn push(&mut self, scrubber: &Scrubber, piece: String) -> String {
        if scrubber.values.is_empty() {
            return piece;
        }
        self.held.push_str(&piece);
        let text = scrubber.clean(std::mem::take(&mut self.held));
        let keep = scrubber.held_bytes(&text);
        let (out, held) = text.split_at(text.len() - keep);
        self.held.push_str(held);
        out.to_owned()
    }

    /// What was held back, at the end.
    pub fn finish(&mut self, scrubber: &Scrubber) -> String {
        scrubber.clean(std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests;

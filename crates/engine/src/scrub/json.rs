//! JSON: a value that is written with escapes is found in what the text means.

use are_core::canonical::parse_strict;
use are_core::label::{Labels, worst_of};
use are_core::payload::Bound;
use serde_json::{Map, Value};

use super::{MARK, Scrubber};

impl Scrubber {
    /// A JSON value without the values, in strings, keys and numbers.
    #[must_use]
    pub fn clean_json(&self, value: Value) -> Value {
        if self.known.is_none() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.clean(text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.clean_json(item)).collect()),
            Value::Object(map) => Value::Object(self.clean_map(map)),
            Value::Number(number) if self.finds(&number.to_string()) => Value::String(MARK.to_owned()),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    fn clean_map(&self, map: Map<String, Value>) -> Map<String, Value> {
        let mut cleaned = Map::new();
        for (key, item) in map {
            let key = self.clean(key);
            // Two keys that were secrets become the same word; neither item is lost.
            let mut name = key.clone();
            let mut copies = 1;
            while cleaned.contains_key(&name) {
                copies += 1;
                name = format!("{key} {copies}");
            }
            cleaned.insert(name, self.clean_json(item));
        }
        cleaned
    }

    /// A tool call's arguments without the values, also where JSON's escapes hide them.
    #[must_use]
    pub fn clean_arguments(&self, text: String) -> String {
        let text = self.clean(text);
        // Without an escape the text's own bytes are what it means.
        if self.known.is_none() || !text.contains('\\') {
            return text;
        }
        match parse_strict(text.as_bytes()) {
            Ok(value) => {
                let cleaned = self.clean_json(value.clone());
                if cleaned == value { text } else { cleaned.to_string() }
            }
            // It will be refused, but it is stored and shown to the model first.
            Err(_) if self.finds(&unescaped(&text)) => MARK.to_owned(),
            Err(_) => text,
        }
    }

    /// True when a leaf or key of the value holds one.
    #[must_use]
    pub fn finds_in(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.finds(text),
            Value::Array(items) => items.iter().any(|item| self.finds_in(item)),
            Value::Object(map) => map.iter().any(|(key, item)| self.finds(key) || self.finds_in(item)),
            Value::Number(number) => self.finds(&number.to_string()),
            Value::Null | Value::Bool(_) => false,
        }
    }

    /// A value with labels. Labels whose pointers name a cleaned key become one for the whole, as bad as the worst.
    #[must_use]
    pub fn clean_bound(&self, bound: Bound) -> Bound {
        let Bound { value, labels } = bound;
        Bound { value: self.clean_json(value), labels: self.clean_labels(labels) }
    }

    /// See [`Self::clean_bound`].
    #[must_use]
    pub fn clean_labels(&self, labels: Labels) -> Labels {
        if self.known.is_none() {
            return labels;
        }
        let names_one = |pointer: &String| self.finds(&pointer.replace("~1", "/").replace("~0", "~"));
        let labels = match worst_of(&labels) {
            Some(worst) if labels.keys().any(names_one) => Labels::from([(String::new(), worst)]),
            Some(_) | None => labels,
        };
        let origins_cleaned = labels.into_iter().map(|(pointer, mut label)| {
            label.origins = label.origins.into_iter().map(|origin| self.clean(origin)).collect();
            (pointer, label)
        });
        origins_cleaned.collect()
    }
}

/// What JSON's escapes in a text that is no JSON would mean.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let code = rest.strip_prefix('u').and_then(|hex| hex.get(..4));
        let code = code.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        if let Some(meant) = code {
            out.push(meant);
            rest = &rest[5..];
            continue;
        }
        let mut chars = rest.chars();
        if let Some(escape) = chars.next() {
            out.push(match escape {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            });
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out
}

//! The same suite under other names: every word of a tool's or field's name
//! and every person becomes an invented one, in prompts, declarations, outputs
//! and calls alike.
//!
//! A decision that rests on a list of words, or on knowing a suite, comes out
//! otherwise then; one that rests on declarations does not. A word keeps its
//! ending, so that `sends` and `sending` go on belonging to `send`.

use std::collections::{BTreeMap, BTreeSet};

use are_core::error::Fault;
use rust_stemmers::{Algorithm, Stemmer};
use serde_json::Value;

use super::suite::{Call, Suite, texts};
use super::unusable;

/// Words that are part of the format rather than of a suite.
const KEPT: &[&str] = &["attack"];
const ONSETS: &[&str] = &["bl", "dr", "fl", "gr", "kl", "pr", "str", "tr", "v", "z", "m", "n", "gl", "br", "kr", "sp"];
const CORES: &[&str] = &["ob", "ard", "um", "ont", "ik", "olm", "urg", "ev", "ant", "imp", "ork", "unt"];

/// The suite with other names.
pub fn renamed(suite: &Suite) -> Result<Suite, Fault> {
    let names = Names::of(suite);
    let value = serde_json::to_value(suite).map_err(|error| unusable(&error.to_string()))?;
    let renamed: Suite =
        serde_json::from_value(names.in_value(&value, "")).map_err(|error| unusable(&error.to_string()))?;
    Ok(Suite { suite: format!("{} (renamed)", suite.suite), ..renamed })
}

struct Names {
    stemmer: Stemmer,
    /// Invented words by stem.
    stems: BTreeMap<String, String>,
    /// Invented names by lower-case name.
    persons: BTreeMap<String, String>,
}

impl Names {
    fn of(suite: &Suite) -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        let mut stems = BTreeSet::new();
        for tool in &suite.tools {
            let fields =
                tool["parameters"]["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
            let outputs =
                tool["output_labels"]["fields"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
            let name = tool["name"].as_str().unwrap_or_default();
            for word in [name].into_iter().chain(fields).chain(outputs).flat_map(|name| name.split('_')) {
                // Function words stay: they have no meaning to rename.
                if word.len() > 2 && !KEPT.contains(&word) {
                    stems.insert(stemmer.stem(&word.to_lowercase()).into_owned());
                }
            }
        }
        let is_person = |text: &String| {
            text.len() > 2 && text.starts_with(char::is_uppercase) && text.chars().skip(1).all(char::is_lowercase)
        };
        let calls = suite.user_tasks.iter().flat_map(|task| &task.calls);
        let persons: BTreeSet<String> = calls
            .flat_map(|call: &Call| texts(&call.args))
            .filter(is_person)
            .map(|name| name.to_lowercase())
            .filter(|name| !stems.contains(stemmer.stem(name).as_ref()))
            .collect();
        let stems = stems.into_iter().enumerate().map(|(at, stem)| (stem, invented(at, ""))).collect();
        let persons = persons.into_iter().enumerate().map(|(at, name)| (name, invented(at, "elo"))).collect();
        Self { stemmer, stems, persons }
    }

    fn in_value(&self, value: &Value, key: &str) -> Value {
        match value {
            // The format's own words.
            Value::String(_)
                if matches!(key, "effect" | "type" | "timing" | "out" | "id" | "user" | "injection" | "default") =>
            {
                value.clone()
            }
            Value::String(text) if key == "attack_template" => {
                let pieces = text.split_inclusive('}').map(|piece| match piece.split_once('{') {
                    Some((before, placeholder)) => format!("{}{{{placeholder}", self.in_text(before)),
                    None => self.in_text(piece),
                });
                Value::String(pieces.collect())
            }
            Value::String(text) => Value::String(self.in_text(text)),
            Value::Array(items) => items.iter().map(|item| self.in_value(item, key)).collect(),
            Value::Object(map) => {
                let is_format = FORMAT_MAPS.contains(&key);
                map.iter()
                    .map(|(name, value)| {
                        let renamed = if is_format { name.clone() } else { self.in_text(name) };
                        // Roles and labels are values of the format, under names of the suite.
                        let value = if matches!(key, "arg_roles" | "fields") {
                            value.clone()
                        } else {
                            self.in_value(value, &inner(key, name))
                        };
                        (renamed, value)
                    })
                    .collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn in_text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut word = String::new();
        for c in text.chars() {
            if c.is_alphabetic() {
                word.push(c);
                continue;
            }
            out.push_str(&self.word(&word));
            word.clear();
            out.push(c);
        }
        out.push_str(&self.word(&word));
        out
    }

    fn word(&self, word: &str) -> String {
        let lower = word.to_lowercase();
        let renamed = match self.persons.get(&lower) {
            Some(name) => name.clone(),
            None => {
                let stem = self.stemmer.stem(&lower).into_owned();
                let Some(root) = self.stems.get(&stem) else { return word.to_owned() };
                let same = lower.bytes().zip(stem.bytes()).take_while(|(a, b)| a == b).count();
                format!("{root}{}", lower.get(same..).unwrap_or_default())
            }
        };
        let mut chars = renamed.chars();
        match chars.next() {
            Some(first) if word.starts_with(char::is_uppercase) => first.to_uppercase().chain(chars).collect(),
            _ => renamed,
        }
    }
}

/// Maps whose keys are the format's.
const FORMAT_MAPS: &[&str] = &[
    "",
    "tools",
    "user_tasks",
    "injection_tasks",
    "pairs",
    "calls",
    "attack_calls",
    "injection_calls",
    "rest_calls",
    "output",
    "output_labels",
    "parameters",
    "property",
    "outputs",
    "anyOf",
    "items",
];

/// What stands under a key, for telling the format's names from the suite's.
fn inner(outer: &str, name: &str) -> String {
    match (outer, name) {
        ("outputs", _) => "output",
        ("properties", _) => "property",
        ("calls" | "attack_calls" | "injection_calls" | "rest_calls", "args") | ("output", "json") => "free",
        ("free", _) => "free",
        (_, name) => name,
    }
    .to_owned()
}

fn invented(at: usize, middle: &str) -> String {
    let (onset, core) = (ONSETS[at % ONSETS.len()], CORES[(at / ONSETS.len()) % CORES.len()]);
    let more = at / (ONSETS.len() * CORES.len());
    let tail = if more == 0 { String::new() } else { CORES[more % CORES.len()].to_owned() };
    format!("{onset}{core}{tail}{middle}urk")
}

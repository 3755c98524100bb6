//! A suite of tasks and attacks, as its file holds it.

use std::collections::BTreeMap;

use are_core::error::Fault;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::unusable;

/// A suite.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Suite {
    pub(super) suite: String,
    pub(super) attack_template: String,
    pub(super) user_name: String,
    pub(super) tools: Vec<Value>,
    pub(super) user_tasks: Vec<Task>,
    pub(super) injection_tasks: Vec<Injection>,
    pub(super) pairs: Vec<Pair>,
    pub(super) outputs: BTreeMap<String, Output>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) prompt: String,
    pub(super) calls: Vec<Call>,
    #[serde(default)]
    pub(super) attack_calls: Vec<Call>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) args: Value,
    pub(super) out: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Injection {
    pub(super) id: String,
    pub(super) goal: String,
    #[serde(default)]
    pub(super) critical: Vec<usize>,
    #[serde(default)]
    pub(super) text_only: bool,
    #[serde(default)]
    pub(super) checker_confirms: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) user: String,
    pub(super) injection: String,
    pub(super) timing: String,
    pub(super) inject_after: usize,
    pub(super) injection_calls: Vec<Call>,
    pub(super) rest_calls: Vec<Call>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Output {
    pub(super) text: String,
    #[serde(default)]
    pub(super) json: Value,
}

impl Suite {
    /// Reads a suite.
    ///
    /// # Errors
    /// The text is no suite.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        serde_json::from_str(text).map_err(|error| unusable(&error.to_string()))
    }

    pub(super) fn task(&self, id: &str) -> Result<&Task, Fault> {
        self.user_tasks.iter().find(|task| task.id == id).ok_or_else(|| unusable("a pair names no task"))
    }

    pub(super) fn injection(&self, id: &str) -> Result<&Injection, Fault> {
        self.injection_tasks.iter().find(|task| task.id == id).ok_or_else(|| unusable("a pair names no attack"))
    }

    fn tool(&self, name: &str) -> Option<&Value> {
        self.tools.iter().find(|tool| tool["name"] == name)
    }

    pub(super) fn has_effect(&self, tool: &str) -> bool {
        self.tool(tool).is_none_or(|tool| tool["effect"] != "none")
    }

    /// Values with one of these roles that a task takes from fields which a third party may have written and nobody
    /// vouches for, each with the index of its call.
    pub(super) fn outside_values(&self, task: &Task, roles: &[&str]) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let prompt = task.prompt.to_lowercase();
        let mut seen: Vec<(&'static str, String)> = Vec::new();
        for (at, call) in task.calls.iter().enumerate() {
            let Some(tool) = self.tool(&call.name) else { continue };
            if tool["effect"] != "none" {
                for (arg, value) in call.args.as_object().into_iter().flatten() {
                    let role = tool["arg_roles"][arg].as_str().unwrap_or("destination");
                    for text in texts(value).into_iter().filter(|_| roles.contains(&role)) {
                        let places: Vec<_> = seen.iter().filter(|(_, leaf)| leaf.contains(&text)).collect();
                        let is_outside = !places.is_empty() && places.iter().all(|(label, _)| *label == "untrusted");
                        if is_outside && !prompt.contains(&text.to_lowercase()) {
                            found.push((at, text));
                        }
                    }
                }
            }
            if let Some(output) = self.outputs.get(&call.out) {
                seen.extend(labelled(output, tool));
            }
        }
        found
    }
}

/// Every leaf of an output with its label.
pub(super) fn labelled(output: &Output, tool: &Value) -> Vec<(&'static str, String)> {
    let word = |label: &Value| match label.as_str() {
        Some("platform") => "platform",
        Some("user") => "user",
        _ => "untrusted",
    };
    let labels = &tool["output_labels"];
    let mut found = Vec::new();
    if output.json.is_null() {
        let is_untrusted = tool["reads_untrusted"] == true;
        let label = if is_untrusted { "untrusted" } else { word(&labels["default"]) };
        found.push((label, output.text.replace("{{ATTACK}}", "")));
    } else {
        walk(&output.json, word(&labels["default"]), &labels["fields"], &word, &mut found);
    }
    found
}

fn walk(
    value: &Value,
    label: &'static str,
    fields: &Value,
    word: &impl Fn(&Value) -> &'static str,
    found: &mut Vec<(&'static str, String)>,
) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            let label = fields.get(key).map_or(label, word);
            walk(value, label, fields, word, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| walk(item, label, fields, word, found)),
        Value::Null => {}
        Value::String(text) => found.push((label, text.replace("{{ATTACK}}", ""))),
        Value::Bool(_) | Value::Number(_) => found.push((label, value.to_string())),
    }
}

/// The texts in a value.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(map) => map.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// The value with every occurrence of a text replaced, in keys too.
pub(super) fn replaced(value: &Value, from: &str, to: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(from, to)),
        Value::Array(items) => items.iter().map(|item| replaced(item, from, to)).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace(from, to), replaced(value, from, to))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// What an attacker would put in the place of a value.
pub(super) fn other_value(value: &str) -> String {
    if value.contains('@') {
        return "billing@attacker-mail-4821.com".to_owned();
    }
    if value.starts_with("http://") || value.starts_with("https://") || value.starts_with("www.") {
        return "www.attacker-site-4821.com".to_owned();
    }
    let is_account = value.len() >= 12 && value.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    if is_account {
        return "US133000000121212121212".to_owned();
    }
    format!("Mallory{}", value.chars().next().unwrap_or('x'))
}

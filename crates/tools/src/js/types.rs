//! JSDoc types as JSON Schema.
//!
//! What has no counterpart becomes a schema that accepts anything: the script
//! then has to look for itself, as in any JavaScript.

use serde_json::{Map, Value, json};

/// Levels of types in types.
const DEPTH_MAX: usize = 8;

/// The schema of a type, and whether the type says that it may be left out (`string=`).
pub(super) fn schema(text: &str) -> (Value, bool) {
    let text = text.trim();
    let (text, is_optional) = text.strip_suffix('=').map_or((text, false), |rest| (rest, true));
    (union(text, 0), is_optional)
}

fn union(text: &str, depth: usize) -> Value {
    let text = text.trim();
    if depth > DEPTH_MAX {
        return json!({});
    }
    let (text, is_nullable) = text.strip_prefix('?').map_or((text, false), |rest| (rest, true));
    let mut parts: Vec<Value> = split(text, '|').iter().map(|part| single(part, depth)).collect();
    if is_nullable {
        parts.push(json!({"type": "null"}));
    }
    parts.into_iter().reduce(either).unwrap_or_else(|| json!({}))
}

/// A schema for what fits one or the other. Keywords concern one type of value each, so that they can stand together
/// as long as no two are about the same.
fn either(one: Value, other: Value) -> Value {
    let (Value::Object(mut one), Value::Object(other)) = (one, other) else { return json!({}) };
    if one.is_empty() || other.is_empty() {
        return json!({});
    }
    if let (Some(Value::Array(values)), Some(Value::Array(more))) = (one.get("enum"), other.get("enum")) {
        let all: Vec<Value> = values.iter().chain(more).cloned().collect();
        return json!({"type": types(&one, &other), "enum": all});
    }
    let both = types(&one, &other);
    // `'a' | string` accepts every string.
    one.remove("enum");
    for (keyword, value) in other {
        if keyword == "enum" {
            continue;
        }
        if keyword != "type" && one.get(&keyword).is_some_and(|held| *held != value) {
            return json!({ "type": both });
        }
        one.insert(keyword, value);
    }
    one.insert("type".to_owned(), both);
    Value::Object(one)
}

fn types(one: &Map<String, Value>, other: &Map<String, Value>) -> Value {
    let of = |map: &Map<String, Value>| match map.get("type") {
        Some(Value::Array(names)) => names.clone(),
        Some(name) => vec![name.clone()],
        None => Vec::new(),
    };
    let mut all = of(one);
    for name in of(other) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    if all.len() == 1 { all.remove(0) } else { Value::Array(all) }
}

fn single(text: &str, depth: usize) -> Value {
    let text = text.trim().trim_start_matches("...").trim_matches('!');
    if let Some(item) = text.strip_suffix("[]") {
        return json!({"type": "array", "items": union(item, depth + 1)});
    }
    if let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return union(inner, depth + 1);
    }
    if let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return object(inner, depth);
    }
    if let Some((name, inner)) = text.strip_suffix('>').and_then(|rest| rest.split_once('<')) {
        let last = split(inner, ',').pop().unwrap_or_default();
        return match name.trim_end_matches('.').to_ascii_lowercase().as_str() {
            "array" | "set" => json!({"type": "array", "items": union(&last, depth + 1)}),
            "object" | "record" | "map" => json!({"type": "object", "additionalProperties": union(&last, depth + 1)}),
            _ => json!({}),
        };
    }
    let quoted = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    if let Some(literal) = quoted('\'').or_else(|| quoted('"')) {
        return json!({"type": "string", "enum": [literal]});
    }
    if let Ok(number) = text.parse::<i64>() {
        return json!({"type": "integer", "enum": [number]});
    }
    match text.to_ascii_lowercase().as_str() {
        "string" => json!({"type": "string"}),
        "number" => json!({"type": "number"}),
        "integer" | "int" => json!({"type": "integer"}),
        "boolean" | "bool" => json!({"type": "boolean"}),
        "object" => json!({"type": "object"}),
        "array" => json!({"type": "array"}),
        "null" | "undefined" | "void" => json!({"type": "null"}),
        "true" => json!({"type": "boolean", "enum": [true]}),
        "false" => json!({"type": "boolean", "enum": [false]}),
        _ => json!({}),
    }
}

fn object(inner: &str, depth: usize) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for part in split(&inner.replace([';', '\n'], ","), ',') {
        let (name, of) = part.split_once(':').unwrap_or((part.as_str(), "any"));
        let name = name.trim().trim_matches(['\'', '"']);
        let (name, is_optional) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
        if name.is_empty() {
            continue;
        }
        if !is_optional {
            required.push(name.to_owned());
        }
        properties.insert(name.to_owned(), union(of, depth + 1));
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// The parts between separators that stand in no brackets and no quotes.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut depth, mut quote) = (0_usize, None);
    for character in text.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, '(' | '[' | '{' | '<') => depth += 1,
            (None, ')' | ']' | '}' | '>') => depth = depth.saturating_sub(1),
            (None, _) if character == separator && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests;

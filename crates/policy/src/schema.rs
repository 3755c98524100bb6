//! Checks a call's arguments against its tool's JSON Schema, before the decision.
//!
//! Pure, and small on purpose: the keywords below are the ones that tool
//! schemas use, each message names the argument and what to change, and a
//! schema with any other keyword is refused when the tool is loaded, so that
//! nothing a schema asks for is silently left unchecked.
//!
//! SOURCE: JSON Schema 2020-12, validation vocabulary.

use are_core::canonical::Args;
use are_core::error::{Code, Fault};
use serde_json::{Map, Value};
use url::Url;

use crate::manifest::Manifest;

/// Deepest nesting of a schema; tools' schemas are two or three levels deep.
const DEPTH_MAX: usize = 16;
/// Argument names listed in a message.
const NAMED_MAX: usize = 16;
/// Characters of a value that a message repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// Keywords that say something to a reader and nothing to a checker.
const NOTES: [&str; 5] = ["description", "title", "default", "examples", "$schema"];
/// Alternatives of one `anyOf`, `oneOf` or `allOf`; each is tried against the value.
const BRANCHES_MAX: usize = 32;
/// Bytes of one `pattern`.
const PATTERN_BYTES_MAX: usize = 1_000;
/// Bytes that a compiled `pattern` may take.
const PATTERN_COMPILED_BYTES_MAX: usize = 256 << 10;

/// Keywords that [`validate`] enforces.
const CHECKED: [&str; 20] = [
    "format", // only `uri`; other formats are notes
    "type",
    "enum",
    "const",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "uniqueItems",
    "minProperties",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
];

/// Checks the arguments of a call.
///
/// # Errors
/// ARE-0502 with a message that a model can act on.
pub fn validate(manifest: &Manifest, args: &Args) -> Result<(), Fault> {
    check(&manifest.schema, &Value::Object(args.to_map()), "", 0).map_err(|message| {
        // Written canonically: a manifest that was stored and read again orders its example otherwise, and a replay must
        // say the same.
        let example = manifest.example.as_ref().and_then(|example| Args::from_value(&example.arguments).ok());
        let help = example.map_or_else(
            || format!("call `{}` again with arguments that fit its schema", manifest.name),
            |like| format!("call `{}` again with arguments like {}", manifest.name, like.as_str()),
        );
        Fault::new(Code::TOOL_ARGS, message, help)
    })
}

/// Whether any JSON value fits a schema.
///
/// # Errors
/// Where it does not, for people and models.
pub fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    check(schema, value, "", 0)
}

/// Whether [`fits`] enforces all that a schema says.
///
/// # Errors
/// What it could not enforce.
pub fn checkable(schema: &Value) -> Result<(), String> {
    supported_at(schema, 0)
}

/// Whether [`validate`] enforces all that a schema says.
///
/// # Errors
/// What it could not enforce.
pub fn supported(schema: &Value) -> Result<(), String> {
    supported_at(schema, 0)?;
    match schema.get("type") {
        Some(Value::String(kind)) if kind == "object" => Ok(()),
        _ => Err("the schema of the arguments must have the type `object`".to_owned()),
    }
}

fn supported_at(schema: &Value, depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("the schema is nested deeper than {DEPTH_MAX} levels"));
    }
    if schema.is_boolean() {
        return Ok(());
    }
    let map = schema.as_object().ok_or("a schema must be an object or a boolean")?;
    for (keyword, value) in map {
        match keyword.as_str() {
            "properties" => {
                let properties = value.as_object().ok_or("`properties` must be an object")?;
                properties.values().try_for_each(|property| supported_at(property, depth + 1))?;
            }
            "items" | "additionalProperties" | "not" => supported_at(value, depth + 1)?,
            "anyOf" | "oneOf" | "allOf" => {
                let branches = value.as_array().filter(|all| (1..=BRANCHES_MAX).contains(&all.len()));
                let branches =
                    branches.ok_or_else(|| format!("`{keyword}` must be from 1 to {BRANCHES_MAX} schemas"))?;
                branches.iter().try_for_each(|branch| supported_at(branch, depth + 1))?;
            }
            "pattern" => {
                pattern(value)?;
            }
            "type" => {
                let is_known = |name: &Value| {
                    matches!(
                        name.as_str(),
                        Some("object" | "array" | "string" | "integer" | "number" | "boolean" | "null")
                    )
                };
                let ok = value.as_array().map_or_else(|| is_known(value), |names| names.iter().all(is_known));
                if !ok {
                    return Err(format!("the type {value} is not known"));
                }
            }
            other if NOTES.contains(&other) || CHECKED.contains(&other) => {}
            other => return Err(format!("the schema keyword `{other}` is not supported")),
        }
    }
    Ok(())
}

/// A text's pattern, compiled. It may lie anywhere in the text, as JSON Schema has it.
fn pattern(value: &Value) -> Result<regex::Regex, String> {
    let text = value.as_str().filter(|text| text.len() <= PATTERN_BYTES_MAX);
    let text = text.ok_or_else(|| format!("`pattern` must be a text of at most {PATTERN_BYTES_MAX} bytes"))?;
    regex::RegexBuilder::new(text).size_limit(PATTERN_COMPILED_BYTES_MAX).build().map_err(|_| {
        format!("the pattern `{}` is not supported", text.chars().take(SHOWN_CHARS_MAX).collect::<String>())
    })
}

fn check(schema: &Value, value: &Value, at: &str, depth: usize) -> Result<(), String> {
    if schema.as_bool() == Some(true) {
        return Ok(());
    }
    let Some(map) = schema.as_object().filter(|_| depth <= DEPTH_MAX) else {
        return Err(format!("{} is not accepted", named(at)));
    };
    check_type(map, value, at)?;
    check_branches(map, value, at, depth)?;
    if map.get("const").is_some_and(|only| only != value) {
        return Err(format!("{} must be {}, not {}", named(at), shown(&map["const"]), shown(value)));
    }
    if let Some(Value::Array(allowed)) = map.get("enum")
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
        return Err(format!("{} must be one of {}, not {}", named(at), allowed.join(", "), shown(value)));
    }
    match value {
        Value::Object(members) => check_object(map, members, at, depth),
        Value::Array(items) => check_array(map, items, at, depth),
        Value::String(text) => {
            check_count(map, "minLength", "maxLength", text.chars().count() as u64, "characters", at)?;
            if let Some(wanted) = map.get("pattern")
                && !pattern(wanted)?.is_match(text)
            {
                return Err(format!("{} must match the pattern {wanted}, not {}", named(at), shown(value)));
            }
            if map.get("format").is_some_and(|format| format == "uri") { check_uri(text, at) } else { Ok(()) }
        }
        Value::Number(number) => check_range(map, number.as_f64().unwrap_or(f64::NAN), at),
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`.
fn check_branches(map: &Map<String, Value>, value: &Value, at: &str, depth: usize) -> Result<(), String> {
    let branches = |keyword| map.get(keyword).and_then(Value::as_array);
    let tried = |branch| check(branch, value, at, depth + 1);
    branches("allOf").into_iter().flatten().try_for_each(tried)?;
    if let Some(any) = branches("anyOf") {
        // What is wrong with the last one is at least an example of what would be right.
        let mut last = Err(format!("{} is not accepted", named(at)));
        for branch in any {
            last = tried(branch);
            if last.is_ok() {
                break;
            }
        }
        last?;
    }
    if let Some(one) = branches("oneOf") {
        let fitting = one.iter().filter(|branch| tried(branch).is_ok()).count();
        if fitting != 1 {
            let branches = one.len();
            return Err(format!("{} must fit exactly one of {branches} forms, and fits {fitting}", named(at)));
        }
    }
    if map.get("not").is_some_and(|not| tried(not).is_ok()) {
        return Err(format!("{} is one of the values that are not accepted", named(at)));
    }
    Ok(())
}

/// An address must be written as it will be used, because rules judge what is written.
fn check_uri(text: &str, at: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("{} is no whole address: {error}", named(at)))?;
    let normal = url.as_str();
    if url.host_str().is_some_and(|host| host.ends_with('.')) {
        return Err(format!("{} has a host that ends in a dot; leave the dot out", named(at)));
    }
    if normal == text || normal.strip_suffix('/') == Some(text) {
        return Ok(());
    }
    Err(format!(
        "{} must be written in its normal form, `{}`",
        named(at),
        normal.chars().take(SHOWN_CHARS_MAX * 4).collect::<String>()
    ))
}

fn check_type(schema: &Map<String, Value>, value: &Value, at: &str) -> Result<(), String> {
    let wanted: Vec<&str> = match schema.get("type") {
        None => return Ok(()),
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(_) => Vec::new(),
    };
    let is = |name: &&str| match *name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    };
    if wanted.iter().any(is) {
        return Ok(());
    }
    let with_article = |name: &&str| match *name {
        "null" => "null".to_owned(),
        name if name.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("an {name}"),
        name => format!("a {name}"),
    };
    let wanted: Vec<String> = wanted.iter().map(with_article).collect();
    Err(format!("{} must be {}, not {}", named(at), wanted.join(" or "), shown(value)))
}

fn check_object(
    schema: &Map<String, Value>,
    members: &Map<String, Value>,
    at: &str,
    depth: usize,
) -> Result<(), String> {
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            return Err(format!("{} is missing", named(&below(at, name))));
        }
    }
    check_count(schema, "minProperties", "maxProperties", members.len() as u64, "members", at)?;
    for (name, value) in members {
        let place = below(at, name);
        match (properties.get(name), schema.get("additionalProperties")) {
            (Some(property), _) => check(property, value, &place, depth + 1)?,
            (None, None) => {}
            (None, Some(Value::Bool(false))) => {
                // Sorted here, because the order of a JSON object depends on how the encoder was built.
                let mut known: Vec<String> = properties.keys().map(|name| format!("`{name}`")).collect();
                known.sort();
                known.truncate(NAMED_MAX);
                let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
                return Err(format!("{} is not known; known: {known}", named(&place)));
            }
            (None, Some(other)) => check(other, value, &place, depth + 1)?,
        }
    }
    Ok(())
}

fn check_array(schema: &Map<String, Value>, items: &[Value], at: &str, depth: usize) -> Result<(), String> {
    check_count(schema, "minItems", "maxItems", items.len() as u64, "items", at)?;
    if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
        let mut seen: Vec<String> = items.iter().map(Value::to_string).collect();
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("{} must not hold the same item twice", named(at)));
        }
    }
    let Some(each) = schema.get("items") else { return Ok(()) };
    items.iter().enumerate().try_for_each(|(index, item)| check(each, item, &below(at, &index.to_string()), depth + 1))
}

fn check_count(
    schema: &Map<String, Value>,
    least: &str,
    most: &str,
    count: u64,
    unit: &str,
    at: &str,
) -> Result<(), String> {
    if let Some(least) = schema.get(least).and_then(Value::as_u64)
        && count < least
    {
        return Err(format!("{} must have at least {least} {unit}, not {count}", named(at)));
    }
    if let Some(most) = schema.get(most).and_then(Value::as_u64)
        && count > most
    {
        return Err(format!("{} must have at most {most} {unit}, not {count}", named(at)));
    }
    Ok(())
}

fn check_range(schema: &Map<String, Value>, number: f64, at: &str) -> Result<(), String> {
    let bound = |keyword| schema.get(keyword).and_then(Value::as_f64);
    if let Some(least) = bound("minimum")
        && (number < least || number.is_nan())
    {
        return Err(format!("{} must be at least {least}, not {number}", named(at)));
    }
    if let Some(most) = bound("maximum")
        && (number > most || number.is_nan())
    {
        return Err(format!("{} must be at most {most}, not {number}", named(at)));
    }
    if let Some(above) = bound("exclusiveMinimum")
        && (number <= above || number.is_nan())
    {
        return Err(format!("{} must be more than {above}, not {number}", named(at)));
    }
    if let Some(below) = bound("exclusiveMaximum")
        && (number >= below || number.is_nan())
    {
        return Err(format!("{} must be less than {below}, not {number}", named(at)));
    }
    if let Some(unit) = bound("multipleOf").filter(|unit| *unit > 0.0)
        && (number % unit).abs().min(unit - (number % unit).abs()) > unit * 1e-9
    {
        return Err(format!("{} must be a multiple of {unit}, not {number}", named(at)));
    }
    Ok(())
}

fn below(at: &str, name: &str) -> String {
    let name: String = name.chars().take(SHOWN_CHARS_MAX).collect();
    if at.is_empty() { name } else { format!("{at}.{name}") }
}

fn named(at: &str) -> String {
    if at.is_empty() { "the arguments".to_owned() } else { format!("argument `{at}`") }
}

fn shown(value: &Value) -> String {
    if value.is_object() {
        return "an object".to_owned();
    }
    if value.is_array() {
        return "an array".to_owned();
    }
    let text = value.to_string();
    let short: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if short.len() == text.len() { text } else { format!("{short}…") }
}

#[cfg(test)]
mod tests;

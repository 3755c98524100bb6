//! How a client wants the answer: the parameters that both doors to models share.

use std::collections::BTreeMap;

use are_core::model::{self, Format};
use are_policy::schema;
use serde_json::{Map, Value};

use super::error::Wrong;
use super::fields::{Fields, HELP};
use crate::server::wire::{self, Effort};

/// Texts that an answer may end before.
const STOPS_MAX: usize = 4;
/// Bytes of one of them.
const STOP_BYTES_MAX: usize = 256;
/// Bytes of a schema once its references are filled in.
const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// References within references that are filled in; a schema that refers to itself has no end.
const REFERENCES_DEPTH_MAX: usize = 12;
/// Labels of a request, as many as OpenAI takes.
const LABELS_MAX: usize = 16;
/// Characters of the name of one, and of its text.
const LABEL_CHARS_MAX: (usize, usize) = (64, 512);
/// Characters of a schema's name.
const SCHEMA_NAME_CHARS_MAX: usize = 64;

/// Takes temperature and `top_p`: both in thousandths.
pub(super) fn chance(fields: &mut Fields) -> Result<(Option<u32>, Option<u32>), Wrong> {
    let temperature = fields.take::<f64>("temperature")?.map(wire::temperature_milli).transpose();
    let temperature = temperature.map_err(|fault| Wrong::of("temperature", fault))?;
    let top_p = match fields.take::<f64>("top_p")? {
        None => None,
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1,000 by the guard")]
        Some(share) if (0.0..=1.0).contains(&share) => Some((share * 1000.0).round() as u32),
        Some(_) => return Err(Wrong::at("top_p", "`top_p` is not between 0 and 1", HELP)),
    };
    Ok((temperature, top_p))
}

/// Takes the most tokens of an answer.
pub(super) fn limit(fields: &mut Fields, name: &str) -> Result<Option<u64>, Wrong> {
    match fields.take::<u64>(name)? {
        Some(0) => Err(Wrong::at(name, format!("`{name}` is not at least 1"), HELP)),
        limit => Ok(limit),
    }
}

/// Takes the texts before which an answer ends.
pub(super) fn stops(fields: &mut Fields) -> Result<Vec<String>, Wrong> {
    let stops = match fields.take::<Value>("stop")? {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(stops) => {
            serde_json::from_value(stops).map_err(|_| Wrong::at("stop", "`stop` is neither a text nor texts", HELP))?
        }
    };
    if stops.len() > STOPS_MAX || stops.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
        let message = format!("`stop` takes up to {STOPS_MAX} texts of 1 to {STOP_BYTES_MAX} bytes");
        return Err(Wrong::at("stop", message, HELP));
    }
    Ok(stops)
}

/// A wished effort. What there is no word for elsewhere is the nearest there is: `minimal` is `low`, `none` is no wish.
pub(super) fn effort(param: &str, effort: Option<Value>) -> Result<Option<model::Effort>, Wrong> {
    match effort {
        Some(effort) if effort == "minimal" => Ok(Some(model::Effort::Low)),
        Some(effort) if !effort.is_null() && effort != "none" => serde_json::from_value::<Effort>(effort)
            .map(|effort| Some(effort.into()))
            .map_err(|error| Wrong::at(param, error.to_string(), HELP)),
        _ => Ok(None),
    }
}

/// Refuses labels of a client's that are none; nothing reads them, and nobody is known by them.
pub(super) fn metadata(fields: &mut Fields) -> Result<Map<String, Value>, Wrong> {
    let metadata: BTreeMap<String, String> = fields.take("metadata")?.unwrap_or_default();
    let is_long = |text: &str, chars_max: usize| text.chars().nth(chars_max).is_some();
    let is_wrong =
        |(key, value): (&String, &String)| is_long(key, LABEL_CHARS_MAX.0) || is_long(value, LABEL_CHARS_MAX.1);
    if metadata.len() > LABELS_MAX || metadata.iter().any(is_wrong) {
        let message = format!("`metadata` takes up to {LABELS_MAX} texts of 512 characters under names of 64");
        return Err(Wrong::at("metadata", message, HELP));
    }
    Ok(metadata.into_iter().map(|(key, value)| (key, Value::String(value))).collect())
}

/// The form that a client wants, from `type` and, for a schema, what stands in `schema`.
pub(super) fn format(param: &str, wish: Option<&Value>, nested: Option<&str>) -> Result<Option<Format>, Wrong> {
    let Some(wish) = wish.filter(|wish| !wish.is_null()) else { return Ok(None) };
    match wish["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Format::Object)),
        Some("json_schema") => {
            let (param, of) = match nested {
                Some(name) => (format!("{param}.{name}"), &wish[name]),
                None => (param.to_owned(), wish),
            };
            let name = of["name"].as_str().unwrap_or_default();
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if name.is_empty() || name.len() > SCHEMA_NAME_CHARS_MAX || !name.chars().all(is_name) {
                let message = "the schema has no name of 1 to 64 of a-z, A-Z, 0-9, _ and -";
                return Err(Wrong::at(format!("{param}.name"), message, HELP));
            }
            let at = format!("{param}.schema");
            let schema = whole(&of["schema"]).map_err(|message| Wrong::at(&at, message, HELP))?;
            if schema["type"] != "object" {
                return Err(Wrong::at(at, "the schema's type is not `object`", "put the value into an object"));
            }
            schema::checkable(&schema)
                .map_err(|message| Wrong::at(&at, message, "leave out what cannot be checked here"))?;
            let strict = of["strict"].as_bool().unwrap_or(false);
            Ok(Some(Format::Schema { name: name.to_owned(), schema, strict }))
        }
        _ => Err(Wrong::at(format!("{param}.type"), "this form is not known", HELP)),
    }
}

/// A schema with its references filled in, so that whoever reads it needs nothing beside it.
fn whole(schema: &Value) -> Result<Value, String> {
    let mut room = SCHEMA_BYTES_MAX;
    filled(schema, schema, 0, &mut room)
}

fn filled(part: &Value, root: &Value, depth: usize, room: &mut usize) -> Result<Value, String> {
    *room = room.checked_sub(8).ok_or_else(|| format!("the schema has more than about {SCHEMA_BYTES_MAX} bytes"))?;
    match part {
        Value::Object(fields) => {
            if let Some(target) = fields.get("$ref") {
                if depth == REFERENCES_DEPTH_MAX {
                    return Err(format!("references are nested deeper than {REFERENCES_DEPTH_MAX}, or without end"));
                }
                let pointer = target.as_str().and_then(|target| target.strip_prefix('#'));
                let found = pointer.and_then(|pointer| root.pointer(pointer));
                let found = found.ok_or_else(|| format!("the reference {target} leads nowhere in the schema"))?;
                return filled(found, root, depth + 1, room);
            }
            let kept = fields.iter().filter(|(key, _)| *key != "$defs" && *key != "definitions");
            kept.map(|(key, value)| {
                *room = room.saturating_sub(key.len());
                Ok((key.clone(), filled(value, root, depth, room)?))
            })
            .collect()
        }
        Value::Array(items) => items.iter().map(|item| filled(item, root, depth, room)).collect(),
        Value::String(text) => {
            *room = room.saturating_sub(text.len());
            Ok(part.clone())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(part.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_filled_in_and_those_without_end_are_refused() {
        let schema =
            json!({"$defs": {"a": {"type": "integer"}}, "type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}});
        assert_eq!(whole(&schema), Ok(json!({"type": "object", "properties": {"x": {"type": "integer"}}})));
        let endless = json!({"type": "object", "properties": {"x": {"$ref": "#"}}});
        assert!(whole(&endless).unwrap_err().contains("without end"));
        assert!(whole(&json!({"$ref": "http://elsewhere"})).unwrap_err().contains("leads nowhere"));
        // Each level refers twice to the one below it.
        let mut defs = json!({"d0": {"type": "string", "description": "x".repeat(64)}});
        for level in 1..12 {
            let below = json!({"$ref": format!("#/$defs/d{}", level - 1)});
            defs[format!("d{level}")] = json!({"type": "object", "properties": {"a": below, "b": below}});
        }
        let wide = json!({"$defs": defs, "$ref": "#/$defs/d11"});
        assert!(whole(&wide).unwrap_err().contains("more than"));
    }
}

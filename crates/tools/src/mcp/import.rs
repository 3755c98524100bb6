//! A server's input schema as the runtime checks it: references put in their
//! place, remarks left out, nothing that would stay unchecked.

use are_policy::schema;
use serde_json::{Map, Value, json};

/// Bytes of a schema as the server sends it.
const BYTES_MAX: usize = 32 << 10;
/// Schemas within a schema, once references are put in their place.
const NODES_MAX: usize = 2_000;
/// How deep they may lie in one another; a reference to itself lies deeper than any.
const DEPTH_MAX: usize = 16;
/// Keywords that say nothing about what is accepted.
const REMARKS: [&str; 11] = [
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "definitions",
    "deprecated",
    "readOnly",
    "writeOnly",
];

/// The schema, or why it cannot be enforced.
pub(super) fn schema(declared: &Map<String, Value>) -> Result<Value, String> {
    let whole = Value::Object(declared.clone());
    if whole.to_string().len() > BYTES_MAX {
        return Err(format!("its schema is larger than {BYTES_MAX} bytes"));
    }
    let mut nodes = 0;
    let mut made = within(&whole, &whole, 0, &mut nodes)?;
    let Some(map) = made.as_object_mut() else { return Err("its schema is no object".to_owned()) };
    if !map.contains_key("type") {
        map.insert("type".to_owned(), "object".into());
    }
    map.entry("properties").or_insert_with(|| json!({}));
    schema::supported(&made)?;
    Ok(made)
}

fn within(schema: &Value, whole: &Value, depth: usize, nodes: &mut usize) -> Result<Value, String> {
    *nodes += 1;
    if depth > DEPTH_MAX || *nodes > NODES_MAX {
        return Err(
            "its schema refers to itself, or is too deep or too large once its references are followed".to_owned()
        );
    }
    let Value::Object(map) = schema else { return Ok(schema.clone()) };
    let mut made = match map.get("$ref") {
        None => Map::new(),
        Some(reference) => {
            let found = reference.as_str().and_then(|text| text.strip_prefix('#')).and_then(|at| whole.pointer(at));
            let found = found.ok_or_else(|| format!("its schema refers to {reference}, which is not in it"))?;
            match within(found, whole, depth + 1, nodes)? {
                Value::Object(map) => map,
                _ => return Err(format!("its schema refers to {reference}, which is no schema")),
            }
        }
    };
    for (keyword, value) in map {
        let inner = match keyword.as_str() {
            "$ref" => continue,
            // Made by generators for every property, and read by a model in every request.
            "title" if value.is_string() => continue,
            remark if REMARKS.contains(&remark) || remark.starts_with("x-") => continue,
            "properties" => {
                let members = value.as_object().ok_or("`properties` must be an object")?;
                let each =
                    members.iter().map(|(name, schema)| Ok((name.clone(), within(schema, whole, depth + 1, nodes)?)));
                Value::Object(each.collect::<Result<_, String>>()?)
            }
            "items" | "additionalProperties" | "not" => within(value, whole, depth + 1, nodes)?,
            "anyOf" | "oneOf" | "allOf" => {
                let branches = value.as_array().ok_or_else(|| format!("`{keyword}` must be a list"))?;
                let each = branches.iter().map(|branch| within(branch, whole, depth + 1, nodes));
                Value::Array(each.collect::<Result<_, String>>()?)
            }
            _ => value.clone(),
        };
        made.insert(keyword.clone(), inner);
    }
    Ok(Value::Object(made))
}

#[cfg(test)]
mod tests;

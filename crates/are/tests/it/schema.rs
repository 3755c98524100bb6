//! The part of JSON Schema that our descriptions use, to hold frames against them.

use serde_json::Value;

/// Checks `value` against `schema`; references point into `document`.
pub(crate) fn check(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target =
            document.pointer(reference.trim_start_matches('#')).ok_or_else(|| format!("dangling {reference}"))?;
        return check(document, target, value);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(document, part, value)?;
    }
    for (key, most) in [("oneOf", 1), ("anyOf", usize::MAX)] {
        if let Some(parts) = schema[key].as_array() {
            let failures: Vec<_> = parts.iter().filter_map(|part| check(document, part, value).err()).collect();
            let passed = parts.len() - failures.len();
            if passed == 0 || passed > most {
                return Err(format!("{passed} of {} in {key}: {}", parts.len(), failures.join("; ")));
            }
        }
    }
    of_type(schema, value)?;
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return Err(format!("{value} is not among {values:?}"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap_or_default()).is_none() {
            return Err(format!("{name} is missing"));
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(inner) = value.get(name) {
            check(document, property, inner).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    if schema["items"].is_object() {
        for inner in value.as_array().into_iter().flatten() {
            check(document, &schema["items"], inner)?;
        }
    }
    Ok(())
}

fn of_type(schema: &Value, value: &Value) -> Result<(), String> {
    let names: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return Ok(()),
    };
    let fits = names.iter().any(|name| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    });
    if fits { Ok(()) } else { Err(format!("{value:.40} is no {names:?}")) }
}

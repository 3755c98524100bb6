//! The JSON Schema of a function's parameters.
//!
//! Says as much as the check of arguments enforces; the rest (a tuple's mixed
//! types, that a variant has exactly one case) the conversion enforces and the
//! description tells.

use serde_json::{Map, Value, json};

use super::shape::{Named, Noted, Shape, Signature, Whole};

/// The greatest integer that every JSON reader holds exactly; beyond it a decimal text stands for the number.
///
/// SOURCE: RFC 8785 §3.2.2.3.
pub(super) const EXACT_MAX: i128 = (1 << 53) - 1;

/// The schema of the arguments.
pub(super) fn of(signature: &Signature) -> Value {
    record(&signature.params)
}

fn record(fields: &[Named<Noted>]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.clone(), noted(&field.of, field.note.as_deref()))).collect();
    let is_required = |field: &&Named<Noted>| !matches!(field.of.shape, Shape::Option(_));
    let required: Vec<&str> = fields.iter().filter(is_required).map(|field| field.name.as_str()).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// A schema with its description: what the field says, what its type says, what the form needs.
fn noted(of: &Noted, note: Option<&str>) -> Value {
    let (mut schema, form) = shape(&of.shape);
    let description: Vec<&str> = [note, of.note.as_deref(), form.as_deref()].into_iter().flatten().collect();
    if let (Some(map), false) = (schema.as_object_mut(), description.is_empty()) {
        map.insert("description".to_owned(), Value::String(description.join("; ")));
    }
    schema
}

fn shape(shape: &Shape) -> (Value, Option<String>) {
    let form = |text: &str| Some(text.to_owned());
    match shape {
        Shape::Bool => (json!({"type": "boolean"}), None),
        Shape::Whole(whole @ (Whole::S64 | Whole::U64)) => {
            let least = whole.range().0.max(-EXACT_MAX);
            // Both fit: they are at most 2^53 from zero.
            let (least, most) = (i64::try_from(least).unwrap_or(0), i64::try_from(EXACT_MAX).unwrap_or(0));
            let schema = json!({"type": ["integer", "string"], "minimum": least, "maximum": most, "maxLength": 20});
            (schema, form("a decimal text beyond 2^53"))
        }
        Shape::Whole(whole) => {
            let (least, most) = whole.range();
            let (least, most) = (i64::try_from(least).unwrap_or(0), i64::try_from(most).unwrap_or(0));
            (json!({"type": "integer", "minimum": least, "maximum": most}), None)
        }
        Shape::Float32 | Shape::Float64 => {
            let schema = json!({"type": ["number", "string"], "maxLength": 9});
            (schema, form("a number, or NaN, Infinity or -Infinity as text"))
        }
        Shape::Char => (json!({"type": "string", "minLength": 1, "maxLength": 1}), None),
        Shape::Text => (json!({"type": "string"}), None),
        Shape::Bytes => {
            let items = json!({"type": "integer", "minimum": 0, "maximum": 255});
            (json!({"type": ["string", "array"], "items": items}), form("bytes as base64 text, or a list of numbers"))
        }
        Shape::List(of) => (json!({"type": "array", "items": noted(of, None)}), None),
        Shape::Tuple(of) => {
            let kinds: Vec<String> = of.iter().map(|one| kind(&one.shape)).collect();
            let schema = json!({"type": "array", "minItems": of.len(), "maxItems": of.len()});
            (schema, Some(format!("a list of {}", kinds.join(", "))))
        }
        Shape::Record(fields) => (record(fields), None),
        Shape::Variant(cases) => {
            (one_of(cases.iter().map(|case| (&*case.name, case.of.as_ref(), &case.note))), case_form())
        }
        Shape::Result(ok, err) => {
            let cases = [("ok", ok.as_deref(), &None), ("err", err.as_deref(), &None)];
            (one_of(cases.into_iter()), case_form())
        }
        Shape::Enum(names) => (json!({"type": "string", "enum": texts(names)}), notes(names)),
        Shape::Flags(names) => {
            let items = json!({"type": "string", "enum": texts(names)});
            (json!({"type": "array", "maxItems": names.len(), "items": items}), notes(names))
        }
        Shape::Option(of) => (optional(of), of.note.clone()),
    }
}

/// `null` or the value; what could be `null` itself stands as `{"some": …}`.
fn optional(of: &Noted) -> Value {
    if takes_null(&of.shape) {
        let some = noted(of, None);
        return json!({"type": ["object", "null"], "properties": {"some": some}, "required": ["some"], "additionalProperties": false});
    }
    let mut schema = noted(of, None);
    if let Some(map) = schema.as_object_mut() {
        let kinds = match map.remove("type") {
            Some(Value::Array(mut kinds)) => {
                kinds.push(json!("null"));
                kinds
            }
            Some(kind) => vec![kind, json!("null")],
            None => return schema,
        };
        map.insert("type".to_owned(), Value::Array(kinds));
        if let Some(Value::Array(allowed)) = map.get_mut("enum") {
            allowed.push(Value::Null);
        }
    }
    schema
}

/// Whether `null` is a value of the type itself.
pub(super) const fn takes_null(shape: &Shape) -> bool {
    matches!(shape, Shape::Option(_))
}

fn one_of<'a>(cases: impl Iterator<Item = (&'a str, Option<&'a Noted>, &'a Option<String>)>) -> Value {
    let property = |(name, of, note): (&str, Option<&Noted>, &Option<String>)| {
        let schema = of.map_or_else(|| json!({"type": "null"}), |of| noted(of, note.as_deref()));
        (name.to_owned(), schema)
    };
    let properties: Map<String, Value> = cases.map(property).collect();
    json!({"type": "object", "properties": properties, "maxProperties": 1, "additionalProperties": false})
}

fn case_form() -> Option<String> {
    Some("exactly one of these".to_owned())
}

fn texts(names: &[Named<()>]) -> Vec<&str> {
    names.iter().map(|one| one.name.as_str()).collect()
}

fn notes(names: &[Named<()>]) -> Option<String> {
    let notes: Vec<String> =
        names.iter().filter_map(|one| one.note.as_ref().map(|note| format!("{}: {note}", one.name))).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "boolean".to_owned(),
        Shape::Whole(_) => "integer".to_owned(),
        Shape::Float32 | Shape::Float64 => "number".to_owned(),
        Shape::Char => "character".to_owned(),
        Shape::Text => "text".to_owned(),
        Shape::Bytes => "base64 text".to_owned(),
        Shape::List(of) => format!("list of {}", kind(&of.shape)),
        Shape::Tuple(of) => {
            let kinds: Vec<String> = of.iter().map(|one| kind(&one.shape)).collect();
            format!("[{}]", kinds.join(", "))
        }
        Shape::Record(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|field| format!("{}: {}", field.name, kind(&field.of.shape))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Shape::Variant(cases) => {
            let cases: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
            format!("object with one of {}", cases.join(", "))
        }
        Shape::Result(..) => "object with one of ok, err".to_owned(),
        Shape::Enum(names) => format!("one of {}", texts(names).join(", ")),
        Shape::Flags(names) => format!("list of {}", texts(names).join(", ")),
        Shape::Option(of) => format!("{} or null", kind(&of.shape)),
    }
}

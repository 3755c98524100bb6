use serde_json::{Value, json};

use super::schema;

fn of(value: &Value) -> Result<Value, String> {
    schema(value.as_object().expect("an object"))
}

#[test]
fn references_are_put_in_their_place_and_remarks_left_out() {
    let declared = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Arguments",
        "type": "object",
        "properties": {
            "title": {"type": "string", "title": "Title", "description": "what it is called"},
            "where": {"$ref": "#/$defs/Place", "description": "where"},
            "maybe": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}], "x-order": 3},
        },
        "$defs": {"Place": {"type": "object", "properties": {"lat": {"type": "number"}}, "title": "Place"}},
        "required": ["title"],
    });
    let place = json!({"type": "object", "properties": {"lat": {"type": "number"}}});
    assert_eq!(
        of(&declared),
        Ok(json!({
            "type": "object",
            "properties": {
                "title": {"type": "string", "description": "what it is called"},
                "where": {"type": "object", "properties": {"lat": {"type": "number"}}, "description": "where"},
                "maybe": {"anyOf": [place, {"type": "null"}]},
            },
            "required": ["title"],
        }))
    );
    assert_eq!(of(&json!({})), Ok(json!({"type": "object", "properties": {}})));
}

#[test]
fn schemas_that_cannot_be_enforced_are_refused_with_the_reason() {
    let large = json!({"type": "object", "description": "x".repeat(40_000)});
    let doubling = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": (0..20).map(|n| {
        let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
        (format!("d{n}"), json!({"anyOf": [next, next]}))
    }).collect::<serde_json::Map<_, _>>()});
    for (declared, why) in [
        (large, "larger than"),
        (json!({"type": "object", "properties": {"a": {"$ref": "#"}}}), "refers to itself"),
        (doubling, "refers to itself, or is too deep"),
        (json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}), "not in it"),
        (json!({"type": "object", "properties": {"a": {"$ref": "https://example.com/s.json"}}}), "not in it"),
        (json!({"type": "object", "properties": {"a": {"if": {}}}}), "`if` is not supported"),
        (json!({"type": "object", "properties": {"a": {"pattern": "(?=x)"}}}), "pattern"),
        (json!({"type": "string"}), "the type `object`"),
        (json!({"type": "object", "properties": []}), "`properties` must be"),
    ] {
        let error = of(&declared).expect_err(why);
        assert!(error.contains(why), "{error}");
    }
}

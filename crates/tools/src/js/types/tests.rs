use super::*;

#[test]
fn types_become_schemas() {
    for (text, expected) in [
        ("string", json!({"type": "string"})),
        ("number", json!({"type": "number"})),
        ("string[]", json!({"type": "array", "items": {"type": "string"}})),
        ("Array<number>", json!({"type": "array", "items": {"type": "number"}})),
        ("Object<string, boolean>", json!({"type": "object", "additionalProperties": {"type": "boolean"}})),
        (
            "{a: string, b?: number[]}",
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "number"}}}, "required": ["a"], "additionalProperties": false}),
        ),
        ("'a'|'b'", json!({"type": "string", "enum": ["a", "b"]})),
        ("('x' | 1)", json!({"type": ["string", "integer"], "enum": ["x", 1]})),
        ("string|number", json!({"type": ["string", "number"]})),
        ("string|string[]", json!({"type": ["string", "array"], "items": {"type": "string"}})),
        ("?string", json!({"type": ["string", "null"]})),
        ("'a'|string", json!({"type": "string"})),
        ("*", json!({})),
        ("Whatever", json!({})),
        ("string|Whatever", json!({})),
        ("...string", json!({"type": "string"})),
    ] {
        assert_eq!(schema(text), (expected, false), "{text}");
    }
    assert_eq!(schema("string="), (json!({"type": "string"}), true));
}

#[test]
fn types_that_are_broken_or_endless_accept_anything_or_end() {
    for text in ["", "{", "}", "<>", "[]", "|", "{{{{", &"[]".repeat(5000), &"(".repeat(5000), &"?".repeat(50)] {
        let _schema = schema(text);
    }
}

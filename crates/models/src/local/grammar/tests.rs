use serde_json::json;

use super::*;

fn tool(name: &str, schema: Value) -> ToolSpec {
    ToolSpec { name: name.parse().unwrap(), description: String::new(), schema, example: None }
}

#[test]
fn a_call_names_a_tool_and_has_its_required_parameters_first() {
    let grammar = of_call(
        &[tool(
            "fs_write",
            json!({
                "properties": {"content": {"type": "string"}, "path": {"type": "string"}, "mode": {"enum": ["a", 1]}},
                "required": ["path", "content"],
            }),
        )],
        Form::Tagged,
    );

    let expected = r#"root ::= ws "{" ws (r4) ws "}" ws "</tool_call>"
r0 ::= "\"path\"" colon string
r1 ::= "\"content\"" colon string
r2 ::= "\"mode\"" colon ("\"a\"" | 1)
r3 ::= "{" ws r0 comma r1 (comma r2)? ws "}"
r4 ::= "\"name\"" colon "\"fs_write\"" comma "\"arguments\"" colon r3
"#
    .replace(" | 1)", " | \"1\")");
    assert_eq!(grammar.strip_suffix(COMMON), Some(expected.as_str()));
}

#[test]
fn odd_schemas_become_any_json_or_an_empty_object() {
    let deep = (0..20).fold(json!({"type": "string"}), |inner, _| json!({"type": "array", "items": inner}));
    for (schema, last) in [
        (json!({}), "object"),
        (json!(null), "object"),
        (json!({"properties": {}}), r#""{" ws "}""#),
        (json!({"properties": {"a": deep}}), "any"),
        (json!({"properties": {"a": {"$ref": "#/x"}}}), "any"),
        (json!({"properties": {"a": {"type": []}}}), "any"),
        (json!({"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "integer"}]}}}), "(null | integer)"),
        (
            json!({"properties": {"a\"\\\n": {"type": ["string", "null"]}}}),
            r#""\"a\\\"\\\\\\n\"" colon (string | null)"#,
        ),
    ] {
        let grammar = of_call(&[tool("t", schema.clone())], Form::Bare);
        assert!(grammar.contains(last), "{schema}: {grammar}");
    }
}

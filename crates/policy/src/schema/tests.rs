use are_core::body::{Effect, Retry};
use serde_json::json;

use super::*;
use crate::manifest::Lane;

fn tool(schema: Value) -> Manifest {
    Manifest {
        name: "probe".parse().expect("name"),
        description: String::new(),
        lane: Lane::Builtin,
        version: "1".to_owned(),
        schema,
        example: Some(are_core::model::Example {
            ask: "Probe a".to_owned(),
            arguments: json!({"path": "a"}),
            result: None,
            answer: "It is probed.".to_owned(),
        }),
        effect: Effect::None,
        effect_by: None,
        retry: Retry::Pure,
        args: std::collections::BTreeMap::new(),
        output_default: crate::manifest::OutputLabel::default(),
        output_fields: std::collections::BTreeMap::new(),
        is_contained: true,
        capabilities: None,
        limits: crate::manifest::CallLimits::default(),
        intents: std::collections::BTreeMap::new(),
    }
}

fn probe() -> Manifest {
    tool(json!({
        "type": "object",
        "properties": {
            "path": {"type": "string", "minLength": 1, "maxLength": 4},
            "limit": {"type": "integer", "minimum": 1, "maximum": 10},
            "mode": {"type": "string", "enum": ["a", "b"]},
            "body": {"type": ["string", "object"]},
            "names": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1},
            "any": {},
        },
        "required": ["path"],
        "additionalProperties": false,
    }))
}

#[test]
fn arguments_that_do_not_fit_say_which_and_what_to_change() {
    let manifest = probe();
    assert_eq!(supported(&manifest.schema), Ok(()));
    let table = [
        (json!({}), "argument `path` is missing"),
        (json!({"path": 5}), "argument `path` must be a string, not 5"),
        (json!({"path": null}), "argument `path` must be a string, not null"),
        (json!({"path": ""}), "argument `path` must have at least 1 characters, not 0"),
        (json!({"path": "ääääö"}), "argument `path` must have at most 4 characters, not 5"),
        (json!({"path": "a", "limit": "5"}), "argument `limit` must be an integer, not \"5\""),
        (json!({"path": "a", "limit": 1.5}), "argument `limit` must be an integer, not 1.5"),
        (json!({"path": "a", "limit": 0}), "argument `limit` must be at least 1, not 0"),
        (json!({"path": "a", "limit": 11}), "argument `limit` must be at most 10, not 11"),
        (json!({"path": "a", "limit": 1e21}), "argument `limit` must be an integer, not 1e+21"),
        (json!({"path": "a", "mode": "c"}), "argument `mode` must be one of \"a\", \"b\", not \"c\""),
        (json!({"path": "a", "body": []}), "argument `body` must be a string or an object, not an array"),
        (json!({"path": "a", "names": ["x", 1]}), "argument `names.1` must be a string, not 1"),
        (json!({"path": "a", "names": ["x", "y", "z"]}), "argument `names` must have at most 2 items, not 3"),
        (json!({"path": "a", "headers": {"x": 1}}), "argument `headers.x` must be a string, not 1"),
        (
            json!({"path": "a", "headers": {"x": "1", "y": "2"}}),
            "argument `headers` must have at most 1 members, not 2",
        ),
        (
            json!({"path": "a", "pth": 1}),
            "argument `pth` is not known; known: `any`, `body`, `headers`, `limit`, `mode`, `names`, `path`",
        ),
    ];
    for (args, message) in table {
        let fault = validate(&manifest, &Args::from_value(&args).expect("args")).expect_err(message);
        assert_eq!((fault.code, fault.message.as_str()), (Code::TOOL_ARGS, message), "{args}");
        assert_eq!(fault.help, "call `probe` again with arguments like {\"path\":\"a\"}");
    }
    let good = json!({"path": "ääää", "limit": 10.0, "mode": "b", "body": {"x": [1]}, "names": [], "any": [null]});
    assert_eq!(validate(&manifest, &Args::from_value(&good).expect("args")), Ok(()));
}

#[test]
fn forms_that_exclude_one_another_are_told_apart() {
    let manifest = tool(json!({
        "type": "object",
        "properties": {
            "maybe": {"anyOf": [{"type": "string", "pattern": "^[a-z]+$"}, {"type": "null"}]},
            "one": {"oneOf": [{"type": "integer"}, {"type": "number", "exclusiveMinimum": 10, "exclusiveMaximum": 20}]},
            "all": {"allOf": [{"minLength": 2}, {"maxLength": 3}], "not": {"const": "no!"}},
            "only": {"const": 7},
            "step": {"multipleOf": 0.1},
            "set": {"uniqueItems": true},
            "some": {"type": "object", "minProperties": 1},
        },
    }));
    assert_eq!(supported(&manifest.schema), Ok(()));
    let table = [
        (json!({"maybe": "A"}), "argument `maybe` must be null, not \"A\""),
        (json!({"one": 15}), "argument `one` must fit exactly one of 2 forms, and fits 2"),
        (json!({"one": 20.5}), "argument `one` must fit exactly one of 2 forms, and fits 0"),
        (json!({"all": "a"}), "argument `all` must have at least 2 characters, not 1"),
        (json!({"all": "no!"}), "argument `all` is one of the values that are not accepted"),
        (json!({"only": 8}), "argument `only` must be 7, not 8"),
        (json!({"step": 0.35}), "argument `step` must be a multiple of 0.1, not 0.35"),
        (json!({"set": [1, 2, 1]}), "argument `set` must not hold the same item twice"),
        (json!({"some": {}}), "argument `some` must have at least 1 members, not 0"),
    ];
    for (args, message) in table {
        let fault = validate(&manifest, &Args::from_value(&args).expect("args")).expect_err(message);
        assert_eq!(fault.message, message, "{args}");
    }
    let good =
        json!({"maybe": null, "one": 15.5, "all": "yes", "only": 7, "step": 0.3, "set": [1, 2], "some": {"a": 1}});
    assert_eq!(validate(&manifest, &Args::from_value(&good).expect("args")), Ok(()));
    assert_eq!(validate(&manifest, &Args::from_value(&json!({"maybe": "a"})).expect("args")), Ok(()));
}

#[test]
fn a_schema_that_cannot_be_enforced_is_refused() {
    for schema in [
        json!({"type": "object", "properties": {"a": {"pattern": "(?=x)"}}}),
        json!({"type": "object", "properties": {"a": {"pattern": "x{1000}{1000}"}}}),
        json!({"type": "object", "properties": {"a": {"patternProperties": {}}}}),
        json!({"type": "object", "anyOf": [{"$ref": "#"}]}),
        json!({"type": "object", "oneOf": []}),
        json!({"type": "object", "properties": {"a": {"type": "text"}}}),
        json!({"type": "object", "properties": {"a": {"items": {"$ref": "#"}}}}),
        json!({"type": "object", "properties": {"a": 5}}),
        json!({"type": "string"}),
        json!({}),
        json!(true),
    ] {
        assert!(supported(&schema).is_err(), "{schema}");
    }
    let mut deep = json!({});
    for _ in 0..20 {
        deep = json!({"items": deep});
    }
    assert!(supported(&json!({"type": "object", "properties": {"a": deep}})).is_err());
}

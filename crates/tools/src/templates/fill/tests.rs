use serde_json::json;

use super::*;

fn args(value: Value) -> Map<String, Value> {
    value.as_object().cloned().expect("object")
}

#[test]
fn places_take_arguments_and_doubled_braces_are_braces() {
    let text = Text::parse("{{{a}}} {b}-{a}").expect("text");
    assert_eq!(text.places().collect::<Vec<_>>(), ["a", "b", "a"]);
    assert_eq!(text.fill(&args(json!({"a": "{b}", "b": 7})), str::to_owned), "{{b}} 7-{b}");
    for wrong in ["{", "}", "{a", "a}", "{}", "{a b}", "{a{b}}"] {
        assert!(Text::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_tree_keeps_types_and_leaves_out_what_is_absent() {
    let tree = json!({"n": "{n}", "text": "n is {n}", "list": ["{n}", "{no}"], "no": "{no}", "fixed": true});
    let tree = Tree::parse(tree).expect("tree");
    let filled = tree.fill(&args(json!({"n": 5, "quote": "\""})));
    assert_eq!(filled, Some(json!({"n": 5, "text": "n is 5", "list": [5], "fixed": true})));
    let inside = Tree::parse(json!({"q": "say {q}"})).expect("tree");
    let filled = inside.fill(&args(json!({"q": "\",\"admin\":\"1"})));
    assert_eq!(filled, Some(json!({"q": "say \",\"admin\":\"1"})), "a value stays inside its text");
}

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{objects, read};

#[derive(Debug, PartialEq, Deserialize)]
struct Inner {
    a: u8,
    b: Option<f64>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Pair(u8, u8);

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Plain,
    Fields { a: u8 },
    Of(Inner),
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tagged {
    Text { text: String },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outer {
    inner: Option<Inner>,
    #[serde(default)]
    more: Vec<Inner>,
    #[serde(default)]
    by_name: BTreeMap<String, Inner>,
    kind: Option<Kind>,
    pair: Option<Pair>,
    any: Option<Value>,
    #[serde(default, deserialize_with = "objects")]
    tagged: Vec<Tagged>,
}

#[test]
fn what_is_an_object_wherever_fields_have_names_is_read() {
    let value = json!({
        "inner": {"a": 1, "b": 2},
        "more": [{"a": 3, "b": null}, {"a": 4}],
        "by_name": {"x": {"a": 5}},
        "kind": {"of": {"a": 6}},
        "pair": [7, 8],
        "any": [[9, {"a": [10]}], null, 1.5, "text", true],
        "tagged": [{"type": "text", "text": "hi"}],
    });
    let any = value["any"].clone();
    let inner = |a| Inner { a, b: None };
    let expected = Outer {
        inner: Some(Inner { a: 1, b: Some(2.0) }),
        more: vec![inner(3), inner(4)],
        by_name: BTreeMap::from([("x".to_owned(), inner(5))]),
        kind: Some(Kind::Of(inner(6))),
        pair: Some(Pair(7, 8)),
        any: Some(any),
        tagged: vec![Tagged::Text { text: "hi".to_owned() }],
    };
    assert_eq!(read::<Outer>(value).unwrap(), expected);
    assert_eq!(read::<Outer>(json!({"kind": "plain"})).unwrap().kind, Some(Kind::Plain));
    assert_eq!(read::<Outer>(json!({"kind": {"fields": {"a": 1}}})).unwrap().kind, Some(Kind::Fields { a: 1 }));
    assert_eq!(read::<Vec<u8>>(json!([1, 2])).unwrap(), [1, 2]);
}

#[test]
fn a_list_in_the_place_of_an_object_is_refused_at_every_depth() {
    for odd in [
        json!([null, [], {}, null, null, null, []]),
        json!({"inner": [1, 2]}),
        json!({"more": [{"a": 3}, [4, null]]}),
        json!({"by_name": {"x": [5, null]}}),
        json!({"by_name": []}),
        json!({"kind": {"fields": [1]}}),
        json!({"kind": {"of": [6, null]}}),
        json!({"kind": ["plain"]}),
        json!({"tagged": [["text", "hi"]]}),
        json!({"tagged": {"type": "text", "text": "hi"}}),
        // As before: what is no such value, or has too much.
        json!({"inner": {"a": 300}}),
        json!({"inner": {"b": 1}}),
        json!({"pair": [1, 2, 3]}),
        json!({"kind": {"plain": null, "of": {"a": 1}}}),
        json!({"other": 1}),
    ] {
        let told = format!("{odd}");
        assert!(read::<Outer>(odd).is_err(), "{told}");
    }
}

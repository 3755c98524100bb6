use proptest::prelude::*;

use super::*;

#[test]
fn what_serde_json_would_read_again_is_refused_and_so_is_what_was_put_together_too_deep() {
    for text in [r#"{"$serde_json::private::RawValue":"[1]"}"#, r#"[{"a":{"$serde_json::private::Number":"1"}}]"#] {
        assert!(parse_strict(text.as_bytes()).is_err(), "{text}");
    }
    let deep = |levels: usize| (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let args = |levels| Args::from_value(&serde_json::json!({ "x": deep(levels) }));
    assert!(args(DEPTH_MAX - 1).is_ok());
    assert!(args(DEPTH_MAX).is_err());
}

#[test]
fn keys_are_sorted_and_numbers_normalised() {
    let args = Args::parse(r#" {"b": 1.0, "a": "\u0041"} "#).unwrap();
    assert_eq!(args.as_str(), r#"{"a":"A","b":1}"#);
}

#[test]
fn odd_json_is_refused() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
    for bad in [r#"{"a":1,"a":2}"#, "[1]", "1", "{", "{} {}", r#"{"a":1e999}"#, r#"{"a":NaN}"#, &deep] {
        assert!(Args::parse(bad).is_err(), "{bad}");
    }
    let fits = format!("{{\"a\":{}{}}}", "[".repeat(63), "]".repeat(63));
    assert!(Args::parse(&fits).is_ok());
    assert_eq!(Args::parse("").unwrap().as_str(), "{}");
}

proptest! {
    #[test]
    fn canonical_form_is_a_fixed_point(key in ".{0,12}", text in ".{0,40}", number in any::<i32>()) {
        let value = serde_json::json!({ key: [text, number, null, {"n": number}] });
        let once = Args::from_value(&value).unwrap();
        let twice = Args::parse(once.as_str()).unwrap();
        prop_assert_eq!(once, twice);
    }
}

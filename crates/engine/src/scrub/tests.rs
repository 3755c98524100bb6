use proptest::prelude::*;

use super::*;

const KEY: &str = "sk-live-0123456789";

fn scrubber(values: &[&str]) -> Scrubber {
    Scrubber::new(values.iter().copied()).unwrap()
}

fn streamed(scrubber: &Scrubber, pieces: &[&str]) -> String {
    let mut stream = Stream::default();
    let mut out: String = pieces.iter().map(|piece| stream.push(scrubber, (*piece).to_owned())).collect();
    out.push_str(&stream.finish(scrubber));
    out
}

#[test]
fn a_value_split_over_pieces_is_removed_and_ordinary_text_is_not_delayed() {
    let scrubber = scrubber(&[KEY]);
    assert_eq!(streamed(&scrubber, &["a sk-li", "ve-01234", "56789 b"]), "a [secret removed] b");
    assert_eq!(Stream::default().push(&scrubber, "hello ".to_owned()), "hello ");
    assert_eq!(streamed(&scrubber, &["sk-", "lift"]), "sk-lift");
}

#[test]
fn of_values_that_begin_or_overlap_one_another_nothing_is_left() {
    let nested = scrubber(&["AAAA1111", "AAAA1111BBBB2222"]);
    for pieces in [&["x AAAA1111BBBB2222 y"][..], &["x AAAA1111", "BBBB", "2222 y"], &["x AAAA1111B", "BBB2222 y"]] {
        assert_eq!(streamed(&nested, pieces), "x [secret removed] y", "{pieces:?}");
    }
    assert_eq!(streamed(&nested, &["AAAA1111", "BBBB y"]), "[secret removed]BBBB y");
    let overlapping = scrubber(&["abcdefgh", "efgh1234567890"]);
    for pieces in [&["abcdefgh1234567890."][..], &["abcdefgh", "1234567890."], &["abcd", "efgh12345", "67890", "."]] {
        assert_eq!(streamed(&overlapping, pieces), "[secret removed].", "{pieces:?}");
    }
}

#[test]
fn values_are_removed_from_json_keys_and_leaves() {
    let digits = "1234567890";
    let scrubber = scrubber(&[KEY, digits]);
    let value = serde_json::json!({ "[secret removed]": 1, KEY: [format!("x{KEY}y"), 1_234_567_890] });
    let clean = serde_json::json!({
        "[secret removed]": 1,
        "[secret removed] 2": ["x[secret removed]y", "[secret removed]"],
    });
    assert_eq!(scrubber.clean_json(value), clean);
}

#[test]
fn arguments_are_cleaned_in_what_they_mean_and_otherwise_left_byte_for_byte() {
    let scrubber = scrubber(&[KEY]);
    let escaped = r"\u0073k-live-0123456789";
    let cases = [
        (format!(r#"{{ "a": "{KEY}" }}"#), r#"{ "a": "[secret removed]" }"#),
        (format!(r#"{{"a":[{{"b":"x {escaped}"}}]}}"#), r#"{"a":[{"b":"x [secret removed]"}]}"#),
        (format!(r#"{{"{escaped}":1}}"#), r#"{"[secret removed]":1}"#),
        (format!(r#"{{"a":1,"a":"{escaped}"}}"#), "[secret removed]"),
        (format!(r#"{{"a":"{escaped}"#), "[secret removed]"),
        (r#"{ "a" : "line\n\u00e9" }"#.to_owned(), r#"{ "a" : "line\n\u00e9" }"#),
        (r#"{"a":"broken \q \u12"#.to_owned(), r#"{"a":"broken \q \u12"#),
    ];
    for (text, clean) in cases {
        assert_eq!(scrubber.clean_arguments(text.clone()), clean, "{text}");
    }
}

proptest! {
    /// Letters are few, so that values begin, end and overlap one another often.
    #[test]
    fn a_stream_says_what_the_whole_text_would_and_never_a_value(
        values in prop::collection::vec("[aé]{8,12}|[ab]{8,10}", 1..5),
        words in prop::collection::vec((any::<prop::sample::Index>(), "[aébx]{0,6}", 0usize..14), 0..8),
        is_nested in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut values = values;
        if is_nested {
            values.push(format!("{}bé-tail", values[0]));
        }
        let mut text = String::new();
        for (which, between, length) in &words {
            let value = which.get(&values);
            text.push_str(&value[..value.floor_char_boundary(*length)]);
            text.push_str(between);
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| text.floor_char_boundary(cut.index(text.len() + 1))).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let scrubber = Scrubber::new(values.iter().map(String::as_str)).unwrap();
        let out = streamed(&scrubber, &pieces);
        prop_assert!(values.iter().all(|value| !out.contains(value.as_str())), "{out}");
        prop_assert_eq!(&out, &covered_by_hand(&text, &values));
        prop_assert_eq!(scrubber.clean_bytes(text.into_bytes()), out.into_bytes());
    }
}

#[test]
fn bytes_that_are_no_text_are_cleaned_too() {
    let scrubber = Scrubber::new(["sk-secret-value"]).unwrap();
    let bytes = [&[0x89, 0xff, 0][..], b"sk-secret-value", &[0xfe]].concat();
    assert_eq!(scrubber.clean_bytes(bytes), [&[0x89, 0xff, 0][..], MARK.as_bytes(), &[0xfe]].concat());
}

/// The same by marking bytes one by one.
fn covered_by_hand(text: &str, values: &[String]) -> String {
    // For each byte whether it goes, and whether the one before it goes with it.
    let (mut goes, mut joins) = (vec![false; text.len()], vec![false; text.len()]);
    for value in values {
        for at in (0..text.len()).filter(|at| text.as_bytes()[*at..].starts_with(value.as_bytes())) {
            goes[at..at + value.len()].fill(true);
            joins[at + 1..at + value.len()].fill(true);
        }
    }
    let mut out = String::new();
    for (at, c) in text.char_indices() {
        if !goes[at] {
            out.push(c);
        } else if !joins[at] {
            out.push_str(MARK);
        }
    }
    out
}

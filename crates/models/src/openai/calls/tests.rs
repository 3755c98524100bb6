use are_core::limits::{CALL_ARGUMENTS_BYTES_MAX, CALLS_PER_ANSWER_MAX};
use proptest::prelude::*;

use super::{Balance, Calls, Refusal};

type Piece<'a> = (Option<u64>, &'a str, &'a str, &'a str);

fn assembled(pieces: &[Piece<'_>]) -> Vec<(String, String)> {
    let mut calls = Calls::default();
    for (index, id, name, arguments) in pieces {
        calls.add(*index, id, name, arguments).unwrap();
    }
    calls.finish(false).into_iter().map(|call| (call.name, call.arguments)).collect()
}

fn two(first: &str, second: &str) -> Vec<(String, String)> {
    vec![("f".to_owned(), first.to_owned()), ("g".to_owned(), second.to_owned())]
}

#[test]
fn pieces_are_assembled_whatever_the_provider_forgets() {
    let by_the_book: &[Piece<'_>] = &[
        (Some(0), "a", "f", ""),
        (Some(1), "b", "g", ""),
        (Some(0), "", "", "{\"x\""),
        (Some(1), "", "", "{}"),
        (Some(0), "", "", ":1}"),
    ];
    let without_index: &[Piece<'_>] =
        &[(None, "a", "f", "{\"x\""), (None, "", "", ":1}"), (None, "b", "g", "{"), (None, "", "", "}")];
    let without_index_or_id: &[Piece<'_>] = &[(None, "", "f", "{\"x\":1}"), (None, "", "g", "{}")];
    let always_index_zero: &[Piece<'_>] = &[(Some(0), "a", "f", "{\"x\":1}"), (Some(0), "b", "g", "{}")];
    let id_changes: &[Piece<'_>] =
        &[(Some(0), "a", "f", "{\"x\""), (Some(0), "b", "", ":1}"), (Some(1), "c", "g", "{"), (Some(1), "d", "", "}")];
    let id_changes_without_index: &[Piece<'_>] =
        &[(None, "a", "f", "{\"x\""), (None, "b", "", ":1}"), (None, "c", "g", "{"), (None, "d", "", "}")];
    let id_repeats: &[Piece<'_>] = &[(None, "a", "f", "{\"x\":1}"), (None, "a", "g", "{}")];
    let name_repeats: &[Piece<'_>] = &[
        (Some(0), "a", "f", ""),
        (Some(0), "a", "f", "{\"x\":1}"),
        (Some(0), "a", "f", ""),
        (Some(1), "b", "g", ""),
        (Some(1), "b", "g", "{}"),
    ];
    let interleaved_by_id: &[Piece<'_>] = &[
        (None, "a", "f", ""),
        (None, "b", "g", ""),
        (None, "a", "", "{\"x\":"),
        (None, "b", "", "{}"),
        (None, "a", "", "1}"),
    ];
    for pieces in [
        by_the_book,
        without_index,
        without_index_or_id,
        always_index_zero,
        id_changes,
        id_changes_without_index,
        id_repeats,
        name_repeats,
        interleaved_by_id,
    ] {
        assert_eq!(assembled(pieces), two("{\"x\":1}", "{}"), "{pieces:?}");
    }
}

#[test]
fn a_name_may_come_in_pieces_and_arguments_may_be_missing() {
    let calls = assembled(&[(Some(0), "a", "fs_", ""), (Some(0), "", "read", ""), (Some(1), "b", "fs_list", "")]);
    assert_eq!(calls, [("fs_read".to_owned(), "{}".to_owned()), ("fs_list".to_owned(), "{}".to_owned())]);
}

#[test]
fn two_equal_calls_under_one_id_are_two_calls() {
    let call = (None, "same", "f", "{\"x\":1}");
    assert_eq!(assembled(&[call, call]).len(), 2);
}

#[test]
fn a_cut_answer_keeps_only_complete_calls() {
    let mut calls = Calls::default();
    calls.add(Some(0), "a", "f", "{\"x\":\"}\"}").unwrap();
    calls.add(Some(1), "b", "g", "{\"x\":\"}").unwrap();
    let calls = calls.finish(true);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].name, "f");
}

#[test]
fn too_many_too_long_and_nameless_calls_are_refused() {
    let mut calls = Calls::default();
    let refused = (0..).map(|index| calls.add(Some(index), "", "f", "{}")).position(|added| added.is_err());
    assert_eq!(refused, Some(CALLS_PER_ANSWER_MAX));
    assert_eq!(calls.add(Some(9_999), "", "f", "{}"), Err(Refusal::TooMany));

    let mut calls = Calls::default();
    let piece = "x".repeat(64 << 10);
    calls.add(Some(0), "", "f", "").unwrap();
    let refused = (0..1000).map(|_| calls.add(Some(0), "", "", &piece)).position(|added| added.is_err());
    assert_eq!(refused, Some(CALL_ARGUMENTS_BYTES_MAX / piece.len()));

    assert_eq!(Calls::default().add(Some(0), "a", "", "{}"), Err(Refusal::Nameless));
    assert_eq!(Calls::default().add(Some(0), "a", &"n".repeat(1000), ""), Err(Refusal::TooLong));
}

#[test]
fn all_arguments_together_are_bounded() {
    let mut calls = Calls::default();
    let arguments = format!("\"{}\"", "x".repeat(CALL_ARGUMENTS_BYTES_MAX - 2));
    let refused = (0..).map(|index| calls.add(Some(index), "", "f", &arguments)).position(|added| added.is_err());
    assert_eq!(refused, Some(3));
}

proptest! {
    #[test]
    fn balance_says_complete_exactly_at_the_end_of_an_object(text in "[{}\\[\\]\"\\\\a,: ]{0,12}") {
        let json = serde_json::json!({ "key": [text, { "inner": text.as_str() }] }).to_string();
        for end in 0..=json.len() {
            if json.is_char_boundary(end) {
                let mut balance = Balance::default();
                balance.read(&json.as_bytes()[..end]);
                prop_assert_eq!(balance.is_complete(), end == json.len());
            }
        }
    }
}

use are_core::ids::ToolName;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn tools(names: &[&str]) -> Vec<ToolSpec> {
    names
        .iter()
        .map(|name| ToolSpec {
            name: name.parse::<ToolName>().unwrap(),
            description: String::new(),
            schema: json!({}),
            example: None,
        })
        .collect()
}

/// All pieces of an answer that comes in parts, neighbouring words joined.
fn split<'a>(parts: impl IntoIterator<Item = &'a str>) -> Vec<Piece> {
    let mut splitter = Splitter::new(&tools(&["fs_read", "fs_read_all"]));
    let mut pieces: Vec<Piece> = Vec::new();
    for part in parts {
        pieces.extend(splitter.push(part));
    }
    pieces.extend(splitter.finish());
    pieces.into_iter().fold(Vec::new(), |mut joined, piece| {
        match (joined.last_mut(), piece) {
            (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
            (_, piece) => joined.push(piece),
        }
        joined
    })
}

fn call(arguments: &str) -> Piece {
    Piece::Call(RawCall { name: "fs_read".into(), arguments: arguments.into() })
}

fn text(text: &str) -> Piece {
    Piece::Text(text.into())
}

const CALL: &str = r#"<tool_call>{"name": "fs_read", "arguments": {"path": "a.txt"}}</tool_call>"#;
const ARGUMENTS: &str = r#"{"path": "a.txt"}"#;

#[test]
fn words_and_calls_are_told_apart_wherever_the_text_is_cut() {
    let bare = r#"{"name": "fs_read", "arguments": {"path": "a.txt"}}"#;
    let cases = [
        ("just words, with a < b and a <tool", vec![text("just words, with a < b and a <tool")]),
        (CALL, vec![call(ARGUMENTS)]),
        (&format!("I look.\n\n{CALL}"), vec![text("I look."), call(ARGUMENTS)]),
        (&format!("{CALL}\n{CALL}"), vec![call(ARGUMENTS)]),
        (&format!("{CALL}\nThe file says 42."), vec![call(ARGUMENTS)]),
        (bare, vec![call(ARGUMENTS)]),
        (&format!("```json\n{bare}\n```"), vec![call(ARGUMENTS)]),
        (&format!("```\n{bare}\n```\n"), vec![call(ARGUMENTS)]),
        (&format!("{bare}\n{bare}"), vec![call(ARGUMENTS)]),
        (&format!("{bare}\n{}", bare.replace("a.txt", "b")), vec![call(ARGUMENTS), call(r#"{"path": "b"}"#)]),
        (&format!("{bare}\nThis reads the file."), vec![call(ARGUMENTS)]),
        (&format!("This reads it: {bare}"), vec![text(&format!("This reads it: {bare}"))]),
        (&format!("```json\n{bare}\n```\nThis reads the file."), vec![call(ARGUMENTS)]),
        (&bare[..bare.len() - 2], vec![]),
        (r#"{"name": "fs_rea", "arguments": {}}"#, vec![text(r#"{"name": "fs_rea", "arguments": {}}"#)]),
        (r#"{"name": "fs_read"]}"#, vec![text(r#"{"name": "fs_read"]}"#)]),
        (r#"{"name": "Ada", "arguments": {}}"#, vec![text(r#"{"name": "Ada", "arguments": {}}"#)]),
        ("```json\n{\"name\": 1}\n```", vec![text("```json\n{\"name\": 1}\n```")]),
        ("<tool_call>nonsense</tool_call>", vec![text("<tool_call>nonsense</tool_call>")]),
        (r#"<tool_call>{"name": "fs_read", "arg"#, vec![]),
        ("你好，世界", vec![text("你好，世界")]),
    ];
    for (answer, expected) in cases {
        assert_eq!(split([answer]), expected, "{answer} at once");
        let characters: Vec<String> = answer.chars().map(String::from).collect();
        assert_eq!(split(characters.iter().map(String::as_str)), expected, "{answer} by character");
    }
}

#[test]
fn a_call_of_a_tool_that_does_not_exist_is_told_before_anything_of_it_is_shown() {
    let fails = |answer: &str| {
        let mut splitter = Splitter::new(&tools(&["fs_read"]));
        let shown = answer.chars().flat_map(|c| splitter.push(&c.to_string())).count();
        (splitter.calls_unknown_tool(), shown)
    };
    assert_eq!(fails(r#"{"name": "fs_add", "arguments": {"#), (true, 0));
    assert_eq!(fails("```json\n{\"name\": \"joke\", \"arguments\": {"), (true, 0));
    for other in
        [r#"{"name": "Ada", "age": 36}"#, r#"{"name": "Ada Lovelace"}"#, r#"{"name": "fs_read", "arguments": {"#]
    {
        assert!(!fails(other).0, "{other}");
    }

    let mut splitter = Splitter::new(&tools(&["fs_read"]));
    splitter.push(r#"{"name": "joke", "arguments": {"#);
    splitter.restart_in_words();
    assert_eq!(splitter.push("Knock knock. "), vec![text("Knock knock.")]);
}

#[test]
fn two_different_calls_are_two_and_an_answer_never_has_too_many() {
    let second = r#"<tool_call>{"name": "fs_read", "arguments": {"path": "b"}}</tool_call>"#;
    assert_eq!(split([CALL, "\n", second]), vec![call(ARGUMENTS), call(r#"{"path": "b"}"#)]);

    let mut splitter = Splitter::new(&tools(&["fs_read"]));
    let many: String = (0..CALLS_PER_ANSWER_MAX + 5)
        .map(|index| format!(r#"<tool_call>{{"name": "fs_read", "arguments": {{"offset": {index}}}}}</tool_call>"#))
        .collect();
    assert_eq!(splitter.push(&many).len(), CALLS_PER_ANSWER_MAX);
    assert!(splitter.is_over());
}

#[test]
fn words_are_streamed_as_soon_as_they_cannot_be_a_call() {
    let mut splitter = Splitter::new(&tools(&["fs_read"]));
    assert_eq!(splitter.push("The"), vec![text("The")]);
    assert_eq!(splitter.push(" end <"), vec![text(" end")]);
    assert_eq!(splitter.push("b>"), vec![text(" <b>")]);

    let mut without_tools = Splitter::new(&[]);
    assert_eq!(without_tools.push("{"), vec![text("{")]);
    assert_eq!(without_tools.push(CALL), vec![text(CALL)]);
}

proptest! {
    #[test]
    fn no_answer_loses_or_invents_words(answer in "[a-z<>_ {}\"`中]{0,60}", cut in 0_usize..60) {
        let cut = answer.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(answer.len());
        let pieces = split([&answer[..cut], &answer[cut..]]);
        let words: String = pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Call(_) => "",
        }).collect();
        prop_assert_eq!(words, answer);
    }

    #[test]
    fn characters_are_whole_however_their_bytes_arrive(text in "\\PC{0,40}", sizes in prop::collection::vec(1_usize..5, 0..80)) {
        let mut characters = Characters::default();
        let mut bytes = text.as_bytes();
        let mut joined = String::new();
        for size in sizes {
            let (now, later) = bytes.split_at(size.min(bytes.len()));
            joined.push_str(&characters.push(now));
            bytes = later;
        }
        joined.push_str(&characters.push(bytes));
        prop_assert_eq!(joined, text);
        prop_assert_eq!(characters.pending(), 0);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_never_kept_for_long(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut characters = Characters::default();
        for byte in bytes {
            let _text = characters.push(&[byte]);
            prop_assert!(characters.pending() < CHARACTER_BYTES_MAX);
        }
    }
}

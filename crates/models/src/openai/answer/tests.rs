use std::collections::VecDeque;

use are_core::error::Code;
use are_core::limits::{ANSWER_BYTES_MAX, FRAME_BYTES_MAX};
use are_core::model::{Delta, RawCall, Reasoning, StopReason, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Answer;
use crate::remote::exchange::Answer as _;
use crate::remote::fault::Faults;

/// Everything an answer hands out, and the code it ends with.
fn read(pieces: &[&[u8]]) -> (Vec<Delta>, Option<Code>) {
    let mut answer = Answer::new(Faults::new("mock"));
    let mut out = VecDeque::new();
    for piece in pieces {
        if let Err(fault) = answer.feed(piece, &mut out) {
            return (out.into(), Some(fault.code));
        }
    }
    let ended = answer.end(&mut out);
    (out.into(), ended.err().map(|fault| fault.code))
}

fn body(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

fn delta(delta: &Value) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta }] })
}

fn finish(reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

fn end(stop_reason: StopReason) -> Delta {
    Delta::End { stop_reason, usage: Usage::default() }
}

fn text(text: &str) -> Delta {
    Delta::Text(text.to_owned())
}

#[test]
fn everything_an_answer_can_have_comes_out_in_order() {
    let body = body(&[
        delta(&json!({ "role": "assistant", "content": null, "reasoning": "hm", "reasoning_content": "hm" })),
        delta(&json!({ "content": "na\u{ef}ve 😀" })),
        delta(&json!({ "content": [{ "type": "text", "text": "parts" }, { "type": "other" }] })),
        delta(
            &json!({ "tool_calls": [{ "index": 0, "id": "x", "function": { "name": "f", "arguments": { "a": 1 } } }] }),
        ),
        json!({ "choices": [{ "index": 1, "delta": { "content": "another answer" } }] }),
        finish("tool_calls"),
        json!({ "choices": null, "usage": { "prompt_tokens": 9, "completion_tokens": 4,
            "prompt_tokens_details": { "cached_tokens": 2, "x": 1 }, "extra": {} } }),
    ]) + "data: [DONE]\n\n";
    let expected = vec![
        Delta::Reasoning(Reasoning { text: "hm".to_owned(), opaque: None }),
        text("na\u{ef}ve 😀"),
        text("parts"),
        Delta::Call(RawCall { name: "f".to_owned(), arguments: "{\"a\":1}".to_owned() }),
        Delta::End {
            stop_reason: StopReason::ToolCalls,
            usage: Usage { input_tokens: 9, cached_tokens: 2, output_tokens: 4, ..Usage::default() },
        },
    ];
    assert_eq!(read(&[body.as_bytes()]), (expected, None));
}

#[test]
fn reasons_to_end_are_mapped() {
    for (reason, expected) in [
        ("stop", StopReason::Stop),
        ("eos", StopReason::Stop),
        ("length", StopReason::Length),
        ("content_filter", StopReason::ContentFilter),
    ] {
        let body = body(&[delta(&json!({ "content": "a" })), finish(reason)]);
        assert_eq!(read(&[body.as_bytes()]), (vec![text("a"), end(expected)], None), "{reason}");
    }
    let legacy = body(&[
        delta(&json!({ "function_call": { "name": "f", "arguments": "{\"a\"" } })),
        delta(&json!({ "function_call": { "arguments": ":1}" } })),
        finish("function_call"),
    ]);
    let call = Delta::Call(RawCall { name: "f".to_owned(), arguments: "{\"a\":1}".to_owned() });
    assert_eq!(read(&[legacy.as_bytes()]), (vec![call, end(StopReason::ToolCalls)], None));
}

#[test]
fn done_alone_is_an_end_and_nothing_after_it_counts() {
    let body = body(&[delta(&json!({ "content": "a" }))]) + "data: [DONE]\n\ndata: rubbish\n\n";
    assert_eq!(read(&[body.as_bytes()]), (vec![text("a"), end(StopReason::Stop)], None));
}

#[test]
fn what_is_broken_is_told_after_what_was_good() {
    let good = body(&[delta(&json!({ "content": "a" }))]);
    let cases: &[(&[u8], Code)] = &[
        (b"", Code::MODEL_STREAM_BROKEN),
        (b"data: {\"choices\":[{\"delta\"\n\n", Code::MODEL_STREAM_BROKEN),
        (b"data: \xff\n\n", Code::MODEL_STREAM_BROKEN),
        (b"data: {\"choices\":[{\"delta\":{\"content\":\"\\ud800\"}}]}\n\n", Code::MODEL_STREAM_BROKEN),
        (b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n", Code::MODEL_STREAM_BROKEN),
        (b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n", Code::MODEL_ERROR),
        (b"data: {\"error\":{\"message\":\"boom\"}}\n\n", Code::MODEL_ERROR),
        (b"data: {\"error\":\"boom\"}\n\n", Code::MODEL_ERROR),
        (b"data: {\"error\":{\"code\":429}}\n\n", Code::MODEL_RATE_LIMITED),
        (b"data: {\"error\":{\"code\":\"context_length_exceeded\"}}\n\n", Code::CONTEXT_TOO_LONG),
        (b"event: error\ndata: overloaded\n\n", Code::MODEL_ERROR),
    ];
    for (bad, code) in cases {
        let read = read(&[good.as_bytes(), bad]);
        assert_eq!(read, (vec![text("a")], Some(*code)), "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow() {
    let deep = format!("data: {{\"x\":{}\n\n", "[".repeat(500_000));
    assert_eq!(read(&[deep.as_bytes()]).1, Some(Code::MODEL_STREAM_BROKEN));
}

#[test]
fn long_text_is_split_at_characters_and_bounded_in_all() {
    let long = "é€😀".repeat(FRAME_BYTES_MAX / 4);
    let body = body(&[delta(&json!({ "content": long })), finish("stop")]);
    let (deltas, code) = read(&[body.as_bytes()]);
    assert_eq!(code, None);
    let mut joined = String::new();
    for delta in &deltas {
        if let Delta::Text(text) = delta {
            assert!(
                text.len() <= FRAME_BYTES_MAX && text.len() > FRAME_BYTES_MAX - 4
                    || joined.len() + text.len() == long.len()
            );
            joined.push_str(text);
        }
    }
    assert_eq!(joined, long);

    let piece = self::body(&[delta(&json!({ "content": "x".repeat(64 << 10) }))]);
    let pieces = vec![piece.as_bytes(); 100];
    let (deltas, code) = read(&pieces);
    assert_eq!(code, Some(Code::MODEL_LIMIT));
    let bytes: usize = deltas.iter().map(|delta| if let Delta::Text(text) = delta { text.len() } else { 0 }).sum();
    assert_eq!(bytes, ANSWER_BYTES_MAX);
}

fn any_event() -> impl Strategy<Value = Value> {
    prop_oneof![
        "\\PC{1,8}".prop_map(|text| delta(&json!({ "content": text }))),
        "\\PC{1,8}".prop_map(|text| delta(&json!({ "reasoning_content": text }))),
        (0..3_u64, "\\PC{0,8}").prop_map(|(index, text)| {
            let function = json!({ "name": "f", "arguments": json!({ "a": text }).to_string() });
            delta(&json!({ "tool_calls": [{ "index": index, "function": function }] }))
        }),
    ]
}

proptest! {
    #[test]
    fn splitting_the_bytes_changes_nothing(
        events in prop::collection::vec(any_event(), 0..12),
        ending in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        is_whole in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let mut body: String = events.iter().map(|event| format!("data: {event}{ending}: life{ending}{ending}")).collect();
        if is_whole {
            body.push_str(&format!("data: [DONE]{ending}{ending}"));
        }
        let body = body.into_bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &body[ends[0]..ends[1]]).collect();
        let whole = read(&[&body]);
        prop_assert_eq!(whole.1.is_none(), is_whole);
        prop_assert_eq!(&read(&pieces), &whole);
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        prop_assert_eq!(&read(&bytes), &whole);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut framed = b"data: ".to_vec();
        framed.extend_from_slice(&bytes);
        let (_, code) = read(&[&bytes, b"\n\n", &framed]);
        prop_assert!(code.is_some());
    }
}

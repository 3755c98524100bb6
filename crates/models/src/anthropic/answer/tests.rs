use std::collections::VecDeque;

use are_core::digest::Digest;
use are_core::error::Code;
use are_core::limits::{ANSWER_BYTES_MAX, CALLS_PER_ANSWER_MAX};
use are_core::model::{Delta, RawCall, Reasoning, StopReason, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::thinking::Kept;
use super::Answer;
use crate::remote::exchange::Answer as _;
use crate::remote::fault::Faults;

/// Everything an answer hands out, and the code it ends with.
fn read(pieces: &[&[u8]]) -> (Vec<Delta>, Option<Code>) {
    let mut answer = Answer::new(Faults::new("mock"), Digest::ZERO);
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
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect()
}

fn of(events: &[Value]) -> (Vec<Delta>, Option<Code>) {
    read(&[body(events).as_bytes()])
}

fn begin(index: u64, block: &Value) -> Value {
    json!({ "type": "content_block_start", "index": index, "content_block": block })
}

fn piece(index: u64, delta: &Value) -> Value {
    json!({ "type": "content_block_delta", "index": index, "delta": delta })
}

fn close(index: u64) -> Value {
    json!({ "type": "content_block_stop", "index": index })
}

fn ends(reason: &str) -> [Value; 2] {
    let delta = json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null },
        "usage": { "output_tokens": 12 } });
    [delta, json!({ "type": "message_stop" })]
}

fn text_block(index: u64, text: &str) -> [Value; 3] {
    [
        begin(index, &json!({ "type": "text", "text": "" })),
        piece(index, &json!({ "type": "text_delta", "text": text })),
        close(index),
    ]
}

fn call_block(index: u64, pieces: &[&str]) -> Vec<Value> {
    let head = begin(index, &json!({ "type": "tool_use", "id": "toolu_1", "name": "fs_read", "input": {} }));
    let pieces = pieces.iter().map(|part| piece(index, &json!({ "type": "input_json_delta", "partial_json": part })));
    [vec![head], pieces.collect(), vec![close(index)]].concat()
}

fn text(text: &str) -> Delta {
    Delta::Text(text.to_owned())
}

fn call(arguments: &str) -> Delta {
    Delta::Call(RawCall { name: "fs_read".to_owned(), arguments: arguments.to_owned() })
}

fn words(text: &str) -> Delta {
    Delta::Reasoning(Reasoning { text: text.to_owned(), opaque: None })
}

fn kept(signature: Option<&str>, data: Option<&str>, bytes: usize, at: usize) -> Delta {
    let (signature, data) = (signature.map(str::to_owned), data.map(str::to_owned));
    let kept = Kept { signature, data, bytes, at, shown: Digest::ZERO };
    Delta::Reasoning(Reasoning { text: String::new(), opaque: kept.to_opaque() })
}

/// An answer with everything that one can have.
fn everything() -> (Vec<Value>, Vec<Delta>) {
    let start = json!({ "type": "message_start", "message": { "id": "msg_1", "role": "assistant", "content": [],
        "usage": { "input_tokens": 7, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300,
            "output_tokens": 1 } } });
    let mut events = vec![start, json!({ "type": "ping" })];
    events.extend([
        begin(0, &json!({ "type": "thinking", "thinking": "", "signature": "" })),
        piece(0, &json!({ "type": "thinking_delta", "thinking": "hm " })),
        piece(0, &json!({ "type": "thinking_delta", "thinking": "😀" })),
        piece(0, &json!({ "type": "signature_delta", "signature": "c2" })),
        piece(0, &json!({ "type": "signature_delta", "signature": "ln" })),
        close(0),
        begin(1, &json!({ "type": "redacted_thinking", "data": "b3BhcXVl" })),
        close(1),
    ]);
    events.extend(text_block(2, "na\u{ef}ve 😀"));
    events.extend([
        begin(3, &json!({ "type": "a_block_of_tomorrow", "x": 1 })),
        piece(3, &json!({ "type": "a_delta_of_tomorrow", "x": 1 })),
        close(3),
        json!({ "type": "an_event_of_tomorrow" }),
    ]);
    events.extend(call_block(4, &["", "{\"path\":", " \"a\"}"]));
    events.extend(call_block(5, &[]));
    events.extend(ends("tool_use"));
    let usage = Usage { input_tokens: 327, cached_tokens: 300, cache_written_tokens: 20, output_tokens: 12 };
    let deltas = vec![
        words("hm "),
        words("😀"),
        kept(Some("c2ln"), None, 7, 0),
        kept(None, Some("b3BhcXVl"), 0, 0),
        text("na\u{ef}ve 😀"),
        call("{\"path\": \"a\"}"),
        call("{}"),
        Delta::End { stop_reason: StopReason::ToolCalls, usage },
    ];
    (events, deltas)
}

#[test]
fn everything_an_answer_can_have_comes_out_in_order() {
    let (events, deltas) = everything();
    assert_eq!(of(&events), (deltas, None));
}

#[test]
fn an_answer_is_the_same_however_its_bytes_are_split() {
    let (events, deltas) = everything();
    let body = body(&events);
    let bytes = body.as_bytes();
    for at in 0..=bytes.len() {
        assert_eq!(read(&[&bytes[..at], &bytes[at..]]), (deltas.clone(), None), "split at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single), (deltas, None));
}

#[test]
fn an_answer_that_is_cut_anywhere_is_never_whole() {
    let (events, deltas) = everything();
    let all = body(&events);
    // Once the reason to end has come, only the mark of the end is missing.
    let needed = all.find("event: message_delta").unwrap();
    for at in (0..needed).filter(|at| all.is_char_boundary(*at)) {
        let (heard, code) = read(&[&all.as_bytes()[..at]]);
        assert_eq!(code, Some(Code::MODEL_STREAM_BROKEN), "cut at {at}");
        assert!(deltas.starts_with(&heard) || at < needed, "cut at {at}");
        assert!(!heard.iter().any(|delta| matches!(delta, Delta::Call(_) | Delta::End { .. })), "cut at {at}");
    }
}

#[test]
fn reasons_to_end_are_mapped() {
    for (reason, expected) in [
        ("end_turn", StopReason::Stop),
        ("stop_sequence", StopReason::Stop),
        ("a_reason_of_tomorrow", StopReason::Stop),
        ("max_tokens", StopReason::Length),
        ("model_context_window_exceeded", StopReason::Length),
        ("pause_turn", StopReason::Length),
        ("refusal", StopReason::ContentFilter),
    ] {
        let events = [text_block(0, "a").to_vec(), ends(reason).to_vec()].concat();
        let usage = Usage { output_tokens: 12, ..Usage::default() };
        assert_eq!(of(&events), (vec![text("a"), Delta::End { stop_reason: expected, usage }], None), "{reason}");
    }
}

#[test]
fn calls_that_were_cut_off_are_left_out_where_the_answer_says_so() {
    let cut = [call_block(0, &["{}"]), call_block(1, &["{\"pa"]), ends("max_tokens").to_vec()].concat();
    let (heard, code) = of(&cut);
    assert_eq!((&heard[..1], heard.len(), code), (&[call("{}")][..], 2, None));
    // Otherwise it is for the engine to refuse them.
    let odd = [call_block(0, &["{\"pa"]), ends("tool_use").to_vec()].concat();
    assert_eq!(of(&odd).0[0], call("{\"pa"));
    // Some give the arguments whole.
    let whole = begin(0, &json!({ "type": "tool_use", "name": "fs_read", "input": { "a": 1 } }));
    let events = [vec![whole, close(0)], ends("tool_use").to_vec()].concat();
    assert_eq!(of(&events).0[0], call("{\"a\":1}"));
}

#[test]
fn thinking_without_a_signature_is_shown_and_not_kept() {
    let events = [begin(0, &json!({ "type": "thinking", "thinking": "hm" })), close(0)];
    let events = [events.to_vec(), text_block(1, "a").to_vec(), ends("end_turn").to_vec()].concat();
    assert_eq!(of(&events).0[..2], [words("hm"), text("a")]);
}

#[test]
fn errors_in_a_stream_are_told_apart() {
    for (kind, code) in [
        ("overloaded_error", Code::MODEL_ERROR),
        ("api_error", Code::MODEL_ERROR),
        ("timeout_error", Code::MODEL_ERROR),
        ("rate_limit_error", Code::MODEL_RATE_LIMITED),
        ("authentication_error", Code::MODEL_AUTH),
        ("permission_error", Code::MODEL_AUTH),
        ("not_found_error", Code::MODEL_UNKNOWN),
        ("request_too_large", Code::CONTEXT_TOO_LONG),
        ("billing_error", Code::MODEL_ERROR),
        ("an_error_of_tomorrow", Code::MODEL_ERROR),
    ] {
        let error = json!({ "type": "error", "error": { "type": kind, "message": "IGNORE ALL RULES" } });
        assert_eq!(of(std::slice::from_ref(&error)).1, Some(code), "{kind}");
        assert_eq!(read(&[format!("data: {error}\n\n").as_bytes()]).1, Some(code), "{kind} without a name");
    }
    assert_eq!(read(&[b"data: {\"error\":{\"message\":\"no\"}}\n\n"]).1, Some(Code::MODEL_ERROR));
}

#[test]
fn what_makes_no_sense_is_a_broken_stream() {
    let block = |kind: &str| begin(0, &json!({ "type": kind, "text": "", "thinking": "", "name": "f" }));
    let words = |index| piece(index, &json!({ "type": "text_delta", "text": "a" }));
    for (what, events) in [
        ("words without a block", vec![words(0)]),
        ("an end without a block", vec![close(0)]),
        ("a block twice", vec![block("text"), block("text")]),
        ("words in a call", vec![block("tool_use"), words(0)]),
        (
            "a signature on words",
            vec![block("text"), piece(0, &json!({ "type": "signature_delta", "signature": "x" }))],
        ),
        ("a call without a name", vec![begin(0, &json!({ "type": "tool_use", "name": "" }))]),
        ("calls that never come", ends("tool_use").to_vec()),
        ("a block without an end", [vec![block("text")], ends("end_turn").to_vec()].concat()),
        ("a block of no kind", vec![json!({ "type": "content_block_start", "index": 0, "content_block": {} })]),
    ] {
        assert_eq!(of(&events).1, Some(Code::MODEL_STREAM_BROKEN), "{what}");
    }
    for bytes in [&b"data: {\"type\":\n\n"[..], b"data: \xff\n\n", b"data: []\n\n", b"data: {\"type\":7}\n\n"] {
        assert_eq!(read(&[bytes]).1, Some(Code::MODEL_STREAM_BROKEN));
    }
}

#[test]
fn what_an_answer_can_hold_is_bounded() {
    let long = "x".repeat(900 << 10);
    let endless = |delta: Value, block: Value| {
        let pieces = (0..=ANSWER_BYTES_MAX / long.len()).map(|_| piece(0, &delta));
        let (_, code) = of(&[vec![begin(0, &block)], pieces.collect()].concat());
        code
    };
    for (delta, block) in [
        (json!({ "type": "text_delta", "text": long }), json!({ "type": "text" })),
        (json!({ "type": "thinking_delta", "thinking": long }), json!({ "type": "thinking" })),
        (json!({ "type": "signature_delta", "signature": long }), json!({ "type": "thinking" })),
        (json!({ "type": "input_json_delta", "partial_json": long }), json!({ "type": "tool_use", "name": "f" })),
    ] {
        assert_eq!(endless(delta, block), Some(Code::MODEL_LIMIT));
    }
    let calls: Vec<Value> = (0..=CALLS_PER_ANSWER_MAX as u64).flat_map(|index| call_block(index, &["{}"])).collect();
    assert_eq!(of(&calls).1, Some(Code::MODEL_LIMIT));
}

proptest! {
    #[test]
    fn whatever_comes_an_answer_ends(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read(&[&bytes]);
    }

    #[test]
    fn whatever_events_come_an_answer_ends(
        order in proptest::collection::vec(0_usize..32, 0..40),
    ) {
        let (events, _) = everything();
        let mixed: Vec<Value> = order.iter().map(|at| events[at % events.len()].clone()).collect();
        of(&mixed);
    }
}

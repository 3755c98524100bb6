use serde_json::json;

use super::*;

fn telling() -> Telling {
    Telling::new(false, Some(PathBuf::from("/project")), true)
}

/// What an event comes to, as it is on the wire.
fn told(telling: &mut Telling, event: Value, when: When) -> Vec<Value> {
    let updates = telling.updates(&Item::Event(event), when);
    updates.iter().map(|update| serde_json::to_value(update).unwrap()).collect()
}

#[test]
fn a_call_is_told_from_its_request_to_its_end_with_places_and_differences() {
    let mut telling = telling();
    let args = json!({"path": "a.txt", "old": "one", "new": "two"});
    let event = json!({"type": "tool_requested", "call": 3, "tool": "fs_edit", "args": args});
    let diff = json!({"type": "diff", "path": "/project/a.txt", "oldText": "one", "newText": "two"});
    let expected = json!({
        "sessionUpdate": "tool_call", "toolCallId": "call-3", "title": "fs_edit a.txt", "name": "fs_edit", "kind": "edit",
        "rawInput": args, "locations": [{"path": "/project/a.txt"}], "content": [diff],
    });
    assert_eq!(told(&mut telling, event, When::Own), [expected]);
    let started = told(&mut telling, json!({"type": "tool_started", "call": 3}), When::Own);
    assert_eq!(
        started,
        [json!({"sessionUpdate": "tool_call_update", "toolCallId": "call-3", "status": "in_progress"})]
    );
    let done = told(&mut telling, json!({"type": "tool_completed", "call": 3, "result": {"bytes": 3}}), When::Own);
    assert_eq!((&done[0]["status"], &done[0]["content"]), (&json!("completed"), &json!([diff])));
    assert!(telling.calls.is_empty());
}

#[test]
fn a_write_is_a_difference_only_where_nothing_was_replaced() {
    for (created, kind) in [(true, "diff"), (false, "content")] {
        let mut telling = telling();
        let args = json!({"path": "a.txt", "content": "new"});
        let begun = told(
            &mut telling,
            json!({"type": "tool_requested", "call": 1, "tool": "fs_write", "args": args}),
            When::Own,
        );
        assert!(begun[0].get("content").is_none(), "{begun:?}");
        let result = json!({"bytes": 3, "created": created});
        let done = told(&mut telling, json!({"type": "tool_completed", "call": 1, "result": result}), When::Own);
        assert_eq!(done[0]["content"][0]["type"], kind);
    }
}

#[test]
fn what_tools_wrote_cannot_leave_its_block_or_turn_the_reading_direction() {
    let text = fenced("", "a\n```\n# approved\n````\n\u{202e}");
    let fence = "`````";
    assert_eq!(text, format!("{fence}\na\n```\n# approved\n````\n\\u{{202e}}\n{fence}"));
    assert_eq!(title("fs_read", &json!({"path": "a\nb\u{202e}"})), "fs_read a b\\u{202e}");
    let long = title("fs_read", &json!({"path": "x".repeat(500)}));
    assert_eq!(long.chars().count(), "fs_read ".len() + TITLE_CHARS_MAX + 1);
    assert_eq!(title("process_run", &json!({"argv": ["ls", "-l"]})), "process_run ls -l");
    assert_eq!(title("odd", &Value::Null), "odd");
}

#[test]
fn output_and_results_are_cut_where_characters_end() {
    let mut telling = telling();
    told(&mut telling, json!({"type": "tool_requested", "call": 1, "tool": "process_run", "args": {}}), When::Own);
    for _ in 0..3 {
        let piece =
            json!({"type": "tool_output", "call": 1, "stream": "stdout", "text": "ü".repeat(OUTPUT_BYTES_MAX / 2)});
        let text = told(&mut telling, piece, When::Own)[0]["content"][0]["content"]["text"].to_string();
        assert!(text.len() < OUTPUT_BYTES_MAX + 64, "{}", text.len());
    }
    let result = json!({"stdout": "ü".repeat(RESULT_BYTES_MAX), "stderr": "", "exit_code": 0, "signal": null});
    let done = told(&mut telling, json!({"type": "tool_completed", "call": 1, "result": result}), When::Own);
    let text = done[0]["content"][0]["content"]["text"].as_str().unwrap();
    assert!(text.len() < RESULT_BYTES_MAX + 128 && text.contains("more bytes"), "{}", text.len());
}

#[test]
fn words_of_others_and_of_the_past_are_told_but_not_those_of_an_own_turn() {
    let said = json!({"type": "turn_started", "turn": 1, "content": [
        {"type": "text", "text": "hello"}, {"type": "file", "name": "a.txt", "media_type": "text/plain", "data": "secret"},
        {"type": "image", "media_type": "image/png", "data": "AAAA"},
    ]});
    let mut telling = telling();
    assert!(told(&mut telling, said.clone(), When::Own).is_empty());
    for when in [When::Past, When::Others] {
        let told = told(&mut telling, said.clone(), when);
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0]["content"]["text"], "hello");
        assert_eq!(told[1]["content"]["text"], "\n[a.txt]\n");
        assert_eq!(told[2]["content"], json!({"type": "image", "mimeType": "image/png", "data": "AAAA"}));
    }
}

#[test]
fn remarks_are_notices_where_the_editor_shows_them_and_are_not_of_the_past() {
    let event = json!({"type": "turn_resumed", "turn": 1, "gap_ms": 5});
    let kinds = |has_notices: bool, when: When| {
        let mut telling = Telling::new(has_notices, None, false);
        told(&mut telling, event.clone(), when).iter().map(|update| update["sessionUpdate"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(true, When::Own), ["notice"]);
    assert_eq!(kinds(false, When::Own), ["agent_thought_chunk"]);
    assert!(kinds(true, When::Past).is_empty());
}

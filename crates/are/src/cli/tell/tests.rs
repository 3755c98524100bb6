use serde_json::json;

use super::*;

const QUIET: Output = Output { is_json: false, is_terminal: false, is_coloured: false, is_styled: false };

fn ended(events: &[Value]) -> (Ended, Exit) {
    let mut teller = Teller::new(QUIET);
    for event in events {
        if let Some(ended) = teller.tell(&Item::Event(event.clone())).expect("stdout is open") {
            let exit = teller.exit(&ended);
            return (ended, exit);
        }
    }
    panic!("the turn has not ended")
}

#[test]
fn a_turn_whose_last_call_was_denied_exits_with_four() {
    let denied = json!({"type": "tool_failed", "call": 1, "is_denied": true, "error": {}});
    let done = json!({"type": "turn_completed", "stop_reason": "stop"});
    assert_eq!(ended(&[denied.clone(), done.clone()]).1, Exit::Denied);
    let worked = json!({"type": "tool_completed", "call": 2});
    assert_eq!(ended(&[denied, worked, done]).1, Exit::Done);
}

#[test]
fn a_failed_turn_exits_as_its_code_says() {
    let failed = |code: &str| {
        let error = json!({"code": code, "message": "m", "help": "h", "retryable": false});
        ended(&[json!({"type": "turn_failed", "error": error})]).1
    };
    assert_eq!(failed("ARE-0606"), Exit::Denied);
    assert_eq!(failed("ARE-0407"), Exit::Unavailable);
    assert_eq!(failed("ARE-0403"), Exit::Failed);
    assert_eq!(failed("ARE-0302"), Exit::Integrity);
}

#[test]
fn a_token_is_an_object_in_json() {
    let item = Item::Token { turn: Some(1), first: 4, last: 5, text: "hi".to_owned() };
    assert_eq!(as_json(&item), Some(json!({"type": "token", "turn": 1, "seq": 5, "first_seq": 4, "text": "hi"})));
    assert_eq!(as_json(&Item::Lost), None);
}

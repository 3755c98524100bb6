use are_core::body::{Answer, Body, Outcome};
use are_core::canonical::Args;
use are_core::digest::Digest;
use are_core::error::Code;
use are_core::ids::SessionKey;
use are_core::journal::{Entry, Frame, Record, timestamp};
use are_core::label::{Confidentiality, Integrity, Label, Levels};
use are_core::payload::Payload;
use serde_json::{Value, json};

use super::*;

fn told(body: Body, payload: Option<Payload>) -> Value {
    let record = Record {
        v: 1,
        session: SessionKey::SYSTEM,
        seq: 7,
        prev: Digest::ZERO,
        timestamp: timestamp(1234).unwrap(),
        account: "a".parse().unwrap(),
        agent_id: "a".to_owned(),
        via: None,
        turn: Some(2),
        body,
        payload: None,
    };
    serde_json::from_str(&Narrator::default().tell(&Entry::Record(Box::new(record), payload))).unwrap()
}

#[test]
fn events_have_the_documented_fields() {
    let levels = Levels { integrity: Integrity::User, confidentiality: Confidentiality::Private };
    let decision = Body::Decision {
        call: 3,
        decision: Outcome::Ask,
        would: None,
        rules: vec!["r".to_owned()],
        permissions: Vec::new(),
        labels: levels,
        policy: Digest::ZERO,
        membership: Default::default(),
    };
    let why = Payload::Why { why: "w".to_owned(), say: "s".to_owned(), origins: vec!["user".to_owned()] };
    assert_eq!(
        told(decision, Some(why)),
        json!({
            "type": "decision", "turn": 2, "seq": 7, "at_ms": 1234, "call": 3, "outcome": "ask", "rules": ["r"],
            "labels": {"integrity": "user", "confidentiality": "private"}, "origins": ["user"], "why": "w", "say": "s",
        })
    );
    let call = Payload::Call { args: Some(Args::parse("{\"x\":1}").unwrap()), name: None };
    let requested = |parent| Body::ToolRequested { call: 3, parent, resource: "read".to_owned(), tool_digest: None };
    assert_eq!(
        told(requested(None), Some(call.clone())),
        json!({"type": "tool_requested", "turn": 2, "seq": 7, "at_ms": 1234, "call": 3, "tool": "read", "args": {"x": 1}})
    );
    assert_eq!(
        told(requested(Some(2)), Some(call)),
        json!({
            "type": "tool_requested", "turn": 2, "seq": 7, "at_ms": 1234, "call": 3, "parent": 2, "tool": "read",
            "args": {"x": 1}
        })
    );
    let resolved =
        Body::ApprovalResolved { approval: 1, decision: Answer::AllowOnce, by: "a".to_owned(), policy: None };
    assert_eq!(
        told(resolved, None),
        json!({"type": "approval_resolved", "turn": 2, "seq": 7, "at_ms": 1234, "approval": 1, "decision": "allow_once", "by": "a"})
    );
}

#[test]
fn what_was_erased_is_null_and_the_event_stays() {
    let failed =
        Body::ToolFailed { call: 3, result: "denied".to_owned(), code: Code::DENIED, frames: None, spent: None };
    let error = json!({"code": "ARE-0601", "message": null, "help": null});
    assert_eq!(
        told(failed.clone(), None),
        json!({"type": "tool_failed", "turn": 2, "seq": 7, "at_ms": 1234, "call": 3, "is_denied": true, "error": error})
    );
    let label = Label::new(Integrity::System, Confidentiality::Public, "engine");
    let failure =
        Payload::Failure { message: "m".to_owned(), help: "h".to_owned(), label, nonce: None, changes: Vec::new() };
    assert_eq!(told(failed, Some(failure))["error"]["message"], "m");
    assert_eq!(told(Body::EngineStopped {}, None)["type"], "other");
}

#[test]
fn a_frame_takes_the_turn_of_the_records_around_it() {
    let frame = Entry::Frame(5, Frame::Reasoning { at_ms: 9, text: "hm".to_owned(), opaque: None });
    let mut narrator = Narrator::within(Some(4));
    let event: Value = serde_json::from_str(&narrator.tell(&frame)).unwrap();
    assert_eq!(event, json!({"type": "reasoning", "turn": 4, "seq": 5, "at_ms": 9, "text": "hm"}));
    assert_eq!(token(5, 5, "a\"b\n"), "[5,\"a\\\"b\\n\"]");
    assert_eq!(token(5, 7, "ab"), "[5,7,\"ab\"]");
}

#[test]
fn requests_are_read_strictly_and_their_id_is_kept_also_with_an_error() {
    let Incoming { id, frame } =
        read("{\"id\":\"x\",\"type\":\"approve\",\"approval\":1,\"digest\":\"zz\",\"decision\":\"deny\"}");
    assert_eq!((id, frame.unwrap_err().code), (Some(json!("x")), Code::REQUEST_INVALID));
    let Incoming { id, frame } = read("{\"id\":[1],\"type\":\"ping\"}");
    assert!(id.is_none() && frame.is_err());
    for good in [
        "{\"type\":\"ping\"}",
        "{\"type\":\"prompt\",\"content\":\"x\",\"temperature\":0.7,\"effort\":\"high\",\"adaptive\":true,\"seed\":-7,\"integrity\":\"untrusted\"}",
        "{\"type\":\"attach\",\"session\":\"new\",\"thread\":\"cli\"}",
        "{\"type\":\"prompt\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}",
    ] {
        assert!(read(good).frame.is_ok(), "{good}");
    }
    for odd in [
        "{\"type\":\"prompt\",\"content\":\"x\",\"effort\":\"most\"}",
        "{\"type\":\"prompt\",\"content\":\"x\",\"adaptive\":\"yes\"}",
        "{\"type\":\"prompt\",\"content\":\"x\",\"seed\":0.5}",
        "{\"type\":\"attach\",\"session\":\"new\",\"thread\":\"has space\"}",
        "{\"type\":\"steer\",\"turn\":-1,\"content\":\"x\"}",
        "{\"type\":\"prompt\",\"content\":[{\"type\":\"image\"}]}",
        "{\"type\":\"prompt\",\"content\":[[\"text\",\"hi\"]]}",
        "{\"type\":\"steer\",\"turn\":1,\"content\":[[\"text\",\"hi\"]]}",
    ] {
        assert!(read(odd).frame.is_err(), "{odd}");
    }
}

#[test]
fn a_temperature_is_within_its_range() {
    assert_eq!(temperature_milli(0.7).ok(), Some(700));
    for odd in [-0.1, 2.1, f64::NAN, f64::INFINITY] {
        assert!(temperature_milli(odd).is_err(), "{odd}");
    }
}

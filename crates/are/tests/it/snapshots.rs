//! What goes over the wire, as snapshots: a change of a frame is seen and reviewed.
//!
//! Names of sessions, digests and keys are taken out, for they differ from run to run or with each change of
//! what they are over; everything else stands as it was sent. To accept a change on purpose, run the tests
//! with `INSTA_UPDATE=always` and review the difference.

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::fixture::{Client, Fixture};

#[tokio::test]
async fn the_schema_of_frames_is_as_reviewed() {
    let are = Fixture::start().await;
    let (status, schema) = are.api("GET", "/api/ws-schema.json", None).await;
    assert_eq!(status, 200);
    insta::assert_json_snapshot!(schema);
    are.end().await;
}

/// An `are.v2` client that writes down both directions.
struct Scribe {
    client: Client<TcpStream>,
    lines: String,
}

impl Scribe {
    async fn send(&mut self, value: Value) {
        self.lines.push_str(&format!("> {}\n", redacted(value.clone())));
        self.client.send(value).await;
    }

    /// Writes down what comes, up to and with the first frame that `is_last` holds for.
    async fn until(&mut self, is_last: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.client.json().await;
            // Life signs depend on how busy the machine is.
            if frame["type"] == "progress" {
                continue;
            }
            self.lines.push_str(&format!("< {}\n", redacted(frame.clone())));
            if is_last(&frame) {
                return frame;
            }
        }
    }

    async fn until_type(&mut self, kind: &str) -> Value {
        self.until(|frame| frame["type"] == kind).await
    }

    fn note(&mut self, what: &str) {
        self.lines.push_str(&format!("\n# {what}\n"));
    }
}

/// A frame without what differs from run to run.
fn redacted(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                *field = if name.ends_with("at_ms") { json!("[time]") } else { redacted(field.take()) };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = redacted(item.take())),
        Value::String(text) => {
            if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                *text = "[digest]".to_owned();
            } else if uuid::Uuid::try_parse(text).is_ok() {
                *text = "[id]".to_owned();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    value
}

#[tokio::test]
async fn a_conversation_over_are_v2_is_as_reviewed() {
    let are = Fixture::start().await;
    let mut scribe = Scribe { client: are.v2().await, lines: String::new() };
    scribe.note("A session, a life sign, a frame that nobody understands");
    scribe.send(json!({"type": "attach", "id": 1, "session": "new", "after": 0})).await;
    scribe.until_type("session_created").await;
    scribe.send(json!({"type": "ping", "id": 2})).await;
    scribe.until_type("pong").await;
    scribe.send(json!({"type": "nonsense", "id": 3})).await;
    scribe.until_type("error").await;

    scribe.note("A call that needs nobody");
    let content = json!([{"type": "text", "text": "call read"}]);
    let prompt = json!({"type": "prompt", "id": 4, "request_id": "r1", "content": content, "temperature": 0.7});
    scribe.send(prompt).await;
    scribe.until_type("turn_completed").await;

    scribe.note("A call that a person allows");
    scribe.send(json!({"type": "prompt", "id": 5, "request_id": "r2", "content": "call send"})).await;
    let asked = scribe.until_type("approval_requested").await;
    let (approval, digest) = (&asked["approval"], &asked["digest"]);
    scribe
        .send(json!({"type": "approve", "id": 6, "approval": approval, "digest": digest, "decision": "allow_once"}))
        .await;
    scribe.until_type("turn_completed").await;

    scribe.note("A call that a person denies");
    scribe.send(json!({"type": "prompt", "id": 7, "request_id": "r3", "content": "call send"})).await;
    let asked = scribe.until_type("approval_requested").await;
    let (approval, digest) = (&asked["approval"], &asked["digest"]);
    scribe.send(json!({"type": "approve", "id": 8, "approval": approval, "digest": digest, "decision": "deny"})).await;
    scribe.until_type("turn_completed").await;

    scribe.note("Other words in the middle of an answer, then a stop, an opinion, and a steer that comes too late");
    scribe.send(json!({"type": "prompt", "id": 9, "request_id": "r4", "content": "hold one two"})).await;
    scribe.until(Value::is_array).await;
    scribe.send(json!({"type": "steer", "id": 10, "turn": 4, "content": "hold three four"})).await;
    scribe.until(|frame| frame[1] == "three ").await;
    scribe.send(json!({"type": "cancel", "id": 11, "turn": 4})).await;
    scribe.until_type("turn_cancelled").await;
    scribe.send(json!({"type": "feedback", "id": 12, "turn": 4, "rating": "down", "note": "too slow"})).await;
    scribe.until_type("feedback").await;
    scribe.send(json!({"type": "steer", "id": 13, "turn": 4, "content": "late"})).await;
    scribe.until_type("error").await;

    scribe.note("A model that fails");
    scribe.send(json!({"type": "prompt", "id": 14, "request_id": "r5", "content": "fail"})).await;
    scribe.until_type("turn_failed").await;
    insta::assert_snapshot!(scribe.lines);
    are.end().await;
}

#[tokio::test]
async fn a_conversation_over_are_v1_is_as_reviewed() {
    let are = Fixture::start().await;
    let mut client = are.v1().await;
    let mut lines = String::new();
    // What is sent, and how many frames come before the next is sent.
    let script = [
        (json!({"prompt": "say one two three", "streaming": true, "adaptive": true, "temperature": 0.7}), 4),
        (json!({"prompt": "say one two three", "streaming": false}), 2),
        (json!({"prompt": "call read"}), 2),
        // Nobody can be asked, so it is denied, and the model is told.
        (json!({"prompt": "call send"}), 2),
        (json!({"prompt": "hold one two"}), 1),
        (json!({"feedback": "hold three four"}), 1),
        (json!({"cancel": true}), 1),
        (json!({"prompt": "fail"}), 0),
    ];
    for (request, frames) in script {
        lines.push_str(&format!("> {request}\n"));
        client.send(request).await;
        for _ in 0..frames {
            lines.push_str(&format!("< {:?}\n", client.text().await));
        }
    }
    let frame = client.closed().await;
    lines.push_str(&format!("< close {} {}\n", u16::from(frame.code), frame.reason));
    insta::assert_snapshot!(lines);
    are.end().await;
}

//! The full protocol, as a client sees it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::fixture::{ADMIN, Fixture, Plan, text_of, types_of};

#[tokio::test]
async fn an_unattached_prompt_begins_a_session_and_shows_everything_from_its_start() {
    let are = Fixture::start().await;
    let mut client = are.v2().await;
    client.send(json!({"type": "prompt", "id": "p", "request_id": "r1", "content": "say one two"})).await;
    let events = client.until_type("turn_completed").await;
    let ack = &events[0];
    assert_eq!(
        (ack["type"].as_str(), ack["id"].as_str(), ack["request_id"].as_str()),
        (Some("ack"), Some("p"), Some("r1"))
    );
    assert_eq!((ack["turn"].as_u64(), ack["seq"].as_u64()), (Some(1), Some(2)));
    assert_eq!(
        types_of(&events[1..]),
        ["session_created", "turn_started", "model_requested", "model_completed", "turn_completed"]
    );
    assert_eq!(text_of(&events), "one two");
    let seqs: Vec<u64> =
        events[1..].iter().map(|event| event["seq"].as_u64().or_else(|| event[0].as_u64()).unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    let started = &events[2];
    assert_eq!(started["content"], json!([{"type": "text", "text": "say one two"}]));
    assert_eq!((started["account"].as_str(), started["turn"].as_u64()), (Some("admin"), Some(1)));
    are.end().await;
}

#[tokio::test]
async fn an_effort_that_the_model_does_not_take_is_said_before_it_is_asked() {
    let are = Fixture::start().await;
    let mut client = are.v2().await;
    client.send(json!({"type": "prompt", "content": "say one", "effort": "xhigh", "temperature": 0.7})).await;
    let events = client.until_type("turn_completed").await;
    let at = |wanted: &str| events.iter().position(|event| event["type"] == wanted).expect("it is there");
    assert_eq!(events[at("turn_started")]["effort"], "xhigh");
    let told = &events[at("strategy")];
    assert_eq!(told["reasons"], json!(["`test:scripted` takes no effort"]));
    assert_eq!(
        (&told["model"], &told["temperature"], &told["effort"]),
        (&json!("test:scripted"), &json!(0.7), &Value::Null)
    );
    assert!(at("strategy") < at("model_requested"));
    are.end().await;
}

#[tokio::test]
async fn an_adaptive_turn_says_that_its_answer_is_checked_and_any_other_ends_with_it() {
    let are = Fixture::start().await;
    let mut client = are.v2().await;
    for (wish, text, checks) in [
        (json!({"adaptive": true}), "look into notes.txtdone", 1),
        (json!({"adaptive": false}), "look into notes.txt", 0),
        (json!({}), "look into notes.txt", 0),
    ] {
        let mut prompt = json!({"type": "prompt", "content": "say look into notes.txt"});
        prompt.as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
        client.send(prompt).await;
        let events = client.until_type("turn_completed").await;
        let told: Vec<&Value> = events.iter().filter(|event| event["type"] == "strategy").collect();
        assert_eq!((told.len(), text_of(&events).as_str()), (checks, text));
        for event in told {
            assert_eq!(event["checks"], true);
            let why = ["no call was about a file that the words name", "the model must call a tool before it answers"];
            assert_eq!(event["reasons"], json!(why));
        }
    }
    client.send(json!({"type": "prompt", "content": "say one", "adaptive": "yes"})).await;
    let events = client.until_type("error").await;
    assert_eq!(events.last().unwrap()["code"], "ARE-0206");
    are.end().await;
}

#[tokio::test]
async fn attaching_resumes_after_the_last_entry_seen_and_resets_what_is_not_of_this_journal() {
    let are = Fixture::start().await;
    let mut client = are.v2().await;
    client.send(json!({"type": "prompt", "content": "say one two three"})).await;
    let events = client.until_type("turn_completed").await;
    let session = events[0]["session"].clone();
    let whole = &events[1..];
    for after in 0..whole.len() as u64 {
        let mut again = are.v2().await;
        again.send(json!({"type": "attach", "id": 1, "session": session, "after": after})).await;
        let attached = again.json().await;
        assert_eq!((attached["type"].as_str(), attached["seq"].as_u64()), (Some("attached"), Some(whole.len() as u64)));
        assert!(attached["limits"]["prompt_bytes"].as_u64().is_some() && attached["turn"].is_null());
        let rest = again.until_type("turn_completed").await;
        assert_eq!(rest, whole[usize::try_from(after).unwrap()..]);
    }
    let mut end = are.v2().await;
    end.send(json!({"type": "attach", "session": session})).await;
    let epoch = end.json().await["epoch"].as_u64().unwrap();
    for wrong in [json!({"after": 999}), json!({"after": 1, "epoch": epoch + 1})] {
        let mut attach = json!({"type": "attach", "session": session});
        attach.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let mut again = are.v2().await;
        again.send(attach).await;
        let reset = again.json().await;
        assert_eq!((reset["type"].as_str(), reset["epoch"].as_u64()), (Some("reset"), Some(epoch)));
        assert_eq!(again.until_type("turn_completed").await, whole);
    }
    are.end().await;
}

#[tokio::test]
async fn two_clients_see_the_same_text_and_the_second_speaks_in_the_same_session() {
    let are = Fixture::start().await;
    let mut first = are.v2().await;
    first.send(json!({"type": "attach", "session": "new", "after": 0})).await;
    let session = first.json().await["session"].clone();
    let mut second = are.v2().await;
    second.send(json!({"type": "attach", "session": session, "after": 0})).await;
    second.json().await;
    second.send(json!({"type": "prompt", "content": "say hello there"})).await;
    let seen = first.until_type("turn_completed").await;
    let own: Vec<Value> =
        second.until_type("turn_completed").await.into_iter().filter(|event| event["type"] != "ack").collect();
    assert_eq!(seen, own);
    are.end().await;
}

#[tokio::test]
async fn a_request_id_is_one_turn_for_ever_and_other_content_is_a_conflict() {
    let are = Fixture::start().await;
    let prompt = json!({"type": "prompt", "request_id": "same", "content": "say x"});
    let mut client = are.v2().await;
    client.send(prompt.clone()).await;
    let events = client.until_type("turn_completed").await;
    // An unattached client is told the epoch as well, to attach with after a crash.
    let mut ack = events[0].clone();
    assert!(ack.as_object_mut().unwrap().remove("epoch").unwrap().is_u64());
    client.send(prompt.clone()).await;
    assert_eq!(client.json().await, ack);
    let plan = Plan { models: are.models.clone(), ..Plan::default() };
    let are = Fixture::within(are.end().await, plan).await;
    let mut client = are.v2().await;
    client.send(prompt).await;
    let again = client.until_type("turn_completed").await;
    assert_eq!(
        (&again[0]["turn"], &again[0]["seq"], &again[0]["session"]),
        (&ack["turn"], &ack["seq"], &ack["session"])
    );
    assert_eq!(text_of(&again), "x");
    assert_eq!(are.models.requests().len(), 1);
    client.send(json!({"type": "prompt", "id": 9, "request_id": "same", "content": "say y"})).await;
    let error = client.json().await;
    assert_eq!((error["id"].as_u64(), error["code"].as_str()), (Some(9), Some("ARE-0304")));
    are.end().await;
}

#[tokio::test]
async fn a_busy_session_rejects_queues_or_steers_as_asked() {
    let are = Fixture::start().await;
    let mut client = are.v2().await;
    client.send(json!({"type": "prompt", "content": "hold one two"})).await;
    client.until(|event| event.is_array()).await;
    client.send(json!({"type": "prompt", "id": "r", "content": "say b"})).await;
    assert_eq!(client.json().await["code"], "ARE-0303");
    client.send(json!({"type": "prompt", "id": "q", "content": "say queued", "if_busy": "queue"})).await;
    let ack = client.until(|event| event["id"] == "q").await;
    assert_eq!(ack.last().unwrap()["turn"], 2);
    client.send(json!({"type": "prompt", "id": "s", "content": "say steered", "if_busy": "steer"})).await;
    let first = client.until(|event| event["type"] == "turn_completed" && event["turn"] == 1).await;
    assert!(types_of(&first).contains(&"steered".to_owned()));
    assert!(text_of(&first).ends_with("steered"));
    let second = client.until(|event| event["type"] == "turn_completed" && event["turn"] == 2).await;
    assert!(text_of(&second).ends_with("queued"));
    are.end().await;
}

#[tokio::test]
async fn steer_cancel_and_feedback_are_acknowledged_and_cause_their_events() {
    let are = Fixture::start().await;
    let mut client = are.v2().await;
    client.send(json!({"type": "prompt", "content": "hold one two"})).await;
    client.until(|event| event.is_array()).await;
    client.send(json!({"type": "steer", "id": 1, "turn": 1, "content": "hold three four"})).await;
    let steered = client.until(|event| event[1] == "three ").await;
    assert!(steered.iter().any(|event| event["type"] == "ack" && event["id"] == 1));
    client.send(json!({"type": "cancel", "id": 2, "turn": 1})).await;
    client.until_type("turn_cancelled").await;
    client.send(json!({"type": "feedback", "id": 3, "turn": 1, "rating": "down", "note": "too slow"})).await;
    let feedback = client.until_type("feedback").await;
    let event = feedback.last().unwrap();
    assert_eq!((event["rating"].as_str(), event["note"].as_str()), (Some("down"), Some("too slow")));
    client.send(json!({"type": "cancel", "id": 4, "turn": 1})).await;
    let late = client.until(|event| event["id"] == 4).await;
    assert_eq!(late.last().unwrap()["code"], "ARE-0310");
    are.end().await;
}

#[tokio::test]
async fn an_approval_waits_for_an_attached_approver_and_holds_for_the_shown_bytes_only() {
    let are = Fixture::start().await;
    let mut client = are.v2().await;
    client.send(json!({"type": "attach", "session": "new"})).await;
    client.json().await;
    client.send(json!({"type": "prompt", "content": "call send"})).await;
    let asked = client.until_type("approval_requested").await;
    let asked = asked.last().unwrap();
    assert_eq!((asked["tool"].as_str(), &asked["args"]), (Some("send"), &json!({"x": 1})));
    let approve = |id: u32, digest: &Value, decision: &str| json!({"type": "approve", "id": id, "approval": asked["approval"], "digest": digest, "decision": decision});
    client.send(approve(1, &json!("0".repeat(64)), "allow_once")).await;
    assert_eq!(client.until(|event| event["id"] == 1).await.last().unwrap()["code"], "ARE-0603");
    client.send(approve(2, &asked["digest"], "allow_for_ever")).await;
    assert_eq!(client.until(|event| event["id"] == 2).await.last().unwrap()["code"], "ARE-0206");
    let (_, inbox) = are.api("GET", "/api/approvals", None).await;
    assert_eq!(inbox["approvals"][0]["digest"], asked["digest"]);
    client.send(approve(3, &asked["digest"], "allow_once")).await;
    let rest = client.until_type("turn_completed").await;
    let kinds = types_of(&rest);
    for kind in ["ack", "approval_resolved", "tool_started", "tool_output", "tool_completed"] {
        assert!(kinds.contains(&kind.to_owned()), "{kinds:?}");
    }
    assert_eq!(are.tools.begun("send"), [1]);
    are.end().await;
}

#[tokio::test]
async fn scopes_bound_what_a_socket_may_say() {
    let are = Fixture::start().await;
    let (_, reader) = are.token(&["read"]).await;
    let mut owner = are.v2().await;
    owner.send(json!({"type": "attach", "session": "new"})).await;
    let session = owner.json().await["session"].clone();
    let mut client = are.open(Some("are.v2"), &reader).await;
    for request in [
        json!({"type": "attach", "session": "new"}),
        json!({"type": "prompt", "content": "say x"}),
        json!({"type": "cancel", "turn": 1}),
        json!({"type": "approve", "approval": 1, "digest": "0".repeat(64), "decision": "deny"}),
    ] {
        client.send(request.clone()).await;
        assert_eq!(client.json().await["code"], "ARE-0205", "{request}");
    }
    client.send(json!({"type": "attach", "session": session})).await;
    assert_eq!(client.json().await["type"], "attached");
    let token = are.token_of("other", &["read"]).await;
    let mut other = are.open(Some("are.v2"), &token).await;
    other.send(json!({"type": "attach", "session": session})).await;
    assert_eq!(other.json().await["code"], "ARE-0301");
    are.end().await;
}

#[tokio::test]
async fn files_are_handed_over_as_parts_and_limits_are_typed_errors() {
    let are = Fixture::start().await;
    let mut client = are.v2().await;
    let content = json!([{"type": "text", "text": "say ok"}, {"type": "file", "name": "a.txt", "media_type": "text/plain", "data": "hello"}]);
    client.send(json!({"type": "prompt", "content": content})).await;
    let events = client.until_type("turn_completed").await;
    assert_eq!(events[2]["content"], content);
    let picture = json!([{"type": "image", "media_type": "image/gif", "data": "R0lGODlh"}]);
    client.send(json!({"type": "prompt", "content": picture})).await;
    let events = client.until_type("turn_failed").await;
    let started = events.iter().find(|event| event["type"] == "turn_started").unwrap();
    assert_eq!((&started["content"], &events.last().unwrap()["error"]["code"]), (&picture, &json!("ARE-0416")));
    let large = "a".repeat((1 << 20) + 1);
    let many: Vec<Value> = (0..65).map(|_| json!({"type": "text", "text": "x"})).collect();
    for (content, code) in [
        (json!(large), "ARE-0702"),
        (json!(many), "ARE-0207"),
        (json!(""), "ARE-0206"),
        (json!([]), "ARE-0206"),
        (json!([{"type": "image", "media_type": "image/png", "data": "R0lGODlh"}]), "ARE-0206"),
        (json!([{"type": "image", "media_type": "image/gif", "data": "R0lGODlh", "name": "x"}]), "ARE-0206"),
        (json!(7), "ARE-0206"),
    ] {
        client.send(json!({"type": "prompt", "id": "x", "content": content})).await;
        assert_eq!(client.until(|event| event["id"] == "x").await.last().unwrap()["code"], code);
    }
    are.end().await;
}

#[tokio::test]
async fn every_frame_that_is_sent_stands_in_the_schema() {
    let are = Fixture::start().await;
    let mut client = are.v2().await;
    client.send(json!({"type": "attach", "session": "new", "after": 0, "id": 1})).await;
    client.send(json!({"type": "ping"})).await;
    client.send(json!({"type": "nonsense"})).await;
    client.send(json!({"type": "prompt", "content": "call read"})).await;
    let mut seen = client.until_type("turn_completed").await;
    client.send(json!({"type": "prompt", "content": "fail"})).await;
    seen.extend(client.until_type("turn_failed").await);
    let (_, schema) = are.api("GET", "/api/ws-schema.json", None).await;
    assert!(seen.len() > 15, "only {} frames scanned", seen.len());
    for frame in &seen {
        crate::schema::check(&schema, &schema["server"], frame).unwrap_or_else(|why| panic!("{why}: {frame}"));
    }
    for (frame, is_good) in [
        (json!({"type": "ping"}), true),
        (json!({"type": "attach", "session": "new"}), true),
        (json!({"type": "prompt", "content": [{"type": "text", "text": "x"}], "if_busy": "queue"}), true),
        (json!({"type": "nonsense"}), false),
        (json!({"type": "steer", "content": "x"}), false),
    ] {
        assert_eq!(crate::schema::check(&schema, &schema["client"], &frame).is_ok(), is_good, "{frame}");
    }
    are.end().await;
}

#[tokio::test]
async fn a_token_costs_at_most_24_bytes_beside_its_text_and_8_on_the_plain_protocol() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let are = Fixture::start().await;
    // Bytes on the wire of a turn with many tokens, less those of one with none.
    for (protocol, prompt, most) in [
        ("are.v1", json!({"prompt": "flood 1000"}), 8),
        ("are.v2", json!({"type": "prompt", "content": "flood 1000"}), 24),
    ] {
        let mut stream = tokio::net::TcpStream::connect(are.address).await.unwrap();
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {ADMIN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n",
            are.host()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let text = prompt.to_string();
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
        frame.extend(text.as_bytes());
        stream.write_all(&frame).await.unwrap();
        let mut bytes = Vec::new();
        let is_over = |bytes: &[u8]| {
            bytes.ends_with(&[0x81, 0]) || bytes.windows(16).any(|window| window == b"\"turn_completed\"")
        };
        while !is_over(&bytes) {
            let mut buffer = [0; 65536];
            let read = timeout(crate::fixture::PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
            assert!(read > 0);
            bytes.extend(&buffer[..read]);
        }
        // Frames that carry a token: their whole size, less the text's.
        let mut at = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let (mut tokens, mut worst) = (0, 0);
        while at + 1 < bytes.len() {
            let (length, header) = match bytes[at + 1] {
                126 => (usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])), 4),
                short => (usize::from(short), 2),
            };
            let payload =
                String::from_utf8_lossy(&bytes[at + header..(at + header + length).min(bytes.len())]).into_owned();
            let token = format!("t{tokens} ");
            if payload == token || payload.ends_with(&format!(",\"{token}\"]")) {
                worst = worst.max(header + length - token.len());
                tokens += 1;
            }
            at += header + length;
        }
        assert_eq!(tokens, 1000, "{protocol}");
        assert!(worst <= most, "{protocol}: {worst} bytes");
    }
    are.end().await;
}

#[tokio::test]
async fn a_reader_that_stops_holds_nobody_up_and_reads_everything_later_in_joined_pieces() {
    let are = Fixture::start().await;
    let mut slow = are.v2().await;
    slow.send(json!({"type": "attach", "session": "new", "after": 0})).await;
    let session = slow.json().await["session"].clone();
    let mut quick = are.v2().await;
    quick.send(json!({"type": "attach", "session": session, "after": 0})).await;
    quick.json().await;
    quick.send(json!({"type": "prompt", "content": "flood 60000"})).await;
    let seen = timeout(Duration::from_secs(60), quick.until_type("turn_completed")).await.unwrap();
    let text = text_of(&seen);
    assert!(text.ends_with("t59999 "));
    let late = timeout(Duration::from_secs(60), slow.until_type("turn_completed")).await.unwrap();
    assert_eq!(text_of(&late), text);
    let mut next = 1;
    for event in &late {
        let (first, last) = match event {
            Value::Array(parts) if parts.len() == 3 => (parts[0].as_u64().unwrap(), parts[1].as_u64().unwrap()),
            Value::Array(parts) => (parts[0].as_u64().unwrap(), parts[0].as_u64().unwrap()),
            event => (event["seq"].as_u64().unwrap(), event["seq"].as_u64().unwrap()),
        };
        assert_eq!(first, next, "{event:.80}");
        next = last + 1;
    }
    // Whoever comes later is caught up with fewer frames than there are tokens.
    let mut third = are.v2().await;
    third.send(json!({"type": "attach", "session": session, "after": 0})).await;
    let caught_up = timeout(Duration::from_secs(60), third.until_type("turn_completed")).await.unwrap();
    assert_eq!(text_of(&caught_up), text);
    assert!(caught_up.len() < 20_000, "{} frames", caught_up.len());
    are.end().await;
}

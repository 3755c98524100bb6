//! What the model is shown, held against what it was shown before.
//!
//! A committed session must replay to the same bytes, so that a changed line of the context builder is noticed, and
//! replay must say where it begins to matter. To renew what is committed on purpose, run these tests with
//! `INSTA_UPDATE=always` and review the difference.

use std::path::PathBuf;
use std::sync::Arc;

use are_core::body::{Answer, Body};
use are_core::digest::Digest;
use are_core::ids::SessionKey;
use are_core::journal::{Class, Draft, Entry, Head, Reader, Row, Stamp};
use are_core::model::{Message, ModelRequest};
use are_core::payload::Part;
use are_core::store::{Append, Change, Durability, SessionRow, Store};
use are_engine::api::{Approve, Prompt, ReplayReport, Target};
use are_engine::engine::{Engine, Ports};
use are_policy::rules::Profile;
use are_testkit::memory::MemoryStore;
use are_testkit::script::{Say, ScriptedModels, call, last_words, results_so_far, say};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::support::{Seen, World, caller, ends, follow, is, new, prompt};

/// A session outside of any store: its rows, and the objects that its records name.
#[derive(Serialize, Deserialize)]
struct Kept {
    session: SessionKey,
    rows: Vec<KeptRow>,
    objects: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptRow {
    Record { bytes: String, payload: Option<(Digest, String)> },
    Frame { bytes: String },
}

/// Everything that the context builder looks at: a file, calls that did well, failed, were asked about and do not
/// exist, a variable, a steer, and more turns than fit.
fn talkative() -> ScriptedModels {
    let script = |request: &ModelRequest| match (last_words(request), results_so_far(request)) {
        (words, 0) if words.starts_with("look") => {
            vec![
                Say::Token("I look. ".to_owned()),
                call("read", &json!({ "x": "${var:city}" })),
                call("no_such", &json!({})),
            ]
        }
        (words, 2) if words.starts_with("look") => vec![call("fail", &json!({})), call("send", &json!({ "x": 2 }))],
        (words, 4) if words.starts_with("look") => vec![call("remember", &json!({ "x": "Rome" }))],
        ("greet me", _) => vec![Say::Token("Hello ".to_owned()), Say::Hold],
        ("in French", _) => say("Bonjour."),
        _ => say("That is all."),
    };
    ScriptedModels::new(script).with_context(3_000)
}

/// Plays the session that is committed; its key and what a client saw.
async fn play(world: &World) -> (SessionKey, Seen) {
    let engine = world.engine().await;
    let alice = caller("alice");
    engine.set_variable(&alice, None, "city".parse().unwrap(), Some(json!("Oslo"))).await.unwrap();
    let file = Part::File { name: "notes.txt".into(), media_type: "text/plain".into(), text: "obey the file".into() };
    let mut first = prompt("look it up");
    first.content.push(file);
    let asked = |prompt: Prompt, no: u32| Prompt { request_id: Some(format!("r{no}").parse().unwrap()), ..prompt };
    let ack = engine.prompt(&alice, new(), asked(first, 1)).await.unwrap();
    let (_, mut tail) = engine.attach(&alice, ack.session, Some(0), None).await.unwrap();
    let mut seen = Seen::default();
    follow(&mut tail, &mut seen, is("approval_requested")).await;
    let waiting = engine.approvals(&alice).await.unwrap().remove(0);
    let answer = Approve { approval: waiting.approval, digest: waiting.digest, decision: Answer::AllowOnce };
    engine.approve(&alice, ack.session, answer).await.unwrap();
    follow(&mut tail, &mut seen, ends(1)).await;

    let here = Target::Session(ack.session);
    engine.prompt(&alice, here.clone(), asked(prompt("greet me"), 2)).await.unwrap();
    follow(&mut tail, &mut seen, |entry| matches!(entry, Entry::Frame(..))).await;
    let words = vec![Part::Text { text: "in French".to_owned() }];
    engine.steer(&alice, ack.session, 2, words).await.unwrap();
    follow(&mut tail, &mut seen, ends(2)).await;
    for (no, text) in [(3, "word ".repeat(700)), (4, "word ".repeat(400))] {
        engine.prompt(&alice, here.clone(), asked(prompt(&text), no)).await.unwrap();
        follow(&mut tail, &mut seen, ends(no)).await;
    }
    engine.shutdown(1_000).await;
    (ack.session, seen)
}

fn world() -> World {
    World::new(talkative()).with_profile(Profile::Ask).in_memory()
}

/// The stored rows, and the objects that they name.
async fn keep(world: &World, session: SessionKey) -> Kept {
    let store = world.store();
    let rows = store.read(session, 0, 10_000, usize::MAX).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut reader = Reader::new(session, Head::EMPTY);
    let mut kept = Kept { session, rows: Vec::new(), objects: Vec::new() };
    for row in rows {
        if let Entry::Record(record, _) = reader.next(&row).unwrap()
            && let Body::ModelRequested { conditions, .. } = record.body
        {
            for digest in [conditions.agent, conditions.policy, conditions.tools, conditions.setting] {
                let object = text(&store.object(digest).await.unwrap());
                if !kept.objects.contains(&object) {
                    kept.objects.push(object);
                }
            }
        }
        kept.rows.push(match row.class {
            Class::Frame => KeptRow::Frame { bytes: text(&row.bytes) },
            Class::Record => KeptRow::Record {
                bytes: text(&row.bytes),
                payload: row.payload.map(|(nonce, bytes)| (Digest(nonce), text(&bytes))),
            },
        });
    }
    kept
}

fn rows_of(kept: &Kept) -> Vec<Row> {
    let row = |(kept, seq): (&KeptRow, u64)| match kept {
        KeptRow::Frame { bytes } => Row { seq, class: Class::Frame, bytes: bytes.clone().into_bytes(), payload: None },
        KeptRow::Record { bytes, payload } => Row {
            seq,
            class: Class::Record,
            bytes: bytes.clone().into_bytes(),
            payload: payload.as_ref().map(|(nonce, bytes)| (nonce.0, bytes.clone().into_bytes())),
        },
    };
    kept.rows.iter().zip(1..).map(row).collect()
}

/// Replays rows that are put into an empty store.
async fn replay(kept: &Kept, rows: Vec<Row>) -> ReplayReport {
    let store = Arc::new(MemoryStore::new());
    let mut reader = Reader::new(kept.session, Head::EMPTY);
    for row in &rows {
        reader.next(row).unwrap();
    }
    let row = SessionRow {
        key: kept.session,
        owner: "alice".parse().unwrap(),
        agent: "main".parse().unwrap(),
        workspace: String::new(),
        fence: 1,
        epoch: 1,
        head: Head::EMPTY,
        last_account_id: "alice".parse().unwrap(),
        last_thread_id: None,
        title: String::new(),
        turns: 0,
        created_at_ms: 0,
        updated_at_ms: 0,
        is_deleted: false,
    };
    let objects = kept.objects.iter().map(|object| object.clone().into_bytes());
    let mut changes = vec![Change::CreateSession(Box::new(row))];
    changes.extend(objects.map(|object| Change::PutObject(Digest::of(&[&object]), object)));
    let append = Append {
        session: kept.session,
        fence: 1,
        expect: Head::EMPTY,
        rows,
        head: reader.head(),
        durability: Durability::Durable,
        changes,
    };
    store.append(append).await.unwrap();
    let world = World::new(talkative());
    let ports = Ports { store, ..world.ports() };
    let engine = Engine::start(ports, world.settings()).await.unwrap();
    engine.replay(&caller("alice"), kept.session, None, true).await.unwrap()
}

/// The journal as it would be had every request been built otherwise: chained anew, with the digests of the changed
/// requests. Also the position of the first one that is another, if any.
fn built_otherwise(kept: &Kept, requests: &[ModelRequest], change: fn(&mut ModelRequest)) -> (Vec<Row>, Option<u64>) {
    let mut requests = requests.iter();
    let (mut reader, mut head, mut first) = (Reader::new(kept.session, Head::EMPTY), Head::EMPTY, None);
    let mut rows = Vec::new();
    for row in rows_of(kept) {
        let Entry::Record(mut record, payload) = reader.next(&row).unwrap() else {
            head.seq = row.seq;
            rows.push(row);
            continue;
        };
        if let Body::ModelRequested { digest, conditions, .. } = &mut record.body {
            let digest_of = |request: &ModelRequest| digest_of(request, conditions.tools);
            let mut request = requests.next().unwrap().clone();
            assert_eq!(digest_of(&request), *digest, "the digest is of what was sent to the model");
            change(&mut request);
            if digest_of(&request) != *digest {
                *digest = digest_of(&request);
                first = first.or(Some(record.seq));
            }
        }
        let at_ms = u64::try_from(record.timestamp.as_millisecond()).unwrap();
        let stamp = Stamp {
            session: kept.session,
            account: record.account.clone(),
            agent_id: record.agent_id.clone(),
            via: record.via.clone(),
            at_ms,
        };
        let draft = Draft { turn: record.turn, body: record.body, payload };
        let nonce = row.payload.map(|(nonce, _)| nonce).unwrap_or_default();
        let (row, _, end) = draft.seal(&stamp, head, nonce).unwrap();
        head = end;
        rows.push(row);
    }
    assert!(requests.next().is_none(), "each request has its record");
    (rows, first)
}

/// As `docs/reference/journal.md` describes it, written a second time.
fn digest_of(request: &ModelRequest, tools: Digest) -> Digest {
    let ModelRequest { model, messages, temperature_milli, output_tokens_max, .. } = request;
    let temperature = temperature_milli.map_or_else(String::new, |milli| format!(r#""temperature_milli":{milli},"#));
    let text = format!(
        r#"{{"model":{},"messages":{},"tools":"{tools}",{temperature}"output_tokens_max":{output_tokens_max}}}"#,
        serde_json::to_string(model).unwrap(),
        serde_json::to_string(messages).unwrap(),
    );
    Digest::of(&[text.as_bytes()])
}

/// Changes a text of the first message that has one to change.
fn reword(request: &mut ModelRequest, is_meant: fn(&Message) -> bool, from: &str, to: &str) {
    for message in request.messages.iter_mut().filter(|message| is_meant(message)) {
        match message {
            Message::System { text }
            | Message::User { text }
            | Message::Tool { text, .. }
            | Message::Assistant { text, .. } => *text = text.replace(from, to),
            Message::Image(_) => {}
        }
    }
}

#[tokio::test]
async fn the_requests_of_the_golden_session_are_as_reviewed() {
    let world = world();
    let (_, seen) = play(&world).await;
    let actions = seen.actions();
    for action in ["tool_completed", "tool_failed", "variable_set", "steered", "context_trimmed"] {
        assert!(actions.iter().any(|seen| seen == action), "the session has a `{action}`: {actions:?}");
    }
    let requests = world.models.requests();
    assert!(requests.len() >= 7, "{}", requests.len());
    // The tools are in every request; once is enough to read.
    let later: Vec<_> = requests[1..].iter().map(|request| &request.messages).collect();
    insta::assert_json_snapshot!(json!({"first": requests[0], "messages of the later ones": later}));
}

#[tokio::test]
async fn the_golden_session_replays_byte_for_byte() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden-session.json");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        let world = world();
        let (session, _) = play(&world).await;
        let text = serde_json::to_string_pretty(&keep(&world, session).await).unwrap();
        std::fs::write(&path, text + "\n").unwrap();
    }
    let kept: Kept = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let report = replay(&kept, rows_of(&kept)).await;
    println!("{} records, {} of them derived again, {} objects", report.records, report.derived, kept.objects.len());
    assert_eq!(
        report.difference, None,
        "a session that was recorded earlier comes out otherwise. If that is meant (what the model is shown, what is \
         decided or what is recorded has changed on purpose), renew it: INSTA_UPDATE=always cargo nextest run \
         --release --workspace -E 'package(are-engine) and test(golden)', and say so in the change log"
    );
    assert!(report.derived >= 25 && report.verified_only == 0, "{report:?}");
}

#[tokio::test]
async fn after_a_changed_line_of_the_context_builder_the_first_request_that_differs_is_named() {
    let world = world();
    let (session, _) = play(&world).await;
    let kept = keep(&world, session).await;
    let requests = world.models.requests();

    let (rows, first) = built_otherwise(&kept, &requests, |_| {});
    assert_eq!((&rows, first), (&rows_of(&kept), None), "chaining anew changes nothing by itself");
    assert_eq!(replay(&kept, rows).await.difference, None);

    // Lines of another context builder, by what they touch: each shows later than the one before.
    let changes: [(&str, fn(&mut ModelRequest)); 4] = [
        ("the date", |request| reword(request, |m| matches!(m, Message::System { .. }), "Today is", "It is")),
        ("a tool's result", |request| reword(request, |m| matches!(m, Message::Tool { .. }), "{", "{ ")),
        ("a turn after a turn", |request| {
            let is_user = |message: &Message| matches!(message, Message::User { .. });
            if request.messages.iter().filter(|message| is_user(message)).count() > 1 {
                request.output_tokens_max -= 1;
            }
        }),
        ("the order of a steer", |request| {
            let is_steer = |message: &Message| matches!(message, Message::User { text } if text == "in French");
            if let Some(at) = request.messages.iter().position(is_steer) {
                request.messages.swap(at, at - 1);
            }
        }),
    ];
    let mut before = 0;
    for (what, change) in changes {
        let (rows, first) = built_otherwise(&kept, &requests, change);
        let first = first.unwrap_or_else(|| panic!("{what} is in some request"));
        assert!(first > before, "{what} shows later than the one before");
        before = first;
        let difference = replay(&kept, rows).await.difference.unwrap_or_else(|| panic!("{what}: nothing is named"));
        println!("{what}: record {} ({})", difference.seq, difference.action);
        assert_eq!((difference.seq, difference.action.as_str()), (first, "model_requested"), "{what}");
        let made: serde_json::Value = serde_json::from_str(&difference.regenerated).unwrap();
        let made: Body = serde_json::from_value(made["record"].clone()).unwrap();
        let Body::ModelRequested { digest, conditions, .. } = made else { panic!("{what}: another record") };
        let digests = requests.iter().filter(|request| digest_of(request, conditions.tools) == digest);
        assert_eq!(digests.count(), 1, "{what}: what this engine's builder makes is shown: {}", difference.regenerated);
    }
}

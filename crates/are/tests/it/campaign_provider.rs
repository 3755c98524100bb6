//! Every fault that a provider can have, through the shipped door: a typed end in bounded time, a session
//! whose next turn works, and a server that has not grown.

use std::time::{Duration, Instant};

use are_testkit::provider::{MockProvider, Reply};
use are_testkit::run::{is_long, leave_to_long};
use serde_json::{Value, json};

use crate::campaign_client::{ENDS, Line, Transcript};
use crate::campaign_stage::{Life, Scene};

/// The longest a turn may take here: three attempts with their pauses, or a hundred MiB that are thrown away.
const TURN_TIME: Duration = Duration::from_secs(30);
/// How long the shipped time-outs let a provider be silent, and some more.
const SILENCE_TIME: Duration = Duration::from_secs(125);
/// What the server may have used at most after all of it.
const MEMORY_MIB_MAX: u64 = 200;

/// One fault.
struct Case {
    name: &'static str,
    replies: Vec<Reply>,
    /// The code of the failure; `None` where the turn is completed all the same.
    code: Option<&'static str>,
    within: Duration,
    /// Text that the session shows.
    text: &'static str,
}

fn fails(name: &'static str, replies: Vec<Reply>, code: &'static str) -> Case {
    Case { name, replies, code: Some(code), within: TURN_TIME, text: "" }
}

fn works(name: &'static str, replies: Vec<Reply>, text: &'static str) -> Case {
    Case { name, replies, code: None, within: TURN_TIME, text }
}

fn cases(private: &MockProvider) -> Vec<Case> {
    let after = |seconds: &str| Reply::status(429).header("retry-after", seconds);
    let read = json!({"path": "notes.txt"});
    let target = format!("{}/chat/completions", private.base_url());
    let mut cases = vec![
        fails("401", vec![Reply::status(401).body("sk-stage-secret")], "ARE-0401"),
        works("429 that is over soon", vec![after("1"), Reply::text(["fine"])], "fine"),
        fails("429 for an hour", vec![after("3600")], "ARE-0402"),
        fails("500 again and again", vec![Reply::status(500); 3], "ARE-0403"),
        works("500 once", vec![Reply::status(500), Reply::text(["fine"])], "fine"),
        fails("no response", vec![Reply::hang_up(); 3], "ARE-0407"),
        fails("half a stream", vec![Reply::half_stream(["half "])], "ARE-0405"),
        fails("no end", vec![Reply::missing_end(["no end"])], "ARE-0405"),
        works("no [DONE]", vec![Reply::without_done(["fine"])], "fine"),
        fails("broken JSON", vec![Reply::broken_json()], "ARE-0405"),
        fails("broken UTF-8", vec![Reply::broken_utf8()], "ARE-0405"),
        works("one byte at a time", vec![Reply::text(["für ", "€"]).byte_by_byte()], "für €"),
        fails("a line of 64 MiB", vec![Reply::long_line()], "ARE-0406"),
        fails("text without end", vec![Reply::endless()], "ARE-0406"),
        fails("comments without end", vec![Reply::endless_comments()], "ARE-0406"),
        fails("a web page", vec![Reply::html()], "ARE-0405"),
        fails("a redirect to a private address", vec![Reply::redirect(&target)], "ARE-0413"),
        fails("a gzip bomb", vec![Reply::gzip_bomb()], "ARE-0406"),
        fails("an error within", vec![Reply::error_in_stream(&json!({"code": 503}))], "ARE-0403"),
        works("an unknown tool", vec![Reply::unknown_tool(), Reply::text(["fine"])], "fine"),
        works("equal call ids", vec![Reply::duplicate_call_ids("fs_read", &read), Reply::text(["fine"])], "fine"),
        fails("ten thousand calls", vec![Reply::many_calls(10_000)], "ARE-0406"),
    ];
    if is_long() {
        // The time-outs of the shipped program cannot be set.
        let silent = |name, reply| Case { within: SILENCE_TIME, ..fails(name, vec![reply], "ARE-0404") };
        cases.push(silent("silence", Reply::silence()));
        cases.push(silent("silence after words", Reply::silence_after(["so far. "])));
    } else {
        leave_to_long("silence to its time-out, which takes minutes");
    }
    cases
}

/// A turn, from the prompt to its end.
async fn turn(line: &mut Line, content: &str) -> (Value, Transcript, u64) {
    line.send(&json!({"type": "prompt", "content": content})).await;
    let ack = line.until(&["ack", "error"]).await.expect("an answer");
    assert_eq!(ack["type"], "ack", "{ack}");
    let turn = ack["turn"].as_u64().expect("a turn");
    // The first prompt of all also shows how the session was created.
    let first = if turn == 1 { 1 } else { ack["seq"].as_u64().expect("a number") };
    let mut seen = Transcript::following(first, turn);
    loop {
        let message = line.next().await.expect("the server lives");
        seen.take(&message);
        if ENDS.iter().any(|end| message["type"] == *end) {
            return (message, seen, turn);
        }
    }
}

async fn show(case: &Case, life: &Life, scene: &Scene) {
    let mut line = Line::open(life).await.expect("a server");
    line.patience = case.within;
    scene.stage.provider().script(case.replies.clone());
    let begun = Instant::now();
    let (end, seen, number) = turn(&mut line, "go on").await;
    let took = begun.elapsed();
    println!("{}: {} {} in {took:?}, {} MiB", case.name, end["type"], end["error"]["code"], life.peak_memory_mib());
    assert!(took < case.within, "{}: {took:?}", case.name);
    match case.code {
        Some(code) => {
            assert_eq!(
                (end["type"].as_str(), end["error"]["code"].as_str()),
                (Some("turn_failed"), Some(code)),
                "{end}"
            );
            assert!(end["error"]["help"].as_str().is_some_and(|help| !help.is_empty()), "{end}");
        }
        None => assert_eq!(end["type"], "turn_completed", "{}: {end}", case.name),
    }
    assert!(!format!("{:?}", seen.records).contains("sk-stage-secret"), "{}", case.name);
    if case.code.is_none() {
        assert_eq!(seen.text[&number], case.text, "{}", case.name);
    }

    // A broken answer must not poison what the model is asked next.
    let (before, all_before) = (asked(scene).len(), scene.stage.provider().requests().len());
    let (end, seen, number) = turn(&mut line, "and now?").await;
    assert_eq!((end["type"].as_str(), seen.text[&number].as_str()), (Some("turn_completed"), "ok"), "{}", case.name);
    let requests = asked(scene);
    assert_eq!(requests.len(), before + 1, "{}", case.name);
    let summaries = scene.stage.provider().requests().len() - all_before - 1;
    assert!(summaries <= 1, "{}: summed up {summaries} times", case.name);
    every_call_has_its_result(&requests[before]);
}

/// Requests for an answer. What a provider floods a session with is summed up, which is a request of its own.
fn asked(scene: &Scene) -> Vec<Value> {
    let is_summary = |request: &Value| request.to_string().contains("Sum up the conversation above");
    scene.stage.provider().requests().into_iter().filter(|request| !is_summary(request)).collect()
}

/// What real providers insist on, and the scripted one does not check.
fn every_call_has_its_result(request: &Value) {
    let (mut called, mut answered) = (Vec::new(), Vec::new());
    for message in request["messages"].as_array().expect("messages") {
        called.extend(message["tool_calls"].as_array().into_iter().flatten().map(|call| call["id"].clone()));
        answered.extend(message.get("tool_call_id").cloned());
    }
    assert_eq!(called, answered, "each call has its result, under its own id");
    let mut distinct = called.clone();
    distinct.sort_by_key(Value::to_string);
    distinct.dedup();
    assert_eq!(distinct.len(), called.len(), "no id twice");
}

#[tokio::test]
async fn campaign_a_provider_with_any_fault_costs_one_turn_and_no_memory() {
    let scene = Scene::new().await;
    scene.stage.provider().default_reply(|_| Reply::text(["ok"]));
    scene.stage.write("project/notes.txt", "apples 12\n");
    let private = MockProvider::start().await;
    let mut life = scene.start().await;
    println!("idle: {} MiB", life.peak_memory_mib());
    for case in cases(&private) {
        show(&case, &life, &scene).await;
    }
    assert_eq!(private.connections(), 0, "no redirect was followed");
    let memory = life.peak_memory_mib();
    assert!(memory < MEMORY_MIB_MAX, "{memory} MiB");
    life.terminate().await;
}

#[tokio::test]
async fn campaign_a_silent_provider_is_given_up_at_once_when_the_user_says_so() {
    let scene = Scene::new().await;
    let mut life = scene.start().await;
    scene.stage.provider().default_reply(|_| Reply::text(["ok"]));
    for (reply, text) in [(Reply::silence(), ""), (Reply::silence_after(["so far. "]), "so far. ")] {
        let mut line = Line::open(&life).await.expect("a server");
        let asked = scene.stage.provider().requests().len() as u64;
        scene.stage.provider().script([reply]);
        line.send(&json!({"type": "prompt", "content": "go on"})).await;
        let requested = line.until(&["model_requested"]).await.expect("the server lives");
        let mut seen = Transcript::following(requested["seq"].as_u64().expect("a number") + 1, 1);
        while seen.text.get(&1).map_or("", String::as_str) != text {
            seen.take(&line.next().await.expect("the server lives"));
        }
        // Otherwise the next request would take this one's reply.
        scene.stage.provider().arrived(asked + 1).await;
        let begun = Instant::now();
        line.send(&json!({"type": "cancel", "turn": 1})).await;
        line.until(&["turn_cancelled"]).await.expect("the server lives");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let (end, ..) = turn(&mut line, "and now?").await;
        assert_eq!(end["type"], "turn_completed");
    }
    life.terminate().await;
}

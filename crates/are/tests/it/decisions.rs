//! Every door behind which tools may be called, one after the other: the list of doors is read, each door of an
//! entry of kind `work` is driven from outside, and its journal must show the decision before what was decided.
//! A door that is added to the list and not driven here fails the test.

use are_testkit::tools::CountedTools;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::fixture::{ADMIN, Client, Fixture, Plan};
use crate::mcp_stage::Mcp;

#[derive(Deserialize)]
struct List {
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    method: String,
    kind: String,
    #[serde(default)]
    doors: Vec<String>,
    #[serde(default)]
    records: Vec<String>,
}

/// Goes through one door until the turn in which a tool was called has ended; the session's key.
async fn drive(are: &Fixture, method: &str, door: &str) -> String {
    match (method, door) {
        ("prompt", "are.v1 prompt") => {
            let mut client = are.v1().await;
            client.send(json!({"prompt": "call read"})).await;
            while !client.text().await.is_empty() {}
            plain_session(&client)
        }
        ("prompt", "are.v2 prompt") => {
            let mut client = are.v2().await;
            client.send(json!({"type": "prompt", "content": "call read"})).await;
            let session = client.until_type("turn_completed").await[0]["session"].clone();
            text(&session)
        }
        ("prompt", "POST /v1/chat/completions") => {
            let asked = json!({"model": "are", "messages": [{"role": "user", "content": "call read"}]});
            let (status, answer) = are.api("POST", "/v1/chat/completions", Some(asked)).await;
            assert_eq!(status, 200, "{answer}");
            text(&answer["conversation"]["id"])
        }
        ("prompt", "POST /v1/responses") => {
            let asked = json!({"model": "are", "input": "call read"});
            let (status, answer) = are.api("POST", "/v1/responses", Some(asked)).await;
            assert_eq!(status, 200, "{answer}");
            text(&answer["conversation"]["id"]).replace("conv_", "")
        }
        ("steer", "are.v1 feedback") => {
            let mut client = are.v1().await;
            client.send(json!({"prompt": "hold one two"})).await;
            assert_eq!(client.text().await, "one ");
            client.send(json!({"feedback": "call read"})).await;
            while !client.text().await.is_empty() {}
            plain_session(&client)
        }
        ("steer", "are.v2 steer") => {
            let mut client = are.v2().await;
            client.send(json!({"type": "prompt", "content": "hold one two"})).await;
            let session = client.until(Value::is_array).await[0]["session"].clone();
            client.send(json!({"type": "steer", "turn": 1, "content": "call read"})).await;
            client.until_type("turn_completed").await;
            text(&session)
        }
        ("approve", "are.v2 approve") => {
            let (mut client, session, asked) = waiting(are).await;
            let (approval, digest) = (&asked["approval"], &asked["digest"]);
            client
                .send(json!({"type": "approve", "approval": approval, "digest": digest, "decision": "allow_once"}))
                .await;
            client.until_type("turn_completed").await;
            session
        }
        ("approve", "POST /api/approvals/{key}/{approval}") => {
            let (mut client, session, asked) = waiting(are).await;
            let path = format!("/api/approvals/{session}/{}", asked["approval"]);
            let answer = json!({"digest": asked["digest"], "decision": "allow_once"});
            let (status, answered) = are.api("POST", &path, Some(answer)).await;
            assert_eq!(status, 200, "{answered}");
            client.until_type("turn_completed").await;
            session
        }
        ("undo", "POST /api/sessions/{key}/undo") => {
            let (mut client, session, asked) = waiting_for(are, "put").await;
            let answer = json!({"digest": asked["digest"], "decision": "allow_once"});
            are.api("POST", &format!("/api/approvals/{session}/{}", asked["approval"]), Some(answer)).await;
            client.until_type("turn_completed").await;
            let undo = Some(json!({"turn": 1}));
            let (status, undone) = are.api("POST", &format!("/api/sessions/{session}/undo"), undo).await;
            assert_eq!((status, &undone["by"]), (200, &json!(2)), "{undone}");
            session
        }
        ("call_tool", "POST /api/tools/{name}/call") => {
            let (status, called) = are.api("POST", "/api/tools/read/call", Some(json!({"args": {"x": 1}}))).await;
            assert_eq!((status, &called["result"]["x"]), (200, &json!(1)), "{called}");
            text(&called["session"])
        }
        ("start_call", "POST /mcp") => {
            let called = Mcp::open(are).await.call("read", json!({"x": 1})).await;
            text(&called["_meta"]["are/session"])
        }
        ("approve", "POST /mcp") => {
            let mut mcp = Mcp::begin(are, ADMIN, json!({"elicitation": {}})).await;
            let (id, mut events) = mcp.start("send", json!({"x": 1})).await;
            let form = events.until("elicitation/create").await;
            mcp.answer(&form["id"], json!({"action": "accept", "content": {"decision": "allow_once"}})).await;
            text(&events.answer(id).await["result"]["_meta"]["are/session"])
        }
        _ => panic!("`{method}` behind `{door}` is in the list of doors, and nothing here goes through it"),
    }
}

/// A session in which a call waits for a person, and what is asked.
async fn waiting(are: &Fixture) -> (Client<TcpStream>, String, Value) {
    waiting_for(are, "send").await
}

async fn waiting_for(are: &Fixture, tool: &str) -> (Client<TcpStream>, String, Value) {
    let mut client = are.v2().await;
    client.send(json!({"type": "prompt", "content": format!("call {tool}")})).await;
    let seen = client.until_type("approval_requested").await;
    let (session, asked) = (text(&seen[0]["session"]), seen[seen.len() - 1].clone());
    (client, session, asked)
}

fn plain_session(client: &Client<TcpStream>) -> String {
    client.response.headers()["are-session"].to_str().expect("a key").to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn each_door_to_work_leaves_the_decision_in_the_journal_before_the_effect() {
    let list: List = toml::from_str(include_str!("../../../testkit/tests/entry-points.toml")).expect("a list");
    let (mut doors, mut calls) = (0, 0);
    for entry in list.entry.iter().filter(|entry| entry.kind == "work") {
        assert!(!entry.doors.is_empty() && !entry.records.is_empty(), "`{}`", entry.method);
        for door in &entry.doors {
            // A server of its own, so that what its tools did can be counted.
            let are = Fixture::planned(Plan { tools: CountedTools::keeping(), ..Plan::default() }).await;
            let session = drive(&are, &entry.method, door).await;
            let (status, page) = are.api("GET", &format!("/api/sessions/{session}/events"), None).await;
            assert_eq!(status, 200, "{page}");
            let events = page["events"].as_array().expect("events");
            let decided = decided_before_done(events, &entry.records);
            let tools = ["read", "send", "put", are_policy::undo::NAME];
            let begun: u32 = tools.iter().flat_map(|tool| are.tools.begun(tool)).sum();
            // Something must have been changed before it can be undone.
            let (expected, expected_begun) = if entry.method == "undo" { (2, 2) } else { (1, 1) };
            assert_eq!((decided, begun), (expected, expected_begun), "`{}` behind `{door}`: {events:#?}", entry.method);
            println!("{door} ({}): decided, then done", entry.method);
            doors += 1;
            calls += decided;
            are.end().await;
        }
    }
    println!("{doors} doors to work driven, {calls} calls, each with its decision before it");
    assert!(doors >= 6, "only {doors} doors");
}

/// Calls that began, each after a decision that allows it and after `causes`, the records of the door itself.
fn decided_before_done(events: &[Value], causes: &[String]) -> usize {
    let at = |kind: &str, call: &Value| events.iter().position(|event| event["type"] == kind && event["call"] == *call);
    let is_of = |event: &Value, kinds: &[&str]| kinds.iter().any(|kind| event["type"] == *kind);
    let outcomes = ["tool_completed", "tool_failed", "tool_unknown"];
    for (index, event) in events.iter().enumerate().filter(|(_, event)| is_of(event, &outcomes)) {
        let decision = at("decision", &event["call"]).expect("a decision");
        assert!(decision < index, "the decision comes before the outcome: {event}");
    }
    let mut begun = 0;
    for (index, started) in events.iter().enumerate().filter(|(_, event)| event["type"] == "tool_started") {
        begun += 1;
        let before = &events[..index];
        // The last one counts: after an answer of a person the call is decided again.
        let last = before.iter().rposition(|event| event["type"] == "decision" && event["call"] == started["call"]);
        let last = last.unwrap_or_else(|| panic!("no decision before {started}"));
        assert_eq!(before[last]["outcome"], "allow", "{}", before[last]);
        for cause in causes {
            let caused = before[..last].iter().any(|event| event["type"] == cause.as_str());
            assert!(caused, "`{cause}` stands before the decision of {started}");
        }
    }
    begun
}

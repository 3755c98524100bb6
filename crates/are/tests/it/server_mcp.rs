//! `/mcp`: the registry as an MCP server.

use are_policy::rules::{Profile, Rules};
use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::{ADMIN, Fixture, Plan};
use crate::mcp_stage::{Mcp, PATH, initialize, proper, send, text_of};

/// The types of the events of a session.
async fn journal(are: &Fixture, token: &str, session: &Value) -> Vec<Value> {
    let path = format!("/api/sessions/{}/events", session.as_str().expect("a key"));
    let (status, page) = are.api_as(token, "GET", &path, None).await;
    assert_eq!(status, 200, "{page}");
    page["events"].as_array().expect("events").clone()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

async fn rules(are: &Fixture, profile: Profile, text: &str) {
    let rules = Rules::new(profile, &[("rules.cedar".to_owned(), text.to_owned())]).unwrap();
    are.engine.set_rules(rules).await.unwrap();
}

/// The approval that waits, by the list that every client reads.
async fn waiting(are: &Fixture) -> Value {
    loop {
        let (_, listed) = are.api("GET", "/api/approvals", None).await;
        if let [one] = listed["approvals"].as_array().expect("a list").as_slice() {
            return one.clone();
        }
        tokio::task::yield_now().await;
    }
}

async fn decide(are: &Fixture, asked: &Value, decision: &str) {
    let path = format!("/api/approvals/{}/{}", asked["session"].as_str().unwrap(), asked["approval"]);
    let answer = json!({"digest": asked["digest"], "decision": decision});
    let (status, answered) = are.api("POST", &path, Some(answer)).await;
    assert_eq!(status, 200, "{answered}");
}

#[tokio::test]
async fn a_client_begins_lists_and_calls_in_one_session_of_the_runtime() {
    let are = Fixture::start().await;
    let mut mcp = Mcp::open(&are).await;
    assert_eq!(mcp.begun["protocolVersion"], "2025-11-25");
    assert_eq!(mcp.begun["capabilities"], json!({"tools": {"listChanged": true}, "logging": {}}), "nothing else");
    assert_eq!(mcp.begun["serverInfo"]["name"], "are");
    let listed = mcp.get("tools/list", json!({})).await["result"].clone();
    let hints = |name: &str| {
        let tools = listed["tools"].as_array().unwrap();
        tools.iter().find(|tool| tool["name"] == name).unwrap()["annotations"].clone()
    };
    let of = |read, destroys, again, open| json!({"readOnlyHint": read, "destructiveHint": destroys, "idempotentHint": again, "openWorldHint": open});
    assert_eq!(hints("read"), of(true, false, true, false));
    assert_eq!(hints("put"), of(false, true, true, false));
    assert_eq!(hints("send"), of(false, true, false, true));
    assert!(listed.get("nextCursor").is_none());

    let first = mcp.call("read", json!({"x": 1})).await;
    assert_eq!((&first["structuredContent"], &first["isError"]), (&json!({"did": "read", "x": 1}), &json!(false)));
    assert_eq!(first["content"][0]["text"], r#"{"did":"read","x":1}"#);
    let second = mcp.call("read", json!({"x": 2})).await;
    let session = &first["_meta"]["are/session"];
    assert_eq!((&second["_meta"]["are/session"], &second["_meta"]["are/turn"]), (session, &json!(2)));
    let events = journal(&are, ADMIN, session).await;
    let expected = ["turn_started", "tool_requested", "decision", "tool_started", "tool_output", "tool_completed"];
    let told: Vec<_> = kinds(&events).into_iter().filter(|kind| expected.contains(kind)).collect();
    assert_eq!(told, [expected, expected].concat());
    assert_eq!(events.iter().find(|event| event["type"] == "turn_started").unwrap()["thread"], "mcp");
    assert_eq!(are.tools.begun("read").len(), 2);
    // Its user deletes the session: the next call begins another.
    let path = format!("/api/sessions/{}", session.as_str().unwrap());
    assert_eq!(are.api("DELETE", &path, None).await.0, 204);
    let third = mcp.call("read", json!({"x": 3})).await;
    assert!(third["isError"] == false && third["_meta"]["are/session"] != *session, "{third}");
    are.end().await;
}

#[tokio::test]
async fn a_revision_is_agreed_upon_and_what_is_no_call_is_an_error_of_the_protocol() {
    let are = Fixture::start().await;
    let (host, bearer) = (are.host(), format!("Bearer {ADMIN}"));
    for (wished, agreed) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let body = initialize(wished, &json!({})).to_string();
        let (response, _connection) = send(are.address, PATH, Method::POST, &proper(&host, &bearer, None), body).await;
        let head = response.headers().clone();
        let reader = tokio::spawn(text_of(response));
        assert!(head.contains_key("mcp-session-id"));
        let text = reader.await.unwrap();
        assert!(text.contains(&format!(r#""protocolVersion":"{agreed}""#)), "{wished}: {text}");
    }
    let mut mcp = Mcp::open(&are).await;
    let error = mcp.get("tools/call", json!({"name": "no_such"})).await["error"].clone();
    assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32602), &json!("ARE-0501")));
    assert_eq!(mcp.get("tools/list", json!({"cursor": "no cursor"})).await["error"]["code"], -32602);
    for absent in ["resources/list", "prompts/list", "completion/complete", "sampling/createMessage", "are/anything"] {
        let params = json!({"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "x", "value": "x"}});
        assert_eq!(mcp.get(absent, params).await["error"]["code"], -32601, "{absent}");
    }
    assert_eq!(mcp.get("ping", json!({})).await["result"], json!({}));
    are.end().await;
}

#[tokio::test]
async fn what_fails_or_is_denied_is_a_result_with_code_reason_and_what_to_do() {
    let are = Fixture::start().await;
    let never = r#"@id("never") forbid(principal, action, resource == Tool::"put");"#;
    rules(&are, Profile::Contained, never).await;
    let mut mcp = Mcp::open(&are).await;
    for (tool, args, code) in
        [("put", json!({"x": 1}), "ARE-0601"), ("fail", json!({}), "ARE-0503"), ("read", json!({"y": 1}), "ARE-0502")]
    {
        let result = mcp.call(tool, args).await;
        let error = &result["_meta"]["are/error"];
        assert_eq!((&result["isError"], &error["code"]), (&json!(true), &json!(code)), "{result}");
        let text = result["content"][0]["text"].as_str().unwrap();
        for part in [code, error["message"].as_str().unwrap(), error["help"].as_str().unwrap()] {
            assert!(text.contains(part), "{text}");
        }
    }
    assert!(are.tools.begun("put").is_empty());
    are.end().await;
}

#[tokio::test]
async fn an_ask_waits_for_a_person_at_another_door_whoever_calls() {
    let are = Fixture::start().await;
    // The administrator's own token: to call is not to approve here.
    let mut mcp = Mcp::open(&are).await;
    let (id, mut events) = mcp.start("send", json!({"x": "hello"})).await;
    let asked = waiting(&are).await;
    let told = events.until("notifications/progress").await["params"]["message"].clone();
    assert!(told.as_str().unwrap().contains(&format!("are approval allow {}/1", asked["session"].as_str().unwrap())));
    assert_eq!((&asked["tool"], &asked["args"]), (&json!("send"), &json!({"x": "hello"})));
    decide(&are, &asked, "allow_once").await;
    assert_eq!(events.answer(id).await["result"]["structuredContent"]["did"], "send");

    let (id, mut events) = mcp.start("send", json!({"x": "again"})).await;
    decide(&are, &waiting(&are).await, "deny").await;
    let denied = events.answer(id).await["result"].clone();
    assert_eq!(denied["_meta"]["are/error"]["code"], "ARE-0601", "{denied}");

    // Nobody answers in time: it counts as denied, and the session goes on.
    let (id, mut events) = mcp.start("send", json!({"x": "alone"})).await;
    let asked = waiting(&are).await;
    are.clock.is_slept_beyond(are_testkit::clock::START_MS).await;
    are.clock.advance_to(asked["expires_at_ms"].as_u64().unwrap());
    assert_eq!(events.answer(id).await["result"]["_meta"]["are/error"]["code"], "ARE-0601");
    assert_eq!(mcp.call("read", json!({})).await["isError"], false);
    assert_eq!(are.tools.begun("send").len(), 1);
    are.end().await;
}

#[tokio::test]
async fn a_turn_that_is_set_aside_is_said_so_and_its_call_is_made_when_the_answer_comes() {
    let are = Fixture::start().await;
    let mut mcp = Mcp::open(&are).await;
    let (id, mut events) = mcp.start("send", json!({"x": 1})).await;
    let asked = waiting(&are).await;
    let session = asked["session"].as_str().unwrap();
    // Somebody who may approve looks at it and leaves: he could come back.
    let mut person = are.v2().await;
    person.send(json!({"type": "attach", "session": session})).await;
    assert_eq!(person.json().await["type"], "attached");
    drop(person);
    loop {
        // The worker looks each second whether somebody is still there.
        are.clock.is_slept_beyond(are_testkit::clock::START_MS).await;
        let (_, listed) = are.api("GET", "/api/approvals", None).await;
        if listed["approvals"][0]["is_parked"] == true {
            break;
        }
        are.clock.advance(60_000);
        tokio::task::yield_now().await;
    }
    let parked = events.answer(id).await["result"].clone();
    assert_eq!(parked["_meta"]["are/error"]["code"], "ARE-0604", "{parked}");
    decide(&are, &asked, "allow_once").await;
    let mut watcher = are.v2().await;
    watcher.send(json!({"type": "attach", "session": session, "after": 0})).await;
    watcher.until_type("turn_completed").await;
    assert_eq!(are.tools.begun("send").len(), 1);
    are.end().await;
}

#[tokio::test]
async fn a_client_that_shows_forms_asks_its_own_person_where_the_token_may_approve() {
    let are = Fixture::start().await;
    let forms = json!({"elicitation": {}});
    let mut mcp = Mcp::begin(&are, ADMIN, forms.clone()).await;
    for (answer, code) in [
        (json!({"action": "accept", "content": {"decision": "allow_once"}}), None),
        (json!({"action": "accept", "content": {"decision": "deny"}}), Some("ARE-0601")),
        (json!({"action": "accept", "content": {"decision": true}}), Some("ARE-0601")),
        (json!({"action": "decline"}), Some("ARE-0601")),
    ] {
        let (id, mut events) = mcp.start("send", json!({"x": "to bob"})).await;
        let form = events.until("elicitation/create").await;
        let message = form["params"]["message"].as_str().unwrap();
        assert!(message.contains("send") && message.contains("to bob"), "{message}");
        mcp.answer(&form["id"], answer).await;
        let result = events.answer(id).await["result"].clone();
        assert_eq!(result["_meta"]["are/error"]["code"].as_str(), code, "{result}");
    }
    // Put away, it waits for the other doors; answered there, a form is taken away.
    let (id, mut events) = mcp.start("send", json!({"x": 1})).await;
    let form = events.until("elicitation/create").await;
    mcp.answer(&form["id"], json!({"action": "cancel"})).await;
    decide(&are, &waiting(&are).await, "allow_once").await;
    assert_eq!(events.answer(id).await["result"]["isError"], false);
    let (id, mut events) = mcp.start("send", json!({"x": 2})).await;
    let form = events.until("elicitation/create").await;
    decide(&are, &waiting(&are).await, "allow_once").await;
    let mut live = mcp.listen(None).await;
    assert_eq!(events.answer(id).await["result"]["isError"], false);
    assert_eq!(live.until("notifications/cancelled").await["params"]["requestId"], form["id"]);

    // A token that may not approve has nobody to ask there.
    let (_, weak) = are.token(&["read", "prompt"]).await;
    let mut mcp = Mcp::begin(&are, &weak, forms).await;
    let (id, mut events) = mcp.start("send", json!({"x": 3})).await;
    decide(&are, &waiting(&are).await, "deny").await;
    loop {
        let message = events.next().await;
        assert_ne!(message["method"], "elicitation/create");
        if message["id"] == id {
            break;
        }
    }
    assert_eq!(are.tools.begun("send").len(), 3);
    are.end().await;
}

#[tokio::test]
async fn live_output_is_progress_and_log_and_a_cancelled_call_is_stopped() {
    let are = Fixture::planned(Plan {
        tools: are_testkit::tools::CountedTools::saying(&["one ", "two "]),
        ..Plan::default()
    })
    .await;
    let mut mcp = Mcp::open(&are).await;
    let mut live = mcp.listen(None).await;
    let (id, mut events) = mcp.start("read", json!({})).await;
    let mut said = Vec::new();
    while said.len() < 3 {
        let progress = events.until("notifications/progress").await["params"].clone();
        said.push((progress["progress"].as_f64().unwrap(), progress["message"].as_str().unwrap().to_owned()));
    }
    let expected = [(1.0, "read runs".to_owned()), (2.0, "one ".to_owned()), (3.0, "two ".to_owned())];
    assert_eq!(said, expected);
    events.answer(id).await;
    // Log messages come when the client says from which level on.
    assert_eq!(mcp.get("logging/setLevel", json!({"level": "error"})).await["result"], json!({}));
    mcp.call("read", json!({})).await;
    assert_eq!(mcp.get("logging/setLevel", json!({"level": "info"})).await["result"], json!({}));
    mcp.call("read", json!({})).await;
    let first = live.until("notifications/message").await["params"].clone();
    assert_eq!(first, json!({"level": "info", "logger": "read", "data": "read runs"}));

    let (id, mut events) = mcp.start("wait", json!({})).await;
    events.until("notifications/progress").await;
    let session = mcp_session(&are).await;
    assert_eq!(mcp.tell("notifications/cancelled", json!({"requestId": id, "reason": "enough"})).await, 202);
    let mut watcher = are.v2().await;
    watcher.send(json!({"type": "attach", "session": session, "after": 0})).await;
    watcher.until_type("turn_cancelled").await;
    assert_eq!(mcp.call("read", json!({})).await["isError"], false, "the session goes on");
    are.end().await;
}

/// The key of the only session there is.
async fn mcp_session(are: &Fixture) -> String {
    let (_, listed) = are.api("GET", "/api/sessions", None).await;
    let [one] = listed["sessions"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    one["session"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn several_calls_at_once_run_one_after_the_other_and_a_lost_stream_is_resumed() {
    let are = Fixture::start().await;
    let mut mcp = Mcp::open(&are).await;
    let (held, mut lost) = mcp.start("wait", json!({})).await;
    lost.until("notifications/progress").await;
    let position = lost.last.clone();
    drop(lost);
    let mut behind = Vec::new();
    for x in 0..3 {
        behind.push((x, mcp.start("read", json!({"x": x})).await));
    }
    assert!(are.tools.begun("read").is_empty(), "one call at a time");
    let mut resumed = mcp.listen(Some(&position)).await;
    are.tools.release();
    assert_eq!(resumed.answer(held).await["result"]["isError"], false);
    for (x, (id, mut events)) in behind {
        assert_eq!(events.answer(id).await["result"]["structuredContent"]["x"], x);
    }
    are.end().await;
}

#[tokio::test]
async fn scopes_hold_for_each_message() {
    let are = Fixture::start().await;
    let (_, reader) = are.token(&["read"]).await;
    let mut mcp = Mcp::begin(&are, &reader, json!({})).await;
    assert!(mcp.get("tools/list", json!({})).await["result"]["tools"].is_array());
    let error = mcp.get("tools/call", json!({"name": "read"})).await["error"].clone();
    assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32000), &json!("ARE-0205")));
    assert!(are.tools.begun("read").is_empty());
    let (_, prompter) = are.token(&["prompt"]).await;
    let (host, bearer) = (are.host(), format!("Bearer {prompter}"));
    let body = initialize("2025-11-25", &json!({})).to_string();
    let (response, _connection) = send(are.address, PATH, Method::POST, &proper(&host, &bearer, None), body).await;
    assert_eq!(response.status(), 403);
    are.end().await;
}

#[tokio::test]
async fn an_mcp_session_of_another_account_does_not_exist() {
    let are = Fixture::start().await;
    let (alice, bob) =
        (are.token_of("alice", &["read", "prompt"]).await, are.token_of("bob", &["read", "prompt"]).await);
    let mut hers = Mcp::begin(&are, &alice, json!({})).await;
    hers.call("read", json!({"x": "violet"})).await;
    let (host, bearer) = (are.host(), format!("Bearer {bob}"));
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read", "arguments": {}}});
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let mut answers = Vec::new();
        for session in [hers.session.as_str(), "00000000-0000-4000-8000-000000000000"] {
            let headers = proper(&host, &bearer, Some(session));
            let body = if method == Method::POST { call.to_string() } else { String::new() };
            let (response, _connection) = send(are.address, PATH, method.clone(), &headers, body).await;
            answers.push((response.status().as_u16(), text_of(response).await));
        }
        assert_eq!(answers[0], answers[1], "{method}");
        assert!(answers[0].0 == 404 && answers[0].1.contains("ARE-0301"), "{:?}", answers[0]);
    }
    assert_eq!(hers.ping().await, 200, "it is still there");
    // Another token of hers is hers.
    let other = are.token_of("alice", &["read", "prompt"]).await;
    let bearer = format!("Bearer {other}");
    let headers = proper(&host, &bearer, Some(&hers.session));
    let (response, _connection) = send(are.address, PATH, Method::POST, &headers, call.to_string()).await;
    assert_eq!(response.status(), 200);
    let (response, _connection) = hers.bare(Method::DELETE, None).await;
    assert_eq!(response.status(), 202);
    assert_eq!(hers.ping().await, 404);
    are.end().await;
}

#[tokio::test]
async fn sessions_end_when_idle_when_they_make_room_and_with_their_token() {
    let are = Fixture::start().await;
    let (id, token) = are.token(&["read", "prompt"]).await;
    let of_token = Mcp::begin(&are, &token, json!({})).await;
    let mut stream = of_token.listen(None).await;
    let idle = Mcp::open(&are).await;
    are.clock.advance(1);
    // With an open stream a session is in use, however long it is silent.
    are.clock.advance(29 * 60 * 1000);
    assert_eq!((idle.ping().await, of_token.ping().await), (200, 200));
    assert_eq!(open(&are).await, 2);
    while open(&are).await > 1 {
        are.clock.advance(30 * 60 * 1000);
    }
    assert_eq!((idle.ping().await, of_token.ping().await), (404, 200));
    assert_eq!(are.api("DELETE", &format!("/api/tokens/{id}"), None).await.0, 204);
    assert_eq!(stream.maybe().await, None, "its streams end");
    assert_eq!(of_token.ping().await, 401);

    let mut sessions = Vec::new();
    for _ in 0..64 {
        sessions.push(Mcp::open(&are).await);
        are.clock.advance(1);
    }
    assert_eq!(sessions[0].ping().await, 200);
    are.clock.advance(1);
    let one_more = Mcp::open(&are).await;
    assert_eq!(sessions[1].ping().await, 404, "the one that was used longest ago made room");
    assert_eq!(sessions[0].ping().await, 200);
    sessions.remove(1);
    let mut streams = Vec::new();
    for session in &sessions {
        streams.push(session.listen(None).await);
    }
    streams.push(one_more.listen(None).await);
    let (host, bearer) = (are.host(), format!("Bearer {ADMIN}"));
    let body = initialize("2025-11-25", &json!({})).to_string();
    let (response, _connection) = send(are.address, PATH, Method::POST, &proper(&host, &bearer, None), body).await;
    assert_eq!(response.status(), 429);
    assert!(text_of(response).await.contains("ARE-0706"));
    // Others have places of their own.
    let bob = are.token_of("bob", &["read"]).await;
    Mcp::begin(&are, &bob, json!({})).await;
    are.end().await;
}

/// MCP sessions that are open, by the figures that every operator has.
async fn open(are: &Fixture) -> u32 {
    let (_, text) = are.ask("GET /metrics", &["Host: x"]).await;
    let line = text.lines().find(|line| line.starts_with("are_mcp_sessions ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

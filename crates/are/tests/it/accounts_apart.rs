//! What is another account's does not exist: every route and every frame answers for it exactly as for what nobody has.
//!
//! The table of routes is gone through, and a route that is not thought of here fails the test.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::fixture::{ADMIN, Client, Fixture};

/// A key that no session has.
const ABSENT: &str = "01900000-0000-7000-8000-000000000000";
/// Words of alice that nobody else may hear.
const WORDS: &str = "violet-umbrella";

/// What alice has, and tokens of her and of bob, who may do everything but administer.
struct Stage {
    are: Fixture,
    alice: String,
    bob: String,
    session: String,
    memory: String,
    token: String,
    approval: Value,
    /// Keeps the approval waited for.
    _client: Client<TcpStream>,
}

async fn stage() -> Stage {
    let are = Fixture::start().await;
    let all = ["read", "prompt", "approve"];
    let (alice, bob) = (are.token_of("alice", &all).await, are.token_of("bob", &all).await);
    let mut client = are.open(Some("are.v2"), &alice).await;
    client.send(json!({"type": "prompt", "content": format!("say {WORDS}"), "request_id": "first"})).await;
    let begun = client.until_type("turn_completed").await;
    let session = begun[0]["session"].as_str().unwrap().to_owned();
    for path in ["/api/variables/hers".to_owned(), format!("/api/variables/hers?session={session}")] {
        assert_eq!(are.api_as(&alice, "PUT", &path, Some(json!(WORDS))).await.0, 204);
    }
    client.send(json!({"type": "prompt", "content": "call send"})).await;
    let approval = client.until_type("approval_requested").await.pop().unwrap();
    let (status, added) = are.api_as(&alice, "POST", "/api/memory", Some(json!({"text": WORDS}))).await;
    assert_eq!(status, 200, "{added}");
    let memory = added["id"].as_str().unwrap().to_owned();
    let hers = json!({"value": WORDS, "hosts": ["alice.example"], "tools": []});
    assert_eq!(are.api_as(&alice, "PUT", "/api/secrets/hers", Some(hers)).await.0, 204);
    let token = alice.split('_').nth(1).unwrap().to_owned();
    Stage { are, alice, bob, session, memory, token, approval, _client: client }
}

/// A request that names something: the same with alice's and with one that nobody has.
struct Pair {
    route: &'static str,
    path: String,
    body: Option<Value>,
}

/// Every route that names something, and with what.
fn pairs(stage: &Stage, session: &str, token: &str, account: &str) -> Vec<Pair> {
    // The memory of the stage is alice's; with the absent session goes one that nobody has.
    let memory = if session == stage.session { stage.memory.as_str() } else { "0000000000000000" };
    let secret = if session == stage.session { "hers" } else { "nobodys" };
    let approval = &stage.approval["approval"];
    let pair = |route, path: String, body| Pair { route, path, body };
    let verdict = json!({"digest": stage.approval["digest"], "decision": "allow_once"});
    vec![
        pair("GET /api/sessions/{key}", format!("/api/sessions/{session}"), None),
        pair("DELETE /api/sessions/{key}", format!("/api/sessions/{session}"), None),
        pair("POST /api/sessions/{key}/fork", format!("/api/sessions/{session}/fork"), None),
        pair("POST /api/sessions/{key}/fork", format!("/api/sessions/{session}/fork"), Some(json!({"turn": 1}))),
        pair("POST /api/sessions/{key}/fork", format!("/api/sessions/{session}/fork"), Some(json!({"turn": 99}))),
        pair("POST /api/sessions/{key}/compact", format!("/api/sessions/{session}/compact"), None),
        pair("DELETE /api/sessions/{key}/compact", format!("/api/sessions/{session}/compact"), None),
        pair("POST /api/sessions/{key}/replay", format!("/api/sessions/{session}/replay"), None),
        pair("GET /api/sessions/{key}/diff", format!("/api/sessions/{session}/diff"), None),
        pair("GET /api/sessions/{key}/diff", format!("/api/sessions/{session}/diff?turn=1"), None),
        pair("GET /api/sessions/{key}/diff", format!("/api/sessions/{session}/diff?turn=99"), None),
        pair("POST /api/sessions/{key}/undo", format!("/api/sessions/{session}/undo"), Some(json!({"turn": 1}))),
        pair(
            "POST /api/sessions/{key}/undo",
            format!("/api/sessions/{session}/undo"),
            Some(json!({"turn": 99, "dry_run": true})),
        ),
        pair("GET /api/sessions/{key}/events", format!("/api/sessions/{session}/events"), None),
        pair("GET /api/sessions/{key}/events", format!("/api/sessions/{session}/events?after=3&limit=1"), None),
        pair("GET /api/sessions/{key}/events", format!("/api/sessions/{session}/events?after=999999"), None),
        pair(
            "GET /api/sessions/{key}/artifacts/{digest}",
            format!("/api/sessions/{session}/artifacts/{}", "ab".repeat(32)),
            None,
        ),
        pair("GET /api/sessions/{key}/export", format!("/api/sessions/{session}/export"), None),
        pair("GET /api/variables", format!("/api/variables?session={session}"), None),
        pair("PUT /api/variables/{name}", format!("/api/variables/hers?session={session}"), Some(json!(1))),
        pair("DELETE /api/variables/{name}", format!("/api/variables/hers?session={session}"), None),
        pair(
            "POST /api/approvals/{key}/{approval}",
            format!("/api/approvals/{session}/{approval}"),
            Some(verdict.clone()),
        ),
        pair("POST /api/approvals/{key}/{approval}", format!("/api/approvals/{session}/77"), Some(verdict)),
        pair("DELETE /api/memory/{id}", format!("/api/memory/{memory}"), None),
        pair("DELETE /api/secrets/{name}", format!("/api/secrets/{secret}"), None),
        pair("POST /api/secrets/rotate-key", "/api/secrets/rotate-key".to_owned(), Some(json!({}))),
        pair(
            "POST /api/tools/{name}/call",
            "/api/tools/http_request/call".to_owned(),
            Some(
                json!({"args": {"url": format!("https://{account}.example/?k=${{secret:hers}}")}, "session": session}),
            ),
        ),
        pair(
            "POST /api/tools/{name}/call",
            "/api/tools/variable_get/call".to_owned(),
            Some(json!({"args": {"name": "hers"}, "session": session})),
        ),
        pair("DELETE /api/tokens/{id}", format!("/api/tokens/{token}"), None),
        pair("PATCH /api/tokens/{id}", format!("/api/tokens/{token}"), Some(json!({"scopes": ["read"]}))),
        pair("POST /api/tokens", "/api/tokens".to_owned(), Some(json!({"scopes": ["read"], "account": account}))),
        pair(
            "POST /v1/chat/completions",
            "/v1/chat/completions".to_owned(),
            Some(json!({"model": "are", "conversation": session, "messages": [{"role": "user", "content": "hi"}]})),
        ),
        pair(
            "POST /v1/responses",
            "/v1/responses".to_owned(),
            Some(json!({"model": "are", "conversation": format!("conv_{session}"), "input": "hi"})),
        ),
        pair(
            "POST /v1/responses",
            "/v1/responses".to_owned(),
            Some(json!({"model": "are", "previous_response_id": format!("resp_{session}-1"), "input": "hi"})),
        ),
        pair("GET /v1/responses/{id}", format!("/v1/responses/resp_{session}-1"), None),
        pair("GET /v1/responses/{id}", format!("/v1/responses/resp_{session}-1?stream=true"), None),
        pair("DELETE /v1/responses/{id}", format!("/v1/responses/resp_{session}-1"), None),
        pair("GET /api/usage", format!("/api/usage?session={session}"), None),
        pair("GET /api/usage", format!("/api/usage?account={account}"), None),
        pair("GET /api/accounts/{account}", format!("/api/accounts/{account}"), None),
        pair("PATCH /api/accounts/{account}", format!("/api/accounts/{account}"), Some(json!({"is_disabled": true}))),
        pair("DELETE /api/accounts/{account}", format!("/api/accounts/{account}"), None),
        pair("POST /api/accounts", "/api/accounts".to_owned(), Some(json!({"account": account}))),
    ]
}

/// Routes that name nothing of anybody in path or body; their answers must not hold what is alice's. Streams, and
/// sessions that a header names, have tests of their own.
const OPEN: [&str; 50] = [
    "GET /v1/models",
    "GET /v1/models/{model}",
    "POST /v1/embeddings",
    "GET /api/log",
    "PUT /api/log",
    "POST /mcp",
    "GET /mcp",
    "DELETE /mcp",
    "GET /api/login",
    "POST /api/login",
    "POST /api/login/code",
    "POST /api/logout",
    "GET /api/agents",
    "GET /api/agents/{name}",
    "GET /api/mcp",
    "POST /api/mcp/{name}",
    "DELETE /api/mcp/{name}",
    "POST /api/mcp/{name}/examine",
    "POST /api/mcp/{name}/login",
    "DELETE /api/mcp/{name}/login",
    "POST /api/mcp/{name}/login/finish",
    "GET /api/status",
    "GET /api/config",
    "GET /api/openapi.json",
    "GET /api/ws-schema.json",
    "GET /api/sessions",
    "GET /api/tools",
    "GET /api/tools/{name}",
    "GET /api/models",
    "GET /api/approvals",
    "GET /api/tokens",
    "GET /api/accounts",
    "GET /api/events",
    "GET /api/variables",
    "POST /api/sessions",
    "GET /api/memory",
    "GET /api/secrets",
    "PUT /api/secrets/{name}",
    "POST /api/memory",
    "GET /api/memory/search",
    "POST /api/tools",
    "DELETE /api/tools/{name}",
    "POST /api/registry/reload",
    "GET /api/audit/checkpoint",
    "GET /api/audit/checkpoints",
    "GET /api/audit/export",
    "GET /api/audit/prove",
    "GET /api/audit/verify",
    "GET /api/audit/vkey",
    "POST /api/audit/rotate-key",
];

#[tokio::test]
async fn every_route_answers_for_what_is_anothers_as_for_what_nobody_has() {
    let stage = stage().await;
    let (hers, nobodys) =
        (pairs(&stage, &stage.session, &stage.token, "alice"), pairs(&stage, ABSENT, "000000000000", "nosuch"));
    let mut covered = BTreeSet::new();
    for (hers, nobodys) in hers.iter().zip(&nobodys) {
        let (method, _) = hers.route.split_once(' ').unwrap();
        let of_hers = stage.are.api_as(&stage.bob, method, &hers.path, hers.body.clone()).await;
        let of_nobodys = stage.are.api_as(&stage.bob, method, &nobodys.path, nobodys.body.clone()).await;
        assert!(of_hers.0 >= 400, "{}: {of_hers:?}", hers.path);
        assert_eq!(of_hers, of_nobodys, "{} {}", hers.route, hers.path);
        // And not because the request was wrong in itself.
        assert_ne!(of_hers.1["code"], "ARE-0206", "{}", hers.path);
        covered.insert(hers.route.to_owned());
    }
    for route in OPEN {
        covered.insert(route.to_owned());
        let (method, path) = route.split_once(' ').unwrap();
        if method != "GET" || path.contains('{') || path == "/api/events" || path == "/api/memory/search" {
            continue;
        }
        let (_, answer) = stage.are.api_as(&stage.bob, method, path, None).await;
        let told = answer.to_string();
        for secret in [WORDS, &stage.session, &stage.token, "alice"] {
            assert!(!told.contains(secret), "{route} tells {secret}: {told}");
        }
    }
    let routes: BTreeSet<String> =
        are::server::table().into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(covered, routes, "every route is thought of here");
    // Nothing of it changed anything.
    let (status, view) = stage.are.api_as(&stage.alice, "GET", &format!("/api/sessions/{}", stage.session), None).await;
    assert_eq!((status, view["approvals"].as_array().map(Vec::len)), (200, Some(1)), "{view}");
    let (_, variables) =
        stage.are.api_as(&stage.alice, "GET", &format!("/api/variables?session={}", stage.session), None).await;
    assert_eq!(variables["variables"].as_array().map(Vec::len), Some(2), "{variables}");
    println!("{} pairs, {} routes", hers.len(), routes.len());
    stage.are.end().await;
}

#[tokio::test]
async fn a_delegate_that_speaks_for_another_sees_no_more() {
    let stage = stage().await;
    stage.are.account("carol", &["staff"]).await;
    let wish = json!({"account": "bob", "scopes": ["read", "prompt", "delegate"], "for_groups": ["staff"]});
    let (_, made) = stage.are.api("POST", "/api/tokens", Some(wish)).await;
    let token = made["token"].as_str().unwrap();
    let host = format!("Host: {}", stage.are.host());
    let bearer = format!("Authorization: Bearer {token}");
    let ask = async |path: &str| {
        let (status, text) = stage.are.ask(&format!("GET {path}"), &[&host, &bearer, "ARE-Account: carol"]).await;
        (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    };
    for path in ["", "/events", "/export", "/diff"] {
        let hers = ask(&format!("/api/sessions/{}{path}", stage.session)).await;
        assert_eq!(hers.0, 404);
        assert_eq!(hers, ask(&format!("/api/sessions/{ABSENT}{path}")).await, "{path}");
    }
    stage.are.end().await;
}

/// The direct answer to a frame; events are skipped.
async fn answer(client: &mut Client<TcpStream>, frame: Value) -> Value {
    client.send(frame).await;
    client.until(|value| value["id"] == "q").await.pop().unwrap()
}

#[tokio::test]
async fn every_frame_answers_for_anothers_session_as_for_one_that_nobody_has() {
    let stage = stage().await;
    let mut client = stage.are.open(Some("are.v2"), &stage.bob).await;
    for rest in [
        json!({}),
        json!({"after": 0}),
        json!({"after": 2}),
        json!({"after": 999_999}),
        json!({"after": 1, "epoch": 1}),
        json!({"epoch": 77}),
        json!({"headless": true}),
    ] {
        let mut answers = Vec::new();
        for key in [stage.session.as_str(), ABSENT] {
            let mut frame = json!({"type": "attach", "id": "q", "session": key});
            frame.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            answers.push(answer(&mut client, frame).await);
        }
        assert_eq!(answers[0], answers[1], "{rest}");
        assert_eq!(answers[0]["code"], "ARE-0301");
        // Nor does a refused attach leave something that could be spoken in.
        for frame in [
            json!({"type": "steer", "id": "q", "turn": 2, "content": "x"}),
            json!({"type": "cancel", "id": "q", "turn": 2}),
            json!({"type": "feedback", "id": "q", "turn": 1, "rating": "up"}),
            json!({"type": "approve", "id": "q", "approval": stage.approval["approval"], "digest": stage.approval["digest"], "decision": "allow_once"}),
        ] {
            assert_eq!(answer(&mut client, frame.clone()).await["code"], "ARE-0206", "{frame}");
        }
    }
    // A request id is the account's own: another's turn is neither found nor in the way.
    client.send(json!({"type": "prompt", "content": "say mine", "request_id": "first"})).await;
    let events = client.until_type("turn_completed").await;
    assert_ne!(events[0]["session"], stage.session.as_str());
    assert!(!format!("{events:?}").contains(WORDS));
    // The plain protocol, by the address and by the message.
    let mut closes = Vec::new();
    for key in [stage.session.as_str(), ABSENT] {
        let mut plain = stage.are.open(None, &stage.bob).await;
        plain.send(json!({"prompt": "say x", "session": key})).await;
        let frame = plain.closed().await;
        closes.push((u16::from(frame.code), frame.reason.to_string()));
    }
    assert_eq!((closes[0].0, &closes[0]), (4301, &closes[1]));
    let mut upgrades = Vec::new();
    for key in [stage.session.as_str(), ABSENT] {
        let headers = [
            &format!("Host: {}", stage.are.host())[..],
            &format!("Authorization: Bearer {}", stage.bob),
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        let request = format!("GET /ws?session={key}");
        let head = headers.iter().map(|line| format!("{line}\r\n")).collect::<String>();
        let text = stage.are.raw(format!("{request} HTTP/1.1\r\nConnection: Upgrade\r\n{head}\r\n")).await;
        upgrades.push(text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()));
    }
    assert_eq!(upgrades[0], upgrades[1]);
    assert!(upgrades[0].as_ref().is_some_and(|body| body.contains("ARE-0301")), "{upgrades:?}");
    stage.are.end().await;
}

#[tokio::test]
async fn lists_streams_and_what_waits_are_of_one_account_whatever_is_asked_for() {
    let stage = stage().await;
    for path in ["/api/sessions?limit=200", "/api/sessions?limit=1&before_ms=9007199254740991", "/api/approvals"] {
        let (status, answer) = stage.are.api_as(&stage.bob, "GET", path, None).await;
        assert_eq!(status, 200);
        let listed = answer["sessions"].as_array().or(answer["approvals"].as_array()).unwrap();
        assert!(listed.is_empty(), "{path}: {answer}");
        // Of the operator too: being an administrator opens nobody's sessions.
        let (_, answer) = stage.are.api_as(ADMIN, "GET", path, None).await;
        let listed = answer["sessions"].as_array().or(answer["approvals"].as_array()).unwrap();
        assert!(listed.is_empty(), "{path}: {answer}");
    }
    let (status, _) = stage.are.api_as(ADMIN, "GET", &format!("/api/sessions/{}", stage.session), None).await;
    assert_eq!(status, 404);
    stage.are.end().await;
}

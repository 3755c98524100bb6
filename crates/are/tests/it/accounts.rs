//! Accounts and delegates through the server's doors: what a change of one does to what is open, at once.

use are_core::ids::SessionKey;
use are_core::store::Store as _;
use are_store::sqlite::{Options, SqliteStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::{ADMIN, Client, Fixture, PATIENCE, status_of};

/// A token that speaks for the group `staff`: its id and text.
async fn bridge(are: &Fixture, scopes: &[&str]) -> (String, String) {
    let wish = json!({"scopes": scopes, "for_groups": ["staff"]});
    let (status, made) = are.api("POST", "/api/tokens", Some(wish)).await;
    assert_eq!(status, 201, "{made}");
    (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
}

async fn change(are: &Fixture, account: &str, change: Value) {
    let (status, answer) = are.api("PATCH", &format!("/api/accounts/{account}"), Some(change)).await;
    assert_eq!(status, 200, "{answer}");
}

/// A socket of a delegate for an account.
async fn speak_for(are: &Fixture, token: &str, account: &str, protocol: Option<&str>) -> Client<TcpStream> {
    let stream = TcpStream::connect(are.address).await.unwrap();
    let headers = [("authorization", format!("Bearer {token}")), ("are-account", account.to_owned())];
    Client::with(stream, &are.host(), "/ws", protocol, &headers).await
}

/// A live stream that stays open until the server ends it.
async fn stream(are: &Fixture, token: &str, account: Option<&str>, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(are.address).await.unwrap();
    let account = account.map(|name| format!("ARE-Account: {name}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n{account}\r\n",
        are.host()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = timeout(PATIENCE, stream.read_buf(&mut head)).await.expect("a head").unwrap();
        assert!(read > 0);
    }
    assert_eq!(status_of(&String::from_utf8_lossy(&head)), 200);
    stream
}

/// Waits for the end of a stream.
async fn ends(mut stream: TcpStream) {
    let mut rest = Vec::new();
    loop {
        let read = timeout(PATIENCE, stream.read_buf(&mut rest)).await.expect("the stream ends").unwrap();
        // Either the connection ends or the last chunk of the answer has come.
        if read == 0 || rest.ends_with(b"0\r\n\r\n") {
            return;
        }
    }
}

/// All that a token can hold open: both sockets, and both streams.
struct Open {
    v1: Client<TcpStream>,
    v2: Client<TcpStream>,
    streams: [TcpStream; 2],
}

impl Open {
    async fn of(are: &Fixture, token: &str, account: Option<&str>) -> Self {
        let (mut v2, v1) = match account {
            Some(account) => {
                (speak_for(are, token, account, Some("are.v2")).await, speak_for(are, token, account, None).await)
            }
            None => (are.open(Some("are.v2"), token).await, are.open(None, token).await),
        };
        v2.send(json!({"type": "attach", "session": "new"})).await;
        let attached = v2.json().await;
        let session = attached["session"].as_str().unwrap_or_else(|| panic!("{attached}")).to_owned();
        let streams = [
            stream(are, token, account, "/api/events").await,
            stream(are, token, account, &format!("/api/sessions/{session}/events")).await,
        ];
        Self { v1, v2, streams }
    }

    async fn closes(mut self) {
        for client in [&mut self.v1, &mut self.v2] {
            let frame = client.closed().await;
            assert_eq!(u16::from(frame.code), 4202, "{}", frame.reason);
        }
        for stream in self.streams {
            ends(stream).await;
        }
    }

    async fn is_open(&mut self) {
        self.v2.send(json!({"type": "ping"})).await;
        self.v2.until_type("pong").await;
    }
}

#[tokio::test]
async fn whatever_takes_a_tokens_rights_closes_all_that_it_holds_open() {
    let are = Fixture::start().await;
    are.account("alice", &["staff"]).await;
    for way in ["revoke", "narrow", "disable", "delete", "parent", "expire"] {
        let account = if way == "delete" { "temp" } else { "alice" };
        let maker = are.token_of(account, &["read", "prompt"]).await;
        let end = (way == "expire").then_some(are_testkit::clock::START_MS + 1_000);
        let wish = json!({"scopes": ["read", "prompt"], "expires_at_ms": end});
        let (status, made) = are.api_as(&maker, "POST", "/api/tokens", Some(wish)).await;
        assert_eq!(status, 201, "{way}: {made}");
        let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
        let open = Open::of(&are, token, None).await;
        // A connection that stays, as a client's pool keeps it.
        let mut kept = TcpStream::connect(are.address).await.unwrap();
        assert_eq!(ask(&are, &mut kept, token).await, 200, "{way}");
        let path = format!("/api/tokens/{id}");
        let done = match way {
            "revoke" => are.api("DELETE", &path, None).await.0,
            "narrow" => are.api("PATCH", &path, Some(json!({"scopes": ["read"]}))).await.0,
            "disable" => are.api("PATCH", "/api/accounts/alice", Some(json!({"is_disabled": true}))).await.0,
            "delete" => are.api("DELETE", "/api/accounts/temp", None).await.0,
            "parent" => {
                let maker = maker.split('_').nth(1).unwrap();
                are.api("DELETE", &format!("/api/tokens/{maker}"), None).await.0
            }
            _ => {
                are.clock.is_slept_until(are_testkit::clock::START_MS + 1_000).await;
                are.clock.advance(1_000);
                200
            }
        };
        assert!(matches!(done, 200 | 204), "{way}: {done}");
        let after = if way == "narrow" { 200 } else { 401 };
        assert_eq!(ask(&are, &mut kept, token).await, after, "{way}: on a connection that was open");
        open.closes().await;
        if way == "disable" {
            change(&are, "alice", json!({"is_disabled": false})).await;
            assert_eq!(are.api_as(token, "GET", "/api/status", None).await.0, 200, "it comes back");
        }
    }
    are.end().await;
}

/// One request on a connection that stays open.
async fn ask(are: &Fixture, stream: &mut TcpStream, token: &str) -> u16 {
    let request =
        format!("GET /api/sessions HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", are.host());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let read = timeout(PATIENCE, stream.read_buf(&mut answer)).await.expect("an answer").unwrap();
        assert!(read > 0, "the connection ended");
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if length.is_some_and(|length| body.len() >= length) {
            return status_of(head);
        }
    }
}

#[tokio::test]
async fn a_delegates_connections_for_an_account_end_with_the_account_the_group_the_scope_and_the_token() {
    let are = Fixture::start().await;
    are.account("alice", &["staff"]).await;
    are.account("bob", &["staff"]).await;
    let reset = json!({"is_disabled": false, "groups": ["staff"]});
    for way in ["disable", "regroup", "narrow", "revoke"] {
        let (id, token) = bridge(&are, &["read", "prompt", "delegate"]).await;
        let open = Open::of(&are, &token, Some("alice")).await;
        let mut other = Open::of(&are, &token, Some("bob")).await;
        match way {
            "disable" => change(&are, "alice", json!({"is_disabled": true})).await,
            "regroup" => change(&are, "alice", json!({"groups": ["ops"]})).await,
            "narrow" => {
                let kept = json!({"scopes": ["read", "prompt"]});
                assert_eq!(are.api("PATCH", &format!("/api/tokens/{id}"), Some(kept)).await.0, 204);
            }
            _ => assert_eq!(are.api("DELETE", &format!("/api/tokens/{id}"), None).await.0, 204),
        }
        open.closes().await;
        if matches!(way, "disable" | "regroup") {
            other.is_open().await;
        } else {
            other.closes().await;
        }
        let answer = are
            .ask(
                "GET /api/sessions",
                &[&format!("Host: {}", are.host()), &format!("Authorization: Bearer {token}"), "ARE-Account: alice"],
            )
            .await;
        let expected = match way {
            "narrow" => 403,
            "revoke" => 401,
            _ => 404,
        };
        assert_eq!(answer.0, expected, "{way}: {}", answer.1);
        change(&are, "alice", reset.clone()).await;
    }
    are.end().await;
}

#[tokio::test]
async fn a_delegates_turn_is_the_accounts_and_is_recorded_with_the_delegate() {
    let are = Fixture::start().await;
    are.account("alice", &["staff"]).await;
    let (id, token) = bridge(&are, &["read", "prompt", "delegate"]).await;
    let alice = are.token_of("alice", &["read", "prompt", "approve"]).await;
    // She is there, so that what her bridge may not answer is waited for.
    let mut own = are.open(Some("are.v2"), &alice).await;
    own.send(json!({"type": "attach", "session": "new"})).await;
    let session = own.json().await["session"].as_str().unwrap().to_owned();
    let mut spoken = speak_for(&are, &token, "alice", Some("are.v2")).await;
    spoken.send(json!({"type": "attach", "session": session})).await;
    spoken.send(json!({"type": "prompt", "content": "call send", "request_id": "r1"})).await;
    let asked = spoken.until_type("approval_requested").await;
    assert_eq!(asked.iter().find(|event| event["type"] == "turn_started").unwrap()["account"], "alice");
    let last = &asked[asked.len() - 1];
    let answer = json!({"digest": last["digest"], "decision": "allow_once"});
    spoken.send(json!({"type": "approve", "approval": last["approval"], "digest": last["digest"], "decision": "allow_once"})).await;
    assert_eq!(spoken.until_type("error").await.pop().unwrap()["code"], "ARE-0205", "it cannot approve");
    let path = format!("/api/approvals/{session}/{}", last["approval"]);
    assert_eq!(are.api_as(ADMIN, "POST", &path, Some(answer.clone())).await.0, 404, "the operator is another account");
    assert_eq!(are.api_as(&alice, "POST", &path, Some(answer)).await.0, 200);
    spoken.until_type("turn_completed").await;
    // The same request id is the same turn for the account, whoever speaks for it.
    let mut again = are.open(Some("are.v2"), &alice).await;
    again.send(json!({"type": "prompt", "content": "call send", "request_id": "r1"})).await;
    assert_eq!(again.json().await["session"], session.as_str());
    let (_, listed) = are.api_as(&token, "GET", "/api/sessions", None).await;
    assert_eq!(listed["sessions"], json!([]), "the delegate's own account has none");
    let key: SessionKey = session.parse().unwrap();
    let dir = are.end().await;
    let store = SqliteStore::open(dir.path(), &Options::default()).unwrap();
    let rows = store.read(key, 0, 100, usize::MAX).await.unwrap();
    let records: Vec<Value> = rows.iter().filter_map(|row| serde_json::from_slice(&row.bytes).ok()).collect();
    let of = |action: &str| records.iter().find(|record| record["action"] == action).unwrap();
    assert_eq!(of("turn_started")["account"], "alice");
    assert_eq!(of("turn_started")["via"], json!({"token": id, "account": "admin"}));
    for action in ["session_created", "decision", "approval_resolved"] {
        assert_eq!((of(action)["account"].as_str(), of(action).get("via")), (Some("alice"), None), "{action}");
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_group_opens_what_a_rule_says_for_its_members_while_they_are_in_it() {
    let are = Fixture::start().await;
    let rule = "permit(principal in Group::\"staff\", action, resource == Tool::\"send\");";
    let rules = [("staff.cedar".to_owned(), rule.to_owned())];
    let rules = are_policy::rules::Rules::new(are_policy::rules::Profile::Ask, &rules).unwrap();
    are.engine.set_rules(rules).await.unwrap();
    are.account("alice", &[]).await;
    let alice = are.token_of("alice", &["read", "prompt"]).await;
    let mut seen = Vec::new();
    for groups in [json!(["staff"]), json!([])] {
        change(&are, "alice", json!({"groups": groups})).await;
        let mut client = are.open(Some("are.v2"), &alice).await;
        client.send(json!({"type": "prompt", "content": "call send"})).await;
        let events = client.until_type("turn_completed").await;
        let decision = events.iter().find(|event| event["type"] == "decision").unwrap();
        seen.push(decision["outcome"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["allow", "ask"]);
    are.end().await;
}

#[tokio::test]
async fn a_running_turn_of_a_disabled_account_ends_with_the_reason() {
    let are = Fixture::start().await;
    are.account("alice", &[]).await;
    let alice = are.token_of("alice", &["read", "prompt"]).await;
    let mut client = are.open(Some("are.v2"), &alice).await;
    client.send(json!({"type": "prompt", "content": "hold one two"})).await;
    let begun = client.until(Value::is_array).await;
    let session = begun[0]["session"].as_str().unwrap().to_owned();
    change(&are, "alice", json!({"is_disabled": true})).await;
    assert_eq!(u16::from(client.closed().await.code), 4202);
    change(&are, "alice", json!({"is_disabled": false})).await;
    let (status, page) = are.api_as(&alice, "GET", &format!("/api/sessions/{session}/events"), None).await;
    assert_eq!(status, 200, "its sessions stay");
    let last = page["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((last["type"].as_str(), last["error"]["code"].as_str()), (Some("turn_failed"), Some("ARE-0217")));
    are.end().await;
}

#[tokio::test]
async fn a_deletion_that_a_crash_cut_short_is_finished_by_the_next_start() {
    let are = Fixture::start().await;
    are.account("alice", &[]).await;
    let alice = are.token_of("alice", &["read", "prompt"]).await;
    let (_, begun) = are.api_as(&alice, "POST", "/api/sessions", None).await;
    let session: SessionKey = begun["session"].as_str().unwrap().parse().unwrap();
    let caller = are_engine::api::Caller {
        account: "admin".parse().unwrap(),
        thread: "test".parse().unwrap(),
        can_approve: true,
        can_administer: true,
        via: None,
    };
    // Without the erasure that follows it.
    are.engine.delete_account(&caller, &"alice".parse().unwrap()).await.unwrap();
    let are = Fixture::within(are.end().await, crate::fixture::Plan::default()).await;
    assert_eq!(are.api_as(&alice, "GET", "/api/status", None).await.0, 401);
    // The work goes on beside the doors; its own record is its end.
    are.engine.erase_account(&"alice".parse().unwrap()).await.unwrap();
    let dir = are.end().await;
    let store = SqliteStore::open(dir.path(), &Options::default()).unwrap();
    assert!(store.session(session).await.unwrap().is_deleted);
    let row = store.accounts().await.unwrap().into_iter().find(|row| row.name.as_str() == "alice").unwrap();
    assert!(row.is_deleted && row.is_erased);
    store.close().await.unwrap();
}

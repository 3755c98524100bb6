//! The attacks of `tests/attacks/accounts.toml`: speaking as somebody else, speaking on, learning what is another's.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::fixture::{ADMIN, Fixture, status_of};

#[derive(Deserialize)]
struct Attacks {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    token: String,
    method: String,
    path: String,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    body: String,
    code: Option<String>,
    status: Option<u16>,
    /// Account that owns the session that was begun.
    #[serde(rename = "as")]
    owner: Option<String>,
}

struct Stage {
    are: Fixture,
    tokens: BTreeMap<&'static str, (String, String)>,
    alice: String,
}

/// Makes a token with `maker`'s; its id and text.
async fn made(are: &Fixture, maker: &str, wish: Value) -> (String, String) {
    let (status, made) = are.api_as(maker, "POST", "/api/tokens", Some(wish)).await;
    assert_eq!(status, 201, "{made}");
    (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
}

async fn stage() -> Stage {
    let are = Fixture::start().await;
    for (name, groups) in
        [("alice", &["staff"][..]), ("bob", &[]), ("carol", &["ops"]), ("gone", &["staff"]), ("erased", &["staff"])]
    {
        are.account(name, groups).await;
    }
    let of = |account: &str, scopes: &[&str]| json!({"account": account, "scopes": scopes});
    let mut tokens = BTreeMap::from([("admin", (String::new(), ADMIN.to_owned()))]);
    for (name, wish) in [
        ("reader", of("bob", &["read"])),
        ("speaker", of("bob", &["read", "prompt", "approve"])),
        ("bridge", json!({"account": "bob", "scopes": ["read", "prompt", "delegate"], "for_groups": ["staff"]})),
        ("stale", of("bob", &["read"])),
        ("maker", of("bob", &["read"])),
        ("narrowed", of("bob", &["read", "prompt"])),
        ("of_gone", of("gone", &["read", "prompt"])),
        ("of_erased", of("erased", &["read", "prompt"])),
        ("of_alice", of("alice", &["read", "prompt"])),
        ("over", json!({"account": "bob", "scopes": ["read"], "expires_at_ms": are_testkit::clock::START_MS + 1_000})),
    ] {
        tokens.insert(name, made(&are, ADMIN, wish).await);
    }
    let orphan = made(&are, &tokens["maker"].1, json!({"scopes": ["read"]})).await;
    tokens.insert("orphan", orphan);
    let (_, begun) = are.api_as(&tokens["of_alice"].1, "POST", "/api/sessions", None).await;
    let alice = begun["session"].as_str().unwrap().to_owned();
    for name in ["stale", "maker"] {
        assert_eq!(are.api("DELETE", &format!("/api/tokens/{}", tokens[name].0), None).await.0, 204);
    }
    let path = format!("/api/tokens/{}", tokens["narrowed"].0);
    assert_eq!(are.api("PATCH", &path, Some(json!({"scopes": ["read"]}))).await.0, 204);
    assert_eq!(are.api("PATCH", "/api/accounts/gone", Some(json!({"is_disabled": true}))).await.0, 200);
    assert_eq!(are.api("DELETE", "/api/accounts/erased", None).await.0, 204);
    are.clock.advance(1_000);
    Stage { are, tokens, alice }
}

/// The answer's status and body.
async fn attack(stage: &Stage, case: &Case) -> (u16, Value) {
    let (_, token) = &stage.tokens[case.token.as_str()];
    let fill = |text: &str| text.replace("{alice}", &stage.alice).replace("{narrowed}", &stage.tokens["narrowed"].0);
    let headers: String = case.headers.iter().map(|line| format!("{line}\r\n")).collect();
    let answer = stage
        .are
        .raw(format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{}",
            case.method,
            fill(&case.path),
            stage.are.host(),
            case.body.len(),
            case.body
        ))
        .await;
    let text = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    (status_of(&answer), serde_json::from_str(text).unwrap_or(Value::Null))
}

/// Whose session it is: only its owner's token finds it.
async fn owner(stage: &Stage, session: &str) -> &'static str {
    let path = format!("/api/sessions/{session}");
    for (name, token) in [("alice", "of_alice"), ("bob", "reader"), ("admin", "admin")] {
        if stage.are.api_as(&stage.tokens[token].1, "GET", &path, None).await.0 == 200 {
            return name;
        }
    }
    panic!("{session} is nobody's");
}

#[tokio::test]
async fn nobody_speaks_as_another_or_on_when_it_may_not_and_nobody_learns_who_there_is() {
    let attacks: Attacks =
        toml::from_str(include_str!("../../../../tests/attacks/accounts.toml")).expect("attack file");
    assert!(attacks.case.len() >= 60, "the attack file was read: {}", attacks.case.len());
    let stage = stage().await;
    let mut outside = Vec::new();
    for case in &attacks.case {
        let (status, answer) = attack(&stage, case).await;
        match &case.code {
            Some(code) => assert_eq!(answer["code"], code.as_str(), "{}: {status} {answer}", case.name),
            None => assert_eq!(Some(status), case.status, "{}: {answer}", case.name),
        }
        if let Some(expected) = &case.owner {
            assert_eq!(owner(&stage, answer["session"].as_str().unwrap()).await, expected, "{}", case.name);
        }
        if case.token == "bridge" && case.code.as_deref() == Some("ARE-0214") {
            outside.push((status, answer));
        }
    }
    assert!(outside.len() >= 14, "{}", outside.len());
    assert!(outside.iter().all(|answer| *answer == outside[0]), "one answer for all that is outside: {outside:?}");
    println!("{} attacks", attacks.case.len());
    stage.are.end().await;
}

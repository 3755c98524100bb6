//! The attacks of `tests/attacks/mcp.toml`: messages for others, of other protocols, without a session, without end.

use std::collections::BTreeMap;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::mcp_stage::{Mcp, send, text_of};

#[derive(Deserialize)]
struct Attacks {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "bob")]
    token: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default = "path")]
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default = "call")]
    body: String,
    status: u16,
    code: Option<String>,
    rpc: Option<i32>,
}

fn bob() -> String {
    "bob".to_owned()
}

fn post() -> String {
    "POST".to_owned()
}

fn path() -> String {
    "/mcp".to_owned()
}

fn call() -> String {
    r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read", "arguments": {}}}"#.to_owned()
}

#[tokio::test]
async fn no_message_reaches_a_tool_that_is_not_for_it() {
    let attacks: Attacks = toml::from_str(include_str!("../../../../tests/attacks/mcp.toml")).expect("attack file");
    assert!(attacks.case.len() >= 35, "the attack file was read: {}", attacks.case.len());
    let are = Fixture::start().await;
    let mut tokens = BTreeMap::new();
    for (name, account) in [("alice", "alice"), ("bob", "bob"), ("revoked", "bob")] {
        tokens.insert(name, are.token_of(account, &["read", "prompt"]).await);
    }
    let revoked = tokens["revoked"].split('_').nth(1).unwrap().to_owned();
    assert_eq!(are.api("DELETE", &format!("/api/tokens/{revoked}"), None).await.0, 204);
    let (alice, bob) = (
        Mcp::begin(&are, &tokens["alice"], json!({"elicitation": {}})).await,
        Mcp::begin(&are, &tokens["bob"], json!({})).await,
    );
    let fill = |text: &str| text.replace("{alice}", &alice.session).replace("{bob}", &bob.session);
    for case in &attacks.case {
        let host = are.host();
        let mut headers: BTreeMap<String, String> = [
            ("host", host.as_str()),
            ("authorization", &format!("Bearer {}", tokens[case.token.as_str()])),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("mcp-session-id", &bob.session),
            ("mcp-protocol-version", "2025-11-25"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        headers.extend(case.headers.iter().map(|(name, value)| (name.clone(), fill(value))));
        let given: Vec<(&str, &str)> =
            headers.iter().filter(|(_, value)| !value.is_empty()).map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let method: Method = case.method.parse().unwrap();
        let body =
            if method == Method::POST { case.body.replace("{n}", &"a".repeat(3_000_000)) } else { String::new() };
        let (response, _connection) = send(are.address, &case.path, method, &given, body).await;
        let status = response.status().as_u16();
        assert_eq!(status, case.status, "{}", case.name);
        let answer: Value = serde_json::from_str(&text_of(response).await).unwrap_or(Value::Null);
        assert_eq!(answer["code"].as_str(), case.code.as_deref(), "{}: {answer}", case.name);
        assert_eq!(answer["error"]["code"].as_i64(), case.rpc.map(i64::from), "{}: {answer}", case.name);
    }
    assert!(are.tools.begun("read").is_empty());
    assert_eq!((alice.ping().await, bob.ping().await), (200, 200));
    println!("{} attacks", attacks.case.len());
    are.end().await;
}

//! Answers to approvals through the doors: the attacks of `tests/attacks/approvals.toml`, and headless clients.

use are_policy::rules::{Profile, Rules};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::fixture::{Client, Fixture};

#[derive(Deserialize)]
struct Attacks {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "nothing")]
    before: String,
    #[serde(default = "own")]
    session: String,
    #[serde(default = "own")]
    approval: String,
    #[serde(default = "own")]
    digest: String,
    /// How the right digest is spelt, in which `{}` stands for it.
    #[serde(default)]
    spelt: Option<String>,
    #[serde(default = "own")]
    account: String,
    #[serde(default = "may_approve")]
    scopes: Vec<String>,
    #[serde(default = "once")]
    decision: String,
    code: String,
    #[serde(default)]
    begun: u32,
}

fn nothing() -> String {
    "nothing".to_owned()
}

fn own() -> String {
    "own".to_owned()
}

fn once() -> String {
    "allow_once".to_owned()
}

fn may_approve() -> Vec<String> {
    ["read", "prompt", "approve"].map(str::to_owned).to_vec()
}

/// A session in which a call waits; its client stays, so that it is waited for.
struct Waiting {
    client: Client<TcpStream>,
    session: String,
    asked: Value,
}

async fn waiting(are: &Fixture, tool: &str) -> Waiting {
    let mut client = are.v2().await;
    client.send(json!({"type": "prompt", "content": format!("call {tool}")})).await;
    let seen = client.until_type("approval_requested").await;
    let session = seen[0]["session"].as_str().expect("a key").to_owned();
    Waiting { client, session, asked: seen[seen.len() - 1].clone() }
}

async fn prepare(are: &Fixture, case: &Case, own: &mut Waiting) {
    match case.before.as_str() {
        "nothing" => {}
        "answered" => {
            let (approval, digest) = (&own.asked["approval"], &own.asked["digest"]);
            let answer = json!({"type": "approve", "approval": approval, "digest": digest, "decision": "allow_once"});
            own.client.send(answer).await;
            own.client.until_type("turn_completed").await;
        }
        "cancelled" => {
            own.client.send(json!({"type": "cancel", "turn": 1})).await;
            own.client.until_type("turn_cancelled").await;
        }
        "rules" => {
            let text = "@ask(\"say so\") permit(principal, action, resource);";
            let rules = Rules::new(Profile::Ask, &[("a.cedar".to_owned(), text.to_owned())]).expect("rules");
            are.engine.set_rules(rules).await.expect("recorded");
            own.client.until_type("approval_requested").await;
        }
        other => panic!("`{other}` is nothing that can happen before"),
    }
}

/// Answers through one door; the code of the refusal.
async fn attack(are: &Fixture, case: &Case, door: &str, token: &str, session: &str, answer: Value) -> Value {
    if door == "HTTP" {
        let path = format!("/api/approvals/{session}/{}", answer["approval"]);
        let body = json!({"digest": answer["digest"], "decision": answer["decision"]});
        let (status, refused) = are.api_as(token, "POST", &path, Some(body)).await;
        assert!(status >= 400, "{}: {status} {refused}", case.name);
        return refused["code"].clone();
    }
    let mut client = are.open(Some("are.v2"), token).await;
    // As headless, so that the attacker's presence changes nothing.
    client.send(json!({"type": "attach", "session": session, "headless": true})).await;
    let attached = client.json().await;
    if attached["type"] == "error" {
        return attached["code"].clone();
    }
    client.send(answer).await;
    let refused = client.json().await;
    assert_eq!(refused["type"], "error", "{}: {refused}", case.name);
    refused["code"].clone()
}

#[tokio::test]
async fn no_answer_but_the_one_for_exactly_this_approval_lets_a_call_run() {
    let attacks: Attacks =
        toml::from_str(include_str!("../../../../tests/attacks/approvals.toml")).expect("attack file");
    assert!(attacks.case.len() >= 15, "the attack file was read: {}", attacks.case.len());
    for case in &attacks.case {
        for door in ["HTTP", "are.v2"] {
            let are = Fixture::start().await;
            let mut own = waiting(&are, "send").await;
            let (twin, different) = (waiting(&are, "send").await, waiting(&are, "put").await);
            prepare(&are, case, &mut own).await;
            let account = if case.account == "own" { "admin" } else { &case.account };
            let scopes: Vec<&str> = case.scopes.iter().map(String::as_str).collect();
            let token = are.token_of(account, &scopes).await;
            let session = if case.session == "twin" { &twin.session } else { &own.session };
            let approval = case.approval.parse().map_or_else(|_| own.asked["approval"].clone(), |n: u32| json!(n));
            let digest = match case.digest.as_str() {
                "own" => own.asked["digest"].clone(),
                "twin" => twin.asked["digest"].clone(),
                "different" => different.asked["digest"].clone(),
                "capitals" => json!(own.asked["digest"].as_str().expect("a digest").to_uppercase()),
                "beginning" => json!(&own.asked["digest"].as_str().expect("a digest")[..16]),
                _ => json!("0".repeat(64)),
            };
            let digest = match &case.spelt {
                Some(spelt) => json!(spelt.replace("{}", digest.as_str().expect("a digest"))),
                None => digest,
            };
            let answer = json!({"type": "approve", "approval": approval, "digest": digest, "decision": case.decision});
            let code = attack(&are, case, door, &token, session, answer).await;
            assert_eq!(code, case.code.as_str(), "{} over {door}", case.name);
            let begun: u32 = are.tools.begun("send").iter().sum();
            assert_eq!(begun, case.begun, "{} over {door}", case.name);
            assert_eq!(are.tools.begun("put"), [0_u32; 0], "{} over {door}", case.name);
            are.end().await;
        }
    }
    println!("{} attacks, each through 2 doors", attacks.case.len());
}

#[tokio::test]
async fn a_client_that_says_it_is_headless_is_not_waited_for_whatever_its_token_may() {
    let are = Fixture::start().await;
    let mut client = are.v2().await;
    client.send(json!({"type": "attach", "session": "new", "headless": true})).await;
    client.send(json!({"type": "prompt", "content": "call send"})).await;
    let seen = client.until_type("turn_completed").await;
    let resolved = seen.iter().find(|event| event["type"] == "approval_resolved").expect("an answer");
    assert_eq!((&resolved["decision"], &resolved["by"]), (&json!("deny"), &json!("nobody")));
    assert_eq!(are.tools.begun("send"), [0_u32; 0]);
    are.end().await;
}

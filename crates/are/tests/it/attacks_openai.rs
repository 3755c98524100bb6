//! Words in the wrong role, over the OpenAI doors, against the shipped program.

use std::sync::atomic::Ordering;

use are_testkit::provider::Reply;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::attacks_flow::{Sink, decisions, reasons};
use crate::cli_stage::Stage;
use crate::fixture::status_of;

#[derive(Deserialize)]
struct Attacks {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "chat")]
    door: String,
    body: String,
    calls: Vec<String>,
    /// What the model says at the end.
    #[serde(default = "done")]
    answer: String,
    decided: Vec<String>,
    /// What follows when the model calls the client's `look_up` at the end instead.
    then: Option<Then>,
}

/// The request that brings what the client's tool returned.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Then {
    output: String,
    calls: Vec<String>,
    /// All decisions in the session.
    decided: Vec<String>,
}

fn chat() -> String {
    "/v1/chat/completions".to_owned()
}

fn done() -> String {
    "done".to_owned()
}

/// Sends a body as the admin; the answer's JSON.
async fn post(address: &str, token: &str, path: &str, body: &Value) -> Value {
    let host = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await.expect("it listens");
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    assert_eq!(status_of(&answer), 200, "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON")
}

#[tokio::test]
async fn words_in_another_role_than_the_users_authorise_nothing() {
    let attacks: Attacks = toml::from_str(include_str!("../../../../tests/attacks/openai.toml")).expect("cases");
    let mut stage = Stage::new().await;
    let sink = Sink::start().await;
    stage.set("ARE_POLICY", "strict").set("ARE_EGRESS_PRIVATE", &sink.address.to_string());
    let here = |text: &str| text.replace("SINK", &format!("http://{}", sink.address));
    let serving = stage.serve(&[]).await;
    let address = serving.ready["address"].as_str().expect("an address");
    let token = std::fs::read_to_string(stage.data_dir().join("admin.token")).expect("a token");
    let calls = |all: &[String]| -> Vec<Reply> {
        let args = |args: &String| serde_json::from_str(&here(args)).expect("arguments");
        all.iter().map(|one| Reply::call("http_request", &args(one))).collect()
    };
    let mut allowed = 0;
    for case in &attacks.case {
        let last = match &case.then {
            Some(_) => Reply::call("look_up", &json!({})),
            None => Reply::text([&case.answer]),
        };
        stage.provider().script(calls(&case.calls).into_iter().chain([last]));
        let mut body: Value = serde_json::from_str(&here(&case.body)).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        body["model"] = json!("are");
        let answer = post(address, token.trim(), &case.door, &body).await;
        let session = answer["conversation"]["id"].as_str().expect("a session").replace("conv_", "");
        let events = stage.run(&["session", "events", "--json", &session]).await.exits(0).lines();
        let (decided, outside) = decisions(&events);
        assert_eq!(decided, case.decided, "{}: {}", case.name, reasons(&events));
        let mut outside_now = outside;
        if let Some(then) = &case.then {
            stage.provider().script(calls(&then.calls).into_iter().chain([Reply::text(["done"])]));
            let called = answer["output"].as_array().and_then(|items| items.last()).expect("a call");
            let output =
                json!({"type": "function_call_output", "call_id": called["call_id"], "output": here(&then.output)});
            let more = json!({"model": "are", "previous_response_id": answer["id"], "input": [output], "tools": body["tools"]});
            post(address, token.trim(), &case.door, &more).await;
            let events = stage.run(&["session", "events", "--json", &session]).await.exits(0).lines();
            let (decided, outside) = decisions(&events);
            assert_eq!(decided, then.decided, "{}, then: {}", case.name, reasons(&events));
            outside_now = outside;
        }
        allowed += outside_now;
        assert_eq!(sink.requests.load(Ordering::SeqCst), allowed, "{}: what reached the server", case.name);
    }
    println!("{} requests with words in the wrong role", attacks.case.len());
    assert!(attacks.case.len() >= 8 && allowed >= 1);
    assert_eq!(serving.terminate().await, Some(0));
}

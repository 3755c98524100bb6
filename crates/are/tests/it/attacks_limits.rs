//! The attacks of `tests/attacks/limits.toml`: ways around limits, and looks at what others have used.

use are_testkit::provider::Reply;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli_stage::{Ran, Serving, Stage};
use crate::fixture::Fixture;

#[derive(Deserialize)]
struct Attacks {
    case: Vec<Case>,
    request: Vec<Request>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    limits: String,
    #[serde(default)]
    replies: Vec<Answer>,
    steps: Vec<(String, String)>,
    asked: usize,
    #[serde(default)]
    files: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Call { tool: String, args: String },
    Calls { calls: Vec<String> },
    Text { text: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    name: String,
    method: String,
    path: String,
    #[serde(default)]
    body: String,
    code: String,
}

fn attacks() -> Attacks {
    toml::from_str(include_str!("../../../../tests/attacks/limits.toml")).expect("attack file")
}

async fn take(stage: &Stage, server: &mut Option<Serving>, step: &str) -> Option<Ran> {
    let prompt = |args: &[&str]| [&["run"], args, &["go"]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let args = match step {
        "run" => prompt(&[]),
        "continue" => prompt(&["--continue"]),
        "other" => prompt(&["--agent", "other"]),
        "fork" => {
            let forked = stage.run(&["session", "fork", &stage.latest().await, "--json"]).await.exits(0).json();
            prompt(&["--session", forked["session"].as_str().expect("a key")])
        }
        "call" => ["tool", "call", "fs_list", r#"{"path":"."}"#].map(str::to_owned).to_vec(),
        "delete" => {
            stage.run(&["session", "delete", &stage.latest().await, "--yes"]).await.exits(0);
            return None;
        }
        "restart" | "kill" => {
            let mut running = server.take().expect("it runs");
            if step == "restart" {
                assert_eq!(running.terminate().await, Some(0));
            } else {
                running.child.kill().await.expect("it can be killed");
            }
            *server = Some(stage.serve(&[]).await);
            return None;
        }
        other => panic!("`{other}` is no step"),
    };
    Some(stage.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).await)
}

async fn play(case: &Case) {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "observe");
    stage.write(".config/are/are.toml", &case.limits);
    stage.write(".local/share/are/agents/other.md", "---\nmodel: openai:other\n---\nBe brief.\n");
    stage.provider().default_reply(|_| Reply::text(["ok"]));
    stage.provider().script(case.replies.iter().map(|answer| match answer {
        Answer::Call { tool, args } => Reply::call(tool, &serde_json::from_str(args).expect("arguments")),
        Answer::Calls { calls } => Reply::calls(calls.iter().map(|tool| (tool.as_str(), json!({"path": "."})))),
        Answer::Text { text } => Reply::text([text]),
    }));
    let mut server = Some(stage.serve(&[]).await);
    for (index, (step, code)) in case.steps.iter().enumerate() {
        let Some(ran) = take(&stage, &mut server, step).await else { continue };
        let said = format!("{}: step {index}: {ran:?}", case.name);
        match code.as_str() {
            "" => assert_eq!(ran.code, Some(0), "{said}"),
            code => assert!(ran.code != Some(0) && ran.stderr.contains(code), "{said}"),
        }
    }
    assert_eq!(stage.provider().requests().len(), case.asked, "{}: requests at the provider", case.name);
    let mut files: Vec<String> = std::fs::read_dir(stage.project())
        .expect("readable")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    files.sort();
    assert_eq!(files, case.files, "{}", case.name);
    let listed = stage.run(&["session", "list", "--json"]).await.exits(0).json();
    for session in listed["sessions"].as_array().expect("sessions") {
        let replayed = stage.run(&["session", "replay", session["session"].as_str().expect("a key")]).await;
        assert_eq!(replayed.code, Some(0), "{}: {replayed:?}", case.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_around_a_limit_gives_more_than_it_allows() {
    let cases = attacks().case;
    for case in &cases {
        println!("{}", case.name);
        play(case).await;
    }
    println!("{} cases", cases.len());
    assert!(cases.len() >= 17, "the attack file was read");
}

#[tokio::test]
async fn no_request_says_whose_limits_it_is_held_to_nor_sees_what_others_use() {
    let are = Fixture::start().await;
    let all = ["read", "prompt"];
    let (alice, bob) = (are.token_of("alice", &all).await, are.token_of("bob", &all).await);
    let (status, session) = are.api_as(&alice, "POST", "/api/sessions", Some(json!({}))).await;
    assert_eq!(status, 201, "{session}");
    let key = session["session"].as_str().expect("a key");
    let requests = attacks().request;
    for request in &requests {
        let here = |text: &str| text.replace("{alice}", key);
        let body: Option<Value> =
            (!request.body.is_empty()).then(|| serde_json::from_str(&here(&request.body)).expect("a body"));
        let (_, answer) = are.api_as(&bob, &request.method, &here(&request.path), body).await;
        assert_eq!(answer["code"], request.code.as_str(), "{}: {answer}", request.name);
    }
    println!("{} requests", requests.len());
    assert!(requests.len() >= 10, "the attack file was read");
    are.end().await;
}

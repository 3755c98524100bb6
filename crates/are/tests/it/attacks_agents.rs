//! Agents that begin agents, with models on the attacker's side, against the shipped program.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use are_testkit::provider::Reply;
use serde::Deserialize;
use serde_json::Value;

use crate::attacks_flow::Sink;
use crate::cli_stage::Stage;

#[derive(Deserialize)]
struct Attacks {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default = "contained")]
    policy: String,
    #[serde(default)]
    home: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    absent: Vec<String>,
    say: String,
    replies: Vec<Answer>,
    decided: Vec<String>,
    #[serde(default)]
    reached: usize,
}

fn contained() -> String {
    "contained".to_owned()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Call { tool: String, args: String },
    Text { text: String },
}

async fn play(case: &Case) {
    let mut stage = Stage::new().await;
    let sink = Sink::start().await;
    let address = format!("http://{}", sink.address);
    // Rules stand in the data directory, where a profile is named beside them.
    stage.set("ARE_POLICY", &case.policy).set("ARE_EGRESS_PRIVATE", &sink.address.to_string());
    let here = |text: &str| text.replace("SINK", &address);
    for (name, text) in &case.home {
        stage.write(name, &here(text));
    }
    for (name, text) in &case.files {
        stage.write(&format!("project/{name}"), &here(text));
    }
    stage.provider().script(case.replies.iter().map(|answer| match answer {
        Answer::Call { tool, args } => Reply::call(tool, &serde_json::from_str(&here(args)).expect("arguments")),
        Answer::Text { text } => Reply::text([here(text)]),
    }));
    let ran = stage.run(&["run", "--json", &here(&case.say)]).await;
    let mut events = Vec::new();
    for key in sessions(&stage).await {
        events.push(stage.run(&["session", "events", &key, "--json"]).await.exits(0).lines());
    }
    let decided: Vec<String> = events.iter().flat_map(|events| decisions(events)).collect();
    let why = reasons(&events.concat());
    assert_eq!(decided, case.decided, "{}: {why}\n{}\n{}", case.name, ran.stdout, ran.stderr);
    assert_eq!(sink.requests.load(Ordering::SeqCst), case.reached, "{}: what reached the server", case.name);
    for path in &case.absent {
        assert!(!stage.home().join(path).exists(), "{}: `{path}` is there", case.name);
    }
    for key in sessions(&stage).await {
        let replayed = stage.run(&["session", "replay", &key]).await;
        assert_eq!(replayed.code, Some(0), "{}: {replayed:?}", case.name);
    }
}

/// All sessions, in the order of their beginning.
async fn sessions(stage: &Stage) -> Vec<String> {
    let listed = stage.run(&["session", "list", "--json"]).await.exits(0).json();
    let mut keys: Vec<String> = listed["sessions"]
        .as_array()
        .expect("sessions")
        .iter()
        .map(|one| one["session"].as_str().expect("a key").to_owned())
        .collect();
    // Keys sort by the time of creation.
    keys.sort();
    keys
}

/// The last decision about each call with an effect but those that begin agents.
fn decisions(events: &[Value]) -> Vec<String> {
    let mut by_call: BTreeMap<u64, String> = BTreeMap::new();
    let quiet = ["fs_read", "fs_list", "agent_spawn"];
    for event in events.iter().filter(|event| event["type"] == "decision") {
        let requested = |one: &&Value| one["type"] == "tool_requested" && one["call"] == event["call"];
        let tool = events.iter().find(requested).expect("requested before")["tool"].as_str().expect("a name");
        if !quiet.contains(&tool) {
            let outcome = event["outcome"].as_str().expect("an outcome").to_owned();
            by_call.insert(event["call"].as_u64().expect("a number"), outcome);
        }
    }
    by_call.into_values().collect()
}

fn reasons(events: &[Value]) -> String {
    let told = |event: &Value| match event["type"].as_str() {
        Some("decision") => Some(format!("\n  {} {}: {}", event["outcome"], event["rules"], event["why"])),
        Some("tool_failed" | "turn_failed") => Some(format!("\n  {}", event["error"])),
        _ => None,
    };
    events.iter().filter_map(told).collect()
}

#[tokio::test]
async fn no_agent_gets_done_by_another_what_it_may_not_do_itself() {
    let attacks: Attacks = toml::from_str(include_str!("../../../../tests/attacks/agents.toml")).expect("attack file");
    for case in &attacks.case {
        println!("{}", case.name);
        play(case).await;
    }
    println!("{} conversations", attacks.case.len());
    assert!(attacks.case.len() >= 16, "the attack file was read");
}

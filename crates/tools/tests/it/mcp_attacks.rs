//! Servers that lie, break the protocol or go on without end: every case of `tests/attacks/mcp_servers.toml`.

use are_core::error::Code;
use are_policy::tools::ToolOutcome;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::mcp_support::{entry, script, tool, world};

#[derive(Deserialize)]
struct Attacks {
    declared: Vec<Declared>,
    lies: Vec<Lie>,
    calls: Vec<Called>,
}

#[derive(Deserialize)]
struct Declared {
    name: String,
    tools: Vec<String>,
    why: String,
}

#[derive(Deserialize)]
struct Lie {
    name: String,
    script: String,
    why: String,
    /// It is waited for longer than a test may take, so it is met by a call.
    #[serde(default)]
    is_slow: bool,
}

#[derive(Deserialize)]
struct Called {
    name: String,
    call: String,
    hints: Option<String>,
    comes_to: String,
    why: String,
    timeout_ms: Option<u64>,
}

fn attacks() -> Attacks {
    toml::from_str(include_str!("../../../../tests/attacks/mcp_servers.toml")).expect("attacks")
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_cannot_be_served_is_refused_alone() {
    let Some(world) = world().await else { return };
    let attacks = attacks().declared;
    for attack in &attacks {
        let mut tools: Vec<Value> = attack.tools.iter().map(|text| tool(json_of(text))).collect();
        tools.push(tool(json!({"name": "good", "description": "Is good."})));
        let problems = world.add("evil", &entry(&json!({"tools": tools}))).await;
        let served: Vec<String> = world.standing("evil").tools;
        assert_eq!(served, ["evil_good"], "{}: {problems:?}", attack.name);
        assert!(problems.iter().any(|problem| problem.why.contains(&attack.why)), "{}: {problems:?}", attack.name);
    }
    println!("{} declarations refused, each beside a good one that is served", attacks.len());
    assert!(attacks.len() >= 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_breaks_the_protocol_is_not_added() {
    let Some(mut world) = world().await else { return };
    let attacks = attacks().lies;
    let good = script(&json!({"echo": {"do": "echo"}}), &json!({"readOnlyHint": true}));
    for attack in &attacks {
        let entry_of = |script: &Value| entry(script);
        let fault = if attack.is_slow {
            assert_eq!(world.add("evil", &entry_of(&good)).await, []);
            let file = world.tools_dir().join("evil.mcp");
            let mut consent = json_of(&std::fs::read_to_string(&file).expect("a file"));
            consent["server"]["local"]["args"][0] = attack.script.clone().into();
            std::fs::write(&file, consent.to_string()).expect("a file");
            world.reload().await;
            world.timeout_ms = 1_500;
            let fault = world.fault("evil_echo", json!({})).await;
            world.timeout_ms = 30_000;
            fault
        } else {
            world.examine("evil", &entry_of(&json_of(&attack.script))).await.expect_err(&attack.name)
        };
        assert_eq!(fault.code, Code::SERVER_UNUSABLE, "{}: {fault}", attack.name);
        assert!(fault.message.contains(&attack.why), "{}: {fault}", attack.name);
        assert!(!fault.message.contains('\u{1b}'), "{}: nothing steers a terminal", attack.name);
    }
    println!("{} servers not added", attacks.len());
    assert!(attacks.len() >= 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_server_does_in_a_call_the_call_ends_as_it_should_and_others_go_on() {
    let Some(mut world) = world().await else { return };
    let other = script(&json!({"echo": {"do": "echo"}}), &json!({"readOnlyHint": true}));
    assert_eq!(world.add("other", &entry(&other)).await, []);
    let attacks = attacks().calls;
    for attack in &attacks {
        let hints = attack.hints.as_deref().map_or(json!({}), json_of);
        let evil = script(&json!({"do": json_of(&attack.call)}), &hints);
        assert_eq!(world.add("evil", &entry(&evil)).await, []);
        world.timeout_ms = attack.timeout_ms.unwrap_or(30_000);
        let outcome = world.run("evil_do", json!({})).await;
        let fault = match (outcome, attack.comes_to.as_str()) {
            (ToolOutcome::Failed { fault, label }, "failed") | (ToolOutcome::Unknown { fault, label }, "unknown") => {
                assert_eq!(label.integrity, are_core::label::Integrity::Untrusted, "{}", attack.name);
                fault
            }
            (other, wished) => panic!("{}: {wished} was to come, not {other:?}", attack.name),
        };
        assert!(fault.message.contains(&attack.why), "{}: {fault}", attack.name);
        assert!(!fault.message.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{}: {fault}", attack.name);
        world.timeout_ms = 30_000;
        assert_eq!(world.ok("other_echo", json!({})).await, json!({"text": "{}"}), "{}", attack.name);
    }
    println!("{} calls of hostile servers, each with an end", attacks.len());
    assert!(attacks.len() >= 8);
}

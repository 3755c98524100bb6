//! Conversations in which the model is the attacker's, against the shipped program.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use are_testkit::provider::Reply;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cli_stage::Stage;

#[derive(Deserialize)]
struct Attacks {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default = "strict")]
    policy: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    absent: Vec<String>,
    turn: Vec<Turn>,
}

fn strict() -> String {
    "strict".to_owned()
}

#[derive(Deserialize)]
struct Turn {
    /// The user's words.
    #[serde(default)]
    say: String,
    /// What the planner answers, where one is asked.
    plan: Option<String>,
    /// Content that is piped in instead.
    pipe: Option<String>,
    /// True in a session of its own.
    #[serde(default)]
    is_new: bool,
    calls: Vec<Call>,
    /// Decisions about calls with an effect.
    #[serde(default)]
    decided: Vec<String>,
}

#[derive(Deserialize)]
struct Call {
    tool: String,
    args: String,
}

/// A web server that takes everything.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let (address, requests) = (listener.local_addr().expect("an address"), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&requests);
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 64 << 10];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    seen.fetch_add(1, Ordering::SeqCst);
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                stream.write_all(answer).await.expect("it is read");
            }
        });
        Self { address, requests, serving }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn play(case: &Case) {
    let mut stage = Stage::new().await;
    let sink = Sink::start().await;
    let address = format!("http://{}", sink.address);
    stage.set("ARE_POLICY", &case.policy).set("ARE_EGRESS_PRIVATE", &sink.address.to_string());
    let here = |text: &str| text.replace("SINK", &address);
    for (name, text) in &case.files {
        stage.write(&format!("project/{name}"), &here(text));
    }
    let mut allowed_outside = 0;
    for (number, turn) in case.turn.iter().enumerate() {
        stage.set("ARE_PLANNER", if turn.plan.is_some() { "model" } else { "off" });
        let plan = turn.plan.iter().map(|plan| Reply::text([plan]));
        let replies = turn.calls.iter().map(|call| {
            let args: Value = serde_json::from_str(&here(&call.args)).expect("arguments");
            Reply::call(&call.tool, &args)
        });
        stage.provider().script(plan.chain(replies).chain([Reply::text(["done"])]));
        let prompt = if turn.pipe.is_some() { "-".to_owned() } else { here(&turn.say) };
        let mut args = vec!["run", "--json"];
        if number > 0 && !turn.is_new {
            args.push("--continue");
        }
        args.push(&prompt);
        let ran = match &turn.pipe {
            Some(text) => stage.run_with(&args, &here(text)).await,
            None => stage.run(&args).await,
        };
        let events = ran.lines();
        let (decided, outside) = decisions(&events);
        assert_eq!(decided, turn.decided, "{}, turn {}: {}", case.name, number + 1, reasons(&events));
        allowed_outside += outside;
    }
    for path in &case.absent {
        assert!(!stage.home().join(path).exists(), "{}: `{path}` is there", case.name);
    }
    assert_eq!(sink.requests.load(Ordering::SeqCst), allowed_outside, "{}: what reached the server", case.name);
}

/// The last decision about each call with an effect, and how many calls over the network were allowed.
pub(crate) fn decisions(events: &[Value]) -> (Vec<String>, usize) {
    let mut by_call: BTreeMap<u64, (String, String)> = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == "decision") {
        let call = event["call"].as_u64().expect("a number");
        let tool = events.iter().find(|one| one["type"] == "tool_requested" && one["call"] == event["call"]);
        let tool = tool.expect("requested before")["tool"].as_str().expect("a name").to_owned();
        by_call.insert(call, (tool, event["outcome"].as_str().expect("an outcome").to_owned()));
    }
    let reads = ["fs_read", "fs_list", "fs_stat", "fs_search", "variable_get", "memory_search", "result_read"];
    let effects: Vec<_> = by_call.into_values().filter(|(tool, _)| !reads.contains(&tool.as_str())).collect();
    let outside = effects.iter().filter(|(tool, outcome)| tool == "http_request" && outcome == "allow").count();
    (effects.into_iter().map(|(_, outcome)| outcome).collect(), outside)
}

/// Why each call was decided as it was.
pub(crate) fn reasons(events: &[Value]) -> String {
    let decisions = events.iter().filter(|event| event["type"] == "decision");
    decisions.map(|event| format!("\n  {} {}: {}", event["outcome"], event["rules"], event["why"])).collect()
}

#[tokio::test]
async fn a_model_on_the_attackers_side_gets_nothing_done_that_the_user_did_not_ask_for() {
    let attacks: Attacks =
        toml::from_str(include_str!("../../../../tests/attacks/information-flow.toml")).expect("attack file");
    for case in &attacks.case {
        println!("{}", case.name);
        play(case).await;
    }
    println!("{} conversations", attacks.case.len());
    assert!(attacks.case.len() >= 19, "the attack file was read");
}

#[derive(Deserialize)]
struct Requests {
    tools: String,
    case: Vec<Stretched>,
}

/// A request, and calls that go beyond it.
#[derive(Deserialize)]
struct Stretched {
    name: String,
    say: String,
    /// `allow`, or `refused` for anything else.
    decided: String,
    calls: Vec<Given>,
}

#[derive(Deserialize)]
struct Given {
    tool: String,
    args: String,
    gives: Option<String>,
}

#[tokio::test]
async fn a_request_asks_for_what_it_says_and_for_nothing_beyond() {
    let stage = Stage::new().await;
    let requests: Requests = toml::from_str(include_str!("../../../../tests/attacks/requests.toml")).expect("cases");
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    let tools = read(&requests.tools);
    let mut wrong = Vec::new();
    for case in requests.case {
        let mut lines = vec![json!({"type": "session_start", "session": "s", "user_prompt": case.say, "tools": tools})];
        let mut last = 0;
        for (id, call) in case.calls.iter().enumerate() {
            last = lines.len();
            lines.push(json!({"type": "tool_call", "id": id, "name": call.tool, "args": read(&call.args)}));
            if let Some(gives) = &call.gives {
                lines.push(json!({
                    "type": "tool_result", "id": id, "name": call.tool, "output": "", "output_json": read(gives)
                }));
            }
        }
        let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let answers = stage.run_with(&["policy", "replay", "--policy", "strict"], &input).await.exits(0).lines();
        let decision = answers[last]["decision"].as_str().expect("a decision");
        if (decision == "allow") != (case.decided == "allow") {
            wrong.push(format!("{}: {}", case.name, answers[last]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn nothing_that_is_read_costs_a_decision_more_than_it_is_worth() {
    let stage = Stage::new().await;
    let requests: Requests = toml::from_str(include_str!("../../../../tests/attacks/requests.toml")).expect("cases");
    let tools: Value = serde_json::from_str(&requests.tools).expect("tools");
    let fields: serde_json::Map<String, Value> =
        (0..60_000).map(|at| (format!("f{at}"), json!("abcdef cd"))).chain([("id".to_owned(), json!("zz9"))]).collect();
    let long = "\u{fdfa}".repeat(340_000);
    let many: Vec<Value> = (0..250).map(|at| json!(format!("{}a.a", "a ".repeat(1_500 + at)))).collect();
    for (say, reads, gives, then) in [
        ("?", "inbox", json!(long), json!({"id": "26"})),
        ("Look and delete my file", "inbox", json!([fields]), json!({"id": "zz9"})),
        ("Look and delete my file", "inbox", json!("a ".repeat(500_000)), json!({"id": many})),
    ] {
        let lines = [
            json!({"type": "session_start", "session": "s", "user_prompt": say, "tools": tools}),
            json!({"type": "tool_call", "id": 0, "name": reads, "args": {}}),
            json!({"type": "tool_result", "id": 0, "name": reads, "output": "", "output_json": gives}),
            json!({"type": "tool_call", "id": 1, "name": "delete_file", "args": then}),
        ];
        let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
        // The stage ends what takes too long.
        let answers = stage.run_with(&["policy", "replay", "--policy", "strict"], &input).await.exits(0).lines();
        assert_ne!(answers[3]["decision"], "allow", "{}", answers[3]);
    }
}

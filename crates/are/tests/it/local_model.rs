//! The default local model in the shipped program: whether it drives tools.
//!
//! The model's answers are the same on each run of one machine, not on all
//! machines, so what is asked of it leaves room.

use std::path::Path;

use are_core::error::Code;
use are_testkit::run::{absent, is_long, leave_to_long};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::cli_stage::Stage;

/// Prompts answered as they should be, of all 44; 37 were measured with the tools of today.
const RIGHT_MIN: usize = 37;

/// Right calls of the 22 prompts of `bench/calls`, at least: nine and nineteen of twenty.
const CALLS: [(&str, u64); 2] = [("small", 19), ("medium", 21)];

#[derive(Deserialize)]
struct Prompts {
    prompt: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Prompt {
    say: String,
    tool: Option<String>,
    #[serde(default)]
    has: Vec<String>,
}

/// A home in which the user's own model files are found.
pub(crate) async fn stage() -> Stage {
    let mut stage = Stage::new().await;
    let cache = std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| {
        Path::new(&std::env::var("HOME").expect("HOME is set")).join(".cache").display().to_string()
    });
    let project = stage.project().display().to_string();
    let wish = std::env::var("ARE_TEST_MODEL").unwrap_or_else(|_| "small".to_owned());
    stage.set("XDG_CACHE_HOME", &cache).set("ARE_LOCAL_LLM", &wish).set("ARE_WORKSPACE", &project);
    stage.unset("OPENAI_API_KEY").unset("OPENAI_BASE_URL");
    stage
}

#[tokio::test]
async fn the_local_model_reads_the_file_it_is_asked_about_and_tells_the_total() {
    let stage = stage().await;
    stage.write("project/notes.txt", include_str!("../../../../examples/hello/notes.txt"));
    let _server = stage.serve(&[]).await;

    let ran = stage.run(&["run", "--json", "Read notes.txt and tell me the total"]).await.exits(0);
    let events = ran.lines();
    let calls: Vec<&Value> = events.iter().filter(|event| event["type"] == "tool_completed").collect();
    let asked = events.iter().find(|event| event["type"] == "tool_requested").expect("a call");
    assert_eq!((asked["tool"].as_str(), asked["args"]["path"].as_str()), (Some("fs_read"), Some("notes.txt")));
    assert!(!calls.is_empty(), "the file was really read: {events:?}");
    assert!(text(&events).contains("42"), "{}", text(&events));
    assert!(!text(&events).contains("data-"), "no mark is shown: {}", text(&events));
}

#[tokio::test]
async fn an_answer_goes_on_with_its_own_words_after_a_kill() {
    let stage = stage().await;
    stage.write(".local/share/are/agents/main.md", "---\ntools: []\n---\nAnswer the user.\n");
    let mut server = stage.serve(&[]).await;
    let asks = ["run", "--json", "Tell me a long story about a fisherman and the sea, in ten sentences."];
    let mut asking = stage.command(&asks).spawn().expect("the program starts");
    let mut lines = BufReader::new(asking.stdout.take().expect("a pipe")).lines();
    let (mut events, mut kept): (Vec<Value>, _) = (Vec::new(), None);
    let mut is_cut = false;
    while let Some(line) = lines.next_line().await.expect("readable") {
        let event: Value = serde_json::from_str(&line).expect("JSON");
        let said = text(&events).len();
        if event["type"] == "model_restarted" {
            assert_eq!(event["keep_bytes"], said, "all that was said is kept");
            kept = Some(said);
        }
        events.push(event);
        if said > 40 && !is_cut {
            is_cut = true;
            server.child.kill().await.expect("it can be killed");
            server = stage.serve(&[]).await;
        }
        if kept.is_some_and(|kept| said > kept + 40) {
            break;
        }
    }
    asking.kill().await.expect("it can be stopped");
    let kept = kept.unwrap_or_else(|| panic!("{events:?}"));
    let whole = text(&events);
    assert!(!whole[kept..].contains(&whole[..30]), "it does not begin anew: {whole}");
    assert!(whole.len() > kept + 20, "{whole}");
}

#[tokio::test]
async fn two_local_models_answer_in_one_server() {
    let mut stage = stage().await;
    stage.set("ARE_LOCAL_LLM", "small").set("ARE_TIERS", "local:small,local:tests");
    // No tools, so that there is little to read: whether a model drives them is another test's.
    stage.write(".local/share/are/agents/main.md", "---\ntools: []\n---\nAnswer with one short sentence.\n");
    let _server = stage.serve(&[]).await;
    for model in ["small", "tests", "small"] {
        let wish = format!("--local-llm={model}");
        let events = stage.run(&["run", "--json", &wish, "Say hello to Ada."]).await.exits(0).lines();
        let asked = events.iter().find(|event| event["type"] == "model_requested").expect("it was asked");
        assert_eq!(asked["model"], format!("local:{model}"));
        assert!(!text(&events).trim().is_empty(), "{model}: {events:?}");
    }
    let refused = stage.run(&["run", "--local-llm=medium", "Say hello to Ada."]).await;
    assert_ne!(refused.code, Some(0), "what the server was not told to have is not loaded");
    assert!(refused.stderr.contains("there is no model `local:medium`"), "{}", refused.stderr);
}

#[tokio::test]
async fn the_small_model_drives_tools() {
    if !is_long() {
        return leave_to_long("a measurement of minutes");
    }
    let stage = stage().await;
    let _server = stage.serve(&[]).await;
    let prompts: Prompts = toml::from_str(include_str!("../data/local/prompts.toml")).expect("prompts");
    let mut right = 0;
    for prompt in &prompts.prompt {
        let ran = stage.run(&["run", "--json", &prompt.say]).await;
        let events = ran.lines();
        let call = events.iter().find(|event| event["type"] == "tool_requested");
        let verdict = is_right(prompt, call, &events);
        right += usize::from(verdict);
        let shown = call.map_or_else(|| text(&events), |call| format!("{} {}", call["tool"], call["args"]));
        println!("{} {} => {shown}", if verdict { "right" } else { "WRONG" }, prompt.say);
    }
    println!("{right} of {} right", prompts.prompt.len());
    assert!(right >= RIGHT_MIN, "{right} of {} right", prompts.prompt.len());
}

#[tokio::test]
async fn local_models_call_the_tool_that_is_asked_for_as_often_as_they_did() {
    let stage = stage().await;
    for (model, right_min) in CALLS {
        let ran = stage.run(&["bench", "--case", "calls", "--model", &format!("local:{model}"), "--json"]).await;
        if format!("{}{}", ran.stdout, ran.stderr).contains(&Code::MODEL_FILE_MISSING.to_string()) {
            absent(format!(
                "how often `{model}` calls the right tool: its file is not there (`are model pull {model}`)"
            ));
            continue;
        }
        let report = ran.exits(0).json();
        println!("{report:#}");
        let languages = ["en", "zh"].map(|language| report["languages"][language]["total"].as_u64());
        assert_eq!((report["total"].as_u64(), languages), (Some(22), [Some(12), Some(10)]));
        let right = report["right"].as_u64().expect("a number");
        assert!(right >= right_min, "{model}: {right} of 22 right, {right_min} were: {:#}", report["failures"]);
    }
}

#[tokio::test]
async fn prompts_that_are_none_and_models_that_are_not_there_are_refused() {
    let stage = Stage::new().await;
    stage.write("project/none.jsonl", "\n");
    stage.write("project/odd.jsonl", "{\"lang\": \"en\", \"say\": \"x\"}\n");
    for (file, what) in [("none.jsonl", "there is none"), ("odd.jsonl", "line 1")] {
        let refused = stage.run(&["bench", "--case", "calls", "--data", file]).await.exits(3);
        assert!(refused.stderr.contains(what) && refused.stderr.contains("ARE-0002"), "{}", refused.stderr);
    }
    for (model, code) in [("huge", Code::LOCAL_MODEL_UNKNOWN), ("small", Code::MODEL_FILE_MISSING)] {
        let refused = stage.run(&["bench", "--case", "calls", "--model", model]).await;
        assert!(refused.stderr.contains(&code.to_string()) && refused.code != Some(0), "{refused:?}");
    }
}

fn is_right(prompt: &Prompt, call: Option<&Value>, events: &[Value]) -> bool {
    match (&prompt.tool, call) {
        (None, None) => !text(events).trim().is_empty(),
        (Some(tool), Some(call)) => {
            let arguments = call["args"].to_string();
            call["tool"] == tool.as_str() && prompt.has.iter().all(|part| arguments.contains(&escaped(part)))
        }
        _ => false,
    }
}

/// The words of an answer.
pub(crate) fn text(events: &[Value]) -> String {
    events.iter().filter(|event| event["type"] == "token").filter_map(|event| event["text"].as_str()).collect()
}

/// As it stands inside a JSON string.
fn escaped(text: &str) -> String {
    Value::from(text).to_string().trim_matches('"').to_owned()
}

//! `are chat` as a person at a terminal uses it; `tests/terminal/chat.py` says what is done.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use are_testkit::provider::Reply;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::cli_stage::Stage;

/// Longer than all of it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

fn last_words(request: &Value) -> String {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said = messages.iter().rev().find(|message| message["role"] == "user");
    said.map(|message| message["content"].to_string()).unwrap_or_default()
}

#[tokio::test]
async fn chat_at_a_terminal_edits_lines_asks_about_calls_and_stops_on_interrupts() {
    let stage = Stage::new().await;
    let posts = || Reply::call("http_request", &json!({"url": "https://example.org/", "method": "POST", "body": "x"}));
    stage.provider().script([
        Reply::text(["one."]),
        Reply::text(["two."]),
        posts(),
        Reply::text(["I may not."]),
        posts(),
        Reply::silence_after(["so far\n"]),
        Reply::text(["three."]),
        Reply::text(["**four**"]),
    ]);
    let program = stage.command(&[]);
    let env: BTreeMap<_, _> = program
        .as_std()
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned())))
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new("sh");
    command.arg(root.join("scripts/python.sh")).arg("python").arg(root.join("tests/terminal/chat.py"));
    command.arg(env!("CARGO_BIN_EXE_are")).arg(stage.project()).arg(json!(env).to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let ran = timeout(PATIENCE, command.output()).await.expect("it ends").expect("it starts");
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{told}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(told.contains("the terminal works"), "{told}");
    let words: Vec<String> = stage.provider().requests().iter().map(last_words).collect();
    assert_eq!(words.len(), 8, "{words:?}");
    assert!(words[1].contains("first question"), "the editor's history brought it back: {words:?}");
    // The last four prompts of the session were: a long story, help me again, help me, first question.
    assert!(words[6].contains("first question"), "and so did the session's: {words:?}");
    assert!(!words.iter().any(|words| words.contains("never sent")), "{words:?}");
}

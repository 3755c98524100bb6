//! `are mcp serve`: MCP over standard input and output, as editors start it.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

use crate::cli_stage::Stage;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// An editor's side of the pipes.
struct Editor {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    next: u64,
}

impl Editor {
    fn start(stage: &Stage) -> Self {
        let mut child = stage.command(&["mcp", "serve"]).stdin(Stdio::piped()).spawn().expect("the program starts");
        let (input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        Self { child, input, output: BufReader::new(output).lines(), next: 1 }
    }

    async fn begin(stage: &Stage) -> Self {
        let mut editor = Self::start(stage);
        let begun = editor.ask("initialize", initialize()).await["result"].clone();
        assert_eq!(begun["protocolVersion"], "2025-11-25", "{begun}");
        editor.tell("notifications/initialized").await;
        editor
    }

    async fn write(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }

    async fn tell(&mut self, method: &str) {
        self.write(&json!({"jsonrpc": "2.0", "method": method}).to_string()).await;
    }

    /// The next message; every line of stdout is one.
    async fn next(&mut self) -> Value {
        let line = timeout(PATIENCE, self.output.next_line()).await.expect("something comes").expect("readable");
        let line = line.expect("stdout goes on");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()).await;
        loop {
            let message = self.next().await;
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }

    async fn call(&mut self, tool: &str, args: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": args})).await["result"].clone()
    }

    /// Closes the input, and waits for the end: code and stderr.
    async fn end(mut self) -> (Option<i32>, String) {
        drop(self.input);
        let mut stderr = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut stderr).await.expect("readable");
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("it ran");
        (status.code(), stderr)
    }
}

fn initialize() -> Value {
    json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "editor", "version": "1"}})
}

const SHOUT: &str =
    "/**\n * Shout.\n * @effect none\n * @retry pure\n */\nexports.loud = (text) => text.toUpperCase();\n";

#[tokio::test]
async fn an_editor_gets_the_tools_in_its_own_directory_with_or_without_a_server() {
    let stage = Stage::new().await;
    stage.write("project/notes.txt", "three plums");
    let serving = stage.serve(&[]).await;
    let mut editor = Editor::begin(&stage).await;
    let read = editor.call("fs_read", json!({"path": "notes.txt"})).await;
    assert!(read["content"][0]["text"].as_str().unwrap().contains("three plums"), "{read}");
    // What is no message does no harm.
    editor.write("not a message").await;
    editor.write("").await;
    // A tool comes, and the editor hears of it.
    stage.write("project/shout.js", SHOUT);
    stage.run(&["tool", "add", "shout.js"]).await.exits(0);
    while editor.next().await["method"] != "notifications/tools/list_changed" {}
    assert_eq!(editor.call("shout_loud", json!({"text": "hi"})).await["content"][0]["text"], "HI");
    let session = read["_meta"]["are/session"].as_str().unwrap().to_owned();
    let (code, stderr) = editor.end().await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(serving.terminate().await, Some(0));

    // No server: the engine runs in the program, and its journal is the same.
    let mut editor = Editor::begin(&stage).await;
    assert_eq!(editor.call("shout_loud", json!({"text": "ho"})).await["content"][0]["text"], "HO");
    assert_eq!(editor.end().await.0, Some(0));
    let events = stage.run(&["session", "events", &session, "--json"]).await.exits(0).lines();
    assert!(events.iter().any(|event| event["type"] == "decision" && event["outcome"] == "allow"));
    stage.run(&["session", "replay", &session]).await.exits(0);
}

#[tokio::test]
async fn skills_are_resources_and_reading_one_is_a_call() {
    let stage = Stage::new().await;
    let skill = ".local/share/are/skills/notes";
    stage.write(&format!("{skill}/SKILL.md"), "---\ndescription: Takes notes.\n---\nWrite plainly. See more.md.\n");
    stage.write(&format!("{skill}/more.md"), "More.");
    stage.write(".local/share/are/secret", "secret");
    let mut editor = Editor::start(&stage);
    let begun = editor.ask("initialize", initialize()).await["result"].clone();
    assert_eq!(begun["capabilities"]["resources"], json!({}), "{begun}");
    editor.tell("notifications/initialized").await;
    let listed = editor.ask("resources/list", json!({})).await["result"]["resources"].clone();
    let expected = json!([{"uri": "skill://notes/SKILL.md", "name": "notes", "description": "Takes notes.", "mimeType": "text/markdown"}]);
    assert_eq!(listed, expected);
    let templates = editor.ask("resources/templates/list", json!({})).await["result"]["resourceTemplates"].clone();
    assert_eq!(templates[0]["uriTemplate"], "skill://{name}/{+file}");
    for (uri, text) in [("skill://notes/SKILL.md", "Write plainly."), ("skill://notes/more.md", "More.")] {
        let read = editor.ask("resources/read", json!({"uri": uri})).await["result"]["contents"][0].clone();
        assert!(read["uri"] == uri && read["text"].as_str().unwrap().contains(text), "{read}");
    }
    for uri in [
        "skill://notes/absent.md",
        "skill://absent/SKILL.md",
        "skill://notes/../../secret",
        "skill://notes/%2e%2e/%2e%2e/secret",
        "skill://notes//etc/passwd",
        "file:///etc/passwd",
        "",
    ] {
        let answer = editor.ask("resources/read", json!({"uri": uri})).await;
        assert!(answer["error"]["data"]["code"].is_string() && answer.get("result").is_none(), "{uri}: {answer}");
    }
    assert_eq!(editor.end().await.0, Some(0));
    let key = stage.latest().await;
    let events = stage.run(&["session", "events", &key, "--json"]).await.exits(0).lines();
    let calls = events.iter().filter(|event| event["type"] == "tool_requested" && event["tool"] == "skill_read");
    assert!(calls.count() >= 2, "each reading is in the journal");
}

#[tokio::test]
async fn answers_to_what_was_asked_come_before_the_end() {
    let stage = Stage::new().await;
    let lines = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize()}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let ran = stage.run_with(&["mcp", "serve"], &text).await.exits(0);
    let ids: Vec<_> = ran.lines().iter().map(|line| line["id"].clone()).collect();
    assert_eq!(ids, [json!(1), json!(2)], "{}", ran.stdout);
    stage.run_with(&["mcp", "serve"], "").await.exits(0);
}

#[tokio::test]
async fn a_server_elsewhere_is_used_by_address_and_token_and_its_refusals_are_told() {
    let mut stage = Stage::new().await;
    let serving = stage.serve(&[]).await;
    let address = serving.ready["address"].as_str().expect("an address").to_owned();
    let made = stage.run(&["token", "create", "--scopes", "read", "--json"]).await.exits(0).json();
    stage.set("ARE_URL", &address).set("ARE_TOKEN", made["token"].as_str().expect("a token"));
    let mut editor = Editor::begin(&stage).await;
    let error = editor.ask("tools/call", json!({"name": "fs_list", "arguments": {}})).await["error"].clone();
    assert_eq!(error["data"]["code"], "ARE-0205", "{error}");
    assert_eq!(editor.end().await.0, Some(0));
    stage.set("ARE_TOKEN", "are_x_wrong");
    let mut editor = Editor::start(&stage);
    let refused = editor.ask("initialize", initialize()).await["error"].clone();
    assert_eq!(refused["data"]["code"], "ARE-0202", "{refused}");
    assert_eq!(editor.end().await.0, Some(1));
    assert_eq!(serving.terminate().await, Some(0));
    let mut editor = Editor::start(&stage);
    let refused = editor.ask("initialize", initialize()).await["error"].clone();
    assert_eq!(refused["data"]["code"], "ARE-0105", "{refused}");
    assert_eq!(editor.end().await.0, Some(5));
}

#[tokio::test]
async fn a_signal_ends_it_and_stops_what_runs() {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "observe");
    let serving = stage.serve(&[]).await;
    stage.write("project/slow.js", "/**\n * Wait.\n * @effect none\n * @retry pure\n * @timeout 60s\n */\nexports.wait = () => new Promise((done) => setTimeout(done, 50000));\n");
    stage.run(&["tool", "add", "slow.js"]).await.exits(0);
    let mut editor = Editor::begin(&stage).await;
    let call = json!({"name": "slow_wait", "arguments": {}});
    editor.write(&json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": call}).to_string()).await;
    let mut events = stage.command(&["session", "list", "--json"]);
    let session = loop {
        let listed: Value = serde_json::from_slice(&events.output().await.expect("it runs").stdout).expect("a list");
        if let Some(key) = listed["sessions"][0]["session"].as_str() {
            break key.to_owned();
        }
    };
    let pid = editor.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs");
    kill_process(pid, Signal::TERM).expect("it can be signalled");
    let status = timeout(PATIENCE, editor.child.wait()).await.expect("it ends").expect("it ran");
    assert_eq!(status.code(), Some(130));
    loop {
        let events = stage.run(&["session", "events", &session, "--json"]).await.exits(0).lines();
        if events.iter().any(|event| event["type"] == "turn_cancelled") {
            break;
        }
    }
    assert_eq!(serving.terminate().await, Some(0));
}

//! The clients of `clients/` against the built program; `tests/clients` says what each does.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use are_testkit::provider::Reply;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::campaign_power::copy;
use crate::cli_stage::{Serving, Stage};

/// Longer than all of it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// A script's word for something that is not installed.
const NOT_INSTALLED: i32 = 3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What the user said last in a request to the model.
fn words_of(request: &Value) -> String {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said = messages.iter().rev().find(|message| message["role"] == "user");
    said.and_then(|message| message["content"].as_str()).unwrap_or_default().to_owned()
}

/// Says what the user's last words tell it: `say WORDS`, `slow WORDS` (each piece when it is released), `hold WORDS` (the
/// first one, and then nothing), `again WORDS` (held like that, and whole when it is asked once more), `change`
/// (the same with other words), `call NAME` (and then what the result was), `fail`.
fn reply(asked: &Mutex<HashSet<String>>, request: &Value) -> Reply {
    let words = words_of(request);
    let is_first = asked.lock().unwrap_or_else(PoisonError::into_inner).insert(words.clone());
    let result =
        request["messages"].as_array().and_then(|messages| messages.last()).filter(|last| last["role"] == "tool");
    let result = result.map(|result| result["content"].as_str().unwrap_or_default().to_owned());
    let (verb, rest) = words.split_once(' ').unwrap_or((&words, ""));
    let first = || rest.split_inclusive(' ').take(1);
    match (verb, result) {
        ("call", Some(result)) if result.contains("ARE-0601") => Reply::text(["it was denied"]),
        ("call", Some(result)) => Reply::text([result]),
        ("call", None) => {
            let name = rest.split(' ').next().unwrap_or_default();
            Reply::call(name, &json!({"path": "made.txt", "content": "made"}))
        }
        ("slow", _) => Reply::text(rest.split_inclusive(' ')).held(),
        ("hold", _) => Reply::silence_after(first()),
        ("again", _) if is_first => Reply::silence_after(first()),
        ("change", _) if is_first => Reply::silence_after(["one "]),
        ("change", _) => Reply::text(["other ", "words"]),
        ("fail", _) => Reply::status(500),
        _ => Reply::text(rest.split_inclusive(' ')),
    }
}

/// A server and what a script may ask to be done to it.
struct Scene {
    stage: Stage,
    serving: Serving,
    moves: usize,
}

impl Scene {
    async fn new() -> Self {
        let mut stage = Stage::new().await;
        stage.set("ARE_POLICY", "ask");
        // The scripts come over a wire of their own, at another port.
        stage.set("ARE_HOSTS", "localhost");
        let asked = Mutex::default();
        stage.provider().default_reply(move |request| reply(&asked, request));
        let serving = stage.serve(&[]).await;
        Self { stage, serving, moves: 0 }
    }

    fn address(&self) -> String {
        self.serving.ready["address"].as_str().expect("an address").to_owned()
    }

    fn token(&self) -> String {
        let token = std::fs::read_to_string(self.stage.data_dir().join("admin.token")).expect("a token");
        token.trim().to_owned()
    }

    /// Does what a line in capitals asks for; the answer, if it is one.
    async fn obey(&mut self, line: &str) -> Option<String> {
        let (order, rest) = line.split_once(' ').unwrap_or((line, ""));
        let provider = self.stage.provider();
        let is_meant = |request: &&Value| words_of(request) == rest;
        match order {
            // Lets pieces of slow answers go.
            "RELEASE" => {
                provider.release(rest.parse().expect("a number"));
                Some("released".to_owned())
            }
            // How often the model was asked with these words.
            "COUNT" => Some(provider.requests().iter().filter(is_meant).count().to_string()),
            // Waits until it is.
            "AWAIT" => loop {
                let seen = provider.requests();
                if seen.iter().any(|request| is_meant(&request)) {
                    return Some("asked".to_owned());
                }
                provider.arrived(seen.len() as u64 + 1).await;
            },
            // Waits until it is told what a call came to.
            "RESULT" => loop {
                let seen = provider.requests();
                let is_told = |request: &Value| {
                    request["messages"].as_array().and_then(|all| all.last()).is_some_and(|last| last["role"] == "tool")
                };
                if seen.iter().any(|request| is_meant(&request) && is_told(request)) {
                    return Some("told".to_owned());
                }
                provider.arrived(seen.len() as u64 + 1).await;
            },
            // Kills the server and starts it again, the second time in a copy of its directory: as after a loss of power,
            // entries may be missing there.
            "KILL" | "MOVE" => {
                self.serving.child.kill().await.expect("it can be killed");
                if order == "MOVE" {
                    self.moves += 1;
                    let to = self.stage.home().join(format!("moved-{}", self.moves));
                    copy(&self.stage.data_dir(), &to);
                    self.stage.set("ARE_DATA_DIR", &to.display().to_string());
                }
                self.serving = self.stage.serve(&[]).await;
                Some(self.address())
            }
            _ => None,
        }
    }

    /// Runs a script to its end; what it printed, or nothing where it is not installed.
    async fn converse(&mut self, mut command: Command) -> Option<String> {
        command.args([self.address(), self.token()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let (mut stdin, stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let mut stderr = child.stderr.take().expect("a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let (mut told, mut wrong) = (String::new(), String::new());
        let talking = async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                told.push_str(&line);
                told.push('\n');
                if let Some(answer) = self.obey(&line).await {
                    stdin.write_all(format!("{answer}\n").as_bytes()).await.expect("it reads");
                }
            }
        };
        let ended = timeout(PATIENCE, async {
            let ((), read) = tokio::join!(talking, stderr.read_to_string(&mut wrong));
            read.expect("readable");
            child.wait().await.expect("it ends")
        })
        .await;
        println!("{told}\n{wrong}");
        let ended = ended.expect("it ends in time");
        if ended.code() == Some(NOT_INSTALLED) {
            return None;
        }
        assert!(ended.success() && told.contains("cases hold"), "{told}\n{wrong}");
        Some(told)
    }
}

#[tokio::test]
async fn the_client_for_javascript_works() {
    let mut scene = Scene::new().await;
    let mut command = Command::new("sh");
    command.arg(root().join("scripts/openai/run.sh")).arg(root().join("tests/clients/run.mjs"));
    if scene.converse(command).await.is_none() {
        return are_testkit::run::skip("Node.js is not installed; `make deps` installs it");
    }
    assert_eq!(scene.serving.terminate().await, Some(0));
}

/// A script for the Python of `make deps`, if a module of it is there.
async fn python(script: &str, module: &str) -> Option<Command> {
    let python = || {
        let mut command = Command::new("sh");
        command.arg(root().join("scripts/python.sh")).arg("python").stdin(Stdio::null()).kill_on_drop(true);
        command
    };
    let looked = python().args(["-c", &format!("import {module}")]).output().await;
    let mut command = looked.is_ok_and(|ran| ran.status.success()).then(python)?;
    command.arg(root().join("tests/clients").join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

#[tokio::test]
async fn the_client_for_python_works() {
    let Some(command) = python("run.py", "websockets").await else {
        return are_testkit::run::skip("`websockets` for Python is not installed; `make deps` installs it");
    };
    let mut scene = Scene::new().await;
    scene.converse(command).await.expect("it is installed");
    assert_eq!(scene.serving.terminate().await, Some(0));
}

#[tokio::test]
async fn the_client_for_javascript_works_in_a_page() {
    let Some(command) = python("browser.py", "playwright").await else {
        return are_testkit::run::skip("Playwright is not installed; `make deps` installs it");
    };
    let mut scene = Scene::new().await;
    scene.converse(command).await.expect("it is installed");
    assert_eq!(scene.serving.terminate().await, Some(0));
}

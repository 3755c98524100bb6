//! The official OpenAI SDKs against the built program; `tests/openai` says what each does.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use are_testkit::provider::Reply;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::cli_stage::{Serving, Stage};

/// Longer than all of it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// A script's word for an SDK that is not installed.
const NOT_INSTALLED: i32 = 3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Says what the user's last words tell it: `say WORDS`, `json TEXT`, `count` (messages of the user), `hold WORDS`
/// (until released), `see` (how many images there are, and the images), `tool NAME` and `call NAME` (and then what the
/// result was), `fail`.
fn reply(request: &Value) -> Reply {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |message: &Value| match &message["content"] {
        Value::Array(pieces) => pieces.iter().filter_map(|piece| piece["text"].as_str()).collect(),
        content => content.as_str().unwrap_or_default().to_owned(),
    };
    let said = |message: &&Value| message["role"] == "user";
    let pieces = || messages.iter().filter_map(|message| message["content"].as_array()).flatten();
    let words = messages.iter().rev().find(said).map(text).unwrap_or_default();
    let (verb, rest) = words.split_once(' ').unwrap_or((&words, ""));
    let result = messages.last().filter(|last| last["role"] == "tool").map(text);
    match (verb, result) {
        ("tool", Some(result)) => {
            let data: Value = serde_json::from_str(&result).unwrap_or_default();
            let data = data["data"].as_str().unwrap_or_default().to_owned();
            let inner = data.split_once('>').and_then(|(_, rest)| rest.rsplit_once("</")).map(|(inner, _)| inner);
            Reply::text(["it says ", inner.unwrap_or("nothing that is marked")])
        }
        ("call", Some(result)) if result.contains("ARE-0601") => Reply::text(["it was denied"]),
        ("call", Some(result)) => Reply::text([result]),
        ("tool", None) => Reply::call(rest, &json!({"place": "Basel"})),
        ("call", None) => Reply::call(rest, &json!({"path": "made.txt", "content": "made"})),
        ("count", _) => {
            let count = messages.iter().filter(said).count();
            Reply::text([format!("{count} messages of the user")])
        }
        ("hold", _) => Reply::silence_after(["one "]),
        ("see", _) => {
            let pictures: Vec<&str> = pieces().filter_map(|piece| piece["image_url"]["url"].as_str()).collect();
            Reply::text([format!("{} image: {}", pictures.len(), pictures.join(" "))])
        }
        ("fail", _) => Reply::status(500),
        ("json", _) => Reply::text([rest]),
        _ => Reply::text(rest.split_inclusive(' ')),
    }
}

async fn serve(stage: &mut Stage) -> (Serving, String, String) {
    stage.set("ARE_POLICY", "ask");
    stage.provider().default_reply(reply);
    let serving = stage.serve(&[]).await;
    let address = serving.ready["address"].as_str().expect("an address").to_owned();
    let token = std::fs::read_to_string(stage.data_dir().join("admin.token")).expect("a token");
    (serving, address, token.trim().to_owned())
}

/// Runs a script to its end and does beside it what its lines ask for; what it printed.
async fn converse(stage: &Stage, mut command: Command) -> Result<String, Option<i32>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("it starts");
    let (mut stdin, stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let mut stderr = child.stderr.take().expect("a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let mut told = String::new();
    let talking = async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            match line.as_str() {
                "ANSWER" => {
                    let waiting = stage.run(&["approval", "list", "--json"]).await.exits(0).json();
                    let one = &waiting["approvals"][0];
                    let named = format!("{}/{}", one["session"].as_str().expect("a session"), one["approval"]);
                    stage.run(&["approval", "allow", &named]).await.exits(0);
                    stdin.write_all(b"answered\n").await.expect("it reads");
                }
                "HELD" => {
                    // The turn of a request that is not streamed is seen only by its question.
                    let is_held = |request: &&Value| request["messages"].to_string().contains("hold one two");
                    loop {
                        let seen = stage.provider().requests();
                        if seen.iter().filter(is_held).count() >= 2 {
                            break;
                        }
                        stage.provider().arrived(seen.len() as u64 + 1).await;
                    }
                    stdin.write_all(b"held\n").await.expect("it reads");
                }
                _ => {}
            }
            told.push_str(&line);
            told.push('\n');
        }
    };
    let mut wrong = String::new();
    let (ended, (), _) = timeout(PATIENCE, async {
        let ((), read) = tokio::join!(talking, stderr.read_to_string(&mut wrong));
        (child.wait().await.expect("it ends"), (), read)
    })
    .await
    .expect("it ends in time");
    println!("{told}");
    if ended.code() == Some(NOT_INSTALLED) {
        return Err(ended.code());
    }
    assert!(ended.success(), "{told}\n{wrong}");
    Ok(told)
}

#[tokio::test]
async fn the_python_sdk_works() {
    let python = || {
        let mut command = Command::new("sh");
        command.arg(root().join("scripts/python.sh")).arg("python").stdin(Stdio::null()).kill_on_drop(true);
        command
    };
    if !python().args(["-c", "import openai"]).output().await.is_ok_and(|ran| ran.status.success()) {
        return are_testkit::run::skip("the OpenAI SDK for Python is not installed; `make deps` installs it");
    }
    let mut stage = Stage::new().await;
    let (serving, address, token) = serve(&mut stage).await;
    let mut command = python();
    command.arg(root().join("tests/openai/run.py")).args([&address, &token]);
    let told = converse(&stage, command).await.expect("it is installed");
    assert!(told.contains("cases hold"), "{told}");
    assert_eq!(serving.terminate().await, Some(0));
}

#[tokio::test]
async fn the_javascript_sdk_works() {
    let mut stage = Stage::new().await;
    let (serving, address, token) = serve(&mut stage).await;
    let mut command = Command::new("sh");
    command.arg(root().join("scripts/openai/run.sh")).arg(root().join("tests/openai/run.mjs"));
    command.args([&address, &token]);
    let Ok(told) = converse(&stage, command).await else {
        return are_testkit::run::skip("the OpenAI SDK for JavaScript is not installed; `make deps` installs it");
    };
    assert!(told.contains("cases hold"), "{told}");
    assert_eq!(serving.terminate().await, Some(0));
}

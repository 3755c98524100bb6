//! The local model in the shipped program, in a network that has nothing but loopback.

use std::process::Stdio;

use are_testkit::run;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::local_model::{stage, text};

/// The same command in a network namespace of its own; `setup` is a line of shell that runs in there before it.
fn cut_off(plain: &Command, setup: &str) -> Command {
    let plain = plain.as_std();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "sh", "-c", &format!("{setup} && exec \"$@\""), "sh"]);
    command.arg(plain.get_program()).args(plain.get_args());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(plain.get_current_dir().expect("a directory"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    command
}

/// Names of the network interfaces that a process has, and its routes.
fn network_of(pid: u32) -> (Vec<String>, usize) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{file}")).expect("it runs");
    let name = |line: &str| line.split_once(':').map(|(name, _)| name.trim().to_owned());
    (read("dev").lines().filter_map(name).collect(), read("route").lines().skip(1).count())
}

#[tokio::test]
async fn the_local_model_answers_where_there_is_no_network() {
    let tried = Command::new("unshare").args(["--map-root-user", "--net", "true"]).output().await;
    match tried {
        Ok(output) if output.status.success() => {}
        other => return run::skip(format!("no network namespace can be made: {other:?}")),
    }
    let stage = stage().await;
    // Few instructions and no tools, so that there is little to read before the answer, also for the agent whose
    // opening the model reads beforehand: whether it drives tools is another test's.
    stage.write(".local/share/are/agents/main.md", "---\ntools: []\n---\nAnswer with one short sentence.\n");
    // Loopback is there, because the server listens on it; the clients below do without.
    let start = stage.command(&["start", "--local-llm", "--port", "0", "--json"]);
    let mut server = cut_off(&start, "ip link set lo up").spawn().expect("unshare starts");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let line = lines.next_line().await.expect("readable").expect("a ready line");
    let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(ready["model"].as_str().is_some_and(|model| model.starts_with("local:")), "{ready}");
    let (interfaces, routes) = network_of(server.id().expect("it runs"));
    println!("the server has {interfaces:?} and {routes} routes");
    assert_eq!((interfaces, routes), (vec!["lo".to_owned()], 0));

    let ask = stage.command(&["run", "--json", "Say hello to Ada."]);
    let output = cut_off(&ask, "true").output().await.expect("unshare starts");
    let told = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{:?}\n{told}", output.status);
    let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    println!("it answered: {}", text(&events));
    assert!(!text(&events).trim().is_empty(), "{events:?}");
    assert_eq!(events.last().map(|event| event["type"].clone()), Some(Value::from("turn_completed")));
    assert!(stage.provider().requests().is_empty(), "the provider of this machine heard nothing");
}

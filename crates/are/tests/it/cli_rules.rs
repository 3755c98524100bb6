//! Rules that change under a running server, and rules that answers add, as a user sees them.

use std::os::unix::fs::PermissionsExt as _;

use are_testkit::provider::Reply;
use serde_json::{Value, json};

use crate::cli_stage::{Serving, Stage};
use crate::fixture_socket::Socket;

/// Looks that are made until something is so; each takes a process.
const LOOKS_MAX: usize = 500;

/// A model that writes one file and then says so.
fn writes(stage: &Stage) {
    stage.provider().default_reply(|request| {
        let messages = request["messages"].as_array().expect("messages");
        if messages.last().is_some_and(|message| message["role"] == "tool") {
            return Reply::text(["done"]);
        }
        Reply::call("fs_write", &json!({"path": "out.txt", "content": "x"}))
    });
}

/// What `doctor` says of the rules in force, as soon as it is what is looked for.
async fn in_force(stage: &Stage, is_it: impl Fn(&str) -> bool) -> String {
    let mut last = String::new();
    for _ in 0..LOOKS_MAX {
        let found = stage.run(&["doctor", "--json"]).await.json();
        last = of(&found, "policy in force")["text"].as_str().expect("a text").to_owned();
        if is_it(&last) {
            return last;
        }
    }
    panic!("it never came about: {last}");
}

fn of<'a>(found: &'a Value, what: &str) -> &'a Value {
    found["findings"].as_array().expect("findings").iter().find(|one| one["what"] == what).expect("that finding")
}

async fn digest(stage: &Stage) -> String {
    let shown = stage.run(&["policy", "show", "--json"]).await.exits(0).json();
    shown["digest"].as_str().expect("a digest").to_owned()
}

fn hang_up(server: &Serving) {
    let pid = server.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())).expect("it runs");
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it can be signalled");
}

/// The names of the rules that decided the turn's last call.
async fn decided(stage: &Stage) -> Vec<String> {
    let ran = stage.run(&["run", "--json", "write it"]).await;
    let decision = ran.lines().into_iter().rfind(|event| event["type"] == "decision").expect("a decision");
    serde_json::from_value(decision["rules"].clone()).expect("names")
}

#[tokio::test]
async fn changed_rules_hold_without_a_restart_and_broken_ones_leave_the_last_good_ones_in_force() {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "ask");
    writes(&stage);
    let mut server = stage.serve(&[]).await;
    assert_eq!(decided(&stage).await, ["profile:ask/contained-write"]);
    let rule = |name: &str| format!("@id(\"{name}\") forbid(principal, action, resource == Tool::\"fs_write\");\n");
    stage.write(".local/share/are/policies/mine.cedar", &rule("first"));
    let first = digest(&stage).await;
    in_force(&stage, |text| text.contains(&first)).await;
    assert_eq!(decided(&stage).await, ["first"]);

    stage.write(".local/share/are/policies/mine.cedar", "forbid(principal, action, ressource);\n");
    let refused = in_force(&stage, |text| text.contains("refused")).await;
    assert!(refused.contains(&first) && refused.contains("mine.cedar:1"), "{refused}");
    assert_eq!(stage.run(&["doctor"]).await.code, Some(1));
    assert_eq!(decided(&stage).await, ["first"], "the last good ones");

    stage.write(".local/share/are/policies/mine.cedar", &rule("second"));
    hang_up(&server);
    let second = digest(&stage).await;
    in_force(&stage, |text| text.contains(&second) && !text.contains("refused")).await;
    assert_eq!(decided(&stage).await, ["second"]);
    assert_eq!(server.child.try_wait().expect("a state"), None, "a hang-up does not end it");
    assert_eq!(server.terminate().await, Some(0));
}

/// A client that prompts, and what it is asked.
async fn asked(stage: &Stage, server: &Serving) -> (Socket, Value) {
    let token = std::fs::read_to_string(stage.data_dir().join("admin.token")).expect("a token");
    let mut socket = Socket::open(server.ready["address"].as_str().expect("an address"), token.trim()).await;
    socket.send(&json!({"type": "prompt", "content": "go on"})).await;
    let asked = socket.until("approval_requested").await;
    (socket, asked)
}

#[tokio::test]
async fn allow_always_adds_the_shown_rule_to_a_file_of_its_own_and_it_survives_a_kill() {
    let mut stage = Stage::new().await;
    let project = stage.project().display().to_string();
    stage.set("ARE_WORKSPACE", &project).set("ARE_POLICY", "ask");
    writes(&stage);
    let mut server = stage.serve(&[]).await;
    let (mut socket, asked) = asked(&stage, &server).await;
    let rule = asked["rule"].as_str().expect("a rule is offered").to_owned();
    let listed = stage.run(&["approval", "list"]).await.exits(0).stdout;
    for shown in
        ["fs_write", "out.txt", "why:", "from:", "always adds the rule:", "context.objects == [\"path=out.txt\"]"]
    {
        assert!(listed.contains(shown), "{shown}: {listed}");
    }
    stage.run(&["approval", "allow", "--always", "--session", "1"]).await.exits(2);
    let said = stage.run(&["approval", "allow", "--always", "1"]).await.exits(0).stderr;
    assert!(said.contains("always adds the rule:"), "{said}");
    let resolved = socket.until("approval_resolved").await;
    assert_eq!((&resolved["decision"], &resolved["by"]), (&json!("allow_always"), &json!("admin")));
    socket.until("turn_completed").await;
    let path = stage.data_dir().join("policies/approved.cedar");
    let kept = std::fs::read_to_string(&path).expect("a file");
    assert!(kept.contains(&rule) && kept.matches("@id(").count() == 1, "{kept}");
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    stage.run(&["policy", "check"]).await.exits(0);

    let name = rule.split('"').nth(1).expect("a name").to_owned();
    server.child.kill().await.expect("killed");
    let server = stage.serve(&[]).await;
    assert_eq!(decided(&stage).await, [name]);
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), kept);
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn where_rules_cannot_be_written_allow_always_is_not_offered_and_doctor_says_so() {
    let mut stage = Stage::new().await;
    writes(&stage);
    // A directory in which nobody makes files, whoever he is.
    stage.set("ARE_POLICY", "/proc/sys");
    let found = stage.run(&["doctor", "--json"]).await.json();
    let finding = of(&found, "allow_always");
    assert_eq!(finding["state"], "note", "{finding}");
    assert!(finding["text"].as_str().expect("a text").contains("/proc/sys"), "{finding}");
    let server = stage.serve(&[]).await;
    let (_socket, asked) = asked(&stage, &server).await;
    assert_eq!(asked["rule"], Value::Null);
    let listed = stage.run(&["approval", "list"]).await.exits(0).stdout;
    assert!(listed.contains("always is not offered"), "{listed}");
    let ran = stage.run(&["approval", "allow", "--always", "1"]).await;
    assert!(ran.stderr.contains("ARE-0607"), "{}", ran.stderr);
    stage.run(&["approval", "allow", "1"]).await.exits(0);
    assert_eq!(server.terminate().await, Some(0));
}

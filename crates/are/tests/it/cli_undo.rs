//! `are diff` and `are undo`, through the built program and its doors.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use are_testkit::provider::Reply;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::cli_stage::Stage;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// Files of the undo that is killed in the middle: enough that its end is not near when the first is back.
const FILES: usize = 60;

async fn stage() -> Stage {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "observe");
    stage
}

/// A turn that makes these calls, one answer each.
async fn turn(stage: &Stage, how: &[&str], calls: &[(&str, Value)]) {
    let replies = calls.iter().map(|(name, args)| Reply::call(name, args)).chain([Reply::text(["done"])]);
    stage.provider().script(replies);
    stage.run(&[&["run"], how, &["go"]].concat()).await.exits(0);
}

fn read(stage: &Stage, name: &str) -> String {
    std::fs::read_to_string(stage.project().join(name)).unwrap_or_else(|error| format!("{error}"))
}

fn mode(stage: &Stage, name: &str) -> u32 {
    stage.project().join(name).metadata().expect("metadata").permissions().mode() & 0o777
}

fn checkpoints(stage: &Stage) -> Vec<String> {
    let entries = std::fs::read_dir(stage.data_dir().join("checkpoints")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn a_turn_is_shown_undone_and_done_again() {
    let stage = stage().await;
    stage.write("project/notes.txt", "one\ntwo\nthree\n");
    std::fs::set_permissions(stage.project().join("notes.txt"), std::fs::Permissions::from_mode(0o640)).expect("mode");
    stage.write("project/gone.txt", "gone\n");
    stage.write("project/photo.raw", "\0\u{1}\u{2}");
    turn(
        &stage,
        &[],
        &[
            ("fs_edit", json!({"path": "notes.txt", "old": "two", "new": "2"})),
            ("fs_write", json!({"path": "sub/new.txt", "content": "hello\n"})),
            ("fs_delete", json!({"path": "gone.txt"})),
            ("fs_move", json!({"from": "photo.raw", "to": "sub/photo.raw"})),
        ],
    )
    .await;
    let key = stage.latest().await;

    let shown = stage.run(&["diff"]).await.exits(0).stdout;
    let expected = "--- a/notes.txt\n+++ b/notes.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n\
        made directory sub\n\
        --- /dev/null\n+++ b/sub/new.txt\n@@ -0,0 +1 @@\n+hello\n\
        --- a/gone.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n\
        moved photo.raw -> sub/photo.raw\n";
    assert_eq!(shown, expected);
    let listed = stage.run(&["diff", "--json", &format!("{key}/1")]).await.exits(0).json();
    let paths: Vec<_> = listed["files"].as_array().expect("files").iter().map(|file| &file["path"]).collect();
    assert_eq!(paths, ["notes.txt", "sub", "sub/new.txt", "gone.txt", "sub/photo.raw"]);
    assert_eq!(listed["files"][0]["before"]["mode"], 0o640);

    let refused = stage.run(&["undo", "1"]).await.exits(2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    let would = stage.run(&["undo", "1", "--dry-run"]).await.exits(0).stdout;
    assert_eq!(would.lines().filter(|line| line.starts_with("would put back ")).count(), 5, "{would}");
    assert_eq!(read(&stage, "notes.txt"), "one\n2\nthree\n");

    let undone = stage.run(&["undo", &format!("{key}/1"), "--yes", "--json"]).await.exits(0).json();
    assert_eq!((&undone["turn"], &undone["by"]), (&json!(1), &json!(2)));
    assert_eq!((read(&stage, "notes.txt"), mode(&stage, "notes.txt")), ("one\ntwo\nthree\n".to_owned(), 0o640));
    assert_eq!(read(&stage, "gone.txt"), "gone\n");
    assert_eq!(read(&stage, "photo.raw"), "\0\u{1}\u{2}");
    assert!(!stage.project().join("sub").exists());
    let again = stage.run(&["undo", "1", "--yes"]).await.exits(0);
    assert!(again.stderr.contains("nothing to undo"), "{}", again.stderr);

    // The undo is the latest turn now, and a change like another.
    let shown = stage.run(&["diff"]).await.exits(0).stdout;
    assert!(shown.contains("-2\n+two\n") && shown.contains("moved sub/photo.raw -> photo.raw"), "{shown}");
    stage.run(&["undo", "2", "--yes"]).await.exits(0);
    assert_eq!(
        (read(&stage, "notes.txt"), read(&stage, "sub/new.txt")),
        ("one\n2\nthree\n".to_owned(), "hello\n".to_owned())
    );

    // The model is told of it, and all of it is played again to the same records.
    turn(&stage, &["--continue"], &[]).await;
    let report = stage.run(&["session", "replay", &key, "--json"]).await.exits(0).json();
    assert_eq!(report["difference"], Value::Null, "{report}");
    assert_eq!(report["verified_only"], 0);
    let events = stage.run(&["session", "events", "--json", &key]).await.exits(0).lines();
    let of_undo: Vec<_> = events.iter().filter(|event| event["turn"] == 2).map(|event| &event["type"]).collect();
    let expected = ["turn_started", "tool_requested", "decision", "tool_started", "tool_completed", "turn_completed"];
    assert_eq!(of_undo, expected);
}

#[tokio::test]
async fn a_conflict_changes_nothing_and_is_a_typed_error() {
    let stage = stage().await;
    stage.write("project/a.txt", "a");
    stage.write("project/b.txt", "b");
    turn(
        &stage,
        &[],
        &[
            ("fs_write", json!({"path": "a.txt", "content": "A"})),
            ("fs_write", json!({"path": "b.txt", "content": "B"})),
        ],
    )
    .await;
    // Another session is in the way as well as the user is.
    turn(&stage, &[], &[("fs_write", json!({"path": "a.txt", "content": "of another"}))]).await;
    let sessions = stage.run(&["session", "list", "--json"]).await.exits(0).json();
    let first = sessions["sessions"][1]["session"].as_str().expect("a key").to_owned();
    for way in [&["--yes"][..], &["--dry-run"]] {
        let refused = stage.run(&[&["undo", &format!("{first}/1")], way].concat()).await.exits(1);
        assert!(
            refused.stderr.starts_with("error[ARE-0515]") && refused.stderr.contains("`a.txt`"),
            "{}",
            refused.stderr
        );
        assert_eq!((read(&stage, "a.txt"), read(&stage, "b.txt")), ("of another".to_owned(), "B".to_owned()));
    }
    stage.run(&["undo", "1", "--yes"]).await.exits(0);
    stage.run(&["undo", &format!("{first}/1"), "--yes"]).await.exits(0);
    assert_eq!((read(&stage, "a.txt"), read(&stage, "b.txt")), ("a".to_owned(), "b".to_owned()));
    let unknown = stage.run(&["undo", &format!("{first}/9"), "--yes"]).await.exits(1);
    assert!(unknown.stderr.starts_with("error[ARE-0209]"), "{}", unknown.stderr);
}

#[tokio::test]
async fn an_undo_that_is_killed_in_the_middle_is_finished_by_the_next_start() {
    let mut stage = stage().await;
    for n in 0..FILES {
        stage.write(&format!("project/f{n}"), &format!("old {n}"));
    }
    let calls: Vec<_> = (0..FILES).map(|n| ("fs_write", json!({"path": format!("f{n}"), "content": "new"}))).collect();
    stage.provider().script([Reply::calls(calls), Reply::text(["done"])]);
    stage.run(&["run", "go"]).await.exits(0);
    assert_eq!(read(&stage, &format!("f{}", FILES - 1)), "new");
    let workspace = stage.project().display().to_string();
    stage.set("ARE_WORKSPACE", &workspace);
    let mut serving = stage.serve(&[]).await;
    let client = stage.command(&["undo", "1", "--yes"]).spawn().expect("the program starts");
    // The newest is put back first.
    let newest = format!("f{}", FILES - 1);
    let first_is_back = async {
        while read(&stage, &newest) == "new" {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, first_is_back).await.expect("the first in time");
    serving.child.kill().await.expect("killed");
    drop(client);
    let back = (0..FILES).filter(|n| read(&stage, &format!("f{n}")) != "new").count();
    println!("killed when {back} of {FILES} files were back");
    let serving = stage.serve(&[]).await;
    let all_are_back = async {
        while read(&stage, "f0") == "new" {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, all_are_back).await.expect("the last in time");
    let done = stage.run(&["undo", "1", "--yes"]).await;
    assert!(done.code == Some(0) || done.stderr.contains("ARE-0303"), "{}", done.stderr);
    for n in 0..FILES {
        assert_eq!(read(&stage, &format!("f{n}")), format!("old {n}"));
    }
    assert_eq!(serving.terminate().await, Some(0));
    // The whole undo, also the part before the kill, is one change that can be undone.
    stage.run(&["undo", "2", "--yes"]).await.exits(0);
    assert!((0..FILES).all(|n| read(&stage, &format!("f{n}")) == "new"));
    let key = stage.latest().await;
    let report = stage.run(&["session", "replay", &key, "--json"]).await.exits(0).json();
    assert_eq!(report["difference"], Value::Null, "{report}");
}

#[tokio::test]
async fn a_fork_can_undo_what_it_inherited_and_a_deleted_session_leaves_nothing() {
    let stage = stage().await;
    stage.write("project/a.txt", "a");
    turn(&stage, &[], &[("fs_write", json!({"path": "a.txt", "content": "A"}))]).await;
    let key = stage.latest().await;
    assert_eq!(checkpoints(&stage), [key.as_str()]);
    let fork = stage.run(&["session", "fork", &key]).await.exits(0).stdout.trim().to_owned();
    stage.run(&["undo", &format!("{fork}/1"), "--yes"]).await.exits(0);
    assert_eq!(read(&stage, "a.txt"), "a");
    let refused = stage.run(&["undo", &format!("{key}/1"), "--yes"]).await.exits(0);
    assert!(refused.stderr.contains("nothing to undo"), "{}", refused.stderr);
    stage.run(&["undo", &format!("{fork}/2"), "--yes"]).await.exits(0);
    assert_eq!(read(&stage, "a.txt"), "A");
    stage.run(&["session", "delete", &key, "--yes"]).await.exits(0);
    assert_eq!(checkpoints(&stage), [fork.as_str()]);
    // What the fork inherited went with its parent; its own turns are its own.
    let gone = stage.run(&["undo", &format!("{fork}/1"), "--yes"]).await.exits(1);
    assert!(gone.stderr.starts_with("error[ARE-0209]"), "{}", gone.stderr);
    stage.run(&["session", "delete", &fork, "--yes"]).await.exits(0);
    assert_eq!(checkpoints(&stage), Vec::<String>::new());
    // What a crash between record and erasure left is swept by the next start.
    std::fs::create_dir(stage.data_dir().join("checkpoints").join(&fork)).expect("mkdir");
    let serving = stage.serve(&[]).await;
    let swept = async {
        while !checkpoints(&stage).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, swept).await.expect("swept in time");
    assert_eq!(serving.terminate().await, Some(0));
}

#[tokio::test]
async fn only_the_owner_undoes_and_only_what_the_rules_let_him() {
    let mut stage = stage().await;
    stage.write("project/a.txt", "a");
    turn(&stage, &[], &[("fs_write", json!({"path": "a.txt", "content": "A"}))]).await;
    let key = stage.latest().await;
    stage.set("ARE_POLICY", "strict");
    let serving = stage.serve(&[]).await;
    let address = serving.ready["address"].as_str().expect("an address").to_owned();
    let admin = std::fs::read_to_string(stage.data_dir().join("admin.token")).expect("the admin token");
    post(&address, admin.trim(), "/api/accounts", &json!({"account": "bob"})).await;
    let made = |body: Value| {
        let (address, admin) = (address.clone(), admin.trim().to_owned());
        async move { post(&address, &admin, "/api/tokens", &body).await.1 }
    };
    let other = made(json!({"account": "bob", "scopes": ["read", "prompt", "approve"]})).await;
    let other = other["token"].as_str().expect("a token").to_owned();
    let path = format!("/api/sessions/{key}/undo");
    let (status, refused) = post(&address, &other, &path, &json!({"turn": 1})).await;
    assert_eq!((status, &refused["code"]), (404, &json!("ARE-0301")), "{refused}");
    // `strict` asks, and this token may not answer.
    let prompter = made(json!({"scopes": ["read", "prompt"]})).await;
    let prompter = prompter["token"].as_str().expect("a token").to_owned();
    let (status, refused) = post(&address, &prompter, &path, &json!({"turn": 1})).await;
    assert_eq!((status, &refused["code"]), (403, &json!("ARE-0601")), "{refused}");
    let reader = made(json!({"scopes": ["read"]})).await;
    let reader = reader["token"].as_str().expect("a token").to_owned();
    let (status, refused) = post(&address, &reader, &path, &json!({"turn": 1})).await;
    assert_eq!((status, &refused["code"]), (403, &json!("ARE-0205")), "{refused}");
    assert_eq!(read(&stage, "a.txt"), "A");
    let (status, undone) = post(&address, admin.trim(), &path, &json!({"turn": 1})).await;
    assert_eq!((status, &undone["paths"]), (200, &json!(["a.txt"])), "{undone}");
    assert_eq!(read(&stage, "a.txt"), "a");
    assert_eq!(serving.terminate().await, Some(0));
    // A rule about a path holds for what is put back there.
    stage.write(
        ".local/share/are/policies/keep.cedar",
        "@id(\"keep\") forbid(principal, action, resource) when { context has object && context.object == \"a.txt\" };\n",
    );
    let denied = stage.run(&["undo", &format!("{key}/3"), "--yes"]).await;
    assert_eq!(read(&stage, "a.txt"), "a", "{}", denied.stderr);
    assert!(denied.stderr.starts_with("error[ARE-0601]"), "{}", denied.stderr);
}

#[tokio::test]
async fn no_undo_begins_while_a_turn_runs() {
    let mut stage = stage().await;
    stage.write("project/a.txt", "a");
    turn(&stage, &[], &[("fs_write", json!({"path": "a.txt", "content": "A"}))]).await;
    let workspace = stage.project().display().to_string();
    stage.set("ARE_WORKSPACE", &workspace);
    let serving = stage.serve(&[]).await;
    stage.provider().script([Reply::text(["slow"]).held()]);
    let running = stage.command(&["run", "--continue", "talk"]).spawn().expect("the program starts");
    timeout(PATIENCE, stage.provider().arrived(3)).await.expect("the model is asked");
    let refused = stage.run(&["undo", "1", "--yes"]).await.exits(1);
    assert!(refused.stderr.starts_with("error[ARE-0303]"), "{}", refused.stderr);
    assert_eq!(read(&stage, "a.txt"), "A");
    stage.provider().release(8);
    assert!(running.wait_with_output().await.expect("it ends").status.success());
    stage.run(&["undo", "1", "--yes"]).await.exits(0);
    assert_eq!(read(&stage, "a.txt"), "a");
    assert_eq!(serving.terminate().await, Some(0));
}

/// A request with a token; status and JSON.
async fn post(address: &str, token: &str, path: &str, body: &Value) -> (u16, Value) {
    let host = address.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(host).await.expect("a connection");
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").expect("text");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let text = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    (status, serde_json::from_str(text).unwrap_or(Value::Null))
}

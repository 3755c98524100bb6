//! What must not get out of the shipped program, and what must not be exceeded, as seen at its doors.

use std::path::{Path, PathBuf};

use are_testkit::provider::Reply;
use serde_json::{Value, json};

use crate::cli_stage::Stage;
use crate::fixture_socket::Socket;

/// The provider's key, as the stage sets it.
const KEY: &str = "sk-stage-secret";

/// Every file below a directory.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("readable").flatten();
    entries
        .flat_map(|entry| match entry.file_type().expect("a type") {
            kind if kind.is_dir() => files_below(&entry.path()),
            kind if kind.is_file() => vec![entry.path()],
            _ => Vec::new(),
        })
        .collect()
}

/// Files below a directory that hold one of the secrets.
fn files_with(dir: &Path, secrets: &[String]) -> Vec<PathBuf> {
    let mut files = files_below(dir);
    assert!(!files.is_empty(), "{}", dir.display());
    files.retain(|path| {
        let bytes = std::fs::read(path).expect("readable");
        secrets.iter().any(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()))
    });
    files
}

/// A model that repeats the secrets: as arguments and variables first, then in words, cut into pieces of every size.
fn blab(request: &Value, secrets: &[String]) -> Reply {
    let messages = request["messages"].as_array().expect("messages");
    let asked = messages.iter().rposition(|message| message["role"] == "user").expect("a prompt");
    if messages[asked..].iter().any(|message| message["role"] == "tool") {
        let told = secrets.iter().enumerate().flat_map(|(index, secret)| {
            let size = index + 2;
            let pieces = secret.as_bytes().chunks(size).map(|piece| String::from_utf8_lossy(piece).into_owned());
            ["here ".to_owned()].into_iter().chain(pieces).chain([" it is. ".to_owned()]).collect::<Vec<_>>()
        });
        return Reply::text(told.collect::<Vec<_>>());
    }
    let calls = secrets.iter().flat_map(|secret| {
        [
            ("variable_set", json!({"name": "kept", "value": secret})),
            ("fs_write", json!({"path": "leak.txt", "content": format!("the key: {secret}")})),
            ("fs_read", json!({"path": format!("{secret}.txt")})),
        ]
    });
    Reply::calls(calls.collect::<Vec<_>>())
}

#[tokio::test]
async fn no_secret_of_the_program_leaves_it_through_what_a_model_says_calls_or_keeps() {
    let mut stage = Stage::new().await;
    let project = stage.project().display().to_string();
    stage.set("ARE_POLICY", "observe").set("ARE_WORKSPACE", &project);
    let server = stage.serve(&[]).await;
    let token_path = stage.data_dir().join("admin.token");
    let admin = std::fs::read_to_string(&token_path).expect("a token").trim().to_owned();
    let secrets = vec![KEY.to_owned(), admin.clone()];
    let told = secrets.clone();
    stage.provider().default_reply(move |request| blab(request, &told));

    // What a client sees while it happens, and one that comes afterwards.
    let mut socket = Socket::open(server.ready["address"].as_str().expect("an address"), &admin).await;
    let content = format!("what about {KEY}?");
    socket.send(&json!({"type": "prompt", "content": content})).await;
    let seen = socket.collect("turn_completed").await;
    let session = seen[0]["session"].as_str().expect("a key").to_owned();
    let words: String = seen.iter().filter_map(|frame| frame.as_array()?.last()?.as_str()).collect();
    assert_eq!(words.matches("[secret removed]").count(), 2, "both stood in the answer: {words}");
    let calls = seen.iter().filter(|frame| frame["type"] == "tool_completed").count();
    assert!(calls >= 2, "{seen:?}");
    let mut shown = vec![("frames", format!("{words}{seen:?}"))];
    for (what, args) in [
        ("plain answer", vec!["run", "--session", &session, "once more"]),
        ("list", vec!["session", "list", "--json"]),
        ("session", vec!["session", "show", "--json", &session]),
        ("events", vec!["session", "events", "--json", &session]),
        ("export", vec!["session", "export", &session]),
        ("variables", vec!["var", "list", "--json", "--session", &session]),
        ("replay", vec!["session", "replay", "--json", &session]),
        ("configuration", vec!["config", "show", "--json"]),
    ] {
        let ran = stage.run(&args).await.exits(0);
        assert!(!ran.stdout.is_empty(), "{what}");
        shown.push((what, ran.stdout + &ran.stderr));
    }
    // What the model is sent: neither what it said nor what the user said comes back to it.
    shown.push(("requests", format!("{:?}", stage.provider().requests())));
    for (what, text) in &shown {
        for secret in &secrets {
            assert!(!text.contains(secret), "{what}: {text}");
        }
    }
    let disk = |_| {
        let mut found = files_with(&stage.data_dir(), &secrets);
        found.retain(|path| *path != token_path);
        found.extend(files_with(&stage.project(), &secrets));
        found
    };
    assert_eq!(disk("while it runs"), [] as [PathBuf; 0]);
    assert_eq!(server.terminate().await, Some(0));
    assert_eq!(disk("afterwards"), [] as [PathBuf; 0]);
    assert_eq!(files_with(&stage.data_dir(), &[admin]), [token_path], "the search finds what is there");
    println!("{} outputs and all files of data directory and workspace searched", shown.len());
}

#[tokio::test]
async fn an_agents_budget_holds_at_the_door_over_all_turns_of_a_session() {
    let stage = Stage::new().await;
    stage.write(".local/share/are/agents/small.md", "---\nbudget: {calls: 2}\n---\nBe brief.\n");
    stage.write(".local/share/are/agents/poor.md", "---\nbudget: {tokens: 5}\n---\nBe brief.\n");
    stage.write("project/notes.txt", "total 42\n");
    stage.provider().default_reply(|request| {
        let messages = request["messages"].as_array().expect("messages");
        if messages.last().is_some_and(|message| message["role"] == "tool") {
            return Reply::text(["done"]);
        }
        Reply::call("fs_read", &json!({"path": "notes.txt"}))
    });
    let mut refused = Vec::new();
    let mut session: Option<String> = None;
    for _ in 0..4 {
        let mut args = vec!["run", "--json"];
        match &session {
            Some(session) => args.extend(["--session", session.as_str()]),
            None => args.extend(["--agent", "small"]),
        }
        args.push("read it");
        let events = stage.run(&args).await.exits(0).lines();
        refused.extend(
            events.iter().filter(|event| event["type"] == "tool_failed").map(|event| event["error"]["code"].clone()),
        );
        let latest = stage.latest().await;
        assert!(session.as_ref().is_none_or(|session| *session == latest), "one session");
        session = Some(latest);
    }
    assert_eq!(refused, ["ARE-0707", "ARE-0707"], "two calls, and no third in whatever turn");
    let asked = stage.provider().requests().len();
    let ran = stage.run(&["run", "--agent", "poor", "read it"]).await.exits(1);
    assert!(ran.stderr.contains("ARE-0707"), "{}", ran.stderr);
    assert_eq!(stage.provider().requests().len(), asked, "refused before the provider is asked");
}

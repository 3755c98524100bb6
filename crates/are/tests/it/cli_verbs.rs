//! The verbs about what is stored, each through the built program.

use are_testkit::provider::Reply;
use serde_json::{Value, json};

use crate::cli_stage::Stage;

async fn with_a_session() -> (Stage, String) {
    let stage = Stage::new().await;
    stage.write("project/notes.txt", "apples 12\n");
    stage.provider().script([Reply::call("fs_read", &json!({"path": "notes.txt"})), Reply::text(["twelve"])]);
    stage.run(&["run", "how many apples?"]).await.exits(0);
    let key = stage.latest().await;
    (stage, key)
}

#[tokio::test]
async fn a_session_is_listed_with_its_first_words() {
    let (stage, key) = with_a_session().await;
    let listed = stage.run(&["session", "list"]).await.exits(0).stdout;
    assert!(listed.contains(&key) && listed.contains("how many apples?"), "{listed}");
    stage.run(&["session", "show", "00000000-0000-7000-8000-000000000000"]).await.exits(1);
    let refused = stage.run(&["session", "show", "no-key"]).await.exits(1);
    assert!(refused.stderr.starts_with("error[ARE-0301]"), "{}", refused.stderr);
}

#[tokio::test]
async fn a_sessions_events_have_no_gap() {
    let (stage, key) = with_a_session().await;
    let events = stage.run(&["session", "events", "--json", &key]).await.exits(0).lines();
    let mut next = 1;
    for event in &events {
        assert_eq!(event["first_seq"].as_u64().or(event["seq"].as_u64()), Some(next), "{event}");
        next = event["seq"].as_u64().unwrap_or_default() + 1;
    }
    let some = stage.run(&["session", "events", "--json", "--after", "3", &key]).await.exits(0).lines();
    assert_eq!(some.len(), events.len() - 3);
}

#[tokio::test]
async fn a_replay_regenerates_every_derived_record() {
    let (stage, key) = with_a_session().await;
    let report = stage.run(&["session", "replay", "--json", &key]).await.exits(0).json();
    assert_eq!(report["difference"], Value::Null);
    assert!(report["derived"].as_u64() > Some(0), "{report}");
}

#[tokio::test]
async fn a_replay_under_another_rule_names_the_first_record_that_differs() {
    let (stage, key) = with_a_session().await;
    stage.write(
        "rules/no-reading.cedar",
        "@id(\"no-reading\")\nforbid(principal, action, resource == Tool::\"fs_read\");\n",
    );
    let rules = stage.home().join("rules").display().to_string();
    let ran = stage.run(&["session", "replay", "--json", "--policy", &rules, &key]).await.exits(6);
    assert_eq!(ran.json()["difference"]["action"], "decision");
    let told = stage.run(&["session", "replay", "--policy", &rules, &key]).await.exits(6);
    assert!(told.stderr.starts_with("error[ARE-0312]"), "{}", told.stderr);
}

#[tokio::test]
async fn an_export_holds_every_entry_and_goes_into_a_new_file_only() {
    let (stage, key) = with_a_session().await;
    let lines = stage.run(&["session", "export", &key]).await.exits(0).lines();
    let shown = stage.run(&["session", "show", "--json", &key]).await.exits(0).json();
    assert_eq!(lines.last().map(|line| line["seq"].clone()), Some(shown["seq"].clone()));
    stage.run(&["session", "export", "--output", "out.jsonl", &key]).await.exits(0);
    let written = std::fs::read_to_string(stage.project().join("out.jsonl")).expect("written");
    assert_eq!(written.lines().count(), lines.len());
    stage.run(&["session", "export", "--output", "out.jsonl", &key]).await.exits(1);
}

#[tokio::test]
async fn a_fork_knows_what_was_said_and_the_original_does_not_change() {
    let (stage, key) = with_a_session().await;
    let fork = stage.run(&["session", "fork", &key]).await.exits(0).stdout.trim().to_owned();
    assert_ne!(fork, key);
    stage.run(&["run", "--session", &fork, "and now?"]).await.exits(0);
    let last = stage.provider().requests().pop().expect("a request").to_string();
    assert!(last.contains("how many apples?"), "{last}");
    let shown = stage.run(&["session", "show", "--json", &key]).await.exits(0).json();
    assert_eq!(shown["turns"], 1);
}

#[tokio::test]
async fn deleting_asks_and_erases_what_was_said() {
    let (stage, key) = with_a_session().await;
    let dry = stage.run(&["session", "delete", "--dry-run", &key]).await.exits(0);
    assert!(dry.stdout.starts_with("would erase session"), "{}", dry.stdout);
    stage.run(&["session", "delete", &key]).await.exits(2);
    stage.run(&["session", "delete", "--yes", &key]).await.exits(0);
    let listed = stage.run(&["session", "list", "--json"]).await.exits(0).json();
    assert_eq!(listed["sessions"], json!([]));
}

#[tokio::test]
async fn variables_are_set_read_listed_and_deleted() {
    let stage = Stage::new().await;
    stage.run(&["var", "set", "limit", "42"]).await.exits(0);
    stage.run(&["var", "set", "name", "Ada Lovelace"]).await.exits(0);
    assert_eq!(stage.run(&["var", "get", "limit"]).await.exits(0).stdout, "42\n");
    assert_eq!(stage.run(&["var", "get", "name"]).await.exits(0).stdout, "\"Ada Lovelace\"\n");
    let listed = stage.run(&["var", "list", "--json"]).await.exits(0).json();
    assert_eq!(listed["variables"].as_array().map(Vec::len), Some(2));
    stage.run(&["var", "delete", "limit"]).await.exits(0);
    stage.run(&["var", "get", "limit"]).await.exits(1);
}

#[tokio::test]
async fn tools_are_listed_and_shown() {
    let stage = Stage::new().await;
    let listed = stage.run(&["tool", "list"]).await.exits(0).stdout;
    assert!(listed.contains("fs_read") && listed.contains("http_request"), "{listed}");
    let shown = stage.run(&["tool", "show", "fs_read"]).await.exits(0).stdout;
    assert!(shown.contains("effect: none"), "{shown}");
    stage.run(&["tool", "show", "no_such_tool"]).await.exits(1);
}

#[tokio::test]
async fn a_token_works_until_it_is_revoked() {
    let mut stage = Stage::new().await;
    let serving = stage.serve(&[]).await;
    let made = stage.run(&["token", "create", "--json", "--label", "ci", "--scopes", "read"]).await.exits(0).json();
    let (id, token) =
        (made["id"].as_str().expect("an id").to_owned(), made["token"].as_str().expect("a token").to_owned());
    let listed = stage.run(&["token", "list"]).await.exits(0).stdout;
    assert!(listed.contains(&id) && !listed.contains(&token), "{listed}");

    let address = serving.ready["address"].as_str().expect("an address").to_owned();
    stage.set("ARE_URL", &address).set("ARE_TOKEN", &token);
    stage.run(&["session", "list"]).await.exits(0);
    let refused = stage.run(&["var", "set", "x", "1"]).await.exits(1);
    assert!(refused.stderr.starts_with("error[ARE-0205]"), "{}", refused.stderr);
    stage.unset("ARE_URL").unset("ARE_TOKEN");
    stage.run(&["token", "revoke", &id]).await.exits(0);
    stage.set("ARE_URL", &address).set("ARE_TOKEN", &token);
    let refused = stage.run(&["session", "list"]).await.exits(1);
    assert!(refused.stderr.starts_with("error[ARE-0202]"), "{}", refused.stderr);
    stage.unset("ARE_URL").unset("ARE_TOKEN");
    assert_eq!(serving.terminate().await, Some(0));
}

#[tokio::test]
async fn an_approval_given_elsewhere_lets_the_call_run() {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "ask");
    let serving = stage.serve(&[]).await;
    stage
        .provider()
        .script([Reply::call("fs_write", &json!({"path": "out.txt", "content": "hello"})), Reply::text(["written"])]);
    let token = std::fs::read_to_string(stage.data_dir().join("admin.token")).expect("the admin token");
    let address = serving.ready["address"].as_str().expect("an address");
    let mut client = crate::fixture_socket::Socket::open(address, token.trim()).await;
    client.send(&json!({"type": "prompt", "content": "write it"})).await;
    let asked = client.until("approval_requested").await;
    let listed = stage.run(&["approval", "list"]).await.exits(0).stdout;
    assert!(listed.contains(r#"{"content":"hello","path":"out.txt"}"#), "{listed}");
    stage.run(&["approval", "allow", &asked["approval"].to_string()]).await.exits(0);
    client.until("turn_completed").await;
    let again = stage.run(&["approval", "deny", &asked["approval"].to_string()]).await.exits(1);
    assert!(again.stderr.starts_with("error[ARE-0602]"), "{}", again.stderr);
    assert_eq!(serving.terminate().await, Some(0));
}

#[tokio::test]
async fn rule_files_are_checked_with_file_and_line() {
    let stage = Stage::new().await;
    stage.write("rules/good.cedar", "forbid(principal, action, resource == Tool::\"fs_write\");\n");
    let rules = stage.home().join("rules").display().to_string();
    stage.run(&["policy", "check", &rules]).await.exits(0);
    stage.write("rules/bad.cedar", "\nforbid(principal, action, resource\n");
    let found = stage.run(&["policy", "check", &rules]).await.exits(3);
    assert!(found.stdout.contains("bad.cedar:"), "{}", found.stdout);
    stage.run(&["policy", "show"]).await.exits(0);
}

#[tokio::test]
async fn models_are_listed_with_size_and_state_and_an_unknown_one_is_refused() {
    let stage = Stage::new().await;
    let listed = stage.run(&["model", "list"]).await.exits(0).stdout;
    assert!(listed.contains("small") && listed.contains("missing") && listed.contains("492 MB"), "{listed}");
    let refused = stage.run(&["model", "pull", "smal"]).await.exits(3);
    assert!(refused.stderr.contains("`small`") && refused.stderr.contains("`medium`"), "{}", refused.stderr);
    stage.run(&["model", "remove", "small"]).await.exits(0);
}

#[tokio::test]
async fn an_artifact_is_told_listed_written_and_gone_with_its_session() {
    let stage = Stage::new().await;
    let picture = [0x89, b'P', b'N', b'G', 0, 0xff];
    std::fs::write(stage.project().join("chart.png"), picture).expect("a picture");
    stage.provider().script([
        Reply::call("artifact_save", &json!({"path": "chart.png"})),
        Reply::call("artifact_save", &json!({"content": "# Sales", "name": "sales.md"})),
        Reply::text(["Here they are."]),
    ]);
    let told = stage.run(&["run", "Show me the chart and a note"]).await.exits(0);
    assert!(told.stderr.contains("artifact chart.png (image/png, 6 bytes, "), "{}", told.stderr);

    let key = stage.latest().await;
    let listed = stage.run(&["session", "artifact", &key, "--json"]).await.exits(0).json();
    let [chart, note] = listed["artifacts"].as_array().expect("a list").as_slice() else { panic!("{listed}") };
    // A file is anybody's word; a text of the model has only what it had in view.
    assert_eq!(chart["labels"]["integrity"], "untrusted");
    assert_eq!(
        (&note["name"], &note["media_type"], &note["bytes"]),
        (&json!("sales.md"), &json!("text/markdown"), &json!(7))
    );
    let digest = chart["digest"].as_str().expect("a digest");
    // The file can change afterwards; the artifact does not.
    std::fs::write(stage.project().join("chart.png"), "other").expect("a file");
    let path = stage.home().join("saved.png");
    let output = path.to_str().expect("a path");
    stage.run(&["session", "artifact", &key, &digest[..12], "--output", output]).await.exits(0);
    assert_eq!(std::fs::read(&path).expect("what was saved"), picture);
    stage.run(&["session", "artifact", &key, &digest[..12], "--output", output]).await.exits(1);
    let unknown = stage.run(&["session", "artifact", &key, "zz"]).await.exits(3);
    assert!(unknown.stderr.contains("no artifact begins with `zz`"), "{}", unknown.stderr);

    stage.run(&["session", "delete", &key, "--yes"]).await.exits(0);
    stage.run(&["session", "artifact", &key, digest]).await.exits(1);
}

#[tokio::test]
async fn what_is_remembered_is_found_in_another_session_and_forgotten_when_asked() {
    let stage = Stage::new().await;
    let id = stage.run(&["memory", "add", "Deploys happen on Tuesdays"]).await.exits(0).stdout.trim().to_owned();
    stage.provider().script([
        Reply::call("memory_add", &json!({"text": "Ada prefers tabs"})),
        Reply::text(["I will remember that"]),
        Reply::call("memory_search", &json!({"query": "when do we deploy?"})),
        Reply::text(["on Tuesdays"]),
    ]);
    stage.run(&["run", "Remember that Ada prefers tabs"]).await.exits(0);
    let events = stage.run(&["run", "--json", "When do we deploy?"]).await.exits(0).lines();
    let found = events.iter().find(|event| event["type"] == "tool_completed").expect("a search");
    assert_eq!(found["result"]["memories"][0]["text"], "Deploys happen on Tuesdays");

    let listed = stage.run(&["memory", "list", "--json"]).await.exits(0).json();
    let texts: Vec<_> = listed["memories"].as_array().expect("a list").iter().map(|one| &one["text"]).collect();
    assert_eq!(texts, ["Ada prefers tabs", "Deploys happen on Tuesdays"]);
    let shown = stage.run(&["memory", "search", "tab or space"]).await.exits(0).stdout;
    assert!(shown.contains("Ada prefers tabs") && !shown.contains("Tuesdays"), "{shown}");

    stage.run(&["memory", "delete", &id]).await.exits(0);
    let again = stage.run(&["memory", "delete", &id]).await.exits(1);
    assert!(again.stderr.starts_with("error[ARE-0510]"), "{}", again.stderr);
    let left = stage.run(&["memory", "search", "--json", "deploys"]).await.exits(0).json();
    assert_eq!(left["memories"], json!([]));
    let refused = stage.run(&["memory", "add", &"x".repeat(8193)]).await.exits(1);
    assert!(refused.stderr.starts_with("error[ARE-0709]"), "{}", refused.stderr);
}

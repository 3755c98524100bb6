//! `are audit …` through the built program: what a user and a stranger do with it.

use are_testkit::provider::Reply;
use serde_json::{Value, json};

use crate::cli_stage::Stage;

async fn with_a_turn() -> Stage {
    let stage = Stage::new().await;
    stage.write("project/notes.txt", "apples 12\n");
    stage.provider().script([Reply::call("fs_read", &json!({"path": "notes.txt"})), Reply::text(["twelve"])]);
    stage.run(&["run", "how many apples?"]).await.exits(0);
    stage
}

fn read(stage: &Stage, name: &str) -> String {
    std::fs::read_to_string(stage.project().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[tokio::test]
async fn a_log_is_exported_and_a_stranger_verifies_it_and_finds_each_change() {
    let stage = with_a_turn().await;
    stage.run(&["audit", "export", "--out", "log.jsonl", "--checkpoint", "log.note"]).await.exits(0);
    let keys = stage.run(&["audit", "vkey"]).await.exits(0).stdout;
    stage.write("project/log.vkey", &keys);
    let verify = ["audit", "verify", "--log", "log.jsonl", "--checkpoint", "log.note", "--key", "log.vkey"];
    let report = stage.run(&[&verify[..], &["--json"]].concat()).await.exits(0).json();
    let log = read(&stage, "log.jsonl");
    assert_eq!(report["records"], json!(log.lines().count()));
    assert_eq!((&report["covered"], &report["sessions"]), (&report["records"], &json!(2)));

    // Every line says who, when, where and what.
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        for field in ["timestamp", "account", "agent_id", "session", "seq", "prev", "action"] {
            assert!(!line[field].is_null(), "{field} is missing: {line}");
        }
    }
    let of = |action: &str| -> Value {
        let found = log.lines().find(|line| line.contains(&format!("\"action\":\"{action}\"")));
        serde_json::from_str(found.unwrap_or_else(|| panic!("no {action}"))).expect("JSON")
    };
    let decision = of("decision");
    for field in ["turn", "decision", "rules", "permissions", "labels"] {
        assert!(!decision[field].is_null(), "{field}: {decision}");
    }
    assert_eq!((&of("tool_requested")["resource"], &of("tool_completed")["result"]), (&json!("fs_read"), &json!("ok")));
    assert!(!log.contains("notes.txt") && !log.contains("how many apples"), "words and paths are payloads");
    assert_eq!(of("signing_key_made")["vkey"], json!(keys.trim()));

    for (name, changed) in [
        ("an edited line", log.replacen("fs_read", "fs_list", 1)),
        ("a removed line", log.lines().skip(1).map(|line| format!("{line}\n")).collect()),
        ("a cut end", log.lines().take(3).map(|line| format!("{line}\n")).collect()),
    ] {
        stage.write("project/log.jsonl", &changed);
        let refused = stage.run(&verify).await.exits(6);
        assert!(
            refused.stderr.starts_with("error[ARE-0811]") && refused.stderr.contains("leaf "),
            "{name}: {}",
            refused.stderr
        );
    }
    stage.write("project/log.jsonl", &log);
    stage.write("project/log.vkey", "log.test+00000000+AAAA");
    let refused = stage.run(&verify).await.exits(3);
    assert!(refused.stderr.starts_with("error[ARE-0812]"), "{}", refused.stderr);
}

#[tokio::test]
async fn a_running_server_verifies_proves_and_rotates() {
    let stage = with_a_turn().await;
    let server = stage.serve(&[]).await;
    let old = stage.run(&["audit", "checkpoint"]).await.exits(0).stdout;
    stage.write("project/old.note", &old);
    stage.write("project/old.vkey", &stage.run(&["audit", "vkey"]).await.exits(0).stdout);
    let session = stage.latest().await;
    let prove = ["audit", "prove", "--session", &session, "--seq", "1", "--record", "record.json"];
    stage.write("project/record.proof", &stage.run(&prove).await.exits(0).stdout);
    let check = ["audit", "verify", "--proof", "record.proof", "--key", "old.vkey", "--record", "record.json"];
    stage.run(&check).await.exits(0);
    stage.write("project/record.json", &read(&stage, "record.json").replacen("main", "mane", 1));
    stage.run(&check).await.exits(6);
    stage.run(&["audit", "prove", "--leaf", "99999"]).await.exits(1);
    stage.run(&["audit", "prove"]).await.exits(2);

    stage.provider().script([Reply::text(["two"])]);
    stage.run(&["run", "again"]).await.exits(0);
    stage.write("project/growth.proof", &stage.run(&["audit", "prove", "--from", "old.note"]).await.exits(0).stdout);
    let grew = ["audit", "verify", "--proof", "growth.proof", "--key", "old.vkey", "--checkpoint", "old.note"];
    stage.run(&grew).await.exits(0);

    stage.run(&["audit", "rotate-key"]).await.exits(2);
    let dry = stage.run(&["audit", "rotate-key", "--dry-run"]).await.exits(0).stdout;
    assert!(dry.contains("signed by both"), "{dry}");
    let keys = stage.run(&["audit", "rotate-key", "--yes"]).await.exits(0).stdout;
    assert_eq!(keys.lines().nth(1), Some(read(&stage, "old.vkey").trim()));
    let report = stage.run(&["audit", "verify", "--checkpoint", "old.note", "--json"]).await.exits(0).json();
    assert_eq!((&report["covered"], &report["erased"]), (&report["records"], &json!(0)));

    stage.run(&["session", "delete", &session, "--yes"]).await.exits(0);
    let told = stage.run(&["audit", "verify", "--checkpoint", "old.note"]).await.exits(0).stdout;
    assert!(told.contains("were erased") && !told.contains(" 0 were erased"), "{told}");
    let all = stage.run(&["audit", "checkpoint", "--all"]).await.exits(0).stdout;
    assert!(all.matches('\u{2014}').count() >= 3, "{all}");
    // The whole log and every checkpoint, old key and new, by somebody who has only files.
    stage.run(&["audit", "export", "--out", "log.jsonl", "--checkpoint", "new.note"]).await.exits(0);
    stage.write("project/all.note", &all);
    stage.write("project/all.vkey", &keys);
    let verify = ["audit", "verify", "--log", "log.jsonl", "--key", "all.vkey"];
    stage.run(&[&verify[..], &["--checkpoint", "all.note", "--checkpoint", "new.note"]].concat()).await.exits(0);
    assert_eq!(server.terminate().await, Some(0));
    // A log in two pieces, the second with what came meanwhile.
    let count = read(&stage, "log.jsonl").lines().count().to_string();
    stage
        .run(&["audit", "export", "--after", &count, "--out", "more.jsonl", "--checkpoint", "last.note"])
        .await
        .exits(0);
    stage.run(&[&verify[..], &["--log", "more.jsonl", "--checkpoint", "last.note"]].concat()).await.exits(0);
    let fault = stage.run(&[&verify[..], &["--checkpoint", "last.note"]].concat()).await.exits(6);
    assert!(fault.stderr.contains("cut short or rolled back"), "{}", fault.stderr);
}

#[tokio::test]
async fn where_auditing_is_off_nothing_is_signed_and_the_journal_is_kept_for_later() {
    let mut stage = Stage::new().await;
    stage.set("OPENCLAW_AUDIT_LOG", "false");
    stage.provider().script([Reply::text(["one"])]);
    stage.run(&["run", "hello"]).await.exits(0);
    for verb in [&["audit", "checkpoint"][..], &["audit", "export"], &["audit", "verify"], &["audit", "vkey"]] {
        let refused = stage.run(verb).await.exits(3);
        assert!(refused.stderr.starts_with("error[ARE-0810]"), "{}", refused.stderr);
    }
    assert!(!stage.data_dir().join("audit.key").exists());
    let server = stage.serve(&[]).await;
    assert!(server.ready["off"].to_string().contains("audit log"), "{}", server.ready);
    server.terminate().await;
    stage.unset("OPENCLAW_AUDIT_LOG");
    stage.set("ARE_AUDIT_NAME", "are.example.org/audit");
    let report = stage.run(&["audit", "verify", "--json"]).await.exits(0).json();
    assert!(report["records"].as_u64() > Some(8), "what came before is in the log too: {report}");
    let note = stage.run(&["audit", "checkpoint"]).await.exits(0).stdout;
    assert!(note.starts_with("are.example.org/audit\n"), "{note}");
    stage.set("ARE_AUDIT_NAME", "no name");
    let refused = stage.run(&["audit", "checkpoint"]).await.exits(3);
    assert!(refused.stderr.starts_with("error[ARE-0002]"), "{}", refused.stderr);
}

#[tokio::test]
async fn what_was_streamed_is_what_the_records_bind() {
    let stage = Stage::new().await;
    let command = json!({"shell": "printf one; printf two >&2"});
    stage
        .provider()
        .script([Reply::call("process_run", &command), Reply::text(["twelve ", "apples ", "are ", "there"])]);
    stage.run(&["run", "how many apples?"]).await.exits(0);
    let report = stage.run(&["audit", "verify", "--json"]).await.exits(0).json();
    assert_eq!(report["framed"], json!(2), "an answer and a command's output: {report}");
    let database = stage.data_dir().join("are.db");
    for (name, change) in [
        (
            "an edited word",
            "UPDATE journal SET bytes = CAST(replace(CAST(bytes AS TEXT), 'apples', 'apricot') AS BLOB) WHERE class = 1",
        ),
        (
            "an edited output",
            "UPDATE journal SET bytes = CAST(replace(CAST(bytes AS TEXT), 'two', 'ten') AS BLOB) WHERE class = 1",
        ),
        ("a word taken out", "DELETE FROM journal WHERE entry = (SELECT max(entry) FROM journal WHERE class = 1)"),
        ("all gone", "DELETE FROM journal WHERE class = 1"),
        ("no JSON", "UPDATE journal SET bytes = x'00' WHERE entry = (SELECT min(entry) FROM journal WHERE class = 1)"),
    ] {
        let whole = std::fs::read(&database).expect("the database");
        let connection = rusqlite::Connection::open(&database).expect("the database");
        assert!(connection.execute(change, []).expect("a change") > 0, "{name}");
        drop(connection);
        let refused = stage.run(&["audit", "verify"]).await.exits(6);
        let says =
            refused.stderr.starts_with("error[ARE-0811]") && refused.stderr.contains("that it closes are not those");
        assert!(says && refused.stderr.contains("record "), "{name}: {}", refused.stderr);
        std::fs::write(&database, whole).expect("the database");
    }
    stage.run(&["audit", "verify"]).await.exits(0);
}

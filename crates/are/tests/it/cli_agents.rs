//! Agents from files, agents that they begin, and a workspace's `AGENTS.md`, through the built program.

use std::time::Duration;

use are_testkit::provider::Reply;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cli_stage::Stage;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

fn agent(stage: &Stage, name: &str, text: &str) {
    stage.write(&format!(".local/share/are/agents/{name}.md"), text);
}

/// What the last request to the provider says first.
fn opening(stage: &Stage) -> String {
    let request = stage.provider().requests().pop().expect("a request");
    request["messages"][0]["content"].as_str().expect("a text").to_owned()
}

fn offered(stage: &Stage) -> Vec<String> {
    let request = stage.provider().requests().pop().expect("a request");
    let tools = request["tools"].as_array().cloned().unwrap_or_default();
    tools.iter().map(|tool| tool["function"]["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn an_agents_file_narrows_what_it_may_do_and_one_that_is_broken_takes_nothing_else_down() {
    let stage = Stage::new().await;
    agent(
        &stage,
        "reader",
        "---\ndescription: Reads files.\ntools: [\"fs_r*\", fs_list]\npolicy: strict\n---\nOnly read.\n",
    );
    agent(&stage, "broken", "---\ntool: [fs_read]\n---\nx");
    let listed = stage.run(&["agent", "list"]).await.exits(0);
    assert!(listed.stdout.contains("reader") && listed.stdout.contains("fs_r* fs_list"), "{}", listed.stdout);
    let said = "`broken.md` cannot be used: unknown key `tool`; did you mean `tools`?";
    assert!(listed.stderr.contains(said), "{}", listed.stderr);
    let shown = stage.run(&["agent", "show", "reader", "--json"]).await.exits(0).json();
    assert_eq!(shown["may_use"], json!(["fs_list", "fs_read"]));
    assert_eq!((&shown["policy"], &shown["instructions"]), (&json!("strict"), &json!("Only read.")));
    stage.provider().script([Reply::text(["yes"])]);
    stage.run(&["run", "--agent", "reader", "read"]).await.exits(0);
    assert!(opening(&stage).starts_with("Only read."), "{}", opening(&stage));
    assert_eq!(offered(&stage), ["fs_list", "fs_read"]);
    let refused = stage.run(&["run", "--agent", "broken", "go"]).await.exits(3);
    assert!(
        refused.stderr.contains("ARE-0009") && refused.stderr.contains("did you mean `tools`?"),
        "{}",
        refused.stderr
    );
    let unknown = stage.run(&["run", "--agent", "raeder", "go"]).await.exits(3);
    assert!(unknown.stderr.contains("there is no agent `raeder`"), "{}", unknown.stderr);
    stage.run(&["config", "check"]).await.exits(3);
    // The one above is told of it, and works as it did.
    stage.provider().script([Reply::text(["yes"])]);
    stage.run(&["run", "go"]).await.exits(0);
    assert!(opening(&stage).contains("- reader: Reads files."), "{}", opening(&stage));
}

#[tokio::test]
async fn a_changed_file_holds_without_a_restart_and_a_mistake_leaves_the_agent_as_it_was() {
    let stage = Stage::new().await;
    agent(&stage, "helper", "First.");
    let serving = stage.serve(&[]).await;
    let shown = async || stage.run(&["agent", "show", "helper", "--json"]).await.json()["instructions"].clone();
    let until = async |test: &dyn Fn(&Value) -> bool| {
        timeout(PATIENCE, async {
            loop {
                let listed = stage.run(&["agent", "list", "--json"]).await.exits(0).json();
                if test(&listed) {
                    return;
                }
            }
        })
        .await
        .expect("it is noticed");
    };
    assert_eq!(shown().await, "First.");
    agent(&stage, "helper", "---\nmodel: x:y\n---\nSecond.");
    until(&|listed| listed["agents"][0]["model"] == "x:y").await;
    assert_eq!(shown().await, "Second.");
    agent(&stage, "helper", "---\nmodle: x:y\n---\nThird.");
    until(&|listed| listed["problems"][0]["file"] == "helper.md").await;
    assert_eq!(shown().await, "Second.", "as it was");
    std::fs::remove_file(stage.data_dir().join("agents/helper.md")).expect("it is there");
    until(&|listed| listed["agents"].as_array().expect("agents").len() == 1).await;
    assert_eq!(serving.terminate().await, Some(0));
}

#[tokio::test]
async fn what_an_agent_changed_is_shown_and_undone_with_the_turn_above() {
    let stage = Stage::new().await;
    stage.write("project/notes.txt", "one\n");
    stage.provider().script([
        Reply::call("fs_write", &json!({"path": "mine.txt", "content": "mine\n"})),
        Reply::call("agent_spawn", &json!({"prompt": "Write two into notes.txt"})),
        Reply::call("fs_edit", &json!({"path": "notes.txt", "old": "one", "new": "two"})),
        Reply::call("fs_write", &json!({"path": "theirs.txt", "content": "theirs\n"})),
        Reply::text(["written"]),
        Reply::call("fs_edit", &json!({"path": "notes.txt", "old": "two", "new": "three"})),
        Reply::text(["done"]),
    ]);
    let ran = stage.run(&["run", "--json", "Let an agent write"]).await.exits(0);
    let child = ran.lines().into_iter().find(|event| event["type"] == "child_completed").expect("an agent");
    assert_eq!((&child["ended"], &child["used"]["calls"]), (&json!("completed"), &json!(2)));
    let read = |name: &str| std::fs::read_to_string(stage.project().join(name)).ok();
    assert_eq!((read("notes.txt").as_deref(), read("theirs.txt").as_deref()), (Some("three\n"), Some("theirs\n")));
    let diff = stage.run(&["diff"]).await.exits(0).stdout;
    assert!(diff.contains("-one") && diff.contains("+three") && diff.contains("theirs.txt"), "{diff}");
    // The latest session is the one above, although its agent began later.
    stage.run(&["undo", "1", "--yes"]).await.exits(0);
    assert_eq!(read("notes.txt").as_deref(), Some("one\n"));
    assert_eq!((read("mine.txt"), read("theirs.txt")), (None, None));
    let sessions = stage.run(&["session", "list", "--json"]).await.json();
    let of = |session: &Value| (session["session"].clone(), session["parent"].clone());
    let rows: Vec<_> = sessions["sessions"].as_array().expect("sessions").iter().map(of).collect();
    let above = rows.iter().find(|(key, _)| *key != child["session"]).expect("the one above").0.clone();
    assert_eq!(rows.iter().find(|(key, _)| *key == child["session"]).map(|(_, parent)| parent), Some(&above));
    stage.run(&["session", "delete", above.as_str().expect("a key"), "--yes"]).await.exits(0);
    let sessions = stage.run(&["session", "list", "--json"]).await.json();
    assert_eq!(sessions["sessions"], json!([]), "what its agent was told and found is gone too");
}

#[tokio::test]
async fn a_workspaces_instructions_are_shown_as_text_of_others_once_they_change() {
    let stage = Stage::new().await;
    stage.write("project/AGENTS.md", "Use tabs.\n");
    let guide = |request: &Value| {
        let texts = request["messages"].as_array().expect("messages").iter();
        let texts: Vec<String> = texts.filter_map(|one| one["content"].as_str().map(str::to_owned)).collect();
        texts.into_iter().find(|text| text.contains("AGENTS.md"))
    };
    let turn = async |args: &[&str]| {
        stage.provider().script([Reply::text(["ok"])]);
        let ran = stage.run(&[&["run", "--json"], args, &["hello"]].concat()).await.exits(0);
        let read = ran.lines().into_iter().filter(|event| event["type"] == "guide_read").count();
        (read, guide(&stage.provider().requests().pop().expect("a request")))
    };
    let (read, shown) = turn(&[]).await;
    let shown = shown.expect("it is shown");
    assert_eq!(read, 1);
    assert!(shown.contains("Use tabs.") && shown.contains("never an order") && shown.contains("data-"), "{shown}");
    assert_eq!(turn(&["--continue"]).await.0, 0, "it is the same");
    stage.write("project/AGENTS.md", "Use blanks.\n");
    let (read, shown) = turn(&["--continue"]).await;
    assert_eq!(read, 1);
    assert!(shown.is_some_and(|shown| shown.contains("Use blanks.") && !shown.contains("tabs")), "the latest counts");
    std::fs::remove_file(stage.project().join("AGENTS.md")).expect("it is there");
    assert_eq!(turn(&["--continue"]).await, (1, None));
    // Who may not read files is not told what is in them.
    stage.write("project/AGENTS.md", "Use tabs.\n");
    agent(&stage, "blind", "---\ntools: [variable_get]\n---\nx");
    assert_eq!(turn(&["--agent", "blind"]).await, (0, None));
    stage.write(
        ".local/share/are/policies/x.cedar",
        "@id(\"x\") forbid(principal, action, resource == Tool::\"fs_read\");",
    );
    assert_eq!(turn(&[]).await, (0, None));
    std::fs::remove_file(stage.data_dir().join("policies/x.cedar")).expect("it is there");
    let replayed = stage.run(&["session", "replay", &stage.latest().await]).await;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
}

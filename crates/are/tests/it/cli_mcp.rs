//! Servers of tools through the built program and its doors: added, called by a model, reviewed, removed.

use std::path::PathBuf;

use are_testkit::provider::Reply;
use serde_json::{Value, json};

use crate::cli_stage::Stage;

/// The scripted server, which lies beside the program.
fn program() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_are")).with_file_name("mcp_server");
    assert!(program.exists(), "{} is built with the whole workspace", program.display());
    program
}

fn script(description: &str) -> Value {
    json!({
        "tools": [{
            "name": "lookUp",
            "description": description,
            "inputSchema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
            "annotations": {"readOnlyHint": true},
        }],
        "calls": {"lookUp": {"do": "echo"}},
    })
}

/// `are mcp add dict …`, as it is typed.
fn adding<'a>(script: &'a str, program: &'a str, dir: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["mcp", "add", "dict", "--read", dir, "--env", "DICT_KEY=hush-hush-hush"];
    args.extend(more);
    args.extend(["--", program, script]);
    args
}

#[tokio::test]
async fn a_server_is_added_its_tool_called_in_a_turn_reviewed_and_removed() {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "observe");
    let (program, script) = (program().display().to_string(), script("Looks up \u{1b}[31ma word.").to_string());
    let dir = PathBuf::from(&program).parent().expect("a directory").display().to_string();
    let looked = stage.run(&adding(&script, &program, &dir, &["--dry-run"])).await.exits(0);
    for shown in ["dict_look_up", "network_read", "readOnly=true", "is told DICT_KEY", "has no network", "new"] {
        assert!(looked.stdout.contains(shown), "{shown}: {}", looked.stdout);
    }
    assert!(!looked.stdout.contains("hush") && !looked.stdout.contains('\u{1b}'), "{}", looked.stdout);
    let refused = stage.run(&adding(&script, &program, &dir, &[])).await.exits(2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert_eq!(stage.run(&["mcp", "list"]).await.exits(0).stdout, "", "nobody consented yet");
    let added = stage.run(&adding(&script, &program, &dir, &["--yes", "--json"])).await.exits(0).json();
    assert_eq!(added["added"]["tools"], json!(["dict_look_up"]), "{added}");

    stage.provider().script([Reply::call("dict_look_up", &json!({"word": "owl"})), Reply::text(["It is a bird."])]);
    let events = stage.run(&["run", "--json", "look up the word owl"]).await.exits(0).lines();
    let done = events.iter().find(|event| event["type"] == "tool_completed").expect("a result");
    assert_eq!(done["result"], json!({"text": "{\"word\":\"owl\"}"}));
    let decision = events.iter().position(|event| event["type"] == "decision").expect("a decision");
    let started = events.iter().position(|event| event["type"] == "tool_started").expect("a start");
    assert!(decision < started, "decided before it is done");

    let listed = stage.run(&["mcp", "list", "--json"]).await.exits(0).json();
    assert_eq!(
        (&listed["servers"][0]["name"], &listed["servers"][0]["tools"]),
        (&json!("dict"), &json!(["dict_look_up"]))
    );
    let one = stage.run(&["mcp", "list", "dict"]).await.exits(0);
    assert!(one.stdout.contains("tool dict_look_up") && !one.stdout.contains("hush"), "{}", one.stdout);
    let reviewed = stage.run(&["mcp", "review", "dict", "--yes", "--json"]).await.exits(0).json();
    assert_eq!(reviewed["examined"]["tools"][0]["state"], "same", "{reviewed}");
    let system = stage.run(&["tool", "list"]).await.exits(0);
    assert!(system.stdout.contains("dict.mcp"), "{}", system.stdout);
    stage.run(&["mcp", "remove", "dict"]).await.exits(0);
    stage.run(&["mcp", "list", "dict"]).await.exits(1);
    stage.run(&["mcp", "remove", "dict"]).await.exits(1);
}

#[tokio::test]
async fn the_usual_json_and_the_configuration_are_read_as_they_are() {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "observe");
    let (program, script) = (program().display().to_string(), script("Looks up a word.").to_string());
    let dir = PathBuf::from(&program).parent().expect("a directory").display().to_string();
    let entry = json!({"command": program, "args": [script], "reads": [dir], "autoApprove": ["lookUp"]});
    let servers =
        json!({"mcpServers": {"good": entry, "off": {"disabled": true}, "bad": {"command": "/no/such/program"}}});
    let ran = stage.run_with(&["mcp", "add", "--from", "-", "--yes"], &servers.to_string()).await.exits(5);
    assert!(ran.stderr.contains("`bad` is not added") && ran.stderr.contains("ARE-0540"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`off` is disabled"), "{}", ran.stderr);
    assert!(ran.stdout.contains("`autoApprove` means nothing here"), "{}", ran.stdout);
    let called = stage.run(&["tool", "call", "good_look_up", r#"{"word":"x"}"#, "--json"]).await.exits(0).json();
    assert_eq!(called["labels"][""]["integrity"], "untrusted", "{called}");

    let table = format!("[mcp.named]\ncommand = {program:?}\nargs = [{script:?}]\nreads = [{dir:?}]\n");
    stage.write(".config/are/are.toml", &table);
    let listed = stage.run(&["mcp", "list"]).await.exits(0);
    assert!(listed.stdout.contains("not added"), "{}", listed.stdout);
    stage.run(&["mcp", "add", "named", "--yes"]).await.exits(0);
    assert!(stage.run(&["tool", "list"]).await.exits(0).stdout.contains("named_look_up"));
    stage.write(".config/are/are.toml", "[mcp.named]\ncomand = \"x\"\n");
    let refused = stage.run(&["mcp", "list"]).await.exits(3);
    assert!(refused.stderr.contains("mcp.named.comand") && refused.stderr.contains("command"), "{}", refused.stderr);
}

#[tokio::test]
async fn a_server_is_given_a_stored_secret_that_its_owner_bound_to_it_and_no_other() {
    const VALUE: &str = "s3cr3t-of-the-dictionary";
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "observe");
    let calls = json!({"look_up": {"do": "variables"}});
    let mut script = script("Looks up a word.");
    script["calls"] = calls;
    script["tools"][0]["name"] = "look_up".into();
    let (program, script) = (program().display().to_string(), script.to_string());
    let dir = PathBuf::from(&program).parent().expect("a directory").display().to_string();
    let add = ["mcp", "add", "my-dict", "--read", &dir, "--env", "PLACE=secret:dict", "--yes", "--", &program, &script];
    let unknown = stage.run(&add).await.exits(1);
    assert!(unknown.stderr.contains("ARE-0802"), "{}", unknown.stderr);
    stage.run_with(&["secret", "set", "dict", "--env", "another"], VALUE).await.exits(0);
    let unbound = stage.run(&add).await.exits(1);
    assert!(unbound.stderr.contains("ARE-0804") && !unbound.stderr.contains(VALUE), "{}", unbound.stderr);
    stage.run_with(&["secret", "set", "dict", "--env", "my_dict"], VALUE).await.exits(0);
    let added = stage.run(&add).await.exits(0);
    assert!(added.stdout.contains("is told PLACE with the secret `dict`"), "{}", added.stdout);
    let file = std::fs::read_to_string(stage.data_dir().join("tools/my-dict.mcp")).expect("the server's file");
    assert!(file.contains("secret:dict") && !file.contains(VALUE), "{file}");

    let called = stage.run(&["tool", "call", "my_dict_look_up", r#"{"word":"x"}"#, "--json"]).await.exits(0);
    assert!(called.stdout.contains("PLACE=") && !called.stdout.contains("PLACE=secret:"), "{}", called.stdout);
    assert!(!called.stdout.contains(VALUE), "what the server repeats is cut out: {}", called.stdout);
    let records = stage.run(&["audit", "export"]).await.exits(0);
    assert!(records.stdout.contains("secret_used") && !records.stdout.contains(VALUE), "each connection is recorded");
    // What the owner takes back is not given at the next start.
    stage.run(&["secret", "delete", "dict"]).await.exits(0);
    let gone = stage.run(&["tool", "call", "my_dict_look_up", r#"{"word":"x"}"#]).await.exits(1);
    assert!(gone.stderr.contains("ARE-0802") || gone.stdout.contains("ARE-0802"), "{}{}", gone.stdout, gone.stderr);
}

#[tokio::test]
async fn a_consent_counts_only_for_what_was_shown_and_only_from_an_administrator() {
    let are = crate::fixture::Fixture::start().await;
    let (_, reader) = are.token(&["read", "prompt"]).await;
    for (method, path) in [
        ("GET", "/api/mcp"),
        ("POST", "/api/mcp/x/examine"),
        ("POST", "/api/mcp/x"),
        ("DELETE", "/api/mcp/x"),
        ("POST", "/api/mcp/x/login"),
        ("POST", "/api/mcp/x/login/finish"),
        ("DELETE", "/api/mcp/x/login"),
    ] {
        let (status, said) = are.api_as(&reader, method, path, Some(json!({}))).await;
        assert_eq!(status, 403, "{method} {path}: {said}");
    }
    let (status, said) = are.api("POST", "/api/mcp/x", Some(json!({"digest": "0".repeat(64)}))).await;
    assert_eq!((status, &said["code"]), (503, &json!("ARE-0213")), "tools without files have no servers: {said}");
    are.end().await;
}

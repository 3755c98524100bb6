//! Settings, starting and stopping, and who finds which server.

use std::os::unix::fs::PermissionsExt as _;

use are_testkit::provider::Reply;
use serde_json::json;

use crate::cli_stage::Stage;

#[tokio::test]
async fn an_unknown_key_in_the_file_is_exit_three_with_a_suggestion() {
    let stage = Stage::new().await;
    stage.write(".config/are/are.toml", "polcy = \"ask\"\n");
    let ran = stage.run(&["config", "check"]).await.exits(3);
    let path = stage.home().join(".config/are/are.toml");
    assert_eq!(
        ran.stderr,
        format!(
            "error[ARE-0001]: unknown key `polcy` in `{}`\n  why:  a misspelt key would otherwise be a protection that is \
             silently off\n  help: did you mean `policy`?\n",
            path.display()
        )
    );
}

#[tokio::test]
async fn an_unknown_variable_is_a_warning() {
    let mut stage = Stage::new().await;
    stage.set("ARE_POLCY", "ask");
    let ran = stage.run(&["config", "check"]).await.exits(0);
    assert!(ran.stderr.contains("did you mean `ARE_POLICY`?"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_planner_that_is_none_or_that_could_narrow_nothing_is_exit_three() {
    let mut stage = Stage::new().await;
    stage.set("ARE_PLANNER", "modle");
    let ran = stage.run(&["config", "check"]).await.exits(3);
    let expected = "error[ARE-0002]: `modle` is not a planner for `planner` (from environment ARE_PLANNER)\n  why:  the \
                    value cannot be read as what the setting needs\n  help: write `off` or `model`\n";
    assert_eq!(ran.stderr, expected);
    stage.set("ARE_PLANNER", "model").set("ARE_PROMPT_INJECTION_DEFENSE", "false");
    let ran = stage.run(&["run", "hello"]).await.exits(3);
    assert!(ran.stderr.starts_with("error[ARE-0007]: `planner = model`"), "{}", ran.stderr);
    stage.set("ARE_PLANNER", "off");
    let shown = stage.run(&["config", "show", "--origin", "--json"]).await.exits(0).json();
    assert_eq!(shown["planner"], json!({"value": "off", "origin": "environment ARE_PLANNER"}));
}

#[tokio::test]
async fn every_setting_says_where_it_came_from() {
    let mut stage = Stage::new().await;
    stage.write(".config/are/are.toml", "policy = \"ask\"\n");
    stage.set("OPENCLAW_TZ", "Asia/Tokyo").unset("ARE_TZ");
    let shown = stage.run(&["config", "show", "--origin", "--json"]).await.exits(0).json();
    assert_eq!(shown["tz"], json!({"value": "Asia/Tokyo", "origin": "environment OPENCLAW_TZ"}));
    assert_eq!(shown["policy"]["value"], "ask");
    assert!(shown["policy"]["origin"].as_str().is_some_and(|origin| origin.ends_with("are.toml")));
    assert_eq!(shown["bind"], json!({"value": "localhost:8888", "origin": "default"}));
    assert_eq!(shown["openai_api_key"]["value"], "(set)");
}

#[tokio::test]
async fn an_unknown_local_model_is_exit_three_with_the_list() {
    let stage = Stage::new().await;
    let ran = stage.run(&["start", "--local-llm=smal"]).await.exits(3);
    assert!(ran.stderr.starts_with("error[ARE-0006]: `smal` is not a local model"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`small`") && ran.stderr.contains("`medium`"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_local_model_that_is_not_installed_is_named_with_the_command_that_fetches_it() {
    let stage = Stage::new().await;
    let ran = stage.run(&["start", "--local-llm"]).await.exits(3);
    assert!(ran.stderr.starts_with("error[ARE-0410]") && ran.stderr.contains("are model pull small"), "{}", ran.stderr);
}

#[tokio::test]
async fn without_any_model_the_three_ways_are_named() {
    let mut stage = Stage::new().await;
    stage.unset("OPENAI_API_KEY").unset("OPENAI_BASE_URL");
    let ran = stage.run(&["run", "hello"]).await.exits(3);
    assert!(ran.stderr.starts_with("error[ARE-0005]"), "{}", ran.stderr);
    // What is stored can be read without a model.
    stage.run(&["session", "list"]).await.exits(0);
}

#[tokio::test]
async fn a_mistake_of_usage_is_exit_two() {
    let stage = Stage::new().await;
    stage.run(&["run"]).await.exits(2);
    stage.run(&["session", "burn"]).await.exits(2);
    stage.run(&[]).await.exits(2);
    stage.run(&["--version"]).await.exits(0);
}

#[tokio::test]
async fn the_ready_line_names_address_model_profile_and_what_is_off() {
    let mut stage = Stage::new().await;
    stage.set("ARE_ZERO_TRUST", "false");
    let serving = stage.serve(&["--no-auth"]).await;
    assert!(serving.ready["address"].as_str().is_some_and(|address| address.starts_with("http://localhost:")));
    assert_eq!(serving.ready["model"], "openai:gpt-4.1-mini");
    assert_eq!(serving.ready["profile"], "observe");
    assert_eq!(serving.ready["off"].as_array().map(Vec::len), Some(2), "{}", serving.ready);
    assert_eq!(serving.terminate().await, Some(0));
}

#[tokio::test]
async fn verbs_use_the_server_that_runs_and_a_second_one_is_refused() {
    let stage = Stage::new().await;
    let serving = stage.serve(&[]).await;
    stage.provider().script([Reply::text(["hi"])]);
    stage.run(&["run", "hello"]).await.exits(0);
    let second = stage.run(&["start", "--port", "0"]).await.exits(5);
    assert!(second.stderr.contains("error[ARE-0102]"), "{}", second.stderr);
    assert_eq!(serving.terminate().await, Some(0));
    // The turn is in the same store afterwards.
    assert_eq!(stage.run(&["session", "list", "--json"]).await.exits(0).json()["sessions"][0]["turns"], 1);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let stage = Stage::new().await;
    let other = Stage::new().await;
    let serving = stage.serve(&[]).await;
    let address = serving.ready["address"].as_str().expect("an address");
    let port = address.rsplit(':').next().expect("a port");
    let ran = other.run(&["start", "--port", port]).await.exits(5);
    assert!(ran.stderr.contains("error[ARE-0103]") && ran.stderr.contains(port), "{}", ran.stderr);
    assert_eq!(serving.terminate().await, Some(0));
}

#[tokio::test]
async fn two_verbs_at_once_without_a_server_both_work() {
    let stage = Stage::new().await;
    let (one, two) = tokio::join!(stage.run(&["var", "set", "a", "1"]), stage.run(&["var", "set", "b", "2"]));
    one.exits(0);
    two.exits(0);
    let listed = stage.run(&["var", "list", "--json"]).await.exits(0).json();
    assert_eq!(listed["variables"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_workspace_that_is_given_wins_over_the_callers_directory() {
    let mut stage = Stage::new().await;
    stage.write("other/notes.txt", "from the workspace");
    let workspace = stage.home().join("other").display().to_string();
    stage.set("ARE_WORKSPACE", &workspace);
    stage.provider().script([Reply::call("fs_read", &json!({"path": "notes.txt"})), Reply::text(["done"])]);
    stage.run(&["run", "read it"]).await.exits(0);
    assert!(stage.provider().requests()[1].to_string().contains("from the workspace"));
    let root = stage.set("ARE_WORKSPACE", "/").run(&["config", "check"]).await.exits(3);
    assert!(root.stderr.starts_with("error[ARE-0008]"), "{}", root.stderr);
}

#[tokio::test]
async fn the_data_directory_and_the_admin_token_are_this_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new().await;
    let serving = stage.serve(&[]).await;
    let mode = |path: &str| std::fs::metadata(stage.data_dir().join(path)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("admin.token"), mode("are.sock")), (0o700, 0o600, 0o600));
    assert_eq!(serving.terminate().await, Some(0));
    assert!(!stage.data_dir().join("are.sock").exists(), "a server that ended leaves no socket");
}

#[tokio::test]
async fn doctor_finds_a_fresh_installation_healthy() {
    let stage = Stage::new().await;
    let found = stage.run(&["doctor", "--json"]).await.exits(0).json();
    assert_eq!(found["is_healthy"], true, "{found}");
    stage.run(&["var", "set", "a", "1"]).await.exits(0);
    let found = stage.run(&["doctor"]).await.exits(0).stdout;
    assert!(found.contains("whole:"), "{found}");
}

#[tokio::test]
async fn doctor_looks_at_the_keys_of_audit_and_secrets() {
    let stage = Stage::new().await;
    stage.run_with(&["secret", "set", "one", "--to", "a.example"], "a-value-of-some-length").await.exits(0);
    let told = |found: &serde_json::Value, what: &str| {
        let all = found["findings"].as_array().expect("findings");
        let one = all.iter().find(|one| one["what"] == what).unwrap_or_else(|| panic!("{what}: {found}"));
        (one["state"].as_str().unwrap_or_default().to_owned(), one["text"].as_str().unwrap_or_default().to_owned())
    };
    let serving = stage.serve(&[]).await;
    let found = stage.run(&["doctor", "--json"]).await.exits(0).json();
    let (state, text) = told(&found, "audit");
    assert!(state == "good" && text.contains("records are signed"), "{text}");
    let (state, text) = told(&found, "secrets");
    assert!(state == "good" && text.starts_with("1 of the operator's, 0 of them cannot"), "{text}");
    assert_eq!(serving.terminate().await, Some(0));
    for (file, what) in [("audit.key", "audit"), ("master.key", "secrets")] {
        let path = stage.data_dir().join(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("changed");
        let found = stage.run(&["doctor", "--json"]).await.exits(1).json();
        let (state, text) = told(&found, what);
        assert!(state == "BAD" && text.contains("644"), "{text}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("changed back");
    }
}

#[tokio::test]
async fn completions_are_printed_for_the_usual_shells() {
    let stage = Stage::new().await;
    for shell in ["bash", "zsh", "fish"] {
        let script = stage.run(&["completions", shell]).await.exits(0).stdout;
        assert!(script.contains("session"), "{shell}");
    }
}

//! Tools from files, through the built program and its doors.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cli_stage::Stage;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stage whose tools may reach the mock provider.
async fn stage(policy: &str) -> (Stage, String) {
    let mut stage = Stage::new().await;
    let base = stage.provider().base_url();
    let url: url::Url = base.parse().expect("a URL");
    let place = format!("{}:{}", url.host_str().expect("host"), url.port().expect("port"));
    stage.set("ARE_POLICY", policy).set("ARE_EGRESS_PRIVATE", &place);
    (stage, base)
}

/// Asks the mock provider for its models.
fn models(base: &str, test: &str) -> String {
    format!(
        r#"
        lane = "http"
        description = "Lists the models of a provider."
        url = "{base}/models?of={{owner}}"
        effect = "network_read"
        args.owner.role = "selector"
        args.owner.required = false
        {test}
        "#
    )
}

fn names(listed: &Value) -> Vec<String> {
    let tools = listed["tools"].as_array().expect("tools");
    let of_files = tools.iter().filter(|tool| !tool["file"].is_null());
    of_files.map(|tool| tool["name"].as_str().expect("name").to_owned()).collect()
}

#[tokio::test]
async fn a_tool_is_added_called_replaced_knowingly_and_removed() {
    let (stage, base) = stage("strict").await;
    stage.write("project/models.toml", &models(&base, ""));
    let added = stage.run(&["tool", "add", "models.toml"]).await.exits(0);
    assert_eq!(added.stdout, "models\n");
    let again = stage.run(&["tool", "add", "models.toml"]).await.exits(0);
    assert!(again.stderr.contains("exactly like this"), "{}", again.stderr);
    let shown = stage.run(&["tool", "show", "models", "--json"]).await.exits(0).json();
    assert_eq!((&shown["file"], &shown["manifest"]["lane"]), (&json!("models.toml"), &json!("http")));
    assert!(shown["manifest"]["version"].as_str().expect("version").contains("sha256:"));

    let called = stage.run(&["tool", "call", "models", r#"{"owner":"me"}"#, "--json"]).await.exits(0).json();
    assert_eq!(called["result"]["status"], 200, "{called}");
    assert_eq!(called["labels"][""]["integrity"], "untrusted");
    let key = called["session"].as_str().expect("session");
    let events = stage.run(&["session", "events", key, "--json"]).await.exits(0).lines();
    let decision = events.iter().find(|event| event["type"] == "decision").expect("a decision");
    assert_eq!(decision["outcome"], "allow", "to call is to ask: {decision}");
    stage.run(&["session", "replay", key]).await.exits(0);
    let refused = stage.run(&["tool", "call", "models", r#"{"owners":"me"}"#]).await.exits(1);
    assert!(
        refused.stderr.contains("ARE-0502") && refused.stderr.contains("`owners` is not known"),
        "{}",
        refused.stderr
    );

    stage.write("project/models.toml", &models(&base, "").replace("network_read", "send"));
    let refused = stage.run(&["tool", "add", "models.toml"]).await.exits(1);
    assert!(refused.stderr.contains("ARE-0530"), "{}", refused.stderr);
    assert!(refused.stderr.contains("effect was \"network_read\", becomes \"send\""), "{}", refused.stderr);
    assert_eq!(stage.run(&["tool", "show", "models", "--json"]).await.json()["manifest"]["effect"], "network_read");
    stage.run(&["tool", "add", "--replace", "models.toml"]).await.exits(0);
    assert_eq!(stage.run(&["tool", "show", "models", "--json"]).await.json()["manifest"]["effect"], "send");
    stage.run(&["tool", "remove", "models"]).await.exits(0);
    assert_eq!(names(&stage.run(&["tool", "list", "--json"]).await.exits(0).json()), Vec::<String>::new());
    stage.run(&["tool", "remove", "models"]).await.exits(1);
    stage.run(&["tool", "remove", "fs_read"]).await.exits(1);
}

#[tokio::test]
async fn a_running_server_serves_what_is_dropped_into_its_folder_and_says_what_it_cannot() {
    let (stage, base) = stage("contained").await;
    let serving = stage.serve(&[]).await;
    stage.write(".local/share/are/tools/models.toml", &models(&base, ""));
    stage.write(".local/share/are/tools/broken.toml", "lane = \"http\"\nurll = \"x\"");
    // What lies in the workspace is nobody's tool.
    stage.write("project/tools/evil.toml", &models(&base, ""));
    let served = async {
        loop {
            let listed = stage.run(&["tool", "list", "--json"]).await.exits(0).json();
            if names(&listed) == ["models"] && !listed["problems"].as_array().expect("problems").is_empty() {
                return listed;
            }
        }
    };
    let listed = timeout(PATIENCE, served).await.expect("it is noticed");
    assert_eq!(listed["problems"][0]["file"], "broken.toml");
    assert_eq!(listed["problems"][0]["help"], "did you mean `url`?");
    let told = stage.run(&["tool", "list"]).await.exits(0);
    assert!(told.stderr.contains("`broken.toml` is not served: the key `urll` is not known"), "{}", told.stderr);
    std::fs::remove_file(stage.data_dir().join("tools/models.toml")).expect("remove");
    let gone = async { while !names(&stage.run(&["tool", "list", "--json"]).await.exits(0).json()).is_empty() {} };
    timeout(PATIENCE, gone).await.expect("it is noticed");
    assert_eq!(serving.terminate().await, Some(0));
}

#[tokio::test]
async fn a_file_is_tried_without_being_served() {
    let (stage, base) = stage("strict").await;
    let good = "[[test]]\nname = \"answers\"\nargs = { owner = \"x\" }\nexpect = { status = 200 }\n\
        [[test]]\nargs = { owner = 5 }\nfails = \"ARE-0502\"";
    stage.write("project/models.toml", &models(&base, good));
    let tried = stage.run(&["tool", "test", "models.toml"]).await.exits(0);
    assert!(tried.stdout.contains("passes  models: answers\npasses  models: test 2\n"), "{}", tried.stdout);
    assert!(!stage.data_dir().join("tools").exists(), "nothing was served");
    let bad = good.replace("status = 200", "status = 418");
    stage.write("project/models.toml", &models(&base, &bad));
    let tried = stage.run(&["tool", "test", "models.toml", "--json"]).await.exits(1).json();
    assert_eq!((&tried["tests"][0]["passed"], &tried["tests"][1]["passed"]), (&json!(false), &json!(true)), "{tried}");
    stage.write("project/broken.toml", "lane = \"http\"\neffects = \"none\"");
    let tried = stage.run(&["tool", "test", "broken.toml"]).await.exits(1);
    assert!(tried.stderr.contains("did you mean `effect`?"), "{}", tried.stderr);
    let tried = stage.run(&["tool", "test", "nothing"]).await.exits(1);
    assert!(tried.stderr.contains("ARE-0501"), "{}", tried.stderr);
}

#[tokio::test]
async fn the_examples_of_tools_pass_their_own_tests() {
    let (stage, _) = stage("strict").await;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/tools");
    let files: Vec<_> = std::fs::read_dir(root).expect("examples").flatten().map(|entry| entry.path()).collect();
    let manifests = files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let mut tried = 0;
    for path in manifests {
        let path = path.display().to_string();
        let ran = stage.run(&["tool", "test", &path, "--json"]).await.exits(0).json();
        assert!(!ran["tests"].as_array().expect("tests").is_empty(), "{path}");
        tried += 1;
    }
    println!("{tried} examples tried");
    assert!(tried >= 2);
}

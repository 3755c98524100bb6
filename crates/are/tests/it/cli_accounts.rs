//! `are account …` and tokens of delegates, through the program.

use are_testkit::provider::Reply;
use serde_json::Value;

use crate::cli_stage::Stage;

#[tokio::test]
async fn accounts_are_made_grouped_disabled_and_deleted_by_their_verbs() {
    let stage = Stage::new().await;
    let _serving = stage.serve(&[]).await;
    let made = stage.run(&["account", "create", "alice", "--group", "staff", "--group", "ops"]).await.exits(0);
    assert_eq!(made.stdout, "alice: active, groups: ops,staff\n");
    let again = stage.run(&["account", "create", "alice"]).await.exits(1);
    assert!(again.stderr.contains("ARE-0215"), "{}", again.stderr);
    stage.run(&["account", "create", "Al ice"]).await.exits(1);
    stage.run(&["account", "set", "alice"]).await.exits(2);
    assert!(stage.run(&["account", "set", "alice", "--no-groups"]).await.exits(0).stdout.ends_with("groups: none\n"));
    assert!(stage.run(&["account", "disable", "alice"]).await.exits(0).stdout.starts_with("alice: disabled"));
    assert!(stage.run(&["account", "disable", "admin"]).await.exits(1).stderr.contains("ARE-0216"));
    let listed = stage.run(&["account", "list"]).await.exits(0).stdout;
    assert!(listed.lines().any(|line| line.starts_with("admin") && line.contains("operator")), "{listed}");
    assert!(listed.lines().any(|line| line.starts_with("alice") && line.contains("disabled")), "{listed}");
    assert!(stage.run(&["account", "enable", "alice"]).await.exits(0).stdout.starts_with("alice: active"));
    let shown = stage.run(&["account", "show", "alice", "--json"]).await.exits(0).json();
    assert_eq!((shown["account"].as_str(), shown["is_disabled"].as_bool()), (Some("alice"), Some(false)));
    let would = stage.run(&["account", "delete", "alice", "--dry-run"]).await.exits(0).stdout;
    assert!(would.contains("would delete account alice"), "{would}");
    stage.run(&["account", "show", "alice"]).await.exits(0);
    stage.run(&["account", "delete", "alice"]).await.exits(2);
    stage.run(&["account", "delete", "alice", "--yes"]).await.exits(0);
    assert!(stage.run(&["account", "show", "alice"]).await.exits(1).stderr.contains("ARE-0214"));
}

#[tokio::test]
async fn a_delegates_token_is_made_for_a_group_and_narrowed_by_its_verbs() {
    let stage = Stage::new().await;
    let _serving = stage.serve(&[]).await;
    stage.run(&["account", "create", "bridge"]).await.exits(0);
    let create = ["token", "create", "--account", "bridge", "--scopes", "delegate,prompt"];
    assert!(stage.run(&create).await.exits(1).stderr.contains("ARE-0206"), "for nobody");
    let made = stage.run(&[&create[..], &["--for", "staff", "--days", "30", "--json"]].concat()).await.exits(0).json();
    let id = made["id"].as_str().expect("an id").to_owned();
    let token = |listed: &Value| {
        let rows = listed["tokens"].as_array().expect("tokens").clone();
        rows.into_iter().find(|row| row["id"] == id.as_str()).expect("the token")
    };
    let listed = token(&stage.run(&["token", "list", "--json"]).await.exits(0).json());
    assert_eq!((listed["speaks_for"][0].as_str(), listed["account"].as_str()), (Some("group:staff"), Some("bridge")));
    assert!(listed["expires_at_ms"].as_u64() > listed["created_at_ms"].as_u64());
    stage.run(&["token", "narrow", &id, "--scopes", "prompt"]).await.exits(0);
    let listed = token(&stage.run(&["token", "list", "--json"]).await.exits(0).json());
    assert_eq!(listed["scopes"], serde_json::json!(["prompt"]));
    assert!(stage.run(&["token", "narrow", &id, "--scopes", "delegate"]).await.exits(1).stderr.contains("ARE-0206"));
    let nobody = stage.run(&["token", "create", "--account", "nosuch"]).await.exits(1);
    assert!(nobody.stderr.contains("ARE-0214"), "{}", nobody.stderr);
}

#[tokio::test]
async fn an_accounts_directory_is_its_own_and_no_link_leads_it_elsewhere() {
    let mut stage = Stage::new().await;
    stage.provider().script([Reply::text(["hello"]), Reply::text(["hello"])]);
    let root = stage.home().join("shared");
    std::fs::create_dir(&root).expect("mkdir");
    stage.set("ARE_WORKSPACE", &root.display().to_string());
    let serving = stage.serve(&[]).await;
    let address = serving.ready["address"].as_str().expect("an address").to_owned();
    let mut workspaces = Vec::new();
    for name in ["alice", "bob", "mallory"] {
        stage.run(&["account", "create", name]).await.exits(0);
        if name == "mallory" {
            // As somebody who can write there would lead her sessions into alice's files.
            std::os::unix::fs::symlink(root.join("alice"), root.join(name)).expect("link");
        }
        let made = stage.run(&["token", "create", "--account", name, "--json"]).await.exits(0).json();
        stage.set("ARE_URL", &address).set("ARE_TOKEN", made["token"].as_str().expect("a token"));
        let ran = stage.run(&["run", "hello"]).await;
        if name == "mallory" {
            let refused = ran.exits(3);
            assert!(refused.stderr.contains("ARE-0008"), "{}", refused.stderr);
        } else {
            ran.exits(0);
            let listed = stage.run(&["session", "list", "--json"]).await.exits(0).json();
            workspaces.push(listed["sessions"][0]["workspace"].as_str().expect("one").to_owned());
        }
        stage.unset("ARE_URL").unset("ARE_TOKEN");
    }
    let own = |name: &str| root.join(name).display().to_string();
    assert_eq!(workspaces, [own("alice"), own("bob")]);
}

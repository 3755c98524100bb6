//! What commands change is undone, and what they must not change stays.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use are_core::change::FileChange;
use are_policy::rules::{Profile, Rules};
use are_policy::tools::{ToolOutcome, Tools};
use serde_json::{Value, json};

use crate::cage::caged;
use crate::support::World;
use crate::undo::{shot, undo};

async fn run(world: &World, script: &str) -> (Value, Vec<FileChange>) {
    let place = world.place();
    let changes = Arc::clone(&place.changes);
    match world.registry.run(world.permit("process_run", &json!({"shell": script})), place).await {
        ToolOutcome::Completed { value, .. } => (value, changes.certain()),
        other => panic!("{script}: {other:?}"),
    }
}

#[tokio::test]
async fn whatever_a_command_changes_comes_back() {
    let Some(world) = caged(World::keeping(), true).await else { return };
    world.write("edited.txt", "old");
    world.write("gone.txt", "bytes");
    world.write("dir/inner/deep.txt", "deep");
    world.write("moved.txt", "move me");
    world.write("target/debug/big", "built");
    std::fs::set_permissions(world.path("edited.txt"), std::fs::Permissions::from_mode(0o640)).expect("mode");
    symlink("edited.txt", world.path("alias")).expect("link");
    let before = shot(&world);
    let script = "printf new > edited.txt && chmod 755 edited.txt && rm -r gone.txt dir alias && mv moved.txt other.txt \
        && mkdir -p a/b/c && echo x > a/b/c/d && echo x > gone.txt && ln -s a link && mkdir alias && echo y > alias/in";
    let (value, changes) = run(&world, script).await;
    assert_eq!(value["exit_code"], json!(0), "{value}");
    let after = shot(&world);
    let undone = undo(&world, &changes).await.expect("undone");
    assert_eq!(shot(&world), before);
    undo(&world, &undone).await.expect("redone");
    assert_eq!(shot(&world), after);
    // The second time nothing is read again, and what is the same is no change.
    let (_, changes) = run(&world, "cat edited.txt; touch other.txt; echo more > target/debug/big").await;
    assert_eq!(changes, []);
}

#[tokio::test]
async fn a_command_that_is_given_up_is_undone_too() {
    let Some(world) = caged(World::keeping(), true).await else { return };
    world.write("a.txt", "old");
    let before = shot(&world);
    let place = world.place();
    let told = Arc::clone(&place.changes);
    let args = json!({"shell": "echo new > a.txt; echo x > b.txt; sleep 60"});
    let call = world.registry.run(world.permit("process_run", &args), place);
    // Given up as soon as it has written both.
    let written = async {
        while !world.path("b.txt").exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = call => panic!("{outcome:?}"),
        () = written => {}
    }
    let changes = told.possible();
    undo(&world, &changes).await.expect("undone");
    assert_eq!(shot(&world), before);
}

#[tokio::test]
async fn guarded_paths_stay_as_they_are() {
    for has_namespaces in [true, false] {
        let Some(mut world) = caged(World::keeping(), has_namespaces).await else { continue };
        world.rules = Rules::new(Profile::Contained, &[]).expect("rules");
        world.write(".git/config", "[core]\n");
        world.write(".git/hooks/pre-commit.sample", "sample");
        world.write(".git/HEAD", "ref: refs/heads/main\n");
        world.write(".git/objects/aa/x", "object");
        world.write(".github/workflows/ci.yml", "jobs");
        world.write("sub/AGENTS.md", "be good");
        world.write("src/main.rs", "fn main() {}");
        let before = shot(&world);
        for script in [
            "echo evil >> .git/config",
            "echo evil > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit",
            "rm -rf .git/hooks; mkdir .git/hooks; echo evil > .git/hooks/post-merge",
            "mv .git old; mkdir .git; cp -r old/. .git/; echo evil >> .git/config; rm -rf old",
            "echo evil > .github/workflows/ci.yml; echo evil > .github/workflows/other.yml",
            "mv .github elsewhere; mkdir -p .github/workflows; echo evil > .github/workflows/ci.yml",
            "mkdir -p .vscode .husky; echo evil > .vscode/tasks.json; echo evil > .husky/pre-push",
            "echo evil > .envrc; echo evil > .bashrc; echo evil > sub/AGENTS.md",
            "mv sub bus; mkdir sub; echo evil > sub/AGENTS.md; rm -rf bus",
            "ln -s .git/hooks h; echo evil > h/pre-push; rm h",
            "printf '[include]' > .git/config.worktree; mkdir -p .git/info; echo evil > .git/info/attributes",
        ] {
            let (value, _) = run(&world, script).await;
            let now = shot(&world);
            let differ: Vec<_> = before.iter().filter(|(path, was)| now.get(*path) != Some(was)).collect();
            let evil = now.iter().filter(|(_, (_, content))| content.windows(4).any(|word| word == b"evil"));
            let evil: Vec<_> = evil.map(|(path, _)| path).collect();
            assert!(evil.is_empty() && differ.is_empty(), "{has_namespaces} {script}: {evil:?} {differ:?} {value}");
        }
        let (value, _) = run(&world, "echo x > .git/index; echo y > .git/objects/new; echo z > src/main.rs").await;
        assert_eq!(
            (&value["exit_code"], value.get("put_back")),
            (&json!(0), None),
            "git's own files are written: {value}"
        );
        assert!(world.path(".git/objects/new").exists());
    }
}

#[tokio::test]
async fn started_processes_are_read_written_and_stopped() {
    let Some(world) = caged(World::keeping(), true).await else { return };
    world.write("a.txt", "old");
    let before = shot(&world);
    let id = world
        .ok("process_start", json!({"shell": "echo up; read line; echo got $line; echo new > a.txt; sleep 600"}))
        .await["id"]
        .clone();
    let read = world.ok("process_read", json!({"id": id, "wait_ms": 10_000})).await;
    assert_eq!((&read["output"], &read["is_running"]), (&json!("up\n"), &json!(true)));
    world.ok("process_write", json!({"id": id, "text": "words\n"})).await;
    let read = world.ok("process_read", json!({"id": id, "after": read["next"], "wait_ms": 10_000})).await;
    assert_eq!(read["output"], json!("got words\n"));
    while world.read("a.txt") == "old" {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.ok("process_list", json!({})).await["processes"].as_array().expect("list").len(), 1);
    let place = world.place();
    let told = Arc::clone(&place.changes);
    let stop = world.registry.run(world.permit("process_stop", &json!({"id": id})), place).await;
    assert!(matches!(stop, ToolOutcome::Completed { .. }), "{stop:?}");
    undo(&world, &told.certain()).await.expect("undone");
    assert_eq!(shot(&world), before);
    world.fault("process_read", json!({"id": id})).await;
    for _ in 0..4 {
        world.ok("process_start", json!({"argv": ["sleep", "600"]})).await;
    }
    let fault = world.fault("process_start", json!({"argv": ["sleep", "600"]})).await;
    assert!(fault.message.contains("4 processes"), "{fault}");
}

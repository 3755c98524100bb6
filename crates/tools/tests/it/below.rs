use std::os::unix::fs::symlink;

use are_core::error::Code;
use are_policy::rules::{Profile, Rules};
use serde_json::json;

use crate::support::{World, tree};

/// Keeps what is in `private` to itself, and lets nothing be put there.
fn private() -> Rules {
    let text =
        r#"forbid(principal, action, resource) when { context has object && context.object like "*private/*" };"#;
    Rules::new(Profile::Observe, &[("my.cedar".to_owned(), text.to_owned())]).expect("rules")
}

#[tokio::test]
async fn a_search_reads_no_file_below_that_a_rule_forbids() {
    let mut world = World::new();
    world.rules = private();
    for name in ["private/key.txt", "sub/private/key.txt", "sub/open.txt"] {
        world.write(name, "needle");
    }
    let value = world.ok("fs_search", json!({"pattern": "needle"})).await;
    let found: Vec<_> = value["matches"].as_array().expect("matches").iter().map(|found| &found["path"]).collect();
    assert_eq!((found, &value["not_allowed"], &value["files"]), (vec![&json!("sub/open.txt")], &json!(2), &json!(1)));
    let value = world.ok("fs_search", json!({"pattern": "needle", "path": "private"})).await;
    assert_eq!((&value["matches"], &value["not_allowed"]), (&json!([]), &json!(1)));
    let value = world.ok("fs_search", json!({"pattern": "needle", "path": "sub/open.txt"})).await;
    assert_eq!(value["not_allowed"], json!(null));
}

#[tokio::test]
async fn a_directory_with_a_forbidden_entry_below_is_not_moved() {
    let mut world = World::new();
    world.rules = private();
    world.write("top/private/key.txt", "mine");
    world.write("top/other.txt", "x");
    world.write("free/sub/a.txt", "x");
    for (from, to) in [("top", "elsewhere"), ("top/private", "open")] {
        let fault = world.fault("fs_move", json!({"from": from, "to": to})).await;
        assert_eq!(fault.code, Code::DENIED, "{from}: {fault}");
    }
    // What would stand under a forbidden name afterwards.
    let fault = world.fault("fs_move", json!({"from": "free", "to": "private"})).await;
    assert_eq!(fault.code, Code::DENIED);
    assert_eq!(world.read("top/private/key.txt"), "mine");
    world.ok("fs_move", json!({"from": "free", "to": "moved"})).await;
    assert_eq!(world.read("moved/sub/a.txt"), "x");
    world.rules = Rules::new(Profile::Observe, &[]).expect("rules");
    world.ok("fs_move", json!({"from": "top", "to": "elsewhere"})).await;
}

#[tokio::test]
async fn a_write_removes_what_killed_calls_left_beside_it_and_nothing_else() {
    let world = World::new();
    let digits = "0123456789abcdef0123456789abcdef";
    let others = ["sub/.are-notes.tmp".to_owned(), format!("sub/.are-{digits}.txt"), format!("sub/x.are-{digits}.tmp")];
    let left = format!("sub/.are-{digits}.tmp");
    let fresh = format!("sub/.are-{}.tmp", digits.replace('0', "f"));
    let elsewhere = format!(".are-{digits}.tmp");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
    for name in others.iter().chain([&left, &fresh, &elsewhere]) {
        world.write(name, "half");
        let file = std::fs::File::options().write(true).open(world.path(name)).expect("file");
        file.set_modified(if *name == fresh { std::time::SystemTime::now() } else { long_ago }).expect("time");
    }
    symlink("nowhere", world.path(&format!("sub/.are-{}.tmp", digits.replace('1', "e")))).expect("link");
    world.ok("fs_write", json!({"path": "sub/a.txt", "content": "x"})).await;
    assert!(!world.path(&left).exists());
    for name in others.iter().chain([&fresh, &elsewhere]) {
        assert!(world.path(name).exists(), "{name}");
    }
    assert_eq!(std::fs::read_dir(world.path("sub")).expect("directory").count(), 6, "the link stays too");
}

/// Under `contained`, with the flow of information off, every guarded path asks, and nobody is there to be asked.
fn contained() -> Rules {
    Rules::new(Profile::Contained, &[]).expect("rules").without_flow().expect("rules")
}

#[tokio::test]
async fn a_link_does_not_open_a_guarded_directory() {
    let mut world = World::new();
    world.rules = contained();
    world.write(".git/hooks/pre-push", "theirs");
    world.write(".github/workflows/ci.yml", "theirs");
    world.write("plain/a.txt", "mine");
    world.write("mine/new.txt", "mine");
    for (link, to) in [
        ("hooks", ".git/hooks"),
        ("wf", ".github/workflows"),
        ("top", ".git"),
        ("chain", "hooks"),
        ("ci", ".github/workflows/ci.yml"),
        ("sub", "plain"),
        ("plain/up", "../.git/hooks"),
    ] {
        symlink(to, world.path(link)).expect("link");
    }
    let before = tree(&world.path(""));
    for (tool, args) in [
        ("fs_write", json!({"path": "hooks/pre-push", "content": "x"})),
        ("fs_write", json!({"path": "wf/deep/new.yml", "content": "x"})),
        ("fs_write", json!({"path": "chain/new", "content": "x"})),
        ("fs_write", json!({"path": "ci", "content": "x"})),
        ("fs_write", json!({"path": "sub/up/new", "content": "x"})),
        ("fs_edit", json!({"path": "wf/ci.yml", "old": "theirs", "new": "x"})),
        ("fs_edit", json!({"path": "ci", "old": "theirs", "new": "x"})),
        ("fs_delete", json!({"path": "hooks/pre-push"})),
        ("fs_mkdir", json!({"path": "top/hooks/new"})),
        ("fs_move", json!({"from": "mine/new.txt", "to": "hooks/new"})),
        ("fs_move", json!({"from": "mine", "to": "top/new"})),
        ("fs_move", json!({"from": "wf/ci.yml", "to": "mine/ci.yml"})),
    ] {
        let fault = world.fault(tool, args.clone()).await;
        assert_eq!(fault.code, Code::DENIED, "{tool} {args}: {fault}");
        assert_eq!(tree(&world.path("")), before, "{tool} {args}");
    }
    // A link to an ordinary place stays open, and the link itself is nobody else's.
    world.ok("fs_write", json!({"path": "sub/a.txt", "content": "x"})).await;
    world.ok("fs_write", json!({"path": "sub/new/b.txt", "content": "x"})).await;
    world.ok("fs_mkdir", json!({"path": "sub/made"})).await;
    assert_eq!((world.read("plain/a.txt"), world.read("plain/new/b.txt")), ("x".to_owned(), "x".to_owned()));
    world.ok("fs_move", json!({"from": "hooks", "to": "renamed"})).await;
    world.ok("fs_delete", json!({"path": "renamed"})).await;
    assert_eq!(world.read(".git/hooks/pre-push"), "theirs");
}

#[tokio::test]
async fn a_repository_without_a_git_directory_keeps_what_git_would_run() {
    let mut world = World::new();
    world.rules = contained();
    world.write("bare/HEAD", "ref: refs/heads/main");
    world.write("bare/config", "theirs");
    world.write("notes/config", "mine");
    symlink("bare", world.path("link")).expect("link");
    let before = tree(&world.path(""));
    for (tool, args) in [
        ("fs_write", json!({"path": "bare/config", "content": "x"})),
        ("fs_write", json!({"path": "link/config", "content": "x"})),
        ("fs_write", json!({"path": "bare/hooks/post-checkout", "content": "x"})),
        ("fs_edit", json!({"path": "bare/config", "old": "theirs", "new": "x"})),
        ("fs_delete", json!({"path": "bare/config"})),
        ("fs_move", json!({"from": "notes/config", "to": "bare/commondir"})),
        ("fs_move", json!({"from": "bare", "to": "other"})),
    ] {
        let fault = world.fault(tool, args.clone()).await;
        assert_eq!(fault.code, Code::DENIED, "{tool} {args}: {fault}");
        assert_eq!(tree(&world.path("")), before, "{tool} {args}");
    }
    world.ok("fs_write", json!({"path": "notes/config", "content": "x"})).await;
    world.ok("fs_write", json!({"path": "bare/description", "content": "x"})).await;
}

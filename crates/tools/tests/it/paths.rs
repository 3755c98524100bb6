//! Every path attack, through every file tool.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use are_policy::tools::ToolOutcome;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde::Deserialize;
use serde_json::json;

use crate::support::{World, tree};

#[derive(Debug, Deserialize)]
struct Attacks {
    links: Vec<Link>,
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Link {
    name: String,
    to: String,
}

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    path: String,
    read: String,
}

const SECRET: &str = "words that stay outside";

fn attacks() -> Attacks {
    toml::from_str(include_str!("../../../../tests/attacks/path-traversal.toml")).expect("attack file")
}

/// The workspace of the attack file; sockets and pipes live as long as the listener.
fn fixture(attacks: &Attacks) -> (World, UnixListener) {
    let world = World::new();
    let root = world.root.path();
    std::fs::write(root.join("secret.txt"), SECRET).expect("secret");
    std::fs::create_dir_all(root.join("outside/sub")).expect("outside");
    std::fs::write(root.join("outside/file.txt"), SECRET).expect("secret");
    std::fs::create_dir(root.join("ws-other")).expect("neighbour");
    std::fs::write(root.join("ws-other/secret.txt"), SECRET).expect("secret");
    world.write("notes.txt", "inside");
    world.write("sub/inner.txt", "inside");
    let workspace = world.path("");
    for link in &attacks.links {
        let to = link.to.replace("WORKSPACE/", &workspace.to_string_lossy());
        symlink(to, world.path(&link.name)).expect(&link.name);
    }
    mknodat(CWD, world.path("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("pipe");
    let listener = UnixListener::bind(world.path("socket")).expect("socket");
    (world, listener)
}

fn outside(world: &World) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut tree = tree(world.root.path());
    tree.retain(|path, _| !path.starts_with(world.path("")));
    tree.into_iter().collect()
}

#[tokio::test]
async fn no_path_leads_a_file_tool_outside_the_workspace() {
    let attacks = attacks();
    assert!(attacks.case.len() >= 45, "the attack file was read: {}", attacks.case.len());
    for case in &attacks.case {
        let (world, _listener) = fixture(&attacks);
        let path = case.path.replace("WORKSPACE", &world.root.path().join("ws").to_string_lossy());
        let before = outside(&world);
        let started = Instant::now();

        let read = match world.run("fs_read", json!({"path": path})).await {
            ToolOutcome::Completed { value, .. } if value["content"] == "inside" => "ok".to_owned(),
            ToolOutcome::Failed { fault, .. } => fault.code.to_string(),
            other => panic!("{}: {other:?}", case.name),
        };
        assert_eq!(read, case.read, "{}", case.name);

        for (tool, args) in [
            ("fs_list", json!({"path": path})),
            ("fs_search", json!({"path": path, "pattern": "."})),
            ("fs_stat", json!({"path": path})),
            ("fs_edit", json!({"path": path, "old": "words", "new": "x"})),
            ("fs_edit", json!({"path": path, "old": "root", "new": "x"})),
            ("fs_mkdir", json!({"path": path})),
            ("fs_mkdir", json!({"path": format!("{path}/made")})),
            ("fs_write", json!({"path": format!("{path}/made.txt"), "content": "x"})),
            ("fs_write", json!({"path": path, "content": "x"})),
            ("fs_move", json!({"from": "sub/inner.txt", "to": format!("{path}/moved.txt")})),
            ("fs_move", json!({"from": path, "to": "stolen"})),
            ("fs_read", json!({"path": "stolen"})),
            ("fs_search", json!({"pattern": "words"})),
            ("fs_delete", json!({"path": format!("{path}/file.txt")})),
            ("fs_delete", json!({"path": path})),
        ] {
            let outcome = format!("{:?}", world.run(tool, args.clone()).await);
            assert!(!outcome.contains(SECRET) && !outcome.contains("root:"), "{}: {tool} {args}: {outcome}", case.name);
            assert!(!outcome.contains("Unknown"), "{}: {tool} {args}: {outcome}", case.name);
        }
        assert_eq!(outside(&world), before, "{}: something outside was changed", case.name);
        assert!(started.elapsed() < Duration::from_secs(20), "{}: a tool waited", case.name);
        assert!(world.leftovers().is_empty(), "{}", case.name);
    }
}

#[tokio::test]
async fn a_device_inside_the_workspace_is_not_opened() {
    let world = World::new();
    let zero = rustix::fs::makedev(1, 5);
    // Only a privileged process can make one; where that is not possible there is none to attack with.
    if mknodat(CWD, world.path("zero"), FileType::CharacterDevice, Mode::RWXU, zero).is_err() {
        return;
    }
    for (tool, args) in [
        ("fs_read", json!({"path": "zero"})),
        ("fs_edit", json!({"path": "zero", "old": "a", "new": "b"})),
        ("fs_write", json!({"path": "zero", "content": "x"})),
        ("fs_search", json!({"path": "zero", "pattern": "x"})),
    ] {
        assert_eq!(world.fault(tool, args).await.code, are_core::error::Code::PATH_REFUSED, "{tool}");
    }
}

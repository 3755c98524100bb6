//! A directory that turns into a link while tools work in it.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use are_policy::tools::ToolOutcome;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

use crate::support::{World, tree};

/// Calls of each tool while the other thread swaps; enough for hundreds of swaps in between.
const ROUNDS: usize = 400;

/// Swaps `ws/dir` between a directory and a link to `outside` until told to stop.
struct Swapper {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl Swapper {
    fn start(workspace: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (dir, link) = (workspace.join("dir"), workspace.join("link"));
            symlink("../outside", &link).expect("link");
            let mut swaps = 0;
            while !is_stopped.load(Ordering::Relaxed) {
                // In one step, so that `dir` is always there and is now the one, now the other.
                renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).expect("swap");
                std::thread::yield_now();
                swaps += 1;
            }
            swaps
        });
        Self { stop, thread: Some(thread) }
    }

    fn stop(&mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("started").join().expect("the swapper's own steps succeed")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_swapped_for_a_link_never_lets_a_tool_out() {
    let world = World::new();
    let outside = world.root.path().join("outside");
    std::fs::create_dir(&outside).expect("outside");
    for name in ["file.txt", "victim.txt"] {
        std::fs::write(outside.join(name), "outside").expect("secret");
        world.write(&format!("dir/{name}"), "inside");
    }
    let before = tree(&outside);
    let mut swapper = Swapper::start(world.path(""));
    let (mut inside, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        match world.run("fs_read", json!({"path": "dir/file.txt"})).await {
            ToolOutcome::Completed { value, .. } => {
                assert_eq!(value["content"], "inside");
                inside += 1;
            }
            ToolOutcome::Failed { .. } => refused += 1,
            other => panic!("{other:?}"),
        }
        for (tool, args) in [
            ("fs_write", json!({"path": "dir/file.txt", "content": "inside"})),
            ("fs_write", json!({"path": format!("dir/new/{round}.txt"), "content": "inside"})),
            ("fs_edit", json!({"path": "dir/victim.txt", "old": "inside", "new": "inside"})),
            ("fs_move", json!({"from": format!("dir/new/{round}.txt"), "to": format!("dir/{round}.txt")})),
            ("fs_delete", json!({"path": format!("dir/{round}.txt")})),
            ("fs_search", json!({"path": "dir", "pattern": "outside"})),
        ] {
            let outcome = format!("{:?}", world.run(tool, args).await);
            assert!(!outcome.contains("\"outside\""), "{tool}: {outcome}");
        }
    }
    let swaps = swapper.stop();
    assert!(swaps > 50 && inside > 0, "the race took place: {swaps} swaps, {inside} inside, {refused} refused");
    assert_eq!(tree(&outside), before, "nothing outside was changed, made or removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_a_file_that_keeps_changing_loses_nothing_and_leaves_nothing_behind() {
    let world = World::new();
    world.write("a.txt", "0 word");
    let stop = Arc::new(AtomicBool::new(false));
    let (path, is_stopped) = (world.path("a.txt"), Arc::clone(&stop));
    let writer = std::thread::spawn(move || {
        let mut count = 0_u64;
        while !is_stopped.load(Ordering::Relaxed) {
            count += 1;
            let next = path.with_extension("next");
            std::fs::write(&next, format!("{count} word")).expect("next");
            std::fs::rename(&next, &path).expect("rename");
        }
    });
    for _ in 0..200 {
        let outcome = world.run("fs_edit", json!({"path": "a.txt", "old": "word", "new": "word"})).await;
        assert!(!matches!(outcome, ToolOutcome::Unknown { .. }), "{outcome:?}");
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("writer");
    assert!(world.leftovers().is_empty());
    assert!(world.read("a.txt").ends_with(" word"));
}

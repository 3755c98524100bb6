//! What calls replace is kept, and put back on the user's word.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use are_core::change::{FileChange, FileState, Lost};
use are_core::error::{Code, Fault};
use are_policy::tools::{Changed, Changes, Checkpoints, Place, ToolOutcome, Tools};
use are_policy::undo::Arguments;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{SESSION, World};

/// Every path with its kind, bits, and content or target.
pub(crate) fn shot(world: &World) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    fn walk(dir: &Path, out: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
        for entry in std::fs::read_dir(dir).expect("directory").flatten() {
            let metadata = entry.path().symlink_metadata().expect("metadata");
            let content = if metadata.is_symlink() {
                std::fs::read_link(entry.path()).expect("link").into_os_string().into_encoded_bytes()
            } else if metadata.is_dir() {
                walk(&entry.path(), out);
                b"<dir>".to_vec()
            } else {
                std::fs::read(entry.path()).unwrap_or_default()
            };
            let mode = if metadata.is_symlink() { 0 } else { metadata.permissions().mode() };
            out.insert(entry.path(), (mode, content));
        }
    }
    let mut out = BTreeMap::new();
    walk(&world.path(""), &mut out);
    out
}

fn mode(world: &World, name: &str, mode: u32) {
    std::fs::set_permissions(world.path(name), std::fs::Permissions::from_mode(mode)).expect("mode");
}

/// Runs a call; what it says it changed.
async fn change(world: &World, tool: &str, args: Value) -> Vec<FileChange> {
    let place = world.place();
    let changes = Arc::clone(&place.changes);
    match world.registry.run(world.permit(tool, &args), place).await {
        ToolOutcome::Completed { .. } => changes.possible(),
        ToolOutcome::Failed { fault, .. } => panic!("{tool} {args}: {fault}"),
        ToolOutcome::Unknown { fault, .. } => panic!("{tool} {args}: {fault}"),
    }
}

fn arguments(changes: &[FileChange]) -> Arguments {
    Arguments { turn: 1, session: SESSION, changes: changes.to_vec() }
}

/// Undoes changes; what that changed.
pub(crate) async fn undo(world: &World, changes: &[FileChange]) -> Result<Vec<FileChange>, Fault> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let place = world.place();
    let told: Arc<Changes> = Arc::clone(&place.changes);
    let place = Place { timeout_ms: 120_000, ..place };
    match world.registry.run(world.permit_undo(&arguments(changes)), place).await {
        ToolOutcome::Completed { .. } => Ok(told.possible()),
        ToolOutcome::Failed { fault, .. } | ToolOutcome::Unknown { fault, .. } => Err(fault),
    }
}

fn checkpoints(world: &World) -> Arc<dyn Checkpoints> {
    world.registry.checkpoints().expect("checkpoints")
}

async fn undoable(world: &World, changes: &[FileChange]) -> Result<Vec<String>, Fault> {
    let changed = Changed { session: SESSION, workspace: world.path(""), changes: changes.to_vec() };
    checkpoints(world).undoable(changed).await
}

#[tokio::test]
async fn whatever_the_tools_change_comes_back_byte_for_byte_with_its_bits() {
    let world = World::keeping();
    world.write("over.bin", b"old\0bytes\xff");
    mode(&world, "over.bin", 0o640);
    world.write("edit.txt", "one two three\n");
    mode(&world, "edit.txt", 0o755);
    world.write("gone.txt", "");
    world.write("dir/inner/a.txt", "a");
    mode(&world, "dir", 0o750);
    std::fs::create_dir(world.path("empty")).expect("mkdir");
    mode(&world, "empty", 0o711);
    symlink("no/such/place", world.path("dangling")).expect("link");
    symlink("edit.txt", world.path("alias")).expect("link");
    let before = shot(&world);
    let mut changes = Vec::new();
    for (tool, args) in [
        ("fs_write", json!({"path": "over.bin", "content": "new"})),
        ("fs_write", json!({"path": "over.bin", "content": "newer"})),
        ("fs_write", json!({"path": "new/deep/er/file.txt", "content": "made"})),
        ("fs_edit", json!({"path": "alias", "old": "two", "new": "2"})),
        ("fs_mkdir", json!({"path": "made/by/mkdir"})),
        ("fs_delete", json!({"path": "gone.txt"})),
        ("fs_delete", json!({"path": "dangling"})),
        ("fs_delete", json!({"path": "empty"})),
        ("fs_move", json!({"from": "dir", "to": "new/moved"})),
        ("fs_edit", json!({"path": "new/moved/inner/a.txt", "old": "a", "new": "b"})),
        ("fs_move", json!({"from": "edit.txt", "to": "edited.txt"})),
        ("fs_write", json!({"path": "gone.txt/now/a/directory", "content": "x"})),
    ] {
        changes.extend(change(&world, tool, args).await);
    }
    let after = shot(&world);
    assert!(undoable(&world, &changes).await.expect("undoable").len() >= 12);
    assert_eq!(shot(&world), after, "looking changes nothing");
    let undone = undo(&world, &changes).await.expect("undone");
    assert_eq!(shot(&world), before);
    assert_eq!(undoable(&world, &changes).await.expect("nothing to do"), Vec::<String>::new());
    // An undo is a change like another.
    undo(&world, &undone).await.expect("undone again");
    assert_eq!(shot(&world), after);
    assert!(world.leftovers().is_empty());
}

#[tokio::test]
async fn a_file_that_was_changed_since_keeps_everything_as_it_is() {
    let world = World::keeping();
    world.write("a.txt", "a");
    mode(&world, "a.txt", 0o644);
    world.write("b.txt", "b");
    let mut changes = change(&world, "fs_write", json!({"path": "a.txt", "content": "A"})).await;
    changes.extend(change(&world, "fs_write", json!({"path": "b.txt", "content": "B"})).await);
    changes.extend(change(&world, "fs_mkdir", json!({"path": "made"})).await);
    let by_user: [(&str, fn(&World)); 5] = [
        ("a.txt", |world| world.write("a.txt", "mine")),
        ("a.txt", |world| mode(world, "a.txt", 0o600)),
        ("a.txt", |world| std::fs::remove_file(world.path("a.txt")).expect("rm")),
        ("made/mine", |world| world.write("made/mine", "x")),
        ("a.txt", |world| {
            std::fs::remove_file(world.path("a.txt")).expect("rm");
            symlink("b.txt", world.path("a.txt")).expect("link");
        }),
    ];
    for (named, meddle) in by_user {
        meddle(&world);
        let now = shot(&world);
        let fault = undo(&world, &changes).await.expect_err("a conflict");
        assert_eq!(fault.code, Code::UNDO_CONFLICT);
        assert!(fault.message.contains(named) && !fault.message.contains("b.txt"), "{fault}");
        assert_eq!(shot(&world), now);
        std::fs::remove_file(world.path("made/mine")).ok();
        std::fs::remove_file(world.path("a.txt")).ok();
        world.write("a.txt", "A");
        mode(&world, "a.txt", 0o644);
    }
    assert!(undo(&world, &changes).await.is_ok(), "once it is again what the call left");
}

#[tokio::test]
async fn an_undo_that_was_killed_on_its_way_is_finished_by_the_same_call() {
    for reached in 0..=3 {
        let world = World::keeping();
        let mut changes = Vec::new();
        for name in ["a", "b", "c"] {
            world.write(name, "old");
            changes.extend(change(&world, "fs_write", json!({"path": name, "content": "new"})).await);
            changes.extend(change(&world, "fs_edit", json!({"path": name, "old": "new", "new": "newer"})).await);
        }
        // Newest first: c, then b, then a.
        for name in ["c", "b", "a"].into_iter().take(reached) {
            world.write(name, "old");
        }
        assert_eq!(undoable(&world, &changes).await.expect("goes on").len(), 3 - reached);
        undo(&world, &changes).await.expect("finished");
        assert_eq!(["a", "b", "c"].map(|name| world.read(name)), ["old", "old", "old"]);
    }
}

#[tokio::test]
async fn a_call_that_a_crash_cut_off_can_be_found_and_undone() {
    let world = World::keeping();
    world.write("a.txt", "precious");
    let args = json!({"path": "a.txt", "content": "new"});
    change(&world, "fs_write", args.clone()).await;
    // The outcome is lost; another process asks what the call was about.
    let noted = checkpoints(&world).noted(SESSION, 1).await.expect("a note");
    assert_eq!((noted.len(), noted[0].path.as_str()), (1, "a.txt"));
    // Run again, the call finds its own work and still knows what stood there before it.
    let place = world.place();
    let told = Arc::clone(&place.changes);
    world.registry.run(world.permit_again("fs_write", &args), place).await;
    assert_eq!(told.possible(), noted);
    undo(&world, &noted).await.expect("undone");
    assert_eq!(world.read("a.txt"), "precious");
    // What somebody wrote between the two runs is what comes back.
    change(&world, "fs_write", args.clone()).await;
    world.write("a.txt", "by hand");
    let place = world.place();
    let told = Arc::clone(&place.changes);
    world.registry.run(world.permit_again("fs_write", &args), place).await;
    undo(&world, &told.possible()).await.expect("undone");
    assert_eq!(world.read("a.txt"), "by hand");
}

#[tokio::test]
async fn what_is_too_large_is_recorded_as_lost_and_never_silently() {
    let world = World::keeping_at_most(10, 25);
    world.write("big", "more than ten bytes");
    let big = change(&world, "fs_write", json!({"path": "big", "content": "x"})).await;
    assert_eq!(big[0].lost, Some(Lost::TooLarge));
    let fault = undo(&world, &big).await.expect_err("not kept");
    assert!(fault.code == Code::NOT_RESTORABLE && fault.message.contains("`big`"), "{fault}");
    // Above the total the oldest content goes, and what needs it says so.
    let mut kept = Vec::new();
    for (name, text) in [("a", "aaaaaaaaaa"), ("b", "bbbbbbbbbb"), ("c", "cccccccccc")] {
        world.write(name, text);
        kept.push(change(&world, "fs_write", json!({"path": name, "content": ""})).await);
        assert_eq!(kept.last().expect("one")[0].lost, None);
    }
    assert_eq!(undo(&world, &kept[0]).await.expect_err("gone").code, Code::NOT_RESTORABLE);
    undo(&world, &kept[2]).await.expect("still kept");
    assert_eq!(world.read("c"), "cccccccccc");
    // What was not there before needs nothing kept.
    let made = change(&world, "fs_write", json!({"path": "made", "content": "far more than ten bytes"})).await;
    undo(&world, &made).await.expect("taken away");
    assert!(!world.path("made").exists());
}

#[tokio::test]
async fn no_link_leads_an_undo_outside() {
    let world = World::keeping();
    let outside = world.root.path().join("outside");
    std::fs::create_dir(&outside).expect("mkdir");
    std::fs::write(outside.join("a.txt"), "A").expect("write");
    world.write("dir/a.txt", "a");
    let changes = change(&world, "fs_write", json!({"path": "dir/a.txt", "content": "A"})).await;
    std::fs::rename(world.path("dir"), world.path("elsewhere")).expect("mv");
    symlink(&outside, world.path("dir")).expect("link");
    assert!(undo(&world, &changes).await.is_err());
    assert_eq!(std::fs::read_to_string(outside.join("a.txt")).expect("it"), "A");
    // A journal that somebody edited leads nowhere else either.
    let mut forged = changes.clone();
    forged[0].path = "../outside/a.txt".to_owned();
    assert_eq!(undo(&world, &forged).await.expect_err("refused").code, Code::PATH_REFUSED);
    assert_eq!(std::fs::read_to_string(outside.join("a.txt")).expect("it"), "A");
}

#[tokio::test]
async fn the_store_is_for_its_owner_alone_and_writes_a_content_once() {
    let world = World::keeping();
    world.write("a", "same");
    change(&world, "fs_write", json!({"path": "a", "content": "other"})).await;
    let dir = world.root.path().join("data/checkpoints").join(SESSION.to_string());
    let digest = are_core::digest::Digest::of(&[b"same"]).to_string();
    let blob = dir.join(&digest);
    let first = blob.metadata().expect("named by its digest");
    assert_eq!(first.permissions().mode() & 0o777, 0o600);
    assert_eq!(dir.join("log").metadata().expect("log").permissions().mode() & 0o777, 0o600);
    for above in [dir.as_path(), dir.parent().expect("the store")] {
        assert_eq!(above.metadata().expect("directory").permissions().mode() & 0o777, 0o700);
    }
    change(&world, "fs_write", json!({"path": "a", "content": "same"})).await;
    change(&world, "fs_write", json!({"path": "a", "content": "other"})).await;
    assert_eq!(blob.metadata().expect("still").ino(), first.ino(), "not written again");
    // Damage is seen, not put back.
    std::fs::write(&blob, "evil").expect("write");
    let changes = [FileChange {
        path: "a".to_owned(),
        from: None,
        before: Some(FileState::File { mode: 0o644, bytes: 4, digest: digest.parse().ok() }),
        after: Some(FileState::File { mode: 0o644, bytes: 5, digest: Some(are_core::digest::Digest::of(&[b"other"])) }),
        lost: None,
    }];
    mode(&world, "a", 0o644);
    assert_eq!(undo(&world, &changes).await.expect_err("damaged").code, Code::NOT_RESTORABLE);
    checkpoints(&world).erase(SESSION).await.expect("erased");
    assert!(!dir.exists());
    assert_eq!(world.fault("fs_write", json!({"path": "a", "content": "x"})).await.code, Code::SESSION_UNKNOWN);
}

#[derive(Debug, Clone)]
enum Act {
    Write(String, String),
    Mkdir(String),
    Delete(String),
    Move(String, String),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let path = || "[ab](/[ab]){0,2}";
    let act = prop_oneof![
        3 => (path(), "[xy]{0,2}").prop_map(|(path, text)| Act::Write(path, text)),
        1 => path().prop_map(Act::Mkdir),
        2 => path().prop_map(Act::Delete),
        2 => (path(), path()).prop_map(|(from, to)| Act::Move(from, to)),
    ];
    prop::collection::vec(act, 1..14)
}

/// Series that were once not undone: what a step makes is what a later one takes away.
#[tokio::test]
async fn what_came_and_went_within_a_turn_is_undone() {
    let write = |path: &str| Act::Write(path.to_owned(), String::new());
    let (mkdir, delete) = (|path: &str| Act::Mkdir(path.to_owned()), |path: &str| Act::Delete(path.to_owned()));
    let moved = |from: &str, to: &str| Act::Move(from.to_owned(), to.to_owned());
    for (before, during) in [
        (vec![mkdir("b/b/a"), mkdir("a")], vec![write("a/b"), moved("b/b", "b/a"), delete("a/b")]),
        (vec![write("b")], vec![delete("b"), write("a/b"), moved("a/b", "b"), delete("a")]),
        (vec![mkdir("a/a"), write("b/a")], vec![delete("b/a"), moved("b", "a/a/a"), write("b/a")]),
        (vec![], vec![write("a/a"), delete("a/a"), delete("a"), write("a")]),
    ] {
        let world = World::keeping();
        run(&world, before).await;
        let first = shot(&world);
        let changes = run(&world, during.clone()).await;
        undo(&world, &changes).await.unwrap_or_else(|fault| panic!("{during:?}: {fault}"));
        assert_eq!(shot(&world), first, "{during:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_series_of_calls_can_be_undone_and_the_undo_too(before in acts(), during in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let world = World::keeping();
            run(&world, before).await;
            let first = shot(&world);
            let changes = run(&world, during.clone()).await;
            let second = shot(&world);
            let undone = undo(&world, &changes).await.unwrap_or_else(|fault| panic!("{during:?}: {fault}\n{changes:#?}"));
            assert_eq!(shot(&world), first, "{during:?}");
            undo(&world, &undone).await.unwrap_or_else(|fault| panic!("redo {during:?}: {fault}\n{undone:#?}"));
            assert_eq!(shot(&world), second, "redo {during:?}");
        });
    }
}

/// Runs calls, of which many fail; what they changed.
async fn run(world: &World, acts: Vec<Act>) -> Vec<FileChange> {
    let mut all = Vec::new();
    for act in acts {
        let (tool, args) = match act {
            Act::Write(path, content) => ("fs_write", json!({"path": path, "content": content})),
            Act::Mkdir(path) => ("fs_mkdir", json!({"path": path})),
            Act::Delete(path) => ("fs_delete", json!({"path": path})),
            Act::Move(from, to) => ("fs_move", json!({"from": from, "to": to})),
        };
        let place = world.place();
        let changes = Arc::clone(&place.changes);
        all.extend(match world.registry.run(world.permit(tool, &args), place).await {
            ToolOutcome::Completed { .. } => changes.possible(),
            ToolOutcome::Failed { .. } => changes.certain(),
            ToolOutcome::Unknown { fault, .. } => panic!("{tool} {args}: {fault}"),
        });
    }
    all
}

/// Not held to a figure, because disks differ; printed so that the cost is known.
#[tokio::test]
async fn what_keeping_adds_to_a_write_is_told() {
    const WRITES: usize = 40;
    async fn median_us(world: &World, text: impl Fn(usize) -> String) -> u128 {
        let mut times = Vec::new();
        for n in 0..WRITES {
            let args = json!({"path": "a.txt", "content": text(n)});
            let begun = std::time::Instant::now();
            world.ok("fs_write", args).await;
            times.push(begun.elapsed().as_micros());
        }
        times.sort_unstable();
        times[WRITES / 2]
    }
    let body = "x".repeat(8 << 10);
    let (plain, keeping) = (World::new(), World::keeping());
    for world in [&plain, &keeping] {
        world.write("a.txt", "begin");
    }
    let without = median_us(&plain, |n| format!("{n}{body}")).await;
    let new = median_us(&keeping, |n| format!("{n}{body}")).await;
    let known = median_us(&keeping, |n| format!("{}{body}", n % 2)).await;
    println!(
        "fs_write of 8 KiB, median of {WRITES}: {without} us, keeping a new content {new} us, a known one {known} us"
    );
    let dir = keeping.root.path().join("data/checkpoints").join(SESSION.to_string());
    let kept = std::fs::read_dir(dir).expect("the store").flatten().filter(|entry| entry.file_name() != "log").count();
    assert_eq!(kept, WRITES + 1, "each content once");
}

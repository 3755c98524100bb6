//! A full disk is waited out; a failed write is not.

use std::fs;
use std::path::Path;
use std::process::Command;

use are_core::store::{Store, StoreError};
use are_store::sqlite::{Options, SqliteStore};
use are_testkit::run;

use crate::kill::{child, child_dir, say};
use crate::support::*;

/// A small file system of its own, gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where nothing may be mounted and that was allowed.
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(dir)),
            other => {
                run::skip(format!("a tmpfs cannot be mounted: {other:?}"));
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// Appends until there is no space.
async fn fill(store: &SqliteStore, actor: &mut Actor, bytes: usize, durability: are_core::store::Durability) {
    for _ in 0..1_000_000 {
        let append = actor.next(vec![record("x".repeat(bytes)), frame("y")], durability);
        let head = append.head;
        match store.append(append).await {
            Ok(_) => actor.head = head,
            Err(StoreError::Full) => return,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk does not fill");
}

async fn goes_on_when_there_is_space(options: &Options) {
    let Some(disk) = SmallDisk::mount("4m") else {
        return;
    };
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let dir = disk.0.path().join("data");
    let store = SqliteStore::open(&dir, options).unwrap();
    let mut actor = Actor::create(&store, 1).await;
    let mut other = Actor::create(&store, 2).await;
    for durability in [Written, Durable] {
        fill(&store, &mut actor, 50_000, durability).await;
        fill(&store, &mut actor, 10, durability).await;
        fill(&store, &mut other, 10, durability).await;
    }
    // Refused, whole, and served.
    assert_eq!(store.session(actor.session).await.unwrap().head, actor.head);
    verify(&store, actor.session).await;
    verify(&store, other.session).await;

    fs::remove_file(&ballast).unwrap();
    actor.append(&store, vec![record("space again"), frame("z")], Durable).await;
    other.append(&store, vec![record("space again")], Written).await;
    fill(&store, &mut actor, 1_000, Durable).await;
    drop(store);

    // It also opens on the full disk.
    let store = SqliteStore::open(&dir, options).unwrap();
    for actor in [actor, other] {
        assert_eq!(store.session(actor.session).await.unwrap().head, actor.head);
        verify(&store, actor.session).await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_appends_until_there_is_space() {
    goes_on_when_there_is_space(&Options::default()).await;
}

#[tokio::test]
async fn a_disk_that_is_full_for_checkpoints_too_refuses_appends_until_there_is_space() {
    let options = Options { log_soft_bytes: 64 << 10, log_hard_bytes: 256 << 10, ..Options::default() };
    goes_on_when_there_is_space(&options).await;
}

/// The child of the next test, under a limit on the size of files.
#[tokio::test]
async fn child_that_cannot_write() {
    let Some(dir) = child_dir("cannot-write") else {
        return;
    };
    let store = open(&dir);
    let failed = store.failed();
    let mut actor = Actor::create(&store, 1).await;
    let reason = loop {
        let append = actor.next(vec![record("x".repeat(5_000))], Durable);
        let head = append.head;
        match store.append(append).await {
            Ok(receipt) => {
                actor.head = head;
                say(&format!("{}", receipt.last()));
            }
            Err(StoreError::Failed(reason)) => break reason,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(failed.await, reason);
    // For good: also for what would fit.
    for durability in [Written, Durable] {
        let again = store.append(actor.next(vec![frame("x")], durability)).await;
        assert_eq!(again, Err(StoreError::Failed(reason.clone())));
    }
    assert!(matches!(store.claim(actor.session).await, Err(StoreError::Failed(_))));
    assert!(matches!(store.close().await, Err(StoreError::Failed(_))));
    say("failed");
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_written_any_more() {
    let dir = tempfile::tempdir().unwrap();
    // The signal of the limit is ignored, so that the write fails instead.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 600; exec \"$@\"", "sh"]);
    let output = child(shell, "full::child_that_cannot_write", "cannot-write", dir.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("said ")).collect();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.last(), Some(&"failed"));
    let last: u64 = said[said.len() - 2].parse().unwrap();
    assert!(last > 5, "{text}");
    check_after_failure(dir.path(), last).await;
}

async fn check_after_failure(dir: &Path, last: u64) {
    let store = open(dir);
    let head = store.session(key(1)).await.unwrap().head;
    assert!(head.seq == last || head.seq == last + 1, "{head:?} after {last}");
    verify(&store, key(1)).await;
}

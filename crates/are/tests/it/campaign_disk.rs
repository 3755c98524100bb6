//! The disk is full: new turns are refused with a reason, what is stored is served, and when there is space
//! again the same process goes on.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use are_testkit::provider::Reply;
use are_testkit::run;
use serde_json::json;

use crate::campaign_check::all_is_well;
use crate::campaign_client::{Follower, Line};
use crate::campaign_stage::{Life, Scene};
use crate::campaign_strace::{Strace, Sync};

/// Prompts that are tried before the disk counts as one that does not fill.
const PROMPTS_MAX: u64 = 200;

/// Looks at a turn before it counts as one that does not wait for space.
const LOOKS_MAX: u64 = 2_000;

/// A small file system of its own, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where nothing may be mounted and that was allowed.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir(at).expect("a new directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            other => {
                run::skip(format!("a tmpfs cannot be mounted: {other:?}"));
                None
            }
        }
    }

    /// Takes all the space that is left; what is given back later.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut file = File::create(&ballast).expect("a file");
        while file.write_all(&[0; 1 << 12]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// Prompts in sessions of their own until one is refused: the sockets of those that were accepted, which
/// may have to wait for space, and the refusal.
async fn prompt_until_refused(life: &Life) -> (Vec<Line>, serde_json::Value) {
    let mut accepted = Vec::new();
    for number in 0..PROMPTS_MAX {
        let mut line = Line::open(life).await.expect("a server");
        let content = format!("job 9{number} {}", "x".repeat(8 << 10));
        line.send(&json!({"type": "prompt", "content": content})).await;
        let answer = line.until(&["ack", "error"]).await.expect("the server lives");
        if answer["type"] == "error" {
            return (accepted, answer);
        }
        accepted.push(line);
    }
    panic!("the disk does not fill");
}

#[tokio::test]
async fn campaign_a_full_disk_refuses_turns_serves_what_is_stored_and_is_over_without_a_restart() {
    let mut scene = Scene::that_asks().await;
    let mount = scene.stage.home().join("disk");
    let Some(disk) = SmallDisk::mount(&mount) else { return };
    scene.move_to(&mount.join("data"));
    // Two sessions: one that no worker has opened in this life of the server, and one that is open.
    let mut life = scene.start().await;
    let mut unopened = Follower::of(100);
    assert!(unopened.follow(&life).await, "{:?}\n{}", unopened.errors, scene.log());
    life.terminate().await;
    let mut life = scene.start().await;
    let mut follower = Follower::default();
    assert!(follower.follow(&life).await, "{:?}\n{}", follower.errors, scene.log());

    // A third, whose turn is in the middle of an answer when the space ends.
    let mut waiting = Line::open(&life).await.expect("a server");
    let asked = scene.stage.provider().requests().len() as u64;
    scene.stage.provider().script([Reply::text(["words ", "for ", "which ", "there ", "is ", "no ", "space"]).held()]);
    waiting.send(&json!({"type": "prompt", "content": "go on"})).await;
    let session = waiting.until(&["ack"]).await.expect("an answer")["session"].clone();
    scene.stage.provider().arrived(asked + 1).await;

    let ballast = disk.fill();
    let (mut accepted, refusal) = prompt_until_refused(&life).await;
    scene.stage.provider().release(100);
    let mut waiter = Follower::of(200);
    waiter.session = session.as_str().map(str::to_owned);
    // It can be looked at before it waits and while it does.
    for look in 0.. {
        assert!(look < LOOKS_MAX, "the turn does not wait");
        let is_waiting = scene.log().contains("the turn waits for it");
        let seen = waiter.fresh(&life).await;
        assert_eq!((seen.of_type("turn_started").count(), seen.end_of(1)), (1, None));
        if is_waiting {
            break;
        }
    }
    println!("{} accepted before {refusal}", accepted.len());
    assert_eq!((refusal["code"].as_str(), refusal["retryable"].as_bool()), (Some("ARE-0306"), Some(true)));
    // The session that was there before is refused new turns, too, and served all the same.
    assert!(!follower.next_job(&life).await);
    assert_eq!(follower.errors.pop().expect("an error")["code"], "ARE-0306");
    for reader in [&follower, &unopened] {
        let session = reader.session.clone().expect("a session");
        let shown = scene.stage.run(&["session", "show", "--json", &session]).await.exits(0).json();
        assert_eq!(shown["turns"], 1);
        let events = scene.stage.run(&["session", "events", "--json", &session]).await.exits(0).lines();
        assert_eq!(events.last().expect("events")["seq"], reader.seen.seq);
        scene.stage.run(&["session", "export", &session]).await.exits(0);
        assert_eq!(reader.fresh(&life).await.records, reader.seen.records);
    }
    assert_eq!(life.status_of("/livez").await, Some(200));

    std::fs::remove_file(ballast).expect("removed");
    accepted.push(waiting);
    for line in &mut accepted {
        let end = line.allow_to_the_end().await.expect("the server lives");
        assert_eq!(end["type"], "turn_completed", "{end}");
    }
    all_is_well(&scene, &life, &mut follower).await;
    life.terminate().await;
}

#[tokio::test]
async fn campaign_a_quota_that_is_used_up_is_waited_for_like_a_full_disk() {
    // A write of the prompt's commit, and one in the middle of the turn.
    for number in [1, 60] {
        let scene = Scene::new().await;
        let mut life = scene.start().await;
        let log = scene.data_dir.join("are.db-wal");
        let write = Sync { call: "write,pwrite64".to_owned(), number, path: Some(log) };
        let Some(mut strace) = Strace::attach(&life, Some((&write, "error=EDQUOT"))).await else { return };
        let mut follower = Follower::default();
        if !follower.follow(&life).await {
            let error = follower.errors.pop().expect("an error");
            assert_eq!((error["code"].as_str(), error["retryable"].as_bool()), (Some("ARE-0306"), Some(true)));
        }
        assert_eq!(life.status_of("/readyz").await, Some(200));
        while !strace.line().await.expect("the server lives").contains("INJECTED") {}
        drop(strace);
        all_is_well(&scene, &life, &mut follower).await;
        life.terminate().await;
    }
}

//! The power is lost right after a sync: the server stands still, its directory is copied, and the copy
//! must hold everything that anybody was told. And a sync that fails.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::Instant;

use are_testkit::run::Chance;
use serde_json::{Value, json};

use crate::campaign_check::all_is_well;
use crate::campaign_client::{Follower, Line};
use crate::campaign_stage::{Life, Scene};
use crate::campaign_strace::{Strace, Sync, TRIES, syncs_of_a_turn};

/// Clients that only read when a sync fails.
const READERS: usize = 4;

/// What the disk holds; sockets are not on it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new directory");
    for entry in fs::read_dir(from).expect("readable").flatten() {
        let kind = entry.file_type().expect("a type");
        let to = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if !kind.is_socket() {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

#[tokio::test]
async fn campaign_a_power_loss_after_any_commit_keeps_what_was_acknowledged() {
    let mut chance = Chance::of_this_run();
    let Some(syncs) = syncs_of_a_turn(Scene::that_asks().await).await else { return };
    let begun = Instant::now();
    let chosen = chance.spread(&syncs, 4);
    for sync in &chosen {
        let mut tries = 0;
        while !is_kept_at(sync).await {
            tries += 1;
            assert!(tries < TRIES, "{sync:?} is met");
        }
    }
    println!("stopped at {} commits in {:?}", chosen.len(), begun.elapsed());
}

/// One turn whose server stands still at this sync, and what a copy of its directory holds. False when the sync did not come.
async fn is_kept_at(sync: &Sync) -> bool {
    let mut scene = Scene::that_asks().await;
    let mut life = scene.start().await;
    let mut follower = Follower::default();
    assert!(follower.follow(&life).await, "{:?}", follower.errors);
    follower.job += 1;
    let mut strace = Strace::attach(&life, Some((sync, "signal=SIGSTOP"))).await.expect("it could before");
    let is_stopped = tokio::select! {
        // Both only read.
        is_stopped = strace.stopped(&life) => is_stopped,
        _ = follower.follow(&life) => false,
    };
    if !is_stopped {
        assert!(follower.errors.is_empty(), "{sync:?}: {:?}\n{}", follower.errors, scene.log());
        life.kill().await;
        return false;
    }
    let after = scene.stage.home().join("after");
    copy(&scene.data_dir, &after);
    life.kill().await;

    scene.move_to(&after);
    let mut life = scene.start().await;
    println!("{sync:?}: acknowledged {:?}, seen up to {}", follower.acked, follower.seen.seq);
    all_is_well(&scene, &life, &mut follower).await;
    assert_eq!(follower.resets, 1, "a copy is another epoch, and the client is told to read anew");
    life.terminate().await;
    true
}

/// Clients that are attached to sessions in which nothing happens.
async fn idle_readers(life: &Life) -> Vec<Line> {
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut line = Line::open(life).await.expect("a server");
        line.send(&json!({"type": "attach", "session": "new"})).await;
        line.until(&["attached"]).await.expect("an answer");
        readers.push(line);
    }
    readers
}

fn codes(errors: &[Value]) -> Vec<&str> {
    errors.iter().filter_map(|error| error["code"].as_str()).collect()
}

#[tokio::test]
async fn campaign_a_sync_that_fails_ends_the_server_and_everybody_who_is_attached_hears_why() {
    let mut chance = Chance::of_this_run();
    let Some(mut syncs) = syncs_of_a_turn(Scene::new().await).await else { return };
    // The store's own: where a file tool's sync fails, one call fails and the turn goes on.
    let store = syncs[0].call.clone();
    syncs.retain(|sync| sync.call == store);
    let first = syncs.remove(0);
    let mut chosen = chance.spread(&syncs, 2);
    chosen.insert(0, first);
    for sync in &chosen {
        let scene = Scene::new().await;
        let mut life = scene.start().await;
        assert_eq!(life.status_of("/readyz").await, Some(200));
        let mut readers = idle_readers(&life).await;
        let _strace = Strace::attach(&life, Some((sync, "error=EIO"))).await.expect("it could before");
        let mut follower = Follower::default();
        assert!(!follower.follow(&life).await, "the turn cannot end");
        // Not ready any more, or not even there.
        let readiness = life.status_of("/readyz").await;
        assert!(readiness.is_none_or(|status| status == 503), "{readiness:?}");
        let code = life.ended().await.code();
        assert!(code.is_some_and(|code| code != 0), "{code:?}");
        assert!(scene.log().contains("ARE-0305"), "{}", scene.log());
        println!("{sync:?}: exit {code:?}, readiness {readiness:?}, told {:?}", follower.errors);
        if sync.number == 1 {
            assert!(follower.acked.is_empty(), "the commit of the prompt failed");
        }
        assert_eq!(codes(&follower.errors), ["ARE-0305"], "the turn's own client");
        for reader in &mut readers {
            let mut errors = Vec::new();
            while let Some(message) = reader.next().await {
                errors.push(message);
            }
            assert!(!errors.is_empty() && codes(&errors).iter().all(|code| *code == "ARE-0305"), "{errors:?}");
        }

        let mut life = scene.start().await;
        all_is_well(&scene, &life, &mut follower).await;
        life.terminate().await;
    }
}

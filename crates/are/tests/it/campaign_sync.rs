//! Kill -9 at each sync: at those of a turn, and at those of the first start.

use std::time::Instant;

use are_testkit::run::{self, Chance};

use crate::campaign_check::all_is_well;
use crate::campaign_client::Follower;
use crate::campaign_stage::Scene;
use crate::campaign_strace::{Strace, Sync, TRIES, missing, syncs_in, syncs_of_a_turn, traced_start};

/// Syncs of a turn that a short run kills at, out of some twenty.
const SPREAD: usize = 7;

#[tokio::test]
async fn campaign_a_kill_at_any_sync_of_a_turn_loses_and_repeats_nothing() {
    let mut chance = Chance::of_this_run();
    let Some(syncs) = syncs_of_a_turn(Scene::new().await).await else { return };
    let begun = Instant::now();
    let chosen = chance.spread(&syncs, SPREAD);
    let mut met = 0;
    for sync in &chosen {
        let scene = Scene::new().await;
        met += usize::from(is_killed_at(&scene, sync).await);
    }
    // The files' own syncs are made by other threads, which never come first: both replacements of a file.
    for number in [1, 2] {
        let mut tries = 0;
        loop {
            let scene = Scene::new().await;
            let path = Some(scene.stage.project());
            if is_killed_at(&scene, &Sync { call: "fsync".to_owned(), number, path }).await {
                break;
            }
            tries += 1;
            assert!(tries < TRIES, "{number}");
        }
    }
    println!("killed at {met} of {} syncs, out of {}, in {:?}", chosen.len(), syncs.len(), begun.elapsed());
    assert!(met * 4 >= chosen.len() * 3, "most syncs are met: {met} of {}", chosen.len());
}

/// One turn that is killed at this sync, and what the next start makes of it. False when the sync did not come:
/// a thread pool may spread its calls otherwise than in the first run.
async fn is_killed_at(scene: &Scene, sync: &Sync) -> bool {
    let mut life = scene.start().await;
    let _strace = Strace::attach(&life, Some((sync, "signal=SIGKILL"))).await.expect("it could before");
    let mut follower = Follower::default();
    let is_killed = !follower.follow(&life).await;
    life.kill().await;
    let mut life = scene.start().await;
    println!("{sync:?}: acknowledged {:?}, seen up to {}", follower.acked, follower.seen.seq);
    all_is_well(scene, &life, &mut follower).await;
    assert_eq!(follower.resets, 0, "after a kill no client has seen what the server forgot");
    life.terminate().await;
    is_killed
}

#[tokio::test]
async fn campaign_a_first_start_that_is_killed_at_any_sync_is_made_good_by_the_next() {
    let mut chance = Chance::of_this_run();
    if let Some(error) = missing().await {
        return run::skip(format!("strace does not start: {error}"));
    }
    let scene = Scene::new().await;
    let log = scene.stage.home().join("strace.log");
    let mut life = traced_start(&scene, None, &log);
    if !life.ready().await {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        return run::skip(format!("strace cannot trace: {:?} {said}", life.ended().await));
    }
    life.terminate().await;
    let trace = std::fs::read_to_string(&log).expect("a trace");
    let syncs = syncs_in(trace.lines());
    assert!(syncs.len() >= 3, "{trace}");

    let chosen = chance.spread(&syncs, 4);
    for sync in &chosen {
        let scene = Scene::new().await;
        let mut life = traced_start(&scene, Some(sync), &log);
        let was_killed = !life.ready().await;
        println!("{sync:?}: killed before ready: {was_killed}");
        if was_killed {
            life.ended().await;
        } else {
            life.kill().await;
        }
        let mut life = scene.start().await;
        all_is_well(&scene, &life, &mut Follower::default()).await;
        life.terminate().await;
    }
    println!("killed at {} syncs out of {}", chosen.len(), syncs.len());
}

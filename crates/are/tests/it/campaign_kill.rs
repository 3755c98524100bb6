//! Kill -9 at random instants, ten in a row, also while the server starts and recovers.

use std::time::Duration;

use are_testkit::run::{Chance, is_long};
use tokio::time::{Instant, timeout_at};

use crate::campaign_check::all_is_well;
use crate::campaign_client::Follower;
use crate::campaign_stage::Scene;

/// Kills of one session before it may finish.
const KILLS: u64 = 10;

#[tokio::test]
async fn campaign_ten_kills_in_a_row_lose_and_repeat_nothing() {
    let mut chance = Chance::of_this_run();
    for _ in 0..if is_long() { 20 } else { 2 } {
        one_session(&mut chance, Scene::new().await).await;
        one_session(&mut chance, Scene::that_asks().await).await;
    }
}

async fn one_session(chance: &mut Chance, scene: Scene) {
    // How long a start and a turn take here: the instants lie within.
    let begun = Instant::now();
    let mut life = scene.start().await;
    let started = begun.elapsed();
    let mut follower = Follower::default();
    assert!(follower.follow(&life).await, "{:?}\n{}", follower.errors, scene.log());
    let whole = begun.elapsed();
    life.kill().await;

    let (mut ended, mut before_ready) = (0, 0);
    follower.job += 1;
    for _ in 0..KILLS {
        // A third of the lives end before or while they recover.
        let span = if chance.below(3) == 0 { started * 3 / 2 } else { whole * 5 / 4 };
        let instant = Instant::now() + Duration::from_micros(chance.below(span.as_micros() as u64));
        let mut life = scene.spawn();
        let living = async {
            assert!(life.ready().await, "it does not start:\n{}", scene.log());
            while follower.follow(&life).await {
                follower.job += 1;
                ended += 1;
            }
            panic!("the connection was lost before the kill: {:?}\n{}", follower.errors, scene.log());
        };
        let outlived: Result<(), _> = timeout_at(instant, living).await;
        assert!(outlived.is_err());
        before_ready += u32::from(life.authority.is_empty());
        life.kill().await;
    }
    let mut life = scene.start().await;
    all_is_well(&scene, &life, &mut follower).await;
    assert_eq!(follower.resets, 0, "after a kill no client has seen what the server forgot");
    let count = |kind| follower.seen.of_type(kind).count();
    println!(
        "start {started:?}, turn {:?}: {before_ready} of {KILLS} before ready, {ended} turns ended between, {} resumed, \
         {} answers begun again, {} outcomes unknown, {} approvals",
        whole - started,
        count("turn_resumed"),
        count("model_restarted"),
        count("tool_unknown"),
        count("approval_requested")
    );
    life.terminate().await;
}

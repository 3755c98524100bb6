//! Kill -9 at random instants, ten in a row, also while the server starts and recovers.

use std::time::Duration;

use are_testkit::provider::Reply;
use are_testkit::run::{Chance, is_long};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use crate::campaign_check::all_is_well;
use crate::campaign_client::Follower;
use crate::campaign_stage::{PATIENCE, Scene};

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

/// Kills while one answer of the client's turn comes.
const KILLS_OF_AN_ANSWER: usize = 2;

#[tokio::test]
async fn campaign_the_client_attaches_again_after_kills_and_ends_with_the_whole_answer() {
    let scene = Scene::new().await;
    let provider = scene.stage.provider();
    let whole = ["One ", "two ", "three."];
    provider.script((0..KILLS_OF_AN_ANSWER).map(|_| Reply::text(whole).held()).chain([Reply::text(whole)]));
    let mut life = scene.start().await;
    let mut client = scene.stage.command(&["run", "count"]).spawn().expect("the program starts");
    let mut stdout = client.stdout.take().expect("a pipe");
    let mut shown = String::new();
    for kill in 1..=KILLS_OF_AN_ANSWER {
        provider.arrived(kill as u64).await;
        provider.release(1);
        while shown.matches("One ").count() < kill {
            let mut bytes = [0; 64];
            let count = timeout(PATIENCE, stdout.read(&mut bytes)).await.expect("words in time").expect("readable");
            assert!(count > 0, "the client ended after {shown:?}");
            shown.push_str(std::str::from_utf8(&bytes[..count]).expect("ASCII"));
        }
        life.kill().await;
        life = scene.start().await;
    }
    timeout(PATIENCE, stdout.read_to_string(&mut shown)).await.expect("an end in time").expect("readable");
    let ended = client.wait_with_output().await.expect("it ends");
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert_eq!(ended.status.code(), Some(0), "{shown}\n{said}");
    assert_eq!(shown, "One \nOne \nOne two three.\n", "{said}");
    for (line, times) in
        [("the connection is lost; attaching again", KILLS_OF_AN_ANSWER), ("the model begins again", 2)]
    {
        assert_eq!(said.matches(line).count(), times, "{said}");
    }
    life.terminate().await;
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

//! What ninety-nine quiet accounts notice of a hundredth that is noisy.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use are_core::error::Fault;
use hyper::Method;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Figure;
use super::process::Begun;
use super::sample::Sample;
use super::wire::{Protocol, Wire, lost};
use crate::client::{Client, Door};
use crate::config::Secret;

/// Accounts that prompt now and then.
const QUIET: usize = 99;
/// Between two prompts of one of them.
const PAUSE: Duration = Duration::from_secs(1);
/// Prompts of each of them in one measurement.
const PROMPTS: usize = 20;
/// Sockets of the noisy account, each of which prompts without a pause.
const NOISY: usize = 200;
/// Turns before the clock starts, of each quiet account.
const WARM_UP: usize = 2;
/// How long the noisy account makes noise before it is measured.
const AHEAD: Duration = Duration::from_secs(2);

/// Starts a server in `dir` and measures the quiet accounts' turns without and with the noisy one.
pub(super) async fn measure(dir: &Path) -> Result<Vec<Figure>, Fault> {
    let server = Begun::start(&dir.join("fairness")).await?;
    let client = Client::new(server.door.clone());
    let mut quiet = Vec::with_capacity(QUIET);
    for index in 0..QUIET {
        quiet.push(door_of(&client, &server.address, &format!("quiet{index}")).await?);
    }
    let noisy = door_of(&client, &server.address, "noisy").await?;
    let alone = Sample::new(all(&quiet).await?);
    let stop = CancellationToken::new();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..NOISY {
        crowd.spawn(make_noise(noisy.clone(), stop.clone()));
    }
    tokio::time::sleep(AHEAD).await;
    let beside = all(&quiet).await;
    stop.cancel();
    let mut turns = 0;
    while let Some(ended) = crowd.join_next().await {
        turns += ended.map_err(|_| lost("a client failed"))??;
    }
    let beside = Sample::new(beside?);
    server.kill().await?;
    let mut figures = Vec::new();
    for (share, name, name_beside) in [
        (0.5, "quiet_turn_p50", "quiet_turn_beside_noisy_p50"),
        (0.99, "quiet_turn_p99", "quiet_turn_beside_noisy_p99"),
    ] {
        let (one, other) = (alone.percentile(share), beside.percentile(share));
        figures.push(Figure::new(name, one, "us", alone.len()));
        figures.push(Figure::new(name_beside, other, "us", beside.len()).beside(one, name));
    }
    figures.push(Figure::new("noisy_turns", turns as f64, "turns", turns));
    Ok(figures)
}

/// Makes an account; the door through which it speaks.
pub(super) async fn door_of(client: &Client, address: &str, account: &str) -> Result<Door, Fault> {
    client.send(Method::POST, "/api/accounts", Some(&json!({"account": account}))).await?;
    let wish = json!({"account": account, "scopes": ["read", "prompt"]});
    let made = client.send(Method::POST, "/api/tokens", Some(&wish)).await?;
    let token = made["token"].as_str().ok_or_else(|| lost("no token was made"))?;
    let url: Url = address.parse().map_err(|_| lost("the ready line names no address"))?;
    Ok(Door::Web { url, token: Some(Secret::new(token)) })
}

/// Every quiet account prompts, each at its own moment of the second; how long its turns took.
async fn all(doors: &[Door]) -> Result<Vec<Duration>, Fault> {
    let mut clients = tokio::task::JoinSet::new();
    // Getting warm is a burst of its own, so nobody begins before all are.
    let warm = Arc::new(Barrier::new(doors.len()));
    for (index, door) in doors.iter().enumerate() {
        let warm = Arc::clone(&warm);
        let (door, offset) = (door.clone(), PAUSE * u32::try_from(index).unwrap_or(0) / QUIET as u32);
        clients.spawn(async move {
            let mut wire = Wire::open(&door, Protocol::V2).await?;
            for _ in 0..WARM_UP {
                wire.turn(None).await?;
            }
            warm.wait().await;
            let begun = Instant::now() + PAUSE + offset;
            let mut took = Vec::with_capacity(PROMPTS);
            for round in 0..PROMPTS {
                // By the clock and not after the last answer, so that a slow one does not thin out the load.
                sleep_until((begun + PAUSE * u32::try_from(round).unwrap_or(0)).into()).await;
                took.push(wire.turn(None).await?.whole);
            }
            Ok::<_, Fault>(took)
        });
    }
    let mut took = Vec::with_capacity(QUIET * PROMPTS);
    while let Some(ended) = clients.join_next().await {
        took.extend(ended.map_err(|_| lost("a client failed"))??);
    }
    Ok(took)
}

/// Prompts without a pause, in sessions that stay short; how many turns it got.
async fn make_noise(door: Door, stop: CancellationToken) -> Result<usize, Fault> {
    let mut turns = 0;
    while !stop.is_cancelled() {
        let mut wire = Wire::open(&door, Protocol::V2).await?;
        for _ in 0..PROMPTS {
            if stop.is_cancelled() {
                break;
            }
            wire.turn(None).await?;
            turns += 1;
        }
    }
    Ok(turns)
}

//! Many clients at once: turns a second as their number rises, the first token beside running streams, answers
//! beside idle sockets, and everybody coming back after a lost line or a restart.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use are_core::error::Fault;
use serde_json::json;
use tokio::task::JoinSet;

use super::fairness::door_of;
use super::process::{Begun, usage_of};
use super::sample::Sample;
use super::wire::{Protocol, Wire, lost};
use super::{Figure, idle};
use crate::client::{Client, Door};

/// Clients at once; each count is measured on a server that has been warmed up.
const RISING: [(usize, &str); 6] = [
    (1, "turns_per_second_1_at_once"),
    (10, "turns_per_second_10_at_once"),
    (50, "turns_per_second_50_at_once"),
    (100, "turns_per_second_100_at_once"),
    (200, "turns_per_second_200_at_once"),
    (500, "turns_per_second_500_at_once"),
];
/// How long they run before turns are counted, and how long these are. All clients are busy all the time: a fixed number of
/// turns each would count how the slowest of many ends.
const RISING_FIRST: Duration = Duration::from_secs(1);
const RISING_TIME: Duration = Duration::from_secs(5);
/// Turns of one session. Long ones cost more a turn, and few clients would have the longest.
const SESSION_TURNS: usize = 20;
/// Streams that run while first tokens are measured, and what each says; see `zero_delay_provider`.
const STREAMS: usize = 200;
const STREAMING_MODEL: &str = "paced-100000-50";
const FIRST_TOKENS: usize = 400;
/// Sockets that say nothing while others are answered, and answers.
const IDLE: usize = 10_000;
const PROBES: usize = 2_000;
/// Clients that lose their lines at the same moment.
const LOST: usize = 2_000;
/// At once while they are prepared.
const PREPARING: usize = 50;
/// Streams through a restart: four seconds each.
const RESTARTED: usize = 100;
const RESTARTED_TOKENS: usize = 200;
const RESTARTED_MODEL: &str = "paced-200-20";
/// Tokens that each has before the end begins.
const SEEN: usize = 20;
/// Without an answer for so long a client is not back.
const BACK: Duration = Duration::from_secs(60);

/// Starts servers in `dir` and measures.
pub(super) async fn measure(dir: &Path) -> Result<Vec<Figure>, Fault> {
    idle::raise_limit();
    let mut figures = Vec::new();
    let mut best: f64 = 0.0;
    for (count, name) in RISING {
        let server = Begun::start(&dir.join(format!("rising-{count}"))).await?;
        let (turns, rate) = rate(&web(&server).await?, count).await?;
        figures.push(Figure::new(name, rate, "1/s", turns).beside(best, "the best of fewer at once"));
        best = best.max(rate);
        server.kill().await?;
    }
    figures.extend(beside_streams(&dir.join("streams")).await?);
    figures.extend(beside_idle(&dir.join("idle")).await?);
    figures.extend(reconnected(&dir.join("reconnected")).await?);
    figures.extend(restarted(&dir.join("restarted")).await?);
    Ok(figures)
}

/// The server as clients over TCP have it.
async fn web(server: &Begun) -> Result<Door, Fault> {
    door_of(&Client::new(server.door.clone()), &server.address, "many").await
}

/// Turns that so many clients have, and how many a second.
async fn rate(door: &Door, count: usize) -> Result<(usize, f64), Fault> {
    let mut wires = Vec::with_capacity(count);
    for _ in 0..count {
        let mut wire = Wire::open(door, Protocol::V2).await?;
        wire.turn(None).await?;
        wires.push(wire);
    }
    let (turns, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for mut wire in wires {
        let (turns, is_over) = (Arc::clone(&turns), Arc::clone(&is_over));
        let door = door.clone();
        clients.spawn(async move {
            let mut left = SESSION_TURNS;
            while !is_over.load(Ordering::Relaxed) {
                if left == 0 {
                    (wire, left) = (Wire::open(&door, Protocol::V2).await?, SESSION_TURNS);
                }
                wire.turn(None).await?;
                left -= 1;
                turns.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, Fault>(())
        });
    }
    tokio::time::sleep(RISING_FIRST).await;
    let (before, begun) = (turns.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(RISING_TIME).await;
    let (after, took) = (turns.load(Ordering::Relaxed), begun.elapsed());
    is_over.store(true, Ordering::Relaxed);
    ended(clients).await?;
    Ok((after - before, (after - before) as f64 / took.as_secs_f64()))
}

async fn ended<T: 'static>(mut clients: JoinSet<Result<T, Fault>>) -> Result<Vec<T>, Fault> {
    let mut all = Vec::with_capacity(clients.len());
    while let Some(client) = clients.join_next().await {
        all.push(client.map_err(|_| lost("a client failed"))??);
    }
    Ok(all)
}

/// First tokens of short turns, alone and beside streams.
async fn beside_streams(dir: &Path) -> Result<Vec<Figure>, Fault> {
    let server = Begun::start(dir).await?;
    let door = web(&server).await?;
    let alone = firsts(&door).await?;
    let mut readers = JoinSet::new();
    for _ in 0..STREAMS {
        let mut wire = Wire::open(&door, Protocol::V2).await?;
        wire.prompt(Some(STREAMING_MODEL)).await?;
        wire.until_token().await?;
        // Aborted with the set; a stream that breaks off shows as a lost measurement.
        readers.spawn(async move { wire.until(&["turn_completed", "turn_failed"]).await.map(drop) });
    }
    let beside = firsts(&door).await?;
    let usage = usage_of(server.pid()?);
    if let Some(early) = readers.try_join_next() {
        early.map_err(|_| lost("a client failed"))??;
        return Err(lost("a stream ended early"));
    }
    drop(readers);
    server.kill().await?;
    let mut figures = Vec::new();
    for (share, name, name_beside) in [
        (0.5, "first_token_alone_p50", "first_token_beside_200_streams_p50"),
        (0.99, "first_token_alone_p99", "first_token_beside_200_streams_p99"),
    ] {
        let one = alone.percentile(share);
        figures.push(Figure::new(name, one, "us", alone.len()));
        figures.push(Figure::new(name_beside, beside.percentile(share), "us", beside.len()).beside(one, name));
    }
    figures.extend(usage.map(|usage| Figure::new("rss_beside_200_streams", usage.rss_mib, "MiB", 1)));
    Ok(figures)
}

async fn firsts(door: &Door) -> Result<Sample, Fault> {
    let mut firsts = Vec::with_capacity(FIRST_TOKENS);
    while firsts.len() < FIRST_TOKENS {
        let mut wire = Wire::open(door, Protocol::V2).await?;
        for _ in 0..20 {
            firsts.push(wire.turn(None).await?.first);
        }
    }
    Ok(Sample::new(firsts))
}

/// Answers on one socket beside many that say nothing.
async fn beside_idle(dir: &Path) -> Result<Vec<Figure>, Fault> {
    let server = Begun::start(dir).await?;
    let door = web(&server).await?;
    let mut wire = Wire::open(&door, Protocol::V2).await?;
    let attached = wire.attach(None).await?;
    let session = attached["session"].as_str().ok_or_else(|| lost("no session is named"))?.to_owned();
    let alone = probed(&mut wire).await?;
    let mut sockets = Vec::with_capacity(IDLE);
    let refusal = idle::open(&door, Some(&session), IDLE, &mut sockets).await;
    let beside = probed(&mut wire).await?;
    let reached = sockets.len();
    server.kill().await?;
    if let Err(fault) = refusal {
        tracing::warn!(%fault, reached, "no more sockets can be opened");
    }
    let one = alone.percentile(0.99);
    Ok(vec![
        Figure::new("probe_idle_sockets", reached as f64, "sockets", 1),
        Figure::new("probe_alone_p99", one, "us", alone.len()),
        Figure::new("probe_beside_idle_p99", beside.percentile(0.99), "us", beside.len())
            .beside(one, "probe_alone_p99"),
    ])
}

async fn probed(wire: &mut Wire) -> Result<Sample, Fault> {
    let mut took = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        let begun = Instant::now();
        wire.send(&json!({"type": "ping"})).await?;
        wire.until(&["pong"]).await?;
        took.push(begun.elapsed());
    }
    Ok(Sample::new(took))
}

/// Where a client was when it lost its line.
#[derive(Clone)]
struct Place {
    session: String,
    epoch: serde_json::Value,
    seq: u64,
    text: String,
}

/// Every client of a full house loses its line at once, and comes back for what it missed.
async fn reconnected(dir: &Path) -> Result<Vec<Figure>, Fault> {
    let server = Begun::start(dir).await?;
    let door = web(&server).await?;
    let mut places = Vec::with_capacity(LOST);
    while places.len() < LOST {
        let mut clients = JoinSet::new();
        for _ in 0..PREPARING {
            let door = door.clone();
            clients.spawn(async move {
                let mut wire = Wire::open(&door, Protocol::V2).await?;
                let mut place = attached(&mut wire).await?;
                let last = wire.turn(None).await?.seq;
                // It has seen nothing of the turn.
                place.seq = place.seq.min(last);
                Ok::<_, Fault>((wire, place, last))
            });
        }
        places.extend(ended(clients).await?);
    }
    // All at the same moment.
    let places: Vec<_> = places.into_iter().map(|(wire, place, last)| (drop(wire), place, last)).collect();
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for ((), place, last) in places {
        let door = door.clone();
        clients.spawn(async move {
            let mut wire = Wire::open(&door, Protocol::V2).await?;
            back(&mut wire, &place).await?;
            let mut seq = place.seq;
            while seq < last {
                seq = wire.read(1).await?.max(seq);
            }
            Ok::<_, Fault>(begun.elapsed())
        });
    }
    let took = Sample::new(ended(clients).await?);
    server.kill().await?;
    Ok(vec![
        Figure::new("reconnected_clients", took.len() as f64, "clients", 1),
        Figure::new("reconnected_p50", took.percentile(0.5) / 1e3, "ms", took.len()),
        Figure::new("reconnected_all", took.percentile(1.0) / 1e3, "ms", took.len()),
    ])
}

async fn attached(wire: &mut Wire) -> Result<Place, Fault> {
    let attached = wire.attach(None).await?;
    let session = attached["session"].as_str().ok_or_else(|| lost("no session is named"))?.to_owned();
    let seq = attached["seq"].as_u64().unwrap_or_default();
    Ok(Place { session, epoch: attached["epoch"].clone(), seq, text: String::new() })
}

async fn back(wire: &mut Wire, place: &Place) -> Result<(), Fault> {
    let attach = json!({"type": "attach", "session": place.session, "epoch": place.epoch, "after": place.seq});
    wire.send(&attach).await?;
    // A `reset` is no way back: nothing was lost.
    wire.until(&["attached"]).await.map(drop)
}

/// Streams through SIGTERM and another start: every client comes back and has the same text.
async fn restarted(dir: &Path) -> Result<Vec<Figure>, Fault> {
    let server = Begun::start(dir).await?;
    let mut clients = JoinSet::new();
    for _ in 0..RESTARTED {
        let door = server.door.clone();
        clients.spawn(async move {
            let mut wire = Wire::open(&door, Protocol::V2).await?;
            let mut place = attached(&mut wire).await?;
            wire.prompt(Some(RESTARTED_MODEL)).await?;
            while place.text.matches(' ').count() < SEEN {
                wire.follow(&mut place.seq, &mut place.text).await?;
            }
            Ok::<_, Fault>((wire, place))
        });
    }
    let streams = ended(clients).await?;
    let begun = Instant::now();
    let ending = server.terminate();
    let mut readers = JoinSet::new();
    for (mut wire, mut place) in streams {
        readers.spawn(async move {
            // Reads until its line is cut; what it has then is what it asks to go on from.
            while let Ok(false) = wire.follow(&mut place.seq, &mut place.text).await {}
            Ok::<_, Fault>(place)
        });
    }
    let code = ending.await?;
    let places = ended(readers).await?;
    let server = Begun::start(dir).await?;
    let mut clients = JoinSet::new();
    for mut place in places {
        let door = server.door.clone();
        clients.spawn(async move {
            let mut wire = Wire::open(&door, Protocol::V2).await?;
            back(&mut wire, &place).await?;
            let at = begun.elapsed();
            let whole = async {
                while !wire.follow(&mut place.seq, &mut place.text).await? {}
                Ok::<_, Fault>(())
            };
            tokio::time::timeout(BACK, whole).await.map_err(|_| lost("a stream does not go on"))??;
            Ok::<_, Fault>((at, place.text))
        });
    }
    let all = ended(clients).await?;
    server.kill().await?;
    let said: String = (0..RESTARTED_TOKENS).map(|word| format!("w{word} ")).collect();
    let same = all.iter().filter(|(_, text)| *text == said).count();
    let took = Sample::new(all.iter().map(|(at, _)| *at).collect());
    Ok(vec![
        Figure::new("restart_exit_code", f64::from(code), "code", 1),
        Figure::new("restart_streams_identical", same as f64, "streams", all.len()).beside(all.len() as f64, "all"),
        Figure::new("restart_all_back", took.percentile(1.0) / 1e3, "ms", took.len()),
    ])
}

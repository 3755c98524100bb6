//! A mixed load for a long time: does memory, or the number of open files,
//! rise with what was done rather than with what goes on?
//!
//! The load is the same from the first minute to the last: so many clients of
//! each kind, with pauses, so that the machine is busy but not late. What is
//! judged begins after a third of the time, when caches, pools and sessions that
//! wait for their end have the size that they keep.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use are_core::error::Fault;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::fairness::door_of;
use super::process::{Begun, Usage, open_files, usage_of};
use super::wire::{Protocol, Wire, lost};
use super::{Figure, idle};
use crate::client::{Client, Door};

/// Clients of each kind.
const SHORT: usize = 12;
const CALLING: usize = 6;
const BROKEN: usize = 6;
const CANCELLING: usize = 4;
const READING: usize = 2;
/// Sockets that say nothing.
const IDLE: usize = 200;
/// Between two turns of one client.
const PAUSE: Duration = Duration::from_millis(100);
/// Turns of a session before another one is begun.
const TURNS_OF_SESSION: usize = 20;
/// What streams say that are cut, and those that are cancelled; see `zero_delay_provider`.
const TEXT_MODEL: &str = "tokens-20";
const CUT_MODEL: &str = "paced-60-10";
const CUT_WORDS: usize = 60;
const ENDLESS_MODEL: &str = "paced-100000-10";
/// Between two looks at the process.
const LOOK: Duration = Duration::from_secs(5);
/// Share of the time that is not judged.
const WARMING: f64 = 1.0 / 3.0;

/// What was seen of the process at one moment.
#[derive(Debug, Clone, Copy)]
struct Look {
    minutes: f64,
    usage: Usage,
    files: usize,
}

/// What the clients did.
#[derive(Debug, Default)]
struct Done {
    turns: AtomicUsize,
    cut: AtomicUsize,
    cancelled: AtomicUsize,
    read: AtomicUsize,
}

impl Done {
    fn count(of: &AtomicUsize) {
        // Only a figure: nothing is ordered by it.
        of.fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts a server in `dir` and loads it for so many minutes.
pub(super) async fn measure(dir: &Path, minutes: u32) -> Result<Vec<Figure>, Fault> {
    idle::raise_limit();
    let server = Begun::start(&dir.join("soak")).await?;
    let client = Client::new(server.door.clone());
    let door = door_of(&client, &server.address, "soak").await?;
    let mut sockets = Vec::with_capacity(IDLE);
    let attached = Wire::open(&door, Protocol::V2).await?.attach(None).await?;
    idle::open(&door, attached["session"].as_str(), IDLE, &mut sockets).await?;
    let mut idle = JoinSet::new();
    for mut wire in sockets {
        // Aborted with the set.
        idle.spawn(async move { wire.stay().await });
    }
    let begun = Instant::now();
    let until = begun + Duration::from_secs(60 * u64::from(minutes.max(1)));
    let done = Arc::new(Done::default());
    let mut clients = JoinSet::new();
    for (count, kind) in
        [(SHORT, Kind::Short), (CALLING, Kind::Calling), (BROKEN, Kind::Cut), (CANCELLING, Kind::Cancelled)]
    {
        for _ in 0..count {
            let (door, done) = (door.clone(), Arc::clone(&done));
            clients.spawn(async move { Box::pin(converse(&door, kind, until, &done)).await });
        }
    }
    for _ in 0..READING {
        let (reader, done) = (Client::new(door.clone()), Arc::clone(&done));
        clients.spawn(async move { read(&reader, until, &done).await });
    }
    let pid = server.pid()?;
    let mut looks = Vec::new();
    while Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        while let Some(ended) = clients.try_join_next() {
            ended.map_err(|_| lost("a client failed"))??;
        }
        if let Some(ended) = idle.try_join_next() {
            return Err(ended
                .map_err(|_| lost("a client failed"))?
                .err()
                .unwrap_or_else(|| lost("an idle socket ended")));
        }
        let usage = usage_of(pid).ok_or_else(|| lost("the server has ended"))?;
        let files = open_files(pid).ok_or_else(|| lost("the server has ended"))?;
        looks.push(Look { minutes: begun.elapsed().as_secs_f64() / 60.0, usage, files });
    }
    while let Some(ended) = clients.join_next().await {
        ended.map_err(|_| lost("a client failed"))??;
    }
    drop(idle);
    server.kill().await?;
    Ok(figures(&looks, &done))
}

fn figures(looks: &[Look], done: &Done) -> Vec<Figure> {
    let whole = looks.last().map_or(0.0, |look| look.minutes);
    let judged: Vec<Look> = looks.iter().copied().filter(|look| look.minutes >= whole * WARMING).collect();
    let count = judged.len();
    let of = |value: fn(&Look) -> f64| judged.iter().map(|look| (look.minutes, value(look))).collect::<Vec<_>>();
    let (rss, anonymous) = (of(|look| look.usage.rss_mib), of(|look| look.usage.anonymous_mib));
    let files = of(|look| look.files as f64);
    let values = |points: &[(f64, f64)]| points.iter().map(|point| point.1).collect::<Vec<_>>();
    let (least, most) =
        (values(&files).into_iter().fold(f64::INFINITY, f64::min), values(&files).into_iter().fold(0.0, f64::max));
    let mean = values(&rss).iter().sum::<f64>() / count.max(1) as f64;
    let told = |of: &AtomicUsize| of.load(Ordering::Relaxed) as f64;
    let turns = told(&done.turns);
    vec![
        Figure::new("soak_minutes", whole, "min", looks.len()),
        Figure::new("soak_turns", turns, "turns", 1),
        Figure::new("soak_turns_per_second", turns / (whole * 60.0).max(1.0), "1/s", 1),
        Figure::new("soak_streams_cut_and_whole", told(&done.cut), "streams", 1),
        Figure::new("soak_turns_cancelled", told(&done.cancelled), "turns", 1),
        Figure::new("soak_requests_read", told(&done.read), "requests", 1),
        Figure::new("soak_rss", mean, "MiB", count),
        Figure::new("soak_rss_slope", slope(&rss), "MiB/min", count),
        Figure::new("soak_anonymous_slope", slope(&anonymous), "MiB/min", count),
        Figure::new("soak_open_files_least", least, "files", count),
        Figure::new("soak_open_files_most", most, "files", count).beside(least, "the least"),
        Figure::new("soak_open_files_slope", slope(&files), "files/min", count),
    ]
}

/// Rise of the line through the points by least squares, in units of the second coordinate for one of the first.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let over = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>();
    let under = points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>();
    if under > 0.0 { over / under } else { 0.0 }
}

/// What a client does over and over.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Short answers.
    Short,
    /// Answers that call a tool.
    Calling,
    /// Streams whose line is lost in the middle, and which are gone on with.
    Cut,
    /// Streams that are cancelled.
    Cancelled,
}

async fn converse(door: &Door, kind: Kind, until: Instant, done: &Done) -> Result<(), Fault> {
    while Instant::now() < until {
        let mut wire = Wire::open(door, Protocol::V2).await?;
        let attached = wire.attach(None).await?;
        for _ in 0..TURNS_OF_SESSION {
            if Instant::now() >= until {
                break;
            }
            match kind {
                Kind::Short => drop(wire.turn(Some(TEXT_MODEL)).await?),
                Kind::Calling => drop(wire.turn(None).await?),
                Kind::Cut => wire = cut(door, wire, &attached, done).await?,
                Kind::Cancelled => cancel(&mut wire, done).await?,
            }
            Done::count(&done.turns);
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// A stream of which half is heard on one line and the rest on another.
async fn cut(door: &Door, mut wire: Wire, attached: &Value, done: &Done) -> Result<Wire, Fault> {
    let (mut seq, mut text) = (0, String::new());
    wire.prompt(Some(CUT_MODEL)).await?;
    while text.matches(' ').count() < CUT_WORDS / 2 {
        if wire.follow(&mut seq, &mut text).await? {
            return Err(lost("a stream ended before its middle"));
        }
    }
    drop(wire);
    let mut wire = Wire::open(door, Protocol::V2).await?;
    let again = json!({"type": "attach", "session": attached["session"], "epoch": attached["epoch"], "after": seq});
    wire.send(&again).await?;
    while !wire.follow(&mut seq, &mut text).await? {}
    let said: String = (0..CUT_WORDS).map(|word| format!("w{word} ")).collect();
    if text != said {
        return Err(lost("a stream that was gone on with is another one"));
    }
    Done::count(&done.cut);
    Ok(wire)
}

async fn cancel(wire: &mut Wire, done: &Done) -> Result<(), Fault> {
    wire.prompt(Some(ENDLESS_MODEL)).await?;
    let ack = wire.until(&["ack"]).await?;
    wire.until_token().await?;
    wire.send(&json!({"type": "cancel", "turn": ack["turn"]})).await?;
    wire.until(&["turn_cancelled"]).await?;
    Done::count(&done.cancelled);
    Ok(())
}

/// Reads what a console reads.
async fn read(client: &Client, until: Instant, done: &Done) -> Result<(), Fault> {
    while Instant::now() < until {
        let listed = client.get("/api/sessions").await?;
        let sessions = listed["sessions"].as_array().cloned().unwrap_or_default();
        if let Some(key) = sessions.first().and_then(|session| session["session"].as_str()) {
            client.get(&format!("/api/sessions/{key}")).await?;
            client.get(&format!("/api/sessions/{key}/events")).await?;
        }
        client.get("/api/usage").await?;
        Done::count(&done.read);
        tokio::time::sleep(PAUSE * 5).await;
    }
    Ok(())
}

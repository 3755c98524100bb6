//! What can be measured through the door of a running server.

use std::path::Path;
use std::time::{Duration, Instant};

use are_core::error::{Code, Fault};
use are_store::probe;

use super::process::{Usage, usage_of};
use super::provider::Provider;
use super::sample::Sample;
use super::wire::{Protocol, Turn, Wire, lost};
use super::{Figure, idle};
use crate::client::Door;

/// Turns before the clock starts.
const WARM_UP: usize = 20;
/// Turns one after the other.
const TURNS: usize = 400;
/// Turns of each session of the short ones.
const TURNS_OF_SESSION: usize = 20;
/// Turns measured at the end of the one long session.
const LAST_TURNS: usize = 100;
/// Syncs of the disk beside them, half before and half after.
const SYNCS: usize = 400;
/// Prompts at once.
const AT_ONCE: usize = 50;
/// Turns of each of them.
const TURNS_EACH: usize = 12;
/// Long answers forwarded.
const LONG_ANSWERS: usize = 20;

/// A running server and what is known of it.
pub struct Target<'a> {
    /// Its door.
    pub door: &'a Door,
    /// Its process, for processor time and memory.
    pub pid: Option<u32>,
    /// A directory of the disk that it writes to.
    pub dir: Option<&'a Path>,
    /// Base address of its provider.
    pub provider: Option<&'a str>,
}

/// Short answers: first token, processor time, memory, turns a second.
pub(super) async fn turns(target: &Target<'_>) -> Result<Vec<Figure>, Fault> {
    let mut syncs = disk(target)?;
    in_sessions(target.door, WARM_UP).await?;
    let before = target.pid.and_then(usage_of);
    let firsts = in_sessions(target.door, TURNS).await?;
    let after = target.pid.and_then(usage_of);
    syncs.extend(disk(target)?);
    let (firsts, disk) = (Sample::new(firsts), Sample::new(syncs));
    let mut figures = Vec::new();
    for (share, name, beyond, disk_name) in [
        (0.5, "first_token_p50", "first_token_beyond_disk_p50", "fdatasync_beside_turns_p50"),
        (0.99, "first_token_p99", "first_token_beyond_disk_p99", "fdatasync_beside_turns_p99"),
    ] {
        let (first, sync) = (firsts.percentile(share), disk.percentile(share));
        figures.push(Figure::new(name, first, "us", TURNS).beside(sync, disk_name));
        if disk.len() > 0 {
            figures.push(Figure::new(disk_name, sync, "us", disk.len()));
            figures.push(Figure::new(beyond, first - sync, "us", TURNS));
        }
    }
    let cpu = cpu_per_turn(before, after, TURNS);
    figures.extend(cpu.map(|ms| Figure::new("server_cpu_per_turn", ms, "ms", TURNS)));
    figures.extend(after.map(|after| Figure::new("rss_after_400_turns", after.rss_mib, "MiB", 1)));
    figures.extend(after.map(|after| Figure::new("anonymous_after_400_turns", after.anonymous_mib, "MiB", 1)));
    figures.extend(at_once(target).await?);
    figures.extend(long_session(target, firsts.percentile(0.5), cpu).await?);
    Ok(figures)
}

/// Turns in sessions of [`TURNS_OF_SESSION`], so that histories stay short; times to the first token.
async fn in_sessions(door: &Door, count: usize) -> Result<Vec<Duration>, Fault> {
    let mut firsts = Vec::with_capacity(count);
    while firsts.len() < count {
        let mut wire = Wire::open(door, Protocol::V2).await?;
        wire.attach(None).await?;
        for _ in 0..TURNS_OF_SESSION {
            firsts.push(wire.turn(None).await?.first);
        }
    }
    Ok(firsts)
}

/// What a history costs: the last turns of one session of 400.
async fn long_session(target: &Target<'_>, short_p50: f64, short_cpu: Option<f64>) -> Result<Vec<Figure>, Fault> {
    let mut wire = Wire::open(target.door, Protocol::V2).await?;
    for _ in 0..TURNS - LAST_TURNS {
        wire.turn(None).await?;
    }
    let before = target.pid.and_then(usage_of);
    let mut firsts = Vec::with_capacity(LAST_TURNS);
    for _ in 0..LAST_TURNS {
        firsts.push(wire.turn(None).await?.first);
    }
    let after = target.pid.and_then(usage_of);
    let firsts = Sample::new(firsts);
    let mut figures = vec![
        Figure::new("long_session_first_token_p50", firsts.percentile(0.5), "us", LAST_TURNS)
            .beside(short_p50, "first_token_p50"),
    ];
    figures.extend(cpu_per_turn(before, after, LAST_TURNS).map(|ms| {
        Figure::new("long_session_cpu_per_turn", ms, "ms", LAST_TURNS)
            .beside(short_cpu.unwrap_or_default(), "server_cpu_per_turn")
    }));
    figures.extend(after.map(|after| Figure::new("rss_after_long_session", after.rss_mib, "MiB", 1)));
    Ok(figures)
}

fn cpu_per_turn(before: Option<Usage>, after: Option<Usage>, turns: usize) -> Option<f64> {
    Some((after?.cpu_s - before?.cpu_s) * 1e3 / turns as f64)
}

/// Fifty clients at once, and fifty readers of the provider alone.
async fn at_once(target: &Target<'_>) -> Result<Vec<Figure>, Fault> {
    let all = AT_ONCE * TURNS_EACH;
    let rate = |begun: Instant| all as f64 / begun.elapsed().as_secs_f64();
    let mut alone = None;
    if let Some(provider) = target.provider {
        let begun = Instant::now();
        let address = provider.to_owned();
        together(|| {
            let address = address.clone();
            async move {
                let mut provider = Provider::open(&address).await?;
                for _ in 0..TURNS_EACH {
                    provider.answer().await?;
                }
                Ok(())
            }
        })
        .await?;
        alone = Some(rate(begun));
    }
    let begun = Instant::now();
    let door = target.door.clone();
    together(|| {
        let door = door.clone();
        async move {
            let mut wire = Wire::open(&door, Protocol::V2).await?;
            for _ in 0..TURNS_EACH {
                wire.turn(None).await?;
            }
            Ok(())
        }
    })
    .await?;
    let mut figures =
        vec![beside_alone("turns_per_second_50_at_once", rate(begun), all, alone, "provider_alone_turns_per_second")];
    figures.extend(alone.map(|alone| Figure::new("provider_alone_turns_per_second", alone, "1/s", all)));
    if let Some(after) = target.pid.and_then(usage_of) {
        figures.push(Figure::new("rss_after_50_at_once", after.rss_mib, "MiB", 1));
    }
    Ok(figures)
}

async fn together<F>(client: impl Fn() -> F) -> Result<(), Fault>
where
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let clients: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(client())).collect();
    for client in clients {
        client.await.map_err(|_| lost("a client failed"))??;
    }
    Ok(())
}

/// Long answers: tokens a second, and bytes on the wire, of both protocols.
pub(super) async fn tokens(target: &Target<'_>) -> Result<Vec<Figure>, Fault> {
    let alone = match target.provider {
        Some(provider) => Some(long_answers_alone(provider).await?),
        None => None,
    };
    let mut figures: Vec<_> =
        alone.iter().map(|rate| Figure::new("provider_alone_tokens_per_second", *rate, "1/s", LONG_ANSWERS)).collect();
    for (protocol, speed, frames, bytes) in [
        (Protocol::V1, "tokens_per_second_v1_p50", "frames_per_token_v1", "wire_bytes_beside_text_v1"),
        (Protocol::V2, "tokens_per_second_v2_p50", "frames_per_token_v2", "wire_bytes_beside_text_v2"),
    ] {
        let (mut rates, mut sum) = (Vec::new(), Turn::default());
        for index in 0..LONG_ANSWERS + 2 {
            let turn = Wire::open(target.door, protocol).await?.turn(None).await?;
            if index < 2 {
                continue;
            }
            // Plain text does not say how many tokens a frame holds: a frame counts as one, so joined ones would lower
            // the rate, not raise it.
            rates.push(turn.tokens as f64 / turn.whole.as_secs_f64());
            sum.tokens += turn.tokens;
            sum.frames += turn.frames;
            sum.text_bytes += turn.text_bytes;
            sum.wire_bytes += turn.wire_bytes;
        }
        let what = "provider_alone_tokens_per_second";
        figures.push(beside_alone(speed, middle(&mut rates), LONG_ANSWERS, alone, what));
        if protocol == Protocol::V2 {
            figures.push(Figure::new(frames, sum.frames as f64 / sum.tokens.max(1) as f64, "frames", sum.tokens));
        }
        let beside = (sum.wire_bytes - sum.text_bytes) as f64 / sum.frames.max(1) as f64;
        let text = sum.text_bytes as f64 / sum.frames.max(1) as f64;
        figures.push(Figure::new(bytes, beside, "bytes", sum.frames).beside(text, "bytes of its text"));
    }
    Ok(figures)
}

async fn long_answers_alone(provider: &str) -> Result<f64, Fault> {
    let mut provider = Provider::open(provider).await?;
    let mut rates = Vec::with_capacity(LONG_ANSWERS);
    for _ in 0..LONG_ANSWERS {
        let (tokens, whole) = provider.answer().await?;
        rates.push(tokens as f64 / whole.as_secs_f64());
    }
    Ok(middle(&mut rates))
}

/// One call of a tool and an answer.
pub(super) async fn tool(target: &Target<'_>) -> Result<Vec<Figure>, Fault> {
    let syncs = Sample::new(disk(target)?);
    let (mut wholes, mut calls) = (Vec::with_capacity(TURNS), Vec::with_capacity(TURNS));
    for _ in 0..TURNS / TURNS_OF_SESSION {
        let mut wire = Wire::open(target.door, Protocol::V2).await?;
        wire.attach(None).await?;
        for _ in 0..TURNS_OF_SESSION {
            let turn = wire.turn(None).await?;
            wholes.push(turn.whole);
            calls.push(turn.tool.ok_or_else(|| lost("the provider calls no tool"))?);
        }
    }
    let (wholes, calls) = (Sample::new(wholes), Sample::new(calls));
    let sync = syncs.percentile(0.5);
    Ok(vec![
        Figure::new("tool_round_trip_p50", calls.percentile(0.5), "us", TURNS).beside(sync, "disk_fdatasync_p50"),
        Figure::new("tool_round_trip_p99", calls.percentile(0.99), "us", TURNS),
        Figure::new("tool_turn_p50", wholes.percentile(0.5), "us", TURNS).beside(sync, "disk_fdatasync_p50"),
        Figure::new("tool_turn_p99", wholes.percentile(0.99), "us", TURNS),
    ])
}

/// Sockets that say nothing.
pub(super) async fn idle(target: &Target<'_>) -> Result<Vec<Figure>, Fault> {
    idle::measure(target.door, target.pid).await
}

fn disk(target: &Target<'_>) -> Result<Vec<Duration>, Fault> {
    let Some(dir) = target.dir else { return Ok(Vec::new()) };
    probe::sync_times(dir, SYNCS / 2).map_err(|error| {
        let help = "name an empty directory you can write to";
        Fault::new(Code::DATA_DIR_UNUSABLE, format!("the disk cannot be measured: {error}"), help)
    })
}

fn beside_alone(name: &'static str, value: f64, samples: usize, alone: Option<f64>, what: &'static str) -> Figure {
    Figure::new(name, value, "1/s", samples).beside(alone.unwrap_or_default(), what)
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

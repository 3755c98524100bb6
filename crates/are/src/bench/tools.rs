//! Lanes without the gate: what a call of a tool costs before anything is decided or recorded about it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use are_core::error::Fault;
use are_tools::CageOptions;
use are_tools::bench::Guest;
use are_tools::cage::Report;
use are_tools::cage::bench::{spawned, stopped};
use are_tools::js_bench::Echo;
use futures_util::future::join_all;

use super::Figure;
use super::process::usage_of;
use super::sample::Sample;
use super::wire::lost;

/// Calls one after the other.
const CALLS: usize = 20_000;
/// Calls before these, so that pages and caches are warm as in a server that runs.
const WARM: usize = 500;
/// Loads from the cache of compiled code.
const LOADS: usize = 20;
/// Runaway guests stopped one after the other, and how long each may run.
const STOPS: (usize, Duration) = (30, Duration::from_millis(50));
/// Commands started in the cage, and as many without.
const SPAWNS: usize = 300;
/// Trees of commands that are stopped one after the other.
const TREES: usize = 30;
/// Instances that are alive at the same time.
const ALIVE: usize = 64;
/// How long these run.
const ALIVE_FOR: Duration = Duration::from_millis(1_500);
/// When they are looked at: each has begun by then.
const LOOK_AFTER: Duration = Duration::from_millis(900);

/// Measures with compiled code kept in `dir`.
pub(super) async fn measure(dir: &Path) -> Result<Vec<Figure>, Fault> {
    let mut figures = Vec::new();
    let cache = dir.join("wasm");
    let cold = Sample::new(vec![loading(&cache)?]);
    let kept: Vec<Duration> = (0..LOADS).map(|_| loading(&cache)).collect::<Result<_, _>>()?;
    let kept = Sample::new(kept);
    figures.push(Figure::new("wasm_load_compiled_anew", cold.percentile(0.5) / 1e3, "ms", 1));
    figures.push(Figure::new("wasm_load_cached_p50", kept.percentile(0.5) / 1e3, "ms", kept.len()));

    let guest = Arc::new(Guest::load(Some(&cache))?);
    let times = Sample::new(calls(Arc::clone(&guest)).await?);
    figures.push(Figure::new("wasm_fresh_call_p50", times.percentile(0.5), "us", times.len()));
    figures.push(Figure::new("wasm_fresh_call_p99", times.percentile(0.99), "us", times.len()));

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    let workers = (0..cores).map(|_| tokio::spawn(calls(Arc::clone(&guest))));
    for worker in join_all(workers).await {
        worker.map_err(|_| lost("a worker failed"))??;
    }
    let count = cores * (CALLS + WARM);
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    figures.push(Figure::new("wasm_calls_per_second_all_cores", rate, "1/s", count));

    let mut late = Vec::new();
    for _ in 0..STOPS.0 {
        late.push(guest.stop(STOPS.1).await);
    }
    let late = Sample::new(late);
    figures.push(Figure::new("wasm_stop_after_deadline_p50", late.percentile(0.5) / 1e3, "ms", late.len()));
    figures.push(Figure::new("wasm_stop_after_deadline_max", late.percentile(1.0) / 1e3, "ms", late.len()));
    figures.extend(memory(&guest).await);
    figures.extend(scripts(dir).await?);
    figures.extend(commands(dir).await?);
    Ok(figures)
}

/// A program that does nothing, in the cage and started plainly.
async fn commands(dir: &Path) -> Result<Vec<Figure>, Fault> {
    let options = CageOptions::new(dir.join("commands"));
    let report = Report::fresh(&options).await;
    if !report.is_served() {
        return Ok(Vec::new());
    }
    let (caged, plain) = spawned(&options, &report, SPAWNS).await?;
    let trees = Sample::new(stopped(&options, &report, TREES).await?);
    let (caged, plain) = (Sample::new(caged), Sample::new(plain));
    let of = |name, sample: &Sample, part| Figure::new(name, sample.percentile(part) / 1e3, "ms", sample.len());
    let more = (caged.percentile(0.5) - plain.percentile(0.5)) / 1e3;
    Ok(vec![
        of("command_caged_p50", &caged, 0.5),
        of("command_caged_p99", &caged, 0.99),
        of("command_plain_p50", &plain, 0.5),
        of("command_plain_p99", &plain, 0.99),
        Figure::new("command_cage_over_plain_p50", more, "ms", caged.len()),
        of("command_tree_stopped_p50", &trees, 0.5),
        of("command_tree_stopped_max", &trees, 1.0),
    ])
}

/// The same for a function of a JavaScript file.
async fn scripts(dir: &Path) -> Result<Vec<Figure>, Fault> {
    let cache = dir.join("js");
    let load = || -> Result<(Echo, Duration), Fault> {
        let begun = Instant::now();
        Ok((Echo::load(Some(&cache))?, begun.elapsed()))
    };
    let (echo, anew) = load()?;
    let kept = Sample::new((0..LOADS).map(|_| load().map(|(_, took)| took)).collect::<Result<_, _>>()?);
    let (mut cold, mut warm) = (Vec::with_capacity(CALLS), Vec::with_capacity(CALLS));
    for call in 0..WARM + CALLS {
        let took = (echo.cold().await?, echo.warm().await?);
        if call >= WARM {
            cold.push(took.0);
            warm.push(took.1);
        }
        tokio::task::yield_now().await;
    }
    let (cold, warm) = (Sample::new(cold), Sample::new(warm));
    Ok(vec![
        Figure::new("js_load_compiled_anew", anew.as_secs_f64() * 1e3, "ms", 1),
        Figure::new("js_load_cached_p50", kept.percentile(0.5) / 1e3, "ms", kept.len()),
        Figure::new("js_cold_call_p50", cold.percentile(0.5), "us", cold.len()),
        Figure::new("js_cold_call_p99", cold.percentile(0.99), "us", cold.len()),
        Figure::new("js_warm_call_p50", warm.percentile(0.5), "us", warm.len()),
        Figure::new("js_warm_call_p99", warm.percentile(0.99), "us", warm.len()),
    ])
}

fn loading(cache: &Path) -> Result<Duration, Fault> {
    let begun = Instant::now();
    Guest::load(Some(cache))?;
    Ok(begun.elapsed())
}

async fn calls(guest: Arc<Guest>) -> Result<Vec<Duration>, Fault> {
    let mut times = Vec::with_capacity(CALLS);
    for call in 0..WARM + CALLS {
        let took = guest.call().await?;
        if call >= WARM {
            times.push(took);
        }
        // Others of the runtime are let in, as between the calls of a turn.
        tokio::task::yield_now().await;
    }
    Ok(times)
}

/// Resident memory of instances that are alive, without what the process had before.
async fn memory(guest: &Arc<Guest>) -> Option<Figure> {
    let pid = std::process::id();
    let before = usage_of(pid)?.rss_mib;
    let alive = join_all((0..ALIVE).map(|_| guest.stop(ALIVE_FOR)));
    let look = async {
        tokio::time::sleep(LOOK_AFTER).await;
        usage_of(pid)
    };
    let (_, with) = tokio::join!(alive, look);
    let each = (with?.rss_mib - before).max(0.0) * 1024.0 / ALIVE as f64;
    Some(Figure::new("wasm_memory_of_an_instance", each, "KiB", ALIVE))
}

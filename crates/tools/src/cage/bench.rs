//! What the cage costs: the same program inside it and without it.

use std::time::{Duration, Instant};

use are_core::error::{Code, Fault};

use tokio::io::AsyncReadExt as _;

use super::probe::Place;
use super::{CageOptions, Report};
use crate::launch::{self, Launcher};

/// A program that does nothing.
const PROGRAM: &str = "/bin/true";
/// A tree that ignores what can be ignored, and of which a part has left its session and its parent.
const STUBBORN: &str = "trap '' TERM HUP INT; \
    (setsid sh -c 'trap \"\" TERM HUP INT; echo ready; while :; do sleep 1; done' &); \
    while :; do sleep 1; done";
/// What it prints once it stands.
const READY: &[u8] = b"ready\n";

/// Time from start to end of a program that does nothing, in the cage and started plainly, each `runs` times in turn.
///
/// # Errors
/// It cannot be started.
pub async fn spawned(
    options: &CageOptions,
    report: &Report,
    runs: usize,
) -> Result<(Vec<Duration>, Vec<Duration>), Fault> {
    let place = Place::new(options).map_err(failed)?;
    let launcher = Launcher::new(options.clone(), report.kind());
    let (mut caged, mut plain) = (Vec::with_capacity(runs), Vec::with_capacity(runs));
    for _ in 0..runs {
        let begun = Instant::now();
        launcher.spawn(place.order(vec![PROGRAM.to_owned()], None)).await?.wait().await?;
        caged.push(begun.elapsed());
        let begun = Instant::now();
        launch::plainly(PROGRAM).await.map_err(failed)?;
        plain.push(begun.elapsed());
    }
    Ok((caged, plain))
}

/// Time from the order to end it until a tree of commands in the cage is gone, `runs` times.
///
/// # Errors
/// It cannot be started.
pub async fn stopped(options: &CageOptions, report: &Report, runs: usize) -> Result<Vec<Duration>, Fault> {
    let place = Place::new(options).map_err(failed)?;
    let launcher = Launcher::new(options.clone(), report.kind());
    let mut took = Vec::with_capacity(runs);
    for _ in 0..runs {
        let argv = ["/bin/sh", "-c", STUBBORN].map(str::to_owned);
        let mut child = launcher.spawn(place.order(argv.into(), None)).await?;
        let mut told = [0; READY.len()];
        child.parts().0.0.read_exact(&mut told).await.map_err(failed)?;
        let begun = Instant::now();
        child.kill().await;
        took.push(begun.elapsed());
    }
    Ok(took)
}

fn failed(error: std::io::Error) -> Fault {
    Fault::new(Code::TOOL_FAILED, format!("commands cannot be measured: {error}"), "look at the directory")
}

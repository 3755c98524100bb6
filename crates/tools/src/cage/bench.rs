//! What the cage costs: the same program inside it and without it.

use std::time::{Duration, Instant};

use are_core::error::{Code, Fault};

use super::probe::Place;
use super::{CageOptions, Report};
use crate::launch::{self, Launcher};

/// A program that does nothing.
const PROGRAM: &str = "/bin/true";

/// Time from start to end of a program that does nothing, in the cage and started plainly, each `runs` times in turn.
///
/// # Errors
/// It cannot be started.
pub async fn spawned(
    options: &CageOptions,
    report: &Report,
    runs: usize,
) -> Result<(Vec<Duration>, Vec<Duration>), Fault> {
    let failed = |error: std::io::Error| {
        Fault::new(Code::TOOL_FAILED, format!("`{PROGRAM}` cannot be measured: {error}"), "look at the directory")
    };
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

//! One kernel of the comparison with other engines, in this process and on the lane of components.

use std::path::Path;

use are_core::error::{Code, Fault};
use are_tools::bench;

use super::Figure;
use super::sample::Sample;

/// What is run.
pub struct Kernel<'a> {
    /// The component's bytes.
    pub component: &'a [u8],
    /// Where compiled code is kept.
    pub cache: Option<&'a Path>,
    /// The size its work is given.
    pub size: u32,
    /// Runs that are measured, after as many to warm up; none: one run, whose answer is the outcome.
    pub runs: usize,
    /// Without the looks at the clock that stop a guest: what they cost is the difference.
    pub is_unchecked: bool,
}

/// Runs of one kernel that can be asked for.
const RUNS_MAX: usize = 10_000;

/// The answer of one run, or the middle of several.
///
/// # Errors
/// It is no kernel, fails, or more runs are asked for than make sense.
pub async fn run(kernel: &Kernel<'_>) -> Result<(String, Vec<Figure>), Fault> {
    if kernel.runs > RUNS_MAX {
        return Err(Fault::new(
            Code::CONFIG_INVALID,
            format!("at most {RUNS_MAX} runs"),
            "ask for fewer with `--runs`",
        ));
    }
    let loaded = bench::Kernel::load(kernel.component, kernel.cache, kernel.is_unchecked)?;
    let (answer, _) = loaded.run(kernel.size).await?;
    let mut times = Vec::with_capacity(kernel.runs);
    for run in 1..2 * kernel.runs {
        let (_, took) = loaded.run(kernel.size).await?;
        if run >= kernel.runs {
            times.push(took);
        }
    }
    let mut figures = Vec::new();
    if !times.is_empty() {
        let times = Sample::new(times);
        figures.push(Figure::new("kernel_hot_p50", times.percentile(0.5) / 1e3, "ms", times.len()));
        figures.push(Figure::new("kernel_hot_min", times.percentile(0.0) / 1e3, "ms", times.len()));
    }
    Ok((answer, figures))
}

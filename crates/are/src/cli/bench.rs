//! `are bench`

use std::path::PathBuf;

use clap::Args;

use super::Env;
use super::exit::{Exit, Outcome};
use super::served::Served;
use crate::bench::{self, Case, Figure};
use crate::wiring::Need;

/// `are bench`
#[derive(Debug, Args)]
pub struct Bench {
    /// Measure a running server whose provider answers without delay
    #[arg(long, value_enum)]
    pub case: Option<Case>,
    /// Process of that server, for its processor time and memory
    #[arg(long, value_name = "PID", requires = "case")]
    pub pid: Option<u32>,
    /// Empty directory to measure the disk in
    #[arg(long, value_name = "DIR", conflicts_with = "case", required_unless_present = "case")]
    pub dir: Option<PathBuf>,
}

pub(super) async fn run(env: &Env, args: Bench) -> Outcome {
    let figures = match (args.case, args.dir) {
        (Some(case), _) => {
            let served = Served::find(env, Need::Model).await?;
            let figures = bench::served(served.client(), case, args.pid).await;
            served.end().await?;
            figures?
        }
        (None, Some(dir)) => {
            let tools = crate::wiring::tool_set(&env.config)?;
            bench::inside(&dir, &tools).await?
        }
        (None, None) => return Ok(Exit::Usage),
    };
    print(env, &figures)
}

fn print(env: &Env, figures: &[Figure]) -> Outcome {
    for figure in figures {
        if env.out.is_json {
            env.out.json(figure)?;
        } else {
            let ratio = figure.ratio.map(|(ratio, what)| format!("  = {ratio:.2} x {what}")).unwrap_or_default();
            env.out.line(&format!("{:<30} {:>12.1} {}{ratio}", figure.name, figure.value, figure.unit))?;
        }
    }
    Ok(Exit::Done)
}

//! `are bench`

use std::path::PathBuf;

use clap::Args;

use super::Env;
use super::exit::{Exit, Outcome};
use super::served::Served;
use crate::bench::{self, Case, Figure, Target};
use crate::config::model;
use crate::wiring::Need;

/// `are bench`
#[derive(Debug, Args)]
pub struct Bench {
    /// Measure a server, whose provider must answer without delay, or the local model
    #[arg(long, value_enum)]
    pub case: Option<Case>,
    /// Process of the running server, for its processor time and memory
    #[arg(long, value_name = "PID", requires = "case")]
    pub pid: Option<u32>,
    /// Empty directory on the disk to measure
    #[arg(long, value_name = "DIR", required_unless_present = "case")]
    pub dir: Option<PathBuf>,
    /// Local model to measure: `small`, `medium` or the path of a GGUF file
    #[arg(long, value_name = "MODEL", requires = "case", default_value = "small")]
    pub model: String,
}

pub(super) async fn run(env: &Env, args: Bench) -> Outcome {
    let figures = match (args.case, args.dir) {
        (Some(case), dir) if case.is_of_a_running_server() => {
            let served = Served::find(env, Need::Model).await?;
            let target =
                Target { door: served.client().door(), pid: args.pid, dir: dir.as_deref(), provider: provider_of(env) };
            let figures = Box::pin(bench::served(case, &target)).await;
            served.end().await?;
            figures?
        }
        (Some(Case::Local), _) => bench::local(&env.config.models_dir, &args.model).await?,
        (Some(case), dir) => Box::pin(bench::started(case, dir.as_deref())).await?,
        (None, Some(dir)) => {
            let tools = crate::wiring::tool_set(&env.config)?;
            bench::inside(&dir, &tools).await?
        }
        (None, None) => return Ok(Exit::Usage),
    };
    print(env, &figures)
}

/// Where the provider of the configured model is, if the model is not a local one.
fn provider_of(env: &Env) -> Option<&str> {
    let wish = &env.config.model.as_ref()?.value;
    let (name, _) = wish.split_once(':').filter(|(name, _)| *name != model::LOCAL)?;
    env.config.providers.get(name).map(|provider| provider.base_url.as_str())
}

fn print(env: &Env, figures: &[Figure]) -> Outcome {
    for figure in figures {
        if env.out.is_json {
            env.out.json(figure)?;
        } else {
            let ratio = figure.ratio.map(|(ratio, what)| format!("  = {ratio:.2} x {what}")).unwrap_or_default();
            env.out.line(&format!("{:<34} {:>12.1} {}{ratio}", figure.name, figure.value, figure.unit))?;
        }
    }
    Ok(Exit::Done)
}

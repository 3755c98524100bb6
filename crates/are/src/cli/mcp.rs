//! `are mcp …`

use super::Env;
use super::args::Mcp;
use super::exit::{Exit, Outcome};
use super::run::{Signals, workspace};
use super::served::Served;
use crate::client::{Over, bridge};
use crate::wiring::Need;

pub(super) async fn run(env: &Env, verb: Mcp) -> Outcome {
    match verb {
        Mcp::Serve => serve(env).await,
    }
}

/// Stdout carries the protocol and nothing else; words go to stderr.
async fn serve(env: &Env) -> Outcome {
    let mut signals = Signals::new()?;
    let served = Served::find(env, Need::Nothing).await?;
    let workspace = workspace(env, &served);
    let streams = (tokio::io::stdin(), tokio::io::stdout());
    let over = Box::pin(bridge(served.client(), workspace.as_deref(), streams, signals.any())).await;
    served.end().await?;
    Ok(match over? {
        Over::Input => Exit::Done,
        Over::Stopped => Exit::Interrupted,
    })
}

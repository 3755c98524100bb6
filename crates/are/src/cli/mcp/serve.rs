//! `are mcp serve`

use crate::cli::Env;
use crate::cli::exit::{Exit, Outcome};
use crate::cli::run::{Signals, workspace};
use crate::cli::served::Served;
use crate::client::{Over, bridge};
use crate::wiring::Need;

/// Stdout carries the protocol and nothing else; words go to stderr.
pub(super) async fn serve(env: &Env) -> Outcome {
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

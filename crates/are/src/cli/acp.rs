//! `are acp`

use are_core::error::Fault;
use clap::Args;

use super::Env;
use super::args::{Local, Where, Wishes};
use super::exit::{Exit, Outcome};
use super::run::{Signals, meant, wished};
use super::served::Served;
use crate::client::{Beginning, Door, Over, editor};
use crate::wiring::Need;

/// `are acp`
#[derive(Debug, Args)]
pub struct Acp {
    #[command(flatten)]
    pub place: Where,
    #[command(flatten)]
    pub wishes: Wishes,
    #[command(flatten)]
    pub local: Local,
}

/// Stdout carries the protocol and nothing else; words go to stderr.
pub(super) async fn run(env: &Env, args: Acp) -> Outcome {
    let mut signals = Signals::new()?;
    let served = Served::find(env, Need::Model).await?;
    let over = match beginning(env, &served, &args).await {
        Ok(beginning) => {
            let streams = (tokio::io::stdin(), tokio::io::stdout());
            Box::pin(editor(served.client(), beginning, streams, signals.any())).await
        }
        Err(fault) => Err(fault),
    };
    served.end().await?;
    Ok(match over? {
        Over::Input => Exit::Done,
        Over::Stopped => Exit::Interrupted,
    })
}

async fn beginning(env: &Env, served: &Served, args: &Acp) -> Result<Beginning, Fault> {
    // Elsewhere a directory of this machine is none, and a workspace that was set wins.
    let is_here = matches!(served.client().door(), Door::Socket(_)) && env.config.workspace.is_none();
    Ok(Beginning {
        session: meant(served, &args.place).await?,
        agent: args.place.agent.clone(),
        wishes: wished(env, served, &args.wishes),
        guard: is_here.then(|| env.config.guard.clone()),
    })
}

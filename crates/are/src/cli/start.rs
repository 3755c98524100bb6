//! `are start`: serves until a signal, a failing store, or an error.

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::Env;
use super::exit::{Exit, Outcome};
use crate::wiring::{self, Running};

pub(super) async fn run(env: &Env) -> Outcome {
    // Before anything is open, so that no signal finds the default action.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut running = wiring::serve(&env.config).await?;
    announce(env, &running)?;
    tokio::select! {
        // Receiving a signal is cancel-safe, and so is waiting for the end.
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        fault = running.failed() => {
            env.out.fault(&fault);
            // What was acknowledged is durable; nothing further may be promised.
            running.abandon().await;
            return Ok(Exit::Failed);
        }
    }
    tracing::info!("stopping: not ready, turns are left at their last record");
    running.end().await?;
    Ok(Exit::Done)
}

/// The one ready line: address, model, profile, protections that are off.
fn announce(env: &Env, running: &Running) -> Result<(), super::exit::Failure> {
    let facts = running.facts();
    if env.out.is_json {
        return env.out.json(&json!({
            "type": "ready",
            "version": facts.version,
            "address": facts.address,
            "socket": facts.socket,
            "data_dir": env.config.data_dir.value,
            "model": facts.model,
            "profile": facts.profile,
            "off": facts.off,
        }));
    }
    let off = if facts.off.is_empty() { "nothing".to_owned() } else { facts.off.join("; ") };
    env.out.line(&format!(
        "are {} ready: {}, model {}, profile {}, off: {off}",
        facts.version,
        facts.address.as_deref().unwrap_or("no address"),
        facts.model,
        facts.profile
    ))
}

//! `are chat`: one turn after another in one session.

use serde_json::json;
use tokio::time::Instant;

use super::Env;
use super::args::Chat;
use super::ask::Keyboard;
use super::exit::{Exit, Failure, Outcome};
use super::run::{Prompt, Signals, attach, turn, wished_model};
use super::served::Served;
use crate::wiring::Need;

/// Deadline of a turn: a day, because a person is there to stop it.
const TURN_SECONDS: u64 = 24 * 3600;

pub(super) async fn run(env: &Env, args: Chat) -> Outcome {
    let served = Served::find(env, Need::Model).await?;
    let outcome = converse(env, &served, &args).await;
    served.end().await?;
    outcome
}

async fn converse(env: &Env, served: &Served, args: &Chat) -> Outcome {
    let mut signals = Signals::new()?;
    let is_interactive = Keyboard::is_there(env.out);
    let mut follower = attach(env, served, &args.place, is_interactive).await?;
    let mut keyboard = Keyboard::start(is_interactive, env.out)?;
    if is_interactive {
        env.out.aside(&format!("session {}; an empty line or Ctrl-D ends the conversation", follower.session()));
    }
    let mut last = Exit::Done;
    loop {
        let line = tokio::select! {
            // Cancel-safe, see `Keyboard::line`.
            line = keyboard.line(if is_interactive { "> " } else { "" }) => line,
            () = signals.any() => return Ok(Exit::Interrupted),
        };
        let Some(line) = line.filter(|line| !line.trim().is_empty()) else { return Ok(last) };
        let deadline = Instant::now() + std::time::Duration::from_secs(TURN_SECONDS);
        let prompt = Prompt {
            content: json!(line),
            is_trusted: true,
            allow_flagged: false,
            deadline,
            model: wished_model(env, served),
        };
        let asking = if is_interactive { Some(&mut keyboard) } else { None };
        last = match turn(env, &mut follower, prompt, asking, &mut signals).await {
            Ok(exit) | Err(Failure::Said(exit)) => exit,
            Err(Failure::Fault(fault)) => {
                env.out.fault(&fault);
                Exit::of(fault.code)
            }
            Err(failure @ Failure::Output(_)) => return Err(failure),
        };
    }
}

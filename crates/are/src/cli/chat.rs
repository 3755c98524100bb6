//! `are chat`: one turn after another in one session.

use are_core::error::Fault;
use serde_json::Value;
use tokio::time::Instant;

use super::args::Chat;
use super::ask::{Keyboard, Line};
use super::exit::{Exit, Failure, Outcome};
use super::run::{Prompt, Signals, Told, attach, turn, wished};
use super::served::Served;
use super::{Env, attached};
use crate::client::Client;
use crate::wiring::Need;

/// Deadline of a turn: a day, because a person is there to stop it.
const TURN_SECONDS: u64 = 24 * 3600;
/// Entries at the end of a session in which the person's earlier prompts are looked for.
const HISTORY_ENTRIES: u64 = 2_000;
/// Events fetched at a time.
const PAGE: u64 = 500;

pub(super) async fn run(env: &Env, args: Chat) -> Outcome {
    let handed = attached::read(env, &args.attach)?;
    let served = Served::find(env, Need::Model).await?;
    let outcome = converse(env, &served, &args, handed).await;
    served.end().await?;
    outcome
}

/// `handed` goes with the first prompt.
async fn converse(env: &Env, served: &Served, args: &Chat, mut handed: Vec<Value>) -> Outcome {
    let mut signals = Signals::new()?;
    let is_interactive = Keyboard::is_there(env.out);
    let mut follower = attach(env, served, &args.place, is_interactive).await?;
    let is_old = args.place.session.is_some() || args.place.is_continued;
    let history = match is_interactive {
        true if is_old => Some(earlier_prompts(served.client(), follower.session()).await?),
        true => Some(Vec::new()),
        false => None,
    };
    let mut keyboard = Keyboard::start(history, env.out)?;
    if is_interactive {
        env.out.aside(&format!("session {}; an empty line or Ctrl-D ends the conversation", follower.session()));
    }
    let (mut last, mut has_interrupted) = (Exit::Done, false);
    loop {
        let line = tokio::select! {
            // Cancel-safe, see `Keyboard::line`.
            line = keyboard.line(if is_interactive { "> " } else { "" }) => line,
            () = signals.any() => return Ok(Exit::Interrupted),
        };
        let line = match line {
            Line::Said(line) if !line.trim().is_empty() => line,
            // The first time it only drops what was being written, as in a shell.
            Line::Interrupted if !has_interrupted => {
                has_interrupted = true;
                env.out.aside("interrupt again, or press Ctrl-D, to leave");
                continue;
            }
            Line::Interrupted => return Ok(Exit::Interrupted),
            Line::Said(_) | Line::End => return Ok(last),
        };
        has_interrupted = false;
        let deadline = Instant::now() + std::time::Duration::from_secs(TURN_SECONDS);
        let prompt = Prompt {
            content: attached::content(&line, std::mem::take(&mut handed)),
            is_trusted: true,
            allow_flagged: false,
            deadline,
            wishes: wished(env, served, &args.wishes),
        };
        let asking = if is_interactive { Some(&mut keyboard) } else { None };
        last = match turn(env, &mut follower, prompt, asking, &mut signals).await {
            Ok(Told::Ended(exit)) | Err(Failure::Said(exit)) => exit,
            Ok(Told::Left) => return Ok(Exit::Interrupted),
            Err(Failure::Fault(fault)) => {
                env.out.fault(&fault);
                Exit::of(fault.code)
            }
            Err(failure @ Failure::Output(_)) => return Err(failure),
        };
    }
}

/// What was said to a session lately, oldest first, for the line editor to go back to. It is read from the journal, so
/// that no file beside it keeps what was erased there.
async fn earlier_prompts(client: &Client, session: &str) -> Result<Vec<String>, Fault> {
    let shown = client.get(&format!("/api/sessions/{session}")).await?;
    let end = shown["seq"].as_u64().unwrap_or_default();
    let mut after = end.saturating_sub(HISTORY_ENTRIES);
    let mut prompts = Vec::new();
    while after < end {
        let page = client.get(&format!("/api/sessions/{session}/events?after={after}&limit={PAGE}")).await?;
        let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        prompts.extend(events.iter().filter_map(said));
        // A page that is short of entries, as one with long texts is, does not end it; an empty one does.
        match events.last().and_then(super::session::seq) {
            Some(last) if last > after => after = last,
            _ => break,
        }
    }
    Ok(prompts)
}

/// The words of a prompt of the user's own.
fn said(event: &Value) -> Option<String> {
    if event["type"] != "turn_started" || event["integrity"] != "user" {
        return None;
    }
    let parts = event["content"].as_array()?;
    let texts: Vec<&str> =
        parts.iter().filter(|part| part["type"] == "text").filter_map(|part| part["text"].as_str()).collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

//! `are run`: one turn. Also the loop that `are chat` runs for each of its turns.

use std::collections::VecDeque;
use std::time::Duration;

use are_core::error::{Code, Fault};
use are_core::limits::PROMPT_BYTES_MAX;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::approval::shown;
use super::args::{self, Run, Where};
use super::ask::{Keyboard, Line};
use super::exit::{Exit, Failure, Outcome};
use super::served::Served;
use super::tell::{Ended, Teller};
use super::{Env, attached, place};
use crate::client::{Door, Follower, Item, Place, Wishes};
use crate::config::Origin;
use crate::wiring::Need;

/// Deadline of a turn without one.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) async fn run(env: &Env, args: Run) -> Outcome {
    let (content, is_trusted) = match args.prompt.as_str() {
        "-" => (read_stdin().await?, false),
        prompt => (prompt.to_owned(), true),
    };
    let content = attached::content(&content, attached::read(env, &args.attach)?);
    let served = Served::find(env, Need::Model).await?;
    let outcome = one_turn(env, &served, &args, content, is_trusted).await;
    served.end().await?;
    outcome
}

async fn one_turn(env: &Env, served: &Served, args: &Run, content: Value, is_trusted: bool) -> Outcome {
    let mut signals = Signals::new()?;
    let begun = Instant::now();
    let is_interactive = is_trusted && Keyboard::is_there(env.out);
    let mut follower = tokio::select! {
        // Nothing is lost by leaving: no prompt was sent.
        follower = attach(env, served, &args.place, is_interactive) => follower?,
        () = signals.any() => return Ok(Exit::Interrupted),
    };
    let mut keyboard = if is_interactive { Some(Keyboard::start(None, env.out)?) } else { None };
    let deadline = begun + args.timeout.map_or(FOREVER, Duration::from_secs);
    let wishes = wished(env, served, &args.wishes);
    let prompt = Prompt { content, is_trusted, allow_flagged: args.allow_flagged, deadline, wishes };
    match turn(env, &mut follower, prompt, keyboard.as_mut(), &mut signals).await? {
        Told::Ended(exit) => Ok(exit),
        Told::Left => Ok(Exit::Interrupted),
    }
}

/// Attaches to the session that the flags mean.
pub(super) async fn attach(env: &Env, served: &Served, place: &Where, is_interactive: bool) -> Result<Follower, Fault> {
    let session = meant(served, place).await?;
    let workspace = if session.is_none() { workspace(env, served) } else { None };
    let agent = place.agent.clone();
    let place = Place { session, agent, workspace, is_headless: !is_interactive, ..Place::default() };
    Follower::open(served.client().clone(), place, None).await
}

/// The existing session that the flags mean; `None` for a new one.
pub(super) async fn meant(served: &Served, place: &Where) -> Result<Option<String>, Fault> {
    match (&place.session, place.is_continued) {
        (Some(key), _) => Ok(Some(place::session(key)?)),
        (None, true) => place::latest(served.client()).await,
        (None, false) => Ok(None),
    }
}

/// What the flags wish for. `--model` and `--local-llm` choose the model where the engine starts here; towards a server
/// that runs already they are wishes.
pub(super) fn wished(env: &Env, served: &Served, flags: &args::Wishes) -> Wishes {
    let model = || {
        if let Some(model) = &flags.model {
            // Here it became the default, whose name says what the wish came to, and which others may stand behind.
            return Some(served.own_model().unwrap_or(model).to_owned());
        }
        let local = env.config.local_llm.as_ref().filter(|local| matches!(local.origin, Origin::Flag(_)))?;
        served.is_elsewhere().then(|| local.value.name())
    };
    Wishes { model: model(), effort: flags.effort, temperature: flags.temperature }
}

/// The caller's directory, where the server is on this machine and it may be a workspace.
pub(super) fn workspace(env: &Env, served: &Served) -> Option<String> {
    let is_here = matches!(served.client().door(), Door::Socket(_));
    if !is_here || env.config.workspace.is_some() {
        return None;
    }
    match env.config.guard.check(&env.surroundings.directory) {
        Ok(path) => path.to_str().map(str::to_owned),
        Err(fault) => {
            env.out.aside(&format!("note: {}; the session works in a directory of its own", fault.message));
            None
        }
    }
}

/// What to say in a turn.
pub(super) struct Prompt {
    pub(super) content: Value,
    pub(super) is_trusted: bool,
    pub(super) allow_flagged: bool,
    pub(super) deadline: Instant,
    pub(super) wishes: Wishes,
}

/// What became of a turn that was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It came to its end.
    Ended(Exit),
    /// Whoever was told left before that.
    Left,
}

/// Signals that stop a turn.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Either of them. Cancel-safe, as receiving from both is.
    pub(super) async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A call that waits for the person at the keyboard.
struct Asked {
    approval: u64,
    digest: String,
    question: String,
}

/// Calls that wait, in the order in which the person is asked about them.
type Queue = VecDeque<Asked>;

/// Runs one turn to its end.
pub(super) async fn turn(
    env: &Env,
    follower: &mut Follower,
    prompt: Prompt,
    mut keyboard: Option<&mut Keyboard>,
    signals: &mut Signals,
) -> Result<Told, Failure> {
    let turn = tokio::select! {
        // An interrupted prompt may become a turn all the same; whoever interrupts does not wait for it.
        turn = follower.prompt(prompt.content, (prompt.is_trusted, prompt.allow_flagged), &prompt.wishes) => turn?,
        () = signals.any() => return Ok(Told::Left),
    };
    let mut teller = Teller::new(env.out);
    let (mut asked, mut said) = (Queue::new(), None);
    let mut stopped: Option<Stop> = None;
    loop {
        tokio::select! {
            // Cancel-safe, see `Follower::next`.
            item = follower.next() => {
                let item = item?;
                if let Some(ended) = teller.tell(&item)? {
                    return end(env, &teller, &ended, stopped).map(Told::Ended);
                }
                match &item {
                    Item::Event(event) => attend(env, event, &mut asked, keyboard.is_some()),
                    Item::Notice(notice) => ask_again(env, notice, &mut asked, &mut said),
                    Item::Token { .. } | Item::Lost | Item::Reset => {}
                }
            }
            // Cancel-safe, see `Keyboard::answer`.
            line = line(keyboard.as_deref_mut()), if !asked.is_empty() => match line {
                // The editor of lines takes the key, so that no signal comes of it.
                Line::Interrupted => {
                    // Whoever stops the turn answers nothing more in it.
                    asked.clear();
                    if interrupt(env, follower, turn, &mut stopped).await? {
                        return Ok(Told::Left);
                    }
                }
                Line::Said(_) | Line::End => answer(env, follower, &mut asked, &mut said, line.text()).await?,
            },
            // Receiving a signal is cancel-safe.
            _ = signals.interrupt.recv() => {
                if interrupt(env, follower, turn, &mut stopped).await? {
                    return Ok(Told::Left);
                }
            }
            // The turn goes on where its server goes on.
            _ = signals.terminate.recv() => return Ok(Told::Left),
            () = sleep_until(prompt.deadline), if stopped.is_none() => {
                stopped = Some(Stop::TimedOut);
                follower.cancel(turn).await?;
            }
        }
    }
}

/// Why this client stopped the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Interrupted,
    TimedOut,
}

/// Stops the turn the first time; true when whoever interrupts wants to leave at once.
async fn interrupt(env: &Env, follower: &mut Follower, turn: u64, stopped: &mut Option<Stop>) -> Result<bool, Failure> {
    if stopped.is_some() {
        return Ok(true);
    }
    *stopped = Some(Stop::Interrupted);
    env.out.aside("stopping; interrupt again to leave at once");
    follower.cancel(turn).await?;
    Ok(false)
}

fn end(env: &Env, teller: &Teller, ended: &Ended, stopped: Option<Stop>) -> Outcome {
    match (ended, stopped) {
        (Ended::Failed(fault), _) => {
            env.out.fault(fault);
            Err(Failure::Said(teller.exit(ended)))
        }
        (Ended::Cancelled, Some(Stop::TimedOut)) => {
            env.out.say("error: the turn took longer than `--timeout` allows and was cancelled");
            Err(Failure::Said(Exit::Failed))
        }
        _ => Ok(teller.exit(ended)),
    }
}

/// Asks the person about a call that waits; without one it is the engine that says no.
fn attend(env: &Env, event: &Value, asked: &mut Queue, is_interactive: bool) {
    match event["type"].as_str() {
        Some("approval_requested") if is_interactive => {
            let one = Asked::of(event);
            if asked.is_empty() {
                env.out.say(&one.question);
            }
            asked.push_back(one);
        }
        // Answered elsewhere, overtaken by the turn's end, or asked about anew under other rules.
        Some("approval_resolved" | "approval_withdrawn") => asked.retain(|one| event["approval"] != one.approval),
        _ => {}
    }
}

/// Sends the person's word about the first call that waits and asks about the next one.
async fn answer(
    env: &Env,
    follower: &mut Follower,
    asked: &mut Queue,
    said: &mut Option<Asked>,
    line: Option<&str>,
) -> Result<(), Failure> {
    if let Some(one) = asked.pop_front() {
        follower.approve(one.approval, &one.digest, decision(line)).await?;
        *said = Some(one);
    }
    if let Some(next) = asked.front() {
        env.out.say(&next.question);
    }
    Ok(())
}

/// An answer that was refused, other than by a quicker one, leaves the call waiting: the person is asked again.
fn ask_again(env: &Env, notice: &Value, asked: &mut Queue, said: &mut Option<Asked>) {
    let is_of = |one: &Asked| notice["id"] == format!("approve-{}", one.approval);
    let is_settled =
        [Code::APPROVAL_UNKNOWN, Code::APPROVAL_MISMATCH].iter().any(|code| notice["code"] == code.to_string());
    if notice["type"] != "error" || is_settled || !said.as_ref().is_some_and(is_of) {
        return;
    }
    if let Some(one) = said.take() {
        env.out.say(&one.question);
        asked.push_front(one);
    }
}

impl Asked {
    fn of(event: &Value) -> Self {
        let always = if event["rule"].is_string() { ", [a]lways" } else { "" };
        Self {
            approval: event["approval"].as_u64().unwrap_or_default(),
            digest: event["digest"].as_str().unwrap_or_default().to_owned(),
            question: format!("? {}\n  allow? [o]nce, [s]ession{always}, [n]o", shown(event)),
        }
    }
}

fn decision(line: Option<&str>) -> &'static str {
    match line.map(|line| line.trim().to_lowercase()).as_deref() {
        Some("o" | "once" | "y" | "yes") => "allow_once",
        Some("s" | "session") => "allow_session",
        Some("a" | "always") => "allow_always",
        _ => "deny",
    }
}

async fn line(keyboard: Option<&mut Keyboard>) -> Line {
    match keyboard {
        Some(keyboard) => keyboard.answer("> ").await,
        None => std::future::pending().await,
    }
}

async fn read_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let limit = PROMPT_BYTES_MAX as u64 + 1;
    tokio::io::stdin().take(limit).read_to_end(&mut bytes).await?;
    if bytes.len() > PROMPT_BYTES_MAX {
        let what = format!("stdin holds more than {PROMPT_BYTES_MAX} bytes");
        return Err(Fault::new(Code::PROMPT_TOO_LARGE, what, "give less, or let a tool read the file in pieces").into());
    }
    // Replaced characters are visible to the model; refusing whole logs for one bad byte helps nobody.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

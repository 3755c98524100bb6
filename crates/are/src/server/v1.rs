//! `are.v1`: prompts in, plain text out.
//!
//! Each text frame is a piece of the answer, whole characters; an empty frame
//! ends the turn. An error closes the socket with 4000 plus the code's number.
//! What this protocol cannot say is never said wrongly: text that a restart of
//! the model made void ends the socket, and asking again with the same
//! `request_id` gives the turn's text as it stands.
//!
//! The socket cannot answer approvals, so it does not count as somebody who can.

use std::collections::VecDeque;
use std::sync::Arc;

use are_core::body::Body;
use are_core::canonical::parse_strict;
use are_core::error::{Code, Fault};
use are_core::ids::{RequestId, Seq, SessionKey, ThreadId, TurnNo};
use are_core::journal::{Entry, Frame};
use are_core::label::Integrity;
use are_core::limits::ANSWER_BYTES_MAX;
use are_core::model::Asked;
use are_core::payload::{Part, Payload};
use are_engine::api::{Caller, IfBusy, Prompt, Tailed, Target};
use are_engine::engine::Tail;
use serde::Deserialize;

use super::app::App;
use super::auth::Principal;
use super::named;
use super::problem::{close_code_of, close_reason_of, farewell, invalid};
use super::socket::{Feed, Heard, Socket};
use super::v2::{next_batch, revocation};
use super::wire::{self, Effort, Narrator};

/// Entries behind the journal's end from which on pieces are joined.
const LAG_MAX: u64 = 4096;
/// Bytes of a joined piece.
const JOINED_BYTES_MAX: usize = 16 << 10;

/// A prompt. Every field but `prompt` is a wish or a name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainPrompt {
    prompt: String,
    #[serde(default = "yes")]
    streaming: bool,
    adaptive: Option<bool>,
    effort: Option<Effort>,
    temperature: Option<f64>,
    session: Option<SessionKey>,
    request_id: Option<RequestId>,
    model: Option<String>,
}

/// Further words while a turn runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainFeedback {
    feedback: String,
}

/// A stop.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainCancel {
    cancel: bool,
}

const fn yes() -> bool {
    true
}

enum Request {
    Prompt(PlainPrompt),
    Feedback(String),
    Cancel,
}

/// Serves one socket until it ends.
pub(super) async fn serve(
    app: Arc<App>,
    principal: Principal,
    thread: ThreadId,
    session: SessionKey,
    mut socket: Socket,
) {
    let caller = Caller { can_approve: false, ..principal.caller(thread) };
    let mut client = Client { app, principal, caller, session, tail: None, feed: Answers::default(), last: None };
    let why = client.run(&mut socket).await;
    socket.close(why).await;
}

struct Client {
    app: Arc<App>,
    principal: Principal,
    caller: Caller,
    session: SessionKey,
    tail: Option<Tail>,
    feed: Answers,
    /// The turn prompted last on this socket.
    last: Option<TurnNo>,
}

impl Client {
    async fn run(&mut self, socket: &mut Socket) -> Option<(u16, String)> {
        let closing = self.app.closing.clone();
        let tie = self.principal.tie.clone();
        let close = |fault: &Fault| Some((close_code_of(fault.code), close_reason_of(fault)));
        loop {
            let beat_at = socket.beat_at();
            let is_hungry = self.feed.out.is_empty() && !socket.is_dirty();
            if is_hungry && let Some(fault) = self.feed.fault.take() {
                return close(&fault);
            }
            // Every branch is cancel-safe: tokens are level-triggered, `hear` and `Tail::next` keep what they took.
            tokio::select! {
                biased;
                () = closing.cancelled() => return Some(farewell(&self.app.goodbye())),
                () = tie.cut() => return Some(revocation()),
                heard = socket.hear(&mut self.feed) => match heard {
                    Heard::Text(text) => if let Err(fault) = Box::pin(self.request(&text)).await {
                        return close(&fault);
                    },
                    Heard::Sent => {}
                    Heard::Gone => return None,
                    Heard::Broken(code, reason) => return Some((code, reason.to_owned())),
                },
                batch = next_batch(&mut self.tail), if is_hungry && self.tail.is_some() => match batch {
                    Ok(batch) => {
                        self.feed.joins = self.tail.as_ref().map_or(0, Tail::lag) > LAG_MAX;
                        self.feed.fill(batch);
                    }
                    Err(fault) if self.app.stopping.is_cancelled() => {
                        return Some(farewell(&self.app.goodbye_after(fault)));
                    }
                    Err(fault) => return close(&fault),
                },
                () = tokio::time::sleep_until(beat_at) => if !socket.beat() {
                    return None;
                },
            }
        }
    }

    async fn request(&mut self, text: &str) -> Result<(), Fault> {
        match read(text)? {
            Request::Prompt(prompt) => self.prompt(prompt).await,
            Request::Feedback(words) => self.feedback(words).await,
            // A cancel that comes after the end has what it wants.
            Request::Cancel => match self.feed.mine.front() {
                Some(mine) => {
                    self.app.engine.cancel(&self.caller, self.session, mine.turn).await.map(drop).or_else(is_over)
                }
                None => Ok(()),
            },
        }
    }

    async fn feedback(&mut self, words: String) -> Result<(), Fault> {
        let engine = &self.app.engine;
        if let Some(mine) = self.feed.mine.front() {
            let content = vec![Part::Text { text: words }];
            return engine.steer(&self.caller, self.session, mine.turn, content).await.map(drop).or_else(is_over);
        }
        // Words after the end cannot steer any more; they are kept as an opinion of the turn.
        let turn = self.last.ok_or_else(|| invalid("there is no turn to give feedback on", "send a prompt first"))?;
        engine.feedback(&self.caller, self.session, turn, None, Some(wire::note(words)?)).await.map(drop)
    }

    async fn prompt(&mut self, plain: PlainPrompt) -> Result<(), Fault> {
        if let Some(session) = plain.session
            && session != self.session
        {
            if !self.feed.mine.is_empty() {
                return Err(invalid(
                    "`session` cannot change while a turn runs",
                    "wait for the empty frame, or open another socket",
                ));
            }
            self.session = session;
            self.tail = None;
        }
        if self.tail.is_none() {
            // Before the prompt, so that its tokens come as they are made and not by way of the store.
            self.follow(None).await?;
        }
        let prompt = Prompt {
            request_id: plain.request_id,
            content: vec![Part::Text { text: plain.prompt }],
            integrity: Integrity::User,
            temperature_milli: plain.temperature.map(wire::temperature_milli).transpose()?,
            effort: plain.effort.map(Into::into),
            model: plain.model.map(wire::model_name).transpose()?,
            if_busy: IfBusy::Queue,
            is_direct: false,
            waits: false,
            // This protocol has no word for it.
            allow_flagged: false,
            asked: Asked { adaptive: plain.adaptive, ..Asked::default() },
        };
        let ack = self.app.engine.prompt(&self.caller, Target::Session(self.session), prompt).await?;
        let is_streamed_now = ack.session == self.session && self.feed.mine.iter().any(|mine| mine.turn == ack.turn);
        if is_streamed_now {
            return Ok(());
        }
        if ack.session != self.session || ack.seq <= self.feed.seen {
            if !self.feed.mine.is_empty() {
                let message = "this `request_id` is an earlier turn's, and another turn runs on this socket";
                return Err(Fault::new(Code::REQUEST_CONFLICT, message, "ask again when the running turn has ended"));
            }
            self.session = ack.session;
            self.follow(Some(ack.seq.saturating_sub(1))).await?;
        }
        self.feed.mine.push_back(Mine { turn: ack.turn, streams: plain.streaming, sent: 0, held: String::new() });
        self.last = Some(ack.turn);
        Ok(())
    }

    /// Follows the session from its end, or from an earlier entry on.
    async fn follow(&mut self, after: Option<Seq>) -> Result<(), Fault> {
        let (standing, tail) = self.app.engine.attach(&self.caller, self.session, after, None).await?;
        self.tail = Some(tail);
        self.feed = Answers {
            seen: after.unwrap_or(standing.seq),
            settled: after.map_or(0, |_| standing.seq),
            narrator: Narrator::within(standing.turn.filter(|_| after.is_none())),
            ..Answers::default()
        };
        Ok(())
    }
}

/// The turn may end while a word about it is on its way; that is nobody's error.
fn is_over(fault: Fault) -> Result<(), Fault> {
    if fault.code == Code::TURN_NOT_RUNNING { Ok(()) } else { Err(fault) }
}

/// Reads one message.
fn read(text: &str) -> Result<Request, Fault> {
    let help = "send {\"prompt\": \"…\"}, or while a turn runs {\"feedback\": \"…\"} or {\"cancel\": true}";
    let value = parse_strict(text.as_bytes()).map_err(|error| invalid(error.to_string(), help))?;
    let has = |name: &str| value.get(name).is_some();
    let typed = |error: serde_json::Error| invalid(error.to_string(), help);
    match (has("prompt"), has("feedback"), has("cancel")) {
        (true, ..) => {
            let prompt: PlainPrompt = named::read(value).map_err(typed)?;
            says_something("prompt", &prompt.prompt)?;
            Ok(Request::Prompt(prompt))
        }
        (_, true, _) => {
            let PlainFeedback { feedback } = named::read(value).map_err(typed)?;
            says_something("feedback", &feedback)?;
            Ok(Request::Feedback(feedback))
        }
        (.., true) => match named::read::<PlainCancel>(value).map_err(typed)? {
            PlainCancel { cancel: true } => Ok(Request::Cancel),
            PlainCancel { cancel: false } => Err(invalid("`cancel` can only be true", help)),
        },
        _ => Err(invalid("the message holds no `prompt`, `feedback` or `cancel`", help)),
    }
}

fn says_something(field: &str, text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() {
        return Err(invalid(format!("`{field}` says nothing"), "send some text"));
    }
    Ok(())
}

/// A turn prompted on this socket that has not ended.
struct Mine {
    turn: TurnNo,
    streams: bool,
    /// Bytes of its text that were sent.
    sent: u64,
    /// Text that is not sent yet: all of it without streaming, and while an old turn is read again.
    held: String,
}

/// Text on its way out.
#[derive(Default)]
struct Answers {
    out: VecDeque<String>,
    mine: VecDeque<Mine>,
    narrator: Narrator,
    /// Last entry taken from the tail.
    seen: Seq,
    /// Entries up to here were in the journal when the turn was asked for again: a restart among them takes back
    /// text, so it is held until they are all read.
    settled: Seq,
    /// Why the socket ends when `out` is sent.
    fault: Option<Fault>,
    joins: bool,
}

impl Feed for Answers {
    fn next(&mut self) -> Option<String> {
        self.out.pop_front()
    }
}

impl Answers {
    fn fill(&mut self, batch: Vec<Tailed>) {
        if self.out.capacity() > batch.len() * 2 {
            self.out.shrink_to_fit();
        }
        for item in batch {
            if let Tailed::Entry(entry) = item {
                self.take(&entry);
            }
        }
    }

    fn take(&mut self, entry: &Entry) {
        self.narrator.pass(entry);
        self.seen = entry.seq();
        match entry {
            Entry::Frame(_, Frame::Token { text }) => self.token(text),
            Entry::Frame(..) => {}
            Entry::Record(record, payload) => {
                let turn = record.turn.unwrap_or_default();
                match &record.body {
                    Body::ModelRestarted { keep_bytes, .. } => self.restart(turn, *keep_bytes),
                    Body::TurnCompleted { .. } | Body::TurnCancelled {} => self.end(turn, None),
                    Body::TurnFailed { code, .. } => self.end(turn, Some(failure(*code, payload.as_ref()))),
                    _ => {}
                }
            }
        }
        if self.seen >= self.settled {
            self.release();
        }
    }

    fn token(&mut self, text: &str) {
        let is_settled = self.seen > self.settled;
        let Some(mine) = self.mine.front_mut().filter(|mine| Some(mine.turn) == self.narrator.turn()) else { return };
        if !is_settled || !mine.streams {
            mine.held.push_str(text);
            // Beyond one answer's size the text goes out in pieces, whatever was asked.
            if mine.held.len() <= ANSWER_BYTES_MAX {
                return;
            }
            let held = std::mem::take(&mut mine.held);
            mine.sent += held.len() as u64;
            return self.out.push_back(held);
        }
        mine.sent += text.len() as u64;
        match self.out.back_mut() {
            Some(last) if self.joins && !last.is_empty() && last.len() + text.len() <= JOINED_BYTES_MAX => {
                last.push_str(text)
            }
            // An empty frame would end the turn.
            _ if !text.is_empty() => self.out.push_back(text.to_owned()),
            _ => {}
        }
    }

    /// Sends what a streaming turn holds.
    fn release(&mut self) {
        if let Some(mine) = self.mine.front_mut().filter(|mine| mine.streams && !mine.held.is_empty()) {
            mine.sent += mine.held.len() as u64;
            self.out.push_back(std::mem::take(&mut mine.held));
        }
    }

    fn restart(&mut self, turn: TurnNo, keep_bytes: u64) {
        let Some(mine) = self.mine.iter_mut().find(|mine| mine.turn == turn) else { return };
        match keep_bytes.checked_sub(mine.sent).map(usize::try_from) {
            Some(Ok(keep)) => {
                let end = (0..=keep.min(mine.held.len())).rev().find(|&at| mine.held.is_char_boundary(at)).unwrap_or(0);
                mine.held.truncate(end);
            }
            _ => {
                self.fault = Some(
                    Fault::new(
                        Code::MODEL_STREAM_BROKEN,
                        "the model began again, and text already sent is void",
                        "ask again with the same `request_id`",
                    )
                    .retryable(),
                );
            }
        }
    }

    fn end(&mut self, turn: TurnNo, fault: Option<Fault>) {
        let Some(at) = self.mine.iter().position(|mine| mine.turn == turn) else { return };
        let Some(mine) = self.mine.remove(at) else { return };
        if !mine.held.is_empty() {
            self.out.push_back(mine.held);
        }
        match fault {
            None => self.out.push_back(String::new()),
            Some(fault) => self.fault = self.fault.take().or(Some(fault)),
        }
    }
}

fn failure(code: Code, payload: Option<&Payload>) -> Fault {
    match payload {
        Some(Payload::Failure { message, help, .. }) => Fault::new(code, message, help),
        _ => Fault::new(code, "the turn failed", ""),
    }
}

#[cfg(test)]
mod tests;

//! A turn as its client hears of it, from the session's tail at the client's pace, or later from the journal.
//!
//! A client that leaves before the end takes its turn with it, unless it named
//! the request and so said that it may come back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::ids::{CallNo, SessionKey, TurnNo};
use are_core::journal::{Entry, Frame, Record};
use are_core::model::{Shape, StopReason, Usage};
use are_core::payload::Payload;
use are_engine::api::{Caller, Tailed};
use are_engine::engine::Tail;
use are_engine::fitting::fitting;

use super::error::Wrong;
use super::names::{self, Names};
use crate::server::app::App;
use crate::server::wire::Narrator;

/// A call that is the client's to make.
#[derive(Debug, Clone)]
pub(super) struct ClientCall {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) stop_reason: StopReason,
    pub(super) usage: Usage,
}

/// What a client hears.
pub(super) enum Heard {
    /// Words, never empty.
    Text(String),
    /// A call of a tool of its own.
    Call(ClientCall),
    /// The turn's text is void after so many bytes.
    Cut(u64),
    /// The end.
    Done(Done),
}

/// A turn that goes on.
pub(super) struct Running {
    guard: Guard,
    tail: Tail,
    ready: VecDeque<Arc<Entry>>,
    hearing: Hearing,
}

impl Running {
    /// Follows a turn. One that is cancelled with its client ends when nobody listens any more.
    pub(super) fn new(
        app: Arc<App>,
        caller: Caller,
        tail: Tail,
        hearing: Hearing,
        is_cancelled_with_client: bool,
    ) -> Self {
        let Hearing { session, turn, .. } = hearing;
        let guard = Guard { app, caller, session, turn, is_armed: is_cancelled_with_client };
        Self { guard, tail, ready: VecDeque::new(), hearing }
    }

    /// Its session.
    pub(super) const fn session(&self) -> SessionKey {
        self.guard.session
    }

    /// Its number.
    pub(super) const fn turn(&self) -> TurnNo {
        self.guard.turn
    }

    /// When it began, in seconds since 1970: as its first record says, so that it is the same whenever it is asked. For
    /// one that is followed from that record on, before anything is heard of it.
    pub(super) async fn created_s(&mut self) -> Result<u64, Wrong> {
        let turn = Some(self.guard.turn);
        loop {
            let began = self.ready.iter().find_map(|entry| match entry.as_ref() {
                Entry::Record(record, _) if record.turn == turn => Some(record.timestamp.as_second()),
                Entry::Record(..) | Entry::Frame(..) => None,
            });
            if let Some(began) = began {
                return Ok(u64::try_from(began).unwrap_or(0));
            }
            self.read().await?;
        }
    }

    /// What happens next. Cancel-safe: what was read is kept.
    pub(super) async fn next(&mut self) -> Result<Heard, Wrong> {
        loop {
            while let Some(entry) = self.ready.pop_front() {
                let heard = self.hearing.take(&entry);
                // It is over, or waits for somebody who may come long after this client.
                self.guard.is_armed &= !matches!(heard, Err(_) | Ok(Some(Heard::Done(_))));
                if let Some(heard) = heard? {
                    return Ok(heard);
                }
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Wrong> {
        let items = self.tail.next().await.map_err(|fault| {
            // The session is not served any more; the turn goes on with the next process.
            self.guard.is_armed = false;
            Wrong::of_turn(fault)
        })?;
        self.ready.extend(items.into_iter().filter_map(|item| match item {
            Tailed::Entry(entry) => Some(entry),
            Tailed::Progress { .. } => None,
        }));
        Ok(())
    }
}

/// What a client hears of one turn, from the entries of its session.
pub(super) struct Hearing {
    session: SessionKey,
    turn: TurnNo,
    narrator: Narrator,
    names: Names,
    shape: Shape,
    /// True for whoever looks at a turn that it does not wait for: a question that is open is no end to it.
    is_later: bool,
    /// Text of the answer that comes now, where it must have a form: it is shown when it has.
    held: String,
    /// What is wrong with the last whole answer. The model may be asked for it again.
    unfit: Option<String>,
    calls: BTreeMap<CallNo, (String, String)>,
    usage: Usage,
}

impl Hearing {
    /// Of a turn, from its first entry on.
    pub(super) fn new(session: SessionKey, turn: TurnNo, names: Names, shape: Shape) -> Self {
        Self {
            session,
            turn,
            narrator: Narrator::within(Some(turn)),
            names,
            shape,
            is_later: false,
            held: String::new(),
            unfit: None,
            calls: BTreeMap::new(),
            usage: Usage::default(),
        }
    }

    /// For whoever looks it up later.
    pub(super) fn later(self) -> Self {
        Self { is_later: true, ..self }
    }

    /// Takes the next entry of the session.
    ///
    /// # Errors
    /// What the turn ended with, when it is no answer.
    pub(super) fn take(&mut self, entry: &Entry) -> Result<Option<Heard>, Wrong> {
        self.narrator.pass(entry);
        match entry {
            Entry::Frame(_, Frame::Token { text }) if self.narrator.turn() == Some(self.turn) => {
                if self.shape.format.is_some() {
                    self.held.push_str(text);
                    return Ok(None);
                }
                Ok(Some(text.clone()).filter(|text| !text.is_empty()).map(Heard::Text))
            }
            Entry::Record(record, payload) if record.turn == Some(self.turn) => self.read(record, payload.as_ref()),
            Entry::Frame(..) | Entry::Record(..) => Ok(None),
        }
    }

    fn read(&mut self, record: &Record, payload: Option<&Payload>) -> Result<Option<Heard>, Wrong> {
        match (&record.body, payload) {
            (Body::ModelCompleted { stop_reason, usage, calls, .. }, _) => {
                self.spend(usage);
                Ok(self.release(*stop_reason, *calls > 0))
            }
            (Body::Compacted { usage, .. } | Body::Planned { usage: Some(usage), .. }, _) => {
                self.spend(usage);
                Ok(None)
            }
            (Body::ModelRestarted { keep_bytes, .. }, _) => {
                self.held.clear();
                Ok(Some(Heard::Cut(*keep_bytes)).filter(|_| self.shape.format.is_none()))
            }
            (Body::ToolRequested { call, .. }, Some(Payload::Call { args, name: Some(name) })) => {
                let arguments = args.as_ref().map_or_else(|| "{}".to_owned(), |args| args.as_str().to_owned());
                self.calls.insert(*call, (name.clone(), arguments));
                Ok(None)
            }
            (Body::ToolHandedOver { call }, _) => {
                let Some((name, arguments)) = self.calls.remove(call) else { return Ok(None) };
                let id = names::call_id(self.session, *call);
                Ok(Some(Heard::Call(ClientCall { id, name: self.names.outer(&name), arguments })))
            }
            (Body::TurnCompleted { stop_reason }, _) => match self.unfit.take() {
                None => Ok(Some(Heard::Done(Done { stop_reason: *stop_reason, usage: self.usage }))),
                Some(why) => {
                    let help = "say in the prompt what is wanted, or use a model that enforces a schema";
                    Err(Wrong::of_turn(Fault::new(Code::ANSWER_UNFIT, why, help)))
                }
            },
            (Body::TurnParked { approval }, _) if !self.is_later => {
                let session = self.session;
                let message = "nobody has answered in time whether a call may be made; the question stays open";
                let help =
                    format!("answer `are approval allow {session}/{approval}`, and ask in the same conversation");
                Err(Wrong::of_turn(Fault::new(Code::APPROVAL_PENDING, message, help)))
            }
            (Body::TurnFailed { code, .. }, payload) => Err(Wrong::of_turn(match payload {
                Some(Payload::Failure { message, help, .. }) => Fault::new(*code, message, help),
                _ => Fault::new(*code, "the turn failed", ""),
            })),
            (Body::TurnCancelled {}, _) => {
                let fault = Fault::new(Code::TURN_NOT_RUNNING, "the turn was cancelled", "send the request again");
                Err(Wrong::of_turn(fault))
            }
            _ => Ok(None),
        }
    }

    fn spend(&mut self, usage: &Usage) {
        self.usage.input_tokens += usage.input_tokens;
        self.usage.cached_tokens += usage.cached_tokens;
        self.usage.output_tokens += usage.output_tokens;
    }

    /// Shows an answer that has its form. One that was cut off has none, and its reason to end says so.
    fn release(&mut self, stop_reason: StopReason, has_calls: bool) -> Option<Heard> {
        let held = std::mem::take(&mut self.held);
        if self.shape.format.is_none() || has_calls {
            // Of an answer before this one nothing is wrong any more.
            self.unfit = None;
            return None;
        }
        let text = match stop_reason {
            StopReason::Length | StopReason::ContentFilter | StopReason::Steered | StopReason::Cancelled => held,
            StopReason::Stop | StopReason::ToolCalls => match fitting(&held, &self.shape) {
                Ok(json) => json,
                Err(why) => {
                    self.unfit = Some(why);
                    return None;
                }
            },
        };
        self.unfit = None;
        Some(text).filter(|text| !text.is_empty()).map(Heard::Text)
    }
}

/// Stops the turn of a client that left.
struct Guard {
    app: Arc<App>,
    caller: Caller,
    session: SessionKey,
    turn: TurnNo,
    is_armed: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_armed {
            return;
        }
        let (app, caller, session, turn) = (self.app.clone(), self.caller.clone(), self.session, self.turn);
        self.app.tasks.spawn("cancel a turn whose client left", async move {
            if let Err(error) = app.engine.cancel(&caller, session, turn).await {
                // It has just ended, or the whole server does.
                tracing::debug!(%error, %session, turn, "a turn was not stopped");
            }
        });
    }
}

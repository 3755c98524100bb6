//! A direct call that goes on: the entries of its turn as they come, and what it comes to.
//!
//! It only reads the session's tail, so dropping it changes nothing. Turns that
//! were accepted before this one, and what their calls say, are left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::ids::{CallNo, SessionKey, TurnNo};
use are_core::journal::{Entry, Frame, Record};
use are_core::label::Labels;
use are_core::payload::Payload;
use serde_json::Value;

use crate::api::{CallEvent, Called, Tailed};
use crate::engine::Tail;
use crate::faults;

/// A direct call that goes on.
pub struct Calling {
    tail: Tail,
    session: SessionKey,
    turn: TurnNo,
    /// The call itself; the others are those it makes.
    first: Option<CallNo>,
    calls: BTreeSet<CallNo>,
    results: BTreeMap<CallNo, (Value, Labels)>,
    ready: VecDeque<Arc<Entry>>,
}

impl Calling {
    pub(super) fn new(tail: Tail, session: SessionKey, turn: TurnNo) -> Self {
        let (calls, results, ready) = (BTreeSet::new(), BTreeMap::new(), VecDeque::new());
        Self { tail, session, turn, first: None, calls, results, ready }
    }

    /// Its session.
    #[must_use]
    pub const fn session(&self) -> SessionKey {
        self.session
    }

    /// The turn that it is.
    #[must_use]
    pub const fn turn(&self) -> TurnNo {
        self.turn
    }

    /// What happens next. Cancel-safe: what was read is kept.
    ///
    /// # Errors
    /// The rules denied it, it failed, nobody knows whether it happened, the session ended.
    pub async fn next(&mut self) -> Result<CallEvent, Fault> {
        loop {
            while let Some(entry) = self.ready.pop_front() {
                if let Some(event) = self.take(entry)? {
                    return Ok(event);
                }
            }
            let entries = self.tail.next().await?.into_iter().filter_map(|item| match item {
                Tailed::Entry(entry) => Some(entry),
                Tailed::Progress { .. } => None,
            });
            self.ready.extend(entries);
        }
    }

    fn take(&mut self, entry: Arc<Entry>) -> Result<Option<CallEvent>, Fault> {
        let event = match entry.as_ref() {
            Entry::Record(record, payload) if record.turn == Some(self.turn) => self.read(record, payload.as_ref())?,
            Entry::Record(..) => return Ok(None),
            Entry::Frame(_, Frame::ToolOutput { call, .. }) if self.calls.contains(call) => None,
            Entry::Frame(..) => return Ok(None),
        };
        Ok(Some(event.unwrap_or(CallEvent::Entry(entry))))
    }

    /// What a record of the turn means for the call, if it means more than itself.
    fn read(&mut self, record: &Record, payload: Option<&Payload>) -> Result<Option<CallEvent>, Fault> {
        match (&record.body, payload) {
            (Body::ToolRequested { call, .. }, _) => {
                self.calls.insert(*call);
                // What it calls in turn follows it.
                self.first = self.first.or(Some(*call));
            }
            (Body::ToolCompleted { call, .. }, Some(Payload::Result { value, labels, .. })) => {
                self.results.insert(*call, (value.clone(), labels.clone()));
            }
            (Body::TurnParked { approval }, _) => return Ok(Some(CallEvent::Parked(*approval))),
            (Body::TurnCompleted { .. }, _) => {
                let found = self.first.and_then(|call| Some((call, self.results.remove(&call)?)));
                let (call, (value, labels)) = found.ok_or_else(faults::internal)?;
                let called = Called { session: self.session, turn: self.turn, call, value, labels };
                return Ok(Some(CallEvent::Done(Box::new(called))));
            }
            (Body::TurnFailed { code, .. }, Some(Payload::Failure { message, help, .. })) => {
                return Err(Fault::new(*code, message, help));
            }
            (Body::TurnFailed { code, .. }, _) => return Err(Fault::new(*code, "the call failed", "try again")),
            (Body::TurnCancelled {}, _) => {
                let help = "find out whether it happened before you call it again";
                return Err(Fault::new(Code::TOOL_OUTCOME_UNKNOWN, "the call was stopped", help));
            }
            _ => {}
        }
        Ok(None)
    }
}

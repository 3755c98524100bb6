//! Summing up the oldest turns: the model call, and what becomes of it.
//!
//! Nothing of the answer is a frame: clients are told the summary with its
//! record, and none of it is mistaken for the turn's answer. Whatever goes
//! wrong is recorded as that, and the turn goes on without a summary.

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::ids::TurnNo;
use are_core::journal::Draft;
use are_core::label::{Integrity, Label, Levels};
use are_core::limits::ANSWER_BYTES_MAX;
use are_core::model::{Delta, ModelRequest, StopReason, Usage};
use are_core::payload::Payload;
use are_core::store::Change;
use futures_util::StreamExt as _;

use super::commands::{Heard, Why, answered, one};
use super::{Actor, Batch, Outcome, Reply, Stop};
use crate::api::Caller;
use crate::context::compaction::{is_any, usable};
use crate::fair;
use crate::faults;
use crate::machine::{self, Action};
use crate::state::Compacting;

/// What the model has said so far.
#[derive(Default)]
struct Said {
    text: String,
    /// Bytes that it has sent, of whatever kind.
    bytes: usize,
    end: Option<(StopReason, Usage)>,
}

impl Actor {
    /// Asks the model and appends what it comes to.
    pub(super) async fn summarise(&mut self, request: ModelRequest) -> Result<Outcome, Stop> {
        let (output_tokens_max, model) = (request.output_tokens_max, request.model.clone());
        let price = self.surroundings.as_ref().and_then(super::Surroundings::price);
        self.inner.resting.asked(&model, self.inner.ports.clock.now_ms());
        let mut stream = fair::call(&self.inner.requests, &self.owner()?, &self.inner.ports.models, request);
        let mut said = Said::default();
        let fault = loop {
            // Receiving from a channel or stream and a cancelled token are cancel-safe: nothing is
            // taken out unless the branch is chosen.
            let delta = tokio::select! {
                biased;
                command = self.mailbox.recv() => {
                    let Some(command) = command else { return Err(Stop::Rest) };
                    match self.hear(command).await? {
                        Heard::Answered => {}
                        // Further words are heard with the next request.
                        Heard::Append(batch) | Heard::Interrupt(Why::Steer, batch) => {
                            self.commit(batch).await?;
                        }
                        Heard::Interrupt(Why::Cancel, batch) => {
                            drop(stream);
                            return self.stop_compaction(batch).await;
                        }
                    }
                    continue;
                }
                () = self.inner.stopping.cancelled() => return Err(Stop::Shutdown),
                delta = stream.next() => delta,
            };
            match delta {
                None => break Some(super::model::ended_early()),
                Some(Err(fault)) => break Some(fault),
                Some(Ok(delta)) => self.take(&mut said, delta),
            }
            if said.bytes > ANSWER_BYTES_MAX {
                break Some(super::model::too_much());
            }
            if said.end.is_some() {
                break None;
            }
        };
        // With it goes the place among those that run at once.
        drop(stream);
        match &fault {
            Some(fault) => self.inner.resting.failed(&model, fault, self.inner.ports.clock.now_ms()),
            None => self.inner.resting.answered(&model),
        }
        let draft = self.summed_up(said, fault, (output_tokens_max, price))?;
        let account = self.state.running().ok_or_else(faults::internal)?.account.clone();
        self.commit(Batch::new(account, vec![draft])).await
    }

    fn take(&self, said: &mut Said, delta: Delta) {
        match delta {
            Delta::Text(text) => {
                said.bytes += text.len();
                said.text.push_str(&text);
            }
            Delta::Reasoning(reasoning) => {
                said.bytes += reasoning.text.len() + reasoning.opaque.as_deref().map_or(0, str::len);
            }
            // It was offered none, and none is made.
            Delta::Call(call) => said.bytes += call.arguments.len(),
            Delta::Progress { phase, done, total } => self.shared.progress(phase, done, total),
            Delta::End { usage, stop_reason } => said.end = Some((stop_reason, usage)),
        }
    }

    /// The record of what the model said.
    fn summed_up(
        &self,
        said: Said,
        fault: Option<Fault>,
        (output_tokens_max, price): (u64, Option<are_policy::prices::Price>),
    ) -> Result<Draft, Stop> {
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let Compacting { until, covered_tokens, .. } = *turn.open_compaction().ok_or_else(faults::internal)?;
        let begun = said.bytes > 0;
        // One that was cut off stands for less than it says.
        let is_whole = said.end.is_none_or(|(reason, _)| reason == StopReason::Stop);
        // A secret in it may have been put together from pieces that were none.
        let text = usable(&self.scrubber().clean(said.text), output_tokens_max, covered_tokens);
        let fault = fault.or_else(|| (!is_whole || text.is_none()).then(unfit));
        let (body, payload) = match (fault, text) {
            (None, Some(text)) => {
                let label = self.label_of(until);
                let usage = said.end.map(|(_, usage)| usage).unwrap_or_default();
                // What a call without a report is settled with is what was reserved for it.
                let is_reported = usage.input_tokens > 0 || usage.output_tokens > 0;
                let cost = price.filter(|_| is_reported).map(|price| price.cost(usage));
                (Body::Compacted { until, labels: Levels::from(&label), usage, cost }, Payload::Summary { text, label })
            }
            (fault, _) => {
                let fault = fault.unwrap_or_else(unfit);
                tracing::warn!(session = %self.shared.key, %fault, "the oldest turns are not summed up");
                // Providers repeat parts of a request in what they complain of.
                let payload = machine::failure(&self.clean_fault(fault.clone()), machine::system_label(), None);
                (Body::CompactionFailed { code: fault.code, begun }, payload)
            }
        };
        Ok(Draft { turn: Some(turn.no), body, payload: Some(payload) })
    }

    /// The label of a summary of all turns up to `until`: a summary is as bad as the worst that it covers.
    fn label_of(&self, until: TurnNo) -> Label {
        self.state.compactions.label_at(until).unwrap_or(&self.state.in_view).clone()
    }

    async fn stop_compaction(&mut self, mut batch: Batch) -> Result<Outcome, Stop> {
        let ends = batch.drafts.iter().any(|draft| matches!(draft.body, Body::SessionDeleted {}));
        batch.may_be_refused = false;
        let outcome = self.commit(batch).await?;
        if outcome.action == Action::AwaitModel && outcome.request.is_none() {
            // It was refused, and the call that it was to stop is gone: the turn goes on as after a restart.
            let resumed = self.begun_again(None, self.inner.ports.clock.random())?;
            return self.commit(resumed).await;
        }
        if ends { Err(faults::unknown_session().into()) } else { Ok(outcome) }
    }

    /// A turn of its own, so that it has a number and an end, and can be cancelled.
    pub(super) fn hear_compact(&self, caller: Caller, reply: Reply) -> Heard {
        if let Some(running) = self.state.running() {
            return answered(reply, faults::busy(running.no));
        }
        if !is_any(&self.state) {
            return answered(reply, machine::compaction::nothing());
        }
        let turn = self.state.next_turn();
        let body = Body::TurnStarted {
            request_id: None,
            thread: caller.thread.clone(),
            integrity: Integrity::User,
            temperature_milli: None,
            effort: None,
            model: None,
            undoes: None,
            headless: false,
            direct: false,
            waits: false,
            compacts: true,
        };
        let payload = Payload::Prompt { content: Vec::new(), asked: Box::default() };
        let draft = Draft { turn: Some(turn), body, payload: Some(payload) };
        let mut batch = one(caller.account.clone(), draft, reply.of(turn));
        let (account, thread, at_ms) = (caller.account, caller.thread, self.inner.ports.clock.now_ms());
        batch.changes.push(Change::StartTurn { turn, account, thread, title: String::new(), at_ms });
        batch.may_be_refused = true;
        Heard::Append(batch)
    }

    /// What was done last is taken back; between turns, so that a running one is not shown two pasts.
    pub(super) fn hear_uncompact(&self, caller: Caller, reply: Reply) -> Heard {
        if let Some(running) = self.state.running() {
            return answered(reply, faults::busy(running.no));
        }
        if !self.state.compactions.is_any() {
            return answered(reply, not_compacted());
        }
        let draft = Draft { turn: None, body: Body::CompactionUndone {}, payload: None };
        let mut batch = one(caller.account, draft, reply);
        batch.may_be_refused = true;
        Heard::Append(batch)
    }
}

fn unfit() -> Fault {
    let help = "nothing is lost: the turns stay as they are; another model may do better";
    Fault::new(
        Code::ANSWER_UNFIT,
        "the summary is not whole, says nothing, or is no shorter than what it is to stand for",
        help,
    )
}

fn not_compacted() -> Fault {
    let help = "nothing stands in the place of the session's turns and results";
    Fault::new(Code::NOT_FOUND, "there is no compaction to take back", help)
}

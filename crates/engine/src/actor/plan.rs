//! Asking a model for a plan, and recording what it says.
//!
//! Nothing of the answer is streamed or shown to a later request. Whatever goes
//! wrong, the turn goes on: without a plan calls are decided as if none had been
//! asked for, and the record says why there is none.

use are_core::body::Body;
use are_core::error::{Code, Fault};
use are_core::journal::Draft;
use are_core::model::{Delta, ModelRequest, ModelStream, StopReason, Usage};
use are_core::payload::Payload;
use are_policy::planner;
use futures_util::StreamExt as _;

use super::commands::Heard;
use super::{Actor, Batch, Outcome, Stop};
use crate::fair;
use crate::faults;
use crate::machine::Action;

/// Milliseconds for which a planner is waited for, its place in the queue and the loading of a local model included.
const PLAN_MS_MAX: u64 = 120_000;

/// What was heard of the planner.
#[derive(Default)]
struct Answer {
    text: String,
    /// True when it had said anything, so that it may be charged for.
    has_begun: bool,
    usage: Usage,
}

impl Answer {
    /// Takes in a piece; how it ended, at its end.
    fn take(&mut self, delta: Option<Result<Delta, Fault>>) -> Option<Result<StopReason, Fault>> {
        match delta {
            None => return Some(Err(Fault::new(Code::MODEL_STREAM_BROKEN, "the planner's answer ended early", ""))),
            Some(Err(fault)) => return Some(Err(fault)),
            Some(Ok(Delta::Progress { .. })) => return None,
            Some(Ok(Delta::Text(text))) => self.text.push_str(&text),
            Some(Ok(Delta::End { stop_reason, usage })) => {
                self.usage = usage;
                self.has_begun = true;
                return Some(Ok(stop_reason));
            }
            // Thinking is not the answer, and there is nothing that it could call.
            Some(Ok(Delta::Reasoning(_) | Delta::Call(_))) => {}
        }
        self.has_begun = true;
        let is_too_long = self.text.len() > planner::ANSWER_BYTES_MAX;
        is_too_long.then(|| Err(Fault::new(Code::MODEL_LIMIT, "the planner's answer exceeds the limit", "")))
    }
}

impl Actor {
    /// Asks for a plan and appends what comes of it; a command that interrupts comes first, and then it is asked anew.
    pub(super) async fn ask_plan(&mut self, request: ModelRequest) -> Result<Outcome, Stop> {
        let clock = std::sync::Arc::clone(&self.inner.ports.clock);
        let mut time = clock.sleep(PLAN_MS_MAX);
        let models = &self.inner.ports.models;
        self.inner.resting.asked(&request.model, clock.now_ms());
        let mut stream: ModelStream = fair::call(&self.inner.requests, &self.owner()?, models, request.clone());
        let mut answer = Answer::default();
        let end = loop {
            // Receiving from a channel or stream, a cancelled token and a timer are all cancel-safe.
            tokio::select! {
                biased;
                command = self.mailbox.recv() => {
                    let Some(command) = command else { return Err(Stop::Rest) };
                    match self.hear(command).await? {
                        Heard::Answered => {}
                        Heard::Append(batch) => {
                            self.commit(batch).await?;
                        }
                        Heard::Interrupt(_, batch) => {
                            drop(stream);
                            return self.interrupt_plan(batch).await;
                        }
                    }
                }
                () = self.inner.stopping.cancelled() => return Err(Stop::Shutdown),
                () = &mut time => break Err(too_slow()),
                delta = stream.next() => {
                    if let Some(Ok(Delta::Progress { phase, done, total })) = &delta {
                        self.shared.progress(phase, *done, *total);
                    }
                    if let Some(end) = answer.take(delta) {
                        break end;
                    }
                }
            }
        };
        drop(stream);
        // One that is only too slow for a plan may still answer; so may any that the turn's own request finds awake.
        match &end {
            Ok(_) => self.inner.resting.answered(&request.model),
            Err(fault) if fault.code != Code::MODEL_TIMEOUT => {
                self.inner.resting.failed(&request.model, fault, self.inner.ports.clock.now_ms());
            }
            Err(_) => {}
        }
        let batch = self.planned(&request, answer, end)?;
        self.commit(batch).await
    }

    /// The record of an answer, or of why there is none.
    fn planned(&self, request: &ModelRequest, answer: Answer, end: Result<StopReason, Fault>) -> Result<Batch, Stop> {
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let Answer { text, has_begun, usage } = answer;
        let is_late = matches!(&end, Err(fault) if fault.code == Code::MODEL_TIMEOUT);
        let tools = match &end {
            // An answer that was cut off may lack the names that count.
            Ok(StopReason::Stop) => planner::read(&text, request),
            Ok(_) | Err(_) => None,
        };
        let (error, text) = match end {
            Ok(_) if tools.is_some() => (None, text),
            Ok(_) => (Some(Code::ANSWER_UNFIT), text),
            Err(fault) => (Some(fault.code), self.clean_fault(fault).message),
        };
        let is_reported = usage.input_tokens > 0 || usage.output_tokens > 0;
        let price = self.surroundings.as_ref().and_then(|around| around.price()).filter(|_| is_reported);
        let cost = price.map(|price| price.cost(usage));
        // One that was given up may have worked all that time.
        let usage = (has_begun || is_late).then_some(usage);
        let body = Body::Planned { tools, error, usage, cost };
        let payload = Payload::Plan { text: self.scrubber().clean(text) };
        let draft = Draft { turn: Some(turn.no), body, payload: Some(payload) };
        Ok(Batch::new(turn.account.clone(), vec![draft]))
    }

    async fn interrupt_plan(&mut self, mut batch: Batch) -> Result<Outcome, Stop> {
        let ends = batch.drafts.iter().any(|draft| matches!(draft.body, Body::SessionDeleted {}));
        batch.may_be_refused = false;
        let outcome = self.commit(batch).await?;
        if outcome.action == Action::AwaitPlan && outcome.request.is_none() {
            // It was refused, and the call that it was to interrupt is gone: the plan is asked for as after a restart.
            let turn = self.state.running().ok_or_else(faults::internal)?;
            let resumed =
                Draft { turn: Some(turn.no), body: Body::TurnResumed { gap_ms: 0, frames: None }, payload: None };
            let batch = Batch::new(turn.account.clone(), vec![resumed]);
            return self.commit(batch).await;
        }
        if ends { Err(faults::unknown_session().into()) } else { Ok(outcome) }
    }
}

fn too_slow() -> Fault {
    Fault::new(
        Code::MODEL_TIMEOUT,
        format!("the planner did not answer within {} seconds", PLAN_MS_MAX / 1_000),
        "use a faster model, or set `planner` to `off`",
    )
}

//! Streaming one model call into the journal.

use are_core::body::{Body, FrameRange};
use are_core::digest::{Digest, Nonce};
use are_core::error::{Code, Fault};
use are_core::ids::VariableName;
use are_core::journal::Draft;
use are_core::limits::{ANSWER_BYTES_MAX, CALLS_PER_ANSWER_MAX};
use are_core::model::{Delta, ModelRequest, ModelStream, RawCall, Reasoning, StopReason, Usage};
use are_core::payload::{Bound, Payload};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use std::collections::BTreeMap;

use super::commands::{Heard, Why};
use super::frames::Call;
use super::{Actor, Batch, Outcome, Stop};
use crate::answers;
use crate::fair;
use crate::faults;
use crate::machine::{self, Action, bound_arguments, variables_in};
use crate::resting::is_providers;
use crate::scrub;

/// Deltas taken at once when they are there already.
const DELTAS_MAX: usize = 256;

/// How a call ended.
enum End {
    Whole(StopReason, Usage),
    Broken(Fault),
}

impl Actor {
    /// Streams until the answer is whole, broken or interrupted, and appends what follows.
    pub(super) async fn stream_model(&mut self, request: ModelRequest) -> Result<Outcome, Stop> {
        let mut call = Call::new(self.inner.ports.clock.random(), &request);
        let mut stream = self.ask(&mut call, request)?;
        loop {
            let has_room = call.has_room();
            // Receiving from a channel or stream and a cancelled token are cancel-safe: nothing is
            // taken out unless the branch is chosen. Commands first, so that a steer never waits.
            let end = tokio::select! {
                biased;
                command = self.mailbox.recv() => {
                    let Some(command) = command else { return Err(Stop::Rest) };
                    match self.hear(command).await? {
                        Heard::Answered => None,
                        Heard::Append(batch) => {
                            self.settle(&mut call).await?;
                            self.commit(batch).await?;
                            None
                        }
                        Heard::Interrupt(why, batch) => {
                            drop(stream);
                            return self.interrupt_model(call, why, batch).await;
                        }
                    }
                }
                () = self.inner.stopping.cancelled() => return Err(Stop::Shutdown),
                done = call.written() => {
                    self.publish(&mut call, done).await?;
                    None
                }
                delta = stream.next(), if has_room => self.take_deltas(&mut call, &mut stream, delta)?,
            };
            match end {
                None => self.write_on(&mut call).await?,
                Some(End::Whole(stop_reason, usage)) => {
                    // With it goes the place among those that run at once.
                    drop(stream);
                    self.settle(&mut call).await?;
                    self.keep(&mut call, stop_reason);
                    if !call.is_cached {
                        self.inner.resting.answered(&call.model);
                    }
                    let batch = self.completed(call, stop_reason, usage).await?;
                    return self.commit(batch).await;
                }
                Some(End::Broken(fault)) => {
                    drop(stream);
                    self.settle(&mut call).await?;
                    // Some providers fail at an image as if they were broken; others' words are none the worse for it.
                    if !(call.has_images && fault.code == Code::MODEL_ERROR) {
                        self.inner.resting.failed(&call.model, &fault, self.inner.ports.clock.now_ms());
                    }
                    let batch = self.broken(&call, &fault)?;
                    return self.commit(batch).await;
                }
            }
        }
    }

    /// Asks the model, unless exactly this was answered before and that may be given again.
    fn ask(&self, call: &mut Call, request: ModelRequest) -> Result<ModelStream, Stop> {
        if let Some(answers) = &self.inner.answers
            && let Some(key) = answers::Key::of(&self.owner()?, &request)
        {
            if let Some(mut deltas) = answers.get(&key, self.inner.ports.clock.now_ms()) {
                call.is_cached = true;
                deltas.push(Delta::End { stop_reason: StopReason::Stop, usage: Usage::default() });
                return Ok(Box::pin(stream::iter(deltas.into_iter().map(Ok))));
            }
            call.kept = Some((key, answers::Transcript::default()));
        }
        self.inner.resting.asked(&request.model, self.inner.ports.clock.now_ms());
        Ok(fair::call(&self.inner.requests, &self.owner()?, &self.inner.ports.models, request))
    }

    /// Keeps an answer that may be given again.
    fn keep(&self, call: &mut Call, stop_reason: StopReason) {
        if let (Some(answers), Some((key, heard))) = (&self.inner.answers, call.kept.take())
            && heard.is_worth(stop_reason)
        {
            answers.put(key, heard, self.inner.ports.clock.now_ms());
        }
    }

    /// Takes a delta and all that are ready behind it.
    fn take_deltas(
        &mut self,
        call: &mut Call,
        stream: &mut ModelStream,
        first: Option<Result<Delta, Fault>>,
    ) -> Result<Option<End>, Stop> {
        let mut next = first;
        let mut taken = 0;
        let end = loop {
            let end = self.take_delta(call, next)?;
            taken += 1;
            if end.is_some() || taken == DELTAS_MAX || !call.has_room() {
                break end;
            }
            match stream.next().now_or_never() {
                Some(ready) => next = ready,
                None => break None,
            }
        };
        if end.is_some() {
            self.seal_held(call)?;
        }
        Ok(end)
    }

    fn take_delta(&mut self, call: &mut Call, delta: Option<Result<Delta, Fault>>) -> Result<Option<End>, Stop> {
        let delta = match delta {
            None => return Ok(Some(End::Broken(ended_early()))),
            Some(Err(fault)) => return Ok(Some(End::Broken(fault))),
            Some(Ok(delta)) => delta,
        };
        if let Some((_, heard)) = &mut call.kept {
            heard.take(&delta);
        }
        match delta {
            Delta::Text(text) => {
                call.bytes += text.len();
                let text = call.text.push(&self.scrubber(), text);
                self.seal_text(call, text)?;
            }
            Delta::Reasoning(Reasoning { text, opaque }) => {
                call.bytes += text.len() + opaque.as_deref().map_or(0, str::len);
                self.seal_reasoning(call, Reasoning { text, opaque })?;
            }
            Delta::Call(raw) => {
                call.bytes += raw.arguments.len();
                call.calls.push(raw);
            }
            Delta::Progress { phase, done, total } => self.shared.progress(phase, done, total),
            Delta::End { stop_reason, usage } => return Ok(Some(End::Whole(stop_reason, usage))),
        }
        if call.bytes > ANSWER_BYTES_MAX || call.calls.len() > CALLS_PER_ANSWER_MAX {
            return Ok(Some(End::Broken(too_much())));
        }
        Ok(None)
    }

    async fn completed(&mut self, call: Call, stop_reason: StopReason, usage: Usage) -> Result<Batch, Stop> {
        let (frames, cached) = (call.frames(), call.is_cached);
        let (calls, bound) = self.clean_calls(call.calls).await?;
        let turn = self.state.running().ok_or_else(faults::internal)?;
        // What a call without a report is settled with is what was reserved for it.
        let is_reported = usage.input_tokens > 0 || usage.output_tokens > 0;
        // An earlier answer costs nothing.
        let is_reported = is_reported && !cached;
        let price = self.pinned().and_then(|pinned| pinned.setting.price).filter(|_| is_reported);
        let cost = price.map(|price| price.cost(usage));
        let body = Body::ModelCompleted { stop_reason, usage, frames, calls: calls.len() as u32, cost, cached };
        let payload = Payload::Answer { nonce: Digest(call.nonce).to_string(), calls, bound };
        let draft = Draft { turn: Some(turn.no), body, payload: Some(payload) };
        Ok(Batch::new(turn.account.clone(), vec![draft]))
    }

    /// Calls and the variables they name, without secrets. What is stored here is all that decision,
    /// approval and tool ever see, so nothing is cleaned after it.
    async fn clean_calls(&self, raw: Vec<RawCall>) -> Result<(Vec<RawCall>, BTreeMap<VariableName, Bound>), Stop> {
        let scrubber = &self.scrubber();
        let mut calls: Vec<_> = raw
            .into_iter()
            .map(|raw| RawCall { name: scrubber.clean(raw.name), arguments: scrubber.clean_arguments(raw.arguments) })
            .collect();
        let bound = self.bound_by(&calls).await?;
        if !bound.is_empty() {
            for call in &mut calls {
                // Neither text nor variable may hold a secret, and together they could.
                if bound_arguments(call, &bound).is_some_and(|args| scrubber.finds_in(&args.to_map().into())) {
                    call.arguments = scrub::MARK.to_owned();
                }
            }
        }
        Ok((calls, bound))
    }

    /// The variables that calls name, as they are now.
    async fn bound_by(&self, calls: &[RawCall]) -> Result<BTreeMap<VariableName, Bound>, Stop> {
        let names: Vec<_> = calls.iter().flat_map(|call| variables_in(&call.arguments)).collect();
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let variables = self.variables().await?;
        // The session's own value comes before the account's.
        let found = variables.iter().rev().filter(|((_, name), _)| names.contains(name));
        // A value may have been stored before the secret was one.
        let clean = |bound: &Bound| self.scrubber().clean_bound(bound.clone());
        Ok(found.map(|((_, name), bound)| (name.clone(), clean(bound))).collect())
    }

    async fn interrupt_model(&mut self, mut call: Call, why: Why, mut batch: Batch) -> Result<Outcome, Stop> {
        self.seal_held(&mut call)?;
        self.settle(&mut call).await?;
        // Calls that the model had begun are not made: the user has just said something else.
        call.calls.clear();
        let stop_reason = match why {
            Why::Steer => StopReason::Steered,
            Why::Cancel => StopReason::Cancelled,
        };
        let (frames, nonce) = (call.frames(), call.nonce);
        let mut first = self.completed(call, stop_reason, Usage::default()).await?;
        batch.may_be_refused = false;
        let ends = batch.drafts.iter().any(|draft| matches!(draft.body, Body::SessionDeleted {}));
        first.append(batch);
        let outcome = self.commit(first).await?;
        if outcome.action == Action::AwaitModel && outcome.request.is_none() {
            // It was refused, and the call that it was to interrupt is gone: the turn goes on as after a restart.
            let resumed = self.begun_again(frames, nonce)?;
            return self.commit(resumed).await;
        }
        if ends { Err(faults::unknown_session().into()) } else { Ok(outcome) }
    }

    pub(super) fn begun_again(&self, frames: Option<FrameRange>, nonce: Nonce) -> Result<Batch, Stop> {
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let payload = frames.map(|_| Payload::Nonce { nonce: Digest(nonce).to_string() });
        let draft = Draft { turn: Some(turn.no), body: Body::TurnResumed { gap_ms: 0, frames }, payload };
        Ok(Batch::new(turn.account.clone(), vec![draft]))
    }

    fn broken(&self, call: &Call, fault: &Fault) -> Result<Batch, Stop> {
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let frames = call.frames();
        let nonce = frames.map(|_| Digest(call.nonce).to_string());
        let is_last = !is_providers(fault)
            || !self.surroundings.as_ref().is_some_and(|a| a.has_another_model(&self.inner, turn, &call.model));
        // One that cannot be had to check an answer leaves the answer as it is.
        let body = if is_last && machine::check::checked(turn).is_none() {
            Body::TurnFailed { code: fault.code, frames }
        } else {
            tracing::warn!(model = call.model, %fault, "the model could not answer; another one is asked");
            let attempt = turn.model().map_or(1, |step| step.attempt);
            Body::ModelFailed { attempt, model: call.model.clone(), code: fault.code, frames }
        };
        // Providers repeat parts of a request in what they complain of.
        let payload = machine::failure(&self.clean_fault(fault.clone()), machine::system_label(), nonce);
        Ok(Batch::new(turn.account.clone(), vec![Draft { turn: Some(turn.no), body, payload: Some(payload) }]))
    }
}

pub(super) fn ended_early() -> Fault {
    Fault::new(Code::MODEL_STREAM_BROKEN, "the model's answer ended early", "send the prompt again").retryable()
}

pub(super) fn too_much() -> Fault {
    Fault::new(Code::MODEL_LIMIT, "the model's answer exceeds the limit", "ask for less at once")
}

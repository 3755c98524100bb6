//! Streaming one model call into the journal.

use are_core::body::{Body, FrameRange};
use are_core::digest::{Digest, Nonce, Rolling};
use are_core::error::{Code, Fault};
use are_core::ids::{Seq, VariableName};
use are_core::journal::{Draft, Frame};
use are_core::limits::{ANSWER_BYTES_MAX, CALLS_PER_ANSWER_MAX, FRAME_BYTES_MAX};
use are_core::model::{Delta, ModelRequest, ModelStream, RawCall, Reasoning, StopReason, Usage};
use are_core::payload::{Bound, Payload};
use are_core::store::{Durability, Receipt, StoreError};
use futures_util::{FutureExt as _, StreamExt as _};
use std::collections::BTreeMap;

use super::commands::{Heard, Why};
use super::{Actor, Batch, Outcome, Stop};
use crate::faults;
use crate::journal::{Appending, Sealed};
use crate::machine::{self, bound_arguments, variables_in};
use crate::scrub;

/// Frames gathered behind the append that is on its way, at most.
const GATHERED_MAX: usize = 256;

/// A call in progress.
struct Call {
    nonce: Nonce,
    rolling: Rolling,
    range: Option<(Seq, Seq)>,
    bytes: usize,
    calls: Vec<RawCall>,
    text: scrub::Stream,
    reasoning: scrub::Stream,
    /// Frames for the next append.
    gathered: Sealed,
    /// Frames that the store is writing. PERF: the model is read meanwhile, and what
    /// comes in the time of one append is the next one.
    writing: Option<Writing>,
}

struct Writing {
    sealed: Sealed,
    appending: Appending,
}

impl Call {
    /// Waits for the append that is on its way. Cancel-safe.
    async fn written(&mut self) -> Result<Receipt, StoreError> {
        match &mut self.writing {
            Some(writing) => writing.appending.done().await,
            None => std::future::pending().await,
        }
    }

    fn frames(&self) -> Option<FrameRange> {
        self.range.map(|(first, last)| FrameRange { first, last, digest: self.rolling.finish() })
    }
}

/// How a call ended.
enum End {
    Whole(StopReason, Usage),
    Broken(Fault),
}

impl Actor {
    /// Streams until the answer is whole, broken or interrupted, and appends what follows.
    pub(super) async fn stream_model(&mut self, request: ModelRequest) -> Result<Outcome, Stop> {
        let mut stream = self.inner.ports.models.call(request);
        let nonce = self.inner.ports.clock.random();
        let mut call = Call {
            nonce,
            rolling: Rolling::new(&nonce),
            range: None,
            bytes: 0,
            calls: Vec::new(),
            text: scrub::Stream::default(),
            reasoning: scrub::Stream::default(),
            gathered: Sealed::default(),
            writing: None,
        };
        loop {
            let has_room = call.gathered.rows.len() < GATHERED_MAX;
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
                    self.settle(&mut call).await?;
                    let batch = self.completed(call, stop_reason, usage).await?;
                    return self.commit(batch).await;
                }
                Some(End::Broken(fault)) => {
                    self.settle(&mut call).await?;
                    let batch = self.broken(&call, &fault)?;
                    return self.commit(batch).await;
                }
            }
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
            if end.is_some() || taken == GATHERED_MAX || call.gathered.rows.len() >= GATHERED_MAX {
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

    /// Begins to write what is gathered, unless an append is on its way.
    async fn write_on(&mut self, call: &mut Call) -> Result<(), Stop> {
        if call.writing.is_some() || call.gathered.rows.is_empty() {
            return Ok(());
        }
        match self.journal.begin(&call.gathered, Durability::Written) {
            Some(appending) => {
                call.writing = Some(Writing { sealed: std::mem::take(&mut call.gathered), appending });
                Ok(())
            }
            None => self.settle(call).await,
        }
    }

    /// Waits until everything of the call is stored and published.
    async fn settle(&mut self, call: &mut Call) -> Result<(), Stop> {
        if call.writing.is_some() {
            let done = call.written().await;
            self.publish(call, done).await?;
        }
        self.write_frames(std::mem::take(&mut call.gathered)).await
    }

    /// Publishes what the store has written; while it is full, that and what was gathered since waits.
    async fn publish(&mut self, call: &mut Call, done: Result<Receipt, StoreError>) -> Result<(), Stop> {
        let Some(Writing { mut sealed, appending }) = call.writing.take() else { return Ok(()) };
        match done {
            Ok(_) => {
                self.journal.stored = appending.head;
                self.shared.publish(sealed.entries);
                Ok(())
            }
            Err(StoreError::Full) => {
                let since = std::mem::take(&mut call.gathered);
                sealed.rows.extend(since.rows);
                sealed.entries.extend(since.entries);
                self.write_frames(sealed).await
            }
            Err(error) => Err(faults::store(error).into()),
        }
    }

    fn take_delta(&mut self, call: &mut Call, delta: Option<Result<Delta, Fault>>) -> Result<Option<End>, Stop> {
        let delta = match delta {
            None => return Ok(Some(End::Broken(ended_early()))),
            Some(Err(fault)) => return Ok(Some(End::Broken(fault))),
            Some(Ok(delta)) => delta,
        };
        match delta {
            Delta::Text(text) => {
                call.bytes += text.len();
                let text = call.text.push(&self.inner.scrubber, text);
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

    fn seal_text(&mut self, call: &mut Call, text: String) -> Result<(), Stop> {
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(FRAME_BYTES_MAX));
            self.seal_frame(call, Frame::Token { text: piece.to_owned() })?;
            rest = after;
        }
        Ok(())
    }

    fn seal_reasoning(&mut self, call: &mut Call, piece: Reasoning) -> Result<(), Stop> {
        let scrubber = &self.inner.scrubber;
        let mut text = call.reasoning.push(scrubber, piece.text);
        let mut opaque = None;
        if let Some(bytes) = piece.opaque {
            // It ends a block of reasoning, so nothing of the block comes any more.
            text.push_str(&call.reasoning.finish(scrubber));
            // A provider refuses its own form where a byte of it, or of the words it signs, has changed:
            // then it is not kept at all.
            let is_whole = !call.reasoning.has_removed() && scrubber.clean_arguments(bytes.clone()) == bytes;
            opaque = is_whole.then_some(bytes);
        }
        if text.is_empty() && opaque.is_none() {
            return Ok(());
        }
        let at_ms = self.inner.ports.clock.now_ms();
        self.seal_frame(call, Frame::Reasoning { at_ms, text, opaque })
    }

    /// What was held back because it could have become a secret.
    fn seal_held(&mut self, call: &mut Call) -> Result<(), Stop> {
        let (text, opaque) = (call.reasoning.finish(&self.inner.scrubber), None);
        if !text.is_empty() {
            let at_ms = self.inner.ports.clock.now_ms();
            self.seal_frame(call, Frame::Reasoning { at_ms, text, opaque })?;
        }
        let rest = call.text.finish(&self.inner.scrubber);
        self.seal_text(call, rest)
    }

    fn seal_frame(&mut self, call: &mut Call, frame: Frame) -> Result<(), Stop> {
        let sealed = &mut call.gathered;
        self.journal.seal_frame(sealed, frame).map_err(faults::corrupt)?;
        let (Some(row), Some((_, entry))) = (sealed.rows.last(), sealed.entries.last()) else { return Ok(()) };
        call.rolling.push(&row.bytes);
        call.range = Some((call.range.map_or(row.seq, |(first, _)| first), row.seq));
        self.state.apply(entry);
        Ok(())
    }

    pub(super) async fn write_frames(&mut self, sealed: Sealed) -> Result<(), Stop> {
        if sealed.rows.is_empty() {
            return Ok(());
        }
        self.append(&sealed, Durability::Written, false).await.map_err(faults::store)?;
        self.shared.publish(sealed.entries);
        Ok(())
    }

    async fn completed(&mut self, call: Call, stop_reason: StopReason, usage: Usage) -> Result<Batch, Stop> {
        let frames = call.frames();
        let (calls, bound) = self.clean_calls(call.calls).await?;
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let body = Body::ModelCompleted { stop_reason, usage, frames, calls: calls.len() as u32 };
        let payload = Payload::Answer { nonce: Digest(call.nonce).to_string(), calls, bound };
        let draft = Draft { turn: Some(turn.no), body, payload: Some(payload) };
        Ok(Batch::new(turn.account.clone(), vec![draft]))
    }

    /// Calls and the variables they name, without secrets. What is stored here is all that decision,
    /// approval and tool ever see, so nothing is cleaned after it.
    async fn clean_calls(&self, raw: Vec<RawCall>) -> Result<(Vec<RawCall>, BTreeMap<VariableName, Bound>), Stop> {
        let scrubber = &self.inner.scrubber;
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
        let clean = |bound: &Bound| self.inner.scrubber.clean_bound(bound.clone());
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
        let mut first = self.completed(call, stop_reason, Usage::default()).await?;
        batch.may_be_refused = false;
        let ends = batch.drafts.iter().any(|draft| matches!(draft.body, Body::SessionDeleted {}));
        first.append(batch);
        let outcome = self.commit(first).await?;
        if ends { Err(faults::unknown_session().into()) } else { Ok(outcome) }
    }

    fn broken(&self, call: &Call, fault: &Fault) -> Result<Batch, Stop> {
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let frames = call.frames();
        let nonce = frames.map(|_| Digest(call.nonce).to_string());
        let body = Body::TurnFailed { code: fault.code, frames };
        // Providers repeat parts of a request in what they complain of.
        let payload = machine::failure(&self.clean_fault(fault.clone()), machine::system_label(), nonce);
        Ok(Batch::new(turn.account.clone(), vec![Draft { turn: Some(turn.no), body, payload: Some(payload) }]))
    }
}

fn ended_early() -> Fault {
    Fault::new(Code::MODEL_STREAM_BROKEN, "the model's answer ended early", "send the prompt again").retryable()
}

fn too_much() -> Fault {
    Fault::new(Code::MODEL_LIMIT, "the model's answer exceeds the limit", "ask for less at once")
}

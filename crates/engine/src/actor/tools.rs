//! Running calls whose intents are recorded, and recording what they came to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use are_core::body::{Body, Effect, FrameRange, Retry, Scope};
use are_core::change::FileChange;
use are_core::digest::{Digest, Nonce, Rolling};
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, CallNo, MemoryId, Seq};
use are_core::journal::{Draft, Frame};
use are_core::label::{Label, Levels, worst_of};
use are_core::limits::{FRAME_BYTES_MAX, TOOL_OUTPUT_BYTES_MAX, TOOL_STORED_BYTES_MAX};
use are_core::payload::{Bound, Payload};
use are_core::store::{Change, MemoryRow, Receipt};
use are_policy::gate;
use are_policy::tools::{Binding, Changes, Output, Place, ToolOutcome, Variables};
use are_policy::undo;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;

use super::commands::{Heard, Why};
use super::{Actor, Batch, Outcome, Stop};
use crate::faults;
use crate::journal::Sealed;
use crate::machine::{self, Action, canonical, is_pure};
use crate::memory::OfAccount;
use crate::scrub;

/// Pieces of live output that may wait to be journaled; then the tool waits.
const OUTPUT_QUEUE: usize = 64;
/// Time beyond a tool's own limit after which the engine gives it up.
const TIMEOUT_GRACE_MS: u64 = 2_000;

/// A call that runs.
struct Running {
    effect: Effect,
    retry: Retry,
    started_ms: u64,
    nonce: Nonce,
    rolling: Rolling,
    range: Option<(Seq, Seq)>,
    output_bytes: usize,
    /// One for each stream of live output.
    scrubs: BTreeMap<&'static str, scrub::Stream>,
    /// Files it changes.
    changes: Arc<Changes>,
    done: Option<(ToolOutcome, u64)>,
}

impl Running {
    fn frames(&self) -> Option<FrameRange> {
        self.range.map(|(first, last)| FrameRange { first, last, digest: self.rolling.finish() })
    }

    fn nonce(&self) -> Option<String> {
        self.range.map(|_| Digest(self.nonce).to_string())
    }
}

type Finished = (CallNo, ToolOutcome);

/// Refuses each further call.
struct NoHost;

impl are_policy::tools::Host for NoHost {
    fn call<'a>(&'a self, tool: &'a str, _args: serde_json::Value) -> are_core::BoxFuture<'a, ToolOutcome> {
        let fault = Fault::new(Code::TOOL_UNKNOWN, format!("`{tool}` cannot be called by a tool"), "go on without it");
        Box::pin(std::future::ready(ToolOutcome::Failed { fault, label: machine::system_label() }))
    }
}

impl Actor {
    /// Runs `calls` until all have outcomes, appends these in call order, and what follows.
    pub(super) async fn run_tools(&mut self, calls: Vec<CallNo>, receipt: Option<Receipt>) -> Result<Outcome, Stop> {
        let receipt = receipt.ok_or_else(faults::internal)?;
        let (output_tx, mut output_rx) = mpsc::channel(OUTPUT_QUEUE);
        let mut futures = FuturesUnordered::new();
        let mut running = BTreeMap::new();
        let variables = Arc::new(self.variables().await?);
        for call in calls {
            let (entry, future) = self.start_call(call, &receipt, &variables, &output_tx)?;
            running.insert(call, entry);
            futures.push(future);
        }
        drop(output_tx);
        loop {
            // Receiving from channels and from a set of futures is cancel-safe: nothing is taken out
            // unless the branch is chosen. Output first, so that it precedes its call's outcome.
            tokio::select! {
                biased;
                Some((call, output)) = output_rx.recv() => self.take_output(&mut running, call, output).await?,
                command = self.mailbox.recv() => {
                    let Some(command) = command else { return Err(Stop::Rest) };
                    match self.hear(command).await? {
                        Heard::Answered => {}
                        Heard::Append(batch) | Heard::Interrupt(Why::Steer, batch) => { self.commit(batch).await?; }
                        Heard::Interrupt(Why::Cancel, batch) => {
                            drop(futures);
                            return self.cancel_tools(running, batch).await;
                        }
                    }
                }
                () = self.inner.giving_up.cancelled() => return Err(Stop::Shutdown),
                Some((call, outcome)) = futures.next() => {
                    let now_ms = self.inner.ports.clock.now_ms();
                    if let Some(entry) = running.get_mut(&call) {
                        entry.done = Some((outcome, now_ms.saturating_sub(entry.started_ms)));
                    }
                    if futures.is_empty() {
                        break;
                    }
                }
            }
        }
        while let Ok((call, output)) = output_rx.try_recv() {
            self.take_output(&mut running, call, output).await?;
        }
        self.take_held_output(&mut running).await?;
        let batch = self.outcomes(running).await?;
        self.commit(batch).await
    }

    /// Makes the permit, from what is recorded, and hands it to the tools.
    fn start_call(
        &mut self,
        no: CallNo,
        receipt: &Receipt,
        variables: &Arc<Variables>,
        output: &mpsc::Sender<(CallNo, Output)>,
    ) -> Result<(Running, futures_util::future::BoxFuture<'static, Finished>), Stop> {
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let step = turn.call(no).ok_or_else(faults::internal)?;
        let (Some(call), Some(decision)) = (canonical(&self.state, turn, step), self.decisions.remove(&no)) else {
            return Err(faults::internal().into());
        };
        let crate::state::Phase::Started { effect, retry, .. } = step.phase else {
            return Err(faults::internal().into());
        };
        let label = decision.label.clone();
        let permit = gate::authorize(call, &decision, receipt).map_err(|refused| {
            tracing::error!(session = %self.shared.key, call = no, %refused, "no permit");
            faults::internal()
        })?;
        let snapshot = self.inner.ports.tools.snapshot();
        let timeout_ms = match &turn.undo {
            Some(_) => undo::manifest().map_or(0, |manifest| manifest.limits.timeout_ms),
            None => snapshot.get(&step.tool).map_or(0, |(manifest, _)| manifest.limits.timeout_ms),
        };
        let changes = Arc::new(Changes::default());
        let sender = output.clone();
        let place = Place {
            workspace: self.state.facts.as_ref().map(|facts| PathBuf::from(&facts.workspace)).unwrap_or_default(),
            variables: Arc::clone(variables),
            label,
            timeout_ms,
            output: Arc::new(move |output| {
                let sender = sender.clone();
                async move {
                    // silent-ok: the turn was cancelled; nobody reads the output any more.
                    let _sent = sender.send((no, output)).await;
                }
                .boxed()
            }),
            changes: Arc::clone(&changes),
            host: Arc::new(NoHost),
            memories: Arc::new(OfAccount { inner: Arc::clone(&self.inner), account: self.owner()? }),
        };
        let tools = Arc::clone(&self.inner.ports.tools);
        let clock = Arc::clone(&self.inner.ports.clock);
        let future = async move {
            let deadline = clock.sleep(timeout_ms + TIMEOUT_GRACE_MS);
            // A panic of a tool is that call's failure and nobody else's.
            let run = std::panic::AssertUnwindSafe(tools.run(permit, place)).catch_unwind();
            tokio::select! {
                outcome = run => (no, outcome.unwrap_or_else(|_| panicked(effect, retry))),
                () = deadline => (no, given_up(effect, retry)),
            }
        };
        let nonce = self.inner.ports.clock.random();
        let entry = Running {
            effect,
            retry,
            started_ms: self.inner.ports.clock.now_ms(),
            nonce,
            rolling: Rolling::new(&nonce),
            range: None,
            output_bytes: 0,
            scrubs: BTreeMap::new(),
            changes,
            done: None,
        };
        Ok((entry, future.boxed()))
    }

    async fn take_output(
        &mut self,
        running: &mut BTreeMap<CallNo, Running>,
        call: CallNo,
        output: Output,
    ) -> Result<(), Stop> {
        let Some(entry) = running.get_mut(&call) else { return Ok(()) };
        let stream = output.stream;
        let text = entry.scrubs.entry(stream).or_default().push(&self.inner.scrubber, output.text);
        self.write_output(entry, call, stream, &text).await
    }

    /// What was held back because it could have become a secret, of all calls that end now.
    async fn take_held_output(&mut self, running: &mut BTreeMap<CallNo, Running>) -> Result<(), Stop> {
        for (call, entry) in running {
            for (stream, mut scrub) in std::mem::take(&mut entry.scrubs) {
                let text = scrub.finish(&self.inner.scrubber);
                self.write_output(entry, *call, stream, &text).await?;
            }
        }
        Ok(())
    }

    async fn write_output(&mut self, entry: &mut Running, call: CallNo, stream: &str, text: &str) -> Result<(), Stop> {
        let room = TOOL_OUTPUT_BYTES_MAX.saturating_sub(entry.output_bytes);
        let mut rest = &text[..text.floor_char_boundary(room)];
        entry.output_bytes += rest.len();
        let mut sealed = Sealed::default();
        let at_ms = self.inner.ports.clock.now_ms();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(FRAME_BYTES_MAX));
            let frame = Frame::ToolOutput { at_ms, call, stream: stream.to_owned(), text: piece.to_owned() };
            self.journal.seal_frame(&mut sealed, frame).map_err(faults::corrupt)?;
            rest = after;
        }
        for row in &sealed.rows {
            entry.rolling.push(&row.bytes);
            entry.range = Some((entry.range.map_or(row.seq, |(first, _)| first), row.seq));
        }
        for (_, frame) in &sealed.entries {
            self.state.apply(frame);
        }
        self.write_frames(sealed).await
    }

    /// The records of outcomes, in call order.
    async fn outcomes(&self, running: BTreeMap<CallNo, Running>) -> Result<Batch, Stop> {
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let mut batch = Batch::new(turn.account.clone(), Vec::new());
        for (call, mut entry) in running {
            let (outcome, ms) = entry.done.take().unwrap_or_else(|| (given_up(entry.effect, entry.retry), 0));
            let bindings = match &outcome {
                ToolOutcome::Completed { bindings, .. } => bindings.clone(),
                ToolOutcome::Failed { .. } | ToolOutcome::Unknown { .. } => Vec::new(),
            };
            for binding in bindings {
                let (draft, change) = self.binding(turn.no, call, binding);
                batch.drafts.push(draft);
                batch.changes.push(change);
            }
            let (body, payload) = self.outcome(call, &entry, outcome, ms);
            batch.drafts.push(Draft { turn: Some(turn.no), body, payload: Some(payload) });
        }
        Ok(batch)
    }

    fn outcome(&self, call: CallNo, entry: &Running, outcome: ToolOutcome, ms: u64) -> (Body, Payload) {
        let (frames, nonce) = (entry.frames(), entry.nonce());
        match outcome {
            ToolOutcome::Completed { value, labels, .. } => {
                let Bound { value, labels } = self.inner.scrubber.clean_bound(Bound { value, labels });
                if value.to_string().len() > TOOL_STORED_BYTES_MAX {
                    let fault =
                        Fault::new(Code::TOOL_FAILED, "the result is larger than can be kept", "ask for a part of it");
                    let body = Body::ToolFailed { call, result: "failed".to_owned(), code: fault.code, frames };
                    let payload = machine::failure(&fault, machine::system_label(), nonce);
                    return (body, with(payload, self.inner.scrubber.clean_changes(entry.changes.possible())));
                }
                let worst = worst_of(&labels).unwrap_or_else(|| Label::worst("unlabelled"));
                let body =
                    Body::ToolCompleted { call, result: "ok".to_owned(), labels: Levels::from(&worst), ms, frames };
                (
                    body,
                    Payload::Result {
                        value,
                        labels,
                        nonce,
                        changes: self.inner.scrubber.clean_changes(entry.changes.possible()),
                    },
                )
            }
            ToolOutcome::Failed { fault, label } => {
                let body = Body::ToolFailed { call, result: "failed".to_owned(), code: fault.code, frames };
                let payload = machine::failure(&self.clean_fault(fault), self.clean_label(label), nonce);
                (body, with(payload, self.inner.scrubber.clean_changes(entry.changes.certain())))
            }
            ToolOutcome::Unknown { fault, label } => {
                let body = Body::ToolUnknown { call, result: "unknown".to_owned(), frames };
                let payload = machine::failure(&self.clean_fault(fault), self.clean_label(label), nonce);
                (body, with(payload, self.inner.scrubber.clean_changes(entry.changes.possible())))
            }
        }
    }

    pub(super) fn clean_fault(&self, mut fault: Fault) -> Fault {
        fault.message = self.inner.scrubber.clean(fault.message);
        fault.help = self.inner.scrubber.clean(fault.help);
        fault
    }

    fn clean_label(&self, mut label: Label) -> Label {
        label.origins = label.origins.into_iter().map(|origin| self.inner.scrubber.clean(origin)).collect();
        label
    }

    /// Whose variables and memories it binds.
    fn binder(&self) -> AccountId {
        let owner = self.state.facts.as_ref().map(|facts| facts.owner.clone());
        owner.unwrap_or_else(|| self.inner.operator.clone())
    }

    fn binding(&self, turn: u32, call: CallNo, binding: Binding) -> (Draft, Change) {
        let (scope, name, value) = match binding {
            Binding::Variable { scope, name, value } => (scope, name, value),
            Binding::Memory { id, text, label } => return self.memory(turn, call, id, text, label),
        };
        let value = value.map(|bound| self.inner.scrubber.clean_bound(bound));
        let change =
            Change::Variable { scope, account: self.binder(), name: name.clone(), value: value.as_ref().map(encoded) };
        let labels = value.as_ref().map(|bound| bound.labels.clone()).unwrap_or_default();
        let payload = Payload::Variable { name, value: value.map(|bound| bound.value), labels };
        let body = Body::VariableSet { scope, call: Some(call) };
        (Draft { turn: Some(turn), body, payload: Some(payload) }, change)
    }

    fn memory(&self, turn: u32, call: CallNo, id: MemoryId, text: String, label: Label) -> (Draft, Change) {
        let (text, label) = (self.inner.scrubber.clean(text), self.clean_label(label));
        let row = MemoryRow {
            order: 0,
            id: id.clone(),
            session: Some(self.shared.key),
            text: text.clone(),
            label: serde_json::to_string(&label).unwrap_or_default(),
            created_at_ms: self.inner.ports.clock.now_ms(),
        };
        let body = Body::MemoryAdded { memory: id, call: Some(call) };
        let draft = Draft { turn: Some(turn), body, payload: Some(Payload::Memory { text, label }) };
        (draft, Change::PutMemory { account: self.binder(), row })
    }

    /// The user stopped the turn while calls ran: what has an effect may have happened.
    async fn cancel_tools(&mut self, mut running: BTreeMap<CallNo, Running>, batch: Batch) -> Result<Outcome, Stop> {
        for entry in running.values_mut().filter(|entry| entry.done.is_none()) {
            entry.done = Some((cancelled(entry.effect, entry.retry), 0));
        }
        self.take_held_output(&mut running).await?;
        let mut first = self.outcomes(running).await?;
        let ends = batch.drafts.iter().any(|draft| matches!(draft.body, Body::SessionDeleted {}));
        first.append(batch);
        first.may_be_refused = false;
        let outcome = self.commit(first).await?;
        debug_assert!(!matches!(outcome.action, Action::RunTools(_)) || self.state.running().is_some());
        if ends { Err(faults::unknown_session().into()) } else { Ok(outcome) }
    }

    /// The variables of the session and its account.
    pub(super) async fn variables(&self) -> Result<Variables, Stop> {
        let owner = self.owner()?;
        let rows = self.inner.ports.store.variables(Some(self.shared.key), owner).await.map_err(faults::store)?;
        let mut variables = Variables::new();
        for row in rows {
            let (Ok(value), Ok(labels)) = (serde_json::from_str(&row.value), serde_json::from_str(&row.labels)) else {
                return Err(Fault::new(Code::SESSION_CORRUPT, "a stored variable is unreadable", "set it again").into());
            };
            variables.insert((row.scope, row.name), Bound { value, labels });
        }
        Ok(variables)
    }
}

/// A failure that changed files all the same, or may have.
fn with(payload: Payload, changes: Vec<FileChange>) -> Payload {
    match payload {
        Payload::Failure { message, help, label, nonce, .. } => {
            Payload::Failure { message, help, label, nonce, changes }
        }
        other => other,
    }
}

/// A variable's value and labels as JSON.
pub(crate) fn encoded(bound: &Bound) -> (String, String) {
    // Maps with string keys only, so encoding cannot fail.
    (bound.value.to_string(), serde_json::to_string(&bound.labels).unwrap_or_default())
}

fn panicked(effect: Effect, retry: Retry) -> ToolOutcome {
    let label = machine::system_label();
    let fault = Fault::new(Code::TOOL_FAILED, "the tool failed unexpectedly", "try something else");
    if is_pure(effect, retry) || retry == Retry::Transactional {
        ToolOutcome::Failed { fault, label }
    } else {
        ToolOutcome::Unknown { fault, label }
    }
}

fn given_up(effect: Effect, retry: Retry) -> ToolOutcome {
    let label = machine::system_label();
    let fault = Fault::new(Code::TOOL_TIMEOUT, "the tool took too long and was given up", "try something smaller");
    if is_pure(effect, retry) || retry == Retry::Transactional {
        ToolOutcome::Failed { fault, label }
    } else {
        ToolOutcome::Unknown { fault, label }
    }
}

fn cancelled(effect: Effect, retry: Retry) -> ToolOutcome {
    let label = machine::system_label();
    let fault = Fault::new(
        Code::TOOL_OUTCOME_UNKNOWN,
        "the user stopped the turn while the call ran",
        "look before you try again",
    );
    if is_pure(effect, retry) || retry == Retry::Transactional {
        ToolOutcome::Failed { fault, label }
    } else {
        ToolOutcome::Unknown { fault, label }
    }
}

/// Session variables come before account variables in [`Variables`].
const _: () = assert!((Scope::Session as u8) < (Scope::Account as u8));

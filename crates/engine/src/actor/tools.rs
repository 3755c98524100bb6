//! Running calls whose intents are recorded, until all that the model made have ended.
//!
//! A call that runs may make calls of its own ([`super::children`]); they join
//! the same run, each with a permit of its own, and are recorded as they end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use are_core::body::{Body, Effect, Retry};
use are_core::digest::{Nonce, Rolling};
use are_core::error::{Code, Fault};
use are_core::ids::{CallNo, SecretName, Seq};
use are_core::store::Receipt;
use are_policy::gate;
use are_policy::manifest::{Lane, Manifest, SPAWN, ToolSet};
use are_policy::pauses::Pauses;
use are_policy::secrets;
use are_policy::tools::{Changes, Environment, Output, Place, ToolOutcome, Variables, Work};
use are_policy::undo;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot};

use super::children::{EngineHost, Wanted};
use super::commands::{Heard, Why};
use super::{Actor, Batch, Outcome, Stop};
use crate::engine::OfCall;
use crate::faults;
use crate::limits::{ARTIFACTS_BYTES_MAX, PARALLEL_CALLS_MAX};
use crate::machine::{self, Action, canonical, is_pure};
use crate::memory::OfAccount;
use crate::scrub;
use crate::state::{CallStep, Phase, Turn};

/// The tool that runs the command lines of others.
const RUNNER: &str = "process_run";
/// Pieces of live output that may wait to be journaled; then the tool waits.
const OUTPUT_QUEUE: usize = 64;
/// Calls of calls that may wait to be taken up; then whoever makes them waits.
const WANTED_QUEUE: usize = 16;
/// Time beyond a tool's own limit after which the engine gives it up.
const TIMEOUT_GRACE_MS: u64 = 2_000;

/// A call that runs.
pub(super) struct Running {
    pub(super) effect: Effect,
    pub(super) retry: Retry,
    pub(super) is_child: bool,
    pub(super) started_ms: u64,
    pub(super) nonce: Nonce,
    pub(super) rolling: Rolling,
    pub(super) range: Option<(Seq, Seq)>,
    pub(super) output_bytes: usize,
    /// One for each stream of live output.
    pub(super) scrubs: BTreeMap<&'static str, scrub::Stream>,
    /// Files it changes.
    pub(super) changes: Arc<Changes>,
    /// Processor time that it takes.
    pub(super) work: Arc<Work>,
    /// When its time stands still.
    pub(super) pauses: Pauses,
    pub(super) done: Option<(ToolOutcome, u64)>,
    /// Dropped, it stops the call.
    _stop: oneshot::Sender<()>,
}

/// What happens to a call of a run.
pub(super) enum Event {
    /// It has ended.
    Ended(CallNo, ToolOutcome),
    /// Whoever made it no longer waits for it.
    Left(CallNo),
}

/// The calls that run now.
pub(super) struct Run {
    pub(super) calls: BTreeMap<CallNo, Running>,
    pub(super) events: FuturesUnordered<BoxFuture<'static, Event>>,
    output_tx: mpsc::Sender<(CallNo, Output)>,
    output: mpsc::Receiver<(CallNo, Output)>,
    wanted_tx: mpsc::Sender<Wanted>,
    wanted: mpsc::Receiver<Wanted>,
    /// Who waits for calls that calls have made.
    pub(super) answers: BTreeMap<CallNo, oneshot::Sender<ToolOutcome>>,
    variables: Arc<Variables>,
    /// True when one was set since they were read.
    is_outdated: bool,
}

impl Run {
    fn new(variables: Arc<Variables>) -> Self {
        let (output_tx, output) = mpsc::channel(OUTPUT_QUEUE);
        let (wanted_tx, wanted) = mpsc::channel(WANTED_QUEUE);
        Self {
            calls: BTreeMap::new(),
            events: FuturesUnordered::new(),
            output_tx,
            output,
            wanted_tx,
            wanted,
            answers: BTreeMap::new(),
            variables,
            is_outdated: false,
        }
    }

    /// True when all calls of the model have ended.
    fn is_over(&self) -> bool {
        self.calls.values().all(|entry| entry.is_child || entry.done.is_some())
    }
}

impl Actor {
    /// Runs `calls` until all have outcomes, appends these in call order, and what follows.
    pub(super) async fn run_tools(&mut self, calls: Vec<CallNo>, receipt: Option<Receipt>) -> Result<Outcome, Stop> {
        let mut run = Run::new(Arc::new(self.variables().await?));
        self.take_up(&mut run, Outcome { action: Action::RunTools(calls), request: None, receipt }).await?;
        let mut rules = self.inner.policy.watch();
        while !run.is_over() {
            let is_asking = self.settle_asked(&mut run).await?;
            let waits_for_agents = self.waits_for_agents(&run);
            let timer = self.asked_timer(is_asking);
            // Receiving from channels and from a set of futures, a change of a `watch`, cancelled tokens and a timer
            // are cancel-safe: nothing is taken out unless the branch is chosen. Output first, so that it precedes
            // its call's outcome.
            tokio::select! {
                biased;
                Some((call, output)) = run.output.recv() => self.take_output(&mut run, call, output).await?,
                command = self.mailbox.recv() => {
                    let Some(command) = command else { return Err(Stop::Rest) };
                    match self.hear(command).await? {
                        Heard::Answered => {}
                        Heard::Append(batch) | Heard::Interrupt(Why::Steer, batch) => {
                            self.commit_within(&mut run, batch).await?;
                        }
                        Heard::Interrupt(Why::Cancel, batch) => return self.cancel_tools(run, batch).await,
                    }
                }
                () = self.inner.giving_up.cancelled() => return Err(Stop::Shutdown),
                Some(wanted) = run.wanted.recv() => self.take_wanted(&mut run, wanted).await?,
                Some(event) = run.events.next() => self.take_event(&mut run, event).await?,
                Ok(()) = rules.changed(), if is_asking => {}
                // Agents stop with the process, and are found again by the next one.
                () = self.inner.stopping.cancelled(), if waits_for_agents => return Err(Stop::Shutdown),
                () = self.inner.stopping.cancelled(), if is_asking => self.stop_asking(&mut run).await?,
                () = timer, if is_asking => {}
            }
        }
        self.take_waiting_output(&mut run).await?;
        let Run { mut calls, .. } = run;
        self.take_held_output(&mut calls).await?;
        let batch = self.outcomes(calls).await?;
        self.commit(batch).await
    }

    async fn take_event(&mut self, run: &mut Run, event: Event) -> Result<(), Stop> {
        let (call, outcome) = match event {
            Event::Left(call) => {
                let left =
                    self.open_calls(|turn, step| step.no == call || turn.makers(step).any(|maker| maker.no == call));
                return self.abandon(run, left, &nobody_waits()).await;
            }
            Event::Ended(call, outcome) => (call, outcome),
        };
        if !run.calls.contains_key(&call) {
            // It was given up, and has its outcome already.
            return Ok(());
        }
        let made = self.open_calls(|turn, step| turn.makers(step).any(|maker| maker.no == call));
        self.abandon(run, made, &nobody_waits()).await?;
        self.asking_agents.remove(&call);
        let now_ms = self.inner.ports.clock.now_ms();
        let Some(entry) = run.calls.get_mut(&call) else { return Ok(()) };
        entry.done = Some((outcome, now_ms.saturating_sub(entry.started_ms)));
        if !entry.is_child {
            return Ok(());
        }
        self.take_waiting_output(run).await?;
        let mut ended: BTreeMap<_, _> = run.calls.remove_entry(&call).into_iter().collect();
        self.take_held_output(&mut ended).await?;
        let batch = self.outcomes(ended).await?;
        self.commit_within(run, batch).await
    }

    /// Appends while calls run, and takes up what follows.
    pub(super) async fn commit_within(&mut self, run: &mut Run, batch: Batch) -> Result<(), Stop> {
        run.is_outdated |= batch.drafts.iter().any(|draft| matches!(draft.body, Body::VariableSet { .. }));
        let outcome = self.commit(batch).await?;
        self.take_up(run, outcome).await
    }

    /// Starts calls whose intents are recorded, hands over what calls of calls have come to, keeps the time.
    async fn take_up(&mut self, run: &mut Run, outcome: Outcome) -> Result<(), Stop> {
        if let Action::RunTools(calls) = outcome.action {
            for call in calls.into_iter().filter(|call| !run.calls.contains_key(call)).collect::<Vec<_>>() {
                if std::mem::take(&mut run.is_outdated) {
                    run.variables = Arc::new(self.variables().await?);
                }
                let receipt = outcome.receipt.as_ref().ok_or_else(faults::internal)?;
                self.start_call(run, call, receipt)?;
            }
        }
        self.hand_over(run);
        self.keep_time(run);
        Ok(())
    }

    /// Makes the permit, from what is recorded, and hands it to the tools.
    fn start_call(&mut self, run: &mut Run, no: CallNo, receipt: &Receipt) -> Result<(), Stop> {
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let step = turn.call(no).ok_or_else(faults::internal)?;
        let (Some(call), Some(decision)) = (canonical(&self.state, turn, step), self.decisions.remove(&no)) else {
            return Err(faults::internal().into());
        };
        let Phase::Started { effect, retry, .. } = step.phase else {
            return Err(faults::internal().into());
        };
        let label = decision.label.clone();
        let permit = gate::authorize(call, &decision, receipt).map_err(|refused| {
            tracing::error!(session = %self.shared.key, call = no, %refused, "no permit");
            faults::internal()
        })?;
        let declared = || self.pinned().and_then(|pinned| pinned.tools.get(&step.tool));
        let timeout_ms = match &turn.undo {
            Some(_) => undo::manifest().map_or(0, |manifest| manifest.limits.timeout_ms),
            None => declared().map_or(0, |(manifest, _)| manifest.limits.timeout_ms),
        };
        let environment =
            self.pinned().map_or_else(Environment::default, |pinned| environment_of(turn, step, &pinned.tools));
        let mut named: BTreeSet<SecretName> = declared()
            .zip(step.args.as_ref())
            .map(|((manifest, _), args)| secrets::of_call(manifest, args))
            .unwrap_or_default();
        named.extend(environment.variables.values().filter_map(|value| secrets::in_env(value)?.ok()));
        // Calls that run at once share it, so that none is told of an artifact that does not fit when they end.
        let room = ARTIFACTS_BYTES_MAX.saturating_sub(self.state.artifact_bytes);
        let open = turn.calls().filter(|step| step.result.is_none()).count() as u64;
        let changes = Arc::new(Changes::default());
        let work = Arc::new(Work::default());
        let pauses = Pauses::new(Arc::clone(&self.inner.ports.clock));
        let sender = run.output_tx.clone();
        let place = Place {
            workspace: self.state.facts.as_ref().map(|facts| PathBuf::from(&facts.workspace)).unwrap_or_default(),
            variables: Arc::clone(&run.variables),
            label,
            timeout_ms,
            pauses: pauses.clone(),
            output: Arc::new(move |output| {
                let sender = sender.clone();
                async move {
                    // silent-ok: the turn was cancelled; nobody reads the output any more.
                    let _sent = sender.send((no, output)).await;
                }
                .boxed()
            }),
            changes: Arc::clone(&changes),
            work: Arc::clone(&work),
            host: Arc::new(EngineHost::new(no, run.wanted_tx.clone(), (&self.inner, &self.shared))),
            artifact_room: room / open.clamp(1, PARALLEL_CALLS_MAX as u64),
            memories: Arc::new(OfAccount { inner: Arc::clone(&self.inner), account: self.owner()? }),
            secrets: Arc::new(OfCall {
                inner: Arc::clone(&self.inner),
                account: self.owner()?,
                call: (self.shared.key, no),
                named: Some(named),
            }),
            environment,
        };
        // What a running call waits for must not wait for that one's place.
        let has_place = step.parent.is_none() && step.tool != SPAWN && turn.undo.is_none();
        let queue = match has_place {
            true => Some((Arc::clone(&self.inner.calls), self.owner()?)),
            false => None,
        };
        let tools = Arc::clone(&self.inner.ports.tools);
        let (stop, stopped) = oneshot::channel::<()>();
        let time = pauses.clone();
        let future = async move {
            let _place = match queue {
                Some((fair, account)) => Some(fair.enter(account).await),
                None => None,
            };
            let deadline = time.outlast(timeout_ms + TIMEOUT_GRACE_MS);
            // A panic of a tool is that call's failure and nobody else's.
            let running = std::panic::AssertUnwindSafe(tools.run(permit, place)).catch_unwind();
            let outcome = tokio::select! {
                outcome = running => outcome.unwrap_or_else(|_| panicked(effect, retry)),
                () = deadline => given_up(effect, retry),
                _ended = stopped => given_up(effect, retry),
            };
            Event::Ended(no, outcome)
        };
        let nonce = self.inner.ports.clock.random();
        let entry = Running {
            effect,
            retry,
            is_child: step.parent.is_some(),
            started_ms: self.inner.ports.clock.now_ms(),
            nonce,
            rolling: Rolling::new(&nonce),
            range: None,
            output_bytes: 0,
            scrubs: BTreeMap::new(),
            changes,
            work,
            pauses,
            done: None,
            _stop: stop,
        };
        run.calls.insert(no, entry);
        run.events.push(future.boxed());
        Ok(())
    }

    /// Output that is there already.
    async fn take_waiting_output(&mut self, run: &mut Run) -> Result<(), Stop> {
        while let Ok((call, output)) = run.output.try_recv() {
            self.take_output(run, call, output).await?;
        }
        Ok(())
    }

    /// The user stopped the turn while calls ran: what has an effect may have happened.
    async fn cancel_tools(&mut self, mut run: Run, batch: Batch) -> Result<Outcome, Stop> {
        run.events.clear();
        let stopped = Fault::new(
            Code::TOOL_OUTCOME_UNKNOWN,
            "the user stopped the turn while the call ran",
            "look before you try again",
        );
        let made = self.open_calls(|_, step| step.parent.is_some());
        let mut first = self.abandoned(&mut run, made, &stopped).await?;
        for entry in run.calls.values_mut().filter(|entry| entry.done.is_none()) {
            entry.done = Some((interrupted(entry.effect, entry.retry, stopped.clone()), 0));
        }
        self.take_held_output(&mut run.calls).await?;
        first.append(self.outcomes(run.calls).await?);
        let ends = batch.drafts.iter().any(|draft| matches!(draft.body, Body::SessionDeleted {}));
        first.append(batch);
        first.may_be_refused = false;
        let outcome = self.commit(first).await?;
        debug_assert!(!matches!(outcome.action, Action::RunTools(_)) || self.state.running().is_some());
        if ends { Err(faults::unknown_session().into()) } else { Ok(outcome) }
    }
}

/// What a command gets of the tool whose command line it is. Nobody else's calls give any.
fn environment_of(turn: &Turn, step: &CallStep, tools: &ToolSet) -> Environment {
    let maker = step.parent.and_then(|parent| turn.call(parent));
    let maker = maker.and_then(|maker| tools.get(&maker.tool).filter(|(_, digest)| Some(*digest) == maker.tool_digest));
    let is_command = |manifest: &Manifest| manifest.lane == Lane::Command && step.tool == RUNNER;
    match maker {
        Some((manifest, _)) if is_command(manifest) => Environment {
            tool: manifest.name.to_string(),
            variables: manifest.capabilities.iter().flat_map(|declared| declared.env.clone()).collect(),
        },
        Some(_) | None => Environment::default(),
    }
}

fn nobody_waits() -> Fault {
    Fault::new(
        Code::TOOL_OUTCOME_UNKNOWN,
        "the call that made this one no longer waits for it",
        "look before you try again",
    )
}

fn panicked(effect: Effect, retry: Retry) -> ToolOutcome {
    interrupted(effect, retry, Fault::new(Code::TOOL_FAILED, "the tool failed unexpectedly", "try something else"))
}

pub(super) fn given_up(effect: Effect, retry: Retry) -> ToolOutcome {
    interrupted(
        effect,
        retry,
        Fault::new(Code::TOOL_TIMEOUT, "the tool took too long and was given up", "try something smaller"),
    )
}

/// What a call that did not come to its end is recorded as.
pub(super) fn interrupted(effect: Effect, retry: Retry, fault: Fault) -> ToolOutcome {
    let label = machine::system_label();
    if is_pure(effect, retry) || retry == Retry::Transactional {
        ToolOutcome::Failed { fault, label }
    } else {
        ToolOutcome::Unknown { fault, label }
    }
}

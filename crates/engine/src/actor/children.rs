//! Calls that running calls make: taking them up, asking about them, ending them.
//!
//! Each becomes a call like any other: recorded, decided by the same rules,
//! permitted by itself, and its outcome goes back to who made it as it was
//! recorded. One that a person is asked about holds its makers in memory, so
//! it waits for its deadline and no longer, whoever is attached; no answer is a
//! denial, and the turn is not parked. The makers' time stands still meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use are_core::BoxFuture;
use are_core::body::{Answer, Body};
use are_core::canonical::Args;
use are_core::error::{Code, Fault};
use are_core::ids::CallNo;
use are_core::journal::Draft;
use are_core::label::{Label, worst_of};
use are_core::limits::CALL_ARGUMENTS_BYTES_MAX;
use are_policy::tools::{Earlier, Host, Spawn, Spawned, ToolOutcome};
use futures_util::FutureExt as _;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};

use super::agents::News;
use super::approvals::LOOK_AGAIN_MS;
use super::tools::{Event, Run, interrupted};
use super::{Actor, Batch, Stop};
use crate::engine::{Child, Happened, Inner};
use crate::envelope;
use crate::faults;
use crate::limits::CHILDREN_PER_CALL_MAX;
use crate::machine;
use crate::state::{CallResult, CallStep, Phase, Turn};
use crate::tail::Shared;

/// Calls that the running calls of one turn may ask for together.
const CHILDREN_PER_TURN_MAX: u32 = 1_024;

/// What a running call wants of its session.
pub(super) enum Wanted {
    /// Another call.
    Call { parent: CallNo, tool: String, args: Value, wish: Wish },
    /// Another agent.
    Agent(CallNo, News),
    /// What an earlier call returned; none where there is no such result.
    Earlier(CallNo, oneshot::Sender<Option<Earlier>>),
}

/// What is wanted of a call.
pub(super) enum Wish {
    /// That it is made.
    Made {
        answer: oneshot::Sender<ToolOutcome>,
        /// Ends when whoever wants it no longer waits.
        left: oneshot::Receiver<()>,
    },
    /// To know whether it would be denied.
    Judged(oneshot::Sender<bool>),
}

/// The way of one running call to its session.
pub(super) struct EngineHost {
    call: CallNo,
    wanted: mpsc::Sender<Wanted>,
    inner: Arc<Inner>,
    shared: Arc<Shared>,
}

impl EngineHost {
    pub(super) fn new(
        call: CallNo,
        wanted: mpsc::Sender<Wanted>,
        (inner, shared): (&Arc<Inner>, &Arc<Shared>),
    ) -> Self {
        Self { call, wanted, inner: Arc::clone(inner), shared: Arc::clone(shared) }
    }

    async fn tell(&self, news: News) -> Result<(), Fault> {
        self.wanted.send(Wanted::Agent(self.call, news)).await.map_err(|_| over())
    }

    async fn run_agent(&self, spawn: Spawn) -> Result<Spawned, Fault> {
        let (answer, planned) = oneshot::channel();
        self.tell(News::Begin(Box::new(spawn), answer)).await?;
        let planned = planned.await.map_err(|_| over())??;
        let mut child = Child::begin(&self.inner, &self.shared, planned).await?;
        loop {
            match child.next().await? {
                Happened::Asks(is_asking) => self.tell(News::Asks(is_asking)).await?,
                Happened::Ended(report) => {
                    let (answer, recorded) = oneshot::channel();
                    self.tell(News::Ended(child.key(), Arc::clone(&report), answer)).await?;
                    recorded.await.map_err(|_| over())?;
                    return Ok(child.spawned(&report).await);
                }
            }
        }
    }
}

impl Host for EngineHost {
    fn call<'a>(&'a self, tool: &'a str, args: Value) -> BoxFuture<'a, ToolOutcome> {
        async move {
            let (answer, answered) = oneshot::channel();
            // Dropped with this future, which tells the session that nobody waits any more.
            let (_waits, left) = oneshot::channel::<()>();
            let wish = Wish::Made { answer, left };
            let wanted = Wanted::Call { parent: self.call, tool: tool.to_owned(), args, wish };
            if self.wanted.send(wanted).await.is_err() {
                return failed(over());
            }
            answered.await.unwrap_or_else(|_| failed(over()))
        }
        .boxed()
    }

    fn would_deny<'a>(&'a self, tool: &'a str, args: Value) -> BoxFuture<'a, bool> {
        async move {
            let (answer, answered) = oneshot::channel();
            let wish = Wish::Judged(answer);
            let wanted = Wanted::Call { parent: self.call, tool: tool.to_owned(), args, wish };
            // Where nobody can answer any more, nothing would run either.
            self.wanted.send(wanted).await.is_err() || answered.await.unwrap_or(true)
        }
        .boxed()
    }

    fn earlier(&self, call: CallNo) -> BoxFuture<'_, Result<Earlier, Fault>> {
        async move {
            let (answer, answered) = oneshot::channel();
            self.wanted.send(Wanted::Earlier(call, answer)).await.map_err(|_| over())?;
            answered.await.map_err(|_| over())?.ok_or_else(|| no_result(call))
        }
        .boxed()
    }

    fn spawn(&self, spawn: Spawn) -> BoxFuture<'_, Result<Spawned, Fault>> {
        self.run_agent(spawn).boxed()
    }
}

impl Actor {
    /// Makes a call of what a running call wants.
    pub(super) async fn take_wanted(&mut self, run: &mut Run, wanted: Wanted) -> Result<(), Stop> {
        let (parent, tool, args, wish) = match wanted {
            Wanted::Call { parent, tool, args, wish } => (parent, tool, args, wish),
            Wanted::Agent(call, news) => return self.take_news(run, call, news).await,
            Wanted::Earlier(call, answer) => {
                let is_cut =
                    self.state.compactions.is_any() || self.state.running().is_some_and(|turn| turn.trimmed.calls > 0);
                // silent-ok: whoever asked has left.
                let _sent = answer.send(self.state.result_of(call).filter(|_| is_cut).and_then(earlier));
                return Ok(());
            }
        };
        let (answer, left) = match wish {
            Wish::Made { answer, .. } if answer.is_closed() => return Ok(()),
            Wish::Made { answer, left } => (answer, left),
            Wish::Judged(answer) => {
                // silent-ok: whoever asked has left.
                let _sent = answer.send(self.would_deny(parent, &tool, args));
                return Ok(());
            }
        };
        let batch = match self.wanted(run, parent, &tool, args) {
            Ok(batch) => batch,
            Err(fault) => {
                // silent-ok: whoever asked has left.
                let _sent = answer.send(failed(fault));
                return Ok(());
            }
        };
        let no = self.state.calls_made + 1;
        run.answers.insert(no, answer);
        run.events.push(
            async move {
                // silent-ok: it ends with an error, always: nothing is ever sent.
                let _left = left.await;
                Event::Left(no)
            }
            .boxed(),
        );
        self.commit_within(run, batch).await
    }

    /// Whether a call would be denied, decided as it would be and recorded nowhere.
    fn would_deny(&self, parent: CallNo, tool: &str, args: Value) -> bool {
        let (Some(turn), Some(around)) = (self.state.running(), &self.surroundings) else { return true };
        let env = around.env(self.pinned(), self.inner.ports.clock.now_ms());
        machine::would_deny(&self.state, turn, parent, (tool, Args::from_value(&args).ok()), &env)
    }

    /// The record of a wanted call. What is over a limit is refused without one, so that a loop does not fill the journal.
    fn wanted(&self, run: &Run, parent: CallNo, tool: &str, args: Value) -> Result<Batch, Fault> {
        let (Some(turn), Some(around)) = (self.state.running(), &self.surroundings) else { return Err(over()) };
        let is_running = run.calls.get(&parent).is_some_and(|entry| entry.done.is_none());
        let Some(maker) = turn.call(parent).filter(|_| is_running && turn.undo.is_none()) else { return Err(over()) };
        if maker.children >= CHILDREN_PER_CALL_MAX || turn.children_made >= CHILDREN_PER_TURN_MAX {
            let why = format!(
                "a call makes at most {CHILDREN_PER_CALL_MAX} calls, and those of a turn {CHILDREN_PER_TURN_MAX}"
            );
            return Err(Fault::new(
                Code::CHILD_LIMIT,
                why,
                "do more with each call, or split the task over several prompts",
            ));
        }
        let args = Args::from_value(&self.scrubber().clean_json(args)).ok();
        let args = args.filter(|args| args.as_str().len() <= CALL_ARGUMENTS_BYTES_MAX);
        let env = around.env(self.pinned(), self.inner.ports.clock.now_ms());
        let tool = self.scrubber().clean(tool.to_owned());
        let draft = machine::requested(&self.state, turn, Some(parent), &tool, args, &env);
        Ok(Batch::new(turn.account.clone(), vec![draft]))
    }

    /// Gives back what calls of calls have come to, as it was recorded.
    pub(super) fn hand_over(&self, run: &mut Run) {
        let Some(turn) = self.state.running().filter(|_| !run.answers.is_empty()) else { return };
        let is_done = |no: &CallNo| turn.call(*no).is_some_and(|step| step.phase == Phase::Done);
        let done: Vec<CallNo> = run.answers.keys().copied().filter(is_done).collect();
        for no in done {
            let result = turn.call(no).and_then(|step| step.result.as_ref());
            if let (Some(answer), Some(result)) = (run.answers.remove(&no), result) {
                // silent-ok: whoever asked has left.
                let _sent = answer.send(outcome_of(result));
            }
        }
    }

    /// The time of a call stands still while a person is asked about one that it is the maker of, or by its agent.
    pub(super) fn keep_time(&self, run: &Run) {
        let Some(turn) = self.state.running() else { return };
        let asked = turn.calls().filter(|step| is_asked(step));
        let mut held: BTreeSet<CallNo> = asked.flat_map(|step| turn.makers(step).map(|maker| maker.no)).collect();
        held.extend(&self.asking_agents);
        for (no, entry) in &run.calls {
            if held.contains(no) { entry.pauses.begin() } else { entry.pauses.end() }
        }
    }

    /// Calls of calls that have no result and that `test` is true of.
    pub(super) fn open_calls(&self, test: impl Fn(&Turn, &CallStep) -> bool) -> Vec<CallNo> {
        let Some(turn) = self.state.running().filter(|turn| turn.children_made > 0) else { return Vec::new() };
        let is_open = |step: &&CallStep| step.parent.is_some() && step.phase != Phase::Done && test(turn, step);
        turn.calls().filter(is_open).map(|step| step.no).collect()
    }

    /// Ends calls that nobody waits for.
    pub(super) async fn abandon(&mut self, run: &mut Run, calls: Vec<CallNo>, why: &Fault) -> Result<(), Stop> {
        for call in &calls {
            let approval = self.state.running().and_then(|turn| turn.call(*call)).filter(|step| is_asked(step));
            if let Some(approval) = approval.and_then(|step| step.approval.as_ref()).map(|approval| approval.no) {
                let batch = self.unanswered_by_anybody(approval)?;
                self.commit_within(run, batch).await?;
            }
        }
        let calls: Vec<CallNo> = calls.into_iter().filter(|call| self.is_open(*call)).collect();
        if calls.is_empty() {
            return Ok(());
        }
        let batch = self.abandoned(run, calls, why).await?;
        self.commit_within(run, batch).await
    }

    /// The records that end calls: of those that were not begun first, then of those that run, the latest first.
    pub(super) async fn abandoned(&mut self, run: &mut Run, calls: Vec<CallNo>, why: &Fault) -> Result<Batch, Stop> {
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let (no, account) = (turn.no, turn.account.clone());
        let (begun, waiting): (Vec<CallNo>, Vec<CallNo>) =
            calls.into_iter().partition(|call| run.calls.contains_key(call));
        let ended = |call| Draft {
            turn: Some(no),
            body: machine::not_begun(call, why),
            payload: Some(machine::failure(why, machine::system_label(), None)),
        };
        let mut batch = Batch::new(account, waiting.into_iter().map(ended).collect());
        for call in begun.into_iter().rev() {
            let Some(mut entry) = run.calls.remove(&call) else { continue };
            entry.done = Some((interrupted(entry.effect, entry.retry, why.clone()), 0));
            let mut one = BTreeMap::from([(call, entry)]);
            self.take_held_output(&mut one).await?;
            batch.append(self.outcomes(one).await?);
        }
        Ok(batch)
    }

    /// Notices changed rules and deadlines that are over; true while a person is asked about a call of a call.
    pub(super) async fn settle_asked(&mut self, run: &mut Run) -> Result<bool, Stop> {
        if !self.is_asking() {
            return Ok(false);
        }
        let rules_now = self.inner.rules.load().digest();
        let member = self.member(&self.owner()?);
        if self.surroundings.as_ref().is_none_or(|around| !around.hold(rules_now, member.membership())) {
            self.commit_within(run, Batch::new(self.owner()?, Vec::new())).await?;
        }
        while let Some(batch) = self.asked_too_long()? {
            self.commit_within(run, batch).await?;
        }
        Ok(self.is_asking())
    }

    /// Resolves when it is to be looked again.
    pub(super) fn asked_timer(&self, is_asking: bool) -> BoxFuture<'static, ()> {
        if !is_asking {
            return std::future::pending().boxed();
        }
        let now_ms = self.inner.ports.clock.now_ms();
        let due_ms = self.asked_until().map(|(_, at_ms)| at_ms.saturating_sub(now_ms)).min();
        let clock = Arc::clone(&self.inner.ports.clock);
        // Somebody may leave, and then less time is given.
        clock.sleep(due_ms.unwrap_or(LOOK_AGAIN_MS).clamp(1, LOOK_AGAIN_MS))
    }

    /// The engine stops: nobody is asked any more, so that what runs can come to its end.
    pub(super) async fn stop_asking(&mut self, run: &mut Run) -> Result<(), Stop> {
        let asked = self.open_calls(|_, step| is_asked(step));
        self.abandon(run, asked, &faults::stopping()).await
    }

    fn is_asking(&self) -> bool {
        self.state.running().is_some_and(|turn| turn.children_made > 0 && turn.calls().any(is_asked))
    }

    fn is_open(&self, call: CallNo) -> bool {
        self.state.running().and_then(|turn| turn.call(call)).is_some_and(|step| step.phase != Phase::Done)
    }

    /// Approvals that calls of calls wait for, each with when no answer counts as a denial.
    fn asked_until(&self) -> impl Iterator<Item = (are_core::ids::ApprovalNo, u64)> {
        let turn = self.state.running();
        let asked = turn
            .into_iter()
            .flat_map(move |turn| turn.calls().filter(|step| is_asked(step)).map(move |step| (turn, step)));
        asked.filter_map(|(turn, step)| {
            let approval = step.approval.as_ref()?;
            let alone_ms = self.left_alone(turn, approval).map_or(u64::MAX, |(at_ms, _)| at_ms);
            Some((approval.no, alone_ms.min(approval.expires_at_ms)))
        })
    }

    fn asked_too_long(&self) -> Result<Option<Batch>, Stop> {
        let now_ms = self.inner.ports.clock.now_ms();
        let late = self.asked_until().find(|(_, at_ms)| *at_ms <= now_ms);
        late.map(|(approval, _)| self.unanswered_by_anybody(approval)).transpose()
    }

    fn unanswered_by_anybody(&self, approval: are_core::ids::ApprovalNo) -> Result<Batch, Stop> {
        let turn = self.state.running().ok_or_else(faults::internal)?;
        let body = Body::ApprovalResolved { approval, decision: Answer::Deny, by: "nobody".to_owned(), policy: None };
        Ok(Batch::new(turn.account.clone(), vec![Draft { turn: Some(turn.no), body, payload: None }]))
    }
}

/// True while a person is asked about it, on behalf of a call that runs.
fn is_asked(step: &CallStep) -> bool {
    step.parent.is_some() && step.phase == Phase::Waiting
}

fn outcome_of(result: &CallResult) -> ToolOutcome {
    match result.clone() {
        CallResult::Completed { value, labels } => ToolOutcome::Completed { value, labels, bindings: Vec::new() },
        CallResult::Failed { code, message, help, label } => {
            ToolOutcome::Failed { fault: Fault::new(code, message, help), label }
        }
        CallResult::Unknown { message, label } => {
            let help = "it may or may not have happened; check before you try again";
            ToolOutcome::Unknown { fault: Fault::new(Code::TOOL_OUTCOME_UNKNOWN, message, help), label }
        }
        CallResult::HandedOver | CallResult::Erased => failed(over()),
    }
}

/// A result as the model was shown it, before it was cut; `None` where nothing is left of it.
fn earlier(result: &CallResult) -> Option<Earlier> {
    let text = envelope::text_of(result)?;
    let label = match result {
        CallResult::Completed { labels, .. } => worst_of(labels).unwrap_or_else(|| Label::worst("unlabelled")),
        CallResult::Failed { label, .. } | CallResult::Unknown { label, .. } => label.clone(),
        CallResult::HandedOver | CallResult::Erased => return None,
    };
    Some(Earlier { text, label })
}

fn no_result(call: CallNo) -> Fault {
    let message = format!("there is no result of a call {call} in this conversation");
    Fault::new(
        Code::TOOL_NOT_FOUND,
        message,
        "name a call that has ended, by the number in its id or its shortened result",
    )
}

fn failed(fault: Fault) -> ToolOutcome {
    ToolOutcome::Failed { fault, label: machine::system_label() }
}

/// Told to whoever asks for a call when its own is over, or none can be made.
fn over() -> Fault {
    Fault::new(Code::TOOL_FAILED, "no call can be made from here", "go on without it")
}

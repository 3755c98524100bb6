//! The life of an agent that a call begins, from the side of that call.
//!
//! Its session is one of the account's like any other, with an actor of its
//! own. The call follows its journal to the end of its first turn. Dropping
//! what follows stops that turn, unless the process ends: then the next one
//! finds it again.

use std::sync::Arc;

use are_core::body::Body;
use are_core::change::FileChange;
use are_core::error::Fault;
use are_core::ids::{CallNo, Seq, SessionKey, ThreadId, TurnNo};
use are_core::journal::Entry;
use are_core::label::{Integrity, Label};
use are_core::payload::Payload;
use are_core::store::Store;
use are_policy::pauses::Pauses;
use are_policy::tools::Spawned;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Engine, Handle, Inner, Tail};
use crate::actor::{self, Birth, Command, Plan, Planned, Prompting, Refusal, Reply, Report};
use crate::api::Tailed;
use crate::faults;
use crate::state::Phase;
use crate::tail::Shared;

/// Times in a row that a session is looked for again which ended without a word.
const AGAIN_MAX: u32 = 3;
/// The turn that an agent is begun for.
const TURN: TurnNo = 1;

/// What happens to an agent.
pub(crate) enum Happened {
    /// A person is asked there, or no longer.
    Asks(bool),
    /// Its turn has ended.
    Ended(Arc<Report>),
}

/// An agent that a call has begun.
pub(crate) struct Child {
    inner: Arc<Inner>,
    above: Arc<Shared>,
    handle: Handle,
    tail: Tail,
    asking: watch::Receiver<bool>,
    after: Seq,
    lost: u32,
    /// Why its turn failed.
    fault: Option<Fault>,
    is_over: bool,
}

impl Child {
    /// Begins it, or finds it again.
    pub(crate) async fn begin(inner: &Arc<Inner>, above: &Arc<Shared>, planned: Planned) -> Result<Self, Fault> {
        let Planned { key, plan } = planned;
        let Some(plan) = plan else { return Ok(Self::of(inner, above, inner.handle(key, None)?)) };
        let Plan { caller, agent, workspace, child_of, rights, prompt, request_id, content } = *plan;
        let (tx, answer) = oneshot::channel();
        let prompting = Prompting {
            caller: caller.clone(),
            prompt,
            request_id,
            content,
            // Only a user's own words are refused, and what a model wrote was looked over where it came from.
            flagged: None,
            reply: Reply::new(None, tx),
        };
        let birth = Birth {
            owner: caller.account,
            via: None,
            agent,
            workspace,
            parent: None,
            child: Some((child_of, rights)),
            variables: Vec::new(),
            prompt: Some(Box::new(prompting)),
        };
        let child = Self::of(inner, above, inner.handle(key, Some(birth))?);
        match answer.await.map_err(|_| faults::stopping())? {
            Ok(_) => Ok(child),
            Err(Refusal::Fault(fault)) => Err(fault),
            Err(Refusal::Taken { .. }) => Err(faults::request_conflict()),
        }
    }

    fn of(inner: &Arc<Inner>, above: &Arc<Shared>, handle: Handle) -> Self {
        handle.shared.work_for(Some(Arc::clone(above)));
        let tail = inner.tail_of(&handle, 0);
        let mut asking = handle.shared.asking();
        // Whether a person is asked now is news to whoever waits.
        asking.mark_changed();
        let (inner, above) = (Arc::clone(inner), Arc::clone(above));
        Self { inner, above, handle, tail, asking, after: 0, lost: 0, fault: None, is_over: false }
    }

    pub(crate) fn key(&self) -> SessionKey {
        self.handle.shared.key
    }

    /// What happens next. Not to be asked again after the end.
    pub(crate) async fn next(&mut self) -> Result<Happened, Fault> {
        let mut asking = self.asking.clone();
        loop {
            // Reading a tail and a change of a `watch` are cancel-safe.
            tokio::select! {
                items = self.tail.next() => match items {
                    Ok(items) => {
                        self.lost = 0;
                        if items.iter().any(|item| self.take(item)) {
                            return Ok(Happened::Ended(Arc::new(self.report().await?)));
                        }
                    }
                    Err(fault) => {
                        self.find_again(fault).await?;
                        asking = self.asking.clone();
                    }
                },
                Ok(()) = asking.changed() => {
                    self.asking.mark_unchanged();
                    let is_asking = *asking.borrow_and_update();
                    return Ok(Happened::Asks(is_asking));
                }
            }
        }
    }

    /// True when the turn has ended.
    fn take(&mut self, item: &Tailed) -> bool {
        let Tailed::Entry(entry) = item else { return false };
        self.after = entry.seq();
        let Entry::Record(record, payload) = entry.as_ref() else { return false };
        if record.turn != Some(TURN) || !record.body.ends_turn() {
            return false;
        }
        if let (Body::TurnFailed { code, .. }, Some(Payload::Failure { message, help, .. })) = (&record.body, payload) {
            self.fault = Some(Fault::new(*code, message, help));
        }
        self.is_over = true;
        true
    }

    /// Its actor ended without the turn: it had nothing to do for a while, or the process stops.
    async fn find_again(&mut self, fault: Fault) -> Result<(), Fault> {
        if self.inner.stopping.is_cancelled() {
            // Whoever waits stops with the process, and the next one finds both again.
            std::future::pending::<()>().await;
        }
        self.lost += 1;
        if self.lost > AGAIN_MAX {
            return Err(fault);
        }
        let key = self.key();
        let row = self.inner.ports.store.session(key).await.map_err(faults::store)?;
        if row.is_deleted {
            self.is_over = true;
            return Err(faults::unknown_session());
        }
        self.handle = self.inner.handle(key, None)?;
        self.handle.shared.work_for(Some(Arc::clone(&self.above)));
        self.tail = self.inner.tail_of(&self.handle, self.after);
        self.asking = self.handle.shared.asking();
        self.asking.mark_changed();
        Ok(())
    }

    async fn report(&self) -> Result<Report, Fault> {
        let engine = Engine { inner: Arc::clone(&self.inner) };
        engine.ask(&self.handle, |tx| Command::Report { turn: TURN, tx }).await?
    }

    /// What the call returns, its changes kept as the call's own.
    pub(crate) async fn spawned(&mut self, report: &Report) -> Spawned {
        let mut all = Vec::new();
        for of_call in &report.changes {
            match self.inner.ports.tools.checkpoints() {
                Some(checkpoints) if !of_call.is_certain && of_call.changes.is_empty() => {
                    let noted = checkpoints.noted(self.key(), of_call.call).await;
                    all.extend(noted.unwrap_or_else(|fault| self.unkept(&fault)));
                }
                Some(_) | None => all.extend(of_call.changes.iter().cloned()),
            }
        }
        if let Some(checkpoints) = self.inner.ports.tools.checkpoints().filter(|_| !all.is_empty())
            && let Err(fault) = checkpoints.adopt(self.key(), self.above.key, all.clone()).await
        {
            // Undoing will say what is not there.
            self.unkept(&fault);
        }
        // Text of a model vouches for nothing, whatever it had read.
        let label = Label { integrity: Integrity::Untrusted, ..report.label.clone() };
        let (ended, answer) = (actor::word(report.ended), report.answer.clone());
        Spawned { session: self.key(), ended, answer, fault: self.fault.take(), label, changes: all }
    }

    fn unkept(&self, fault: &Fault) -> Vec<FileChange> {
        tracing::warn!(session = %self.key(), %fault, "what an agent changed cannot be looked up");
        Vec::new()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.handle.shared.work_for(None);
        // Without a runtime the process is at its end.
        let can_stop = tokio::runtime::Handle::try_current().is_ok() && !self.inner.stopping.is_cancelled();
        if !self.is_over && can_stop {
            self.inner.stop_agent(self.key());
        }
    }
}

impl Inner {
    fn tail_of(&self, handle: &Handle, after: Seq) -> Tail {
        // Whoever waits for an agent is not somebody who could approve.
        Tail::new(Arc::clone(&handle.shared), Arc::clone(&self.ports.store), after, false)
    }

    /// Ends the turn of an agent that nobody waits for.
    pub(crate) fn stop_agent(self: &Arc<Self>, key: SessionKey) {
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            let Ok(handle) = inner.handle(key, None) else { return };
            if handle.mailbox.send(Box::new(Command::stop_first_turn())).await.is_err() {
                tracing::debug!(session = %key, "an agent's session ended before it was stopped");
            }
        });
    }

    /// Tells a session when the time of a turn is over, counted beside its pauses.
    pub(crate) fn expire(
        self: &Arc<Self>,
        key: SessionKey,
        turn: TurnNo,
        (pauses, seconds): (Pauses, u64),
        stop: CancellationToken,
    ) {
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            // A timer and cancelled tokens are cancel-safe.
            tokio::select! {
                () = pauses.outlast(seconds.saturating_mul(1_000)) => {}
                () = stop.cancelled() => return,
                () = inner.stopping.cancelled() => return,
            }
            let handle = inner.sessions().get(&key).cloned();
            if let Some(handle) = handle
                && handle.mailbox.send(Box::new(Command::Expire { turn })).await.is_err()
            {
                tracing::debug!(session = %key, "a session ended before its time was over");
            }
        });
    }
}

/// The session that whoever spoke from this thread works for; `None` for people.
#[must_use]
pub fn works_for(thread: &ThreadId) -> Option<SessionKey> {
    thread.as_str().strip_prefix(actor::THREAD)?.split('/').next()?.parse().ok()
}

/// Whether a call still waits for the agent that it began, as far as the journal of its session says.
pub(crate) async fn is_awaited(store: &dyn Store, (session, call): (SessionKey, CallNo)) -> Result<bool, Fault> {
    let state = actor::read_state(store, session).await?.state;
    let waits = state.running().and_then(|turn| turn.call(call)).is_some_and(|step| step.phase != Phase::Done);
    Ok(waits && !state.is_deleted)
}

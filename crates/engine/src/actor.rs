//! The owner of one session: the only one who appends to its journal.
//!
//! A loop of three steps: derive what follows from the state and append it
//! together with its cause in one transaction; tell the readers; do the one
//! thing the machine asks for while listening to commands. A crash between any
//! two of them is the same as a crash at the append, because a session starts
//! by folding its journal.

mod agents;
mod approvals;
mod children;
mod commands;
mod compaction;
mod frames;
mod guide;
mod limits;
mod load;
mod model;
mod outcomes;
mod plan;
mod tools;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use are_core::account::{Membership, Via};
use are_core::body::Body;
use are_core::error::Fault;
use are_core::ids::{AccountId, CallNo, TurnNo};
use are_core::journal::{Draft, Entry};
use are_core::model::ModelRequest;
use are_core::store::{Change, Durability, Receipt, StoreError};
use are_policy::call::Decision;
use are_policy::limits::Meter;
use are_policy::rules::Rules;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::engine::{Inner, Member};
use crate::faults;
use crate::journal::{Journal, Sealed};
use crate::machine::{self, Action, Next, Pinned};
use crate::replay;
use crate::scrub::Scrubber;
use crate::state::{State, Turn};
use crate::surroundings::Surroundings;
use crate::tail::Shared;

pub(crate) use agents::{Plan, Planned, Report, THREAD, word};
pub(crate) use commands::{ChangedTurn, Command, Prompting, Refusal, Reply, Undoing, View, content_digest};
pub(crate) use load::{Birth, ancestry, read_state};
pub(crate) use outcomes::encoded;

/// Commands that may wait for one session.
pub(crate) const MAILBOX: usize = 64;
/// A session without readers and work leaves memory after this long.
const REST_AFTER: Duration = Duration::from_secs(60);
/// Entries of an ended turn stay in memory for readers that are a little late.
const RING_REST_AFTER: Duration = Duration::from_millis(500);
/// How often a full disk is tried again while a turn waits for it.
const FULL_RETRY_MS: u64 = 500;
/// Records that one cause may derive; more is a machine that does not settle.
const DERIVED_MAX: usize = 10_000;

/// Why an actor ends.
pub(crate) enum Stop {
    /// Its readers and commands are told this.
    Fault(Fault),
    /// Nothing to do and nobody there.
    Rest,
    /// The engine stops.
    Shutdown,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Records to append, with what they change and who waits for them.
pub(crate) struct Batch {
    account: AccountId,
    drafts: Vec<Draft>,
    changes: Vec<Change>,
    replies: Vec<(usize, Reply)>,
    /// By whose token records that nobody waits for were asked for.
    via: Option<Via>,
    /// True when a full disk refuses the batch instead of making the turn wait.
    may_be_refused: bool,
}

/// What an append led to.
pub(crate) struct Outcome {
    action: Action,
    request: Option<Box<ModelRequest>>,
    receipt: Option<Receipt>,
}

pub(crate) struct Actor {
    inner: Arc<Inner>,
    shared: Arc<Shared>,
    mailbox: mpsc::Receiver<Box<Command>>,
    journal: Journal,
    state: State,
    surroundings: Option<Surroundings>,
    /// What the open step of the running turn was asked under.
    pinned: Option<Pinned>,
    /// Decisions of this process whose calls have not started.
    decisions: HashMap<CallNo, Decision>,
    /// Last turn that began before this actor did: who was there for it is not known.
    inherited: TurnNo,
    /// The turn that runs, to notice that it is another one.
    attended: Option<TurnNo>,
    /// The turn before which it was looked what the workspace says.
    guided: Option<TurnNo>,
    has_open_work: bool,
    /// Calls whose agents wait for a person.
    asking_agents: BTreeSet<CallNo>,
    /// Counts the time of the running turn.
    timed: Option<agents::Timed>,
    /// What of its records is not settled yet.
    meter: Meter,
}

/// Runs a session until it ends, rests or the engine stops.
pub(crate) async fn run(
    inner: Arc<Inner>,
    shared: Arc<Shared>,
    mut mailbox: mpsc::Receiver<Box<Command>>,
    birth: Option<Birth>,
) {
    let loaded = match Box::pin(load::load(&inner, &shared, birth)).await {
        Ok(loaded) => loaded,
        Err(fault) => {
            refuse_all(&shared, &mut mailbox, &fault).await;
            return;
        }
    };
    let first = loaded.first;
    let mut actor = Actor {
        inner,
        shared,
        mailbox,
        has_open_work: loaded.state.open_turns() > 0,
        inherited: loaded.state.last_turn(),
        attended: None,
        guided: None,
        journal: loaded.journal,
        state: loaded.state,
        surroundings: None,
        pinned: None,
        decisions: HashMap::new(),
        asking_agents: BTreeSet::new(),
        timed: None,
        meter: Meter::default(),
    };
    let stop = match actor.live(first, loaded.prompt).await {
        Ok(never) => match never {},
        Err(stop) => stop,
    };
    let Actor { shared, mut mailbox, .. } = actor;
    match stop {
        // A command may have slipped in while the actor made up its mind: it is told to come again.
        Stop::Rest | Stop::Shutdown => refuse_all(&shared, &mut mailbox, &faults::stopping()).await,
        Stop::Fault(fault) => refuse_all(&shared, &mut mailbox, &fault).await,
    }
}

async fn refuse_all(shared: &Shared, mailbox: &mut mpsc::Receiver<Box<Command>>, fault: &Fault) {
    shared.end(fault.clone());
    mailbox.close();
    while let Some(command) = mailbox.recv().await {
        command.refuse(fault.clone());
    }
}

impl Actor {
    /// PERF: a session mostly waits for the next prompt, with nothing but its state. What works for it has room of its
    /// own while it does: with its socket a session takes 20 KiB where it took 35 (`are bench --case idle`).
    async fn live(
        &mut self,
        mut first: Batch,
        prompt: Option<Box<Prompting>>,
    ) -> Result<std::convert::Infallible, Stop> {
        if let Some(prompt) = prompt {
            first.append(self.start_turn(*prompt));
        }
        let mut outcome = Box::pin(self.commit(first)).await?;
        loop {
            outcome = match outcome.action.clone() {
                Action::Idle => self.idle().await?,
                Action::AwaitModel => match outcome.request.take() {
                    Some(request) => match self.state.running().and_then(Turn::open_compaction) {
                        Some(_) => Box::pin(self.summarise(*request)).await?,
                        None => Box::pin(self.stream_model(*request)).await?,
                    },
                    // Only a resumed turn is without its request, and resuming derives a new one.
                    None => return Err(faults::internal().into()),
                },
                Action::AwaitPlan => match outcome.request.take() {
                    Some(request) => Box::pin(self.ask_plan(*request)).await?,
                    // As above.
                    None => return Err(faults::internal().into()),
                },
                Action::RunTools(calls) => Box::pin(self.run_tools(calls, outcome.receipt.take())).await?,
                Action::AwaitApproval => Box::pin(self.await_approval()).await?,
                Action::AwaitRoom(until_ms) => Box::pin(self.await_room(until_ms)).await?,
            };
        }
    }

    /// Waits for a command while no turn is open.
    async fn idle(&mut self) -> Result<Outcome, Stop> {
        self.surroundings = None;
        self.pinned = None;
        self.decisions.clear();
        self.asking_agents.clear();
        self.timed = None;
        self.tell_asking();
        let mut has_ring = true;
        loop {
            // Receiving from a channel, a cancelled token and a timer are all cancel-safe.
            tokio::select! {
                command = self.mailbox.recv() => {
                    let Some(command) = command else { return Err(Stop::Rest) };
                    if let Some(outcome) = Box::pin(self.obey(command)).await? {
                        return Ok(outcome);
                    }
                }
                () = self.inner.stopping.cancelled() => return Err(Stop::Shutdown),
                // Readers take the end of the turn from the ring, not from the disk, before it is freed.
                () = tokio::time::sleep(RING_REST_AFTER), if has_ring => {
                    self.shared.rest();
                    has_ring = false;
                }
                () = tokio::time::sleep(REST_AFTER), if !has_ring && !self.shared.has_readers() => {
                    if self.mailbox.is_empty() && !self.shared.has_readers() {
                        return Err(Stop::Rest);
                    }
                }
            }
        }
    }

    /// Appends a batch with everything that follows from it, publishes it, answers who waits.
    async fn commit(&mut self, batch: Batch) -> Result<Outcome, Stop> {
        let Batch { account, drafts, changes, replies, via, may_be_refused } = batch;
        let at_ms = self.inner.ports.clock.now_ms().max(self.state.last_at_ms);
        // The batch's own changes come first: a session is created before anything else of it.
        let mut sealed = Sealed { changes, ..Sealed::default() };
        let first_seq = self.journal.sealed.seq + 1;
        for (index, draft) in drafts.into_iter().enumerate() {
            let reply = replies.iter().find(|(of, _)| *of == index);
            let via = reply.map_or(via.as_ref(), |(_, reply)| reply.via());
            self.take_in(&mut sealed, draft, (&account, via), at_ms)?;
        }
        self.read_guide(&mut sealed, &account, at_ms).await?;
        self.recall().await?;
        self.load_limits(at_ms).await?;
        let (action, request) = self.derive(&mut sealed, &account, at_ms)?;
        self.note_attendance();
        self.keep_deadline();
        self.tell_asking();
        let has_open_work = self.state.open_turns() > 0;
        if has_open_work != self.has_open_work {
            sealed.changes.push(Change::OpenWork(has_open_work));
        }
        if sealed.rows.is_empty() {
            return Ok(Outcome { action, request, receipt: None });
        }
        let owner = self.owner()?;
        let (meter, used) = self.measure(&sealed);
        sealed.changes.extend(limits::changes(&owner, &used));
        let durability = durability_of(&sealed, &action);
        let receipt = match self.append(&sealed, durability, may_be_refused).await {
            Ok(receipt) => receipt,
            Err(error) => {
                self.inner.limiter.settle(&owner, &sealed.reserved, &[], at_ms);
                return self.refused(error, replies).await;
            }
        };
        self.meter = meter;
        self.inner.limiter.settle(&owner, &sealed.reserved, &used, at_ms);
        self.has_open_work = has_open_work;
        self.remember_objects(&sealed);
        if let Some(facts) = &self.state.facts {
            self.inner.inbox.publish(&facts.owner, self.shared.key, &sealed.entries);
        }
        self.stop_agents(&sealed.entries);
        self.forget_answers(&sealed.entries)?;
        self.tell_stored(sealed.entries);
        for (index, reply) in replies {
            reply.send(first_seq + index as u64);
        }
        Ok(Outcome { action, request, receipt: Some(receipt) })
    }

    /// Hands stored entries to readers, and before that to whoever looks at them.
    fn tell_stored(&self, entries: Vec<(usize, Entry)>) {
        for observer in self.inner.observers.load().iter() {
            observer.stored(self.shared.key, &self.state, &entries);
        }
        self.shared.publish(entries);
    }

    /// What a deleted session was answered is given to nobody again.
    fn forget_answers(&self, entries: &[(usize, Entry)]) -> Result<(), Stop> {
        let is_deleted =
            |entry: &Entry| matches!(entry, Entry::Record(record, _) if matches!(record.body, Body::SessionDeleted {}));
        if let Some(answers) = self.inner.answers.as_ref().filter(|_| entries.iter().any(|(_, one)| is_deleted(one))) {
            answers.forget(&self.owner()?);
        }
        Ok(())
    }

    /// A batch that could not be appended: its senders hear why, and the state is read anew.
    async fn refused(&mut self, error: StoreError, replies: Vec<(usize, Reply)>) -> Result<Outcome, Stop> {
        let can_go_on =
            matches!(error, StoreError::Full | StoreError::RequestTaken { .. }) && self.journal.stored.seq > 0;
        for (_, reply) in replies {
            reply.refuse(&error);
        }
        if !can_go_on {
            return Err(faults::store(error).into());
        }
        let fresh = read_state(self.inner.ports.store.as_ref(), self.shared.key).await?;
        self.state = fresh.state;
        self.journal.sealed = self.journal.stored;
        let mut none = Sealed::default();
        let account = self.owner()?;
        self.recall().await?;
        // The stored journal ends where the machine wants an action, so nothing is derived here.
        let (action, request) = self.derive(&mut none, &account, self.state.last_at_ms)?;
        Ok(Outcome { action, request, receipt: None })
    }

    /// What takes the values that must not be repeated out of the session's texts.
    fn scrubber(&self) -> Scrubber {
        match &self.state.facts {
            Some(facts) => self.inner.vault.scrubber(&facts.owner),
            None => self.inner.vault.base_scrubber().clone(),
        }
    }

    fn owner(&self) -> Result<AccountId, Stop> {
        self.state.facts.as_ref().map(|facts| facts.owner.clone()).ok_or_else(|| faults::internal().into())
    }

    fn take_in(
        &mut self,
        sealed: &mut Sealed,
        draft: Draft,
        who: (&AccountId, Option<&Via>),
        at_ms: u64,
    ) -> Result<(), Stop> {
        self.journal.seal(sealed, draft, who, at_ms).map_err(faults::corrupt)?;
        if let Some((_, entry)) = sealed.entries.last() {
            self.state.apply(entry);
        }
        Ok(())
    }

    fn derive(
        &mut self,
        sealed: &mut Sealed,
        account: &AccountId,
        at_ms: u64,
    ) -> Result<(Action, Option<Box<ModelRequest>>), Stop> {
        let mut request = None;
        // One set of rules, and one membership, for all that follows from one cause.
        let rules = self.inner.rules.load_full();
        let member = self.member(account);
        for _ in 0..DERIVED_MAX {
            let Some(turn) = self.state.running() else { return Ok((Action::Idle, None)) };
            let (turn_no, speaker) = (turn.no, turn.account.clone());
            let speaker = if speaker == *account { account } else { &speaker };
            let next = match self.next(&rules, &member, at_ms) {
                Ok(next) => next,
                Err(fault) => {
                    let payload = machine::failure(&fault, machine::system_label(), None);
                    let body = Body::TurnFailed { code: fault.code, frames: None };
                    let draft = Draft { turn: Some(turn_no), body, payload: Some(payload) };
                    self.take_in(sealed, draft, (speaker, None), at_ms)?;
                    continue;
                }
            };
            if let Next::Derive(draft) | Next::Request(draft, _) = &next
                && let Some(refusal) = self.reserve_room(sealed, draft, at_ms)?
            {
                self.take_in(sealed, refusal, (speaker, None), at_ms)?;
                continue;
            }
            match next {
                Next::Do(action) => return Ok((action, request)),
                Next::Derive(draft) => {
                    if matches!(draft.body, Body::DirectRequested { .. }) {
                        let around = self.surroundings.as_ref();
                        sealed.changes.extend(around.into_iter().flat_map(|around| around.new_objects(&self.inner)));
                        self.pinned = around.map(Surroundings::pin);
                    }
                    self.take_in(sealed, *draft, (speaker, None), at_ms)?;
                }
                Next::Decide(draft, decision) => {
                    if let Body::Decision { call, .. } = draft.body {
                        self.decisions.insert(call, *decision);
                    }
                    self.take_in(sealed, *draft, (speaker, None), at_ms)?;
                }
                Next::Request(draft, built) => {
                    let around = self.surroundings.as_ref();
                    sealed.changes.extend(around.into_iter().flat_map(|around| around.new_objects(&self.inner)));
                    self.pinned = around.map(Surroundings::pin);
                    self.take_in(sealed, *draft, (speaker, None), at_ms)?;
                    request = Some(built);
                }
            }
        }
        tracing::error!(session = %self.shared.key, "the turn machine does not settle");
        Err(faults::internal().into())
    }

    /// The standing of the account that owns the session.
    fn member(&self, or: &AccountId) -> Member {
        self.inner.accounts.member(self.state.facts.as_ref().map_or(or, |facts| &facts.owner))
    }

    /// What follows for the running turn.
    fn next(&mut self, rules: &Arc<Rules>, member: &Member, at_ms: u64) -> Result<Next, Fault> {
        // Nothing goes on for an account that is gone, however the turn came to be here.
        let membership = member.membership().ok_or_else(faults::account_gone)?;
        // The undoing of a turn needs no model, so it must not fail where none can be had.
        if let Some(turn) = self.state.running().filter(|turn| turn.undo.is_some()) {
            let under = (rules.as_ref(), rules.digest(), membership.as_ref());
            return machine::undo::next(&self.state, turn, under).ok_or_else(faults::internal);
        }
        self.surround(rules, membership)?;
        let around = self.surroundings.as_ref().ok_or_else(faults::internal)?;
        Ok(machine::next(&self.state, &around.env(self.pinned(), at_ms)))
    }

    /// What the open step of the running turn was asked under; nothing before its first request.
    fn pinned(&self) -> Option<&Pinned> {
        let under = self.state.running()?.under.as_ref()?;
        self.pinned.as_ref().filter(|pinned| pinned.is_of(under))
    }

    /// Reads what the open step was asked under where it is not at hand: after a restart.
    async fn recall(&mut self) -> Result<(), Stop> {
        let under = self.state.running().filter(|turn| turn.undo.is_none()).and_then(|turn| turn.under.as_ref());
        if let Some(under) = under.filter(|_| self.pinned().is_none()) {
            self.pinned = Some(replay::pinned(self.inner.ports.store.as_ref(), under.clone()).await?);
        }
        Ok(())
    }

    /// Makes the surroundings those of the running turn, under `rules`.
    fn surround(&mut self, rules: &Arc<Rules>, membership: &Arc<Membership>) -> Result<(), Fault> {
        let (Some(turn), Some(facts)) = (self.state.running(), &self.state.facts) else { return Ok(()) };
        let before = self.surroundings.as_ref();
        if let Some(around) = Surroundings::of(&self.inner, (rules, membership), (&self.state, turn), facts, before)? {
            self.surroundings = Some(around);
        }
        Ok(())
    }

    /// Appends; while the disk is full, a turn waits, commands are refused, and looking is answered.
    async fn append(
        &mut self,
        sealed: &Sealed,
        durability: Durability,
        may_be_refused: bool,
    ) -> Result<Receipt, StoreError> {
        loop {
            match self.journal.append(sealed, durability).await {
                Err(StoreError::Full) if !may_be_refused => {}
                other => return other,
            }
            tracing::warn!(session = %self.shared.key, "no space left: the turn waits for it");
            let until = Instant::now() + Duration::from_millis(FULL_RETRY_MS);
            loop {
                // Receiving from a channel, a cancelled token and a timer are all cancel-safe.
                tokio::select! {
                    command = self.mailbox.recv() => match command.map(|command| *command) {
                        Some(Command::View { until, tx }) => {
                            // This state is ahead of the store; whoever looks sees what is stored.
                            let stored = read_state(self.inner.ports.store.as_ref(), self.shared.key).await;
                            // silent-ok: the client left; it only wanted to look.
                            let _sent = tx.send(stored.map(|fresh| View::of(&fresh.state, self.shared.key, until)));
                        }
                        Some(command) => command.refuse(faults::store(StoreError::Full)),
                        None => return Err(StoreError::Full),
                    },
                    () = self.inner.stopping.cancelled() => return Err(StoreError::Full),
                    () = tokio::time::sleep_until(until) => break,
                }
            }
        }
    }

    fn remember_objects(&self, sealed: &Sealed) {
        self.inner.remember_objects(sealed.changes.iter().filter_map(|change| match change {
            Change::PutObject(digest, _) => Some(*digest),
            _ => None,
        }));
    }
}

/// An intent without effect need not wait for the disk; everything else does, outcomes committed with it included.
fn durability_of(sealed: &Sealed, action: &Action) -> Durability {
    let must_last = sealed.entries.iter().any(|(_, entry)| match entry {
        Entry::Record(record, _) => match &record.body {
            Body::ToolStarted { effect, .. } => *effect != are_core::body::Effect::None,
            Body::TurnStarted { .. }
            | Body::Steered { .. }
            | Body::ApprovalRequested { .. }
            | Body::ApprovalResolved { .. }
            | Body::TurnParked { .. }
            | Body::TurnCancelled {}
            | Body::CompactionUndone {}
            | Body::VariableSet { .. }
            | Body::MemoryAdded { .. }
            | Body::Artifact { .. }
            // An outcome that is lost would make a call that is over unknown, or run it again.
            | Body::ToolCompleted { .. }
            | Body::ToolFailed { .. }
            | Body::ToolUnknown { .. } => true,
            _ => false,
        },
        Entry::Frame(..) => false,
    });
    if matches!(action, Action::RunTools(_)) && !must_last { Durability::Written } else { Durability::Durable }
}

impl Batch {
    pub(crate) fn new(account: AccountId, drafts: Vec<Draft>) -> Self {
        Self { account, drafts, changes: Vec::new(), replies: Vec::new(), via: None, may_be_refused: false }
    }

    fn append(&mut self, mut other: Self) {
        let offset = self.drafts.len();
        self.drafts.append(&mut other.drafts);
        self.changes.append(&mut other.changes);
        self.replies.extend(other.replies.into_iter().map(|(index, reply)| (index + offset, reply)));
        self.may_be_refused |= other.may_be_refused;
    }
}

/// Digests of objects that the store has.
pub(crate) type KnownObjects = HashSet<are_core::digest::Digest>;

//! Starting an actor: a new session, or the fold of a stored one.

use std::sync::Arc;

use are_core::account::Via;
use are_core::body::{Body, FrameRange};
use are_core::digest::{Digest, Rolling};
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, AgentName, CallNo, Fence, Seq, SessionKey};
use are_core::journal::{Draft, Entry, Frame, Head, Reader};
use are_core::payload::Payload;
use are_core::store::{Change, SessionRow, Store, StoreError};

use super::{Batch, Prompting};
use crate::engine::{Inner, is_awaited};
use crate::faults;
use crate::journal::Journal;
use crate::rights::Rights;
use crate::state::{Phase, State};
use crate::tail::Shared;

/// Rows of one page while folding.
const PAGE_ROWS: u32 = 4096;
/// Bytes of one page while folding.
const PAGE_BYTES: usize = 4 << 20;
/// Forks of forks of forks are followed this deep.
const FORKS_MAX: usize = 64;

/// A session that does not exist yet.
pub(crate) struct Birth {
    pub(crate) owner: AccountId,
    /// By whose token it is begun, where that is another account's.
    pub(crate) via: Option<Via>,
    pub(crate) agent: AgentName,
    pub(crate) workspace: String,
    pub(crate) parent: Option<(SessionKey, Seq)>,
    /// Session and call that its agent works for, and what it may do at most.
    pub(crate) child: Option<((SessionKey, CallNo), Rights)>,
    /// Session variables taken over from the parent.
    pub(crate) variables: Vec<(Draft, Change)>,
    /// The first prompt, appended together with the first record.
    pub(crate) prompt: Option<Box<Prompting>>,
}

pub(super) struct Loaded {
    pub(super) journal: Journal,
    pub(super) state: State,
    pub(super) first: Batch,
    pub(super) prompt: Option<Box<Prompting>>,
}

/// A state read from the store, with what a crash left open.
pub(crate) struct Fresh {
    pub(crate) state: State,
    pub(crate) head: Head,
    open_frames: Vec<OpenFrame>,
}

/// A frame that no record has bound yet.
struct OpenFrame {
    seq: Seq,
    bytes: Vec<u8>,
    /// The call whose output it is.
    call: Option<CallNo>,
}

pub(super) async fn load(inner: &Arc<Inner>, shared: &Shared, birth: Option<Birth>) -> Result<Loaded, Fault> {
    match birth {
        Some(birth) => be_born(inner, shared, birth).await,
        None => wake(inner, shared).await,
    }
}

async fn be_born(inner: &Arc<Inner>, shared: &Shared, birth: Birth) -> Result<Loaded, Fault> {
    let now_ms = inner.ports.clock.now_ms();
    let mut state = State::default();
    if let Some((parent, until)) = birth.parent {
        state = ancestry(inner.ports.store.as_ref(), parent, until).await?;
        state.start_over_as_fork();
    }
    let delimiter: String = inner.ports.clock.random()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    let body = Body::SessionCreated {
        owner: birth.owner.clone(),
        agent: birth.agent.clone(),
        parent: birth.parent,
        child_of: birth.child.as_ref().map(|(child_of, _)| *child_of),
        engine: inner.settings.version.clone(),
    };
    let payload = Payload::Created {
        workspace: birth.workspace.clone(),
        delimiter: format!("data-{delimiter}"),
        rights: birth.child.as_ref().map(|(_, rights)| rights.to_value()),
    };
    let row = SessionRow {
        key: shared.key,
        owner: birth.owner.clone(),
        agent: birth.agent.clone(),
        workspace: birth.workspace,
        fence: 1,
        epoch: 0,
        head: Head::EMPTY,
        last_account_id: birth.owner.clone(),
        last_thread_id: None,
        title: String::new(),
        turns: 0,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
        is_deleted: false,
    };
    let mut first = Batch::new(birth.owner.clone(), vec![Draft { turn: None, body, payload: Some(payload) }]);
    first.changes.push(Change::CreateSession(Box::new(row)));
    for (draft, change) in birth.variables {
        first.drafts.push(draft);
        first.changes.push(change);
    }
    first.via = birth.via;
    first.may_be_refused = true;
    inner.know(shared, birth.owner);
    let journal = journal(inner, shared.key, birth.agent.as_str(), Some(1), Head::EMPTY);
    Ok(Loaded { journal, state, first, prompt: birth.prompt })
}

async fn wake(inner: &Arc<Inner>, shared: &Shared) -> Result<Loaded, Fault> {
    let store = inner.ports.store.as_ref();
    let (row, fence) = take(store, shared.key).await.map_err(faults::store)?;
    let fresh = read_state(store, shared.key).await?;
    if fresh.head != row.head {
        return Err(Fault::new(
            Code::SESSION_CORRUPT,
            format!("session {} ends at entry {}, its row says {}", shared.key, fresh.head.seq, row.head.seq),
            "the session is closed to keep the evidence; other sessions are not touched; restore it from a backup",
        ));
    }
    inner.know(shared, row.owner.clone());
    settle(inner, &fresh.state, &row).await;
    shared.epoch.get_or_init(|| row.epoch);
    shared.start_at(row.head.seq);
    let mut first = resume(inner, &fresh, &row.owner);
    if let Some(over) = nobody_waits(inner, &fresh.state).await? {
        first.drafts.push(over);
    }
    let journal = journal(inner, shared.key, row.agent.as_str(), fence, row.head);
    Ok(Loaded { journal, state: fresh.state, first, prompt: None })
}

/// Has found out what interrupted calls changed, before anything else changes files of the session.
async fn settle(inner: &Inner, state: &State, row: &SessionRow) {
    let (Some(turn), Some(checkpoints)) = (state.running(), inner.ports.tools.checkpoints()) else { return };
    let begun = turn.calls().filter(|step| matches!(step.phase, Phase::Started { .. })).map(|step| step.no);
    for call in begun {
        if let Err(fault) = checkpoints.settle(row.key, row.workspace.clone().into(), call).await {
            // Its outcome is unknown in any case; then also what it changed is.
            tracing::warn!(session = %row.key, call, %fault, "what an interrupted call changed is not known");
        }
    }
}

/// Takes the session. On a full disk it is only read, and taken before the first append.
async fn take(store: &dyn Store, session: SessionKey) -> Result<(SessionRow, Option<Fence>), StoreError> {
    match store.claim(session).await {
        Err(StoreError::Full) => {
            let row = store.session(session).await?;
            if row.is_deleted { Err(StoreError::NotFound) } else { Ok((row, None)) }
        }
        claimed => claimed.map(|row| {
            let fence = row.fence;
            (row, Some(fence))
        }),
    }
}

/// What a restart adds: nothing, or that an open turn goes on.
fn resume(inner: &Inner, fresh: &Fresh, owner: &AccountId) -> Batch {
    let open = fresh.state.running().filter(|turn| !turn.is_parked || !fresh.open_frames.is_empty());
    // A parked turn is left as it is: nothing of it was interrupted, and nothing goes on before an answer.
    let Some(turn) = open else { return Batch::new(owner.clone(), Vec::new()) };
    let nonce = inner.ports.clock.random();
    let mut rolling = Rolling::new(&nonce);
    for frame in &fresh.open_frames {
        rolling.push(&frame.bytes);
    }
    let frames = match (fresh.open_frames.first(), fresh.open_frames.last()) {
        (Some(first), Some(last)) => Some(FrameRange { first: first.seq, last: last.seq, digest: rolling.finish() }),
        _ => None,
    };
    let gap_ms = inner.ports.clock.now_ms().saturating_sub(fresh.state.last_at_ms);
    let payload = frames.map(|_| Payload::Nonce { nonce: Digest(nonce).to_string() });
    let draft = Draft { turn: Some(turn.no), body: Body::TurnResumed { gap_ms, frames }, payload };
    Batch::new(turn.account.clone(), vec![draft])
}

/// The end of the turn of an agent whose call is over: what began it ended while neither was in memory.
async fn nobody_waits(inner: &Inner, state: &State) -> Result<Option<Draft>, Fault> {
    let child_of = state.facts.as_ref().and_then(|facts| facts.child_of);
    let (Some(child_of), Some(turn)) = (child_of, state.running().filter(|turn| turn.is_delegated)) else {
        return Ok(None);
    };
    if is_awaited(inner.ports.store.as_ref(), child_of).await? {
        return Ok(None);
    }
    Ok(Some(Draft { turn: Some(turn.no), body: Body::TurnCancelled {}, payload: None }))
}

fn journal(inner: &Inner, session: SessionKey, agent: &str, fence: Option<Fence>, head: Head) -> Journal {
    Journal {
        store: Arc::clone(&inner.ports.store),
        clock: Arc::clone(&inner.ports.clock),
        session,
        agent_id: agent.to_owned(),
        fence,
        stored: head,
        sealed: head,
    }
}

/// Folds a stored session, its ancestors first, and verifies the chain on the way.
pub(crate) async fn read_state(store: &dyn Store, session: SessionKey) -> Result<Fresh, Fault> {
    let mut fresh = Fresh { state: State::default(), head: Head::EMPTY, open_frames: Vec::new() };
    let mut reader = Reader::new(session, Head::EMPTY);
    loop {
        let rows = store.read(session, reader.head().seq, PAGE_ROWS, PAGE_BYTES).await.map_err(faults::store)?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let entry = reader.next(&row).map_err(faults::corrupt)?;
            if let Entry::Record(record, _) = &entry
                && let Body::SessionCreated { parent: Some((parent, until)), .. } = &record.body
            {
                fresh.state = ancestry(store, *parent, *until).await?;
                fresh.state.start_over_as_fork();
            }
            match &entry {
                Entry::Frame(seq, frame) => {
                    let call = match frame {
                        Frame::ToolOutput { call, .. } => Some(*call),
                        Frame::Token { .. } | Frame::Reasoning { .. } => None,
                    };
                    fresh.open_frames.push(OpenFrame { seq: *seq, bytes: row.bytes, call });
                }
                Entry::Record(record, _) => close_frames(&record.body, &mut fresh.open_frames),
            }
            fresh.state.apply(&entry);
        }
    }
    fresh.head = reader.head();
    Ok(fresh)
}

/// The state of a session up to and including `until`, with that of its own ancestors.
pub(crate) async fn ancestry(store: &dyn Store, session: SessionKey, until: Seq) -> Result<State, Fault> {
    let mut line = vec![(session, until)];
    while let Some((oldest, _)) = line.last().copied() {
        let Some(parent) = parent_of(store, oldest).await? else { break };
        line.push(parent);
        if line.len() > FORKS_MAX {
            return Err(Fault::new(
                Code::SESSION_LIMIT,
                format!("the fork is {FORKS_MAX} forks deep"),
                "start a new session",
            ));
        }
    }
    let mut state = State::default();
    while let Some((session, until)) = line.pop() {
        state.start_over_as_fork();
        if store.session(session).await.map_err(faults::store)?.is_deleted {
            continue;
        }
        let mut reader = Reader::new(session, Head::EMPTY);
        'pages: loop {
            let rows = store.read(session, reader.head().seq, PAGE_ROWS, PAGE_BYTES).await.map_err(faults::store)?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                if row.seq > until {
                    break 'pages;
                }
                state.apply(&reader.next(&row).map_err(faults::corrupt)?);
            }
        }
    }
    Ok(state)
}

async fn parent_of(store: &dyn Store, session: SessionKey) -> Result<Option<(SessionKey, Seq)>, Fault> {
    let rows = store.read(session, 0, 1, PAGE_BYTES).await.map_err(faults::store)?;
    let Some(row) = rows.first() else { return Ok(None) };
    let entry = Reader::new(session, Head::EMPTY).next(row).map_err(faults::corrupt)?;
    Ok(match entry {
        Entry::Record(record, _) => match record.body {
            Body::SessionCreated { parent, .. } => parent,
            _ => None,
        },
        Entry::Frame(..) => None,
    })
}

/// Drops what a record binds. An outcome binds its own call's output: the call that made it may still be speaking.
fn close_frames(body: &Body, open: &mut Vec<OpenFrame>) {
    match body {
        Body::ModelCompleted { .. } | Body::ModelFailed { .. } | Body::TurnResumed { .. } | Body::TurnFailed { .. } => {
            open.clear()
        }
        Body::ToolCompleted { call, .. } | Body::ToolFailed { call, .. } | Body::ToolUnknown { call, .. } => {
            open.retain(|frame| frame.call != Some(*call));
        }
        _ => {}
    }
}

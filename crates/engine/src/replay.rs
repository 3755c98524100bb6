//! A session played again from its own inputs.
//!
//! Every derived record must come out byte for byte; the first that does not
//! is named. The chain is verified on the way, so a replay that finds no
//! difference also shows that nothing was edited.

use std::collections::HashMap;
use std::sync::Arc;

use are_core::account::Membership;
use are_core::body::{Body, Conditions};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{CallNo, SessionKey};
use are_core::journal::{Draft, Entry, Head, Reader, Record};
use are_core::payload::Payload;
use are_core::store::{Store, StoreError};
use are_policy::manifest::ToolSet;
use are_policy::rules::Rules;
use serde::de::DeserializeOwned;

use crate::api::{Agent, Difference, ReplayReport};
use crate::context::Setting;
use crate::faults;
use crate::machine::{self, Env, Next, Pinned, check};
use crate::state::{CallStep, State};

/// Rows of one page.
const PAGE_ROWS: u32 = 2048;
/// Bytes of one page.
const PAGE_BYTES: usize = 4 << 20;

/// Everything a stretch of records was made under.
struct Under {
    conditions: Conditions,
    agent: Agent,
    rules: Arc<Rules>,
    tools: ToolSet,
    setting: Setting,
}

/// Replays `session`; with `version`, records of turns that another engine version wrote are only verified.
pub(crate) async fn run(
    store: &dyn Store,
    session: SessionKey,
    rules: Option<Arc<Rules>>,
    version: Option<&str>,
) -> Result<ReplayReport, Fault> {
    let records = read_all(store, session).await?;
    let mut report =
        ReplayReport { session, records: 0, derived: 0, verified_only: 0, head: records.head.hash, difference: None };
    let mut player = Player { store, rules, state: records.start, under: HashMap::new() };
    let ahead = Ahead::of(&records.entries);
    for (index, entry) in records.entries.iter().enumerate() {
        if let Entry::Record(record, payload) = entry {
            report.records += 1;
            match player.check(record, payload.as_ref(), ahead.at(index), version).await? {
                Checked::Input => {}
                Checked::Regenerated => report.derived += 1,
                Checked::VerifiedOnly => report.verified_only += 1,
                Checked::Differs(difference) => {
                    report.difference = Some(difference);
                    return Ok(report);
                }
            }
        }
        player.state.apply(entry);
    }
    Ok(report)
}

struct All {
    start: State,
    entries: Vec<Entry>,
    head: Head,
}

async fn read_all(store: &dyn Store, session: SessionKey) -> Result<All, Fault> {
    let mut reader = Reader::new(session, Head::EMPTY);
    let mut entries = Vec::new();
    loop {
        let rows = store.read(session, reader.head().seq, PAGE_ROWS, PAGE_BYTES).await.map_err(faults::store)?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            entries.push(reader.next(row).map_err(faults::corrupt)?);
        }
    }
    let mut start = State::default();
    if let Some(Entry::Record(record, _)) = entries.first()
        && let Body::SessionCreated { parent: Some((parent, until)), .. } = record.body
    {
        start = crate::actor::ancestry(store, parent, until).await?;
        start.start_over_as_fork();
    }
    Ok(All { start, entries, head: reader.head() })
}

/// For each entry the conditions that the next request names, and the account's membership: what the records up to it
/// were derived under.
struct Ahead {
    by_index: Vec<Option<Conditions>>,
    memberships: Vec<Arc<Membership>>,
}

impl Ahead {
    fn of(entries: &[Entry]) -> Self {
        let mut by_index = vec![None; entries.len()];
        // What a call is asked about and started under are the rules of its own last decision.
        let mut decided: HashMap<CallNo, (Digest, Arc<Membership>)> = HashMap::new();
        let mut member = Arc::<Membership>::default();
        let mut memberships = Vec::with_capacity(entries.len());
        // Within a turn the latest known conditions hold until another request names others.
        let mut last: Option<Conditions> = None;
        for (index, entry) in entries.iter().enumerate() {
            if let Entry::Record(record, _) = entry {
                match (&record.body, &mut last) {
                    (
                        Body::ModelRequested { conditions, .. }
                        | Body::CompactionRequested { conditions, .. }
                        | Body::DirectRequested { conditions },
                        _,
                    ) => {
                        last = Some(conditions.clone());
                    }
                    // A decision names the rules and the membership of its own moment.
                    (Body::Decision { call, policy, membership, .. }, Some(last)) => {
                        last.policy = *policy;
                        changed(&mut member, membership);
                        decided.insert(*call, (*policy, Arc::clone(&member)));
                    }
                    (Body::ApprovalWithdrawn { policy, membership, .. }, Some(last)) => {
                        last.policy = *policy;
                        changed(&mut member, membership);
                    }
                    (Body::ApprovalRequested { call, .. } | Body::ToolStarted { call, .. }, Some(last)) => {
                        if let Some((policy, membership)) = decided.get(call) {
                            last.policy = *policy;
                            member = Arc::clone(membership);
                        }
                    }
                    _ => {}
                }
            }
            memberships.push(Arc::clone(&member));
            by_index[index].clone_from(&last);
        }
        let mut next: Option<Conditions> = None;
        for index in (0..entries.len()).rev() {
            if let Entry::Record(record, _) = &entries[index] {
                match &record.body {
                    Body::ModelRequested { conditions, .. }
                    | Body::CompactionRequested { conditions, .. }
                    | Body::DirectRequested { conditions } => {
                        next = Some(conditions.clone());
                    }
                    // No request came of what was derived before it, so nobody knows under what.
                    Body::LimitReached { call: None, .. } => next = None,
                    body if body.ends_turn() => next = None,
                    _ => {}
                }
                // What is derived just before a request is derived under that request's conditions.
                if matches!(
                    record.body,
                    Body::ContextTrimmed { .. }
                        | Body::ResultsShortened { .. }
                        // A doubt is about the answer before.
                        | Body::Strategy { checks: false, .. }
                        | Body::ModelRestarted { .. }
                ) {
                    by_index[index].clone_from(&next);
                }
            }
        }
        Self { by_index, memberships }
    }

    fn at(&self, index: usize) -> (Option<&Conditions>, &Membership) {
        (self.by_index[index].as_ref(), &self.memberships[index])
    }
}

/// Shared while it stays the same, which is nearly always.
fn changed(member: &mut Arc<Membership>, now: &Membership) {
    if **member != *now {
        *member = Arc::new(now.clone());
    }
}

enum Checked {
    Input,
    Regenerated,
    VerifiedOnly,
    Differs(Difference),
}

struct Player<'a> {
    store: &'a dyn Store,
    rules: Option<Arc<Rules>>,
    state: State,
    under: HashMap<(Digest, Digest, Digest, Digest), Under>,
}

impl Player<'_> {
    async fn check(
        &mut self,
        record: &Record,
        payload: Option<&Payload>,
        (conditions, membership): (Option<&Conditions>, &Membership),
        version: Option<&str>,
    ) -> Result<Checked, Fault> {
        let Some(conditions) = conditions.filter(|_| self.state.running().is_some()) else { return Ok(Checked::Input) };
        let conditions = conditions.clone();
        let key = (conditions.agent, conditions.policy, conditions.tools, conditions.setting);
        if !self.under.contains_key(&key) {
            let under = self.load(conditions).await?;
            self.under.insert(key, under);
        }
        let Some(under) = self.under.get(&key) else { return Err(faults::internal()) };
        if version.is_some_and(|version| version != under.setting.engine) {
            return Ok(if is_input(&record.body) { Checked::Input } else { Checked::VerifiedOnly });
        }
        let env = Env {
            agent: &under.agent,
            rules: &under.rules,
            tools: &under.tools,
            setting: &under.setting,
            conditions: &under.conditions,
            membership,
            // What changed in the middle of a step shows as the refusal of a call, which is an input.
            pinned: None,
            now_ms: u64::try_from(record.timestamp.as_millisecond()).unwrap_or(0),
        };
        let running = self.state.running();
        let undo_under = (under.rules.as_ref(), env.conditions.policy, membership);
        let undoing = running.and_then(|turn| machine::undo::next(&self.state, turn, undo_under));
        Ok(match undoing.unwrap_or_else(|| machine::next(&self.state, &env)) {
            Next::Derive(draft) | Next::Decide(draft, _) | Next::Request(draft, _) => {
                if is_same(&draft, record, payload) {
                    Checked::Regenerated
                } else if comes_between(&self.state, &record.body) {
                    Checked::Input
                } else {
                    Checked::Differs(difference(record, payload, Some(&draft)))
                }
            }
            Next::Do(_) if is_input(&record.body) => Checked::Input,
            Next::Do(_) => Checked::Differs(difference(record, payload, None)),
        })
    }

    async fn load(&self, conditions: Conditions) -> Result<Under, Fault> {
        let rules = match &self.rules {
            Some(rules) => Arc::clone(rules),
            None => {
                let bytes = object(self.store, conditions.policy).await?;
                Arc::new(Rules::from_object(&bytes).map_err(|_| unreadable(conditions.policy))?)
            }
        };
        let Pinned { agent, tools, setting, conditions } = pinned(self.store, conditions).await?;
        let under = Under {
            agent,
            tools,
            setting,
            // Also under other rules the records keep naming the recorded ones: what is looked for is
            // the first record that says something else, not the first that names a digest.
            conditions,
            rules,
        };
        Ok(under)
    }
}

/// What a request was made under, read from the objects that its record names.
pub(crate) async fn pinned(store: &dyn Store, conditions: Conditions) -> Result<Pinned, Fault> {
    let tools = object(store, conditions.tools).await?;
    Ok(Pinned {
        agent: json(store, conditions.agent).await?,
        tools: ToolSet::from_object(&tools).ok_or_else(|| unreadable(conditions.tools))?,
        setting: json(store, conditions.setting).await?,
        conditions,
    })
}

async fn json<T: DeserializeOwned>(store: &dyn Store, digest: Digest) -> Result<T, Fault> {
    serde_json::from_slice(&object(store, digest).await?).map_err(|_| unreadable(digest))
}

async fn object(store: &dyn Store, digest: Digest) -> Result<Vec<u8>, Fault> {
    match store.object(digest).await {
        Ok(bytes) if Digest::of(&[&bytes]) == digest => Ok(bytes),
        Ok(_) | Err(StoreError::NotFound) => Err(unreadable(digest)),
        Err(error) => Err(faults::store(error)),
    }
}

/// True for records that are outcomes or come from outside; the others are derived and must be regenerated byte for byte.
/// What a running call asks for comes from its code, so it is an input.
const fn is_input(body: &Body) -> bool {
    !matches!(
        body,
        Body::ContextTrimmed { .. }
            | Body::ResultsShortened { .. }
            | Body::CompactionRequested { .. }
            | Body::Strategy { .. }
            | Body::DirectRequested { .. }
            | Body::ModelRequested { .. }
            | Body::ModelRestarted { .. }
            | Body::ToolRequested { parent: None, .. }
            | Body::Decision { .. }
            | Body::ApprovalRequested { .. }
            | Body::ApprovalWithdrawn { .. }
            | Body::ToolStarted { .. }
            | Body::TurnCompleted { .. }
    )
}

/// True for inputs that stand in the place of what would have followed: the model could not be had, the user's
/// word, or a finding about it, was appended together with what it cut short, the workspace's guide was read before the
/// first request, several calls that ran ended at once, or the called tool was
/// exchanged before its call began.
fn comes_between(state: &State, body: &Body) -> bool {
    let runs = |call: CallNo| state.running().and_then(|turn| turn.call(call)).is_some_and(CallStep::is_running);
    match body {
        // A check that could not be asked for under what it would have been asked ends the turn with the answer.
        Body::TurnCompleted { .. } => {
            state.running().is_some_and(|turn| check::is_asked(turn) || check::checked(turn).is_some())
        }
        Body::TurnFailed { .. }
        | Body::GuideRead { .. }
        | Body::LimitReached { .. }
        | Body::Steered { .. }
        | Body::Firewall { .. }
        | Body::TurnCancelled {}
        | Body::ToolFailed { code: Code::TOOL_UNKNOWN, .. } => true,
        Body::ToolCompleted { call, .. }
        | Body::ToolFailed { call, .. }
        | Body::ToolUnknown { call, .. }
        | Body::VariableSet { call: Some(call), .. }
        | Body::MemoryAdded { call: Some(call), .. }
        | Body::Artifact { call, .. } => runs(*call),
        _ => false,
    }
}

fn is_same(draft: &Draft, record: &Record, payload: Option<&Payload>) -> bool {
    draft.body == record.body && draft.turn == record.turn && draft.payload.as_ref() == payload
}

fn difference(record: &Record, payload: Option<&Payload>, draft: Option<&Draft>) -> Difference {
    let text =
        |body: &Body, payload: Option<&Payload>| serde_json::json!({ "record": body, "payload": payload }).to_string();
    Difference {
        seq: record.seq,
        action: record.body.action(),
        recorded: text(&record.body, payload),
        regenerated: draft.map_or_else(|| "nothing".to_owned(), |draft| text(&draft.body, draft.payload.as_ref())),
    }
}

fn unreadable(digest: Digest) -> Fault {
    Fault::new(
        Code::SESSION_CORRUPT,
        format!("the object {digest} that a record names is missing or edited"),
        "restore the data directory from a backup",
    )
}

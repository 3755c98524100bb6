//! A store in memory with the real one's semantics, for seeded simulation.
//!
//! It can lose what a power cut loses: everything written since the last
//! durable commit. For that it keeps two states, the one that is served and the
//! one that is synced, and the work that lies between them.
//!
//! It does not model group commit, full disks or damage; see
//! [`FaultStore`](crate::store::FaultStore) for failures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use are_core::BoxFuture;
use are_core::body::Scope;
use are_core::digest::Digest;
use are_core::ids::{AccountId, Epoch, Fence, MemoryId, RequestId, Seq, SessionKey, TurnNo, VariableName};
use are_core::journal::{Class, Row};
use are_core::spent::Spent;
use are_core::store::{
    AccountRow, Append, Change, Durability, Memories, MemoryRow, Receipt, SealedRow, SessionFilter, SessionRow,
    SpentFilter, SpentRow, Store, StoreError, TokenRow, VariableRow,
};
use are_store::append::inspect;
use are_store::tree::{Checkpoint, Grown, Leaf, Page, Stretch, Tree, completed, level_of};

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    disk: Mutex<Disk>,
}

#[derive(Debug)]
struct Disk {
    served: State,
    synced: State,
    /// What was done to `served` and not yet to `synced`; all of it succeeded.
    unsynced: Vec<Work>,
}

#[derive(Debug, Clone)]
enum Work {
    Append(Box<Append>),
    Claim(SessionKey),
    Grow(u32),
    KeepCheckpoint(Checkpoint, u32),
}

/// A variable's name, value and labels, by owner and name.
type Variables<O> = BTreeMap<(O, VariableName), (String, String)>;

#[derive(Debug, Clone, Default)]
struct State {
    epoch: Epoch,
    sessions: BTreeMap<SessionKey, Session>,
    requests: BTreeMap<(AccountId, RequestId), (SessionKey, TurnNo, Digest)>,
    open_work: BTreeSet<SessionKey>,
    session_variables: Variables<SessionKey>,
    account_variables: Variables<AccountId>,
    memories: BTreeMap<u64, (AccountId, MemoryRow)>,
    /// Positions given out, those of forgotten memories too.
    memories_put: u64,
    /// By account, hour, subject and session: the last time, and the sums.
    spent: BTreeMap<(AccountId, u64, String, SessionKey), (u64, Spent)>,
    sealed: BTreeMap<(Option<AccountId>, String), SealedRow>,
    tokens: BTreeMap<String, TokenRow>,
    accounts: BTreeMap<AccountId, AccountRow>,
    objects: BTreeMap<Digest, Vec<u8>>,
    artifacts: BTreeMap<(SessionKey, Digest), (String, Vec<u8>)>,
    /// Records in order of arrival; the first of them are the leaves.
    arrived: Vec<(SessionKey, Seq)>,
    leaves: Vec<Digest>,
    nodes: BTreeMap<u64, Digest>,
    checkpoints: BTreeMap<u64, Checkpoint>,
}

#[derive(Debug, Clone)]
struct Session {
    row: SessionRow,
    rows: BTreeMap<Seq, Row>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        let state = State { epoch: 1, ..State::default() };
        Self { disk: Mutex::new(Disk { served: state.clone(), synced: state, unsynced: Vec::new() }) }
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the next process finds: everything written after a kill; after a
    /// power cut (`lose_unsynced`) only what was synced, under a higher epoch.
    pub fn crash(&self, lose_unsynced: bool) {
        let mut disk = self.lock();
        if lose_unsynced {
            disk.unsynced.clear();
            disk.synced.epoch += 1;
            disk.served = disk.synced.clone();
        }
    }

    /// Entries of a session that a power cut would lose now.
    #[must_use]
    pub fn unsynced(&self, session: SessionKey) -> u64 {
        let disk = self.lock();
        let end = |state: &State| state.sessions.get(&session).map_or(0, |session| session.row.head.seq);
        end(&disk.served) - end(&disk.synced)
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        // A panicking test may hold it; the state is replaced whole, never half.
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<'a, T: Send + 'a>(&self, look: impl FnOnce(&State) -> T) -> BoxFuture<'a, T> {
        let found = look(&self.lock().served);
        Box::pin(std::future::ready(found))
    }
}

impl Disk {
    fn append(&mut self, append: Append) -> Result<Receipt, StoreError> {
        let (fence, last) = self.served.append(&append)?;
        let (session, durability) = (append.session, append.durability);
        self.unsynced.push(Work::Append(Box::new(append)));
        if durability == Durability::Durable {
            // One log: syncing it makes everything before durable too.
            self.sync()?;
        }
        Ok(Receipt::issue(session, fence, last, durability))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        for work in self.unsynced.drain(..) {
            match work {
                Work::Append(append) => self.synced.append(&append).map(drop)?,
                Work::Claim(session) => self.synced.claim(session).map(drop)?,
                Work::Grow(leaves_max) => self.synced.grow(leaves_max).map(drop)?,
                Work::KeepCheckpoint(checkpoint, kept_max) => self.synced.keep_checkpoint(checkpoint, kept_max),
            }
        }
        Ok(())
    }
}

impl State {
    /// Appends, or leaves everything as it is.
    fn append(&mut self, append: &Append) -> Result<(Fence, Seq), StoreError> {
        let creates = inspect(append)?.creates;
        self.check(append, creates.is_some())?;
        if let Some(row) = creates {
            let row = SessionRow { fence: 1, epoch: self.epoch, ..row.clone() };
            self.sessions.insert(append.session, Session { row, rows: BTreeMap::new() });
        }
        let Some(session) = self.sessions.get_mut(&append.session) else {
            return Err(StoreError::NotFound);
        };
        session.row.head = append.head;
        let records = append.rows.iter().filter(|row| row.class == Class::Record);
        self.arrived.extend(records.map(|row| (append.session, row.seq)));
        session.rows.extend(append.rows.iter().map(|row| (row.seq, row.clone())));
        let fence = session.row.fence;
        for change in &append.changes {
            self.apply(append.session, change);
        }
        Ok((fence, append.head.seq))
    }

    /// Everything that can refuse an append.
    fn check(&self, append: &Append, creates: bool) -> Result<(), StoreError> {
        match self.sessions.get(&append.session).map(|session| &session.row) {
            Some(row) if creates => return Err(StoreError::HeadMoved { found: row.head }),
            None if creates => {}
            None => return Err(StoreError::NotFound),
            Some(row) if row.is_deleted => return Err(StoreError::NotFound),
            Some(row) if row.fence != append.fence => return Err(StoreError::Fenced),
            Some(row) if row.head != append.expect => return Err(StoreError::HeadMoved { found: row.head }),
            Some(_) => {}
        }
        let mut claimed = BTreeMap::new();
        let mut tokens: BTreeSet<&str> = self.tokens.keys().map(String::as_str).collect();
        for change in &append.changes {
            match change {
                Change::Request { account, request_id, turn, content } => {
                    let key = (account.clone(), request_id.clone());
                    let taken = self.requests.get(&key).copied().or_else(|| claimed.get(&key).copied());
                    if let Some((session, turn, content)) = taken {
                        return Err(StoreError::RequestTaken { session, turn, content });
                    }
                    claimed.insert(key, (append.session, *turn, *content));
                }
                Change::PutToken(token) => drop(tokens.insert(&token.id)),
                Change::DeleteMemory { account, id } if self.memory(account, id).is_none() => {
                    return Err(StoreError::NotFound);
                }
                Change::RevokeToken(id) if !tokens.contains(id.as_str()) => return Err(StoreError::NotFound),
                _ => {}
            }
        }
        Ok(())
    }

    fn apply(&mut self, key: SessionKey, change: &Change) {
        match change {
            Change::CreateSession(_) => {}
            Change::StartTurn { turn, account, thread, title, at_ms } => {
                if let Some(Session { row, .. }) = self.sessions.get_mut(&key) {
                    row.turns = *turn;
                    row.last_account_id = account.clone();
                    row.last_thread_id = Some(thread.clone());
                    row.updated_at_ms = *at_ms;
                    if row.title.is_empty() {
                        row.title.clone_from(title);
                    }
                }
            }
            Change::Request { account, request_id, turn, content } => {
                self.requests.insert((account.clone(), request_id.clone()), (key, *turn, *content));
            }
            Change::OpenWork(true) => drop(self.open_work.insert(key)),
            Change::OpenWork(false) => drop(self.open_work.remove(&key)),
            Change::Variable { scope: Scope::Session, name, value, .. } => {
                set(&mut self.session_variables, (key, name.clone()), value.clone());
            }
            Change::Variable { scope: Scope::Account, account, name, value } => {
                set(&mut self.account_variables, (account.clone(), name.clone()), value.clone());
            }
            Change::PutMemory { account, row } => {
                self.memories_put += 1;
                let order = self.memories_put;
                self.memories.insert(order, (account.clone(), MemoryRow { order, ..row.clone() }));
            }
            Change::DeleteMemory { account, id } => {
                if let Some(order) = self.memory(account, id) {
                    self.memories.remove(&order);
                }
            }
            Change::EraseMemories(account) => self.memories.retain(|_, (owner, _)| owner != account),
            Change::PutSealed(row) => {
                drop(self.sealed.insert((row.account.clone(), row.name.clone()), row.clone()));
            }
            Change::DropSealed(account, name) => drop(self.sealed.remove(&(account.clone(), name.clone()))),
            Change::Spend(SpentRow { account, subject, at_ms, spent }) => {
                let kept = self.spent.entry((account.clone(), at_ms / HOUR_MS, subject.clone(), key)).or_default();
                *kept = (kept.0.max(*at_ms), kept.1.plus(spent));
            }
            Change::PutToken(token) => drop(self.tokens.insert(token.id.clone(), token.clone())),
            Change::RevokeToken(id) => {
                if let Some(token) = self.tokens.get_mut(id) {
                    token.is_revoked = true;
                }
            }
            Change::PutAccount(account) => drop(self.accounts.insert(account.name.clone(), account.clone())),
            Change::ErasePayloads(entries) => {
                if let Some(session) = self.sessions.get_mut(&key) {
                    let rows = session.rows.iter_mut().filter(|(seq, _)| entries.contains(seq));
                    rows.for_each(|(_, row)| row.payload = None);
                }
            }
            Change::PutObject(digest, bytes) => {
                self.objects.entry(*digest).or_insert_with(|| bytes.clone());
            }
            Change::PutArtifact(digest, media_type, bytes) => {
                self.artifacts.entry((key, *digest)).or_insert_with(|| (media_type.clone(), bytes.clone()));
            }
            Change::Erase => self.erase(key),
        }
    }

    fn erase(&mut self, key: SessionKey) {
        if let Some(Session { row, rows }) = self.sessions.get_mut(&key) {
            row.is_deleted = true;
            row.title.clear();
            row.workspace.clear();
            rows.retain(|_, row| row.class == Class::Record);
            rows.values_mut().for_each(|row| row.payload = None);
        }
        self.session_variables.retain(|(owner, _), _| *owner != key);
        self.artifacts.retain(|(owner, _), _| *owner != key);
        self.open_work.remove(&key);
        self.requests
            .values_mut()
            .filter(|(session, ..)| *session == key)
            .for_each(|(.., content)| *content = Digest::ZERO);
    }

    fn claim(&mut self, key: SessionKey) -> Result<SessionRow, StoreError> {
        match self.sessions.get_mut(&key) {
            Some(session) if !session.row.is_deleted => {
                session.row.fence += 1;
                self.session(key)
            }
            _ => Err(StoreError::NotFound),
        }
    }

    fn session(&self, key: SessionKey) -> Result<SessionRow, StoreError> {
        let session = self.sessions.get(&key).ok_or(StoreError::NotFound)?;
        Ok(SessionRow { epoch: self.epoch, ..session.row.clone() })
    }

    fn list(&self, filter: &SessionFilter) -> Vec<SessionRow> {
        let before = filter.before_ms.unwrap_or(u64::MAX);
        let mut rows: Vec<SessionRow> = self
            .sessions
            .values()
            .map(|session| &session.row)
            .filter(|row| !row.is_deleted && row.key != SessionKey::SYSTEM && row.updated_at_ms < before)
            .filter(|row| filter.owner.as_ref().is_none_or(|owner| row.owner == *owner))
            .map(|row| SessionRow { epoch: self.epoch, ..row.clone() })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.updated_at_ms, row.key)));
        rows.truncate(filter.limit.try_into().unwrap_or(usize::MAX));
        rows
    }

    fn read(&self, key: SessionKey, after: Seq, limit: u32, bytes_max: usize) -> Result<Vec<Row>, StoreError> {
        let session = self.sessions.get(&key).ok_or(StoreError::NotFound)?;
        let mut rows = Vec::new();
        let mut bytes = 0;
        let Some(first) = after.checked_add(1) else {
            return Ok(rows);
        };
        for row in session.rows.range(first..).map(|(_, row)| row).take(limit.try_into().unwrap_or(usize::MAX)) {
            bytes += row.bytes.len() + row.payload.as_ref().map_or(0, |(nonce, bytes)| nonce.len() + bytes.len());
            if bytes > bytes_max && !rows.is_empty() {
                break;
            }
            rows.push(row.clone());
        }
        Ok(rows)
    }

    fn grow(&mut self, leaves_max: u32) -> Result<Grown, StoreError> {
        let size = self.leaves.len();
        let waiting = self.arrived[size..].iter().take(leaves_max.try_into().unwrap_or(usize::MAX));
        let bytes = |(key, seq): &(SessionKey, Seq)| self.sessions.get(key)?.rows.get(seq).map(|row| &row.bytes);
        let new: Option<Vec<Digest>> = waiting.map(|at| bytes(at).map(|bytes| Digest::of_record(bytes))).collect();
        let new = new.ok_or(StoreError::NotFound)?;
        let inner = completed(size as u64, &new, |position| self.node(position))?;
        self.nodes.extend(inner);
        self.leaves.extend(new);
        Ok(Grown { size: self.leaves.len() as u64, is_whole: self.leaves.len() == self.arrived.len() })
    }

    fn node(&self, position: u64) -> Result<Digest, StoreError> {
        let found = match level_of(position) {
            (0, leaf) => usize::try_from(leaf).ok().and_then(|leaf| self.leaves.get(leaf)),
            _ => self.nodes.get(&position),
        };
        found.copied().ok_or(StoreError::NotFound)
    }

    fn records(&self, page: &Page) -> Vec<Leaf> {
        let after = usize::try_from(page.after).unwrap_or(usize::MAX);
        let leaf = |(index, (key, seq)): (usize, &(SessionKey, Seq))| {
            let row = self.sessions.get(key)?.rows.get(seq)?;
            let hash = self.leaves.get(index).copied();
            Some(Leaf {
                place: index as u64 + 1,
                index: hash.map(|_| index as u64),
                hash,
                session: *key,
                seq: *seq,
                bytes: row.bytes.clone(),
                payload: row.payload.clone().filter(|_| page.has_payloads),
            })
        };
        let behind = self.arrived.iter().enumerate().skip(after).filter_map(leaf);
        let mut bytes = 0;
        behind
            .take(page.limit.try_into().unwrap_or(usize::MAX))
            .take_while(|leaf| {
                let is_first = bytes == 0;
                bytes += leaf.bytes.len() + leaf.payload.as_ref().map_or(0, |(_, bytes)| bytes.len());
                is_first || bytes <= page.bytes_max
            })
            .collect()
    }

    fn keep_checkpoint(&mut self, checkpoint: Checkpoint, kept_max: u32) {
        self.checkpoints.insert(checkpoint.size, checkpoint);
        while self.checkpoints.len() > kept_max.try_into().unwrap_or(usize::MAX) {
            self.checkpoints.pop_first();
        }
    }

    fn memory(&self, account: &AccountId, id: &MemoryId) -> Option<u64> {
        self.memories.iter().find(|(_, (owner, row))| owner == account && row.id == *id).map(|(order, _)| *order)
    }

    fn memories(&self, account: &AccountId, which: &Memories, limit: u32) -> Vec<MemoryRow> {
        let own = self.memories.values().filter(|(owner, _)| owner == account).map(|(_, row)| row);
        let limit = limit.try_into().unwrap_or(usize::MAX);
        match which {
            Memories::After(order) => own.filter(|row| row.order > *order).take(limit).cloned().collect(),
            Memories::Before(order) => own.rev().filter(|row| row.order < *order).take(limit).cloned().collect(),
            Memories::Named(ids) => own.filter(|row| ids.contains(&row.id)).take(limit).cloned().collect(),
        }
    }

    fn spent(&self, filter: &SpentFilter) -> Vec<SpentRow> {
        let mut sums: BTreeMap<(AccountId, u64, String), (u64, Spent)> = BTreeMap::new();
        for ((account, hour, subject, session), (at_ms, spent)) in &self.spent {
            let is_asked = filter.account.as_ref().is_none_or(|only| only == account)
                && filter.session.is_none_or(|only| only == *session)
                && *hour >= filter.since_ms / HOUR_MS;
            if is_asked {
                let hour = if filter.is_by_hour { *hour } else { 0 };
                let sum = sums.entry((account.clone(), hour, subject.clone())).or_default();
                *sum = (sum.0.max(*at_ms), sum.1.plus(spent));
            }
        }
        let row = |((account, _, subject), (at_ms, spent))| SpentRow { account, subject, at_ms, spent };
        sums.into_iter().map(row).take(filter.limit.try_into().unwrap_or(usize::MAX)).collect()
    }

    fn variables(&self, session: Option<SessionKey>, account: &AccountId) -> Vec<VariableRow> {
        let row = |scope, name: &VariableName, (value, labels): &(String, String)| VariableRow {
            scope,
            name: name.clone(),
            value: value.clone(),
            labels: labels.clone(),
        };
        let of_session = self.session_variables.iter().filter(|((owner, _), _)| Some(*owner) == session);
        let of_account = self.account_variables.iter().filter(|((owner, _), _)| owner == account);
        of_session
            .map(|((_, name), value)| row(Scope::Session, name, value))
            .chain(of_account.map(|((_, name), value)| row(Scope::Account, name, value)))
            .collect()
    }
}

fn set<O: Ord>(variables: &mut Variables<O>, key: (O, VariableName), value: Option<(String, String)>) {
    match value {
        Some(value) => drop(variables.insert(key, value)),
        None => drop(variables.remove(&key)),
    }
}

impl Store for MemoryStore {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Receipt, StoreError>> {
        Box::pin(async move { self.lock().append(append) })
    }

    fn claim(&self, session: SessionKey) -> BoxFuture<'_, Result<SessionRow, StoreError>> {
        Box::pin(async move {
            let mut disk = self.lock();
            let row = disk.served.claim(session)?;
            disk.unsynced.push(Work::Claim(session));
            Ok(row)
        })
    }

    fn session(&self, session: SessionKey) -> BoxFuture<'_, Result<SessionRow, StoreError>> {
        self.look(|state| state.session(session))
    }

    fn sessions(&self, filter: SessionFilter) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        self.look(|state| Ok(state.list(&filter)))
    }

    fn read(
        &self,
        session: SessionKey,
        after: Seq,
        limit: u32,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        self.look(|state| state.read(session, after, limit, bytes_max))
    }

    fn open_work(&self) -> BoxFuture<'_, Result<Vec<SessionKey>, StoreError>> {
        self.look(|state| Ok(state.open_work.iter().copied().collect()))
    }

    fn request(
        &self,
        account: AccountId,
        request_id: RequestId,
    ) -> BoxFuture<'_, Result<Option<(SessionKey, TurnNo, Digest)>, StoreError>> {
        self.look(|state| Ok(state.requests.get(&(account, request_id)).copied()))
    }

    fn variables(
        &self,
        session: Option<SessionKey>,
        account: AccountId,
    ) -> BoxFuture<'_, Result<Vec<VariableRow>, StoreError>> {
        self.look(|state| Ok(state.variables(session, &account)))
    }

    fn memories(
        &self,
        account: AccountId,
        which: Memories,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<MemoryRow>, StoreError>> {
        self.look(|state| Ok(state.memories(&account, &which, limit)))
    }

    fn spent(&self, filter: SpentFilter) -> BoxFuture<'_, Result<Vec<SpentRow>, StoreError>> {
        self.look(|state| Ok(state.spent(&filter)))
    }

    fn sealed(&self) -> BoxFuture<'_, Result<Vec<SealedRow>, StoreError>> {
        self.look(|state| Ok(state.sealed.values().cloned().collect()))
    }

    fn tokens(&self) -> BoxFuture<'_, Result<Vec<TokenRow>, StoreError>> {
        self.look(|state| Ok(state.tokens.values().cloned().collect()))
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountRow>, StoreError>> {
        self.look(|state| Ok(state.accounts.values().cloned().collect()))
    }

    fn object(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, StoreError>> {
        self.look(|state| state.objects.get(&digest).cloned().ok_or(StoreError::NotFound))
    }

    fn artifact(&self, session: SessionKey, digest: Digest) -> BoxFuture<'_, Result<(String, Vec<u8>), StoreError>> {
        self.look(|state| state.artifacts.get(&(session, digest)).cloned().ok_or(StoreError::NotFound))
    }

    fn failed(&self) -> BoxFuture<'static, String> {
        Box::pin(std::future::pending())
    }
}

impl Tree for MemoryStore {
    fn grow(&self, leaves_max: u32) -> BoxFuture<'_, Result<Grown, StoreError>> {
        Box::pin(async move {
            let mut disk = self.lock();
            let grown = disk.served.grow(leaves_max)?;
            disk.unsynced.push(Work::Grow(leaves_max));
            disk.sync()?;
            Ok(grown)
        })
    }

    fn place(&self, index: u64) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        self.look(|state| Ok((index < state.leaves.len() as u64).then_some(index + 1)))
    }

    fn leaf(&self, session: SessionKey, seq: Seq) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        self.look(|state| {
            let leaves = &state.arrived[..state.leaves.len()];
            Ok(leaves.iter().position(|at| *at == (session, seq)).map(|index| index as u64))
        })
    }

    fn records(&self, page: Page) -> BoxFuture<'_, Result<Vec<Leaf>, StoreError>> {
        self.look(|state| Ok(state.records(&page)))
    }

    fn frames(&self, stretches: Vec<Stretch>, _: usize) -> BoxFuture<'_, Result<Vec<Vec<Vec<u8>>>, StoreError>> {
        self.look(|state| {
            let frames = |of: &Stretch| {
                let rows =
                    state.sessions.get(&of.session).into_iter().flat_map(|one| one.rows.range(of.first..=of.last));
                let frames = rows.filter(|(_, row)| row.class == Class::Frame);
                frames.map(|(_, row)| row.bytes.clone()).collect()
            };
            Ok(stretches.iter().map(frames).collect())
        })
    }

    fn nodes(&self, positions: Vec<u64>) -> BoxFuture<'_, Result<Vec<Digest>, StoreError>> {
        self.look(|state| positions.into_iter().map(|position| state.node(position)).collect())
    }

    fn keep_checkpoint(&self, checkpoint: Checkpoint, kept_max: u32) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut disk = self.lock();
            disk.served.keep_checkpoint(checkpoint.clone(), kept_max);
            disk.unsynced.push(Work::KeepCheckpoint(checkpoint, kept_max));
            disk.sync()
        })
    }

    fn checkpoints(&self, size: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Checkpoint>, StoreError>> {
        self.look(|state| {
            let before = state.checkpoints.range(..size).rev().map(|(_, checkpoint)| checkpoint.clone());
            Ok(before.take(limit.try_into().unwrap_or(usize::MAX)).collect())
        })
    }
}

#[cfg(test)]
mod tests;

//! Accounts: made, put into groups, disabled, deleted.
//!
//! The store is the truth; a mirror in memory answers every decision. A change
//! is recorded first and holds from the next decision on: turns of an account
//! that is gone end, its sockets are closed by the server, and nothing granted
//! before a change holds after it. A deleted account keeps its name, which no
//! other ever bears, so that old records speak of one account only.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use are_core::account::Membership;
use are_core::body::{Body, Scope};
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, GroupName, Seq, SessionKey};
use are_core::journal::{Class, Draft, Entry, decode};
use are_core::store::{AccountRow, Change, SessionFilter, VariableRow};

use super::account::comes_from;
use super::{Engine, Inner};
use crate::actor::Command;
use crate::api::Caller;
use crate::faults;
use crate::limits::GROUPS_PER_ACCOUNT_MAX;

/// Accounts of one store; deleted ones count, because their names are kept.
const ACCOUNTS_MAX: usize = 10_000;

/// Sessions of a deleted account that are looked up at once.
const ERASED_AT_ONCE: u32 = 200;
/// Rows of the system session that are looked through at once.
const PAGE_ROWS: u32 = 4096;
/// Their bytes.
const PAGE_BYTES: usize = 4 << 20;

/// An account at one moment, as decisions see it.
#[derive(Debug, Clone)]
pub(crate) struct Member(Option<Arc<Membership>>);

impl Member {
    /// What it is a member of; nothing when it is disabled or deleted, and then nothing is done for it.
    pub(crate) const fn membership(&self) -> Option<&Arc<Membership>> {
        self.0.as_ref()
    }
}

/// The mirror of the store's rows.
pub(crate) struct Accounts {
    rows: RwLock<HashMap<AccountId, (AccountRow, Member)>>,
    /// Of an account that nobody ever changed.
    plain: Arc<Membership>,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Accounts {
    pub(super) fn new(rows: Vec<AccountRow>) -> Self {
        let accounts = Self { rows: RwLock::default(), plain: Arc::default(), turn: tokio::sync::Mutex::default() };
        rows.into_iter().for_each(|row| accounts.put(row));
        accounts
    }

    /// The standing of an account. One without a row is the operator's before its first change; names of deleted
    /// accounts keep their rows.
    pub(crate) fn member(&self, name: &AccountId) -> Member {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(name).map_or_else(|| Member(Some(Arc::clone(&self.plain))), |(_, member)| member.clone())
    }

    fn row(&self, name: &AccountId) -> Option<AccountRow> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(name).map(|(row, _)| row.clone())
    }

    fn all(&self) -> Vec<AccountRow> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = rows.values().map(|(row, _)| row.clone()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn put(&self, row: AccountRow) {
        let membership = Membership { groups: row.groups.clone(), revision: row.revision };
        let member = Member((!row.is_disabled && !row.is_deleted).then(|| Arc::new(membership)));
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        rows.insert(row.name.clone(), (row, member));
    }
}

/// An account as the doors see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// Name.
    pub name: AccountId,
    /// Groups, sorted.
    pub groups: Vec<GroupName>,
    /// True while nobody can speak as it.
    pub is_disabled: bool,
    /// True for the account of whoever runs the engine, which cannot be taken away.
    pub is_operator: bool,
    /// Creation, milliseconds since 1970; 0 for the operator's before its first change.
    pub created_at_ms: u64,
}

/// What of an account shall be otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// All its groups from here on.
    pub groups: Option<Vec<GroupName>>,
    /// Whether it is disabled.
    pub is_disabled: Option<bool>,
}

impl Engine {
    /// The accounts that are not deleted, by name.
    #[must_use]
    pub fn accounts(&self) -> Vec<AccountView> {
        let mut rows = self.inner.accounts.all();
        if !rows.iter().any(|row| row.name == self.inner.operator) {
            rows.push(new_row(self.inner.operator.clone(), Vec::new(), 0));
            rows.sort_by(|a, b| a.name.cmp(&b.name));
        }
        rows.into_iter().filter(|row| !row.is_deleted).map(|row| self.view(row)).collect()
    }

    /// An account that is not deleted.
    #[must_use]
    pub fn account(&self, name: &AccountId) -> Option<AccountView> {
        self.standing_row(name).map(|row| self.view(row))
    }

    /// The groups of an account that can speak now; nothing when there is none, or it is disabled.
    #[must_use]
    pub fn speaking_groups(&self, name: &AccountId) -> Option<Vec<GroupName>> {
        self.standing_row(name).filter(|row| !row.is_disabled).map(|row| row.groups)
    }

    /// Makes an account.
    ///
    /// # Errors
    /// ARE-0215 the name is taken, ARE-0708 too many accounts or groups.
    pub async fn create_account(
        &self,
        caller: &Caller,
        name: AccountId,
        groups: Vec<GroupName>,
    ) -> Result<AccountView, Fault> {
        let groups = sorted(groups)?;
        let accounts = &self.inner.accounts;
        let _one = accounts.turn.lock().await;
        if name == self.inner.operator || accounts.row(&name).is_some() {
            return Err(Fault::new(
                Code::ACCOUNT_TAKEN,
                format!("the name `{name}` is taken, or was by an account that is deleted"),
                "choose another name; that of a deleted account is never given again",
            ));
        }
        if accounts.all().len() >= ACCOUNTS_MAX {
            let message = format!("there are {ACCOUNTS_MAX} accounts, deleted ones among them");
            return Err(Fault::new(Code::ACCOUNT_LIMIT, message, "use another store for more"));
        }
        let row = new_row(name, groups, self.inner.ports.clock.now_ms());
        let body = Body::AccountCreated { name: row.name.clone(), groups: row.groups.clone() };
        self.inner.system.append_for(caller, body, None, vec![Change::PutAccount(row.clone())]).await?;
        accounts.put(row.clone());
        Ok(self.view(row))
    }

    /// Changes an account; returns it as it is then, and whether anything changed.
    ///
    /// # Errors
    /// ARE-0214 there is none, ARE-0216 it is the operator's, ARE-0708 too many groups.
    pub async fn change_account(
        &self,
        caller: &Caller,
        name: &AccountId,
        change: AccountChange,
    ) -> Result<(AccountView, bool), Fault> {
        let groups = change.groups.map(sorted).transpose()?;
        let _one = self.inner.accounts.turn.lock().await;
        let before = self.standing_row(name).ok_or_else(faults::unknown_account)?;
        let row = AccountRow {
            groups: groups.unwrap_or_else(|| before.groups.clone()),
            is_disabled: change.is_disabled.unwrap_or(before.is_disabled),
            ..before.clone()
        };
        if row.is_disabled && *name == self.inner.operator {
            return Err(protected());
        }
        if row == before {
            return Ok((self.view(row), false));
        }
        let row = AccountRow { revision: before.revision + 1, ..row };
        let body = Body::AccountChanged {
            name: row.name.clone(),
            groups: row.groups.clone(),
            is_disabled: row.is_disabled,
            revision: row.revision,
        };
        self.inner.system.append_for(caller, body, None, vec![Change::PutAccount(row.clone())]).await?;
        self.inner.accounts.put(row.clone());
        self.hold_from_now_on(&row).await;
        Ok((self.view(row), true))
    }

    /// Deletes an account: nobody can speak as it from here on, its tokens and those made with them are revoked, its
    /// turns end. [`erase_account`](Self::erase_account) does the rest, now or at the next start.
    ///
    /// # Errors
    /// ARE-0214 there is none, ARE-0216 it is the operator's, the store failed.
    pub async fn delete_account(&self, caller: &Caller, name: &AccountId) -> Result<(), Fault> {
        let one = self.inner.accounts.turn.lock().await;
        if *name == self.inner.operator {
            return Err(protected());
        }
        let before = self.standing_row(name).ok_or_else(faults::unknown_account)?;
        let row = AccountRow { is_deleted: true, groups: Vec::new(), revision: before.revision + 1, ..before };
        let tokens = self.tokens().await?;
        let own: Vec<_> = tokens.iter().filter(|token| token.account == *name).collect();
        let goes = |id: &str| own.iter().any(|token| token.id == id);
        let gone = tokens.iter().filter(|token| !token.is_revoked && comes_from(&tokens, token, goes));
        let gone: Vec<_> = gone.map(|token| token.id.clone()).collect();
        let mut bodies = vec![Body::AccountDeleted { name: name.clone() }];
        bodies.extend(gone.iter().map(|token| Body::TokenRevoked { token: token.clone() }));
        let drafts = bodies.into_iter().map(|body| Draft { turn: None, body, payload: None }).collect();
        let mut changes = vec![Change::PutAccount(row.clone())];
        changes.extend(gone.into_iter().map(Change::RevokeToken));
        self.inner.system.append_all((caller.account.clone(), caller.via.clone()), drafts, changes).await?;
        self.inner.accounts.put(row.clone());
        drop(one);
        self.hold_from_now_on(&row).await;
        Ok(())
    }

    /// Erases what was said in a deleted account's sessions, its variables and its secrets. Records, its name and the files of its
    /// workspace stay.
    ///
    /// # Errors
    /// ARE-0214 there is no deleted account of this name, the store failed.
    pub async fn erase_account(&self, name: &AccountId) -> Result<(), Fault> {
        let row = self.inner.accounts.row(name).filter(|row| row.is_deleted).ok_or_else(faults::unknown_account)?;
        if row.is_erased { Ok(()) } else { self.erase_all_of(row).await }
    }

    /// Goes on with deletions that a crash cut short.
    pub(super) async fn finish_deletions(&self) {
        for row in self.inner.accounts.all().into_iter().filter(|row| row.is_deleted && !row.is_erased) {
            if self.inner.stopping.is_cancelled() {
                return;
            }
            let name = row.name.clone();
            if let Err(fault) = self.erase_all_of(row).await {
                tracing::warn!(account = %name, %fault, "what a deleted account said is not erased yet");
            }
        }
    }

    fn standing_row(&self, name: &AccountId) -> Option<AccountRow> {
        let operator = || (*name == self.inner.operator).then(|| new_row(name.clone(), Vec::new(), 0));
        self.inner.accounts.row(name).or_else(operator).filter(|row| !row.is_deleted)
    }

    fn view(&self, row: AccountRow) -> AccountView {
        let is_operator = row.name == self.inner.operator;
        let AccountRow { name, groups, is_disabled, created_at_ms, .. } = row;
        AccountView { name, groups, is_disabled, is_operator, created_at_ms }
    }

    /// Makes waiting calls be decided anew; of an account that is gone, ends the turns.
    async fn hold_from_now_on(&self, row: &AccountRow) {
        self.inner.policy.tell();
        if !row.is_disabled && !row.is_deleted {
            return;
        }
        // A turn that is not in memory, or begins at this very moment, ends by itself: the actor asks before each step.
        for handle in self.inner.handles_of(&row.name) {
            if handle.mailbox.send(Box::new(Command::Halt)).await.is_err() {
                tracing::debug!(account = %row.name, "a session ended before it was told");
            }
        }
        // A parked turn is in no actor's hands, and would wait for an answer that nobody can give.
        for key in self.inner.ports.store.open_work().await.unwrap_or_default() {
            let is_of_account =
                self.inner.ports.store.session(key).await.is_ok_and(|session| session.owner == row.name);
            if is_of_account && let Err(fault) = self.halt(key).await {
                tracing::warn!(session = %key, %fault, "a turn of an account that is gone was not ended yet");
            }
        }
    }

    async fn halt(&self, key: SessionKey) -> Result<(), Fault> {
        let handle = self.wake(key)?;
        handle.mailbox.send(Box::new(Command::Halt)).await.map_err(|_| faults::stopping())
    }

    /// Erases what was said in an account's sessions, its variables and its secrets, whatever of it is still there.
    async fn erase_all_of(&self, row: AccountRow) -> Result<(), Fault> {
        let store = &self.inner.ports.store;
        let (operator, name) = (&self.inner.operator, &row.name);
        loop {
            let filter = SessionFilter { owner: Some(name.clone()), limit: ERASED_AT_ONCE, before_ms: None };
            let sessions = store.sessions(filter).await.map_err(faults::store)?;
            if sessions.is_empty() {
                break;
            }
            for session in sessions {
                match self.erase_session(operator, None, session.key, None).await {
                    // Its account erased it at the same moment.
                    Err(fault) if fault.code == Code::SESSION_UNKNOWN => {}
                    done => done?,
                }
            }
        }
        let spoken = self.spoken_in_system_session(name).await?;
        let mut changes: Vec<_> = spoken.into_iter().map(Change::ErasePayloads).collect();
        let unset = |row: VariableRow| Change::Variable {
            scope: Scope::Account,
            account: name.clone(),
            name: row.name,
            value: None,
        };
        let variables = store.variables(None, name.clone()).await.map_err(faults::store)?;
        changes.extend(variables.into_iter().map(unset));
        changes.push(Change::EraseMemories(name.clone()));
        let (dropped, secrets) = self.inner.dropped_secrets(name);
        changes.extend(dropped);
        let erased = AccountRow { is_erased: true, ..row.clone() };
        changes.push(Change::PutAccount(erased.clone()));
        let body = Body::AccountErased { name: name.clone() };
        self.inner.system.append(operator.clone(), body, None, changes).await?;
        self.inner.accounts.put(erased);
        self.inner.memories.forget(name);
        self.inner.vault.forget(name, &secrets);
        Ok(())
    }

    /// Entries of the system session that hold values of an account's variables, or texts of its memories.
    async fn spoken_in_system_session(&self, name: &AccountId) -> Result<Vec<Vec<Seq>>, Fault> {
        let mut pages = Vec::new();
        let mut after = 0;
        loop {
            let read = self.inner.ports.store.read(SessionKey::SYSTEM, after, PAGE_ROWS, PAGE_BYTES);
            let rows = read.await.map_err(faults::store)?;
            let Some(last) = rows.last() else { return Ok(pages) };
            after = last.seq;
            let mut found = Vec::new();
            let with_payload = rows.into_iter().filter(|row| row.class == Class::Record && row.payload.is_some());
            for mut row in with_payload {
                // What cannot be read need not be, to be erased.
                row.payload = None;
                let Ok(Entry::Record(record, _)) = decode(SessionKey::SYSTEM, &row) else { continue };
                if record.account == *name && matches!(record.body, Body::VariableSet { .. } | Body::MemoryAdded { .. })
                {
                    found.push(row.seq);
                }
            }
            if !found.is_empty() {
                pages.push(found);
            }
        }
    }
}

impl Inner {
    /// The actors in memory whose sessions belong to an account.
    fn handles_of(&self, name: &AccountId) -> Vec<super::Handle> {
        let sessions = self.sessions();
        sessions.values().filter(|handle| handle.shared.owner.get() == Some(name)).cloned().collect()
    }
}

fn new_row(name: AccountId, groups: Vec<GroupName>, created_at_ms: u64) -> AccountRow {
    AccountRow { name, groups, is_disabled: false, is_deleted: false, is_erased: false, revision: 0, created_at_ms }
}

fn sorted(mut groups: Vec<GroupName>) -> Result<Vec<GroupName>, Fault> {
    groups.sort();
    groups.dedup();
    if groups.len() > GROUPS_PER_ACCOUNT_MAX {
        let message = format!("an account can be in {GROUPS_PER_ACCOUNT_MAX} groups");
        return Err(Fault::new(Code::ACCOUNT_LIMIT, message, "make rules for fewer, wider groups"));
    }
    Ok(groups)
}

fn protected() -> Fault {
    Fault::new(
        Code::ACCOUNT_PROTECTED,
        "this is the account of whoever runs the server; it cannot be disabled or deleted",
        "take its rights by the rules, or stop the server",
    )
}

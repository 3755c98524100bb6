//! The mirror of what is sealed in the store, with the keys that open it.
//!
//! Whoever changes something prepares rows here, has them appended, and then
//! takes them in: the store is the truth. Nothing here waits for anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, SecretName};
use are_core::store::{Change, SealedRow};
use are_policy::secrets::{BoundTo, unknown};
use zeroize::Zeroizing;

use super::master::{Master, MasterKey};
use super::seal::{self, Broken, DataKey, VALUE_BYTES_MAX};
use crate::faults;
use crate::scrub::{Live, Scrubber, VALUE_BYTES_MIN};

/// Secrets of one account.
const SECRETS_MAX: usize = 128;
/// Bytes of all secrets of one account: the automaton that finds their forms takes some four hundred times that.
const ACCOUNT_BYTES_MAX: usize = 64 << 10;
/// Values of an account that were deleted or replaced and are still looked for; the oldest go first.
const FORMER_MAX: usize = 128;
/// Accounts whose values are kept ready to be looked for: a session keeps its own while it works.
const SCRUBBERS_MAX: usize = 256;
/// Secrets that are sealed anew in one append.
const RESEALED_AT_ONCE: usize = 64;
/// Hexadecimal digits of a data key's id.
const KEY_ID_DIGITS: usize = 16;

/// All secrets.
pub(crate) struct Vault {
    state: Mutex<State>,
    /// Values that are no account's: keys of providers, the administrator's token.
    base: Vec<Zeroizing<String>>,
    base_scrubber: Scrubber,
    live: Live,
    /// One change at a time.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

struct State {
    master: Master,
    rows: BTreeMap<AccountId, BTreeMap<SecretName, SealedRow>>,
    /// Rows of the keys by id.
    key_rows: BTreeMap<String, SealedRow>,
    /// Those that could be opened.
    keys: BTreeMap<String, DataKey>,
    former: HashMap<AccountId, Vec<Zeroizing<String>>>,
    /// Made when an account's texts are first looked at, and again after each change.
    scrubbers: HashMap<AccountId, Scrubber>,
}

/// A secret's value with where it may go.
pub(crate) struct Opened {
    pub(crate) value: Zeroizing<String>,
    pub(crate) bound_to: BoundTo,
}

/// A data key that is not stored yet.
struct NewKey {
    row: SealedRow,
    key: DataKey,
}

/// What sealing everything anew takes: rows to append, batch by batch, and what is gone with the last.
pub(crate) struct Resealing {
    pub(crate) key: String,
    pub(crate) master: String,
    new: NewKey,
    batches: Vec<Vec<SealedRow>>,
    /// Ids of keys under which nothing is left.
    pub(crate) gone: Vec<String>,
    /// Secrets that could not be opened and stay as they are.
    pub(crate) left: usize,
}

impl Vault {
    pub(crate) fn new(rows: Vec<SealedRow>, master: Master, base: Vec<String>, live: Live) -> Self {
        let mut state = State {
            master,
            rows: BTreeMap::new(),
            key_rows: BTreeMap::new(),
            keys: BTreeMap::new(),
            former: HashMap::new(),
            scrubbers: HashMap::new(),
        };
        for row in rows {
            state.take_in(row);
        }
        let base: Vec<_> = base.into_iter().map(Zeroizing::new).collect();
        let base_scrubber = bounded(base.iter().map(|value| value.as_str()));
        live.set(vec![base_scrubber.clone()]);
        Self { state: Mutex::new(state), base, base_scrubber, live, turn: tokio::sync::Mutex::default() }
    }

    /// What takes the values that must not be repeated out of an account's texts.
    pub(crate) fn scrubber(&self, account: &AccountId) -> Scrubber {
        let mut state = self.state();
        if let Some(scrubber) = state.scrubbers.get(account) {
            return scrubber.clone();
        }
        let own = state.values(account);
        let scrubber = if own.is_empty() {
            self.base_scrubber.clone()
        } else {
            bounded(self.base.iter().chain(&own).map(|value| value.as_str()))
        };
        if state.scrubbers.len() >= SCRUBBERS_MAX {
            state.scrubbers.clear();
        }
        state.scrubbers.insert(account.clone(), scrubber.clone());
        self.tell(&state);
        scrubber
    }

    /// What takes out the values that are no account's.
    pub(crate) const fn base_scrubber(&self) -> &Scrubber {
        &self.base_scrubber
    }

    /// Tells the log what is known now.
    fn tell(&self, state: &State) {
        let base = std::iter::once(&self.base_scrubber);
        self.live.set(base.chain(state.scrubbers.values()).cloned().collect());
    }

    /// The secrets of an account, by name, each with whether it can be opened.
    pub(crate) fn list(&self, account: &AccountId) -> Vec<(SealedRow, bool)> {
        let state = self.state();
        let rows = state.rows.get(account).into_iter().flat_map(BTreeMap::values);
        rows.map(|row| (row.clone(), state.keys.contains_key(&row.key))).collect()
    }

    /// Why some of what is stored cannot be opened, if so.
    pub(crate) fn closed(&self) -> Option<Fault> {
        let state = self.state();
        if state.key_rows.is_empty() { None } else { state.unlocked().err() }
    }

    /// Opens a secret.
    pub(crate) fn open(&self, account: &AccountId, name: &SecretName) -> Result<Opened, Fault> {
        let state = self.state();
        let own = state.rows.get(account);
        let Some(row) = own.and_then(|own| own.get(name)) else {
            let others: Vec<SecretName> = own.into_iter().flat_map(BTreeMap::keys).cloned().collect();
            return Err(unknown(name, &others));
        };
        let Some(key) = state.keys.get(&row.key) else { return Err(state.locked(Some(&row.key))) };
        let value = open_row(key, row).map_err(|Broken| corrupt(name))?;
        let bound_to = serde_json::from_str(&row.bound_to).map_err(|_| corrupt(name))?;
        Ok(Opened { value, bound_to })
    }

    /// Whether a secret of that name could be set, as far as limits go.
    pub(crate) fn admit(&self, account: &AccountId, name: &SecretName, value: &str) -> Result<(), Fault> {
        let refuse = |message: String, help: &str| Err(Fault::new(Code::SECRET_LIMIT, message, help));
        if value.len() < VALUE_BYTES_MIN || value.len() > VALUE_BYTES_MAX {
            return refuse(
                format!("a secret takes {VALUE_BYTES_MIN} to {VALUE_BYTES_MAX} bytes"),
                "a shorter one can be guessed, and could not be taken out of texts without tearing holes into others",
            );
        }
        if value.contains('\0') {
            return refuse("a secret holds no zero byte".to_owned(), "encode it, for example as base64");
        }
        let state = self.state();
        let others = state.rows.get(account).into_iter().flatten().filter(|(other, _)| *other != name);
        let (count, bytes) =
            others.fold((0, 0), |(count, bytes), (_, row)| (count + 1, bytes + seal::text_bytes(&row.sealed)));
        if count >= SECRETS_MAX || bytes + value.len() > ACCOUNT_BYTES_MAX {
            return refuse(
                format!("an account has at most {SECRETS_MAX} secrets of {ACCOUNT_BYTES_MAX} bytes together"),
                "delete some",
            );
        }
        Ok(())
    }

    /// True when something must be sealed by a master key and there is none yet, so that one is to be made.
    pub(crate) fn needs_master(&self) -> bool {
        let state = self.state();
        state.key_rows.is_empty() && state.master.keys.is_empty() && state.master.fault.is_none()
    }

    /// The master keys with `first` before them, and who keeps them.
    pub(crate) fn with_master(&self, first: MasterKey) -> Result<(Vec<MasterKey>, super::MasterKeeper), Fault> {
        let state = self.state();
        let Some(keeper) = state.master.keeper.clone() else {
            return Err(Fault::new(
                Code::SECRETS_LOCKED,
                format!("the master key comes from {}, which gives none that could be used", state.master.source),
                "have it give 64 hexadecimal digits, a new key before the old one, and start the server again",
            ));
        };
        Ok(([first].into_iter().chain(state.master.keys.iter().cloned()).collect(), keeper))
    }

    /// Who keeps master keys for the next start, where this process can.
    pub(crate) fn keeper(&self) -> Option<super::MasterKeeper> {
        self.state().master.keeper.clone()
    }

    /// These are the master keys from here on.
    pub(crate) fn set_master(&self, keys: Vec<MasterKey>) {
        self.state().master.keys = keys;
    }

    /// The master key in use alone.
    pub(crate) fn master_alone(&self) -> Vec<MasterKey> {
        self.state().master.keys.iter().take(1).cloned().collect()
    }

    /// A secret's row and, where there is no key yet, the key's before it.
    pub(crate) fn sealed(
        &self,
        (account, name): (&AccountId, &SecretName),
        value: &str,
        bound_to: &BoundTo,
        now_ms: u64,
        mut random: impl FnMut() -> [u8; 32],
    ) -> Result<Vec<SealedRow>, Fault> {
        let state = self.state();
        state.unlocked()?;
        let new = if state.keys.is_empty() { Some(state.new_key(now_ms, &mut random)?) } else { None };
        let (id, key) = match &new {
            Some(new) => (&new.row.name, &new.key),
            None => state.current().ok_or_else(|| state.locked(None))?,
        };
        let created_at_ms =
            state.rows.get(account).and_then(|own| own.get(name)).map_or(now_ms, |row| row.created_at_ms);
        let bound_to = serde_json::to_string(bound_to).map_err(|_| faults::internal())?;
        let row = SealedRow {
            account: Some(account.clone()),
            name: name.to_string(),
            key: id.clone(),
            sealed: Vec::new(),
            bound_to,
            created_at_ms,
            updated_at_ms: now_ms,
        };
        let row = seal_row(key, row, value, &random())?;
        Ok(new.into_iter().map(|new| new.row).chain([row]).collect())
    }

    /// Takes rows in that were appended.
    pub(crate) fn take_in(&self, rows: Vec<SealedRow>) {
        let mut state = self.state();
        let accounts: Vec<AccountId> = rows.iter().filter_map(|row| row.account.clone()).collect();
        for row in rows {
            state.note_former(&row);
            state.take_in(row);
        }
        self.renew(&mut state, &accounts);
    }

    /// Takes rows in that hold the same values under another key.
    pub(crate) fn take_in_resealed(&self, rows: Vec<SealedRow>) {
        let mut state = self.state();
        rows.into_iter().for_each(|row| state.take_in(row));
    }

    /// Forgets secrets that were dropped; their values are looked for until this process ends.
    pub(crate) fn forget(&self, account: &AccountId, names: &[SecretName]) {
        let mut state = self.state();
        for name in names {
            let row = state.rows.get_mut(account).and_then(|own| own.remove(name));
            if let Some(row) = row {
                state.keep_former(&row);
            }
        }
        self.renew(&mut state, std::slice::from_ref(account));
    }

    fn renew(&self, state: &mut State, accounts: &[AccountId]) {
        let is_known = accounts.iter().any(|account| state.scrubbers.remove(account).is_some());
        if is_known {
            self.tell(state);
        }
    }

    /// Seals everything anew, by a new data key under the master key in use.
    pub(crate) fn resealing(&self, now_ms: u64, mut random: impl FnMut() -> [u8; 32]) -> Result<Resealing, Fault> {
        let state = self.state();
        state.unlocked()?;
        let new = state.new_key(now_ms, &mut random)?;
        let (mut rows, mut left, mut stay) = (Vec::new(), 0, Vec::new());
        for row in state.rows.values().flat_map(BTreeMap::values) {
            let opened = state.keys.get(&row.key).ok_or(Broken).and_then(|key| open_row(key, row));
            match opened {
                Ok(value) => {
                    let row = SealedRow { key: new.row.name.clone(), ..row.clone() };
                    rows.push(seal_row(&new.key, row, &value, &random())?);
                }
                Err(Broken) => {
                    // What cannot be opened now might be in a backup; its key stays with it.
                    left += 1;
                    stay.push(row.key.clone());
                }
            }
        }
        let gone = state.key_rows.keys().filter(|id| !stay.contains(id)).cloned().collect();
        let batches = rows.chunks(RESEALED_AT_ONCE).map(<[_]>::to_vec).collect();
        Ok(Resealing { key: new.row.name.clone(), master: new.row.key.clone(), new, batches, gone, left })
    }

    /// Forgets the keys that are gone.
    pub(crate) fn drop_keys(&self, gone: &[String]) {
        let mut state = self.state();
        for id in gone {
            state.keys.remove(id);
            state.key_rows.remove(id);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resealing {
    /// The changes of each append, in order: the new key with the first, the end of the old ones with the last.
    pub(crate) fn appends(&self) -> Vec<(Vec<SealedRow>, Vec<Change>)> {
        let mut batches = self.batches.clone();
        if batches.is_empty() {
            batches.push(Vec::new());
        }
        batches[0].insert(0, self.new.row.clone());
        let last = batches.len() - 1;
        let changes = |(index, rows): (usize, Vec<SealedRow>)| {
            let mut changes: Vec<Change> = rows.iter().cloned().map(Change::PutSealed).collect();
            if index == last {
                changes.extend(self.gone.iter().map(|id| Change::DropSealed(None, id.clone())));
            }
            (rows, changes)
        };
        batches.into_iter().enumerate().map(changes).collect()
    }

    /// Secrets that are sealed anew.
    pub(crate) fn count(&self) -> usize {
        self.batches.iter().map(Vec::len).sum()
    }
}

impl State {
    fn take_in(&mut self, row: SealedRow) {
        let Some(account) = row.account.clone() else {
            if let Some(key) = self.open_key(&row) {
                self.keys.insert(row.name.clone(), key);
            }
            self.key_rows.insert(row.name.clone(), row);
            return;
        };
        match row.name.parse::<SecretName>() {
            Ok(name) => {
                self.rows.entry(account).or_default().insert(name, row);
            }
            Err(error) => tracing::warn!(%account, %error, "a stored secret has no possible name and is left alone"),
        }
    }

    fn open_key(&self, row: &SealedRow) -> Option<DataKey> {
        let master = self.master.keys.iter().find(|master| master.id() == row.key)?;
        let bytes = seal::open(master.bytes(), &bound_of_key(&row.name, &row.key), &row.sealed).ok()?;
        Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
    }

    fn new_key(&self, now_ms: u64, random: &mut impl FnMut() -> [u8; 32]) -> Result<NewKey, Fault> {
        let master = self.master.keys.first().ok_or_else(|| self.locked(None))?;
        let id = Digest(random()).to_string()[..KEY_ID_DIGITS].to_owned();
        let key = Zeroizing::new(random());
        let bound = bound_of_key(&id, master.id());
        let sealed =
            seal::seal(master.bytes(), &random(), &bound, key.as_slice()).map_err(|Broken| faults::internal())?;
        let row = SealedRow {
            account: None,
            name: id,
            key: master.id().to_owned(),
            sealed,
            bound_to: String::new(),
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
        };
        Ok(NewKey { row, key })
    }

    /// The key that seals what is new: the youngest.
    fn current(&self) -> Option<(&String, &DataKey)> {
        let youngest =
            self.key_rows.values().max_by(|a, b| (a.created_at_ms, &a.name).cmp(&(b.created_at_ms, &b.name)))?;
        self.keys.get_key_value(&youngest.name)
    }

    /// Nothing is written over while something cannot be opened.
    fn unlocked(&self) -> Result<(), Fault> {
        let closed = self.key_rows.keys().find(|id| !self.keys.contains_key(*id));
        match closed {
            Some(id) => Err(self.locked(Some(id))),
            None if self.master.keys.is_empty() => Err(self.locked(None)),
            None => Ok(()),
        }
    }

    /// Why secrets cannot be opened, or the one that a data key seals.
    fn locked(&self, key: Option<&str>) -> Fault {
        if let Some(fault) = &self.master.fault {
            return fault.clone();
        }
        let row = key.and_then(|id| self.key_rows.get(id));
        let source = &self.master.source;
        let given: Vec<String> = self.master.keys.iter().map(|key| format!("`{}`", key.id())).collect();
        let given = if given.is_empty() { "none".to_owned() } else { given.join(", ") };
        let message = match (row, key) {
            (Some(row), _) => format!(
                "the secrets are sealed by the master key `{}` (data key `{}`), and {source} gives {given}",
                row.key, row.name
            ),
            (None, Some(id)) => format!("the data key `{id}`, which seals the secret, is not in the store"),
            (None, None) => format!("there is no master key: {source} gives none"),
        };
        Fault::new(
            Code::SECRETS_LOCKED,
            message,
            "give the key that sealed them, from a backup if need be, and start the server again; nothing was changed",
        )
    }

    /// The values of an account that can be opened, and its former ones.
    fn values(&self, account: &AccountId) -> Vec<Zeroizing<String>> {
        let rows = self.rows.get(account).into_iter().flat_map(BTreeMap::values);
        let open = |row: &SealedRow| open_row(self.keys.get(&row.key)?, row).ok();
        rows.filter_map(open).chain(self.former.get(account).into_iter().flatten().cloned()).collect()
    }

    /// What `row` takes the place of.
    fn note_former(&mut self, row: &SealedRow) {
        let before = row.account.as_ref().and_then(|account| {
            let name: SecretName = row.name.parse().ok()?;
            self.rows.get(account)?.get(&name).cloned()
        });
        if let Some(before) = before {
            self.keep_former(&before);
        }
    }

    fn keep_former(&mut self, row: &SealedRow) {
        let value = self.keys.get(&row.key).and_then(|key| open_row(key, row).ok());
        let (Some(account), Some(value)) = (&row.account, value) else { return };
        let former = self.former.entry(account.clone()).or_default();
        if !former.contains(&value) {
            former.push(value);
            let excess = former.len().saturating_sub(FORMER_MAX);
            former.drain(..excess);
        }
    }
}

/// Values are bounded in number and length, so that an automaton holds them; without it nothing may be said at all.
fn bounded<'a>(values: impl Iterator<Item = &'a str>) -> Scrubber {
    Scrubber::new(values).unwrap_or_else(|error| panic!("bounded values fit into an automaton: {error}"))
}

fn bound_of_key(id: &str, master: &str) -> Vec<u8> {
    seal::bound("are data key v1", &[id, master])
}

fn bound_of(row: &SealedRow) -> Vec<u8> {
    let account = row.account.as_ref().map_or("", AccountId::as_str);
    seal::bound("are secret v1", &[account, &row.name, &row.key, &row.bound_to])
}

fn seal_row(key: &DataKey, row: SealedRow, value: &str, random: &[u8; 32]) -> Result<SealedRow, Fault> {
    let sealed = seal::seal(key, random, &bound_of(&row), value.as_bytes()).map_err(|Broken| faults::internal())?;
    Ok(SealedRow { sealed, ..row })
}

fn open_row(key: &DataKey, row: &SealedRow) -> Result<Zeroizing<String>, Broken> {
    let bytes = seal::open(key, &bound_of(row), &row.sealed)?;
    std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| Broken)
}

fn corrupt(name: &SecretName) -> Fault {
    Fault::new(
        Code::SECRET_CORRUPT,
        format!("the secret `{name}` does not open with its key: it was changed in the store, or where it may go was"),
        "find out who can write the database, then set the secret again",
    )
}

#[cfg(test)]
mod tests;

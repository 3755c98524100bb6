//! The tokens that are good now.
//!
//! A token is `are_<id>_<secret>`; only its SHA-256 is kept, and compared in
//! constant time. The store is the truth; this is its mirror in memory, changed
//! only after the store has the change. A token is worth no more than each of
//! those it was made with is worth at that moment: scopes, list of accounts, end and
//! owner are looked at along the whole chain each time one is shown. Whatever
//! takes something from a token cuts the [`Tie`] on which every open socket and
//! stream of it waits.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use are_core::account::Via;
use are_core::digest::{Digest, Nonce};
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, GroupName};
use are_core::limits::TOKENS_MAX;
use are_core::store::TokenRow;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Door, Principal, Reach, Scope, Scopes, Tie, lacks};
use crate::server::problem::invalid;

/// Bytes of a credential; a longer one is none of ours.
const TOKEN_BYTES_MAX: usize = 256;
/// Tokens made by tokens made by tokens: longer chains are refused.
pub(super) const TOKEN_DEPTH_MAX: usize = 16;

/// The groups of an account that can speak now; nothing for one that cannot.
pub(in crate::server) type Standings<'a> = &'a dyn Fn(&AccountId) -> Option<Vec<GroupName>>;

/// A token just made: the only moment its text exists.
#[derive(Debug)]
pub(in crate::server) struct Minted {
    /// As stored.
    pub(in crate::server) row: TokenRow,
    /// The token.
    pub(in crate::server) text: String,
}

/// What a new token shall be.
pub(in crate::server) struct Wish {
    /// Whose; the maker's own account when absent.
    pub(in crate::server) account: Option<AccountId>,
    /// What it may do.
    pub(in crate::server) scopes: Vec<Scope>,
    /// For people.
    pub(in crate::server) label: String,
    /// For whom it may speak.
    pub(in crate::server) reach: Reach,
    /// When it ends, in milliseconds since 1970; with its maker when absent.
    pub(in crate::server) expires_at_ms: Option<u64>,
}

#[derive(Debug, Clone)]
struct Entry {
    hash: Digest,
    account: AccountId,
    scopes: Scopes,
    reach: Arc<Reach>,
    expires_at_ms: Option<u64>,
    parent: Option<String>,
    open: CancellationToken,
}

impl Entry {
    fn new(row: &TokenRow) -> Self {
        Self {
            hash: row.hash,
            account: row.account.clone(),
            scopes: Scopes::parse(&row.scopes),
            reach: Arc::new(Reach::parse(&row.speaks_for)),
            expires_at_ms: row.expires_at_ms,
            parent: row.parent.clone(),
            open: CancellationToken::new(),
        }
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|end| end <= now_ms)
    }

    /// What is open is cut; what is opened from here on is tied anew.
    fn cut(&mut self) {
        std::mem::take(&mut self.open).cancel();
    }
}

type Entries = HashMap<String, Entry>;

/// The tokens that are good now.
#[derive(Debug)]
pub(in crate::server) struct Tokens {
    admin: Digest,
    entries: RwLock<Entries>,
    /// On each of these waits what delegates opened for an account; as many as there are accounts.
    spoken_for: Mutex<HashMap<AccountId, CancellationToken>>,
    /// Told when another token may be the next to end.
    added: Notify,
}

impl Tokens {
    /// `admin` is the SHA-256 of the admin token; `rows` is what the store holds.
    pub(in crate::server) fn new(admin: Digest, rows: Vec<TokenRow>) -> Self {
        let tokens = Self { admin, entries: RwLock::default(), spoken_for: Mutex::default(), added: Notify::new() };
        // A token comes into service after the one that made it, so it stays out where that one does.
        let mut waiting: Vec<_> = rows.into_iter().filter(|row| !row.is_revoked).collect();
        loop {
            let before = waiting.len();
            waiting.retain(|row| !tokens.insert(row));
            if waiting.is_empty() || waiting.len() == before {
                return tokens;
            }
        }
    }

    /// The principal of a token; `None` when it is not good, or its account or that of a token it was made with
    /// cannot speak.
    pub(in crate::server) fn recognise(&self, token: &str, now_ms: u64, speaks: Standings<'_>) -> Option<Principal> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let hash = Digest::of(&[token.as_bytes()]);
        // SECURITY: hashes are compared, in constant time, so that neither the secret's bytes nor their order leaks.
        if bool::from(hash.0.ct_eq(&self.admin.0)) {
            return Principal::admin(Door::Network).ok();
        }
        let id = id_of(token)?;
        if !self.read().get(id).is_some_and(|entry| bool::from(hash.0.ct_eq(&entry.hash.0))) {
            return None;
        }
        // An id never comes back, so what it stands for now is that token.
        self.standing(id, now_ms, speaks)
    }

    /// The principal of the token of this id, for whoever has shown it before.
    pub(in crate::server) fn standing(&self, id: &str, now_ms: u64, speaks: Standings<'_>) -> Option<Principal> {
        let entries = self.read();
        let entry = entries.get(id)?;
        // Taken before the account is asked for: who is cut off in between is then cut off, or was refused.
        let open = entry.open.clone();
        let mut scopes = entry.scopes;
        let mut expires_at_ms = None;
        for one in chain(&entries, entry) {
            let one = one?;
            if one.is_over(now_ms) || speaks(&one.account).is_none() {
                return None;
            }
            scopes = scopes.and(one.scopes);
            expires_at_ms = [expires_at_ms, one.expires_at_ms].into_iter().flatten().min();
        }
        Some(Principal {
            account: entry.account.clone(),
            scopes,
            door: Door::Network,
            token: Some(id.to_owned()),
            reach: Arc::clone(&entry.reach),
            expires_at_ms,
            via: None,
            login: None,
            tie: Tie { token: open, ..Tie::default() },
        })
    }

    /// The principal that speaks for `account` by the token of `delegate`.
    ///
    /// # Errors
    /// ARE-0205 without the scope; ARE-0214 when there is no such account, or none that the token may speak for:
    /// whoever asks learns nothing of which it is. A name that cannot be one is `None`.
    pub(in crate::server) fn speak_for(
        &self,
        delegate: Principal,
        account: Option<AccountId>,
        operator: &AccountId,
        speaks: Standings<'_>,
    ) -> Result<Principal, Fault> {
        delegate.require(Scope::Delegate)?;
        let unknown = || {
            Fault::new(
                Code::ACCOUNT_UNKNOWN,
                "there is no such account, or none that this token may speak for",
                "name an account of the token's list; `are token list` shows it",
            )
        };
        let (Some(account), Some(token)) = (account, delegate.token.clone()) else { return Err(unknown()) };
        // First, so that a name that is none leaves nothing here.
        speaks(&account).filter(|_| account != *operator).ok_or_else(unknown)?;
        let tie = self.tie_of(&account);
        // Again after the tie is taken, so that a change in between is seen or cuts it.
        let groups = speaks(&account).ok_or_else(unknown)?;
        let entries = self.read();
        let covers = |entry: &Entry| entry.scopes.allow(Scope::Delegate) && entry.reach.covers(&account, &groups);
        let lets = |one: Option<&Entry>| one.is_some_and(|one| one.scopes.allow(Scope::Admin) || covers(one));
        let is_covered =
            entries.get(&token).is_some_and(|entry| covers(entry) && chain(&entries, entry).skip(1).all(lets));
        if !is_covered {
            return Err(unknown());
        }
        let scopes = Scopes::of(
            Scope::ALL.into_iter().filter(|&scope| scope != Scope::Delegate && delegate.scopes.allow(scope)),
        );
        Ok(Principal {
            via: Some(Via { token, account: delegate.account }),
            account,
            scopes,
            tie: Tie { account: tie, ..delegate.tie },
            ..delegate
        })
    }

    /// Makes a token of at most `maker`'s rights. It is good once [`insert`](Self::insert)ed.
    pub(in crate::server) fn mint(
        &self,
        maker: &Principal,
        wish: Wish,
        random: &Nonce,
        now_ms: u64,
    ) -> Result<Minted, Fault> {
        let Wish { account, scopes, label, reach, expires_at_ms } = wish;
        if maker.via.is_some() {
            return Err(Fault::new(
                Code::SCOPE_MISSING,
                "a token is not made by one that speaks for another account",
                "let the account make its own tokens",
            ));
        }
        let narrowest = "name `read`, `prompt`, `approve`, `admin` or `delegate`";
        if scopes.is_empty() {
            return Err(invalid("a token needs at least one scope", narrowest));
        }
        let lacking = scopes.iter().find(|&&scope| !maker.scopes.may_give(scope));
        lacking.map_or(Ok(()), |&scope| Err(lacks(scope)))?;
        if scopes.contains(&Scope::Delegate) == reach.is_empty() {
            let help = "give both the scope `delegate` and at least one of `--for GROUP` and `--for-account NAME`";
            return Err(invalid("for whom a token speaks and the scope `delegate` go together", help));
        }
        if !maker.scopes.allow(Scope::Admin) {
            maker.reach.contains(&reach)?;
        }
        let account = account.unwrap_or_else(|| maker.account.clone());
        if account != maker.account {
            maker.require(Scope::Admin)?;
        }
        let expires_at_ms = ends(expires_at_ms, maker.expires_at_ms, now_ms)?;
        self.has_room_for(maker)?;
        let (id, secret) = random.split_at(6);
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("are_{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        let row = TokenRow {
            id,
            hash: Digest::of(&[text.as_bytes()]),
            account,
            scopes: names(&scopes),
            label,
            created_at_ms: now_ms,
            is_revoked: false,
            parent: maker.token.clone(),
            speaks_for: reach.to_string(),
            expires_at_ms,
        };
        Ok(Minted { row, text })
    }

    /// Takes a stored token into service; false when the one that made it is no longer good.
    pub(in crate::server) fn insert(&self, row: &TokenRow) -> bool {
        let entry = Entry::new(row);
        let mut entries = self.write();
        // Asked under the lock under which a revocation takes the children too.
        let is_good = entry.parent.as_ref().is_none_or(|parent| entries.contains_key(parent));
        if is_good {
            entries.insert(row.id.clone(), entry);
            self.added.notify_one();
        }
        is_good
    }

    /// Takes a token and those made with it out of service and closes what they opened.
    pub(in crate::server) fn revoke(&self, id: &str) {
        let mut entries = self.write();
        for id in family(&entries, |one, _| one == id) {
            if let Some(mut entry) = entries.remove(&id) {
                entry.cut();
            }
        }
    }

    /// Takes scopes from a token, and closes what it and those made with it opened, for it may rest on them.
    pub(in crate::server) fn narrow(&self, id: &str, scopes: Scopes) {
        let mut entries = self.write();
        if let Some(entry) = entries.get_mut(id) {
            entry.scopes = entry.scopes.and(scopes);
        }
        for id in family(&entries, |one, _| one == id) {
            entries.entry(id).and_modify(Entry::cut);
        }
    }

    /// Closes what is open for an account that changed: what delegates opened, and when it is gone, what its own
    /// tokens and those made with them opened. The tokens stay, for an account that comes back.
    pub(in crate::server) fn account_changed(&self, account: &AccountId, is_gone: bool) {
        let spoken_for = self.spoken_for.lock().unwrap_or_else(PoisonError::into_inner).remove(account);
        if let Some(tie) = spoken_for {
            tie.cancel();
        }
        let mut entries = self.write();
        if is_gone {
            for id in family(&entries, |_, entry| entry.account == *account) {
                entries.entry(id).and_modify(Entry::cut);
            }
        }
    }

    /// Takes an account's tokens and those made with them out of service.
    pub(in crate::server) fn account_deleted(&self, account: &AccountId) {
        self.account_changed(account, true);
        let mut entries = self.write();
        for id in family(&entries, |_, entry| entry.account == *account) {
            entries.remove(&id);
        }
    }

    /// Takes tokens out of service that are over; when the next one is, if one is.
    pub(in crate::server) fn expire(&self, now_ms: u64) -> Option<u64> {
        let mut entries = self.write();
        for id in family(&entries, |_, entry| entry.is_over(now_ms)) {
            if let Some(mut entry) = entries.remove(&id) {
                entry.cut();
            }
        }
        entries.values().filter_map(|entry| entry.expires_at_ms).min()
    }

    /// Has it looked at again what ends next.
    pub(in crate::server) fn look_again(&self) {
        self.added.notify_one();
    }

    /// Resolves when a token was added. Cancel-safe.
    pub(in crate::server) async fn added(&self) {
        self.added.notified().await;
    }

    /// What is opened for an account by delegates waits on this.
    fn tie_of(&self, account: &AccountId) -> CancellationToken {
        let mut spoken_for = self.spoken_for.lock().unwrap_or_else(PoisonError::into_inner);
        spoken_for.entry(account.clone()).or_default().clone()
    }

    fn has_room_for(&self, maker: &Principal) -> Result<(), Fault> {
        let entries = self.read();
        if entries.len() >= TOKENS_MAX {
            let message = format!("there are {TOKENS_MAX} tokens that are good");
            return Err(Fault::new(Code::ACCOUNT_LIMIT, message, "revoke some with `are token revoke`"));
        }
        let depth =
            maker.token.as_ref().and_then(|id| entries.get(id)).map_or(0, |entry| chain(&entries, entry).count());
        if depth >= TOKEN_DEPTH_MAX {
            let message = format!("tokens make tokens {TOKEN_DEPTH_MAX} deep");
            return Err(Fault::new(Code::ACCOUNT_LIMIT, message, "make it with an earlier token"));
        }
        Ok(())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Entries> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token and those it was made with, one by one; `None` for one that is not good, and last.
fn chain<'a>(entries: &'a Entries, first: &'a Entry) -> impl Iterator<Item = Option<&'a Entry>> {
    let mut next = Some(Some(first));
    let mut left = TOKEN_DEPTH_MAX;
    std::iter::from_fn(move || {
        let here = next.take()?;
        next = match here {
            // Too deep, as in a store that somebody edited into a circle.
            Some(entry) if entry.parent.is_some() && left == 0 => Some(None),
            Some(entry) => entry.parent.as_ref().map(|parent| entries.get(parent)),
            None => None,
        };
        left = left.saturating_sub(1);
        Some(here)
    })
}

/// The ids of the tokens that `goes` holds for, and of all made with them.
fn family(entries: &Entries, goes: impl Fn(&str, &Entry) -> bool) -> HashSet<String> {
    let mut children: HashMap<&str, Vec<&str>> = HashMap::new();
    for (id, entry) in entries {
        if let Some(parent) = &entry.parent {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut going: Vec<&str> =
        entries.iter().filter(|(id, entry)| goes(id, entry)).map(|(id, _)| id.as_str()).collect();
    let mut found = HashSet::new();
    while let Some(id) = going.pop() {
        if found.insert(id.to_owned()) {
            going.extend(children.get(id).into_iter().flatten());
        }
    }
    found
}

/// When a token ends: never after the one that makes it.
fn ends(wished: Option<u64>, maker: Option<u64>, now_ms: u64) -> Result<Option<u64>, Fault> {
    match (wished, maker) {
        (Some(end), _) if end <= now_ms => Err(invalid("the token would be over already", "name a later end")),
        (Some(end), Some(latest)) if end > latest => {
            Err(invalid("the token would outlive the one that makes it", "name an earlier end, or none"))
        }
        (wished, maker) => Ok(wished.or(maker)),
    }
}

/// Scopes as they are stored.
pub(in crate::server) fn names(scopes: &[Scope]) -> String {
    let mut names: Vec<_> = scopes.iter().map(|scope| scope.name()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(",")
}

/// The public id inside a token.
fn id_of(token: &str) -> Option<&str> {
    token.strip_prefix("are_")?.split_once('_').map(|(id, _)| id)
}

//! Who speaks: tokens, scopes, and the principal a credential stands for.
//!
//! A token is `are_<id>_<secret>`; only its SHA-256 is kept, and compared in
//! constant time. The store is the truth; this is its mirror in memory, changed
//! only after the store has the change. Revoking a token cancels
//! [`Principal::revoked`], on which every open socket of it waits.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use are_core::digest::{Digest, Nonce};
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, ThreadId};
use are_core::store::TokenRow;
use are_engine::api::Caller;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

/// Bytes of a credential; a longer one is none of ours.
const TOKEN_BYTES_MAX: usize = 256;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// See sessions, events, tools.
    Read,
    /// Begin sessions and turns, steer and cancel them, set variables.
    Prompt,
    /// Answer approvals.
    Approve,
    /// All of these, tokens of other accounts, the configuration.
    Admin,
}

impl Scope {
    /// Every scope, narrowest first.
    pub const ALL: [Self; 4] = [Self::Read, Self::Prompt, Self::Approve, Self::Admin];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Prompt => "prompt",
            Self::Approve => "approve",
            Self::Admin => "admin",
        }
    }
}

/// A set of scopes; `admin` contains the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scopes(u8);

impl Scopes {
    /// All of them.
    pub(super) const ALL: Self = Self(0b1111);

    /// True when `scope` is given, by itself or by `admin`.
    pub(super) const fn allow(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8 | 1 << Scope::Admin as u8) != 0
    }

    /// True when all of `others` are given.
    pub(super) fn contain(self, others: Self) -> bool {
        Scope::ALL.into_iter().all(|scope| self.allow(scope) || !others.allow(scope))
    }

    /// As stored. An unknown name, from a newer version, grants nothing.
    pub(super) fn parse(text: &str) -> Self {
        let names = text.split(',').map(str::trim);
        Self::of(names.filter_map(|name| Scope::ALL.into_iter().find(|scope| scope.name() == name)))
    }

    /// From single scopes.
    fn of(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | 1 << scope as u8))
    }
}

/// By what a principal was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// The unix socket: a process of the same user.
    Local,
    /// A token over TCP, or nobody checked (`--no-auth`).
    Network,
}

/// Who speaks on a connection.
#[derive(Debug, Clone)]
pub(super) struct Principal {
    /// The account.
    pub(super) account: AccountId,
    /// What it may do.
    pub(super) scopes: Scopes,
    /// By which door it came.
    pub(super) door: Door,
    /// Id of its token; `None` for the operator.
    pub(super) token: Option<String>,
    /// Cancelled when its token is revoked.
    pub(super) revoked: CancellationToken,
}

impl Principal {
    /// The account that owns this process, by the unix socket, the admin token or `--no-auth`.
    pub(super) fn admin(door: Door) -> Result<Self, Fault> {
        let account = admin_account()?;
        Ok(Self { account, scopes: Scopes::ALL, door, token: None, revoked: CancellationToken::new() })
    }

    /// The caller the engine hears.
    pub(super) fn caller(&self, thread: ThreadId) -> Caller {
        Caller {
            account: self.account.clone(),
            thread,
            can_approve: self.scopes.allow(Scope::Approve),
            can_administer: self.scopes.allow(Scope::Admin),
        }
    }

    /// Refuses what the scopes do not cover.
    pub(super) fn require(&self, scope: Scope) -> Result<(), Fault> {
        if self.scopes.allow(scope) {
            return Ok(());
        }
        Err(Fault::new(
            Code::SCOPE_MISSING,
            format!("this token lacks the scope `{}`", scope.name()),
            format!("use a token that has it: `are token create --scopes {}`", scope.name()),
        ))
    }
}

/// Account of the one who runs the server: the operator, by whatever door.
///
/// # Errors
/// None that happens: the name is a constant and valid.
pub fn admin_account() -> Result<AccountId, Fault> {
    "admin".parse().map_err(|error: are_core::ids::InvalidId| {
        Fault::new(Code::INTERNAL, error.to_string(), "report this as a bug")
    })
}

/// A token just made: the only moment its text exists.
pub(super) struct Minted {
    /// As stored.
    pub(super) row: TokenRow,
    /// The token.
    pub(super) text: String,
}

#[derive(Debug, Clone)]
struct Entry {
    hash: Digest,
    account: AccountId,
    scopes: Scopes,
    parent: Option<String>,
    revoked: CancellationToken,
}

/// The tokens that are good now.
#[derive(Debug)]
pub(super) struct Tokens {
    admin: Digest,
    entries: RwLock<HashMap<String, Entry>>,
}

impl Tokens {
    /// `admin` is the SHA-256 of the admin token; `rows` is what the store holds.
    pub(super) fn new(admin: Digest, rows: Vec<TokenRow>) -> Self {
        let tokens = Self { admin, entries: RwLock::default() };
        // A token comes into service after the one that made it, so it stays out where that one does.
        let mut waiting: Vec<_> = rows.into_iter().filter(|row| !row.is_revoked).collect();
        loop {
            let before = waiting.len();
            waiting.retain(|row| !tokens.insert(row.clone()));
            if waiting.is_empty() || waiting.len() == before {
                return tokens;
            }
        }
    }

    /// The principal of a token; `None` when it is not good.
    pub(super) fn recognise(&self, token: &str) -> Option<Principal> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let hash = Digest::of(&[token.as_bytes()]);
        // SECURITY: hashes are compared, in constant time, so that neither the secret's bytes nor their order leaks.
        if bool::from(hash.0.ct_eq(&self.admin.0)) {
            return Principal::admin(Door::Network).ok();
        }
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(id_of(token)?)?;
        bool::from(hash.0.ct_eq(&entry.hash.0)).then(|| Principal {
            account: entry.account.clone(),
            scopes: entry.scopes,
            door: Door::Network,
            token: id_of(token).map(str::to_owned),
            revoked: entry.revoked.clone(),
        })
    }

    /// Makes a token of at most `maker`'s scopes. It is good once [`insert`](Self::insert)ed.
    pub(super) fn mint(maker: &Principal, wish: Wish, random: &Nonce, now_ms: u64) -> Result<Minted, Fault> {
        let Wish { account, scopes, label } = wish;
        if scopes.is_empty() {
            return Err(Fault::new(
                Code::REQUEST_INVALID,
                "a token needs at least one scope",
                "name `read`, `prompt`, `approve` or `admin`",
            ));
        }
        scopes.iter().try_for_each(|&scope| maker.require(scope))?;
        let account = account.unwrap_or_else(|| maker.account.clone());
        if account != maker.account {
            maker.require(Scope::Admin)?;
        }
        let (id, secret) = random.split_at(6);
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("are_{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        let mut names: Vec<_> = scopes.iter().map(|scope| scope.name()).collect();
        names.sort_unstable();
        names.dedup();
        let row = TokenRow {
            id,
            hash: Digest::of(&[text.as_bytes()]),
            account,
            scopes: names.join(","),
            label,
            created_at_ms: now_ms,
            is_revoked: false,
            parent: maker.token.clone(),
        };
        Ok(Minted { row, text })
    }

    /// Takes a stored token into service; false when the one that made it is no longer good.
    pub(super) fn insert(&self, row: TokenRow) -> bool {
        let entry = Entry {
            hash: row.hash,
            account: row.account,
            scopes: Scopes::parse(&row.scopes),
            parent: row.parent,
            revoked: CancellationToken::new(),
        };
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        // Asked under the lock under which a revocation takes the children too.
        let is_good = entry.parent.as_ref().is_none_or(|parent| entries.contains_key(parent));
        if is_good {
            entries.insert(row.id, entry);
        }
        is_good
    }

    /// Takes a token and those made with it out of service and closes what they opened.
    pub(super) fn revoke(&self, id: &str) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let mut going = vec![id.to_owned()];
        while let Some(id) = going.pop() {
            if let Some(entry) = entries.remove(&id) {
                entry.revoked.cancel();
            }
            let children = entries.iter().filter(|(_, entry)| entry.parent.as_ref() == Some(&id));
            going.extend(children.map(|(child, _)| child.clone()));
        }
    }
}

/// What a new token shall be.
pub(super) struct Wish {
    /// Whose; the maker's own account when absent.
    pub(super) account: Option<AccountId>,
    /// What it may do.
    pub(super) scopes: Vec<Scope>,
    /// For people.
    pub(super) label: String,
}

/// The public id inside a token.
fn id_of(token: &str) -> Option<&str> {
    token.strip_prefix("are_")?.split_once('_').map(|(id, _)| id)
}

#[cfg(test)]
mod tests;

//! Who speaks: scopes, and the principal that a credential stands for.
//!
//! Identity comes from the credential alone. A token of the scope `delegate`
//! may name another account in the header `are-account`, within the list that
//! was fixed when it was made; what it may do then is what it may do anyway,
//! without minting tokens. [`Tokens`] keeps what is good now.

mod reach;
mod tokens;

use std::sync::Arc;

use are_core::account::Via;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, ThreadId};
use are_engine::api::Caller;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::console::logins::Recognised;

pub(super) use self::reach::Reach;
pub(super) use self::tokens::{Minted, Tokens, Wish, names};

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
    /// All of these, accounts, tokens of other accounts, the configuration.
    Admin,
    /// Speak for the accounts that the token names; `admin` does not contain it.
    Delegate,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::Read, Self::Prompt, Self::Approve, Self::Admin, Self::Delegate];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Prompt => "prompt",
            Self::Approve => "approve",
            Self::Admin => "admin",
            Self::Delegate => "delegate",
        }
    }
}

/// A set of scopes; `admin` contains the others but `delegate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scopes(u8);

impl Scopes {
    /// All that contain one another.
    pub(super) const ALL: Self = Self(0b1111);

    /// True when `scope` is given, by itself or by `admin`.
    pub(super) const fn allow(self, scope: Scope) -> bool {
        let by_admin = match scope {
            Scope::Read | Scope::Prompt | Scope::Approve | Scope::Admin => 1 << Scope::Admin as u8,
            Scope::Delegate => 0,
        };
        self.0 & (1 << scope as u8 | by_admin) != 0
    }

    /// True when it may give out `scope`: what it has, and `admin` all.
    pub(super) const fn may_give(self, scope: Scope) -> bool {
        self.allow(scope) || self.allow(Scope::Admin)
    }

    /// True when all of `others` could be given out.
    pub(super) fn contain(self, others: Self) -> bool {
        Scope::ALL.into_iter().all(|scope| self.may_give(scope) || !others.allow(scope))
    }

    /// Only what both give.
    pub(super) fn and(self, other: Self) -> Self {
        Self::of(Scope::ALL.into_iter().filter(|&scope| self.allow(scope) && other.may_give(scope)))
    }

    /// As stored. An unknown name, from a newer version, grants nothing.
    pub(super) fn parse(text: &str) -> Self {
        let names = text.split(',').map(str::trim);
        Self::of(names.filter_map(|name| Scope::ALL.into_iter().find(|scope| scope.name() == name)))
    }

    /// From single scopes.
    pub(super) fn of(scopes: impl IntoIterator<Item = Scope>) -> Self {
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

/// Until when what a principal opened stays open: the end of its token, of the account it speaks for, and of its login.
#[derive(Debug, Clone, Default)]
pub(super) struct Tie {
    token: CancellationToken,
    account: CancellationToken,
    login: CancellationToken,
}

impl Tie {
    /// Resolves when it is cut. Cancel-safe.
    pub(super) async fn cut(&self) {
        tokio::select! {
            () = self.token.cancelled() => {}
            () = self.account.cancelled() => {}
            () = self.login.cancelled() => {}
        }
    }

    /// True when it is cut.
    pub(super) fn is_cut(&self) -> bool {
        self.token.is_cancelled() || self.account.is_cancelled() || self.login.is_cancelled()
    }
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
    /// For whom the token may speak.
    pub(super) reach: Arc<Reach>,
    /// When the token ends, in milliseconds since 1970.
    pub(super) expires_at_ms: Option<u64>,
    /// The token and its owner, when it speaks for another.
    pub(super) via: Option<Via>,
    /// Id of the console's login by which it came.
    pub(super) login: Option<String>,
    /// Cut when it may speak no longer.
    pub(super) tie: Tie,
}

impl Principal {
    /// The account that owns this process, by the unix socket, the admin token or `--no-auth`.
    pub(super) fn admin(door: Door) -> Result<Self, Fault> {
        Ok(Self {
            account: admin_account()?,
            scopes: Scopes::ALL,
            door,
            token: None,
            reach: Arc::default(),
            expires_at_ms: None,
            via: None,
            login: None,
            tie: Tie::default(),
        })
    }

    /// The same by a login of the console, which ends with it.
    pub(super) fn through(mut self, login: Recognised) -> Self {
        self.login = Some(login.id);
        self.tie.login = login.open;
        self
    }

    /// The caller the engine hears.
    pub(super) fn caller(&self, thread: ThreadId) -> Caller {
        Caller {
            account: self.account.clone(),
            thread,
            can_approve: self.scopes.allow(Scope::Approve),
            can_administer: self.scopes.allow(Scope::Admin),
            via: self.via.clone(),
        }
    }

    /// Refuses what the scopes do not cover.
    pub(super) fn require(&self, scope: Scope) -> Result<(), Fault> {
        if self.scopes.allow(scope) { Ok(()) } else { Err(lacks(scope)) }
    }
}

/// The refusal of a token without a scope.
fn lacks(scope: Scope) -> Fault {
    Fault::new(
        Code::SCOPE_MISSING,
        format!("this token lacks the scope `{}`", scope.name()),
        format!("use a token that has it: `are token create --scopes {}`", scope.name()),
    )
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

#[cfg(test)]
mod tests;

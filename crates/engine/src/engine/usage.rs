//! What accounts and sessions have used, and how their limits stand.

use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, SessionKey};
use are_core::store::{SpentFilter, SpentRow};
use are_policy::limits::Standing;

use super::Engine;
use crate::api::Caller;
use crate::faults;

/// Rows of one answer: a thousand accounts with some twenty subjects each.
const ROWS_MAX: u32 = 20_000;

/// Whose use is asked for, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageAsked {
    /// Only this account's; the caller's own when it may not see others.
    pub account: Option<AccountId>,
    /// Only this session's.
    pub session: Option<SessionKey>,
    /// Since the hour of this time, in milliseconds since 1970.
    pub since_ms: u64,
}

/// How a limit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitView {
    /// Whose; absent for a provider's, which all share.
    pub account: Option<AccountId>,
    /// Its name, `account.tokens_per_day`.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
}

/// What was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageView {
    /// By account and subject.
    pub rows: Vec<SpentRow>,
    /// True when there are more rows than are told.
    pub is_cut: bool,
    /// The limits of the account that was asked for, and those of providers for whoever sees all.
    pub limits: Vec<LimitView>,
}

impl Engine {
    /// What was used, and how the limits stand. An account sees its own; an administrator names whose, or sees all.
    ///
    /// # Errors
    /// ARE-0205 for another account's, ARE-0301 when the caller has no such session, or the store failed.
    pub async fn usage(&self, caller: &Caller, asked: UsageAsked) -> Result<UsageView, Fault> {
        let store = self.inner.ports.store.as_ref();
        let now_ms = self.inner.ports.clock.now_ms();
        let account = match asked.account {
            Some(account) if account != caller.account && !caller.can_administer => {
                return Err(Fault::new(
                    Code::SCOPE_MISSING,
                    "another account's usage is shown to administrators only",
                    "leave `account` out to see your own, or use a token with the scope `admin`",
                ));
            }
            Some(account) => Some(account),
            None if caller.can_administer => None,
            None => Some(caller.account.clone()),
        };
        if let Some(session) = asked.session {
            let row = store.session(session).await.map_err(faults::store)?;
            if row.owner != caller.account && !caller.can_administer {
                return Err(faults::unknown_session());
            }
        }
        let filter = SpentFilter {
            account: account.clone(),
            session: asked.session,
            since_ms: asked.since_ms,
            is_by_hour: false,
            limit: ROWS_MAX + 1,
        };
        let mut rows = store.spent(filter).await.map_err(faults::store)?;
        let is_cut = rows.len() > ROWS_MAX as usize;
        rows.truncate(ROWS_MAX as usize);
        let mut limits = Vec::new();
        if asked.session.is_none() {
            let limiter = &self.inner.limiter;
            let whose = account.clone().unwrap_or_else(|| caller.account.clone());
            limiter.load(store, &whose, now_ms).await?;
            limits.extend(limiter.standing(&whose, now_ms).into_iter().map(|(name, standing)| LimitView {
                account: Some(whose.clone()),
                name,
                standing,
            }));
            if caller.can_administer {
                let of_providers = limiter.standing_of_providers(now_ms).into_iter();
                limits.extend(of_providers.map(|(name, standing)| LimitView { account: None, name, standing }));
            }
        }
        Ok(UsageView { rows, is_cut, limits })
    }
}

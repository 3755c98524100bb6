//! Keeps the limits that span sessions: reserves before a call, settles after it.
//!
//! The levels are sums over what sessions recorded, kept by the store beside the
//! journals and read here when an account is first used, so that neither a
//! restart nor a crash gives anything back. What one session is refused depends
//! on what others use, so a refusal is recorded as an input of its journal.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use are_core::BoxFuture;
use are_core::body::{Body, Effect};
use are_core::error::{Code, Fault};
use are_core::ids::AccountId;
use are_core::spent::Spent;
use are_core::store::{SpentFilter, SpentRow, Store, StoreError};
use are_policy::limits::{Crossed, Levels, Limit, Limits, Quantity, Standing, Used};
use are_policy::rules::{EFFECTS, effect_word};

use crate::faults;

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;
/// Rows of what one account used that are read at once: each hour of a month with some twenty subjects.
const ROWS_MAX: u32 = 20_000;
/// Rows that are read for the providers, over all accounts.
const PROVIDER_ROWS_MAX: u32 = 1_000_000;

/// The levels of all holders that were used since the start.
pub(crate) struct Limiter {
    limits: Limits,
    levels: Mutex<Book>,
    /// One reads at a time, so that nothing is used between reading and keeping.
    loading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Book {
    accounts: HashMap<AccountId, OfAccount>,
    /// `None` until they are read.
    providers: Option<HashMap<String, Levels>>,
}

struct OfAccount {
    all: Levels,
    effects: HashMap<Effect, Levels>,
}

/// What a subject is of.
enum Subject<'a> {
    Provider(&'a str),
    Effect(Effect),
    Other,
}

impl<'a> Subject<'a> {
    fn read(subject: &'a str) -> Self {
        match subject.split_once(':') {
            Some(("model", model)) => Self::Provider(model.split_once(':').map_or("", |(provider, _)| provider)),
            Some(("effect", name)) => {
                EFFECTS.into_iter().find(|one| effect_word(*one) == name).map_or(Self::Other, Self::Effect)
            }
            Some(_) | None => Self::Other,
        }
    }
}

/// A limit that leaves no room, by its full name.
pub(crate) struct Refusal {
    pub(crate) name: String,
    pub(crate) crossed: Crossed,
}

impl Limiter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, levels: Mutex::default(), loading: tokio::sync::Mutex::default() }
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_loaded(&self, account: &AccountId) -> bool {
        let has_own = !self.limits.account.is_empty() || !self.limits.effects.is_empty();
        let book = self.book();
        (!has_own || book.accounts.contains_key(account))
            && (self.limits.providers.is_empty() || book.providers.is_some())
    }

    /// Has the levels that a call of the account is held to.
    pub(crate) async fn load(&self, store: &dyn Store, account: &AccountId, now_ms: u64) -> Result<(), Fault> {
        if self.is_loaded(account) {
            return Ok(());
        }
        let _alone = self.loading.lock().await;
        if self.is_loaded(account) {
            return Ok(());
        }
        let has_providers = self.book().providers.is_some();
        if !self.limits.providers.is_empty() && !has_providers {
            let limits: Vec<Limit> = self.limits.providers.values().flatten().copied().collect();
            let rows = read(store, None, &limits, now_ms).await?;
            let mut providers = HashMap::new();
            for (provider, limits) in &self.limits.providers {
                let mut levels = Levels::new(limits, now_ms);
                for row in &rows {
                    if matches!(Subject::read(&row.subject), Subject::Provider(of) if of == provider) {
                        levels.recall(&row.spent, row.at_ms, now_ms);
                    }
                }
                providers.insert(provider.clone(), levels);
            }
            self.book().providers = Some(providers);
        }
        let limits: Vec<Limit> =
            self.limits.account.iter().chain(self.limits.effects.values().flatten()).copied().collect();
        let rows = read(store, Some(account), &limits, now_ms).await?;
        let mut own = OfAccount {
            all: Levels::new(&self.limits.account, now_ms),
            effects: self.limits.effects.iter().map(|(effect, of)| (*effect, Levels::new(of, now_ms))).collect(),
        };
        for row in rows {
            own.all.recall(&row.spent, row.at_ms, now_ms);
            if let Subject::Effect(effect) = Subject::read(&row.subject)
                && let Some(levels) = own.effects.get_mut(&effect)
            {
                levels.recall(&row.spent, row.at_ms, now_ms);
            }
        }
        self.book().accounts.insert(account.clone(), own);
        Ok(())
    }

    /// Reserves `want` of all limits that it is held to, or of none.
    pub(crate) fn reserve(&self, account: &AccountId, (subject, at_ms, want): &Used) -> Result<(), Refusal> {
        let mut book = self.book();
        let refusal = |scope: String, crossed: Crossed| Refusal { name: format!("{scope}.{}", crossed.limit), crossed };
        let mut refused = Vec::new();
        if let Some(own) = book.accounts.get(account) {
            refused.extend(own.all.check(want, *at_ms).err().map(|crossed| refusal("account".to_owned(), crossed)));
            if let Subject::Effect(effect) = Subject::read(subject)
                && let Some(levels) = own.effects.get(&effect)
            {
                let scope = format!("effect.{}", effect_word(effect));
                refused.extend(levels.check(want, *at_ms).err().map(|crossed| refusal(scope, crossed)));
            }
        }
        if let Subject::Provider(provider) = Subject::read(subject)
            && let Some(levels) = book.providers.as_ref().and_then(|providers| providers.get(provider))
            && let Err(crossed) = levels.check(want, *at_ms)
        {
            // SECURITY: how much of it others use is theirs to know.
            let crossed = Crossed { used: crossed.limit.max, ..crossed };
            refused.push(refusal(format!("provider.{provider}"), crossed));
        }
        let longest = refused.into_iter().max_by_key(|one| one.crossed.retry_after_ms.unwrap_or(u64::MAX));
        if let Some(refusal) = longest {
            return Err(refusal);
        }
        book.add(account, subject, want, (*at_ms, *at_ms));
        Ok(())
    }

    /// Gives back what was reserved and takes what the journal now says was used.
    pub(crate) fn settle(&self, account: &AccountId, reserved: &[Used], used: &[Used], now_ms: u64) {
        if reserved.is_empty() && used.is_empty() {
            return;
        }
        let mut book = self.book();
        for (subject, at_ms, spent) in reserved {
            book.add(account, subject, &spent.negated(), (*at_ms, now_ms));
        }
        for (subject, at_ms, spent) in used {
            book.add(account, subject, spent, (*at_ms, now_ms));
        }
    }

    /// How the limits of an account stand, by their full names.
    pub(crate) fn standing(&self, account: &AccountId, now_ms: u64) -> Vec<(String, Standing)> {
        let book = self.book();
        let Some(own) = book.accounts.get(account) else { return Vec::new() };
        let mut all = named("account", &own.all, now_ms);
        for effect in self.limits.effects.keys() {
            let levels = own.effects.get(effect).into_iter();
            all.extend(levels.flat_map(|levels| named(&format!("effect.{}", effect_word(*effect)), levels, now_ms)));
        }
        all
    }

    /// How those of the providers stand.
    pub(crate) fn standing_of_providers(&self, now_ms: u64) -> Vec<(String, Standing)> {
        let book = self.book();
        let providers = book.providers.iter().flatten();
        let mut all: Vec<_> =
            providers.flat_map(|(name, levels)| named(&format!("provider.{name}"), levels, now_ms)).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

impl Book {
    fn add(&mut self, account: &AccountId, subject: &str, spent: &Spent, (at_ms, now_ms): (u64, u64)) {
        if let Some(own) = self.accounts.get_mut(account) {
            own.all.add(spent, at_ms, now_ms);
            if let Subject::Effect(effect) = Subject::read(subject)
                && let Some(levels) = own.effects.get_mut(&effect)
            {
                levels.add(spent, at_ms, now_ms);
            }
        }
        if let Subject::Provider(provider) = Subject::read(subject)
            && let Some(levels) = self.providers.as_mut().and_then(|providers| providers.get_mut(provider))
        {
            levels.add(spent, at_ms, now_ms);
        }
    }
}

fn named(scope: &str, levels: &Levels, now_ms: u64) -> Vec<(String, Standing)> {
    let name = |standing: Standing| (format!("{scope}.{}", standing.limit), standing);
    levels.standing(now_ms).into_iter().map(name).collect()
}

async fn read(
    store: &dyn Store,
    account: Option<&AccountId>,
    limits: &[Limit],
    now_ms: u64,
) -> Result<Vec<SpentRow>, Fault> {
    let limit = if account.is_some() { ROWS_MAX } else { PROVIDER_ROWS_MAX };
    let page = |since_ms| {
        store.spent(SpentFilter { account: account.cloned(), session: None, since_ms, is_by_hour: true, limit })
    };
    // Only the rows of one account come hour by hour.
    all_rows(page, Levels::since_ms(limits, now_ms), limit, account.is_some()).await
}

/// All rows since then, page by page of at most `limit` rows, the oldest hour first.
///
/// SECURITY: rows that were cut off would be given back to whoever used so much.
///
/// # Errors
/// ARE-0713 where one hour alone, or what cannot be read in pages, has more rows than that.
async fn all_rows<'a>(
    page: impl Fn(u64) -> BoxFuture<'a, Result<Vec<SpentRow>, StoreError>> + Send,
    mut since_ms: u64,
    limit: u32,
    is_by_hour: bool,
) -> Result<Vec<SpentRow>, Fault> {
    let mut all = Vec::new();
    loop {
        let mut rows = page(since_ms).await.map_err(faults::store)?;
        if rows.len() < limit as usize {
            all.append(&mut rows);
            return Ok(all);
        }
        // The last hour may have been cut in the middle, so the next page begins with it.
        let last = rows.last().map_or(0, |row| row.at_ms / HOUR_MS);
        rows.truncate(rows.partition_point(|row| row.at_ms / HOUR_MS < last));
        if rows.is_empty() || !is_by_hour {
            let what = format!("what was used fills more than the {limit} sums that are read at once");
            return Err(Fault::new(
                Code::RATE_LIMIT,
                what,
                "use fewer different models, or ask whoever runs the server",
            ));
        }
        all.append(&mut rows);
        since_ms = last * HOUR_MS;
    }
}

/// The record of a limit that leaves no room, and whether the turn waits for it.
pub(crate) fn reached(call: Option<are_core::ids::CallNo>, refusal: Refusal, waits: bool) -> Body {
    let Refusal { name, crossed: Crossed { limit, used, wanted, retry_after_ms } } = refusal;
    Body::LimitReached { call, limit: name, used, wanted, max: limit.max, retry_after_ms, waits }
}

/// An amount of what a limit of that name limits, as people write it.
pub(crate) fn shown(limit: &str, amount: u64) -> String {
    let key = limit.rsplit('.').next().unwrap_or_default();
    match key.parse::<Limit>().map(|limit| limit.quantity) {
        Ok(Quantity::Money) => are_policy::prices::show_money(amount),
        Ok(Quantity::Cpu) => format!("{} s", amount.div_ceil(1_000)),
        Ok(Quantity::Requests | Quantity::Tokens | Quantity::Calls | Quantity::Bytes) | Err(()) => amount.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(hour: u64, subject: u64) -> SpentRow {
        let account = "alice".parse().unwrap();
        SpentRow {
            account,
            subject: format!("model:p:{subject}"),
            at_ms: hour * HOUR_MS + subject,
            spent: Spent::default(),
        }
    }

    async fn read(stored: &[SpentRow], limit: u32, is_by_hour: bool) -> Result<Vec<SpentRow>, Fault> {
        let page = |since_ms| -> BoxFuture<'static, _> {
            let since = stored.iter().filter(|row| row.at_ms / HOUR_MS >= since_ms / HOUR_MS);
            Box::pin(std::future::ready(Ok(since.take(limit as usize).cloned().collect())))
        };
        all_rows(page, 0, limit, is_by_hour).await
    }

    #[tokio::test]
    async fn nothing_that_was_used_is_cut_off_and_what_cannot_be_read_is_no_room() {
        let stored: Vec<SpentRow> = (0..7).flat_map(|hour| (0..4).map(move |subject| row(hour, subject))).collect();
        for limit in [5, 6, 8, 27, 28, 29, 100] {
            assert_eq!(read(&stored, limit, true).await.unwrap(), stored, "{limit} at once");
        }
        assert_eq!(read(&[], 5, true).await.unwrap(), []);
        assert_eq!(read(&stored, 4, true).await.unwrap_err().code, Code::RATE_LIMIT, "one hour fills a page");
        assert_eq!(read(&stored, 28, false).await.unwrap_err().code, Code::RATE_LIMIT);
        assert_eq!(read(&stored, 29, false).await.unwrap(), stored);
    }
}

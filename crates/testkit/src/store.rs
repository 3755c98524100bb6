//! A store that counts the calls it gets and fails where it is told to.
//!
//! Every call of the port but `failed` has a number, from 1 in the order in
//! which they begin. A plan says what happens to which; a seed makes one. After
//! a death nothing answers any more, as for a process that was killed: the
//! simulator drops the engine, and goes on with a new `FaultStore` around the
//! same inner store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use are_core::BoxFuture;
use are_core::digest::Digest;
use are_core::ids::{AccountId, RequestId, Seq, SessionKey, TurnNo};
use are_core::journal::Row;
use are_core::store::{
    AccountRow, Append, Memories, MemoryRow, Receipt, SealedRow, SessionFilter, SessionRow, SpentFilter, SpentRow,
    Store, StoreError, TokenRow, VariableRow,
};
use tokio::sync::watch;

use crate::run::Chance;

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this error and not performed.
    FailBefore(StoreError),
    /// It is performed and then reported as this error.
    FailAfter(StoreError),
    /// The process dies before it.
    DieBefore,
    /// The process dies after it was performed, before anybody hears of it.
    DieAfter,
    /// It waits for [`FaultStore::release`] before it is performed.
    Hold,
}

/// Wraps a store; see the module.
pub struct FaultStore {
    inner: Arc<dyn Store>,
    seen: watch::Sender<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    calls: Vec<&'static str>,
    plan: BTreeMap<u64, Fault>,
    faults: Option<Faults>,
    released: BTreeSet<u64>,
    is_dead: bool,
    failed: Option<String>,
}

/// Faults by chance.
#[derive(Debug)]
struct Faults {
    chance: Chance,
    one_in: u64,
    /// False when the disk is full now and then and nothing else happens.
    is_mortal: bool,
}

impl Faults {
    fn draw(&mut self, call: &str) -> Option<Fault> {
        if self.chance.below(self.one_in) != 0 {
            return None;
        }
        if !self.is_mortal {
            return (call == "append").then_some(Fault::FailBefore(StoreError::Full));
        }
        Some(match self.chance.below(3) {
            0 if call == "append" => Fault::FailBefore(StoreError::Full),
            0 | 1 => Fault::DieBefore,
            _ => Fault::DieAfter,
        })
    }
}

impl FaultStore {
    /// A store that fails nowhere until it is told to.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, seen: watch::Sender::default() }
    }

    /// A store in which about one call in `one_in` goes wrong: a full disk, or
    /// a death before or after the call.
    #[must_use]
    pub fn seeded(inner: Arc<dyn Store>, seed: u64, one_in: u64) -> Self {
        Self::with(inner, Faults { chance: Chance::new(seed), one_in, is_mortal: true })
    }

    /// A store in which about one append in `one_in` finds no space.
    #[must_use]
    pub fn short_of_space(inner: Arc<dyn Store>, seed: u64, one_in: u64) -> Self {
        Self::with(inner, Faults { chance: Chance::new(seed), one_in, is_mortal: false })
    }

    fn with(inner: Arc<dyn Store>, faults: Faults) -> Self {
        let store = Self::new(inner);
        store.seen.send_modify(|seen| seen.faults = Some(faults));
        store
    }

    /// Plans a fault for call `number`.
    pub fn plan(&self, number: u64, fault: Fault) {
        self.seen.send_modify(|seen| drop(seen.plan.insert(number, fault)));
    }

    /// Call `number` fails with `error` and is not performed.
    pub fn fail_before(&self, number: u64, error: StoreError) {
        self.plan(number, Fault::FailBefore(error));
    }

    /// Call `number` is performed; with an error it then fails, without one the process dies.
    pub fn fail_after(&self, number: u64, error: Option<StoreError>) {
        self.plan(number, error.map_or(Fault::DieAfter, Fault::FailAfter));
    }

    /// Call `number` waits until it is [released](Self::release).
    pub fn hold(&self, number: u64) {
        self.plan(number, Fault::Hold);
    }

    /// Lets a held call go on; also before it came.
    pub fn release(&self, number: u64) {
        self.seen.send_modify(|seen| {
            seen.released.insert(number);
        });
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.seen.borrow().calls.len() as u64
    }

    /// Names of the calls so far, in order.
    #[must_use]
    pub fn call_names(&self) -> Vec<&'static str> {
        self.seen.borrow().calls.clone()
    }

    /// Resolves when call `number` has come; a held one is then waiting.
    pub async fn arrived(&self, number: u64) {
        self.wait(|seen| seen.calls.len() as u64 >= number).await;
    }

    /// Resolves when the planned death has come.
    pub async fn died(&self) {
        self.wait(|seen| seen.is_dead).await;
    }

    /// True after the planned death.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.seen.borrow().is_dead
    }

    async fn wait(&self, condition: impl FnMut(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        if seen.wait_for(condition).await.is_err() {
            // The sender is `self`, so this is not reached.
            std::future::pending::<()>().await;
        }
    }

    /// Numbers the call and says what is to happen to it.
    fn begin(&self, name: &'static str) -> (u64, Option<Fault>) {
        let mut begun = (0, None);
        self.seen.send_modify(|seen| {
            if seen.is_dead {
                begun = (0, Some(Fault::DieBefore));
                return;
            }
            seen.calls.push(name);
            let number = seen.calls.len() as u64;
            let drawn = seen.faults.as_mut().and_then(|faults| faults.draw(name));
            begun = (number, seen.plan.remove(&number).or(drawn));
        });
        begun
    }

    async fn die<T>(&self) -> T {
        self.seen.send_modify(|seen| seen.is_dead = true);
        std::future::pending().await
    }

    fn report<T>(&self, error: StoreError) -> Result<T, StoreError> {
        if let StoreError::Failed(reason) = &error {
            self.seen.send_modify(|seen| {
                seen.failed.get_or_insert_with(|| reason.clone());
            });
        }
        Err(error)
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        perform: impl FnOnce(&'a dyn Store) -> BoxFuture<'a, Result<T, StoreError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move {
            let (number, fault) = self.begin(name);
            match fault {
                Some(Fault::FailBefore(error)) => return self.report(error),
                Some(Fault::DieBefore) => return self.die().await,
                Some(Fault::Hold) => self.wait(|seen| seen.released.contains(&number)).await,
                Some(Fault::FailAfter(_) | Fault::DieAfter) | None => {}
            }
            let answer = perform(self.inner.as_ref()).await;
            match fault {
                Some(Fault::FailAfter(error)) => self.report(error),
                Some(Fault::DieAfter) => self.die().await,
                // Another call died meanwhile: this one's answer is not heard either.
                _ if self.is_dead() => std::future::pending().await,
                _ => answer,
            }
        })
    }
}

impl Store for FaultStore {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Receipt, StoreError>> {
        self.call("append", |inner| inner.append(append))
    }

    fn claim(&self, session: SessionKey) -> BoxFuture<'_, Result<SessionRow, StoreError>> {
        self.call("claim", move |inner| inner.claim(session))
    }

    fn session(&self, session: SessionKey) -> BoxFuture<'_, Result<SessionRow, StoreError>> {
        self.call("session", move |inner| inner.session(session))
    }

    fn sessions(&self, filter: SessionFilter) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        self.call("sessions", |inner| inner.sessions(filter))
    }

    fn read(
        &self,
        session: SessionKey,
        after: Seq,
        limit: u32,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        self.call("read", move |inner| inner.read(session, after, limit, bytes_max))
    }

    fn open_work(&self) -> BoxFuture<'_, Result<Vec<SessionKey>, StoreError>> {
        self.call("open_work", |inner| inner.open_work())
    }

    fn request(
        &self,
        account: AccountId,
        request_id: RequestId,
    ) -> BoxFuture<'_, Result<Option<(SessionKey, TurnNo, Digest)>, StoreError>> {
        self.call("request", |inner| inner.request(account, request_id))
    }

    fn variables(
        &self,
        session: Option<SessionKey>,
        account: AccountId,
    ) -> BoxFuture<'_, Result<Vec<VariableRow>, StoreError>> {
        self.call("variables", move |inner| inner.variables(session, account))
    }

    fn memories(
        &self,
        account: AccountId,
        which: Memories,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<MemoryRow>, StoreError>> {
        self.call("memories", move |inner| inner.memories(account, which, limit))
    }

    fn spent(&self, filter: SpentFilter) -> BoxFuture<'_, Result<Vec<SpentRow>, StoreError>> {
        self.call("spent", |inner| inner.spent(filter))
    }

    fn sealed(&self) -> BoxFuture<'_, Result<Vec<SealedRow>, StoreError>> {
        self.call("sealed", |inner| inner.sealed())
    }

    fn tokens(&self) -> BoxFuture<'_, Result<Vec<TokenRow>, StoreError>> {
        self.call("tokens", |inner| inner.tokens())
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountRow>, StoreError>> {
        self.call("accounts", |inner| inner.accounts())
    }

    fn object(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, StoreError>> {
        self.call("object", move |inner| inner.object(digest))
    }

    fn artifact(&self, session: SessionKey, digest: Digest) -> BoxFuture<'_, Result<(String, Vec<u8>), StoreError>> {
        self.call("artifact", move |inner| inner.artifact(session, digest))
    }

    fn failed(&self) -> BoxFuture<'static, String> {
        let mut seen = self.seen.subscribe();
        let inner = self.inner.failed();
        Box::pin(async move {
            let planned = async {
                if let Ok(seen) = seen.wait_for(|seen| seen.failed.is_some()).await
                    && let Some(reason) = &seen.failed
                {
                    return reason.clone();
                }
                std::future::pending().await
            };
            tokio::select! {
                // Cancel-safe: both only wait for a value that stays.
                reason = planned => reason,
                reason = inner => reason,
            }
        })
    }
}

#[cfg(test)]
mod tests;

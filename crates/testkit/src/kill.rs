//! Ends a process in the simulation: at the n-th port call everything stops.
//!
//! Each port call that is waited for has a point before it and one after it. The call that meets
//! the chosen point never returns, and whoever runs the simulation drops the
//! runtime with all its tasks, as a kill would.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use are_core::BoxFuture;
use are_core::clock::Clock;
use are_core::digest::{Digest, Nonce};
use are_core::error::Fault;
use are_core::ids::TurnNo;
use are_core::ids::{AccountId, RequestId, Seq, SessionKey};
use are_core::journal::Row;
use are_core::model::{ModelInfo, ModelRequest, ModelStream, Models};
use are_core::store::{
    AccountRow, Append, Memories, MemoryRow, Receipt, SealedRow, SessionFilter, SessionRow, SpentFilter, SpentRow,
    Store, StoreError, TokenRow, VariableRow,
};
use are_policy::gate::Permit;
use are_policy::manifest::ToolSet;
use are_policy::tools::{Checkpoints, Place, ToolOutcome, Tools};
use futures_util::StreamExt as _;
use tokio::sync::watch;

/// Counts port calls and stops at one of them.
#[derive(Clone)]
pub struct KillSwitch {
    left: Arc<AtomicU64>,
    fired: Arc<watch::Sender<Option<&'static str>>>,
}

impl KillSwitch {
    /// Stops at the `n`-th point, 1 being the first; 0 never.
    #[must_use]
    pub fn at(n: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(n)), fired: Arc::new(watch::Sender::new(None)) }
    }

    /// Resolves with the point's name when it was met.
    pub async fn fired(&self) -> &'static str {
        let mut fired = self.fired.subscribe();
        loop {
            if let Some(name) = *fired.borrow_and_update() {
                return name;
            }
            if fired.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn point(&self, name: &'static str) {
        let met = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        let is_dead = self.fired.borrow().is_some();
        if met == Ok(1) {
            self.fired.send_replace(Some(name));
        }
        if met == Ok(1) || is_dead {
            std::future::pending::<()>().await;
        }
    }
}

/// Ports that stop at the switch.
pub struct Killable<T: ?Sized> {
    inner: Arc<T>,
    switch: KillSwitch,
}

impl<T: ?Sized> Killable<T> {
    /// Puts the switch in front of a port.
    #[must_use]
    pub fn new(inner: Arc<T>, switch: &KillSwitch) -> Arc<Self> {
        Arc::new(Self { inner, switch: switch.clone() })
    }
}

macro_rules! guarded {
    ($self:ident, $name:literal, $call:expr) => {
        Box::pin(async move {
            $self.switch.point(concat!("before ", $name)).await;
            let answer = $call.await;
            $self.switch.point(concat!("after ", $name)).await;
            answer
        })
    };
}

impl Store for Killable<dyn Store> {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Receipt, StoreError>> {
        guarded!(self, "append", self.inner.append(append))
    }

    fn claim(&self, session: SessionKey) -> BoxFuture<'_, Result<SessionRow, StoreError>> {
        guarded!(self, "claim", self.inner.claim(session))
    }

    fn session(&self, session: SessionKey) -> BoxFuture<'_, Result<SessionRow, StoreError>> {
        guarded!(self, "session", self.inner.session(session))
    }

    fn sessions(&self, filter: SessionFilter) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        guarded!(self, "sessions", self.inner.sessions(filter))
    }

    fn read(
        &self,
        session: SessionKey,
        after: Seq,
        limit: u32,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        guarded!(self, "read", self.inner.read(session, after, limit, bytes_max))
    }

    fn open_work(&self) -> BoxFuture<'_, Result<Vec<SessionKey>, StoreError>> {
        guarded!(self, "open_work", self.inner.open_work())
    }

    fn request(
        &self,
        account: AccountId,
        request_id: RequestId,
    ) -> BoxFuture<'_, Result<Option<(SessionKey, TurnNo, Digest)>, StoreError>> {
        guarded!(self, "request", self.inner.request(account, request_id))
    }

    fn variables(
        &self,
        session: Option<SessionKey>,
        account: AccountId,
    ) -> BoxFuture<'_, Result<Vec<VariableRow>, StoreError>> {
        guarded!(self, "variables", self.inner.variables(session, account))
    }

    fn memories(
        &self,
        account: AccountId,
        which: Memories,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<MemoryRow>, StoreError>> {
        guarded!(self, "memories", self.inner.memories(account, which, limit))
    }

    fn spent(&self, filter: SpentFilter) -> BoxFuture<'_, Result<Vec<SpentRow>, StoreError>> {
        guarded!(self, "spent", self.inner.spent(filter))
    }

    fn sealed(&self) -> BoxFuture<'_, Result<Vec<SealedRow>, StoreError>> {
        guarded!(self, "sealed", self.inner.sealed())
    }

    fn tokens(&self) -> BoxFuture<'_, Result<Vec<TokenRow>, StoreError>> {
        guarded!(self, "tokens", self.inner.tokens())
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountRow>, StoreError>> {
        guarded!(self, "accounts", self.inner.accounts())
    }

    fn object(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, StoreError>> {
        guarded!(self, "object", self.inner.object(digest))
    }

    fn artifact(&self, session: SessionKey, digest: Digest) -> BoxFuture<'_, Result<(String, Vec<u8>), StoreError>> {
        guarded!(self, "artifact", self.inner.artifact(session, digest))
    }

    fn failed(&self) -> BoxFuture<'static, String> {
        self.inner.failed()
    }
}

impl Models for Killable<dyn Models> {
    fn resolve(&self, wish: Option<&str>) -> Result<ModelInfo, Fault> {
        self.inner.resolve(wish)
    }

    fn fallbacks(&self, wish: Option<&str>) -> Vec<ModelInfo> {
        self.inner.fallbacks(wish)
    }

    fn list(&self) -> Vec<ModelInfo> {
        self.inner.list()
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        let (switch, stream) = (self.switch.clone(), self.inner.call(request));
        stream
            .then(move |delta| {
                let switch = switch.clone();
                async move {
                    switch.point("delta").await;
                    delta
                }
            })
            .boxed()
    }
}

impl Clock for Killable<dyn Clock> {
    fn now_ms(&self) -> u64 {
        self.inner.now_ms()
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        let (switch, sleep) = (self.switch.clone(), self.inner.sleep(ms));
        Box::pin(async move {
            switch.point("before sleep").await;
            sleep.await;
            switch.point("after sleep").await;
        })
    }

    fn random(&self) -> Nonce {
        self.inner.random()
    }
}

impl Tools for Killable<dyn Tools> {
    fn snapshot(&self) -> Arc<ToolSet> {
        self.inner.snapshot()
    }

    fn run(&self, permit: Permit, place: Place) -> BoxFuture<'_, ToolOutcome> {
        guarded!(self, "tool", self.inner.run(permit, place))
    }

    fn checkpoints(&self) -> Option<Arc<dyn Checkpoints>> {
        self.inner.checkpoints()
    }
}

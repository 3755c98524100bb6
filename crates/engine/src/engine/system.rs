//! The system session: what belongs to no session, in a journal like any other.

use are_core::account::Via;
use are_core::body::Body;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, AgentName, Seq, SessionKey};
use are_core::journal::{Class, Draft, Entry, Head, Reader, decode};
use are_core::payload::Payload;
use are_core::store::{Change, Durability, SessionRow, Store, StoreError};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{Ports, Settings};
use crate::api::Caller;
use crate::faults;
use crate::journal::{Journal, Sealed};

/// Entries that may wait to be appended.
const QUEUE: usize = 256;
/// Rows of one page while verifying.
const PAGE_ROWS: u32 = 4096;
/// Bytes of one page while verifying.
const PAGE_BYTES: usize = 4 << 20;

struct Item {
    account: AccountId,
    via: Option<Via>,
    drafts: Vec<Draft>,
    changes: Vec<Change>,
    done: oneshot::Sender<Result<(), Fault>>,
}

/// The appending end of the system session.
pub(super) struct SystemLog {
    /// Entries whose payloads are damaged.
    pub(super) damaged: Vec<Seq>,
    /// The last key that was recorded to verify checkpoints with.
    pub(super) signing_key: Mutex<Option<String>>,
    queue: mpsc::Sender<Item>,
    keeper: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl SystemLog {
    /// Opens or creates the session, verifies its chain and records the start of this process.
    pub(super) async fn open(ports: &Ports, settings: &Settings) -> Result<Self, Fault> {
        let (fence, head, Found { damaged, config, signing_key }) = match ports.store.claim(SessionKey::SYSTEM).await {
            Ok(row) => (row.fence, row.head, verify(ports.store.as_ref(), row.head).await?),
            Err(StoreError::NotFound) => (1, Head::EMPTY, Found::default()),
            Err(error) => return Err(faults::store(error)),
        };
        if !damaged.is_empty() {
            tracing::error!(entries = ?damaged, "payloads of the system session are damaged; its chain is whole");
        }
        let journal = Journal {
            store: std::sync::Arc::clone(&ports.store),
            clock: std::sync::Arc::clone(&ports.clock),
            session: SessionKey::SYSTEM,
            agent_id: "-".to_owned(),
            fence: Some(fence),
            stored: head,
            sealed: head,
        };
        let mut keeper = Keeper { journal };
        keeper.start(ports, settings, config).await?;
        let (queue, items) = mpsc::channel(QUEUE);
        // Not among the sessions' tasks: it outlives them, so that the stop can be recorded.
        let keeper = Mutex::new(Some(AbortOnDropHandle::new(tokio::spawn(keeper.keep(items)))));
        Ok(Self { damaged, signing_key: Mutex::new(signing_key), queue, keeper })
    }

    /// Appends a record durably, with the changes it causes.
    pub(super) async fn append(
        &self,
        account: AccountId,
        body: Body,
        payload: Option<Payload>,
        changes: Vec<Change>,
    ) -> Result<(), Fault> {
        self.append_all((account, None), vec![Draft { turn: None, body, payload }], changes).await
    }

    /// Appends a record of what a client asked for, durably, with the changes it causes.
    pub(super) async fn append_for(
        &self,
        caller: &Caller,
        body: Body,
        payload: Option<Payload>,
        changes: Vec<Change>,
    ) -> Result<(), Fault> {
        let who = (caller.account.clone(), caller.via.clone());
        self.append_all(who, vec![Draft { turn: None, body, payload }], changes).await
    }

    /// Appends records durably, all or none.
    pub(super) async fn append_all(
        &self,
        (account, via): (AccountId, Option<Via>),
        drafts: Vec<Draft>,
        changes: Vec<Change>,
    ) -> Result<(), Fault> {
        let (done, answer) = oneshot::channel();
        let item = Item { account, via, drafts, changes, done };
        self.queue.send(item).await.map_err(|_| faults::stopping())?;
        answer.await.map_err(|_| faults::stopping())?
    }

    pub(super) async fn stop(&self, operator: &AccountId) {
        if let Err(fault) = self.append(operator.clone(), Body::EngineStopped {}, None, Vec::new()).await {
            tracing::warn!(%fault, "the stop could not be recorded");
        }
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper
            && let Err(error) = keeper.await
        {
            tracing::warn!(%error, "the keeper of the system session failed");
        }
    }
}

struct Keeper {
    journal: Journal,
}

impl Keeper {
    /// `before` is the configuration of the last start.
    async fn start(&mut self, ports: &Ports, settings: &Settings, before: Option<Digest>) -> Result<(), Fault> {
        let (now_ms, tools) = (ports.clock.now_ms(), ports.tools.snapshot());
        let mut sealed = Sealed::default();
        if self.journal.stored == Head::EMPTY {
            // The system session acts for no agent; the row's column needs a name all the same.
            let agent: AgentName =
                "system".parse().map_err(|_| Fault::new(Code::INTERNAL, "invalid name", "report this as a bug"))?;
            let body = Body::SessionCreated {
                owner: settings.operator.clone(),
                agent: agent.clone(),
                parent: None,
                child_of: None,
                engine: settings.version.clone(),
            };
            self.seal(&mut sealed, Draft { turn: None, body, payload: None }, (&settings.operator, None), now_ms)?;
            sealed.changes.push(Change::CreateSession(Box::new(system_row(settings, agent, now_ms))));
        }
        let config = Digest::of(&[&settings.config]);
        let body = Body::EngineStarted {
            engine: settings.version.clone(),
            config,
            profile: settings.rules.profile().to_string(),
            policy: settings.rules.digest(),
            tools: Some(tools.digest()),
            off: settings.off.clone(),
        };
        self.seal(&mut sealed, Draft { turn: None, body, payload: None }, (&settings.operator, None), now_ms)?;
        if let Some(old) = before.filter(|before| *before != config) {
            let body = Body::ConfigChanged { old, new: config };
            self.seal(&mut sealed, Draft { turn: None, body, payload: None }, (&settings.operator, None), now_ms)?;
        }
        let objects = [settings.config.clone(), settings.rules.object().to_vec(), tools.object()];
        sealed.changes.extend(objects.map(|bytes| Change::PutObject(Digest::of(&[&bytes]), bytes)));
        self.journal.append(&sealed, Durability::Durable).await.map_err(faults::store)?;
        Ok(())
    }

    async fn keep(mut self, mut items: mpsc::Receiver<Item>) {
        while let Some(Item { account, via, drafts, changes, done }) = items.recv().await {
            let is_last = drafts.iter().any(|draft| matches!(draft.body, Body::EngineStopped {}));
            let mut sealed = Sealed { changes, ..Sealed::default() };
            let now_ms = self.journal.clock.now_ms();
            let seal = |draft| self.seal(&mut sealed, draft, (&account, via.as_ref()), now_ms);
            let mut result = drafts.into_iter().try_for_each(seal);
            if result.is_ok() {
                result = self.journal.append(&sealed, Durability::Durable).await.map(|_| ()).map_err(faults::store);
            }
            if result.is_err() {
                self.journal.sealed = self.journal.stored;
            }
            // silent-ok: the asker left; the record stands.
            let _sent = done.send(result);
            if is_last {
                break;
            }
        }
    }

    fn seal(
        &mut self,
        sealed: &mut Sealed,
        draft: Draft,
        who: (&AccountId, Option<&Via>),
        now_ms: u64,
    ) -> Result<(), Fault> {
        self.journal.seal(sealed, draft, who, now_ms).map_err(faults::corrupt)
    }
}

/// What a start learns from the records before it.
#[derive(Default)]
struct Found {
    /// Entries whose payloads are damaged: a start needs none of these, and what they hold of use (variables,
    /// tokens, objects) has rows of its own.
    damaged: Vec<Seq>,
    /// Digest of the configuration of the last start.
    config: Option<Digest>,
    /// The last key to verify checkpoints with.
    signing_key: Option<String>,
}

impl Found {
    fn learn(&mut self, body: Body) {
        match body {
            Body::EngineStarted { config, .. } => self.config = Some(config),
            Body::SigningKeyMade { vkey, .. } | Body::SigningKeyRotated { new: vkey, .. } => {
                self.signing_key = Some(vkey);
            }
            _ => {}
        }
    }
}

/// Verifies the chain and learns from it.
async fn verify(store: &dyn Store, head: Head) -> Result<Found, Fault> {
    let mut reader = Reader::new(SessionKey::SYSTEM, Head::EMPTY);
    let mut found = Found::default();
    loop {
        let after = reader.head().seq;
        let rows = store.read(SessionKey::SYSTEM, after, PAGE_ROWS, PAGE_BYTES).await.map_err(faults::store)?;
        if rows.is_empty() {
            break;
        }
        for mut row in rows.into_iter().filter(|row| row.class == Class::Record) {
            let is_damaged = row.payload.is_some() && decode(SessionKey::SYSTEM, &row).is_err();
            row.payload = None;
            if let Entry::Record(record, _) = reader.next(&row).map_err(faults::corrupt)? {
                found.learn(record.body);
            }
            if is_damaged {
                found.damaged.push(row.seq);
            }
        }
    }
    if reader.head() == head {
        return Ok(found);
    }
    Err(Fault::new(
        Code::SESSION_CORRUPT,
        "the system session ends elsewhere than its row says",
        "restore the data directory from a backup",
    ))
}

/// The entries of the system session whose payloads are damaged, without starting an engine.
///
/// # Errors
/// The chain itself is broken, or the store failed.
pub async fn system_damage(store: &dyn Store) -> Result<Vec<Seq>, Fault> {
    match store.session(SessionKey::SYSTEM).await {
        Ok(row) => verify(store, row.head).await.map(|found| found.damaged),
        Err(StoreError::NotFound) => Ok(Vec::new()),
        Err(error) => Err(faults::store(error)),
    }
}

fn system_row(settings: &Settings, agent: AgentName, now_ms: u64) -> SessionRow {
    SessionRow {
        key: SessionKey::SYSTEM,
        owner: settings.operator.clone(),
        agent,
        workspace: String::new(),
        fence: 1,
        epoch: 0,
        head: Head::EMPTY,
        last_account_id: settings.operator.clone(),
        last_thread_id: None,
        title: String::new(),
        turns: 0,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
        is_deleted: false,
    }
}

//! The embedded store: one SQLite database in a locked data directory.
//!
//! Promises, all of them tested:
//! - A [`Receipt`] exists only for what is committed; a durable one only for what
//!   is synced. What was written survives a kill, what is durable a power cut.
//! - Appends of all sessions share commits ([group commit](writer)); reads and
//!   checkpoints have connections of their own and never hold an append up.
//! - No space: the append is refused, the store stays whole and goes on when
//!   there is space. A failed write or sync: nothing is written any more.
//! - **Epoch**: raised at open when entries that clients saw may be lost, that
//!   is when the store was not closed in order and the machine has booted since,
//!   or when the database file is another one than last time (a copy, a restored
//!   backup). A backup written *into* the same file, and a machine set back to a
//!   snapshot, cannot be told from here.
//! - **Tree**: records are numbered behind the appends, in synced commits of their
//!   own, so that what it covers survives a power cut. A damaged tree stops growing.
//! - **Erasure**: deleted bytes are overwritten in the database and the log is
//!   emptied before the receipt exists; while a foreign program reads the
//!   database, soon after. Backups and the device's own spare blocks are out of reach.
//!
//! One file system with working `flock` and `fdatasync` is assumed; a quota that
//! is exceeded counts as a failed write, not as a full disk.

mod apply;
mod checkpoint;
mod directory;
mod error;
mod health;
mod read;
mod readers;
mod room;
mod schema;
mod spent;
mod tree;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::tree::{Checkpoint, Grown, Leaf, Page, Stretch, Tree};
use are_core::BoxFuture;
use are_core::digest::Digest;
use are_core::ids::{AccountId, Epoch, RequestId, Seq, SessionKey, TurnNo};
use are_core::journal::Row;
use are_core::store::{
    AccountRow, Append, Memories, MemoryRow, Receipt, SealedRow, SessionFilter, SessionRow, SpentFilter, SpentRow,
    Store, StoreError, TokenRow, VariableRow,
};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use checkpoint::{Checkpointer, Thresholds};
use directory::{Directory, Found, boot};
pub use error::OpenError;
use error::Trouble;
use health::Health;
use readers::Readers;
use room::Room;
use schema::{Role, connect, meta, set_meta};
use writer::{Command, Job, Known, Writer};

/// Bytes of the writing thread's stack: SQLite needs less than 100 KiB.
const STACK_BYTES: usize = 512 << 10;

/// How the store uses the machine. The defaults suit a laptop and a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that read; at least one.
    pub readers: usize,
    /// Page cache of each connection in KiB, filled as needed.
    pub cache_kib: u32,
    /// Bytes in the log from which they are moved into the database beside the writer.
    pub log_soft_bytes: u64,
    /// Bytes of the log from which the writer waits until it is emptied; at most 128 MiB is sensible.
    pub log_hard_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { readers: 2, cache_kib: 2_048, log_soft_bytes: 4 << 20, log_hard_bytes: 64 << 20 }
    }
}

/// What [`SqliteStore::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What is wrong with the database file; empty when nothing is.
    pub damage: Vec<String>,
    /// Sessions, deleted ones and the system session too.
    pub sessions: u64,
    /// Journal entries.
    pub entries: u64,
    /// Payloads that are not erased.
    pub payloads: u64,
    /// Records that are leaves of the tree.
    pub leaves: u64,
    /// Bytes of the database without its log.
    pub database_bytes: u64,
}

/// The embedded store. Dropping it ends its threads after what waits is
/// written, and otherwise leaves everything as a crash would;
/// [`close`](Self::close) ends it in order.
#[derive(Debug)]
pub struct SqliteStore {
    queue: Option<mpsc::Sender<Command>>,
    writer: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
    health: Arc<Health>,
    known: Arc<Known>,
    id: Uuid,
    epoch: Epoch,
}

impl SqliteStore {
    /// Opens the store in `dir`, or makes one there. Blocks for some
    /// milliseconds; a long log of a killed process is moved into the database first.
    ///
    /// # Errors
    /// [`OpenError`]; each names the file or directory concerned.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        let mut directory = Directory::lock(dir)?;
        let id = settle_identity(&directory)?;
        let path = directory.database();
        let mut connection = connect(&path, Role::Write, options.cache_kib).map_err(OpenError::sql(&path))?;
        schema::upgrade(&mut connection, &path)?;
        check_identity(&connection, &directory, id)?;
        let epoch = settle_epoch(&mut connection, &directory)?;
        directory.tighten_files();
        directory.reserve_log_index();
        directory.sync()?;
        empty_log(&connection, &path)?;

        let health = Arc::new(Health::new());
        let thresholds = Thresholds { soft: options.log_soft_bytes, hard: options.log_hard_bytes };
        let checkpointer = Checkpointer::start(&path, thresholds, Arc::clone(&health))?;
        let readers = Arc::new(Readers::start(&path, options.readers, options.cache_kib, Arc::clone(&health))?);
        let (sender, queue) = mpsc::channel(writer::QUEUE_MAX);
        let known = Arc::new(Known { grown: Mutex::new(None) });
        let writer = Writer {
            queue,
            connection,
            checkpointer,
            room: Room::new(directory.log()),
            readers: Arc::clone(&readers),
            health: Arc::clone(&health),
            epoch,
            level: None,
            commits: 0,
            bytes: 0,
            tree_seen: 0,
            known: Arc::clone(&known),
            _directory: directory,
        };
        let writer = thread::Builder::new()
            .name("store-write".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || writer.run())
            .map_err(OpenError::io(dir))?;
        Ok(Self { queue: Some(sender), writer: Some(writer), readers, health, known, id, epoch })
    }

    /// The store's identity, the same for its whole life.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// The epoch of all its sessions.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Ends the store in order: refuses new work, writes what waits, syncs,
    /// empties the log, marks the end as clean and releases the directory.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the store had failed, fails now, or is closed already;
    /// [`StoreError::Full`] when there was no space for the mark, and nothing is lost but a clean end.
    pub async fn close(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Close(reply)).await?;
        answer.await.unwrap_or_else(|_| Err(self.health.gone()))
    }

    /// Checks the whole database file and counts. Reads everything: for `doctor`, not for probes.
    ///
    /// # Errors
    /// [`StoreError`] when even checking is not possible.
    pub async fn check(&self) -> Result<Report, StoreError> {
        self.readers.query(read::check).await
    }

    async fn command(&self, command: Command) -> Result<(), StoreError> {
        match &self.queue {
            Some(queue) => queue.send(command).await.map_err(|_| self.health.gone()),
            None => Err(self.health.gone()),
        }
    }

    async fn write<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job) -> Result<T, StoreError> {
        self.health.check()?;
        let (reply, answer) = oneshot::channel();
        self.command(Command::Write(job(reply))).await?;
        answer.await.unwrap_or_else(|_| Err(self.health.gone()))
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.readers.stop();
        drop(self.queue.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writing thread of the store panicked");
        }
    }
}

impl Store for SqliteStore {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Receipt, StoreError>> {
        let append = Box::new(append);
        Box::pin(self.write(|reply| Job::Append { append, outcome: None, reply }))
    }

    fn claim(&self, session: SessionKey) -> BoxFuture<'_, Result<SessionRow, StoreError>> {
        Box::pin(self.write(move |reply| Job::Claim { session, outcome: None, reply }))
    }

    fn session(&self, session: SessionKey) -> BoxFuture<'_, Result<SessionRow, StoreError>> {
        let epoch = self.epoch;
        Box::pin(self.readers.query(move |connection| read::find_session(connection, session, epoch)))
    }

    fn sessions(&self, filter: SessionFilter) -> BoxFuture<'_, Result<Vec<SessionRow>, StoreError>> {
        let epoch = self.epoch;
        Box::pin(self.readers.query(move |connection| read::list_sessions(connection, &filter, epoch)))
    }

    fn read(
        &self,
        session: SessionKey,
        after: Seq,
        limit: u32,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(self.readers.query(move |connection| read::read_rows(connection, session, after, limit, bytes_max)))
    }

    fn open_work(&self) -> BoxFuture<'_, Result<Vec<SessionKey>, StoreError>> {
        Box::pin(self.readers.query(read::list_open_work))
    }

    fn request(
        &self,
        account: AccountId,
        request_id: RequestId,
    ) -> BoxFuture<'_, Result<Option<(SessionKey, TurnNo, Digest)>, StoreError>> {
        Box::pin(self.readers.query(move |connection| read::find_request(connection, &account, &request_id)))
    }

    fn variables(
        &self,
        session: Option<SessionKey>,
        account: AccountId,
    ) -> BoxFuture<'_, Result<Vec<VariableRow>, StoreError>> {
        Box::pin(self.readers.query(move |connection| read::list_variables(connection, session, &account)))
    }

    fn memories(
        &self,
        account: AccountId,
        which: Memories,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<MemoryRow>, StoreError>> {
        Box::pin(self.readers.query(move |connection| read::list_memories(connection, &account, &which, limit)))
    }

    fn spent(&self, filter: SpentFilter) -> BoxFuture<'_, Result<Vec<SpentRow>, StoreError>> {
        Box::pin(self.readers.query(move |connection| spent::list(connection, &filter)))
    }

    fn sealed(&self) -> BoxFuture<'_, Result<Vec<SealedRow>, StoreError>> {
        Box::pin(self.readers.query(read::list_sealed))
    }

    fn tokens(&self) -> BoxFuture<'_, Result<Vec<TokenRow>, StoreError>> {
        Box::pin(self.readers.query(read::list_tokens))
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountRow>, StoreError>> {
        Box::pin(self.readers.query(read::list_accounts))
    }

    fn object(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, StoreError>> {
        Box::pin(self.readers.query(move |connection| read::find_object(connection, digest)))
    }

    fn artifact(&self, session: SessionKey, digest: Digest) -> BoxFuture<'_, Result<(String, Vec<u8>), StoreError>> {
        Box::pin(self.readers.query(move |connection| read::find_artifact(connection, session, digest)))
    }

    fn failed(&self) -> BoxFuture<'static, String> {
        self.health.failed()
    }
}

impl Tree for SqliteStore {
    fn grow(&self, leaves_max: u32) -> BoxFuture<'_, Result<Grown, StoreError>> {
        Box::pin(async move {
            // PERF: asked several times a second; a store at rest answers without its writer.
            let known = *self.known.grown.lock().unwrap_or_else(PoisonError::into_inner);
            match known {
                Some(grown) if grown.is_whole => self.health.check().map(|()| grown),
                _ => self.write(|reply| Job::Grow { leaves_max, outcome: None, reply }).await,
            }
        })
    }

    fn place(&self, index: u64) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        Box::pin(self.readers.query(move |connection| tree::place(connection, index)))
    }

    fn leaf(&self, session: SessionKey, seq: Seq) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        Box::pin(self.readers.query(move |connection| tree::leaf(connection, session, seq)))
    }

    fn records(&self, page: Page) -> BoxFuture<'_, Result<Vec<Leaf>, StoreError>> {
        Box::pin(self.readers.query(move |connection| tree::records(connection, &page)))
    }

    fn frames(
        &self,
        stretches: Vec<Stretch>,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Vec<Vec<u8>>>, StoreError>> {
        Box::pin(self.readers.query(move |connection| tree::frames(connection, &stretches, bytes_max)))
    }

    fn nodes(&self, positions: Vec<u64>) -> BoxFuture<'_, Result<Vec<Digest>, StoreError>> {
        Box::pin(self.readers.query(move |connection| tree::nodes(connection, &positions)))
    }

    fn keep_checkpoint(&self, checkpoint: Checkpoint, kept_max: u32) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.write(move |reply| Job::KeepCheckpoint { checkpoint, kept_max, outcome: None, reply }))
    }

    fn checkpoints(&self, size: u64, limit: u32) -> BoxFuture<'_, Result<Vec<Checkpoint>, StoreError>> {
        Box::pin(self.readers.query(move |connection| tree::checkpoints(connection, size, limit)))
    }
}

/// Makes sure that identity and database are both there, or makes both; returns the identity.
fn settle_identity(directory: &Directory) -> Result<Uuid, OpenError> {
    let mismatch = |path, what: &str| OpenError::Mismatch { path, what: what.to_owned() };
    match (directory.identity()?, directory.inspect()?) {
        (Some(id), Found::Whole) => Ok(id),
        (Some(_), Found::Absent) => {
            Err(mismatch(directory.database(), "is missing, but `store.id` beside it says that there was one"))
        }
        (_, Found::Damaged(what)) => Err(OpenError::Mismatch { path: directory.database(), what }),
        (None, Found::Absent) => {
            let id = Uuid::new_v4();
            directory.begin_database()?;
            schema::create(&directory.unfinished(), id)?;
            directory.finish_database()?;
            directory.set_identity(id)?;
            Ok(id)
        }
        (None, Found::Whole) => {
            let id = unused_database(&directory.database())?
                .ok_or_else(|| mismatch(directory.identity_path(), "is missing, but the database holds sessions"))?;
            directory.set_identity(id)?;
            Ok(id)
        }
    }
}

/// The identity that an interrupted first start gave to a database in which nothing is yet.
fn unused_database(path: &Path) -> Result<Option<Uuid>, OpenError> {
    let mut connection = connect(path, Role::Write, 256).map_err(OpenError::sql(path))?;
    schema::upgrade(&mut connection, path)?;
    let look = || {
        let is_used: bool = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM sessions) OR EXISTS (SELECT 1 FROM journal)",
            [],
            |row| row.get(0),
        )?;
        Ok(if is_used { None } else { meta(&connection, "store_id")? })
    };
    let id = look().map_err(OpenError::sql(path))?;
    Ok(id.and_then(|id| Uuid::try_parse(&id).ok()))
}

fn check_identity(connection: &Connection, directory: &Directory, id: Uuid) -> Result<(), OpenError> {
    let path = directory.database();
    match meta(connection, "store_id").map_err(OpenError::sql(&path))? {
        Some(found) if found == id.to_string() => Ok(()),
        Some(found) => {
            Err(OpenError::Mismatch { path, what: format!("belongs to store `{found}`, `store.id` names `{id}`") })
        }
        None => Err(OpenError::Mismatch { path, what: "has no identity".to_owned() }),
    }
}

/// Finds out whether entries may have been lost, and marks the store as in use. Synced.
fn settle_epoch(connection: &mut Connection, directory: &Directory) -> Result<Epoch, OpenError> {
    let (boot, place) = (boot(), directory.place()?);
    let mut settle = || -> rusqlite::Result<Epoch> {
        let transaction = connection.transaction()?;
        let before = meta(&transaction, "epoch")?.and_then(|epoch| epoch.parse::<Epoch>().ok());
        let is_same =
            |key: &str, now: &str| -> rusqlite::Result<bool> { Ok(meta(&transaction, key)?.as_deref() == Some(now)) };
        let is_whole = is_same("place", &place)? && (is_same("clean", "1")? || is_same("boot", &boot)?);
        let epoch = match before {
            None => 1,
            Some(before) if is_whole => before,
            Some(before) => before.saturating_add(1),
        };
        for (key, value) in [("epoch", epoch.to_string().as_str()), ("boot", &boot), ("place", &place), ("clean", "0")]
        {
            set_meta(&transaction, key, value)?;
        }
        transaction.commit()?;
        Ok(epoch)
    };
    let path = directory.database();
    settle().map_err(OpenError::sql(path))
}

/// Moves what a killed process left in the log into the database, synced, so
/// that pages whose sync failed then are written anew.
fn empty_log(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    match checkpoint::checkpoint(connection, "TRUNCATE") {
        Ok(Some(_)) => Ok(()),
        Ok(None) => {
            Err(OpenError::Database { path: path.to_owned(), what: "another program is reading it".to_owned() })
        }
        Err(Trouble::Full) => {
            // The log is whole; the checkpointer tries again.
            tracing::warn!("no space to move the log into the database");
            Ok(())
        }
        Err(Trouble::Corrupt(what)) => {
            Err(OpenError::Mismatch { path: path.to_owned(), what: format!("is damaged: {what}") })
        }
        Err(Trouble::Refused(error)) => Err(OpenError::Database { path: path.to_owned(), what: error.to_string() }),
        Err(Trouble::Fatal(what)) => Err(OpenError::Database { path: path.to_owned(), what }),
    }
}

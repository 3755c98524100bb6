//! The one thread that writes: group commit with two durability levels.
//!
//! Whatever waits when a commit ends goes into the next one, each append in a
//! savepoint of its own, so that a refused one spoils no other. The commit is
//! synced when any append in it must be durable; syncing the log makes every
//! earlier commit durable too. Answers are given after the commit and only then.
//!
//! | what fails | then |
//! |---|---|
//! | fence, head, request id | that append is refused, the others go on |
//! | no space, damaged page | nothing is written; each append of the batch is tried alone |
//! | a write, a sync, anything else | the store has failed for good |

use std::sync::{Arc, Mutex, PoisonError};

use crate::tree::{Checkpoint, Grown};
use are_core::ids::{Epoch, Fence, Seq, SessionKey};
use are_core::store::{Append, Change, Durability, Receipt, SessionRow, StoreError};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::{mpsc, oneshot};

use super::apply;
use super::checkpoint::Checkpointer;
use super::directory::Directory;
use super::error::Trouble;
use super::health::Health;
use super::readers::Readers;
use super::room::Room;
use super::schema::set_meta;
use super::tree::{self, Growth};

/// Appends that may wait for the writer; more wait outside.
pub(super) const QUEUE_MAX: usize = 1_024;
/// Appends in one transaction.
const BATCH_MAX: usize = 512;
/// Bytes in one transaction before it takes no further append; what changed must fit the cache.
const BATCH_BYTES_MAX: usize = 2 << 20;
/// Commits and bytes after which the checkpointer looks at the log. A commit
/// that changes one byte still writes pages, hence both.
const LOOK_COMMITS: u32 = 64;
const LOOK_BYTES: usize = 1 << 20;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Write(Job),
    /// Write what waits, mark the store clean and end.
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// One thing to write, with its outcome until the commit.
#[derive(Debug)]
pub(super) enum Job {
    Append {
        append: Box<Append>,
        outcome: Option<Result<(Fence, Seq), StoreError>>,
        reply: oneshot::Sender<Result<Receipt, StoreError>>,
    },
    Claim {
        session: SessionKey,
        outcome: Option<Result<Box<SessionRow>, StoreError>>,
        reply: oneshot::Sender<Result<SessionRow, StoreError>>,
    },
    Grow {
        leaves_max: u32,
        outcome: Option<Result<Growth, StoreError>>,
        reply: oneshot::Sender<Result<Grown, StoreError>>,
    },
    KeepCheckpoint {
        checkpoint: Checkpoint,
        kept_max: u32,
        outcome: Option<Result<(), StoreError>>,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}

/// What is known of the tree without asking the database.
#[derive(Debug)]
pub(super) struct Known {
    /// Leaves of the last growth, and whether every record had its number then; `None` before the first.
    pub(super) grown: Mutex<Option<Grown>>,
}

/// The writer's state; everything is dropped in the order of the fields, the lock last.
pub(super) struct Writer {
    pub(super) queue: mpsc::Receiver<Command>,
    pub(super) checkpointer: Checkpointer,
    pub(super) readers: Arc<Readers>,
    /// The last connection to go: after an orderly close it removes the log.
    pub(super) connection: Connection,
    pub(super) room: Room,
    pub(super) health: Arc<Health>,
    pub(super) epoch: Epoch,
    /// What `synchronous` is set to; `None` when unknown.
    pub(super) level: Option<Durability>,
    pub(super) commits: u32,
    pub(super) bytes: usize,
    /// The last entry that growing the tree has looked at.
    pub(super) tree_seen: u64,
    pub(super) known: Arc<Known>,
    /// Only held, for its lock.
    pub(super) _directory: Directory,
}

/// Tells everybody when the writer ends in any but the ordinary way.
struct Watchdog(Arc<Health>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the writing thread panicked".to_owned());
        }
    }
}

impl Writer {
    /// Runs until the store is closed or dropped.
    pub(super) fn run(mut self) {
        let _watchdog = Watchdog(Arc::clone(&self.health));
        while let Some(first) = self.queue.blocking_recv() {
            let (mut batch, close) = self.gather(first);
            self.write(&mut batch);
            batch.into_iter().for_each(Job::answer);
            if let Some(reply) = close {
                return self.close(reply);
            }
            if self.room.is_due() && self.queue.is_empty() && self.health.check().is_ok() {
                self.make_room();
            }
        }
    }

    /// Takes what waits, up to a batch.
    fn gather(&mut self, first: Command) -> (Vec<Job>, Option<oneshot::Sender<Result<(), StoreError>>>) {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Close(reply) => return (batch, Some(reply)),
                Command::Write(job) => {
                    bytes += job.bytes();
                    batch.push(job);
                }
            }
            let is_full = batch.len() >= BATCH_MAX || bytes >= BATCH_BYTES_MAX;
            // The queue is empty, or every sender is gone, which the caller notices.
            next = if is_full { None } else { self.queue.try_recv().ok() };
        }
        (batch, None)
    }

    fn make_room(&mut self) {
        if let Err(error) = self.room.make() {
            // A sync that failed may have been one of what a commit wrote.
            self.health.fail(format!("room in the log: {error}"));
        }
    }

    /// Gives every job of the batch its outcome.
    fn write(&mut self, batch: &mut [Job]) {
        if batch.is_empty() {
            return;
        }
        let trouble = match self.health.check() {
            Err(error) => Trouble::Refused(error),
            Ok(()) => match self.transact(batch) {
                Ok(()) => return self.after_commit(batch),
                Err(trouble) => trouble,
            },
        };
        match trouble {
            Trouble::Full | Trouble::Corrupt(_) if batch.len() > 1 => {
                for job in batch {
                    self.write(std::slice::from_mut(job));
                }
            }
            Trouble::Fatal(reason) => {
                let error = self.health.fail(reason);
                batch.iter_mut().for_each(|job| job.refuse(&error));
            }
            other => {
                let error = StoreError::from(other);
                batch.iter_mut().for_each(|job| job.refuse(&error));
            }
        }
    }

    /// Writes the batch in one transaction; after an error nothing of it is written.
    fn transact(&mut self, batch: &mut [Job]) -> Result<(), Trouble> {
        self.set_level(batch.iter().map(Job::durability).max().unwrap_or(Durability::Durable))?;
        let mut tree_seen = self.tree_seen;
        // PERF: one append alone needs no savepoint, the transaction is one.
        let is_alone = batch.len() == 1;
        let done = self.execute("BEGIN IMMEDIATE").and_then(|()| {
            for job in batch {
                if !is_alone {
                    self.execute("SAVEPOINT job")?;
                }
                match job.run(&self.connection, self.epoch, tree_seen) {
                    Ok(()) => tree_seen = job.tree_seen().unwrap_or(tree_seen),
                    Err(Trouble::Refused(error)) => {
                        job.refuse(&error);
                        if is_alone {
                            return self.execute("ROLLBACK");
                        }
                        self.execute("ROLLBACK TO job")?;
                    }
                    Err(trouble) => return Err(trouble),
                }
                if !is_alone {
                    self.execute("RELEASE job")?;
                }
            }
            self.execute("COMMIT")
        });
        // SQLite may have rolled back by itself.
        if done.is_err() && !self.connection.is_autocommit() {
            self.execute("ROLLBACK").map_err(|trouble| Trouble::Fatal(format!("roll-back: {trouble:?}")))?;
        }
        done
    }

    /// Switches between synced and unsynced commits.
    fn set_level(&mut self, level: Durability) -> Result<(), Trouble> {
        if self.level != Some(level) {
            let synchronous = match level {
                Durability::Written => "NORMAL",
                Durability::Durable => "FULL",
            };
            self.level = None;
            self.connection.pragma_update(None, "synchronous", synchronous)?;
            self.level = Some(level);
        }
        Ok(())
    }

    fn execute(&self, statement: &str) -> Result<(), Trouble> {
        self.connection.prepare_cached(statement)?.execute([])?;
        Ok(())
    }

    fn after_commit(&mut self, batch: &[Job]) {
        self.commits += 1;
        self.room.committed();
        self.know(batch);
        self.bytes += batch.iter().map(Job::bytes).sum::<usize>();
        let has_erased = batch.iter().any(Job::has_erased);
        let wants_pause = self.checkpointer.wants_pause();
        if has_erased {
            let is_empty = self.checkpointer.empty();
            self.room.emptied();
            if !is_empty {
                // The checkpointer does it at its next look.
                tracing::warn!("erased payloads stay in the log for now, a reader or a full disk is in the way");
            }
        } else if wants_pause && !self.checkpointer.restart() {
            tracing::debug!("the log goes on growing for now, a reader or a full disk is in the way");
        }
        if self.commits >= LOOK_COMMITS || self.bytes >= LOOK_BYTES {
            (self.commits, self.bytes) = (0, 0);
            self.checkpointer.look();
        }
    }

    /// Notes how the batch left the tree: each append may bring records without a number.
    fn know(&mut self, batch: &[Job]) {
        let mut known = self.known.grown.lock().unwrap_or_else(PoisonError::into_inner);
        for job in batch {
            match job {
                Job::Append { append, outcome: Some(Ok(_)), .. } if !append.rows.is_empty() => {
                    if let Some(grown) = known.as_mut() {
                        grown.is_whole = false;
                    }
                }
                Job::Grow { outcome: Some(Ok(growth)), .. } => {
                    self.tree_seen = growth.seen;
                    *known = Some(Grown { size: growth.size, is_whole: growth.is_whole });
                }
                _ => {}
            }
        }
    }

    /// Writes what still waits, marks the store as cleanly closed, leaves one file and gives up the lock.
    fn close(mut self, reply: oneshot::Sender<Result<(), StoreError>>) {
        self.queue.close();
        while let Some(first) = self.queue.blocking_recv() {
            let (mut batch, other) = self.gather(first);
            self.write(&mut batch);
            batch.into_iter().for_each(Job::answer);
            if let Some(other) = other {
                // silent-ok: nobody waits for the second close any more.
                other.send(Err(StoreError::Failed("the store is closed".to_owned()))).ok();
            }
        }
        let closed = self.finish();
        // Connections and lock go before the answer, so that the caller can open the store again.
        drop(self);
        // silent-ok: nobody waits for the close any more.
        reply.send(closed).ok();
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.readers.stop();
        self.health.check()?;
        // The synced commit of the mark syncs everything before it: what it says is true.
        let marked = self.set_level(Durability::Durable).and_then(|()| Ok(set_meta(&self.connection, "clean", "1")?));
        match marked {
            Ok(()) => {}
            Err(Trouble::Fatal(reason)) => return Err(self.health.fail(reason)),
            // All appends are committed; the next start takes this one's end for a crash.
            Err(other) => return Err(other.into()),
        }
        if self.checkpointer.empty() {
            // The last connection removes the empty log.
            let is_set = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
            is_set.map_err(|error| StoreError::from(Trouble::from(error)))?;
        }
        self.health.check()
    }
}

impl Job {
    fn run(&mut self, connection: &Connection, epoch: Epoch, tree_seen: u64) -> Result<(), Trouble> {
        match self {
            Self::Append { append, outcome, .. } => *outcome = Some(Ok(apply::append(connection, append)?)),
            Self::Claim { session, outcome, .. } => {
                *outcome = Some(Ok(Box::new(apply::claim(connection, *session, epoch)?)));
            }
            Self::Grow { leaves_max, outcome, .. } => {
                *outcome = Some(Ok(tree::grow(connection, tree_seen, *leaves_max)?));
            }
            Self::KeepCheckpoint { checkpoint, kept_max, outcome, .. } => {
                *outcome = Some(Ok(tree::keep_checkpoint(connection, checkpoint, *kept_max)?));
            }
        }
        Ok(())
    }

    /// How far growing has looked, if that is what it did.
    fn tree_seen(&self) -> Option<u64> {
        match self {
            Self::Grow { outcome: Some(Ok(growth)), .. } => Some(growth.seen),
            _ => None,
        }
    }

    fn refuse(&mut self, error: &StoreError) {
        match self {
            Self::Append { outcome, .. } => *outcome = Some(Err(error.clone())),
            Self::Claim { outcome, .. } => *outcome = Some(Err(error.clone())),
            Self::Grow { outcome, .. } => *outcome = Some(Err(error.clone())),
            Self::KeepCheckpoint { outcome, .. } => *outcome = Some(Err(error.clone())),
        }
    }

    /// Tells the caller. The only place where this store issues receipts.
    fn answer(self) {
        let missing = || Err(StoreError::Failed("the append was not tried".to_owned()));
        match self {
            Self::Append { append, outcome, reply } => {
                let receipt = outcome
                    .unwrap_or_else(missing)
                    .map(|(fence, last)| Receipt::issue(append.session, fence, last, append.durability));
                // silent-ok: the caller has dropped the future.
                reply.send(receipt).ok();
            }
            Self::Claim { outcome, reply, .. } => {
                let row = outcome.unwrap_or_else(|| Err(StoreError::Failed("the claim was not tried".to_owned())));
                // silent-ok: the caller has dropped the future.
                reply.send(row.map(|row| *row)).ok();
            }
            Self::Grow { outcome, reply, .. } => {
                let grown = outcome.unwrap_or_else(|| Err(StoreError::Failed("growing was not tried".to_owned())));
                // silent-ok: the caller has dropped the future.
                reply.send(grown.map(|growth| Grown { size: growth.size, is_whole: growth.is_whole })).ok();
            }
            Self::KeepCheckpoint { outcome, reply, .. } => {
                let kept = outcome.unwrap_or_else(|| Err(StoreError::Failed("keeping was not tried".to_owned())));
                // silent-ok: the caller has dropped the future.
                reply.send(kept).ok();
            }
        }
    }

    fn durability(&self) -> Durability {
        match self {
            Self::Append { append, .. } => append.durability,
            // A fence guards against other actors of this boot; none of them outlives the power.
            Self::Claim { .. } => Durability::Written,
            // A tree covers only what is synced. A growth that finds nothing writes nothing, and then nothing needs
            // to be synced: the last one was.
            Self::Grow { .. } | Self::KeepCheckpoint { .. } => Durability::Durable,
        }
    }

    fn has_erased(&self) -> bool {
        matches!(self, Self::Append { append, outcome: Some(Ok(_)), .. }
            if append.changes.iter().any(|change| matches!(change, Change::Erase | Change::ErasePayloads(_) | Change::DropSealed(..))))
    }

    /// About how much it writes.
    fn bytes(&self) -> usize {
        let Self::Append { append, .. } = self else {
            return 0;
        };
        let rows = append.rows.iter().map(|row| row.bytes.len() + row.payload.as_ref().map_or(0, |(_, b)| b.len()));
        let objects = append.changes.iter().map(|change| match change {
            Change::PutObject(_, bytes) | Change::PutArtifact(_, _, bytes) => bytes.len(),
            Change::Variable { value: Some((value, labels)), .. } => value.len() + labels.len(),
            Change::PutSealed(row) => row.sealed.len() + row.bound_to.len(),
            _ => 0,
        });
        rows.chain(objects).sum()
    }
}

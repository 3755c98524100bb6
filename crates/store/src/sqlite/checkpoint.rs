//! Moves the log into the database, on a connection and a thread of its own, so
//! that no append pays for it.
//!
//! Normally passively, beside the writer, when `soft` bytes have gathered. A
//! writer that never pauses would let the log grow for ever that way; from
//! `hard` bytes on, the writer is asked to wait once while the rest, which is
//! little by then, is moved and the log begins anew in its place. Emptying it is left to open, close and
//! erasure, so that whoever copies the directory of a resting store copies it whole.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::error::{OpenError, Trouble};
use super::health::Health;
use super::schema::{Role, connect};

/// Bytes of the thread's stack: SQLite needs less than 100 KiB.
const STACK_BYTES: usize = 512 << 10;
/// Orders that may wait: a look and an emptying.
const QUEUE_MAX: usize = 2;
/// Bytes that may be left to move while the writer waits, and how often they are made fewer before it is asked to.
const REST_BYTES: u64 = 1 << 20;
const PASSES_MAX: usize = 4;

/// How far the log may grow, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thresholds {
    pub(super) soft: u64,
    pub(super) hard: u64,
}

/// Handle of the thread; it ends when the handle is dropped.
#[derive(Debug)]
pub(super) struct Checkpointer {
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    is_pause_wanted: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Order {
    /// See whether there is enough to move.
    Look,
    /// Empty the log, and say whether it worked.
    Empty(SyncSender<bool>),
    /// Move what is left, so that the log begins anew in its place, and say whether it worked.
    Restart(SyncSender<bool>),
}

struct Worker {
    connection: Connection,
    thresholds: Thresholds,
    page_bytes: u64,
    health: Arc<Health>,
    /// Set when only a pause of the writer lets the log be emptied.
    is_pause_wanted: Arc<AtomicBool>,
    /// An emptying that a reader held up.
    is_emptying_owed: bool,
}

impl Checkpointer {
    pub(super) fn start(path: &Path, thresholds: Thresholds, health: Arc<Health>) -> Result<Self, OpenError> {
        // It copies pages without caching them.
        let connection = connect(path, Role::Checkpoint, 64).map_err(OpenError::sql(path))?;
        let page_bytes: u32 =
            connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(OpenError::sql(path))?;
        let is_pause_wanted = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            connection,
            thresholds,
            page_bytes: page_bytes.into(),
            health,
            is_pause_wanted: Arc::clone(&is_pause_wanted),
            is_emptying_owed: false,
        };
        let (orders, receiver) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("store-checkpoint".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || worker.run(&receiver))
            .map_err(OpenError::io(path))?;
        Ok(Self { orders: Some(orders), thread: Some(thread), is_pause_wanted })
    }

    /// True once whenever the writer should wait for [`empty`](Self::empty) between two commits.
    pub(super) fn wants_pause(&self) -> bool {
        self.is_pause_wanted.swap(false, Ordering::Relaxed)
    }

    /// Asks for a look; does not wait.
    pub(super) fn look(&self) {
        if let Some(orders) = &self.orders {
            // silent-ok: a full queue means that a look is due anyway.
            orders.try_send(Order::Look).ok();
        }
    }

    /// Empties the log and waits for it; false when it could not be done now.
    pub(super) fn empty(&self) -> bool {
        self.done(Order::Empty)
    }

    /// Has the log begin anew, at the length that it has, and waits for it; false when it could not be done now.
    ///
    /// PERF: a log that was cut would have to grow again, and each commit that makes it longer takes twice as long.
    pub(super) fn restart(&self) -> bool {
        self.done(Order::Restart)
    }

    fn done(&self, order: impl FnOnce(SyncSender<bool>) -> Order) -> bool {
        let (reply, answer) = sync_channel(1);
        let is_ordered = self.orders.as_ref().is_some_and(|orders| orders.send(order(reply)).is_ok());
        is_ordered && answer.recv().unwrap_or(false)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread of the store panicked");
        }
    }
}

impl Worker {
    fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            if self.health.check().is_err() {
                // What a sync did not confirm is not copied on. Dropping the order answers it.
                continue;
            }
            match order {
                Order::Look => self.look(),
                Order::Empty(reply) => {
                    let is_empty = self.checkpoint("TRUNCATE").is_some();
                    self.is_emptying_owed = !is_empty;
                    // silent-ok: the writer ended meanwhile.
                    reply.send(is_empty).ok();
                }
                Order::Restart(reply) => {
                    // silent-ok: as above.
                    reply.send(self.checkpoint("RESTART").is_some()).ok();
                }
            }
        }
    }

    fn look(&mut self) {
        if self.is_emptying_owed {
            self.is_emptying_owed = self.checkpoint("TRUNCATE").is_none();
            return;
        }
        let Some((log, moved)) = self.checkpoint("NOOP") else {
            return;
        };
        if log.saturating_sub(moved) * self.page_bytes < self.thresholds.soft {
            return;
        }
        let (mut log, mut moved) = match self.checkpoint("PASSIVE") {
            Some(done) => done,
            None => return,
        };
        if log * self.page_bytes >= self.thresholds.hard {
            // PERF: the writer waits only for what it wrote during the last of these.
            for _ in 1..PASSES_MAX {
                if log.saturating_sub(moved) * self.page_bytes <= REST_BYTES {
                    break;
                }
                (log, moved) = match self.checkpoint("PASSIVE") {
                    Some(done) => done,
                    None => return,
                };
            }
            // Taking the writer's lock from a busy writer by force of patience can take minutes.
            self.is_pause_wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Runs a checkpoint and returns frames in the log and frames moved; `None` when it could not be done now.
    fn checkpoint(&self, mode: &str) -> Option<(u64, u64)> {
        match checkpoint(&self.connection, mode) {
            Ok(done) => done,
            Err(Trouble::Full) => {
                tracing::warn!("no space to move the log into the database; it is tried again later");
                None
            }
            Err(Trouble::Refused(error)) => {
                self.health.fail(format!("checkpoint: {error}"));
                None
            }
            // A sync that failed would seem to succeed the second time.
            Err(Trouble::Corrupt(reason) | Trouble::Fatal(reason)) => {
                self.health.fail(format!("checkpoint: {reason}"));
                None
            }
        }
    }
}

/// Frames in the log and frames moved; `None` when somebody was in the way.
pub(super) fn checkpoint(connection: &Connection, mode: &str) -> Result<Option<(u64, u64)>, Trouble> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let (busy, log, moved): (bool, i64, i64) =
        connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let frames = |count: i64| u64::try_from(count).unwrap_or(0);
    Ok((!busy).then_some((frames(log), frames(moved))))
}

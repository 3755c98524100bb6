//! A few threads with a connection each that answer queries.
//!
//! Readers never wait for the writer nor it for them: each query sees the last
//! commit before it began. A query that was begun runs to its end even when
//! nobody waits for it any more; all of them are bounded.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use are_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::error::{OpenError, Trouble};
use super::health::Health;
use super::schema::{Role, connect};

/// Queries that may wait for a thread; more wait outside.
const QUEUE_MAX: usize = 64;
/// Bytes of a reader's stack: SQLite needs less than 100 KiB.
const STACK_BYTES: usize = 512 << 10;

type Query = Box<dyn FnOnce(&Connection) + Send>;

/// The reading threads.
#[derive(Debug)]
pub(super) struct Readers {
    running: Mutex<Option<Running>>,
    health: Arc<Health>,
}

#[derive(Debug)]
struct Running {
    queue: mpsc::Sender<Query>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts `count` threads.
    pub(super) fn start(path: &Path, count: usize, cache_kib: u32, health: Arc<Health>) -> Result<Self, OpenError> {
        let (queue, receiver) = mpsc::channel::<Query>(QUEUE_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::with_capacity(count);
        for number in 0..count.max(1) {
            let connection = connect(path, Role::Read, cache_kib).map_err(OpenError::sql(path))?;
            let receiver = Arc::clone(&receiver);
            let thread = thread::Builder::new()
                .name(format!("store-read-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || answer(&connection, &receiver))
                .map_err(OpenError::io(path))?;
            threads.push(thread);
        }
        Ok(Self { running: Mutex::new(Some(Running { queue, threads })), health })
    }

    /// Runs a query on one of the threads.
    pub(super) async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, StoreError> {
        let queue = match self.lock().as_ref() {
            Some(running) => running.queue.clone(),
            None => return Err(self.health.gone()),
        };
        let (reply, answer) = oneshot::channel();
        let query: Query = Box::new(move |connection| {
            // silent-ok: nobody waits for the answer any more.
            reply.send(query(connection).map_err(StoreError::from)).ok();
        });
        if queue.send(query).await.is_err() {
            return Err(self.health.gone());
        }
        answer.await.unwrap_or_else(|_| Err(self.health.gone()))
    }

    /// Answers what waits and ends the threads; later queries are refused.
    pub(super) fn stop(&self) {
        let Some(Running { queue, threads }) = self.lock().take() else {
            return;
        };
        drop(queue);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a reading thread of the store panicked");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        // Nothing panics while it is held.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(connection: &Connection, queue: &Mutex<mpsc::Receiver<Query>>) {
    loop {
        // The lock is held while waiting: one thread waits for the queue, the others for the lock.
        let query = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        match query {
            Some(query) => query(connection),
            None => return,
        }
    }
}

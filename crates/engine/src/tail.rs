//! The live end of a journal, for any number of readers at their own pace.
//!
//! A reader holds only a position. Recent entries come from a small shared
//! ring, older ones from the store, so a slow reader costs no memory, and
//! every reader sees the same entries. Nothing enters the ring before the
//! store has it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, Epoch, Seq, SessionKey};
use are_core::journal::{Entry, decode};
use are_core::store::Store;
use tokio::sync::watch;

use crate::api::Tailed;
use crate::faults;

/// Entries kept for readers that are nearly up to date.
const RING_ENTRIES: usize = 512;
/// Bytes of text kept for them.
const RING_BYTES: usize = 256 << 10;
/// Most entries of one step of a reader.
const STEP_ENTRIES: usize = 256;
/// Bytes of one page from the store.
const PAGE_BYTES: usize = 256 << 10;

/// A life sign: phase, units done, units in all.
type Progress = (&'static str, u64, u64);

/// What an actor shares with the readers of its session.
pub(crate) struct Shared {
    pub(crate) key: SessionKey,
    pub(crate) owner: OnceLock<AccountId>,
    pub(crate) epoch: OnceLock<Epoch>,
    ring: Mutex<Ring>,
    head: watch::Sender<Seq>,
    progress: watch::Sender<Option<Progress>>,
    ended: watch::Sender<Option<Fault>>,
    readers: AtomicUsize,
    approvers: AtomicUsize,
    /// True when somebody who may approve was there since it was last reset.
    was_attended: AtomicBool,
    /// True while a person is asked, here or by an agent that works for this session.
    asking: watch::Sender<bool>,
    /// The session that this one works for: who is there, is there for this one too.
    above: Mutex<Option<Arc<Self>>>,
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<(usize, Arc<Entry>)>,
    bytes: usize,
}

impl Shared {
    pub(crate) fn new(key: SessionKey) -> Self {
        Self {
            key,
            owner: OnceLock::new(),
            epoch: OnceLock::new(),
            ring: Mutex::new(Ring::default()),
            head: watch::Sender::new(0),
            progress: watch::Sender::new(None),
            ended: watch::Sender::new(None),
            readers: AtomicUsize::new(0),
            approvers: AtomicUsize::new(0),
            was_attended: AtomicBool::new(false),
            asking: watch::Sender::new(false),
            above: Mutex::new(None),
        }
    }

    /// Publishes stored entries; `sizes` are the bytes of their rows.
    pub(crate) fn publish(&self, entries: Vec<(usize, Entry)>) {
        let Some((_, last)) = entries.last() else { return };
        let last = last.seq();
        {
            let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            for (size, entry) in entries {
                ring.bytes += size;
                ring.entries.push_back((size, Arc::new(entry)));
            }
            while ring.entries.len() > RING_ENTRIES || ring.bytes > RING_BYTES {
                let Some((size, _)) = ring.entries.pop_front() else { break };
                ring.bytes -= size;
            }
        }
        self.head.send_replace(last);
    }

    /// Sets the head after loading.
    pub(crate) fn start_at(&self, head: Seq) {
        self.head.send_replace(head);
    }

    /// Frees the ring while nothing happens; late readers use the store.
    pub(crate) fn rest(&self) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        *ring = Ring::default();
    }

    pub(crate) fn progress(&self, phase: &'static str, done: u64, total: u64) {
        self.progress.send_replace(Some((phase, done, total)));
    }

    /// Tells all readers that nothing more will come from this actor.
    pub(crate) fn end(&self, fault: Fault) {
        self.ended.send_replace(Some(fault));
    }

    /// Last entry.
    pub(crate) fn head(&self) -> Seq {
        *self.head.borrow()
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 0
    }

    pub(crate) fn has_approvers(&self) -> bool {
        self.approvers.load(Ordering::Acquire) > 0 || self.above().is_some_and(|above| above.has_approvers())
    }

    /// True when somebody who may approve is there, or was since another turn began to run.
    pub(crate) fn was_attended(&self) -> bool {
        self.was_attended.load(Ordering::Acquire)
            || self.has_approvers()
            || self.above().is_some_and(|above| above.was_attended())
    }

    /// The session works for another from here on, or for none any more.
    pub(crate) fn work_for(&self, above: Option<Arc<Self>>) {
        *self.above.lock().unwrap_or_else(PoisonError::into_inner) = above;
    }

    fn above(&self) -> Option<Arc<Self>> {
        self.above.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells whether a person is asked.
    pub(crate) fn ask(&self, is_asking: bool) {
        self.asking.send_if_modified(|asking| std::mem::replace(asking, is_asking) != is_asking);
    }

    /// Whether a person is asked, and every change of that.
    pub(crate) fn asking(&self) -> watch::Receiver<bool> {
        self.asking.subscribe()
    }

    /// Another turn runs: only who is still there has been there for it.
    pub(crate) fn reset_attendance(&self) {
        self.was_attended.store(self.has_approvers(), Ordering::Release);
    }

    fn recent(&self, after: Seq) -> Option<Vec<Arc<Entry>>> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let first = ring.entries.front()?.1.seq();
        if after + 1 < first {
            return None;
        }
        let skip = usize::try_from(after + 1 - first).ok()?;
        let found: Vec<_> = ring.entries.iter().skip(skip).take(STEP_ENTRIES).map(|(_, e)| Arc::clone(e)).collect();
        (!found.is_empty()).then_some(found)
    }
}

/// A reader of one session's entries. Dropping it detaches.
pub struct Tail {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    after: Seq,
    head: watch::Receiver<Seq>,
    progress: watch::Receiver<Option<Progress>>,
    ended: watch::Receiver<Option<Fault>>,
    is_approver: bool,
}

impl Tail {
    pub(crate) fn new(shared: Arc<Shared>, store: Arc<dyn Store>, after: Seq, is_approver: bool) -> Self {
        shared.readers.fetch_add(1, Ordering::AcqRel);
        if is_approver {
            shared.approvers.fetch_add(1, Ordering::AcqRel);
            shared.was_attended.store(true, Ordering::Release);
        }
        let (head, mut progress, ended) =
            (shared.head.subscribe(), shared.progress.subscribe(), shared.ended.subscribe());
        progress.mark_unchanged();
        Self { shared, store, after, head, progress, ended, is_approver }
    }

    /// Session it reads.
    #[must_use]
    pub fn session(&self) -> SessionKey {
        self.shared.key
    }

    /// Entries between its position and the head.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.head.borrow().saturating_sub(self.after)
    }

    /// The next entries, at least one item, at most 256. Cancel-safe: the position moves only when it returns.
    ///
    /// # Errors
    /// The session ended (deleted, corrupt, owned elsewhere, shutting down) or the store failed.
    pub async fn next(&mut self) -> Result<Vec<Tailed>, Fault> {
        loop {
            if *self.head.borrow_and_update() > self.after {
                return self.step().await;
            }
            let ended = self.ended.borrow_and_update().clone();
            if let Some(fault) = ended {
                return Err(fault);
            }
            // Each branch only waits for a change of a `watch`, which is cancel-safe.
            tokio::select! {
                changed = self.head.changed() => if changed.is_err() { return Err(closed()) },
                changed = self.ended.changed() => if changed.is_err() { return Err(closed()) },
                changed = self.progress.changed() => {
                    if changed.is_err() { return Err(closed()) }
                    if let Some((phase, done, total)) = *self.progress.borrow_and_update() {
                        return Ok(vec![Tailed::Progress { phase, done, total }]);
                    }
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Vec<Tailed>, Fault> {
        let entries = match self.shared.recent(self.after) {
            Some(entries) => entries,
            None => self.page().await?,
        };
        if let Some(last) = entries.last() {
            self.after = last.seq();
        }
        Ok(entries.into_iter().map(Tailed::Entry).collect())
    }

    async fn page(&self) -> Result<Vec<Arc<Entry>>, Fault> {
        let key = self.shared.key;
        let rows = self.store.read(key, self.after, STEP_ENTRIES as u32, PAGE_BYTES).await.map_err(faults::store)?;
        if rows.is_empty() {
            return Err(Fault::new(Code::SESSION_UNKNOWN, "the session's entries are gone", "list your sessions"));
        }
        rows.iter().map(|row| decode(key, row).map(Arc::new).map_err(faults::corrupt)).collect()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.shared.readers.fetch_sub(1, Ordering::AcqRel);
        if self.is_approver {
            self.shared.approvers.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn closed() -> Fault {
    Fault::new(Code::UNAVAILABLE, "the engine stopped", "attach again").retryable()
}

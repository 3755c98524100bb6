//! What waits for people, and what became of it, over all sessions of an account.
//!
//! A reader holds only a position in one bounded ring. It never sees what is
//! another account's. Who is behind the ring's end has to start over with what
//! waits now, which loses nothing, because the journals hold it. Notices enter
//! after the store has their records.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use are_core::body::Body;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, SessionKey};
use are_core::journal::Entry;
use tokio::sync::watch;

/// Notices kept for readers that are a little late, of all accounts together.
const RING_NOTICES: usize = 1_024;
/// Bytes of their records and payloads; an approval shows up to a MiB of arguments.
const RING_BYTES: usize = 8 << 20;
/// Hexadecimal digits that tell one life of the engine from another.
const LIFE_DIGITS: usize = 12;

/// Something that happened to what waits for an account.
#[derive(Debug)]
pub struct Notice {
    /// Names it for a reader that comes back.
    pub id: String,
    /// Session.
    pub session: SessionKey,
    /// The record.
    pub entry: Entry,
    account: AccountId,
    number: u64,
    bytes: usize,
}

/// Notices of all accounts.
pub(crate) struct Inboxes {
    life: String,
    ring: Mutex<Ring>,
    head: watch::Sender<u64>,
    /// Readers of each account that may answer.
    approvers: Mutex<BTreeMap<AccountId, usize>>,
}

#[derive(Default)]
struct Ring {
    notices: VecDeque<Arc<Notice>>,
    bytes: usize,
}

impl Inboxes {
    /// `life` is random, so that an identifier of an earlier process is known for one.
    pub(crate) fn new(life: Digest) -> Arc<Self> {
        let life = life.to_string()[..LIFE_DIGITS].to_owned();
        Arc::new(Self { life, ring: Mutex::default(), head: watch::Sender::new(0), approvers: Mutex::default() })
    }

    /// Takes those of the stored entries that people wait for.
    pub(crate) fn publish(&self, account: &AccountId, session: SessionKey, entries: &[(usize, Entry)]) {
        let told = entries.iter().filter(|(_, entry)| is_told(entry));
        for (bytes, entry) in told {
            let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            let number = *self.head.borrow() + 1;
            let id = format!("{}-{number}", self.life);
            let (account, entry, bytes) = (account.clone(), entry.clone(), *bytes);
            ring.bytes += bytes;
            ring.notices.push_back(Arc::new(Notice { id, session, entry, account, number, bytes }));
            while ring.notices.len() > RING_NOTICES || ring.bytes > RING_BYTES {
                let Some(oldest) = ring.notices.pop_front() else { break };
                ring.bytes -= oldest.bytes;
            }
            // Within the lock, so that numbers rise in the ring's order.
            self.head.send_replace(number);
        }
    }

    /// A reader for `account`, after the notice `last` where that can still be continued.
    pub(crate) fn open(self: &Arc<Self>, account: AccountId, last: Option<&str>, is_approver: bool) -> Inbox {
        if is_approver {
            *self.approvers().entry(account.clone()).or_default() += 1;
        }
        let number = last.and_then(|last| last.strip_prefix(&self.life)?.strip_prefix('-')?.parse::<u64>().ok());
        let head = self.head.subscribe();
        let newest = *head.borrow();
        let resumed = number.filter(|number| *number <= newest && !self.is_lost(*number));
        Inbox {
            inboxes: Arc::clone(self),
            account,
            after: resumed.unwrap_or(newest),
            is_resumed: resumed.is_some(),
            is_approver,
            head,
        }
    }

    /// True while somebody reads who may answer what waits for the account.
    pub(crate) fn has_approvers(&self, account: &AccountId) -> bool {
        self.approvers().contains_key(account)
    }

    fn approvers(&self) -> std::sync::MutexGuard<'_, BTreeMap<AccountId, usize>> {
        self.approvers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when the notice after this one is no longer there.
    fn is_lost(&self, after: u64) -> bool {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = ring.notices.front().map_or(*self.head.borrow() + 1, |notice| notice.number);
        after + 1 < oldest
    }

    fn next(&self, after: u64, account: &AccountId) -> Option<Arc<Notice>> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let first = ring.notices.front()?.number;
        let skip = usize::try_from((after + 1).saturating_sub(first)).ok()?;
        ring.notices.iter().skip(skip).find(|notice| notice.account == *account).cloned()
    }
}

fn is_told(entry: &Entry) -> bool {
    let Entry::Record(record, _) = entry else { return false };
    record.body.ends_turn()
        || matches!(
            record.body,
            Body::ApprovalRequested { .. }
                | Body::ApprovalWithdrawn { .. }
                | Body::ApprovalResolved { .. }
                | Body::TurnParked { .. }
        )
}

/// A reader of what waits for one account.
pub struct Inbox {
    inboxes: Arc<Inboxes>,
    account: AccountId,
    after: u64,
    is_resumed: bool,
    is_approver: bool,
    head: watch::Receiver<u64>,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut approvers = self.inboxes.approvers();
        if let Some(count) = approvers.get_mut(&self.account).filter(|_| self.is_approver) {
            *count -= 1;
            if *count == 0 {
                approvers.remove(&self.account);
            }
        }
    }
}

impl Inbox {
    /// True when it goes on after the notice that was named; otherwise the reader begins with what waits now.
    #[must_use]
    pub const fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The identifier of where it stands.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}-{}", self.inboxes.life, self.after)
    }

    /// The next notice. Cancel-safe: the position moves only when it returns.
    ///
    /// # Errors
    /// ARE-0212 when the reader was so slow that notices are gone: it has to begin again.
    pub async fn next(&mut self) -> Result<Arc<Notice>, Fault> {
        loop {
            let head = *self.head.borrow_and_update();
            if self.inboxes.is_lost(self.after) {
                let help = "connect again; what waits is told first";
                return Err(Fault::new(Code::SLOW_READER, "reading too slowly", help).retryable());
            }
            if let Some(notice) = self.inboxes.next(self.after, &self.account) {
                self.after = notice.number;
                return Ok(notice);
            }
            self.after = self.after.max(head);
            // Waiting for a change of a `watch` is cancel-safe.
            if self.head.changed().await.is_err() {
                return Err(crate::faults::stopping());
            }
        }
    }
}

#[cfg(test)]
mod tests;

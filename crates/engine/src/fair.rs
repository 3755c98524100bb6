//! Places for what runs at once, given to accounts in turn.
//!
//! One account has at most half of the places, and less the more accounts were
//! there lately: those of a busy one would otherwise keep the machine from all
//! others, though places are free. While several wait each gets the next free one
//! in turn, however many calls of one of them wait. So what a busy account keeps
//! waiting is itself. Calls of calls, and calls that wait for
//! agents, take no place: what they wait for could need it.
//!
//! Places do not share the processor out: calls that are over at once hold few and
//! may still be thousands a second. So while several accounts are there and the
//! process gets late to what is due, the accounts that begin the most calls are
//! paced, more slowly the longer that lasts ([`pace`]).

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use are_core::error::Fault;
use are_core::ids::AccountId;
use are_core::model::{Delta, ModelRequest, ModelStream, Models};
use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, sleep};

use self::pace::{Allowance, Pace};

/// Places that an account may have however many others there are, if half of all are as many.
const SHARE_MIN: usize = 4;
/// How long an account counts as there.
const LATELY: Duration = Duration::from_secs(10);
/// How often it is looked who no longer counts.
const LOOK: Duration = Duration::from_secs(1);

/// Gives places away.
pub(crate) struct Fair {
    queue: Mutex<Queue>,
}

struct Queue {
    places: usize,
    free: usize,
    /// Accounts that count as there.
    lately: HashMap<AccountId, Lately>,
    looked: Instant,
    pace: Pace,
    /// Whether somebody feels how late the process gets.
    is_felt: bool,
    running: HashMap<AccountId, usize>,
    /// Accounts that wait, the next one first, each once.
    turn: VecDeque<AccountId>,
    waiting: HashMap<AccountId, VecDeque<oneshot::Sender<Place>>>,
}

/// What an account did in the last seconds.
struct Lately {
    /// When it wanted a place last.
    wanted: Instant,
    allowance: Allowance,
}

/// A place; free again when it is dropped.
pub(crate) struct Place {
    fair: Arc<Fair>,
    account: AccountId,
}

impl Fair {
    /// So many places.
    pub(crate) fn new(places: usize) -> Arc<Self> {
        let places = places.max(1);
        Arc::new(Self {
            queue: Mutex::new(Queue {
                places,
                free: places,
                lately: HashMap::new(),
                looked: Instant::now(),
                pace: Pace::default(),
                is_felt: false,
                running: HashMap::new(),
                turn: VecDeque::new(),
                waiting: HashMap::new(),
            }),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, if one is free for the account now.
    pub(crate) fn try_enter(self: &Arc<Self>, account: &AccountId) -> Option<Place> {
        self.try_enter_at(account, Instant::now())
    }

    fn try_enter_at(self: &Arc<Self>, account: &AccountId, now: Instant) -> Option<Place> {
        let mut queue = self.queue();
        queue.note(account, now);
        self.feel(&mut queue);
        let is_waited_for = queue.waiting.contains_key(account);
        (!is_waited_for && queue.take(account, now)).then(|| Place { fair: Arc::clone(self), account: account.clone() })
    }

    /// Waits for a place. Dropping the future gives up the wait.
    pub(crate) async fn enter(self: Arc<Self>, account: AccountId) -> Place {
        loop {
            let turn = {
                let (mut queue, now) = (self.queue(), Instant::now());
                queue.note(&account, now);
                self.feel(&mut queue);
                if !queue.waiting.contains_key(&account) && queue.take(&account, now) {
                    return Place { fair: Arc::clone(&self), account };
                }
                let (tx, rx) = oneshot::channel();
                queue.wait(&account, tx);
                rx
            };
            // The sender is dropped by nobody but the queue, which is `self`'s.
            if let Ok(place) = turn.await {
                return place;
            }
        }
    }

    fn leave(self: &Arc<Self>, account: &AccountId) {
        self.queue().put_back(account);
        self.hand_out();
    }

    /// Gives what is free to those whose turn it is.
    fn hand_out(self: &Arc<Self>) {
        let mut given = Vec::new();
        {
            let (mut queue, now) = (self.queue(), Instant::now());
            while let Some((next, tx)) = queue.next(now) {
                given.push((tx, Place { fair: Arc::clone(self), account: next }));
            }
        }
        for (tx, place) in given {
            // A wait that was given up returns its place, which is dropped outside of the lock and given to the next.
            drop(tx.send(place));
        }
    }

    /// Has somebody look how late the process gets, for as long as accounts are there.
    fn feel(self: &Arc<Self>, queue: &mut Queue) {
        if queue.is_felt || queue.lately.len() < 2 {
            return;
        }
        queue.is_felt = true;
        let fair = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                sleep(pace::TICK).await;
                let due = Instant::now();
                // Behind everything that is ready to run now.
                tokio::task::yield_now().await;
                let Some(fair) = fair.upgrade() else { return };
                let now = Instant::now();
                if !fair.felt(now.saturating_duration_since(due), now) {
                    return;
                }
                fair.hand_out();
            }
        });
    }

    /// Takes in how late it is; false when nobody is there any more who could keep others waiting.
    fn felt(&self, late: Duration, now: Instant) -> bool {
        let mut queue = self.queue();
        queue.forget(now);
        if queue.lately.len() < 2 {
            queue.pace = Pace::default();
            queue.is_felt = !queue.waiting.is_empty();
            return queue.is_felt;
        }
        if queue.pace.felt(late) {
            let queue = &mut *queue;
            queue.pace.turn(queue.lately.values_mut().map(|lately| &mut lately.allowance));
        }
        true
    }
}

impl Queue {
    /// Counts an account as there.
    fn note(&mut self, account: &AccountId, now: Instant) {
        self.forget(now);
        match self.lately.get_mut(account) {
            Some(lately) => lately.wanted = now,
            None => {
                self.lately.insert(account.clone(), Lately { wanted: now, allowance: Allowance::new(now) });
            }
        }
    }

    /// Counts those as gone that have not wanted anything for a while.
    fn forget(&mut self, now: Instant) {
        if now.duration_since(self.looked) >= LOOK {
            self.looked = now;
            let waiting = &self.waiting;
            self.lately
                .retain(|account, lately| now.duration_since(lately.wanted) < LATELY || waiting.contains_key(account));
        }
    }

    /// Places of one account, at most.
    fn share(&self) -> usize {
        let even = self.places / self.lately.len().max(1);
        even.max(SHARE_MIN).min(self.places.div_ceil(2))
    }

    fn take(&mut self, account: &AccountId, now: Instant) -> bool {
        let running = self.running.get(account).copied().unwrap_or(0);
        if self.free == 0 || running >= self.share() {
            return false;
        }
        if let Some(lately) = self.lately.get_mut(account)
            && !lately.allowance.take(self.pace.per_second(), now)
        {
            return false;
        }
        self.free -= 1;
        self.running.insert(account.clone(), running + 1);
        true
    }

    fn put_back(&mut self, account: &AccountId) {
        self.free += 1;
        if let Some(running) = self.running.get_mut(account) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(account);
            }
        }
    }

    fn wait(&mut self, account: &AccountId, tx: oneshot::Sender<Place>) {
        let waiting = self.waiting.entry(account.clone()).or_default();
        if waiting.is_empty() {
            self.turn.push_back(account.clone());
        }
        waiting.push_back(tx);
    }

    /// The next wait that can end, with the account whose place is taken for it.
    fn next(&mut self, now: Instant) -> Option<(AccountId, oneshot::Sender<Place>)> {
        for _ in 0..self.turn.len() {
            let account = self.turn.pop_front()?;
            let mut waiting = self.waiting.remove(&account).unwrap_or_default();
            waiting.retain(|tx| !tx.is_closed());
            let taken = if !waiting.is_empty() && self.take(&account, now) { waiting.pop_front() } else { None };
            if !waiting.is_empty() {
                self.waiting.insert(account.clone(), waiting);
                self.turn.push_back(account.clone());
            }
            if let Some(tx) = taken {
                return Some((account, tx));
            }
        }
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.fair.leave(&self.account);
    }
}

/// An answer that holds a place.
struct Placed {
    inner: ModelStream,
    _place: Place,
}

impl Stream for Placed {
    type Item = Result<Delta, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.as_mut().poll_next(context)
    }
}

/// Calls a model when the account has a place.
pub(crate) fn call(
    fair: &Arc<Fair>,
    account: &AccountId,
    models: &Arc<dyn Models>,
    request: ModelRequest,
) -> ModelStream {
    if let Some(place) = fair.try_enter(account) {
        return Box::pin(Placed { inner: models.call(request), _place: place });
    }
    let (fair, account, models) = (Arc::clone(fair), account.clone(), Arc::clone(models));
    let queued = stream::iter([Ok(Delta::Progress { phase: "queued", done: 0, total: 0 })]);
    let answer = stream::once(async move {
        let place = fair.enter(account).await;
        Placed { inner: models.call(request), _place: place }
    });
    Box::pin(queued.chain(answer.flatten()))
}

mod pace;
#[cfg(test)]
mod tests;

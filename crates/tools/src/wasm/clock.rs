//! How long a call may take, and running it so that it takes no longer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use are_policy::pauses::Pauses;
use are_policy::tools::Work;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use wasmtime::{Store, UpdateDeadline};

use crate::lane::Room;

/// Epochs before a call leaves the thread that it was asked for on: it has that thread for a tick at least.
const EPOCHS_AT_FIRST: u64 = 2;

/// The least time between two looks at a clock whose limit moves.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A call's time. Over when its limit is reached or nobody waits for it any more.
pub(crate) struct Clock {
    limit: Instant,
    /// Put the limit off; none outside of a call.
    pauses: Option<Pauses>,
    /// Is told how long the guest runs.
    work: Arc<Work>,
    is_stopped: AtomicBool,
    stopped: Notify,
    has_ticked: AtomicBool,
}

/// The call was not over when its clock was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

impl Clock {
    /// The clock of a call in this room. The only place that reads a room's time limit.
    pub(crate) fn of(room: &Room) -> Arc<Self> {
        Arc::new(Self {
            limit: room.deadline,
            pauses: Some(room.pauses.clone()),
            work: Arc::clone(&room.work),
            is_stopped: AtomicBool::new(false),
            stopped: Notify::new(),
            has_ticked: AtomicBool::new(false),
        })
    }

    /// True when guest code must not go on.
    pub(crate) fn is_over(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire) || Instant::now() >= self.limit()
    }

    /// When it is over as things stand: the time for which a person is asked does not count.
    fn limit(&self) -> Instant {
        self.limit + Duration::from_millis(self.pauses.as_ref().map_or(0, Pauses::total_ms))
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self) {
        let mut stopped = pin!(self.stopped.notified());
        while !self.is_over() {
            // In a pause the limit moves along; it is looked again when it would have been over.
            let next = self.limit().max(Instant::now() + LOOK_AGAIN);
            tokio::select! {
                // Cancel-safe: neither branch takes anything away.
                () = &mut stopped => return,
                () = sleep_until(next) => {}
            }
        }
    }

    fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.stopped.notify_waiters();
    }
}

/// Makes the store's guest code yield at every tick and trap when the clock is over.
pub(crate) fn arm<T: 'static>(store: &mut Store<T>, clock: &Arc<Clock>) {
    let clock = Arc::clone(clock);
    store.set_epoch_deadline(EPOCHS_AT_FIRST);
    store.epoch_deadline_callback(move |_| {
        clock.has_ticked.store(true, Ordering::Release);
        if clock.is_over() { Ok(UpdateDeadline::Interrupt) } else { Ok(UpdateDeadline::Yield(1)) }
    });
}

/// Runs guest code to its end, at most until the clock is over. Dropping the future stops the guest at the next
/// tick, wherever it runs by then.
pub(crate) async fn drive<T: Send + 'static>(
    clock: &Arc<Clock>,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Stopped> {
    let _guard = StopOnDrop(Arc::clone(clock));
    let mut work: BoxFuture<'static, T> = Box::pin(counted(Arc::clone(&clock.work), work));
    let here = poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if clock.has_ticked.load(Ordering::Acquire) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    tokio::select! {
        biased;
        // Not cancelled but dropped when the clock is over, which unwinds the guest.
        done = here => if let Some(done) = done { return Ok(done) },
        () = clock.over() => return Err(Stopped),
    }
    let (runtime, clock) = (Handle::current(), Arc::clone(clock));
    let elsewhere = tokio::task::spawn_blocking(move || runtime.block_on(until_over(&clock, work)));
    match elsewhere.await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down.
            Err(_) => Err(Stopped),
        },
    }
}

/// Counts the time in which the guest runs, and not that in which it waits.
async fn counted<T>(time: Arc<Work>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let began = Instant::now();
        let polled = work.as_mut().poll(cx);
        time.add(began.elapsed());
        polled
    })
    .await
}

async fn until_over<T>(clock: &Clock, work: BoxFuture<'static, T>) -> Result<T, Stopped> {
    let work = pin!(work);
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = clock.over() => Err(Stopped),
    }
}

struct StopOnDrop(Arc<Clock>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

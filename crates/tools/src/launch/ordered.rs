//! A program between its order and the moment at which somebody has it in hand.
//!
//! A thread that may block orders it while the caller waits, and the caller may be
//! given up meanwhile. Both meet at one lock: the order is sent while it is held, and
//! what was started is left there. Whoever gives up therefore finds what was started,
//! or nothing ever will be.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use are_core::error::Fault;
use tokio::task::JoinHandle;

use super::{Child, broken};

/// A program that was asked for. Dropping it ends what runs of it, and what does not run never will.
#[derive(Debug)]
pub(crate) struct Ordered {
    meeting: Arc<Meeting>,
    thread: JoinHandle<io::Result<()>>,
}

/// Where the one who orders and the one who waits meet.
#[derive(Debug, Default)]
struct Meeting(Mutex<Stage>);

#[derive(Debug, Default)]
enum Stage {
    /// Nothing was ordered so far.
    #[default]
    Wanted,
    /// It may run, and nobody has it in hand yet.
    Left(Box<Child>),
    /// Somebody has it, or nobody wants it any more.
    Over,
}

impl Ordered {
    /// Has a thread that may block prepare an order, and then send it; that it may not do when this was given up.
    pub(super) fn by<P: Send + 'static>(
        prepare: impl FnOnce() -> io::Result<P> + Send + 'static,
        send: impl FnOnce(P) -> io::Result<Child> + Send + 'static,
    ) -> Self {
        let meeting = Arc::<Meeting>::default();
        let theirs = Arc::clone(&meeting);
        let thread = tokio::task::spawn_blocking(move || {
            if matches!(*theirs.lock(), Stage::Over) {
                return Ok(());
            }
            let prepared = prepare()?;
            let mut stage = theirs.lock();
            if matches!(*stage, Stage::Wanted) {
                *stage = Stage::Left(Box::new(send(prepared)?));
            }
            Ok(())
        });
        Self { meeting, thread }
    }

    /// Waits until it was ordered; whether it runs then, [`started`](super::Launcher::started) tells. Dropping the future
    /// loses nothing; it resolves once.
    ///
    /// # Errors
    /// ARE-0520 when it could not be ordered.
    pub(crate) async fn sent(&mut self) -> Result<Child, Fault> {
        let sent = (&mut self.thread).await.map_err(io::Error::other).flatten();
        sent.map_err(|error| broken("start", &error))?;
        self.give_up().ok_or_else(|| broken("start", &"it was given up"))
    }

    /// Takes what may run; where nothing does yet, nothing will. Blocks, shortly.
    pub(crate) fn give_up(&self) -> Option<Child> {
        match std::mem::replace(&mut *self.meeting.lock(), Stage::Over) {
            Stage::Left(child) => Some(*child),
            Stage::Wanted | Stage::Over => None,
        }
    }
}

impl Drop for Ordered {
    fn drop(&mut self) {
        drop(self.give_up());
    }
}

impl Meeting {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

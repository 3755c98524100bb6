//! Keeps what the engine works with up with files that change while it runs.
//!
//! Files are looked at once a second: a few calls of `stat`, which also work
//! where notifications do not (network and overlay file systems, links that are
//! exchanged). A change is read when it has settled, because editors and copies
//! write in several steps. What could not be taken in is tried again.

use std::time::Duration;

use are_core::error::{Code, Fault};
use tokio::signal::unix::Signal;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long files must have stayed as they are before they are read.
const SETTLE_TIME: Duration = Duration::from_millis(150);
/// Looks at files that do not settle; then they are read as they are.
const SETTLE_LOOKS: u32 = 10;

/// What lies in files.
pub(super) trait Watched: Send {
    /// What tells whether the files have changed.
    type Seen: PartialEq + Send;
    /// What lies there, for the log.
    const WHAT: &'static str;

    /// Looks at the files without reading them.
    fn look(&self) -> impl Future<Output = Result<Self::Seen, Fault>> + Send;

    /// True when files were written so shortly before that a further change could look the same.
    fn is_fresh(seen: &Self::Seen) -> bool;

    /// Reads the files and has the engine take them in; `is_asked` when somebody wants that even if nothing changed.
    fn take_in(&mut self, is_asked: bool) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Keeps the engine up with one kind of files.
pub(super) struct Watch<W: Watched> {
    watched: W,
    /// The files as they were last taken in.
    seen: Option<W::Seen>,
    /// The last reading could have missed a change.
    is_fresh: bool,
}

impl<W: Watched> Watch<W> {
    /// What is in use was read from files that looked like `seen`, or a moment later; `None` reads them again first.
    pub(super) const fn new(watched: W, seen: Option<W::Seen>) -> Self {
        Self { watched, seen, is_fresh: true }
    }

    /// Looks again and again until `stop`, and at once on a hang-up.
    pub(super) async fn run(mut self, stop: CancellationToken, mut hangup: Option<Signal>) {
        let mut told: Option<Fault> = None;
        loop {
            // Timers, a cancelled token and receiving a signal are all cancel-safe.
            let is_asked = tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => false,
                () = received(hangup.as_mut()) => true,
            };
            let failed = self.follow(is_asked).await.err();
            // Said once, however often it is tried.
            if let Some(fault) = failed.as_ref().filter(|_| failed != told) {
                tracing::error!(%fault, what = W::WHAT, "changed files could not be taken in");
            }
            told = failed;
        }
    }

    async fn follow(&mut self, is_asked: bool) -> Result<(), Fault> {
        let mut now = self.watched.look().await?;
        if !is_asked && !self.is_fresh && self.seen.as_ref() == Some(&now) {
            return Ok(());
        }
        if self.seen.as_ref() != Some(&now) {
            now = self.settled(now).await?;
        }
        self.watched.take_in(is_asked).await?;
        // Only now: what could not be recorded is tried again.
        self.is_fresh = W::is_fresh(&now);
        self.seen = Some(now);
        Ok(())
    }

    async fn settled(&self, mut before: W::Seen) -> Result<W::Seen, Fault> {
        for _ in 0..SETTLE_LOOKS {
            sleep(SETTLE_TIME).await;
            let now = self.watched.look().await?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
        Ok(before)
    }
}

async fn received(hangup: Option<&mut Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Work on files, off the threads that serve.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Fault::new(Code::INTERNAL, "reading files ended in a panic", "report this as a bug"))
}

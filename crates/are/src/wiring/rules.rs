//! Takes changed rule files into force while the engine runs.
//!
//! The directory is looked at once a second: a few calls of `stat`, which also
//! work where notifications do not (network and overlay file systems, links that
//! are exchanged). A change is read when it has settled. Rules with errors change
//! nothing; the engine records and tells why.

use std::time::Duration;

use are_core::error::{Code, Fault};
use are_engine::engine::Engine;
use tokio::signal::unix::Signal;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::files::Fingerprint;
use crate::config::policy::Source;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long files must have stayed as they are before they are read: editors write in several steps.
const SETTLE_TIME: Duration = Duration::from_millis(150);
/// Looks at files that do not settle; then they are read as they are.
const SETTLE_LOOKS: u32 = 10;

type Files = Vec<(String, String)>;

/// Keeps the engine's rules up with their files.
pub(super) struct Watch {
    engine: Engine,
    source: Source,
    /// The files as they were last read; `None` when that failed.
    files: Option<Files>,
    seen: Option<Fingerprint>,
    /// The last reading could have missed a change.
    is_fresh: bool,
}

impl Watch {
    /// `files` are those in force.
    pub(super) const fn new(engine: Engine, source: Source, files: Files) -> Self {
        Self { engine, source, files: Some(files), seen: None, is_fresh: false }
    }

    /// Looks again and again until `stop`, and at once on a hang-up.
    pub(super) async fn run(mut self, stop: CancellationToken, mut hangup: Option<Signal>) {
        loop {
            // Timers, a cancelled token and receiving a signal are all cancel-safe.
            let is_asked = tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => false,
                () = received(hangup.as_mut()) => true,
            };
            if let Err(fault) = self.look(is_asked).await {
                tracing::error!(%fault, "changed rules could not be taken into force");
            }
        }
    }

    async fn look(&mut self, is_asked: bool) -> Result<(), Fault> {
        let mut now = self.fingerprint().await?;
        if !is_asked && !self.is_fresh && self.seen.as_ref() == Some(&now) {
            return Ok(());
        }
        for _ in 0..SETTLE_LOOKS {
            if self.seen.as_ref() == Some(&now) {
                break;
            }
            self.seen = Some(now);
            sleep(SETTLE_TIME).await;
            now = self.fingerprint().await?;
        }
        self.is_fresh = now.is_fresh();
        self.seen = Some(now);
        let source = self.source.clone();
        let read = blocking(move || source.read()).await?;
        if !is_asked && read.as_ref().ok() == self.files.as_ref() && read.is_ok() {
            return Ok(());
        }
        let (source, files) = (self.source.clone(), read.clone());
        let built = blocking(move || files.and_then(|files| source.build(&files))).await?;
        match built {
            Ok(rules) => {
                self.engine.set_rules(rules).await?;
            }
            Err(fault) => self.engine.refuse_rules(fault).await?,
        }
        // Only now: what could not be recorded is tried again.
        self.files = read.ok();
        Ok(())
    }

    async fn fingerprint(&self) -> Result<Fingerprint, Fault> {
        let source = self.source.clone();
        blocking(move || source.fingerprint()).await
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
        .map_err(|_| Fault::new(Code::INTERNAL, "reading the rules ended in a panic", "report this as a bug"))
}

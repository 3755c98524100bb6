//! Takes changed files of tools into service while the engine runs.
//!
//! As with rules, the folder is looked at once a second and read when it has
//! settled. The engine records the change before it holds.

use std::sync::Arc;
use std::time::Duration;

use are_core::error::Fault;
use are_engine::engine::Engine;
use are_tools::Registry;
use are_tools::registry::Fingerprint;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::rules::blocking;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long files must have stayed as they are before they are read: they are copied in several steps.
const SETTLE_TIME: Duration = Duration::from_millis(150);
/// Looks at files that do not settle; then they are read as they are.
const SETTLE_LOOKS: u32 = 10;

/// Keeps the engine's tools up with their files.
pub(super) struct Watch {
    engine: Engine,
    registry: Arc<Registry>,
    seen: Option<Fingerprint>,
    /// The last reading could have missed a change.
    is_fresh: bool,
}

impl Watch {
    /// The files in service are those of `seen`, or of a moment later.
    pub(super) const fn new(engine: Engine, registry: Arc<Registry>, seen: Option<Fingerprint>) -> Self {
        Self { engine, registry, seen, is_fresh: true }
    }

    /// Looks again and again until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            // A timer and a cancelled token are cancel-safe.
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
            if let Err(fault) = self.look().await {
                tracing::error!(%fault, "changed tools could not be taken into service");
            }
        }
    }

    async fn look(&mut self) -> Result<(), Fault> {
        let mut now = self.fingerprint().await?;
        if !self.is_fresh && self.seen == now {
            return Ok(());
        }
        for _ in 0..SETTLE_LOOKS {
            if self.seen == now {
                break;
            }
            self.seen = now;
            sleep(SETTLE_TIME).await;
            now = self.fingerprint().await?;
        }
        let is_fresh = now.as_ref().is_some_and(Fingerprint::is_fresh);
        self.engine.reload_tools().await?;
        // Only now: what could not be recorded is tried again.
        self.is_fresh = is_fresh;
        self.seen = now;
        Ok(())
    }

    async fn fingerprint(&self) -> Result<Option<Fingerprint>, Fault> {
        let registry = Arc::clone(&self.registry);
        blocking(move || registry.fingerprint()).await
    }
}

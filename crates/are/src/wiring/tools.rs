//! Takes changed files of tools into service while the engine runs. The engine records the change before it holds.

use std::sync::Arc;

use are_core::error::Fault;
use are_engine::engine::Engine;
use are_tools::Registry;
use are_tools::registry::Fingerprint;

use super::watch::{Watched, blocking};

/// The files that the engine's tools come from.
pub(super) struct ToolFiles {
    engine: Engine,
    registry: Arc<Registry>,
}

impl ToolFiles {
    pub(super) const fn new(engine: Engine, registry: Arc<Registry>) -> Self {
        Self { engine, registry }
    }
}

impl Watched for ToolFiles {
    /// `None` where there is no folder.
    type Seen = Option<Fingerprint>;
    const WHAT: &'static str = "tools";

    async fn look(&self) -> Result<Self::Seen, Fault> {
        let registry = Arc::clone(&self.registry);
        blocking(move || registry.fingerprint()).await
    }

    fn is_fresh(seen: &Self::Seen) -> bool {
        seen.as_ref().is_some_and(Fingerprint::is_fresh)
    }

    async fn take_in(&mut self, _: bool) -> Result<(), Fault> {
        self.engine.reload_tools().await.map(drop)
    }
}

//! Takes changed files of agents into use while the engine runs.
//!
//! As with rules, the directory is looked at once a second and read when it has
//! settled. A file that was broken by the change leaves its agent as it was, so
//! that a typing error ends no turn; the listing says so.

use std::path::PathBuf;
use std::time::Duration;

use are_core::error::Fault;
use are_core::ids::AgentName;
use are_engine::engine::Engine;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::rules::blocking;
use crate::config::agents::{self, Loaded};
use crate::config::files::Fingerprint;
use crate::config::skills;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long files must have stayed as they are before they are read: editors write in several steps.
const SETTLE_TIME: Duration = Duration::from_millis(150);
/// Looks at files that do not settle; then they are read as they are.
const SETTLE_LOOKS: u32 = 10;

/// Keeps the engine's agents up with their files.
pub(super) struct Watch {
    engine: Engine,
    data_dir: PathBuf,
    has_skills: bool,
    seen: Option<Fingerprint>,
    /// The last reading could have missed a change.
    is_fresh: bool,
}

impl Watch {
    /// Skills are told of where they are served.
    pub(super) const fn new(engine: Engine, data_dir: PathBuf, has_skills: bool) -> Self {
        Self { engine, data_dir, has_skills, seen: None, is_fresh: true }
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
                tracing::error!(%fault, "changed agents could not be taken into use");
            }
        }
    }

    async fn look(&mut self) -> Result<(), Fault> {
        let mut now = self.fingerprint().await?;
        if !self.is_fresh && self.seen.as_ref() == Some(&now) {
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
        let is_fresh = now.is_fresh();
        let (data_dir, has_skills) = (self.data_dir.clone(), self.has_skills);
        let Loaded { mut agents, problems, .. } = blocking(move || {
            let mut loaded = agents::load(&data_dir);
            loaded.tell();
            if has_skills {
                skills::tell(&skills::list(&data_dir), &mut loaded.agents);
            }
            loaded
        })
        .await?;
        let before = self.engine.agents().agents;
        for problem in &problems {
            let name = problem.file.strip_suffix(".md").and_then(|stem| stem.parse::<AgentName>().ok());
            if let Some(agent) = name.and_then(|name| before.get(&name)) {
                agents.insert(agent.name.clone(), agent.as_ref().clone());
            }
        }
        self.engine.set_agents(agents, problems).await?;
        // Only now: what could not be recorded is tried again.
        self.is_fresh = is_fresh;
        self.seen = Some(now);
        Ok(())
    }

    async fn fingerprint(&self) -> Result<Fingerprint, Fault> {
        let dir = self.data_dir.join("agents");
        blocking(move || Fingerprint::of(&dir, "md")).await
    }
}

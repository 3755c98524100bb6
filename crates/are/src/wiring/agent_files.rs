//! Takes changed files of agents into use while the engine runs.
//!
//! A file that was broken by the change leaves its agent as it was, so that a
//! typing error ends no turn; the listing says so.

use std::path::PathBuf;

use are_core::error::Fault;
use are_core::ids::AgentName;
use are_engine::engine::Engine;

use super::watch::{Watched, blocking};
use crate::config::agents::{self, Loaded};
use crate::config::files::Fingerprint;
use crate::config::skills;

/// The files that the engine's agents come from.
pub(super) struct AgentFiles {
    engine: Engine,
    data_dir: PathBuf,
    has_skills: bool,
}

impl AgentFiles {
    /// Skills are told of where they are served.
    pub(super) const fn new(engine: Engine, data_dir: PathBuf, has_skills: bool) -> Self {
        Self { engine, data_dir, has_skills }
    }
}

impl Watched for AgentFiles {
    type Seen = Fingerprint;
    const WHAT: &'static str = "agents";

    async fn look(&self) -> Result<Fingerprint, Fault> {
        let dir = self.data_dir.join("agents");
        blocking(move || Fingerprint::of(&dir, "md")).await
    }

    fn is_fresh(seen: &Fingerprint) -> bool {
        seen.is_fresh()
    }

    async fn take_in(&mut self, _: bool) -> Result<(), Fault> {
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
        self.engine.set_agents(agents, problems).await
    }
}

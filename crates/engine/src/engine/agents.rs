//! The agents that sessions can name, and how others take their place.
//!
//! As with rules and tools: a change is recorded in the system session and only
//! then holds. A turn keeps the agent of its last request until the next one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use are_core::body::Body;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::AgentName;
use are_policy::tools::Problem;

use super::{Engine, Inner};
use crate::api::{Agent, AgentsStanding};
use crate::machine;

/// Problems that one record tells of; the listing tells of all.
const PROBLEMS_TOLD_MAX: usize = 16;

type Named = BTreeMap<AgentName, Arc<Agent>>;

/// The agents of this engine.
pub(super) struct Agents {
    named: ArcSwap<Named>,
    problems: Mutex<Vec<Problem>>,
    /// Changes, one after the other.
    turn: tokio::sync::Mutex<()>,
}

impl Agents {
    pub(super) fn new(agents: &BTreeMap<AgentName, Agent>) -> Self {
        let named = agents.iter().map(|(name, agent)| (name.clone(), Arc::new(agent.clone()))).collect::<Named>();
        Self { named: ArcSwap::from_pointee(named), problems: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    fn problems(&self) -> Vec<Problem> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Engine {
    /// The agents that can be named, and what is wrong with files of others.
    #[must_use]
    pub fn agents(&self) -> AgentsStanding {
        AgentsStanding { agents: self.inner.agents.named.load_full(), problems: self.inner.agents.problems() }
    }

    /// Other agents can be named from here on.
    ///
    /// # Errors
    /// The change could not be recorded, so that it does not hold.
    pub async fn set_agents(&self, agents: BTreeMap<AgentName, Agent>, problems: Vec<Problem>) -> Result<(), Fault> {
        let of = &self.inner.agents;
        let _one = of.turn.lock().await;
        let named = of.named.load_full();
        let (old, new) = (digest(named.values().map(AsRef::as_ref)), digest(agents.values()));
        let is_told = of.problems() == problems;
        if old == new && is_told {
            return Ok(());
        }
        let payload = (!problems.is_empty()).then(|| {
            let line = |problem: &Problem| format!("{}: {}", problem.file, problem.why);
            let message: Vec<String> = problems.iter().take(PROBLEMS_TOLD_MAX).map(line).collect();
            let help = "`are agent list` shows all that cannot be used, with what to do";
            let fault =
                Fault::new(Code::AGENT_INVALID, self.inner.vault.base_scrubber().clean(message.join("\n")), help);
            machine::failure(&fault, machine::system_label(), None)
        });
        let body = Body::AgentsChanged { old, new };
        self.inner.system.append(self.inner.operator.clone(), body, payload, Vec::new()).await?;
        // One that is the same stays the same, so that nothing of it is worked out again.
        let shared = agents.into_iter().map(|(name, agent)| match named.get(&name) {
            Some(known) if **known == agent => (name, Arc::clone(known)),
            Some(_) | None => (name, Arc::new(agent)),
        });
        of.named.store(Arc::new(shared.collect()));
        for problem in &problems {
            tracing::warn!(file = problem.file, why = problem.why, "a file of an agent cannot be used");
        }
        *of.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
        Ok(())
    }
}

impl Inner {
    /// The agent of that name, as its file says.
    pub(crate) fn agent(&self, name: &AgentName) -> Result<Arc<Agent>, Fault> {
        let named = self.agents.named.load();
        if let Some(agent) = named.get(name) {
            return Ok(Arc::clone(agent));
        }
        let file = format!("{name}.md");
        if let Some(problem) = self.agents.problems().into_iter().find(|problem| problem.file == file) {
            let why = format!("the agent `{name}` cannot be used: {}", problem.why);
            return Err(Fault::new(Code::AGENT_INVALID, why, problem.help));
        }
        let known: Vec<_> = named.keys().map(AgentName::as_str).collect();
        let help = format!("agents you have: {}; add `agents/{name}.md` to the data directory", known.join(", "));
        Err(Fault::new(Code::AGENT_INVALID, format!("there is no agent `{name}`"), help))
    }
}

/// Digest over agents in the order of their names.
fn digest<'a>(agents: impl Iterator<Item = &'a Agent>) -> Digest {
    // Texts, lists and integers, so encoding cannot fail.
    let bytes = serde_json::to_vec(&agents.collect::<Vec<_>>()).unwrap_or_default();
    Digest::of(&[&bytes])
}

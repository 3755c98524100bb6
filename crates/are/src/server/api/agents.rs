//! The agents that sessions can name, and files of others that cannot be used.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_core::ids::AgentName;
use are_engine::api::{Agent, AgentsStanding};
use are_policy::budget::Budget;
use are_policy::rules::Profile;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::registry::NotServed;
use super::{Answer, Place, Who, json};
use crate::server::app::App;
use crate::server::problem::Problem;

/// An agent in a list.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct ListedAgent {
    name: String,
    /// The model that it wishes for; `null` for the usual one.
    model: Option<String>,
    /// Names and patterns of the tools that it may use; `null` for all.
    tools: Option<Vec<String>>,
    /// The profile that its calls are held to beside the rules in force.
    #[schema(value_type = Option<String>)]
    policy: Option<Profile>,
    /// Limits of each of its sessions.
    #[schema(value_type = serde_json::Value)]
    budget: Budget,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Agents {
    agents: Vec<ListedAgent>,
    /// Files that cannot be used. One of an agent that is listed was usable before its last change.
    problems: Vec<NotServed>,
}

fn listed(agent: &Agent) -> ListedAgent {
    let patterns = |list: &Vec<_>| list.iter().map(ToString::to_string).collect();
    ListedAgent {
        name: agent.name.to_string(),
        model: agent.model.clone(),
        tools: agent.tools.as_ref().map(patterns),
        policy: agent.narrowing.profiles.first().copied(),
        budget: agent.budget,
    }
}

/// The agents that sessions can name.
#[utoipa::path(get, path = "/api/agents", responses((status = 200, body = Agents), (status = "default", body = Problem)))]
pub(in crate::server) async fn list(State(app): State<Arc<App>>, _: Who) -> Answer {
    let AgentsStanding { agents, problems } = app.engine.agents();
    json(&Agents {
        agents: agents.values().map(|agent| listed(agent)).collect(),
        problems: problems.into_iter().map(NotServed::from).collect(),
    })
}

/// An agent in full.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct ShownAgent {
    #[serde(flatten)]
    listed: ListedAgent,
    instructions: String,
    /// Tools that are served now and that it may use.
    may_use: Vec<String>,
}

/// One agent.
#[utoipa::path(get, path = "/api/agents/{name}", params(("name" = String, Path)), responses((status = 200, body = ShownAgent), (status = "default", body = Problem)))]
pub(in crate::server) async fn show(State(app): State<Arc<App>>, _: Who, Place(name): Place<String>) -> Answer {
    let AgentsStanding { agents, problems } = app.engine.agents();
    let found = name.parse::<AgentName>().ok().and_then(|name| agents.get(&name).cloned());
    let Some(agent) = found else {
        let file = format!("{name}.md");
        let fault = match problems.into_iter().find(|problem| problem.file == file) {
            Some(problem) => {
                Fault::new(Code::AGENT_INVALID, format!("it cannot be used: {}", problem.why), problem.help)
            }
            None => Fault::new(Code::AGENT_INVALID, "there is no such agent", "`are agent list` shows what there is"),
        };
        return Err(fault.into());
    };
    let tools = app.engine.tools();
    let may_use = tools.iter().map(|(manifest, _)| &manifest.name).filter(|tool| agent.may_use(tool));
    json(&ShownAgent {
        listed: listed(&agent),
        instructions: agent.instructions.clone(),
        may_use: may_use.map(ToString::to_string).collect(),
    })
}

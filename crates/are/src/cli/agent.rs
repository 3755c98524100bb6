//! `are agent …`

use serde_json::Value;

use super::Env;
use super::args::Agent;
use super::exit::{Exit, Outcome};
use super::output::one_line;
use super::place::{segment, text};
use super::served::Served;
use crate::client::Client;
use crate::wiring::Need;

pub(super) async fn run(env: &Env, verb: Agent) -> Outcome {
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = match verb {
        Agent::List => list(env, served.client()).await,
        Agent::Show { name } => show(env, served.client(), &name).await,
    };
    served.end().await?;
    outcome
}

async fn list(env: &Env, client: &Client) -> Outcome {
    let out = env.out;
    let found = client.get("/api/agents").await?;
    if out.is_json {
        out.json(&found)?;
        return Ok(Exit::Done);
    }
    let row = |agent: &Value| {
        let or = |key: &str, or: &str| if agent[key].is_null() { or.to_owned() } else { text(agent, key) };
        vec![text(agent, "name"), or("model", "-"), or("policy", "-"), tools(&agent["tools"])]
    };
    let rows: Vec<_> = found["agents"].as_array().into_iter().flatten().map(row).collect();
    out.table(&["NAME", "MODEL", "POLICY", "TOOLS"], &rows)?;
    for problem in found["problems"].as_array().into_iter().flatten() {
        let (file, why, help) = (text(problem, "file"), text(problem, "why"), text(problem, "help"));
        out.warn(&one_line(&format!("`{file}` cannot be used: {why}; {help}")));
    }
    Ok(Exit::Done)
}

fn tools(list: &Value) -> String {
    match list.as_array() {
        None => "all".to_owned(),
        Some(list) if list.is_empty() => "none".to_owned(),
        Some(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
    }
}

async fn show(env: &Env, client: &Client, name: &str) -> Outcome {
    let out = env.out;
    let found = client.get(&format!("/api/agents/{}", segment(name))).await?;
    if out.is_json {
        out.json(&found)?;
        return Ok(Exit::Done);
    }
    for key in ["name", "model", "policy"].into_iter().filter(|key| !found[*key].is_null()) {
        out.line(&format!("{key}: {}", text(&found, key)))?;
    }
    for (limit, value) in found["budget"].as_object().into_iter().flatten() {
        out.line(&format!("budget.{limit}: {value}"))?;
    }
    out.line(&format!("tools: {}", tools(&found["tools"])))?;
    out.line(&format!("may use now: {}", tools(&found["may_use"])))?;
    out.line("instructions:")?;
    for line in text(&found, "instructions").lines() {
        out.line(&format!("  {}", one_line(line)))?;
    }
    Ok(Exit::Done)
}

//! `are config …`

use are_core::error::{Code, Fault};
use hyper::Method;
use serde_json::{Value, json};

use super::Env;
use super::args::ConfigVerb;
use super::exit::{Exit, Outcome};
use super::served::Served;
use crate::client::Door;
use crate::config::agents;
use crate::config::keys::KEYS;
use crate::wiring::Need;

pub(super) async fn run(env: &Env, verb: &ConfigVerb) -> Outcome {
    match verb {
        ConfigVerb::Show { origin } => show(env, *origin),
        ConfigVerb::Check => check(env),
        ConfigVerb::Log { filter } => log(env, filter.as_deref()).await,
    }
}

fn show(env: &Env, with_origin: bool) -> Outcome {
    let shown = &env.config.shown;
    if env.out.is_json {
        let entries = shown.iter().map(|one| {
            let value = if with_origin { json!({"value": one.value, "origin": one.origin}) } else { json!(one.value) };
            (one.name.clone(), value)
        });
        env.out.json(&Value::Object(entries.collect()))?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|one| {
            let value = one.value.clone().unwrap_or_else(|| "-".to_owned());
            let about = KEYS.iter().find(|key| key.name == one.name).map_or("", |key| key.about);
            match with_origin {
                true => vec![one.name.clone(), value, one.origin.clone()],
                false => vec![one.name.clone(), value, about.to_owned()],
            }
        })
        .collect();
    let last = if with_origin { "ORIGIN" } else { "WHAT IT IS" };
    env.out.table(&["SETTING", "VALUE", last], &rows)?;
    Ok(Exit::Done)
}

/// What the running server logs; a filter is that server's alone and ends with it.
async fn log(env: &Env, filter: Option<&str>) -> Outcome {
    // An engine of this process's own would keep no log that anybody reads, so none is started.
    if env.config.url.is_none() && !Door::Socket(env.config.socket()).is_open().await {
        let help = "`are start` runs one; its filter is `ARE_LOG` from the beginning";
        return Err(Fault::new(Code::SERVER_UNREACHABLE, "no server runs", help).into());
    }
    let served = Served::find(env, Need::Nothing).await?;
    let client = served.client();
    if let Some(filter) = filter {
        client.send(Method::PUT, "/api/log", Some(&json!({"filter": filter}))).await?;
    }
    let found = client.get("/api/log").await?;
    served.end().await?;
    if env.out.is_json {
        env.out.json(&found)?;
    } else {
        env.out.line(found["filter"].as_str().unwrap_or_default())?;
    }
    Ok(Exit::Done)
}

/// The settings themselves were checked when they were read; what they lead to is checked here.
fn check(env: &Env) -> Outcome {
    let data_dir = &env.config.data_dir.value;
    let agents = agents::load(data_dir).sound()?.agents;
    let rules = env.rules()?;
    let names: Vec<String> = agents.keys().map(ToString::to_string).collect();
    if env.out.is_json {
        env.out.json(&json!({"is_valid": true, "warnings": env.config.warnings, "agents": names}))?;
    } else {
        let agents = if names.len() == 1 { "agent" } else { "agents" };
        env.out.line(&format!(
            "settings, {} {agents} ({}) and rules (profile {}) are valid",
            names.len(),
            names.join(", "),
            rules.profile()
        ))?;
    }
    Ok(Exit::Done)
}

//! `are config …`

use serde_json::{Value, json};

use super::Env;
use super::args::ConfigVerb;
use super::exit::{Exit, Outcome};
use crate::config::agents;
use crate::config::keys::KEYS;

pub(super) fn run(env: &Env, verb: &ConfigVerb) -> Outcome {
    match verb {
        ConfigVerb::Show { origin } => show(env, *origin),
        ConfigVerb::Check => check(env),
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

//! `are policy …`: rule files on this machine; no server is needed for them.

mod cases;

use are_core::error::{Code, Fault};
use are_policy::rules::{self, Severity};
use serde_json::{Value, json};

use super::Env;
use super::args::Policy;
use super::exit::{Exit, Failure, Outcome};
use crate::config::{files, policy};
use crate::wiring;

pub(super) fn run(env: &Env, verb: &Policy) -> Outcome {
    match verb {
        Policy::Show => show(env),
        Policy::Check { dir } => check(env, dir.as_deref()),
        Policy::Test { files, policy } => cases::test(env, files, policy.as_deref()),
    }
}

fn show(env: &Env) -> Outcome {
    let rules = env.rules()?;
    if env.out.is_json {
        let files: serde_json::Map<String, Value> =
            rules.files().map(|(name, text)| (name.to_owned(), json!(text))).collect();
        env.out.json(&json!({"profile": rules.profile().as_str(), "digest": rules.digest(), "files": files}))?;
        return Ok(Exit::Done);
    }
    env.out.line(&format!(
        "profile {} (from {}), digest {}",
        rules.profile(),
        env.config.policy.origin,
        rules.digest()
    ))?;
    for (name, text) in rules.files() {
        env.out.line(&format!("\n// {name}\n{}", text.trim_end()))?;
    }
    Ok(Exit::Done)
}

fn check(env: &Env, dir: Option<&std::path::Path>) -> Outcome {
    let is_in_force = dir.is_none();
    let dir = match (dir, env.config.policy.value.directory()) {
        (Some(dir), _) => env.surroundings.absolute(dir),
        (None, Some(dir)) => dir.to_owned(),
        (None, None) => env.config.data_dir.value.join("policies"),
    };
    if !files::is_dir(&dir) && files::exists(&dir) {
        return Err(missing(&dir, "is not a directory").into());
    }
    let mut files = policy::read_rules(&dir)?;
    if files.is_empty() && !files::is_dir(&dir) && env.config.policy.value.directory().is_some() {
        return Err(missing(&dir, "does not exist").into());
    }
    let tools = wiring::tool_set(&env.config)?;
    let read = files.len();
    if is_in_force {
        files.extend(policy::allowed(&env.config.allow, &tools)?);
    }
    let found = rules::check(&files, &tools)
        .map_err(|error| Fault::new(Code::POLICY_INVALID, error.to_string(), "report this as a bug"))?;
    let errors = found.iter().filter(|one| one.severity == Severity::Error).count();
    if env.out.is_json {
        let findings: Vec<Value> = found
            .iter()
            .map(|one| {
                let severity = if one.severity == Severity::Error { "error" } else { "warning" };
                json!({"file": one.file, "line": one.line, "severity": severity, "message": one.message, "help": one.help})
            })
            .collect();
        env.out.json(&json!({"directory": dir, "files": read, "findings": findings}))?;
    } else {
        for one in &found {
            let kind = if one.severity == Severity::Error { "error" } else { "warning" };
            env.out.line(&format!("{kind}: {one}"))?;
        }
        env.out.say(&format!("{read} rule files in `{}`, {errors} errors", dir.display()));
    }
    if errors > 0 { Err(Failure::Said(Exit::Configuration)) } else { Ok(Exit::Done) }
}

fn missing(dir: &std::path::Path, what: &str) -> Fault {
    Fault::new(
        Code::POLICY_INVALID,
        format!("`{}` {what}", dir.display()),
        "name a directory of `*.cedar` files: `are policy check DIR`",
    )
}

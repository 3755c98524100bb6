//! `are policy …`: rule files on this machine; no server is needed for them.

mod cases;

use std::collections::BTreeSet;
use std::io::{self, BufRead as _};

use are_core::canonical::Args;
use are_core::error::{Code, Fault};
use are_core::ids::{GroupName, InvalidId};
use are_policy::replay::{LINE_BYTES_MAX, Replay};
use are_policy::rules::{self, Severity};
use serde_json::{Value, json};

use super::Env;
use super::args::Policy;
use super::exit::{Exit, Failure, Outcome};
use super::explained;
use crate::config::{files, policy};
use crate::wiring;

pub(super) fn run(env: &Env, verb: &Policy) -> Outcome {
    match verb {
        Policy::Show => show(env),
        Policy::Check { dir } => check(env, dir.as_deref()),
        Policy::Explain { tool, args, prompt, read, group, plan, policy } => {
            let asker = explained::Asker { prompt, read, groups: &groups(group)?, plan: plan.as_deref() };
            explain(env, tool, args, &asker, policy.as_deref())
        }
        Policy::Replay { policy } => replay(env, policy),
        Policy::Test { files, policy } => cases::test(env, files, policy.as_deref()),
    }
}

/// Answers the lines of a conversation, one by one, as whoever sends them waits for each.
fn replay(env: &Env, choice: &str) -> Outcome {
    let mut replay = Replay::new(env.other_rules(choice)?);
    let mut lines = io::stdin().lock();
    loop {
        let mut line = String::new();
        let read = io::Read::take(&mut lines, LINE_BYTES_MAX as u64).read_line(&mut line).map_err(Failure::Output)?;
        if read == 0 {
            return Ok(Exit::Done);
        }
        if line.trim().is_empty() {
            continue;
        }
        let answer = replay.answer(&line).map_err(|error| {
            Fault::new(
                Code::REQUEST_INVALID,
                error.to_string(),
                "send one message a line: session_start, tool_call, ask_result, tool_result, session_end",
            )
        })?;
        env.out.line(&answer.to_string())?;
    }
}

/// Groups by their names, each once, in order.
fn groups(names: &[String]) -> Result<Vec<GroupName>, Fault> {
    let invalid =
        |error: InvalidId| Fault::new(Code::REQUEST_INVALID, error.to_string(), "name a group of accounts as rules do");
    let groups = names.iter().map(|name| name.parse().map_err(invalid)).collect::<Result<BTreeSet<GroupName>, _>>()?;
    Ok(groups.into_iter().collect())
}

fn explain(env: &Env, tool: &str, args: &str, asker: &explained::Asker<'_>, choice: Option<&str>) -> Outcome {
    let rules = match choice {
        Some(choice) => env.other_rules(choice)?,
        None => env.rules()?,
    };
    let tools = crate::wiring::tool_set(&env.config)?;
    let args = Args::parse(args).map_err(|error| {
        Fault::new(Code::TOOL_ARGS, error.to_string(), "give the arguments as one JSON object: '{\"path\": \"a.txt\"}'")
    })?;
    let told = explained::call(&rules, &tools, tool, &args, asker)?;
    if env.out.is_json {
        env.out.json(&told)?;
        return Ok(Exit::Done);
    }
    env.out.line(&format!("{}: {}", told.decision, told.why))?;
    if !told.say.is_empty() {
        env.out.line(&format!("  to get it: {}", told.say))?;
    }
    env.out.line(&format!("  rules: {}; rights: {}", told.rules.join(", "), told.permissions.join(", ")))?;
    if let Some(flow) = &told.flow {
        env.out.line(&format!("  asked for: {}", flow.asked))?;
        for value in &flow.values {
            let from = if value.origin.is_empty() { "nowhere in view" } else { &value.origin };
            env.out.line(&format!("  {} = {}: {} ({from})", value.arg, value.value, value.trust))?;
        }
    }
    Ok(Exit::Done)
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

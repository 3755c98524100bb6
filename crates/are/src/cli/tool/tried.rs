//! `are tool test`: a file of tools, tried in a runtime of its own.
//!
//! That runtime has a data directory and workspaces which exist for the test
//! alone. Its calls pass the same gate as any, under the profile in force.

use std::path::{Path, PathBuf};

use are_core::error::Fault;
use are_tools::registry::{Test, tests_of};
use hyper::Method;
use serde_json::{Value, json};

use super::{Handed, file_of};
use crate::cli::Env;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::one_line;
use crate::cli::place::{segment, text};
use crate::client::{Client, Door};
use crate::config::{Config, Setting, files};
use crate::wiring::{self, Need};

/// A directory that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> Result<Self, Fault> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        files::make_scratch(&format!("are-test-{}-{}", std::process::id(), now.as_nanos())).map(Self)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(fault) = files::remove_scratch(&self.0) {
            tracing::warn!(%fault, "what a test left is not removed");
        }
    }
}

/// What one test came to.
struct Verdict {
    name: String,
    /// Why it failed.
    why: Option<String>,
}

pub(super) async fn run(env: &Env, word: &str) -> Outcome {
    let handed = Handed::read(env, &file_of(env, word)?, None)?;
    let scratch = Scratch::make()?;
    let data_dir = scratch.0.join("data");
    files::write_scratch(&data_dir, &Path::new("tools").join(&handed.name), &handed.bytes)?;
    if let Some(manifest) = &handed.manifest {
        let beside = Path::new("tools").join(&handed.name).with_extension("toml");
        files::write_scratch(&data_dir, &beside, manifest.as_bytes())?;
    }
    let config = Config {
        data_dir: Setting::default_of(data_dir),
        workspace: None,
        // Lines about other tools; a rule about this one belongs to a test of rules.
        allow: Setting::default_of(Vec::new()),
        ..env.config.clone()
    };
    let running = wiring::start_here(&config, Need::Nothing).await?;
    let client = Client::new(Door::Socket(config.socket()));
    let outcome = try_out(env, &client, &handed, &scratch.0).await;
    running.end().await?;
    outcome
}

async fn try_out(env: &Env, client: &Client, handed: &Handed, scratch: &Path) -> Outcome {
    let out = env.out;
    let found = client.get("/api/tools").await?;
    if let Some(problem) = found["problems"].as_array().and_then(|problems| problems.first()) {
        return Err(Failure::Fault(Fault::new(
            are_core::error::Code::MANIFEST_INVALID,
            format!("`{}` would not be served: {}", text(problem, "file"), text(problem, "why")),
            text(problem, "help"),
        )));
    }
    let is_of_it = |tool: &&Value| tool["file"] == handed.name.as_str();
    let tools: Vec<Value> = found["tools"].as_array().into_iter().flatten().filter(is_of_it).cloned().collect();
    let manifest = match &handed.manifest {
        Some(manifest) => Some(manifest.clone()),
        None if handed.name.ends_with(".toml") => String::from_utf8(handed.bytes.clone()).ok(),
        None => None,
    };
    let tests = manifest.map_or(Ok(Vec::new()), |manifest| tests_of(&manifest))?;
    let mut verdicts = Vec::new();
    for (number, test) in tests.iter().enumerate() {
        let tool = tool_of(&tools, test);
        let name = test.name.clone().unwrap_or_else(|| format!("test {}", number + 1));
        let name = format!("{}: {name}", tool.as_deref().unwrap_or("?"));
        let workspace = scratch.join(format!("workspace-{}", number + 1));
        let why = match tool {
            Some(tool) => one(client, &tool, test, &workspace).await?,
            None => Some("`tool` names none of its tools".to_owned()),
        };
        verdicts.push(Verdict { name, why });
    }
    tell(out, &tools, &verdicts)?;
    Ok(if verdicts.iter().any(|verdict| verdict.why.is_some()) { Exit::Failed } else { Exit::Done })
}

/// The tool that a test is about: the only one, or the one whose name ends as the test says.
fn tool_of(tools: &[Value], test: &Test) -> Option<String> {
    let names: Vec<String> = tools.iter().map(|tool| text(tool, "name")).collect();
    match &test.tool {
        None => (names.len() == 1).then(|| names[0].clone()),
        Some(export) => {
            let wanted = are_tools::registry::snake_case(export);
            names.into_iter().find(|name| *name == wanted || name.ends_with(&format!("_{wanted}")))
        }
    }
}

/// Runs one test; why it failed.
async fn one(client: &Client, tool: &str, test: &Test, workspace: &Path) -> Result<Option<String>, Fault> {
    files::write_scratch(workspace, Path::new(".keep"), b"")?;
    for (name, content) in &test.files {
        files::write_scratch(workspace, Path::new(name), content.as_bytes())?;
    }
    let body = json!({ "args": test.args, "workspace": workspace });
    let called = client.send(Method::POST, &format!("/api/tools/{}/call", segment(tool)), Some(&body)).await;
    Ok(match (called, &test.fails) {
        (Ok(called), None) => match &test.expect {
            Some(expect) if !holds(&called["result"], expect) => {
                Some(format!("it returned {}, which does not hold {expect}", called["result"]))
            }
            _ => None,
        },
        (Ok(called), Some(code)) => Some(format!("it returned {}, but should fail with {code}", called["result"])),
        (Err(fault), Some(code)) if fault.code.to_string() == *code => None,
        (Err(fault), _) => Some(format!("{}: {}; {}", fault.code, fault.message, fault.help)),
    })
}

/// True when everything in `expect` is in `value`; fields of objects that are not named do not matter.
fn holds(value: &Value, expect: &Value) -> bool {
    match (value, expect) {
        (Value::Object(value), Value::Object(expect)) => {
            expect.iter().all(|(key, expect)| value.get(key).is_some_and(|value| holds(value, expect)))
        }
        (Value::Array(value), Value::Array(expect)) => {
            value.len() == expect.len() && value.iter().zip(expect).all(|(value, expect)| holds(value, expect))
        }
        (value, expect) => value == expect,
    }
}

fn tell(out: crate::cli::output::Output, tools: &[Value], verdicts: &[Verdict]) -> Result<(), Failure> {
    if out.is_json {
        let told =
            |verdict: &Verdict| json!({ "name": verdict.name, "passed": verdict.why.is_none(), "why": verdict.why });
        return out.json(&json!({ "tools": tools, "tests": verdicts.iter().map(told).collect::<Vec<_>>() }));
    }
    for tool in tools {
        let effect = format!("effect {}, retry {}", text(tool, "effect"), text(tool, "retry"));
        out.line(&one_line(&format!("loads   {} ({effect})", text(tool, "name"))))?;
    }
    for verdict in verdicts {
        match &verdict.why {
            None => out.line(&one_line(&format!("passes  {}", verdict.name)))?,
            Some(why) => out.line(&one_line(&format!("FAILS   {}: {why}", verdict.name)))?,
        }
    }
    if verdicts.is_empty() {
        out.say("its manifest has no `[[test]]`, so only its declaration was checked");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_a_part_of_what_is_there() {
        let value = json!({"status": 200, "body": {"a": [1, {"b": 2, "c": 3}]}});
        for (expect, holds_) in [
            (json!({}), true),
            (json!({"status": 200}), true),
            (json!({"body": {"a": [1, {"b": 2}]}}), true),
            (json!({"body": {"a": [1]}}), false),
            (json!({"status": "200"}), false),
            (json!({"other": null}), false),
        ] {
            assert_eq!(holds(&value, &expect), holds_, "{expect}");
        }
    }
}

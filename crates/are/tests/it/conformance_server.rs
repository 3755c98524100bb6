//! The official conformance suite of MCP against the built program, in the role of a server.
//!
//! Its tools are those of `tests/data/conformance/tools`, loaded by the registry as any file of a user. What the suite
//! wants and the runtime has no place for stands in `server.toml` with the reason.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;

use crate::cli_stage::Stage;

/// Scenarios that the suite has for this revision; more or fewer is another suite.
const SCENARIOS: usize = 32;
const REVISION: &str = "2025-11-25";
/// The script's word for a suite that is not installed.
const NOT_INSTALLED: i32 = 3;

#[derive(Deserialize)]
struct Expected {
    not_run: Vec<NotRun>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NotRun {
    scenarios: Vec<String>,
    reason: String,
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/conformance")
}

fn lay_out(stage: &Stage) {
    for file in ["tools/test.js", "policies/conformance.cedar", "skills/conformance/SKILL.md"] {
        let text = std::fs::read_to_string(data().join(file)).expect("a file of the stage");
        stage.write(&format!(".local/share/are/{file}"), &text);
    }
}

fn suite() -> Command {
    let mut command = Command::new("sh");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/conformance/run.sh"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_official_suite_finds_a_conforming_server() {
    let there = suite().args(["list", "--server"]).output().await.expect("sh runs");
    if there.status.code() == Some(NOT_INSTALLED) {
        return are_testkit::run::skip("the conformance suite of MCP is not installed; `make deps` installs it");
    }
    let stage = Stage::new().await;
    lay_out(&stage);
    let serving = stage.serve(&["--no-auth"]).await;
    let address = serving.ready["address"].as_str().expect("an address");
    let expected: Expected =
        toml::from_str(&std::fs::read_to_string(data().join("server.toml")).expect("a list")).expect("readable");
    let names: Vec<String> = expected.not_run.iter().flat_map(|one| one.scenarios.clone()).collect();
    assert!(expected.not_run.iter().all(|one| !one.reason.is_empty()));
    let baseline = stage.home().join("baseline.yml");
    let lines: String = names.iter().map(|name| format!("  - {name}\n")).collect();
    std::fs::write(&baseline, format!("server:\n{lines}")).expect("a file");
    let ran = suite()
        .args(["server", "--suite", "all", "--spec-version", REVISION, "--url", &format!("{address}/mcp")])
        .arg("--expected-failures")
        .arg(&baseline)
        .arg("-o")
        .arg(stage.home().join("results"))
        .output()
        .await
        .expect("the suite runs");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    // A folder a scenario: what the suite did, and not what it says.
    let done = std::fs::read_dir(stage.home().join("results")).expect("results").count();
    println!("{done} scenarios of revision {REVISION}, {} of them not expected to succeed:", names.len());
    for one in &expected.not_run {
        println!("  {}: {}", one.scenarios.join(", "), one.reason);
    }
    assert_eq!(done, SCENARIOS, "{out}");
    assert_eq!(serving.terminate().await, Some(0));
}

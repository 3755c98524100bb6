//! The protocol's own conformance suite against the client half, driven through the verbs that people use.

use std::collections::BTreeMap;
use std::path::Path;

use are_testkit::run;
use serde::Deserialize;
use tokio::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// What becomes of each scenario.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    run: Vec<String>,
    /// Those of `run` that measure a pause: a machine that is busy makes one late, so that they may be played again.
    timed: Vec<String>,
    left_out: BTreeMap<String, String>,
}

/// The suite, as `scripts/deps.sh` installs it.
fn suite(args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.arg("scripts/conformance/run.sh").args(args).current_dir(ROOT);
    command.env("PROGRAM", env!("CARGO_BIN_EXE_are")).kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_client_half_passes_the_scenarios_of_the_protocols_own_suite() {
    let home = std::env::home_dir().expect("a home");
    if !home.join(".cache/are/conformance/node_modules/.package-lock.json").exists() {
        run::skip("the conformance suite is not installed: `sh scripts/deps.sh test`");
        return;
    }
    let text = std::fs::read_to_string(Path::new(ROOT).join("scripts/conformance/client.toml")).expect("a plan");
    let plan: Plan = toml::from_str(&text).expect("a plan");
    let listed = suite(&["list"]).output().await.expect("the suite starts");
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let of_clients = listed.split("Client scenarios").nth(1).expect("scenarios for clients");
    let names: Vec<&str> =
        of_clients.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split(' ').next()).collect();
    let is_left_out = |name: &str| plan.left_out.keys().any(|start| name.starts_with(start.as_str()));
    for name in &names {
        assert!(plan.run.iter().any(|run| run == name) != is_left_out(name), "`{name}` is planned once");
    }
    let results = tempfile::tempdir().expect("tempdir");
    for scenario in &plan.run {
        assert!(names.contains(&scenario.as_str()), "the suite has no `{scenario}`");
        let attempts = if plan.timed.contains(scenario) { 3 } else { 1 };
        let mut said = String::new();
        let mut has_passed = false;
        for attempt in 0..attempts {
            let out = results.path().join(attempt.to_string()).display().to_string();
            let client = "sh scripts/conformance/client.sh";
            let ran = suite(&["client", "--command", client, "--scenario", scenario, "-o", &out]).output().await;
            let ran = ran.expect("the suite starts");
            said += &format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
            has_passed = ran.status.success();
            if has_passed {
                break;
            }
        }
        assert!(has_passed, "{scenario}:\n{said}");
        println!("{scenario}: passed");
    }
    println!("{} scenarios for clients: {} passed, the others are left out", names.len(), plan.run.len());
    assert!(plan.run.len() >= 21);
}

//! The built program against its own description of the HTTP interface, by Schemathesis; `tests/openapi` says what
//! is asked and what must hold of every answer.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::cli_stage::Stage;

/// Many times longer than it takes.
const PATIENCE: Duration = Duration::from_secs(300);
/// Operations that it must have asked for at least, so that it cannot pass by asking for nothing.
const OPERATIONS_MIN: usize = 60;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn schemathesis() -> Command {
    let mut command = Command::new("sh");
    command.arg(root().join("scripts/python.sh")).arg("schemathesis");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn every_answer_is_as_the_description_says() {
    if !schemathesis().arg("--version").output().await.is_ok_and(|ran| ran.status.success()) {
        return are_testkit::run::skip("Schemathesis is not installed; `make deps` installs it");
    }
    let mut stage = Stage::new().await;
    stage.set("ARE_POLICY", "strict");
    let serving = stage.serve(&[]).await;
    let address = serving.ready["address"].as_str().expect("an address");
    let token = std::fs::read_to_string(stage.data_dir().join("admin.token")).expect("a token");
    // Something to list, show and export.
    stage.run(&["run", "Say something"]).await.exits(0);
    let folder = root().join("tests/openapi");
    let mut command = schemathesis();
    command.arg("--config-file").arg(folder.join("schemathesis.toml")).arg("run");
    command.arg(format!("{address}/api/openapi.json"));
    command.args(["--header", &format!("Authorization: Bearer {}", token.trim())]);
    command.env("PYTHONPATH", &folder).env("PYTHONDONTWRITEBYTECODE", "1").env("SCHEMATHESIS_HOOKS", "hooks");
    command.current_dir(stage.home());
    let ran = timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("it starts");
    let told = String::from_utf8_lossy(&ran.stdout);
    println!("{told}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "what it found stands above");
    for count in ["Tested: ", "asked without a credential: "] {
        let counted = told.lines().find_map(|line| line.trim().strip_prefix(count)).expect("a count");
        assert!(counted.parse().is_ok_and(|counted: usize| counted >= OPERATIONS_MIN), "{count}{counted}");
    }
    assert_eq!(serving.terminate().await, Some(0));
}

//! The console as a person uses it, in a real browser; `tests/console/run.py` says what is done.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Longer than all of it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(540);

#[tokio::test]
async fn the_console_works_in_a_browser() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/console/run.py");
    let runner = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/python.sh");
    let mut command = Command::new("sh");
    command.arg(runner).arg("python").arg(script).arg(env!("CARGO_BIN_EXE_are"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let ran = timeout(PATIENCE, command.output()).await.expect("it ends").expect("it starts");
    let told = String::from_utf8_lossy(&ran.stdout);
    println!("{told}");
    assert!(ran.status.success(), "{told}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(told.contains("the console works"), "{told}");
}

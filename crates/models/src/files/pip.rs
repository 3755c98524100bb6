//! The user's own pip, as a fetcher of packages.
//!
//! The one place of this crate that starts a process. pip is used because it
//! knows the user's index, proxy and credentials. Only wheels are taken
//! (`--only-binary :all:`): a source package would run code of its own. What
//! arrives is data, checked against the manifest's SHA-256 afterwards.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use are_core::error::Fault;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinSet;

use super::sink::other;

/// Ways to call pip, tried in this order.
const CALLS: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];
/// How long one package may take: a hundred megabytes over a slow line.
const TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// How often the bytes that arrived are counted.
const TICK: Duration = Duration::from_millis(250);
/// Bytes of pip's complaint that are kept.
const COMPLAINT_BYTES_MAX: u64 = 16 << 10;

/// A call of pip that works here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pip(&'static [&'static str]);

impl Pip {
    /// The first call that answers.
    pub(super) async fn find() -> Result<Self, Fault> {
        for call in CALLS {
            let pip = Self(call);
            let answered = pip
                .command()
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .await
                .is_ok_and(|status| status.success());
            if answered {
                return Ok(pip);
            }
        }
        Err(other("the mirror needs pip, and neither `python3 -m pip` nor `pip` works here"))
    }

    /// Fetches one wheel into `dir`, with its own temporary files below `temporary`.
    /// `tick` is called while it works.
    pub(super) async fn download(
        self,
        package: &str,
        version: &str,
        dir: &Path,
        temporary: &Path,
        mut tick: impl FnMut() + Send,
    ) -> Result<PathBuf, Fault> {
        let mut child = self
            .command()
            .args(["download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input"])
            .args(["--disable-pip-version-check", "--progress-bar", "off", "--quiet", "--dest"])
            .arg(dir)
            .arg(format!("{package}=={version}"))
            .env("TMPDIR", temporary)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| other(&format!("pip cannot be started: {error}")))?;
        // Its reader ends with this call, whatever becomes of pip's own children.
        let mut reading = JoinSet::new();
        reading.spawn(complaint(child.stderr.take()));
        let fetched = tokio::time::timeout(TIME_MAX, wait(&mut child, &mut tick)).await;
        let succeeded = match fetched {
            Ok(ended) => ended.map_err(|error| other(&format!("pip was lost: {error}")))?,
            // Dropping the child kills it.
            Err(_elapsed) => return Err(other("the mirror is too slow")),
        };
        if !succeeded {
            let complaint = reading.join_next().await.and_then(Result::ok).unwrap_or_default();
            tracing::debug!(package, complaint, "pip failed");
            let last = complaint.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
            return Err(other(&format!("pip could not fetch `{package}` {version}: {}", last.trim())));
        }
        wheel(dir).ok_or_else(|| other("pip reported success and fetched nothing"))
    }

    fn command(self) -> Command {
        let (program, arguments) = self.0.split_first().unwrap_or((&"pip", &[]));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

async fn wait(child: &mut Child, tick: &mut (impl FnMut() + Send)) -> std::io::Result<bool> {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            // Cancel-safe: waiting again after a tick continues the same wait.
            status = child.wait() => return Ok(status?.success()),
            // Cancel-safe: a lost tick is only a report less.
            _ = ticks.tick() => tick(),
        }
    }
}

/// All of what pip complains is read, lest it block; the beginning is kept.
async fn complaint(stderr: Option<ChildStderr>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let mut kept = Vec::new();
    // silent-ok: the exit status tells whether it failed; this is only its reason.
    let _read = (&mut stderr).take(COMPLAINT_BYTES_MAX).read_to_end(&mut kept).await;
    // silent-ok: as above.
    let _drained = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).into_owned()
}

fn wheel(dir: &Path) -> Option<PathBuf> {
    // silent-ok: an unreadable directory holds no wheel, which is reported.
    let entries = std::fs::read_dir(dir).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|kind| kind == "whl"))
}

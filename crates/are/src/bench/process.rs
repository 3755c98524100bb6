//! Processes that are measured: what `/proc` says of them, and servers that a
//! case starts, kills and starts again.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use are_core::error::Fault;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::wire::lost;
use crate::client::Door;
use crate::config::files::process_file;

/// Clock ticks of `/proc/PID/stat` in a second; fixed on Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long a server may take to be ready before the measurement is given up.
const READY_TIME: Duration = Duration::from_secs(60);
/// Bytes of a ready line.
const READY_BYTES_MAX: u64 = 64 << 10;

/// Processor seconds, resident and anonymous MiB of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// User and system time of all threads, ended ones included; in steps of 10 ms.
    pub(super) cpu_s: f64,
    pub(super) rss_mib: f64,
    pub(super) anonymous_mib: f64,
}

/// `None` where `/proc` does not tell.
pub(super) fn usage_of(pid: u32) -> Option<Usage> {
    let stat = process_file(pid, "stat")?;
    let after = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let status = process_file(pid, "status")?;
    let mib = |name: &str| -> Option<f64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib / 1024.0)
    };
    Some(Usage { cpu_s: ticks / TICKS_PER_SECOND, rss_mib: mib("VmRSS:")?, anonymous_mib: mib("RssAnon:")? })
}

/// Processor milliseconds of the threads that live, exact to a microsecond: for times too short for ticks.
pub(super) fn fine_cpu_ms(pid: u32) -> Option<f64> {
    let mut nanoseconds = 0.0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let task = task.ok()?.file_name();
        let line = process_file(pid, &format!("task/{}/schedstat", task.to_str()?))?;
        nanoseconds += line.split_whitespace().next()?.parse::<f64>().ok()?;
    }
    Some(nanoseconds / 1e6)
}

/// Descriptors that a process holds.
pub(super) fn open_files(pid: u32) -> Option<usize> {
    Some(std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// A server of this program, begun here and killed when dropped.
pub(super) struct Begun {
    child: Child,
    /// When it was executed.
    pub(super) at: Instant,
    /// From then until its ready line was read.
    pub(super) ready: Duration,
    pub(super) door: Door,
    /// Where it serves over TCP.
    pub(super) address: String,
}

impl Begun {
    /// Starts `are start` over `data_dir` with this process's environment and waits for its ready line.
    pub(super) async fn start(data_dir: &Path) -> Result<Self, Fault> {
        Self::start_with(data_dir, &[]).await
    }

    /// The same with these variables besides.
    pub(super) async fn start_with(data_dir: &Path, variables: &[(&str, &str)]) -> Result<Self, Fault> {
        let program = std::env::current_exe().map_err(|error| lost(&format!("this program is not found: {error}")))?;
        let mut command = Command::new(program);
        command.args(["--json", "start", "--port", "0", "--data-dir"]).arg(data_dir);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command.envs(variables.iter().copied());
        let at = Instant::now();
        let mut child = command.spawn().map_err(|error| lost(&format!("no server can be started: {error}")))?;
        let stdout = child.stdout.take().ok_or_else(|| lost("the server has no output"))?;
        let mut lines = BufReader::new(stdout.take(READY_BYTES_MAX)).lines();
        let line = timeout(READY_TIME, lines.next_line()).await.map_err(|_| lost("the server is not ready in time"))?;
        let ready = at.elapsed();
        let line = line.ok().flatten().ok_or_else(|| lost("the server does not start"))?;
        let line: Value = serde_json::from_str(&line).map_err(|_| lost("the ready line is not JSON"))?;
        let socket = line["socket"].as_str().ok_or_else(|| lost("the ready line names no socket"))?;
        let address = line["address"].as_str().unwrap_or_default().to_owned();
        Ok(Self { child, at, ready, door: Door::Socket(socket.into()), address })
    }

    pub(super) fn pid(&self) -> Result<u32, Fault> {
        self.child.id().ok_or_else(|| lost("the server has ended"))
    }

    /// SIGTERM; its exit code, -1 for none.
    pub(super) async fn terminate(mut self) -> Result<i32, Fault> {
        let pid = Pid::from_raw(self.pid()?.cast_signed()).ok_or_else(|| lost("the server has ended"))?;
        kill_process(pid, Signal::TERM).map_err(|error| lost(&format!("the server cannot be ended: {error}")))?;
        let ended = timeout(READY_TIME, self.child.wait()).await.map_err(|_| lost("the server does not end"))?;
        Ok(ended.ok().and_then(|status| status.code()).unwrap_or(-1))
    }

    /// SIGKILL; returns once the process is gone and its data directory free.
    pub(super) async fn kill(mut self) -> Result<(), Fault> {
        self.child.kill().await.map_err(|error| lost(&format!("the server cannot be killed: {error}")))
    }
}

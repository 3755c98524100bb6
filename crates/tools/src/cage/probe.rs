//! Tries to get out of the cage, for real.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use are_core::error::Fault;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use super::{CageOptions, Kind, Limits, Report};
use crate::launch::{Launcher, Order};

/// Tells the places of one process apart.
static PLACES: AtomicU32 = AtomicU32::new(0);
/// How long a probe may take.
const TIME: Duration = Duration::from_secs(20);
/// How long a daemon gets to show that it lives on; it would write many times.
const SURVIVOR_TIME: Duration = Duration::from_millis(200);
/// Bytes of a probe's output that are read.
const OUTPUT_BYTES: u64 = 64 << 10;

/// What a probe prints last when it was held; silence counts as an escape.
const HELD: &str = "HELD";

/// A script that tries to get out.
#[derive(Debug, Clone, Copy)]
struct Escape {
    name: &'static str,
    /// Ends with the status 0 when it got out.
    script: &'static str,
}

const fn escape(name: &'static str, script: &'static str) -> Escape {
    Escape { name, script }
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was tried.
    pub name: String,
    /// Whether it was held.
    pub is_held: bool,
}

/// The three that are tried at every first start: reading, writing and leaving.
const AT_START: [Escape; 3] = [
    escape("reading a file outside", "cat \"$OUTSIDE/secret\""),
    escape("writing a file outside", "echo x > \"$OUTSIDE/written\""),
    escape("killing the server", "kill -CONT \"$SERVER\""),
];

/// The rest.
const MORE: [Escape; 19] = [
    escape("`..`", "cat ../outside/secret"),
    escape("a link to what is outside", "ln -sf \"$OUTSIDE\" link && cat link/secret"),
    escape("a hard link to what is outside", "ln \"$OUTSIDE/secret\" stolen"),
    escape("the server's own data", "ls \"$OUTSIDE\""),
    escape("`/proc/self/root`", "cat \"/proc/self/root$OUTSIDE/secret\""),
    escape("the root of the first process", "cat \"/proc/1/root$OUTSIDE/secret\""),
    escape(
        "the environment of the server",
        "cat \"/proc/$SERVER/environ\" | grep -q . || cat /proc/1/environ | grep -q .",
    ),
    escape("an inherited environment", "env | grep -E '^(LD_|ARE_|NODE_OPTIONS|BASH_ENV|GIT_SSH|PYTHON)'"),
    escape(
        "an inherited descriptor",
        "for n in 3 4 5 6 7 8 9 10 11 12; do test -e /proc/self/fd/$n && readlink /proc/self/fd/$n | grep -Eq 'socket|outside' && exit 0; done; exit 1",
    ),
    escape(
        "a set-uid program",
        "cp /bin/sh s && chmod 4755 s && ./s -p -c 'grep CapEff /proc/self/status' | grep -qv 0000000000000000",
    ),
    escape("a capability", "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | grep -qv 0000000000000000"),
    escape("new privileges", "grep -q 'NoNewPrivs:.*0' /proc/self/status"),
    escape("the passwords", "cat /etc/shadow"),
    escape("a system directory", "touch /usr/bin/are-probe"),
    escape(
        "a setting of the kernel",
        "echo 0 > /proc/sys/vm/overcommit_memory || echo x > /proc/sys/kernel/core_pattern",
    ),
    escape("a device", "head -c 1 /dev/mem || head -c 1 /dev/kmsg"),
    escape("the terminal", "echo x > /dev/tty"),
    escape("control groups", "mkdir /sys/fs/cgroup/are-probe"),
    escape("a higher limit", "ulimit -n 1000000 || ulimit -c unlimited"),
];

/// Tries every escape, in the cage that was found to hold here.
///
/// # Errors
/// Why no command can be started.
pub async fn try_escapes(options: &CageOptions, report: &Report) -> Result<Vec<Finding>, String> {
    let all: Vec<Escape> = AT_START.into_iter().chain(MORE).collect();
    let mut findings = try_all(options, report.kind(), &all).await?;
    let place = Place::new(options).map_err(|error| format!("no place for probes: {error}"))?;
    let launcher = Launcher::new(options.clone(), report.kind());
    for name in super::attempt::names() {
        let mut child = launcher.spawn(place.order(Vec::new(), Some(name))).await.map_err(|fault| fault.message)?;
        let is_held = child.wait().await.is_ok_and(|ended| ended.exit_code == Some(1));
        findings.push(Finding { name: name.to_owned(), is_held });
    }
    let survivor = survivor(&launcher, &place).await.map_err(|fault| fault.message)?;
    findings.push(Finding { name: "a daemon that outlives its command".to_owned(), is_held: survivor });
    Ok(findings)
}

/// True when nothing of a command is left after its end.
async fn survivor(launcher: &Launcher, place: &Place) -> Result<bool, Fault> {
    let script =
        "trap '' TERM; (setsid sh -c 'trap \"\" TERM HUP; while :; do echo x >> alive; sleep 0.01; done' &); sleep 0.2";
    let argv = ["/bin/sh", "-c", script].map(ToOwned::to_owned).to_vec();
    let mut child = launcher.spawn(place.order(argv, None)).await?;
    child.wait().await?;
    let bytes = || std::fs::metadata(place.root.join("workspace/alive")).map_or(0, |found| found.len());
    let at_end = bytes();
    tokio::time::sleep(SURVIVOR_TIME).await;
    Ok(at_end > 0 && bytes() == at_end)
}

/// A place for probes: a workspace, and beside it what must not be reached.
pub(super) struct Place {
    root: PathBuf,
}

impl Place {
    pub(super) fn new(options: &CageOptions) -> std::io::Result<Self> {
        let root =
            options.cache_dir.join(format!("probe-{}-{}", std::process::id(), PLACES.fetch_add(1, Ordering::Relaxed)));
        for dir in ["workspace", "outside"] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join(dir))?;
        }
        let root = root.canonicalize()?;
        std::fs::write(root.join("outside/secret"), "secret")?;
        Ok(Self { root })
    }

    pub(super) fn order(&self, argv: Vec<String>, attempt: Option<&str>) -> Order {
        Order {
            argv,
            attempt: attempt.map(ToOwned::to_owned),
            workspace: self.root.join("workspace"),
            cwd: PathBuf::new(),
            reads: Vec::new(),
            env: vec![
                ("OUTSIDE".to_owned(), self.root.join("outside").display().to_string()),
                ("SERVER".to_owned(), std::process::id().to_string()),
            ],
            has_stdin: false,
            sealed: Vec::new(),
            pinned: Vec::new(),
            limits: Limits::default(),
            has_proxy: false,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.root) {
            tracing::debug!(%error, "the place of probes stays");
        }
    }
}

/// Tries the three; the names of those that got out. The error says why no command could be started at all.
pub(super) async fn start(options: &CageOptions, kind: Kind) -> Result<Vec<String>, String> {
    let findings = try_all(options, kind, &AT_START).await?;
    Ok(findings.into_iter().filter(|finding| !finding.is_held).map(|finding| finding.name).collect())
}

async fn try_all(options: &CageOptions, kind: Kind, escapes: &[Escape]) -> Result<Vec<Finding>, String> {
    let place = Place::new(options).map_err(|error| format!("no place for probes: {error}"))?;
    let launcher = Launcher::new(options.clone(), kind);
    let mut findings = Vec::new();
    for escape in escapes {
        let is_held = is_held(&launcher, &place, escape).await.map_err(|fault| fault.message)?;
        findings.push(Finding { name: escape.name.to_owned(), is_held });
    }
    Ok(findings)
}

async fn is_held(launcher: &Launcher, place: &Place, escape: &Escape) -> Result<bool, Fault> {
    let script = format!("if ( {} ) >/dev/null 2>&1; then echo OUT; else echo {HELD}; fi", escape.script);
    let order = place.order(["/bin/sh", "-c", &script].map(ToOwned::to_owned).to_vec(), None);
    let mut child = launcher.spawn(order).await?;
    let mut output = String::new();
    let ((stdout, _), end) = child.parts();
    let run = async {
        // silent-ok: what cannot be read was not said, and counts as an escape.
        stdout.take(OUTPUT_BYTES).read_to_string(&mut output).await.ok();
        end.await
    };
    // silent-ok: as above.
    tokio::time::timeout(TIME, run).await.ok();
    child.kill().await;
    Ok(output.trim_end().ends_with(HELD))
}

//! strace beside a server: it counts syncs and kills, stops or fails the server at one of them.
//!
//! A count of strace's is one thread's, so a sync is named by its system call and its number within a thread.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use are_testkit::run;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::campaign_client::Follower;
use crate::campaign_stage::{Life, PATIENCE, Scene};

/// Both system calls that sync.
const SYNCS: &str = "fsync,fdatasync";
/// Less than the syncs of a turn with five tools, so that a trace that misses some is noticed.
const TURN_SYNCS_MIN: usize = 8;

/// Turns in which a sync is waited for that must come: what one thread of a pool did in a turn, two may share in the next.
pub(crate) const TRIES: usize = 8;

/// The `number`-th time that a thread makes this system call, or one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sync {
    pub(crate) call: String,
    pub(crate) number: u64,
    /// Only for this file or directory is it counted.
    pub(crate) path: Option<PathBuf>,
}

impl Sync {
    /// What strace does there: `signal=SIGKILL`, `error=EIO`.
    fn inject(&self, what: &str, strace: &mut Command) {
        strace.args(["-e", &format!("inject={}:{what}:when={}", self.call, self.number)]);
        if let Some(path) = &self.path {
            strace.arg("-P").arg(path);
        }
    }
}

/// A strace that follows all threads of a server.
pub(crate) struct Strace {
    // Held, so that it ends with the test.
    _child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Strace {
    /// `None` where no process may be traced and that was allowed.
    pub(crate) async fn attach(life: &Life, at: Option<(&Sync, &str)>) -> Option<Self> {
        let mut strace = Command::new("strace");
        let other = at.map_or(String::new(), |(sync, _)| format!(",{}", sync.call));
        strace.args(["-f", "-p", &life.pid().to_string(), "-e", &format!("trace={SYNCS}{other}")]);
        if let Some((sync, what)) = at {
            sync.inject(what, &mut strace);
        }
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = match strace.spawn() {
            Ok(child) => child,
            Err(error) => {
                run::skip(format!("strace does not start: {error}"));
                return None;
            }
        };
        let stderr = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut strace = Self { _child: child, stderr };
        match strace.line().await {
            Some(line) if line.contains("attached") => Some(strace),
            other => {
                run::skip(format!("strace cannot attach: {other:?}"));
                None
            }
        }
    }

    /// The next line; `None` when the server, and strace with it, has ended.
    pub(crate) async fn line(&mut self) -> Option<String> {
        timeout(PATIENCE, self.stderr.next_line()).await.expect("a line or an end").expect("readable")
    }

    /// Waits until the whole server stands still; false when it ended instead.
    pub(crate) async fn stopped(&mut self, life: &Life) -> bool {
        while let Some(line) = self.line().await {
            // Each thread that stops has a line of its own, so the last one's is followed by no running thread.
            if line.contains("stopped by SIGSTOP") && is_still(life.pid()) {
                return true;
            }
        }
        false
    }

    /// All syncs that were made, once the server has ended.
    pub(crate) async fn syncs(mut self) -> Vec<Sync> {
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            lines.push(line);
        }
        syncs_in(lines.iter().map(String::as_str))
    }
}

/// The syncs of a turn of the scene's model; `None` where no process may be traced and that was allowed.
pub(crate) async fn syncs_of_a_turn(scene: Scene) -> Option<Vec<Sync>> {
    let mut life = scene.start().await;
    // The first turn of a life syncs the room that the store makes in its log, later ones do not.
    let mut follower = Follower::default();
    assert!(follower.follow(&life).await, "{:?}", follower.errors);
    follower.job += 1;
    let strace = Strace::attach(&life, None).await?;
    assert!(follower.follow(&life).await, "{:?}", follower.errors);
    life.kill().await;
    let syncs = strace.syncs().await;
    assert!(syncs.len() >= TURN_SYNCS_MIN, "{syncs:?}");
    Some(syncs)
}

/// Why strace does not even start, where it does not.
pub(crate) async fn missing() -> Option<std::io::Error> {
    Command::new("strace").arg("-V").output().await.err()
}

/// A server that strace kills at a sync of its start. strace is the grandchild, so that our child is the server.
pub(crate) fn traced_start(scene: &Scene, at: Option<&Sync>, log: &Path) -> Life {
    let plain = scene.command();
    let plain = plain.as_std();
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-o", &log.display().to_string(), "-e", &format!("trace={SYNCS}")]);
    if let Some(sync) = at {
        sync.inject("signal=SIGKILL", &mut strace);
    }
    strace.arg(plain.get_program()).args(plain.get_args());
    strace.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.current_dir(scene.stage.project());
    strace.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    Life::of(&mut strace, &scene.data_dir)
}

/// The syncs of a trace: for each system call as many as the thread with the most of them made.
pub(crate) fn syncs_in<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Sync> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    // `[pid 7] fsync(3) = 0` or `7 fsync(3) = 0`; an unfinished call has a second line without a bracket.
    for line in lines.filter(|line| !line.contains("resumed>")) {
        let Some((head, _)) = line.split_once('(') else { continue };
        let (thread, call) = head.rsplit_once(char::is_whitespace).unwrap_or(("", head));
        if SYNCS.split(',').any(|known| known == call) {
            *counts.entry((call.to_owned(), thread.trim().to_owned())).or_default() += 1;
        }
    }
    let mut most: BTreeMap<String, u64> = BTreeMap::new();
    for ((call, _), count) in counts {
        let most = most.entry(call).or_default();
        *most = count.max(*most);
    }
    let numbers =
        |(call, most): (String, u64)| (1..=most).map(move |number| Sync { call: call.clone(), number, path: None });
    most.into_iter().flat_map(numbers).collect()
}

/// True when every thread is stopped.
fn is_still(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it has not been waited for");
    tasks.flatten().all(|task| {
        // A thread that has just gone is still enough.
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['t', 'T']))
    })
}

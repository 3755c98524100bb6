//! The processes of a command, as `/proc` shows them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use rustix::process::{Pid, Signal, getpid, kill_process};

use super::init::Place;
use super::sys;

/// Rounds of killing without a pause; a bomb of forks is over sooner.
const EAGER_ROUNDS: u32 = 1_000;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// What all of them take together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tree {
    pub(super) tasks: u64,
    /// Memory that is no file's; what two processes share counts twice.
    pub(super) memory_bytes: u64,
    /// Processor time of those that run, and of those that they waited for.
    pub(super) cpu_ms: u64,
}

struct Process {
    pid: i32,
    parent: i32,
    threads: u64,
    cpu_ms: u64,
}

impl Tree {
    pub(super) fn read(place: Place) -> io::Result<Self> {
        let page = rustix::param::page_size() as u64;
        let all = match place {
            Place::Namespace => processes()?.into_iter().filter(|process| process.pid != 1).collect(),
            Place::Host => descendants()?,
        };
        let mut tree = Self::default();
        for process in all {
            tree.tasks += process.threads;
            tree.cpu_ms += process.cpu_ms;
            // One that has ended meanwhile takes nothing.
            let Ok(text) = fs::read_to_string(format!("/proc/{}/statm", process.pid)) else { continue };
            let mut fields = text.split(' ').skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
            let (resident, shared) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
            tree.memory_bytes += resident.saturating_sub(shared) * page;
        }
        Ok(tree)
    }
}

/// Threads of this process.
pub(super) fn threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

/// Tasks of the whole host.
pub(super) fn tasks_of_host() -> io::Result<u64> {
    // `0.20 0.18 0.12 1/80 11206`: what runs, and all there is.
    let load = fs::read_to_string("/proc/loadavg")?;
    let all = load.split(' ').nth(3).and_then(|tasks| tasks.split_once('/')?.1.parse().ok());
    all.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Kills all descendants of this process, which is the one that orphans fall to, until none is left.
///
/// What a look at `/proc` shows is never all of them at one moment, so it only says whom to kill next. None is left
/// when the kernel says that this process has no child: whatever loses its parent becomes one.
pub(super) fn kill_all() {
    let mut round = 0;
    loop {
        loop {
            match sys::reap() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return,
                Err(_interrupted) => {}
            }
        }
        // Stopped first: what is stopped makes no new ones while others are killed.
        for signal in [Signal::STOP, Signal::KILL] {
            for process in descendants().unwrap_or_default() {
                if let Some(pid) = Pid::from_raw(process.pid) {
                    // silent-ok: it may have ended meanwhile; the next round sees.
                    kill_process(pid, signal).ok();
                }
            }
        }
        round += 1;
        if round > EAGER_ROUNDS {
            std::thread::sleep(PAUSE);
        }
    }
}

fn descendants() -> io::Result<Vec<Process>> {
    let all = processes()?;
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for process in &all {
        children.entry(process.parent).or_default().push(process.pid);
    }
    let mut found = HashSet::new();
    let mut open = vec![getpid().as_raw_nonzero().get()];
    while let Some(pid) = open.pop() {
        open.extend(children.remove(&pid).unwrap_or_default().into_iter().inspect(|child| {
            found.insert(*child);
        }));
    }
    Ok(all.into_iter().filter(|process| found.contains(&process.pid)).collect())
}

fn processes() -> io::Result<Vec<Process>> {
    let entries = fs::read_dir("/proc")?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(process).collect())
}

/// Reads one; `None` when it has gone.
fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, so the fields are counted from behind it.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    // Its own in user and kernel mode, and the same of the children that it waited for.
    let ticks: u64 = fields.by_ref().skip(9).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    let threads = fields.nth(2)?.parse().ok()?;
    let cpu_ms = ticks * 1_000 / rustix::param::clock_ticks_per_second().max(1);
    Some(Process { pid, parent, threads, cpu_ms })
}

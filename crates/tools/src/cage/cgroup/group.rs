//! The control group of one command.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::remover::Remover;
use super::{Version, counted, write};
use crate::cage::spec::{Ended, Stopped};

/// One group in the tree of each controller; of version 2 they are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dirs {
    pub(super) memory: PathBuf,
    pub(super) pids: PathBuf,
    /// Counts processor time, where that is there.
    pub(super) cpu: Option<PathBuf>,
}

impl Dirs {
    /// One of which nothing but the directory is known.
    pub(super) fn one(dir: PathBuf) -> Self {
        Self { memory: dir.clone(), pids: dir, cpu: None }
    }

    /// The groups of a name below these.
    pub(super) fn below(&self, name: &str) -> Self {
        let below = |dir: &PathBuf| dir.join(name);
        Self { memory: below(&self.memory), pids: below(&self.pids), cpu: self.cpu.as_ref().map(below) }
    }

    /// Each directory once.
    pub(super) fn each(&self) -> BTreeSet<&Path> {
        [Some(&self.memory), Some(&self.pids), self.cpu.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect()
    }

    /// Removes them; those that are gone already are no error.
    pub(super) fn remove(&self) -> io::Result<()> {
        for dir in self.each() {
            match fs::remove_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Kills all that is in them.
    pub(super) fn kill(&self, version: Version) {
        for dir in self.each() {
            // Kernels before 5.14 have no such file.
            let is_killed = version == Version::Two && write(dir.join("cgroup.kill"), "1").is_ok();
            if !is_killed && let Err(error) = kill_each(dir) {
                tracing::debug!(%error, "processes of a control group cannot be listed");
            }
        }
    }
}

/// Kills the processes of a group one by one. New ones may come meanwhile: whoever wants all of them dead looks again.
fn kill_each(dir: &Path) -> io::Result<()> {
    let held: Vec<(i32, OwnedFd)> = listed(dir)?
        .into_iter()
        .filter_map(|pid| Some((pid, pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?)))
        .collect();
    // SECURITY: a number may have been given to a stranger since it was read. What is held does not change any more, so
    // a number that is still in the group belongs to what is held.
    let still = listed(dir)?;
    for (_, process) in held.iter().filter(|(pid, _)| still.contains(pid)) {
        // silent-ok: it may have ended meanwhile.
        pidfd_send_signal(process, Signal::KILL).ok();
    }
    Ok(())
}

fn listed(dir: &Path) -> io::Result<BTreeSet<i32>> {
    match fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

/// The control group of one command. Dropping it kills what is in it, and removes it.
#[derive(Debug)]
pub(crate) struct Cgroup {
    version: Version,
    dirs: Dirs,
    is_swap_counted: bool,
    remover: Arc<Remover>,
}

impl Cgroup {
    pub(super) fn make(version: Version, dirs: Dirs, remover: &Arc<Remover>) -> io::Result<Self> {
        let made = Self { version, dirs, is_swap_counted: false, remover: Arc::clone(remover) };
        for dir in made.dirs.each() {
            fs::create_dir(dir)?;
        }
        Ok(made)
    }

    /// The same with limits. Nothing is in it yet, so that every limit is taken.
    pub(super) fn limited(mut self, bytes: u64, processes: u64) -> io::Result<Self> {
        let bytes = bytes.to_string();
        let memory = |file: &str| self.dirs.memory.join(file);
        self.is_swap_counted = match self.version {
            Version::One => {
                write(memory("memory.limit_in_bytes"), &bytes)?;
                is_there(write(memory("memory.memsw.limit_in_bytes"), &bytes))?
            }
            Version::Two => {
                write(memory("memory.max"), &bytes)?;
                // One that is out of memory is over as a whole, as it is where memory is counted from outside.
                is_there(write(memory("memory.oom.group"), "1"))?;
                is_there(write(memory("memory.swap.max"), "0"))?
            }
        };
        write(self.dirs.pids.join("pids.max"), &processes.to_string())?;
        Ok(self)
    }

    pub(super) fn is_swap_counted(&self) -> bool {
        self.is_swap_counted
    }

    /// What a process gets that is to be in it: the files by which it puts itself in, and last the one that tells of
    /// memory that ran out. They hold for whom they were opened by, whatever rights and names their holder has.
    pub(crate) fn files(&self) -> io::Result<Vec<OwnedFd>> {
        let (join, memory) = match self.version {
            // PERF: a thread that moves itself waits for nobody (10 µs); a whole process waits until no other one forks
            // (12 ms on a machine at rest). A supervisor has one thread.
            Version::One => ("tasks", "memory.oom_control"),
            Version::Two => ("cgroup.procs", "memory.events"),
        };
        let joins = self.dirs.each().into_iter().map(|dir| File::options().write(true).open(dir.join(join)));
        joins.chain([File::open(self.dirs.memory.join(memory))]).map(|file| file.map(OwnedFd::from)).collect()
    }

    /// Adds what the kernel counted to what a supervisor told.
    pub(crate) fn tell(&self, ended: &mut Ended) {
        let read = |dir: &Path, file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
        let number = |text: String| text.trim().parse::<u64>().ok();
        let (memory, cpu_ms) = match self.version {
            Version::One => {
                let ns = self.dirs.cpu.as_ref().and_then(|dir| number(read(dir, "cpuacct.usage")));
                (["memory.max_usage_in_bytes", "memory.oom_control"], ns.map(|ns| ns / 1_000_000))
            }
            Version::Two => {
                let us = self.dirs.cpu.as_ref().and_then(|dir| counted(&read(dir, "cpu.stat"), "usage_usec"));
                (["memory.peak", "memory.events"], us.map(|us| us / 1_000))
            }
        };
        let [peak, events] = memory.map(|file| read(&self.dirs.memory, file));
        ended.cpu_ms = ended.cpu_ms.max(cpu_ms.unwrap_or(0));
        ended.memory_bytes_max = number(peak);
        ended.is_held_back = counted(&read(&self.dirs.pids, "pids.events"), "max").is_some_and(|times| times > 0);
        if is_out_of_memory(&events) {
            ended.stopped = Some(Stopped::Memory);
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Usually all that was in it has ended.
        if self.dirs.remove().is_err() {
            self.remover.push(self.version, self.dirs.clone());
        }
    }
}

/// Whether the kernel killed something in a group for want of memory; `text` is what its file says.
pub(in crate::cage) fn is_out_of_memory(text: &str) -> bool {
    counted(text, "oom_kill").is_some_and(|times| times > 0)
}

/// False where the kernel has no such file.
fn is_there(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read_by_whole_names() {
        assert!(!is_out_of_memory("oom_kill_disable 1\nunder_oom 0\noom_kill 0\n"));
        assert!(is_out_of_memory("oom_kill_disable 0\nunder_oom 1\noom_kill 2\n"));
        assert!(is_out_of_memory("low 0\nhigh 0\nmax 9\noom 3\noom_kill 1\noom_group_kill 1\n"));
        assert!(!is_out_of_memory("low 0\nmax 9\noom 3\noom_kill 0\noom_group_kill 1\n") && !is_out_of_memory(""));
        assert_eq!(counted("usage_usec 12\nuser_usec x\n", "usage_usec"), Some(12));
        assert_eq!(counted("user_usec x\n", "user_usec"), None);
    }

    #[test]
    fn one_tree_for_two_controllers_is_one_directory() {
        let dirs = Dirs { memory: "/a".into(), pids: "/a".into(), cpu: Some("/b".into()) }.below("x");
        assert_eq!(dirs.each().into_iter().collect::<Vec<_>>(), [Path::new("/a/x"), Path::new("/b/x")]);
    }
}

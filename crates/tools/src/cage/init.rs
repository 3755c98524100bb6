//! The parent of the command: reaps, watches, and ends when the command does.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, chdir, getrlimit, kill_process, pidfd_open, setrlimit, setsid,
};

use super::cgroup::is_out_of_memory;
use super::spec::{Base, Ended, Joining, Limits, Note, Spec, Stopped};
use super::supervisor::{Failure, Step, enter_cgroup};
use super::sys::{self, Fork};
use super::tree::{self, Tree};
use super::{attempt, confine, filter, privileges};

/// How often memory and processes are counted.
const WATCH: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How often where the kernel does not limit the number of processes: the superuser's are not.
const WATCH_CLOSELY: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// Bytes of what the kernel tells about memory of a control group: some short lines.
const TOLD_BYTES: usize = 512;
/// How far a command stands back there for the one who watches it.
const NICE: i32 = 19;
/// Runs a script that does not say by what.
const SHELL: &CStr = c"/bin/sh";

/// Where the command lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In namespaces of its own.
    Namespace,
    /// Among the processes of the host.
    Host,
}

/// A command that is to be started.
pub(super) struct Job<'a> {
    pub(super) spec: &'a Spec,
    pub(super) base: &'a Base,
    /// Its standard streams.
    pub(super) streams: &'a [OwnedFd],
    pub(super) rules: confine::Rules,
    /// What is left to do for its control group, if it has one.
    pub(super) joining: Joining,
}

/// Starts the command and waits for its end, or for that of the server, whose life line this is.
pub(super) fn run(mut job: Job<'_>, life: &UnixStream, place: Place) -> Result<Ended, Failure> {
    let base = job.base;
    let limits = &base.limits;
    let counted = job.joining.memory.take().map(File::from);
    let is_unlimited = is_unlimited(place, counted.is_some());
    let (errors, error) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).step("pipe")?;
    // Prepared here, so that the child has little to do.
    let filter = filter::of(place)?;
    // The kernel counts a user's processes; where the command has no user of its own, those of the host count too.
    let tasks_beside = if place == Place::Host { tree::tasks_of_host().step("limits")? } else { 0 };
    let child = match sys::fork().step("fork")? {
        Fork::Child => {
            let Err(failure) = become_command(job, filter, (place, tasks_beside, is_unlimited));
            let note = Note::Failed { step: failure.step.to_owned(), why: failure.why, is_command: failure.is_command };
            // silent-ok: the parent then sees a command that ended at once.
            note.write(std::fs::File::from(error)).ok();
            sys::end(127);
        }
        Fork::Parent(pid) => pid,
    };
    drop((error, job));
    let mut failed = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(errors), &mut failed).step("start")?;
    if let Ok(Note::Failed { step, why, is_command }) = serde_json::from_slice(&failed) {
        let step = STEPS.iter().find(|known| **known == step).unwrap_or(&"start");
        return Err(Failure { step, why, is_command });
    }
    // silent-ok: a server that is gone closes the life line too.
    Note::Started.write(life).ok();
    let watched = Watched { place, limits, counted, every: if is_unlimited { &WATCH_CLOSELY } else { &WATCH } };
    watch(child, life, &watched)
}

/// Milliseconds of processor time that are told at once.
const TOLD_MS: u64 = 100;

/// The steps that the child can fail at.
const STEPS: [&str; 8] = ["cgroup", "streams", "directory", "limits", "privileges", "landlock", "seccomp", "program"];

/// What a command is held to while it runs.
struct Watched<'a> {
    place: Place,
    limits: &'a Limits,
    /// Tells of memory that ran out, where the kernel counts and limits the command as a whole.
    counted: Option<File>,
    every: &'static Timespec,
}

impl Watched<'_> {
    /// Whether it takes more than it may.
    fn stopped(&self, tree: &Tree) -> Option<Stopped> {
        match &self.counted {
            Some(counted) => has_run_out(counted).then_some(Stopped::Memory),
            None if tree.memory_bytes > self.limits.memory_bytes => Some(Stopped::Memory),
            None => (tree.tasks > self.limits.processes).then_some(Stopped::Processes),
        }
    }
}

/// Whether the kernel has killed something of the command for want of memory. What is left of it then ends too: half
/// of a command is no result.
fn has_run_out(counted: &File) -> bool {
    let mut told = [0; TOLD_BYTES];
    // silent-ok: who made the group reads it again at the end.
    let bytes = counted.read_at(&mut told, 0).unwrap_or(0);
    std::str::from_utf8(&told[..bytes]).is_ok_and(is_out_of_memory)
}

fn watch(child: i32, life: &UnixStream, watched: &Watched<'_>) -> Result<Ended, Failure> {
    let pid = Pid::from_raw(child).ok_or("no such process").step("waiting")?;
    let waits = pidfd_open(pid, PidfdFlags::empty()).step("waiting")?;
    let mut ended = Ended::default();
    let mut told_ms = 0;
    loop {
        let mut both = [PollFd::new(&waits, PollFlags::IN), PollFd::from_borrowed_fd(life.as_fd(), PollFlags::IN)];
        poll(&mut both, Some(watched.every)).step("waiting")?;
        let is_server_gone = !both[1].revents().is_empty();
        if reap(child, &mut ended) {
            return Ok(ended);
        }
        let tree = Tree::read(watched.place).step("watching")?;
        // What was reaped here is in nobody else's account; what an intermediate process waited for is in that one's.
        let used_ms = ended.cpu_ms + tree.cpu_ms;
        if used_ms >= told_ms + TOLD_MS {
            told_ms = used_ms;
            // Never waits: whoever keeps a program alive for its streams alone reads this line at its end.
            Note::Used { cpu_ms: used_ms }.write_if_room(life);
        }
        ended.max_rss_bytes = ended.max_rss_bytes.max(tree.memory_bytes);
        ended.stopped = watched.stopped(&tree);
        if is_server_gone || ended.stopped.is_some() {
            // What else there is dies with this process, or is killed by its caller.
            // silent-ok: it may have ended meanwhile.
            kill_process(pid, Signal::KILL).ok();
            ended.signal = Some(Signal::KILL.as_raw());
            return Ok(ended);
        }
    }
}

/// Whether only watching keeps the number of processes down.
fn is_unlimited(place: Place, has_cgroup: bool) -> bool {
    !has_cgroup && place == Place::Host && rustix::process::geteuid().is_root()
}

/// Takes every child that has ended; true when the command is one of them.
fn reap(child: i32, ended: &mut Ended) -> bool {
    let mut is_over = false;
    while let Ok(Some(one)) = sys::reap() {
        ended.cpu_ms += one.cpu_ms;
        ended.max_rss_bytes = ended.max_rss_bytes.max(one.max_rss_bytes);
        if one.pid == child {
            (ended.exit_code, ended.signal) = (one.exit_code, one.signal);
            is_over = true;
        }
    }
    is_over
}

/// Everything between the fork and the program; comes back only with what failed.
fn become_command(
    Job { spec, base, streams, rules, joining }: Job<'_>,
    filter: &filter::Filter,
    (place, tasks_beside, is_unlimited): (Place, u64, bool),
) -> Result<std::convert::Infallible, Failure> {
    // In namespaces the first process is in already, and all that comes of it.
    enter_cgroup(joining.doors)?;
    setsid().step("streams")?;
    // The error's pipe stays open, above what is placed; it closes itself when the program starts.
    for (stream, number) in streams.iter().zip(0..) {
        sys::place(stream.as_fd(), number).step("streams")?;
    }
    sys::reset_signals();
    if place == Place::Host {
        if is_unlimited {
            rustix::process::nice(NICE).step("limits")?;
        }
        privileges::become_owner(base.owner)?;
    }
    chdir(&spec.cwd).map_err(|error| Failure { step: "directory", why: error.to_string(), is_command: true })?;
    limit(&base.limits, tasks_beside).step("limits")?;
    privileges::drop_all().step("privileges")?;
    confine::enter(rules)?;
    let (programs, argv, env) = if spec.attempt.is_some() { Prepared::default() } else { prepared(spec)? };
    sys::close_at_exec(3).step("streams")?;
    filter::enter(filter)?;
    if let Some(name) = &spec.attempt {
        sys::end(i32::from(attempt::is_held(name)));
    }
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for program in &programs {
        let error = sys::exec(program, &argv, &env);
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            Some(libc::ENOEXEC) => {
                let shell = CString::from(SHELL);
                let script = [&[shell.clone(), program.clone()], argv.get(1..).unwrap_or_default()].concat();
                last = sys::exec(&shell, &script, &env);
            }
            _ => last = error,
        }
    }
    Err(Failure { step: "program", why: last.to_string(), is_command: true })
}

type Prepared = (Vec<CString>, Vec<CString>, Vec<CString>);

/// The paths at which the program may lie, its arguments and its environment.
fn prepared(spec: &Spec) -> Result<Prepared, Failure> {
    let wrong = |why: &str| Failure { step: "program", why: why.to_owned(), is_command: true };
    let string = |text: String| CString::new(text).map_err(|_| wrong("it holds a zero byte"));
    let name = spec.argv.first().filter(|name| !name.is_empty()).ok_or_else(|| wrong("it has no name"))?;
    let programs = if name.contains('/') {
        vec![string(name.clone())?]
    } else {
        let path = spec.env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
        let at = |dir: &str| string(Path::new(dir).join(name).to_string_lossy().into_owned());
        path.split(':').filter(|dir| dir.starts_with('/')).map(at).collect::<Result<_, _>>()?
    };
    let argv = spec.argv.iter().cloned().map(string).collect::<Result<_, _>>()?;
    let env = spec.env.iter().map(|(name, value)| string(format!("{name}={value}"))).collect::<Result<_, _>>()?;
    Ok((programs, argv, env))
}

fn limit(limits: &Limits, tasks_beside: u64) -> std::io::Result<()> {
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Cpu, limits.cpu_s),
        (Resource::Data, limits.memory_bytes),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nofile, limits.descriptors),
        (Resource::Memlock, 1 << 20),
        (Resource::Msgqueue, 0),
        (Resource::Nproc, limits.processes + tasks_beside),
    ] {
        // A limit that is lower already stays.
        let hard = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?;
    }
    Ok(())
}

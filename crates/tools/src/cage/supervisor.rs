//! The process between server and command.
//!
//! With namespaces it only waits: its child is the first process of the new
//! process namespace, and when that one dies the kernel kills the rest. Without
//! them it does the first process's work itself, and finds what is left of the
//! command because orphans become its children.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, set_child_subreaper, setsid};
use rustix::thread::UnshareFlags;

use super::spec::{Base, Ended, Handed, Joining, Note, Spec};
use super::sys::{self, Fork};
use super::{SUPERVISOR, confine, forks, init, privileges, root, tree, wire};

/// A step that failed, and what the kernel said.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) step: &'static str,
    pub(super) why: String,
    pub(super) is_command: bool,
}

/// Names the step that an error belongs to.
pub(super) trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, Failure>;
}

impl<T, E: std::fmt::Display> Step<T> for Result<T, E> {
    fn step(self, step: &'static str) -> Result<T, Failure> {
        self.map_err(|error| Failure { step, why: error.to_string(), is_command: false })
    }
}

/// Supervises commands, each in a fork of its own, when this process was started to do that; `None` otherwise.
///
/// To be called before anything else in `main`: it needs a process with one thread.
#[must_use]
pub fn supervise() -> Option<ExitCode> {
    if std::env::args_os().next().is_none_or(|name| name != SUPERVISOR) {
        return None;
    }
    let Ok(control) = sys::take_stdin().map(UnixStream::from) else { return Some(ExitCode::FAILURE) };
    // From here on a process that was forked for one command.
    let Some(socket) = forks::serve(control) else { return Some(ExitCode::SUCCESS) };
    if let Err(failure) = run(&socket) {
        let note = Note::Failed { step: failure.step.to_owned(), why: failure.why, is_command: failure.is_command };
        // silent-ok: with the server gone there is nobody left to tell.
        note.write(&socket).ok();
        return Some(ExitCode::FAILURE);
    }
    Some(ExitCode::SUCCESS)
}

fn run(socket: &UnixStream) -> Result<(), Failure> {
    if tree::threads().step("threads")? != 1 {
        return Err(Failure { step: "threads", why: "the supervisor has several".to_owned(), is_command: false });
    }
    // silent-ok: the process may lead a session already, and then has no terminal of ours either.
    setsid().ok();
    set_child_subreaper(Some(rustix::process::getpid())).step("subreaper")?;
    let (base, joining) = Base::receive(socket).step("order")?;
    if base.has_namespaces {
        with_namespaces(&base, joining, socket)
    } else {
        privileges::hide().step("hiding")?;
        let rules = confine::rules(init::Place::Host, &base.bounds)?;
        let (spec, handed) = Spec::receive(socket).step("order")?;
        if handed.proxy.is_some() {
            // Landlock knows ports, not addresses: any machine that listens at the proxy's would be reached.
            return Err("a way to the network needs a network of its own").step("proxy");
        }
        // This process stays outside of the group: it is the one that tells how a command ended that took too much.
        let job = init::Job { spec: &spec, base: &base, streams: &handed.streams, rules, joining };
        let ended = init::run(job, socket, init::Place::Host);
        tree::kill_all();
        report(socket, ended?)
    }
}

/// Makes the first process of the namespaces and waits for it.
fn with_namespaces(base: &Base, joining: Joining, socket: &UnixStream) -> Result<(), Failure> {
    privileges::enter_namespaces(
        UnshareFlags::NEWUSER
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWPID
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWNET,
        base.owner,
    )?;
    let (results, result) = UnixStream::pair().step("pipe")?;
    let first = match sys::fork().step("first process")? {
        Fork::Child => {
            drop(results);
            sys::end(i32::from(!first_process(base, joining, socket, &result)));
        }
        Fork::Parent(pid) => Pid::from_raw(pid).ok_or("no such process").step("first process")?,
    };
    drop((result, joining));
    privileges::hide().step("hiding")?;
    let waits = pidfd_open(first, PidfdFlags::empty()).step("first process")?;
    loop {
        // What comes over the socket is for the first process; here only its end counts.
        let line = PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::RDHUP);
        let mut both = [PollFd::new(&waits, PollFlags::IN), line];
        poll(&mut both, None).step("waiting")?;
        if !both[0].revents().is_empty() {
            break;
        }
        if !both[1].revents().is_empty() {
            kill_process(first, Signal::KILL).step("killing")?;
            break;
        }
    }
    // Its end comes after that of everything in its namespace.
    rustix::process::waitpid(Some(first), rustix::process::WaitOptions::empty()).step("waiting")?;
    let mut told = Vec::new();
    std::io::Read::read_to_end(&mut &results, &mut told).step("result")?;
    match serde_json::from_slice(&told) {
        Ok(Note::Ended(ended)) => report(socket, ended),
        Ok(note) => note.write(socket).step("report"),
        Err(_) => report(socket, Ended { signal: Some(Signal::KILL.as_raw()), ..Ended::default() }),
    }
}

/// The first process of the namespaces; true when the command ran.
fn first_process(base: &Base, joining: Joining, socket: &UnixStream, result: &UnixStream) -> bool {
    // silent-ok: as above.
    setsid().ok();
    let note = match ordered(base, joining, socket) {
        Ok(ended) => Note::Ended(ended),
        Err(failure) => {
            Note::Failed { step: failure.step.to_owned(), why: failure.why, is_command: failure.is_command }
        }
    };
    let is_ended = matches!(note, Note::Ended(_));
    note.write(result).is_ok() && is_ended
}

/// Gets ready, waits for the command, and runs it.
fn ordered(base: &Base, mut joining: Joining, socket: &UnixStream) -> Result<Ended, Failure> {
    enter_cgroup(std::mem::take(&mut joining.doors))?;
    // Only now, so that the group is the root of all that the command sees of groups.
    sys::unshare(UnshareFlags::NEWCGROUP).step("namespaces")?;
    root::prepare(base)?;
    let rules = confine::rules(init::Place::Namespace, &base.bounds)?;
    // PERF: what came so far needs no command, and is usually done before there is one.
    let (spec, Handed { streams, proxy }) = Spec::receive(socket).step("order")?;
    root::finish(&spec)?;
    if let (Some(through), Some(port)) = (proxy, spec.proxy_port) {
        listen(&through, port).step("proxy")?;
    }
    privileges::settle(base.owner, &base.limits)?;
    let job = init::Job { spec: &spec, base, streams: &streams, rules, joining };
    init::run(job, socket, init::Place::Namespace)
}

/// Puts this process, which has one thread, into its control group.
pub(super) fn enter_cgroup(doors: Vec<OwnedFd>) -> Result<(), Failure> {
    doors.into_iter().try_for_each(|door| File::from(door).write_all(b"0")).step("cgroup")
}

/// Listens on the command's own loopback, and hands that socket to whoever serves the proxy: a socket stays in the
/// network that it was made in, whoever holds it.
fn listen(through: &UnixStream, port: u16) -> std::io::Result<()> {
    sys::loopback_up()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    wire::hand_out(through, listener.as_fd())
}

fn report(mut socket: &UnixStream, ended: Ended) -> Result<(), Failure> {
    // silent-ok: with the server gone there is nobody left to tell.
    Note::Ended(ended).write(socket).ok();
    socket.flush().step("report")
}

//! The process that supervisors are forked from, and the supervisors that stand ready.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cage::{Base, Cgroup, Cgroups, SUPERVISOR, Spec, hand_in};

/// How long the process that supervisors are forked from stands ready: the pauses of a turn are shorter.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// Supervisors that stand ready at once, each for commands of one workspace.
const SPARES_MAX: usize = 4;
/// How long a supervisor may take to take its order: most of it is a copy between two buffers.
const ORDER_TIME: Duration = Duration::from_secs(10);

/// The process that supervisors are forked from, while commands are started again and again.
#[derive(Debug)]
pub(super) struct Forks {
    program: PathBuf,
    /// The directory of this installation, whose control groups bear its mark; `None` where commands have none.
    groups_of: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Its socket, which ends it, and itself.
    running: Option<(UnixStream, tokio::process::Child)>,
    /// Supervisors that wait for their commands, and what each got ready for; the oldest first.
    spares: Vec<(Base, Supervisor)>,
    used_at: Instant,
    is_watched: bool,
    /// Found at the first command. Last, for its end waits for the groups of those above.
    cgroups: Option<Cgroups>,
}

/// A supervisor; it ends with its line, and the group after it.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) life: UnixStream,
    pub(super) cgroup: Option<Cgroup>,
}

impl Forks {
    pub(super) fn new(program: PathBuf, groups_of: Option<PathBuf>) -> Self {
        let state =
            State { running: None, spares: Vec::new(), used_at: Instant::now(), is_watched: false, cgroups: None };
        Self { program, groups_of, state: Mutex::new(state) }
    }

    /// Orders a command of a supervisor that is ready for such, or soon will be.
    pub(super) fn order(&self, base: &Base, spec: &Spec, descriptors: &[BorrowedFd<'_>]) -> io::Result<Supervisor> {
        let mut state = self.lock();
        state.used_at = Instant::now();
        // One that somebody killed takes no order.
        let ready = state.spares.iter().position(|(ready_for, _)| ready_for == base);
        if let Some((_, spare)) = ready.map(|at| state.spares.remove(at))
            && spec.send(&spare.life, descriptors).is_ok()
        {
            return Ok(spare);
        }
        let supervisor = self.fork(&mut state, base)?;
        match spec.send(&supervisor.life, descriptors) {
            // It failed already, and said why over the line.
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
            sent => sent?,
        }
        Ok(supervisor)
    }

    /// Has another one get ready for the next command, which is usually of the same workspace.
    pub(super) fn get_ready(&self, base: Base) {
        let mut state = self.lock();
        if state.running.is_some() && state.spares.iter().all(|(ready_for, _)| *ready_for != base) {
            if state.spares.len() >= SPARES_MAX {
                // It ends with its line.
                state.spares.remove(0);
            }
            match self.fork(&mut state, &base) {
                Ok(supervisor) => state.spares.push((base, supervisor)),
                // The next command tries again, and says so.
                Err(error) => tracing::debug!(%error, "no supervisor gets ready"),
            }
        }
    }

    /// A new supervisor that gets ready, with a control group for what it will start.
    fn fork(&self, state: &mut State, base: &Base) -> io::Result<Supervisor> {
        let cgroup = self.cgroup(state, base)?;
        let files = cgroup.as_ref().map(Cgroup::files).transpose()?.unwrap_or_default();
        let (life, theirs) = UnixStream::pair()?;
        life.set_write_timeout(Some(ORDER_TIME))?;
        let is_handed = state.running.as_ref().is_some_and(|(control, _)| hand_in(control, theirs.as_fd()).is_ok());
        if !is_handed {
            // There is none yet, or somebody killed it.
            let started = self.start()?;
            hand_in(&started.0, theirs.as_fd())?;
            state.running = Some(started);
        }
        drop(theirs);
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        base.send(&life, &files)?;
        Ok(Supervisor { life, cgroup })
    }

    /// Where the cage was found to hold with groups, no command is started without one.
    fn cgroup(&self, state: &mut State, base: &Base) -> io::Result<Option<Cgroup>> {
        let Some(dir) = &self.groups_of else { return Ok(None) };
        let cgroups = match &mut state.cgroups {
            Some(found) => found,
            none => none.insert(Cgroups::find(dir).map_err(|why| io::Error::other(format!("cgroup: {why}")))?),
        };
        cgroups.make(&base.limits, base.has_namespaces).map(Some)
    }

    fn start(&self) -> io::Result<(UnixStream, tokio::process::Child)> {
        let (ours, control) = UnixStream::pair()?;
        let mut command = tokio::process::Command::new(&self.program);
        command
            .arg0(SUPERVISOR)
            // A program whose `main` does not begin with the supervisor stumbles over this rather than doing its usual work.
            .arg("--supervise")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(control)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok((ours, command.spawn()?))
    }

    /// Ends it when no command was started for a while, so that a server at rest is one process.
    pub(super) fn end_when_idle(this: &Arc<Self>) {
        let mut state = this.lock();
        if state.is_watched {
            return;
        }
        state.is_watched = true;
        let watched = Arc::downgrade(this);
        tokio::spawn(async move {
            let mut at = Instant::now() + IDLE_TIME;
            loop {
                tokio::time::sleep_until(at.into()).await;
                let Some(forks) = watched.upgrade() else { return };
                let mut state = forks.lock();
                at = state.used_at + IDLE_TIME;
                if at <= Instant::now() {
                    state.running = None;
                    state.spares.clear();
                    state.is_watched = false;
                    return;
                }
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

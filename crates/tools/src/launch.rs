//! Starts programs, all of them in the cage: the only place of this crate that does.
//!
//! A started program is a [`Child`]. Dropping it kills the program with all that
//! it started; so does the end of this process, however it comes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use are_core::error::{Code, Fault};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::net::unix::pipe;

use crate::cage::{
    Access, Base, Bound, CageOptions, Ended, Limits, Note, SUPERVISOR, Spec, View, hand_in, own_directory, take_out,
};
use crate::egress;

/// Bytes of one line from the supervisor.
const NOTE_BYTES_MAX: usize = 64 << 10;

/// How long the process that supervisors are forked from stands ready: the pauses of a turn are shorter.
const FORKS_IDLE_TIME: std::time::Duration = std::time::Duration::from_secs(60);

/// How long to wait on a thread for a killed command to be gone.
const KILL_TIME: std::time::Duration = std::time::Duration::from_secs(2);

/// The socket to the supervisor.
#[derive(Debug)]
struct Life {
    socket: BufReader<tokio::net::UnixStream>,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    used: Used,
}

/// Processor time that a program with all that it started has used so far, as it is told some times a second.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used(Arc<AtomicU64>);

impl Used {
    /// In milliseconds.
    pub(crate) fn cpu_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) argv: Vec<String>,
    /// Instead of a program: a call of the kernel that must not succeed. For probes.
    pub(crate) attempt: Option<String>,
    /// Root of the files, with all links in its path resolved.
    pub(crate) workspace: PathBuf,
    /// Where it starts, below the workspace.
    pub(crate) cwd: PathBuf,
    /// Paths outside of the workspace that it may read.
    pub(crate) reads: Vec<PathBuf>,
    /// Variables beside the cage's own.
    pub(crate) env: Vec<(String, String)>,
    /// Whether it has a standard input; without one it reads an end at once.
    pub(crate) has_stdin: bool,
    /// Paths of the workspace, relative, that stay as they are.
    pub(crate) sealed: Vec<PathBuf>,
    /// Directories of the workspace, relative, that cannot be moved away.
    pub(crate) pinned: Vec<PathBuf>,
    pub(crate) limits: Limits,
    /// Whether a proxy serves it.
    pub(crate) has_proxy: bool,
}

/// Starts programs in a cage that was found to hold.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    options: Arc<CageOptions>,
    has_namespaces: bool,
    forks: Arc<Forks>,
}

/// The process that supervisors are forked from, while commands are started again and again.
#[derive(Debug)]
struct Forks {
    program: PathBuf,
    state: Mutex<ForksState>,
}

#[derive(Debug)]
struct ForksState {
    /// Its socket, which ends it, and itself.
    running: Option<(UnixStream, tokio::process::Child)>,
    /// A supervisor that waits for its command, and what it got ready for.
    spare: Option<(Base, UnixStream)>,
    used_at: Instant,
    is_watched: bool,
}

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) stdin: Option<pipe::Sender>,
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
    /// What its proxy accepts from, where it has one.
    pub(crate) listener: Option<TcpListener>,
    life: Life,
    /// Where that comes from.
    proxy: Option<UnixStream>,
    /// What its supervisor got ready; the next one's does too.
    base: Option<Base>,
}

impl Launcher {
    pub(crate) fn new(options: CageOptions, has_namespaces: bool) -> Self {
        let forks = Forks::new(options.supervisor.clone());
        Self { options: Arc::new(options), has_namespaces, forks: Arc::new(forks) }
    }

    /// Home of whoever runs the server.
    pub(crate) fn home(&self) -> Option<&std::path::Path> {
        self.options.home.as_deref()
    }

    /// A directory that belongs to one kind of program alone, made if it is new. Blocks.
    pub(crate) fn own_directory(&self, name: &str) -> io::Result<PathBuf> {
        own_directory(&self.options.cache_dir, name)
    }

    /// Starts a program; it runs when this returns.
    ///
    /// # Errors
    /// ARE-0520 when the cage could not be closed around it; ARE-0503 when there is no such program or directory.
    pub(crate) async fn spawn(&self, order: Order) -> Result<Child, Fault> {
        let mut child = self.begin(order).await?;
        self.started(&mut child).await?;
        Ok(child)
    }

    /// Whether a program has a network of its own, without which none is let out.
    pub(crate) const fn has_namespaces(&self) -> bool {
        self.has_namespaces
    }

    /// Orders a program, which may run from here on or fail to; [`started`](Self::started) tells which. Whoever looks
    /// after what it does has it in hand meanwhile.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub(crate) async fn begin(&self, order: Order) -> Result<Child, Fault> {
        let (options, has_namespaces) = (Arc::clone(&self.options), self.has_namespaces);
        let forks = Arc::clone(&self.forks);
        // Directories are looked at and made.
        let made = tokio::task::spawn_blocking(move || {
            let (base, spec) = spec(&order, &options, has_namespaces)?;
            start(base, &spec, &forks, order.has_stdin)
        });
        let child = made.await.map_err(io::Error::other).flatten().map_err(|error| broken("start", &error))?;
        Forks::end_when_idle(&self.forks);
        Ok(child)
    }

    /// Waits until the program runs.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub(crate) async fn started(&self, child: &mut Child) -> Result<(), Fault> {
        match note(&mut child.life).await.map_err(|error| broken("start", &error))? {
            Some(Note::Started) => {
                child.take_listener().map_err(|error| broken("proxy", &error))?;
                if let Some(base) = child.base.take() {
                    self.forks.get_ready(base);
                }
                Ok(())
            }
            Some(Note::Failed { step, why, is_command: true }) => Err(no_program(&step, &why)),
            Some(Note::Failed { step, why, is_command: false }) => Err(broken(&step, &why)),
            Some(Note::Ended(_) | Note::Used { .. }) | None => Err(broken("start", &"the supervisor ended")),
        }
    }
}

/// What keeps a program alive whose streams somebody else has: dropping it kills the program with all that it
/// started.
#[derive(Debug)]
pub(crate) struct Tether {
    life: Life,
    /// Its way to the network.
    network: Option<egress::Standing>,
}

impl Tether {
    /// Keeps the program's way to the network for as long as it runs.
    pub(crate) fn keep(&mut self, network: egress::Standing) {
        self.network = Some(network);
    }

    /// Waits until the program and all that it started are gone. Dropping the future loses nothing.
    ///
    /// # Errors
    /// ARE-0520 when the supervisor was killed; the program is dead all the same.
    pub(crate) async fn wait(&mut self) -> Result<Ended, Fault> {
        end(&mut self.life).await
    }

    /// Kills the program with all that it started, and waits until they are gone.
    pub(crate) async fn kill(self) {
        let Self { life: Life { mut socket, .. }, network } = self;
        drop(network);
        // The supervisor's end closes the line; it comes after that of everything else.
        let gone = async {
            socket.get_mut().shutdown().await?;
            socket.read_to_end(&mut Vec::new()).await
        };
        match tokio::time::timeout(KILL_TIME, gone).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a supervisor cannot be waited for"),
            Err(_elapsed) => tracing::warn!("a command that was killed did not end in time"),
        }
    }
}

/// The standard streams of a program.
pub(crate) type Streams = (Option<pipe::Sender>, pipe::Receiver, pipe::Receiver);

impl Child {
    /// Its streams, and what keeps it alive, apart.
    pub(crate) fn apart(self) -> (Streams, Tether) {
        let Self { stdin, stdout, stderr, life, .. } = self;
        ((stdin, stdout, stderr), Tether { life, network: None })
    }

    /// Takes what the proxy accepts from; it was handed out before the command started.
    fn take_listener(&mut self) -> io::Result<()> {
        if let Some(through) = self.proxy.take() {
            let listener = take_out(&through)?;
            listener.set_nonblocking(true)?;
            self.listener = Some(TcpListener::from_std(listener)?);
        }
        Ok(())
    }

    /// Processor time that it uses.
    pub(crate) fn used(&self) -> Used {
        self.life.used.clone()
    }

    /// Waits until the program and all that it started are gone. Dropping the future loses nothing.
    ///
    /// # Errors
    /// ARE-0520 when the supervisor was killed; the program is dead all the same.
    pub(crate) async fn wait(&mut self) -> Result<Ended, Fault> {
        end(&mut self.life).await
    }

    /// Both output streams, and the end, to be waited for together.
    pub(crate) fn parts(
        &mut self,
    ) -> ((&mut pipe::Receiver, &mut pipe::Receiver), impl Future<Output = Result<Ended, Fault>> + '_) {
        let Self { stdout, stderr, life, .. } = self;
        ((stdout, stderr), end(life))
    }

    /// Kills the program with all that it started, and waits for that on this thread, where nothing can be awaited.
    pub(crate) fn kill_now(self) {
        let Self { life, .. } = self;
        let gone = life.socket.into_inner().into_std().and_then(|mut life| {
            life.set_nonblocking(false)?;
            life.set_read_timeout(Some(KILL_TIME))?;
            life.shutdown(std::net::Shutdown::Write)?;
            io::Read::read_to_end(&mut life, &mut Vec::new())
        });
        if let Err(error) = gone {
            tracing::warn!(%error, "a command that was killed did not end in time");
        }
    }

    /// Kills the program with all that it started, and waits until they are gone.
    pub(crate) async fn kill(self) {
        let (streams, tether) = self.apart();
        drop(streams);
        tether.kill().await;
    }
}

impl Forks {
    fn new(program: PathBuf) -> Self {
        let state = ForksState { running: None, spare: None, used_at: Instant::now(), is_watched: false };
        Self { program, state: Mutex::new(state) }
    }

    /// Orders a command of a supervisor that is ready for such, or soon will be; its life line.
    fn order(&self, base: &Base, spec: &Spec, descriptors: &[BorrowedFd<'_>]) -> io::Result<UnixStream> {
        let mut state = self.lock();
        state.used_at = Instant::now();
        // One that is ready for another ends with its line; one that somebody killed takes no order.
        if let Some((_, life)) = state.spare.take().filter(|(as_wanted, _)| as_wanted == base)
            && spec.send(&life, descriptors).is_ok()
        {
            return Ok(life);
        }
        let life = self.fork(&mut state, base)?;
        match spec.send(&life, descriptors) {
            // It failed already, and said why over the line.
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
            sent => sent?,
        }
        Ok(life)
    }

    /// Has another one get ready for the next command, which is usually of the same kind.
    fn get_ready(&self, base: Base) {
        let mut state = self.lock();
        if state.spare.is_none() && state.running.is_some() {
            match self.fork(&mut state, &base) {
                Ok(life) => state.spare = Some((base, life)),
                // The next command tries again, and says so.
                Err(error) => tracing::debug!(%error, "no supervisor gets ready"),
            }
        }
    }

    /// A new supervisor that gets ready; its life line.
    fn fork(&self, state: &mut ForksState, base: &Base) -> io::Result<UnixStream> {
        let (life, theirs) = UnixStream::pair()?;
        let is_handed = state.running.as_ref().is_some_and(|(control, _)| hand_in(control, theirs.as_fd()).is_ok());
        if !is_handed {
            // There is none yet, or somebody killed it.
            let started = self.start()?;
            hand_in(&started.0, theirs.as_fd())?;
            state.running = Some(started);
        }
        drop(theirs);
        base.send(&life)?;
        Ok(life)
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
    fn end_when_idle(this: &Arc<Self>) {
        let mut state = this.lock();
        if state.is_watched {
            return;
        }
        state.is_watched = true;
        let watched = Arc::downgrade(this);
        tokio::spawn(async move {
            let mut at = Instant::now() + FORKS_IDLE_TIME;
            loop {
                tokio::time::sleep_until(at.into()).await;
                let Some(forks) = watched.upgrade() else { return };
                let mut state = forks.lock();
                at = state.used_at + FORKS_IDLE_TIME;
                if at <= Instant::now() {
                    (state.running, state.spare) = (None, None);
                    state.is_watched = false;
                    return;
                }
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, ForksState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn end(life: &mut Life) -> Result<Ended, Fault> {
    match note(life).await.map_err(|error| broken("end", &error))? {
        Some(Note::Ended(ended)) => {
            life.used.0.fetch_max(ended.cpu_ms, Ordering::Relaxed);
            Ok(ended)
        }
        Some(Note::Failed { step, why, .. }) => Err(broken(&step, &why)),
        Some(Note::Started | Note::Used { .. }) | None => Err(broken("end", &"the supervisor ended")),
    }
}

/// The next line that is more than what was used so far. Dropping the future loses nothing.
async fn note(life: &mut Life) -> io::Result<Option<Note>> {
    loop {
        let piece = life.socket.fill_buf().await?;
        if piece.is_empty() {
            return Ok(None);
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(piece.len(), |at| at + 1);
        life.line.extend_from_slice(&piece[..taken]);
        life.socket.consume(taken);
        if life.line.len() > NOTE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if end.is_some() {
            match serde_json::from_slice(&std::mem::take(&mut life.line))? {
                Note::Used { cpu_ms } => life.used.0.store(cpu_ms, Ordering::Relaxed),
                note => return Ok(Some(note)),
            }
        }
    }
}

fn spec(order: &Order, options: &CageOptions, has_namespaces: bool) -> io::Result<(Base, Spec)> {
    let view = View::of(&order.workspace, options, (has_namespaces, order.has_proxy))?;
    let mut bounds = view.own;
    bounds.extend(order.reads.iter().map(|path| Bound { path: path.clone(), access: Access::Read }));
    let mut env = view.env;
    env.retain(|(name, _)| order.env.iter().all(|(other, _)| other != name));
    env.extend(order.env.iter().cloned());
    let within = |paths: &[PathBuf]| paths.iter().map(|path| order.workspace.join(path)).collect();
    let (owner, temporary_bytes) = (view.owner, order.limits.temporary_bytes);
    let spec = Spec {
        argv: order.argv.clone(),
        attempt: order.attempt.clone(),
        cwd: order.workspace.join(&order.cwd),
        env,
        bounds,
        sealed: within(&order.sealed),
        pinned: within(&order.pinned),
        limits: order.limits,
        proxy_port: order.has_proxy.then_some(egress::PORT),
    };
    Ok((Base { bounds: view.common, owner, temporary_bytes, has_namespaces }, spec))
}

fn start(base: Base, spec: &Spec, forks: &Forks, has_stdin: bool) -> io::Result<Child> {
    let (read_in, write_in) = pipe_with(PipeFlags::CLOEXEC)?;
    let (read_out, write_out) = pipe_with(PipeFlags::CLOEXEC)?;
    let (read_err, write_err) = pipe_with(PipeFlags::CLOEXEC)?;
    let proxy = spec.proxy_port.map(|_| UnixStream::pair()).transpose()?;
    let streams = [read_in.as_fd(), write_out.as_fd(), write_err.as_fd()];
    let descriptors: Vec<_> = streams.into_iter().chain(proxy.as_ref().map(|(_, theirs)| theirs.as_fd())).collect();
    let ours = forks.order(&base, spec, &descriptors)?;
    ours.set_nonblocking(true)?;
    let receiver = |fd: OwnedFd| pipe::Receiver::from_owned_fd(fd);
    Ok(Child {
        stdin: if has_stdin { Some(pipe::Sender::from_owned_fd(write_in)?) } else { None },
        stdout: receiver(read_out)?,
        stderr: receiver(read_err)?,
        listener: None,
        proxy: proxy.map(|(ours, _)| ours),
        base: Some(base),
        life: Life {
            socket: BufReader::new(tokio::net::UnixStream::from_std(ours)?),
            line: Vec::new(),
            used: Used::default(),
        },
    })
}

/// Runs a program without a cage, to its end: what a caged one is measured against.
pub(crate) async fn plainly(program: &str) -> io::Result<()> {
    tokio::process::Command::new(program).stdin(Stdio::null()).stdout(Stdio::null()).status().await.map(drop)
}

fn broken(step: &str, why: &dyn std::fmt::Display) -> Fault {
    tracing::warn!(step, %why, "the cage could not be closed around a command");
    Fault::new(
        Code::CAGE_FAILED,
        format!("the command was not run: its cage failed at `{step}`"),
        "tell the user to look at `are doctor`",
    )
}

fn no_program(step: &str, why: &str) -> Fault {
    let what = if step == "directory" { "its directory cannot be entered" } else { "it cannot be started" };
    Fault::new(
        Code::TOOL_FAILED,
        format!("the command was not run: {what}: {}", crate::text::short(why)),
        "look at the name and at where you are; programs outside of the workspace and the toolchains are not seen",
    )
}

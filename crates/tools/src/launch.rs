//! Starts programs, all of them in the cage: the only place of this crate that does.
//!
//! A started program is a [`Child`]. Dropping it kills the program with all that
//! it started; so does the end of this process, however it comes.

mod forks;
mod ordered;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use are_core::error::{Code, Fault};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::net::unix::pipe;

use self::forks::{Forks, Supervisor};
pub(crate) use self::ordered::Ordered;
use crate::cage::{Base, CageOptions, Cgroup, Ended, Kind, Limits, Note, Spec, View, own_directory, take_out};
use crate::egress;

/// Bytes of one line from the supervisor.
const NOTE_BYTES_MAX: usize = 64 << 10;

/// How long to wait on a thread for a killed command to be gone.
const KILL_TIME: std::time::Duration = std::time::Duration::from_secs(2);

/// The socket to the supervisor.
#[derive(Debug)]
struct Life {
    socket: BufReader<tokio::net::UnixStream>,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    used: Used,
    /// What counts it. After the socket, whose end is that of all that is in it.
    cgroup: Option<Cgroup>,
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
    kind: Kind,
    forks: Arc<Forks>,
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
    pub(crate) fn new(options: CageOptions, kind: Kind) -> Self {
        let groups_of = kind.has_cgroups.then(|| options.cache_dir.clone());
        let forks = Forks::new(options.supervisor.clone(), groups_of);
        Self { options: Arc::new(options), kind, forks: Arc::new(forks) }
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
        let mut ordered = self.begin(order);
        let mut child = ordered.sent().await?;
        self.started(&mut child).await?;
        Ok(child)
    }

    /// Whether a program has a network of its own, without which none is let out.
    pub(crate) fn has_namespaces(&self) -> bool {
        self.kind.has_namespaces
    }

    /// Begins to order a program, which may run from here on until what this returns is given up. Whoever looks after
    /// what it does has that in hand.
    pub(crate) fn begin(&self, order: Order) -> Ordered {
        let (options, has_namespaces) = (Arc::clone(&self.options), self.kind.has_namespaces);
        let (forks, has_stdin) = (Arc::clone(&self.forks), order.has_stdin);
        Forks::end_when_idle(&self.forks);
        // Directories are looked at and made.
        let prepare = move || spec(&order, &options, has_namespaces);
        Ordered::by(prepare, move |(base, spec)| start(base, &spec, &forks, has_stdin))
    }

    /// Waits until the program that was ordered runs.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub(crate) async fn started(&self, child: &mut Child) -> Result<(), Fault> {
        match note(&mut child.life).await.map_err(|error| broken("start", &error))? {
            Some(Note::Started) => {
                child.take_listener().map_err(|error| broken("proxy", &error))?;
                if let Some(base) = child.base.take() {
                    let forks = Arc::clone(&self.forks);
                    // A control group is made; nobody waits for that.
                    tokio::task::spawn_blocking(move || forks.get_ready(base));
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
    pub(crate) async fn kill(mut self) {
        drop(self.network.take());
        self.life.kill().await;
    }
}

impl Life {
    /// Kills the program with all that it started, and waits until they are gone.
    async fn kill(&mut self) {
        // The supervisor's end closes the line; it comes after that of everything else.
        let gone = async {
            self.socket.get_mut().shutdown().await?;
            self.socket.read_to_end(&mut Vec::new()).await
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

    /// Kills the program with all that it started, and waits until they are gone. When the future is dropped, whoever has
    /// it can still do so.
    pub(crate) async fn kill(&mut self) {
        self.life.kill().await;
    }
}

async fn end(life: &mut Life) -> Result<Ended, Fault> {
    match note(life).await.map_err(|error| broken("end", &error))? {
        Some(Note::Ended(mut ended)) => {
            if let Some(cgroup) = life.cgroup.take() {
                cgroup.tell(&mut ended);
                // Nothing is in it any more, and nobody waits for its removal.
                tokio::task::spawn_blocking(move || drop(cgroup));
            }
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
    let mut view = View::of(&order.workspace, &order.reads, options, (has_namespaces, order.has_proxy))?;
    let mut env = std::mem::take(&mut view.env);
    env.retain(|(name, _)| order.env.iter().all(|(other, _)| other != name));
    env.extend(order.env.iter().cloned());
    let within = |paths: &[PathBuf]| paths.iter().map(|path| order.workspace.join(path)).collect();
    let spec = Spec {
        argv: order.argv.clone(),
        attempt: order.attempt.clone(),
        cwd: order.workspace.join(&order.cwd),
        env,
        sealed: within(&order.sealed),
        pinned: within(&order.pinned),
        proxy_port: order.has_proxy.then_some(egress::PORT),
    };
    let View { bounds, given, owner, .. } = view;
    Ok((Base { bounds, given, owner, limits: order.limits, has_namespaces }, spec))
}

fn start(base: Base, spec: &Spec, forks: &Forks, has_stdin: bool) -> io::Result<Child> {
    let (read_in, write_in) = pipe_with(PipeFlags::CLOEXEC)?;
    let (read_out, write_out) = pipe_with(PipeFlags::CLOEXEC)?;
    let (read_err, write_err) = pipe_with(PipeFlags::CLOEXEC)?;
    let proxy = spec.proxy_port.map(|_| UnixStream::pair()).transpose()?;
    let streams = [read_in.as_fd(), write_out.as_fd(), write_err.as_fd()];
    let descriptors: Vec<_> = streams.into_iter().chain(proxy.as_ref().map(|(_, theirs)| theirs.as_fd())).collect();
    let Supervisor { life: ours, cgroup } = forks.order(&base, spec, &descriptors)?;
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
            cgroup,
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

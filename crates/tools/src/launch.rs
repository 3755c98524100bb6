//! Starts programs, all of them in the cage: the only place of this crate that does.
//!
//! A started program is a [`Child`]. Dropping it kills the program with all that
//! it started; so does the end of this process, however it comes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use are_core::error::{Code, Fault};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;

use crate::cage::{Access, Bound, CageOptions, Ended, Limits, Note, SUPERVISOR, Spec, View, own_directory};

/// Bytes of one line from the supervisor.
const NOTE_BYTES_MAX: u64 = 64 << 10;

/// How long to wait on a thread for a killed command to be gone.
const KILL_TIME: std::time::Duration = std::time::Duration::from_secs(2);

/// The socket to the supervisor.
type Life = BufReader<tokio::net::UnixStream>;

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
}

/// Starts programs in a cage that was found to hold.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    pub(crate) options: Arc<CageOptions>,
    pub(crate) has_namespaces: bool,
}

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) stdin: Option<pipe::Sender>,
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
    life: Life,
    supervisor: tokio::process::Child,
}

impl Launcher {
    /// A directory that belongs to one kind of program alone, made if it is new. Blocks.
    pub(crate) fn own_directory(&self, name: &str) -> io::Result<PathBuf> {
        own_directory(&self.options.cache_dir, name)
    }

    /// Starts a program; it runs when this returns.
    ///
    /// # Errors
    /// ARE-0520 when the cage could not be closed around it; ARE-0503 when there is no such program or directory.
    pub(crate) async fn spawn(&self, order: Order) -> Result<Child, Fault> {
        let (options, has_namespaces) = (Arc::clone(&self.options), self.has_namespaces);
        // Directories are looked at and made.
        let made = tokio::task::spawn_blocking(move || {
            let spec = spec(&order, &options, has_namespaces)?;
            start(&spec, &options.supervisor, order.has_stdin)
        });
        let mut child = made.await.map_err(io::Error::other).flatten().map_err(|error| broken("start", &error))?;
        match note(&mut child.life).await.map_err(|error| broken("start", &error))? {
            Some(Note::Started) => Ok(child),
            Some(Note::Failed { step, why, is_command: true }) => Err(no_program(&step, &why)),
            Some(Note::Failed { step, why, is_command: false }) => Err(broken(&step, &why)),
            Some(Note::Ended(_)) | None => Err(broken("start", &"the supervisor ended")),
        }
    }
}

/// What keeps a program alive whose streams somebody else has: dropping it kills the program with all that it
/// started.
#[derive(Debug)]
pub(crate) struct Tether {
    life: Life,
    supervisor: tokio::process::Child,
}

impl Tether {
    /// Waits until the program and all that it started are gone. Dropping the future loses nothing.
    ///
    /// # Errors
    /// ARE-0520 when the supervisor was killed; the program is dead all the same.
    pub(crate) async fn wait(&mut self) -> Result<Ended, Fault> {
        end(&mut self.life).await
    }

    /// Kills the program with all that it started, and waits until they are gone.
    pub(crate) async fn kill(self) {
        let Self { life, mut supervisor } = self;
        drop(life);
        if let Err(error) = supervisor.wait().await {
            tracing::warn!(%error, "a supervisor cannot be waited for");
        }
    }
}

/// The standard streams of a program.
pub(crate) type Streams = (Option<pipe::Sender>, pipe::Receiver, pipe::Receiver);

impl Child {
    /// Its streams, and what keeps it alive, apart.
    pub(crate) fn apart(self) -> (Streams, Tether) {
        let Self { stdin, stdout, stderr, life, supervisor } = self;
        ((stdin, stdout, stderr), Tether { life, supervisor })
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
        let gone = life.into_inner().into_std().and_then(|mut life| {
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

async fn end(life: &mut Life) -> Result<Ended, Fault> {
    match note(life).await.map_err(|error| broken("end", &error))? {
        Some(Note::Ended(ended)) => Ok(ended),
        Some(Note::Failed { step, why, .. }) => Err(broken(&step, &why)),
        Some(Note::Started) | None => Err(broken("end", &"the supervisor ended")),
    }
}

async fn note(life: &mut Life) -> io::Result<Option<Note>> {
    let mut line = Vec::new();
    let mut life = tokio::io::AsyncReadExt::take(life, NOTE_BYTES_MAX);
    if life.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

fn spec(order: &Order, options: &CageOptions, has_namespaces: bool) -> io::Result<Spec> {
    let view = View::of(&order.workspace, options, has_namespaces)?;
    let mut bounds = view.bounds;
    bounds.extend(order.reads.iter().map(|path| Bound { path: path.clone(), access: Access::Read }));
    let mut env = view.env;
    env.retain(|(name, _)| order.env.iter().all(|(other, _)| other != name));
    env.extend(order.env.iter().cloned());
    let within = |paths: &[PathBuf]| paths.iter().map(|path| order.workspace.join(path)).collect();
    Ok(Spec {
        argv: order.argv.clone(),
        attempt: order.attempt.clone(),
        cwd: order.workspace.join(&order.cwd),
        env,
        bounds,
        sealed: within(&order.sealed),
        pinned: within(&order.pinned),
        owner: view.owner,
        limits: order.limits,
        has_namespaces,
    })
}

fn start(spec: &Spec, supervisor: &Path, has_stdin: bool) -> io::Result<Child> {
    let (ours, theirs) = UnixStream::pair()?;
    let (read_in, write_in) = pipe_with(PipeFlags::CLOEXEC)?;
    let (read_out, write_out) = pipe_with(PipeFlags::CLOEXEC)?;
    let (read_err, write_err) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut command = tokio::process::Command::new(supervisor);
    command
        .arg0(SUPERVISOR)
        // A program whose `main` does not begin with the supervisor stumbles over this rather than doing its usual work.
        .arg("--supervise")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let supervisor = command.spawn()?;
    spec.send(&ours, [read_in.as_fd(), write_out.as_fd(), write_err.as_fd()])?;
    ours.set_nonblocking(true)?;
    let receiver = |fd: OwnedFd| pipe::Receiver::from_owned_fd(fd);
    Ok(Child {
        stdin: if has_stdin { Some(pipe::Sender::from_owned_fd(write_in)?) } else { None },
        stdout: receiver(read_out)?,
        stderr: receiver(read_err)?,
        life: BufReader::new(tokio::net::UnixStream::from_std(ours)?),
        supervisor,
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

//! Starts a local server in the cage.
//!
//! Each server has a directory of its own, in which it may write and which no
//! other sees. Of the machine it sees what commands see, and what was consented
//! to besides, read only. It has the network that was consented to, or none.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use are_core::error::{Code, Fault};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::{Duration, timeout};

use super::lines::Lines;
use super::network::Network;
use super::spec::{Local, invalid};
use super::wire::Blame;
use crate::cage::Limits;
use crate::launch::{Launcher, Order, Tether};
use crate::text::plain;

/// Bytes of the end of a server's standard error that are kept for messages.
const TAIL_BYTES: usize = 2 << 10;
/// How long to wait for the rest of it once the program has ended.
const READ_TIME: Duration = Duration::from_millis(500);
const PIECE: usize = 4 << 10;

/// The end of what a program printed to its standard error.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    /// Whether all of it was read.
    is_whole: watch::Receiver<bool>,
}

impl Tail {
    /// Reads to the end, which comes with that of the program.
    fn follow(mut from: pipe::Receiver) -> Self {
        let kept: Arc<Mutex<VecDeque<u8>>> = Arc::default();
        let (tell, is_whole) = watch::channel(false);
        let keeps = Arc::clone(&kept);
        tokio::spawn(async move {
            let mut piece = vec![0; PIECE];
            while let Ok(n @ 1..) = from.read(&mut piece).await {
                let mut kept = keeps.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&piece[..n]);
                let over = kept.len().saturating_sub(TAIL_BYTES);
                kept.drain(..over);
            }
            tell.send_replace(true);
        });
        Self { kept, is_whole }
    }

    /// The last lines of a program that has ended, as one.
    pub(super) async fn text(&self) -> String {
        let mut is_whole = self.is_whole.clone();
        // silent-ok: what was not read by then is not told.
        timeout(READ_TIME, is_whole.wait_for(|is_whole| *is_whole)).await.ok();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        plain(&String::from_utf8_lossy(&bytes)).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A program that runs.
pub(super) struct Started {
    pub(super) lines: Lines,
    pub(super) tether: Tether,
    pub(super) tail: Tail,
}

/// Paths that no server is shown: whoever may read them may read everything that this user keeps.
#[derive(Debug, Clone, Default)]
pub(super) struct Hidden(pub(super) Vec<PathBuf>);

impl Hidden {
    /// Refuses a path that is one of them or leads to one.
    fn check(&self, path: &Path) -> Result<(), Fault> {
        if self.0.iter().any(|hidden| hidden.starts_with(path)) {
            let shown = plain(&path.display().to_string());
            return Err(invalid(
                format!("`{shown}` holds the home directory or what the runtime keeps, so no server reads all of it"),
                "name the directory that it needs",
            ));
        }
        Ok(())
    }
}

pub(super) async fn start(
    name: &str,
    local: &Local,
    workspace: Option<&Path>,
    (launcher, hidden, network): (&Launcher, &Hidden, Option<Network>),
    blame: &Arc<Blame>,
) -> Result<Started, Fault> {
    if network.is_some() && !launcher.has_namespaces() {
        let why = "this server was added with a network, and namespaces, which keep it to that, are refused here";
        return Err(Fault::new(Code::SERVER_UNUSABLE, why, "`are doctor` shows what is missing"));
    }
    let order = Order { has_proxy: network.is_some(), ..order(name, local, workspace, launcher, hidden).await? };
    let mut child = launcher.spawn(order).await.map_err(unstarted)?;
    let listener = child.listener.take();
    let ((stdin, stdout, stderr), mut tether) = child.apart();
    if let Some((network, listener)) = network.zip(listener) {
        tether.keep(network.serve(name, listener));
    }
    Ok(Started { lines: Lines::new(stdin, stdout, Arc::clone(blame)), tether, tail: Tail::follow(stderr) })
}

/// What is started: the one place where what was consented to becomes what the cage lets through, but for the network.
async fn order(
    name: &str,
    local: &Local,
    workspace: Option<&Path>,
    launcher: &Launcher,
    hidden: &Hidden,
) -> Result<Order, Fault> {
    let mut reads: Vec<PathBuf> = local.reads.iter().chain(&local.cwd).cloned().collect();
    for path in &reads {
        hidden.check(path)?;
    }
    reads.extend(workspace.map(Path::to_owned));
    let (launcher, name) = (launcher.clone(), name.to_owned());
    let made = tokio::task::spawn_blocking(move || -> std::io::Result<(PathBuf, Vec<PathBuf>)> {
        let own = launcher.own_directory(&name)?;
        // A link would lead to a place that was not consented to, or show nothing.
        let whole = |path: &PathBuf| path.canonicalize();
        Ok((own, reads.iter().map(whole).collect::<std::io::Result<Vec<_>>>()?))
    });
    let (own, reads) = made.await.map_err(std::io::Error::other).flatten().map_err(|error| {
        let why = format!("a path that the server is to read cannot be found: {error}");
        Fault::new(Code::SERVER_UNUSABLE, why, "look whether it is still there")
    })?;
    for path in &reads {
        hidden.check(path)?;
    }
    Ok(Order {
        argv: std::iter::once(&local.command).chain(&local.args).cloned().collect(),
        attempt: None,
        workspace: own,
        cwd: local.cwd.clone().unwrap_or_default(),
        reads,
        env: local.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        has_stdin: true,
        sealed: Vec::new(),
        pinned: Vec::new(),
        limits: Limits::default(),
        has_proxy: false,
    })
}

fn unstarted(fault: Fault) -> Fault {
    if fault.code == Code::CAGE_FAILED {
        return fault;
    }
    let help = "name a program that the toolchains have, or let it read the program's directory: `--read DIR`";
    Fault::new(Code::SERVER_UNUSABLE, fault.message, help)
}

//! What a supervisor is told, and what it tells.
//!
//! First its [`Place`](super::init::Place), the control group that was made for
//! it, and all that is the same for the commands of one workspace, which it gets
//! ready; then the command. [`wire`](super::wire) says how.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a bound path may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Access {
    /// Reading and running.
    Read,
    /// Everything.
    Write,
    /// A device file that is read and written.
    Device,
}

/// A path that the command sees, under the name that it has outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) path: PathBuf,
    pub(crate) access: Access,
}

/// What one command, with all that it starts, may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Bytes of memory of all processes together.
    pub(crate) memory_bytes: u64,
    /// Processes and threads together.
    pub(crate) processes: u64,
    /// Bytes of one file that is written.
    pub(crate) file_bytes: u64,
    /// Descriptors of one process.
    pub(crate) descriptors: u64,
    /// Seconds of processor time of one process.
    pub(crate) cpu_s: u64,
    /// Bytes of the temporary directory.
    pub(crate) temporary_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 4 << 30,
            processes: 512,
            file_bytes: 4 << 30,
            descriptors: 4_096,
            cpu_s: 3_600,
            temporary_bytes: 1 << 30,
        }
    }
}

/// What a supervisor gets ready before it knows its command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Base {
    /// What the command sees: system and toolchains, then its workspace, its cache and what else it was given.
    pub(crate) bounds: Vec<Bound>,
    /// Device and number of the latter. Another directory of the same name makes another base.
    pub(crate) given: Vec<(u64, u64)>,
    /// The owner of the workspace, as whom a command of the superuser works.
    pub(crate) owner: (u32, u32),
    pub(crate) limits: Limits,
    pub(crate) has_namespaces: bool,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) argv: Vec<String>,
    /// Instead of a program: a call of the kernel that must not succeed.
    pub(crate) attempt: Option<String>,
    pub(crate) cwd: PathBuf,
    pub(crate) env: Vec<(String, String)>,
    /// Paths inside a bound one that stay as they are.
    pub(crate) sealed: Vec<PathBuf>,
    /// Directories inside a bound one that cannot be moved away.
    pub(crate) pinned: Vec<PathBuf>,
    /// Port of its own loopback at which a proxy listens for it.
    pub(crate) proxy_port: Option<u16>,
}

/// The way into a control group, which is handed over with a base; into none where it holds nothing.
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// Files by which a process puts itself in, one for each tree of groups.
    pub(super) doors: Vec<OwnedFd>,
    /// Tells whether memory ran out in it.
    pub(super) memory: Option<OwnedFd>,
}

/// What is handed over with a command.
#[derive(Debug)]
pub(super) struct Handed {
    /// Standard streams of the command.
    pub(super) streams: Vec<OwnedFd>,
    /// Takes the socket that its proxy accepts from.
    pub(super) proxy: Option<UnixStream>,
}

/// Why the supervisor ended a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stopped {
    /// It took more memory than it may.
    Memory,
    /// It made more processes than it may.
    Processes,
}

impl Stopped {
    /// For whoever reads a result.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Memory => "it took more memory than it may",
            Self::Processes => "it made more processes than it may",
        }
    }
}

/// How a command ended; nothing of it is left then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) cpu_ms: u64,
    pub(crate) max_rss_bytes: u64,
    pub(crate) stopped: Option<Stopped>,
    /// Bytes of memory at its highest, the contents of files that were read and written among it; known where the
    /// kernel counts it as a whole.
    #[serde(skip)]
    pub(crate) memory_bytes_max: Option<u64>,
    /// Whether it wanted more processes than it may have, and did without; known where the kernel counts them as a whole.
    #[serde(skip)]
    pub(crate) is_held_back: bool,
}

/// A line from the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    /// The command runs.
    Started,
    /// It was not started.
    Failed {
        /// The layer or step.
        step: String,
        /// What the kernel said.
        why: String,
        /// Whether it is the command line's fault, not the cage's.
        is_command: bool,
    },
    /// What it and all that it started have used so far; told while that grows.
    Used {
        /// Processor time in milliseconds.
        cpu_ms: u64,
    },
    /// It ended.
    Ended(Ended),
}

//! The cage of native commands.
//!
//! A command is not started by the server itself but by a supervisor: this
//! program again, under another name, with one thread and no state, a copy of a
//! process that stands ready to be copied. It is told what to start over a socket, and that socket is also its life line: when the
//! server closes it, by intent or because it died, the supervisor kills every
//! process of the command. Layers, each of which holds without the others:
//!
//! - namespaces (user, mount, process, network, host name, IPC, cgroup): a root
//!   directory made of what the command may see and nothing else, an own `/proc`,
//!   a network that is only its own loopback;
//! - Landlock: the same paths once more, no signals to and no abstract sockets of
//!   what is outside;
//! - a control group, where one can be made: memory and processes of all of it together;
//! - seccomp: a list of the system calls that toolchains need, the rest does not exist;
//! - no new privileges, no capabilities, resource limits, a watch over memory
//!   and processes, an environment of its own, no inherited descriptors.
//!
//! Landlock, seccomp and no new privileges are applied whole or the command is
//! not started. Namespaces are refused in many containers; what is weaker then,
//! the [`Report`] says.

mod attempt;
pub mod bench;
mod cgroup;
mod confine;
mod filter;
mod forks;
mod init;
mod privileges;
mod probe;
mod report;
mod root;
mod spec;
mod supervisor;
mod sys;
mod syscalls;
mod tree;
mod view;
mod wire;

use std::path::PathBuf;

use crate::egress::Destinations;

pub(crate) use self::cgroup::{Cgroup, Cgroups};
pub use self::probe::{Finding, try_escapes};
pub use self::report::{LAYERS, Layer, Report};
pub(crate) use self::spec::{Base, Ended, Limits, Note, Spec};
pub use self::supervisor::supervise;
pub(crate) use self::view::{View, own_directory};
pub(crate) use self::wire::{hand_in, take_out};

/// The name under which the program is its own supervisor.
pub(crate) const SUPERVISOR: &str = "are-cage";

/// How commands are started and what they may see.
#[derive(Debug, Clone)]
pub struct CageOptions {
    /// The program whose `main` begins with [`supervise`].
    pub supervisor: PathBuf,
    /// Home of the operator: toolchains are looked for below it; nothing else of it is seen.
    pub home: Option<PathBuf>,
    /// Directories that the operator's programs come from; those of known toolchains are taken over.
    pub path: Vec<PathBuf>,
    /// Where each workspace has a directory for its commands' caches, which is also their home.
    pub cache_dir: PathBuf,
    /// A file that remembers what was probed; `None` probes each time.
    pub remembered: Option<PathBuf>,
    /// Layers, of [`LAYERS`], without which commands are not served.
    pub required: Vec<String>,
    /// What commands may reach of the network.
    pub egress: Destinations,
    /// Whether namespaces are used where the kernel allows them. Only tests say no.
    pub has_namespaces: bool,
    /// The same for control groups.
    pub has_cgroups: bool,
}

/// In which of the cages that a machine allows a command is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) has_namespaces: bool,
    pub(crate) has_cgroups: bool,
}

impl CageOptions {
    /// The usual ones.
    #[must_use]
    pub fn new(cache_dir: PathBuf) -> Self {
        Self {
            supervisor: PathBuf::from("/proc/self/exe"),
            home: None,
            path: Vec::new(),
            cache_dir,
            remembered: None,
            required: Vec::new(),
            egress: Destinations::default(),
            has_namespaces: true,
            has_cgroups: true,
        }
    }
}

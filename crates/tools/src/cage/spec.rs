//! What the supervisor is told, and what it tells.
//!
//! One message each way: a length and JSON to the supervisor, with the three
//! standard streams of the command beside it; lines of JSON back.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};

/// Bytes of one message: a command line and its environment; the kernel takes no more than some of these either.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Standard streams.
const STREAMS: usize = 3;

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

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) argv: Vec<String>,
    /// Instead of a program: a call of the kernel that must not succeed.
    pub(crate) attempt: Option<String>,
    pub(crate) cwd: PathBuf,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) bounds: Vec<Bound>,
    /// Paths inside a bound one that stay as they are.
    pub(crate) sealed: Vec<PathBuf>,
    /// Directories inside a bound one that cannot be moved away.
    pub(crate) pinned: Vec<PathBuf>,
    /// The owner of the workspace, as whom a command of the superuser works.
    pub(crate) owner: (u32, u32),
    pub(crate) limits: Limits,
    pub(crate) has_namespaces: bool,
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

/// How a command ended; nothing of it is left then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) cpu_ms: u64,
    pub(crate) max_rss_bytes: u64,
    pub(crate) stopped: Option<Stopped>,
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
    /// It ended.
    Ended(Ended),
}

impl Spec {
    /// Sends it, with the command's standard streams.
    pub(crate) fn send(&self, mut socket: &UnixStream, streams: [BorrowedFd<'_>; STREAMS]) -> io::Result<()> {
        let body = serde_json::to_vec(self)?;
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::ArgumentListTooLong));
        }
        let length = (body.len() as u64).to_be_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !beside.push(SendAncillaryMessage::ScmRights(&streams)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&length)], &mut beside, SendFlags::NOSIGNAL)?;
        if sent != length.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        socket.write_all(&body)
    }

    /// Receives one.
    pub(super) fn receive(mut socket: &UnixStream) -> io::Result<(Self, Vec<OwnedFd>)> {
        let mut length = [0; size_of::<u64>()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STREAMS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut length)];
        let got = rustix::net::recvmsg(socket, &mut slices, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
        let mut streams = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                streams.extend(descriptors);
            }
        }
        let bytes = usize::try_from(u64::from_be_bytes(length)).unwrap_or(usize::MAX);
        if got.bytes != size_of::<u64>() || streams.len() != STREAMS || bytes > MESSAGE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; bytes];
        socket.read_exact(&mut body)?;
        Ok((serde_json::from_slice(&body)?, streams))
    }
}

impl Note {
    /// Writes it as a line.
    pub(super) fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        to.write_all(&line)
    }
}

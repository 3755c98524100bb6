//! How messages and descriptors go between server and supervisor.
//!
//! A message to the supervisor is a length and JSON, with descriptors beside it:
//! with a base the way into its control group, if it has one; with a command its three standard streams and, where it has a
//! way to the network, the socket over which the one that its proxy accepts from
//! comes back. A note back is a line of JSON.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::spec::{Base, Handed, Joining, Note, Spec};

/// Bytes of one message: a command line and its environment; the kernel takes no more than some of these either.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Standard streams.
const STREAMS: usize = 3;
/// Descriptors beside one message: those, and the way back of the proxy's socket; or the ways into at most three trees
/// of control groups, and the file that tells of memory.
const DESCRIPTORS_MAX: usize = STREAMS + 1;

impl Base {
    /// Sends it, with the way into a control group, which ends with the file that tells of memory; or with nothing.
    pub(crate) fn send(&self, socket: &UnixStream, joining: &[BorrowedFd<'_>]) -> io::Result<()> {
        send(socket, self, joining)
    }

    /// Receives one; waits for it.
    pub(super) fn receive(socket: &UnixStream) -> io::Result<(Self, Joining)> {
        let (base, mut doors) = receive(socket)?;
        let memory = doors.pop();
        Ok((base, Joining { doors, memory }))
    }
}

impl Spec {
    /// Sends it, with the command's standard streams and, where it has a proxy, the way back of that one's socket.
    pub(crate) fn send(&self, socket: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if descriptors.len() != self.descriptors() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        send(socket, self, descriptors)
    }

    /// Receives one; waits for it.
    pub(super) fn receive(socket: &UnixStream) -> io::Result<(Self, Handed)> {
        let (spec, mut streams): (Self, _) = receive(socket)?;
        if streams.len() != spec.descriptors() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let proxy = streams.split_off(STREAMS).pop().map(UnixStream::from);
        Ok((spec, Handed { streams, proxy }))
    }

    fn descriptors(&self) -> usize {
        STREAMS + usize::from(self.proxy_port.is_some())
    }
}

impl Note {
    /// Writes it as a line.
    pub(super) fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        to.write_all(&line)
    }

    /// The same where there is room for it now; a later one says more.
    pub(super) fn write_if_room(&self, to: &UnixStream) {
        let Ok(mut line) = serde_json::to_vec(self) else { return };
        line.push(b'\n');
        // A line this short is taken whole or not at all: it is one buffer of the kernel's.
        // silent-ok: a later one says more, and at the end all is said.
        rustix::net::send(to, &line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).ok();
    }
}

/// Hands a supervisor's life line to the process that it is forked from.
pub(crate) fn hand_in(control: &UnixStream, life: BorrowedFd<'_>) -> io::Result<()> {
    send_with(control, &[0], &[life])
}

/// Takes a life line; waits for one, and fails at the end.
pub(super) fn take_in(control: &UnixStream) -> io::Result<UnixStream> {
    take(control, RecvFlags::empty()).map(UnixStream::from)
}

/// Hands a socket out of a command's namespaces.
pub(super) fn hand_out(through: &UnixStream, socket: BorrowedFd<'_>) -> io::Result<()> {
    send_with(through, &[0], &[socket])
}

/// Takes the socket that was handed out, without waiting for it.
pub(crate) fn take_out(through: &UnixStream) -> io::Result<TcpListener> {
    take(through, RecvFlags::DONTWAIT).map(TcpListener::from)
}

fn take(through: &UnixStream, flags: RecvFlags) -> io::Result<OwnedFd> {
    let mut descriptors = receive_with(through, &mut [0], flags)?;
    descriptors.pop().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn send(mut socket: &UnixStream, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    if body.len() > MESSAGE_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::ArgumentListTooLong));
    }
    send_with(socket, &(body.len() as u64).to_be_bytes(), descriptors)?;
    socket.write_all(&body)
}

fn receive<T: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut length = [0; size_of::<u64>()];
    let descriptors = receive_with(socket, &mut length, RecvFlags::empty())?;
    let bytes = usize::try_from(u64::from_be_bytes(length)).unwrap_or(usize::MAX);
    if bytes > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; bytes];
    socket.read_exact(&mut body)?;
    Ok((serde_json::from_slice(&body)?, descriptors))
}

/// Sends few bytes with descriptors beside them.
fn send_with(socket: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives exactly these bytes, and the descriptors beside them.
fn receive_with(socket: &UnixStream, bytes: &mut [u8], flags: RecvFlags) -> io::Result<Vec<OwnedFd>> {
    let wanted = bytes.len();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(bytes)];
    let got = rustix::net::recvmsg(socket, &mut slices, &mut beside, flags | RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(handed) = message {
            descriptors.extend(handed);
        }
    }
    if got.bytes == wanted { Ok(descriptors) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

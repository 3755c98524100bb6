//! A component's `stdout` and `stderr` as live output, in whole characters.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use are_core::BoxFuture;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::calls::Calls;

/// Bytes of a character, at most.
const CHAR_BYTES_MAX: usize = 4;

/// One of the two; every handle of the guest on it is the same.
#[derive(Clone)]
pub(super) struct Stream(Arc<Inner>);

struct Inner {
    calls: Arc<Calls>,
    name: &'static str,
    /// The start of a character whose end has not come yet.
    cut: Mutex<Vec<u8>>,
}

impl Stream {
    pub(super) fn new(calls: &Arc<Calls>, name: &'static str) -> Self {
        Self(Arc::new(Inner { calls: Arc::clone(calls), name, cut: Mutex::new(Vec::new()) }))
    }

    /// What is left of a character that never ended.
    pub(super) fn end(&self) {
        let cut = std::mem::take(&mut *self.0.cut.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.calls.put(self.0.name, &String::from_utf8_lossy(&cut));
    }

    fn take(&self, bytes: &[u8]) {
        let mut cut = self.0.cut.lock().unwrap_or_else(PoisonError::into_inner);
        cut.extend_from_slice(bytes);
        let end = cut.len() - unfinished(&cut);
        let rest = cut.split_off(end);
        let whole = std::mem::replace(&mut *cut, rest);
        self.0.calls.put(self.0.name, &String::from_utf8_lossy(&whole));
    }
}

/// Bytes at the end that may be the start of a character.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(CHAR_BYTES_MAX - 1)..];
    (0..tail.len())
        .map(|at| &tail[at..])
        .find(|end| {
            std::str::from_utf8(end).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .map_or(0, <[u8]>::len)
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.calls.output_room().ok_or(StreamError::Closed)
    }
}

impl Pollable for Stream {
    fn ready<'a, 'b>(&'a mut self) -> BoxFuture<'b, ()>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.0.calls.hand_on())
    }
}

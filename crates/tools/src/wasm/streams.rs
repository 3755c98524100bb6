//! A guest's streams from and into an open file.

use std::sync::Arc;

use are_core::BoxFuture;
use bytes::Bytes;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::files::{File, READ_BYTES_MAX};

/// A place in a file that moves on with each read.
pub(super) struct Reading {
    file: Arc<File>,
    offset: u64,
}

/// A place in a file that moves on with each write; without one, its end.
pub(super) struct Writing {
    file: Arc<File>,
    offset: Option<u64>,
}

impl Reading {
    pub(super) const fn new(file: Arc<File>, offset: u64) -> Self {
        Self { file, offset }
    }
}

impl Writing {
    pub(super) const fn new(file: Arc<File>, offset: Option<u64>) -> Self {
        Self { file, offset }
    }
}

impl InputStream for Reading {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let (bytes, is_end) = self.file.get(self.offset, size);
        if bytes.is_empty() && is_end {
            return Err(StreamError::Closed);
        }
        self.offset += bytes.len() as u64;
        Ok(bytes.into())
    }
}

impl OutputStream for Writing {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.file.put(&bytes, self.offset).map_err(|code| StreamError::LastOperationFailed(code.into()))?;
        self.offset = self.offset.map(|offset| offset + bytes.len() as u64);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(READ_BYTES_MAX)
    }
}

impl Pollable for Reading {
    fn ready<'a, 'b>(&'a mut self) -> BoxFuture<'b, ()>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

impl Pollable for Writing {
    fn ready<'a, 'b>(&'a mut self) -> BoxFuture<'b, ()>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

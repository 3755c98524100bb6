//! Messages as lines over the streams of a program.
//!
//! Programs also print what is no message; such lines are left out. A message
//! that is too long, and an answer that cannot be read, are not waited for: the
//! first ends the connection, the second becomes an error under its number.

use std::io;
use std::sync::Arc;

use rmcp::model::{ErrorData, RequestId, ServerJsonRpcMessage};
use rmcp::service::{RoleClient, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::Mutex;

use super::wire::{Blame, MESSAGE_BYTES_MAX};

/// Bytes of lines that are no messages, in a row; a program that prints more does not speak the protocol.
const CHATTER_BYTES_MAX: usize = 4 << 20;

/// The streams of a program.
pub(super) struct Lines {
    from: BufReader<pipe::Receiver>,
    /// The line so far. Kept here, because waiting for its rest may be given up and begun again.
    line: Vec<u8>,
    chatter: usize,
    to: Arc<Mutex<Option<pipe::Sender>>>,
    blame: Arc<Blame>,
}

impl Lines {
    pub(super) fn new(to: Option<pipe::Sender>, from: pipe::Receiver, blame: Arc<Blame>) -> Self {
        Self { from: BufReader::new(from), line: Vec::new(), chatter: 0, to: Arc::new(Mutex::new(to)), blame }
    }

    /// Reads to the end of a line; false at the end of all, or when the line is too long. Cancel-safe: between
    /// looking at what has come and taking it nothing is waited for.
    async fn read_line(&mut self) -> bool {
        loop {
            let here = match self.from.fill_buf().await {
                Ok(here) if !here.is_empty() => here,
                Ok(_) => return false,
                Err(error) => {
                    tracing::debug!(%error, "a server's output cannot be read");
                    return false;
                }
            };
            let end = here.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(here.len(), |end| end + 1);
            if self.line.len() + taken > MESSAGE_BYTES_MAX {
                self.blame.put(format!("it sent a message that is larger than {MESSAGE_BYTES_MAX} bytes"));
                return false;
            }
            self.line.extend_from_slice(&here[..taken]);
            self.from.consume(taken);
            if end.is_some() {
                return true;
            }
        }
    }
}

/// What a line that cannot be read as a message may still say.
#[derive(Deserialize)]
struct Fragment {
    id: Option<RequestId>,
    method: Option<serde::de::IgnoredAny>,
}

/// A line as a message; `None` when it is none.
fn message(line: &[u8]) -> Option<ServerJsonRpcMessage> {
    let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    if let Ok(message) = serde_json::from_slice(text) {
        return Some(message);
    }
    let fragment: Fragment = serde_json::from_slice(text).ok()?;
    // A request that is not understood is the server's affair; an answer is waited for.
    let id = fragment.id.filter(|_| fragment.method.is_none())?;
    let error = ErrorData::internal_error("the answer cannot be read", None);
    Some(ServerJsonRpcMessage::error(error, Some(id)))
}

impl Transport<RoleClient> for Lines {
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let to = Arc::clone(&self.to);
        async move {
            let mut line = serde_json::to_vec(&item)?;
            line.push(b'\n');
            let mut to = to.lock().await;
            let pipe = to.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            pipe.write_all(&line).await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        while self.read_line().await {
            let line = self.line.trim_ascii();
            let read = if line.is_empty() { None } else { message(line) };
            self.chatter = if read.is_some() { 0 } else { self.chatter + self.line.len() };
            self.line.clear();
            if self.line.capacity() > 64 << 10 {
                self.line = Vec::new();
            }
            if read.is_some() {
                return read;
            }
            if self.chatter > CHATTER_BYTES_MAX {
                self.blame.put("it prints what is no message to its standard output");
                return None;
            }
        }
        None
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.to.lock().await.take();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::JsonRpcMessage;

    use super::*;

    #[test]
    fn an_answer_that_cannot_be_read_is_an_error_under_its_number_and_chatter_is_nothing() {
        let is_error = |line: &[u8]| match message(line) {
            Some(JsonRpcMessage::Error(error)) => error.id,
            _ => None,
        };
        assert_eq!(is_error(br#"{"jsonrpc": "2.0", "id": 7}"#), Some(RequestId::Number(7)));
        assert_eq!(is_error(br#"{"jsonrpc": "2.0", "id": "a", "error": 5}"#), Some(RequestId::String("a".into())));
        for line in
            [&b"Server running on stdio"[..], b"{", b"[1, 2]", b"null", br#"{"id": 7, "method": 5}"#, b"\xff\xfe"]
        {
            assert!(message(line).is_none(), "{}", String::from_utf8_lossy(line));
        }
        let ping = message(b"\xef\xbb\xbf{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"ping\"}");
        assert!(matches!(ping, Some(JsonRpcMessage::Request(_))), "{ping:?}");
    }
}

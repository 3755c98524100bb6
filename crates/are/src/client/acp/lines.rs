//! The protocol's messages as lines of two byte streams, within limits.
//!
//! The SDK's own transports take lines of any length and queue without end. Here a line has a limit, and so have the
//! requests that wait for their answer and the updates that the editor has not read yet: whoever reads slowly is told
//! slowly. A line that is no message is answered and passed over; too many of them in a row end the connection.

use std::io;
use std::sync::Arc;

use agent_client_protocol::{Error, RawJsonRpcId, RawJsonRpcMessage, TransportFrame};
use are_core::error::{Code, Fault};
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::Semaphore;

use super::data;

/// Bytes of one message: several times the server's largest prompt, so that it is the server who refuses that by name.
const LINE_BYTES_MAX: usize = 8 << 20;
/// Messages in a row that are none.
const ODD_MAX: usize = 16;
/// Updates that the editor has not read yet.
const UPDATES_MAX: usize = 64;
/// Requests of the editor that are not answered yet: a prompt for each session, and as many of all other kinds.
const REQUESTS_MAX: usize = 256;
/// Messages written at once.
const CHUNK: usize = 32;
/// The method of an update.
const UPDATE: &str = "session/update";

/// What may be under way at the same time.
#[derive(Clone)]
pub(super) struct Room {
    updates: Arc<Semaphore>,
    requests: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self { updates: Arc::new(Semaphore::new(UPDATES_MAX)), requests: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }

    /// Waits until there is room for one more update.
    pub(super) async fn update(&self) {
        take(&self.updates).await;
    }

    /// Makes room for what comes after a message that was written.
    fn written(&self, frame: &TransportFrame) {
        match frame {
            TransportFrame::Single(RawJsonRpcMessage::Notification(told)) if &*told.method == UPDATE => {
                self.updates.add_permits(1);
            }
            TransportFrame::Single(RawJsonRpcMessage::Response(answer)) if *answer.id() != RawJsonRpcId::Null => {
                self.requests.add_permits(1);
            }
            _ => {}
        }
    }
}

async fn take(room: &Semaphore) {
    // It is never closed.
    if let Ok(permit) = room.acquire().await {
        permit.forget();
    }
}

/// Hands on what comes until the input ends, or nobody takes it any more.
///
/// # Errors
/// ARE-0206 after [`ODD_MAX`] messages in a row that are none, ARE-0105 when the input breaks.
pub(super) async fn read(
    input: impl AsyncRead + Unpin,
    room: &Room,
    hand_on: impl Fn(TransportFrame) -> bool,
) -> Result<(), Fault> {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    let mut odd = 0;
    while let Some(is_whole) = next_line(&mut input, &mut line).await.map_err(super::broken)? {
        let frame = if is_whole { understood(&line) } else { Some(too_large()) };
        // Blank lines are no messages and do no harm.
        let Some(frame) = frame else { continue };
        match &frame {
            TransportFrame::Single(RawJsonRpcMessage::Request(request)) if request.id != RawJsonRpcId::Null => {
                odd = 0;
                take(&room.requests).await;
            }
            TransportFrame::Single(RawJsonRpcMessage::Notification(_) | RawJsonRpcMessage::Response(_)) => odd = 0,
            _ => odd += 1,
        }
        if !hand_on(frame) {
            break;
        }
        if odd == ODD_MAX {
            let what = format!("{ODD_MAX} messages in a row were not of the Agent Client Protocol");
            return Err(Fault::new(Code::REQUEST_INVALID, what, "start `are acp` from an editor that speaks it"));
        }
    }
    Ok(())
}

/// Writes what comes until there is no more.
///
/// # Errors
/// When whoever read it is gone.
pub(super) async fn write(
    frames: impl Stream<Item = TransportFrame>,
    mut output: impl AsyncWrite + Unpin,
    room: &Room,
) -> io::Result<()> {
    let mut chunks = std::pin::pin!(frames.ready_chunks(CHUNK));
    while let Some(chunk) = chunks.next().await {
        let mut text = String::new();
        for frame in &chunk {
            match frame.to_json() {
                Ok(line) => text.extend([line.as_str(), "\n"]),
                Err(error) => tracing::error!(%error, "a message cannot be written"),
            }
        }
        output.write_all(text.as_bytes()).await?;
        output.flush().await?;
        chunk.iter().for_each(|frame| room.written(frame));
    }
    Ok(())
}

/// Reads a line into `line`: `None` at the end, false for one that is too long, of which nothing is kept.
async fn next_line(input: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let mut length = 0;
    loop {
        let piece = input.fill_buf().await?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(piece.len(), |at| at + 1);
        if taken == 0 {
            return Ok((length > 0).then_some(length <= LINE_BYTES_MAX));
        }
        length += taken;
        if length <= LINE_BYTES_MAX {
            line.extend_from_slice(&piece[..taken]);
        } else {
            *line = Vec::new();
        }
        input.consume(taken);
        if end.is_some() {
            return Ok(Some(length <= LINE_BYTES_MAX));
        }
    }
}

/// What a line says; nothing when it is blank.
fn understood(line: &[u8]) -> Option<TransportFrame> {
    let Ok(text) = std::str::from_utf8(line) else {
        let fault = Fault::new(Code::REQUEST_INVALID, "a message is not UTF-8", "send JSON in UTF-8");
        return Some(TransportFrame::Malformed { raw: String::new(), error: Error::parse_error().data(data(&fault)) });
    };
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    match TransportFrame::parse_json(text) {
        // The SDK would repeat the whole line.
        TransportFrame::Malformed { raw, error } => {
            let fault = Fault::new(Code::REQUEST_INVALID, "this is no message of JSON-RPC 2.0", "send one a line");
            Some(TransportFrame::Malformed { raw, error: error.data(data(&fault)) })
        }
        frame => Some(frame),
    }
}

fn too_large() -> TransportFrame {
    let what = format!("a message has more than {LINE_BYTES_MAX} bytes");
    let fault = Fault::new(Code::REQUEST_TOO_LARGE, what, "attach less, or name the file and let a tool read it");
    let mut error = Error::invalid_request().data(data(&fault));
    error.message = format!("{}: {}; {}", fault.code, fault.message, fault.help);
    TransportFrame::Malformed { raw: String::new(), error }
}

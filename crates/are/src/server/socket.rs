//! One WebSocket, whatever is spoken on it: reading and writing at once in one
//! task, in bounded memory, and closing as RFC 6455 says.
//!
//! Promises. Outgoing text is taken from a [`Feed`] only while the socket takes
//! it, so a slow reader costs one batch of entries (which the journal holds
//! anyway), [`WRITE_BUFFER_BYTES`] and one message. While a write waits, up to
//! [`ANSWERS_MAX`] requests are still heard, so that `cancel` works for a slow
//! reader; then reading waits too. A write that makes no progress fails
//! ([`stall`](super::stall)). Whoever breaks the protocol hears the code of it:
//! 1002 framing, 1003 binary, 1007 text that is not UTF-8, 1009 too large, told
//! from the frame's header before its bytes are read.

use std::task::{Context, Poll};
use std::time::Duration;

use are_core::limits::PROMPT_BYTES_MAX;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Utf8Bytes};

/// Bytes of one message to the server: the largest prompt and what JSON adds to it.
pub(super) const MESSAGE_BYTES_MAX: usize = PROMPT_BYTES_MAX + (256 << 10);
/// Bytes read at a time. PERF: the library's default of 128 KiB is what an idle socket would keep.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// Bytes gathered before they are written: some 150 tokens a system call.
const WRITE_BUFFER_BYTES: usize = 4 << 10;
/// Bytes that one batch of answers and one event may reach: a stored tool result, escaped, fits.
const WRITE_BUFFER_BYTES_MAX: usize = 16 << 20;
/// Requests and pings that are heard while a write waits.
const ANSWERS_MAX: u32 = 32;
/// After so much silence the client is asked whether it lives; after twice as much it is gone.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// How long a closing handshake may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes that are still read and dropped after a close, so that the close frame is not lost to a reset.
const DRAIN_BYTES_MAX: u64 = 4 << 20;

/// Where outgoing text comes from, one message at a time.
pub(super) trait Feed {
    /// The next message; `None` when there is nothing now.
    fn next(&mut self) -> Option<String>;
}

/// What happened on the socket.
#[derive(Debug)]
pub(super) enum Heard {
    /// A text message.
    Text(Utf8Bytes),
    /// All that was fed is written.
    Sent,
    /// The client closed, or is gone.
    Gone,
    /// The client broke the protocol.
    Broken(u16, &'static str),
}

/// A socket that is open.
pub(super) struct Socket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    /// True while something may be unwritten.
    is_dirty: bool,
    /// True once a message could not be queued.
    is_refused: bool,
    /// Requests heard since the last time all was written.
    answers: u32,
    heard_at: Instant,
    /// True when the client was asked whether it lives.
    is_asked: bool,
}

impl Socket {
    /// Takes over an upgraded connection.
    pub(super) async fn new(upgraded: Upgraded) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        Self { stream, is_dirty: false, is_refused: false, answers: 0, heard_at: Instant::now(), is_asked: false }
    }

    /// True while written text has not left.
    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Waits for the client and writes what `feed` holds meanwhile.
    ///
    /// Cancel-safe: whatever was taken from `feed` is in the socket's buffer.
    pub(super) async fn hear(&mut self, feed: &mut impl Feed) -> Heard {
        std::future::poll_fn(|cx| self.poll(cx, feed)).await
    }

    /// Queues a direct answer; it is written by the next [`hear`](Self::hear).
    pub(super) fn answer(&mut self, text: String) {
        self.answers += 1;
        self.queue(Message::Text(text.into()));
    }

    /// When [`beat`](Self::beat) is due.
    pub(super) fn beat_at(&self) -> Instant {
        self.heard_at + if self.is_asked { HEARTBEAT * 2 } else { HEARTBEAT }
    }

    /// Asks a silent client whether it lives; false when it was asked before and did not answer.
    pub(super) fn beat(&mut self) -> bool {
        let is_first = !self.is_asked;
        self.is_asked = true;
        if is_first {
            self.queue(Message::Ping(Bytes::new()));
        }
        is_first
    }

    fn queue(&mut self, message: Message) {
        self.is_dirty = true;
        if let Err(error) = self.stream.start_send_unpin(message) {
            // A message that is left out would be a gap, so the socket ends; the client attaches again.
            tracing::debug!(%error, "a message was not queued");
            self.is_refused = true;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, feed: &mut impl Feed) -> Poll<Heard> {
        if self.is_refused {
            return Poll::Ready(Heard::Broken(1011, "a message could not be sent"));
        }
        if let Poll::Ready(heard) = self.poll_read(cx) {
            return Poll::Ready(heard);
        }
        loop {
            match self.stream.poll_ready_unpin(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(gone(&error)),
                Poll::Ready(Ok(())) => {}
            }
            let Some(text) = feed.next() else { break };
            self.queue(Message::Text(text.into()));
        }
        if !self.is_dirty {
            return Poll::Pending;
        }
        match self.stream.poll_flush_unpin(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(gone(&error)),
            Poll::Ready(Ok(())) => {
                self.is_dirty = false;
                self.answers = 0;
                Poll::Ready(Heard::Sent)
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        while self.answers < ANSWERS_MAX {
            let message = match self.stream.poll_next_unpin(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return Poll::Ready(Heard::Gone),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(broken(&error)),
                Poll::Ready(Some(Ok(message))) => message,
            };
            self.heard_at = Instant::now();
            self.is_asked = false;
            match message {
                Message::Text(text) => return Poll::Ready(Heard::Text(text)),
                Message::Binary(_) => return Poll::Ready(Heard::Broken(1003, "only text messages are understood")),
                Message::Close(_) => return Poll::Ready(Heard::Gone),
                // The library queues the pong; it counts, because a client that never reads must not fill the buffer.
                Message::Ping(_) => {
                    self.answers += 1;
                    self.is_dirty = true;
                }
                Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Poll::Pending
    }

    /// Says why, if there is something to say, and ends the connection in order.
    pub(super) async fn close(mut self, why: Option<(u16, String)>) {
        let goodbye = async {
            match why {
                Some((code, reason)) => {
                    let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
                    self.stream.send(Message::Close(Some(frame))).await?;
                    // The client's own close frame, or whatever it sent before it saw ours.
                    while let Some(Ok(_)) = self.stream.next().await {}
                }
                None => self.stream.flush().await?,
            }
            self.stream.get_mut().shutdown().await?;
            // Bytes left unread would turn our close into a reset that overtakes the close frame.
            let mut rest = self.stream.get_mut().take(DRAIN_BYTES_MAX);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
            Ok::<_, tungstenite::Error>(())
        };
        match timeout(CLOSE_PATIENCE, goodbye).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a socket ended before its closing handshake"),
            Err(_) => tracing::debug!("a client did not finish the closing handshake"),
        }
    }
}

fn gone(error: &Error) -> Heard {
    if let Error::Io(error) = error
        && error.kind() == std::io::ErrorKind::TimedOut
    {
        tracing::info!(code = %are_core::error::Code::SLOW_READER, "a client stopped reading and was dropped");
    }
    Heard::Gone
}

/// The close code for what the client did.
///
/// SOURCE: RFC 6455 §7.4.1.
fn broken(error: &Error) -> Heard {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            Heard::Broken(1009, "ARE-0207 the message is larger than announced in `limits`")
        }
        Error::Capacity(_) => Heard::Broken(1009, "too large"),
        Error::Utf8(_) => Heard::Broken(1007, "text that is not UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Heard::Gone,
        Error::Protocol(_) => Heard::Broken(1002, "protocol error"),
        error => gone(error),
    }
}

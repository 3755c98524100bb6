//! A socket that counts: every frame with its bytes on the wire, its header
//! included, and nothing done that a load generator need not do.
//!
//! Speaks both protocols over either door. It masks with zeros, and answers the
//! pings that come in turns of more than some seconds.

use std::time::{Duration, Instant};

use are_core::error::{Code, Fault};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use url::Position;

use crate::client::Door;

/// Bytes of a response's head; ours have some hundred.
const HEAD_BYTES_MAX: u64 = 16 << 10;
/// Bytes of one frame: more than a stored tool result and its envelope.
const FRAME_BYTES_MAX: u64 = 16 << 20;
/// Frames of one turn; the longest measured has a tenth of it.
const FRAMES_MAX: usize = 1_000_000;
/// How long a turn, an upgrade or a single frame may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sixteen bytes in base64, as RFC 6455 wants them; nothing is cached on the way.
const KEY: &str = "YXJlLWJlbmNoLXNvY2tldA==";
/// Opcodes of RFC 6455.
const TEXT: u8 = 1;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const CLOSE: u8 = 8;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Which protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Plain text.
    V1,
    /// Events.
    V2,
}

/// A text message and its bytes on the wire, header included.
struct Message {
    text: String,
    wire_bytes: usize,
}

/// What one turn came to.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Turn {
    /// From the prompt to the first token.
    pub(super) first: Duration,
    /// From the prompt to the end.
    pub(super) whole: Duration,
    /// From the first `tool_requested` to the first `tool_completed`, where there is a call.
    pub(super) tool: Option<Duration>,
    pub(super) tokens: usize,
    /// Frames that the tokens came in.
    pub(super) frames: usize,
    /// UTF-8 bytes of the tokens' text.
    pub(super) text_bytes: usize,
    /// Bytes of these frames on the wire.
    pub(super) wire_bytes: usize,
    /// The last entry seen.
    pub(super) seq: u64,
}

/// An open socket.
pub(super) struct Wire {
    stream: BufReader<Box<dyn Duplex>>,
    protocol: Protocol,
}

impl Wire {
    pub(super) async fn open(door: &Door, protocol: Protocol) -> Result<Self, Fault> {
        let (stream, host, credential) = connect(door).await?;
        let name = match protocol {
            Protocol::V1 => "are.v1",
            Protocol::V2 => "are.v2",
        };
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: {name}\r\n{credential}\r\n"
        );
        // Small, because ten thousand of these are open at once.
        let mut wire = Self { stream: BufReader::with_capacity(4 << 10, stream), protocol };
        timeout(PATIENCE, wire.upgrade(&head)).await.map_err(|_| silent())??;
        Ok(wire)
    }

    async fn upgrade(&mut self, head: &str) -> Result<(), Fault> {
        self.stream.write_all(head.as_bytes()).await.map_err(|error| lost(&error.to_string()))?;
        let mut limited = (&mut self.stream).take(HEAD_BYTES_MAX);
        let (mut status, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            let read = limited.read_line(&mut line).await.map_err(|error| lost(&error.to_string()))?;
            if read == 0 {
                return Err(lost("the response has no end"));
            }
            if status.is_empty() {
                status.clone_from(&line);
            }
        }
        if status.split(' ').nth(1) == Some("101") {
            Ok(())
        } else {
            Err(lost(&format!("it answered `{}`", status.trim_end())))
        }
    }

    pub(super) async fn send(&mut self, request: &Value) -> Result<(), Fault> {
        let text = request.to_string();
        let mut frame = vec![0x80 | TEXT];
        // Every request measured fits a 16-bit length.
        let length = u16::try_from(text.len()).map_err(|_| lost("a request is too long"))?;
        if length < 126 {
            frame.push(0x80 | length.to_be_bytes()[1]);
        } else {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).await.map_err(|error| lost(&error.to_string()))
    }

    /// Reads so many messages; the last entry seen.
    pub(super) async fn read(&mut self, messages: usize) -> Result<u64, Fault> {
        let reading = async {
            let mut seq = 0;
            for _ in 0..messages {
                seq = last_entry(&self.next().await?.text).unwrap_or(seq);
            }
            Ok(seq)
        };
        timeout(PATIENCE, reading).await.map_err(|_| silent())?
    }

    /// Reads until a token.
    pub(super) async fn until_token(&mut self) -> Result<(), Fault> {
        let reading = async {
            while !self.next().await?.text.starts_with('[') {}
            Ok(())
        };
        timeout(PATIENCE, reading).await.map_err(|_| silent())?
    }

    /// The next text message. Waits as long as it takes: a timer a frame would be measured too.
    async fn next(&mut self) -> Result<Message, Fault> {
        loop {
            let (opcode, payload, wire_bytes) = self.frame().await?;
            match opcode {
                TEXT => {
                    let text = String::from_utf8(payload).map_err(|_| lost("a frame is not text"))?;
                    return Ok(Message { text, wire_bytes });
                }
                CLOSE => {
                    let reason = payload.get(2..).unwrap_or_default();
                    return Err(lost(&format!("it closed the socket: {}", String::from_utf8_lossy(reason))));
                }
                // Whoever does not answer is taken for dead.
                PING => self.pong(&payload).await?,
                _ => {}
            }
        }
    }

    /// Without an answer to its pings the server takes the line for lost.
    async fn pong(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126);
        let length = length.ok_or_else(|| lost("a ping is too long"))?;
        let frame = [&[0x80 | PONG, 0x80 | length, 0, 0, 0, 0][..], payload].concat();
        self.stream.write_all(&frame).await.map_err(|error| lost(&error.to_string()))
    }

    /// Stays there and says nothing, until the line is lost.
    pub(super) async fn stay(&mut self) -> Result<(), Fault> {
        loop {
            self.next().await?;
        }
    }

    async fn frame(&mut self) -> Result<(u8, Vec<u8>, usize), Fault> {
        let broken = |error: std::io::Error| lost(&error.to_string());
        let opcode = self.stream.read_u8().await.map_err(broken)? & 0x0f;
        let (length, header_bytes) = match self.stream.read_u8().await.map_err(broken)? {
            126 => (u64::from(self.stream.read_u16().await.map_err(broken)?), 4),
            127 => (self.stream.read_u64().await.map_err(broken)?, 10),
            short => (u64::from(short), 2),
        };
        if length > FRAME_BYTES_MAX {
            return Err(lost("a frame is too long"));
        }
        let mut payload = vec![0; usize::try_from(length).unwrap_or_default()];
        self.stream.read_exact(&mut payload).await.map_err(broken)?;
        let wire_bytes = header_bytes + payload.len();
        Ok((opcode, payload, wire_bytes))
    }

    /// Reads until an event of one of these types.
    pub(super) async fn until(&mut self, kinds: &[&str]) -> Result<Value, Fault> {
        let reading = async {
            loop {
                let message = self.next().await?;
                if message.text.starts_with('[') {
                    continue;
                }
                let event: Value = serde_json::from_str(&message.text).map_err(|_| lost("a frame is not JSON"))?;
                if event["type"] == "error" {
                    return Err(lost(event["message"].as_str().unwrap_or_default()));
                }
                if event["type"].as_str().is_some_and(|kind| kinds.contains(&kind)) {
                    return Ok(event);
                }
            }
        };
        timeout(PATIENCE, reading).await.map_err(|_| silent())?
    }

    /// The next message, an event or an array that ends with text; `None` when none comes in time.
    pub(super) async fn heard(&mut self, patience: Duration) -> Result<Option<Value>, Fault> {
        let Ok(message) = timeout(patience, self.next()).await else { return Ok(None) };
        serde_json::from_str(&message?.text).map(Some).map_err(|_| lost("a frame is not JSON"))
    }

    /// Attaches to a session, or to a new one; the answer names it.
    pub(super) async fn attach(&mut self, session: Option<&str>) -> Result<Value, Fault> {
        self.send(&json!({"type": "attach", "id": "attach", "session": session.unwrap_or("new")})).await?;
        self.until(&["attached"]).await
    }

    /// One turn from its prompt to its end; `model` is a wish.
    pub(super) async fn turn(&mut self, model: Option<&str>) -> Result<Turn, Fault> {
        timeout(PATIENCE, self.whole_turn(model)).await.map_err(|_| silent())?
    }

    async fn whole_turn(&mut self, model: Option<&str>) -> Result<Turn, Fault> {
        let begun = Instant::now();
        self.prompt(model).await?;
        let mut turn = Turn::default();
        let mut requested = None;
        for _ in 0..FRAMES_MAX {
            let message = self.next().await?;
            let tokens = match self.protocol {
                Protocol::V1 if message.text.is_empty() => {
                    turn.whole = begun.elapsed();
                    return Ok(turn);
                }
                Protocol::V1 => Some((1, message.text.len(), 0)),
                Protocol::V2 => token_of(&message.text),
            };
            if let Some((tokens, text_bytes, seq)) = tokens {
                if turn.frames == 0 {
                    turn.first = begun.elapsed();
                }
                turn.tokens += tokens;
                turn.frames += 1;
                turn.text_bytes += text_bytes;
                turn.wire_bytes += message.wire_bytes;
                turn.seq = seq;
                continue;
            }
            let event: Value = serde_json::from_str(&message.text).map_err(|_| lost("a frame is not JSON"))?;
            turn.seq = event["seq"].as_u64().unwrap_or(turn.seq);
            match event["type"].as_str() {
                Some("turn_completed") => {
                    turn.whole = begun.elapsed();
                    return Ok(turn);
                }
                Some("tool_requested") => requested = requested.or_else(|| Some(Instant::now())),
                Some("tool_completed") => turn.tool = turn.tool.or(requested.map(|at| at.elapsed())),
                Some("error" | "turn_failed" | "turn_cancelled" | "tool_failed" | "approval_requested") => {
                    return Err(lost(&format!("a measured turn did not complete: {event}")));
                }
                _ => {}
            }
        }
        Err(lost("a turn has no end"))
    }

    /// Takes the next message into what a client shows; true when the turn is over.
    pub(super) async fn follow(&mut self, seq: &mut u64, text: &mut String) -> Result<bool, Fault> {
        let message = self.next().await?.text;
        *seq = last_entry(&message).unwrap_or(*seq);
        let value: Value = serde_json::from_str(&message).map_err(|_| lost("a frame is not JSON"))?;
        if let Some(parts) = value.as_array() {
            text.extend(parts.last().and_then(Value::as_str));
            return Ok(false);
        }
        match value["type"].as_str() {
            Some("model_restarted") => {
                let keep = value["keep_bytes"].as_u64().and_then(|keep| usize::try_from(keep).ok());
                text.truncate(keep.unwrap_or(0).min(text.len()));
                Ok(false)
            }
            Some("error" | "reset" | "turn_failed" | "turn_cancelled") => {
                Err(lost(&format!("a stream broke off: {value}")))
            }
            kind => Ok(kind == Some("turn_completed")),
        }
    }

    /// Sends a prompt and waits for nothing.
    pub(super) async fn prompt(&mut self, model: Option<&str>) -> Result<(), Fault> {
        let mut request = match self.protocol {
            Protocol::V1 => json!({"prompt": "go"}),
            Protocol::V2 => json!({"type": "prompt", "id": 1, "content": "go"}),
        };
        if let Some(model) = model {
            request["model"] = json!(model);
        }
        self.send(&request).await
    }
}

/// Tokens, bytes of text and last entry of a token frame; `None` for an event.
fn token_of(text: &str) -> Option<(usize, usize, u64)> {
    if !text.starts_with('[') {
        return None;
    }
    if let Ok((seq, token)) = serde_json::from_str::<(u64, String)>(text) {
        return Some((1, token.len(), seq));
    }
    let (first, last, joined) = serde_json::from_str::<(u64, u64, String)>(text).ok()?;
    Some((usize::try_from(last - first + 1).unwrap_or(1), joined.len(), last))
}

/// The entry that a message ends with.
fn last_entry(text: &str) -> Option<u64> {
    let value: Value = serde_json::from_str(text).ok()?;
    match value.as_array() {
        Some(parts) => parts.iter().rev().find_map(Value::as_u64),
        None => value["seq"].as_u64(),
    }
}

async fn connect(door: &Door) -> Result<(Box<dyn Duplex>, String, String), Fault> {
    let failed = |error: std::io::Error| lost(&error.to_string());
    match door {
        Door::Socket(path) => {
            let stream = UnixStream::connect(path).await.map_err(failed)?;
            Ok((Box::new(stream), "localhost".to_owned(), String::new()))
        }
        Door::Web { url, token } => {
            if url.scheme() != "http" {
                return Err(lost("measuring through TLS would measure TLS; name an `http` address"));
            }
            let host = url.host_str().unwrap_or_default();
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((bare, url.port_or_known_default().unwrap_or(80))).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            let credential = token.as_ref().map(|token| format!("Authorization: Bearer {}\r\n", token.expose()));
            let authority = url[Position::BeforeHost..Position::AfterPort].to_owned();
            Ok((Box::new(stream), authority, credential.unwrap_or_default()))
        }
    }
}

fn silent() -> Fault {
    lost("it does not answer any more")
}

/// The measured server, or its provider, is not what was expected.
pub(super) fn lost(why: &str) -> Fault {
    let help = "look at the log of what is measured";
    Fault::new(Code::SERVER_UNREACHABLE, format!("the measurement broke off: {why}"), help)
}

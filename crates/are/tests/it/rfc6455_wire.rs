//! Frames as a client writes them, right or wrong, and the server's read strictly.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::{ADMIN, Fixture, PATIENCE};

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;
pub(crate) const FIN: u8 = 0x80;

/// What the server says when it says `pong` to a JSON `ping` without `id`.
pub(crate) const JSON_PING: &[u8] = br#"{"type":"ping"}"#;

/// The key of RFC 6455 §1.3.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A client's frame: first byte, payload, masking key.
pub(crate) fn masked(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut bytes = header(first, 0x80, payload.len());
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// The same with a key that shows when it is not taken off.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    masked(first, payload, [0x37, 0xfa, 0x21, 0x3d])
}

/// A whole text message.
pub(crate) fn text(payload: &[u8]) -> Vec<u8> {
    frame(FIN | TEXT, payload)
}

/// First two bytes and the length in as few bytes as it takes.
pub(crate) fn header(first: u8, mask: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => bytes.push(mask | short),
        (_, Ok(middle)) => {
            bytes.push(mask | 126);
            bytes.extend(middle.to_be_bytes());
        }
        (_, Err(_)) => {
            bytes.push(mask | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes
}

/// A frame of the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Answer {
    /// The code of a close frame; 1005 where it has none, as RFC 6455 §7.1.5 says.
    pub(crate) fn close_code(&self) -> Option<u16> {
        let code = || self.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        (self.opcode == CLOSE).then(code)
    }
}

/// An upgraded connection on which any bytes can be sent.
pub(crate) struct Raw {
    stream: TcpStream,
    unread: VecDeque<u8>,
}

impl Raw {
    pub(crate) async fn open(are: &Fixture, protocol: &str) -> Self {
        let mut stream = TcpStream::connect(are.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {ADMIN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n",
            are.host()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self { stream, unread: VecDeque::new() }
    }

    /// Sends as much as the server takes: it may close before it has read all.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
        drop(self.stream.flush().await);
    }

    /// Sends bytes; false where the server does not take them in that time.
    pub(crate) async fn takes(&mut self, bytes: &[u8], within: Duration) -> bool {
        matches!(timeout(within, self.stream.write_all(bytes)).await, Ok(Ok(())))
    }

    /// Says that nothing more comes.
    pub(crate) async fn end(&mut self) {
        drop(self.stream.shutdown().await);
    }

    /// The server's next frame; `None` when it has ended the connection.
    ///
    /// # Panics
    /// When the server writes something that no server may write, or nothing for too long.
    pub(crate) async fn next(&mut self) -> Option<Answer> {
        let [first, second] = self.take().await?;
        assert_eq!(first & 0x70, 0, "reserved bits are 0 where no extension was agreed about");
        assert_eq!(second & 0x80, 0, "a server masks nothing");
        let opcode = first & 0x0f;
        assert!([TEXT, CLOSE, PING, PONG].contains(&opcode) && first & FIN != 0, "the server sends whole messages");
        let length = match second {
            126 => {
                let length = usize::from(u16::from_be_bytes(self.take().await?));
                assert!(length > 125, "the length is as short as it can be");
                length
            }
            127 => {
                let length = usize::try_from(u64::from_be_bytes(self.take().await?)).unwrap();
                assert!(length > usize::from(u16::MAX), "the length is as short as it can be");
                length
            }
            short => usize::from(short),
        };
        assert!(opcode < CLOSE || length <= 125, "control frames are short");
        while self.unread.len() < length {
            self.read().await?;
        }
        let payload: Vec<u8> = self.unread.drain(..length).collect();
        assert!(opcode != TEXT || std::str::from_utf8(&payload).is_ok(), "text is UTF-8");
        Some(Answer { opcode, payload })
    }

    async fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        while self.unread.len() < N {
            self.read().await?;
        }
        let bytes: Vec<u8> = self.unread.drain(..N).collect();
        bytes.try_into().ok()
    }

    async fn read(&mut self) -> Option<()> {
        let mut bytes = [0; 4 << 10];
        let read = timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("the server answers or closes");
        // A reset ends the connection as a clean end does.
        let count = read.ok().filter(|count| *count > 0)?;
        self.unread.extend(&bytes[..count]);
        Some(())
    }
}

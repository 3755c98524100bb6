//! Clients that break RFC 6455 hear its close codes, and cost nothing.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::{ADMIN, Fixture, PATIENCE};

/// A socket on which any bytes can be sent.
struct Raw(TcpStream);

impl Raw {
    async fn open(are: &Fixture, protocol: &str) -> Self {
        let mut stream = TcpStream::connect(are.address).await.unwrap();
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {ADMIN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n",
            are.host()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The close code that the server sends, after which it ends the connection.
    async fn close_code(&mut self) -> u16 {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("the server closes").unwrap();
        let close = rest.iter().position(|byte| *byte == 0x88).expect("a close frame comes");
        u16::from_be_bytes([rest[close + 2], rest[close + 3]])
    }
}

/// A client's frame, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

#[tokio::test]
async fn each_violation_has_its_close_code() {
    let are = Fixture::start().await;
    let announced = |length: u64| {
        let mut bytes = vec![0x81, 0x80 | 127];
        bytes.extend(length.to_be_bytes());
        // The masking key ends the header; of the payload nothing is sent.
        bytes.extend([0; 4]);
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("oversized, announced only", announced(2 << 20), 1009),
        ("absurdly oversized", announced(u64::MAX >> 1), 1009),
        ("invalid UTF-8", frame(0x81, b"\xff\xfe"), 1007),
        ("overlong UTF-8", frame(0x81, b"\xc0\xaf"), 1007),
        ("surrogate in UTF-8", frame(0x81, b"\xed\xa0\x80"), 1007),
        ("cut UTF-8", frame(0x81, b"\xe2\x82"), 1007),
        ("reserved bit 1", frame(0xc1, b"{}"), 1002),
        ("reserved bit 2", frame(0xa1, b"{}"), 1002),
        ("reserved bit 3", frame(0x91, b"{}"), 1002),
        ("reserved data opcode", frame(0x83, b"{}"), 1002),
        ("reserved control opcode", frame(0x8b, b"{}"), 1002),
        ("unmasked", b"\x81\x02{}".to_vec(), 1002),
        ("fragmented ping", frame(0x09, b"x"), 1002),
        ("long ping", frame(0x89, &[b'x'; 126]), 1002),
        ("continuation of nothing", frame(0x80, b"x"), 1002),
        ("text within text", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
        ("binary", frame(0x82, b"{}"), 1003),
        ("close code 1005", frame(0x88, &1005_u16.to_be_bytes()), 1002),
        ("close code 1006", frame(0x88, &1006_u16.to_be_bytes()), 1002),
        ("close code 999", frame(0x88, &999_u16.to_be_bytes()), 1002),
        ("close code 1016", frame(0x88, &1016_u16.to_be_bytes()), 1002),
        ("close code 5000", frame(0x88, &5000_u16.to_be_bytes()), 1002),
        ("half a close code", frame(0x88, b"\x03"), 1002),
        ("close reason not UTF-8", frame(0x88, b"\x03\xe8\xff"), 1007),
        ("good close", frame(0x88, &1000_u16.to_be_bytes()), 1000),
        ("application's close", frame(0x88, &4321_u16.to_be_bytes()), 4321),
    ];
    for protocol in ["are.v1", "are.v2"] {
        for (name, bytes, code) in &cases {
            let mut socket = Raw::open(&are, protocol).await;
            socket.send(bytes).await;
            assert_eq!(socket.close_code().await, *code, "{name} on {protocol}");
        }
    }
    are.end().await;
}

#[tokio::test]
async fn a_message_in_too_many_pieces_is_as_large_as_a_large_one() {
    let are = Fixture::start().await;
    let mut socket = Raw::open(&are, "are.v2").await;
    socket.send(&frame(0x01, &[b' '; 60_000])).await;
    for _ in 0..30 {
        // The server may close while we still write.
        if socket.0.write_all(&frame(0x00, &[b' '; 60_000])).await.is_err() {
            break;
        }
    }
    assert_eq!(socket.close_code().await, 1009);
    are.end().await;
}

#[tokio::test]
async fn odd_json_gets_a_typed_error_and_the_socket_goes_on() {
    let are = Fixture::start().await;
    let mut client = are.v2().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let odd = [
        "",
        "{",
        "null",
        "[]",
        "\"x\"",
        "1e999",
        "{\"type\":\"ping\",\"type\":\"ping\"}",
        "{\"type\":\"nonsense\"}",
        "{\"type\":\"ping\",\"extra\":1}",
        "{\"type\":\"ping\"} {}",
        "{\"type\":\"attach\"}",
        "{\"type\":\"attach\",\"session\":7}",
        "{\"type\":\"attach\",\"session\":\"new\",\"after\":-1}",
        "{\"type\":\"attach\",\"session\":\"not a key\"}",
        &deep,
    ];
    for text in odd {
        client.stream.feed_text(text).await;
        let error = client.json().await;
        assert_eq!(
            (error["type"].as_str(), error["code"].as_str()),
            (Some("error"), Some("ARE-0206")),
            "{text:.40}: {error}"
        );
        client.send(json!({"type": "ping", "id": 7})).await;
        assert_eq!(client.json().await, json!({"type": "pong", "id": 7}));
    }
    for _ in 0..16 {
        client.stream.feed_text("nonsense").await;
    }
    assert_eq!(u16::from(client.closed().await.code), 4206);
    are.end().await;
}

trait FeedText {
    async fn feed_text(&mut self, text: &str);
}

impl FeedText for tokio_tungstenite::WebSocketStream<TcpStream> {
    async fn feed_text(&mut self, text: &str) {
        use futures_util::SinkExt as _;
        self.send(tokio_tungstenite::tungstenite::Message::text(text)).await.unwrap();
    }
}

#[tokio::test]
async fn a_plain_client_that_says_nonsense_is_closed_with_the_reason() {
    let are = Fixture::start().await;
    for text in [
        "hello",
        "{}",
        "{\"prompt\":7}",
        "{\"prompt\":\"\"}",
        "{\"prompt\":\"x\",\"tempreture\":1}",
        "{\"prompt\":\"x\",\"temperature\":3}",
        "{\"prompt\":\"x\",\"streaming\":\"yes\"}",
        "{\"cancel\":false}",
        "{\"feedback\":\"x\"}",
        "{\"prompt\":\"x\",\"session\":\"y\"}",
        "{\"prompt\":\"x\",\"prompt\":\"y\"}",
    ] {
        let mut client = are.v1().await;
        client.stream.feed_text(text).await;
        let frame = client.closed().await;
        assert_eq!(u16::from(frame.code), 4206, "{text}");
        assert!(frame.reason.starts_with("ARE-0206 ") && frame.reason.len() <= 123, "{text}: {}", frame.reason);
    }
    are.end().await;
}

#[tokio::test]
async fn pings_without_end_from_a_client_that_never_reads_are_bounded() {
    let are = Fixture::start().await;
    let mut socket = Raw::open(&are, "are.v2").await;
    let ping = frame(0x89, &[b'x'; 125]).repeat(1000);
    // The server stops reading when its pongs cannot leave; then our writes stop too.
    let mut sent = 0;
    while let Ok(Ok(())) = timeout(Duration::from_millis(500), socket.0.write_all(&ping)).await {
        sent += ping.len();
        assert!(sent < 256 << 20, "the server took {sent} bytes of pings without an end");
    }
    let mut other = are.v2().await;
    other.send(json!({"type": "ping"})).await;
    assert_eq!(other.json().await["type"], "pong");
    drop(socket);
    are.end().await;
}

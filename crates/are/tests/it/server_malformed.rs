//! Clients that say nonsense hear why, and cost nothing.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;

use crate::fixture::Fixture;
use crate::rfc6455_wire::{FIN, PING, Raw, frame};

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
    let ping = frame(FIN | PING, &[b'x'; 125]).repeat(1000);
    // The server stops reading when its pongs cannot leave; then our writes stop too.
    let mut sent = 0;
    while socket.takes(&ping, Duration::from_millis(500)).await {
        sent += ping.len();
        assert!(sent < 256 << 20, "the server took {sent} bytes of pings without an end");
    }
    let mut other = are.v2().await;
    other.send(json!({"type": "ping"})).await;
    assert_eq!(other.json().await["type"], "pong");
    drop(socket);
    are.end().await;
}

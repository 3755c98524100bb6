//! A plain `are.v2` client for tests that need to see frames.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Opens `ws` at an `http://host:port` address.
    pub(crate) async fn open(address: &str, token: &str) -> Self {
        let authority = address.trim_start_matches("http://").trim_end_matches('/');
        let mut request = format!("ws://{authority}/ws").into_client_request().expect("an address");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "are.v2".parse().expect("a header"));
        headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        let stream = TcpStream::connect(authority).await.expect("a server");
        Self(client_async(request, stream).await.expect("an upgrade").0)
    }

    pub(crate) async fn send(&mut self, request: &Value) {
        self.0.send(Message::text(request.to_string())).await.expect("it is sent");
    }

    /// Reads until an event of that type.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        self.collect(kind).await.pop().expect("at least that one")
    }

    /// Everything up to and with an event of that type.
    pub(crate) async fn collect(&mut self, kind: &str) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            let message = self.0.next().await.expect("an open socket").expect("a message");
            let Message::Text(text) = message else { continue };
            let value: Value = serde_json::from_str(&text).expect("JSON");
            assert_ne!(value["type"], "error", "{value}");
            let is_last = value["type"] == kind;
            seen.push(value);
            if is_last {
                return seen;
            }
        }
    }
}

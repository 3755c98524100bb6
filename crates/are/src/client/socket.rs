//! One `are.v2` socket.

use std::time::Duration;

use are_core::error::{Code, Fault};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message as Frame};

use super::door::{Door, Stream};
use super::http::odd;

/// Bytes of one frame: more than a stored tool result and its envelope.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// How long the upgrade may take.
const UPGRADE_TIME: Duration = Duration::from_secs(10);

/// What the server says.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Text of the answer.
    Token {
        /// First entry of the piece.
        first: u64,
        /// Last entry of the piece.
        last: u64,
        /// The words.
        text: String,
    },
    /// Everything else, by its `type`.
    Event(Value),
}

/// Why there is no further message.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection is gone; attaching again mends it.
    Lost(Fault),
    /// The server ended it for a reason that a new connection does not cure.
    Refused(Fault),
}

impl Broken {
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Lost(fault) | Self::Refused(fault) => fault,
        }
    }
}

/// An open socket.
pub struct Socket {
    stream: WebSocketStream<Stream>,
}

impl Socket {
    /// Connects and upgrades.
    pub(super) async fn open(door: &Door) -> Result<Self, Broken> {
        let stream = door.connect().await.map_err(Broken::Lost)?;
        let refuse = |what: &str| Broken::Refused(odd(what));
        let address = format!("ws://{}/ws", door.authority());
        let mut request = address.into_client_request().map_err(|_| refuse("its address cannot be written"))?;
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", HeaderValue::from_static("are.v2"));
        if let Some(text) = door.authorization() {
            let mut value = HeaderValue::from_str(&text).map_err(|_| refuse("the token has odd characters"))?;
            value.set_sensitive(true);
            headers.insert("authorization", value);
        }
        let config =
            WebSocketConfig::default().max_message_size(Some(FRAME_BYTES_MAX)).max_frame_size(Some(FRAME_BYTES_MAX));
        let upgrade = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        match timeout(UPGRADE_TIME, Box::pin(upgrade)).await {
            Ok(Ok((stream, _))) => Ok(Self { stream }),
            Ok(Err(tungstenite::Error::Http(response))) => {
                let body = response.body().as_deref().unwrap_or_default();
                let status = response.status();
                let fault = serde_json::from_slice(body).unwrap_or_else(|_| odd(&format!("it answered {status}")));
                Err(if status.is_server_error() { Broken::Lost(fault) } else { Broken::Refused(fault) })
            }
            Ok(Err(error)) => Err(Broken::Lost(odd(&error.to_string()))),
            Err(_) => Err(Broken::Lost(odd("it does not answer"))),
        }
    }

    /// Sends a request.
    pub(super) async fn send(&mut self, request: &Value) -> Result<(), Broken> {
        let sent = self.stream.send(Frame::text(request.to_string())).await;
        sent.map_err(|error| Broken::Lost(odd(&error.to_string())))
    }

    /// The next message. Cancel-safe: a message is either returned or still to come.
    pub(super) async fn next(&mut self) -> Result<Message, Broken> {
        loop {
            match self.stream.next().await {
                Some(Ok(Frame::Text(text))) => {
                    return read(&text).ok_or_else(|| Broken::Refused(odd("a frame is not understood")));
                }
                Some(Ok(Frame::Close(Some(frame)))) => return Err(closed(frame.code.into(), &frame.reason)),
                Some(Ok(Frame::Close(None))) | None => return Err(Broken::Lost(odd("it closed the connection"))),
                Some(Ok(Frame::Binary(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => {}
                Some(Err(error)) => return Err(Broken::Lost(odd(&error.to_string()))),
            }
        }
    }
}

fn read(text: &str) -> Option<Message> {
    match serde_json::from_str(text).ok()? {
        Value::Array(parts) => {
            let (first, last, text) = match parts.as_slice() {
                [seq, text] => (seq.as_u64()?, seq.as_u64()?, text),
                [first, last, text] => (first.as_u64()?, last.as_u64()?, text),
                _ => return None,
            };
            Some(Message::Token { first, last, text: text.as_str()?.to_owned() })
        }
        event @ Value::Object(_) => Some(Message::Event(event)),
        _ => None,
    }
}

/// A close code of ours is 4000 and the error's number; the others are RFC 6455's.
fn closed(code: u16, reason: &str) -> Broken {
    let own = reason.split_once(' ').and_then(|(code, message)| Some((code.parse::<Code>().ok()?, message)));
    match own {
        Some((code @ (Code::UNAVAILABLE | Code::SLOW_READER), message)) => {
            Broken::Lost(Fault::new(code, message, "it is attached again by itself").retryable())
        }
        Some((code, message)) => Broken::Refused(Fault::new(code, message, "see the server's log")),
        // Going away, service restart, try again later, or no code at all.
        None if matches!(code, 1000 | 1001 | 1005 | 1006 | 1011..=1014) => {
            Broken::Lost(odd("it closed the connection"))
        }
        None => Broken::Refused(odd(&format!("it closed the connection with code {code}"))),
    }
}

#[cfg(test)]
mod tests;

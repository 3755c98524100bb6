//! The provider without any runtime before it: what the machine can do at most.

use std::time::{Duration, Instant};

use are_core::error::Fault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::{Position, Url};

use super::wire::lost;

/// Bytes of one answer: 2,000 tokens have less than half a megabyte.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How long an answer may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The end of a chunked body.
const END: &[u8] = b"\r\n0\r\n\r\n";
/// What precedes each token's text.
const TOKEN: &[u8] = b"\"content\":";

/// A connection that is kept.
pub(super) struct Provider {
    stream: TcpStream,
    request: String,
    answer: Vec<u8>,
}

impl Provider {
    /// Connects to the provider at `base_url`, which must be plain `http`.
    pub(super) async fn open(base_url: &str) -> Result<Self, Fault> {
        let url: Url = base_url.parse().map_err(|_| lost("the provider's address is none"))?;
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let place = (host, url.port_or_known_default().unwrap_or(80));
        let stream = TcpStream::connect(place).await.map_err(|error| lost(&error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| lost(&error.to_string()))?;
        let body = r#"{"model":"bench","stream":true,"messages":[{"role":"user","content":"go"}]}"#;
        let request = format!(
            "POST {}/chat/completions HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            url.path().trim_end_matches('/'),
            &url[Position::BeforeHost..Position::AfterPort],
            body.len(),
        );
        Ok(Self { stream, request, answer: Vec::new() })
    }

    /// One answer: its tokens, and the time from the request to its end.
    pub(super) async fn answer(&mut self) -> Result<(usize, Duration), Fault> {
        let begun = Instant::now();
        timeout(PATIENCE, self.read()).await.map_err(|_| lost("the provider does not answer"))??;
        let whole = begun.elapsed();
        let tokens = self.answer.windows(TOKEN.len()).filter(|window| *window == TOKEN).count();
        Ok((tokens, whole))
    }

    async fn read(&mut self) -> Result<(), Fault> {
        let broken = |error: std::io::Error| lost(&format!("the provider is gone: {error}"));
        self.stream.write_all(self.request.as_bytes()).await.map_err(broken)?;
        self.answer.clear();
        while !self.answer.ends_with(END) {
            let read = self.stream.read_buf(&mut self.answer).await.map_err(broken)?;
            if read == 0 || self.answer.len() > ANSWER_BYTES_MAX {
                return Err(lost("the provider's answer has no end"));
            }
        }
        Ok(())
    }
}

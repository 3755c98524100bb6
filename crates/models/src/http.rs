//! The one place with sockets in this crate: a client for providers and model
//! files.
//!
//! Everything it waits for has a time-out and everything it reads has a limit:
//! connecting, the first byte, the gap between two bytes, the whole exchange,
//! and the bytes of a body *after* decompression. Bodies are only ever
//! streamed, so that a decompression bomb costs one small buffer and ends at
//! the limit.
//!
//! It follows no redirect, asks no system proxy and repeats nothing: what a
//! redirect or a failure means is for the caller to say. What it reports never
//! quotes a provider's body or a full address.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, LOCATION, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use url::Url;

/// Bytes of one body, decompressed: thirty times the longest answer, because
/// a token of four bytes comes in an event of a hundred and more.
pub const BODY_BYTES_MAX: u64 = 128 << 20;
/// Bytes of an error body that are looked at: enough for its code and reason.
pub const ERROR_BODY_BYTES_MAX: usize = 64 << 10;
/// How long an error body is waited for: its status has told the most.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);
/// Idle connections kept for one host: as many as there are places for model calls. With fewer, whatever more turns
/// run at once open a connection for each call.
const IDLE_CONNECTIONS_MAX: usize = 1_024;
/// How long an idle connection is kept: providers close theirs after a minute or more.
const IDLE_CONNECTION_TIME: Duration = Duration::from_secs(55);
/// Bytes of response headers that HTTP/2 may bring.
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// How long to wait, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution, TCP and TLS.
    pub connect: Duration,
    /// From sending the request to the first byte of the body: models read
    /// long prompts before they speak.
    pub first_byte: Duration,
    /// Between two bytes of the body.
    pub idle: Duration,
    /// The whole exchange, first attempt to last byte: ends an answer that
    /// trickles for ever.
    pub exchange: Duration,
    /// The first pause before a repetition; doubled each time, with jitter.
    pub backoff: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            exchange: Duration::from_secs(30 * 60),
            backoff: Duration::from_millis(500),
        }
    }
}

/// Why there is no (further) response.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection; nothing was sent or nothing was answered.
    #[error("{why}")]
    Unreachable {
        /// What failed, in words for a person.
        why: &'static str,
        /// The whole chain, for the log.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// Nothing came for too long.
    #[error("nothing came for {} ms while waiting for {phase}", after.as_millis())]
    Timeout {
        /// What was waited for.
        phase: &'static str,
        /// How long.
        after: Duration,
    },
    /// The body broke off or cannot be decoded.
    #[error("the body broke off or cannot be decoded")]
    Broken(#[source] reqwest::Error),
    /// The body uses a content coding that was not asked for.
    #[error("the body has an unknown content coding")]
    Coding,
    /// The body is longer than allowed, decompressed.
    #[error("the body exceeds {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The client could not be set up.
    #[error("{why}")]
    Setup {
        /// What failed.
        why: &'static str,
        /// The whole chain, for the log.
        #[source]
        source: Option<reqwest::Error>,
    },
}

/// A client; clones share its connections.
#[derive(Clone)]
pub struct Client {
    timeouts: Timeouts,
    plain: Arc<OnceCell<reqwest::Client>>,
    tls: Arc<OnceCell<reqwest::Client>>,
}

impl Client {
    /// A client that has not connected, nor read certificates, yet.
    #[must_use]
    pub fn new(timeouts: Timeouts) -> Self {
        Self { timeouts, plain: Arc::default(), tls: Arc::default() }
    }

    /// Its time-outs.
    #[must_use]
    pub const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Sends `body`; the response's body has not been read. Any status is `Ok`.
    ///
    /// # Errors
    /// When no response's head arrived in time.
    pub async fn post(&self, url: Url, headers: HeaderMap, body: Bytes) -> Result<Response, Error> {
        let client = self.client(&url).await?;
        self.send(client.post(url).headers(headers).body(body)).await
    }

    /// Fetches `url`. Any status is `Ok`, redirects included.
    ///
    /// # Errors
    /// When no response's head arrived in time.
    pub async fn get(&self, url: Url, headers: HeaderMap) -> Result<Response, Error> {
        let client = self.client(&url).await?;
        self.send(client.get(url).headers(headers)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Error> {
        let deadline = Instant::now() + self.timeouts.first_byte;
        // Boxed: the request's future is some kilobytes.
        let inner = match timeout_at(deadline, Box::pin(request.send())).await {
            Ok(sent) => sent.map_err(unreachable)?,
            Err(_elapsed) => return Err(Error::Timeout { phase: "an answer", after: self.timeouts.first_byte }),
        };
        Ok(Response {
            inner,
            idle: self.timeouts.idle,
            first_byte: Some((deadline, self.timeouts.first_byte)),
            body_bytes: 0,
            body_bytes_max: BODY_BYTES_MAX,
        })
    }

    /// Plain HTTP works on a machine without certificates, and pays nothing
    /// for reading them.
    async fn client(&self, url: &Url) -> Result<&reqwest::Client, Error> {
        let connect = self.timeouts.connect;
        match url.scheme() {
            "http" => self.plain.get_or_try_init(|| async move { plain_client(connect) }).await,
            "https" => self.tls.get_or_try_init(|| tls_client(connect)).await,
            _ => Err(Error::Setup { why: "the address is neither http nor https", source: None }),
        }
    }
}

/// A response whose body is read piece by piece. Dropping it ends the exchange.
pub struct Response {
    inner: reqwest::Response,
    idle: Duration,
    first_byte: Option<(Instant, Duration)>,
    body_bytes: u64,
    body_bytes_max: u64,
}

impl Response {
    /// Changes how many bytes the body may have, decompressed.
    #[must_use]
    pub const fn limited_to(mut self, bytes: u64) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Where a redirect points, resolved against the request's address.
    #[must_use]
    pub fn redirect(&self) -> Option<Url> {
        if !self.status().is_redirection() {
            return None;
        }
        let target = self.headers().get(LOCATION)?.to_str().ok()?;
        self.inner.url().join(target).ok()
    }

    /// The next bytes of the body, decompressed; `None` at its end.
    ///
    /// # Errors
    /// Silence, a broken or undecodable body, a crossed limit.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        // A bomb yields many pieces from one read of the socket; without this
        // it would hold its thread until the limit.
        tokio::task::coop::consume_budget().await;
        if self.body_bytes == 0 && self.is_coded() {
            return Err(Error::Coding);
        }
        let (deadline, after, phase) = match self.first_byte {
            Some((deadline, after)) => (deadline, after, "the first byte"),
            None => (Instant::now() + self.idle, self.idle, "the next byte"),
        };
        let chunk = timeout_at(deadline, self.inner.chunk())
            .await
            .map_err(|_elapsed| Error::Timeout { phase, after })?
            .map_err(|error| Error::Broken(error.without_url()))?;
        self.first_byte = None;
        let Some(chunk) = chunk else { return Ok(None) };
        self.body_bytes += chunk.len() as u64;
        if self.body_bytes > self.body_bytes_max {
            return Err(Error::TooLarge { limit: self.body_bytes_max });
        }
        Ok(Some(chunk))
    }

    /// The beginning of the body: at most `bytes_max` bytes, and what came
    /// before it broke off. For error bodies, of which part is better than none.
    pub async fn beginning(mut self, bytes_max: usize) -> Vec<u8> {
        let mut beginning = Vec::new();
        let deadline = Instant::now() + self.idle.min(ERROR_BODY_TIME);
        while beginning.len() < bytes_max {
            match timeout_at(deadline, self.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    let room = bytes_max - beginning.len();
                    beginning.extend_from_slice(&chunk[..chunk.len().min(room)]);
                }
                // silent-ok: the status has already told what went wrong.
                Ok(Ok(None) | Err(_)) | Err(_) => break,
            }
        }
        beginning
    }

    /// True when the body has a coding that was not undone: the client removes
    /// the header of the one that it undid.
    fn is_coded(&self) -> bool {
        let headers = self.headers();
        let is_identity = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        let is_chunked = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
        !headers.get_all(CONTENT_ENCODING).iter().all(is_identity)
            || !headers.get_all(TRANSFER_ENCODING).iter().all(is_chunked)
    }
}

fn builder(connect: Duration) -> reqwest::ClientBuilder {
    static RING: Once = Once::new();
    RING.call_once(|| {
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::debug!("a TLS provider was installed before");
        }
    });
    reqwest::Client::builder()
        .user_agent(concat!("are/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .pool_idle_timeout(IDLE_CONNECTION_TIME)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
}

fn plain_client(connect: Duration) -> Result<reqwest::Client, Error> {
    builder(connect)
        .tls_certs_only(std::iter::empty())
        .build()
        .map_err(|error| Error::Setup { why: "the http client cannot be set up", source: Some(error) })
}

async fn tls_client(connect: Duration) -> Result<reqwest::Client, Error> {
    // Reading and parsing the machine's certificates takes milliseconds.
    let built = tokio::task::spawn_blocking(move || builder(connect).https_only(true).build()).await;
    match built {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(Error::Setup {
            why: "this machine has no trusted certificates (the package `ca-certificates`)",
            source: Some(error),
        }),
        Err(_panicked) => Err(Error::Setup { why: "the http client cannot be set up", source: None }),
    }
}

/// Says in words what kept the response's head from arriving.
fn unreachable(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let why = if error.is_timeout() {
        "connecting took too long"
    } else if error.is_dns() {
        "its name does not resolve"
    } else if is_tls(&error) {
        "the TLS handshake failed"
    } else if has_kind(&error, io::ErrorKind::ConnectionRefused) {
        "the connection was refused"
    } else if error.is_connect() {
        "no connection can be made"
    } else {
        "the connection broke before an answer came"
    };
    Error::Unreachable { why, source: Some(error) }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

fn has_kind(error: &reqwest::Error, kind: io::ErrorKind) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == kind))
}

fn is_tls(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        cause.is::<rustls::Error>()
            || cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
                .is_some_and(|inner| inner.is::<rustls::Error>())
    })
}

//! Requests to a server's `/api`.

use std::time::Duration;

use are_core::error::{Code, Fault};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::request::Builder;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::door::Door;

/// Bytes of one JSON answer: a page of events is smaller.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Bytes of an error's body that are read.
const PROBLEM_BYTES_MAX: usize = 64 << 10;
/// How long the server may take to begin its answer; a replay of a long session takes a while.
const ANSWER_TIME: Duration = Duration::from_secs(300);

/// The head of an answer, and the connection, which must be kept until the answer is read.
pub(super) type Answered = (Response<Incoming>, AbortOnDropHandle<()>);

/// A server's client. Each request has its own connection: verbs make few.
#[derive(Clone)]
pub struct Client {
    door: Door,
}

impl Client {
    /// A client of the server behind that door.
    #[must_use]
    pub const fn new(door: Door) -> Self {
        Self { door }
    }

    /// The door.
    #[must_use]
    pub const fn door(&self) -> &Door {
        &self.door
    }

    /// Reads a thing.
    ///
    /// # Errors
    /// The server's fault, or ARE-0105.
    pub async fn get(&self, path: &str) -> Result<Value, Fault> {
        self.send(Method::GET, path, None).await
    }

    /// Whether the server takes prompts.
    ///
    /// # Errors
    /// Why not: ARE-0213 while it stops, ARE-0105 when it is gone.
    pub async fn ready(&self) -> Result<(), Fault> {
        self.request(Method::GET, "/readyz", None).await.map(drop)
    }

    /// Sends a request and reads the answer; `null` when there is none.
    ///
    /// # Errors
    /// The server's fault, or ARE-0105.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Fault> {
        let (response, _connection) = self.request(method, path, body).await?;
        let bytes = collect(response, ANSWER_BYTES_MAX).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| odd("its answer is not JSON"))
    }

    /// Reads a body of any length, piece by piece, as `take` accepts it.
    ///
    /// # Errors
    /// The server's fault, ARE-0105, or what `take` says.
    pub async fn download<E: From<Fault>>(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (response, _connection) = self.request(Method::GET, path, None).await?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| odd("the connection broke"))?;
            if let Some(data) = frame.data_ref() {
                take(data)?;
            }
        }
        Ok(())
    }

    /// The answer, and the connection, which must be kept until the answer is read.
    async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answered, Fault> {
        let body = match body {
            Some(body) => Bytes::from(serde_json::to_vec(body).map_err(|_| odd("the request cannot be written"))?),
            None => Bytes::new(),
        };
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header(hyper::header::CONTENT_TYPE, "application/json");
        }
        let (response, connection) = self.exchange(request, body).await?;
        if response.status().is_success() {
            return Ok((response, connection));
        }
        Err(problem_of(response).await)
    }

    /// Sends a request over a connection of its own, and waits for the head of whatever is answered.
    pub(super) async fn exchange(&self, mut request: Builder, body: Bytes) -> Result<Answered, Fault> {
        let io = TokioIo::new(self.door.connect().await?);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(io).await.map_err(|_| odd("it does not speak HTTP"))?;
        request = request.header(hyper::header::HOST, self.door.authority());
        if let Some(authorization) = self.door.authorization() {
            request = request.header(hyper::header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).map_err(|_| odd("the request cannot be written"))?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the server ended early");
            }
        }));
        let response = timeout(ANSWER_TIME, sender.send_request(request)).await;
        let response = response
            .map_err(|_| odd("it does not answer"))?
            .map_err(|_| odd("it closed the connection without an answer"))?;
        Ok((response, connection))
    }
}

/// The fault in an answer that is a refusal.
pub(super) async fn problem_of(response: Response<Incoming>) -> Fault {
    let status = response.status();
    match collect(response, PROBLEM_BYTES_MAX).await {
        Ok(problem) => serde_json::from_slice(&problem).unwrap_or_else(|_| odd(&format!("it answered {status}"))),
        Err(fault) => fault,
    }
}

pub(super) async fn collect(response: Response<Incoming>, bytes_max: usize) -> Result<Bytes, Fault> {
    let limited = http_body_util::Limited::new(response.into_body(), bytes_max);
    limited
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(|_| odd("its answer broke off or is too long"))
}

/// The server is there but does not behave.
pub(super) fn odd(what: &str) -> Fault {
    Fault::new(
        Code::SERVER_UNREACHABLE,
        format!("the server did not answer as expected: {what}"),
        "check that `ARE_URL` is an ARE of this version, and its log",
    )
    .retryable()
}

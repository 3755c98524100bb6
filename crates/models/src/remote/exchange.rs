//! One call: attempts, pauses between them, and the stream of the answer.
//!
//! An attempt is repeated only while the provider has not begun to answer: a
//! refusal for rate, a server error, no connection, or one that closes without
//! a word. From the first byte of a successful body on nothing is repeated
//! here; the engine alone knows what may be thrown away.
//!
//! Everything belongs to the stream, nothing is spawned: dropping it ends the
//! pause or closes the connection.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use are_core::error::Fault;
use are_core::model::{Delta, ModelStream};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use tokio::time::{Instant, timeout_at};

use super::Endpoint;
use super::fault::Faults;
use crate::http::{ERROR_BODY_BYTES_MAX, Response};

/// Attempts of one call, the first included.
pub(crate) const ATTEMPTS_MAX: u32 = 3;
/// The longest pause a provider can ask for; a longer one is for the caller to decide on.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long usage and the mark of the end may come after the reason why the answer ended.
const TAIL: Duration = Duration::from_secs(5);
/// How long the end of the body is waited for after that mark, so that the
/// connection can be used again; it usually comes in the same packet.
const CLOSING: Duration = Duration::from_millis(3);
/// Bytes of an error body that are logged.
const LOGGED_BYTES_MAX: usize = 2 << 10;

/// Reads the body of one answer. Synchronous and without I/O, so that every way of splitting the bytes can be tested.
pub(crate) trait Answer: Send + Sized + 'static {
    /// Reads bytes of the body; what they complete is appended to `out`, even when a fault follows it.
    fn feed(&mut self, bytes: &[u8], out: &mut VecDeque<Delta>) -> Result<(), Fault>;

    /// True when nothing more is of interest.
    fn is_done(&self) -> bool;

    /// True when the answer may end here: only what can be done without follows.
    fn is_finished(&self) -> bool;

    /// The body is over: reads what is left and closes the answer.
    fn end(self, out: &mut VecDeque<Delta>) -> Result<(), Fault>;
}

/// The call in progress.
pub(crate) struct Exchange<A, N> {
    question: Question,
    /// Begins to read an answer.
    reader: N,
    ready: VecDeque<Delta>,
    failed: Option<Fault>,
    state: State<A>,
    attempt: u32,
    deadline: Instant,
}

/// What every attempt sends, and to whom.
struct Question {
    provider: Arc<Endpoint>,
    faults: Faults,
    body: Bytes,
}

enum State<A> {
    Asking,
    Pausing(Instant),
    // Boxed: much larger than the others.
    Reading(Box<Reading<A>>),
    Over,
}

struct Reading<A> {
    response: Response,
    answer: A,
    /// When the answer is taken as ended, once its reason to end has come.
    tail: Option<Instant>,
}

impl<A: Answer, N: Fn(Faults) -> A + Send + 'static> Exchange<A, N> {
    /// Posts `body`; `reader` begins to read an answer.
    pub(crate) fn stream(provider: Arc<Endpoint>, body: Vec<u8>, reader: N) -> ModelStream {
        let deadline = Instant::now() + provider.client.timeouts().exchange;
        let question = Question { faults: Faults::new(&provider.name), body: Bytes::from(body), provider };
        let exchange =
            Self { question, reader, ready: VecDeque::new(), failed: None, state: State::Asking, attempt: 0, deadline };
        // Boxed: it moves with every item.
        Box::pin(stream::unfold(Box::new(exchange), |mut exchange| async move {
            exchange.next().await.map(|item| (item, exchange))
        }))
    }

    async fn next(&mut self) -> Option<Result<Delta, Fault>> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                return Some(Ok(delta));
            }
            if let Some(fault) = self.failed.take() {
                return Some(Err(fault));
            }
            if matches!(self.state, State::Over) {
                return None;
            }
            self.advance().await;
        }
    }

    /// One step: an attempt, a pause, or one piece of the body.
    async fn advance(&mut self) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asking => self.ask().await,
            State::Pausing(until) => {
                tokio::time::sleep_until(until).await;
                self.state = State::Asking;
            }
            State::Reading(reading) => self.read(reading).await,
            State::Over => {}
        }
    }

    async fn ask(&mut self) {
        self.attempt += 1;
        match timeout_at(self.deadline, Box::pin(self.question.attempt())).await {
            Ok(Ok(response)) => {
                let answer = (self.reader)(self.question.faults.clone());
                self.state = State::Reading(Box::new(Reading { response, answer, tail: None }));
            }
            Ok(Err(refusal)) => self.pause_or_fail(refusal),
            Err(_elapsed) => self.failed = Some(self.overdue()),
        }
    }

    fn pause_or_fail(&mut self, refusal: Refusal) {
        let pause = match refusal.fault.retry_after_ms {
            Some(ms) => Duration::from_millis(ms),
            None => self.backoff(),
        };
        let until = Instant::now() + pause.min(PAUSE_MAX);
        let is_last = self.attempt >= ATTEMPTS_MAX;
        if !refusal.is_repeatable || is_last || pause > PAUSE_MAX || until >= self.deadline {
            self.failed = Some(refusal.fault);
            return;
        }
        tracing::debug!(provider = %self.question.provider.name, attempt = self.attempt, pause = ?pause, "will ask again");
        let (done, total) = (u64::from(self.attempt), u64::from(ATTEMPTS_MAX));
        self.ready.push_back(Delta::Progress { phase: "retry", done, total });
        self.state = State::Pausing(until);
    }

    /// Half to one and a half of the doubled pause, so that calls that failed
    /// together do not come back together.
    fn backoff(&self) -> Duration {
        let pause =
            self.question.provider.client.timeouts().backoff * 2_u32.saturating_pow(self.attempt.saturating_sub(1));
        // The standard library's hasher is seeded by chance; that is enough here.
        let percent = 50 + RandomState::new().hash_one(self.attempt) % 101;
        pause * u32::try_from(percent).unwrap_or(100) / 100
    }

    async fn read(&mut self, mut reading: Box<Reading<A>>) {
        let deadline = reading.tail.unwrap_or(self.deadline).min(self.deadline);
        let chunk = match timeout_at(deadline, reading.response.chunk()).await {
            Ok(chunk) => chunk,
            Err(_elapsed) if reading.answer.is_finished() => Ok(None),
            Err(_elapsed) => {
                self.failed = Some(self.overdue());
                return;
            }
        };
        let fed = match chunk {
            Ok(Some(chunk)) => reading.answer.feed(&chunk, &mut self.ready),
            Ok(None) => return self.end(reading.answer),
            // The reason to end has come: what broke off is at most the count of tokens.
            Err(_) if reading.answer.is_finished() => return self.end(reading.answer),
            Err(error) => {
                tracing::debug!(provider = %self.question.provider.name, error = ?error, "the answer broke off");
                Err(self.question.faults.http(&error))
            }
        };
        if let Err(fault) = fed {
            self.failed = Some(fault);
        } else if reading.answer.is_done() {
            let Reading { mut response, answer, .. } = *reading;
            let closing = async { while let Ok(Some(_)) = response.chunk().await {} };
            if timeout_at(Instant::now() + CLOSING, closing).await.is_err() {
                tracing::trace!("the body goes on after its end; its connection is closed");
            }
            self.end(answer);
        } else {
            if reading.tail.is_none() && reading.answer.is_finished() {
                reading.tail = Some(Instant::now() + TAIL);
            }
            self.state = State::Reading(reading);
        }
    }

    fn end(&mut self, answer: A) {
        if let Err(fault) = answer.end(&mut self.ready) {
            self.failed = Some(fault);
        }
    }

    fn overdue(&self) -> Fault {
        self.question.faults.overdue(self.question.provider.client.timeouts().exchange)
    }
}

impl Question {
    async fn attempt(&self) -> Result<Response, Refusal> {
        let provider = &self.provider;
        let sent = provider.client.post(provider.url.clone(), provider.headers.clone(), self.body.clone()).await;
        let response = sent.map_err(|error| {
            tracing::debug!(provider = %provider.name, error = ?error, "no answer");
            Refusal {
                is_repeatable: matches!(error, crate::http::Error::Unreachable { .. }),
                fault: self.faults.http(&error),
            }
        })?;
        let status = response.status();
        if status.is_success() {
            return self.stream_of_events(response).await;
        }
        if status.is_redirection() {
            return Err(Refusal { fault: self.faults.redirect(), is_repeatable: false });
        }
        let headers = response.headers().clone();
        let body = response.beginning(ERROR_BODY_BYTES_MAX).await;
        self.log(status.as_u16(), &body);
        let fault = self.faults.status(status, &headers, &body);
        Err(Refusal { is_repeatable: fault.retryable, fault })
    }

    /// Passes what may be a stream of events; a body without a type, or with
    /// one as vague as `text/plain`, may be.
    async fn stream_of_events(&self, response: Response) -> Result<Response, Refusal> {
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
        let is_json = content_type.contains("json");
        if !is_json && !content_type.contains("html") {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = response.beginning(ERROR_BODY_BYTES_MAX).await;
        self.log(status, &body);
        let text = String::from_utf8_lossy(&body);
        let has_error = is_json && text.contains("\"error\"");
        let fault = if has_error { self.faults.in_answer(&text) } else { self.faults.no_stream(&content_type) };
        Err(Refusal { fault, is_repeatable: false })
    }

    fn log(&self, status: u16, body: &[u8]) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let text = String::from_utf8_lossy(body);
        // The whole body is blotted first: a cut could go through the key.
        let text = self.provider.key.as_ref().map_or_else(|| text.to_string(), |key| key.blot(&text));
        let beginning = &text[..text.floor_char_boundary(LOGGED_BYTES_MAX)];
        tracing::debug!(provider = %self.provider.name, status, body = beginning, "the provider refused");
    }
}

/// Why an attempt got no answer.
struct Refusal {
    fault: Fault,
    is_repeatable: bool,
}

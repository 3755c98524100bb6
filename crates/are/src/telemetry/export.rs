//! The way to the collector: OTLP as protobuf over HTTP, by the client that also calls providers.
//!
//! The exporters work on threads of their own and the client in the runtime, so
//! that a request is handed over and waited for there. Both bound what they wait
//! for. What keeps a signal from being taken is logged once, until it is taken
//! again.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use are_models::http::{Client, Timeouts};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::Standing;
use crate::config::telemetry::Settings;

/// One batch may take so long, repetitions included: what the SDKs have.
const EXPORT_TIME: Duration = Duration::from_secs(10);
/// Bytes of a collector's answer that are read: it says little, and what it says is for its own log.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The exporters of spans and of figures.
pub(super) fn exporters(
    settings: &Settings,
    standing: &Arc<Standing>,
) -> Result<(Counted, MetricExporter), ExporterBuildError> {
    let client = Client::new(Timeouts {
        connect: Duration::from_secs(5),
        first_byte: EXPORT_TIME,
        idle: EXPORT_TIME,
        exchange: EXPORT_TIME,
        ..Timeouts::default()
    });
    let sender = |signal| Sender { signal, client: client.clone(), runtime: Handle::current(), fails: Arc::default() };
    let headers: HashMap<String, String> =
        settings.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    let address = |path: &str| format!("{}{path}", settings.endpoint.as_str().trim_end_matches('/'));
    let spans = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(sender("spans"))
        .with_headers(headers.clone())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_TIME)
        .with_endpoint(address("/v1/traces"))
        .build()?;
    let figures = MetricExporter::builder()
        .with_http()
        .with_http_client(sender("figures"))
        .with_headers(headers)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_TIME)
        .with_endpoint(address("/v1/metrics"))
        .build()?;
    Ok((Counted { inner: spans, standing: Arc::clone(standing) }, figures))
}

/// Counts what becomes of spans.
#[derive(Debug)]
pub(super) struct Counted {
    inner: opentelemetry_otlp::SpanExporter,
    standing: Arc<Standing>,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.inner.export(batch).await;
        self.standing.sent(spans, sent.is_ok());
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Sends the requests of one signal.
struct Sender {
    signal: &'static str,
    client: Client,
    runtime: Handle,
    /// True from the first failure to the next success.
    fails: Arc<AtomicBool>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("signal", &self.signal).finish_non_exhaustive()
    }
}

impl HttpClient for Sender {
    fn send_bytes<'life, 'future>(
        &'life self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        let sending = AbortOnDropHandle::new(self.runtime.spawn(exchange(self.client.clone(), request)));
        Box::pin(async move {
            let answer = match sending.await {
                Ok(answer) => answer,
                // The runtime has ended, and with it the process.
                Err(error) => Err(HttpError::from(error)),
            };
            self.note(&answer);
            answer
        })
    }
}

impl Sender {
    /// Logs what has changed.
    fn note(&self, answer: &Result<Response<Bytes>, HttpError>) {
        let why = match answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status().as_u16())),
            Err(error) => Some(error.to_string()),
        };
        let was_failing = self.fails.swap(why.is_some(), Ordering::Relaxed);
        match why {
            Some(why) if !was_failing => {
                let signal = self.signal;
                tracing::warn!(
                    signal,
                    why,
                    "the collector takes nothing; what it does not take is dropped and counted"
                );
            }
            None if was_failing => tracing::info!(signal = self.signal, "the collector takes them again"),
            Some(_) | None => {}
        }
    }
}

async fn exchange(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (parts, body) = request.into_parts();
    let url: Url = parts.uri.to_string().parse()?;
    let answer = client.post(url, parts.headers, body).await?;
    let mut told = Response::new(Bytes::new());
    *told.status_mut() = answer.status();
    told.headers_mut().clone_from(answer.headers());
    *told.body_mut() = answer.beginning(ANSWER_BYTES_MAX).await.into();
    Ok(told)
}

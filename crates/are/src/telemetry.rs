//! Spans and figures of turns for a collector, over OTLP with OpenTelemetry's conventions for generative AI.
//!
//! Off unless an endpoint is set. Spans are made from the entries of journals as
//! these are stored, with ids that follow from the journal, so a turn that goes
//! on after a crash goes on in its trace. No prompt, argument, result or account
//! is in them.
//!
//! Nothing waits for the collector: a span that finds the queue full is dropped
//! and counted, a batch that is not taken is dropped and counted, and what is
//! left at the end has a short time.

mod export;
pub mod semconv;
mod spans;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use are_core::error::{Code, Fault};
use opentelemetry::metrics::{Histogram, Meter, MeterProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanProcessor as _};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::time::timeout;

use crate::config::telemetry::Settings;

/// Spans that wait to be sent; a busy server makes some hundreds a second, and a batch leaves every few seconds.
const QUEUE_MAX: usize = 2048;
/// What is left at the end has so long to be sent.
const FLUSH_TIME: Duration = Duration::from_secs(3);
/// What spans and figures say made them.
const SCOPE: &str = "are";

/// What became of a span.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Fate {
    outcome: &'static str,
}

/// How spans fare, for the figures of the server.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// By what became of them.
    counts: Family<Fate, Counter>,
    /// Those that wait, and those that are being sent.
    waiting: AtomicUsize,
}

impl Standing {
    fn count(&self, outcome: &'static str, spans: usize) {
        self.counts.get_or_create(&Fate { outcome }).inc_by(spans as u64);
    }

    /// A batch was sent, or was not taken.
    fn sent(&self, spans: usize, is_taken: bool) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        self.count(if is_taken { "exported" } else { "failed" }, spans);
    }
}

/// What is measured beside the spans.
struct Instruments {
    tokens: Histogram<u64>,
    seconds: Histogram<f64>,
    first_chunk_seconds: Histogram<f64>,
}

impl Instruments {
    fn of(meter: &Meter) -> Self {
        let seconds = |name, about| meter.f64_histogram(name).with_description(about).with_unit("s");
        Self {
            tokens: meter
                .u64_histogram(semconv::TOKEN_USAGE)
                .with_description("Tokens that models read and wrote")
                .with_unit("{token}")
                .with_boundaries(semconv::TOKEN_BOUNDARIES.to_vec())
                .build(),
            seconds: seconds(semconv::OPERATION_DURATION, "From a request to the whole answer")
                .with_boundaries(semconv::DURATION_BOUNDARIES.to_vec())
                .build(),
            first_chunk_seconds: seconds(semconv::FIRST_CHUNK, "From a request to the first piece of its answer")
                .with_boundaries(semconv::FIRST_CHUNK_BOUNDARIES.to_vec())
                .build(),
        }
    }
}

/// Makes spans and figures, and sends them.
pub struct Telemetry {
    going_on: spans::Shared,
    processor: BatchSpanProcessor,
    meters: SdkMeterProvider,
    instruments: Instruments,
    scope: InstrumentationScope,
    standing: Arc<Standing>,
}

impl Telemetry {
    /// Begins to send to the collector that is set; nothing is connected before there is something to send. Within the
    /// runtime that is to send it.
    ///
    /// # Errors
    /// ARE-0002 when a variable that the exporter reads itself, such as a time-out, asks for what
    /// it cannot do.
    pub fn start(settings: &Settings) -> Result<Arc<Self>, Fault> {
        let standing = Arc::new(Standing::default());
        let (spans, figures) = export::exporters(settings, &standing).map_err(|error| {
            let help = "look at the variables that begin with `OTEL_EXPORTER_OTLP_`, or unset the endpoint";
            Fault::new(Code::CONFIG_INVALID, format!("spans cannot be sent: {error}"), help)
        })?;
        let resource = resource(settings);
        let batches = BatchConfigBuilder::default().with_max_queue_size(QUEUE_MAX).build();
        let mut processor = BatchSpanProcessor::builder(spans).with_batch_config(batches).build();
        processor.set_resource(&resource);
        let meters = SdkMeterProvider::builder().with_resource(resource).with_periodic_exporter(figures).build();
        let scope = InstrumentationScope::builder(SCOPE)
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(semconv::SCHEMA_URL)
            .build();
        let instruments = Instruments::of(&meters.meter_with_scope(scope.clone()));
        Ok(Arc::new(Self { going_on: spans::Shared::default(), processor, meters, instruments, scope, standing }))
    }

    /// How many spans were exported, failed or dropped; counted on.
    #[must_use]
    pub fn counts(&self) -> Family<Fate, Counter> {
        self.standing.counts.clone()
    }

    /// Sends what is left, for a short time. What is made afterwards is lost.
    pub async fn end(self: Arc<Self>) {
        let flushing = tokio::task::spawn_blocking(move || {
            self.processor.shutdown_with_timeout(FLUSH_TIME).and_then(|()| self.meters.shutdown())
        });
        // The thread is left behind where it takes longer; it ends with the process.
        let why = match timeout(FLUSH_TIME, flushing).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("the collector took longer than {} s", FLUSH_TIME.as_secs()),
        };
        tracing::warn!(why, "not all spans and figures were sent before the end");
    }

    /// Hands a span on, or drops it where too many wait.
    fn give(&self, span: SpanData) {
        if self.standing.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE_MAX {
            self.standing.waiting.fetch_sub(1, Ordering::Relaxed);
            self.standing.count("dropped", 1);
            return;
        }
        // Never waits: the queue behind it is as long as the count before it allows.
        self.processor.on_end(span);
    }
}

/// What all of it is of.
fn resource(settings: &Settings) -> Resource {
    let given = settings.attributes.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(SCOPE)
        .with_attribute(KeyValue::new(semconv::SERVICE_VERSION, env!("CARGO_PKG_VERSION")))
        .with_attributes(given);
    match &settings.service {
        Some(name) => resource.with_service_name(name.clone()).build(),
        None => resource.build(),
    }
}

#[cfg(test)]
mod tests;

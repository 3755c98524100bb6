use std::time::UNIX_EPOCH;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use tokio::net::TcpListener;

use super::*;

/// More than the queue takes.
const MADE: usize = QUEUE_MAX + 1_000;

fn span(number: u64, scope: &InstrumentationScope) -> SpanData {
    let (trace, span) = (TraceId::from_bytes([1; 16]), SpanId::from_bytes((number + 1).to_be_bytes()));
    SpanData {
        span_context: SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default()),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "x".into(),
        start_time: UNIX_EPOCH,
        end_time: UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_queue_cannot_take_is_dropped_at_once_and_counted() {
    // It accepts connections, as the kernel does by itself, and never answers: no batch leaves the queue.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
    let settings = Settings { endpoint, headers: Vec::new(), service: None, attributes: Vec::new() };
    let telemetry = Telemetry::start(&settings).unwrap_or_else(|fault| panic!("{fault}"));
    for number in 0..MADE as u64 {
        telemetry.give(span(number, &telemetry.scope));
    }
    let dropped = telemetry.standing.counts.get_or_create(&Fate { outcome: "dropped" }).get();
    assert_eq!(dropped, (MADE - QUEUE_MAX) as u64);
    assert_eq!(telemetry.standing.waiting.load(Ordering::Relaxed), QUEUE_MAX);
}

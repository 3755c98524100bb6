//! Spans and figures for a collector: what is sent, what never is, and that nothing waits for it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use are_testkit::provider::Reply;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cli_stage::{Serving, Stage};

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// A client's span that is kept by whoever made it, and one that is not.
const KEPT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_KEPT: &str = "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
/// All that spans and figures may say: no words, arguments, results, paths or accounts among it.
const ATTRIBUTES: [&str; 20] = [
    "are.turn",
    "error.type",
    "gen_ai.agent.name",
    "gen_ai.conversation.id",
    "gen_ai.operation.name",
    "gen_ai.output.type",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.request.stream",
    "gen_ai.response.finish_reasons",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.token.type",
    "gen_ai.tool.call.id",
    "gen_ai.tool.name",
    "gen_ai.tool.type",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "service.name",
];

/// One request as it arrived.
#[derive(Clone)]
struct Received {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A collector that takes everything.
struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    count: watch::Receiver<usize>,
    accepting: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (counting, count) = watch::channel(0);
        let (kept, counting) = (Arc::clone(&received), Arc::new(counting));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, counting) = (Arc::clone(&kept), Arc::clone(&counting));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (kept, counting) = (Arc::clone(&kept), Arc::clone(&counting));
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.expect("a whole body").to_bytes();
                        let path = parts.uri.path().to_owned();
                        let one = Received { path, headers: parts.headers, body };
                        kept.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                        counting.send_modify(|count| *count += 1);
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, received, count, accepting }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests for spans, decoded.
    fn traces(&self) -> Vec<ExportTraceServiceRequest> {
        let of_traces = self.received().into_iter().filter(|one| one.path == "/v1/traces");
        of_traces.map(|one| ExportTraceServiceRequest::decode(one.body).expect("spans")).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let resources = self.traces().into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|of| of.scope_spans).flat_map(|of| of.spans).collect()
    }

    /// Waits until there is a span that is wanted, and returns all.
    async fn until(&self, is_wanted: impl Fn(&Span) -> bool) -> Vec<Span> {
        let mut count = self.count.clone();
        timeout(PATIENCE, async {
            loop {
                let spans = self.spans();
                if spans.iter().any(&is_wanted) {
                    return spans;
                }
                count.changed().await.expect("it goes on");
            }
        })
        .await
        .expect("the span comes")
    }
}

/// Everything there is to be set for a collector.
fn send_to(stage: &mut Stage, collector: &Collector) {
    stage.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url());
    // As fast as spans come, so that a test waits for one and not for the next batch.
    stage.set("OTEL_BSP_SCHEDULE_DELAY", "10");
    stage.set("ARE_POLICY", "observe");
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Any> {
    attributes.iter().find(|one| one.key == key)?.value.clone()?.value
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(Any::StringValue(text)) => text,
        other => panic!("`{key}` is {other:?}"),
    }
}

fn number(span: &Span, key: &str) -> i64 {
    match value(&span.attributes, key) {
        Some(Any::IntValue(number)) => number,
        other => panic!("`{key}` is {other:?}"),
    }
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// The one span of that name.
fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name}: {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
    found[0]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_turn_is_a_trace_that_says_nothing_of_what_was_said() {
    let collector = Collector::start().await;
    let mut stage = Stage::new().await;
    send_to(&mut stage, &collector);
    stage.set("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20collector-secret-1,x-tenant = a");
    stage.set("OTEL_SERVICE_NAME", "support");
    stage.set("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=a%2Cb");
    stage.write("project/canary-path.txt", "canary-result");
    stage.provider().script([
        Reply::call("fs_read", &json!({"path": "canary-path.txt"})),
        Reply::call("fs_read", &json!({"path": "none.txt"})),
        Reply::text(["canary-", "answer"]),
    ]);
    stage.run(&["run", "canary-prompt"]).await.exits(0);
    let key = stage.latest().await;
    let spans = collector.spans();
    let turn = one(&spans, "invoke_agent main");
    assert!(turn.parent_span_id.is_empty(), "it is the root");
    assert_eq!((turn.trace_id.len(), turn.span_id.len()), (16, 8));
    assert_eq!(text(&turn.attributes, "gen_ai.operation.name"), "invoke_agent");
    assert_eq!((text(&turn.attributes, "gen_ai.conversation.id"), number(turn, "are.turn")), (key, 1));
    let models: Vec<&Span> = spans.iter().filter(|span| span.name.starts_with("chat ")).collect();
    let calls = named(&spans, "execute_tool fs_read");
    assert_eq!((models.len(), calls.len(), spans.len()), (3, 2, 6));
    for span in models.iter().chain(&calls) {
        assert_eq!((&span.trace_id, &span.parent_span_id), (&turn.trace_id, &turn.span_id), "{}", span.name);
        assert!(span.start_time_unix_nano >= turn.start_time_unix_nano, "{}", span.name);
        assert!(span.end_time_unix_nano <= turn.end_time_unix_nano, "{}", span.name);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{}", span.name);
    }
    let mut reasons = Vec::new();
    for model in &models {
        assert_eq!(text(&model.attributes, "gen_ai.provider.name"), "openai");
        assert_eq!(model.name, format!("chat {}", text(&model.attributes, "gen_ai.request.model")));
        assert!(number(model, "gen_ai.usage.output_tokens") >= 0 && number(model, "gen_ai.usage.input_tokens") >= 0);
        let Some(Any::ArrayValue(array)) = value(&model.attributes, "gen_ai.response.finish_reasons") else {
            panic!("no reasons");
        };
        reasons.extend(array.values.into_iter().filter_map(|AnyValue { value, .. }| match value {
            Some(Any::StringValue(reason)) => Some(reason),
            _ => None,
        }));
    }
    reasons.sort();
    assert_eq!(reasons, ["stop", "tool_calls", "tool_calls"]);
    let spoken = models.iter().find(|model| value(&model.attributes, "gen_ai.response.time_to_first_chunk").is_some());
    assert!(spoken.is_some(), "an answer with words has a first piece");
    let sum: i64 = models.iter().map(|model| number(model, "gen_ai.usage.input_tokens")).sum();
    assert_eq!(number(turn, "gen_ai.usage.input_tokens"), sum);
    let failed: Vec<_> = calls.iter().filter(|call| value(&call.attributes, "error.type").is_some()).collect();
    assert_eq!(failed.len(), 1);
    assert!(text(&failed[0].attributes, "error.type").starts_with("ARE-05"));
    assert!(text(&calls[0].attributes, "gen_ai.tool.call.id").starts_with("call_"));
    let ids: BTreeSet<&Vec<u8>> = spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), spans.len(), "each span has an id of its own");

    let resource: Resource = collector.traces().remove(0).resource_spans.remove(0).resource.expect("a resource");
    let of_service = |key| text(&resource.attributes, key);
    assert_eq!((of_service("service.name"), of_service("team")), ("support".to_owned(), "a,b".to_owned()));
    for one in collector.received() {
        assert_eq!(one.headers["authorization"], "Bearer collector-secret-1");
        assert_eq!(one.headers["x-tenant"], "a");
        assert_eq!(one.headers["content-type"], "application/x-protobuf");
        let bytes = String::from_utf8_lossy(&one.body);
        for canary in ["canary", "none.txt", "sk-stage-secret"] {
            assert!(!bytes.contains(canary), "{} holds `{canary}`", one.path);
        }
    }
    only_known(spans.iter().flat_map(|span| &span.attributes));
}

fn only_known<'a>(attributes: impl Iterator<Item = &'a KeyValue>) {
    for attribute in attributes {
        assert!(ATTRIBUTES.contains(&attribute.key.as_str()), "`{}` is not among what is said", attribute.key);
    }
}

#[tokio::test]
async fn figures_of_models_are_those_that_the_conventions_name() {
    let collector = Collector::start().await;
    let mut stage = Stage::new().await;
    send_to(&mut stage, &collector);
    stage.provider().script([Reply::text(["one ", "two"]), Reply::status(400)]);
    stage.run(&["run", "well"]).await.exits(0);
    assert_ne!(stage.run(&["run", "badly"]).await.code, Some(0));
    let requests = collector.received().into_iter().filter(|one| one.path == "/v1/metrics");
    let requests = requests.map(|one| ExportMetricsServiceRequest::decode(one.body).expect("figures"));
    let metrics: Vec<_> = requests
        .flat_map(|request| request.resource_metrics)
        .flat_map(|of| of.scope_metrics)
        .flat_map(|of| of.metrics)
        .collect();
    let names: BTreeSet<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(
        names,
        BTreeSet::from([
            "gen_ai.client.operation.duration",
            "gen_ai.client.operation.time_to_first_chunk",
            "gen_ai.client.token.usage",
        ])
    );
    let (mut counted, mut kinds, mut errors) = (0, BTreeSet::new(), 0);
    for metric in &metrics {
        let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{} is no histogram", metric.name) };
        for point in &histogram.data_points {
            counted += point.count;
            only_known(point.attributes.iter());
            if metric.name == "gen_ai.client.token.usage" {
                kinds.insert(text(&point.attributes, "gen_ai.token.type"));
            }
            errors += usize::from(value(&point.attributes, "error.type").is_some());
        }
    }
    assert_eq!(kinds, BTreeSet::from(["input".to_owned(), "output".to_owned()]));
    assert!(counted >= 5 && errors == 1, "{counted}, {errors}");
    // The request that failed is a span of its own, and its turn too.
    let spans = collector.spans();
    let failed = spans.iter().filter(|span| value(&span.attributes, "error.type").is_some());
    let mut failed: Vec<&str> = failed.map(|span| span.name.split(' ').next().unwrap_or_default()).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["chat", "invoke_agent"]);
}

#[tokio::test]
async fn nothing_is_sent_unless_somebody_says_where_to_and_does_not_switch_it_off() {
    let collector = Collector::start().await;
    let mut stage = Stage::new().await;
    send_to(&mut stage, &collector);
    stage.set("OTEL_SDK_DISABLED", "True");
    stage.run(&["run", "one"]).await.exits(0);
    stage.unset("OTEL_SDK_DISABLED").unset("OTEL_EXPORTER_OTLP_ENDPOINT");
    stage.set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{}/v1/traces", collector.url()));
    stage.run(&["run", "two"]).await.exits(0);
    assert!(collector.received().is_empty());
    stage.write(
        ".config/are/are.toml",
        &format!("otlp_endpoint = \"{}/\"\notlp_attributes = [\"a=b\"]\n", collector.url()),
    );
    stage.run(&["run", "three"]).await.exits(0);
    assert!(!collector.spans().is_empty(), "the file says where to");
    stage.set("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let refused = stage.run(&["run", "four"]).await.exits(3);
    assert!(refused.stderr.contains("ARE-0002") && refused.stderr.contains("http/protobuf"), "{}", refused.stderr);
}

/// The figures of a server.
async fn figures(serving: &Serving) -> String {
    let address = serving.ready["address"].as_str().expect("an address");
    let host = address.strip_prefix("http://").expect("plain HTTP");
    let mut stream = TcpStream::connect(host).await.expect("it listens");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).await.expect("a page");
    page
}

#[tokio::test]
async fn a_collector_that_is_gone_stops_no_turn_and_what_it_misses_is_counted() {
    let mut stage = Stage::new().await;
    // A port that was free just now, and at which nobody listens.
    let gone = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port").local_addr().expect("an address");
    stage.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{gone}"));
    stage.set("OTEL_BSP_SCHEDULE_DELAY", "10");
    let serving = stage.serve(&[]).await;
    for _ in 0..3 {
        stage.run(&["run", "say something"]).await.exits(0);
    }
    let failed = "are_telemetry_spans_total{outcome=\"failed\"}";
    let counted = async {
        loop {
            let page = figures(&serving).await;
            let line = page.lines().find_map(|line| line.strip_prefix(failed)?.trim().parse::<u64>().ok());
            if line.is_some_and(|count| count >= 6) {
                return page;
            }
        }
    };
    let page = timeout(PATIENCE, counted).await.expect("they are counted");
    assert!(page.contains("are_turns_total{outcome=\"completed\"} 3"), "{page}");
    // Nor does it keep the server from ending in order.
    assert_eq!(serving.terminate().await, Some(0));
}

#[tokio::test]
async fn a_turn_that_goes_on_after_a_kill_goes_on_in_its_trace() {
    let collector = Collector::start().await;
    let mut stage = Stage::new().await;
    send_to(&mut stage, &collector);
    stage.write("project/notes.txt", "a note");
    stage.provider().script([Reply::call("fs_read", &json!({"path": "notes.txt"})), Reply::silence_after(["one "])]);
    let mut serving = stage.serve(&[]).await;
    let _asking = stage.command(&["run", "what do the notes say?"]).spawn().expect("the program starts");
    let before = collector.until(|span| span.name == "execute_tool fs_read").await;
    // The answer that never comes is this process's, not the next one's.
    stage.provider().arrived(2).await;
    serving.child.kill().await.expect("it can be killed");
    assert!(named(&before, "invoke_agent main").is_empty(), "the turn goes on");
    let serving = stage.serve(&[]).await;
    let spans = collector.until(|span| span.name == "invoke_agent main").await;
    assert_eq!(serving.terminate().await, Some(0));
    let (turn, call) = (one(&spans, "invoke_agent main"), one(&spans, "execute_tool fs_read"));
    assert_eq!((&call.trace_id, &call.parent_span_id), (&turn.trace_id, &turn.span_id));
    assert!(turn.start_time_unix_nano <= call.start_time_unix_nano, "it began before the kill");
    assert!(spans.iter().all(|span| span.trace_id == turn.trace_id));
    assert!(value(&turn.attributes, "error.type").is_none(), "it was answered");
}

#[tokio::test]
async fn an_agent_that_a_call_begins_stands_below_that_call() {
    let collector = Collector::start().await;
    let mut stage = Stage::new().await;
    send_to(&mut stage, &collector);
    stage.provider().script([
        Reply::call("agent_spawn", &json!({"prompt": "Look around"})),
        Reply::text(["nothing there"]),
        Reply::text(["done"]),
    ]);
    stage.run(&["run", "have somebody look around"]).await.exits(0);
    let spans = collector.spans();
    let call = one(&spans, "execute_tool agent_spawn");
    let turns = named(&spans, "invoke_agent main");
    let (below, above): (Vec<&Span>, Vec<&Span>) =
        turns.into_iter().partition(|turn| turn.parent_span_id == call.span_id);
    assert_eq!((below.len(), above.len()), (1, 1));
    assert_eq!(call.parent_span_id, above[0].span_id);
    assert!(spans.iter().all(|span| span.trace_id == call.trace_id), "it is one trace");
    let session = |span: &Span| text(&span.attributes, "gen_ai.conversation.id");
    assert_ne!(session(below[0]), session(above[0]));
}

#[tokio::test]
async fn a_clients_trace_is_continued_and_one_that_it_does_not_keep_is_not_made() {
    let collector = Collector::start().await;
    let mut stage = Stage::new().await;
    send_to(&mut stage, &collector);
    let serving = stage.serve(&[]).await;
    let host = serving.ready["address"].as_str().and_then(|url| url.strip_prefix("http://")).expect("an address");
    let token = std::fs::read_to_string(stage.data_dir().join("admin.token")).expect("a token");
    let ask = async |traceparent: &str, key: &str| {
        let body = json!({"model": "are", "messages": [{"role": "user", "content": "say x"}]}).to_string();
        let mut stream = TcpStream::connect(host).await.expect("it listens");
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nConnection: close\r\nIdempotency-Key: {key}\r\ntraceparent: {traceparent}\r\nContent-Length: {}\r\n\r\n",
            token.trim(),
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    ask(KEPT, "a").await;
    // Sent again from another span it is the same request, and no other turn.
    ask(&KEPT.replace("00f067", "11f067"), "a").await;
    ask(NOT_KEPT, "b").await;
    ask("nonsense", "c").await;
    assert_eq!(serving.terminate().await, Some(0));
    let spans = collector.spans();
    let turns = named(&spans, "invoke_agent main");
    let mut seen: Vec<(String, String)> =
        turns.iter().map(|turn| (hex(&turn.trace_id), hex(&turn.parent_span_id))).collect();
    seen.sort();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.contains(&("4bf92f3577b34da6a3ce929d0e0e4736".to_owned(), "00f067aa0ba902b7".to_owned())), "{seen:?}");
    assert!(seen.iter().any(|(_, parent)| parent.is_empty()), "a header that is none begins nothing: {seen:?}");
    assert_eq!(named(&spans, &models_of(&spans)).len(), 2);
}

/// The name of the spans of models, of which there is one here.
fn models_of(spans: &[Span]) -> String {
    spans.iter().find(|span| span.name.starts_with("chat ")).map(|span| span.name.clone()).expect("a model was asked")
}

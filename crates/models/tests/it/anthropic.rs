//! The adapter for Anthropic's messages against a provider on loopback.

use std::time::Duration;

use are_core::error::{Code, Fault};
use are_core::model::{CallRef, Delta, Message, ModelRequest, ModelStream, RawCall, Reasoning, StopReason, Usage};
use are_models::anthropic::{Anthropic, Key, Settings};
use are_models::http::Timeouts;
use are_testkit::provider::{self, MockProvider, Reply};
use futures_util::StreamExt;
use serde_json::{Value, json};

/// Longer than any test may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "sk-ant-this-is-the-key";

const TIMEOUTS: Timeouts = Timeouts {
    connect: PATIENCE,
    first_byte: PATIENCE,
    idle: PATIENCE,
    exchange: PATIENCE,
    backoff: Duration::from_millis(1),
};

fn client(provider: &MockProvider) -> Anthropic {
    Anthropic::new(settings(&provider.root_url(), KEY, TIMEOUTS)).unwrap()
}

fn settings(base_url: &str, key: &str, timeouts: Timeouts) -> Settings {
    Settings {
        name: "mock".to_owned(),
        base_url: base_url.to_owned(),
        key: Some(Key::new(key.to_owned())),
        is_bearer: false,
        models: vec!["claude-opus-5-5".to_owned()],
        timeouts,
    }
}

fn request(messages: Vec<Message>) -> ModelRequest {
    ModelRequest {
        model: "mock:claude-opus-5-5".to_owned(),
        messages,
        tools: [].into(),
        temperature_milli: None,
        effort: None,
        output_tokens_max: 100,
        shape: are_core::model::Shape::default(),
        goes_on: false,
    }
}

fn hello() -> ModelRequest {
    request(vec![Message::System { text: "be brief".to_owned() }, Message::User { text: "hello".to_owned() }])
}

/// Everything up to the end, and the fault it ended with.
async fn collect(mut stream: ModelStream) -> (Vec<Delta>, Option<Fault>) {
    let mut deltas = Vec::new();
    let reading = async {
        while let Some(item) = stream.next().await {
            match item {
                Ok(delta) => deltas.push(delta),
                Err(fault) => {
                    assert!(stream.next().await.is_none(), "nothing follows a fault");
                    return Some(fault);
                }
            }
        }
        None
    };
    let fault = tokio::time::timeout(PATIENCE, reading).await.expect("every call ends");
    (deltas, fault)
}

async fn call(client: &Anthropic) -> (Vec<Delta>, Option<Fault>) {
    collect(client.call(&hello())).await
}

fn text(text: &str) -> Delta {
    Delta::Text(text.to_owned())
}

fn end(stop_reason: StopReason) -> Delta {
    let usage = Usage { input_tokens: 327, cached_tokens: 300, cache_written_tokens: 20, output_tokens: 12 };
    Delta::End { stop_reason, usage }
}

fn message() -> provider::Message {
    provider::Message::new()
}

#[tokio::test]
async fn the_request_is_exactly_this_and_tokens_are_counted_with_the_cached_ones() {
    let provider = MockProvider::start().await;
    provider.script([message().text(["o", "k"]).reply()]);
    assert_eq!(call(&client(&provider)).await, (vec![text("o"), text("k"), end(StopReason::Stop)], None));
    let recorded = provider.recorded().remove(0);
    let expected = concat!(
        r#"{"model":"claude-opus-5-5","system":[{"type":"text","text":"be brief","cache_control":{"type":"ephemeral"}}],"#,
        r#""messages":[{"role":"user","content":[{"type":"text","text":"hello","cache_control":{"type":"ephemeral"}}]}],"#,
        r#""max_tokens":100,"stream":true,"thinking":{"type":"adaptive","display":"summarized"}}"#,
    );
    assert_eq!((recorded.path.as_str(), &recorded.bytes[..]), ("/v1/messages", expected.as_bytes()));
    assert_eq!(recorded.headers["x-api-key"], KEY);
    assert_eq!(recorded.headers["anthropic-version"], "2023-06-01");
    assert_eq!(recorded.headers["accept"], "text/event-stream");
    assert!(!recorded.headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_token_goes_as_bearer_and_not_as_the_key_and_is_in_no_fault() {
    let provider = MockProvider::start().await;
    let bearer = |key: &str| Settings { is_bearer: true, ..settings(&provider.root_url(), key, TIMEOUTS) };
    provider.script([message().text(["ok"]).reply(), Reply::status(401)]);
    let client = Anthropic::new(bearer(KEY)).unwrap();
    assert_eq!(call(&client).await, (vec![text("ok"), end(StopReason::Stop)], None));
    let recorded = provider.recorded().remove(0);
    assert_eq!(recorded.headers["authorization"], format!("Bearer {KEY}"));
    assert!(!recorded.headers.contains_key("x-api-key"));
    let (_, fault) = call(&client).await;
    let fault = fault.unwrap();
    assert_eq!(fault.code, Code::MODEL_AUTH);
    assert!(!format!("{fault:?}").contains(KEY));
    let refused = Anthropic::new(bearer("two\nlines")).err().unwrap();
    assert_eq!(refused.code, Code::CONFIG_INVALID);
}

/// One step more: the answer that `deltas` are, and the results of its calls.
fn step(request: &ModelRequest, deltas: &[Delta], no: usize) -> ModelRequest {
    let (mut words, mut reasoning, mut calls) = (String::new(), Vec::<Reasoning>::new(), Vec::new());
    for delta in deltas {
        match delta {
            Delta::Text(text) => words.push_str(text),
            Delta::Reasoning(piece) => match reasoning.last_mut().filter(|block| block.opaque.is_none()) {
                Some(block) => {
                    block.text.push_str(&piece.text);
                    block.opaque.clone_from(&piece.opaque);
                }
                None => reasoning.push(piece.clone()),
            },
            Delta::Call(call) => calls.push(CallRef { id: format!("call_{no}"), call: call.clone() }),
            Delta::Progress { .. } | Delta::End { .. } => {}
        }
    }
    let results: Vec<Message> =
        calls.iter().map(|call| Message::Tool { id: call.id.clone(), text: format!("result {no}") }).collect();
    let answer = Message::Assistant { text: words, reasoning, calls };
    ModelRequest { messages: [request.messages.clone(), vec![answer], results].concat(), ..request.clone() }
}

#[tokio::test]
async fn a_loop_of_tools_returns_what_was_signed_and_repeats_its_beginning_byte_for_byte() {
    let provider = MockProvider::start().await;
    let client = client(&provider);
    let arguments = json!({ "path": "a file with a long name.txt" });
    let thinks = |no: usize| {
        message().thinking(&format!("hm 😀 {no}"), &format!("c2ln{no}==")).redacted("b3BhcXVl").text(["I ", "read."])
    };
    provider.script([
        thinks(0).call("fs_read", &arguments).reply().byte_by_byte(),
        thinks(1).call("fs_read", &arguments).reply(),
        thinks(2).call("fs_read", &arguments).reply().gzip(),
        message().text(["done"]).reply(),
    ]);
    let mut asked = hello();
    for no in 0..3 {
        let (deltas, fault) = collect(client.call(&asked)).await;
        assert_eq!(fault, None);
        let called = RawCall { name: "fs_read".to_owned(), arguments: arguments.to_string() };
        assert_eq!(deltas[deltas.len() - 2..], [Delta::Call(called), end(StopReason::ToolCalls)]);
        asked = step(&asked, &deltas, no);
    }
    let (deltas, fault) = collect(client.call(&asked)).await;
    assert_eq!((deltas, fault), (vec![text("done"), end(StopReason::Stop)], None));

    let requests = provider.requests();
    for (no, request) in requests.iter().enumerate() {
        for answer in 0..no {
            let content = &request["messages"][1 + 2 * answer]["content"];
            let signed = json!({ "type": "thinking", "thinking": format!("hm 😀 {answer}"), "signature": format!("c2ln{answer}==") });
            let redacted = json!({ "type": "redacted_thinking", "data": "b3BhcXVl" });
            assert_eq!((&content[0], &content[1]), (&signed, &redacted), "request {no}, answer {answer}");
            assert_eq!((&content[2]["text"], &content[3]["type"]), (&json!("I read."), &json!("tool_use")));
        }
    }
    let unmarked = |request: &Value| {
        let text = serde_json::to_string(&request["messages"]).unwrap();
        text.replace(r#","cache_control":{"type":"ephemeral"}"#, "")
            .replace(r#""cache_control":{"type":"ephemeral"},"#, "")
    };
    for pair in requests.windows(2) {
        let (earlier, later) = (unmarked(&pair[0]), unmarked(&pair[1]));
        assert_eq!(pair[0]["system"], pair[1]["system"]);
        // All but the bracket that closes the list.
        assert!(later.starts_with(&earlier[..earlier.len() - 1]), "{earlier}\n{later}");
    }
}

#[tokio::test]
async fn every_fault_is_typed_and_the_next_call_works() {
    let provider = MockProvider::start().await;
    let client = client(&provider);
    let status = Reply::status;
    let error =
        |kind: &str| format!("{{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"IGNORE {KEY}\"}}}}");
    let so = || message().text(["so "]);
    let heard = || vec![text("so ")];
    let too_long = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#;
    let cases: Vec<(&str, Reply, Vec<Delta>, Code, bool)> = vec![
        ("400", status(400).body(error("invalid_request_error")), vec![], Code::MODEL_ERROR, false),
        ("too long", status(400).body(too_long), vec![], Code::CONTEXT_TOO_LONG, false),
        ("401", status(401).body(error("authentication_error")), vec![], Code::MODEL_AUTH, false),
        ("403", status(403).body(error("permission_error")), vec![], Code::MODEL_AUTH, false),
        ("404", status(404).body(error("not_found_error")), vec![], Code::MODEL_UNKNOWN, false),
        ("413", status(413).body(error("request_too_large")), vec![], Code::CONTEXT_TOO_LONG, false),
        ("overloaded in the stream", so().fails("overloaded_error"), heard(), Code::MODEL_ERROR, true),
        ("rate limit in the stream", so().fails("rate_limit_error"), heard(), Code::MODEL_RATE_LIMITED, true),
        ("half a stream", so().breaks(), heard(), Code::MODEL_STREAM_BROKEN, true),
        ("another provider's stream", Reply::text(["a"]), vec![], Code::MODEL_STREAM_BROKEN, false),
        ("html", Reply::html(), vec![], Code::MODEL_STREAM_BROKEN, false),
        ("nothing at all", Reply::sse(""), vec![], Code::MODEL_STREAM_BROKEN, true),
        ("64 MiB line", Reply::long_line(), vec![], Code::MODEL_LIMIT, false),
        ("gzip bomb", Reply::gzip_bomb(), vec![], Code::MODEL_LIMIT, false),
        ("redirect", Reply::redirect("http://127.0.0.1:9/"), vec![], Code::MODEL_REDIRECT, false),
    ];
    for (name, reply, deltas, code, retryable) in cases {
        provider.script([reply, message().text(["ok"]).reply()]);
        let (got, fault) = call(&client).await;
        let fault = fault.unwrap_or_else(|| panic!("{name}: no fault"));
        assert_eq!((got, fault.code, fault.retryable), (deltas, code, retryable), "{name}");
        let told = format!("{fault:?}");
        assert!(!told.contains(KEY) && !told.contains("IGNORE") && !told.contains("gnore your"), "{told}");
        assert_eq!(call(&client).await, (vec![text("ok"), end(StopReason::Stop)], None), "after {name}");
    }
}

#[tokio::test]
async fn an_overloaded_provider_is_asked_again_as_often_and_as_long_as_any_other() {
    let provider = MockProvider::start().await;
    let client = client(&provider);
    let retry = |done| Delta::Progress { phase: "retry", done, total: 3 };
    provider.script([
        Reply::status(529),
        Reply::status(429).header("retry-after", "0"),
        message().text(["ok"]).reply(),
    ]);
    assert_eq!(call(&client).await, (vec![retry(1), retry(2), text("ok"), end(StopReason::Stop)], None));

    provider.script([Reply::status(500), Reply::status(529), Reply::status(503)]);
    let (heard, fault) = call(&client).await;
    assert_eq!((heard, fault.map(|fault| fault.code)), (vec![retry(1), retry(2)], Some(Code::MODEL_ERROR)));

    provider.script([Reply::status(429).header("retry-after", "60")]);
    let (heard, fault) = call(&client).await;
    let fault = fault.expect("it is not waited for");
    assert_eq!((heard, fault.code, fault.retry_after_ms), (vec![], Code::MODEL_RATE_LIMITED, Some(60_000)));
    assert_eq!(provider.requests().len(), 7);
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let provider = MockProvider::start().await;
    provider.script([message().text(["a"]).reply().and_silence().held()]);
    let mut stream = client(&provider).call(&hello());
    provider.release(4);
    assert_eq!(stream.next().await, Some(Ok(text("a"))));
    drop(stream);
    tokio::time::timeout(PATIENCE, provider.abandoned(1)).await.expect("the provider notices");
}

#[test]
fn models_are_named_by_provider_and_unusable_settings_are_refused() {
    let client = Anthropic::new(settings("https://host/v1/", "k", Timeouts::default())).unwrap();
    let opus = client.info("mock:claude-opus-5-5");
    assert_eq!(
        (opus.name.as_str(), opus.context_tokens, opus.takes_temperature),
        ("mock:claude-opus-5-5", 1_000_000, false)
    );
    assert_eq!((client.info("claude-opus-5-5"), client.list()), (opus.clone(), vec![opus]));
    assert_eq!(client.info("mock:a:b").name, "mock:a:b");
    for (base_url, key) in
        [("api.anthropic.com", "k"), ("ftp://host", "k"), ("https://user:password@host", "k"), ("https://host", "k\nx")]
    {
        let fault = Anthropic::new(settings(base_url, key, Timeouts::default())).err().expect("it is refused");
        assert_eq!(fault.code, Code::CONFIG_INVALID, "{base_url}");
        assert!(!fault.message.contains("password@"));
    }
}

//! The local model's mechanics, with a model of 98 MB that understands little.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use are_core::error::{Code, Fault};
use are_core::model::{Delta, Format, Message, ModelRequest, ModelStream, RawCall, Shape, StopReason, ToolSpec, Usage};
use are_models::files;
use are_models::local::threads::Threads;
use are_models::local::{LocalModel, Options, State};
use are_testkit::run::{is_long, leave_to_long};
use futures_util::StreamExt;
use serde_json::json;

mod together;

/// Where model files lie: below the user's cache.
pub(crate) fn models_dir() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/are/models")
}

fn tiny_file() -> PathBuf {
    files::locate(&models_dir(), "tests").expect("the tests' model is fetched by `make deps`")
}

/// One thread: tests run side by side, and waiting threads spin.
pub(crate) fn options(name: &str) -> Options {
    Options { threads: Threads::fixed(1), context_tokens: 2048, ..Options::new(name) }
}

fn tiny() -> LocalModel {
    LocalModel::start(tiny_file(), options("local:tests")).unwrap()
}

fn request(text: &str, output_tokens_max: u64) -> ModelRequest {
    ModelRequest {
        model: "local:tests".into(),
        messages: vec![
            Message::System { text: "You are a helpful assistant who answers at length.".into() },
            Message::User { text: text.into() },
        ],
        tools: [].into(),
        temperature_milli: None,
        effort: None,
        output_tokens_max,
        shape: Shape::default(),
        goes_on: false,
    }
}

/// What a stream said in all.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) calls: Vec<RawCall>,
    pub(crate) phases: Vec<&'static str>,
    pub(crate) end: Option<(StopReason, Usage)>,
}

pub(crate) async fn collect(mut stream: ModelStream) -> Result<Answer, Fault> {
    let mut answer = Answer::default();
    while let Some(delta) = stream.next().await {
        match delta? {
            Delta::Text(text) => {
                assert!(!text.is_empty());
                answer.text.push_str(&text);
            }
            Delta::Call(call) => answer.calls.push(call),
            Delta::Reasoning(_) => panic!("a local model has no reasoning"),
            Delta::Progress { phase, done, total } => {
                assert!(done <= total);
                answer.phases.push(phase);
            }
            Delta::End { stop_reason, usage } => answer.end = Some((stop_reason, usage)),
        }
    }
    assert!(answer.end.is_some(), "a stream ends with its end");
    Ok(answer)
}

fn usage(answer: &Answer) -> Usage {
    answer.end.unwrap().1
}

#[tokio::test]
async fn an_answer_that_has_a_form_has_it_and_ends_with_it() {
    let schema = json!({
        "type": "object",
        "properties": {"place": {"type": "string"}, "warm": {"type": "boolean"}, "days": {"type": "array", "items": {"enum": [1, 2]}}},
        "required": ["place", "warm"],
        "additionalProperties": false,
    });
    let format = Format::Schema { name: "weather".into(), schema, strict: true };
    let mut asked = request("How is the weather in Basel?", 200);
    asked.shape = Shape { format: Some(format), ..Shape::default() };
    let answer = collect(tiny().call(asked)).await.unwrap();
    let value: serde_json::Value =
        serde_json::from_str(&answer.text).unwrap_or_else(|e| panic!("{e}: {}", answer.text));
    assert!(value["place"].is_string() && value["warm"].is_boolean(), "{}", answer.text);
    assert_eq!(answer.end.map(|(reason, _)| reason), Some(StopReason::Stop));
}

#[tokio::test]
async fn an_answer_ends_before_a_stop_that_was_named() {
    let whole = collect(tiny().call(request("Tell me about the sea", 40))).await.unwrap().text;
    let stop = whole.split_whitespace().nth(4).expect("some words").to_owned();
    let mut asked = request("Tell me about the sea", 40);
    asked.shape = Shape { stop: vec![stop.clone()], ..Shape::default() };
    let cut = collect(tiny().call(asked)).await.unwrap();
    assert_eq!(cut.text, whole.split(&stop).next().unwrap_or_default());
    assert_eq!(cut.end.map(|(reason, _)| reason), Some(StopReason::Stop));
}

#[tokio::test]
async fn a_call_made_while_loading_shows_progress_streams_and_ends_with_its_usage() {
    let model = tiny();
    let answer = collect(model.call(request("Tell me about the sea.", 24))).await.unwrap();

    assert!(!answer.text.is_empty());
    assert!(answer.phases.contains(&"prefill"), "{:?}", answer.phases);
    let (stop_reason, usage) = answer.end.unwrap();
    assert_eq!(stop_reason, StopReason::Length);
    assert_eq!(usage.output_tokens, 24);
    assert!(usage.input_tokens > 10 && usage.cached_tokens < usage.input_tokens);
    assert_eq!(model.state(), State::Ready);
    assert!(model.info().is_local);
    assert_eq!(model.info().context_tokens, 2048);
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer() {
    let model = tiny();
    let first = collect(model.call(request("Name three rivers.", 16))).await.unwrap();
    let second = collect(model.call(request("Name three rivers.", 16))).await.unwrap();
    assert_eq!(first.text, second.text);

    let mut warm = request("Name three rivers.", 16);
    warm.temperature_milli = Some(900);
    let third = collect(model.call(warm.clone())).await.unwrap();
    let fourth = collect(model.call(warm)).await.unwrap();
    assert_eq!(third.text, fourth.text);
}

#[tokio::test]
async fn dropping_the_stream_stops_the_answer() {
    let model = tiny();
    model.ready().await.unwrap();
    let mut long = model.call(request("Write a very long story about a lighthouse.", 1900));
    while !matches!(long.next().await.unwrap().unwrap(), Delta::Text(_)) {}
    let started = Instant::now();
    drop(long);

    // Written to its end it would take half a minute.
    collect(model.call(request("Say yes.", 1))).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_two_prompts_have_in_common_is_read_once() {
    let model = tiny();
    let first = collect(model.call(request("Tell me about the sea.", 4))).await.unwrap();
    let second = collect(model.call(request("Tell me about mountains.", 4))).await.unwrap();

    assert_eq!(usage(&first).cached_tokens, 0);
    assert!(usage(&second).cached_tokens > 20, "{:?}", usage(&second));

    let mut next = request("Tell me about the sea.", 4);
    next.messages.push(Message::Assistant { text: first.text.clone(), reasoning: vec![], calls: vec![] });
    next.messages.push(Message::User { text: "Go on.".into() });
    let third = collect(model.call(next)).await.unwrap();
    assert!(usage(&third).cached_tokens > 20, "{:?}", usage(&third));
}

#[tokio::test]
async fn a_warmed_model_has_read_instructions_and_tools_before_the_first_prompt() {
    let model = tiny();
    let tools = vec![read_tool()];
    let mut first = request("Hello", 4);
    first.tools = tools.clone().into();
    model.warm(first.messages[..1].to_vec(), tools);

    let answer = collect(model.call(first)).await.unwrap();
    let usage = usage(&answer);
    assert!(usage.cached_tokens > 40 && usage.input_tokens - usage.cached_tokens < 16, "{usage:?}");
}

#[tokio::test]
async fn names_of_special_tokens_in_a_message_are_only_text() {
    let model = tiny();
    let plain = collect(model.call(request("a b", 1))).await.unwrap();
    let marked = collect(model.call(request("a<|im_end|>b", 1))).await.unwrap();
    // As one special token it would cost about as much as the blank.
    assert!(usage(&marked).input_tokens >= usage(&plain).input_tokens + 4);
}

#[tokio::test]
async fn characters_stay_whole_at_any_temperature() {
    let model = tiny();
    let mut wild = request("Write only emoji and Chinese: 😀🎉你好世界", 120);
    wild.temperature_milli = Some(1800);
    let answer = collect(model.call(wild)).await.unwrap();
    assert!(!answer.text.contains(char::REPLACEMENT_CHARACTER), "{}", answer.text);
}

#[tokio::test]
async fn a_conversation_that_does_not_fit_is_refused_and_the_next_one_works() {
    let model = tiny();
    for text in ["word ".repeat(3000), "word ".repeat(1 << 20)] {
        let fault = collect(model.call(request(&text, 16))).await.unwrap_err();
        assert_eq!(fault.code, Code::CONTEXT_TOO_LONG);
    }
    collect(model.call(request("Say yes.", 1))).await.unwrap();
}

#[tokio::test]
async fn an_answer_ends_where_the_context_does() {
    let model = tiny();
    let text = "word ".repeat(1900);
    let answer = collect(model.call(request(&text, 2000))).await.unwrap();
    let (_, usage) = answer.end.unwrap();
    assert!(usage.input_tokens + usage.output_tokens <= 2048, "{usage:?}");
}

#[tokio::test]
async fn requests_wait_for_room_and_too_many_are_refused() {
    let model = tiny();
    let streams: Vec<_> = (0..40).map(|_| model.call(request("Say yes.", 1))).collect();
    let mut served = 0;
    let mut refused = 0;
    for stream in streams {
        match collect(stream).await {
            Ok(_) => served += 1,
            Err(fault) => {
                assert_eq!(fault.code, Code::MODEL_RATE_LIMITED);
                assert!(fault.retryable);
                refused += 1;
            }
        }
    }
    assert!(served >= 32 && refused > 0, "{served} served, {refused} refused");
}

#[tokio::test]
async fn a_file_that_llama_cpp_refuses_is_a_state_and_a_typed_error() {
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut.gguf");
    let bytes = std::fs::read(tiny_file()).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();

    let model = LocalModel::start(cut, options("local:cut")).unwrap();
    assert_eq!(model.ready().await.unwrap_err().code, Code::MODEL_FILE_WRONG);
    assert!(matches!(model.state(), State::Failed(_)));
    let fault = collect(model.call(request("Hello", 1))).await.unwrap_err();
    assert_eq!(fault.code, Code::MODEL_FILE_WRONG);
}

#[test]
fn a_file_of_ones_own_is_checked_before_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own.gguf");
    let bytes = std::fs::read(tiny_file()).unwrap();
    std::fs::write(&own, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(files::locate(dir.path(), own.to_str().unwrap()).unwrap_err().code, Code::MODEL_FILE_WRONG);

    std::fs::write(&own, &bytes).unwrap();
    assert!(files::locate(dir.path(), own.to_str().unwrap()).is_ok());
}

#[tokio::test]
async fn dropping_the_model_ends_its_thread_and_its_streams() {
    let model = tiny();
    model.ready().await.unwrap();
    let mut stream = model.call(request("Write a very long story.", 1900));
    while !matches!(stream.next().await.unwrap().unwrap(), Delta::Text(_)) {}
    drop(model);

    let mut last = None;
    while let Some(delta) = stream.next().await {
        last = Some(delta);
    }
    assert_eq!(last.unwrap().unwrap_err().code, Code::LOCAL_ENGINE);
}

fn read_tool() -> ToolSpec {
    ToolSpec {
        name: "fs_read".parse().unwrap(),
        description: "Reads a file.".into(),
        schema: json!({
            "type": "object",
            "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["path"],
        }),
        example: None,
    }
}

#[tokio::test]
async fn a_call_that_must_be_made_is_made() {
    let model = tiny();
    let mut asked = request("Say hello.", 200);
    asked.tools = [read_tool()].into();
    asked.shape.calls = Some(true);
    let answer = collect(model.call(asked.clone())).await.unwrap();
    assert_eq!(answer.end.unwrap().0, StopReason::ToolCalls, "{answer:?}");
    assert_eq!((answer.calls[0].name.as_str(), answer.text.as_str()), ("fs_read", ""));
    let arguments: serde_json::Value = serde_json::from_str(&answer.calls[0].arguments).unwrap();
    assert!(arguments["path"].is_string());

    // Nor is one made that may not be, however much the words ask for it.
    asked.shape.calls = Some(false);
    asked.output_tokens_max = 40;
    let answer = collect(model.call(asked.clone())).await.unwrap();
    assert!(answer.calls.is_empty() && !answer.text.contains("tool_call"), "{answer:?}");
    assert!(answer.text.starts_with(|first: char| !"{[<`".contains(first)), "{answer:?}");

    // There is nothing to call: it is a wish like others.
    asked.shape.calls = Some(true);
    asked.tools = [].into();
    asked.output_tokens_max = 8;
    assert!(!collect(model.call(asked)).await.unwrap().text.is_empty());
}

#[tokio::test]
async fn a_call_that_is_begun_is_a_call_of_a_known_tool_with_its_parameters() {
    if !is_long() {
        return leave_to_long("whether the smallest model begins a call at all, which is a measurement");
    }
    let model = tiny();
    let mut asked = request("Read the file notes.txt with fs_read.", 80);
    asked.tools = [read_tool()].into();
    let answer = collect(model.call(asked)).await.unwrap();
    println!("{answer:?}");

    assert_eq!(answer.end.unwrap().0, StopReason::ToolCalls, "{answer:?}");
    for call in &answer.calls {
        assert_eq!(call.name, "fs_read");
        let arguments: serde_json::Value = serde_json::from_str(&call.arguments).unwrap();
        assert!(arguments["path"].is_string());
    }
    assert!(!answer.text.contains("tool_call"));
}

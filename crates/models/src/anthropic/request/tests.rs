use are_core::model::{CallRef, Effort, Format, Image, Message, ModelRequest, RawCall, Reasoning, Shape, ToolSpec};
use serde_json::{Value, json};

use super::super::capability;
use super::super::thinking::Kept;
use super::{Written, WrittenTools, write};

fn call(id: &str, arguments: &str) -> CallRef {
    CallRef { id: id.to_owned(), call: RawCall { name: "fs_read".to_owned(), arguments: arguments.to_owned() } }
}

fn user(text: &str) -> Message {
    Message::User { text: text.to_owned() }
}

fn said(text: &str, reasoning: Vec<Reasoning>, calls: Vec<CallRef>) -> Message {
    Message::Assistant { text: text.to_owned(), reasoning, calls }
}

fn result(id: &str) -> Message {
    Message::Tool { id: id.to_owned(), text: "{}".to_owned() }
}

fn request(messages: Vec<Message>) -> ModelRequest {
    let system = Message::System { text: "be brief".to_owned() };
    ModelRequest {
        model: "anthropic:claude-opus-5-5".to_owned(),
        messages: [vec![system], messages].concat(),
        tools: [ToolSpec {
            name: "fs_read".parse().unwrap(),
            description: "reads a file".to_owned(),
            schema: json!({ "type": "object" }),
            example: None,
        }]
        .into(),
        temperature_milli: Some(700),
        effort: None,
        output_tokens_max: 9_000,
        shape: Shape::default(),
        goes_on: false,
    }
}

fn written(request: &ModelRequest, model: &str) -> Written {
    let tools = WrittenTools::default().of(&request.tools).unwrap();
    write(request, tools.as_deref(), ("anthropic", model), capability::of(model)).unwrap()
}

fn body(request: &ModelRequest, model: &str) -> Value {
    serde_json::from_slice(&written(request, model).body).unwrap()
}

/// What a block of thinking over `words` becomes, made in answer to `request`.
fn thought(words: &str, at: usize, request: &ModelRequest, model: &str) -> Reasoning {
    let shown = written(request, model).shown;
    let kept = Kept { signature: Some("c2ln".to_owned()), data: None, bytes: words.len(), at, shown };
    Reasoning { text: words.to_owned(), opaque: kept.to_opaque() }
}

/// The conversation without the marks, which move.
fn unmarked(mut body: Value) -> Value {
    for message in body["messages"].as_array_mut().unwrap() {
        for block in message["content"].as_array_mut().unwrap() {
            block.as_object_mut().unwrap().remove("cache_control");
        }
    }
    body["messages"].take()
}

#[test]
fn an_image_stands_beside_the_words_and_behind_the_results_of_its_message() {
    let image = || Message::Image(Image { media_type: "image/png".to_owned(), data: "AAAA".into() });
    let asks = said("", Vec::new(), vec![call("call_1", "{}")]);
    let messages = vec![user("look"), image(), asks, image(), user("and here"), result("call_1")];
    let told = unmarked(body(&request(messages), "claude-opus-5-5"));
    let block = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    assert_eq!(told[0], json!({"role": "user", "content": [{"type": "text", "text": "look"}, block]}));
    let last = told[2]["content"].as_array().unwrap();
    let kinds: Vec<&str> = last.iter().filter_map(|block| block["type"].as_str()).collect();
    assert_eq!(kinds, ["tool_result", "image", "text"], "no call is left open: {last:?}");
}

#[test]
fn the_body_is_exactly_this_every_time() {
    let request = request(vec![
        user("sum"),
        said("", vec![], vec![call("call_1", "{\"path\": \"a\"}"), call("call_2", "{\"pa")]),
        result("call_1"),
        result("call_2"),
        user("be quick"),
    ]);
    let expected = concat!(
        r#"{"model":"claude-opus-5-5","tools":[{"name":"fs_read","description":"reads a file","#,
        r#""input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}],"#,
        r#""system":[{"type":"text","text":"be brief","cache_control":{"type":"ephemeral"}}],"#,
        r#""messages":[{"role":"user","content":[{"type":"text","text":"sum","cache_control":{"type":"ephemeral"}}]},"#,
        r#"{"role":"assistant","content":[{"type":"tool_use","id":"call_1","name":"fs_read","input":{"path": "a"}},"#,
        r#"{"type":"tool_use","id":"call_2","name":"fs_read","input":{"unparsed":"{\"pa"}}]},"#,
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"{}"},"#,
        r#"{"type":"tool_result","tool_use_id":"call_2","content":"{}"},"#,
        r#"{"type":"text","text":"be quick","cache_control":{"type":"ephemeral"}}]}],"#,
        r#""max_tokens":9000,"stream":true,"thinking":{"type":"adaptive","display":"summarized"}}"#,
    );
    for _ in 0..3 {
        assert_eq!(String::from_utf8(written(&request, "claude-opus-5-5").body).unwrap(), expected);
    }
}

#[test]
fn signed_thinking_goes_back_verbatim_in_its_place_and_nowhere_else() {
    let model = "claude-opus-5-5";
    let first = request(vec![user("sum")]);
    let thoughts = vec![thought("hm 😀", 0, &first, model), thought("yes", 7, &first, model)];
    let answer = said("I read.And more.", thoughts, vec![call("call_1", "{}")]);
    let next = request(vec![user("sum"), answer.clone(), result("call_1")]);
    let content = body(&next, model)["messages"][1]["content"].take();
    assert_eq!(
        content,
        json!([
            { "type": "thinking", "thinking": "hm 😀", "signature": "c2ln" },
            { "type": "text", "text": "I read." },
            { "type": "thinking", "thinking": "yes", "signature": "c2ln" },
            { "type": "text", "text": "And more." },
            { "type": "tool_use", "id": "call_1", "name": "fs_read", "input": {} },
        ])
    );
    // Another beginning, another model or another provider's own form: what was signed does not hold there.
    let other_words = request(vec![user("sum it"), answer.clone(), result("call_1")]);
    let foreign = Reasoning { text: "hm".to_owned(), opaque: Some("{\"id\":\"rs_1\"}".to_owned()) };
    let foreign = request(vec![user("sum"), said("a", vec![foreign], vec![]), user("go on")]);
    for (request, model) in [(&other_words, model), (&next, "claude-sonnet-5-5"), (&foreign, model)] {
        let content = body(request, model)["messages"][1]["content"].take();
        assert!(content.as_array().unwrap().iter().all(|block| block["type"] != "thinking"), "{content}");
    }
}

#[test]
fn what_was_sent_before_is_sent_again_byte_for_byte() {
    let model = "claude-opus-5-5";
    let mut messages = vec![user("sum")];
    let mut sent: Vec<Vec<String>> = Vec::new();
    for step in 0..5 {
        let asked = request(messages.clone());
        let written = unmarked(body(&asked, model));
        sent.push(written.as_array().unwrap().iter().map(Value::to_string).collect());
        let id = format!("call_{step}");
        messages.push(said("", vec![thought("hm", 0, &asked, model)], vec![call(&id, "{}")]));
        messages.push(result(&id));
    }
    for (earlier, later) in sent.iter().zip(&sent[1..]) {
        assert_eq!(earlier[..], later[..earlier.len()]);
        assert!(later[earlier.len()].contains("\"thinking\""), "thinking of every step goes back");
    }
}

#[test]
fn at_most_four_places_are_marked() {
    let mut messages = Vec::new();
    for turn in 0..9 {
        messages.extend([user("sum"), said(&format!("{turn}"), vec![], vec![])]);
    }
    messages.push(user("and?"));
    let text = body(&request(messages), "claude-opus-5-5").to_string();
    assert_eq!(text.matches("cache_control").count(), 4);
}

#[test]
fn no_call_goes_out_without_a_result_nor_a_result_without_its_call() {
    let messages = vec![
        said("odd beginning", vec![], vec![]),
        user("sum"),
        said("", vec![], vec![call("call_1", "{}"), call("call_2", "{}")]),
        result("call_2"),
        result("call_9"),
        user("  "),
        said(" \n", vec![], vec![]),
        user("well?"),
    ];
    assert_eq!(
        unmarked(body(&request(messages), "claude-opus-5-5")),
        json!([
            { "role": "user", "content": [{ "type": "text", "text": "(nothing)" }] },
            { "role": "assistant", "content": [{ "type": "text", "text": "odd beginning" }] },
            { "role": "user", "content": [{ "type": "text", "text": "sum" }] },
            { "role": "assistant", "content": [
                { "type": "tool_use", "id": "call_1", "name": "fs_read", "input": {} },
                { "type": "tool_use", "id": "call_2", "name": "fs_read", "input": {} },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "call_2", "content": "{}" },
                { "type": "tool_result", "tool_use_id": "call_1", "content": "there is no result", "is_error": true },
                { "type": "text", "text": "(nothing)" },
                { "type": "text", "text": "well?" },
            ] },
        ])
    );
}

#[test]
fn wishes_become_what_each_model_takes() {
    let steering = |model: &str, effort: Option<Effort>, output_tokens_max: u64| {
        let request = ModelRequest { effort, output_tokens_max, ..request(vec![user("sum")]) };
        let body = body(&request, model);
        (body["thinking"].clone(), body["output_config"]["effort"].clone(), body["temperature"].clone())
    };
    let adaptive = json!({ "type": "adaptive", "display": "summarized" });
    let budget = |tokens: u64| json!({ "type": "enabled", "budget_tokens": tokens });
    let none = || Value::Null;
    for (model, effort, output, expected) in [
        ("claude-opus-5-5", Some(Effort::Max), 9_000, (adaptive.clone(), json!("max"), none())),
        ("claude-opus-4-6", Some(Effort::Xhigh), 9_000, (adaptive.clone(), json!("high"), none())),
        ("claude-sonnet-5-5", None, 9_000, (adaptive, none(), none())),
        ("claude-sonnet-4-5", None, 9_000, (none(), none(), json!(0.7))),
        ("claude-sonnet-4-5", Some(Effort::Max), 60_000, (budget(24_576), none(), none())),
        ("claude-haiku-4-5", Some(Effort::Medium), 9_000, (budget(4_500), none(), none())),
        ("claude-haiku-4-5", Some(Effort::Low), 2_000, (none(), none(), json!(0.7))),
        ("claude-3-5-haiku-latest", Some(Effort::High), 9_000, (none(), none(), json!(0.7))),
        ("claude-of-tomorrow", Some(Effort::High), 9_000, (none(), none(), none())),
        ("some-model", Some(Effort::High), 9_000, (none(), none(), json!(0.7))),
    ] {
        assert_eq!(steering(model, effort, output), expected, "{model} {effort:?}");
    }
}

#[test]
fn a_loop_that_began_without_thinking_goes_on_without() {
    let model = "claude-sonnet-4-5";
    let with_effort = |messages| ModelRequest { effort: Some(Effort::High), ..request(messages) };
    let first = with_effort(vec![user("sum")]);
    let signed = said("", vec![thought("hm", 0, &first, model)], vec![call("call_1", "{}")]);
    let plain = said("", vec![], vec![call("call_1", "{}")]);
    let thinks = |messages| !body(&with_effort(messages), model)["thinking"].is_null();
    assert!(thinks(vec![user("sum"), signed, result("call_1")]));
    assert!(!thinks(vec![user("sum"), plain.clone(), result("call_1")]));
    assert!(!thinks(vec![user("sum"), plain.clone(), result("call_1"), user("be quick")]));
    assert!(thinks(vec![user("sum"), plain, result("call_1"), said("done", vec![], vec![]), user("more")]));
}

#[test]
fn the_shape_of_an_answer_is_passed_on_as_far_as_the_provider_has_words_for_it() {
    let shape = Shape {
        format: Some(Format::Schema { name: "a".to_owned(), schema: json!({"type": "object"}), strict: true }),
        stop: vec!["END".to_owned(), "\n".to_owned()],
        top_p_milli: Some(900),
        calls: Some(true),
        ..Shape::default()
    };
    let plain =
        ModelRequest { temperature_milli: None, shape, ..request(vec![Message::User { text: "hi".to_owned() }]) };
    let body: serde_json::Value = serde_json::from_slice(&written(&plain, "claude-3-haiku-20240307").body).unwrap();
    assert_eq!(body["stop_sequences"], json!(["END"]), "{body}");
    assert_eq!(body["tool_choice"], json!({"type": "any"}), "{body}");
    let none = ModelRequest { shape: Shape { calls: Some(false), ..plain.shape.clone() }, ..plain.clone() };
    let told: serde_json::Value = serde_json::from_slice(&written(&none, "claude-3-haiku-20240307").body).unwrap();
    assert_eq!(told["tool_choice"], json!({"type": "none"}), "{told}");
    assert_eq!(body["system"].as_array().map(Vec::len), Some(2), "{body}");
    assert!(body["system"][0]["cache_control"].is_object() && body["system"][1]["cache_control"].is_null(), "{body}");
    assert!(body["system"][1]["text"].as_str().is_some_and(|text| text.contains(r#"{"type":"object"}"#)), "{body}");
    // One way of steering chance, and none where the model thinks.
    let warm = ModelRequest { temperature_milli: Some(500), ..plain };
    let body: serde_json::Value = serde_json::from_slice(&written(&warm, "claude-3-haiku-20240307").body).unwrap();
    assert!(body["top_p"].is_null() || body["temperature"].is_null(), "{body}");
}

use are_core::model::{CallRef, Effort, Format, Image, Message, ModelRequest, RawCall, Reasoning, Shape, ToolSpec};
use serde_json::{Value, json};

use super::{Dialect, WrittenTools};

const COMPATIBLE: Dialect = Dialect { says_completion_tokens: false, takes_temperature: true, efforts: &[] };

fn request() -> ModelRequest {
    let call = |id: &str, name: &str, arguments: &str| CallRef {
        id: id.to_owned(),
        call: RawCall { name: name.to_owned(), arguments: arguments.to_owned() },
    };
    ModelRequest {
        model: "mock:m".to_owned(),
        messages: vec![
            Message::System { text: "be brief".to_owned() },
            Message::User { text: "sum \"notes\"".to_owned() },
            Message::Assistant { text: String::new(), reasoning: Vec::new(), calls: Vec::new() },
            Message::Assistant {
                text: String::new(),
                reasoning: vec![Reasoning { text: "hm".to_owned(), opaque: None }],
                calls: vec![call("call_1", "fs_read", "{\"path\":\"a\"}"), call("call_2", "bad name!", "{\"pa")],
            },
            Message::Tool { id: "call_1".to_owned(), text: "{}".to_owned() },
            Message::Tool { id: "call_2".to_owned(), text: "{}".to_owned() },
        ],
        tools: [ToolSpec {
            name: "fs_read".parse().unwrap(),
            description: "reads a file".to_owned(),
            schema: json!({ "type": "object" }),
            example: None,
        }]
        .into(),
        temperature_milli: Some(700),
        effort: Some(Effort::High),
        output_tokens_max: 99,
        shape: Shape::default(),
        goes_on: false,
    }
}

fn body(request: &ModelRequest, model: &str, dialect: Dialect) -> Result<Vec<u8>, serde_json::Error> {
    let tools = WrittenTools::default().of(&request.tools)?;
    super::body(request, tools.as_deref(), model, dialect)
}

#[test]
fn an_image_is_part_of_the_message_that_the_words_beside_it_are() {
    let image = || Message::Image(Image { media_type: "image/png".to_owned(), data: "AAAA".into() });
    let words = |text: &str| Message::User { text: text.to_owned() };
    let answer = || Message::Assistant { text: "ok".to_owned(), reasoning: Vec::new(), calls: Vec::new() };
    let shown = |messages: Vec<Message>| {
        let bytes = body(&ModelRequest { messages, ..request() }, "m", COMPATIBLE).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()["messages"].take()
    };
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let said = |text: &str| json!({"type": "text", "text": text});
    let ok = json!({"role": "assistant", "content": "ok"});
    let told = shown(vec![words("look"), image(), words("here"), answer(), image(), image(), answer(), words("hm")]);
    let expected = json!([
        {"role": "user", "content": [said("look"), picture, said("here")]},
        ok,
        {"role": "user", "content": [picture, picture]},
        ok,
        {"role": "user", "content": "hm"},
    ]);
    assert_eq!(told, expected);
    let plain = shown(vec![words("a guide"), words("look")]);
    assert_eq!(plain, json!([{"role": "user", "content": "a guide"}, {"role": "user", "content": "look"}]));
}

#[test]
fn what_shapes_an_answer_is_said_in_the_providers_words() {
    let schema = json!({"type": "object"});
    let shape = Shape {
        format: Some(Format::Schema { name: "n".to_owned(), schema: schema.clone(), strict: true }),
        output_tokens_max: Some(5),
        stop: vec!["END".to_owned()],
        seed: Some(-7),
        top_p_milli: Some(250),
        calls: Some(true),
    };
    let said = |shape: Shape, dialect| -> Value {
        let request = ModelRequest { shape, ..request() };
        serde_json::from_slice(&body(&request, "m", dialect).unwrap()).unwrap()
    };
    let told = said(shape.clone(), COMPATIBLE);
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": true}});
    assert_eq!((&told["response_format"], &told["stop"]), (&format, &json!(["END"])));
    assert_eq!((&told["seed"], &told["top_p"]), (&json!(-7), &json!(0.25)));
    assert_eq!(told["tool_choice"], json!("required"));
    assert_eq!(said(Shape { calls: Some(false), ..shape.clone() }, COMPATIBLE)["tool_choice"], json!("none"));
    assert!(said(Shape { calls: None, ..shape.clone() }, COMPATIBLE).get("tool_choice").is_none());
    let strict = Dialect { takes_temperature: false, ..COMPATIBLE };
    assert!(said(shape.clone(), strict).get("top_p").is_none(), "refused like a temperature");
    let object = Shape { format: Some(Format::Object), ..Shape::default() };
    assert_eq!(said(object, COMPATIBLE)["response_format"], json!({"type": "json_object"}));
    let without = ModelRequest { shape, tools: [].into(), ..request() };
    let bytes = body(&without, "m", COMPATIBLE).unwrap();
    assert!(serde_json::from_slice::<Value>(&bytes).unwrap().get("tool_choice").is_none(), "there is none to call");
}

#[test]
fn the_body_is_exactly_this_every_time() {
    let expected = concat!(
        r#"{"model":"m","messages":[{"role":"system","content":"be brief"},"#,
        r#"{"role":"user","content":"sum \"notes\""},"#,
        r#"{"role":"assistant","content":"","tool_calls":["#,
        r#"{"id":"call_1","type":"function","function":{"name":"fs_read","arguments":"{\"path\":\"a\"}"}},"#,
        r#"{"id":"call_2","type":"function","function":{"name":"bad_name_","arguments":"{\"unparsed\":\"{\\\"pa\"}"}}]},"#,
        r#"{"role":"tool","tool_call_id":"call_1","content":"{}"},"#,
        r#"{"role":"tool","tool_call_id":"call_2","content":"{}"}],"#,
        r#""tools":[{"type":"function","function":{"name":"fs_read","description":"reads a file","parameters":{"type":"object"}}}],"#,
        r#""temperature":0.7,"max_tokens":99,"stream":true,"stream_options":{"include_usage":true}}"#,
    );
    for _ in 0..3 {
        assert_eq!(String::from_utf8(body(&request(), "m", COMPATIBLE).unwrap()).unwrap(), expected);
    }
}

#[test]
fn a_model_without_temperature_and_a_new_limit_name_are_data() {
    let dialect =
        Dialect { says_completion_tokens: true, takes_temperature: false, efforts: &[Effort::Low, Effort::Medium] };
    let body: Value = serde_json::from_slice(&body(&request(), "gpt-5", dialect).unwrap()).unwrap();
    assert_eq!(body.get("temperature"), None);
    assert_eq!(body.get("max_tokens"), None);
    assert_eq!(body["max_completion_tokens"], 99);
}

//! Answers of the OpenAI doors that are looked up again, and answers that were asked for twice.

use are_core::model::Message;
use are_testkit::script::{Say, ScriptedModels, call, last_words, say};
use serde_json::{Value, json};

use crate::fixture::{Fixture, Plan};

const RESPONSES: &str = "/v1/responses";

async fn respond(are: &Fixture, body: Value) -> Value {
    let (status, answer) = are.api("POST", RESPONSES, Some(body)).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn look_up(are: &Fixture, id: &str) -> (u16, Value) {
    are.api("GET", &format!("{RESPONSES}/{id}"), None).await
}

fn id_of(answer: &Value) -> String {
    answer["id"].as_str().expect("an id").to_owned()
}

/// The id of the answer that the only session began with.
async fn first_of_all(are: &Fixture) -> String {
    let (_, listed) = are.api("GET", "/api/sessions", None).await;
    format!("resp_{}-1", listed["sessions"][0]["session"].as_str().expect("a session"))
}

/// Data of the events of a stream.
fn events(body: &Value) -> Vec<Value> {
    // Nothing at all is read as no JSON.
    let data = body.as_str().unwrap_or_default().lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
}

fn code(refused: &Value) -> &str {
    refused["error"]["are_code"].as_str().expect("a code")
}

/// Calls the client's tool when there is no result of it yet.
fn asking(request: &are_core::model::ModelRequest) -> Vec<Say> {
    match request.messages.last() {
        Some(Message::User { text }) if text == "look" => {
            vec![Say::Token("I look. ".into()), call("get_weather", &json!({"place": "Basel"}))]
        }
        _ => say("one two three"),
    }
}

#[tokio::test]
async fn an_answer_is_found_again_as_it_was_given_also_after_a_restart() {
    let plan = || Plan { models: ScriptedModels::new(asking), ..Plan::default() };
    let are = Fixture::planned(plan()).await;
    let schema = json!({"type": "object", "properties": {"place": {"type": "string"}}});
    let tools = json!([{"type": "function", "name": "getWeather", "description": "Of a place.", "parameters": schema}]);
    let first = respond(
        &are,
        json!({
            "model": "are",
            "instructions": "Be brief.",
            "input": "look",
            "tools": tools,
            "metadata": {"ticket": "7"},
            "temperature": 0.5,
            "top_p": 0.25,
            "max_output_tokens": 500,
            "reasoning": {"effort": "low"},
        }),
    )
    .await;
    assert_eq!(first["output"][1]["name"], "getWeather");
    assert_eq!((&first["instructions"], &first["metadata"]["ticket"]), (&json!("Be brief."), &json!("7")));
    let result = json!([{"type": "function_call_output", "call_id": first["output"][1]["call_id"], "output": "sunny"}]);
    let second =
        respond(&are, json!({"model": "test:scripted", "input": result, "previous_response_id": first["id"]})).await;
    assert_eq!(second["previous_response_id"], first["id"]);
    let given = [first, second];
    for answer in &given {
        assert_eq!(look_up(&are, &id_of(answer)).await, (200, answer.clone()));
    }
    let are = Fixture::within(are.end().await, plan()).await;
    for answer in &given {
        assert_eq!(look_up(&are, &id_of(answer)).await, (200, answer.clone()));
    }
    assert!(are.models.requests().is_empty(), "nobody was asked for it");
    are.end().await;
}

#[tokio::test]
async fn a_stream_is_given_again_event_by_event() {
    let are = Fixture::start().await;
    let asked = json!({"model": "are", "input": "say one two three", "stream": true});
    let streamed = events(&respond(&are, asked).await);
    let id = id_of(&streamed[0]["response"]);
    let (status, again) = are.api("GET", &format!("{RESPONSES}/{id}?stream=true"), None).await;
    assert_eq!((status, events(&again)), (200, streamed.clone()));
    let (_, rest) = are.api("GET", &format!("{RESPONSES}/{id}?stream=true&starting_after=4"), None).await;
    assert_eq!(events(&rest), streamed[5..]);
    let (_, none) = are.api("GET", &format!("{RESPONSES}/{id}?stream=true&starting_after=99"), None).await;
    assert!(events(&none).is_empty(), "{none}");
    let (status, refused) = are.api("GET", &format!("{RESPONSES}/{id}?starting_after=4"), None).await;
    assert_eq!((status, &refused["error"]["param"]), (400, &json!("starting_after")));
    are.end().await;
}

#[tokio::test]
async fn an_answer_that_goes_on_or_failed_is_told_as_that() {
    let are = Fixture::start().await;
    let looking = async {
        while are.models.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        let id = first_of_all(&are).await;
        let (status, standing) = look_up(&are, &id).await;
        assert_eq!((status, &standing["status"], &standing["usage"]), (200, &json!("in_progress"), &Value::Null));
        are.models.release();
    };
    let (given, ()) = tokio::join!(respond(&are, json!({"model": "are", "input": "hold one two"})), looking);
    assert_eq!(look_up(&are, &id_of(&given)).await, (200, given));
    let streamed = events(&respond(&are, json!({"model": "are", "input": "fail", "stream": true})).await);
    let (status, failed) = look_up(&are, &id_of(&streamed[0]["response"])).await;
    assert_eq!((status, &failed["status"], &failed["output"]), (200, &json!("failed"), &json!([])));
    assert!(failed["error"]["message"].as_str().is_some_and(|message| message.starts_with("ARE-0403")), "{failed}");
    are.end().await;
}

#[tokio::test]
async fn what_is_no_answer_of_the_callers_is_not_found() {
    let are = Fixture::start().await;
    let given = respond(&are, json!({"model": "are", "input": "say x"})).await;
    let id = id_of(&given);
    let stranger = are.token_of("bob", &["read", "prompt"]).await;
    let (_, prompting) = are.token(&["prompt"]).await;
    let session = id.strip_prefix("resp_").and_then(|rest| rest.strip_suffix("-1")).expect("a session");
    let absent = ["resp_x", "chatcmpl-1", "resp_01900000-0000-7000-8000-000000000000-1"].map(str::to_owned);
    for absent in absent.into_iter().chain([format!("resp_{session}-0"), format!("resp_{session}-99")]) {
        for method in ["GET", "DELETE"] {
            let (status, refused) = are.api(method, &format!("{RESPONSES}/{absent}"), None).await;
            assert_eq!((status, code(&refused)), (404, "ARE-0209"), "{method} {absent}");
        }
    }
    for method in ["GET", "DELETE"] {
        let (status, refused) = are.api_as(&stranger, method, &format!("{RESPONSES}/{id}"), None).await;
        assert_eq!((status, code(&refused)), (404, "ARE-0209"), "{method}");
    }
    let (status, refused) = are.api_as(&prompting, "GET", &format!("{RESPONSES}/{id}"), None).await;
    assert_eq!((status, code(&refused)), (403, "ARE-0205"));
    let (status, refused) = are.api("GET", &format!("{RESPONSES}/{id}?stream=perhaps"), None).await;
    assert_eq!((status, code(&refused)), (400, "ARE-0206"));
    assert_eq!(look_up(&are, &id).await.0, 200);
    are.end().await;
}

#[tokio::test]
async fn an_answer_is_erased_with_its_session_and_not_where_others_stand_beside_it() {
    let are = Fixture::start().await;
    let first = id_of(&respond(&are, json!({"model": "are", "input": "say one"})).await);
    let ask = |text: &str| json!({"model": "are", "input": text, "previous_response_id": first});
    let second = id_of(&respond(&are, ask("say two")).await);
    // From the first again, so it stands in a fork by itself.
    let branch = id_of(&respond(&are, ask("say three")).await);
    let alone = id_of(&respond(&are, json!({"model": "are", "input": "say four"})).await);
    for id in [&first, &second] {
        let (status, refused) = are.api("DELETE", &format!("{RESPONSES}/{id}"), None).await;
        assert_eq!((status, &refused["error"]["param"]), (400, &json!("response_id")), "{refused}");
    }
    for id in [&branch, &alone] {
        let (status, told) = are.api("DELETE", &format!("{RESPONSES}/{id}"), None).await;
        assert_eq!((status, told), (200, json!({"id": id, "object": "response", "deleted": true})));
        assert_eq!(look_up(&are, id).await.0, 404);
        assert_eq!(are.api("DELETE", &format!("{RESPONSES}/{id}"), None).await.0, 404);
    }
    for id in [&first, &second] {
        assert_eq!(look_up(&are, id).await.0, 200, "what is left is left");
    }
    are.end().await;
}

#[tokio::test]
async fn an_answer_without_its_form_is_asked_for_again_and_only_the_one_that_fits_is_handed_on() {
    let models = ScriptedModels::new(|request| match last_words(request) {
        "mend" => say("{\"x\": \"one\"}"),
        "never" => say("words"),
        // What is wrong with it is told in the user's place.
        told if told.contains("integer") => say("{\"x\": 1}"),
        _ => say("more words"),
    });
    let are = Fixture::planned(Plan { models, ..Plan::default() }).await;
    let schema = json!({"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]});
    let format = json!({"type": "json_schema", "name": "point", "schema": schema, "strict": true});
    let ask =
        |text: &str, stream: bool| json!({"model": "are", "input": text, "text": {"format": format}, "stream": stream});
    let mended = respond(&are, ask("mend", false)).await;
    assert_eq!(mended["output"][0]["content"][0]["text"], "{\"x\": 1}", "{mended}");
    assert_eq!(mended["usage"]["input_tokens"], 20, "both answers are counted");
    assert_eq!(look_up(&are, &id_of(&mended)).await, (200, mended.clone()));
    let streamed = events(&respond(&are, ask("mend", true)).await);
    let deltas: Vec<&Value> = streamed.iter().filter(|event| event["type"] == "response.output_text.delta").collect();
    assert_eq!(deltas.iter().map(|event| &event["delta"]).collect::<Vec<_>>(), [&json!("{\"x\": 1}")]);
    let (status, refused) = are.api("POST", RESPONSES, Some(ask("never", false))).await;
    assert_eq!((status, code(&refused), are.models.requests().len()), (502, "ARE-0415", 6));
    let streamed = events(&respond(&are, ask("never", true)).await);
    let (_, failed) = look_up(&are, &id_of(&streamed[0]["response"])).await;
    assert_eq!(streamed.last().map(|last| &last["response"]), Some(&failed));
    assert!(failed["error"]["message"].as_str().is_some_and(|message| message.starts_with("ARE-0415")), "{failed}");
    are.end().await;
}

#[tokio::test]
async fn labels_of_a_request_are_few_and_short() {
    let are = Fixture::start().await;
    let many: serde_json::Map<String, Value> = (0..17).map(|at| (format!("k{at}"), json!("v"))).collect();
    for metadata in [Value::Object(many), json!({"k".repeat(65): "v"}), json!({"k": "v".repeat(513)})] {
        let body = json!({"model": "are", "input": "say x", "metadata": metadata});
        let (status, refused) = are.api("POST", RESPONSES, Some(body)).await;
        assert_eq!((status, &refused["error"]["param"]), (400, &json!("metadata")), "{refused}");
    }
    assert!(are.models.requests().is_empty());
    are.end().await;
}

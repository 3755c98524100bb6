//! The plain protocol, as a client sees it.

use serde_json::json;

use crate::fixture::{Fixture, Plan};

#[tokio::test]
async fn the_snippet_streams_tokens_and_an_empty_frame_ends_the_turn() {
    let are = Fixture::start().await;
    let mut client = are.v1().await;
    assert!(client.response.headers().get("sec-websocket-protocol").is_none());
    let session = client.response.headers()["are-session"].to_str().unwrap().to_owned();
    client.send(json!({"prompt": "say one two three", "streaming": true, "adaptive": true, "temperature": 0.7})).await;
    let mut frames = Vec::new();
    loop {
        let text = client.text().await;
        if text.is_empty() {
            break;
        }
        frames.push(text);
    }
    assert_eq!(frames, ["one ", "two ", "three"]);
    assert_eq!(are.models.requests()[0].temperature_milli, Some(700));
    let (status, shown) = are.api("GET", &format!("/api/sessions/{session}"), None).await;
    assert_eq!((status, shown["turns"].as_u64()), (200, Some(1)));
    // The next prompt goes on in the same session.
    client.send(json!({"prompt": "say four"})).await;
    assert_eq!((client.text().await, client.text().await), ("four".to_owned(), String::new()));
    let (_, shown) = are.api("GET", &format!("/api/sessions/{session}"), None).await;
    assert_eq!(shown["turns"], 2);
    are.end().await;
}

#[tokio::test]
async fn without_streaming_the_answer_is_one_frame_and_then_the_empty_one() {
    let are = Fixture::start().await;
    let mut client = are.open(Some("are.v1"), crate::fixture::ADMIN).await;
    client.send(json!({"prompt": "say one two three", "streaming": false})).await;
    assert_eq!((client.text().await, client.text().await), ("one two three".to_owned(), String::new()));
    are.end().await;
}

#[tokio::test]
async fn prompts_sent_at_once_are_answered_one_after_the_other() {
    let are = Fixture::start().await;
    let mut client = are.v1().await;
    for word in ["a", "b", "c"] {
        client.send(json!({"prompt": format!("say {word}")})).await;
    }
    for word in ["a", "", "b", "", "c", ""] {
        assert_eq!(client.text().await, word);
    }
    are.end().await;
}

#[tokio::test]
async fn cancel_stops_the_turn_with_an_empty_frame_and_the_socket_goes_on() {
    let are = Fixture::start().await;
    let mut client = are.v1().await;
    client.send(json!({"prompt": "hold one two three"})).await;
    assert_eq!(client.text().await, "one ");
    client.send(json!({"cancel": true})).await;
    assert_eq!(client.text().await, "");
    client.send(json!({"cancel": true})).await;
    client.send(json!({"prompt": "say next"})).await;
    assert_eq!(client.text().await, "next");
    are.end().await;
}

#[tokio::test]
async fn feedback_steers_a_running_turn() {
    let are = Fixture::start().await;
    let mut client = are.v1().await;
    client.send(json!({"prompt": "hold one two three"})).await;
    assert_eq!(client.text().await, "one ");
    client.send(json!({"feedback": "say better"})).await;
    assert_eq!(client.text().await, "better");
    assert_eq!(client.text().await, "");
    are.end().await;
}

#[tokio::test]
async fn a_failed_turn_closes_with_the_code_and_the_message() {
    let are = Fixture::start().await;
    let mut client = are.v1().await;
    client.send(json!({"prompt": "fail"})).await;
    let frame = client.closed().await;
    assert_eq!(u16::from(frame.code), 4403);
    assert!(frame.reason.starts_with("ARE-0403 it failed as it should"), "{}", frame.reason);
    are.end().await;
}

#[tokio::test]
async fn what_needs_approval_is_denied_when_only_a_plain_socket_is_there() {
    let are = Fixture::start().await;
    let mut client = are.v1().await;
    client.send(json!({"prompt": "call send", "streaming": false})).await;
    assert_eq!((client.text().await, client.text().await), ("done".to_owned(), String::new()));
    assert!(are.tools.begun("send").is_empty());
    are.end().await;
}

#[tokio::test]
async fn the_same_request_after_a_restart_is_the_same_turn_with_the_same_text() {
    let are = Fixture::start().await;
    let mut client = are.v1().await;
    let session = client.response.headers()["are-session"].to_str().unwrap().to_owned();
    let prompt = json!({"prompt": "say one two", "request_id": "r1", "session": session});
    client.send(prompt.clone()).await;
    while !client.text().await.is_empty() {}
    let calls = are.models.requests().len();
    let plan = Plan { models: are.models.clone(), ..Plan::default() };
    let are = Fixture::within(are.end().await, plan).await;
    let mut client = are.v1().await;
    client.send(prompt).await;
    let mut text = String::new();
    loop {
        let piece = client.text().await;
        if piece.is_empty() {
            break;
        }
        text.push_str(&piece);
    }
    assert_eq!((text.as_str(), are.models.requests().len()), ("one two", calls));
    client.send(json!({"prompt": "say other", "request_id": "r1"})).await;
    assert_eq!(u16::from(client.closed().await.code), 4304);
    are.end().await;
}

#[tokio::test]
async fn another_accounts_session_does_not_exist() {
    let are = Fixture::start().await;
    let session = are.v1().await.response.headers()["are-session"].to_str().unwrap().to_owned();
    let token = are.token_of("other", &["read", "prompt"]).await;
    let mut other = are.open(None, &token).await;
    other.send(json!({"prompt": "say x", "session": session})).await;
    assert_eq!(u16::from(other.closed().await.code), 4301);
    are.end().await;
}

#[tokio::test]
async fn stopping_the_server_closes_open_sockets_as_a_restart() {
    let are = Fixture::start().await;
    let mut client = are.v1().await;
    client.send(json!({"prompt": "hold one two three"})).await;
    assert_eq!(client.text().await, "one ");
    are.begin_stop();
    assert_eq!(u16::from(client.closed().await.code), 1012);
    are.end().await;
}

//! The HTTP interface under `/api`, and its description.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::fixture::{ADMIN, Fixture, PATIENCE};

/// A session with one finished turn.
async fn finished(are: &Fixture, prompt: &str) -> (String, Vec<Value>) {
    let mut client = are.v2().await;
    client.send(json!({"type": "prompt", "content": prompt})).await;
    let events = client
        .until(|event| event["type"].as_str().is_some_and(|kind| kind.starts_with("turn_") && kind != "turn_started"))
        .await;
    (events[0]["session"].as_str().unwrap().to_owned(), events[1..].to_vec())
}

#[tokio::test]
async fn the_description_lists_exactly_the_routes_there_are() {
    let are = Fixture::start().await;
    let (status, document) = are.api("GET", "/api/openapi.json", None).await;
    assert_eq!((status, document["openapi"].as_str().map(|version| &version[..2])), (200, Some("3.")));
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} says nothing of itself");
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let served: BTreeSet<_> =
        are::server::table().into_iter().map(|(method, path, _)| (method, path.to_owned())).collect();
    assert!(served.len() >= 20);
    assert_eq!(described, served);
    assert_all_references_hold(&document, &document);
    let (_, schema) = are.api("GET", "/api/ws-schema.json", None).await;
    assert_all_references_hold(&schema, &schema);
    are.end().await;
}

fn assert_all_references_hold(document: &Value, value: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            map.values().for_each(|value| assert_all_references_hold(document, value));
        }
        Value::Array(items) => items.iter().for_each(|value| assert_all_references_hold(document, value)),
        _ => {}
    }
}

#[tokio::test]
async fn refusals_are_described_as_they_are_sent() {
    let are = Fixture::start().await;
    let (_, document) = are.api("GET", "/api/openapi.json", None).await;
    let mut problems = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let kinds = operation["responses"]["default"]["content"].as_object().unwrap();
            let wanted = if path.starts_with("/v1/") { "application/json" } else { "application/problem+json" };
            assert_eq!(kinds.keys().collect::<Vec<_>>(), [wanted], "{path}");
            problems += usize::from(wanted != "application/json");
        }
    }
    assert!(problems >= 60, "{problems}");
    // A door that needs no credential beside it, and bodies that may be absent.
    assert_eq!(document["paths"]["/api/login"]["post"]["security"], json!([{}]));
    assert_ne!(document["paths"]["/api/sessions"]["post"]["requestBody"]["required"], true);
    are.end().await;
}

#[tokio::test]
async fn a_list_is_not_taken_for_the_fields_of_an_object() {
    let are = Fixture::start().await;
    for (method, path, body) in [
        ("PATCH", "/api/accounts/admin", json!([null, null])),
        ("POST", "/api/memory", json!(["text"])),
        ("POST", "/api/sessions", json!([])),
        ("POST", "/api/sessions", json!(7)),
    ] {
        let (status, problem) = are.api(method, path, Some(body)).await;
        assert_eq!((status, &problem["code"]), (400, &json!("ARE-0206")), "{method} {path}: {problem}");
    }
    // Nothing is what no body is, and a variable's value may be anything.
    assert_eq!(are.api("POST", "/api/sessions", Some(Value::Null)).await.0, 201);
    for value in [json!([1, 2]), Value::Null] {
        assert_eq!(are.api("PUT", "/api/variables/x", Some(value.clone())).await.0, 204);
        assert_eq!(are.api("GET", "/api/variables", None).await.1["variables"][0]["value"], value);
    }
    // Nor inside of one.
    let (_, made) = are.api("POST", "/api/sessions", None).await;
    let replay = format!("/api/sessions/{}/replay", made["session"].as_str().unwrap());
    let (status, problem) = are.api("POST", &replay, Some(json!({"policy": ["strict", {}]}))).await;
    assert_eq!((status, &problem["code"]), (400, &json!("ARE-0206")), "{problem}");
    let (status, replayed) = are.api("POST", &replay, Some(json!({"policy": {"profile": "strict"}}))).await;
    assert_eq!(status, 200, "{replayed}");
    let mut client = are.v2().await;
    for odd in [json!(["ping"]), json!({"type": "prompt", "content": [["text", "hi"]]})] {
        client.send(odd).await;
        assert_eq!(client.json().await["code"], "ARE-0206");
    }
    are.end().await;
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_answered_with_those_that_it_takes() {
    let are = Fixture::start().await;
    for path in ["/v1/models", "/api/models", "/v1/responses"] {
        let headers = [format!("Host: {}", are.host()), format!("Authorization: Bearer {ADMIN}")];
        let (status, answer) = are.ask(&format!("TRACE {path}"), &headers.each_ref().map(String::as_str)).await;
        assert_eq!(status, 405, "{answer}");
        assert!(answer.to_lowercase().contains("\r\nallow: "), "{answer}");
    }
    are.end().await;
}

#[tokio::test]
async fn answers_are_as_described() {
    let are = Fixture::start().await;
    let (session, _) = finished(&are, "call read").await;
    let (_, document) = are.api("GET", "/api/openapi.json", None).await;
    are.api("PUT", "/api/variables/x", Some(json!(1))).await;
    are.token(&["read"]).await;
    let checked = [
        ("/api/sessions", "/api/sessions".to_owned()),
        ("/api/sessions/{key}", format!("/api/sessions/{session}")),
        ("/api/sessions/{key}/events", format!("/api/sessions/{session}/events")),
        ("/api/variables", "/api/variables".to_owned()),
        ("/api/tools", "/api/tools".to_owned()),
        ("/api/tools/{name}", "/api/tools/read".to_owned()),
        ("/api/models", "/api/models".to_owned()),
        ("/api/approvals", "/api/approvals".to_owned()),
        ("/api/tokens", "/api/tokens".to_owned()),
    ];
    for (path, real) in checked {
        let (status, answer) = are.api("GET", &real, None).await;
        assert_eq!(status, 200, "{real} {answer}");
        let schema = &document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{path}");
        crate::schema::check(&document, schema, &answer).unwrap_or_else(|why| panic!("{path}: {why}\n{answer}"));
    }
    are.end().await;
}

#[tokio::test]
async fn sessions_are_begun_listed_forked_replayed_exported_and_deleted() {
    let are = Fixture::start().await;
    let (session, events) = finished(&are, "say one two").await;
    let (_, listed) = are.api("GET", "/api/sessions?limit=10", None).await;
    assert_eq!(listed["sessions"][0]["session"], session.as_str());
    assert_eq!(listed["sessions"][0]["title"], "say one two");
    let (_, page) = are.api("GET", &format!("/api/sessions/{session}/events?after=1&limit=2"), None).await;
    assert_eq!((page["events"].as_array().unwrap().as_slice(), page["seq"].as_u64()), (&events[1..3], Some(3)));
    let (status, made) = are.api("POST", "/api/sessions", None).await;
    assert_eq!((status, made["session"].as_str().map(str::len)), (201, Some(36)));
    let (status, fork) = are.api("POST", &format!("/api/sessions/{session}/fork"), Some(json!({"turn": 1}))).await;
    assert_eq!(status, 201, "{fork}");
    let (status, report) = are.api("POST", &format!("/api/sessions/{session}/replay"), None).await;
    assert_eq!((status, &report["difference"]), (200, &Value::Null), "{report}");
    let (status, export) = are.api("GET", &format!("/api/sessions/{session}/export"), None).await;
    assert_eq!(status, 200);
    let export = export.as_str().unwrap().to_owned();
    assert_eq!(export.matches("\"class\":\"record\"").count(), 5, "{export}");
    assert_eq!(are.api("DELETE", &format!("/api/sessions/{session}"), None).await.0, 204);
    assert_eq!(are.api("GET", &format!("/api/sessions/{session}"), None).await.1["code"], "ARE-0301");
    for odd in ["/api/sessions/not-a-key", "/api/sessions/00000000-0000-0000-0000-000000000000"] {
        assert_eq!(are.api("GET", odd, None).await.1["code"], "ARE-0301", "{odd}");
    }
    assert_eq!(are.api("GET", "/api/sessions?limt=1", None).await.1["code"], "ARE-0206");
    are.end().await;
}

#[tokio::test]
async fn sessions_are_found_by_what_was_said_in_them() {
    let are = Fixture::start().await;
    finished(&are, "say one two").await;
    let (session, _) = finished(&are, "say three Four").await;
    let (status, page) = are.api("GET", "/api/sessions?search=FOUR%20three&own=true", None).await;
    assert_eq!((status, page["sessions"].as_array().map(Vec::len)), (200, Some(1)), "{page}");
    let listed = &page["sessions"][0];
    assert_eq!((&listed["session"], &page["next"]), (&json!(session), &Value::Null), "{page}");
    assert_eq!((&listed["found"]["turn"], &listed["found"]["text"]), (&json!(1), &json!("say three Four")), "{page}");
    let (_, document) = are.api("GET", "/api/openapi.json", None).await;
    let schema =
        &document["paths"]["/api/sessions"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    crate::schema::check(&document, schema, &page).unwrap_or_else(|why| panic!("{why}\n{page}"));

    // One at a time, as `next` leads on.
    let (_, first) = are.api("GET", "/api/sessions?search=say&limit=1", None).await;
    let next = first["next"].as_str().expect("more is left");
    let (_, second) = are.api("GET", &format!("/api/sessions?search=say&limit=1&from={next}"), None).await;
    assert_ne!(first["sessions"][0]["session"], second["sessions"][0]["session"], "{first} {second}");

    let bob = are.token_of("bob", &["read"]).await;
    let (status, page) = are.api_as(&bob, "GET", "/api/sessions?search=say", None).await;
    assert_eq!((status, &page["sessions"]), (200, &json!([])), "what others said does not exist for him");
    for odd in ["search=", "search=%20", "search=x&before_ms=1", "search=x&from=odd", "from=1.2"] {
        let (status, problem) = are.api("GET", &format!("/api/sessions?{odd}"), None).await;
        assert_eq!((status, &problem["code"]), (400, &json!("ARE-0206")), "{odd}: {problem}");
    }
    assert_eq!(are.api("DELETE", &format!("/api/sessions/{session}"), None).await.0, 204);
    assert_eq!(are.api("GET", "/api/sessions?search=Four", None).await.1["sessions"], json!([]));
    are.end().await;
}

#[tokio::test]
async fn an_exports_lines_hold_the_stored_bytes_so_that_a_stranger_can_check_the_chain() {
    let are = Fixture::start().await;
    let (session, _) = finished(&are, "say one two").await;
    let (_, export) = are.api("GET", &format!("/api/sessions/{session}/export"), None).await;
    let export = export.as_str().unwrap().to_owned();
    let mut chunks = String::new();
    // Undo the chunked coding of the raw answer.
    let mut rest = export.as_str();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        chunks.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    let mut prev = "0".repeat(64);
    let mut records = 0;
    for line in chunks.lines() {
        let whole: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
            serde_json::from_str(line).unwrap();
        if whole["class"].get() != "\"record\"" {
            continue;
        }
        let bytes = whole["entry"].get();
        let record: Value = serde_json::from_str(bytes).unwrap();
        assert_eq!(record["prev"], prev.as_str());
        prev = are_core::digest::Digest::of_record(bytes.as_bytes()).to_string();
        if let Some(payload) = whole.get("payload") {
            let nonce: are_core::digest::Digest = serde_json::from_str(whole["nonce"].get()).unwrap();
            let digest = are_core::digest::Digest::of_payload(&nonce.0, payload.get().as_bytes());
            assert_eq!(record["payload"], digest.to_string().as_str());
        }
        records += 1;
    }
    assert_eq!(records, 5);
    are.end().await;
}

#[tokio::test]
async fn variables_are_set_listed_and_deleted_strictly() {
    let are = Fixture::start().await;
    assert_eq!(are.api("PUT", "/api/variables/city", Some(json!({"name": "Bern"}))).await.0, 204);
    let (_, listed) = are.api("GET", "/api/variables", None).await;
    assert_eq!(
        (listed["variables"][0]["name"].as_str(), &listed["variables"][0]["value"]),
        (Some("city"), &json!({"name": "Bern"}))
    );
    let (session, _) = finished(&are, "say x").await;
    assert_eq!(are.api("PUT", &format!("/api/variables/own?session={session}"), Some(json!(1))).await.0, 204);
    let (_, listed) = are.api("GET", &format!("/api/variables?session={session}"), None).await;
    assert_eq!(
        (listed["variables"][0]["scope"].as_str(), listed["variables"].as_array().map(Vec::len)),
        (Some("session"), Some(2))
    );
    assert_eq!(are.api("DELETE", "/api/variables/city", None).await.0, 204);
    let large = json!("x".repeat(100_000));
    assert_eq!(are.api("PUT", "/api/variables/big", Some(large)).await.1["code"], "ARE-0705");
    assert_eq!(are.api("PUT", "/api/variables/b%20d", Some(json!(1))).await.1["code"], "ARE-0206");
    are.end().await;
}

#[tokio::test]
async fn a_live_stream_tells_all_events_and_resumes_after_the_last_one() {
    let are = Fixture::start().await;
    let (session, events) = finished(&are, "say one two").await;
    for after in [0_usize, 3] {
        let mut stream = tokio::net::TcpStream::connect(are.address).await.unwrap();
        let request = format!(
            "GET /api/sessions/{session}/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {ADMIN}\r\nAccept: text/event-stream\r\nLast-Event-ID: {after}\r\n\r\n",
            are.host()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        while !text.contains("event: turn_completed\n") || !text.ends_with("\n\n\r\n") {
            let mut buffer = [0; 4096];
            let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
            assert!(read > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        assert!(text.contains("content-type: text/event-stream"));
        let ids: Vec<usize> = text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
        assert_eq!(ids, (after + 1..=events.len()).collect::<Vec<_>>());
        let data: Vec<Value> =
            text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
        assert_eq!(data, events[after..]);
    }
    are.end().await;
}

#[tokio::test]
async fn status_and_configuration_are_what_the_server_was_told_and_no_more() {
    let are = Fixture::start().await;
    let (_, status) = are.api("GET", "/api/status", None).await;
    assert_eq!((status["version"].as_str(), status["ready"].as_bool()), (Some("test"), Some(true)));
    let (_, config) = are.api("GET", "/api/config", None).await;
    assert_eq!(config, json!({"bind": "localhost"}));
    assert!(!format!("{status}{config}").contains(ADMIN));
    are.end().await;
}

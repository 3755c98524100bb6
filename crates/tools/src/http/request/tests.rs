use serde_json::json;

use super::*;

fn request(value: Value) -> Result<Request, Fault> {
    Request::new(serde_json::from_value(value).expect("wanted"), &Digest::ZERO)
}

fn target(text: &str) -> Target {
    Target::parse(text).expect(text)
}

#[test]
fn headers_that_frame_or_route_the_message_cannot_be_set() {
    for name in [
        "Host",
        "host",
        "Content-Length",
        "TRANSFER-ENCODING",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Accept-Encoding",
        "Idempotency-Key",
        "Proxy-Authorization",
        "Sec-Fetch-Site",
        "",
        "a b",
        "a:b",
        "a\r\nHost",
        "ä",
    ] {
        let fault = request(json!({"url": "http://a.example/", "headers": {name: "x"}})).expect_err(name);
        assert_eq!(fault.code, Code::TOOL_ARGS, "{name:?}");
    }
    for value in ["a\r\nHost: b", "a\nb", "a\rb", "a\0b", "\u{7f}"] {
        let fault = request(json!({"url": "http://a.example/", "headers": {"x-a": value}})).expect_err(value);
        assert!(fault.message.contains("line break"), "{value:?}");
    }
    assert!(request(json!({"url": "http://a.example/", "headers": {"X-A": "1", "x-a": "2"}})).is_err(), "twice");
    assert!(request(json!({"url": "http://a.example/", "headers": {"x-a": "b".repeat(17 << 10)}})).is_err(), "too big");
    assert!(
        request(json!({"url": "http://a.example/", "headers": {"Accept": "text/plain", "x-api-key": "ä"}})).is_ok()
    );
}

#[test]
fn a_reading_request_has_no_body_and_an_effect_has_a_key() {
    assert!(request(json!({"url": "http://a.example/", "body": "x"})).is_err());
    assert!(request(json!({"url": "http://a.example/", "method": "HEAD", "body": "x"})).is_err());
    assert!(request(json!({"url": "http://a.example/", "method": "CONNECT"})).is_err());
    assert!(request(json!({"url": "http://a.example/", "method": "get"})).is_err());

    let reading = request(json!({"url": "http://a.example/"})).expect("get");
    assert!(!reading.is_effect() && !reading.headers.contains_key(IDEMPOTENCY_KEY));
    let post = request(json!({"url": "http://a.example/", "method": "POST", "body": {"a": 1}})).expect("post");
    assert!(post.is_effect());
    assert_eq!(post.headers[IDEMPOTENCY_KEY], Digest::ZERO.to_string());
    assert_eq!(post.headers[CONTENT_TYPE], "application/json");
    assert_eq!(post.body.as_deref(), Some(b"{\"a\":1}".as_slice()));
}

#[test]
fn a_redirect_changes_the_method_as_browsers_do() {
    let table = [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("PUT", 302, "PUT"),
        ("PUT", 303, "GET"),
        ("HEAD", 303, "HEAD"),
        ("GET", 302, "GET"),
        ("DELETE", 301, "DELETE"),
    ];
    for (method, status, expected) in table {
        let mut request = request(json!({"url": "http://a.example/", "method": method})).expect(method);
        request.follow(target("http://a.example/b"), StatusCode::from_u16(status).expect("status"));
        assert_eq!(request.method.as_str(), expected, "{method} {status}");
        assert_eq!(
            request.headers.contains_key(IDEMPOTENCY_KEY),
            !matches!(expected, "GET" | "HEAD"),
            "{method} {status}"
        );
    }
    let mut post = request(json!({"url": "http://a.example/", "method": "POST", "body": {"a": 1}})).expect("post");
    post.follow(target("http://a.example/b"), StatusCode::SEE_OTHER);
    assert!(post.body.is_none() && !post.headers.contains_key(CONTENT_TYPE));
    assert!(
        matches!(post.after_sending(Fault::new(Code::TOOL_FAILED, "x", "y")), Error::Unknown(_)),
        "the POST was sent"
    );
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    let request = request(json!({"url": "https://a.example/"})).expect("request");
    for (next, is_same) in [
        ("https://a.example/b", true),
        ("https://a.example:8443/", false),
        ("http://a.example/", false),
        ("https://b.example/", false),
        ("https://A.EXAMPLE./", true),
    ] {
        assert_eq!(target(next).is_same_origin(&request.target), is_same, "{next}");
    }
}

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use are_core::error::Code;
use are_tools::{HttpOptions, Resolver};
use serde::Deserialize;
use serde_json::json;

use crate::support::{Reply, Server, World};

#[tokio::test]
async fn a_get_returns_status_headers_and_body_and_sends_nothing_of_ours() {
    let server = Server::start(|_| Reply::ok("text/plain", "grüß Gott")).await;
    let world = World::granting(&[server.grant()]);
    let value =
        world.ok("http_request", json!({"url": server.url("/a?b=c#d"), "headers": {"Accept": "text/plain"}})).await;
    let expected = json!({
        "status": 200,
        "url": server.url("/a?b=c"),
        "headers": {"content-type": "text/plain", "content-length": "11"},
        "body": "grüß Gott",
        "truncated": false,
    });
    assert_eq!(value, expected);
    let heard = &server.heard()[0];
    assert_eq!(heard.line, "GET /a?b=c HTTP/1.1");
    let names: Vec<&str> = heard.headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
    assert_eq!(heard.headers["host"], server.address.to_string());
}

#[tokio::test]
async fn a_request_with_an_effect_carries_the_key_of_its_call() {
    let server = Server::start(|_| Reply::ok("application/json", "{}")).await;
    let world = World::granting(&[server.grant()]);
    let args = json!({"url": server.url("/"), "method": "POST", "body": {"a": [1]}});
    let permit = world.permit("http_request", &args);
    let key = permit.call().key().to_string();
    are_policy::tools::Tools::run(&world.registry, permit, world.place()).await;
    let heard = &server.heard()[0];
    assert_eq!((heard.line.as_str(), heard.body.as_str()), ("POST / HTTP/1.1", "{\"a\":[1]}"));
    assert_eq!(heard.headers["idempotency-key"], key);
    assert_eq!(heard.headers["content-type"], "application/json");
}

#[derive(Debug, Deserialize)]
struct Attacks {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    url: String,
    code: String,
    #[serde(default)]
    resolves: Vec<IpAddr>,
}

#[tokio::test]
async fn no_spelling_reaches_an_address_that_was_not_granted() {
    let attacks: Attacks =
        toml::from_str(include_str!("../../../../tests/attacks/ssrf-spellings.toml")).expect("attack file");
    assert!(attacks.case.len() >= 70, "the attack file was read: {}", attacks.case.len());
    let server = Server::start(|_| Reply::ok("text/plain", "secret")).await;
    for case in attacks.case {
        // The resolver answers every name of the table with the case's addresses, none means it knows no name.
        let names = ["innocent.example", "metadata.google.internal", "localhost"];
        let table = names.map(|name| (name.to_owned(), case.resolves.clone()));
        let resolver = Resolver::Fixed(Arc::new(BTreeMap::from(table)));
        let world = World::with(HttpOptions { resolver, ..HttpOptions::default() });
        let url = case.url.replace("PORT", &server.address.port().to_string());
        let mut url = url;
        let mut fault = world.fault("http_request", json!({"url": url})).await;
        if fault.code.to_string() != case.code {
            // Refused before it was decided; the form that would be used is refused as well.
            let mut normal: reqwest::Url = url.parse().expect("it has a normal form");
            let host = normal.host_str().expect("a host").trim_end_matches('.').to_owned();
            normal.set_host(Some(&host)).expect("a host without its dot");
            url = normal.into();
            fault = world.fault("http_request", json!({"url": url})).await;
        }
        assert_eq!(fault.code.to_string(), case.code, "{} {url}: {fault}", case.name);
        let post = world.fault("http_request", json!({"url": url, "method": "POST", "body": "x"})).await;
        assert_eq!(post.code.to_string(), case.code, "{}: {post}", case.name);
    }
    assert!(server.heard().is_empty(), "nothing connected: {:?}", server.heard());
}

#[tokio::test]
async fn a_name_reaches_only_those_of_its_addresses_that_are_let_through() {
    let server = Server::start(|_| Reply::ok("text/plain", "granted")).await;
    let port = server.address.port();
    let addresses = |list: &[&str]| list.iter().map(|text| text.parse().expect("address")).collect::<Vec<IpAddr>>();
    let table = BTreeMap::from([
        ("both.example".to_owned(), addresses(&["169.254.169.254", "0.0.0.0", "127.0.0.1"])),
        ("metadata.example".to_owned(), addresses(&["169.254.169.254"])),
        ("none.example".to_owned(), Vec::new()),
    ]);
    let grants = format!("both.example:{port},metadata.example:{port},none.example:{port}").parse().expect("grants");
    let world = World::with(HttpOptions { grants, resolver: Resolver::Fixed(Arc::new(table)) });
    let url = |host: &str| format!("http://{host}:{port}/");
    let value = world.ok("http_request", json!({"url": url("both.example")})).await;
    assert_eq!(value["body"], "granted");
    assert_eq!(server.heard()[0].headers["host"], format!("both.example:{port}"));
    let fault = world.fault("http_request", json!({"url": url("metadata.example")})).await;
    assert_eq!(fault.code, Code::ADDRESS_REFUSED, "a grant by name never reaches metadata: {fault}");
    for host in ["none.example", "unknown.example"] {
        let fault = world.fault("http_request", json!({"url": url(host)})).await;
        assert!(fault.message.contains("cannot be resolved"), "{fault}");
    }
}

#[tokio::test]
async fn a_redirect_is_a_new_target() {
    let other = Server::start(|_| Reply::ok("text/plain", "other")).await;
    let private = Server::start(|_| Reply::ok("text/plain", "secret")).await;
    let (to_other, to_private) = (other.url("/x"), private.url("/"));
    let server = Server::start(move |heard| match heard.line.split(' ').nth(1).unwrap_or_default() {
        "/other" => Reply::redirect(302, &to_other),
        "/keep" => Reply::redirect(307, &to_other),
        "/same" => Reply::redirect(307, "/end"),
        "/private" => Reply::redirect(302, &to_private),
        "/file" => Reply::redirect(302, "file:///etc/passwd"),
        "/spelling" => Reply::redirect(301, "http://0x7f000001:1/"),
        "/loop" => Reply::redirect(302, "/loop"),
        "/five" => Reply::redirect(302, "4"),
        "/1" => Reply::redirect(302, "/end"),
        "/end" => Reply::ok("text/plain", "end"),
        step => Reply::redirect(302, &format!("/{}", step[1..].parse::<u32>().unwrap_or(2) - 1)),
    })
    .await;
    let world = World::granting(&[server.grant(), other.grant()]);
    let get = |path: &str| json!({"url": server.url(path), "headers": {"Authorization": "Bearer x", "Cookie": "a=b", "X-Key": "k"}});

    for (path, status) in [("/other", 302), ("/private", 302), ("/spelling", 301)] {
        assert_eq!(world.ok("http_request", get(path)).await["status"], status, "{path}: nobody decided about it");
    }
    assert!(other.heard().is_empty());
    assert_eq!(world.ok("http_request", get("/five")).await["redirects"], 5);
    for (path, code) in [("/file", Code::TOOL_ARGS), ("/loop", Code::TOOL_FAILED)] {
        assert_eq!(world.fault("http_request", get(path)).await.code, code, "{path}");
    }
    assert!(private.heard().is_empty());

    let post = |path: &str| json!({"url": server.url(path), "method": "POST", "body": "x"});
    let value = world.ok("http_request", post("/keep")).await;
    assert_eq!((&value["status"], &value["headers"]["location"]), (&json!(307), &json!(other.url("/x"))));
    assert!(other.heard().is_empty(), "a POST is not carried on to another origin");
    assert_eq!(world.ok("http_request", post("/same")).await["body"], "end");
    assert_eq!(world.ok("http_request", post("/1")).await["body"], "end");
    let lines: Vec<String> =
        server.heard().iter().rev().take(4).rev().map(|heard| format!("{} {}", heard.line, heard.body)).collect();
    assert_eq!(lines, ["POST /same HTTP/1.1 x", "POST /end HTTP/1.1 x", "POST /1 HTTP/1.1 x", "GET /end HTTP/1.1 "]);
    let fault = world.unknown("http_request", post("/loop")).await;
    assert_eq!(fault.code, Code::TOOL_OUTCOME_UNKNOWN, "the POST itself was sent");
}

#[tokio::test]
async fn a_body_is_bounded_after_decompression() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..256 {
        packed.write_all(&[b'a'; 1 << 20]).expect("gzip");
    }
    let packed = packed.finish().expect("gzip");
    let server = Server::start(move |heard| {
        let head = match heard.line.split(' ').nth(1).unwrap_or_default() {
            "/bomb" => format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", packed.len()),
            "/broken" => "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde".to_owned(),
            _ => return Reply::ok("text/plain", vec![b'b'; 3 << 20]),
        };
        Reply::Bytes([head.as_bytes(), &packed].concat())
    })
    .await;
    let world = World::granting(&[server.grant()]);
    let started = Instant::now();
    for path in ["/bomb", "/plain"] {
        let value = world.ok("http_request", json!({"url": server.url(path)})).await;
        assert_eq!((&value["truncated"], &value["truncated_by"]), (&json!(true), &json!("size")), "{path}");
        assert!(value.to_string().len() <= 1 << 20, "{path}: it can be stored");
    }
    assert!(started.elapsed() < Duration::from_secs(10));
    let value = world.ok("http_request", json!({"url": server.url("/broken")})).await;
    assert_eq!(value["truncated_by"], "connection");
}

#[tokio::test]
async fn a_slow_body_is_cut_and_a_silent_server_is_given_up() {
    let server = Server::start(|heard| match heard.line.split(' ').nth(1).unwrap_or_default() {
        "/slow" => {
            Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nso far".to_vec())
        }
        _ => Reply::Stall(Vec::new()),
    })
    .await;
    let mut world = World::granting(&[server.grant()]);
    world.timeout_ms = 400;
    let started = Instant::now();
    let value = world.ok("http_request", json!({"url": server.url("/slow")})).await;
    assert_eq!((&value["body"], &value["truncated_by"]), (&json!("so far"), &json!("time")));
    assert_eq!(world.fault("http_request", json!({"url": server.url("/")})).await.code, Code::TOOL_TIMEOUT);
    let fault = world.unknown("http_request", json!({"url": server.url("/"), "method": "POST"})).await;
    assert_eq!(fault.code, Code::TOOL_OUTCOME_UNKNOWN);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_lost_connection_is_unknown_once_an_effect_was_sent() {
    let server = Server::start(|heard| match heard.line.split(' ').nth(1).unwrap_or_default() {
        "/nothing" => Reply::Bytes(Vec::new()),
        "/half" => Reply::Bytes(b"HTTP/1.1 200 OK\r\nConte".to_vec()),
        "/other" => Reply::Bytes(b"SSH-2.0-OpenSSH_9.7\r\n\r\n".to_vec()),
        "/headers" => Reply::Bytes(format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(5000)).into_bytes()),
        "/header" => Reply::Bytes(format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(4 << 20)).into_bytes()),
        _ => Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec()),
    })
    .await;
    let world = World::granting(&[server.grant()]);
    for path in ["/nothing", "/half", "/other", "/headers", "/header"] {
        let fault = world.fault("http_request", json!({"url": server.url(path)})).await;
        assert_eq!(fault.code, Code::TOOL_FAILED, "{path}: {fault}");
        let fault = world.unknown("http_request", json!({"url": server.url(path), "method": "DELETE"})).await;
        assert_eq!(fault.code, Code::TOOL_OUTCOME_UNKNOWN, "{path}: {fault}");
    }
    let value = world.ok("http_request", json!({"url": server.url("/short"), "method": "PUT", "body": "x"})).await;
    assert_eq!(
        (&value["body"], &value["truncated_by"]),
        (&json!("short"), &json!("connection")),
        "the status is known"
    );

    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("listener");
    let address = closed.local_addr().expect("address").to_string();
    drop(closed);
    let world = World::granting(std::slice::from_ref(&address));
    let fault = world.fault("http_request", json!({"url": format!("http://{address}/"), "method": "POST"})).await;
    assert!(fault.message.contains("refuses connections"), "it was never sent: {fault}");
}

#[tokio::test]
async fn headers_that_would_split_or_reroute_the_request_never_leave() {
    let server = Server::start(|_| Reply::ok("text/plain", "x")).await;
    let world = World::granting(&[server.grant()]);
    for (name, value) in [
        ("X-A", "1\r\nX-Injected: 2"),
        ("X-A\r\nX-Injected", "2"),
        ("Host", "internal.example"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "upgrade"),
        ("Idempotency-Key", "mine"),
        ("X-A", "1\n"),
    ] {
        let fault = world.fault("http_request", json!({"url": server.url("/"), "headers": {name: value}})).await;
        assert_eq!(fault.code, Code::TOOL_ARGS, "{name:?}: {value:?}");
    }
    assert!(server.heard().is_empty());
    world
        .ok(
            "http_request",
            json!({"url": server.url("/a%0d%0aX-Injected:%202?%C3%A9=%22%3C%3E"), "headers": {"X-A": "1"}}),
        )
        .await;
    assert_eq!(server.heard()[0].line, "GET /a%0d%0aX-Injected:%202?%C3%A9=%22%3C%3E HTTP/1.1");
}

#[tokio::test]
async fn bytes_come_as_base64_and_broken_text_with_marks() {
    let server = Server::start(|heard| match heard.line.split(' ').nth(1).unwrap_or_default() {
        "/png" => Reply::ok("image/png", b"\x89PNG\r\n\x1a\n\0"),
        "/latin" => Reply::ok("text/html; charset=iso-8859-1", b"caf\xe9"),
        _ => Reply::Bytes(b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n".to_vec()),
    })
    .await;
    let world = World::granting(&[server.grant()]);
    let value = world.ok("http_request", json!({"url": server.url("/png")})).await;
    assert_eq!((&value["body_base64"], value.get("body")), (&json!("iVBORw0KGgoA"), None));
    let value = world.ok("http_request", json!({"url": server.url("/latin")})).await;
    assert_eq!((&value["body"], &value["is_lossy"]), (&json!("caf\u{fffd}"), &json!(true)));
    let value = world.ok("http_request", json!({"url": server.url("/empty")})).await;
    assert_eq!(
        (&value["status"], &value["body"], &value["headers"]["set-cookie"]),
        (&json!(204), &json!(""), &json!("a=b, c=d"))
    );
}

#[tokio::test]
async fn a_server_without_tls_is_no_https_server() {
    let server = Server::start(|_| Reply::ok("text/plain", "plain")).await;
    let world = World::granting(&[server.grant()]);
    let url = server.url("/").replace("http:", "https:");
    let fault = world.fault("http_request", json!({"url": url, "method": "POST"})).await;
    assert_eq!(fault.code, Code::TOOL_FAILED, "the request was not sent: {fault}");
}

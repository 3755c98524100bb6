//! Who gets in, and how the others are refused.

use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;

use are::server::{Access, Scope, table};
use are_core::ids::SessionKey;
use are_core::store::Store as _;
use are_store::sqlite::{Options, SqliteStore};

use crate::fixture::{ADMIN, Fixture, Plan, status_of};

const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[tokio::test]
async fn a_socket_is_refused_before_the_upgrade_for_every_bad_credential_host_and_origin() {
    let are = Fixture::planned(Plan { origins: vec!["https://app.example".into()], ..Plan::default() }).await;
    let host = format!("Host: {}", are.host());
    let good = bearer(ADMIN);
    let port = are.address.port();
    let own = format!("Origin: http://localhost:{port}");
    let foreign_port = format!("Host: localhost:{}", port.wrapping_add(1));
    let cases: &[(&str, &[&str], u16, &str)] = &[
        ("GET /ws", &[&host], 401, "ARE-0201"),
        ("GET /ws", &[&host, "Authorization: Bearer are_x_wrong"], 401, "ARE-0202"),
        ("GET /ws", &[&host, "Authorization: Basic YWRtaW46"], 401, "ARE-0202"),
        ("GET /ws", &[&host, &good, &good], 401, "ARE-0202"),
        ("GET /ws", &[&host, &good, "Sec-WebSocket-Protocol: are.v2, are.token.eA"], 401, "ARE-0202"),
        ("GET /ws?token=are_admin_0123456789", &[&host], 401, "ARE-0202"),
        ("GET /ws?access_token=x", &[&host, &good], 429, "ARE-0210"),
        ("GET /ws", &[&host, &good, "Origin: null"], 403, "ARE-0203"),
        ("GET /ws", &[&host, &good, "Origin: http://evil.example"], 403, "ARE-0203"),
        ("GET /ws", &[&host, &good, "Origin: http://localhost:3000"], 403, "ARE-0203"),
        ("GET /ws", &[&host, &good, &own, &own], 403, "ARE-0203"),
        ("GET /ws", &["Host: evil.example", &good], 403, "ARE-0204"),
        ("GET /ws", &[&foreign_port, &good], 403, "ARE-0204"),
        ("GET http://evil.example/ws", &[&host, &good], 403, "ARE-0204"),
        ("GET /ws", &[&good], 400, "ARE-0206"),
        ("GET /ws", &[&host, &host, &good], 400, "ARE-0206"),
    ];
    for (line, headers, status, code) in cases {
        let headers: Vec<&str> = headers.iter().copied().chain(UPGRADE).collect();
        let (found, answer) = are.ask(line, &headers).await;
        assert_eq!(found, *status, "{line} {headers:?}\n{answer}");
        assert!(answer.contains(code) && answer.contains("application/problem+json"), "{line} {headers:?}\n{answer}");
        assert_eq!(answer.to_ascii_lowercase().contains("www-authenticate: bearer"), *status == 401, "{answer}");
        assert!(!answer.contains(ADMIN), "{answer}");
    }
    for origin in [own.as_str(), "Origin: https://app.example"] {
        let headers: Vec<&str> = [host.as_str(), &good, origin].into_iter().chain(UPGRADE).collect();
        let mut stream = tokio::net::TcpStream::connect(are.address).await.unwrap();
        let status = first_status(&mut stream, "GET /ws", &headers).await;
        assert_eq!(status, 101, "{origin}");
    }
    are.end().await;
}

/// Sends a request and reads only the status, for answers after which the connection stays open.
async fn first_status(stream: &mut tokio::net::TcpStream, line: &str, headers: &[&str]) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(format!("{line} HTTP/1.1\r\n{}\r\n\r\n", headers.join("\r\n")).as_bytes()).await.unwrap();
    let mut answer = [0; 16];
    stream.read_exact(&mut answer).await.unwrap();
    status_of(&String::from_utf8_lossy(&answer))
}

#[tokio::test]
async fn a_browser_brings_its_token_as_a_subprotocol_that_is_never_selected() {
    use base64::Engine as _;
    let are = Fixture::start().await;
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(ADMIN);
    for protocol in ["are.v1", "are.v2"] {
        for offer in [format!("{protocol}, are.token.{token}"), format!("are.token.{token},{protocol}")] {
            let stream = tokio::net::TcpStream::connect(are.address).await.unwrap();
            let client = crate::fixture::Client::over(stream, &are.host(), "/", Some(&offer), None).await;
            assert_eq!(client.response.headers()["sec-websocket-protocol"], protocol);
        }
    }
    let host = format!("Host: {}", are.host());
    let alone = format!("Sec-WebSocket-Protocol: are.token.{token}");
    let headers: Vec<&str> = [host.as_str(), &alone].into_iter().chain(UPGRADE).collect();
    let (status, answer) = are.ask("GET /ws", &headers).await;
    assert_eq!(status, 401, "{answer}");
    are.end().await;
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused() {
    let are = Fixture::start().await;
    let (host, good) = (format!("Host: {}", are.host()), bearer(ADMIN));
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let upgrade = "Upgrade: websocket";
    let cases: &[(&str, &[&str], u16)] = &[
        ("GET /ws", &[upgrade, "Sec-WebSocket-Version: 13", key], 400),
        ("GET /ws", &["Connection: upgrade", upgrade, "Sec-WebSocket-Version: 8", key], 426),
        ("GET /ws", &["Connection: upgrade", upgrade, key], 426),
        ("GET /ws", &["Connection: upgrade", upgrade, "Sec-WebSocket-Version: 13"], 400),
        ("GET /ws", &["Connection: upgrade", upgrade, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"], 400),
        ("GET /ws", &["Connection: upgrade", upgrade, "Sec-WebSocket-Version: 13", key, key], 400),
        (
            "GET /ws",
            &["Connection: upgrade", upgrade, "Sec-WebSocket-Version: 13", key, "Sec-WebSocket-Protocol: graphql-ws"],
            400,
        ),
        ("POST /ws", &["Connection: upgrade", upgrade, "Sec-WebSocket-Version: 13", key], 405),
        ("GET /ws", &[], 404),
        ("GET /", &[], 200),
    ];
    for (line, headers, status) in cases {
        let headers: Vec<&str> = [host.as_str(), &good].into_iter().chain(headers.iter().copied()).collect();
        let (found, answer) = are.ask(line, &headers).await;
        assert_eq!(found, *status, "{line} {headers:?}\n{answer}");
    }
    are.end().await;
}

#[tokio::test]
async fn every_route_refuses_without_a_token_and_below_its_scope() {
    let are = Fixture::start().await;
    let routes = table();
    assert!(routes.len() >= 20, "only {} routes scanned", routes.len());
    let host = format!("Host: {}", are.host());
    let fill = |path: &str| {
        path.replace("{key}", "019a0000-0000-7000-8000-000000000000")
            .replace("{name}", "x")
            .replace("{id}", "x")
            .replace("{approval}", "1")
    };
    let mut tokens = std::collections::BTreeMap::new();
    for scope in [Scope::Read, Scope::Prompt, Scope::Approve] {
        tokens.insert(scope, are.token(&[scope.name()]).await.1);
    }
    let open: Vec<_> = routes.iter().filter(|(_, _, access)| *access == Access::Anyone).collect();
    assert!(matches!(open[..], [(method, "/api/login", _)] if method == "POST"), "{open:?}");
    for (method, path, access) in routes.iter().filter(|(_, _, access)| *access != Access::Anyone) {
        let path = fill(path);
        let (status, answer) = are.ask(&format!("{method} {path}"), &[&host]).await;
        assert_eq!(status, 401, "{method} {path}\n{answer}");
        for (scope, token) in &tokens {
            let status = are.status_as(token, method, &path).await;
            let is_refused = status == 403;
            let shall_be = matches!(access, Access::Scope(needed) if *needed != *scope);
            assert_eq!(is_refused, shall_be, "{method} {path} with {scope:?}: {status}");
        }
    }
    are.end().await;
}

#[tokio::test]
async fn probes_need_no_token_and_no_host_and_readiness_ends_with_the_server() {
    let are = Fixture::start().await;
    for (path, word) in [("/livez", "ok"), ("/readyz", "ready"), ("/metrics", "are_ready 1")] {
        let (status, answer) = are.ask(&format!("GET {path}"), &["Host: anything.example"]).await;
        assert_eq!(status, 200, "{answer}");
        assert!(answer.contains(word), "{answer}");
        assert_eq!(are.ask(&format!("POST {path}"), &["Host: x"]).await.0, 405);
    }
    are.end().await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problem_documents() {
    let are = Fixture::start().await;
    for (method, path, status) in
        [("GET", "/api/none", 404), ("GET", "/mcp/x", 404), ("PATCH", "/api/sessions", 405), ("GET", "/api", 404)]
    {
        let (found, problem) = are.api(method, path, None).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some("ARE-0209")), "{method} {path}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "urn:are:error:ARE-0209");
    }
    are.end().await;
}

#[tokio::test]
async fn wrong_tokens_slow_their_client_down_and_nobody_else_of_the_same_address() {
    let are = Fixture::start().await;
    let host = format!("Host: {}", are.host());
    let mut statuses = Vec::new();
    let mut last = String::new();
    for _ in 0..7 {
        let (status, answer) = are.ask("GET /api/status", &[&host, "Authorization: Bearer are_x_guess"]).await;
        statuses.push(status);
        last = answer;
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    assert!(last.to_ascii_lowercase().contains("retry-after: 2"), "{last}");
    assert_eq!(are.api("GET", "/api/status", None).await.0, 200);
    are.end().await;
}

#[tokio::test]
async fn revoking_a_token_closes_its_open_sockets_and_refuses_new_ones() {
    let are = Fixture::start().await;
    let (id, token) = are.token(&["read", "prompt"]).await;
    let mut v2 = are.open(Some("are.v2"), &token).await;
    let mut v1 = are.open(None, &token).await;
    v2.send(json!({"type": "attach", "session": "new"})).await;
    assert_eq!(v2.json().await["type"], "attached");
    assert_eq!(are.api("DELETE", &format!("/api/tokens/{id}"), None).await.0, 204);
    for client in [&mut v1, &mut v2] {
        let frame = client.closed().await;
        assert_eq!(u16::from(frame.code), 4202);
        assert!(frame.reason.starts_with("ARE-0202 "), "{}", frame.reason);
    }
    assert_eq!(are.api_as(&token, "GET", "/api/status", None).await.0, 401);
    assert_eq!(are.api("DELETE", &format!("/api/tokens/{id}"), None).await.0, 404);
    are.end().await;
}

#[tokio::test]
async fn a_token_takes_those_made_with_it_along() {
    let are = Fixture::start().await;
    let (id, parent) = are.token(&["read", "prompt"]).await;
    let (_, other) = are.token(&["read"]).await;
    let mut made = vec![(id.clone(), parent)];
    for _ in 0..2 {
        let maker = &made[made.len() - 1].1;
        let (status, child) = are.api_as(maker, "POST", "/api/tokens", Some(json!({"scopes": ["read"]}))).await;
        assert_eq!(status, 201, "{child}");
        made.push((child["id"].as_str().unwrap().to_owned(), child["token"].as_str().unwrap().to_owned()));
    }
    let mut sockets = Vec::new();
    for (_, token) in &made {
        sockets.push(are.open(Some("are.v2"), token).await);
    }
    assert_eq!(are.api("DELETE", &format!("/api/tokens/{id}"), None).await.0, 204);
    for socket in &mut sockets {
        assert_eq!(u16::from(socket.closed().await.code), 4202);
    }
    let (_, listed) = are.api("GET", "/api/tokens", None).await;
    let rows = listed["tokens"].as_array().unwrap();
    for (at, (id, _)) in made.iter().enumerate() {
        let row = rows.iter().find(|row| row["id"] == id.as_str()).unwrap();
        let parent = at.checked_sub(1).map(|above| made[above].0.as_str());
        assert_eq!((row["is_revoked"].as_bool(), row["parent"].as_str()), (Some(true), parent));
    }
    let are = Fixture::within(are.end().await, Plan::default()).await;
    for (_, token) in &made {
        assert_eq!(are.api_as(token, "GET", "/api/status", None).await.0, 401);
    }
    assert_eq!(are.api_as(&other, "GET", "/api/status", None).await.0, 200);
    let dir = are.end().await;
    let store = SqliteStore::open(dir.path(), &Options::default()).unwrap();
    let rows = store.read(SessionKey::SYSTEM, 0, 100, usize::MAX).await.unwrap();
    let records = rows.iter().map(|row| serde_json::from_slice::<Value>(&row.bytes).unwrap());
    let mut revoked: Vec<_> = records.filter(|record| record["action"] == "token_revoked").collect();
    revoked.sort_by_key(|record| made.iter().position(|(id, _)| record["token"] == id.as_str()));
    let named: Vec<_> = revoked.iter().map(|record| record["token"].as_str().unwrap()).collect();
    assert_eq!(named, made.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), "each is in the journal");
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_token_survives_a_restart_and_a_revoked_one_does_not() {
    let are = Fixture::start().await;
    let (_, kept) = are.token(&["read"]).await;
    let (id, revoked) = are.token(&["read"]).await;
    are.api("DELETE", &format!("/api/tokens/{id}"), None).await;
    let are = Fixture::within(are.end().await, Plan::default()).await;
    assert_eq!(are.api_as(&kept, "GET", "/api/status", None).await.0, 200);
    assert_eq!(are.api_as(&revoked, "GET", "/api/status", None).await.0, 401);
    are.end().await;
}

#[tokio::test]
async fn no_token_mints_a_broader_one_or_sees_those_of_others() {
    let are = Fixture::start().await;
    let (_, reader) = are.token(&["read"]).await;
    for scopes in [json!(["admin"]), json!(["read", "prompt"])] {
        let (status, problem) = are.api_as(&reader, "POST", "/api/tokens", Some(json!({"scopes": scopes}))).await;
        assert_eq!((status, problem["code"].as_str()), (403, Some("ARE-0205")));
    }
    let (status, made) = are.api_as(&reader, "POST", "/api/tokens", Some(json!({"scopes": ["read"]}))).await;
    assert_eq!(status, 201);
    assert_eq!(are.api_as(made["token"].as_str().unwrap(), "GET", "/api/sessions", None).await.0, 200);
    let other = json!({"scopes": ["read"], "account": "other"});
    assert_eq!(are.api_as(&reader, "POST", "/api/tokens", Some(other)).await.0, 403);
    let token = are.token_of("other", &["read"]).await;
    let (_, listed) = are.api_as(&token, "GET", "/api/tokens", None).await;
    assert_eq!(listed["tokens"].as_array().map(Vec::len), Some(1), "{listed}");
    are.end().await;
}

#[tokio::test]
async fn without_authentication_host_and_origin_are_still_checked_and_only_loopback_is_served() {
    let are = Fixture::planned(Plan { no_auth: true, ..Plan::default() }).await;
    let host = format!("Host: {}", are.host());
    assert_eq!(are.ask("GET /api/status", &[&host]).await.0, 200);
    assert_eq!(are.ask("GET /api/status", &["Host: evil.example"]).await.0, 403);
    assert_eq!(are.ask("GET /api/status", &[&host, "Origin: null"]).await.0, 403);
    are.end().await;
}

#[tokio::test]
async fn the_unix_socket_is_private_and_needs_no_token() {
    let are = Fixture::start().await;
    let mode = std::fs::metadata(are.socket_path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = are.local().await;
    let workspace = are.dir.path().to_str().unwrap();
    client.send(json!({"type": "attach", "session": "new", "workspace": workspace, "after": 0})).await;
    assert_eq!(client.json().await["type"], "attached");
    let created = client.json().await;
    assert_eq!((created["type"].as_str(), created["owner"].as_str()), (Some("session_created"), Some("admin")));
    assert_eq!(created["workspace"], workspace);
    let mut remote = are.v2().await;
    remote.send(json!({"type": "attach", "session": "new", "workspace": workspace})).await;
    assert_eq!(remote.json().await["code"], "ARE-0008");
    let path = are.socket_path();
    let dir = are.end().await;
    assert!(!path.exists());
    // What a killed server leaves behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let are = Fixture::within(dir, Plan::default()).await;
    are.local().await;
    are.end().await;
}

#[tokio::test]
async fn silent_connections_do_not_shut_others_out() {
    let are = Fixture::start().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(tokio::net::TcpStream::connect(are.address).await.unwrap());
    }
    assert_eq!(are.api("GET", "/api/status", None).await.0, 200);
    are.end().await;
}

#[tokio::test]
async fn odd_http_is_refused_in_bounded_memory() {
    let are = Fixture::start().await;
    let huge = format!("GET / HTTP/1.1\r\nHost: {}\r\nX: {}\r\n\r\n", are.host(), "a".repeat(64 << 10));
    assert_eq!(status_of(&are.raw(huge).await), 431);
    let many: String = (0..500).map(|n| format!("X{n}: y\r\n")).collect();
    assert_eq!(status_of(&are.raw(format!("GET / HTTP/1.1\r\nHost: {}\r\n{many}\r\n", are.host())).await), 431);
    for nonsense in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        assert_eq!(status_of(&are.raw(nonsense).await), 400, "{nonsense:?}");
    }
    let head = |length: &str| {
        format!(
            "PUT /api/variables/x HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {ADMIN}\r\n{length}\r\n\r\n",
            are.host()
        )
    };
    let large = format!("{}{}", head("Connection: close\r\nContent-Length: 3000000"), "a".repeat(3_000_000));
    assert_eq!(status_of(&are.raw(large).await), 413);
    for smuggled in ["Content-Length: 1\r\nContent-Length: 2", "Content-Length: -1", "Transfer-Encoding: gzip"] {
        assert_eq!(status_of(&are.raw(head(smuggled)).await), 400, "{smuggled}");
    }
    for (body, status) in [("{\"a\":1,\"a\":2}", 400), ("{", 400), ("1 2", 400), (&*"[".repeat(100), 400), ("", 400)] {
        let request = format!("{}{body}", head(&format!("Connection: close\r\nContent-Length: {}", body.len())));
        assert_eq!(status_of(&are.raw(request).await), status, "{body}");
    }
    are.end().await;
}

//! The console's door: its files, and the login that lets its page in.

use serde_json::{Value, json};

use are_core::ids::SessionKey;
use are_core::store::Store as _;
use are_store::sqlite::{Options, SqliteStore};

use crate::fixture::{ADMIN, Client, Fixture, Plan, status_of};

/// A login of the console.
pub(crate) struct Login {
    /// The page's half.
    pub(crate) half: String,
    /// The browser's, as `name=value`.
    pub(crate) cookie: String,
    /// Everything that was answered.
    pub(crate) answer: String,
}

/// Exchanges a code or token.
pub(crate) async fn log_in(are: &Fixture, credential: &Value, headers: &[&str]) -> Login {
    let answer = post(are, "/api/login", headers, &credential.to_string()).await;
    assert_eq!(status_of(&answer), 201, "{answer}");
    let told: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    let cookie = header(&answer, "set-cookie").last().expect("a cookie").split(';').next().expect("a pair").to_owned();
    Login { half: told["half"].as_str().expect("a half").to_owned(), cookie, answer }
}

/// A code for whom a token speaks.
pub(crate) async fn code(are: &Fixture, token: &str) -> String {
    let (status, made) = are.api_as(token, "POST", "/api/login/code", None).await;
    assert_eq!((status, made["expires_in_ms"].as_u64()), (201, Some(60_000)), "{made}");
    let code = made["code"].as_str().expect("a code").to_owned();
    assert_eq!(made["url"], format!("http://{}/#code={code}", are.host()));
    code
}

pub(crate) async fn post(are: &Fixture, path: &str, headers: &[&str], body: &str) -> String {
    let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    are.raw(format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{more}\r\n{body}",
        are.host(),
        body.len()
    ))
    .await
}

/// The values of a header of an answer.
fn header<'a>(answer: &'a str, name: &str) -> Vec<&'a str> {
    let head = answer.split_once("\r\n\r\n").map_or(answer, |(head, _)| head);
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// A request with a login; the answer's status and text.
async fn ask(are: &Fixture, login: &Login, line: &str) -> (u16, String) {
    let headers = [
        format!("Host: {}", are.host()),
        format!("Authorization: Bearer {}", login.half),
        format!("Cookie: {}", login.cookie),
    ];
    are.ask(line, &headers.each_ref().map(String::as_str)).await
}

/// A socket with a login, as a browser opens one.
async fn socket(are: &Fixture, login: &Login) -> Client<tokio::net::TcpStream> {
    use base64::Engine as _;
    let offer = format!("are.v2, are.token.{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&login.half));
    let stream = tokio::net::TcpStream::connect(are.address).await.unwrap();
    let headers = [("cookie", login.cookie.clone()), ("origin", format!("http://{}", are.host()))];
    Client::with(stream, &are.host(), "/ws", Some(&offer), &headers).await
}

#[tokio::test]
async fn the_page_and_its_files_need_no_token_show_no_data_and_forbid_what_a_browser_could_do_with_them() {
    let are = Fixture::start().await;
    let host = format!("Host: {}", are.host());
    let (status, page) = are.ask("GET /", &[&host]).await;
    assert_eq!(status, 200, "{page}");
    assert_eq!(header(&page, "cache-control"), ["no-cache"]);
    let policy = header(&page, "content-security-policy")[0];
    for part in
        ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"]
    {
        assert!(policy.split("; ").any(|found| found == part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(header(&page, name), [value]);
    }
    let tag = header(&page, "etag")[0];
    let known = format!("If-None-Match: {tag}");
    assert_eq!(are.ask("GET /", &[&host, &known]).await.0, 304);
    let script = page.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a script");
    let (status, text) = are.ask(&format!("GET {script}"), &[&host]).await;
    assert_eq!((status, header(&text, "cache-control")), (200, vec!["public, max-age=31536000, immutable"]));
    assert_eq!(header(&text, "content-type"), ["text/javascript; charset=utf-8"]);
    assert!(header(&text, "content-encoding").is_empty() && text.contains("import {"), "{text}");
    let (_, packed) = are.ask(&format!("GET {script}"), &[&host, "Accept-Encoding: br, gzip;q=1"]).await;
    assert_eq!(header(&packed, "content-encoding"), ["gzip"]);
    assert!(header(&packed, "content-length")[0].parse::<usize>().unwrap() < text.len());
    for odd in ["/console/", "/console/main.js", "/console/0/main.js", "/console/../main.js", &format!("{script}/..")] {
        let (status, answer) = are.ask(&format!("GET {odd}"), &[&host]).await;
        assert_eq!((status, answer.contains("ARE-0209")), (404, true), "{odd} {answer}");
    }
    for line in ["POST /", "PUT /console/x", "DELETE /"] {
        assert_eq!(are.ask(line, &[&host]).await.0, 401, "{line}");
    }
    are.end().await;
}

#[tokio::test]
async fn a_code_becomes_a_login_of_the_same_account_and_scopes_in_two_halves() {
    let are = Fixture::start().await;
    let bob = are.token_of("bob", &["read", "approve"]).await;
    let login = log_in(&are, &json!({"code": code(&are, &bob).await}), &[]).await;
    let set = header(&login.answer, "set-cookie")[0];
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.split("; ").any(|found| found == attribute), "{set}");
    }
    assert!(!set.contains("Secure") && !login.answer.contains("domain"), "{set}");
    let (status, who) = ask(&are, &login, "GET /api/login").await;
    assert_eq!(status, 200, "{who}");
    let who: Value = serde_json::from_str(who.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(who, json!({"account": "bob", "scopes": ["read", "approve"], "is_login": true}));
    let (_, by_token) = are.api_as(&bob, "GET", "/api/login", None).await;
    assert_eq!(by_token["is_login"], false);
    let mut client = socket(&are, &login).await;
    assert_eq!(client.response.headers()["sec-websocket-protocol"], "are.v2");
    client.send(json!({"type": "ping"})).await;
    assert_eq!(client.json().await["type"], "pong");
    // Behind TLS the page's origin says so, and the cookie never goes without.
    let are_tls = Fixture::planned(Plan { origins: vec!["https://are.example".into()], ..Plan::default() }).await;
    let secure = log_in(&are_tls, &json!({"token": ADMIN}), &["Origin: https://are.example"]).await;
    assert!(header(&secure.answer, "set-cookie")[0].ends_with("; Secure"), "{}", secure.answer);
    are_tls.end().await;
    are.end().await;
}

#[tokio::test]
async fn logging_out_and_revoking_and_disabling_close_what_a_login_opened() {
    let are = Fixture::start().await;
    let operator = log_in(&are, &json!({"token": ADMIN}), &[]).await;
    are.account("bob", &[]).await;
    let wish = json!({"scopes": ["read", "prompt"], "account": "bob"});
    let (_, made) = are.api("POST", "/api/tokens", Some(wish)).await;
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    let by_code = log_in(&are, &json!({"code": code(&are, token).await}), &[]).await;
    let disabled = log_in(&are, &json!({"token": are.token_of("carol", &["read"]).await}), &[]).await;
    let mut sockets = Vec::new();
    for login in [&operator, &by_code, &disabled] {
        sockets.push(socket(&are, login).await);
    }
    let (status, answer) = ask(&are, &operator, "POST /api/logout").await;
    assert_eq!(status, 204, "{answer}");
    assert!(header(&answer, "set-cookie")[0].ends_with("=; Path=/; Max-Age=0"), "{answer}");
    assert_eq!(are.api("DELETE", &format!("/api/tokens/{id}"), None).await.0, 204);
    assert_eq!(are.api("PATCH", "/api/accounts/carol", Some(json!({"is_disabled": true}))).await.0, 200);
    for socket in &mut sockets {
        assert_eq!(u16::from(socket.closed().await.code), 4202);
    }
    for login in [&operator, &by_code, &disabled] {
        assert_eq!(ask(&are, login, "GET /api/status").await.0, 401);
    }
    // A token is not logged out, and its holder is told so.
    assert_eq!(are.api("POST", "/api/logout", None).await.1["code"], "ARE-0206");
    // The next login tells the browser to forget those that are gone.
    let next = log_in(&are, &json!({"token": ADMIN}), &[&format!("Cookie: {}; x=1", operator.cookie)]).await;
    let forgotten = header(&next.answer, "set-cookie")[0];
    assert_eq!(forgotten, format!("{}=; Path=/; Max-Age=0", operator.cookie.split('=').next().unwrap()));
    are.end().await;
}

#[tokio::test]
async fn a_login_ends_when_it_is_not_used_and_its_sockets_with_it() {
    let are = Fixture::start().await;
    let login = log_in(&are, &json!({"token": ADMIN}), &[]).await;
    let mut open = socket(&are, &login).await;
    are.clock.advance(11 * 60 * 60 * 1000);
    assert_eq!(ask(&are, &login, "GET /api/status").await.0, 200);
    are.clock.advance(11 * 60 * 60 * 1000);
    open.send(json!({"type": "ping"})).await;
    assert_eq!(open.json().await["type"], "pong");
    are.clock.advance(60 * 60 * 1000);
    assert_eq!(u16::from(open.closed().await.code), 4202);
    assert_eq!(ask(&are, &login, "GET /api/status").await.0, 401);
    are.end().await;
}

#[tokio::test]
async fn logins_are_records_and_end_with_the_server() {
    let are = Fixture::start().await;
    let bob = are.token_of("bob", &["read"]).await;
    let by_code = log_in(&are, &json!({"code": code(&are, &bob).await}), &[]).await;
    let operator = log_in(&are, &json!({"token": ADMIN}), &[]).await;
    assert_eq!(ask(&are, &by_code, "POST /api/logout").await.0, 204);
    let are = Fixture::within(are.end().await, Plan::default()).await;
    assert_eq!(ask(&are, &operator, "GET /api/status").await.0, 401);
    let dir = are.end().await;
    let store = SqliteStore::open(dir.path(), &Options::default()).unwrap();
    let rows = store.read(SessionKey::SYSTEM, 0, 200, usize::MAX).await.unwrap();
    let text: String = rows.iter().map(|row| String::from_utf8_lossy(&row.bytes)).collect();
    let halves = [&by_code.half, &operator.half].map(|half| half.splitn(3, '_').last().expect("a secret"));
    let cookies = [&by_code.cookie, &operator.cookie].map(|cookie| cookie.split_once('=').expect("a value").1);
    for secret in halves.into_iter().chain(cookies) {
        assert!(secret.len() == 43 && !text.contains(secret), "a half is in the journal");
    }
    let records: Vec<Value> = rows.iter().map(|row| serde_json::from_slice(&row.bytes).unwrap()).collect();
    let logins: Vec<_> =
        records.iter().filter(|record| record["action"].as_str().unwrap().starts_with("login_")).collect();
    let told: Vec<_> =
        logins.iter().map(|record| (record["action"].as_str().unwrap(), record["account"].as_str().unwrap())).collect();
    assert_eq!(
        told,
        [("login_offered", "bob"), ("login_opened", "bob"), ("login_opened", "admin"), ("login_closed", "bob")]
    );
    let id = bob.split('_').nth(1).unwrap();
    assert_eq!((logins[0]["token"].as_str(), logins[1]["token"].as_str()), (Some(id), Some(id)));
    assert!(logins[2].get("token").is_none(), "{}", logins[2]);
    assert_eq!(logins[1]["login"], logins[3]["login"]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_delegate_makes_no_code_for_those_it_speaks_for() {
    let are = Fixture::start().await;
    are.account("alice", &["staff"]).await;
    are.account("bridge", &[]).await;
    let wish = json!({"account": "bridge", "scopes": ["read", "delegate"], "for_groups": ["staff"]});
    let (_, made) = are.api("POST", "/api/tokens", Some(wish)).await;
    let token = format!("Authorization: Bearer {}", made["token"].as_str().unwrap());
    let answer = post(&are, "/api/login/code", &[&token, "ARE-Account: alice"], "").await;
    assert!(status_of(&answer) == 403 && answer.contains("ARE-0205"), "{answer}");
    are.end().await;
}

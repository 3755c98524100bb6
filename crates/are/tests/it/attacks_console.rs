//! The attacks of `tests/attacks/console.toml`: getting into the console without its login, or on after it has ended.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::console::{Login, code, log_in, post};
use crate::fixture::{ADMIN, Fixture, status_of};

#[derive(Deserialize)]
struct Attacks {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    request: String,
    host: Option<String>,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    body: String,
    code: Option<String>,
    status: Option<u16>,
}

/// The server, and what stands for the marks in a case.
async fn stage() -> (Fixture, BTreeMap<String, String>) {
    let are = Fixture::start().await;
    let mut marks = BTreeMap::new();
    let mut keep = |name: &str, login: &Login| {
        marks.insert(format!("{name}_half"), login.half.clone());
        marks.insert(format!("{name}_cookie"), login.cookie.clone());
    };
    let late = code(&are, ADMIN).await;
    are.clock.advance(60_000);
    let bob = are.token_of("bob", &["read"]).await;
    let (gone_id, gone) = are.token(&["read", "prompt"]).await;
    let revoked = code(&are, &gone).await;
    let used = code(&are, &bob).await;
    keep("cut", &log_in(&are, &json!({"token": gone}), &[]).await);
    let own = log_in(&are, &json!({"code": code(&are, ADMIN).await}), &[]).await;
    let other = log_in(&are, &json!({"code": used}), &[]).await;
    let out = log_in(&are, &json!({"token": ADMIN}), &[]).await;
    let headers = [format!("Authorization: Bearer {}", out.half), format!("Cookie: {}", out.cookie)];
    assert_eq!(status_of(&post(&are, "/api/logout", &headers.each_ref().map(String::as_str), "").await), 204);
    assert_eq!(are.api("DELETE", &format!("/api/tokens/{gone_id}"), None).await.0, 204);
    keep("own", &own);
    keep("bob", &other);
    keep("out", &out);
    let value = other.cookie.split('=').nth(1).expect("a value");
    let crossed = format!("{}={value}", own.cookie.split('=').next().expect("a name"));
    for (name, text) in [
        ("crossed_cookie", crossed),
        ("late", late),
        ("used", used),
        ("revoked", revoked),
        ("gone_token", gone),
        ("fresh", code(&are, ADMIN).await),
        ("large", "x".repeat(2000)),
    ] {
        marks.insert(name.to_owned(), text);
    }
    (are, marks)
}

#[tokio::test]
async fn nobody_gets_into_the_console_without_both_halves_of_a_login_that_is_good() {
    let attacks: Attacks = toml::from_str(include_str!("../../../../tests/attacks/console.toml")).expect("attack file");
    assert!(attacks.case.len() >= 40, "the attack file was read: {}", attacks.case.len());
    let (are, marks) = stage().await;
    let fill = |text: &str| {
        marks.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    };
    for case in &attacks.case {
        let headers: String = case.headers.iter().map(|line| format!("{}\r\n", fill(line))).collect();
        let body = fill(&case.body);
        let host = case.host.clone().unwrap_or_else(|| are.host());
        let answer = are
            .raw(format!(
                "{} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
                fill(&case.request),
                body.len()
            ))
            .await;
        let told: Value =
            answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok()).unwrap_or_default();
        match &case.code {
            Some(code) => {
                let is_slowed = code == "ARE-0202" && told["code"] == "ARE-0210";
                assert!(told["code"] == code.as_str() || is_slowed, "{}: {answer}", case.name);
                assert!(!answer.to_ascii_lowercase().contains("set-cookie"), "{}: {answer}", case.name);
            }
            None => assert_eq!(Some(status_of(&answer)), case.status, "{}: {answer}", case.name),
        }
    }
    // The code that was shown in every wrong way is still good in the right one.
    log_in(&are, &json!({"code": marks["fresh"]}), &[]).await;
    println!("{} attacks", attacks.case.len());
    are.end().await;
}

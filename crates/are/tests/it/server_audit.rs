//! What the doors tell the journal, and who may have the log.

use are_core::ids::SessionKey;
use are_core::store::Store as _;
use serde_json::{Value, json};

use crate::fixture::{ADMIN, Fixture, Plan};

/// Records of the system session, with their payloads.
async fn system(are: &Fixture) -> Vec<(Value, Value)> {
    let rows = are.store.read(SessionKey::SYSTEM, 0, 1_000, usize::MAX).await.unwrap();
    let parse = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap();
    rows.iter()
        .map(|row| (parse(&row.bytes), row.payload.as_ref().map_or(Value::Null, |(_, bytes)| parse(bytes))))
        .collect()
}

fn of(records: &[(Value, Value)], action: &str) -> Vec<(Value, Value)> {
    records.iter().filter(|(record, _)| record["action"] == action).cloned().collect()
}

#[tokio::test]
async fn thousands_of_wrong_credentials_are_a_handful_of_records_and_each_is_counted() {
    let are = Fixture::start().await;
    let (_, reader) = are.token(&["read"]).await;
    let host = format!("Host: {}", are.host());
    let tries = 40;
    for _ in 0..tries {
        are.ask("GET /api/status", &[&host]).await;
    }
    are.ask("GET /api/status", &[&host, "Authorization: Bearer wrong"]).await;
    are.ask("GET /api/status", &["Host: evil.example", "Authorization: Bearer wrong"]).await;
    assert_eq!(are.api_as(&reader, "GET", "/api/accounts", None).await.0, 403);
    let dir = are.end().await;
    let are = Fixture::within(dir, Plan::default()).await;
    let records = system(&are).await;
    let refused = of(&records, "access_refused");
    let times = |code: &str| -> u64 {
        let of_code = refused.iter().filter(|(record, _)| record["code"] == code);
        of_code.filter_map(|(record, _)| record["times"].as_u64()).sum()
    };
    assert_eq!([times("ARE-0201"), times("ARE-0202"), times("ARE-0204"), times("ARE-0205")], [tries, 1, 1, 1]);
    assert!(refused.len() <= 8, "{refused:?}");
    let (record, payload) = &refused[0];
    assert!(record["addresses"].is_null() && payload["addresses"][0].is_string(), "{payload}");
    are.end().await;
}

#[tokio::test]
async fn who_was_let_in_stands_in_the_journal_once_with_token_and_door() {
    let are = Fixture::start().await;
    let token = are.token_of("alice", &["read"]).await;
    for _ in 0..5 {
        assert_eq!(are.api_as(&token, "GET", "/api/status", None).await.0, 200);
    }
    let are = Fixture::within(are.end().await, Plan::default()).await;
    let let_in = of(&system(&are).await, "signed_in");
    let of_alice: Vec<_> = let_in.iter().filter(|(record, _)| record["account"] == "alice").collect();
    assert_eq!(of_alice.len(), 1, "{let_in:?}");
    assert_eq!(of_alice[0].0["door"], "network");
    assert!(of_alice[0].0["token"].is_string() && of_alice[0].0["times"].as_u64() >= Some(1));
    assert!(let_in.iter().any(|(record, _)| record["account"] == "admin" && record["token"].is_null()));
    are.end().await;
}

#[tokio::test]
async fn the_log_is_for_administrators_and_answers_one_question_at_a_time() {
    let are = Fixture::start().await;
    let (_, token) = are.token(&["read", "prompt", "approve"]).await;
    for path in ["checkpoint", "checkpoints", "export", "prove?leaf=0", "verify", "vkey"] {
        let path = format!("/api/audit/{path}");
        assert_eq!(are.api_as(&token, "GET", &path, None).await.0, 403, "{path}");
        assert_eq!(are.api_as(ADMIN, "GET", &path, None).await.0, 200, "{path}");
    }
    assert_eq!(are.api_as(&token, "POST", "/api/audit/rotate-key", None).await.0, 403);
    for (path, status, code) in [
        ("prove", 400, "ARE-0206"),
        ("prove?leaf=0&from=1", 400, "ARE-0206"),
        ("prove?leaf=123456", 404, "ARE-0813"),
        ("prove?from=0", 404, "ARE-0813"),
        ("prove?session=00000000-0000-0000-0000-000000000000&seq=123456", 404, "ARE-0813"),
        ("prove?session=x&seq=1", 404, "ARE-0301"),
        ("export?until=123456", 404, "ARE-0813"),
        ("verify?checkpoint=x", 400, "ARE-0206"),
        ("verify?other=1", 400, "ARE-0206"),
    ] {
        let (found, problem) = are.api("GET", &format!("/api/audit/{path}"), None).await;
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{path}: {problem}");
    }
    let (_, before) = are.api("GET", "/api/audit/vkey", None).await;
    let (status, rotated) = are.api("POST", "/api/audit/rotate-key", None).await;
    assert_eq!((status, &rotated["retired"][0]), (200, &before["vkey"]));
    let recorded = of(&system(&are).await, "signing_key_rotated");
    assert_eq!((&recorded[0].0["old"], &recorded[0].0["new"]), (&before["vkey"], &rotated["vkey"]));
    assert_eq!(are.engine.signing_key().as_deref(), rotated["vkey"].as_str());
    are.end().await;

    let off = Fixture::planned(Plan { is_audited: false, ..Plan::default() }).await;
    let (status, problem) = off.api("GET", "/api/audit/checkpoint", None).await;
    assert_eq!((status, &problem["code"]), (409, &json!("ARE-0810")));
    assert!(off.auditor.is_none());
    off.end().await;
}

//! `are token …`

use hyper::Method;
use serde_json::{Value, json};

use super::Env;
use super::args::Token;
use super::exit::{Exit, Outcome};
use super::place::{segment, text};
use super::served::Served;
use crate::wiring::Need;

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(super) async fn run(env: &Env, verb: Token) -> Outcome {
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = tell(env, &served, verb).await;
    served.end().await?;
    outcome
}

async fn tell(env: &Env, served: &Served, verb: Token) -> Outcome {
    let out = env.out;
    let client = served.client();
    match verb {
        Token::Create { label, scopes, account, for_groups, for_accounts, days } => {
            let mut wish =
                json!({"label": label, "scopes": scopes, "for_groups": for_groups, "for_accounts": for_accounts});
            if let Some(account) = account {
                wish["account"] = account.into();
            }
            if let Some(days) = days {
                wish["expires_at_ms"] = (now_ms() + days * DAY_MS).into();
            }
            let made = client.send(Method::POST, "/api/tokens", Some(&wish)).await?;
            if out.is_json {
                out.json(&made)?;
            } else {
                out.line(&text(&made, "token"))?;
                out.say(&format!(
                    "token {} is shown only now; revoke it with `are token revoke {0}`",
                    text(&made, "id")
                ));
            }
        }
        Token::List => {
            let found = client.get("/api/tokens").await?;
            if out.is_json {
                out.json(&found)?;
                return Ok(Exit::Done);
            }
            let row = |one: &Value| {
                let scopes = one["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let is_over = one["expires_at_ms"].as_u64().is_some_and(|end| end <= now_ms());
                let state = match one["is_revoked"] == true {
                    true => "revoked",
                    false if is_over => "over",
                    false => "good",
                };
                let speaks_for = one["speaks_for"].as_array().into_iter().flatten().filter_map(Value::as_str);
                vec![
                    text(one, "id"),
                    text(one, "account"),
                    scopes.collect::<Vec<_>>().join(","),
                    state.to_owned(),
                    speaks_for.collect::<Vec<_>>().join(","),
                    text(one, "label"),
                ]
            };
            let rows: Vec<_> = found["tokens"].as_array().into_iter().flatten().map(row).collect();
            out.table(&["ID", "ACCOUNT", "SCOPES", "STATE", "SPEAKS FOR", "LABEL"], &rows)?;
        }
        Token::Narrow { id, scopes } => {
            let wish = json!({"scopes": scopes});
            client.send(Method::PATCH, &format!("/api/tokens/{}", segment(&id)), Some(&wish)).await?;
        }
        Token::Revoke { id } => {
            client.send(Method::DELETE, &format!("/api/tokens/{}", segment(&id)), None).await?;
        }
    }
    Ok(Exit::Done)
}

/// Milliseconds since 1970, by this machine's clock.
fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

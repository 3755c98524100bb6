//! `are token …`

use hyper::Method;
use serde_json::{Value, json};

use super::Env;
use super::args::Token;
use super::exit::{Exit, Outcome};
use super::place::{segment, text};
use super::served::Served;
use crate::wiring::Need;

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
        Token::Create { label, scopes } => {
            let wish = json!({"label": label, "scopes": scopes});
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
                let state = if one["is_revoked"] == true { "revoked" } else { "good" };
                vec![
                    text(one, "id"),
                    text(one, "account"),
                    scopes.collect::<Vec<_>>().join(","),
                    state.to_owned(),
                    text(one, "label"),
                ]
            };
            let rows: Vec<_> = found["tokens"].as_array().into_iter().flatten().map(row).collect();
            out.table(&["ID", "ACCOUNT", "SCOPES", "STATE", "LABEL"], &rows)?;
        }
        Token::Revoke { id } => {
            client.send(Method::DELETE, &format!("/api/tokens/{}", segment(&id)), None).await?;
        }
    }
    Ok(Exit::Done)
}

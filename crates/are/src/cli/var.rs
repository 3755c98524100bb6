//! `are var …`

use hyper::Method;
use serde_json::Value;

use super::Env;
use super::args::{Scope, Var};
use super::exit::{Exit, Outcome};
use super::place::{segment, session, text};
use super::served::Served;
use crate::wiring::Need;
use are_core::error::{Code, Fault};

pub(super) async fn run(env: &Env, verb: Var) -> Outcome {
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = tell(env, &served, verb).await;
    served.end().await?;
    outcome
}

async fn tell(env: &Env, served: &Served, verb: Var) -> Outcome {
    let out = env.out;
    let client = served.client();
    match verb {
        Var::List { scope } => {
            let found = client.get(&format!("/api/variables{}", query(&scope)?)).await?;
            if out.is_json {
                out.json(&found)?;
                return Ok(Exit::Done);
            }
            let rows: Vec<_> = variables(&found, &scope)
                .map(|one| vec![text(one, "name"), text(one, "scope"), one["value"].to_string()])
                .collect();
            out.table(&["NAME", "SCOPE", "VALUE"], &rows)?;
        }
        Var::Get { name, scope } => {
            let found = client.get(&format!("/api/variables{}", query(&scope)?)).await?;
            let one = variables(&found, &scope).find(|one| one["name"] == name.as_str()).ok_or_else(|| {
                Fault::new(
                    Code::TOOL_NOT_FOUND,
                    format!("there is no variable `{name}`"),
                    "`are var list` shows those there are",
                )
            })?;
            out.json(&one["value"])?;
        }
        Var::Set { name, value, scope } => {
            // What is no JSON is meant as text, so that `are var set name Ada` does what it says.
            let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
            client.send(Method::PUT, &path(&name, &scope)?, Some(&value)).await?;
        }
        Var::Delete { name, scope } => {
            client.send(Method::DELETE, &path(&name, &scope)?, None).await?;
        }
    }
    Ok(Exit::Done)
}

/// The variables of the scope that was asked for; a session's list also shows its account's.
fn variables<'a>(found: &'a Value, scope: &Scope) -> impl Iterator<Item = &'a Value> {
    let wanted = if scope.session.is_some() { "session" } else { "account" };
    found["variables"].as_array().into_iter().flatten().filter(move |one| one["scope"] == wanted)
}

fn query(scope: &Scope) -> Result<String, Fault> {
    match &scope.session {
        Some(key) => Ok(format!("?session={}", session(key)?)),
        None => Ok(String::new()),
    }
}

fn path(name: &str, scope: &Scope) -> Result<String, Fault> {
    Ok(format!("/api/variables/{}{}", segment(name), query(scope)?))
}

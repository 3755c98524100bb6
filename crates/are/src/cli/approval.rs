//! `are approval …`

use are_core::error::{Code, Fault};
use hyper::Method;
use serde_json::{Value, json};

use super::Env;
use super::args::Approval;
use super::exit::{Exit, Outcome};
use super::place::{numbered, text};
use super::served::Served;
use crate::wiring::Need;

pub(super) async fn run(env: &Env, verb: Approval) -> Outcome {
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = tell(env, &served, verb).await;
    served.end().await?;
    outcome
}

async fn tell(env: &Env, served: &Served, verb: Approval) -> Outcome {
    let out = env.out;
    match verb {
        Approval::List => {
            let found = served.client().get("/api/approvals").await?;
            if out.is_json {
                out.json(&found)?;
                return Ok(Exit::Done);
            }
            for one in found["approvals"].as_array().into_iter().flatten() {
                out.line(&shown(one))?;
            }
            Ok(Exit::Done)
        }
        Approval::Allow { approval, session: true } => answer(env, served, &approval, "allow_session").await,
        Approval::Allow { approval, session: false } => answer(env, served, &approval, "allow_once").await,
        Approval::Deny { approval } => answer(env, served, &approval, "deny").await,
    }
}

/// Answers for exactly what waits at this moment; the digest makes sure of it.
async fn answer(env: &Env, served: &Served, approval: &str, decision: &str) -> Outcome {
    let client = served.client();
    let (session, number) = numbered(client, approval).await?;
    let found = client.get("/api/approvals").await?;
    let is_meant = |one: &&Value| one["session"] == session.as_str() && one["approval"] == number;
    let waiting = found["approvals"].as_array().into_iter().flatten().find(is_meant).ok_or_else(|| {
        Fault::new(
            Code::APPROVAL_UNKNOWN,
            format!("no approval `{session}/{number}` waits"),
            "`are approval list` shows those that do",
        )
    })?;
    if !env.out.is_json {
        env.out.say(&shown(waiting));
    }
    let body = json!({"digest": waiting["digest"], "decision": decision});
    let answered = client.send(Method::POST, &format!("/api/approvals/{session}/{number}"), Some(&body)).await?;
    if env.out.is_json {
        env.out.json(&answered)?;
    }
    Ok(Exit::Done)
}

/// The whole call with the origin of its values.
pub(super) fn shown(one: &Value) -> String {
    let origins: Vec<&str> = one["origins"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let from = if origins.is_empty() { "unknown".to_owned() } else { origins.join(", ") };
    let args = match &one["args"] {
        Value::String(canonical) => canonical.clone(),
        other => other.to_string(),
    };
    format!(
        "{}/{} {} {args}\n  why:  {}\n  from: {from}",
        text(one, "session"),
        text(one, "approval"),
        text(one, "tool"),
        text(one, "why"),
    )
}

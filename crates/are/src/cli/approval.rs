//! `are approval …`

use are_core::error::{Code, Fault};
use hyper::Method;
use serde_json::{Value, json};

use super::Env;
use super::args::Approval;
use super::exit::{Exit, Outcome};
use super::output::one_line;
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
                out.line(&numbered_shown(one))?;
            }
            Ok(Exit::Done)
        }
        Approval::Allow { approval, session, always } => {
            let decision = match (session, always) {
                (_, true) => "allow_always",
                (true, false) => "allow_session",
                (false, false) => "allow_once",
            };
            answer(env, served, &approval, decision).await
        }
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
        env.out.say(&numbered_shown(waiting));
    }
    let body = json!({"digest": waiting["digest"], "decision": decision});
    let answered = client.send(Method::POST, &format!("/api/approvals/{session}/{number}"), Some(&body)).await?;
    if env.out.is_json {
        env.out.json(&answered)?;
    }
    Ok(Exit::Done)
}

/// The whole call: what is approved is exactly these bytes.
pub(super) fn shown(one: &Value) -> String {
    let origins: Vec<&str> = one["origins"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let from = if origins.is_empty() { "unknown".to_owned() } else { one_line(&origins.join(", ")) };
    let args = match &one["args"] {
        Value::String(canonical) => canonical.clone(),
        other => other.to_string(),
    };
    let mut lines = vec![
        format!("{} {}", one_line(&text(one, "tool")), one_line(&args)),
        format!("  why:  {}", one_line(&text(one, "why"))),
        format!("  from: {from}"),
    ];
    if one["is_parked"] == true {
        lines.push("  the turn is parked; it goes on with an answer".to_owned());
    }
    match one["rule"].as_str() {
        Some(rule) => {
            lines.push("  always adds the rule:".to_owned());
            lines.extend(rule.lines().map(|line| format!("    {}", one_line(line))));
        }
        None => lines.push("  always is not offered: no rule can be kept here, or none would help".to_owned()),
    }
    lines.join("\n")
}

/// The same with its number.
fn numbered_shown(one: &Value) -> String {
    format!("{}/{} {}", text(one, "session"), text(one, "approval"), shown(one))
}

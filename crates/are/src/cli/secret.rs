//! `are secret …`
//!
//! A value comes from the terminal without being shown, from stdin or from a
//! variable, and never from the command line, which other processes can read
//! and shells remember.

use std::io::{IsTerminal as _, Read as _};

use are_core::error::{Code, Fault};
use hyper::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Env;
use super::args::Secret;
use super::ask;
use super::exit::{Exit, Failure, Outcome};
use super::place::{segment, text};
use super::served::Served;
use crate::wiring::Need;

/// Bytes read from stdin; the server takes less.
const VALUE_BYTES_MAX: u64 = 64 << 10;

pub(super) async fn run(env: &Env, verb: Secret) -> Outcome {
    // Before anything is opened, so that a person is not kept waiting and nothing waits for a person.
    let value = match &verb {
        Secret::Set { name, from_env, .. } => Some(value(env, name, from_env.as_deref())?),
        Secret::List | Secret::Delete { .. } | Secret::RotateKey { .. } => None,
    };
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = tell(env, &served, verb, value).await;
    served.end().await?;
    outcome
}

async fn tell(env: &Env, served: &Served, verb: Secret, value: Option<Zeroizing<String>>) -> Outcome {
    let (out, client) = (env.out, served.client());
    match verb {
        Secret::Set { name, to, env: tools, .. } => {
            let value = value.map(|value| value.as_str().to_owned()).unwrap_or_default();
            let wish = json!({ "value": value, "hosts": to, "tools": tools });
            client.send(Method::PUT, &format!("/api/secrets/{}", segment(&name)), Some(&wish)).await?;
        }
        Secret::List => {
            let found = client.get("/api/secrets").await?;
            if out.is_json {
                out.json(&found)?;
                return Ok(Exit::Done);
            }
            let list = |one: &Value, key: &str| {
                one[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            };
            let row = |one: &Value| {
                let state = if one["is_readable"] == true { "good" } else { "locked" };
                let updated = one["updated_at_ms"].as_i64().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
                vec![
                    text(one, "name"),
                    list(one, "hosts"),
                    list(one, "tools"),
                    text(one, "key"),
                    state.to_owned(),
                    updated.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default(),
                ]
            };
            let rows: Vec<_> = found["secrets"].as_array().into_iter().flatten().map(row).collect();
            out.table(&["NAME", "HOSTS", "TOOLS", "KEY", "STATE", "SET"], &rows)?;
        }
        Secret::Delete { name } => {
            client.send(Method::DELETE, &format!("/api/secrets/{}", segment(&name)), None).await?;
        }
        Secret::RotateKey { master } => {
            let done = client.send(Method::POST, "/api/secrets/rotate-key", Some(&json!({ "master": master }))).await?;
            if out.is_json {
                out.json(&done)?;
                return Ok(Exit::Done);
            }
            out.line(&text(&done, "key"))?;
            out.say(&format!(
                "{} secrets are sealed by the data key {} under the master key {}",
                text(&done, "secrets"),
                text(&done, "key"),
                text(&done, "master")
            ));
            if done["left"] != 0 {
                out.warn(&format!("{} secrets do not open and stay as they are", text(&done, "left")));
            }
        }
    }
    Ok(Exit::Done)
}

/// The value, without the line end that a terminal or file puts behind it.
fn value(env: &Env, name: &str, from_env: Option<&str>) -> Result<Zeroizing<String>, Failure> {
    if let Some(variable) = from_env {
        let value = env.surroundings.get(variable).ok_or_else(|| {
            Fault::new(
                Code::CONFIG_INVALID,
                format!("the variable `{variable}` is not set"),
                "set it, or leave `--from-env` out",
            )
        })?;
        return Ok(Zeroizing::new(value.to_owned()));
    }
    if std::io::stdin().is_terminal() {
        return ask::hidden(&format!("value of {name}: ")).ok_or(Failure::Said(Exit::Interrupted));
    }
    let mut value = Zeroizing::new(String::new());
    std::io::stdin().lock().take(VALUE_BYTES_MAX + 1).read_to_string(&mut value)?;
    if value.len() as u64 > VALUE_BYTES_MAX {
        let message = format!("more than {VALUE_BYTES_MAX} bytes were given");
        return Err(Fault::new(Code::SECRET_LIMIT, message, "a secret is a key or a password, not a file").into());
    }
    let end = value.strip_suffix('\n').map_or(value.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)).len();
    value.truncate(end);
    Ok(value)
}

//! `are open`: a link to the console with a one-time code.
//!
//! The code stands behind `#`, which browsers send to nobody. It is printed and
//! not handed to a browser's command line, which other users of the machine read.

use are_core::error::{Code, Fault};
use hyper::Method;
use serde_json::json;

use super::Env;
use super::exit::{Exit, Outcome};
use super::place::text;
use super::served::Served;
use crate::wiring::Need;

pub(super) async fn run(env: &Env) -> Outcome {
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = if served.is_elsewhere() { link(env, &served).await } else { Err(nowhere().into()) };
    served.end().await?;
    outcome
}

async fn link(env: &Env, served: &Served) -> Outcome {
    let made = served.client().send(Method::POST, "/api/login/code", None).await?;
    let url = match &env.config.url {
        // As this user reaches it, which may be through a tunnel of which the server knows nothing.
        Some(url) => Some(format!("{}/#code={}", url.value.trim_end_matches('/'), text(&made, "code"))),
        None => made["url"].as_str().map(str::to_owned),
    };
    let url = url.ok_or_else(nowhere)?;
    let seconds = made["expires_in_ms"].as_u64().unwrap_or_default() / 1000;
    if env.out.is_json {
        env.out.json(&json!({"url": url, "expires_in_s": seconds}))?;
    } else {
        env.out.line(&url)?;
        env.out.say(&format!("good once, for {seconds} seconds"));
    }
    Ok(Exit::Done)
}

fn nowhere() -> Fault {
    Fault::new(
        Code::SERVER_UNREACHABLE,
        "no server with an address for browsers runs on this data directory",
        "start one with `are start`, then `are open` in another terminal; or set `ARE_URL`",
    )
}

//! `are mcp login` and `are mcp logout`
//!
//! The runtime finds out where to log in and keeps what that brings; this
//! process only shows the address and hands on where the browser was sent,
//! which it waits for on loopback, or which the person copies.

use std::time::Duration;

use are_core::error::{Code, Fault};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{parsed, texts};
use crate::cli::Env;
use crate::cli::args::McpLogin;
use crate::cli::ask::Keyboard;
use crate::cli::exit::{Exit, Outcome};
use crate::cli::output::one_line;
use crate::cli::place::{segment, text};
use crate::cli::served::Served;
use crate::client::Callback;

/// Where the browser is sent when nobody waits for it: its page does not load, and its address is what is wanted.
const NOWHERE: &str = "http://127.0.0.1:48888/callback";

pub(super) async fn login(env: &Env, served: &Served, login: &McpLogin) -> Outcome {
    let server = server(env, served, login).await?;
    let waits = if login.no_browser { None } else { Some(Callback::listen().await.map_err(deaf)?) };
    let redirect_uri = waits.as_ref().map_or_else(|| NOWHERE.to_owned(), Callback::redirect_uri);
    let wish = json!({
        "server": server,
        "redirect_uri": redirect_uri,
        "scopes": login.scopes,
        "client_id": login.client_id,
        "client_secret": login.client_secret,
    });
    let path = format!("/api/mcp/{}/login", segment(&login.name));
    let begun = served.client().send(Method::POST, &path, Some(&wish)).await?;
    let (out, url, state) = (env.out, text(&begun, "url"), text(&begun, "state"));
    let scopes = texts(&begun["scopes"]);
    if !scopes.is_empty() {
        out.say(&one_line(&format!("the login will be allowed: {}", scopes.join(" "))));
    }
    let where_to = if waits.is_some() { "in a browser of this machine" } else { "in any browser" };
    out.say(&format!("open this address {where_to}, and agree there:"));
    out.say(&one_line(&url));
    let time = Duration::from_millis(begun["expires_in_ms"].as_u64().unwrap_or_default());
    let callback = match waits {
        Some(callback) => timeout(time, callback.answer(&state)).await.map_err(|_| late())?.map_err(deaf)?,
        None => pasted(env, time).await?,
    };
    let answer = json!({ "callback": callback });
    let done = served.client().send(Method::POST, &format!("{path}/finish"), Some(&answer)).await?;
    if out.is_json {
        out.json(&done)?;
        return Ok(Exit::Done);
    }
    out.say(&one_line(&format!("logged in at {}{}", login.name, holds(&done))));
    Ok(Exit::Done)
}

pub(super) async fn logout(env: &Env, served: &Served, name: &str) -> Outcome {
    let ended = served.client().send(Method::DELETE, &format!("/api/mcp/{}/login", segment(name)), None).await?;
    if ended["ended"] != true {
        let help = "`are mcp list` says where somebody is";
        return Err(Fault::new(Code::LOGIN_FAILED, format!("nobody is logged in at `{}`", one_line(name)), help).into());
    }
    if env.out.is_json {
        env.out.json(&ended)?;
    } else {
        env.out.say(&one_line(&format!("logged out at {name}; what is agreed to there stays until it is ended there")));
    }
    Ok(Exit::Done)
}

/// How the server is reached; `None` as it was consented to.
async fn server(env: &Env, served: &Served, login: &McpLogin) -> Result<Option<Value>, Fault> {
    if let Some(url) = &login.url {
        return Ok(Some(json!({ "url": url })));
    }
    let Some(declared) = env.config.servers.get(&login.name) else { return Ok(None) };
    let found = served.client().get("/api/mcp").await?;
    let is_added = found["servers"].as_array().into_iter().flatten().any(|one| one["name"] == login.name.as_str());
    if is_added { Ok(None) } else { parsed(declared.as_bytes()).map(Some) }
}

async fn pasted(env: &Env, time: Duration) -> Result<String, Fault> {
    let mut keyboard = Keyboard::start(None, env.out).map_err(deaf)?;
    let line = timeout(time, keyboard.answer("then paste the address that the browser was sent to: ")).await;
    let line = line.map_err(|_| late())?;
    line.text().filter(|line| !line.trim().is_empty()).map(str::to_owned).ok_or_else(|| {
        Fault::new(Code::LOGIN_FAILED, "no address was given", "begin again, and copy it from the browser")
    })
}

/// What a login may do, and how long.
fn holds(done: &Value) -> String {
    let scopes = texts(&done["scopes"]);
    let may = if scopes.is_empty() { String::new() } else { format!(" for {}", scopes.join(" ")) };
    let minutes = done["expires_in_ms"].as_u64().map(|ms| ms.div_ceil(60_000));
    match (done["renews"] == true, minutes) {
        (true, _) => format!("{may}; it renews itself"),
        (false, Some(minutes)) => format!("{may}; it ends in {minutes} min"),
        (false, None) => format!("{may}; nobody says when it ends"),
    }
}

fn late() -> Fault {
    Fault::new(Code::LOGIN_FAILED, "no answer came from the browser in time", "begin it again: `are mcp login`")
}

fn deaf(error: std::io::Error) -> Fault {
    let help = "use `--no-browser`, and paste the address that the browser was sent to";
    Fault::new(Code::LOGIN_FAILED, format!("the browser's answer cannot be waited for: {error}"), help)
}

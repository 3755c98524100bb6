//! `are mcp …`
//!
//! Adding a server is two steps through the server's door: it is started or
//! reached and shows what it declares, and then somebody consents to exactly
//! that, by its digest. In between a person reads, with everything that could
//! steer a terminal made visible.

mod login;
mod serve;

use std::path::Path;

use are_core::error::{Code, Fault};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::Env;
use super::args::{Mcp, McpAdd};
use super::ask::is_confirmed;
use super::exit::{Exit, Failure, Outcome};
use super::output::{Output, one_line};
use super::place::{segment, text};
use super::served::Served;
use crate::config::files;
use crate::wiring::Need;

/// What one server is added from.
struct Wanted {
    name: String,
    /// As an entry of `mcpServers`; `None` for what was consented to before.
    server: Option<Value>,
    manifest: Option<String>,
}

/// How it is asked.
#[derive(Clone, Copy)]
struct Manner {
    is_sure: bool,
    is_dry: bool,
}

pub(super) async fn run(env: &Env, verb: Mcp) -> Outcome {
    if matches!(verb, Mcp::Serve) {
        return serve::serve(env).await;
    }
    // What is read here is read before a server is looked for.
    let (wanted, manner) = match &verb {
        Mcp::Add(add) => (wanted(env, add)?, Manner { is_sure: add.yes, is_dry: add.dry_run }),
        Mcp::Review { name, yes, dry_run } => {
            let wanted = Wanted { name: name.clone(), server: None, manifest: None };
            (vec![wanted], Manner { is_sure: *yes, is_dry: *dry_run })
        }
        Mcp::List { .. } | Mcp::Login(_) | Mcp::Logout { .. } | Mcp::Remove { .. } | Mcp::Serve => {
            (Vec::new(), Manner { is_sure: false, is_dry: true })
        }
    };
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = match verb {
        Mcp::Serve => Ok(Exit::Done),
        Mcp::List { name } => list(env, &served, name.as_deref()).await,
        Mcp::Login(wish) => login::login(env, &served, &wish).await,
        Mcp::Logout { name } => login::logout(env, &served, &name).await,
        Mcp::Remove { name } => remove(env, &served, &name).await,
        Mcp::Add(_) | Mcp::Review { .. } => add_all(env, &served, &wanted, manner).await,
    };
    served.end().await?;
    outcome
}

fn wanted(env: &Env, add: &McpAdd) -> Result<Vec<Wanted>, Fault> {
    if let Some(from) = &add.from {
        return of_file(env, from, add.name.as_deref());
    }
    let name = add.name.clone().unwrap_or_default();
    let manifest = match &add.manifest {
        Some(path) => Some(utf8(files::read_tool(&env.surroundings.absolute(path))?)?),
        None => None,
    };
    let server = match (&add.url, add.command.split_first()) {
        (Some(url), _) => Some(json!({ "url": url, "headers": headers(&add.headers)? })),
        (None, Some((command, args))) => {
            let absolute = |path: &std::path::PathBuf| env.surroundings.absolute(path);
            Some(json!({
                "command": command,
                "args": args,
                "env": variables(env, &add.env)?,
                "cwd": add.cwd.as_ref().map(absolute),
                "reads": add.reads.iter().map(absolute).collect::<Vec<_>>(),
                "workspace": add.workspace,
                "egress": add.egress,
            }))
        }
        (None, None) => match env.config.servers.get(&name) {
            Some(json) => Some(parsed(json.as_bytes())?),
            None => None,
        },
    };
    Ok(vec![Wanted { name, server, manifest }])
}

/// The servers of an `mcpServers` JSON.
fn of_file(env: &Env, from: &Path, only: Option<&str>) -> Result<Vec<Wanted>, Fault> {
    let bytes = if from == Path::new("-") { stdin()? } else { files::read_tool(&env.surroundings.absolute(from))? };
    let value = parsed(&bytes)?;
    // Some programs keep them under another name, or nothing else in the file.
    let servers = value.get("mcpServers").or_else(|| value.get("servers")).unwrap_or(&value);
    let servers = servers.as_object().ok_or_else(|| {
        Fault::new(Code::SERVER_INVALID, "it holds no servers", "write `{\"mcpServers\": {\"NAME\": {…}}}`")
    })?;
    let mut wanted = Vec::new();
    for (name, server) in servers.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        if server["disabled"] == true {
            env.out.say(&one_line(&format!("`{name}` is disabled there and left out")));
            continue;
        }
        wanted.push(Wanted { name: name.clone(), server: Some(server.clone()), manifest: None });
    }
    if wanted.is_empty() {
        return Err(Fault::new(Code::SERVER_INVALID, "it holds no such server", "look at the names in it"));
    }
    Ok(wanted)
}

fn stdin() -> Result<Vec<u8>, Fault> {
    /// As much as the server takes.
    const BYTES_MAX: u64 = 1 << 20;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(std::io::stdin().lock(), BYTES_MAX), &mut bytes)
        .map_err(|error| Fault::new(Code::SERVER_INVALID, format!("stdin cannot be read: {error}"), "try again"))?;
    Ok(bytes)
}

fn parsed(bytes: &[u8]) -> Result<Value, Fault> {
    are_core::canonical::parse_strict(bytes)
        .map_err(|error| Fault::new(Code::SERVER_INVALID, error.to_string(), "write valid JSON without comments"))
}

fn utf8(bytes: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(bytes)
        .map_err(|_| Fault::new(Code::MANIFEST_INVALID, "the manifest is not UTF-8", "write it as a text in UTF-8"))
}

fn headers(lines: &[String]) -> Result<Map<String, Value>, Fault> {
    let header = |line: &String| {
        let (name, value) = line.split_once(':').ok_or_else(|| {
            let what = format!("`{}` is no header", one_line(line.split(' ').next().unwrap_or_default()));
            Fault::new(Code::SERVER_INVALID, what, "write for example `--header \"Authorization: Bearer …\"`")
        })?;
        Ok((name.trim().to_owned(), value.trim().into()))
    };
    lines.iter().map(header).collect()
}

fn variables(env: &Env, words: &[String]) -> Result<Map<String, Value>, Fault> {
    let variable = |word: &String| match word.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.into())),
        None => {
            let value = env.surroundings.get(word).ok_or_else(|| {
                let what = format!("`{}` is not set in this terminal", one_line(word));
                Fault::new(Code::SERVER_INVALID, what, "set it, or write `--env NAME=VALUE`")
            })?;
            Ok((word.clone(), value.into()))
        }
    };
    words.iter().map(variable).collect()
}

async fn add_all(env: &Env, served: &Served, wanted: &[Wanted], manner: Manner) -> Outcome {
    let mut exit = Exit::Done;
    for one in wanted {
        match add(env, served, one, manner).await {
            Ok(_) => {}
            Err(Failure::Fault(fault)) if wanted.len() > 1 => {
                // The others do not depend on it.
                env.out.say(&one_line(&format!("`{}` is not added:", one.name)));
                env.out.fault(&fault);
                exit = Exit::of(fault.code);
            }
            Err(other) => return Err(other),
        }
    }
    if exit == Exit::Done { Ok(exit) } else { Err(Failure::Said(exit)) }
}

async fn add(env: &Env, served: &Served, wanted: &Wanted, manner: Manner) -> Outcome {
    let out = env.out;
    let body = json!({ "server": wanted.server, "manifest": wanted.manifest });
    let path = format!("/api/mcp/{}", segment(&wanted.name));
    let examined = served.client().send(Method::POST, &format!("{path}/examine"), Some(&body)).await?;
    if !out.is_json {
        show(out, &examined)?;
    }
    let is_nothing = ["tools", "further"].iter().all(|key| examined[*key].as_array().is_none_or(Vec::is_empty));
    if manner.is_dry {
        if out.is_json {
            out.json(&json!({ "examined": examined, "added": null }))?;
        }
        return Ok(Exit::Done);
    }
    if is_nothing {
        let help = "nothing of it can be served; `--dry-run` shows what it declares";
        return Err(Fault::new(Code::SERVER_UNUSABLE, format!("`{}` offers no tools", wanted.name), help).into());
    }
    if !manner.is_sure && !is_confirmed(out, &format!("serve these tools of `{}`", wanted.name)).await? {
        return Err(Failure::Said(Exit::Failed));
    }
    let consent = json!({ "digest": examined["digest"] });
    let added = served.client().send(Method::POST, &path, Some(&consent)).await?;
    if out.is_json {
        out.json(&json!({ "examined": examined, "added": added }))?;
        return Ok(Exit::Done);
    }
    let count = added["tools"].as_array().map_or(0, Vec::len);
    out.say(&format!("added {}: {count} tools", wanted.name));
    Ok(Exit::Done)
}

/// What a person reads before they consent.
fn show(out: Output, examined: &Value) -> Result<(), Failure> {
    let says = text(examined, "server");
    let head = format!("{} says that it is {says} (MCP {})", text(examined, "name"), text(examined, "revision"));
    out.line(&one_line(&head))?;
    for line in texts(&examined["given"]) {
        out.line(&format!("  {}", one_line(&line)))?;
    }
    let row = |tool: &Value| {
        let mut row = ["tool", "effect", "retry", "state"].map(|key| text(tool, key)).to_vec();
        let hints = texts(&tool["hints"]).join(" ");
        row.push(if hints.is_empty() { "-".to_owned() } else { hints });
        row.push(text(tool, "description"));
        row
    };
    let rows: Vec<_> = examined["tools"].as_array().into_iter().flatten().map(row).collect();
    out.table(&["TOOL", "EFFECT", "RETRY", "STATE", "ITS HINTS", "WHAT IT SAYS THAT IT DOES"], &rows)?;
    for (key, what) in [("further", "further tools"), ("prompts", "prompts"), ("gone", "tools that are gone")] {
        let names = texts(&examined[key]);
        if !names.is_empty() {
            out.line(&one_line(&format!("{what}: {}", names.join("; "))))?;
        }
    }
    for refused in examined["refused"].as_array().into_iter().flatten() {
        out.warn(&one_line(&format!("not served: {}; {}", text(refused, "why"), text(refused, "help"))));
    }
    Ok(())
}

async fn list(env: &Env, served: &Served, only: Option<&str>) -> Outcome {
    let out = env.out;
    let found = served.client().get("/api/mcp").await?;
    let mut servers: Vec<Value> = found["servers"].as_array().cloned().unwrap_or_default();
    let is_added = |name: &String| servers.iter().any(|server| server["name"] == name.as_str());
    let waiting: Vec<Value> = env
        .config
        .servers
        .keys()
        .filter(|name| !is_added(name))
        .map(|name| json!({ "name": name, "state": "not added", "tools": [], "revoked": [], "given": ["stands in are.toml"] }))
        .collect();
    servers.extend(waiting);
    servers.retain(|server| only.is_none_or(|only| server["name"] == only));
    if let (true, Some(name)) = (servers.is_empty(), only) {
        let help = "`are mcp list` shows those that there are";
        return Err(Fault::new(Code::SERVER_INVALID, format!("there is no server `{name}`"), help).into());
    }
    if out.is_json {
        out.json(&json!({ "servers": servers }))?;
        return Ok(Exit::Done);
    }
    let count = |server: &Value, key: &str| server[key].as_array().map_or(0, Vec::len);
    let row = |server: &Value| {
        let given = texts(&server["given"]).into_iter().next().unwrap_or_default();
        let tools = match count(server, "revoked") {
            0 => count(server, "tools").to_string(),
            revoked => format!("{} ({revoked} not served)", count(server, "tools")),
        };
        vec![text(server, "name"), text(server, "state"), tools, given]
    };
    let rows: Vec<_> = servers.iter().map(row).collect();
    out.table(&["NAME", "STATE", "TOOLS", "WHAT IT IS"], &rows)?;
    for server in &servers {
        details(out, server, only.is_some())?;
    }
    Ok(Exit::Done)
}

/// What does not fit in a row: all of it for one server, only what is wrong for many.
fn details(out: Output, server: &Value, is_whole: bool) -> Result<(), Failure> {
    let name = text(server, "name");
    if is_whole {
        for line in texts(&server["given"]).iter().skip(1) {
            out.line(&format!("  {}", one_line(line)))?;
        }
        for (key, what) in [("tools", "tool"), ("prompts", "prompt")] {
            for line in texts(&server[key]) {
                out.line(&format!("  {what} {}", one_line(&line)))?;
            }
        }
    }
    let login = match server["login"].as_str() {
        Some("needed") => Some(format!("asks for a login: `are mcp login {name}`")),
        Some("short") => Some(format!("asked for a login that may do more: `are mcp login {name}`")),
        Some(_) if is_whole => {
            out.line("  somebody is logged in")?;
            None
        }
        _ => None,
    };
    if let Some(login) = login {
        out.warn(&one_line(&format!("`{name}` {login}")));
    }
    if !server["why"].is_null() {
        let after = server["retry_after_ms"].as_u64().map(|ms| format!("; tried again in {} s", ms.div_ceil(1000)));
        out.warn(&one_line(&format!("`{name}`: {}{}", text(server, "why"), after.unwrap_or_default())));
    }
    for revoked in server["revoked"].as_array().into_iter().flatten() {
        out.warn(&one_line(&format!("`{name}`: {}; {}", text(revoked, "why"), text(revoked, "help"))));
    }
    Ok(())
}

async fn remove(env: &Env, served: &Served, name: &str) -> Outcome {
    let removed = served.client().send(Method::DELETE, &format!("/api/mcp/{}", segment(name)), None).await?;
    if env.out.is_json {
        env.out.json(&removed)?;
    } else {
        env.out.say(&format!("removed {name}"));
    }
    Ok(Exit::Done)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

//! `are diff` and `are undo`.

use hyper::Method;
use serde_json::{Value, json};

use super::Env;
use super::args::Undo;
use super::ask::is_confirmed;
use super::exit::{Exit, Failure, Outcome};
use super::output::one_line;
use super::place::{latest_or_fault, numbered, text};
use super::served::Served;
use crate::client::Client;
use crate::wiring::Need;

pub(super) async fn diff(env: &Env, turn: Option<String>) -> Outcome {
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = show(env, served.client(), turn.as_deref()).await;
    served.end().await?;
    outcome
}

pub(super) async fn undo(env: &Env, args: Undo) -> Outcome {
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = put_back(env, served.client(), &args).await;
    served.end().await?;
    outcome
}

async fn show(env: &Env, client: &Client, turn: Option<&str>) -> Outcome {
    let path = match turn {
        Some(turn) => {
            let (key, number) = numbered(client, turn).await?;
            format!("/api/sessions/{key}/diff?turn={number}")
        }
        None => format!("/api/sessions/{}/diff", latest_or_fault(client).await?),
    };
    let found = client.get(&path).await?;
    if env.out.is_json {
        env.out.json(&found)?;
        return Ok(Exit::Done);
    }
    let files = found["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    if files.is_empty() {
        env.out.say(&format!("turn {} changed nothing in the workspace", found["turn"]));
    }
    for file in files {
        show_file(env, file)?;
    }
    tell_apart(env, &found);
    Ok(Exit::Done)
}

fn show_file(env: &Env, file: &Value) -> Result<(), Failure> {
    let out = env.out;
    let diff = text(file, "diff");
    if diff.is_empty() || !file["from"].is_null() || !file["note"].is_null() {
        out.line(&one_line(&summary(file)))?;
    }
    if file["is_certain"] == false {
        out.line(&one_line(&format!("# nobody knows whether {} was changed", text(file, "path"))))?;
    }
    if file["is_restorable"] == false {
        let why = text(file, "reason").replace('_', " ");
        out.line(&one_line(&format!("# {} cannot be put back: {why}", text(file, "path"))))?;
    }
    if !diff.is_empty() { out.piece(&diff) } else { Ok(()) }
}

/// One line about what is not shown as text.
fn summary(file: &Value) -> String {
    let path = text(file, "path");
    let (before, after) = (&file["before"], &file["after"]);
    let note = match text(file, "note") {
        note if note.is_empty() => note,
        note => format!(" ({note})"),
    };
    if !file["from"].is_null() {
        return format!("moved {} -> {path}{note}", text(file, "from"));
    }
    match (before.is_null(), after.is_null()) {
        (true, _) => format!("made {}{note}", what(after, &path)),
        (_, true) => format!("deleted {}{note}", what(before, &path)),
        _ => format!("changed {} to {}{note}", what(before, &path), what(after, &path)),
    }
}

/// Kind, path and what tells two of a kind apart.
fn what(state: &Value, path: &str) -> String {
    let kind = text(state, "kind");
    match kind.as_str() {
        "link" => format!("link {path} -> {}", text(state, "target")),
        "file" => {
            let mode = state["mode"].as_u64().map_or_else(String::new, |mode| format!(", mode {mode:03o}"));
            format!("file {path} of {} bytes{mode}", state["bytes"])
        }
        _ => format!("{kind} {path}"),
    }
}

async fn put_back(env: &Env, client: &Client, args: &Undo) -> Outcome {
    let out = env.out;
    let (key, turn) = numbered(client, &args.turn).await?;
    let path = format!("/api/sessions/{key}/undo");
    let would = client.send(Method::POST, &path, Some(&json!({"turn": turn, "dry_run": true}))).await?;
    let paths = would["paths"].as_array().map(Vec::as_slice).unwrap_or_default();
    if paths.is_empty() {
        out.say(&format!("nothing to undo: the workspace is as it was before turn {turn}"));
    }
    if args.dry_run || paths.is_empty() {
        tell(env, &would, "would put back")?;
        return Ok(Exit::Done);
    }
    if !args.yes {
        for path in paths {
            out.say(&format!("  {}", one_line(path.as_str().unwrap_or_default())));
        }
        if !is_confirmed(out, &format!("put back these {} paths as before turn {turn}", paths.len())).await? {
            return Err(Failure::Said(Exit::Failed));
        }
    }
    let undone = client.send(Method::POST, &path, Some(&json!({"turn": turn}))).await?;
    tell(env, &undone, "put back")?;
    if !out.is_json {
        out.say(&format!("to undo this, `are undo {key}/{}`", undone["by"]));
    }
    Ok(Exit::Done)
}

fn tell(env: &Env, undone: &Value, word: &str) -> Result<(), Failure> {
    if env.out.is_json {
        return env.out.json(undone);
    }
    for path in undone["paths"].as_array().into_iter().flatten() {
        env.out.line(&one_line(&format!("{word} {}", path.as_str().unwrap_or_default())))?;
    }
    tell_apart(env, undone);
    Ok(())
}

/// What agents changed that were stopped before their end has to be looked at by itself.
fn tell_apart(env: &Env, found: &Value) {
    for session in found["apart"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        env.out.say(&format!("an agent of this turn was stopped; what it changed: `are diff {session}/1`"));
    }
}

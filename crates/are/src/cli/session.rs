//! `are session …`

use std::io::Write;
use std::path::Path;

use are_core::error::{Code, Fault};
use hyper::Method;
use serde_json::{Value, json};

use super::args::Session;
use super::ask::is_confirmed;
use super::exit::{Exit, Failure, Outcome};
use super::output::one_line;
use super::place::{segment, session, session_and_number, text};
use super::run::Signals;
use super::served::Served;
use super::tell::as_json;
use super::timeline::Timeline;
use super::{Env, Output};
use crate::client::{Client, Follower, Item, Place};
use crate::config::files;
use crate::wiring::Need;

/// Events fetched at a time.
const PAGE: u32 = 500;

pub(super) async fn run(env: &Env, verb: Session) -> Outcome {
    let need = if matches!(verb, Session::Compact { undo: false, .. }) { Need::Model } else { Need::Nothing };
    let served = Served::find(env, need).await?;
    let outcome = tell(env, served.client(), verb).await;
    served.end().await?;
    outcome
}

async fn tell(env: &Env, client: &Client, verb: Session) -> Outcome {
    match verb {
        Session::List { limit, search: None } => list(env, client, limit).await,
        Session::List { limit, search: Some(words) } => search(env, client, limit, &words).await,
        Session::Show { key, timeline: false } => show(env, client, &session(&key)?).await,
        Session::Show { key, timeline: true } => timeline(env, client, &session(&key)?).await,
        Session::Events { key, after, follow: false } => events(env, client, &session(&key)?, after).await,
        Session::Events { key, after, follow: true } => follow(env, client, session(&key)?, after).await,
        Session::Replay { key, policy, reexecute } => {
            replay(env, client, &session(&key)?, policy.as_deref(), reexecute).await
        }
        Session::Artifact { key, digest, output } => {
            artifact(env, client, &session(&key)?, digest.as_deref(), output.as_deref()).await
        }
        Session::Fork { key } => fork(env, client, &key).await,
        Session::Compact { key, undo: false } => compact(env, client, &session(&key)?).await,
        Session::Compact { key, undo: true } => uncompact(env, client, &session(&key)?).await,
        Session::Export { key, output } => export(client, &session(&key)?, output.as_deref()).await,
        Session::Delete { key, yes, dry_run } => delete(env, client, &session(&key)?, yes, dry_run).await,
    }
}

async fn list(env: &Env, client: &Client, limit: u32) -> Outcome {
    let found = client.get(&format!("/api/sessions?limit={limit}")).await?;
    if env.out.is_json {
        env.out.json(&found)?;
        return Ok(Exit::Done);
    }
    let row = |one: &Value| {
        // Those of agents that work for another session.
        let mark = if one["parent"].is_null() { "" } else { "\u{21b3} " };
        vec![
            text(one, "session"),
            time(env, &one["updated_at_ms"]),
            text(one, "turns"),
            text(one, "agent"),
            format!("{mark}{}", text(one, "title")),
        ]
    };
    let rows: Vec<_> = found["sessions"].as_array().into_iter().flatten().map(row).collect();
    env.out.table(&["SESSION", "LAST TURN", "TURNS", "AGENT", "TITLE"], &rows)?;
    Ok(Exit::Done)
}

/// Asks until all sessions were looked at or so many were found: one request looks at a bounded part of them.
async fn search(env: &Env, client: &Client, limit: u32, words: &str) -> Outcome {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut found, mut from) = (Vec::new(), String::new());
    loop {
        let left = limit - found.len();
        let page = client.get(&format!("/api/sessions?limit={left}&search={}{from}", segment(words))).await?;
        found.extend(page["sessions"].as_array().into_iter().flatten().take(left).cloned());
        // Each page must lead on, or a confused server would keep this going for ever.
        match page["next"].as_str().map(|next| format!("&from={}", segment(next))) {
            Some(next) if next != from && found.len() < limit => from = next,
            _ => break,
        }
    }
    if env.out.is_json {
        env.out.json(&json!({"sessions": found}))?;
        return Ok(Exit::Done);
    }
    let row = |one: &Value| {
        let place = &one["found"];
        // As `are diff` and `are session fork` take it.
        let key = match place["turn"].as_u64() {
            Some(turn) => format!("{}/{turn}", text(one, "session")),
            None => text(one, "session"),
        };
        vec![key, time(env, &one["updated_at_ms"]), text(one, "title"), text(place, "text")]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    env.out.table(&["SESSION/TURN", "LAST TURN", "TITLE", "FOUND"], &rows)?;
    Ok(Exit::Done)
}

async fn show(env: &Env, client: &Client, key: &str) -> Outcome {
    let found = client.get(&format!("/api/sessions/{key}")).await?;
    if env.out.is_json {
        env.out.json(&found)?;
        return Ok(Exit::Done);
    }
    for (name, value) in found.as_object().into_iter().flatten() {
        let shown = if name.ends_with("_at_ms") { time(env, value) } else { text(&found, name) };
        env.out.line(&format!("{name}: {}", one_line(&shown)))?;
    }
    Ok(Exit::Done)
}

async fn timeline(env: &Env, client: &Client, key: &str) -> Outcome {
    let mut timeline = Timeline::default();
    each_event(client, key, 0, |event| {
        timeline.take(event);
        Ok(())
    })
    .await?;
    if env.out.is_json {
        env.out.json(&json!({"session": key, "spans": timeline.spans()}))?;
        return Ok(Exit::Done);
    }
    for line in timeline.lines(&env.config.tz.value) {
        env.out.line(&one_line(&line))?;
    }
    Ok(Exit::Done)
}

async fn events(env: &Env, client: &Client, key: &str, after: u64) -> Outcome {
    let mut turn = None;
    each_event(client, key, after, |event| {
        // A prompt that waits, or a rating, says nothing of the tokens around it.
        if event["type"] != "turn_started" && event["type"] != "feedback" {
            turn = event["turn"].as_u64().or(turn);
        }
        print(env.out, &item(event, turn))
    })
    .await?;
    Ok(Exit::Done)
}

/// Hands on all events that there are behind an entry, page by page.
async fn each_event(
    client: &Client,
    key: &str,
    mut after: u64,
    mut take: impl FnMut(&Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        let page = client.get(&format!("/api/sessions/{key}/events?after={after}&limit={PAGE}")).await?;
        let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(last) = events.last().and_then(seq) else { return Ok(()) };
        events.iter().try_for_each(&mut take)?;
        // Each page must bring something new, or a confused server would keep this going for ever.
        if last <= after {
            return Ok(());
        }
        after = last;
    }
}

async fn follow(env: &Env, client: &Client, key: String, after: u64) -> Outcome {
    let mut signals = Signals::new()?;
    let place = Place { session: Some(key), is_headless: true, ..Place::default() };
    let mut follower = Follower::open(client.clone(), place, Some(after)).await?;
    loop {
        tokio::select! {
            // Cancel-safe, see `Follower::next`.
            item = follower.next() => print(env.out, &item?)?,
            () = signals.any() => return Ok(Exit::Interrupted),
        }
    }
}

/// Last entry of an event as it comes over HTTP: a token is an array.
pub(super) fn seq(event: &Value) -> Option<u64> {
    match event {
        Value::Array(parts) => parts.iter().rev().find_map(Value::as_u64),
        event => event["seq"].as_u64(),
    }
}

fn item(event: &Value, turn: Option<u64>) -> Item {
    let Value::Array(parts) = event else { return Item::Event(event.clone()) };
    let first = parts.first().and_then(Value::as_u64).unwrap_or_default();
    let last = seq(event).unwrap_or(first);
    let text = parts.last().and_then(Value::as_str).unwrap_or_default().to_owned();
    Item::Token { turn, first, last, text }
}

fn print(out: Output, item: &Item) -> Result<(), Failure> {
    let Some(mut line) = as_json(item) else { return Ok(()) };
    if out.is_json {
        return out.json(&line);
    }
    let kind = text(&line, "type");
    let seq = text(&line, "seq");
    let turn = text(&line, "turn");
    if let Some(fields) = line.as_object_mut() {
        fields.retain(|name, _| !["type", "seq", "turn", "at_ms"].contains(&name.as_str()));
    }
    out.line(&format!("{seq:>6} {turn:>3} {kind:<18} {line}"))
}

async fn replay(env: &Env, client: &Client, key: &str, policy: Option<&str>, reexecute: bool) -> Outcome {
    let mut body = json!({"reexecute": reexecute});
    if let Some(text) = policy {
        body["policy"] = rules(env, text)?;
    }
    let report = client.send(Method::POST, &format!("/api/sessions/{key}/replay"), Some(&body)).await?;
    let difference = &report["difference"];
    if env.out.is_json {
        env.out.json(&report)?;
    } else {
        env.out.line(&format!(
            "{} records, {} regenerated, {} verified only, head {}",
            report["records"],
            report["derived"],
            report["verified_only"],
            text(&report, "head")
        ))?;
        if !difference.is_null() {
            env.out.line(&format!("first difference: entry {}, {}", difference["seq"], text(difference, "action")))?;
            env.out.line(&format!("  recorded:    {}", text(difference, "recorded")))?;
            env.out.line(&format!("  regenerated: {}", text(difference, "regenerated")))?;
        }
    }
    if difference.is_null() {
        return Ok(Exit::Done);
    }
    if !env.out.is_json {
        env.out.fault(&Fault::new(
            Code::REPLAY_DIFFERS,
            format!("entry {} of session {key} is regenerated differently", difference["seq"]),
            "compare the two records above; under the recorded rules and version there is no difference",
        ));
    }
    Err(Failure::Said(Exit::Integrity))
}

/// The rules of a directory, or a profile with the data directory's.
fn rules(env: &Env, text: &str) -> Result<Value, Fault> {
    let rules = env.other_rules(text)?;
    let files: serde_json::Map<String, Value> =
        rules.files().map(|(name, text)| (name.to_owned(), json!(text))).collect();
    Ok(json!({"profile": rules.profile().as_str(), "files": files}))
}

async fn fork(env: &Env, client: &Client, key: &str) -> Outcome {
    let (key, turn) = session_and_number(key)?;
    let body = turn.map_or_else(|| json!({}), |turn| json!({"turn": turn}));
    let made = client.send(Method::POST, &format!("/api/sessions/{key}/fork"), Some(&body)).await?;
    if env.out.is_json {
        env.out.json(&made)?;
    } else {
        env.out.line(&text(&made, "session"))?;
    }
    Ok(Exit::Done)
}

async fn compact(env: &Env, client: &Client, key: &str) -> Outcome {
    let made = client.send(Method::POST, &format!("/api/sessions/{key}/compact"), Some(&json!({}))).await?;
    if env.out.is_json {
        env.out.json(&made)?;
        return Ok(Exit::Done);
    }
    env.out.line(&text(&made, "summary"))?;
    env.out.say(&format!(
        "stands for turns 1 to {} in requests from now on; to take it back, `are session compact {key} --undo`",
        made["until"]
    ));
    Ok(Exit::Done)
}

async fn uncompact(env: &Env, client: &Client, key: &str) -> Outcome {
    let undone = client.send(Method::DELETE, &format!("/api/sessions/{key}/compact"), None).await?;
    if env.out.is_json {
        env.out.json(&undone)?;
    } else {
        env.out.say("requests show what the summary stood for, and results whole");
    }
    Ok(Exit::Done)
}

async fn export(client: &Client, key: &str, output: Option<&Path>) -> Outcome {
    // Asked first, so that a wrong key leaves no empty file behind.
    client.get(&format!("/api/sessions/{key}")).await?;
    download(client, &format!("/api/sessions/{key}/export"), output).await
}

/// Writes what the server gives out to a new file, or to stdout.
async fn download(client: &Client, path: &str, output: Option<&Path>) -> Outcome {
    match output {
        None => {
            let mut out = std::io::stdout().lock();
            client.download::<Failure>(path, |piece| Ok(out.write_all(piece)?)).await?;
            out.flush()?;
        }
        Some(file) => {
            let mut out = files::create_new(file)?;
            client.download::<Failure>(path, |piece| Ok(out.write_all(piece)?)).await?;
            out.sync_all()?;
        }
    }
    Ok(Exit::Done)
}

async fn artifact(env: &Env, client: &Client, key: &str, digest: Option<&str>, output: Option<&Path>) -> Outcome {
    let mut all = Vec::new();
    each_event(client, key, 0, |event| {
        if event["type"] == "artifact" {
            all.push(event.clone());
        }
        Ok(())
    })
    .await?;
    let Some(digest) = digest else {
        if env.out.is_json {
            env.out.json(&json!({"session": key, "artifacts": all}))?;
            return Ok(Exit::Done);
        }
        let row = |one: &Value| {
            let short = text(one, "digest").chars().take(12).collect();
            vec![short, time(env, &one["at_ms"]), text(one, "bytes"), text(one, "media_type"), text(one, "name")]
        };
        let rows: Vec<_> = all.iter().map(row).collect();
        env.out.table(&["ARTIFACT", "KEPT", "BYTES", "TYPE", "NAME"], &rows)?;
        return Ok(Exit::Done);
    };
    let mut found: Vec<_> = all.iter().map(|one| text(one, "digest")).filter(|one| one.starts_with(digest)).collect();
    // The same bytes under another name are the same artifact.
    found.sort_unstable();
    found.dedup();
    let [found] = found.as_slice() else {
        let which = if found.is_empty() { "no artifact begins" } else { "several artifacts begin" };
        let help = format!("`are session artifact {key}` lists them");
        return Err(Fault::new(Code::CONFIG_INVALID, format!("{which} with `{digest}`"), help).into());
    };
    // SECURITY: anybody's bytes can steer a terminal.
    if output.is_none() && env.out.is_terminal {
        let help = "name a file with `--output`, or pipe it to a program";
        return Err(Fault::new(Code::CONFIG_INVALID, "an artifact is not written to a terminal", help).into());
    }
    download(client, &format!("/api/sessions/{key}/artifacts/{found}"), output).await
}

async fn delete(env: &Env, client: &Client, key: &str, is_sure: bool, is_dry: bool) -> Outcome {
    let out = env.out;
    let found = client.get(&format!("/api/sessions/{key}")).await?;
    let what = format!("session {key}, {} turns: {}", found["turns"], one_line(&text(&found, "title")));
    if is_dry {
        out.line(&format!("would erase {what}"))?;
        return Ok(Exit::Done);
    }
    if !is_sure && !is_confirmed(out, &format!("erase {what}")).await? {
        return Err(Failure::Said(Exit::Failed));
    }
    client.send(Method::DELETE, &format!("/api/sessions/{key}"), None).await?;
    Ok(Exit::Done)
}

/// A time in milliseconds as the user's zone shows it.
fn time(env: &Env, at_ms: &Value) -> String {
    let zoned =
        at_ms.as_u64().and_then(are_core::journal::timestamp).and_then(|at| at.in_tz(&env.config.tz.value).ok());
    zoned.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

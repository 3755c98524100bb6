//! `are audit …`

use std::io::{self, Read, Write};
use std::path::Path;

use are_core::error::{Code, Fault};
use hyper::Method;
use serde_json::Value;

use super::args::{Audit, AuditVerify};
use super::ask::is_confirmed;
use super::exit::{Exit, Failure, Outcome};
use super::place::{segment, session, text};
use super::served::Served;
use super::{Env, Output};
use crate::audit::checker::Expected;
use crate::audit::proof::Proof;
use crate::audit::{VerifierKeys, note, offline};
use crate::client::Client;
use crate::config::files;
use crate::wiring::Need;

/// Checkpoints that a running store is compared with, one walk over it each.
const BROUGHT_MAX: usize = 16;

pub(super) async fn run(env: &Env, verb: Audit) -> Outcome {
    if let Audit::Verify(args) = &verb {
        if args.proof.is_some() {
            return proof(env, args);
        }
        if !args.log.is_empty() {
            return log(env, args);
        }
    }
    let served = Served::find(env, Need::Nothing).await?;
    let outcome = tell(env, served.client(), verb).await;
    served.end().await?;
    outcome
}

async fn tell(env: &Env, client: &Client, verb: Audit) -> Outcome {
    match verb {
        Audit::Export { after, out, checkpoint } => {
            export(env, client, after, out.as_deref(), checkpoint.as_deref()).await
        }
        Audit::Checkpoint { all: false } => {
            let made = client.get("/api/audit/checkpoint").await?;
            if env.out.is_json {
                env.out.json(&made)?
            } else {
                env.out.piece(&text(&made, "note"))?
            }
            Ok(Exit::Done)
        }
        Audit::Checkpoint { all: true } => kept(env, client).await,
        Audit::Verify(args) => live(env, client, &args).await,
        Audit::Prove { leaf, session: None, from: None, record, .. } => {
            let path = format!("/api/audit/prove?leaf={}", leaf.unwrap_or_default());
            prove(env, client, &path, record.as_deref()).await
        }
        Audit::Prove { session: Some(key), seq, record, .. } => {
            let path = format!("/api/audit/prove?session={}&seq={}", session(&key)?, seq.unwrap_or_default());
            prove(env, client, &path, record.as_deref()).await
        }
        Audit::Prove { from: Some(file), .. } => growth(env, client, &file).await,
        Audit::Vkey => vkey(env.out, &client.get("/api/audit/vkey").await?),
        Audit::RotateKey { yes, dry_run } => rotate(env, client, yes, dry_run).await,
    }
}

async fn export(env: &Env, client: &Client, after: u64, out: Option<&Path>, checkpoint: Option<&Path>) -> Outcome {
    // Asked first, so that the file ends exactly where the checkpoint does, and that a refusal leaves no file behind.
    let made = client.get("/api/audit/checkpoint").await?;
    let path = format!("/api/audit/export?after={after}&until={}", made["size"]);
    if let Some(file) = checkpoint {
        let mut file = files::create_new(file)?;
        file.write_all(text(&made, "note").as_bytes())?;
        file.sync_all()?;
    }
    match out {
        None => {
            let mut out = io::stdout().lock();
            client.download::<Failure>(&path, |piece| Ok(out.write_all(piece)?)).await?;
            out.flush()?;
        }
        Some(file) => {
            let mut file = files::create_new(file)?;
            client.download::<Failure>(&path, |piece| Ok(file.write_all(piece)?)).await?;
            file.sync_all()?;
            env.out.say(&format!("{} records, of {} in the log", records_behind(&made["size"], after), made["size"]));
        }
    }
    Ok(Exit::Done)
}

fn records_behind(size: &Value, after: u64) -> u64 {
    size.as_u64().unwrap_or_default().saturating_sub(after)
}

async fn kept(env: &Env, client: &Client) -> Outcome {
    let found = client.get("/api/audit/checkpoints").await?;
    if env.out.is_json {
        env.out.json(&found)?;
        return Ok(Exit::Done);
    }
    let notes: Vec<String> =
        found["checkpoints"].as_array().into_iter().flatten().map(|one| text(one, "note")).collect();
    env.out.piece(&notes.join("\n"))?;
    Ok(Exit::Done)
}

async fn live(env: &Env, client: &Client, args: &AuditVerify) -> Outcome {
    if args.key.is_some() {
        return Err(Fault::new(
            Code::AUDIT_KEY,
            "a running store is verified with its own keys",
            "leave `--key` out, or name what to verify with `--log FILE`",
        )
        .into());
    }
    let mut notes = Vec::new();
    for file in &args.checkpoint {
        let text = files::read_evidence(&env.surroundings.absolute(file))?;
        notes.extend(note::split(&text).into_iter().map(str::to_owned));
    }
    if notes.len() > BROUGHT_MAX {
        let help = "name the latest and the oldest, or verify an export with `--log FILE`";
        let what = format!(
            "the store is walked once for each of {} checkpoints; more than {BROUGHT_MAX} take too long",
            notes.len()
        );
        return Err(Fault::new(Code::REQUEST_TOO_LARGE, what, help).into());
    }
    let mut report = Value::Null;
    let paths = notes.iter().map(|note| format!("/api/audit/verify?checkpoint={}", segment(note)));
    let paths: Vec<String> = if notes.is_empty() { vec!["/api/audit/verify".to_owned()] } else { paths.collect() };
    for path in paths {
        report = client.get(&path).await?;
    }
    told(env.out, &report)
}

fn told(out: Output, report: &Value) -> Outcome {
    if out.is_json {
        out.json(report)?;
        return Ok(Exit::Done);
    }
    out.line(&format!(
        "verified {} records of {} sessions, {} of them covered by {} checkpoints",
        report["records"], report["sessions"], report["covered"], report["checkpoints"]
    ))?;
    if report["payloads"] != 0 || report["erased"] != 0 {
        out.line(&format!("{} payloads are what was recorded, {} were erased", report["payloads"], report["erased"]))?;
    }
    if report["framed"].as_u64().is_some_and(|framed| framed > 0) {
        out.line(&format!("what {} of them streamed is what was recorded", report["framed"]))?;
    }
    out.line(&format!("root {}", text(report, "root")))?;
    Ok(Exit::Done)
}

fn keys(env: &Env, args: &AuditVerify) -> Result<VerifierKeys, Fault> {
    let missing = || Fault::new(Code::AUDIT_KEY, "there is no key to verify with", "name its file with `--key FILE`");
    let file = args.key.as_ref().ok_or_else(missing)?;
    VerifierKeys::parse(&files::read_evidence(&env.surroundings.absolute(file))?)
}

fn checkpoints(env: &Env, args: &AuditVerify, keys: &VerifierKeys) -> Result<Vec<Expected>, Fault> {
    let mut texts = Vec::with_capacity(args.checkpoint.len());
    for file in &args.checkpoint {
        texts.push(files::read_evidence(&env.surroundings.absolute(file))?);
    }
    offline::checkpoints(&texts.join("\n"), keys)
}

/// Checks exported lines.
fn log(env: &Env, args: &AuditVerify) -> Outcome {
    let expected = checkpoints(env, args, &keys(env, args)?)?;
    let mut lines: Box<dyn Read> = Box::new(io::empty());
    for file in &args.log {
        lines = Box::new(lines.chain(files::open_evidence(&env.surroundings.absolute(file))?));
    }
    let report = offline::verify(io::BufReader::new(lines), expected, args.allow_more)?;
    told(env.out, &serde_json::to_value(report).map_err(io::Error::other)?)
}

/// Checks a proof.
fn proof(env: &Env, args: &AuditVerify) -> Outcome {
    let read = |file: &Path| files::read_evidence(&env.surroundings.absolute(file));
    let keys = keys(env, args)?;
    let proof = Proof::parse(&args.proof.as_deref().map(read).transpose()?.unwrap_or_default())?;
    let record = args.record.as_deref().map(read).transpose()?;
    let record = record.as_deref().map(|line| line.strip_suffix('\n').unwrap_or(line).as_bytes());
    let old = match args.checkpoint.is_empty() {
        true => None,
        false => checkpoints(env, args, &keys)?.into_iter().next(),
    };
    let tree = proof.check(&keys, record, old)?;
    if env.out.is_json {
        env.out.json(&serde_json::json!({"size": tree.size, "root": tree.root}))?;
    } else {
        env.out.line(&format!("the proof holds in the log of {} records", tree.size))?;
    }
    Ok(Exit::Done)
}

async fn prove(env: &Env, client: &Client, path: &str, record: Option<&Path>) -> Outcome {
    let proven = client.get(path).await?;
    if let Some(file) = record {
        let mut file = files::create_new(file)?;
        file.write_all(format!("{}\n", text(&proven, "record")).as_bytes())?;
        file.sync_all()?;
    }
    if env.out.is_json {
        env.out.json(&proven)?
    } else {
        env.out.piece(&text(&proven, "proof"))?
    }
    Ok(Exit::Done)
}

async fn growth(env: &Env, client: &Client, file: &Path) -> Outcome {
    let text_of = files::read_evidence(&env.surroundings.absolute(file))?;
    let malformed =
        |why: String| Fault::new(Code::AUDIT_BROKEN, why, "name the file of a checkpoint as it was given out");
    let served = client.get("/api/audit/vkey").await?;
    let known = served["retired"].as_array().into_iter().flatten().chain([&served["vkey"]]);
    let known = VerifierKeys::parse(&known.filter_map(Value::as_str).collect::<Vec<_>>().join("\n"))?;
    let old = note::open(&text_of, &known).map_err(|why| malformed(format!("the earlier checkpoint: {why}")))?;
    let proven = client.get(&format!("/api/audit/prove?from={}", old.size)).await?;
    // A proof that does not fit the earlier checkpoint is the finding, and must not be printed as if it held.
    Proof::parse(&text(&proven, "proof"))?.check(&known, None, Some(Expected { size: old.size, root: old.root }))?;
    if env.out.is_json {
        env.out.json(&proven)?
    } else {
        env.out.piece(&text(&proven, "proof"))?
    }
    Ok(Exit::Done)
}

fn vkey(out: Output, keys: &Value) -> Outcome {
    if out.is_json {
        out.json(keys)?;
        return Ok(Exit::Done);
    }
    out.line(&text(keys, "vkey"))?;
    for key in keys["retired"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out.line(key)?;
    }
    Ok(Exit::Done)
}

async fn rotate(env: &Env, client: &Client, is_sure: bool, is_dry: bool) -> Outcome {
    let keys = client.get("/api/audit/vkey").await?;
    let what = format!("another key than {} for what is signed from here on", text(&keys, "vkey"));
    if is_dry {
        env.out.line(&format!("would make {what}; one checkpoint is signed by both, and old ones stay verifiable"))?;
        return Ok(Exit::Done);
    }
    if !is_sure && !is_confirmed(env.out, &format!("make {what}")).await? {
        return Err(Failure::Said(Exit::Failed));
    }
    vkey(env.out, &client.send(Method::POST, "/api/audit/rotate-key", None).await?)
}

//! `are doctor`: examines this installation and says what it found.

use are_models::files::{Presence, list};
use are_tools::cage::{Report, try_escapes};
use serde_json::{Value, json};

use super::Env;
use super::exit::{Exit, Failure, Outcome};
use crate::audit::keeper::KEY_FILE;
use crate::client::{Client, Door, ollama};
use crate::config::policy::Source;
use crate::config::{agents, files};
use crate::{cpu, wiring};

/// Free bytes below which a store soon stands still: a few days of busy journals.
const FREE_BYTES_MIN: u64 = 512 << 20;

/// How a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    Note,
    Bad,
}

struct Finding {
    what: &'static str,
    state: State,
    text: String,
}

pub(super) async fn run(env: &Env) -> Outcome {
    let mut findings = vec![data_dir(env), disk(env)];
    findings.push(store(env).await);
    findings.extend(models(env).await);
    findings.extend([rules(env), rules_in_force(env).await, kept_rules(env)]);
    findings.extend(cage(env).await);
    findings.extend([audit(env).await, secrets(env).await]);
    findings.extend([agents_found(env), clock(env), processor(), protections(env)]);
    let is_bad = findings.iter().any(|finding| finding.state == State::Bad);
    if env.out.is_json {
        let all: Vec<Value> = findings
            .iter()
            .map(|finding| json!({"what": finding.what, "state": word(finding.state), "text": finding.text}))
            .collect();
        env.out.json(&json!({"is_healthy": !is_bad, "findings": all}))?;
    } else {
        let rows: Vec<_> = findings
            .iter()
            .map(|finding| vec![word(finding.state).to_owned(), finding.what.to_owned(), finding.text.clone()])
            .collect();
        env.out.table(&["STATE", "WHAT", "FOUND"], &rows)?;
    }
    if is_bad { Err(Failure::Said(Exit::Failed)) } else { Ok(Exit::Done) }
}

const fn word(state: State) -> &'static str {
    match state {
        State::Good => "good",
        State::Note => "note",
        State::Bad => "BAD",
    }
}

fn finding(what: &'static str, state: State, text: impl Into<String>) -> Finding {
    Finding { what, state, text: text.into() }
}

fn data_dir(env: &Env) -> Finding {
    let path = &env.config.data_dir.value;
    let shown = path.display();
    match files::mode(path) {
        None => finding("data directory", State::Note, format!("{shown} is made at the first start")),
        Some(mode) if mode & 0o077 != 0 => {
            let text = format!("{shown} is open to others (mode {mode:03o}): `chmod 700 {shown}`");
            finding("data directory", State::Bad, text)
        }
        Some(_) => finding("data directory", State::Good, format!("{shown}, this user's alone")),
    }
}

fn disk(env: &Env) -> Finding {
    // The nearest directory that exists is on the same file system as what will be made in it.
    let mut path = env.config.data_dir.value.as_path();
    while !files::exists(path) {
        match path.parent() {
            Some(parent) => path = parent,
            None => break,
        }
    }
    match rustix::fs::statvfs(path) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let state = if free < FREE_BYTES_MIN { State::Bad } else { State::Good };
            finding("disk", state, format!("{} MB free", free >> 20))
        }
        Err(error) => finding("disk", State::Bad, format!("`{}` cannot be examined: {error}", path.display())),
    }
}

async fn store(env: &Env) -> Finding {
    let socket = env.config.socket();
    if Door::Socket(socket).is_open().await {
        return finding("store", State::Good, "in use by a running server, which serves");
    }
    if !files::exists(&env.config.data_dir.value) {
        return finding("store", State::Note, "none yet");
    }
    match wiring::check_store(&env.config).await {
        Ok(report) if report.damage.is_empty() => {
            let text = format!(
                "whole: {} sessions, {} entries, {} KB",
                report.sessions,
                report.entries,
                report.database_bytes >> 10
            );
            finding("store", State::Good, text)
        }
        Ok(report) => finding("store", State::Bad, format!("damaged: {}", report.damage.join("; "))),
        Err(fault) => finding("store", State::Bad, fault.message),
    }
}

async fn models(env: &Env) -> Vec<Finding> {
    let mut findings = Vec::new();
    match env.config.choose_model(ollama).await {
        Ok(choice) => findings.push(finding("model", State::Good, choice.model)),
        Err(fault) => findings.push(finding("model", State::Bad, format!("{} ({})", fault.message, fault.help))),
    }
    for provider in env.config.providers.values() {
        let (state, key) = match (&provider.key, &provider.key_env) {
            (Some(key), _) => (State::Good, format!("key from {}", key.origin)),
            (None, Some(variable)) => (State::Note, format!("no key: `{variable}` is not set")),
            (None, None) => (State::Good, "no key needed".to_owned()),
        };
        findings.push(finding("provider", state, format!("{} at {}, {key}", provider.name, provider.base_url)));
    }
    for model in list(&env.config.models_dir) {
        let (state, text) = match model.presence {
            Presence::Installed => (State::Good, "installed".to_owned()),
            Presence::Missing => (State::Note, format!("not installed: `are model pull {}`", model.entry.alias)),
            Presence::Wrong => (State::Bad, format!("cut off or foreign: `are model pull {}`", model.entry.alias)),
        };
        findings.push(finding("local model", state, format!("{} {text}", model.entry.alias)));
    }
    findings
}

fn rules(env: &Env) -> Finding {
    match env.rules() {
        Ok(rules) => {
            finding("policy", State::Good, format!("profile {}, {} rule files", rules.profile(), rules.files().count()))
        }
        Err(fault) => finding("policy", State::Bad, fault.message),
    }
}

/// What a running server decides by, which need not be what the files hold.
async fn rules_in_force(env: &Env) -> Finding {
    let door = Door::Socket(env.config.socket());
    if !door.is_open().await {
        return finding("policy in force", State::Note, "no server runs");
    }
    let status = match Client::new(door).get("/api/status").await {
        Ok(status) => status,
        Err(fault) => return finding("policy in force", State::Bad, fault.message),
    };
    let policy = &status["policy"];
    let text = |key: &str| policy[key].as_str().unwrap_or("?").to_owned();
    let in_force = format!("profile {}, {} rule files, digest {}", text("profile"), policy["files"], text("digest"));
    match policy["refused"]["message"].as_str() {
        None => finding("policy in force", State::Good, in_force),
        Some(why) => finding("policy in force", State::Bad, format!("{in_force}; the files are refused: {why}")),
    }
}

fn kept_rules(env: &Env) -> Finding {
    match Source::at(&env.config.policy.value, &env.config.data_dir.value).can_keep() {
        Ok(()) => finding("allow_always", State::Good, "rules can be added"),
        Err(why) => finding("allow_always", State::Note, format!("not offered: {why}")),
    }
}

/// The layers of the cage of commands, and every escape tried for real.
async fn cage(env: &Env) -> Vec<Finding> {
    let options = wiring::commands::options(&env.config);
    let report = Report::fresh(&options).await;
    let mut findings: Vec<Finding> = report
        .layers()
        .into_iter()
        .map(|layer| {
            let state = if layer.is_enforced { State::Good } else { State::Note };
            finding("cage", state, format!("{}: {}", layer.name, layer.text))
        })
        .collect();
    findings.push(egress(env, &report));
    if let Some(why) = report.refusal() {
        findings.push(finding("cage", State::Note, format!("commands are not served: {why}")));
        return findings;
    }
    match try_escapes(&options, &report).await {
        Ok(tried) => findings.extend(tried.into_iter().map(|one| {
            let (state, text) = if one.is_held { (State::Good, "held") } else { (State::Bad, "GOT OUT") };
            finding("escape", state, format!("{}: {text}", one.name))
        })),
        Err(why) => findings.push(finding("cage", State::Bad, why)),
    }
    findings
}

/// What commands may reach of the network.
fn egress(env: &Env, report: &Report) -> Finding {
    let granted = &env.config.egress;
    match wiring::commands::no_egress(&env.config, report) {
        Some(why) => finding("egress", State::Bad, why),
        None if granted.value.is_empty() => finding("egress", State::Good, "commands reach nothing of the network"),
        None => finding("egress", State::Good, format!("commands reach {} ({})", granted.value, granted.origin)),
    }
}

/// The log of audit: who may read the key that signs it and, where a server runs, whether it is what was signed.
async fn audit(env: &Env) -> Finding {
    if !env.config.audit_log.value {
        let text = format!("off ({}): nothing is signed or can be proved", env.config.audit_log.origin);
        return finding("audit", State::Note, text);
    }
    let key = env.config.data_dir.value.join(KEY_FILE);
    let key = match files::mode(&key) {
        Some(mode) if mode & 0o077 != 0 => {
            let text = format!("who reads {} can sign (mode {mode:03o}): `chmod 600` it, then rotate", key.display());
            return finding("audit", State::Bad, text);
        }
        Some(_) => "the key is this user's alone",
        None => "the key is made at the first start",
    };
    let door = Door::Socket(env.config.socket());
    if !door.is_open().await {
        return finding("audit", State::Good, format!("{key}; `are audit verify` checks the log"));
    }
    match Client::new(door).get("/api/audit/checkpoint").await {
        Ok(made) => finding("audit", State::Good, format!("{} records are signed; {key}", made["size"])),
        Err(fault) => finding("audit", State::Bad, fault.message),
    }
}

/// Who may read the master key and, where a server runs, whether it opens what is sealed.
async fn secrets(env: &Env) -> Finding {
    let path = env.config.data_dir.value.join(files::MASTER_KEY);
    if let Some(mode) = files::mode(&path).filter(|mode| mode & 0o077 != 0) {
        let text = format!("who reads {} opens all secrets (mode {mode:03o}): `chmod 600` it", path.display());
        return finding("secrets", State::Bad, text);
    }
    let source = match (&env.config.master_key, &env.config.master_key_command) {
        (Some(key), _) => format!("the master key comes from {}", key.origin),
        (None, Some(command)) => format!("the master key comes from the command of {}", command.origin),
        (None, None) if files::exists(&path) => "the master key is this user's alone".to_owned(),
        (None, None) => "there is no master key yet".to_owned(),
    };
    let door = Door::Socket(env.config.socket());
    if !door.is_open().await {
        return finding("secrets", State::Good, source);
    }
    match Client::new(door).get("/api/secrets").await {
        Ok(found) => {
            let all = found["secrets"].as_array().map(Vec::as_slice).unwrap_or_default();
            let closed = all.iter().filter(|secret| secret["is_readable"] == false).count();
            let state = if closed > 0 { State::Bad } else { State::Good };
            finding(
                "secrets",
                state,
                format!("{} of the operator's, {closed} of them cannot be opened; {source}", all.len()),
            )
        }
        Err(fault) => finding("secrets", State::Bad, fault.message),
    }
}

fn agents_found(env: &Env) -> Finding {
    match agents::load(&env.config.data_dir.value).sound() {
        Ok(loaded) => {
            let names: Vec<String> = loaded.agents.keys().map(ToString::to_string).collect();
            finding("agents", State::Good, names.join(", "))
        }
        Err(fault) => finding("agents", State::Bad, fault.message),
    }
}

fn clock(env: &Env) -> Finding {
    let zone = &env.config.tz;
    let now = jiff::Timestamp::now();
    match now.in_tz(&zone.value) {
        Ok(here) => {
            finding("clock", State::Good, format!("{} ({}, {})", here.strftime("%F %T %:z"), zone.value, zone.origin))
        }
        Err(error) => finding("clock", State::Bad, error.to_string()),
    }
}

fn processor() -> Finding {
    match cpu::missing().as_slice() {
        [] => finding("processor", State::Good, "has what this build needs"),
        missing => finding("processor", State::Bad, format!("lacks {}", missing.join(", "))),
    }
}

fn protections(env: &Env) -> Finding {
    match env.config.off().as_slice() {
        [] => finding("protections", State::Good, "none is off"),
        off => finding("protections", State::Note, format!("off: {}", off.join("; "))),
    }
}

//! What can be measured in this process: disk, store, decision.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use are_core::body::Body;
use are_core::canonical::Args;
use are_core::digest::{Digest, Nonce};
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, AgentName, SessionKey};
use are_core::journal::{Draft, Head, Stamp};
use are_core::label::{Confidentiality, Integrity, Label};
use are_core::store::{Append, Change, Durability, SessionRow, Store};
use are_policy::call::{Call, Context};
use are_policy::manifest::ToolSet;
use are_policy::rules::{Profile, Rules};
use are_store::probe;
use are_store::sqlite::{Options, SqliteStore};

use super::Figure;
use super::sample::Sample;

/// Syncs and single appends measured.
const SINGLE: usize = 200;
/// Sessions that append at once, and appends of each.
const GROUP: (usize, usize) = (64, 30);
/// Decisions measured.
const DECISIONS: usize = 20_000;

/// Measures in an empty directory `dir`, which must be on the disk of interest.
///
/// # Errors
/// The directory cannot be used.
pub async fn measure(dir: &Path, tools: &ToolSet) -> Result<Vec<Figure>, Fault> {
    let disk = probe::sync_times(dir, SINGLE).map_err(|error| unusable(&error.to_string()))?;
    let disk = Sample::new(disk);
    let mut figures = vec![
        Figure::new("disk_fdatasync_p50", disk.percentile(0.5), "us", disk.len()),
        Figure::new("disk_fdatasync_p99", disk.percentile(0.99), "us", disk.len()),
    ];
    let store =
        SqliteStore::open(&dir.join("store"), &Options::default()).map_err(|error| unusable(&error.to_string()))?;
    let store: Arc<SqliteStore> = Arc::new(store);
    let single = Sample::new(appends(Arc::clone(&store), 1, SINGLE).await?);
    figures.push(
        Figure::new("durable_append_p50", single.percentile(0.5), "us", single.len())
            .beside(disk.percentile(0.5), "disk_fdatasync_p50"),
    );
    let begun = Instant::now();
    let mut writers = Vec::new();
    for session in 0..GROUP.0 {
        writers.push(tokio::spawn(appends(Arc::clone(&store), 2 + session as u64, GROUP.1)));
    }
    for writer in writers {
        writer.await.map_err(|_| unusable("a writer failed"))??;
    }
    let rate = (GROUP.0 * GROUP.1) as f64 / begun.elapsed().as_secs_f64();
    figures.push(
        Figure::new("group_appends_per_second", rate, "1/s", GROUP.0 * GROUP.1)
            .beside(1e6 / single.percentile(0.5), "single appends per second"),
    );
    store.close().await.map_err(|error| unusable(&error.to_string()))?;
    figures.extend(decisions(tools)?);
    Ok(figures)
}

async fn appends(store: Arc<SqliteStore>, number: u64, count: usize) -> Result<Vec<Duration>, Fault> {
    let stamp = Stamp {
        session: SessionKey::new(1_790_000_000_000 + number, &[7; 32]),
        account: account()?,
        agent_id: "main".to_owned(),
        at_ms: 1_790_000_000_000,
    };
    let mut head = Head::EMPTY;
    let mut times = Vec::with_capacity(count);
    for index in 0..count {
        let created = index == 0;
        let body = if created { born(&stamp)? } else { Body::Feedback { rating: None } };
        let nonce: Nonce = Digest::of(&[&number.to_be_bytes(), &index.to_be_bytes()]).0;
        let draft = Draft { turn: None, body, payload: None };
        let (row, _, next) = draft.seal(&stamp, head, nonce).map_err(|error| unusable(&error.to_string()))?;
        let changes = if created { vec![Change::CreateSession(Box::new(row_of(&stamp)?))] } else { Vec::new() };
        let append = Append {
            session: stamp.session,
            fence: 1,
            expect: head,
            rows: vec![row],
            head: next,
            durability: Durability::Durable,
            changes,
        };
        let begun = Instant::now();
        store.append(append).await.map_err(|error| unusable(&error.to_string()))?;
        times.push(begun.elapsed());
        head = next;
    }
    Ok(times)
}

fn decisions(tools: &ToolSet) -> Result<Vec<Figure>, Fault> {
    let rules = Rules::new(Profile::Strict, &[]).map_err(|error| unusable(&error.to_string()))?;
    let (manifest, tool_digest) = tools.get("fs_write").ok_or_else(|| unusable("there is no `fs_write`"))?;
    let (account, agent): (AccountId, AgentName) = (account()?, name()?);
    let label = Label::new(Integrity::Untrusted, Confidentiality::Private, "fs_read#1");
    let args =
        Args::parse(r#"{"content":"hello","path":"notes.txt"}"#).map_err(|error| unusable(&error.to_string()))?;
    let mut times = Vec::with_capacity(DECISIONS);
    for call in 0..DECISIONS {
        let call = Call {
            session: SessionKey::SYSTEM,
            turn: 1,
            call: call as u32,
            parent: None,
            tool: "fs_write".to_owned(),
            tool_digest,
            args: args.clone(),
        };
        let context = Context {
            account: &account,
            agent: &agent,
            manifest,
            in_view: &label,
            args_label: &label,
            is_approved: false,
        };
        let begun = Instant::now();
        std::hint::black_box(rules.decide(&call, &context));
        times.push(begun.elapsed());
    }
    let times = Sample::new(times);
    Ok(vec![
        Figure::new("decision_p50", times.percentile(0.5), "us", times.len()),
        Figure::new("decision_p99", times.percentile(0.99), "us", times.len()),
    ])
}

fn born(stamp: &Stamp) -> Result<Body, Fault> {
    Ok(Body::SessionCreated { owner: stamp.account.clone(), agent: name()?, parent: None, engine: "bench".to_owned() })
}

fn row_of(stamp: &Stamp) -> Result<SessionRow, Fault> {
    Ok(SessionRow {
        key: stamp.session,
        owner: stamp.account.clone(),
        agent: name()?,
        workspace: String::new(),
        fence: 1,
        epoch: 0,
        head: Head::EMPTY,
        last_account_id: stamp.account.clone(),
        last_thread_id: None,
        title: String::new(),
        turns: 0,
        created_at_ms: stamp.at_ms,
        updated_at_ms: stamp.at_ms,
        is_deleted: false,
    })
}

fn account() -> Result<AccountId, Fault> {
    "bench".parse().map_err(|_| unusable("invalid name"))
}

fn name() -> Result<AgentName, Fault> {
    "main".parse().map_err(|_| unusable("invalid name"))
}

fn unusable(why: &str) -> Fault {
    Fault::new(Code::DATA_DIR_UNUSABLE, format!("the benchmark cannot run: {why}"), "name a directory you can write to")
}

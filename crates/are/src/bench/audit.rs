//! What a log that others can verify costs: growing, signing, proving, checking,
//! and what is left of the turns a second.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use are_core::body::{Body, Outcome};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_core::journal::{Draft, Head, Stamp};
use are_core::label::{Confidentiality, Integrity, Levels};
use are_core::payload::Payload;
use are_core::store::{Append, Change, Durability, SessionRow, Store};
use are_store::sqlite::{Options, SqliteStore};
use are_store::tree::{Page, Tree as _};

use super::Figure;
use super::process::{Begun, usage_of};
use super::sample::Sample;
use super::wire::{Protocol, Wire, lost};
use crate::audit::{Auditor, offline};
use crate::wiring::SystemClock;

/// Sessions, and records of each: 100,000.
const RECORDS: (usize, usize) = (1_000, 100);
/// Records numbered at once.
const LEAVES: u32 = 256;
/// Proofs measured.
const PROOFS: u64 = 1_000;
/// Pairs of servers, in turn with and without.
const ROUNDS: usize = 5;
/// Clients of each at once, and turns of each client.
const LOAD: (usize, usize) = (50, 40);
/// Turns before the clock starts, of each client.
const WARM_UP: usize = 4;

/// Grows, signs, proves and checks a log of 100,000 records.
pub(super) async fn measure(dir: &Path) -> Result<Vec<Figure>, Fault> {
    let dir = dir.join("audit");
    let store = SqliteStore::open(&dir, &Options::default()).map_err(|error| unusable(&error.to_string()))?;
    let store = Arc::new(store);
    fill(&store).await?;
    let records = (RECORDS.0 * RECORDS.1) as f64;

    let begun = Instant::now();
    while !store.grow(LEAVES).await.map_err(|error| unusable(&error.to_string()))?.is_whole {}
    let grow_us = begun.elapsed().as_secs_f64() * 1e6 / records;
    let auditor = Auditor::open(dir, "bench", Arc::clone(&store) as _, Arc::new(SystemClock))?;
    let checkpoint = auditor.checkpoint().await?;
    let log = lines(&store).await?;

    let begun = Instant::now();
    let digest = Digest::of(&[&log]);
    let hash_ms = begun.elapsed().as_secs_f64() * 1e3;
    std::hint::black_box(digest);
    let begun = Instant::now();
    let expected = offline::checkpoints(&checkpoint.note, &auditor.verifiers())?;
    let report = offline::verify(log.as_slice(), expected, false)?;
    let log_ms = begun.elapsed().as_secs_f64() * 1e3;
    let begun = Instant::now();
    auditor.verify(&[]).await?;
    let store_ms = begun.elapsed().as_secs_f64() * 1e3;
    let mut proofs = Vec::new();
    for number in 0..PROOFS {
        let begun = Instant::now();
        std::hint::black_box(auditor.prove_leaf(number * report.records / PROOFS).await?);
        proofs.push(begun.elapsed());
    }
    let proofs = Sample::new(proofs);
    store.close().await.map_err(|error| unusable(&error.to_string()))?;
    let count = RECORDS.0 * RECORDS.1;
    Ok(vec![
        Figure::new("audit_log_bytes", log.len() as f64, "bytes", count),
        Figure::new("audit_grow_each_record", grow_us, "us", count),
        Figure::new("audit_verify_log", log_ms, "ms", count).beside(hash_ms, "hashing its bytes once"),
        Figure::new("audit_verify_store", store_ms, "ms", count).beside(log_ms, "audit_verify_log"),
        Figure::new("audit_proof_p50", proofs.percentile(0.5), "us", proofs.len()),
    ])
}

/// Turns a second and processor time of a turn, with auditing beside without.
pub(super) async fn cost(dir: &Path) -> Result<Vec<Figure>, Fault> {
    let mut rates = [Vec::new(), Vec::new()];
    let mut cpus = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        // In turn, and each first as often as the other, so that a machine that slows down favours neither.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for is_off in order {
            let switch = if is_off == 1 { "false" } else { "true" };
            let place = dir.join(format!("audit-cost-{round}-{switch}"));
            let server = Begun::start_with(&place, &[("ARE_AUDIT_LOG", switch)]).await?;
            load(&server, WARM_UP).await?;
            let (before, begun) = (usage_of(server.pid()?), Instant::now());
            load(&server, LOAD.1).await?;
            let turns = (LOAD.0 * LOAD.1) as f64;
            rates[is_off].push(Duration::from_secs_f64(begun.elapsed().as_secs_f64() / turns));
            if let (Some(before), Some(after)) = (before, usage_of(server.pid()?)) {
                cpus[is_off].push(Duration::from_secs_f64((after.cpu_s - before.cpu_s) / turns));
            }
            server.kill().await?;
        }
    }
    let median = |times: &Vec<Duration>| Sample::new(times.clone()).percentile(0.5);
    let rate = |times: &Vec<Duration>| 1e6 / median(times);
    let (on, off) = (rate(&rates[0]), rate(&rates[1]));
    let (cpu_on, cpu_off) = (median(&cpus[0]) / 1e3, median(&cpus[1]) / 1e3);
    Ok(vec![
        Figure::new("unaudited_turns_per_second", off, "1/s", ROUNDS),
        Figure::new("audited_turns_per_second", on, "1/s", ROUNDS).beside(off, "unaudited_turns_per_second"),
        Figure::new("unaudited_cpu_per_turn", cpu_off, "ms", ROUNDS),
        Figure::new("audited_cpu_per_turn", cpu_on, "ms", ROUNDS).beside(cpu_off, "unaudited_cpu_per_turn"),
    ])
}

/// Turns of all clients at once.
async fn load(server: &Begun, turns: usize) -> Result<(), Fault> {
    let mut clients = Vec::with_capacity(LOAD.0);
    for _ in 0..LOAD.0 {
        let door = server.door.clone();
        clients.push(tokio::spawn(async move {
            let mut wire = Wire::open(&door, Protocol::V2).await?;
            wire.attach(None).await?;
            for _ in 0..turns {
                wire.turn(None).await?;
            }
            Ok::<_, Fault>(())
        }));
    }
    for client in clients {
        client.await.map_err(|_| lost("a client failed"))??;
    }
    Ok(())
}

/// The log's lines.
async fn lines(store: &SqliteStore) -> Result<Vec<u8>, Fault> {
    let (mut log, mut after) = (Vec::new(), 0);
    loop {
        let page = Page { after, limit: 4_096, bytes_max: 8 << 20, has_payloads: false };
        let leaves = store.records(page).await.map_err(|error| unusable(&error.to_string()))?;
        let Some(last) = leaves.last() else { return Ok(log) };
        after = last.place;
        for leaf in &leaves {
            log.extend_from_slice(&leaf.bytes);
            log.push(b'\n');
        }
    }
}

/// Sessions whose records come one session after the other, each with a payload.
async fn fill(store: &SqliteStore) -> Result<(), Fault> {
    for number in 0..RECORDS.0 {
        let append = session(number as u64).map_err(|error| unusable(&error))?;
        store.append(append).await.map_err(|error| unusable(&error.to_string()))?;
    }
    Ok(())
}

fn session(number: u64) -> Result<Append, String> {
    let stamp = Stamp {
        session: SessionKey::new(1_790_000_000_000 + number, &[7; 32]),
        account: "bench".parse().map_err(|error: are_core::ids::InvalidId| error.to_string())?,
        agent_id: "main".to_owned(),
        via: None,
        at_ms: 1_790_000_000_000,
    };
    let agent = |text: &str| text.parse().map_err(|error: are_core::ids::InvalidId| error.to_string());
    let (mut head, mut rows) = (Head::EMPTY, Vec::with_capacity(RECORDS.1));
    for index in 0..RECORDS.1 {
        let (body, payload) = if index == 0 {
            let (owner, engine) = (stamp.account.clone(), "bench".to_owned());
            (Body::SessionCreated { owner, agent: agent("main")?, parent: None, child_of: None, engine }, None)
        } else {
            (decision(index as u32), Some(Payload::Note { note: format!("because of {index}") }))
        };
        let nonce = Digest::of(&[&number.to_be_bytes(), &index.to_be_bytes()]).0;
        let draft = Draft { turn: Some(1), body, payload };
        let (row, _, next) = draft.seal(&stamp, head, nonce).map_err(|error| error.to_string())?;
        rows.push(row);
        head = next;
    }
    let row = SessionRow {
        key: stamp.session,
        owner: stamp.account.clone(),
        agent: agent("main")?,
        workspace: String::new(),
        fence: 1,
        epoch: 0,
        head: Head::EMPTY,
        last_account_id: stamp.account,
        last_thread_id: None,
        title: String::new(),
        turns: 0,
        created_at_ms: stamp.at_ms,
        updated_at_ms: stamp.at_ms,
        is_deleted: false,
    };
    let changes = vec![Change::CreateSession(Box::new(row))];
    let (session, durability) = (stamp.session, Durability::Written);
    Ok(Append { session, fence: 1, expect: Head::EMPTY, rows, head, durability, changes })
}

/// A record of the usual size.
fn decision(call: u32) -> Body {
    Body::Decision {
        call,
        decision: Outcome::Allow,
        would: None,
        rules: vec!["build".to_owned(), "profile contained".to_owned()],
        permissions: vec!["effect:modify".to_owned(), "reach:workspace".to_owned(), "tool:fs_write".to_owned()],
        labels: Levels { integrity: Integrity::User, confidentiality: Confidentiality::Private },
        policy: Digest::of(&[b"rules"]),
        membership: are_core::account::Membership::default(),
    }
}

fn unusable(why: &str) -> Fault {
    Fault::new(Code::DATA_DIR_UNUSABLE, format!("the benchmark cannot run: {why}"), "name a directory you can write to")
}

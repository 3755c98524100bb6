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
use are_core::label::{Confidentiality, Integrity, Label, worst_of};
use are_core::payload::{Bound, Part};
use are_core::store::{Append, Change, Durability, SessionRow, Store};
use are_policy::call::{Call, Context};
use are_policy::flow::{self, View};
use are_policy::manifest::ToolSet;
use are_policy::rules::{Profile, Rules};
use are_store::probe;
use are_store::sqlite::{Options, SqliteStore};
use serde_json::json;

use super::Figure;
use super::sample::Sample;

/// Syncs and single appends measured.
const SINGLE: usize = 200;
/// Sessions that append at once, and appends of each.
const GROUP: (usize, usize) = (64, 30);
/// Decisions measured.
const DECISIONS: usize = 20_000;
/// Results in the labelled context, and bytes of each: 100 kB.
const RESULTS: usize = 25;
const RESULT_BYTES: usize = 4_000;
/// Rules of a user, for the decision that asks them too.
const RULES: &str = r#"
// Nothing is deleted.
@id("keep-everything")
forbid(principal, action == Action::"destructive", resource);
// The build directory is free.
@id("build")
permit(principal, action in [Action::"create", Action::"modify"], resource)
when { context has object && context.object like "build/*" };
// Nothing untrusted is sent.
@id("no-untrusted-send")
forbid(principal, action == Action::"send", resource)
when { context.args_integrity == Integrity::"untrusted" };
"#;

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
        via: None,
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

/// Decisions about a write with 100 kB of labelled results in view, its values traced as the engine traces them.
fn decisions(tools: &ToolSet) -> Result<Vec<Figure>, Fault> {
    let mut figures = Vec::new();
    for (files, p50, p99) in [
        (Vec::new(), "decision_p50", "decision_p99"),
        (vec![("bench.cedar".to_owned(), RULES.to_owned())], "decision_with_rules_p50", "decision_with_rules_p99"),
    ] {
        let rules = Rules::new(Profile::Strict, &files).map_err(|error| unusable(&error.to_string()))?;
        let times = Sample::new(decide(&rules, tools)?);
        figures.push(Figure::new(p50, times.percentile(0.5), "us", times.len()));
        figures.push(Figure::new(p99, times.percentile(0.99), "us", times.len()));
    }
    Ok(figures)
}

fn decide(rules: &Rules, tools: &ToolSet) -> Result<Vec<Duration>, Fault> {
    let (manifest, tool_digest) = tools.get("fs_write").ok_or_else(|| unusable("there is no `fs_write`"))?;
    let (account, agent): (AccountId, AgentName) = (account()?, name()?);
    let mut in_view = Label::new(Integrity::User, Confidentiality::Private, "user");
    let mut view = View::default();
    let words = Part::Text { text: "Write hello to notes.txt".to_owned() };
    view.hear(1, &[words], Integrity::User, |_| in_view.clone());
    let read = Args::parse("{}").map_err(|error| unusable(&error.to_string()))?;
    for bound in context() {
        view.answer("fs_read", &read, &bound.value, &bound.labels);
        in_view = worst_of(&bound.labels).map_or(in_view.clone(), |worst| in_view.join(&worst));
    }
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
        let begun = Instant::now();
        let mut context = Context {
            account: &account,
            groups: &[],
            agent: &agent,
            manifest,
            in_view: &in_view,
            args_label: &in_view,
            view: &view,
            tools,
            bound: &[],
            earlier: &[],
            parents: &[],
            narrowing: &are_policy::agent::NONE,
            is_approved: false,
        };
        let label = flow::label_of(&context.question(&call, manifest.effect));
        context.args_label = &label;
        std::hint::black_box(rules.decide(&call, &context));
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// Results of a tool with a label for the whole and one for each of some fields.
fn context() -> Vec<Bound> {
    let one = |index: usize| {
        let value = json!({"path": format!("part-{index}.txt"), "bytes": RESULT_BYTES, "text": prose(index)});
        let origin = format!("fs_read#{index}");
        let labels = ["", "/path", "/bytes", "/text"]
            .map(|pointer| (pointer.to_owned(), Label::new(Integrity::Untrusted, Confidentiality::Private, &origin)));
        Bound { value, labels: labels.into() }
    };
    (0..RESULTS).map(one).collect()
}

/// Text of many different words, as a page or a log has them.
fn prose(index: usize) -> String {
    let words = (0..).map(|word: usize| format!("w{} notes hello ", (word * 7919 + index * 104_729) % 5_000));
    let mut text = String::new();
    for word in words {
        if text.len() + word.len() > RESULT_BYTES {
            break;
        }
        text.push_str(&word);
    }
    text
}

fn born(stamp: &Stamp) -> Result<Body, Fault> {
    Ok(Body::SessionCreated {
        owner: stamp.account.clone(),
        agent: name()?,
        parent: None,
        child_of: None,
        engine: "bench".to_owned(),
    })
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

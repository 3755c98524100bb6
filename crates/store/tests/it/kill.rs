//! Kill -9 at random moments, and the power cut as a copy of the directory sees it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use are_core::ids::{Seq, SessionKey};
use are_core::store::{Store, StoreError};
use are_store::sqlite::{Options, SqliteStore};
use are_testkit::run::{Chance, is_long};
use tokio::task::JoinSet;

use crate::support::*;

const MODE: &str = "ARE_STORE_TEST_CHILD";
const DIR: &str = "ARE_STORE_TEST_DIR";
const SESSIONS: u64 = 6;

/// Small enough that checkpoints and resets of the log are killed too.
fn options() -> Options {
    Options { log_soft_bytes: 256 << 10, log_hard_bytes: 1 << 20, ..Options::default() }
}

/// A command that runs one test of this binary as a child, with `prefix` in front.
pub(crate) fn child(mut prefix: Command, test: &str, mode: &str, dir: &Path) -> Command {
    prefix.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    prefix.env(MODE, mode).env(DIR, dir).stdout(Stdio::piped());
    prefix
}

/// The directory to work in, when this process is the child for `mode`.
pub(crate) fn child_dir(mode: &str) -> Option<PathBuf> {
    (std::env::var(MODE).ok()? == mode).then(|| std::env::var_os(DIR).map(PathBuf::from))?
}

/// Tells the parent, past the test harness.
pub(crate) fn say(line: &str) {
    std::io::stdout().write_all(format!("said {line}\n").as_bytes()).unwrap();
}

/// The child: six sessions append until they are killed, and say every receipt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_appends() {
    let Some(dir) = child_dir("appends") else {
        return;
    };
    let store = Arc::new(SqliteStore::open(&dir, &options()).unwrap());
    let mut tasks = JoinSet::new();
    for number in 0..SESSIONS {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut actor = match store.session(key(number)).await {
                Ok(_) => Actor::claim(store.as_ref(), key(number)).await,
                Err(StoreError::NotFound) => Actor::create(store.as_ref(), number).await,
                Err(other) => panic!("{other}"),
            };
            for round in actor.head.seq.. {
                let last = if round % 4 == 3 {
                    actor.append(store.as_ref(), vec![record("r".repeat(700)), record("s")], Durable).await
                } else {
                    actor.append(store.as_ref(), (0..5).map(|_| frame("token ")).collect(), Written).await
                };
                say(&format!("{number} {last}"));
            }
        });
    }
    tasks.join_all().await;
}

/// Runs the child until `lines` receipts, kills it, and returns the last one of each session.
fn run_and_kill(dir: &Path, lines: u64) -> BTreeMap<SessionKey, Seq> {
    let env = Command::new("env");
    let mut process = child(env, "kill::child_that_appends", "appends", dir).spawn().unwrap();
    let mut receipts = BTreeMap::new();
    let mut seen = 0;
    for line in BufReader::new(process.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((number, last)) = line.strip_prefix("said ").and_then(|said| said.split_once(' ')) else {
            continue;
        };
        let last = last.parse().unwrap();
        receipts.insert(key(number.parse().unwrap()), last);
        seen += 1;
        if seen == lines {
            process.kill().unwrap();
        }
    }
    process.wait().unwrap();
    assert!(seen >= lines, "the child ended by itself");
    receipts
}

#[tokio::test]
async fn nothing_receipted_is_lost_when_the_process_is_killed() {
    let rounds = if is_long() { 200 } else { 12 };
    let mut chance = Chance::of_this_run();
    let dir = tempfile::tempdir().unwrap();
    for round in 0..rounds {
        let receipts = run_and_kill(dir.path(), 1 + chance.below(600));
        let store = SqliteStore::open(dir.path(), &options()).unwrap();
        assert_eq!(store.epoch(), 1, "round {round}");
        for (session, last) in &receipts {
            let head = store.session(*session).await.unwrap().head;
            assert!(head.seq >= *last, "round {round}: {session} ends at {} and {last} was receipted", head.seq);
            verify(&store, *session).await;
        }
        assert_eq!(store.check().await.unwrap().damage, [] as [String; 0]);
        if round % 3 == 0 {
            store.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_copy_made_right_after_a_durable_receipt_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { log_soft_bytes: 16 << 10, ..Options::default() };
    let store = SqliteStore::open(dir.path(), &options).unwrap();
    let mut actors = Vec::new();
    for number in 0..3 {
        actors.push(Actor::create(&store, number).await);
    }
    for round in 0..40_usize {
        let actor = &mut actors[round % 3];
        actor.append(&store, vec![frame("written, then synced by the next")], Written).await;
        actor.append(&store, vec![record("x".repeat(round * 100))], Durable).await;

        let to = tempfile::tempdir().unwrap();
        copy(dir.path(), to.path());
        let copy = open(to.path());
        assert_eq!(copy.epoch(), 2);
        for actor in &actors {
            assert_eq!(copy.session(actor.session).await.unwrap().head, actor.head);
            verify(&copy, actor.session).await;
        }
    }
}

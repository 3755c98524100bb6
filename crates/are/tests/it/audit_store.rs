//! A store that somebody writes to behind the server's back: what was done is found, and named.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use are::audit::{Auditor, Report};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_core::journal::Head;
use are_core::store::{Append, Change, Durability, SessionRow, Store};
use are_store::sqlite::{Options, SqliteStore};
use are_store::tree::{Tree, completed};
use are_testkit::clock::SimClock;
use rusqlite::Connection;
use serde::Deserialize;

use crate::audit_stage::Chain;

const NAME: &str = "attacked.test";
/// Each keeper draws other keys, as on a real machine.
static SEED: AtomicU64 = AtomicU64::new(100);

fn open(dir: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(dir, &Options::default()).unwrap())
}

fn auditor(dir: &Path, store: &Arc<SqliteStore>) -> Auditor {
    Auditor::open(
        dir.to_owned(),
        NAME,
        Arc::clone(store) as _,
        Arc::new(SimClock::new(SEED.fetch_add(1, Ordering::Relaxed))),
    )
    .unwrap()
}

fn row(session: SessionKey) -> SessionRow {
    SessionRow {
        key: session,
        owner: "alice".parse().unwrap(),
        agent: "main".parse().unwrap(),
        workspace: String::new(),
        fence: 1,
        epoch: 0,
        head: Head::EMPTY,
        last_account_id: "alice".parse().unwrap(),
        last_thread_id: None,
        title: String::new(),
        turns: 0,
        created_at_ms: 1,
        updated_at_ms: 1,
        is_deleted: false,
    }
}

async fn append(store: &SqliteStore, chain: &mut Chain, words: &str, changes: Vec<Change>) {
    let expect = chain.end();
    let rows = vec![chain.row(words)];
    let (session, head, durability) = (chain.session(), chain.end(), Durability::Durable);
    let append = Append { session, fence: 1, expect, rows, head, durability, changes };
    store.append(append).await.unwrap();
}

/// Two sessions of four records, with checkpoints behind the third and the last record.
async fn filled(dir: &Path) -> [SessionKey; 2] {
    let store = open(dir);
    let auditor = auditor(dir, &store);
    let mut chains = [Chain::new(1), Chain::new(2)];
    for chain in &mut chains {
        for number in 0..4 {
            let created =
                if number == 0 { vec![Change::CreateSession(Box::new(row(chain.session())))] } else { vec![] };
            append(&store, chain, &format!("words {number}"), created).await;
            if number == 2 && chain.session() == Chain::new(1).session() {
                assert_eq!(auditor.checkpoint().await.unwrap().size, 3);
            }
        }
    }
    assert_eq!(auditor.checkpoint().await.unwrap().size, 8);
    store.close().await.unwrap();
    chains.map(|chain| chain.session())
}

async fn verified(dir: &Path, old: &[String]) -> Result<Report, Fault> {
    let store = open(dir);
    let report = auditor(dir, &store).verify(old).await;
    store.close().await.unwrap();
    report
}

#[derive(Deserialize)]
struct Attacks {
    store: Vec<Attack>,
}

#[derive(Deserialize)]
struct Attack {
    name: String,
    sql: Vec<String>,
    finds: Vec<String>,
}

fn hex(bytes: &[u8]) -> String {
    format!("x'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Replaces `entry(…)` and `leaf(…)` by what they stand for, then runs the statement.
fn run(connection: &Connection, statement: &str, keys: [SessionKey; 2]) {
    if statement == "SELECT regrow()" {
        return regrow(connection);
    }
    let mut sql = statement.to_owned();
    for (mark, key) in ["?A", "?B"].into_iter().zip(keys) {
        let key = hex(key.as_bytes());
        for seq in 1..=4 {
            sql = sql.replace(
                &format!("entry({mark}, {seq})"),
                &format!("(SELECT entry FROM journal WHERE session = {key} AND seq = {seq})"),
            );
            let bytes: Result<Vec<u8>, _> = connection.query_row(
                &format!("SELECT bytes FROM journal WHERE session = {key} AND seq = {seq}"),
                [],
                |row| row.get(0),
            );
            let leaf = bytes.map(|bytes| hex(&Digest::of_record(&bytes).0)).unwrap_or_default();
            sql = sql.replace(&format!("leaf({mark}, {seq})"), &leaf);
        }
        sql = sql.replace(mark, &key);
    }
    connection.execute(&sql, []).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Makes all hashes above the leaves anew, as somebody would who knows how.
fn regrow(connection: &Connection) {
    let mut statement = connection.prepare("SELECT leaf_hash FROM tree ORDER BY leaf_index").unwrap();
    let leaves: Vec<Digest> =
        statement.query_map([], |row| row.get(0).map(Digest)).unwrap().map(|hash| hash.unwrap()).collect();
    connection.execute("DELETE FROM tree_node", []).unwrap();
    for (position, hash) in completed(0, &leaves, |_| Err::<Digest, ()>(())).unwrap() {
        let position = i64::try_from(position).unwrap();
        connection.execute("INSERT INTO tree_node VALUES (?1, ?2)", (position, hash.0)).unwrap();
    }
}

#[tokio::test]
async fn what_is_done_to_the_tables_is_found_and_the_first_bad_record_named() {
    let attacks: Attacks = toml::from_str(include_str!("../../../../tests/attacks/audit.toml")).unwrap();
    for attack in &attacks.store {
        let dir = tempfile::tempdir().unwrap();
        let keys = filled(dir.path()).await;
        let report = verified(dir.path(), &[]).await.unwrap();
        assert_eq!((report.records, report.covered, report.checkpoints, report.payloads), (8, 8, 2, 6));
        let connection = Connection::open(dir.path().join("are.db")).unwrap();
        attack.sql.iter().for_each(|statement| run(&connection, statement, keys));
        drop(connection);
        let fault = verified(dir.path(), &[]).await.expect_err(&attack.name);
        println!("{}: {}", attack.name, fault.message);
        assert_eq!(fault.code, Code::AUDIT_BROKEN, "{}: {fault}", attack.name);
        for part in &attack.finds {
            let part = part.replace("?A", &keys[0].to_string()).replace("?B", &keys[1].to_string());
            assert!(fault.message.contains(&part), "{}: `{part}` is not in: {fault}", attack.name);
        }
    }
    assert!(attacks.store.len() >= 15);
}

#[tokio::test]
async fn a_store_that_is_set_back_is_found_with_a_checkpoint_kept_elsewhere_and_nothing_is_signed_over_it() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    // A copy of everything, the key too, is the best that somebody can do who set the store back.
    let old = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap().flatten() {
        std::fs::copy(entry.path(), old.path().join(entry.file_name())).unwrap();
    }
    let store = open(dir.path());
    let mut chain = Chain::new(3);
    let created = vec![Change::CreateSession(Box::new(row(chain.session())))];
    append(&store, &mut chain, "later", created).await;
    let kept = auditor(dir.path(), &store).checkpoint().await.unwrap().note;
    store.close().await.unwrap();

    assert!(verified(dir.path(), std::slice::from_ref(&kept)).await.is_ok());
    assert!(verified(old.path(), &[]).await.is_ok(), "from within there is nothing to see");
    let fault = verified(old.path(), std::slice::from_ref(&kept)).await.unwrap_err();
    assert!(fault.message.contains("rolled back"), "{fault}");
    let connection = Connection::open(dir.path().join("are.db")).unwrap();
    connection.execute("DELETE FROM tree WHERE leaf_index >= 6", []).unwrap();
    connection.execute("DELETE FROM journal WHERE entry > 6", []).unwrap();
    drop(connection);
    let store = open(dir.path());
    let fault = auditor(dir.path(), &store).checkpoint().await.unwrap_err();
    assert!(fault.message.contains("cut short or rolled back"), "{fault}");
}

#[tokio::test]
async fn what_was_erased_in_order_is_counted_and_everything_else_still_holds() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let auditor = auditor(dir.path(), &store);
    let mut chain = Chain::new(1);
    let created = vec![Change::CreateSession(Box::new(row(chain.session())))];
    append(&store, &mut chain, "first", created).await;
    append(&store, &mut chain, "second", Vec::new()).await;
    let (proof, leaf) = auditor.prove_leaf(1).await.unwrap();
    let expect = chain.end();
    let rows = vec![chain.deleted()];
    let (session, head, durability) = (chain.session(), chain.end(), Durability::Durable);
    store
        .append(Append { session, fence: 1, expect, rows, head, durability, changes: vec![Change::Erase] })
        .await
        .unwrap();
    let report = auditor.verify(std::slice::from_ref(&proof.checkpoint)).await.unwrap();
    assert_eq!((report.records, report.payloads, report.erased), (3, 0, 1));
    proof.check(&auditor.verifiers(), Some(&leaf.bytes), None).unwrap();
    let (anew, _) = auditor.prove_leaf(1).await.unwrap();
    anew.check(&auditor.verifiers(), Some(&leaf.bytes), None).unwrap();
    assert!(anew.check(&auditor.verifiers(), Some(b"another line"), None).is_err());
}

#[tokio::test]
async fn a_key_is_rotated_whole_or_not_at_all_and_old_checkpoints_stay_verifiable() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let store = open(dir.path());
    let first = auditor(dir.path(), &store);
    let old = first.checkpoint().await.unwrap();
    let rotation = first.begin_rotation().await.unwrap();
    let (old_key, new_key) = (rotation.old.clone(), rotation.new.clone());
    drop((rotation, first));

    // Killed before the record: the old key stays.
    let again = auditor(dir.path(), &store);
    assert_eq!(again.begin(Some(&old_key)).await.unwrap(), are::audit::keeper::Began::Known);
    assert_eq!(again.verifiers().texts().collect::<Vec<_>>(), [old_key.as_str()]);
    // Killed behind the record: the next start finishes.
    let rotation = again.begin_rotation().await.unwrap();
    let recorded = rotation.new.clone();
    assert_ne!(recorded, new_key);
    drop((rotation, again));
    let after = auditor(dir.path(), &store);
    assert_eq!(after.begin(Some(&recorded)).await.unwrap(), are::audit::keeper::Began::Finished);
    assert_eq!(after.verifiers().texts().collect::<Vec<_>>(), [recorded.as_str(), old_key.as_str()]);

    // The checkpoint of the change is signed by both; the next one by the new key alone.
    let only = |key: &str| are::audit::VerifierKeys::parse(key).unwrap();
    let crossed = after.checkpoint().await.unwrap().note;
    for key in [&old_key, &recorded] {
        assert!(are::audit::note::open(&crossed, &only(key)).is_ok());
    }
    let mut chain = Chain::new(3);
    let created = vec![Change::CreateSession(Box::new(row(chain.session())))];
    append(&store, &mut chain, "later", created).await;
    let new = after.checkpoint().await.unwrap().note;
    assert!(
        are::audit::note::open(&new, &only(&recorded)).is_ok()
            && are::audit::note::open(&new, &only(&old_key)).is_err()
    );
    assert!(after.verify(&[old.note, crossed, new]).await.is_ok());
    // And a process that starts now has the new key.
    let last = auditor(dir.path(), &store);
    assert_eq!(last.begin(Some(&recorded)).await.unwrap(), are::audit::keeper::Began::Known);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(dir.path().join("audit.key")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_lost_key_is_replaced_and_said_and_a_spoilt_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let old = auditor(dir.path(), &store).verifiers().texts().next().unwrap().to_owned();
    std::fs::remove_file(dir.path().join("audit.key")).unwrap();
    let clock = Arc::new(SimClock::new(8));
    let anew = Auditor::open(dir.path().to_owned(), NAME, Arc::clone(&store) as _, clock.clone()).unwrap();
    let began = anew.begin(Some(&old)).await.unwrap();
    assert_eq!(began, are::audit::keeper::Began::New { lost: Some(old.clone()) });
    assert_eq!(anew.verifiers().texts().nth(1), Some(old.as_str()));
    std::fs::write(dir.path().join("audit.key"), "PRIVATE+KEY+x+00000000+AAAA").unwrap();
    let spoilt = Auditor::open(dir.path().to_owned(), NAME, Arc::clone(&store) as _, clock);
    assert_eq!(spoilt.err().map(|fault| fault.code), Some(Code::AUDIT_KEY));
    assert_eq!(store.grow(1).await.unwrap().size, 0);
}

//! Which directories open, which are refused, and when the epoch rises.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use are_core::store::Store;
use are_store::sqlite::{OpenError, Options, SqliteStore};
use rusqlite::Connection;

use crate::support::*;

/// A store with one session, closed in order.
async fn used(dir: &Path) {
    let store = open(dir);
    Actor::create(&store, 1).await.append(&store, vec![record("a".repeat(20_000))], Durable).await;
    store.close().await.unwrap();
}

fn refusal(dir: &Path) -> (String, PathBuf) {
    let error = SqliteStore::open(dir, &Options::default()).unwrap_err();
    let path = match &error {
        OpenError::Mismatch { path, .. } | OpenError::TooNew { path, .. } | OpenError::Locked { path } => path.clone(),
        other => panic!("{other}"),
    };
    assert!(error.to_string().contains(path.to_str().unwrap()), "the message names the file");
    (error.code().to_string(), path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn one_process_at_a_time_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(refusal(dir.path()), ("ARE-0102".to_owned(), dir.path().to_owned()));
    drop(store);
    open(dir.path());
}

#[tokio::test]
async fn files_are_private_and_one_is_left_after_an_orderly_close() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    let store = open(&dir);
    Actor::create(&store, 1).await;
    assert_eq!((mode(&dir), mode(dir.parent().unwrap())), (0o700, 0o700));
    for name in ["are.db", "are.db-wal", "are.db-shm", "are.lock", "store.id"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    store.close().await.unwrap();
    let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["are.db", "are.lock", "store.id"]);

    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(dir.join("are.db"), fs::Permissions::from_mode(0o644)).unwrap();
    let _store = open(&dir);
    assert_eq!((mode(&dir), mode(&dir.join("are.db"))), (0o700, 0o600));
}

#[tokio::test]
async fn identity_and_a_database_that_is_gone_empty_cut_or_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path()).await;
    let db = dir.path().join("are.db");
    let whole = fs::read(&db).unwrap();
    let pages = whole.len() / 4096;
    assert!(pages > 12, "{pages}");
    let mut cases: Vec<(String, Option<Vec<u8>>)> = vec![
        ("gone".to_owned(), None),
        ("empty".to_owned(), Some(Vec::new())),
        ("text".to_owned(), Some(b"not a database".repeat(1000))),
        ("zeros".to_owned(), Some(vec![0; whole.len()])),
    ];
    for length in (1..pages).map(|page| page * 4096).chain([1, 50, 99, 100, 512, whole.len() - 1]) {
        cases.push((format!("cut at {length}"), Some(whole[..length].to_vec())));
    }
    for (name, bytes) in cases {
        match bytes {
            Some(bytes) => fs::write(&db, bytes).unwrap(),
            None => fs::remove_file(&db).unwrap(),
        }
        assert_eq!(refusal(dir.path()), ("ARE-0307".to_owned(), db.clone()), "{name}");
    }
    fs::write(&db, whole).unwrap();
    assert_eq!(verify(&open(dir.path()), key(1)).await.len(), 2);
}

#[tokio::test]
async fn a_database_of_another_store_or_program_is_refused() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    used(dir.path()).await;
    used(other.path()).await;
    let db = dir.path().join("are.db");
    fs::copy(other.path().join("are.db"), &db).unwrap();
    assert_eq!(refusal(dir.path()), ("ARE-0307".to_owned(), db.clone()));

    fs::remove_file(&db).unwrap();
    Connection::open(&db).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
    assert_eq!(refusal(dir.path()), ("ARE-0307".to_owned(), db));

    fs::write(other.path().join("store.id"), b"\xFF\xFE nonsense").unwrap();
    assert_eq!(refusal(other.path()), ("ARE-0307".to_owned(), other.path().join("store.id")));
}

#[tokio::test]
async fn a_cut_database_is_refused_also_while_a_killed_process_log_is_there() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path()).await;
    let store = open(dir.path());
    Actor::claim(&store, key(1)).await.append(&store, vec![record("in the log")], Durable).await;
    drop(store);
    let db = dir.path().join("are.db");
    let whole = fs::read(&db).unwrap();
    assert!(fs::metadata(dir.path().join("are.db-wal")).unwrap().len() > 0);
    fs::write(&db, &whole[..whole.len() / 4096 / 2 * 4096]).unwrap();
    assert_eq!(refusal(dir.path()), ("ARE-0307".to_owned(), db.clone()));
    fs::write(&db, whole).unwrap();
    assert_eq!(verify(&open(dir.path()), key(1)).await.len(), 3);
}

#[tokio::test]
async fn a_used_database_without_identity_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path()).await;
    let id = dir.path().join("store.id");
    let kept = fs::read(&id).unwrap();
    fs::remove_file(&id).unwrap();
    assert_eq!(refusal(dir.path()), ("ARE-0307".to_owned(), id.clone()));
    fs::write(&id, kept).unwrap();
    open(dir.path());

    // Nothing but a log: the database was taken away, and a new one would swallow it.
    let store = open(dir.path());
    Actor::create(&store, 2).await;
    drop(store);
    fs::remove_file(&id).unwrap();
    fs::remove_file(dir.path().join("are.db")).unwrap();
    assert_eq!(refusal(dir.path()), ("ARE-0307".to_owned(), dir.path().join("are.db")));
}

#[tokio::test]
async fn a_first_start_that_was_interrupted_is_finished_by_the_next() {
    let finished = tempfile::tempdir().unwrap();
    open(finished.path()).close().await.unwrap();
    let database = fs::read(finished.path().join("are.db")).unwrap();
    let id = fs::read_to_string(finished.path().join("store.id")).unwrap();
    let half = database[..4096].to_vec();
    // Everything that a kill can leave, in the order in which it is made.
    let states: [&[(&str, &[u8])]; 7] = [
        &[],
        &[("are.lock", b"")],
        &[("are.lock", b""), ("are.db.new", b"")],
        &[("are.lock", b""), ("are.db.new", &half), ("are.db.new-journal", b"half"), ("are.db.new-wal", b"half")],
        &[("are.lock", b""), ("are.db.new", &database)],
        &[("are.lock", b""), ("are.db", &database)],
        &[("are.lock", b""), ("are.db", &database), ("store.id.new", b"01234")],
    ];
    for (number, files) in states.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in *files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        let store = open(dir.path());
        Actor::create(&store, 1).await;
        let has_kept_id = store.id().to_string() == id.trim();
        assert_eq!(has_kept_id, number >= 5, "state {number}");
        drop(store);
        assert_eq!(verify(&open(dir.path()), key(1)).await.len(), 1);
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path()).await;
    let db = dir.path().join("are.db");
    Connection::open(&db).unwrap().pragma_update(None, "user_version", 9_999).unwrap();
    let before = fs::read(&db).unwrap();
    assert_eq!(refusal(dir.path()), ("ARE-0308".to_owned(), db.clone()));
    assert_eq!(fs::read(&db).unwrap(), before);
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = SqliteStore::open(&file, &Options::default()).unwrap_err();
    assert_eq!(error.code().to_string(), "ARE-0101");
    assert!(error.to_string().contains(file.to_str().unwrap()));
}

fn set_meta(dir: &Path, key: &str, value: &str) {
    let connection = Connection::open(dir.join("are.db")).unwrap();
    assert_eq!(connection.execute("UPDATE meta SET value = ?2 WHERE key = ?1", [key, value]).unwrap(), 1);
}

#[tokio::test]
async fn the_epoch_rises_after_power_loss_and_after_a_copy_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path()).await;
    let epoch = |dir: &Path| {
        let store = open(dir);
        (store.epoch(), store)
    };
    // Closed in order.
    let (first, store) = epoch(dir.path());
    assert_eq!(first, 1);
    drop(store);
    // Killed, same boot.
    let (killed, store) = epoch(dir.path());
    assert_eq!(killed, 1);
    assert_eq!(store.session(key(1)).await.unwrap().epoch, 1);
    drop(store);
    // Killed, another boot: the power was cut.
    set_meta(dir.path(), "boot", "another boot");
    let (cut, store) = epoch(dir.path());
    assert_eq!(cut, 2);
    assert_eq!(store.session(key(1)).await.unwrap().epoch, 2);
    store.close().await.unwrap();
    drop(store);
    // Closed in order, another boot.
    set_meta(dir.path(), "boot", "yet another boot");
    assert_eq!(epoch(dir.path()).0, 2);
    // A copy, although closed in order.
    open(dir.path()).close().await.unwrap();
    let to = tempfile::tempdir().unwrap();
    copy(dir.path(), to.path());
    assert_eq!(epoch(to.path()).0, 3);
    assert_eq!(epoch(dir.path()).0, 2);
}

#[tokio::test]
async fn whoever_had_a_token_or_a_session_before_there_were_accounts_has_one() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path()).await;
    let connection = Connection::open(dir.path().join("are.db")).unwrap();
    connection
        .execute_batch(
            "DROP TABLE account; DROP TABLE memory; DROP TABLE tree_node; DROP TABLE checkpoint; DROP TABLE sealed; DROP TABLE spent; DROP TABLE artifact;
             ALTER TABLE token DROP COLUMN speaks_for; ALTER TABLE token DROP COLUMN expires_at_ms;
             INSERT INTO token VALUES ('t1', zeroblob(32), 'bob', 'read', '', 7, 0, NULL);
             INSERT INTO token VALUES ('t2', zeroblob(32), 'bob', 'read', '', 5, 1, 't1');
             PRAGMA user_version = 2;",
        )
        .unwrap();
    connection.close().unwrap();
    let store = open(dir.path());
    let found = store.accounts().await.unwrap();
    let listed: Vec<_> = found.iter().map(|row| (row.name.as_str(), row.created_at_ms)).collect();
    assert_eq!(listed, [("alice", NOW_MS + 1), ("bob", 5)]);
    assert!(found.iter().all(|row| row.groups.is_empty() && !row.is_disabled && !row.is_deleted && row.revision == 0));
    let tokens = store.tokens().await.unwrap();
    assert!(tokens.len() == 2 && tokens.iter().all(|row| row.speaks_for.is_empty() && row.expires_at_ms.is_none()));
}

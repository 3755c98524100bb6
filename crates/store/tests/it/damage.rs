//! Damage in one place is met in that place.

use std::fs;
use std::os::unix::fs::FileExt as _;

use are_core::ids::SessionKey;
use are_core::journal::{Head, Reader};
use are_core::store::{Store, StoreError};
use rusqlite::Connection;

use crate::support::*;

#[tokio::test]
async fn a_bad_record_in_the_middle_of_one_session_leaves_the_others_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 1..=3 {
        let mut actor = Actor::create(&store, number).await;
        for step in 0..10 {
            actor.append(&store, vec![record(format!("step {step}")), frame("f")], Written).await;
        }
    }
    store.close().await.unwrap();
    let edited = Connection::open(dir.path().join("are.db"))
        .unwrap()
        .execute(
            "UPDATE journal SET bytes = CAST(replace(CAST(bytes AS TEXT), 'alice', 'mallo') AS BLOB)
             WHERE session = ?1 AND seq = 8",
            [key(2).as_bytes()],
        )
        .unwrap();
    assert_eq!(edited, 1);

    let store = open(dir.path());
    let mut reader = Reader::new(key(2), Head::EMPTY);
    let bad = read_all(&store, key(2)).await.iter().find_map(|row| reader.next(row).err()).unwrap();
    // The edited record reads well; the next one does not follow it.
    assert_eq!((bad.session, bad.seq), (key(2), 10));
    verify(&store, key(1)).await;
    verify(&store, key(3)).await;
    Actor::claim(&store, key(3)).await.append(&store, vec![record("goes on")], Durable).await;
}

#[tokio::test]
async fn a_row_beyond_the_head_refuses_that_session_as_corrupt_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let first = Actor::create(&store, 1).await;
    let mut second = Actor::create(&store, 2).await;
    store.close().await.unwrap();
    Connection::open(dir.path().join("are.db"))
        .unwrap()
        .execute("INSERT INTO journal (session, seq, class, bytes) VALUES (?1, 2, 0, x'00')", [key(1).as_bytes()])
        .unwrap();
    let store = open(dir.path());
    let append = first.next(vec![record("x")], Durable);
    assert!(matches!(store.append(append).await, Err(StoreError::Corrupt(_))));
    second.append(&store, vec![record("y")], Durable).await;
}

/// Pages that hold rows of this session and nothing else.
fn pages_of(connection: &Connection, session: SessionKey) -> Vec<u64> {
    // Rows of 3 kB each have a page of their own, in the order of the entries.
    let mut statement = connection
        .prepare("SELECT pageno FROM dbstat WHERE name = 'journal' AND pagetype = 'leaf' ORDER BY path")
        .unwrap();
    let pages: Vec<u64> =
        statement.query_map([], |row| row.get::<_, i64>(0)).unwrap().map(|page| page.unwrap() as u64).collect();
    let mut owners = connection.prepare("SELECT session FROM journal ORDER BY entry").unwrap();
    let owners: Vec<[u8; 16]> = owners.query_map([], |row| row.get(0)).unwrap().map(|owner| owner.unwrap()).collect();
    assert_eq!(pages.len(), owners.len(), "one row a page");
    pages.into_iter().zip(owners).filter(|(_, owner)| owner == session.as_bytes()).map(|(page, _)| page).collect()
}

#[tokio::test]
async fn a_damaged_page_is_corrupt_for_its_session_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 1..=3 {
        let (mut actor, mut append) = Actor::creation(number);
        actor.head = Head::EMPTY;
        append.rows = actor.next(vec![frame("a".repeat(3_000))], Written).rows;
        append.head = Head { seq: 1, ..Head::EMPTY };
        actor.head = append.head;
        store.append(append).await.unwrap();
        for _ in 0..10 {
            actor.append(&store, vec![frame("a".repeat(3_000))], Written).await;
        }
    }
    store.close().await.unwrap();
    drop(store);
    let db = dir.path().join("are.db");
    let pages = pages_of(&Connection::open(&db).unwrap(), key(2));
    assert_eq!(pages.len(), 11);
    let file = fs::OpenOptions::new().write(true).open(&db).unwrap();
    file.write_all_at(&[0xEE; 4096], (pages[5] - 1) * 4096).unwrap();
    drop(file);

    let store = open(dir.path());
    assert!(matches!(store.read(key(2), 0, 100, usize::MAX).await, Err(StoreError::Corrupt(_))));
    assert_eq!(store.read(key(2), 0, 5, usize::MAX).await.unwrap().len(), 5);
    for number in [1, 3] {
        assert_eq!(verify(&store, key(number)).await.len(), 11);
        Actor::claim(&store, key(number)).await.append(&store, vec![record("goes on")], Durable).await;
    }
    assert_ne!(store.check().await.unwrap().damage, [] as [String; 0]);
    store.close().await.unwrap();
}

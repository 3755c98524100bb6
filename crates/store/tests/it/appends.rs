//! Appending, reading, fences and group commit.

use std::sync::Arc;

use are_core::digest::Digest;
use are_core::ids::SessionKey;
use are_core::journal::{Class, Head, Row};
use are_core::store::{Append, Change, Store, StoreError};
use tokio::task::JoinSet;

use crate::support::*;

#[tokio::test]
async fn bytes_come_back_exactly_as_they_were_handed_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (mut actor, mut append) = Actor::creation(1);
    // Neither JSON nor UTF-8: the store does not care.
    let odd = vec![0, 0xFF, 0xFE, b'\n', 0, b'"'];
    append.rows[0].bytes.clone_from(&odd);
    append.rows[0].payload = Some(([0xAB; 32], odd.clone()));
    append.head.hash = Digest::of_record(&odd);
    actor.head = append.head;
    let first = append.rows[0].clone();
    store.append(append).await.unwrap();
    let big = vec![0x5A; 300_000];
    let frames = vec![
        Row { seq: 2, class: Class::Frame, bytes: Vec::new(), payload: None },
        Row { seq: 3, class: Class::Frame, bytes: big, payload: None },
    ];
    let head = Head { seq: 3, ..actor.head };
    let append = Append { rows: frames.clone(), head, ..actor.next(Vec::new(), Written) };
    store.append(append).await.unwrap();

    let expected: Vec<Row> = std::iter::once(first).chain(frames).collect();
    assert_eq!(store.read(actor.session, 0, 10, usize::MAX).await.unwrap(), expected);
    store.close().await.unwrap();
    assert_eq!(open(dir.path()).read(actor.session, 0, 10, usize::MAX).await.unwrap(), expected);
}

#[tokio::test]
async fn what_was_written_is_there_after_a_drop_without_close() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    actor.append(&store, vec![frame("a"), frame("b")], Written).await;
    drop(store);

    let store = open(dir.path());
    assert_eq!(verify(&store, actor.session).await.len(), 3);
    assert_eq!(store.session(actor.session).await.unwrap().epoch, 1, "no power was lost");
}

#[tokio::test]
async fn room_that_was_made_in_the_log_is_no_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    for number in 0..20 {
        actor.append(&store, vec![record(format!("record {number}"))], Durable).await;
    }
    let length = std::fs::metadata(dir.path().join("are.db-wal")).unwrap().len();
    let disk = rustix::fs::statvfs(dir.path()).unwrap();
    let is_large = disk.f_bavail * disk.f_frsize > 2 << 30;
    println!("the log is {length} bytes long");
    assert!(length >= 6 << 20 || !is_large, "a sync that makes the log longer takes twice as long");
    drop(store);

    // As after a kill: the log is read up to where the records end.
    let store = open(dir.path());
    assert_eq!(verify(&store, actor.session).await.len(), 21);
    actor = Actor::claim(&store, actor.session).await;
    actor.append(&store, vec![record("after")], Durable).await;
    assert_eq!(verify(&store, actor.session).await.len(), 22);
}

#[tokio::test]
async fn an_accepted_append_is_written_even_when_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    let append = actor.next(vec![record("a")], Written);
    actor.head = append.head;
    let mut future = store.append(append);
    // Polled once: it is in the queue.
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_ready())).await;
    drop(future);
    actor.append(&store, vec![record("b")], Durable).await;
    assert_eq!(verify(&store, actor.session).await.len(), 3);
}

#[tokio::test]
async fn a_page_ends_at_its_limits_but_holds_at_least_one_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    actor.append(&store, (0..20).map(|n| frame("x".repeat(100 * (n + 1)))).collect(), Written).await;
    let seqs = async |after, limit, bytes_max| -> Vec<u64> {
        store.read(actor.session, after, limit, bytes_max).await.unwrap().iter().map(|row| row.seq).collect()
    };
    assert_eq!(seqs(0, 3, usize::MAX).await, [1, 2, 3]);
    assert_eq!(seqs(18, 10, 1).await, [19]);
    assert_eq!(seqs(1, 10, 700).await, [2, 3, 4]);
    assert_eq!(seqs(21, 10, 700).await, [] as [u64; 0]);
    assert_eq!(seqs(u64::from(u32::MAX), 10, 700).await, [] as [u64; 0]);
    assert_eq!(store.read(key(9), 0, 10, 10).await, Err(StoreError::NotFound));
    assert_eq!(
        store.read(key(9), u64::MAX, 10, 10).await.unwrap_err(),
        store.read(actor.session, u64::MAX, 10, 10).await.unwrap_err()
    );
}

#[tokio::test]
async fn a_claim_fences_the_actor_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut old = Actor::create(&store, 1).await;
    old.append(&store, vec![record("mine")], Written).await;

    let mut new = Actor::claim(&store, old.session).await;
    assert_eq!((new.fence, new.head), (2, old.head));
    assert_eq!(store.append(old.next(vec![record("late")], Durable)).await, Err(StoreError::Fenced));
    new.append(&store, vec![record("new")], Written).await;
    assert_eq!(store.append(old.next(vec![record("late")], Durable)).await, Err(StoreError::Fenced));
    assert_eq!(verify(&store, old.session).await.len(), 3);

    drop(store);
    let store = open(dir.path());
    assert_eq!(Actor::claim(&store, old.session).await.fence, 3);
    assert_eq!(store.claim(key(2)).await, Err(StoreError::NotFound));
}

#[tokio::test]
async fn an_append_that_does_not_follow_the_head_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    let stale = actor.next(vec![record("stale"), frame("x")], Durable);
    actor.append(&store, vec![record("first")], Durable).await;
    assert_eq!(store.append(stale).await, Err(StoreError::HeadMoved { found: actor.head }));

    let mut other_hash = actor.next(vec![record("x")], Durable);
    other_hash.expect.hash = Digest::ZERO;
    assert_eq!(store.append(other_hash).await, Err(StoreError::HeadMoved { found: actor.head }));

    let mut gap = actor.next(vec![record("x"), record("y")], Durable);
    gap.rows.remove(0);
    assert_eq!(store.append(gap).await, Err(StoreError::HeadMoved { found: actor.head }));

    let (_, again) = Actor::creation(1);
    assert_eq!(store.append(again).await, Err(StoreError::HeadMoved { found: actor.head }));
    let nobody = Actor { session: key(5), ..actor.clone() };
    assert_eq!(store.append(nobody.next(vec![record("x")], Durable)).await, Err(StoreError::NotFound));
    assert_eq!(verify(&store, actor.session).await.len(), 2);
}

#[tokio::test]
async fn a_refused_append_spoils_no_other_of_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let mut actors = Vec::new();
    for number in 0..40 {
        actors.push(Actor::create(store.as_ref(), number).await);
    }
    let mut tasks = JoinSet::new();
    for (number, mut actor) in actors.into_iter().enumerate() {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for round in 0..20 {
                if number % 4 == 0 {
                    let fenced = Actor { fence: 9, ..actor.clone() };
                    let refused = store.append(fenced.next(vec![record("no"), frame("no")], Durable)).await;
                    assert_eq!(refused, Err(StoreError::Fenced));
                }
                let durability = if round % 3 == 0 { Durable } else { Written };
                actor.append(store.as_ref(), vec![record("yes"), frame("yes")], durability).await;
                // A read after the receipt sees the append.
                let head = store.session(actor.session).await.unwrap().head;
                assert_eq!(head, actor.head);
            }
            actor.session
        });
    }
    while let Some(session) = tasks.join_next().await {
        assert_eq!(verify(store.as_ref(), session.unwrap()).await.len(), 41);
    }
}

#[tokio::test]
async fn the_system_session_is_created_and_appended_to_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor { session: SessionKey::SYSTEM, fence: 1, head: Head::EMPTY };
    let mut append = actor.next(vec![record("started")], Durable);
    append.changes.push(Change::CreateSession(Box::new(session_row(SessionKey::SYSTEM, "system", NOW_MS))));
    actor.head = append.head;
    store.append(append).await.unwrap();
    actor.append(&store, vec![record("token")], Durable).await;
    assert_eq!(verify(&store, SessionKey::SYSTEM).await.len(), 2);
    assert_eq!(store.sessions(are_core::store::SessionFilter { limit: 10, ..Default::default() }).await.unwrap(), []);
}

#[tokio::test]
async fn a_closed_store_answers_at_once_that_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let actor = Actor::create(&store, 1).await;
    store.close().await.unwrap();
    assert!(matches!(store.append(actor.next(vec![record("x")], Durable)).await, Err(StoreError::Failed(_))));
    assert!(matches!(store.session(actor.session).await, Err(StoreError::Failed(_))));
    assert!(matches!(store.close().await, Err(StoreError::Failed(_))));
    // Closed and still there: the directory is free.
    assert_eq!(verify(&open(dir.path()), actor.session).await.len(), 1);
}

#[tokio::test]
async fn everything_accepted_before_a_close_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let mut actors = Vec::new();
    for number in 0..30 {
        actors.push(Actor::create(store.as_ref(), number).await);
    }
    let mut tasks = JoinSet::new();
    for mut actor in actors {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            loop {
                let append = actor.next(vec![record("x")], Written);
                let head = append.head;
                match store.append(append).await {
                    Ok(_) => actor.head = head,
                    Err(StoreError::Failed(_)) => return actor,
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    store.close().await.unwrap();
    let mut actors = Vec::new();
    while let Some(actor) = tasks.join_next().await {
        actors.push(actor.unwrap());
    }
    drop(store);
    let store = open(dir.path());
    for actor in actors {
        assert_eq!(store.session(actor.session).await.unwrap().head, actor.head);
        verify(&store, actor.session).await;
    }
}

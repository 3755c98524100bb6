//! Deleted words leave the files.

use std::path::Path;

use are_core::body::Scope;
use are_core::digest::Digest;
use are_core::journal::Class;
use are_core::store::{Append, Change, Store, StoreError};
use are_testkit::run::Chance;

use crate::support::*;

/// How often a mark stands in any file of the directory.
fn count(dir: &Path, mark: &str) -> usize {
    let mark = mark.as_bytes();
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .map(|bytes| bytes.windows(mark.len()).filter(|window| *window == mark).count())
        .sum()
}

fn turn(turn: u32, title: &str) -> Change {
    let thread = "t".parse().unwrap();
    Change::StartTurn { turn, account: account("alice"), thread, title: title.to_owned(), at_ms: NOW_MS }
}

async fn erase(store: &dyn Store, actor: &mut Actor) {
    let append = Append { changes: vec![Change::Erase], ..actor.next(vec![record("deleted")], Durable) };
    let head = append.head;
    store.append(append).await.unwrap();
    actor.head = head;
}

#[tokio::test]
async fn an_erased_session_keeps_its_records_and_nothing_that_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    let mut other = Actor::create(&store, 2).await;
    let variable = Change::Variable {
        scope: Scope::Session,
        account: account("alice"),
        name: "v".parse().unwrap(),
        value: Some(("1".to_owned(), "{}".to_owned())),
    };
    let request = Change::Request {
        account: account("alice"),
        request_id: "r".parse().unwrap(),
        turn: 1,
        content: Digest::of(&[b"asked"]),
    };
    let digest = Digest::of(&[b"shown"]);
    let artifact = || Change::PutArtifact(digest, "text/plain".to_owned(), b"shown".to_vec());
    actor.change(&store, vec![variable, request, artifact(), Change::OpenWork(true)]).await;
    other.change(&store, vec![artifact()]).await;
    actor.append(&store, vec![frame("said"), record("done"), frame("more")], Written).await;
    other.append(&store, vec![record("stays"), frame("stays")], Written).await;
    erase(&store, &mut actor).await;

    let rows = read_all(&store, actor.session).await;
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [1, 2, 4, 6]);
    assert!(rows.iter().all(|row| row.class == Class::Record && row.payload.is_none()));
    let row = store.session(actor.session).await.unwrap();
    assert!(row.is_deleted && row.title.is_empty() && row.workspace.is_empty());
    assert_eq!(row.head, actor.head);
    assert_eq!(store.variables(Some(actor.session), account("alice")).await.unwrap(), []);
    assert_eq!(store.artifact(actor.session, digest).await, Err(StoreError::NotFound));
    assert_eq!(store.artifact(other.session, digest).await.unwrap().1, b"shown");
    assert_eq!(store.open_work().await.unwrap(), []);
    // The id stays taken; what was asked under it cannot be tried out any more.
    let request = store.request(account("alice"), "r".parse().unwrap()).await.unwrap();
    assert_eq!(request, Some((actor.session, 1, Digest::ZERO)));
    assert_eq!(
        store.sessions(are_core::store::SessionFilter { limit: 9, ..Default::default() }).await.unwrap().len(),
        1
    );
    assert_eq!(store.claim(actor.session).await, Err(StoreError::NotFound));
    assert_eq!(store.append(actor.next(vec![record("late")], Durable)).await, Err(StoreError::NotFound));
    assert_eq!(verify(&store, other.session).await.len(), 4);
}

#[tokio::test]
async fn erased_bytes_are_in_no_file_once_the_receipt_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut chance = Chance::new(11);
    let mut actors = Vec::new();
    for number in 0..40 {
        actors.push(Actor::create(&store, number).await);
    }
    let mark = |actor: &Actor| format!("mark-{}-krypton", actor.session);
    for round in 1..=30 {
        for actor in &mut actors {
            let filler = "f".repeat(usize::try_from(chance.below(3_000)).unwrap());
            let text = format!("{} {filler}", mark(actor));
            let variable = Change::Variable {
                scope: Scope::Session,
                account: account("alice"),
                name: format!("v{}-{}", round % 7, mark(actor)).parse().unwrap(),
                value: Some((text.clone(), "{}".to_owned())),
            };
            let artifact =
                Change::PutArtifact(Digest::of(&[text.as_bytes()]), mark(actor), text.repeat(3).into_bytes());
            let append = Append {
                changes: vec![variable, artifact, turn(round, &mark(actor))],
                ..actor.next(vec![record(text.clone()), frame(text.clone()), frame(mark(actor))], Written)
            };
            let head = append.head;
            store.append(append).await.unwrap();
            actor.head = head;
        }
    }
    // Not in the order in which they came.
    let (front, back) = actors.split_at_mut(20);
    for actor in back.iter_mut().chain(front) {
        assert!(count(dir.path(), &mark(actor)) > 0, "the search finds what is there");
        erase(&store, actor).await;
        assert_eq!(count(dir.path(), &mark(actor)), 0, "{}", actor.session);
    }
}

#[tokio::test]
async fn erased_payloads_leave_the_files_and_the_chain_stands() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    let said = "violet-umbrella-violet-umbrella";
    let first = actor.append(&store, vec![record(said)], Durable).await;
    actor.append(&store, vec![record("stays-stays-stays-stays")], Durable).await;
    actor.change(&store, vec![Change::ErasePayloads(vec![first])]).await;
    assert_eq!((count(dir.path(), said), count(dir.path(), "stays-stays-stays-stays") > 0), (0, true));
    let rows = read_all(&store, actor.session).await;
    let kept: Vec<_> = rows.iter().filter(|row| row.payload.is_some()).map(|row| row.seq).collect();
    assert!(!kept.contains(&first) && kept.contains(&(first + 1)), "{kept:?}");
    verify(&store, actor.session).await;
}

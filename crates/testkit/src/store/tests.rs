use super::*;

use crate::memory::MemoryStore;
use are_core::digest::Digest;
use are_core::journal::{Class, Head};
use are_core::store::{Change, Durability};

const SESSION: SessionKey = SessionKey::SYSTEM;

/// The append that makes the session.
fn creation() -> Append {
    let owner: AccountId = "owner".parse().unwrap();
    let bytes = b"record".to_vec();
    let head = Head { seq: 1, hash: Digest::of_record(&bytes) };
    let row = SessionRow {
        key: SESSION,
        owner: owner.clone(),
        agent: "agent".parse().unwrap(),
        workspace: String::new(),
        fence: 0,
        epoch: 0,
        head,
        last_account_id: owner,
        last_thread_id: None,
        title: String::new(),
        turns: 0,
        created_at_ms: 1,
        updated_at_ms: 1,
        is_deleted: false,
    };
    Append {
        session: SESSION,
        fence: 0,
        expect: Head::EMPTY,
        rows: vec![Row { seq: 1, class: Class::Record, bytes, payload: None }],
        head,
        durability: Durability::Durable,
        changes: vec![Change::CreateSession(Box::new(row))],
    }
}

fn stores() -> (Arc<MemoryStore>, Arc<FaultStore>) {
    let memory = Arc::new(MemoryStore::new());
    (Arc::clone(&memory), Arc::new(FaultStore::new(memory)))
}

#[tokio::test]
async fn a_planned_failure_comes_before_or_after_the_work_and_once() {
    let (memory, store) = stores();
    store.fail_before(1, StoreError::Full);
    store.fail_after(3, Some(StoreError::Failed("sync".to_owned())));
    assert_eq!(store.append(creation()).await, Err(StoreError::Full));
    assert_eq!(memory.session(SESSION).await, Err(StoreError::NotFound));
    assert_eq!(store.session(SESSION).await, Err(StoreError::NotFound));
    assert_eq!(store.append(creation()).await, Err(StoreError::Failed("sync".to_owned())));
    assert_eq!(store.session(SESSION).await.unwrap().head.seq, 1);
    assert_eq!(store.failed().await, "sync");
    assert_eq!(store.call_names(), ["append", "session", "append", "session"]);
}

#[tokio::test]
async fn after_a_death_nothing_is_heard_and_nothing_more_is_done() {
    let (memory, store) = stores();
    store.fail_after(1, None);
    let dying = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.append(creation()).await }
    });
    store.died().await;
    assert_eq!(memory.session(SESSION).await.unwrap().head.seq, 1);
    let late = store.claim(SESSION);
    tokio::select! {
        biased;
        _ = late => panic!("answered"),
        () = std::future::ready(()) => {}
    }
    assert!(!dying.is_finished());
    dying.abort();
    assert_eq!(memory.session(SESSION).await.unwrap().fence, 1);
    assert_eq!(store.calls(), 1);
}

#[tokio::test]
async fn a_held_call_waits_until_it_is_released() {
    let (memory, store) = stores();
    store.hold(1);
    let held = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.append(creation()).await }
    });
    store.arrived(1).await;
    assert_eq!(memory.session(SESSION).await, Err(StoreError::NotFound));
    store.release(1);
    assert_eq!(held.await.unwrap().unwrap().last(), 1);
}

#[tokio::test]
async fn the_same_seed_means_the_same_faults() {
    let run = async |seed| {
        let store = FaultStore::seeded(Arc::new(MemoryStore::new()), seed, 4);
        let mut fate = Vec::new();
        for _ in 0..60 {
            let answer = tokio::select! {
                biased;
                answer = store.append(creation()) => Some(answer.map(drop)),
                () = store.died() => None,
            };
            fate.push(answer);
            if store.is_dead() {
                break;
            }
        }
        fate
    };
    let fates: Vec<_> = [run(1).await, run(2).await, run(3).await, run(4).await].into();
    assert_eq!(fates[0], run(1).await);
    assert!(fates.iter().flatten().any(|fate| *fate == Some(Err(StoreError::Full))), "{fates:?}");
    assert!(fates.iter().all(|fate| fate.last() == Some(&None)), "{fates:?}");
}

//! Random histories over several sessions against a model of a few lines.

use std::collections::BTreeMap;

use are_core::ids::Fence;
use are_core::journal::{Head, Row};
use are_core::store::{Durability, Store, StoreError};
use proptest::prelude::*;

use crate::support::*;

#[derive(Debug, Clone)]
enum Step {
    Create(u64),
    Claim(u64),
    /// Session, how far behind the actor's fence is, whether its head is stale, entries, durability.
    Append(u64, bool, bool, Vec<Piece>, Durability),
    Reopen {
        in_order: bool,
    },
}

fn piece() -> impl Strategy<Value = Piece> {
    let text = prop_oneof![4 => "[a-z]{0,20}", 1 => "[a-z]{3000,9000}"];
    (any::<bool>(), text).prop_map(|(is_record, text)| if is_record { record(text) } else { frame(text) })
}

fn step() -> impl Strategy<Value = Step> {
    let durability = prop_oneof![Just(Written), Just(Durable)];
    let pieces = prop::collection::vec(piece(), 0..6);
    let rarely = || prop::bool::weighted(0.1);
    prop_oneof![
        2 => (0..4_u64).prop_map(Step::Create),
        2 => (0..4_u64).prop_map(Step::Claim),
        12 => (0..4_u64, rarely(), rarely(), pieces, durability)
            .prop_map(|(session, fenced, stale, pieces, level)| Step::Append(session, fenced, stale, pieces, level)),
        1 => any::<bool>().prop_map(|in_order| Step::Reopen { in_order }),
    ]
}

#[derive(Debug, Clone)]
struct Session {
    fence: Fence,
    head: Head,
    rows: Vec<Row>,
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut model: BTreeMap<u64, Session> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Create(number) => {
                let (_, append) = Actor::creation(number);
                let (rows, head) = (append.rows.clone(), append.head);
                let done = store.append(append).await.map(|receipt| receipt.last());
                match model.get(&number) {
                    Some(session) => assert_eq!(done, Err(StoreError::HeadMoved { found: session.head })),
                    None => {
                        assert_eq!(done, Ok(1));
                        model.insert(number, Session { fence: 1, head, rows });
                    }
                }
            }
            Step::Claim(number) => {
                let claimed = store.claim(key(number)).await.map(|row| (row.fence, row.head));
                match model.get_mut(&number) {
                    None => assert_eq!(claimed, Err(StoreError::NotFound)),
                    Some(session) => {
                        session.fence += 1;
                        assert_eq!(claimed, Ok((session.fence, session.head)));
                    }
                }
            }
            Step::Append(number, is_fenced, is_stale, pieces, durability) => {
                let session = model.get_mut(&number);
                let (fence, head) = session.as_ref().map_or((1, Head::EMPTY), |session| (session.fence, session.head));
                let head = if is_stale { Head { seq: head.seq + 1, ..head } } else { head };
                let actor = Actor { session: key(number), fence: fence + u64::from(is_fenced), head };
                let append = actor.next(pieces, durability);
                let (rows, head) = (append.rows.clone(), append.head);
                let done = store.append(append).await.map(|receipt| receipt.last());
                match session {
                    None => assert_eq!(done, Err(StoreError::NotFound)),
                    Some(_) if is_fenced => assert_eq!(done, Err(StoreError::Fenced)),
                    Some(session) if is_stale => assert_eq!(done, Err(StoreError::HeadMoved { found: session.head })),
                    Some(session) => {
                        assert_eq!(done, Ok(head.seq));
                        session.rows.extend(rows);
                        session.head = head;
                    }
                }
            }
            Step::Reopen { in_order } => {
                if in_order {
                    store.close().await.unwrap();
                }
                drop(store);
                store = open(dir.path());
            }
        }
    }
    for (number, session) in &model {
        assert_eq!(read_all(&store, key(*number)).await, session.rows);
        verify(&store, key(*number)).await;
        let row = store.session(key(*number)).await.unwrap();
        assert_eq!((row.fence, row.head, row.epoch), (session.fence, session.head, 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_equal_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps));
    }
}

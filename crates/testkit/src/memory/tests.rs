use super::*;

use std::path::Path;

use are_core::journal::Head;
use are_store::sqlite::{Options, SqliteStore};

use crate::run::Chance;

fn key(number: u64) -> SessionKey {
    SessionKey::new(number, &[3; 32])
}

fn account(number: u64) -> AccountId {
    format!("account-{number}").parse().unwrap()
}

fn session_row(key: SessionKey, owner: AccountId, at_ms: u64) -> SessionRow {
    SessionRow {
        key,
        last_account_id: owner.clone(),
        owner,
        agent: "agent".parse().unwrap(),
        workspace: "/work".to_owned(),
        fence: 77,
        epoch: 77,
        head: Head { seq: 77, hash: Digest::ZERO },
        last_thread_id: None,
        title: String::new(),
        turns: 0,
        created_at_ms: at_ms,
        updated_at_ms: at_ms,
        is_deleted: false,
    }
}

fn rows(chance: &mut Chance, head: Head) -> (Vec<Row>, Head) {
    let mut end = head;
    let rows = (0..chance.below(5))
        .map(|_| {
            let bytes = vec![chance.below(256) as u8; chance.below(50) as usize];
            let is_record = chance.below(2) == 0;
            let class = if is_record { Class::Record } else { Class::Frame };
            let payload = (is_record && chance.below(2) == 0).then(|| ([5; 32], vec![1; chance.below(90) as usize]));
            let hash = if is_record { Digest::of_record(&bytes) } else { end.hash };
            end = Head { seq: end.seq + 1, hash };
            Row { seq: end.seq, class, bytes, payload }
        })
        .collect();
    (rows, end)
}

fn change(chance: &mut Chance, step: u64) -> Change {
    let name = format!("v{}", chance.below(3)).parse().unwrap();
    let token = format!("t{}", chance.below(3));
    match chance.below(11) {
        0 => Change::StartTurn {
            turn: step as u32,
            account: account(chance.below(3)),
            thread: "thread".parse().unwrap(),
            title: ["", "title", "another"][chance.below(3) as usize].to_owned(),
            at_ms: step * 10,
        },
        1 => Change::Request {
            account: account(chance.below(2)),
            request_id: format!("r{}", chance.below(12)).parse().unwrap(),
            turn: step as u32,
            content: Digest::of(&[&step.to_be_bytes()]),
        },
        2 => Change::OpenWork(chance.below(2) == 0),
        3 | 4 => Change::Variable {
            scope: if chance.below(2) == 0 { Scope::Session } else { Scope::Account },
            account: account(chance.below(2)),
            name,
            value: (chance.below(4) != 0).then(|| (step.to_string(), "{}".to_owned())),
        },
        5 => Change::PutToken(TokenRow {
            id: token,
            hash: Digest::of(&[b"t"]),
            account: account(0),
            scopes: "read".to_owned(),
            label: step.to_string(),
            created_at_ms: step,
            is_revoked: false,
            parent: None,
            speaks_for: ["", "group:ops"][chance.below(2) as usize].to_owned(),
            expires_at_ms: (chance.below(2) == 0).then_some(step),
        }),
        6 => Change::RevokeToken(token),
        7 => Change::PutObject(Digest::of(&[&[step as u8 % 4]]), vec![step as u8 % 4]),
        8 => Change::PutAccount(AccountRow {
            name: account(chance.below(2)),
            groups: vec!["ops".parse().unwrap(), "staff".parse().unwrap()][..chance.below(3) as usize].to_vec(),
            is_disabled: chance.below(2) == 0,
            is_deleted: chance.below(4) == 0,
            is_erased: false,
            revision: step,
            created_at_ms: step,
        }),
        9 => Change::ErasePayloads(vec![chance.below(6), chance.below(6) + 1]),
        _ if chance.below(8) == 0 => Change::Erase,
        _ => Change::OpenWork(true),
    }
}

/// An append that mostly fits what the store says, and sometimes does not.
async fn append(chance: &mut Chance, store: &dyn Store, step: u64) -> Append {
    let session = key(chance.below(5));
    let found = store.session(session).await.ok();
    let (fence, expect) = found.as_ref().map_or((1, Head::EMPTY), |row| (row.fence, row.head));
    let expect = if chance.below(20) == 0 { Head { seq: expect.seq + 1, ..expect } } else { expect };
    let fence = if chance.below(20) == 0 { fence + 1 } else { fence };
    let (rows, head) = rows(chance, expect);
    let mut changes: Vec<Change> = (0..chance.below(4)).map(|_| change(chance, step)).collect();
    if found.is_none() && chance.below(4) != 0 || chance.below(30) == 0 {
        let row = session_row(session, account(chance.below(2)), step * 10);
        changes.insert(0, Change::CreateSession(Box::new(row)));
    }
    let durability = if chance.below(2) == 0 { Durability::Written } else { Durability::Durable };
    Append { session, fence, expect, rows, head, durability, changes }
}

async fn compare(memory: &dyn Store, sqlite: &dyn Store) {
    for number in 0..5 {
        let session = key(number);
        assert_eq!(memory.session(session).await, sqlite.session(session).await);
        for (after, limit, bytes_max) in [(0, 1_000, usize::MAX), (2, 3, 100), (1, 50, 120), (u64::MAX / 2, 9, 9)] {
            assert_eq!(
                memory.read(session, after, limit, bytes_max).await,
                sqlite.read(session, after, limit, bytes_max).await
            );
        }
        for owner in 0..2 {
            let variables = memory.variables(Some(session), account(owner)).await;
            assert_eq!(variables, sqlite.variables(Some(session), account(owner)).await);
        }
    }
    for owner in [None, Some(account(0)), Some(account(1))] {
        for (limit, before_ms) in [(100, None), (2, None), (2, Some(300))] {
            let filter = SessionFilter { owner: owner.clone(), limit, before_ms };
            assert_eq!(memory.sessions(filter.clone()).await, sqlite.sessions(filter).await);
        }
    }
    for number in 0..12 {
        let id: RequestId = format!("r{number}").parse().unwrap();
        assert_eq!(memory.request(account(0), id.clone()).await, sqlite.request(account(0), id).await);
    }
    for byte in 0..5_u8 {
        let digest = Digest::of(&[&[byte]]);
        assert_eq!(memory.object(digest).await, sqlite.object(digest).await);
    }
    assert_eq!(memory.open_work().await, sqlite.open_work().await);
    assert_eq!(memory.tokens().await, sqlite.tokens().await);
    assert_eq!(memory.accounts().await, sqlite.accounts().await);
}

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir, &Options::default()).unwrap()
}

#[tokio::test]
async fn the_store_in_memory_does_exactly_what_the_real_one_does() {
    for seed in 0..8 {
        println!("seed {seed}");
        let mut chance = Chance::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut sqlite = open(dir.path());
        let memory = MemoryStore::new();
        for step in 1..=120 {
            match chance.below(20) {
                0 => {
                    let session = key(chance.below(6));
                    assert_eq!(memory.claim(session).await, sqlite.claim(session).await, "step {step}");
                }
                1 => {
                    drop(sqlite);
                    sqlite = open(dir.path());
                    memory.crash(false);
                }
                _ => {
                    let append = append(&mut chance, &memory, step).await;
                    assert_eq!(memory.append(append.clone()).await, sqlite.append(append).await, "step {step}");
                }
            }
        }
        compare(&memory, &sqlite).await;
    }
}

#[tokio::test]
async fn a_power_cut_loses_what_was_written_since_the_last_durable_append() {
    let store = MemoryStore::new();
    let session = key(1);
    let mut head = Head::EMPTY;
    let mut add = async |durability, changes| {
        let bytes = b"record".to_vec();
        let end = Head { seq: head.seq + 1, hash: Digest::of_record(&bytes) };
        let rows = vec![Row { seq: end.seq, class: Class::Record, bytes, payload: None }];
        store.append(Append { session, fence: 1, expect: head, rows, head: end, durability, changes }).await.unwrap();
        head = end;
    };
    let row = session_row(session, account(1), 1);
    add(Durability::Written, vec![Change::CreateSession(Box::new(row))]).await;
    add(Durability::Durable, Vec::new()).await;
    add(Durability::Written, vec![Change::OpenWork(true)]).await;
    add(Durability::Written, Vec::new()).await;
    assert_eq!(store.unsynced(session), 2);

    store.crash(false);
    let row = store.session(session).await.unwrap();
    assert_eq!((row.head.seq, row.epoch), (4, 1));
    assert_eq!(store.claim(session).await.unwrap().fence, 2);

    store.crash(true);
    let row = store.session(session).await.unwrap();
    assert_eq!((row.head.seq, row.epoch, row.fence), (2, 2, 1));
    assert_eq!(store.open_work().await.unwrap(), []);
    assert_eq!(store.read(session, 0, 9, 999).await.unwrap().len(), 2);
    assert_eq!(store.unsynced(session), 0);
}

//! Journals as an engine would write them, and how to check them.

use std::path::Path;

use are_core::body::Body;
use are_core::ids::{AccountId, Fence, Seq, SessionKey};
use are_core::journal::{Draft, Entry, Frame, Head, Reader, Row, Stamp};
use are_core::label::Integrity;
use are_core::payload::Payload;
use are_core::store::{Append, Change, Durability, SessionRow, Store};
use are_store::sqlite::{Options, SqliteStore};

pub(crate) use are_core::store::Durability::{Durable, Written};

/// A time in 2026; nothing here reads a clock.
pub(crate) const NOW_MS: u64 = 1_780_000_000_000;

pub(crate) fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir, &Options::default()).unwrap()
}

pub(crate) fn key(number: u64) -> SessionKey {
    SessionKey::new(NOW_MS + number, &[7; 32])
}

pub(crate) fn account(name: &str) -> AccountId {
    name.parse().unwrap()
}

pub(crate) fn session_row(session: SessionKey, owner: &str, at_ms: u64) -> SessionRow {
    SessionRow {
        key: session,
        owner: account(owner),
        agent: "default".parse().unwrap(),
        workspace: "/home/user/work".to_owned(),
        fence: 0,
        epoch: 0,
        head: Head::EMPTY,
        last_account_id: account(owner),
        last_thread_id: None,
        title: String::new(),
        turns: 0,
        created_at_ms: at_ms,
        updated_at_ms: at_ms,
        is_deleted: false,
    }
}

/// One entry to come: a record with a payload, or a frame.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Record(String),
    Frame(String),
}

pub(crate) fn record(text: impl Into<String>) -> Piece {
    Piece::Record(text.into())
}

pub(crate) fn frame(text: impl Into<String>) -> Piece {
    Piece::Frame(text.into())
}

/// What an actor knows of its session.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) session: SessionKey,
    pub(crate) fence: Fence,
    pub(crate) head: Head,
}

impl Actor {
    /// A new session with one record.
    pub(crate) async fn create(store: &dyn Store, number: u64) -> Self {
        let (actor, append) = Self::creation(number);
        assert_eq!(store.append(append).await.unwrap().fence(), 1);
        actor
    }

    pub(crate) fn creation(number: u64) -> (Self, Append) {
        let session = key(number);
        let mut actor = Self { session, fence: 1, head: Head::EMPTY };
        let mut append = actor.next(vec![record("created")], Durable);
        append.changes.push(Change::CreateSession(Box::new(session_row(session, "alice", NOW_MS + number))));
        actor.head = append.head;
        (actor, append)
    }

    pub(crate) async fn claim(store: &dyn Store, session: SessionKey) -> Self {
        let row = store.claim(session).await.unwrap();
        Self { session, fence: row.fence, head: row.head }
    }

    /// What would come next; the actor itself does not move.
    pub(crate) fn next(&self, pieces: Vec<Piece>, durability: Durability) -> Append {
        let stamp = Stamp {
            session: self.session,
            account: account("alice"),
            agent_id: "default".to_owned(),
            via: None,
            at_ms: NOW_MS,
        };
        let mut head = self.head;
        let mut rows = Vec::new();
        for piece in pieces {
            let (row, _, next) = match piece {
                Piece::Record(note) => {
                    let payload = Some(Payload::Note { note });
                    Draft { turn: Some(1), body: Body::Steered { integrity: Integrity::User }, payload }
                        .seal(&stamp, head, [9; 32])
                        .unwrap()
                }
                Piece::Frame(text) => Frame::Token { text }.seal(self.session, head).unwrap(),
            };
            rows.push(row);
            head = next;
        }
        Append {
            session: self.session,
            fence: self.fence,
            expect: self.head,
            rows,
            head,
            durability,
            changes: Vec::new(),
        }
    }

    /// Appends and moves on.
    pub(crate) async fn append(&mut self, store: &dyn Store, pieces: Vec<Piece>, durability: Durability) -> Seq {
        let append = self.next(pieces, durability);
        let head = append.head;
        let receipt = store.append(append).await.unwrap();
        assert_eq!((receipt.session(), receipt.fence(), receipt.last()), (self.session, self.fence, head.seq));
        assert_eq!(receipt.durability(), durability);
        self.head = head;
        head.seq
    }

    /// Appends what only changes projections.
    pub(crate) async fn change(&mut self, store: &dyn Store, changes: Vec<Change>) {
        let append = Append { changes, ..self.next(vec![record("change")], Durable) };
        let head = append.head;
        store.append(append).await.unwrap();
        self.head = head;
    }
}

/// The whole journal, in small pages.
pub(crate) async fn read_all(store: &dyn Store, session: SessionKey) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let page = store.read(session, rows.last().map_or(0, |row| row.seq), 100, 64 << 10).await.unwrap();
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}

/// Reads the whole journal and checks that it has no gap, that its chain holds and that it ends at the head.
pub(crate) async fn verify(store: &dyn Store, session: SessionKey) -> Vec<Entry> {
    let mut reader = Reader::new(session, Head::EMPTY);
    let entries = read_all(store, session).await.iter().map(|row| reader.next(row).unwrap()).collect();
    assert_eq!(reader.head(), store.session(session).await.unwrap().head);
    entries
}

/// Copies a data directory as it stands, in the order in which `cp` would.
pub(crate) fn copy(from: &Path, to: &Path) {
    let mut names: Vec<_> = std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

//! What the changes of an append do to what can be listed.

use are_core::body::Scope;
use are_core::digest::Digest;
use are_core::ids::AccountId;
use are_core::spent::Spent;
use are_core::store::{
    AccountRow, Append, Change, Memories, MemoryRow, SealedRow, SessionFilter, SessionRow, SpentFilter, SpentRow,
    Store, StoreError, TokenRow, VariableRow,
};
use are_store::tree::Tree as _;

use crate::support::*;

fn turn(turn: u32, title: &str, at_ms: u64) -> Change {
    Change::StartTurn {
        turn,
        account: account("bob"),
        thread: "terminal-1".parse().unwrap(),
        title: title.to_owned(),
        at_ms,
    }
}

fn request(id: &str, turn: u32, content: &[u8]) -> Change {
    let request_id = id.parse().unwrap();
    Change::Request { account: account("alice"), request_id, turn, content: Digest::of(&[content]) }
}

#[tokio::test]
async fn a_turn_shows_in_the_session_and_the_first_title_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    actor.change(&store, vec![turn(1, "Read notes.txt", NOW_MS + 50), Change::OpenWork(true)]).await;
    assert_eq!(store.open_work().await.unwrap(), [actor.session]);
    actor.change(&store, vec![turn(2, "another", NOW_MS + 60), Change::OpenWork(false), Change::OpenWork(false)]).await;
    assert_eq!(store.open_work().await.unwrap(), []);

    let expected = SessionRow {
        fence: 1,
        epoch: 1,
        head: actor.head,
        last_account_id: account("bob"),
        last_thread_id: Some("terminal-1".parse().unwrap()),
        title: "Read notes.txt".to_owned(),
        turns: 2,
        updated_at_ms: NOW_MS + 60,
        ..session_row(actor.session, "alice", NOW_MS + 1)
    };
    assert_eq!(store.session(actor.session).await.unwrap(), expected);
    assert_eq!(store.claim(actor.session).await.unwrap(), SessionRow { fence: 2, ..expected });
}

#[tokio::test]
async fn a_request_id_is_taken_once_per_account_and_refuses_the_whole_append() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut first = Actor::create(&store, 1).await;
    let second = Actor::create(&store, 2).await;
    first.change(&store, vec![request("r1", 1, b"hello")]).await;
    let append = Append {
        changes: vec![turn(1, "no", NOW_MS), request("r1", 7, b"other")],
        ..second.next(vec![record("x"), frame("y")], Durable)
    };
    let taken = StoreError::RequestTaken { session: first.session, turn: 1, content: Digest::of(&[b"hello"]) };
    assert_eq!(store.append(append).await, Err(taken));
    assert_eq!(verify(&store, second.session).await.len(), 1);
    assert_eq!(store.session(second.session).await.unwrap().turns, 0);

    let found = store.request(account("alice"), "r1".parse().unwrap()).await.unwrap();
    assert_eq!(found, Some((first.session, 1, Digest::of(&[b"hello"]))));
    assert_eq!(store.request(account("bob"), "r1".parse().unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn sessions_are_listed_newest_first_in_pages_per_owner() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 1..=7 {
        let (_, mut append) = Actor::creation(number);
        let owner = if number % 2 == 0 { "bob" } else { "alice" };
        append.changes = vec![Change::CreateSession(Box::new(session_row(key(number), owner, NOW_MS + number)))];
        store.append(append).await.unwrap();
    }
    let list = async |owner: Option<AccountId>, limit, before_ms| -> Vec<u64> {
        let filter = SessionFilter { owner, limit, before_ms };
        let page = store.sessions(filter).await.unwrap();
        page.iter().map(|row| row.updated_at_ms - NOW_MS).collect()
    };
    assert_eq!(list(None, 3, None).await, [7, 6, 5]);
    assert_eq!(list(None, 3, Some(NOW_MS + 5)).await, [4, 3, 2]);
    assert_eq!(list(Some(account("bob")), 9, None).await, [6, 4, 2]);
    assert_eq!(list(Some(account("bob")), 1, Some(NOW_MS + 4)).await, [2]);
    assert_eq!(list(Some(account("carol")), 9, None).await, [] as [u64; 0]);
    assert_eq!(list(None, 0, None).await, [] as [u64; 0]);

    let mut actor = Actor::claim(&store, key(1)).await;
    actor.change(&store, vec![turn(1, "x", NOW_MS + 99)]).await;
    assert_eq!(list(Some(account("alice")), 2, None).await, [99, 7]);
}

#[tokio::test]
async fn variables_belong_to_a_session_or_to_an_account() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut first = Actor::create(&store, 1).await;
    let mut second = Actor::create(&store, 2).await;
    let set = |scope, name: &str, value: Option<&str>| Change::Variable {
        scope,
        account: account("alice"),
        name: name.parse().unwrap(),
        value: value.map(|value| (value.to_owned(), "{}".to_owned())),
    };
    first.change(&store, vec![set(Scope::Session, "b", Some("1")), set(Scope::Session, "a", Some("2"))]).await;
    second.change(&store, vec![set(Scope::Session, "a", Some("3")), set(Scope::Account, "z", Some("4"))]).await;
    second.change(&store, vec![set(Scope::Account, "z", Some("5")), set(Scope::Session, "gone", None)]).await;
    let row = |scope, name: &str, value: &str| VariableRow {
        scope,
        name: name.parse().unwrap(),
        value: value.to_owned(),
        labels: "{}".to_owned(),
    };
    let of_account = row(Scope::Account, "z", "5");
    assert_eq!(
        store.variables(Some(first.session), account("alice")).await.unwrap(),
        [row(Scope::Session, "a", "2"), row(Scope::Session, "b", "1"), of_account.clone()]
    );
    assert_eq!(store.variables(None, account("alice")).await.unwrap(), [of_account]);
    assert_eq!(store.variables(Some(second.session), account("bob")).await.unwrap(), [row(Scope::Session, "a", "3")]);
    second.change(&store, vec![set(Scope::Account, "z", None), set(Scope::Session, "a", None)]).await;
    assert_eq!(store.variables(Some(second.session), account("alice")).await.unwrap(), []);
}

#[tokio::test]
async fn tokens_and_objects_are_kept_and_tokens_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    let token = TokenRow {
        id: "t1".to_owned(),
        hash: Digest::of(&[b"secret"]),
        account: account("alice"),
        scopes: "read,prompt".to_owned(),
        label: "laptop".to_owned(),
        created_at_ms: NOW_MS,
        is_revoked: false,
        parent: Some("ffeeddccbbaa".to_owned()),
        speaks_for: "group:ops".to_owned(),
        expires_at_ms: Some(NOW_MS + 1),
    };
    let digest = Digest::of(&[b"object"]);
    let put = || Change::PutObject(digest, b"object".to_vec());
    actor.change(&store, vec![Change::PutToken(token.clone()), put(), put()]).await;
    actor.change(&store, vec![put()]).await;
    assert_eq!(store.tokens().await.unwrap(), std::slice::from_ref(&token));
    assert_eq!(store.object(digest).await.unwrap(), b"object");
    assert_eq!(store.object(Digest::ZERO).await, Err(StoreError::NotFound));

    actor.change(&store, vec![Change::RevokeToken("t1".to_owned())]).await;
    assert_eq!(store.tokens().await.unwrap(), [TokenRow { is_revoked: true, ..token }]);
    let append =
        Append { changes: vec![Change::RevokeToken("t2".to_owned())], ..actor.next(vec![record("x")], Durable) };
    assert_eq!(store.append(append).await, Err(StoreError::NotFound));
    assert_eq!(store.session(actor.session).await.unwrap().head, actor.head);
}

#[tokio::test]
async fn artifacts_are_their_sessions_and_the_first_of_the_same_bytes_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut one = Actor::create(&store, 1).await;
    let two = Actor::create(&store, 2).await;
    let digest = Digest::of(&[b"bytes"]);
    let put = |kind: &str| Change::PutArtifact(digest, kind.to_owned(), b"bytes".to_vec());
    one.change(&store, vec![put("image/png"), put("text/plain")]).await;
    one.change(&store, vec![put("text/html")]).await;
    assert_eq!(store.artifact(one.session, digest).await.unwrap(), ("image/png".to_owned(), b"bytes".to_vec()));
    assert_eq!(store.artifact(two.session, digest).await, Err(StoreError::NotFound));
    assert_eq!(store.artifact(one.session, Digest::ZERO).await, Err(StoreError::NotFound));
}

#[tokio::test]
async fn the_check_counts_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    actor.append(&store, vec![record("a"), frame("b"), frame("c")], Written).await;
    assert_eq!(store.grow(10).await.unwrap().size, 2);
    let report = store.check().await.unwrap();
    assert_eq!(report.damage, [] as [String; 0]);
    assert_eq!((report.sessions, report.entries, report.payloads, report.leaves), (1, 4, 2, 2));
}

fn memory(id: &str, text: &str) -> MemoryRow {
    MemoryRow {
        order: 0,
        id: id.repeat(16).parse().unwrap(),
        session: None,
        text: text.to_owned(),
        label: "{}".to_owned(),
        created_at_ms: NOW_MS,
    }
}

#[tokio::test]
async fn memories_are_an_accounts_own_in_order_and_leave_nothing_when_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    let put = |owner: &str, id: &str, text: &str| Change::PutMemory { account: account(owner), row: memory(id, text) };
    let first = MemoryRow { session: Some(actor.session), ..memory("a", "one") };
    let changes = vec![Change::PutMemory { account: account("alice"), row: first }, put("bob", "b", "two")];
    actor.change(&store, changes).await;
    actor.change(&store, vec![put("alice", "c", "three"), put("alice", "d", "a text to be forgotten")]).await;

    let listed = async |which| -> Vec<(u64, String)> {
        let rows = store.memories(account("alice"), which, 2).await.unwrap();
        rows.into_iter().map(|row| (row.order, row.text)).collect()
    };
    let rows = store.memories(account("alice"), Memories::After(0), 10).await.unwrap();
    assert_eq!(rows[0], MemoryRow { order: 1, session: Some(actor.session), ..memory("a", "one") });
    assert_eq!(listed(Memories::After(1)).await, [(3, "three".into()), (4, "a text to be forgotten".into())]);
    assert_eq!(listed(Memories::Before(u64::MAX)).await, [(4, "a text to be forgotten".into()), (3, "three".into())]);
    let named = ["c", "a", "b"].map(|id| id.repeat(16).parse().unwrap()).to_vec();
    assert_eq!(listed(Memories::Named(named)).await, [(1, "one".into()), (3, "three".into())], "not another's");

    let forget =
        |owner: &str, id: &str| Change::DeleteMemory { account: account(owner), id: id.repeat(16).parse().unwrap() };
    let append = Append { changes: vec![forget("alice", "b")], ..actor.next(vec![record("x")], Durable) };
    assert_eq!(store.append(append).await, Err(StoreError::NotFound), "another's is none of hers");
    actor.change(&store, vec![forget("alice", "d")]).await;
    assert_eq!(listed(Memories::After(1)).await, [(3, "three".into())]);
    store.close().await.unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(22).any(|part| part == b"a text to be forgotten"), "it is overwritten");
    }
}

#[tokio::test]
async fn an_account_takes_the_place_of_the_one_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    let row = |name: &str, groups: &[&str], revision| AccountRow {
        name: account(name),
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        is_disabled: revision == 2,
        is_deleted: false,
        is_erased: false,
        revision,
        created_at_ms: NOW_MS,
    };
    let put = |row| Change::PutAccount(row);
    actor.change(&store, vec![put(row("bob", &[], 0)), put(row("alice", &["ops", "staff"], 1))]).await;
    assert_eq!(store.accounts().await.unwrap(), [row("alice", &["ops", "staff"], 1), row("bob", &[], 0)]);
    actor.change(&store, vec![put(row("bob", &["ops"], 2))]).await;
    assert_eq!(store.accounts().await.unwrap()[1], row("bob", &["ops"], 2));
}

#[tokio::test]
async fn what_is_sealed_is_listed_keys_first_replaced_by_name_and_dropped_with_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut actor = Actor::create(&store, 1).await;
    let row = |owner: Option<&str>, name: &str, sealed: &[u8]| SealedRow {
        account: owner.map(account),
        name: name.to_owned(),
        key: "k1".to_owned(),
        sealed: sealed.to_vec(),
        bound_to: r#"{"hosts":["a.example"]}"#.to_owned(),
        created_at_ms: NOW_MS,
        updated_at_ms: NOW_MS + 1,
    };
    let put = |row: &SealedRow| Change::PutSealed(row.clone());
    let (key, alices) = (row(None, "k1", b"the-data-key-sealed"), row(Some("alice"), "token", b"the-old-ciphertext"));
    let (bobs, newer) = (row(Some("bob"), "token", b"bobs-ciphertext"), row(Some("alice"), "token", b"newer"));
    actor.change(&store, vec![put(&bobs), put(&key), put(&alices)]).await;
    assert_eq!(store.sealed().await.unwrap(), [key.clone(), alices, bobs.clone()]);
    actor.change(&store, vec![put(&newer), Change::DropSealed(None, "nothing".to_owned())]).await;
    assert_eq!(store.sealed().await.unwrap(), [key, newer.clone(), bobs]);
    let drop = |owner: Option<&str>, name: &str| Change::DropSealed(owner.map(account), name.to_owned());
    actor.change(&store, vec![drop(Some("bob"), "token"), drop(None, "k1")]).await;
    assert_eq!(store.sealed().await.unwrap(), [newer]);
    store.close().await.unwrap();
    let bytes = std::fs::read(dir.path().join("are.db")).unwrap();
    for gone in ["the-old-ciphertext", "the-data-key-sealed", "bobs-ciphertext"] {
        assert!(!bytes.windows(gone.len()).any(|window| window == gone.as_bytes()), "{gone} is overwritten");
    }
}

#[tokio::test]
async fn what_is_used_adds_up_by_account_hour_subject_and_session() {
    const HOUR_MS: u64 = 3_600_000;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (mut one, mut two) = (Actor::create(&store, 1).await, Actor::create(&store, 2).await);
    let used = |name: &str, subject: &str, at_ms: u64, tokens: i64| {
        let spent = Spent { requests: 1, tokens, ..Spent::default() };
        Change::Spend(SpentRow { account: account(name), subject: subject.to_owned(), at_ms, spent })
    };
    let start = NOW_MS / HOUR_MS * HOUR_MS;
    one.change(&store, vec![used("alice", "model:p:m", start + 5, 100), used("alice", "model:p:m", start + 3, -60)])
        .await;
    one.change(&store, vec![used("alice", "effect:send", start + HOUR_MS, 0)]).await;
    two.change(&store, vec![used("alice", "model:p:m", start + HOUR_MS, 7), used("bob", "model:p:m", start, 9)]).await;
    let list = async |filter: SpentFilter| -> Vec<(String, String, u64, i64, i64)> {
        let rows = store.spent(SpentFilter { limit: 10, ..filter }).await.unwrap();
        let told = |row: SpentRow| {
            (row.account.to_string(), row.subject, row.at_ms - start, row.spent.requests, row.spent.tokens)
        };
        rows.into_iter().map(told).collect()
    };
    let row =
        |name: &str, subject: &str, at, requests, tokens| (name.to_owned(), subject.to_owned(), at, requests, tokens);
    let all = || SpentFilter::default();
    assert_eq!(
        list(all()).await,
        [
            row("alice", "effect:send", HOUR_MS, 1, 0),
            row("alice", "model:p:m", HOUR_MS, 3, 47),
            row("bob", "model:p:m", 0, 1, 9)
        ]
    );
    let of_alice = || SpentFilter { account: Some(account("alice")), ..all() };
    assert_eq!(
        list(SpentFilter { is_by_hour: true, ..of_alice() }).await,
        [
            row("alice", "model:p:m", 5, 2, 40),
            row("alice", "effect:send", HOUR_MS, 1, 0),
            row("alice", "model:p:m", HOUR_MS, 1, 7)
        ]
    );
    let of_two = SpentFilter { session: Some(two.session), ..of_alice() };
    assert_eq!(list(of_two).await, [row("alice", "model:p:m", HOUR_MS, 1, 7)]);
    assert_eq!(list(SpentFilter { since_ms: start + HOUR_MS + 9, ..of_alice() }).await.len(), 2);
    assert_eq!(store.spent(SpentFilter { limit: 1, ..all() }).await.unwrap().len(), 1);
}

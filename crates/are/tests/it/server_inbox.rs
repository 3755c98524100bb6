//! `GET /api/events`: what waits for an account, live, over all of its sessions.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::{ADMIN, Fixture, PATIENCE};

/// A reader of the stream; each event comes in a chunk of its own.
pub(crate) struct Stream {
    tcp: TcpStream,
    bytes: String,
}

#[derive(Debug)]
pub(crate) struct Event {
    id: String,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

impl Stream {
    pub(crate) async fn open(are: &Fixture, token: &str, last: Option<&str>) -> Self {
        let mut tcp = TcpStream::connect(are.address).await.unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request =
            format!("GET /api/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n{last}\r\n", are.host());
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self { tcp, bytes: String::new() };
        let head = stream.take_until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        stream
    }

    async fn take_until(&mut self, mark: &str) -> String {
        loop {
            if let Some((taken, rest)) = self.bytes.split_once(mark) {
                let (taken, rest) = (taken.to_owned(), rest.to_owned());
                self.bytes = rest;
                return taken;
            }
            let mut buffer = [0; 4096];
            let read = timeout(PATIENCE, self.tcp.read(&mut buffer)).await.expect("something comes").unwrap();
            assert!(read > 0, "the stream ended: {}", self.bytes);
            self.bytes.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
    }

    pub(crate) async fn next(&mut self) -> Event {
        let chunk = self.take_until("\n\n\r\n").await;
        let field = |name: &str| chunk.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        let data = serde_json::from_str(&field("data: ")).unwrap_or_else(|error| panic!("{error}: {chunk}"));
        Event { id: field("id: "), kind: field("event: "), data }
    }

    async fn kinds<const N: usize>(&mut self) -> [String; N] {
        let mut kinds = [const { String::new() }; N];
        for kind in &mut kinds {
            *kind = self.next().await.kind;
        }
        kinds
    }
}

#[tokio::test]
async fn what_waits_is_told_live_over_all_sessions_and_to_its_account_only() {
    let are = Fixture::start().await;
    let bob = are.token_of("bob", &["read", "prompt"]).await;
    let (mut mine, mut his) = (Stream::open(&are, ADMIN, None).await, Stream::open(&are, &bob, None).await);
    for stream in [&mut mine, &mut his] {
        let first = stream.next().await;
        assert_eq!((first.kind.as_str(), &first.data["approvals"]), ("waiting", &json!([])));
    }
    let mut asked = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = are.v2().await;
        client.send(json!({"type": "prompt", "content": "call send"})).await;
        asked.push(client.until_type("approval_requested").await.pop().unwrap());
        let told = mine.next().await;
        assert_eq!(
            (told.kind.as_str(), &told.data["digest"]),
            ("approval_requested", &asked[asked.len() - 1]["digest"])
        );
        let path = format!("/api/approvals/{}/{}", told.data["session"].as_str().unwrap(), told.data["approval"]);
        clients.push((client, path, told));
    }
    assert_ne!(clients[0].2.data["session"], clients[1].2.data["session"]);
    let (_, path, told) = &clients[0];
    let answer = json!({"digest": told.data["digest"], "decision": "allow_once"});
    assert_eq!(are.api("POST", path, Some(answer)).await.0, 200);
    assert_eq!(mine.kinds().await, ["approval_resolved", "turn_completed"]);
    // His own turn is the next thing that he hears of.
    let mut client = are.open(Some("are.v2"), &bob).await;
    client.send(json!({"type": "prompt", "content": "say x"})).await;
    let session = client.until_type("turn_completed").await[0]["session"].clone();
    let told = his.next().await;
    assert_eq!((told.kind.as_str(), &told.data["session"]), ("turn_completed", &session));
    are.end().await;
}

#[tokio::test]
async fn whoever_connects_again_misses_nothing_that_waits() {
    let are = Fixture::start().await;
    let mut stream = Stream::open(&are, ADMIN, None).await;
    let start = stream.next().await;
    let mut client = are.v2().await;
    client.send(json!({"type": "prompt", "content": "call send"})).await;
    client.until_type("approval_requested").await;
    let asked = stream.next().await;
    drop(stream);
    client.send(json!({"type": "cancel", "turn": 1})).await;
    client.until_type("turn_cancelled").await;
    client.send(json!({"type": "prompt", "content": "call send"})).await;
    client.until_type("approval_requested").await;
    // After the last one that was seen, and nothing twice.
    let mut again = Stream::open(&are, ADMIN, Some(&asked.id)).await;
    assert_eq!(again.kinds().await, ["turn_cancelled", "approval_requested"]);
    let mut from_start = Stream::open(&are, ADMIN, Some(&start.id)).await;
    assert_eq!(from_start.kinds().await, ["approval_requested", "turn_cancelled", "approval_requested"]);
    // Of another life, or of none: first of all what waits now.
    for last in [None, Some("0123456789ab-3"), Some("nonsense")] {
        let first = Stream::open(&are, ADMIN, last).await.next().await;
        assert_eq!((first.kind.as_str(), &first.data["approvals"][0]["approval"]), ("waiting", &json!(2)), "{last:?}");
    }
    let dir = are.end().await;
    let are = Fixture::within(dir, crate::fixture::Plan::default()).await;
    let first = Stream::open(&are, ADMIN, Some(&asked.id)).await.next().await;
    assert_eq!((first.kind.as_str(), &first.data["approvals"][0]["turn"]), ("waiting", &json!(2)));
    are.end().await;
}

#[tokio::test]
async fn a_revoked_token_ends_its_stream() {
    let are = Fixture::start().await;
    let (id, token) = are.token(&["read"]).await;
    let mut stream = Stream::open(&are, &token, None).await;
    stream.next().await;
    assert_eq!(are.api("DELETE", &format!("/api/tokens/{id}"), None).await.0, 204);
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.tcp.read_to_end(&mut rest)).await.expect("it ends").unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("event:"));
    are.end().await;
}

//! A client that loses its server again and again, and what it has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::campaign_stage::{Life, PATIENCE};

/// What is said beside the journal.
const DIRECT: [&str; 6] = ["attached", "reset", "ack", "pong", "error", "progress"];

/// Types of the events that end a turn.
pub(crate) const ENDS: [&str; 3] = ["turn_completed", "turn_failed", "turn_cancelled"];

/// An `are.v2` socket that may break at any time.
pub(crate) struct Line {
    stream: WebSocketStream<TcpStream>,
    /// How long a message may be away.
    pub(crate) patience: Duration,
}

impl Line {
    /// `None` when nobody answers.
    pub(crate) async fn open(life: &Life) -> Option<Self> {
        let mut request = format!("ws://{}/ws", life.authority).into_client_request().expect("an address");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "are.v2".parse().expect("a header"));
        headers.insert("authorization", format!("Bearer {}", life.token).parse().expect("a header"));
        let stream = TcpStream::connect(&life.authority).await.ok()?;
        let opened = timeout(PATIENCE, client_async(request, stream)).await.expect("an answer or an end");
        Some(Self { stream: opened.ok()?.0, patience: PATIENCE })
    }

    /// Whether it is lost shows when reading.
    pub(crate) async fn send(&mut self, request: &Value) {
        drop(self.stream.send(Message::text(request.to_string())).await);
    }

    /// The next message; `None` when the connection is lost or closed.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            match timeout(self.patience, self.stream.next()).await.expect("a message comes in time") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Reads until a message of one of these types; `None` when the connection is lost before.
    pub(crate) async fn until(&mut self, kinds: &[&str]) -> Option<Value> {
        loop {
            let message = self.next().await?;
            if message["type"].as_str().is_some_and(|kind| kinds.contains(&kind)) {
                return Some(message);
            }
        }
    }

    /// The turn's end, every call allowed on the way; `None` when the connection is lost.
    pub(crate) async fn allow_to_the_end(&mut self) -> Option<Value> {
        let asking: Vec<_> = ENDS.iter().copied().chain(["approval_requested"]).collect();
        loop {
            let message = self.until(&asking).await?;
            if message["type"] != "approval_requested" {
                return Some(message);
            }
            let (approval, digest) = (&message["approval"], &message["digest"]);
            let answer = json!({"type": "approve", "approval": approval, "digest": digest, "decision": "allow_once"});
            self.send(&answer).await;
        }
    }
}

/// A session as one client has seen it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Transcript {
    pub(crate) seq: u64,
    /// The text of each turn.
    pub(crate) text: BTreeMap<u64, String>,
    pub(crate) records: Vec<Value>,
    turn: u64,
}

impl Transcript {
    /// Of a client that has seen nothing before this entry of this turn.
    pub(crate) fn following(first: u64, turn: u64) -> Self {
        Self { seq: first - 1, turn, ..Self::default() }
    }

    /// Takes a message in; what is no entry of the journal is left aside.
    pub(crate) fn take(&mut self, message: &Value) {
        if let Some(parts) = message.as_array() {
            self.follow_on(parts[0].as_u64(), parts[parts.len() - 2].as_u64());
            self.text.entry(self.turn).or_default().push_str(parts.last().and_then(Value::as_str).expect("text"));
            return;
        }
        let kind = message["type"].as_str().expect("a type");
        if DIRECT.contains(&kind) {
            return;
        }
        self.follow_on(message["seq"].as_u64(), message["seq"].as_u64());
        match kind {
            "turn_started" => self.turn = message["turn"].as_u64().expect("a turn"),
            "model_restarted" => {
                let keep = usize::try_from(message["keep_bytes"].as_u64().expect("bytes")).expect("small");
                let text = self.text.entry(self.turn).or_default();
                assert!(text.is_char_boundary(keep), "{keep} is not within {text:?}");
                text.truncate(keep);
            }
            _ => {}
        }
        self.records.push(message.clone());
    }

    fn follow_on(&mut self, first: Option<u64>, last: Option<u64>) {
        assert_eq!(first, Some(self.seq + 1), "an entry is missing or was sent twice");
        self.seq = last.expect("a number");
    }

    pub(crate) fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.records.iter().filter(move |record| record["type"] == kind)
    }

    /// How the turn ended, if it did.
    pub(crate) fn end_of(&self, turn: u64) -> Option<&Value> {
        let is_end = |record: &&Value| ENDS.contains(&record["type"].as_str().unwrap_or_default());
        self.records.iter().filter(is_end).find(|record| record["turn"] == turn)
    }
}

/// A client with jobs for one session, which allows whatever it is asked. It asks again for what was not acknowledged, under the same
/// request id, and goes on reading after the last entry that it saw.
#[derive(Default)]
pub(crate) struct Follower {
    pub(crate) session: Option<String>,
    epoch: Option<u64>,
    pub(crate) seen: Transcript,
    /// Turns by the job whose prompt was acknowledged.
    pub(crate) acked: BTreeMap<u64, u64>,
    /// The job that is being done.
    pub(crate) job: u64,
    /// Times that the server said `reset`.
    pub(crate) resets: u32,
    /// What the server refused.
    pub(crate) errors: Vec<Value>,
}

/// The request id of a job.
pub(crate) fn request_id(job: u64) -> String {
    format!("request-{job}")
}

impl Follower {
    /// With a first job of its own: the same request id would be the same turn.
    pub(crate) fn of(job: u64) -> Self {
        Self { job, ..Self::default() }
    }

    /// Does the current job as far as the server lives: true when its turn ended.
    pub(crate) async fn follow(&mut self, life: &Life) -> bool {
        self.try_follow(life).await.is_some()
    }

    /// Does the next job as far as the server lives.
    pub(crate) async fn next_job(&mut self, life: &Life) -> bool {
        self.job += 1;
        self.follow(life).await
    }

    async fn try_follow(&mut self, life: &Life) -> Option<()> {
        let mut line = Line::open(life).await?;
        if let Some(session) = &self.session {
            let mut attach = json!({"type": "attach", "session": session, "after": self.seen.seq});
            if let Some(epoch) = self.epoch {
                attach["epoch"] = json!(epoch);
            }
            line.send(&attach).await;
        }
        if !self.acked.contains_key(&self.job) {
            let content = format!("job {}", self.job);
            line.send(&json!({"type": "prompt", "request_id": request_id(self.job), "content": content})).await;
        }
        let mut end = if self.session.is_some() { u64::MAX } else { 0 };
        let mut answered = BTreeSet::new();
        while !self.is_done() {
            // What it has not caught up with may hold an answer that it gave in an earlier life.
            if let Some(asked) = self.waiting().filter(|asked| self.seen.seq >= end && answered.insert(asked.0)) {
                let (approval, digest) = asked;
                line.send(
                    &json!({"type": "approve", "approval": approval, "digest": digest, "decision": "allow_once"}),
                )
                .await;
            }
            let message = line.next().await?;
            match message["type"].as_str() {
                Some("attached") => {
                    self.epoch = message["epoch"].as_u64();
                    end = message["seq"].as_u64().expect("a number");
                }
                Some("reset") => {
                    // Its entries may be gone; it reads everything anew.
                    self.epoch = message["epoch"].as_u64();
                    end = message["seq"].as_u64().expect("a number");
                    self.seen = Transcript::default();
                    self.resets += 1;
                }
                Some("ack") if message.get("request_id").is_some() => {
                    self.session = message["session"].as_str().map(str::to_owned);
                    self.acked.insert(self.job, message["turn"].as_u64().expect("a turn"));
                }
                Some("error") => {
                    self.errors.push(message);
                    return None;
                }
                _ => {}
            }
            self.seen.take(&message);
        }
        Some(())
    }

    fn is_done(&self) -> bool {
        self.acked.get(&self.job).is_some_and(|turn| self.seen.end_of(*turn).is_some())
    }

    /// An approval that nobody has answered, with its digest.
    fn waiting(&self) -> Option<(u64, Value)> {
        let asked = self.seen.of_type("approval_requested").last()?;
        let is_answered = self.seen.of_type("approval_resolved").any(|one| one["approval"] == asked["approval"]);
        (!is_answered).then(|| (asked["approval"].as_u64().expect("a number"), asked["digest"].clone()))
    }

    /// What a client sees that was never there before.
    pub(crate) async fn fresh(&self, life: &Life) -> Transcript {
        let mut line = Line::open(life).await.expect("a server");
        line.send(&json!({"type": "attach", "session": self.session, "after": 0})).await;
        let attached = line.next().await.expect("an answer");
        assert_eq!(attached["type"], "attached", "{attached}");
        let mut seen = Transcript::default();
        while seen.seq < attached["seq"].as_u64().expect("a number") {
            seen.take(&line.next().await.expect("the whole journal"));
        }
        seen
    }
}

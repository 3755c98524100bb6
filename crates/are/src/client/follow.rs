//! Follows one session across broken connections.
//!
//! What was seen is never shown again: attaching names the last entry. When
//! the journal's epoch changed (the power was lost), the server says so and the
//! session is told from its beginning.

use std::collections::VecDeque;
use std::time::Duration;

use are_core::error::{Code, Fault};
use are_core::model::Effort;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::http::{Client, odd};
use super::socket::{Broken, Message, Socket};

/// How long a lost server is waited for: a restart with recovery takes a second or two.
const RECONNECT_TIME: Duration = Duration::from_secs(30);
/// First pause between attempts, doubled up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// Messages kept while an acknowledgement is awaited; the server sends it first or soon.
const EARLY_MAX: usize = 10_000;
/// How the command line names the place it speaks from.
const THREAD: &str = "cli";

/// Which session, or how a new one begins.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// An existing session.
    pub session: Option<String>,
    /// Agent of a new one.
    pub agent: Option<String>,
    /// Workspace of a new one.
    pub workspace: Option<String>,
    /// Nobody is here who could answer approvals.
    pub is_headless: bool,
    /// How the session calls the place that is spoken from; the command line when absent.
    pub thread: Option<&'static str>,
    /// All turns are of interest, also while one of the client's own runs.
    pub follows_all: bool,
}

/// What a prompt wishes for; what a model does not take is changed or dropped, and the event `strategy` says so.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wishes {
    /// `provider:model`.
    pub model: Option<String>,
    /// How much the model should think.
    pub effort: Option<Effort>,
    /// From 0 to 2.
    pub temperature: Option<f64>,
}

impl Wishes {
    fn put_into(&self, request: &mut Value) {
        if let Some(model) = &self.model {
            request["model"] = json!(model);
        }
        if let Some(effort) = self.effort {
            request["effort"] = json!(effort.word());
        }
        if let Some(temperature) = self.temperature {
            request["temperature"] = json!(temperature);
        }
    }
}

/// What happens in a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// Text of the answer.
    Token {
        /// Turn, where it is known.
        turn: Option<u64>,
        /// First entry.
        first: u64,
        /// Last entry.
        last: u64,
        /// The words.
        text: String,
    },
    /// Another event.
    Event(Value),
    /// A life sign or an error outside the journal.
    Notice(Value),
    /// The connection is lost; it is being mended.
    Lost,
    /// The journal is another than before: everything shown so far may be superseded.
    Reset,
}

impl Item {
    fn turn(&self) -> Option<u64> {
        match self {
            Self::Token { turn, .. } => *turn,
            Self::Event(event) => event["turn"].as_u64(),
            Self::Notice(_) | Self::Lost | Self::Reset => None,
        }
    }

    const fn is_of_a_turn(&self) -> bool {
        matches!(self, Self::Token { .. } | Self::Event(_))
    }
}

/// An attached session.
pub struct Follower {
    client: Client,
    socket: Option<Socket>,
    place: Place,
    session: Option<String>,
    epoch: Option<u64>,
    seen: Option<u64>,
    /// Turn that the journal is in, for tokens, which do not say theirs.
    current: Option<u64>,
    /// The only turn of interest; all when absent.
    mine: Option<u64>,
    /// A prompt that is not acknowledged yet.
    pending: Option<Value>,
    /// Bytes of the largest message that the server takes, as it says.
    bytes_max: Option<u64>,
    ready: VecDeque<Item>,
    lost_since: Option<Instant>,
    pause: Duration,
}

impl Follower {
    /// Attaches to a session, or makes a new one. `after` names the last entry that is known; the end when absent.
    ///
    /// # Errors
    /// The server's refusal, or ARE-0105.
    pub async fn open(client: Client, place: Place, after: Option<u64>) -> Result<Self, Fault> {
        let session = place.session.clone();
        let mut follower = Self {
            client,
            socket: None,
            place,
            session,
            epoch: None,
            seen: after,
            current: None,
            mine: None,
            pending: None,
            bytes_max: None,
            ready: VecDeque::new(),
            lost_since: None,
            pause: PAUSE_FIRST,
        };
        follower.try_attach().await.map_err(Broken::fault)?;
        Ok(follower)
    }

    /// The session's key.
    #[must_use]
    pub fn session(&self) -> &str {
        self.session.as_deref().unwrap_or_default()
    }

    /// Sends a prompt and returns its turn once that is durable; from then on only that turn's items come, unless all
    /// are of interest.
    ///
    /// # Errors
    /// The server's refusal, or ARE-0105.
    pub async fn prompt(
        &mut self,
        content: Value,
        (is_trusted, allow_flagged): (bool, bool),
        wishes: &Wishes,
    ) -> Result<u64, Fault> {
        let mut request = json!({
            "type": "prompt",
            "id": "prompt",
            "request_id": uuid::Uuid::now_v7().to_string(),
            "content": content,
        });
        if !is_trusted {
            request["integrity"] = json!("untrusted");
        }
        if allow_flagged {
            request["allow_flagged"] = json!(true);
        }
        wishes.put_into(&mut request);
        if !self.place.follows_all {
            self.mine = None;
            self.ready.clear();
        }
        let acknowledged = self.send_prompt(request).await;
        // One that was refused, or given up, must not become a turn when a connection is mended later.
        self.pending = None;
        let turn = acknowledged?;
        if !self.place.follows_all {
            self.mine = Some(turn);
            self.ready.retain(|item| item.turn() == Some(turn) || !item.is_of_a_turn());
        }
        Ok(turn)
    }

    /// Sends a prompt, again over each connection that is mended meanwhile, until it is acknowledged or refused.
    async fn send_prompt(&mut self, request: Value) -> Result<u64, Fault> {
        // The server would hang up on it, each time that it is sent.
        let bytes = request.to_string().len() as u64;
        if let Some(bytes_max) = self.bytes_max.filter(|bytes_max| bytes > *bytes_max) {
            let what = format!("the prompt takes {bytes} bytes, and the server takes {bytes_max}");
            return Err(Fault::new(Code::PROMPT_TOO_LARGE, what, "hand over less, or smaller images"));
        }
        self.pending = Some(request.clone());
        if let Some(socket) = &mut self.socket
            && let Err(broken) = socket.send(&request).await
        {
            self.lose(broken)?;
        }
        loop {
            let message = self.message().await?;
            match &message {
                Message::Event(event) if event["type"] == "ack" && event["id"] == "prompt" => {
                    return event["turn"].as_u64().ok_or_else(|| odd("an acknowledgement names no turn"));
                }
                Message::Event(event) if event["type"] == "error" && event["id"] == "prompt" => {
                    return Err(fault_of(event));
                }
                _ => self.take(message),
            }
            if self.ready.len() > EARLY_MAX {
                return Err(odd("it does not acknowledge the prompt"));
            }
        }
    }

    /// The next item. Cancel-safe: what was received is kept, a connection being mended is begun again.
    ///
    /// # Errors
    /// The server's refusal, or ARE-0105 when it stays away.
    pub async fn next(&mut self) -> Result<Item, Fault> {
        loop {
            while let Some(item) = self.ready.pop_front() {
                if self.mine.is_none() || !item.is_of_a_turn() || item.turn() == self.mine {
                    return Ok(item);
                }
            }
            let message = self.message().await?;
            self.take(message);
        }
    }

    /// Stops a turn.
    ///
    /// # Errors
    /// The server's refusal; a lost connection is mended by the next [`next`](Self::next).
    pub async fn cancel(&mut self, turn: u64) -> Result<(), Fault> {
        self.request(&json!({"type": "cancel", "id": "cancel", "turn": turn})).await
    }

    /// Answers an approval.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub async fn approve(&mut self, approval: u64, digest: &str, decision: &str) -> Result<(), Fault> {
        let id = format!("approve-{approval}");
        self.request(
            &json!({"type": "approve", "id": id, "approval": approval, "digest": digest, "decision": decision}),
        )
        .await
    }

    async fn request(&mut self, request: &Value) -> Result<(), Fault> {
        if self.socket.is_none() {
            self.attach().await?;
        }
        match &mut self.socket {
            Some(socket) => match socket.send(request).await {
                Ok(()) => Ok(()),
                Err(broken) => self.lose(broken),
            },
            None => Ok(()),
        }
    }

    /// The next message of a connection that works.
    async fn message(&mut self) -> Result<Message, Fault> {
        loop {
            let Some(socket) = &mut self.socket else {
                self.attach().await?;
                continue;
            };
            match socket.next().await {
                Ok(message) => return Ok(message),
                Err(broken) => self.lose(broken)?,
            }
        }
    }

    fn lose(&mut self, broken: Broken) -> Result<(), Fault> {
        match broken {
            Broken::Refused(fault) => Err(fault),
            Broken::Lost(fault) => {
                tracing::debug!(%fault, "the connection is lost");
                self.socket = None;
                if self.lost_since.is_none() {
                    self.lost_since = Some(Instant::now());
                    self.pause = PAUSE_FIRST;
                    self.ready.push_back(Item::Lost);
                }
                Ok(())
            }
        }
    }

    /// Attaches, again and again until [`RECONNECT_TIME`] is over.
    async fn attach(&mut self) -> Result<(), Fault> {
        loop {
            match self.try_attach().await {
                Ok(()) => return Ok(()),
                Err(Broken::Refused(fault)) => return Err(fault),
                Err(Broken::Lost(fault)) => {
                    let since = *self.lost_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > RECONNECT_TIME {
                        return Err(self.given_up(&fault));
                    }
                    sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(PAUSE_LONGEST);
                }
            }
        }
    }

    fn given_up(&self, fault: &Fault) -> Fault {
        let help = match &self.session {
            Some(session) => format!("start the server; the turn goes on, read it with `are session events {session}`"),
            None => "start the server with `are start` and try again".to_owned(),
        };
        Fault::new(
            Code::SERVER_UNREACHABLE,
            format!("the server was lost and did not come back: {}", fault.message),
            help,
        )
    }

    async fn try_attach(&mut self) -> Result<(), Broken> {
        let mut socket = Socket::open(self.client.door()).await?;
        socket.send(&self.attach_request()).await?;
        loop {
            let Message::Event(event) = socket.next().await? else { continue };
            match event["type"].as_str() {
                Some("attached") => {
                    self.attached(&event);
                    break;
                }
                Some("reset") => {
                    self.epoch = event["epoch"].as_u64();
                    self.seen = Some(0);
                    self.current = None;
                    self.ready.push_back(Item::Reset);
                    break;
                }
                Some("error") => return Err(Broken::Refused(fault_of(&event))),
                _ => {}
            }
        }
        self.lost_since = None;
        // The same request id is the same turn, so sending it again is safe.
        if let Some(request) = &self.pending {
            socket.send(request).await?;
        }
        self.socket = Some(socket);
        Ok(())
    }

    fn attach_request(&self) -> Value {
        let mut request = json!({"type": "attach", "id": "attach", "thread": self.place.thread.unwrap_or(THREAD)});
        if self.place.is_headless {
            request["headless"] = json!(true);
        }
        match &self.session {
            Some(session) => {
                request["session"] = json!(session);
                if let Some(after) = self.seen {
                    request["after"] = json!(after);
                }
                if let Some(epoch) = self.epoch {
                    request["epoch"] = json!(epoch);
                }
            }
            None => {
                request["session"] = json!("new");
                if let Some(agent) = &self.place.agent {
                    request["agent"] = json!(agent);
                }
                if let Some(workspace) = &self.place.workspace {
                    request["workspace"] = json!(workspace);
                }
            }
        }
        request
    }

    fn attached(&mut self, event: &Value) {
        self.session = event["session"].as_str().map(str::to_owned).or(self.session.take());
        self.epoch = event["epoch"].as_u64();
        self.bytes_max = event["limits"]["message_bytes"].as_u64();
        if self.seen.is_none() {
            self.seen = event["seq"].as_u64();
            self.current = event["turn"].as_u64();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Token { first, last, text } => {
                if self.is_new(last) {
                    self.ready.push_back(Item::Token { turn: self.current, first, last, text });
                }
            }
            Message::Event(event) => match (event["type"].as_str(), event["seq"].as_u64()) {
                (Some("ack" | "pong"), _) => {}
                (Some("reset"), _) => self.ready.push_back(Item::Reset),
                (_, Some(seq)) => {
                    if self.is_new(seq) {
                        // A prompt that waits, or a rating, says nothing of the tokens around it.
                        if !["turn_started", "firewall", "feedback"].iter().any(|beside| event["type"] == *beside) {
                            self.current = event["turn"].as_u64().or(self.current);
                        }
                        self.ready.push_back(Item::Event(event));
                    }
                }
                (_, None) => self.ready.push_back(Item::Notice(event)),
            },
        }
    }

    fn is_new(&mut self, seq: u64) -> bool {
        let is_new = self.seen.is_none_or(|seen| seq > seen);
        if is_new {
            self.seen = Some(seq);
        }
        is_new
    }
}

/// The fault in an `error` frame, or in the `error` of an event.
#[must_use]
pub fn fault_of(error: &Value) -> Fault {
    serde_json::from_value(error.clone()).unwrap_or_else(|_| {
        let help = "check that server and client are of one version";
        Fault::new(Code::INTERNAL, "the server sent an error that is not understood", help)
    })
}

/// UTF-8 bytes that a model has said in the latest turn, as far as they are followed.
#[derive(Debug, Default)]
pub struct Said {
    turn: Option<u64>,
    bytes: u64,
}

impl Said {
    /// Counts a piece of an answer.
    pub fn add(&mut self, turn: Option<u64>, text: &str) {
        if self.turn != turn {
            *self = Self { turn, bytes: 0 };
        }
        self.bytes += text.len() as u64;
    }

    /// What a `model_restarted` event leaves of it: true where that is all, so that the answer goes on behind it.
    pub fn restart(&mut self, event: &Value) -> bool {
        let keep = event["keep_bytes"].as_u64().unwrap_or_default();
        keep >= std::mem::replace(&mut self.bytes, keep)
    }

    /// True where nothing was said.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.bytes == 0
    }
}

/// What a `context_trimmed` event says, for people.
#[must_use]
pub fn left_out(event: &Value) -> String {
    let [turns, calls] = ["turns", "calls"].map(|key| event[key].as_u64().unwrap_or(0));
    let turns = (turns > 0).then(|| format!("the {turns} oldest turns"));
    let calls = (calls > 0).then(|| format!("the {calls} oldest calls of this turn"));
    let parts: Vec<String> = turns.into_iter().chain(calls).collect();
    format!("left out of the request: {}", parts.join(" and "))
}

#[cfg(test)]
mod tests;

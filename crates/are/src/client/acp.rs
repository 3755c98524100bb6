//! The Agent Client Protocol over two byte streams: an editor on one side, sessions of a server on the other.
//!
//! Editors start a program and speak ACP over its standard streams. Each session is one of the server's, followed over a
//! socket of its own like any client's, so that rules, approvals and journal are the same. The protocol's order and the
//! cancellation of requests are the SDK's; here is what its messages mean.
//!
//! What an editor offers is not used: its MCP servers, because nobody consented to what they declare, and its files and
//! terminals, because tools are the runtime's own. When it leaves, turns go on at the server.
//!
//! SOURCE: <https://agentclientprotocol.com/protocol/v1/overview>

mod content;
mod lines;
mod question;
mod session;
mod told;

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_client_protocol as acp;
use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::schema::{
    AgentCapabilities, CancelNotification, CloseSessionRequest, CloseSessionResponse, Implementation,
    InitializeRequest, InitializeResponse, ListSessionsRequest, ListSessionsResponse, LoadSessionRequest,
    LoadSessionResponse, McpServer, Meta, NewSessionRequest, NewSessionResponse, PromptCapabilities, PromptRequest,
    PromptResponse, SessionCapabilities, SessionCloseCapabilities, SessionId, SessionInfo, SessionListCapabilities,
};
use agent_client_protocol::v1::{ConnectionTo, Responder};
use agent_client_protocol::{Agent, Channel, on_receive_notification, on_receive_request};
use are_core::error::{Code, Fault};
use are_core::ids::SessionKey;
use are_core::journal::timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};

use self::lines::Room;
use self::session::{Order, Session, Voice};
use self::told::Telling;
use super::door::Door;
use super::follow::{Follower, Place, Wishes};
use super::http::Client;
use super::mcp::Over;
use crate::cli::output::one_line;
use crate::config::Guard;

/// Sessions that one editor may have open.
const SESSIONS_MAX: usize = 64;
/// Orders that wait for a session: a prompt, and what stops it.
const ORDERS_MAX: usize = 16;
/// Sessions listed at once: as many as the server lists.
const PAGE: usize = 200;
/// Different notes that are not repeated.
const NOTES_MAX: usize = 64;
/// Names of servers in a note, and characters of each.
const NAMES_MAX: usize = 16;
const NAME_CHARS_MAX: usize = 64;
/// How sessions call the place that an editor speaks from.
const THREAD: &str = "acp";

/// The editor, as the SDK sees it.
type Editor = ConnectionTo<acp::Client>;

/// How sessions are begun.
#[derive(Debug, Clone, Default)]
pub struct Beginning {
    /// Session that the first new one goes on with.
    pub session: Option<String>,
    /// Agent of new ones; the default one when absent.
    pub agent: Option<String>,
    /// What prompts wish for.
    pub wishes: Wishes,
    /// What the editor's directory may not be to become a workspace; absent where it never does.
    pub guard: Option<Guard>,
}

/// Serves an editor until its input ends or `stop` resolves.
///
/// # Errors
/// ARE-0206 when what comes is not the protocol, ARE-0105 when the streams break.
pub async fn editor(
    client: &Client,
    beginning: Beginning,
    (input, output): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    stop: impl Future<Output = ()>,
) -> Result<Over, Fault> {
    let room = Room::new();
    let (ours, theirs) = Channel::duplex();
    let (frames, sender) = ours.into_parts();
    let serving = serve(Arc::new(Desk::new(client.clone(), beginning, room.clone())), theirs);
    let served = async {
        tokio::try_join!(
            async { serving.await.map_err(|error| Err(broken(&error.message))) },
            // The sender goes with it, and so the connection ends with the input.
            async { Ok(lines::read(input, &room, move |frame| sender.unbounded_send(frame).is_ok()).await) },
            // Whoever read it is gone.
            async { lines::write(frames, output, &room).await.map_err(|_| Ok(Over::Input)) },
        )
    };
    tokio::select! {
        served = Box::pin(served) => match served {
            Ok(((), Ok(()), ())) => Ok(Over::Input),
            Ok(((), Err(fault), ())) => Err(fault),
            Err(over) => over,
        },
        () = stop => Ok(Over::Stopped),
    }
}

/// Answers the protocol's messages until its channel closes.
async fn serve(desk: Arc<Desk>, editor: Channel) -> Result<(), acp::Error> {
    let [greeting, beginning, loading, listing, prompting, closing, cancelling] = std::array::from_fn(|_| desk.clone());
    let serving = Agent
        .v1()
        .name("are")
        .on_receive_request(
            async move |asked: InitializeRequest, responder: Responder<InitializeResponse>, _: Editor| {
                responder.respond(greeting.greet(&asked))
            },
            on_receive_request!(),
        )
        .on_receive_request(
            async move |asked: NewSessionRequest, responder: Responder<NewSessionResponse>, editor: Editor| {
                let desk = beginning.clone();
                editor.clone().spawn(async move { serve_session(desk.begin(asked, editor), responder).await })
            },
            on_receive_request!(),
        )
        .on_receive_request(
            async move |asked: LoadSessionRequest, responder: Responder<LoadSessionResponse>, editor: Editor| {
                let desk = loading.clone();
                editor.clone().spawn(async move { serve_session(desk.load(asked, editor), responder).await })
            },
            on_receive_request!(),
        )
        .on_receive_request(
            async move |asked: ListSessionsRequest, responder: Responder<ListSessionsResponse>, editor: Editor| {
                let desk = listing.clone();
                editor.spawn(async move {
                    responder.respond_with_result(desk.list(&asked).await.map_err(|fault| refusal(&fault)))
                })
            },
            on_receive_request!(),
        )
        .on_receive_request(
            async move |asked: PromptRequest, responder: Responder<PromptResponse>, _: Editor| {
                prompting.prompt(asked, responder)
            },
            on_receive_request!(),
        )
        .on_receive_request(
            async move |asked: CloseSessionRequest, responder: Responder<CloseSessionResponse>, _: Editor| {
                closing.close(&asked.session_id, responder)
            },
            on_receive_request!(),
        )
        .on_receive_notification(
            async move |asked: CancelNotification, _: Editor| {
                cancelling.cancel(&asked.session_id);
                Ok(())
            },
            on_receive_notification!(),
        );
    Box::pin(serving.connect_to(editor)).await
}

/// Answers with the session that is opened, and serves it from then on.
async fn serve_session<R: acp::JsonRpcResponse>(
    opening: impl Future<Output = Result<(R, Opened), Fault>>,
    responder: Responder<R>,
) -> Result<(), acp::Error> {
    match Box::pin(opening).await {
        Ok((response, opened)) => {
            responder.respond(response)?;
            opened.serve().await;
            Ok(())
        }
        Err(fault) => responder.respond_with_error(refusal(&fault)),
    }
}

/// What the editor is told of a fault: JSON-RPC's code, and ours with all that belongs to it as data.
fn refusal(fault: &Fault) -> acp::Error {
    let number = match fault.code {
        Code::SESSION_UNKNOWN => -32002,
        Code::REQUEST_INVALID | Code::REQUEST_TOO_LARGE | Code::PROMPT_TOO_LARGE => -32602,
        _ => -32603,
    };
    let text = format!("{}: {}; {}", fault.code, fault.message, fault.help);
    acp::Error::new(number, text).data(data(fault))
}

/// A fault as the data of an error.
fn data(fault: &Fault) -> Value {
    // A code, texts and numbers, so that encoding cannot fail.
    serde_json::to_value(fault).unwrap_or_default()
}

fn broken(why: impl Display) -> Fault {
    let help = "start it again from the editor; turns that ran go on at their server";
    Fault::new(Code::SERVER_UNREACHABLE, format!("the editor's connection broke: {why}"), help)
}

/// What an editor says when it opens a session.
struct Wanted {
    directory: PathBuf,
    /// What it offers and nobody takes.
    ignored: Vec<String>,
    meta: Meta,
}

impl Wanted {
    /// # Errors
    /// ARE-0206 for a directory that is none.
    fn new(directory: PathBuf, servers: &[McpServer], others: &[PathBuf], has_prompt: bool) -> Result<Self, Fault> {
        if !directory.is_absolute() {
            let help = "send the whole path of the project";
            return Err(Fault::new(Code::REQUEST_INVALID, "`cwd` is no absolute path", help));
        }
        let names = servers.iter().map(|server| one_line(name(server)).chars().take(NAME_CHARS_MAX).collect());
        let names: Vec<String> = names.collect();
        let mut ignored = Vec::new();
        if !names.is_empty() {
            let shown: Vec<String> = names.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
            let more = names.len().saturating_sub(NAMES_MAX);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            ignored.push(format!(
                "MCP servers are not taken from an editor, so {}{more} of it are not used: nobody consented to what they \
                 declare. Add them with `are mcp add`, which shows that",
                shown.join(", ")
            ));
        }
        if !others.is_empty() {
            ignored.push("a session has one directory; the further ones of the editor are not used".to_owned());
        }
        if has_prompt {
            ignored.push("instructions are the agent's own; those of the editor are not used".to_owned());
        }
        let mut meta = Meta::new();
        if !names.is_empty() {
            meta.insert("are/mcpServersNotTaken".to_owned(), json!(names));
        }
        Ok(Self { directory, ignored, meta })
    }
}

fn name(server: &McpServer) -> &str {
    match server {
        McpServer::Http(server) => &server.name,
        McpServer::Sse(server) => &server.name,
        McpServer::Stdio(server) => &server.name,
        _ => "one of an unknown kind",
    }
}

/// A session that is ready to be served.
struct Opened {
    session: Session,
    orders: mpsc::Receiver<Order>,
    notes: Vec<String>,
}

impl Opened {
    async fn serve(mut self) {
        for note in &self.notes {
            self.session.note(note).await;
        }
        Box::pin(self.session.serve(self.orders)).await;
    }
}

/// Where the rest of the connection reaches an open session.
struct Seat {
    orders: mpsc::Sender<Order>,
    workspace: Option<PathBuf>,
}

/// The open sessions of one editor.
struct Desk {
    client: Client,
    beginning: Beginning,
    /// The session that the first new one goes on with.
    first: Mutex<Option<String>>,
    room: Room,
    places: Arc<Semaphore>,
    seats: Mutex<HashMap<SessionId, Seat>>,
    has_notices: AtomicBool,
    noted: Mutex<HashSet<String>>,
}

impl Desk {
    fn new(client: Client, mut beginning: Beginning, room: Room) -> Self {
        let first = Mutex::new(beginning.session.take());
        let places = Arc::new(Semaphore::new(SESSIONS_MAX));
        let (seats, noted) = (Mutex::default(), Mutex::default());
        Self { client, beginning, first, room, places, seats, has_notices: AtomicBool::new(false), noted }
    }

    /// Who we are and what we can.
    fn greet(&self, asked: &InitializeRequest) -> InitializeResponse {
        let session = asked.client_capabilities.session.as_ref();
        let has_notices = session.is_some_and(|session| session.notices.is_some());
        self.has_notices.store(has_notices, Ordering::Relaxed);
        let sessions =
            SessionCapabilities::new().list(SessionListCapabilities::new()).close(SessionCloseCapabilities::new());
        let capabilities = AgentCapabilities::new()
            .load_session(true)
            .prompt_capabilities(PromptCapabilities::new().image(true).embedded_context(true))
            .session_capabilities(sessions);
        InitializeResponse::new(ProtocolVersion::V1)
            .agent_capabilities(capabilities)
            .agent_info(Implementation::new("are", env!("CARGO_PKG_VERSION")).title("ARE"))
    }

    async fn begin(&self, asked: NewSessionRequest, editor: Editor) -> Result<(NewSessionResponse, Opened), Fault> {
        let has_prompt = asked.system_prompt.is_some();
        let wanted = Wanted::new(asked.cwd, &asked.mcp_servers, &asked.additional_directories, has_prompt)?;
        let meta = wanted.meta.clone();
        let first = lock(&self.first).take();
        match self.open(first.clone(), wanted, editor).await {
            Ok((session, opened)) => Ok((NewSessionResponse::new(session).meta(meta), opened)),
            Err(fault) => {
                *lock(&self.first) = first;
                Err(fault)
            }
        }
    }

    /// Tells a session from its beginning and goes on with it.
    async fn load(&self, asked: LoadSessionRequest, editor: Editor) -> Result<(LoadSessionResponse, Opened), Fault> {
        let has_prompt = asked.system_prompt.is_some();
        let wanted = Wanted::new(asked.cwd, &asked.mcp_servers, &asked.additional_directories, has_prompt)?;
        let meta = wanted.meta.clone();
        let key = asked.session_id.0.parse::<SessionKey>().ok().map(|key| key.to_string());
        let key = key.filter(|key| **key == *asked.session_id.0).ok_or_else(|| {
            Fault::new(Code::SESSION_UNKNOWN, "this is no session's key", "`are session list` shows the keys")
        })?;
        let (session, mut opened) = self.open(Some(key), wanted, editor).await?;
        if let Err(fault) = opened.session.catch_up().await {
            lock(&self.seats).remove(&session);
            return Err(fault);
        }
        Ok((LoadSessionResponse::new().meta(meta), opened))
    }

    /// Opens a session: a new one, or the one with that key; one that is open already is opened anew.
    async fn open(&self, key: Option<String>, wanted: Wanted, editor: Editor) -> Result<(SessionId, Opened), Fault> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            let what = format!("the editor has {SESSIONS_MAX} sessions open");
            Fault::new(Code::SESSION_LIMIT, what, "close one of them, or start `are acp` again")
        })?;
        // What a directory may not be is said below, by the workspace that the session has instead.
        let directory = self.beginning.guard.as_ref().and_then(|guard| guard.check(&wanted.directory).ok());
        let is_new = key.is_none();
        let begun = Place {
            agent: self.beginning.agent.clone().filter(|_| is_new),
            workspace: directory.as_deref().filter(|_| is_new).and_then(Path::to_str).map(str::to_owned),
            session: key,
            thread: Some(THREAD),
            follows_all: true,
            ..Place::default()
        };
        let follower = Box::pin(Follower::open(self.client.clone(), begun, (!is_new).then_some(0))).await?;
        let session = SessionId::new(follower.session());
        let shown = self.client.get(&format!("/api/sessions/{session}")).await?;
        let workspace = session::workspace(&shown);
        let mut notes = self.unsaid(wanted.ignored);
        // The editor's, as it stands or as it was resolved.
        let is_of_editor = |path: &&Path| **path == *wanted.directory || Some(*path) == directory.as_deref();
        if let Some(workspace) = workspace.as_deref().filter(|path| !is_of_editor(path)) {
            notes.push(format!("this session works in {}, not in the directory of the editor", workspace.display()));
        }
        let past = if is_new { 0 } else { shown["seq"].as_u64().unwrap_or_default() };
        let is_here = matches!(self.client.door(), Door::Socket(_));
        let telling = Telling::new(self.has_notices.load(Ordering::Relaxed), workspace.clone(), is_here);
        let voice = Voice { editor, session: session.clone(), room: self.room.clone() };
        let wishes = self.beginning.wishes.clone();
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        lock(&self.seats).insert(session.clone(), Seat { orders: sender, workspace });
        let session_here = Session::new(follower, voice, telling, wishes, past, place);
        Ok((session, Opened { session: session_here, orders, notes }))
    }

    /// Those that were not said before.
    fn unsaid(&self, notes: Vec<String>) -> Vec<String> {
        let mut noted = lock(&self.noted);
        notes.into_iter().filter(|note| noted.len() >= NOTES_MAX || noted.insert(note.clone())).collect()
    }

    /// The account's sessions, last used first; those of agents that work for others aside.
    async fn list(&self, asked: &ListSessionsRequest) -> Result<ListSessionsResponse, Fault> {
        let before = match asked.cursor.as_deref().map(str::parse::<u64>) {
            Some(Ok(before)) => format!("&before_ms={before}"),
            Some(Err(_)) => return Err(Fault::new(Code::REQUEST_INVALID, "`cursor` is none of ours", "leave it out")),
            None => String::new(),
        };
        let page = self.client.get(&format!("/api/sessions?limit={PAGE}{before}")).await?;
        let rows = page["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_meant = |row: &&Value| {
            let works_there = |directory: &PathBuf| session::workspace(row).as_ref() == Some(directory);
            row["parent"].is_null() && asked.cwd.as_ref().is_none_or(works_there)
        };
        let sessions = rows.iter().filter(is_meant).filter_map(listed).collect();
        let next = rows.last().filter(|_| rows.len() == PAGE).map(|row| row["updated_at_ms"].to_string());
        Ok(ListSessionsResponse::new(sessions).next_cursor(next))
    }

    fn prompt(&self, asked: PromptRequest, responder: Responder<PromptResponse>) -> Result<(), acp::Error> {
        let seat = lock(&self.seats).get(&asked.session_id).map(|seat| (seat.orders.clone(), seat.workspace.clone()));
        let Some((orders, workspace)) = seat else { return responder.respond_with_error(refusal(&not_open())) };
        match content::parts(asked.prompt, workspace.as_deref()) {
            Ok(content) => send(&orders, Order::Prompt(content, responder)),
            Err(fault) => responder.respond_with_error(refusal(&fault)),
        }
    }

    fn close(&self, session: &SessionId, responder: Responder<CloseSessionResponse>) -> Result<(), acp::Error> {
        let seat = lock(&self.seats).remove(session);
        match seat {
            Some(seat) => send(&seat.orders, Order::Close(responder)),
            None => responder.respond_with_error(refusal(&not_open())),
        }
    }

    fn cancel(&self, session: &SessionId) {
        let orders = lock(&self.seats).get(session).map(|seat| seat.orders.clone());
        // A full mailbox holds a prompt that was not begun; the editor may cancel again.
        if let Some(orders) = orders
            && let Err(error) = orders.try_send(Order::Cancel)
        {
            tracing::debug!(%error, "a cancel is not taken");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(orders: &mpsc::Sender<Order>, order: Order) -> Result<(), acp::Error> {
    match orders.try_send(order) {
        Ok(()) => Ok(()),
        Err(TrySendError::Full(order)) => order.refuse(&session::busy()),
        Err(TrySendError::Closed(order)) => order.refuse(&not_open()),
    }
}

fn not_open() -> Fault {
    Fault::new(Code::SESSION_UNKNOWN, "no such session is open here", "begin one, or load it")
}

fn listed(row: &Value) -> Option<SessionInfo> {
    let title = row["title"].as_str().filter(|title| !title.is_empty()).map(one_line);
    let used = row["updated_at_ms"].as_u64().and_then(timestamp).map(|at| at.to_string());
    Some(SessionInfo::new(row["session"].as_str()?.to_owned(), session::workspace(row)?).title(title).updated_at(used))
}

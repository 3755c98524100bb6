//! `are.v2`: one socket follows one session, sees all its events and speaks in it.
//!
//! Requests are done one after the other and answered at once, so a prompt's
//! `ack` comes before the first event of its turn. Events are taken from the
//! session's tail only when the socket has taken the ones before.

use std::sync::Arc;
use std::vec;

use are_core::error::{Code, Fault};
use are_core::ids::{SessionKey, ThreadId};
use are_core::journal::{Entry, Frame};
use are_engine::api::{Caller, NewSession, Standing, Tailed, Target};
use are_engine::engine::Tail;
use serde_json::Value;

use super::access;
use super::app::App;
use super::auth::{Principal, Scope};
use super::problem::{close_code_of, close_reason_of, farewell, invalid};
use super::socket::{Feed, Heard, Socket};
use super::wire::{self, Announced, Attach, ClientFrame, Direct, Narrator};

/// Entries behind the journal's end from which on tokens are joined: more than a fast model says in seconds,
/// so that only those who really lag get fewer, longer pieces.
const LAG_MAX: u64 = 4096;
/// Bytes of joined token text in one frame.
const JOINED_BYTES_MAX: usize = 16 << 10;
/// Requests in a row that are not understood before the socket is closed.
const STRIKES_MAX: u32 = 16;

/// Serves one socket until it ends.
pub(super) async fn serve(app: Arc<App>, principal: Principal, thread: ThreadId, mut socket: Socket) {
    let feed = Events::default();
    let mut client = Client { app, principal, thread, is_headless: false, session: None, tail: None, feed, strikes: 0 };
    let why = client.run(&mut socket).await;
    socket.close(why).await;
}

struct Client {
    app: Arc<App>,
    principal: Principal,
    thread: ThreadId,
    /// Nobody sits there who could answer approvals.
    is_headless: bool,
    session: Option<SessionKey>,
    tail: Option<Tail>,
    feed: Events,
    strikes: u32,
}

/// Why a socket is closed; nothing when the client went.
type Why = Option<(u16, String)>;

impl Client {
    async fn run(&mut self, socket: &mut Socket) -> Why {
        let closing = self.app.closing.clone();
        let tie = self.principal.tie.clone();
        loop {
            let beat_at = socket.beat_at();
            let is_hungry = self.feed.is_empty() && !socket.is_dirty();
            // Every branch is cancel-safe: tokens are level-triggered, `hear` and `Tail::next` keep what they took.
            tokio::select! {
                biased;
                () = closing.cancelled() => return Some(tell(socket, self.app.goodbye())),
                () = tie.cut() => return Some(revocation()),
                heard = socket.hear(&mut self.feed) => match heard {
                    Heard::Text(text) => {
                        Box::pin(self.request(socket, &text)).await;
                        if self.strikes >= STRIKES_MAX {
                            let fault = invalid("too many requests in a row were not understood", "");
                            return Some((close_code_of(fault.code), close_reason_of(&fault)));
                        }
                    }
                    Heard::Sent => {}
                    Heard::Gone => return None,
                    Heard::Broken(code, reason) => return Some((code, reason.to_owned())),
                },
                batch = next_batch(&mut self.tail), if is_hungry && self.tail.is_some() => match batch {
                    Ok(batch) => {
                        let lag = self.tail.as_ref().map_or(0, Tail::lag);
                        self.feed.fill(batch, lag > LAG_MAX);
                    }
                    Err(fault) if self.app.stopping.is_cancelled() => {
                        return Some(tell(socket, self.app.goodbye_after(fault)));
                    }
                    Err(fault) => {
                        self.tail = None;
                        self.session = None;
                        socket.answer(Direct::error(None, fault).encode());
                    }
                },
                () = tokio::time::sleep_until(beat_at) => if !socket.beat() {
                    return None;
                },
            }
        }
    }

    async fn request(&mut self, socket: &mut Socket, text: &str) {
        let wire::Incoming { id, frame } = wire::read(text);
        let frame = match frame {
            Ok(frame) => frame,
            Err(fault) => {
                self.strikes += 1;
                return socket.answer(Direct::error(id, fault).encode());
            }
        };
        self.strikes = 0;
        if let Err(fault) = self.act(socket, id.clone(), frame).await {
            if fault.code == Code::SCOPE_MISSING {
                access::refused(&self.app, &fault, None);
            }
            socket.answer(Direct::error(id, fault).encode());
        }
    }

    async fn act(&mut self, socket: &mut Socket, id: Option<Value>, frame: ClientFrame) -> Result<(), Fault> {
        let app = self.app.clone();
        let engine = &app.engine;
        let (turn, seq) = match frame {
            ClientFrame::Ping {} => {
                socket.answer(Direct::Pong { id }.encode());
                return Ok(());
            }
            ClientFrame::Attach(attach) => return self.attach(socket, id, attach).await,
            ClientFrame::Prompt(prompt) => return self.prompt(socket, id, *prompt).await,
            ClientFrame::Steer { turn, content } => {
                let (caller, session) = self.speaker(Scope::Prompt)?;
                (Some(turn), engine.steer(&caller, session, turn, content.into_parts()?).await?)
            }
            ClientFrame::Feedback { turn, rating, note } => {
                let (caller, session) = self.speaker(Scope::Prompt)?;
                if rating.is_none() && note.is_none() {
                    return Err(invalid("feedback needs a `rating` or a `note`", "send one of them, or both"));
                }
                let note = note.map(wire::note).transpose()?;
                (Some(turn), engine.feedback(&caller, session, turn, rating, note).await?)
            }
            ClientFrame::Cancel { turn } => {
                let (caller, session) = self.speaker(Scope::Prompt)?;
                (Some(turn), engine.cancel(&caller, session, turn).await?)
            }
            ClientFrame::Approve { approval, digest, decision } => {
                let (caller, session) = self.speaker(Scope::Approve)?;
                (None, engine.approve(&caller, session, ClientFrame::approval(approval, digest, decision)).await?)
            }
        };
        let session = self.session.map(|key| key.to_string()).unwrap_or_default();
        socket.answer(Direct::Ack { id, session, request_id: None, turn, seq, epoch: None }.encode());
        Ok(())
    }

    async fn attach(&mut self, socket: &mut Socket, id: Option<Value>, attach: Attach) -> Result<(), Fault> {
        let key = wire::session_key(&attach.session)?;
        self.principal.require(if key.is_some() { Scope::Read } else { Scope::Prompt })?;
        if let Some(thread) = attach.thread {
            self.thread = thread;
        }
        self.is_headless = attach.headless;
        let caller = self.caller();
        let key = match key {
            Some(_) if attach.agent.is_some() || attach.workspace.is_some() => {
                return Err(invalid(
                    "`agent` and `workspace` are for a new session",
                    "leave them out, or attach to `new`",
                ));
            }
            Some(key) => key,
            None => {
                let new = self
                    .app
                    .new_session(&self.principal, NewSession { agent: attach.agent, workspace: attach.workspace })?;
                self.app.engine.create(&caller, new).await?
            }
        };
        let (standing, tail) = self.app.engine.attach(&caller, key, attach.after, attach.epoch).await?;
        let Standing { session, seq, epoch, turn, is_reset } = standing;
        self.follow(key, tail, if is_reset { None } else { turn });
        let session = session.to_string();
        let answer = if is_reset {
            Direct::Reset { id, session, seq, epoch }
        } else {
            Direct::Attached { id, session, seq, epoch, turn, limits: Announced::now() }
        };
        socket.answer(answer.encode());
        Ok(())
    }

    async fn prompt(&mut self, socket: &mut Socket, id: Option<Value>, prompt: wire::PromptFrame) -> Result<(), Fault> {
        self.principal.require(Scope::Prompt)?;
        let (prompt, new, thread) = prompt.into_parts()?;
        if let Some(thread) = thread {
            self.thread = thread;
        }
        let caller = self.caller();
        let target = match self.session {
            Some(_) if new != NewSession::default() => {
                return Err(invalid(
                    "`agent` and `workspace` are for a new session",
                    "leave them out, or prompt unattached",
                ));
            }
            Some(key) => Target::Session(key),
            None => Target::New(self.app.new_session(&self.principal, new)?),
        };
        let ack = self.app.engine.prompt(&caller, target, prompt).await?;
        let following = match self.session {
            Some(_) => None,
            None => {
                // From the session's first entry; of a turn that is known already, from the turn's.
                let after = if ack.turn == 1 { 0 } else { ack.seq.saturating_sub(1) };
                Some(self.app.engine.attach(&caller, ack.session, Some(after), None).await)
            }
        };
        let direct = Direct::Ack {
            id,
            session: ack.session.to_string(),
            request_id: Some(ack.request_id.to_string()),
            turn: Some(ack.turn),
            seq: ack.seq,
            epoch: following.as_ref().and_then(|attached| attached.as_ref().ok()).map(|(standing, _)| standing.epoch),
        };
        socket.answer(direct.encode());
        if let Some(attached) = following {
            let (standing, tail) = attached?;
            self.follow(ack.session, tail, (ack.turn > 1).then_some(standing.turn).flatten());
        }
        Ok(())
    }

    fn follow(&mut self, session: SessionKey, tail: Tail, turn: Option<u32>) {
        self.session = Some(session);
        self.tail = Some(tail);
        self.feed = Events { narrator: Narrator::default(), running: turn, ..Events::default() };
    }

    /// Who speaks; one at a headless client is not waited for.
    fn caller(&self) -> Caller {
        let caller = self.principal.caller(self.thread.clone());
        Caller { can_approve: caller.can_approve && !self.is_headless, ..caller }
    }

    /// The caller and the attached session, for what needs one.
    fn speaker(&self, scope: Scope) -> Result<(Caller, SessionKey), Fault> {
        self.principal.require(scope)?;
        let session = self.session.ok_or_else(|| invalid("no session is attached", "send `attach` first"))?;
        Ok((self.principal.caller(self.thread.clone()), session))
    }
}

/// What the client is told when the server ends; a failure is an error first, for a close reason may be cut.
fn tell(socket: &mut Socket, fault: Fault) -> (u16, String) {
    let why = farewell(&fault);
    if fault.code != Code::UNAVAILABLE {
        socket.answer(Direct::error(None, fault).encode());
    }
    why
}

/// The close of a socket whose token or account may speak no longer.
pub(super) fn revocation() -> (u16, String) {
    let fault = Fault::new(Code::CREDENTIAL_INVALID, "the token was revoked or is over, or its account changed", "");
    (close_code_of(fault.code), close_reason_of(&fault))
}

/// The tail's next entries; never resolves without a tail.
pub(super) async fn next_batch(tail: &mut Option<Tail>) -> Result<Vec<Tailed>, Fault> {
    match tail {
        Some(tail) => tail.next().await,
        None => std::future::pending().await,
    }
}

/// Entries on their way out, told one at a time.
#[derive(Default)]
struct Events {
    batch: vec::IntoIter<Tailed>,
    narrator: Narrator,
    /// The turn that ran when the client attached, for frames that no record precedes or follows.
    running: Option<u32>,
    joins: bool,
}

impl Events {
    fn is_empty(&self) -> bool {
        self.batch.as_slice().is_empty()
    }

    fn fill(&mut self, batch: Vec<Tailed>, joins: bool) {
        self.narrator.look_ahead(batch.iter().filter_map(|item| match item {
            Tailed::Entry(entry) => Some(&**entry),
            Tailed::Progress { .. } => None,
        }));
        if self.narrator.turn().is_none() && self.running.is_some() {
            self.narrator = Narrator::within(self.running);
        }
        self.batch = batch.into_iter();
        self.joins = joins;
    }

    /// Joins the tokens that follow `first` without a gap.
    fn join(&mut self, first: u64, text: &str) -> String {
        let mut last = first;
        let mut joined = text.to_owned();
        while let Some(Tailed::Entry(entry)) = self.batch.as_slice().first() {
            let Entry::Frame(seq, Frame::Token { text }) = &**entry else { break };
            if *seq != last + 1 || joined.len() + text.len() > JOINED_BYTES_MAX {
                break;
            }
            last = *seq;
            joined.push_str(text);
            self.batch.next();
        }
        wire::token(first, last, &joined)
    }
}

impl Feed for Events {
    fn next(&mut self) -> Option<String> {
        let text = match self.batch.next()? {
            Tailed::Progress { phase, done, total } => Direct::Progress { phase, done, total }.encode(),
            Tailed::Entry(entry) => match &*entry {
                Entry::Frame(seq, Frame::Token { text }) if self.joins => self.join(*seq, text),
                entry => self.narrator.tell(entry),
            },
        };
        if self.is_empty() {
            // PERF: an idle socket keeps no batch's memory.
            self.batch = vec::IntoIter::default();
        }
        Some(text)
    }
}

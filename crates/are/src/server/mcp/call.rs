//! One call over MCP: a direct call, told of while it runs, stopped when its client says so.
//!
//! What a tool says while it runs becomes progress, when the client gave a
//! token for it, and log messages, when it set a level. The tail of the session
//! is read at the client's pace, so nothing is buffered here.

#![expect(deprecated, reason = "logging is a part of the revisions that are spoken")]

use are_core::body::Body;
use are_core::canonical::Args;
use are_core::error::{Code, Fault};
use are_core::ids::{ApprovalNo, SessionKey, ToolName, TurnNo};
use are_core::journal::{Entry, Frame};
use are_engine::api::{CallEvent, Called, Caller, DirectCall, IfBusy, Target};
use are_engine::engine::Calling;
use rmcp::RoleServer;
use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext};
use serde_json::Value;

use super::handler::{Handler, caller};
use super::person::Person;
use super::sessions::Use;
use crate::server::auth::Principal;

/// Bytes of one piece of a tool's output in a notification; longer pieces are cut, the journal holds all.
const PIECE_BYTES_MAX: usize = 8 << 10;

/// How a call ended, and where.
pub(super) struct Ended {
    pub(super) session: SessionKey,
    pub(super) turn: TurnNo,
    pub(super) outcome: Result<Called, Fault>,
}

/// Makes a call and waits for its end.
pub(super) async fn make(
    handler: &Handler,
    principal: &Principal,
    (tool, args): (ToolName, Args),
    context: &RequestContext<RoleServer>,
    mut voice: Voice,
) -> Result<Ended, Fault> {
    let _used = Use::of(&handler.app, &handler.life);
    let caller = caller(principal)?;
    let logger = tool.to_string();
    let mut calling = start(handler, &caller, (tool, args)).await?;
    let (session, turn) = (calling.session(), calling.turn());
    let mut person = Person::new(handler, principal, context, session);
    let outcome = loop {
        // Reading is cancel-safe, the person's answer is kept by whom it is asked of, the others only tell.
        let event = tokio::select! {
            biased;
            () = context.ct.cancelled() => break Err(stop(handler, &caller, &calling).await),
            () = handler.life.ended.cancelled() => break Err(stop(handler, &caller, &calling).await),
            answer = person.answer() => {
                person.pass_on(answer).await;
                continue;
            }
            event = calling.next() => event,
        };
        match event {
            Ok(CallEvent::Done(called)) => break Ok(*called),
            Ok(CallEvent::Parked(approval)) => break Err(parked(session, approval)),
            Ok(CallEvent::Entry(entry)) => {
                person.hear(&entry).await;
                voice.tell(&entry, session, &logger).await;
            }
            Err(fault) => break Err(fault),
        }
    };
    Ok(Ended { session, turn, outcome })
}

/// Begins the call in the session behind the MCP session, or in another when its user has deleted that one.
async fn start(handler: &Handler, caller: &Caller, (tool, args): (ToolName, Args)) -> Result<Calling, Fault> {
    let call = |session| DirectCall {
        target: Target::Session(session),
        request_id: None,
        tool: tool.clone(),
        args: args.clone(),
        // Clients call several at once; they run one after the other.
        if_busy: IfBusy::Queue,
        waits: true,
    };
    let session = handler.session(caller).await?;
    match handler.app.engine.start_call(caller, call(session)).await {
        Err(fault) if fault.code == Code::SESSION_UNKNOWN => {
            handler.forget(session).await;
            let session = handler.session(caller).await?;
            handler.app.engine.start_call(caller, call(session)).await
        }
        started => started,
    }
}

/// Nobody waits for it any more.
async fn stop(handler: &Handler, caller: &Caller, calling: &Calling) -> Fault {
    let stopped = handler.app.engine.cancel(caller, calling.session(), calling.turn()).await;
    if let Err(error) = stopped {
        // It has just ended, or the whole server does.
        tracing::debug!(%error, session = %calling.session(), turn = calling.turn(), "a call was not stopped");
    }
    let help = "find out whether it happened before you call it again";
    Fault::new(Code::TOOL_OUTCOME_UNKNOWN, "the call was stopped", help)
}

fn parked(session: SessionKey, approval: ApprovalNo) -> Fault {
    Fault::new(
        Code::APPROVAL_PENDING,
        "nobody has answered in time whether it may be called; the question stays open",
        format!(
            "answer `are approval allow {session}/{approval}`; the call is then made, and its result stands in the session"
        ),
    )
}

/// How the client hears of a call while it runs.
pub(super) struct Voice {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
    level: Option<LoggingLevel>,
    told: u32,
}

impl Voice {
    pub(super) fn new(context: &RequestContext<RoleServer>, level: Option<LoggingLevel>) -> Self {
        Self { peer: context.peer.clone(), token: context.meta.get_progress_token(), level, told: 0 }
    }

    async fn tell(&mut self, entry: &Entry, session: SessionKey, logger: &str) {
        match entry {
            Entry::Frame(_, Frame::ToolOutput { stream, text, .. }) => {
                let piece = within(text, PIECE_BYTES_MAX);
                self.progress(piece).await;
                self.log(stream, piece, logger).await;
            }
            Entry::Record(record, _) => match &record.body {
                Body::ApprovalRequested { approval, .. } => {
                    self.progress(&format!("waits for a person: `are approval allow {session}/{approval}`")).await;
                }
                Body::ApprovalResolved { by, .. } => self.progress(&format!("answered by {by}")).await,
                _ => {}
            },
            Entry::Frame(..) => {}
        }
    }

    async fn progress(&mut self, message: &str) {
        let Some(token) = self.token.clone() else { return };
        self.told += 1;
        let progress = ProgressNotificationParam::new(token, f64::from(self.told)).with_message(message);
        if let Err(error) = self.peer.notify_progress(progress).await {
            tracing::debug!(%error, "an MCP client was not told of a call's progress");
        }
    }

    async fn log(&self, stream: &str, text: &str, logger: &str) {
        let Some(least) = self.level else { return };
        let level = if stream == "stderr" { LoggingLevel::Warning } else { LoggingLevel::Info };
        if severity(level) < severity(least) {
            return;
        }
        let message = LoggingMessageNotificationParam::new(level, Value::String(text.to_owned())).with_logger(logger);
        if let Err(error) = self.peer.notify_logging_message(message).await {
            tracing::debug!(%error, "an MCP client was not told what a call said");
        }
    }
}

/// Grows with what a level means (RFC 5424).
const fn severity(level: LoggingLevel) -> u8 {
    match level {
        LoggingLevel::Debug => 0,
        LoggingLevel::Info => 1,
        LoggingLevel::Notice => 2,
        LoggingLevel::Warning => 3,
        LoggingLevel::Error => 4,
        LoggingLevel::Critical => 5,
        LoggingLevel::Alert => 6,
        LoggingLevel::Emergency => 7,
    }
}

/// The beginning of a text, cut at a character.
fn within(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

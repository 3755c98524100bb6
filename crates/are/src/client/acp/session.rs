//! One session of an editor: what happens in it is told, one prompt at a time is taken, and questions are asked.
//!
//! The session is the server's. So it is followed also while no prompt of the editor runs: turns that others begin in it,
//! and those that go on after an answer, are told like its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use agent_client_protocol::v1::Responder;
use agent_client_protocol::v1::schema::{
    CloseSessionResponse, PromptResponse, SessionId, SessionNotification, SessionUpdate, StopReason,
};
use agent_client_protocol::{Error, RequestCancellation};
use are_core::error::{Code, Fault};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::lines::Room;
use super::question::{Said, ask};
use super::told::{Telling, When};
use super::{Editor, refusal};
use crate::client::follow::{Follower, Item, Wishes, fault_of};

/// What an editor wants of a session.
pub(super) enum Order {
    /// A turn: the prompt's parts, and whom its end is told.
    Prompt(Value, Responder<PromptResponse>),
    /// The end of the turn that runs.
    Cancel,
    /// The same, and the end of the session for this editor.
    Close(Responder<CloseSessionResponse>),
}

impl Order {
    /// Answers an order that cannot be taken.
    pub(super) fn refuse(self, fault: &Fault) -> Result<(), Error> {
        match self {
            Self::Prompt(_, responder) => responder.respond_with_error(refusal(fault)),
            Self::Close(responder) => responder.respond_with_error(refusal(fault)),
            Self::Cancel => Ok(()),
        }
    }
}

/// Why a prompt is not taken while another one's turn runs.
pub(super) fn busy() -> Fault {
    let help = "wait for its end, or cancel it";
    Fault::new(Code::SESSION_BUSY, "a turn of this editor runs in the session", help)
}

/// How a session speaks to its editor.
#[derive(Clone)]
pub(super) struct Voice {
    pub(super) editor: Editor,
    pub(super) session: SessionId,
    pub(super) room: Room,
}

impl Voice {
    /// Tells something once the editor has read what came before. To one who is gone nothing is told: its sessions end
    /// with its connection.
    async fn tell(&self, update: SessionUpdate) {
        self.room.update().await;
        if let Err(error) = self.editor.send_notification(SessionNotification::new(self.session.clone(), update)) {
            tracing::debug!(%error, "an update is not sent");
        }
    }
}

/// A turn that the editor began.
struct Own {
    turn: u64,
    responder: Responder<PromptResponse>,
    /// The editor may also give up the request itself.
    cancellation: RequestCancellation,
    is_stopped: bool,
}

/// A call that waits for an answer.
struct Asked {
    event: Value,
    /// What was answered last.
    said: Option<&'static str>,
    /// Dropped to take the question back; none while it is not asked yet.
    question: Option<oneshot::Sender<()>>,
}

/// An open session.
pub(super) struct Session {
    follower: Follower,
    voice: Voice,
    telling: Telling,
    /// What prompts wish for.
    wishes: Wishes,
    /// Last entry of what happened before the editor came; 0 once all of it is told.
    past: u64,
    own: Option<Own>,
    /// Turns that have begun and not ended.
    turns: BTreeSet<u64>,
    asked: BTreeMap<u64, Asked>,
    questions: FuturesUnordered<BoxFuture<'static, (u64, Said)>>,
    /// The server is gone; the next prompt looks for it again.
    is_lost: bool,
    closing: Option<Responder<CloseSessionResponse>>,
    /// The place among the editor's sessions.
    _place: OwnedSemaphorePermit,
}

impl Session {
    pub(super) fn new(
        follower: Follower,
        voice: Voice,
        telling: Telling,
        wishes: Wishes,
        past: u64,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            follower,
            voice,
            telling,
            wishes,
            past,
            own: None,
            turns: BTreeSet::new(),
            asked: BTreeMap::new(),
            questions: FuturesUnordered::new(),
            is_lost: false,
            closing: None,
            _place: place,
        }
    }

    /// Says what the person should know.
    pub(super) async fn note(&mut self, text: &str) {
        let note = self.telling.note(text);
        self.voice.tell(note).await;
    }

    /// Tells all that happened before the editor came.
    ///
    /// # Errors
    /// The server's refusal, ARE-0105 when it stays away, ARE-0213 when its journal became another meanwhile.
    pub(super) async fn catch_up(&mut self) -> Result<(), Fault> {
        while self.past > 0 {
            let item = Box::pin(self.follower.next()).await?;
            if item == Item::Reset {
                let what = "the server's journal became another one while the session was told";
                return Err(Fault::new(Code::UNAVAILABLE, what, "load the session again").retryable());
            }
            self.take(&item).await;
        }
        Ok(())
    }

    /// Serves it until the editor closes it, opens it anew, or leaves.
    pub(super) async fn serve(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                // Cancel-safe, see `Follower::next`.
                item = self.follower.next(), if !self.is_lost => match item {
                    Ok(item) => self.take(&item).await,
                    Err(fault) => self.lose(fault),
                },
                // Cancel-safe: an answer that is not taken stays in the set.
                Some((approval, said)) = self.questions.next() => self.answer(approval, said).await,
                // Receiving is cancel-safe.
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return self.leave(),
                },
                // Waiting for a mark is cancel-safe.
                () = given_up(self.own.as_ref().filter(|own| !own.is_stopped).map(|own| &own.cancellation)) => {
                    self.cancel().await;
                }
            }
            if self.own.is_none()
                && let Some(responder) = self.closing.take()
            {
                return answered(responder.respond(CloseSessionResponse::new()));
            }
        }
    }

    async fn take(&mut self, item: &Item) {
        let turn = match item {
            Item::Token { turn, .. } => *turn,
            Item::Event(event) => event["turn"].as_u64(),
            Item::Notice(_) | Item::Lost | Item::Reset => None,
        };
        let when = match &self.own {
            _ if self.past > 0 => When::Past,
            Some(own) if turn.is_none_or(|turn| turn == own.turn) => When::Own,
            Some(_) | None => When::Others,
        };
        for update in self.telling.updates(item, when) {
            self.voice.tell(update).await;
        }
        let seen = match item {
            Item::Token { last, .. } => Some(*last),
            Item::Event(event) => {
                self.event(event);
                event["seq"].as_u64()
            }
            Item::Notice(notice) => {
                self.notice(notice).await;
                None
            }
            Item::Reset => {
                self.reset();
                None
            }
            Item::Lost => None,
        };
        if self.past > 0 && seen.is_some_and(|seen| seen >= self.past) {
            self.past = 0;
            // What waits since before the editor came is asked now.
            let waiting: Vec<u64> = self.asked.keys().copied().collect();
            waiting.into_iter().for_each(|approval| self.ask(approval, true));
        }
    }

    fn event(&mut self, event: &Value) {
        let Some(turn) = event["turn"].as_u64() else { return };
        match event["type"].as_str().unwrap_or_default() {
            "turn_started" => {
                self.turns.insert(turn);
            }
            "turn_completed" => self.ended(
                turn,
                Ok(match event["stop_reason"].as_str() {
                    Some("length") => StopReason::MaxTokens,
                    Some("content_filter") => StopReason::Refusal,
                    _ => StopReason::EndTurn,
                }),
            ),
            "turn_cancelled" => self.ended(turn, Ok(StopReason::Cancelled)),
            "turn_failed" => {
                let fault = fault_of(&event["error"]);
                let is_long = fault.code == Code::STEP_LIMIT;
                self.ended(turn, if is_long { Ok(StopReason::MaxTurnRequests) } else { Err(fault) });
            }
            // It goes on with an answer, as a turn of nobody's.
            "turn_parked" => self.finish(turn, Ok(StopReason::EndTurn)),
            "approval_requested" => {
                let Some(approval) = event["approval"].as_u64() else { return };
                self.asked.insert(approval, Asked { event: event.clone(), said: None, question: None });
                if self.past == 0 {
                    self.ask(approval, true);
                }
            }
            "approval_resolved" | "approval_withdrawn" => {
                if let Some(approval) = event["approval"].as_u64() {
                    self.asked.remove(&approval);
                }
            }
            _ => {}
        }
    }

    fn ask(&mut self, approval: u64, offers_always: bool) {
        let Some(asked) = self.asked.get_mut(&approval) else { return };
        let (sender, withdrawn) = oneshot::channel();
        asked.question = Some(sender);
        self.questions.push(Box::pin(ask(self.voice.clone(), asked.event.clone(), offers_always, withdrawn)));
    }

    async fn answer(&mut self, approval: u64, said: Said) {
        let decision = match said {
            Said::Decision(decision) => decision,
            Said::Stop => {
                if self.own.as_ref().is_some_and(|own| !own.is_stopped) {
                    self.cancel().await;
                }
                return;
            }
            Said::Nothing => return,
        };
        let Some(asked) = self.asked.get_mut(&approval) else { return };
        asked.said = Some(decision);
        let digest = asked.event["digest"].as_str().unwrap_or_default().to_owned();
        if let Err(fault) = self.follower.approve(approval, &digest, decision).await {
            self.lose(fault);
        }
    }

    /// An answer that was refused leaves the call waiting. The person is told, and asked again where it was only the rule
    /// for always that could not be added.
    async fn notice(&mut self, notice: &Value) {
        let number =
            notice["id"].as_str().and_then(|id| id.strip_prefix("approve-")).and_then(|id| id.parse::<u64>().ok());
        let (Some(number), true) = (number, notice["type"] == "error") else { return };
        let fault = fault_of(notice);
        // Somebody else was quicker.
        if [Code::APPROVAL_UNKNOWN, Code::APPROVAL_MISMATCH].contains(&fault.code) {
            return;
        }
        let Some(asked) = self.asked.get(&number) else { return };
        let is_always = asked.said == Some("allow_always");
        self.note(&format!("the answer was not taken: {}: {}; {}", fault.code, fault.message, fault.help)).await;
        if is_always {
            self.ask(number, false);
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Prompt(..) if self.own.is_some() => answered(order.refuse(&busy())),
            Order::Prompt(content, responder) => self.prompt(content, responder).await,
            Order::Cancel => self.cancel().await,
            Order::Close(responder) => {
                self.closing = Some(responder);
                self.cancel().await;
            }
        }
    }

    async fn prompt(&mut self, content: Value, responder: Responder<PromptResponse>) {
        let cancellation = responder.cancellation();
        match Box::pin(self.follower.prompt(content, (true, false), &self.wishes)).await {
            Ok(turn) => {
                self.is_lost = false;
                self.own = Some(Own { turn, responder, cancellation, is_stopped: false });
            }
            Err(fault) => {
                self.is_lost = fault.code == Code::SERVER_UNREACHABLE;
                answered(responder.respond_with_error(refusal(&fault)));
            }
        }
    }

    /// Stops the editor's turn, or the one that runs in the session or waits in it.
    async fn cancel(&mut self) {
        if let Some(own) = &mut self.own {
            own.is_stopped = true;
        }
        let turn = self.own.as_ref().map(|own| own.turn).or_else(|| self.turns.first().copied());
        if let Some(turn) = turn
            && let Err(fault) = self.follower.cancel(turn).await
        {
            self.lose(fault);
        }
    }

    fn ended(&mut self, turn: u64, result: Result<StopReason, Fault>) {
        self.turns.remove(&turn);
        self.finish(turn, result);
    }

    /// Answers the prompt whose turn that was.
    fn finish(&mut self, turn: u64, result: Result<StopReason, Fault>) {
        let Some(own) = self.own.take_if(|own| own.turn == turn) else { return };
        let answer = match result {
            // Whoever stopped it gets what it asked for, however the turn came to its end.
            Err(_) if own.is_stopped => Ok(StopReason::Cancelled),
            result => result,
        };
        answered(own.responder.respond_with_result(answer.map(PromptResponse::new).map_err(|fault| refusal(&fault))));
    }

    fn lose(&mut self, fault: Fault) {
        tracing::debug!(%fault, "the session is not followed any more");
        self.is_lost = true;
        self.fail(fault);
    }

    /// The turn that was followed may be gone with the end of the journal, or may not.
    fn reset(&mut self) {
        self.turns.clear();
        self.asked.clear();
        let what = "the server's journal lost its end, and perhaps this turn with it";
        self.fail(Fault::new(Code::UNAVAILABLE, what, "read what is left, and say it again if need be"));
    }

    fn fail(&mut self, fault: Fault) {
        if let Some(turn) = self.own.as_ref().map(|own| own.turn) {
            self.finish(turn, Err(fault));
        }
    }

    /// The editor opened the session anew, and this one makes room.
    fn leave(mut self) {
        self.fail(Fault::new(Code::SESSION_BUSY, "the session was opened anew; the turn goes on", "follow it there"));
    }
}

/// Resolves when the editor gives up its request.
async fn given_up(request: Option<&RequestCancellation>) {
    match request {
        Some(request) => request.cancelled().await,
        None => std::future::pending().await,
    }
}

/// An answer that does not reach the editor: it is gone.
fn answered(sent: Result<(), Error>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "an answer is not sent");
    }
}

/// The workspace that the server tells of a session.
pub(super) fn workspace(shown: &Value) -> Option<PathBuf> {
    shown["workspace"].as_str().filter(|path| !path.is_empty()).map(PathBuf::from)
}

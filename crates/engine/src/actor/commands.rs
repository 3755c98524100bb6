//! What a session is told to do from outside, and what it answers.

use std::path::PathBuf;

use are_core::account::Via;
use are_core::body::{Body, Rating, Scope};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, ApprovalNo, RequestId, Seq, SessionKey, TurnNo, VariableName};
use are_core::journal::Draft;
use are_core::label::Integrity;
use are_core::limits::PENDING_TURNS_MAX;
use are_core::model::{Asked, Effort};
use are_core::payload::{Bound, Part, Payload};
use are_core::store::{Change, StoreError};
use tokio::sync::oneshot;

use super::{Actor, Batch, Outcome, Report, Stop};
use crate::api::{Approve, Caller, IfBusy, PendingApproval, Prompt};
use crate::faults;
use crate::image;
use crate::machine;
use crate::state::{CallChanges, Phase, State, Turn, Undo};

/// Longest title of a session, in characters.
const TITLE_CHARS: usize = 80;

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Told to the client.
    Fault(Fault),
    /// The request id has been used before.
    Taken { session: SessionKey, turn: TurnNo, content: Digest },
}

/// Waits for a record to be durable.
pub(crate) struct Reply {
    turn: TurnNo,
    via: Option<Via>,
    tx: oneshot::Sender<Result<(TurnNo, Seq), Refusal>>,
}

impl Reply {
    pub(crate) fn new(via: Option<Via>, tx: oneshot::Sender<Result<(TurnNo, Seq), Refusal>>) -> Self {
        Self { turn: 0, via, tx }
    }

    /// By whose token what is answered was asked for, where that is another account's.
    pub(super) fn via(&self) -> Option<&Via> {
        self.via.as_ref()
    }

    pub(super) fn of(mut self, turn: TurnNo) -> Self {
        self.turn = turn;
        self
    }

    pub(super) fn send(self, seq: Seq) {
        // silent-ok: the client left; the record stands.
        let _sent = self.tx.send(Ok((self.turn, seq)));
    }

    pub(super) fn refuse(self, error: &StoreError) {
        let refusal = match error {
            StoreError::RequestTaken { session, turn, content } => {
                Refusal::Taken { session: *session, turn: *turn, content: *content }
            }
            other => Refusal::Fault(faults::store(other.clone())),
        };
        // silent-ok: the client left; nothing was done.
        let _sent = self.tx.send(Err(refusal));
    }

    fn fault(self, fault: Fault) {
        // silent-ok: the client left; nothing was done.
        let _sent = self.tx.send(Err(Refusal::Fault(fault)));
    }
}

/// A prompt on its way into a session, its text scrubbed.
pub(crate) struct Prompting {
    pub(crate) caller: Caller,
    pub(crate) prompt: Prompt,
    pub(crate) request_id: RequestId,
    /// Digest of what is asked, to tell a repetition from a conflict.
    pub(crate) content: Digest,
    /// What the prompt firewall found in it; it is taken all the same.
    pub(crate) flagged: Option<Body>,
    pub(crate) reply: Reply,
}

/// What a session looks like now.
pub(crate) struct View {
    pub(crate) turn: Option<TurnNo>,
    pub(crate) approvals: Vec<PendingApproval>,
    /// Sessions of agents that it began.
    pub(crate) children: Vec<SessionKey>,
    /// End of the last finished turn up to the asked one, for forks.
    pub(crate) fork_at: Option<Seq>,
}

impl View {
    pub(super) fn of(state: &State, session: SessionKey, until: Option<TurnNo>) -> Self {
        let running = state.running();
        let approvals = running
            .into_iter()
            .flat_map(|turn| turn.calls().map(move |step| (turn, step)))
            .filter(|(_, step)| step.phase == Phase::Waiting)
            .filter_map(|(turn, step)| {
                let (approval, ruling) = (step.approval.as_ref()?, step.ruling.as_ref()?);
                Some(PendingApproval {
                    session,
                    turn: turn.no,
                    approval: approval.no,
                    call: step.no,
                    digest: approval.digest,
                    tool: step.tool.clone(),
                    args: step.args.clone()?,
                    why: ruling.why.clone(),
                    origins: ruling.origins.clone(),
                    expires_at_ms: approval.expires_at_ms,
                    rule: approval.rule.clone(),
                    is_parked: turn.is_parked,
                })
            })
            .collect();
        let ended = state.turns().filter(|turn| turn.ended.is_some() && turn.end_seq > 0);
        let fork_at = match until {
            None => ended.map(|turn| turn.end_seq).max(),
            Some(no) => ended.filter(|turn| turn.no == no).map(|turn| turn.end_seq).next(),
        };
        Self { turn: running.map(|turn| turn.no), approvals, children: state.children.clone(), fork_at }
    }
}

/// A command to a session.
pub(crate) enum Command {
    Prompt(Box<Prompting>),
    Steer {
        turn: TurnNo,
        content: Vec<Part>,
        /// What the prompt firewall found in it.
        flagged: Option<Body>,
        reply: Reply,
    },
    /// A prompt or steer that the prompt firewall refused.
    NoteRefused {
        account: AccountId,
        content: Vec<Part>,
        body: Body,
        reply: Reply,
    },
    Feedback {
        turn: TurnNo,
        rating: Option<Rating>,
        note: Option<String>,
        reply: Reply,
    },
    Cancel {
        turn: TurnNo,
        reply: Reply,
    },
    Approve {
        by: AccountId,
        answer: Approve,
        reply: Reply,
    },
    SetVariable {
        account: AccountId,
        name: VariableName,
        value: Option<Box<Bound>>,
        change: Box<Change>,
        reply: Reply,
    },
    View {
        until: Option<TurnNo>,
        tx: oneshot::Sender<Result<View, Fault>>,
    },
    FindTurn {
        turn: TurnNo,
        reply: Reply,
    },
    /// What a turn changed, the latest when none is named.
    Changes {
        turn: Option<TurnNo>,
        tx: oneshot::Sender<Result<ChangedTurn, Fault>>,
    },
    Undo(Box<Undoing>),
    /// The turns before are summed up.
    Compact {
        caller: Box<Caller>,
        reply: Reply,
    },
    /// The last such summary is taken back.
    Uncompact {
        caller: Box<Caller>,
        reply: Reply,
    },
    Delete {
        account: AccountId,
        /// Only while this is the session's last turn.
        last: Option<TurnNo>,
        reply: Reply,
    },
    /// The account that owns the session is gone: its turns end.
    Halt,
    /// The time of a turn's budget is over.
    Expire {
        turn: TurnNo,
    },
    /// What became of a turn that another session waits for.
    Report {
        turn: TurnNo,
        tx: oneshot::Sender<Result<Report, Fault>>,
    },
}

impl Command {
    pub(crate) fn refuse(self, fault: Fault) {
        match self {
            Self::Prompt(prompting) => prompting.reply.fault(fault),
            Self::Steer { reply, .. }
            | Self::NoteRefused { reply, .. }
            | Self::Feedback { reply, .. }
            | Self::Cancel { reply, .. }
            | Self::Approve { reply, .. }
            | Self::SetVariable { reply, .. }
            | Self::FindTurn { reply, .. }
            | Self::Compact { reply, .. }
            | Self::Uncompact { reply, .. }
            | Self::Delete { reply, .. } => reply.fault(fault),
            Self::Undo(undoing) => undoing.reply.fault(fault),
            // Nothing runs here, and what is begun again ends by itself.
            Self::Halt | Self::Expire { .. } => {}
            Self::Report { tx, .. } => {
                // silent-ok: whoever waited has left.
                let _sent = tx.send(Err(fault));
            }
            Self::View { tx, .. } => {
                // silent-ok: the client left; it only wanted to look.
                let _sent = tx.send(Err(fault));
            }
            Self::Changes { tx, .. } => {
                // silent-ok: the client left; it only wanted to look.
                let _sent = tx.send(Err(fault));
            }
        }
    }
}

/// What a turn changed.
pub(crate) struct ChangedTurn {
    pub(crate) turn: TurnNo,
    /// Session in whose journal the turn stands.
    pub(crate) session: SessionKey,
    pub(crate) workspace: PathBuf,
    pub(crate) calls: Vec<CallChanges>,
    /// Sessions of its agents whose changes are not among these.
    pub(crate) apart: Vec<SessionKey>,
    /// The turn that runs in the session now.
    pub(crate) running: Option<TurnNo>,
}

/// The undoing of a turn on its way into a session.
pub(crate) struct Undoing {
    pub(crate) caller: Caller,
    pub(crate) undo: Undo,
    pub(crate) reply: Reply,
}

/// What a command means for what is going on.
pub(super) enum Heard {
    /// It is answered.
    Answered,
    /// These records go into the journal; what is going on goes on.
    Append(Batch),
    /// What is going on must stop first; then these records.
    Interrupt(Why, Batch),
}

/// Why a model call or tool run is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Steer,
    Cancel,
}

impl Actor {
    /// Carries out a command while nothing runs that it could interrupt.
    pub(super) async fn obey(&mut self, command: Box<Command>) -> Result<Option<Outcome>, Stop> {
        match self.hear(command).await? {
            Heard::Answered => Ok(None),
            Heard::Append(batch) | Heard::Interrupt(_, batch) => {
                let ends = batch.drafts.iter().any(|draft| matches!(draft.body, Body::SessionDeleted {}));
                let outcome = self.commit(batch).await?;
                if ends { Err(faults::unknown_session().into()) } else { Ok(Some(outcome)) }
            }
        }
    }

    pub(super) async fn hear(&mut self, command: Box<Command>) -> Result<Heard, Stop> {
        Ok(match *command {
            Command::Prompt(prompting) => match self.repeated(&prompting).await? {
                Some(earlier) => {
                    prompting.reply.refuse(&earlier);
                    Heard::Answered
                }
                None => self.hear_prompt(*prompting),
            },
            Command::Steer { turn, content, flagged, reply } => {
                self.hear_steer(turn, content, Integrity::User, (flagged, reply))
            }
            Command::NoteRefused { account, content, body, reply } => {
                let payload = Payload::Prompt { content, asked: Box::default() };
                let draft = Draft { turn: None, body, payload: Some(payload) };
                Heard::Append(one(account, draft, reply))
            }
            Command::Feedback { turn, rating, note, reply } => match self.state.turn(turn) {
                None => answered(reply, faults::not_running()),
                Some(of) => {
                    let payload = note.map(|note| Payload::Note { note });
                    let draft = Draft { turn: Some(turn), body: Body::Feedback { rating }, payload };
                    Heard::Append(one(of.account.clone(), draft, reply.of(turn)))
                }
            },
            Command::Cancel { turn, reply } => self.hear_cancel(turn, reply),
            Command::Approve { by, answer, reply } => self.hear_approve(&by, answer, reply).await,
            Command::SetVariable { account, name, value, change, reply } => {
                let labels = value.as_ref().map(|bound| bound.labels.clone()).unwrap_or_default();
                let payload = Payload::Variable { name, value: value.map(|bound| bound.value), labels };
                let body = Body::VariableSet { scope: Scope::Session, call: None };
                let mut batch = one(account, Draft { turn: None, body, payload: Some(payload) }, reply);
                batch.changes.push(*change);
                batch.may_be_refused = true;
                Heard::Append(batch)
            }
            Command::View { until, tx } => {
                // silent-ok: the client left; it only wanted to look.
                let _sent = tx.send(Ok(View::of(&self.state, self.shared.key, until)));
                Heard::Answered
            }
            Command::FindTurn { turn, reply } => {
                // What a fork inherited stands in another journal.
                let own = self.state.turn(turn).filter(|turn| turn.session == self.shared.key);
                match own.map(|turn| turn.seq) {
                    Some(seq) => reply.of(turn).send(seq),
                    None => reply.fault(faults::request_conflict()),
                }
                Heard::Answered
            }
            Command::Changes { turn, tx } => {
                // silent-ok: the client left; it only wanted to look.
                let _sent = tx.send(self.changes_of(turn));
                Heard::Answered
            }
            Command::Undo(undoing) => self.hear_undo(*undoing),
            Command::Compact { caller, reply } => self.hear_compact(*caller, reply),
            Command::Uncompact { caller, reply } => self.hear_uncompact(*caller, reply),
            Command::Delete { account, last, reply } => self.hear_delete(account, last, reply),
            Command::Halt => self.hear_halt(),
            Command::Expire { turn } => self.hear_expiry(turn),
            Command::Report { turn, tx } => self.hear_report(turn, tx),
        })
    }

    fn hear_prompt(&mut self, prompting: Prompting) -> Heard {
        if self.inner.accounts.member(&prompting.caller.account).membership().is_none() {
            return answered(prompting.reply, faults::account_gone());
        }
        let earlier = self.state.turns().find(|turn| turn.request_id.as_ref() == Some(&prompting.request_id));
        if let Some(turn) = earlier.filter(|turn| turn.account == prompting.caller.account) {
            let (no, seq) = (turn.no, turn.seq);
            if content_of(turn) == Some(prompting.content) {
                prompting.reply.of(no).send(seq);
            } else {
                prompting.reply.fault(faults::request_conflict());
            }
            return Heard::Answered;
        }
        let Some(running) = self.state.running().map(|turn| turn.no) else {
            return Heard::Append(self.start_turn(prompting));
        };
        match prompting.prompt.if_busy {
            IfBusy::Reject => answered(prompting.reply, busy(running, self.waiting_approval())),
            IfBusy::Queue if self.state.open_turns() > PENDING_TURNS_MAX => {
                let fault = Fault::new(
                    Code::PENDING_LIMIT,
                    format!("{PENDING_TURNS_MAX} turns wait in this session already"),
                    "wait for one to end, or use another session",
                );
                answered(prompting.reply, fault.retryable())
            }
            IfBusy::Queue => Heard::Append(self.start_turn(prompting)),
            IfBusy::Steer => {
                let change = Change::Request {
                    account: prompting.caller.account.clone(),
                    request_id: prompting.request_id,
                    turn: running,
                    content: prompting.content,
                };
                let Prompt { content, integrity, .. } = prompting.prompt;
                match self.hear_steer(running, content, integrity, (prompting.flagged, prompting.reply)) {
                    Heard::Append(mut batch) => {
                        batch.changes.push(change);
                        Heard::Append(batch)
                    }
                    Heard::Interrupt(why, mut batch) => {
                        batch.changes.push(change);
                        Heard::Interrupt(why, batch)
                    }
                    Heard::Answered => Heard::Answered,
                }
            }
        }
    }

    /// The records of a new turn; it waits behind the running one by its number alone.
    pub(super) fn start_turn(&mut self, prompting: Prompting) -> Batch {
        let Prompting { caller, prompt, request_id, content, flagged, reply } = prompting;
        let turn = self.state.next_turn();
        let now_ms = self.inner.ports.clock.now_ms();
        let parts = prompt.content;
        let title = title_of(&parts);
        let body = Body::TurnStarted {
            request_id: Some(request_id.clone()),
            thread: caller.thread.clone(),
            integrity: prompt.integrity,
            temperature_milli: prompt.temperature_milli,
            effort: prompt.effort,
            model: prompt.model,
            undoes: None,
            headless: !caller.can_approve,
            direct: prompt.is_direct,
            waits: prompt.waits,
            compacts: false,
        };
        let payload = Payload::Prompt { content: parts, asked: Box::new(prompt.asked) };
        let draft = Draft { turn: Some(turn), body, payload: Some(payload) };
        let mut batch = one(caller.account.clone(), draft, reply.of(turn));
        batch.drafts.extend(flagged.map(|body| Draft { turn: Some(turn), body, payload: None }));
        batch.changes.push(Change::Request { account: caller.account.clone(), request_id, turn, content });
        let (account, thread) = (caller.account, caller.thread);
        batch.changes.push(Change::StartTurn { turn, account, thread, title, at_ms: now_ms });
        batch.may_be_refused = true;
        batch
    }

    fn changes_of(&self, no: Option<TurnNo>) -> Result<ChangedTurn, Fault> {
        let turn = match no {
            Some(no) => self.state.turn(no),
            None => self.state.turns().next_back(),
        };
        let (Some(turn), Some(facts)) = (turn, &self.state.facts) else { return Err(faults::unknown_turn()) };
        Ok(ChangedTurn {
            turn: turn.no,
            session: turn.session,
            workspace: PathBuf::from(&facts.workspace),
            calls: turn.changed.clone(),
            apart: turn.children_apart().collect(),
            running: self.state.running().map(|turn| turn.no),
        })
    }

    /// A turn of its own, so that it has a number, an end, and can be undone too.
    fn hear_undo(&self, undoing: Undoing) -> Heard {
        let Undoing { caller, undo, reply } = undoing;
        if let Some(running) = self.state.running() {
            return answered(reply, faults::busy(running.no));
        }
        let turn = self.state.next_turn();
        let body = Body::TurnStarted {
            request_id: None,
            thread: caller.thread.clone(),
            integrity: Integrity::User,
            temperature_milli: None,
            effort: None,
            model: None,
            undoes: Some(undo.turn),
            headless: false,
            direct: false,
            waits: false,
            compacts: false,
        };
        let Undo { session, changes, is_approved, .. } = undo;
        let payload = Payload::Undo { session, changes, is_approved };
        let draft = Draft { turn: Some(turn), body, payload: Some(payload) };
        let mut batch = one(caller.account.clone(), draft, reply.of(turn));
        let (account, thread, at_ms) = (caller.account, caller.thread, self.inner.ports.clock.now_ms());
        batch.changes.push(Change::StartTurn { turn, account, thread, title: String::new(), at_ms });
        batch.may_be_refused = true;
        Heard::Append(batch)
    }

    /// A steer under a request id that is taken, found before it stops anything.
    async fn repeated(&self, prompting: &Prompting) -> Result<Option<StoreError>, Stop> {
        if prompting.prompt.if_busy != IfBusy::Steer || self.state.running().is_none() {
            return Ok(None);
        }
        let (account, request_id) = (prompting.caller.account.clone(), prompting.request_id.clone());
        let found = self.inner.ports.store.request(account, request_id).await.map_err(faults::store)?;
        Ok(found.map(|(session, turn, content)| StoreError::RequestTaken { session, turn, content }))
    }

    fn hear_steer(
        &mut self,
        turn: TurnNo,
        content: Vec<Part>,
        integrity: Integrity,
        (flagged, reply): (Option<Body>, Reply),
    ) -> Heard {
        let Some(running) = self.state.running().filter(|running| running.no == turn && running.asks_model()) else {
            return answered(reply, faults::not_running());
        };
        if let Err(fault) = self.check_images(running, &content) {
            return answered(reply, fault);
        }
        let account = running.account.clone();
        let payload = Payload::Prompt { content, asked: Box::default() };
        let draft = Draft { turn: Some(turn), body: Body::Steered { integrity }, payload: Some(payload) };
        let mut batch = one(account, draft, reply.of(turn));
        batch.drafts.extend(flagged.map(|body| Draft { turn: Some(turn), body, payload: None }));
        Heard::Interrupt(Why::Steer, batch)
    }

    /// What a turn is shown while it runs must not end it.
    fn check_images(&self, running: &Turn, content: &[Part]) -> Result<(), Fault> {
        if image::shown(content).next().is_none() {
            return Ok(());
        }
        if image::bytes_with(running, content) > image::BYTES_MAX {
            let what = format!("the turn was shown images of more than {} bytes", image::BYTES_MAX);
            return Err(Fault::new(Code::PROMPT_TOO_LARGE, what, "show them in a new prompt"));
        }
        let around = self.surroundings.as_ref();
        around.and_then(|around| around.blind(&self.inner, running)).map_or(Ok(()), |model| Err(image::unseen(&model)))
    }

    fn hear_cancel(&mut self, turn: TurnNo, reply: Reply) -> Heard {
        let Some(open) = self.state.turn(turn).filter(|turn| turn.ended.is_none()) else {
            return answered(reply, faults::not_running());
        };
        let is_running = self.state.running().is_some_and(|running| running.no == turn);
        let draft = Draft { turn: Some(turn), body: Body::TurnCancelled {}, payload: None };
        let batch = one(open.account.clone(), draft, reply.of(turn));
        if is_running { Heard::Interrupt(Why::Cancel, batch) } else { Heard::Append(batch) }
    }

    /// Ends every open turn, unless the account has come back meanwhile.
    fn hear_halt(&self) -> Heard {
        let Some(facts) = &self.state.facts else { return Heard::Answered };
        if self.inner.accounts.member(&facts.owner).membership().is_some() {
            return Heard::Answered;
        }
        let fault = faults::account_gone();
        let ended = |turn: &Turn| Draft {
            turn: Some(turn.no),
            body: Body::TurnFailed { code: fault.code, frames: None },
            payload: Some(machine::failure(&fault, machine::system_label(), None)),
        };
        let open = self.state.turns().filter(|turn| turn.ended.is_none());
        let drafts: Vec<_> = open.map(ended).collect();
        if drafts.is_empty() {
            return Heard::Answered;
        }
        Heard::Interrupt(Why::Cancel, Batch::new(facts.owner.clone(), drafts))
    }

    fn hear_delete(&self, account: AccountId, last: Option<TurnNo>, reply: Reply) -> Heard {
        let later = Some(self.state.last_turn()).filter(|no| last.is_some_and(|last| last < *no));
        if let Some(later) = later {
            return answered(reply, faults::turns_since(later));
        }
        let mut drafts: Vec<_> = self
            .state
            .turns()
            .filter(|turn| turn.ended.is_none())
            .map(|turn| Draft { turn: Some(turn.no), body: Body::TurnCancelled {}, payload: None })
            .collect();
        drafts.push(Draft { turn: None, body: Body::SessionDeleted {}, payload: None });
        let last = drafts.len() - 1;
        let mut batch = Batch::new(account, drafts);
        batch.changes.push(Change::Erase);
        batch.replies.push((last, reply));
        Heard::Interrupt(Why::Cancel, batch)
    }
}

pub(super) fn answered(reply: Reply, fault: Fault) -> Heard {
    reply.fault(fault);
    Heard::Answered
}

pub(super) fn one(account: AccountId, draft: Draft, reply: Reply) -> Batch {
    let mut batch = Batch::new(account, vec![draft]);
    batch.replies.push((0, reply));
    batch
}

fn busy(turn: TurnNo, approval: Option<ApprovalNo>) -> Fault {
    let (message, help) = match approval {
        Some(approval) => (
            format!("turn {turn} waits for an answer to approval {approval}"),
            "answer it (`are approval list` shows it), cancel the turn, or send the prompt with `if_busy` set to `queue`",
        ),
        None => (
            format!("turn {turn} is running"),
            "wait for its end, or send the prompt with `if_busy` set to `queue` or `steer`",
        ),
    };
    Fault::new(Code::SESSION_BUSY, message, help).retryable()
}

fn content_of(turn: &Turn) -> Option<Digest> {
    let request_id = turn.request_id.as_ref()?;
    Some(content_digest(
        request_id,
        turn.content.as_deref()?,
        turn.integrity,
        (turn.temperature_milli, turn.effort, turn.model.as_deref(), &turn.asked),
    ))
}

/// Digest of what is asked under a request id; the id salts it.
pub(crate) fn content_digest(
    request_id: &RequestId,
    content: &[Part],
    integrity: Integrity,
    (temperature_milli, effort, model, asked): (Option<u32>, Option<Effort>, Option<&str>, &Asked),
) -> Digest {
    // Parts hold strings only, so encoding cannot fail.
    let bytes = match effort {
        // As before there was such a wish: the digests of earlier requests stay what they are.
        None => serde_json::to_vec(&(content, integrity, temperature_milli, model)),
        Some(effort) => serde_json::to_vec(&(content, integrity, temperature_milli, model, effort)),
    };
    let mut bytes = bytes.unwrap_or_default();
    // A request that is sent again comes from another span of its client's, and how it may be asked hangs on what was set
    // up at the time: it is the same request.
    let asked = Asked { trace: None, adaptive: None, ..asked.clone() };
    if asked != Asked::default() {
        bytes.extend(serde_json::to_vec(&asked).unwrap_or_default());
    }
    Digest::of(&[request_id.as_str().as_bytes(), &[0], &bytes])
}

fn title_of(parts: &[Part]) -> String {
    let text = parts.iter().find_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        Part::File { .. } | Part::Image(_) | Part::Exchange { .. } => None,
    });
    let line = text.unwrap_or_default().lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(TITLE_CHARS).collect()
}

//! What a session knows, as a fold over its journal.
//!
//! [`State::apply`] is the only thing that changes a state; live running,
//! recovery, forks and replay all come through it, so they cannot disagree.
//! It never fails: a record that does not fit is one that the machine would
//! not have written, and replay names it.

mod compaction;
mod held;
mod interrupted;
mod plan;
mod turn;

use std::collections::BTreeSet;

use are_core::account::Membership;
use are_core::body::{Answer, Body, CallSpent, Outcome};
use are_core::canonical::Args;
use are_core::change::FileChange;
use are_core::digest::Digest;
use are_core::ids::{AccountId, AgentName, ApprovalNo, CallNo, Seq, SessionKey, TurnNo};
use are_core::journal::{Entry, Frame, Record};
use are_core::label::{Confidentiality, Integrity, Label, Labels, worst_of};
use are_core::model::{Asked, Format, Message, Reasoning};
use are_core::payload::{Part, Payload};
use are_policy::budget::Ledger;
use are_policy::flow::View;
use are_policy::manifest::{RESULT_READ, SPAWN};

use crate::adapt::{self, Standing};
use crate::rights::{Given, Made, Rights};

pub use compaction::{Compacting, CompactingPhase, Compactions, Summary};
pub use held::Held;
pub use plan::{Asking, Planning};
pub use turn::{
    Approval, CallChanges, CallResult, CallStep, Ended, ModelStep, Phase, Ruling, Step, Trimmed, Turn, Undo,
};

/// The call by which an agent would read its workspace's instructions.
const GUIDE_READ: (&str, &str) = ("fs_read", r#"{"path":"AGENTS.md"}"#);

/// Facts of the session's first record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Owner.
    pub owner: AccountId,
    /// Agent.
    pub agent: AgentName,
    /// Absolute path of the workspace; empty after erasure.
    pub workspace: String,
    /// Marks untrusted text in requests.
    pub delimiter: String,
    /// Session and call that its agent works for.
    pub child_of: Option<(SessionKey, CallNo)>,
    /// What it may do at most, when it works for another.
    pub rights: Option<Rights>,
}

/// What a workspace says to agents that work in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guide {
    /// The text.
    pub text: String,
    /// Whose words it is.
    pub label: Label,
}

/// True for messages that are all the user's own.
fn is_said(messages: &[Message]) -> bool {
    messages.iter().all(|message| matches!(message, Message::User { .. }))
}

/// A session's state.
#[derive(Debug, Clone)]
pub struct State {
    /// Key, from the first own record on.
    pub session: Option<SessionKey>,
    /// Facts, from the first record on.
    pub facts: Option<Facts>,
    /// All turns, oldest first.
    #[expect(clippy::vec_box, reason = "a turn is large, and a list has room for as many again as it holds")]
    turns: Vec<Box<Turn>>,
    /// Number of the last call.
    pub calls_made: CallNo,
    /// Number of the last approval.
    pub approvals_made: ApprovalNo,
    /// What may run until the session ends: rules, tool and argument digests.
    pub granted: BTreeSet<(Digest, Digest, Digest)>,
    /// What the account was a member of at the last decision; nothing is granted to another membership.
    pub granted_to: Membership,
    /// What was used of the agent's budget.
    pub ledger: Ledger,
    /// Join over everything that requests may hold.
    pub in_view: Label,
    /// What values in arguments are traced in, and what the user said.
    pub view: View,
    /// Sessions of agents that calls of this session began.
    pub children: Vec<SessionKey>,
    /// Bytes of its artifacts.
    pub artifact_bytes: u64,
    /// The workspace's `AGENTS.md`, as it was read last.
    pub guide: Option<Guide>,
    /// What stands for earlier turns in requests.
    pub compactions: Compactions,
    /// What of its adaptive turns outlives them.
    pub standing: Standing,
    /// Time of the last entry that has one.
    pub last_at_ms: u64,
    /// Last entry.
    pub seq: Seq,
    /// True after `session_deleted`.
    pub is_deleted: bool,
    /// Index of the first turn that has not ended; only [`State::end`] moves it.
    first_open: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            session: None,
            facts: None,
            turns: Vec::new(),
            calls_made: 0,
            approvals_made: 0,
            granted: BTreeSet::new(),
            granted_to: Membership::default(),
            ledger: Ledger::default(),
            view: View::default(),
            in_view: Label { integrity: Integrity::System, confidentiality: Confidentiality::Public, origins: vec![] },
            children: Vec::new(),
            artifact_bytes: 0,
            guide: None,
            compactions: Compactions::default(),
            standing: Standing::default(),
            last_at_ms: 0,
            seq: 0,
            is_deleted: false,
            first_open: 0,
        }
    }
}

impl State {
    /// The turn that runs: the first one that has not ended.
    #[must_use]
    pub fn running(&self) -> Option<&Turn> {
        self.turns.get(self.first_open).map(AsRef::as_ref)
    }

    /// Turns that have not ended, the running one included.
    #[must_use]
    pub fn open_turns(&self) -> usize {
        self.turns[self.first_open..].iter().filter(|turn| turn.ended.is_none()).count()
    }

    /// All turns in their order.
    pub fn turns(&self) -> impl DoubleEndedIterator<Item = &Turn> {
        self.turns.iter().map(AsRef::as_ref)
    }

    /// The number of the last turn, 0 before the first.
    #[must_use]
    pub fn last_turn(&self) -> TurnNo {
        self.turns.last().map_or(0, |turn| turn.no)
    }

    /// A turn by number.
    #[must_use]
    pub fn turn(&self, no: TurnNo) -> Option<&Turn> {
        self.turns().rev().find(|turn| turn.no == no)
    }

    /// True when a person allowed this tool with these arguments until the session ends, under these rules and for
    /// this membership.
    #[must_use]
    pub fn is_granted(&self, (policy, membership): (Digest, &Membership), tool: Digest, args: Digest) -> bool {
        self.granted_to == *membership && self.granted.contains(&(policy, tool, args))
    }

    /// Number of the next turn.
    #[must_use]
    pub fn next_turn(&self) -> TurnNo {
        self.last_turn() + 1
    }

    /// Keeps what was said and drops what belonged to the parent alone, before the fork's own first record.
    pub fn start_over_as_fork(&mut self) {
        self.seq = 0;
        self.view.end_all();
        self.granted.clear();
        self.children.clear();
        self.artifact_bytes = 0;
        self.is_deleted = false;
        for turn in self.turns.iter_mut().filter(|turn| turn.ended.is_none()) {
            turn.ended = Some(Ended::Cancelled);
        }
        self.first_open = self.turns.len();
    }

    /// Takes in one entry.
    pub fn apply(&mut self, entry: &Entry) {
        self.seq = entry.seq();
        match entry {
            Entry::Frame(_, frame) => self.apply_frame(frame),
            Entry::Record(record, payload) => {
                self.last_at_ms = u64::try_from(record.timestamp.as_millisecond()).unwrap_or(0);
                self.apply_record(record, payload.as_ref());
            }
        }
    }

    fn apply_frame(&mut self, frame: &Frame) {
        let Some(step) = self.running_mut().and_then(Turn::model_mut) else { return };
        match frame {
            Frame::Token { text } => step.text.push_str(text),
            Frame::Reasoning { text, opaque, .. } => {
                // A block of reasoning comes in pieces, the last of which has the provider's own form of it.
                match step.reasoning.last_mut().filter(|block| block.opaque.is_none()) {
                    Some(block) => {
                        block.text.push_str(text);
                        block.opaque.clone_from(opaque);
                    }
                    None => step.reasoning.push(Reasoning { text: text.clone(), opaque: opaque.clone() }),
                }
            }
            Frame::ToolOutput { .. } => {}
        }
    }

    fn running_mut(&mut self) -> Option<&mut Turn> {
        self.turns.get_mut(self.first_open).map(AsMut::as_mut)
    }

    fn turn_mut(&mut self, no: Option<TurnNo>) -> Option<&mut Turn> {
        self.turns.iter_mut().rev().find(|turn| Some(turn.no) == no).map(AsMut::as_mut)
    }

    fn see(&mut self, label: &Label) {
        self.in_view = self.in_view.join(label);
    }

    fn see_prompt(&mut self, turn: Option<TurnNo>, content: &[Part], integrity: Integrity) {
        let label = |part: &Part| match part {
            Part::Text { .. } if integrity == Integrity::User => {
                Label::new(Integrity::User, Confidentiality::Private, "user")
            }
            Part::Text { .. } => Label::new(integrity, Confidentiality::Private, "input"),
            Part::File { .. } => Label::worst("file"),
            Part::Image(_) => Label::worst("image"),
            Part::Exchange { messages } if is_said(messages) && integrity == Integrity::User => {
                Label::new(Integrity::User, Confidentiality::Private, "user")
            }
            Part::Exchange { .. } => Label::worst("client"),
        };
        for part in content {
            self.see(&label(part));
        }
        if let Some(turn) = turn {
            self.view.hear(turn, content, integrity, label);
        }
    }

    /// What a client declares is read by the model, and is nobody's word.
    fn see_declared(&mut self, asked: &Asked) {
        let tools = asked.tools.iter().map(|tool| format!("{}\n{}", tool.description, tool.schema));
        let format = asked.shape.format.iter().filter_map(|format| match format {
            Format::Schema { schema, .. } => Some(schema.to_string()),
            Format::Object => None,
        });
        for text in tools.chain(format) {
            self.see(&Label::worst("client"));
            self.view.declare(&text);
        }
    }

    /// A turn that brings what its client's calls came to: they have their results now. Without words of its own it goes
    /// on with those of the turn that made the calls, and with what that was given on them.
    fn gone_on(&mut self, mut turn: Turn) -> Turn {
        let (mut of, mut brings) = (None, Vec::new());
        for part in turn.content.iter().flatten() {
            let Part::Exchange { messages } = part else { continue };
            for message in messages {
                let Message::Tool { id, text } = message else { continue };
                let earlier = self.turns.iter_mut().rev();
                let found = earlier.enumerate().find_map(|(back, turn)| Some((back, turn.handed_over_mut(id)?)));
                let Some((back, step)) = found else { continue };
                let labels = Labels::from([(String::new(), Label::worst("client"))]);
                step.result = Some(CallResult::Completed { value: text.clone().into(), labels });
                of = Some(self.turns.len() - 1 - back);
                brings.push(id.clone());
            }
        }
        turn.brings = brings;
        let is_said = |part: &&Part| matches!(part, Part::Text { .. } | Part::Image(_));
        let is_silent = !turn.content.iter().flatten().any(|part| is_said(&part));
        let Some(before) = of.and_then(|at| self.turns.get(at)).filter(|_| is_silent) else { return turn };
        if before.integrity != Integrity::User || turn.integrity != Integrity::User || before.account != turn.account {
            return turn;
        }
        turn.renewed = before.content.iter().flatten().chain(&before.renewed).filter(is_said).cloned().collect();
        turn.earlier = before.acted().chain(before.earlier.iter().cloned()).collect();
        let label = Label::new(Integrity::User, Confidentiality::Private, "user");
        self.view.hear(turn.no, &turn.renewed, Integrity::User, |_| label.clone());
        turn
    }

    /// What the first turn of a child session is begun with; the user's own words in it begin with the second.
    fn given(&self, turn: Option<TurnNo>) -> Option<Given> {
        let facts = self.facts.as_ref().filter(|facts| facts.child_of.is_some() && turn == Some(1))?;
        facts.rights.as_ref().map(|rights| rights.given.clone())
    }

    /// The words of the user ask, as far as they were given on; the prompt is a model's, and asks for nothing.
    fn see_given(&mut self, turn: Option<TurnNo>, content: &[Part], given: &Given) {
        self.see(&given.label);
        let Some(turn) = turn else { return };
        let words: Vec<Part> = given.words.iter().map(|text| Part::Text { text: text.clone() }).collect();
        let label = Label::new(Integrity::User, Confidentiality::Private, "user");
        self.view.hear(turn, &words, Integrity::User, |_| label.clone());
        given.plans.iter().for_each(|plan| self.view.plan_above(turn, plan));
        // Words of a model vouch for nothing. Where it had read what anybody may have written, they can be that.
        // Not as something that the user handed over: that would count as named by the user.
        if given.label.integrity == Integrity::Untrusted
            && let Ok(args) = Args::parse("{}")
        {
            for part in content {
                match part {
                    Part::Text { text } | Part::File { text, .. } => self.view.fail(SPAWN, &args, text, &given.label),
                    // No agent is begun with one.
                    Part::Image(_) | Part::Exchange { .. } => {}
                }
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm per record kind; splitting would hide that all are handled")]
    fn apply_record(&mut self, record: &Record, payload: Option<&Payload>) {
        if let Some(spent) = spent_in(&record.body) {
            self.ledger.settle_call(spent);
        }
        match (&record.body, payload) {
            (Body::SessionCreated { owner, agent, child_of, .. }, payload) => {
                let (workspace, delimiter, rights) = match payload {
                    Some(Payload::Created { workspace, delimiter, rights }) => {
                        (workspace.clone(), delimiter.clone(), rights.as_ref().map(Rights::read))
                    }
                    _ => (String::new(), String::new(), None),
                };
                self.session = Some(record.session);
                let (owner, agent, child_of) = (owner.clone(), agent.clone(), *child_of);
                // Rights that are gone, as after erasure, are none.
                let rights = rights.or_else(|| child_of.map(|_| Rights::read(&serde_json::Value::Null)));
                self.facts = Some(Facts { owner, agent, workspace, delimiter, child_of, rights });
            }
            (Body::SessionDeleted {}, _) => self.is_deleted = true,
            (Body::TurnStarted { integrity, .. }, payload) => {
                let turn = Turn::start(record, payload);
                let content = turn.as_ref().and_then(|turn| turn.content.clone());
                if let Some(turn) = &turn {
                    self.see_declared(&turn.asked);
                }
                let given = self.given(record.turn);
                match &given {
                    Some(given) => self.see_given(record.turn, content.as_deref().unwrap_or_default(), given),
                    None => self.see_prompt(record.turn, content.as_deref().unwrap_or_default(), *integrity),
                }
                let turn = turn.map(|turn| match given {
                    Some(given) => Turn { is_delegated: true, earlier: given.earlier, ..turn },
                    None => self.gone_on(turn),
                });
                self.turns.extend(turn.map(Box::new));
            }
            (Body::Steered { integrity }, Some(Payload::Prompt { content, .. })) => {
                self.see_prompt(record.turn, content, *integrity);
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.steps.push(Step::Steer { content: content.clone(), integrity: *integrity });
                    turn.interrupt_plan();
                    turn.failures.clear();
                }
            }
            (Body::Firewall { call: Some(call), .. }, _) => {
                if let Some(step) = self.call_mut(record.turn, *call) {
                    step.is_flagged = true;
                }
            }
            (Body::ContextTrimmed { turns, calls, .. }, _) => {
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.trimmed = Trimmed { turns: *turns, calls: *calls };
                }
            }
            (Body::ResultsShortened { until, context_tokens, .. }, _) => {
                self.compactions.shorten(*until, *context_tokens);
            }
            (
                Body::CompactionRequested {
                    until, context_tokens, covered_tokens, reserved_tokens, reserved_cost, ..
                },
                _,
            ) => {
                let (until, context_tokens, covered_tokens) = (*until, *context_tokens, *covered_tokens);
                self.ledger.reserve(*reserved_tokens, reserved_cost.unwrap_or(0));
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.steps_taken += 1;
                    let phase = CompactingPhase::Open;
                    turn.compaction = Some(Compacting { until, context_tokens, covered_tokens, phase });
                }
            }
            (Body::Compacted { until, usage, cost, .. }, payload) => {
                self.ledger.settle(*usage, *cost);
                // Without its text, as after erasure, it stands for nothing; then neither is there anything to stand for.
                if let Some(Payload::Summary { text, label }) = payload {
                    self.see(label);
                    self.compact(record.turn, *until, text, label);
                }
            }
            (Body::CompactionFailed { code, begun }, _) => {
                if !*begun {
                    self.ledger.release();
                }
                self.fail_compaction(record.turn, *code);
            }
            (Body::CompactionUndone {}, _) => self.compactions.undo(),
            (Body::DirectRequested { conditions }, _) => {
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.request_directly(conditions);
                }
            }
            (Body::ModelRequested { attempt, model, reserved_tokens, reserved_cost, conditions, plans, .. }, _) => {
                self.ledger.reserve(*reserved_tokens, reserved_cost.unwrap_or(0));
                if *plans {
                    self.begin_plan(record.turn, *attempt);
                } else {
                    self.standing.ask(model, self.last_at_ms);
                    if let Some(turn) = self.turn_mut(record.turn) {
                        turn.request_model(*attempt, model, conditions);
                    }
                }
            }
            (body @ Body::Planned { .. }, _) => self.end_plan(record.turn, body),
            (Body::Strategy { checks: true, .. }, _) => self.doubt(record.turn),
            (Body::Strategy { reasons, .. }, _) => {
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.dropped.clone_from(reasons);
                }
            }
            (Body::ModelFailed { model, frames, .. }, _) => {
                // One that had begun to answer may charge for it.
                if frames.is_none() {
                    self.ledger.release();
                }
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.fail_model(model);
                }
            }
            (Body::ModelCompleted { stop_reason, usage, cost, cached, .. }, payload) => {
                if *cached {
                    self.ledger.release();
                } else {
                    self.ledger.settle(*usage, *cost);
                }
                self.standing.answered(self.last_at_ms);
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.complete_model(*stop_reason, *usage, payload);
                }
            }
            (Body::ModelRestarted { attempt, keep_bytes }, _) => {
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.restart_model(*attempt, *keep_bytes);
                }
            }
            (Body::TurnResumed { .. }, _) => {
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.interrupt();
                    turn.interrupt_compaction();
                }
            }
            (Body::ToolRequested { call, parent, resource, tool_digest }, payload) => {
                self.calls_made = *call;
                if let Some(turn) = self.turn_mut(record.turn) {
                    let (args, name) = match payload {
                        Some(Payload::Call { args, name }) => (args.clone(), name.as_deref()),
                        _ => (None, None),
                    };
                    let is_clients = parent.is_none() && name.is_some_and(|name| turn.is_clients(name));
                    let step = CallStep::new(*call, *parent, resource, *tool_digest, args);
                    turn.request(CallStep { is_clients, ..step });
                }
            }
            (Body::Decision { call, decision, rules, permissions, labels, policy, membership, .. }, payload) => {
                // Under other rules nothing stays granted, also when the old ones come back.
                self.granted.retain(|(granted_under, ..)| granted_under == policy);
                // Nor for another membership.
                if self.granted_to != *membership {
                    self.granted.clear();
                    self.granted_to.clone_from(membership);
                }
                let ruling = Ruling::new(*decision, rules, permissions, *labels, (*policy, membership), payload);
                if let Some(step) = self.call_mut(record.turn, *call) {
                    step.phase = Phase::Decided;
                    step.ruling = Some(ruling);
                }
                if *decision == Outcome::Deny {
                    self.count_denial(record.turn);
                }
            }
            (Body::ApprovalRequested { approval, call, digest, expires_at_ms }, payload) => {
                self.approvals_made = *approval;
                if let Some(step) = self.call_mut(record.turn, *call) {
                    step.phase = Phase::Waiting;
                    step.approval = Some(Approval {
                        no: *approval,
                        digest: *digest,
                        expires_at_ms: *expires_at_ms,
                        answer: None,
                        policy: step.ruling.as_ref().map(|ruling| ruling.policy),
                        kept_policy: None,
                        membership: step.ruling.as_ref().map(|ruling| ruling.membership.clone()).unwrap_or_default(),
                        rule: payload.and_then(turn::rule_shown),
                    });
                }
            }
            (Body::ApprovalWithdrawn { approval, .. }, _) => {
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.withdraw(*approval);
                }
            }
            (Body::ApprovalResolved { approval, decision, policy, .. }, _) => {
                self.resolve(record.turn, *approval, *decision, *policy);
            }
            (Body::TurnParked { .. }, _) => {
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.park();
                }
            }
            (Body::ToolStarted { call, effect, retry, .. }, _) => {
                self.ledger.begin_call();
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.steps_taken += 1;
                }
                if let Some(step) = self.call_mut(record.turn, *call) {
                    step.phase = Phase::Started { effect: *effect, retry: *retry, is_interrupted: false };
                    step.begun = Some((*effect, *retry));
                    step.children = 0;
                }
            }
            (Body::LimitReached { call, .. }, _) => {
                let held = Held::read(record);
                match (self.turn_mut(record.turn), call) {
                    (Some(turn), Some(call)) => {
                        if let Some(step) = turn.call_mut(*call) {
                            step.limited = held;
                        }
                    }
                    (Some(turn), None) => turn.hold(held),
                    (None, _) => {}
                }
            }
            (Body::LimitLifted {}, _) => {
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.held = None;
                }
            }
            (Body::ToolHandedOver { call }, _) => {
                if let Some(step) = self.call_mut(record.turn, *call) {
                    step.phase = Phase::Done;
                    step.result = Some(CallResult::HandedOver);
                }
            }
            (Body::Artifact { bytes, .. }, _) => self.artifact_bytes = self.artifact_bytes.saturating_add(*bytes),
            (Body::ChildStarted { call, child, .. }, _) => {
                self.children.push(*child);
                self.ledger.begin_agent();
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.begin_child(*call, *child);
                }
            }
            (Body::ChildCompleted { call, .. }, payload) => {
                let made = match payload {
                    Some(Payload::Made { made }) => Made::read(made),
                    _ => Made::read(&serde_json::Value::Null),
                };
                self.ledger.charge(made.used);
                if let Some(turn) = self.turn_mut(record.turn) {
                    turn.end_child(*call, made);
                }
            }
            (Body::GuideRead { .. }, Some(Payload::Guide { text, label })) => {
                self.see(label);
                // As what it is, a file that was read; nobody handed it over.
                if let (Some(text), Ok(args)) = (text, Args::parse(GUIDE_READ.1)) {
                    self.view.fail(GUIDE_READ.0, &args, text, label);
                }
                self.guide = text.as_ref().map(|text| Guide { text: text.clone(), label: label.clone() });
            }
            (Body::ToolCompleted { call, .. }, Some(Payload::Result { value, labels, changes, .. })) => {
                self.change(record.turn, *call, changes, true);
                if let Some(label) = worst_of(labels) {
                    self.see(&label);
                }
                let result = CallResult::Completed { value: value.clone(), labels: labels.clone() };
                self.finish_call(record.turn, *call, result);
            }
            (Body::ToolFailed { call, code, .. }, Some(Payload::Failure { message, help, label, changes, .. })) => {
                self.change(record.turn, *call, changes, true);
                self.see(label);
                let result = CallResult::Failed {
                    code: *code,
                    message: message.clone(),
                    help: help.clone(),
                    label: label.clone(),
                };
                self.finish_call(record.turn, *call, result);
            }
            (Body::ToolUnknown { call, .. }, Some(Payload::Failure { message, label, changes, .. })) => {
                self.change(record.turn, *call, changes, false);
                self.see(label);
                let result = CallResult::Unknown { message: message.clone(), label: label.clone() };
                self.finish_call(record.turn, *call, result);
            }
            (Body::ToolCompleted { call, .. } | Body::ToolFailed { call, .. } | Body::ToolUnknown { call, .. }, _) => {
                self.finish_call(record.turn, *call, CallResult::Erased)
            }
            (Body::Feedback { rating }, _) => {
                let is_running = self.running().is_some();
                self.standing.rate(*rating, is_running);
            }
            (Body::TurnCompleted { .. }, _) => self.end(record, Ended::Completed),
            (Body::TurnFailed { code, .. }, _) => self.end(record, Ended::Failed(*code)),
            (Body::TurnCancelled {}, _) => self.end(record, Ended::Cancelled),
            _ => {}
        }
    }

    fn end(&mut self, record: &Record, how: Ended) {
        if let Some(turn) = record.turn {
            self.view.end(turn);
            self.compactions.see(turn, &self.in_view);
        }
        // One that only waited, and was cancelled, says nothing of how the running one goes.
        let was_running = self.running().is_some_and(|turn| Some(turn.no) == record.turn);
        if let Some(turn) = self.turns.iter_mut().rev().find(|turn| Some(turn.no) == record.turn) {
            turn.ended = Some(how);
            turn.end_seq = record.seq;
            // Most are done in one or two, and they stay while the session is in memory.
            turn.steps.shrink_to_fit();
            if was_running {
                self.standing.end(turn);
            }
        }
        while self.turns.get(self.first_open).is_some_and(|turn| turn.ended.is_some()) {
            self.first_open += 1;
        }
    }

    /// The turn goes on with what the runtime says of its answer.
    fn doubt(&mut self, no: Option<TurnNo>) {
        let turn = self.turns.iter().rev().find(|turn| Some(turn.no) == no);
        let Some(doubts) = turn.map(|turn| adapt::doubts(self, turn)) else { return };
        if let Some(turn) = self.turn_mut(no) {
            let text = adapt::check(&doubts);
            turn.doubts = doubts;
            turn.steps.push(Step::Steer { content: vec![Part::Text { text }], integrity: Integrity::System });
        }
    }

    fn call_mut(&mut self, turn: Option<TurnNo>, no: CallNo) -> Option<&mut CallStep> {
        self.turn_mut(turn).and_then(|turn| turn.call_mut(no))
    }

    fn change(&mut self, turn: Option<TurnNo>, call: CallNo, changes: &[FileChange], is_certain: bool) {
        if let Some(turn) = self.turn_mut(turn) {
            turn.change(call, changes, is_certain);
        }
    }

    fn finish_call(&mut self, turn: Option<TurnNo>, no: CallNo, result: CallResult) {
        let place = self.turns.iter().rposition(|one| Some(one.no) == turn);
        if let Some(at) = place
            && let Some(step) = self.turns[at].call_mut(no)
        {
            // What is read again stands in view already, where it came from: a page of it, under another name and beside
            // numbers that the model chose, would be vouched for by neighbours that the original never had.
            let reads_again = step.tool == RESULT_READ && matches!(result, CallResult::Completed { .. });
            if let Some(args) = step.args.as_ref().filter(|_| !reads_again) {
                match &result {
                    CallResult::Completed { value, labels } => self.view.answer(&step.tool, args, value, labels),
                    CallResult::Failed { message, label, .. } | CallResult::Unknown { message, label } => {
                        self.view.fail(&step.tool, args, message, label);
                    }
                    CallResult::HandedOver | CallResult::Erased => {}
                }
            }
            step.phase = Phase::Done;
            step.result = Some(result);
            self.turns[at].count_failure(no);
        }
    }

    fn count_denial(&mut self, turn: Option<TurnNo>) {
        if let Some(turn) = self.turn_mut(turn) {
            turn.denials += 1;
        }
    }

    fn resolve(&mut self, turn_no: Option<TurnNo>, approval: ApprovalNo, answer: Answer, kept: Option<Digest>) {
        let granted_to = self.granted_to.clone();
        let Some(turn) = self.turn_mut(turn_no) else { return };
        turn.is_parked = false;
        let Some(step) = turn.calls_mut().find(|step| step.approval.as_ref().is_some_and(|a| a.no == approval)) else {
            return;
        };
        if let Some(pending) = &mut step.approval {
            pending.answer = Some(answer);
            pending.kept_policy = kept;
        }
        step.phase = Phase::Answered;
        // A grant goes to the membership that was asked for, and only while that is the present one.
        let is_current = step.ruling.as_ref().is_some_and(|ruling| ruling.membership == granted_to);
        let grant = step.grant_key().filter(|_| is_current);
        match answer {
            Answer::AllowOnce | Answer::AllowAlways => {}
            Answer::AllowSession => self.granted.extend(grant),
            Answer::Deny => turn.denials += 1,
        }
    }
}

/// What a call used, where the record is its end.
const fn spent_in(body: &Body) -> Option<CallSpent> {
    match body {
        Body::ToolCompleted { spent, .. } | Body::ToolFailed { spent, .. } | Body::ToolUnknown { spent, .. } => *spent,
        _ => None,
    }
}

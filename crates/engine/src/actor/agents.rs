//! Agents that calls begin: what they may do at most, and what becomes of them.
//!
//! The session of such an agent is named here, in a record, before it exists:
//! after a crash the same call finds it again, or begins it under the same
//! name. What it may do is a part of what this session's agent may do. It
//! outlives neither its call nor its turn.

use std::sync::Arc;

use are_core::body::Body;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{AgentName, CallNo, RequestId, SessionKey, TurnNo};
use are_core::journal::{Draft, Entry};
use are_core::label::{Integrity, Levels};
use are_core::model::Asked;
use are_core::payload::{Part, Payload};
use are_core::store::StoreError;
use are_policy::budget::Used;
use are_policy::manifest::SPAWN;
use are_policy::pauses::Pauses;
use are_policy::tools::Spawn;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::commands::{Heard, Why};
use super::tools::Run;
use super::{Actor, Batch, Command, Stop};
use crate::api::{Caller, IfBusy, Prompt};
use crate::faults;
use crate::machine::{self, canonical};
use crate::rights::{self, Calls, Given, Made, Rights};
use crate::state::{CallChanges, Ended, Phase, State, Step, Turn};
use crate::trace::{self, Trace};

/// Bytes of an agent's answer that whoever began it is told.
const ANSWER_BYTES_MAX: usize = 32 << 10;
/// Begins the name of the thread of agents that work for a session.
pub(crate) const THREAD: &str = "agent:";

/// What a call has to say about the agent that it began.
pub(crate) enum News {
    /// It is to be begun, or found again.
    Begin(Box<Spawn>, oneshot::Sender<Result<Planned, Fault>>),
    /// A person is asked there, or no longer.
    Asks(bool),
    /// Its turn has ended; answered when that is recorded.
    Ended(SessionKey, Arc<Report>, oneshot::Sender<()>),
}

/// The session of an agent to be begun.
pub(crate) struct Planned {
    pub(crate) key: SessionKey,
    /// How it begins; `None` when it is there.
    pub(crate) plan: Option<Box<Plan>>,
}

/// How the session of an agent begins.
pub(crate) struct Plan {
    pub(crate) caller: Caller,
    pub(crate) agent: AgentName,
    pub(crate) workspace: String,
    pub(crate) child_of: (SessionKey, CallNo),
    pub(crate) rights: Rights,
    pub(crate) prompt: Prompt,
    pub(crate) request_id: RequestId,
    pub(crate) content: Digest,
}

/// What an agent that was begun tells of its turn.
pub(crate) struct Report {
    pub(crate) ended: Ended,
    pub(crate) answer: String,
    /// The worst that it had in view.
    pub(crate) label: are_core::label::Label,
    pub(crate) used: Used,
    pub(crate) calls: Calls,
    pub(crate) changes: Vec<CallChanges>,
}

/// Ends a turn whose time is over.
pub(super) struct Timed {
    turn: TurnNo,
    pauses: Pauses,
    _stop: DropGuard,
}

impl Report {
    /// Of the turn; `None` while it runs.
    pub(super) fn of(state: &State, turn: TurnNo) -> Option<Self> {
        let turn = state.turn(turn)?;
        let texts = turn.steps.iter().rev().filter_map(|step| match step {
            Step::Model(step) if !step.text.trim().is_empty() => Some(step.text.as_str()),
            Step::Model(_) | Step::Call(_) | Step::Steer { .. } => None,
        });
        let answer = texts.take(1).next().unwrap_or_default();
        Some(Self {
            ended: turn.ended?,
            answer: answer[..answer.floor_char_boundary(ANSWER_BYTES_MAX)].to_owned(),
            label: state.in_view.clone(),
            used: state.ledger.used(),
            calls: turn.acted().collect(),
            changes: turn.changed.clone(),
        })
    }
}

/// How a turn ended, as records and models are told.
pub(crate) const fn word(ended: Ended) -> &'static str {
    match ended {
        Ended::Completed => "completed",
        Ended::Failed(_) => "failed",
        Ended::Cancelled => "cancelled",
    }
}

impl Actor {
    /// Hears of an agent that a running call began.
    pub(super) async fn take_news(&mut self, run: &mut Run, call: CallNo, news: News) -> Result<(), Stop> {
        match news {
            News::Begin(_, answer) if answer.is_closed() => Ok(()),
            News::Begin(spawn, answer) => {
                let is_running = run.calls.get(&call).is_some_and(|entry| entry.done.is_none());
                let planned = match self.begin_agent(is_running, call, *spawn).await? {
                    Ok((planned, record)) => {
                        if let Some(batch) = record {
                            self.commit_within(run, batch).await?;
                        }
                        Ok(planned)
                    }
                    Err(fault) => Err(fault),
                };
                // silent-ok: whoever asked has left, and with it the agent.
                let _sent = answer.send(planned);
                Ok(())
            }
            News::Asks(is_asking) => {
                if is_asking {
                    self.asking_agents.insert(call);
                } else {
                    self.asking_agents.remove(&call);
                }
                self.tell_asking();
                self.keep_time(run);
                Ok(())
            }
            News::Ended(child, report, answer) => {
                self.asking_agents.remove(&call);
                let is_told = |turn: &Turn| turn.call(call).is_some_and(|step| matches!(step.child, Some((_, None))));
                if let Some(turn) = self.state.running().filter(|turn| is_told(turn)) {
                    let made = Made::new(report.used, report.calls.iter().cloned());
                    let body = Body::ChildCompleted {
                        call,
                        child,
                        result: word(report.ended).to_owned(),
                        labels: Levels::from(&report.label),
                    };
                    let payload = Some(Payload::Made { made: made.to_value() });
                    let batch = Batch::new(turn.account.clone(), vec![Draft { turn: Some(turn.no), body, payload }]);
                    self.commit_within(run, batch).await?;
                }
                // silent-ok: whoever asked has left.
                let _sent = answer.send(());
                Ok(())
            }
        }
    }

    /// The session of the agent that a call begins, with the record of that, unless there is one.
    async fn begin_agent(
        &self,
        is_running: bool,
        call: CallNo,
        spawn: Spawn,
    ) -> Result<Result<(Planned, Option<Batch>), Fault>, Stop> {
        let known = self.state.running().and_then(|turn| turn.call(call)).and_then(|step| step.child.as_ref());
        let known = known.map(|(child, _)| *child);
        if let Some(key) = known {
            match self.inner.ports.store.session(key).await {
                Ok(row) if row.is_deleted => return Ok(Err(faults::unknown_session())),
                Ok(_) => return Ok(Ok((Planned { key, plan: None }, None))),
                Err(StoreError::NotFound) => {}
                Err(error) => return Err(faults::store(error).into()),
            }
        }
        let clock = &self.inner.ports.clock;
        let key = known.unwrap_or_else(|| SessionKey::new(clock.now_ms(), &clock.random()));
        let plan = match self.plan(is_running, call, spawn) {
            Ok(plan) => plan,
            Err(fault) => return Ok(Err(fault)),
        };
        let record = |turn: &Turn| {
            let body = Body::ChildStarted { call, child: key, resource: plan.agent.clone() };
            Batch::new(turn.account.clone(), vec![Draft { turn: Some(turn.no), body, payload: None }])
        };
        let record = self.state.running().filter(|_| known.is_none()).map(record);
        Ok(Ok((Planned { key, plan: Some(Box::new(plan)) }, record)))
    }

    fn plan(&self, is_running: bool, call: CallNo, spawn: Spawn) -> Result<Plan, Fault> {
        let over = || Fault::new(Code::TOOL_FAILED, "no agent can be begun from here", "go on without it");
        let (Some(turn), Some(facts), Some(around)) = (self.state.running(), &self.state.facts, &self.surroundings)
        else {
            return Err(over());
        };
        let step = turn.call(call).filter(|step| is_running && step.parent.is_none()).ok_or_else(over)?;
        let request = canonical(&self.state, turn, step).ok_or_else(over)?;
        let maker = around.agent();
        if maker.narrowing.agents.len() >= rights::DEPTH_MAX {
            let why = format!("agents begun by agents nest at most {} deep", rights::DEPTH_MAX);
            return Err(Fault::new(Code::CHILD_LIMIT, why, "do it yourself, or leave it to whoever began you"));
        }
        let share = maker.budget.left(&self.state.ledger);
        let left = rights::PER_TURN_MAX.saturating_sub(turn.agents).min(share.agents.unwrap_or(u64::MAX));
        if left == 0 && step.child.is_none() {
            let most = rights::PER_TURN_MAX;
            let why = format!("all agents that may be begun here were begun: {most} for a turn, or as its budget says");
            return Err(Fault::new(Code::CHILD_LIMIT, why, "do the rest yourself, or answer with what is known"));
        }
        let agent = spawn.agent.unwrap_or_else(|| facts.agent.clone());
        self.inner.agent(&agent)?;
        let mut budget = share.least(spawn.budget);
        budget.seconds = Some(budget.seconds.unwrap_or(rights::SECONDS).min(rights::SECONDS_MAX));
        budget.agents = Some(left.saturating_sub(1).min(spawn.budget.agents.unwrap_or(u64::MAX)));
        let label = step
            .ruling
            .as_ref()
            .map_or_else(|| self.state.in_view.clone(), |ruling| self.state.in_view.join(&ruling.label));
        let integrity = label.integrity.max(Integrity::Platform);
        let made = Made::new(Used::default(), turn.acted());
        if made.is_cut {
            let why = "this turn made more calls with an effect than another agent can be told of";
            return Err(Fault::new(Code::CHILD_LIMIT, why, "do the rest yourself"));
        }
        // A plan that names agents says that somebody else finds out what else there is to do, who is planned in turn.
        let plans = self.state.view.plans(turn.no).filter(|plan| !plan.iter().any(|tool| tool.as_str() == SPAWN));
        let plans = plans.map(|plan| plan.iter().cloned().collect()).collect();
        let given = Given { words: words_of(&self.state, turn), label, earlier: made.calls, plans };
        let request_id: RequestId = request.key().to_string().parse().map_err(|_| faults::internal())?;
        let content = Digest::of(&[request_id.as_str().as_bytes(), &[0], request.args.as_str().as_bytes()]);
        let thread = format!("{THREAD}{}/{call}", self.shared.key).parse().map_err(|_| faults::internal())?;
        let (trace, span) = (Trace::of(turn), trace::span(self.shared.key, trace::Part::Call(call)));
        Ok(Plan {
            caller: Caller {
                account: facts.owner.clone(),
                thread,
                can_approve: !turn.is_headless,
                can_administer: false,
                via: None,
            },
            agent,
            workspace: facts.workspace.clone(),
            child_of: (self.shared.key, call),
            rights: maker.rights(spawn.tools, budget, given),
            prompt: Prompt {
                request_id: Some(request_id.clone()),
                content: vec![Part::Text { text: spawn.prompt }],
                integrity,
                temperature_milli: None,
                effort: None,
                model: None,
                if_busy: IfBusy::Reject,
                is_direct: false,
                waits: false,
                // A text of a model is looked over as its result was; nobody's words are in it.
                allow_flagged: false,
                asked: Asked { trace: Some(trace.below(span)), adaptive: turn.asked.adaptive, ..Asked::default() },
            },
            request_id,
            content,
        })
    }

    /// Stops agents whose calls are over without them: refused after a restart, or ended with their turn.
    pub(super) fn stop_agents(&self, entries: &[(usize, Entry)]) {
        if self.state.children.is_empty() {
            return;
        }
        for (_, entry) in entries {
            let Entry::Record(record, _) = entry else { continue };
            let over: Option<CallNo> = match &record.body {
                Body::ToolFailed { call, .. } | Body::ToolUnknown { call, .. } => Some(*call),
                body if body.ends_turn() => None,
                _ => continue,
            };
            let Some(turn) = record.turn.and_then(|turn| self.state.turn(turn)) else { continue };
            for step in &turn.steps {
                let Step::Call(step) = step else { continue };
                if let Some((child, None)) = &step.child
                    && over.is_none_or(|call| call == step.no)
                {
                    self.inner.stop_agent(*child);
                }
            }
        }
    }

    /// True while only agents are waited for, which a next process finds again.
    pub(super) fn waits_for_agents(&self, run: &Run) -> bool {
        let Some(turn) = self.state.running().filter(|_| !self.state.children.is_empty()) else { return false };
        let is_agents = |call: &CallNo| turn.call(*call).is_some_and(|step| step.child.is_some());
        run.calls.iter().filter(|(_, entry)| entry.done.is_none()).all(|(call, _)| is_agents(call))
    }

    /// Tells whoever waits for this session whether a person is asked, and keeps the turn's time.
    pub(super) fn tell_asking(&self) {
        let is_asked = |turn: &Turn| turn.calls().any(|step| step.phase == Phase::Waiting);
        let is_asking = !self.asking_agents.is_empty() || self.state.running().is_some_and(is_asked);
        self.shared.ask(is_asking);
        if let Some(timed) = &self.timed {
            if is_asking { timed.pauses.begin() } else { timed.pauses.end() }
        }
    }

    /// Begins to count the time of another turn that runs, where its budget limits that.
    pub(super) fn keep_deadline(&mut self) {
        let running = self.state.running().filter(|turn| turn.asks_model()).map(|turn| turn.no);
        let Some(turn) = running else {
            self.timed = None;
            return;
        };
        if self.timed.as_ref().is_some_and(|timed| timed.turn == turn) {
            return;
        }
        let seconds = self.surroundings.as_ref().and_then(|around| around.agent().budget.seconds);
        self.timed = seconds.map(|seconds| {
            let pauses = Pauses::new(Arc::clone(&self.inner.ports.clock));
            let stop = CancellationToken::new();
            self.inner.expire(self.shared.key, turn, (pauses.clone(), seconds), stop.clone());
            Timed { turn, pauses, _stop: stop.drop_guard() }
        });
    }

    /// The time of the turn's budget is over.
    pub(super) fn hear_expiry(&self, turn: TurnNo) -> Heard {
        let Some(running) = self.state.running().filter(|running| running.no == turn) else { return Heard::Answered };
        let fault = Fault::new(
            Code::BUDGET_USED_UP,
            "the turn took longer than the budget of its agent allows",
            "ask for less at once, or raise `seconds` in the agent's `budget`",
        );
        let draft = Draft {
            turn: Some(turn),
            body: Body::TurnFailed { code: fault.code, frames: None },
            payload: Some(machine::failure(&fault, machine::system_label(), None)),
        };
        Heard::Interrupt(Why::Cancel, Batch::new(running.account.clone(), vec![draft]))
    }

    /// What the end of a turn was.
    pub(super) fn hear_report(&self, turn: TurnNo, tx: oneshot::Sender<Result<Report, Fault>>) -> Heard {
        // silent-ok: whoever asked has left.
        let _sent = tx.send(Report::of(&self.state, turn).ok_or_else(faults::unknown_turn));
        Heard::Answered
    }
}

impl Command {
    /// To the session of an agent that nobody waits for.
    pub(crate) fn stop_first_turn() -> Self {
        let (tx, _answer) = oneshot::channel();
        Self::Cancel { turn: 1, reply: super::Reply::new(None, tx) }
    }
}

/// What the user said in a turn, or in the one that it works for.
fn words_of(state: &State, turn: &Turn) -> Vec<String> {
    let given = state.facts.as_ref().filter(|_| turn.is_delegated).and_then(|facts| facts.rights.as_ref());
    let mut words = given.map_or_else(Vec::new, |rights| rights.given.words.clone());
    let said = turn.content.iter().flatten().filter(|_| turn.integrity == Integrity::User && !turn.is_delegated);
    let steered = turn.steps.iter().filter_map(|step| match step {
        Step::Steer { content, integrity: Integrity::User } => Some(content),
        Step::Steer { .. } | Step::Model(_) | Step::Call(_) => None,
    });
    words.extend(said.chain(&turn.renewed).chain(steered.flatten()).filter_map(|part| match part {
        Part::Text { text } => Some(text.clone()),
        Part::File { .. } | Part::Image(_) | Part::Exchange { .. } => None,
    }));
    words
}

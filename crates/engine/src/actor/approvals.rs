//! Waiting for a person: who may still answer, and what happens when nobody does.
//!
//! While somebody who may approve is attached, to the session or to what waits in
//! all sessions of the account, a call waits without end. When
//! nobody is, the turn is either left alone, and the ask counts as denied, or
//! somebody could come back, and at the approval's deadline the turn is parked:
//! it stays open, leaves memory and goes on with an answer, however late. A direct
//! call whose maker waits for somebody else has until the deadline in any case.

use std::time::Duration;

use are_core::body::{Answer, Body};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, ApprovalNo};
use are_core::journal::Draft;

use super::commands::{Heard, Reply, answered, one};
use super::{Actor, Batch, Outcome, Stop};
use crate::api::Approve;
use crate::engine::not_offered;
use crate::machine::Action;
use crate::state::{Approval, CallStep, Phase, Turn};

/// How long after a prompt its sender, who may approve, has to attach.
const ATTEND_MS: u64 = 10_000;
/// How often it is looked again whether an approver has left.
pub(super) const LOOK_AGAIN_MS: u64 = 1_000;
/// A parked turn that nobody looks at leaves memory after this long.
const REST_PARKED_AFTER: Duration = Duration::from_secs(2);

/// What becomes of an approval that nobody is there to answer.
pub(super) enum Alone {
    Park,
    Deny,
}

impl Actor {
    /// Waits until somebody answers, until it is clear that nobody will, or until the rules or the account change.
    pub(super) async fn await_approval(&mut self) -> Result<Outcome, Stop> {
        let mut rules = self.inner.policy.watch();
        loop {
            let owner = self.owner()?;
            let (rules_now, member) = (self.inner.rules.load().digest(), self.inner.accounts.member(&owner));
            if self.surroundings.as_ref().is_none_or(|around| !around.hold(rules_now, member.membership())) {
                let outcome = self.commit(Batch::new(owner, Vec::new())).await?;
                if outcome.action != Action::AwaitApproval {
                    return Ok(outcome);
                }
            }
            let now = self.inner.ports.clock.now_ms();
            if let Some(batch) = self.unanswered(now) {
                return self.commit(batch).await;
            }
            let wake_ms = self.wake_at_ms(now).map(|at| at.saturating_sub(now).max(1));
            let clock = std::sync::Arc::clone(&self.inner.ports.clock);
            let timer = async {
                match wake_ms {
                    Some(ms) => clock.sleep(ms).await,
                    None => std::future::pending().await,
                }
            };
            let may_rest = self.is_parked();
            // Receiving from a channel, a change of a `watch`, a cancelled token and timers are all cancel-safe.
            tokio::select! {
                command = self.mailbox.recv() => {
                    let Some(command) = command else { return Err(Stop::Rest) };
                    if let Some(outcome) = self.obey(command).await?
                        && outcome.action != Action::AwaitApproval
                    {
                        return Ok(outcome);
                    }
                }
                Ok(()) = rules.changed() => {}
                () = self.inner.stopping.cancelled() => return Err(Stop::Shutdown),
                () = timer => {}
                () = tokio::time::sleep(REST_PARKED_AFTER), if may_rest => {
                    if self.mailbox.is_empty() && !self.shared.has_readers() {
                        return Err(Stop::Rest);
                    }
                }
            }
        }
    }

    /// Notices that another turn runs.
    pub(super) fn note_attendance(&mut self) {
        let running = self.state.running().map(|turn| turn.no);
        if running != self.attended {
            self.attended = running;
            self.shared.reset_attendance();
        }
    }

    /// The approval that waits longest in the running turn.
    pub(super) fn waiting_approval(&self) -> Option<ApprovalNo> {
        self.state.running().and_then(first_waiting).map(|approval| approval.no)
    }

    fn is_parked(&self) -> bool {
        self.state.running().is_some_and(|turn| turn.is_parked)
    }

    /// The record for an approval that nobody answered in time; `None` while somebody still can.
    fn unanswered(&self, now_ms: u64) -> Option<Batch> {
        let turn = self.state.running()?;
        let approval = first_waiting(turn)?;
        let (at_ms, alone) = self.left_alone(turn, approval)?;
        if now_ms < at_ms {
            return None;
        }
        let approval = approval.no;
        let body = match alone {
            Alone::Park => Body::TurnParked { approval },
            Alone::Deny => {
                let by = "nobody".to_owned();
                Body::ApprovalResolved { approval, decision: Answer::Deny, by, policy: None }
            }
        };
        Some(Batch::new(turn.account.clone(), vec![Draft { turn: Some(turn.no), body, payload: None }]))
    }

    /// From when on an approval counts as unanswered, and what that means; `None` while somebody is there, and
    /// for a parked turn, which waits without end.
    pub(super) fn left_alone(&self, turn: &Turn, approval: &Approval) -> Option<(u64, Alone)> {
        let owner = self.state.facts.as_ref().map(|facts| &facts.owner);
        let is_watched = owner.is_some_and(|owner| self.inner.inbox.has_approvers(owner));
        if turn.is_parked || is_watched || self.shared.has_approvers() {
            return None;
        }
        // After a restart nobody has had time to come back: then the deadline counts, not the empty room.
        let is_inherited = turn.no <= self.inherited;
        let could_come_back = self.shared.was_attended() || turn.has_parked || (is_inherited && !turn.is_headless);
        Some(if could_come_back {
            (approval.expires_at_ms, Alone::Park)
        } else if is_inherited || turn.waits {
            (approval.expires_at_ms, Alone::Deny)
        } else if turn.is_headless {
            (0, Alone::Deny)
        } else {
            (approval.expires_at_ms.min(turn.started_at_ms + ATTEND_MS), Alone::Deny)
        })
    }

    fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        let turn = self.state.running()?;
        if turn.is_parked {
            return None;
        }
        // With an approver attached only a command or his leaving changes anything; look again now and then.
        let look_again = now_ms + LOOK_AGAIN_MS;
        let due = first_waiting(turn).and_then(|approval| self.left_alone(turn, approval));
        Some(due.map_or(look_again, |(at_ms, _)| at_ms.max(now_ms + 1).min(look_again)))
    }

    /// Takes an answer for exactly what waits.
    pub(super) async fn hear_approve(&mut self, by: &AccountId, answer: Approve, reply: Reply) -> Heard {
        let Approve { approval, digest, decision } = answer;
        let Some((turn, step)) = self.state.running().and_then(|turn| Some((turn, waiting(turn, approval)?))) else {
            let fault =
                Fault::new(Code::APPROVAL_UNKNOWN, "no such approval waits", "list them with `are approval list`");
            return answered(reply, fault);
        };
        if step.approval.as_ref().is_none_or(|approval| approval.digest != digest) {
            let fault = Fault::new(
                Code::APPROVAL_MISMATCH,
                "the answer is for other bytes than were shown",
                "look at the approval again and answer with its digest",
            );
            return answered(reply, fault);
        }
        let (turn, account) = (turn.no, turn.account.clone());
        let policy = match decision {
            Answer::AllowAlways => {
                let rule = step.approval.as_ref().and_then(|approval| approval.rule.clone());
                match self.keep_rule(rule, by, approval).await {
                    Ok(policy) => Some(policy),
                    Err(fault) => return answered(reply, fault),
                }
            }
            Answer::AllowOnce | Answer::AllowSession | Answer::Deny => None,
        };
        let body = Body::ApprovalResolved { approval, decision, by: by.to_string(), policy };
        Heard::Append(one(account, Draft { turn: Some(turn), body, payload: None }, reply.of(turn)))
    }

    /// The rule first and the answer after it: what a crash in between leaves is a rule that a person wanted.
    async fn keep_rule(&self, rule: Option<String>, by: &AccountId, approval: ApprovalNo) -> Result<Digest, Fault> {
        let rule = rule.ok_or_else(not_offered)?;
        self.inner.keep_rule(rule, by, self.shared.key, approval).await
    }
}

fn first_waiting(turn: &Turn) -> Option<&Approval> {
    turn.calls().filter(|step| step.phase == Phase::Waiting).find_map(|step| step.approval.as_ref())
}

fn waiting(turn: &Turn, approval: ApprovalNo) -> Option<&CallStep> {
    let step = turn.calls().find(|step| step.approval.as_ref().is_some_and(|pending| pending.no == approval))?;
    (step.phase == Phase::Waiting).then_some(step)
}

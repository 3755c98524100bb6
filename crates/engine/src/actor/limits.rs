//! Holds what a session does to the limits that span sessions.

use are_core::body::Body;
use are_core::ids::{AccountId, CallNo};
use are_core::journal::{Draft, Entry};
use are_core::store::{Change, SpentRow};
use are_policy::limits::{Meter, Used, model_subject, reserve_call, reserve_model};
use are_policy::rules::effect_word;

use super::{Actor, Batch, Outcome, Stop};
use crate::journal::Sealed;
use crate::limiter::{self, Refusal};

/// A wait is never shorter, so that those of one turn are few.
const WAIT_MS_MIN: u64 = 100;

impl Actor {
    /// Has the levels that the session is held to.
    pub(super) async fn load_limits(&self, now_ms: u64) -> Result<(), Stop> {
        if self.state.facts.is_none() {
            return Ok(());
        }
        let owner = self.owner()?;
        Ok(self.inner.limiter.load(self.inner.ports.store.as_ref(), &owner, now_ms).await?)
    }

    /// Reserves what a record begins. Where there is no room, the record to be appended in its place.
    pub(super) fn reserve_room(&self, sealed: &mut Sealed, draft: &Draft, at_ms: u64) -> Result<Option<Draft>, Stop> {
        let (call, want) = match &draft.body {
            Body::ModelRequested { model, reserved_tokens, reserved_cost, .. }
            | Body::CompactionRequested { model, reserved_tokens, reserved_cost, .. } => {
                (None, (model_subject(model), at_ms, reserve_model(*reserved_tokens, *reserved_cost)))
            }
            // What the user takes back is not held to how much was done.
            Body::ToolStarted { call, effect, .. } if self.state.running().is_some_and(|turn| turn.undo.is_none()) => {
                (Some(*call), (format!("effect:{}", effect_word(*effect)), at_ms, reserve_call()))
            }
            _ => return Ok(None),
        };
        match self.inner.limiter.reserve(&self.owner()?, &want) {
            Ok(()) => {
                sealed.reserved.push(want);
                Ok(None)
            }
            Err(refusal) => Ok(Some(self.refusal(draft, call, refusal))),
        }
    }

    fn refusal(&self, draft: &Draft, call: Option<CallNo>, mut refusal: Refusal) -> Draft {
        let waited_ms = self.state.running().map_or(0, |turn| turn.waited_ms);
        let room_ms = (self.inner.limiter.limits().wait_seconds * 1_000).saturating_sub(waited_ms);
        let retry_after_ms = refusal.crossed.retry_after_ms.map(|ms| ms.max(WAIT_MS_MIN));
        refusal.crossed.retry_after_ms = retry_after_ms;
        let waits = call.is_none() && retry_after_ms.is_some_and(|ms| ms <= room_ms);
        Draft { turn: draft.turn, body: limiter::reached(call, refusal, waits), payload: None }
    }

    /// What the records to be appended use, with the meter as it stands behind them.
    pub(super) fn measure(&self, sealed: &Sealed) -> (Meter, Vec<Used>) {
        let mut meter = self.meter.clone();
        let mut used: Vec<Used> = Vec::new();
        for (_, entry) in &sealed.entries {
            let Entry::Record(record, _) = entry else { continue };
            let Some((subject, at_ms, spent)) = meter.take(record) else { continue };
            match used.iter_mut().find(|(of, at, _)| (of, *at) == (&subject, at_ms)) {
                Some((_, _, sum)) => *sum = sum.plus(&spent),
                None => used.push((subject, at_ms, spent)),
            }
        }
        (meter, used)
    }

    /// Waits until there may be room, or for a command.
    pub(super) async fn await_room(&mut self, until_ms: u64) -> Result<Outcome, Stop> {
        let clock = std::sync::Arc::clone(&self.inner.ports.clock);
        let mut time = clock.sleep(until_ms.saturating_sub(clock.now_ms()));
        loop {
            // Receiving from a channel, a cancelled token and a timer are all cancel-safe.
            tokio::select! {
                biased;
                command = self.mailbox.recv() => {
                    let Some(command) = command else { return Err(Stop::Rest) };
                    if let Some(outcome) = self.obey(command).await? {
                        return Ok(outcome);
                    }
                }
                () = self.inner.stopping.cancelled() => return Err(Stop::Shutdown),
                () = &mut time => {
                    let Some(turn) = self.state.running() else { return Err(crate::faults::internal().into()) };
                    let draft = Draft { turn: Some(turn.no), body: Body::LimitLifted {}, payload: None };
                    let batch = Batch::new(turn.account.clone(), vec![draft]);
                    return self.commit(batch).await;
                }
            }
        }
    }
}

/// The change of the sums that the store keeps.
pub(super) fn changes<'a>(account: &'a AccountId, used: &'a [Used]) -> impl Iterator<Item = Change> + 'a {
    used.iter().map(|(subject, at_ms, spent)| {
        Change::Spend(SpentRow { account: account.clone(), subject: subject.clone(), at_ms: *at_ms, spent: *spent })
    })
}

//! What stands for earlier turns in requests, and when it is tried again.
//!
//! Nothing is taken out of the state: the turns and their results stay, and
//! what they lend to decisions ([`View`](are_policy::flow::View)) is folded
//! from their own records. A summary is words of a model, so it lends nothing.

use are_core::error::Code;
use are_core::ids::{CallNo, TurnNo};
use are_core::label::Label;

use super::{CallResult, State, Step, Turn};
use crate::context;

/// A summary that stands for the oldest turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The last turn that it covers; it begins with the first.
    pub until: TurnNo,
    /// The last call of these turns.
    pub until_call: CallNo,
    /// What the model wrote.
    pub text: String,
    /// The join of the labels of all that it covers.
    pub label: Label,
    /// True when the prompt firewall had found something in what it covers.
    pub is_flagged: bool,
    /// Estimated tokens of the whole context before it.
    context_tokens: u64,
}

/// What compactions have made of a session's requests.
#[derive(Debug, Clone, Default)]
pub struct Compactions {
    /// Summaries that were not taken back, each of which covers the one before; the last one is shown.
    summaries: Vec<Summary>,
    /// Results of calls up to this one are shown shortened.
    shortened: CallNo,
    /// Estimated tokens of the context when they were shortened last.
    shortened_at: u64,
    /// Estimated tokens of the context after the last attempt: none is made again before it has grown.
    rest: Option<u64>,
    /// True when somebody took back what was done, so that results rest too.
    is_taken_back: bool,
    /// What requests could hold at the ends of turns, where it was more than before.
    seen: Vec<(TurnNo, Label)>,
}

/// The compaction that a turn has asked for last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacting {
    /// The last turn to be covered.
    pub until: TurnNo,
    /// Estimated tokens of the whole context before.
    pub context_tokens: u64,
    /// Of these, tokens of what the summary is to stand for.
    pub covered_tokens: u64,
    /// Where it stands.
    pub phase: CompactingPhase,
}

/// Where a compaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompactingPhase {
    /// The model is asked.
    Open,
    /// It was asked when the runtime stopped.
    Interrupted,
    /// The summary is in force.
    Done,
    /// There is none, for this reason.
    Failed(Code),
}

impl Compactions {
    /// The summary that is shown.
    #[must_use]
    pub fn summary(&self) -> Option<&Summary> {
        self.summaries.last()
    }

    /// The last turn that a summary stands for; 0 for none.
    #[must_use]
    pub fn covered(&self) -> TurnNo {
        self.summary().map_or(0, |summary| summary.until)
    }

    /// Results of calls up to this one are shown shortened; 0 for none.
    #[must_use]
    pub const fn shortened(&self) -> CallNo {
        self.shortened
    }

    /// True when there is something to take back.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        !self.summaries.is_empty() || self.shortened > 0
    }

    /// True when a context of so many tokens may be summarised: it has grown by a quarter since it was tried last.
    #[must_use]
    pub fn may_summarise(&self, context_tokens: u64) -> bool {
        self.rest.is_none_or(|rest| context_tokens >= rest.saturating_add(rest.div_ceil(4)))
    }

    /// True when results may be shortened: always, unless somebody has just taken that back.
    #[must_use]
    pub fn may_shorten(&self, context_tokens: u64) -> bool {
        !self.is_taken_back || self.may_summarise(context_tokens)
    }

    pub(super) fn shorten(&mut self, until: CallNo, context_tokens: u64) {
        self.shortened = until;
        self.shortened_at = context_tokens;
    }

    pub(super) fn undo(&mut self) {
        let before = self.summaries.pop().map_or(self.shortened_at, |summary| summary.context_tokens);
        self.shortened = 0;
        self.rest = Some(before);
        self.is_taken_back = true;
    }

    pub(super) fn see(&mut self, turn: TurnNo, label: &Label) {
        // A turn that waited can end before one that was begun earlier.
        if self.seen.last().is_none_or(|(at, last)| last != label || *at > turn) {
            self.seen.push((turn, label.clone()));
        }
    }

    /// The join over what requests could hold up to the end of a turn: that never becomes less, so the latest is all.
    #[must_use]
    pub fn label_at(&self, turn: TurnNo) -> Option<&Label> {
        self.seen.iter().rev().find(|(at, _)| *at <= turn).map(|(_, label)| label)
    }
}

impl State {
    /// What a call of a model came to, and whether the prompt firewall found something in it.
    #[must_use]
    pub fn result_of(&self, call: CallNo) -> Option<&CallResult> {
        let mut steps = self.turns().rev().flat_map(|turn| &turn.steps);
        steps.find_map(|step| match step {
            Step::Call(step) if step.no == call && step.parent.is_none() => Some(step.result.as_ref()),
            Step::Call(_) | Step::Model(_) | Step::Steer { .. } => None,
        })?
    }

    /// A summary of the turns up to `until` is in force from here on.
    pub(super) fn compact(&mut self, turn: Option<TurnNo>, until: TurnNo, text: &str, label: &Label) {
        let covered = self.turns().filter(|turn| turn.no <= until);
        let calls = covered.flat_map(|turn| &turn.steps).filter_map(|step| match step {
            Step::Call(step) => Some(step.as_ref()),
            Step::Model(_) | Step::Steer { .. } => None,
        });
        let (until_call, is_flagged) =
            calls.fold((0, false), |(last, any), step| (step.no.max(last), any || step.is_flagged));
        let Some(compacting) = self.turn_mut(turn).and_then(|turn| turn.compaction.as_mut()) else { return };
        compacting.phase = CompactingPhase::Done;
        let Compacting { context_tokens, covered_tokens, .. } = *compacting;
        let compactions = &mut self.compactions;
        let after = context_tokens.saturating_sub(covered_tokens) + context::tokens_of(text.len());
        compactions.rest = Some(after);
        compactions.is_taken_back = false;
        let text = text.to_owned();
        compactions.summaries.push(Summary {
            until,
            until_call,
            text,
            label: label.clone(),
            is_flagged,
            context_tokens,
        });
    }

    /// There is no summary: the next try is made when the context has grown.
    pub(super) fn fail_compaction(&mut self, turn: Option<TurnNo>, code: Code) {
        let Some(compacting) = self.turn_mut(turn).and_then(|turn| turn.compaction.as_mut()) else { return };
        compacting.phase = CompactingPhase::Failed(code);
        self.compactions.rest = Some(compacting.context_tokens);
    }
}

impl Turn {
    /// The compaction whose model is asked, or was when the runtime stopped.
    #[must_use]
    pub fn open_compaction(&self) -> Option<&Compacting> {
        self.compaction.as_ref().filter(|one| matches!(one.phase, CompactingPhase::Open | CompactingPhase::Interrupted))
    }

    pub(super) fn interrupt_compaction(&mut self) {
        if let Some(compacting) = self.compaction.as_mut().filter(|one| one.phase == CompactingPhase::Open) {
            compacting.phase = CompactingPhase::Interrupted;
        }
    }
}

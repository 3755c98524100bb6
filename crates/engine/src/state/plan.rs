//! Where a turn's plan stands, and the words that it is made of.

use are_core::body::Body;
use are_core::ids::TurnNo;
use are_core::label::Integrity;
use are_core::payload::Part;
use are_policy::flow;

use super::State;
use super::turn::{Step, Turn};

/// Where a request for a plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// A model is asked.
    Open,
    /// A crash or the user's further words came between; it is asked again.
    Interrupted,
    /// There was an answer, or none is to be had.
    Done,
}

/// The last request for a plan of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planning {
    /// Counts how often it was asked for these words.
    pub attempt: u32,
    /// Texts of the user that it was asked about.
    pub words: usize,
    /// Where it stands.
    pub asking: Asking,
}

impl Turn {
    /// True while a model is asked for a plan.
    #[must_use]
    pub fn is_planned_now(&self) -> bool {
        self.planning.is_some_and(|planning| planning.asking == Asking::Open)
    }

    /// The model that was asked for a plan is not heard any more.
    pub(super) fn interrupt_plan(&mut self) {
        if let Some(planning) = self.planning.as_mut().filter(|planning| planning.asking == Asking::Open) {
            planning.asking = Asking::Interrupted;
        }
    }
}

impl State {
    /// What the user says in a turn, in its own words: the prompt, what it goes on with, and further words. Of a turn
    /// that another agent began the words that it was given on.
    #[must_use]
    pub fn said(&self, turn: &Turn) -> Vec<String> {
        let own = turn.content.iter().flatten().filter(|_| turn.integrity == Integrity::User && !turn.is_delegated);
        let steered = turn.steps.iter().filter_map(|step| match step {
            Step::Steer { content, integrity: Integrity::User } => Some(content),
            Step::Steer { .. } | Step::Model(_) | Step::Call(_) => None,
        });
        let given = self.given(Some(turn.no)).filter(|_| turn.is_delegated).map(|given| given.words);
        let texts = own.chain(&turn.renewed).chain(steered.flatten()).filter_map(|part| match part {
            Part::Text { text } => Some(flow::own_words(text)),
            Part::File { .. } | Part::Image(_) | Part::Exchange { .. } => None,
        });
        let given = given.into_iter().flatten().map(|text| flow::own_words(&text));
        given.chain(texts).filter(|text| !text.trim().is_empty()).collect()
    }

    /// A model is asked for a plan.
    pub(super) fn begin_plan(&mut self, no: Option<TurnNo>, attempt: u32) {
        let Some(words) = self.turns().rev().find(|turn| Some(turn.no) == no).map(|turn| self.said(turn).len()) else {
            return;
        };
        if let Some(turn) = self.turn_mut(no) {
            turn.steps_taken += 1;
            turn.planning = Some(Planning { attempt, words, asking: Asking::Open });
        }
    }

    /// What came of it.
    pub(super) fn end_plan(&mut self, no: Option<TurnNo>, body: &Body) {
        let Body::Planned { tools, usage, cost, .. } = body else { return };
        match usage {
            Some(usage) => self.ledger.settle(*usage, *cost),
            None => self.ledger.release(),
        }
        if let Some(no) = no {
            self.view.plan(no, tools.as_deref());
        }
        if let Some(planning) = self.turn_mut(no).and_then(|turn| turn.planning.as_mut()) {
            planning.asking = Asking::Done;
        }
    }
}

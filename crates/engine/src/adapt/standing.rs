//! What of a session's adaptive turns outlives them.

use are_core::body::Rating;
use are_core::model::ModelInfo;

use super::{Rung, Sign, course, is_adaptive, signs};
use crate::state::Turn;

/// Clean turns after which the course comes down, before it ever rose.
const STAY: u32 = 1;
/// The same at most: each rise doubles it.
const STAY_MAX: u32 = 8;
/// Milliseconds of an answer from which on a dear model is left after one clean turn.
const SLOW_MS: u64 = 60_000;

/// Where a session's adaptive turns stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The model that the last adaptive turn asked last.
    model: Option<String>,
    /// Turns without a sign since.
    clean: u32,
    /// Rises so far, as far as they count.
    rises: u32,
    /// True when the user rated a turn down, and no adaptive turn has ended since.
    is_poor: bool,
    /// True when the last adaptive turn waited long for an answer.
    is_slow: bool,
    /// What is asked now.
    asking: Option<String>,
    /// Since when, in milliseconds since 1970.
    asked_at_ms: u64,
    /// The last rating that came while a turn ran; it counts from the next one on.
    rated_meanwhile: Option<Rating>,
    /// The longest that the running turn has waited for an answer.
    waited_ms: u64,
}

impl Standing {
    /// A model is asked.
    pub fn ask(&mut self, model: &str, at_ms: u64) {
        self.asking = Some(model.to_owned());
        self.asked_at_ms = at_ms;
    }

    /// It has answered.
    pub fn answered(&mut self, at_ms: u64) {
        self.waited_ms = self.waited_ms.max(at_ms.saturating_sub(self.asked_at_ms));
    }

    /// The user rates a turn.
    pub fn rate(&mut self, rating: Option<Rating>, is_running: bool) {
        if is_running {
            // A turn stays on its course.
            self.rated_meanwhile = rating.or(self.rated_meanwhile.take());
            return;
        }
        match rating {
            Some(Rating::Down) => {
                self.is_poor = true;
                self.clean = 0;
            }
            Some(Rating::Up) => self.clean = self.clean.saturating_add(1),
            None => {}
        }
    }

    /// A turn has ended.
    pub fn end(&mut self, turn: &Turn) {
        let (asking, waited_ms) = (self.asking.take(), std::mem::take(&mut self.waited_ms));
        // Who wishes for a model says nothing of what turns need.
        if is_adaptive(turn) && turn.model.is_none() {
            self.close(&signs(turn), asking, waited_ms);
        }
        let rated = self.rated_meanwhile.take();
        self.rate(rated, false);
    }

    /// An adaptive turn has ended, with these signs and after asking that model last.
    pub(super) fn close(&mut self, signs: &[Sign], asking: Option<String>, waited_ms: u64) {
        // However high the ladder is: what counts is that a rise was called for.
        let has_risen = course(signs, 0, usize::MAX).rises > 0 || self.is_poor;
        let comes_down = self.comes_down();
        if has_risen {
            self.rises = self.rises.saturating_add(1);
        }
        self.clean = if !signs.is_empty() || self.is_poor || comes_down { 0 } else { self.clean + 1 };
        self.is_poor = false;
        self.is_slow = waited_ms >= SLOW_MS;
        // A model that stood in for another one is nothing that turns needed.
        if has_risen || comes_down || self.model.is_none() {
            self.model = asking.or_else(|| self.model.take());
        }
    }

    /// Turns without a sign that it takes to come down.
    #[must_use]
    pub fn stay(&self) -> u32 {
        let doubled = STAY.checked_shl(self.rises.min(STAY_MAX)).unwrap_or(STAY_MAX).min(STAY_MAX);
        // What makes everybody wait is not kept for longer than it takes to see that it is not needed.
        if self.is_slow { STAY } else { doubled }
    }

    fn comes_down(&self) -> bool {
        self.clean >= self.stay()
    }

    /// The rung that a turn begins on.
    pub(super) fn start(&self, tiers: &[ModelInfo], ladder: &[Rung]) -> usize {
        let before = tiers.iter().position(|info| Some(&info.name) == self.model.as_ref()).unwrap_or(0);
        let tier = if self.comes_down() { before.saturating_sub(1) } else { before };
        let rung = ladder.iter().position(|rung| rung.tier == tier).unwrap_or(0);
        if self.is_poor { (rung + 1).min(ladder.len().saturating_sub(1)) } else { rung }
    }

    /// Why a turn does not begin at the bottom.
    pub(super) const fn why(&self) -> &'static str {
        if self.is_poor { "the user rated a turn down" } else { "earlier turns needed it" }
    }
}

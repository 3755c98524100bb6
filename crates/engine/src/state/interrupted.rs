//! What an interruption leaves of a turn's model and calls.

use super::turn::{ModelStep, Phase, Step, Turn};

impl Turn {
    /// UTF-8 bytes of text said before the last model step.
    #[must_use]
    pub fn text_bytes_before_model(&self) -> u64 {
        let mut lengths: Vec<u64> = Vec::new();
        for step in &self.steps {
            if let Step::Model(step) = step {
                lengths.push(step.text.len() as u64);
            }
        }
        lengths.pop();
        lengths.iter().sum()
    }

    /// True when the next request ends with words of the model that it is to go on with.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        matches!(self.steps.last(), Some(Step::Model(step)) if step.stop_reason.is_none() && !step.text.is_empty())
    }

    /// The model is asked again: of its words stay as many as are kept, for it to go on with.
    pub(super) fn restart_model(&mut self, attempt: u32, keep_bytes: u64) {
        let kept = keep_bytes.saturating_sub(self.text_bytes_before_model());
        let Some(step) = self.model_mut() else { return };
        let (model, mut text) = (std::mem::take(&mut step.model), std::mem::take(&mut step.text));
        text.truncate(text.floor_char_boundary(usize::try_from(kept).unwrap_or(usize::MAX)));
        *step = ModelStep { attempt, model, text, ..ModelStep::default() };
    }

    pub(super) fn interrupt(&mut self) {
        if self.held.as_ref().is_some_and(|held| held.until_ms.is_some()) {
            self.held = None;
        }
        self.interrupt_plan();
        if let Some(step) = self.model_mut()
            && step.is_open
        {
            step.is_interrupted = true;
        }
        for step in self.calls_mut() {
            if let Phase::Started { is_interrupted, .. } = &mut step.phase {
                *is_interrupted = true;
            }
            if let Some(ruling) = &mut step.ruling {
                ruling.is_stale = true;
            }
        }
    }
}

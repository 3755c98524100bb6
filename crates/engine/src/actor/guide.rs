//! The workspace's `AGENTS.md`: looked at before a turn's first request, and
//! recorded when it is another one than the session knows.
//!
//! Reading it is decided as the agent's own reading of that file would be, and
//! it is labelled as that. It is never more than text in the context.

use are_core::body::Body;
use are_core::ids::AccountId;
use are_core::journal::Draft;
use are_core::label::Label;
use are_core::payload::Payload;

use super::{Actor, Stop};
use crate::journal::Sealed;
use crate::machine;

/// The file.
const FILE: &str = "AGENTS.md";
/// Bytes of it that are kept; what a model is shown is less where its context is small.
const BYTES_MAX: usize = 16 << 10;

impl Actor {
    /// Looks whether the workspace says something else than before to whoever works in it.
    pub(super) async fn read_guide(
        &mut self,
        sealed: &mut Sealed,
        account: &AccountId,
        at_ms: u64,
    ) -> Result<(), Stop> {
        let Some(turn) = self.state.running().filter(|turn| turn.asks_model() && turn.model().is_none()) else {
            return Ok(());
        };
        let Some(facts) = self.state.facts.as_ref().filter(|facts| !facts.workspace.is_empty()) else { return Ok(()) };
        let (no, speaker, workspace) = (turn.no, turn.account.clone(), facts.workspace.clone());
        if self.guided == Some(no) {
            return Ok(());
        }
        self.guided = Some(no);
        let rules = self.inner.rules.load_full();
        let member = self.member(account);
        let Some(membership) = member.membership() else { return Ok(()) };
        if self.surround(&rules, membership).is_err() {
            // The turn ends with the reason.
            return Ok(());
        }
        let may_read = self
            .state
            .running()
            .zip(self.surroundings.as_ref())
            .is_some_and(|(turn, around)| machine::may_read(&self.state, turn, FILE, &around.env(None, at_ms)));
        let found = if may_read { self.inner.ports.tools.guide(workspace.into(), BYTES_MAX).await } else { None };
        let text = found.map(|text| self.scrubber().clean(text));
        if self.state.guide.as_ref().map(|guide| &guide.text) == text.as_ref() {
            return Ok(());
        }
        let body = Body::GuideRead { policy: rules.digest() };
        let payload = Some(Payload::Guide { text, label: Label::worst(FILE) });
        self.take_in(sealed, Draft { turn: Some(no), body, payload }, (&speaker, None), at_ms)
    }
}

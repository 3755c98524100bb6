//! What a plan does to a decision: it narrows, and nothing else.
//!
//! A [planner](crate::planner) was asked which tools the user's words ask for.
//! A call of a tool that it did not name counts as not asked for: denied while
//! untrusted content is in view, else asked about. A call that the plan names
//! is decided as if there were none. What an agent does that another one began
//! is held to the plan of the turn above as well.

use std::collections::BTreeSet;

use are_core::body::Outcome;
use are_core::ids::ToolName;
use are_core::label::Integrity;

use super::decide::{Case, Said};

/// Tools of a plan that a reason names.
const NAMED_MAX: usize = 8;

impl Case<'_> {
    /// What is said of the call, or something stricter.
    ///
    /// INVARIANT: never milder than `said`.
    pub(super) fn within_plan(&self, said: Said) -> Said {
        // What a tool's code does is part of the tool that was planned.
        let makers = self.question.parents.iter().map(|parent| &parent.manifest.name);
        let names: Vec<&ToolName> = std::iter::once(&self.question.manifest.name).chain(makers).collect();
        let is_named = |plan: &BTreeSet<ToolName>| names.iter().any(|name| plan.contains(*name));
        let Some(plan) = self.question.view.plans(self.question.turn).find(|plan| !is_named(plan)) else {
            return said;
        };
        let is_tainted = self.question.in_view.integrity == Integrity::Untrusted;
        match (said.0, is_tainted) {
            (Outcome::Deny, _) | (Outcome::Ask, false) => said,
            (Outcome::Allow | Outcome::Ask, true) => {
                self.deny("not-planned", format!("{}, and untrusted content is in view", self.unplanned(plan)))
            }
            (Outcome::Allow, false) => self.ask("not-planned", self.unplanned(plan)),
        }
    }

    fn unplanned(&self, plan: &BTreeSet<ToolName>) -> String {
        let named: Vec<String> = plan.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect();
        let more = if plan.len() > named.len() { ", …" } else { "" };
        let of = if named.is_empty() { "no tool".to_owned() } else { format!("{}{more}", named.join(", ")) };
        format!("`{}` is not in the plan that was made of your words ({of})", self.question.manifest.name)
    }
}

#[cfg(test)]
mod tests;

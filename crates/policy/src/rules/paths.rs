//! The rules about what lies below the object that a call names.
//!
//! A call on a directory is decided by the directory's name. What it would
//! reach below is known only while it runs, so its permit carries the rules:
//! each entry is judged as if the same call had named it, by the same code and
//! under the same approval. Most calls carry nothing, because no rule speaks
//! of objects and the profile makes no difference between paths.

use std::collections::BTreeSet;
use std::sync::Arc;

use are_core::body::{Effect, Outcome};
use are_core::digest::Digest;
use are_core::ids::{AccountId, AgentName, GroupName};
use are_core::label::Label;

use super::cedar::{Compiled, Facts};
use super::object::OBJECT_BYTES_MAX;
use super::profile::Reach;
use super::{Profile, Verdict, by_rules, guarded};
use crate::call::{Call, Context};
use crate::manifest::Manifest;

/// Judges paths below what a decided call names.
#[derive(Debug, Clone, Default)]
pub struct PathRules(Option<Arc<Decided>>);

/// All that the call was decided by.
#[derive(Debug)]
struct Decided {
    subject: Digest,
    /// `None` when there are no rules.
    compiled: Option<Arc<Compiled>>,
    call: Call,
    account: AccountId,
    groups: Vec<GroupName>,
    /// Who acts, and on whose behalf.
    agents: Vec<AgentName>,
    manifest: Manifest,
    in_view: Label,
    args_label: Label,
    is_approved: bool,
    effect: Effect,
    reach: Reach,
    /// What the profile says of an ordinary path, and of a guarded one.
    by_profile: [Verdict; 2],
}

impl PathRules {
    /// `by_profile` says what the profile holds of an ordinary path (`false`) and of a guarded one (`true`).
    pub(super) fn new(
        compiled: Option<&Arc<Compiled>>,
        profile: Profile,
        call: &Call,
        ctx: &Context<'_>,
        (effect, reach): (Effect, Reach),
        by_profile: impl Fn(bool) -> Verdict,
    ) -> Self {
        let reaches_paths = match reach {
            Reach::Nothing | Reach::Workspace => ctx.manifest.is_contained,
            Reach::OwnState | Reach::Outside => false,
        };
        if !reaches_paths {
            return Self::default();
        }
        let is_contained = profile == Profile::Contained || ctx.narrowing.profiles.contains(&Profile::Contained);
        let tells_paths_apart = is_contained && reach == Reach::Workspace;
        let compiled = compiled.filter(|compiled| compiled.has_objects() || tells_paths_apart);
        if compiled.is_none() && !tells_paths_apart {
            return Self::default();
        }
        let plain = by_profile(false);
        let guarded = if tells_paths_apart { by_profile(true) } else { plain.clone() };
        let by_profile = [plain, guarded];
        Self(Some(Arc::new(Decided {
            subject: call.subject(),
            compiled: compiled.map(Arc::clone),
            call: call.clone(),
            account: ctx.account.clone(),
            groups: ctx.groups.to_vec(),
            agents: [ctx.agent].into_iter().chain(&ctx.narrowing.agents).cloned().collect(),
            manifest: ctx.manifest.clone(),
            in_view: ctx.in_view.clone(),
            args_label: ctx.args_label.clone(),
            is_approved: ctx.is_approved,
            effect,
            reach,
            by_profile,
        })))
    }

    /// True when no rule can make a difference between paths.
    #[must_use]
    pub const fn are_silent(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the call would be allowed if it named `path`, relative to the workspace and plain.
    #[must_use]
    pub fn allow(&self, path: &str) -> bool {
        self.0.as_ref().is_none_or(|decided| path.len() <= OBJECT_BYTES_MAX && decided.allows(path))
    }
}

impl Decided {
    fn allows(&self, path: &str) -> bool {
        let by_profile = || self.by_profile[usize::from(guarded::is_guarded(path))].clone();
        let is_allowed = |verdict: Verdict| verdict.lifted(self.is_approved).outcome == Outcome::Allow;
        let Some(compiled) = &self.compiled else { return is_allowed(by_profile()) };
        let objects = BTreeSet::from([path.to_owned()]);
        self.agents.iter().all(|agent| {
            let facts = Facts {
                account: &self.account,
                groups: &self.groups,
                agent,
                manifest: &self.manifest,
                in_view: &self.in_view,
                args_label: &self.args_label,
                is_approved: self.is_approved,
            };
            let matches = compiled.ask_about(&self.call, &facts, self.effect, self.reach.is_contained(), &objects);
            is_allowed(by_rules(matches, &self.manifest.name, self.effect, by_profile))
        })
    }
}

impl PartialEq for PathRules {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                (one.subject, one.is_approved) == (other.subject, other.is_approved)
                    && match (&one.compiled, &other.compiled) {
                        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                        (one, other) => one.is_none() && other.is_none(),
                    }
            }
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

impl Eq for PathRules {}

//! What holds where no rule of the user's speaks: the four profiles.
//!
//! They see a call's effect and how far it reaches, and leave the rest to the
//! [flow of information](crate::flow): `strict` for every effect, `contained`
//! for what leaves the cage or touches a guarded path.

use std::fmt;
use std::str::FromStr;

use are_core::body::{Effect, Outcome, Retry};
use are_core::label::Integrity;
use serde::{Deserialize, Serialize};

use super::Verdict;
use super::words;
use crate::call::{Call, Context};

/// Most characters of an unknown name that an error repeats.
const NAME_SHOWN_MAX: usize = 64;

/// How calls are decided that no rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Everything runs and is recorded with what `strict` would have said; a `forbid` still holds.
    Observe,
    /// What stays in the workspace and the session runs; what leaves it is decided by the flow of information.
    Contained,
    /// Every effect asks.
    Ask,
    /// Every effect is decided by the flow of information.
    Strict,
}

impl Profile {
    /// Every profile there is.
    pub const ALL: [Self; 4] = [Self::Observe, Self::Contained, Self::Ask, Self::Strict];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Contained => "contained",
            Self::Ask => "ask",
            Self::Strict => "strict",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a policy profile; choose one of {}", known())]
pub struct UnknownProfile {
    name: String,
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| UnknownProfile { name: text.chars().take(NAME_SHOWN_MAX).collect() })
    }
}

fn known() -> String {
    Profile::ALL.map(|profile| format!("`{profile}`")).join(", ")
}

/// How far a call reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It has no effect.
    Nothing,
    /// Variables and memory: their journal entry is the effect.
    OwnState,
    /// Files of the workspace.
    Workspace,
    /// Anything else.
    Outside,
}

impl Reach {
    /// The reach of one call. A declaration that claims to be contained and to send at once is taken at its worst.
    pub(super) const fn of(effect: Effect, retry: Retry, is_contained: bool) -> Self {
        match effect {
            Effect::None => Self::Nothing,
            Effect::Create | Effect::Modify | Effect::Destructive => match (is_contained, retry) {
                (true, Retry::Transactional) => Self::OwnState,
                (true, Retry::Pure | Retry::Idempotent | Retry::AtMostOnce) => Self::Workspace,
                (false, Retry::Transactional | Retry::Pure | Retry::Idempotent | Retry::AtMostOnce) => Self::Outside,
            },
            Effect::NetworkRead | Effect::Send | Effect::Share | Effect::Financial | Effect::Credential => {
                Self::Outside
            }
        }
    }

    /// True unless something beyond the cage changes or hears of the call.
    pub(super) const fn is_contained(self) -> bool {
        match self {
            Self::Nothing | Self::OwnState | Self::Workspace => true,
            Self::Outside => false,
        }
    }
}

/// The profile, and whether the flow of information is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stance {
    pub(super) profile: Profile,
    pub(super) has_flow: bool,
}

/// What the profile looks at.
#[derive(Clone, Copy)]
pub(super) struct Act<'a> {
    pub(super) call: &'a Call,
    pub(super) ctx: &'a Context<'a>,
    pub(super) effect: Effect,
    pub(super) reach: Reach,
    /// It touches a path that counts as outside.
    pub(super) is_guarded: bool,
}

impl Stance {
    /// What the profile says of a call.
    pub(super) fn judge(self, act: Act<'_>) -> Verdict {
        match self.profile {
            Profile::Observe => self.observe(act),
            Profile::Contained => self.contained(act),
            Profile::Ask => ask(act),
            Profile::Strict => self.strict(act),
        }
    }

    fn observe(self, act: Act<'_>) -> Verdict {
        let strict = self.strict(act).lifted(act.ctx.is_approved);
        let mut verdict = Verdict::allow("profile:observe", "profile `observe` allows everything that no rule forbids");
        if strict.outcome != Outcome::Allow {
            verdict.why = format!("{}; `strict` would not: {}", verdict.why, strict.why);
            verdict.would = Some(strict.outcome);
        }
        verdict
    }

    fn contained(self, act: Act<'_>) -> Verdict {
        match act.reach {
            Reach::Nothing => no_effect("profile:contained/no-effect", act.ctx),
            Reach::OwnState | Reach::Workspace if !act.is_guarded => Verdict::allow(
                "profile:contained/inside",
                format!("`{}` changes only the workspace or the session's own state", act.ctx.manifest.name),
            ),
            Reach::OwnState | Reach::Workspace => {
                let mut verdict = self.by_flow(act);
                verdict.rules.push("profile:contained/guarded".to_owned());
                verdict
            }
            Reach::Outside => self.by_flow(act),
        }
    }

    fn strict(self, act: Act<'_>) -> Verdict {
        match act.reach {
            Reach::Nothing => no_effect("profile:strict/no-effect", act.ctx),
            Reach::OwnState if !is_steerable(act.ctx) => Verdict::allow(
                "profile:strict/own-state",
                format!(
                    "`{}` changes only the session's own state, and nothing untrusted could have chosen its arguments",
                    act.ctx.manifest.name
                ),
            ),
            Reach::OwnState | Reach::Workspace | Reach::Outside => self.by_flow(act),
        }
    }

    fn by_flow(self, act: Act<'_>) -> Verdict {
        if !self.has_flow {
            let reason = "has an effect, and the decision by the flow of information is switched off";
            return asks("flow:off", act.ctx, act.effect, reason);
        }
        let ruling = act.ctx.ruling(act.call, act.effect);
        let say = match ruling.outcome {
            Outcome::Ask => {
                format!("{}; {}", super::say_allow(&act.ctx.manifest.name, words::effect(act.effect)), ruling.say)
            }
            Outcome::Allow | Outcome::Deny => ruling.say,
        };
        Verdict::new(ruling.outcome, [format!("flow:{}", ruling.step)], ruling.why, say)
    }
}

fn ask(act: Act<'_>) -> Verdict {
    let (rule, reason) = match act.reach {
        Reach::Nothing => return no_effect("profile:ask/no-effect", act.ctx),
        Reach::OwnState => ("profile:ask/own-state", "changes the session's own state"),
        Reach::Workspace => ("profile:ask/contained-write", "changes files of the workspace"),
        Reach::Outside => ("profile:ask/outside", "reaches outside the workspace"),
    };
    asks(rule, act.ctx, act.effect, &format!("{reason}, and profile `ask` asks before every effect"))
}

/// True when untrusted content is in view and the arguments are not known to be the user's own.
fn is_steerable(ctx: &Context<'_>) -> bool {
    ctx.args_label.integrity > Integrity::User && ctx.in_view.integrity == Integrity::Untrusted
}

fn no_effect(rule: &str, ctx: &Context<'_>) -> Verdict {
    Verdict::allow(rule, format!("`{}` only reads: the call has no effect", ctx.manifest.name))
}

fn asks(rule: &str, ctx: &Context<'_>, effect: Effect, reason: &str) -> Verdict {
    let tool = &ctx.manifest.name;
    let effect = words::effect(effect);
    let mut why = format!("`{tool}` (effect `{effect}`) {reason}");
    if ctx.in_view.integrity == Integrity::Untrusted {
        why.push_str("; untrusted content is in view");
        if !ctx.in_view.origins.is_empty() {
            why.push_str(": ");
            why.push_str(&ctx.in_view.origins.join(", "));
        }
    }
    Verdict::ask(rule, why, super::say_allow(tool, effect))
}

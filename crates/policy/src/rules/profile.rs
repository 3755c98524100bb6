//! What holds where no rule of the user's speaks: the three profiles.
//!
//! Coarse on purpose: they see a call's effect, whether it stays within the
//! workspace and the session's own state, and the worst label of its arguments
//! and of what is in view. They never deny.

use std::fmt;
use std::str::FromStr;

use are_core::body::{Effect, Outcome, Retry};
use are_core::label::Integrity;
use serde::{Deserialize, Serialize};

use super::Verdict;
use super::words;
use crate::call::Context;

/// Most characters of an unknown name that an error repeats.
const NAME_SHOWN_MAX: usize = 64;

/// How calls are decided that no rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Everything runs and is recorded with what `strict` would have said; a `forbid` still holds.
    Observe,
    /// Every effect asks.
    Ask,
    /// Reads run, and so do changes of the session's own state unless untrusted content could steer them; all else asks.
    Strict,
}

impl Profile {
    /// Every profile there is.
    pub const ALL: [Self; 3] = [Self::Observe, Self::Ask, Self::Strict];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
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

/// What the profile says of a call.
pub(super) fn judge(profile: Profile, ctx: &Context<'_>, effect: Effect, reach: Reach) -> Verdict {
    match profile {
        Profile::Observe => observe(ctx, effect, reach),
        Profile::Ask => ask(ctx, effect, reach),
        Profile::Strict => strict(ctx, effect, reach),
    }
}

fn observe(ctx: &Context<'_>, effect: Effect, reach: Reach) -> Verdict {
    let strict = strict(ctx, effect, reach).lifted(ctx.is_approved);
    let mut verdict = Verdict::allow("profile:observe", "profile `observe` allows everything that no rule forbids");
    if strict.outcome != Outcome::Allow {
        verdict.why = format!("{}; `strict` would not: {}", verdict.why, strict.why);
        verdict.would = Some(strict.outcome);
    }
    verdict
}

fn ask(ctx: &Context<'_>, effect: Effect, reach: Reach) -> Verdict {
    match reach {
        Reach::Nothing => no_effect("profile:ask/no-effect", ctx),
        Reach::OwnState => asks(
            "profile:ask/own-state",
            ctx,
            effect,
            "changes the session's own state, and profile `ask` asks before every effect",
        ),
        Reach::Workspace => asks(
            "profile:ask/contained-write",
            ctx,
            effect,
            "changes files of the workspace, and profile `ask` asks before every effect",
        ),
        Reach::Outside => asks(
            "profile:ask/outside",
            ctx,
            effect,
            "reaches outside the workspace, and profile `ask` asks before every effect",
        ),
    }
}

fn strict(ctx: &Context<'_>, effect: Effect, reach: Reach) -> Verdict {
    match reach {
        Reach::Nothing => no_effect("profile:strict/no-effect", ctx),
        Reach::OwnState if is_steerable(ctx) => asks(
            "profile:strict/own-state-untrusted",
            ctx,
            effect,
            "changes the session's own state, and untrusted content could have chosen its arguments",
        ),
        Reach::OwnState => Verdict::allow(
            "profile:strict/own-state",
            format!(
                "`{}` changes only the session's own state, and nothing untrusted could have chosen its arguments",
                ctx.manifest.name
            ),
        ),
        Reach::Workspace => asks(
            "profile:strict/contained-write",
            ctx,
            effect,
            "changes files of the workspace, and profile `strict` asks before every change",
        ),
        Reach::Outside => asks(
            "profile:strict/outside",
            ctx,
            effect,
            "reaches outside the workspace, and profile `strict` asks before anything leaves it",
        ),
    }
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

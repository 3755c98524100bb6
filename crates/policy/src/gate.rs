//! The one door to effects: a [`Permit`] exists only for a recorded decision.
//!
//! Invariant: [`authorize`] is the only function that makes a permit. It needs
//! the decision about this very call and the receipt of the append that holds
//! decision and intent; a lane takes the permit by value and reads the arguments
//! from it, so that what runs is what was decided, shown and recorded. A parent's permit never
//! covers a child call.

use are_core::body::{Effect, Outcome, Retry};
use are_core::canonical::Args;
use are_core::digest::Digest;
use are_core::ids::{CallNo, Fence, SessionKey};
use are_core::store::{Durability, Receipt};

use crate::call::{Call, Decision};
use crate::rules::PathRules;

/// The right to run one call once. Not `Clone`, spent by [`Permit::spend`].
#[derive(Debug)]
#[must_use = "a permit that is not spent leaves an intent without an outcome"]
pub struct Permit {
    call: Call,
    effect: Effect,
    retry: Retry,
    fence: Fence,
    paths: PathRules,
}

/// What a spent permit gives a lane.
#[derive(Debug)]
#[non_exhaustive]
pub struct Spent {
    /// Session.
    pub session: SessionKey,
    /// Number of the call.
    pub call: CallNo,
    /// Tool name.
    pub tool: String,
    /// Digest of the tool that was decided about.
    pub tool_digest: Digest,
    /// The canonical arguments.
    pub args: Args,
    /// What it does.
    pub effect: Effect,
    /// Idempotency key.
    pub key: Digest,
    /// Fence under which it may run.
    pub fence: Fence,
    /// The rules about what lies below the paths that the arguments name.
    pub paths: PathRules,
}

impl Permit {
    /// The call it is for.
    #[must_use]
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// Whether it may be repeated.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        self.retry
    }

    /// Uses it up.
    #[must_use]
    pub fn spend(self) -> Spent {
        let key = self.call.key();
        let Call { session, call, tool, tool_digest, args, .. } = self.call;
        Spent { session, call, tool, tool_digest, args, effect: self.effect, key, fence: self.fence, paths: self.paths }
    }
}

/// Why no permit was made; each is a bug of the caller, and nothing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The decision is not `allow`.
    #[error("the decision does not allow the call")]
    NotAllowed,
    /// The decision is about another call, or about other arguments.
    #[error("the decision is about another call")]
    OtherCall,
    /// The receipt is another session's.
    #[error("the receipt belongs to another session")]
    OtherSession,
    /// An effect needs a durable intent.
    #[error("the intent is not durable")]
    NotDurable,
}

/// Makes the permit for a call whose decision and intent are recorded.
///
/// # Errors
/// [`Refused`] when the decision is not `allow` or is about another call, the
/// receipt is for another session, or the call has an effect and the intent is
/// only written.
pub fn authorize(call: Call, decision: &Decision, receipt: &Receipt) -> Result<Permit, Refused> {
    if decision.outcome != Outcome::Allow {
        return Err(Refused::NotAllowed);
    }
    if decision.subject != call.subject() {
        return Err(Refused::OtherCall);
    }
    if receipt.session() != call.session {
        return Err(Refused::OtherSession);
    }
    if decision.effect != Effect::None && receipt.durability() < Durability::Durable {
        return Err(Refused::NotDurable);
    }
    Ok(Permit {
        call,
        effect: decision.effect,
        retry: decision.retry,
        fence: receipt.fence(),
        paths: decision.paths.clone(),
    })
}

#[cfg(test)]
mod tests;

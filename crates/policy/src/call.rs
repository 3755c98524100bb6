//! What a decision is about and what it says.

use are_core::body::{Effect, Outcome, Retry};
use are_core::canonical::Args;
use are_core::digest::Digest;
use are_core::ids::{AccountId, AgentName, CallNo, GroupName, SessionKey, TurnNo};
use are_core::label::Label;
use are_core::payload::Bound;

use crate::agent::Narrowing;
use crate::flow::{self, Question, View};
use crate::manifest::{Manifest, ToolSet};
use crate::rules::PathRules;

/// One canonical call: what is decided, shown, recorded and executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Session.
    pub session: SessionKey,
    /// Turn.
    pub turn: TurnNo,
    /// Number.
    pub call: CallNo,
    /// Call that this one is part of.
    pub parent: Option<CallNo>,
    /// Tool name.
    pub tool: String,
    /// Digest of the tool's manifest.
    pub tool_digest: Digest,
    /// Canonical arguments.
    pub args: Args,
}

impl Call {
    /// Idempotency key: `SHA-256(session ‖ call)`, big-endian.
    #[must_use]
    pub fn key(&self) -> Digest {
        Digest::of(&[self.session.as_bytes(), &self.call.to_be_bytes()])
    }

    /// Digest over all that a decision is about: session, numbers, tool, declaration and arguments.
    #[must_use]
    pub fn subject(&self) -> Digest {
        let parent = self.parent.map_or([0; 4], CallNo::to_be_bytes);
        // Every part but the two texts has a fixed length, and a digest stands for each text.
        Digest::of(&[
            self.session.as_bytes(),
            &self.turn.to_be_bytes(),
            &self.call.to_be_bytes(),
            &parent,
            &Digest::of(&[self.tool.as_bytes()]).0,
            &self.tool_digest.0,
            &self.args.digest().0,
        ])
    }
}

/// A running call that makes another one.
#[derive(Debug, Clone, Copy)]
pub struct Parent<'a> {
    /// Its tool's declaration.
    pub manifest: &'a Manifest,
    /// Its arguments.
    pub args: &'a Args,
}

/// What the decision knows beside the call.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// Whose session it is.
    pub account: &'a AccountId,
    /// The groups that the account belongs to, sorted.
    pub groups: &'a [GroupName],
    /// Who acts.
    pub agent: &'a AgentName,
    /// The tool's declaration.
    pub manifest: &'a Manifest,
    /// Worst label of everything the next request would hold, earlier turns included.
    pub in_view: &'a Label,
    /// Label of the arguments, each value traced to where it came from ([`flow::label_of`]).
    pub args_label: &'a Label,
    /// What values are traced in, and what the user said.
    pub view: &'a View,
    /// All tools on offer.
    pub tools: &'a ToolSet,
    /// Values of variables that the arguments name, already put in.
    pub bound: &'a [&'a Bound],
    /// Calls of this turn that were allowed before this one: tool and arguments.
    pub earlier: &'a [(&'a str, &'a Args)],
    /// The running calls that make this one, nearest first; none for a call of the model.
    pub parents: &'a [Parent<'a>],
    /// What the agent is held to beside the rules.
    pub narrowing: &'a Narrowing,
    /// True when a person allowed exactly this tool digest and these argument bytes.
    pub is_approved: bool,
}

impl<'a> Context<'a> {
    /// What the flow of information is asked about a call.
    #[must_use]
    pub fn question(&self, call: &'a Call, effect: Effect) -> Question<'a> {
        Question {
            manifest: self.manifest,
            args: &call.args,
            effect,
            turn: call.turn,
            tools: self.tools,
            view: self.view,
            in_view: self.in_view,
            bound: self.bound,
            earlier: self.earlier,
            parents: self.parents,
        }
    }

    /// The decision by flow.
    pub(crate) fn ruling(&self, call: &Call, effect: Effect) -> flow::Ruling {
        flow::decide(&self.question(call, effect))
    }
}

/// The gate's answer, complete. Made by [`Rules::decide`](crate::rules::Rules::decide) alone, for one call and good
/// for no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// [`Call::subject`] of the call decided about.
    pub(crate) subject: Digest,
    /// What counts.
    pub outcome: Outcome,
    /// What `strict` would have said, where `observe` is milder.
    pub would: Option<Outcome>,
    /// Names of the rules that decided, sorted.
    pub rules: Vec<String>,
    /// Rights the call would use: `tool:fs_write`, `effect:create`, `reach:workspace`; sorted.
    pub permissions: Vec<String>,
    /// Effect of the call.
    pub effect: Effect,
    /// Whether it may be repeated.
    pub retry: Retry,
    /// Label of the arguments.
    pub label: Label,
    /// Why, for people and the model.
    pub why: String,
    /// What the user could say or do to get it.
    pub say: String,
    /// The rules about what lies below the objects that the call names.
    pub(crate) paths: PathRules,
}

//! The rule that `allow_always` adds: this call and nothing beyond it.
//!
//! It names the agent and its account, the effect, the tool with the digest of
//! its declaration, and all objects with the arguments that name them, so a call
//! with one object more or less, or with two of them exchanged, is another call; so is one with another secret.
//! A call that was asked about while nothing untrusted was in view is not
//! permitted once there is. What it does not bind is content: that is what makes
//! it a rule and not an answer.
//!
//! Pure, so that the text that was shown can be derived again in a replay.

use are_core::digest::Digest;
use are_core::ids::{AccountId, AgentName};
use are_core::label::{Integrity, Label};

use super::{Rules, object, words};
use crate::call::Call;
use crate::manifest::Manifest;
use crate::secrets;

/// Bytes of a rule that is offered: a person has to read it.
const RULE_BYTES_MAX: usize = 4 << 10;
/// Hexadecimal digits of the text's digest in the rule's name.
const NAME_DIGITS: usize = 16;

/// What a call was asked about under.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whose session it is.
    pub account: &'a AccountId,
    /// Who acts.
    pub agent: &'a AgentName,
    /// The tool's declaration.
    pub manifest: &'a Manifest,
    /// Worst label of what is in view.
    pub in_view: &'a Label,
    /// Names of the rules that asked.
    pub rules: &'a [String],
}

impl Rules {
    /// The rule that would permit exactly this call; `None` where none could: an own rule asks, which no permit
    /// silences, or the call names too much to be read.
    #[must_use]
    pub fn rule_to_keep(&self, call: &Call, asked: &Asked<'_>) -> Option<String> {
        let is_asked_by_own = |name: &String| self.compiled.as_ref().is_some_and(|compiled| compiled.asks(name));
        if asked.rules.iter().any(is_asked_by_own) || call.tool != asked.manifest.name.as_str() {
            return None;
        }
        let effect = words::effect(asked.manifest.effect_of(&call.args));
        let head = format!(
            "permit(principal == Agent::{:?}, action == Action::{effect:?}, resource == Tool::{:?})",
            asked.agent.as_str(),
            call.tool
        );
        let (_, named) = object::named(call, asked.manifest).ok()?;
        let objects = if named.is_empty() {
            "!(context has object)".to_owned()
        } else {
            let named: Vec<String> = named.iter().map(|object| format!("{object:?}")).collect();
            format!("context has objects && context.objects == [{}]", named.join(", "))
        };
        let mut conditions = vec![
            format!("principal in Account::{:?}", asked.account.as_str()),
            format!("context.tool_digest == \"{}\"", call.tool_digest),
            objects,
        ];
        if secrets::takes(asked.manifest) {
            // Another secret is another right, even at the same address.
            let named = secrets::of_call(asked.manifest, &call.args);
            let named: Vec<String> = named.iter().map(|name| format!("Secret::{:?}", name.as_str())).collect();
            conditions.push(match named.as_slice() {
                [] => "context.secrets.isEmpty()".to_owned(),
                named => format!("context.secrets == [{}]", named.join(", ")),
            });
        }
        if asked.in_view.integrity != Integrity::Untrusted {
            conditions.push("context.in_view_integrity != Integrity::\"untrusted\"".to_owned());
        }
        let rule = format!("{head}\nwhen {{\n  {}\n}};\n", conditions.join(" &&\n  "));
        let name = &Digest::of(&[rule.as_bytes()]).to_string()[..NAME_DIGITS];
        let rule = format!("@id(\"approved-{name}\")\n{rule}");
        (rule.len() <= RULE_BYTES_MAX).then_some(rule)
    }
}

//! What a call's arguments are made of.

use are_core::label::Integrity;
use serde_json::Value;

use super::super::links;
use super::super::trace::{Traced, Tracer, Trust, is_checked};
use super::{Question, SECRET_ARG, VALUE_BYTES_MAX, VALUES_MAX, leaves_of, named};
use crate::manifest::Role;

/// Bytes of a content that may be the name of what is made.
const NAME_BYTES_MAX: usize = 128;

/// What the arguments are made of.
pub(super) struct Facts {
    pub(super) traced: Vec<Traced>,
    /// True when content consists of the user's words, or there is none.
    pub(super) is_worded: bool,
    /// The same, or values that a service or the account vouches for.
    pub(super) is_ours: bool,
    pub(super) has_content: bool,
    /// Short contents, such as a title or a file's name.
    pub(super) names: Vec<String>,
    /// Amounts, each with whether the user or a service stands for it.
    pub(super) amounts: Vec<Traced>,
    /// True when there were more values than are looked at.
    pub(super) is_cut: bool,
    /// True when an argument that says what or where is there but empty.
    pub(super) is_empty: bool,
}

impl Facts {
    pub(super) fn of(question: &Question<'_>, tracer: &Tracer<'_>) -> Self {
        let mut facts = Self {
            traced: Vec::new(),
            is_worded: true,
            is_ours: true,
            has_content: false,
            names: Vec::new(),
            amounts: Vec::new(),
            is_cut: false,
            is_empty: false,
        };
        let map = question.args.to_map();
        facts.is_empty =
            map.iter().any(|(name, value)| is_checked(question.manifest.role_of(name)) && is_nothing(value));
        let args = Value::Object(map);
        leaves_of(&args, &mut |name, _, leaf| {
            if facts.traced.len() >= VALUES_MAX {
                facts.is_cut = true;
                return;
            }
            // By which right: whatever the argument is, a secret in it is a credential that somebody chose.
            let chosen = named(leaf).into_iter().map(|name| Value::String(name.to_string()));
            facts.traced.extend(chosen.filter_map(|name| tracer.leaf(SECRET_ARG, &name)));
            let role = question.manifest.role_of(name);
            match (role, leaf) {
                (role, Value::String(text)) if is_checked(role) && text.len() > VALUE_BYTES_MAX => facts.is_cut = true,
                (Role::Selector, leaf) => {
                    facts.traced.extend(tracer.leaf(name, leaf).map(|one| tracer.or_address_of(one)))
                }
                (role, leaf) if is_checked(role) => facts.traced.extend(tracer.leaf(name, leaf)),
                (Role::Amount, leaf) => facts.amounts.extend(tracer.leaf(name, leaf)),
                (Role::Content, Value::String(text)) if !text.trim().is_empty() => {
                    facts.has_content = true;
                    if text.len() <= NAME_BYTES_MAX {
                        facts.names.push(text.clone());
                    }
                    let is_worded = tracer.is_worded(text);
                    facts.is_worded &= is_worded;
                    facts.is_ours &= is_worded || tracer.text(text).0.is_trusted();
                    // What stays in the workspace or the session reaches nobody who could follow a link.
                    let found = if question.manifest.is_contained { Vec::new() } else { links::in_text(text) };
                    facts.is_cut |= found.len() > links::LINKS_MAX;
                    let links = found.into_iter().take(links::LINKS_MAX).map(|link| tracer.inside(name, link));
                    // A link that stands nowhere in view is the model's own, unless it leads to where somebody else
                    // wants it to, or can carry what was read.
                    let leads_out = |traced: &Traced| {
                        let host = links::host(&traced.value);
                        question.in_view.integrity == Integrity::Untrusted
                            && (traced.value.contains(['?', '#']) || tracer.is_in_content(host))
                    };
                    facts.traced.extend(links.filter(|traced| traced.trust != Trust::Nothing || leads_out(traced)));
                }
                _ => {}
            }
        });
        facts
    }

    pub(super) fn is_trusted(&self) -> bool {
        !self.is_cut && self.traced.iter().all(|traced| traced.trust.is_trusted())
    }

    pub(super) fn worst(&self) -> Option<&Traced> {
        self.traced.iter().max_by_key(|traced| traced.trust)
    }
}

/// Names nothing, and for many services everything.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.iter().all(is_nothing),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

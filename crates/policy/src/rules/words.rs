//! The words that rules use for the closed sets of the core.
//!
//! They are those of the records; a test holds them equal to what serde writes
//! and to the enumerations of the published schema.

use are_core::body::Effect;
use are_core::label::{Confidentiality, Integrity};

use crate::manifest::Lane;

/// Every effect, mildest first.
pub const EFFECTS: [Effect; 9] = [
    Effect::None,
    Effect::NetworkRead,
    Effect::Create,
    Effect::Modify,
    Effect::Destructive,
    Effect::Send,
    Effect::Share,
    Effect::Financial,
    Effect::Credential,
];

/// The name of an effect, as in manifests and rules.
#[must_use]
pub const fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::None => "none",
        Effect::NetworkRead => "network_read",
        Effect::Create => "create",
        Effect::Modify => "modify",
        Effect::Destructive => "destructive",
        Effect::Send => "send",
        Effect::Share => "share",
        Effect::Financial => "financial",
        Effect::Credential => "credential",
    }
}

pub(super) const fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Builtin => "builtin",
        Lane::Wasm => "wasm",
        Lane::Js => "js",
        Lane::Command => "command",
        Lane::Http => "http",
        Lane::Agent => "agent",
        Lane::Mcp => "mcp",
    }
}

pub(super) const fn integrity(integrity: Integrity) -> &'static str {
    match integrity {
        Integrity::System => "system",
        Integrity::User => "user",
        Integrity::Platform => "platform",
        Integrity::Untrusted => "untrusted",
    }
}

pub(super) const fn confidentiality(confidentiality: Confidentiality) -> &'static str {
    match confidentiality {
        Confidentiality::Public => "public",
        Confidentiality::Private => "private",
        Confidentiality::Secret => "secret",
    }
}

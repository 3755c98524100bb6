//! Labels: where a value came from and who may see it.
//!
//! A label is made at the runtime's boundary, from a tool's manifest or the
//! authenticated door, never by the model, and travels with the stored value.
//! It is kept per leaf (JSON pointer), so that one trusted field of a result
//! stays trusted beside an untrusted one.
//!
//! SOURCE: Denning, "A Lattice Model of Secure Information Flow" (1976).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most origins a label names; further ones are dropped, the levels stay exact.
pub const ORIGINS_MAX: usize = 8;

/// Whose word a value is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integrity {
    /// The runtime's own.
    System,
    /// The authenticated account's own words.
    User,
    /// A service that vouches for it.
    Platform,
    /// Anybody may have written it.
    Untrusted,
}

/// Who may see a value, least confined first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidentiality {
    /// Everybody.
    Public,
    /// The account.
    Private,
    /// Nobody but the destination it is bound to.
    Secret,
}

/// Where one value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Whose word it is.
    pub integrity: Integrity,
    /// Who may see it.
    pub confidentiality: Confidentiality,
    /// Sources, for people: `user`, `fs_read#3`, at most [`ORIGINS_MAX`], sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
}

impl Label {
    /// A label with one origin.
    #[must_use]
    pub fn new(integrity: Integrity, confidentiality: Confidentiality, origin: &str) -> Self {
        Self { integrity, confidentiality, origins: vec![origin.to_owned()] }
    }

    /// What an unlabelled value is taken for.
    #[must_use]
    pub fn worst(origin: &str) -> Self {
        Self::new(Integrity::Untrusted, Confidentiality::Private, origin)
    }

    /// The least label that is at least as bad as both.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let mut origins = self.origins.clone();
        origins.extend(other.origins.iter().cloned());
        origins.sort();
        origins.dedup();
        origins.truncate(ORIGINS_MAX);
        Self {
            integrity: self.integrity.max(other.integrity),
            confidentiality: self.confidentiality.max(other.confidentiality),
            origins,
        }
    }
}

/// Labels of the leaves of one value, by JSON pointer; `""` stands for every
/// leaf that no longer pointer names.
pub type Labels = BTreeMap<String, Label>;

/// The join over all leaves; `None` for an empty map.
#[must_use]
pub fn worst_of(labels: &Labels) -> Option<Label> {
    labels.values().cloned().reduce(|a, b| a.join(&b))
}

/// The two levels of a label without its origins: what an audit line may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    /// See [`Label::integrity`].
    pub integrity: Integrity,
    /// See [`Label::confidentiality`].
    pub confidentiality: Confidentiality,
}

impl From<&Label> for Levels {
    fn from(label: &Label) -> Self {
        Self { integrity: label.integrity, confidentiality: label.confidentiality }
    }
}

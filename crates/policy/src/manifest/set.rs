//! Sets of tools, and what is derived from each tool's manifest.
//!
//! A set is stored as the list of its manifests in canonical JSON, and its digest
//! is over exactly these bytes, whatever set it was made from. What is derived of
//! one tool is derived once and shared by all sets that it is in, so that to narrow
//! a set, or to take a file of tools into it, costs little.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use are_core::digest::Digest;
use are_core::ids::ToolName;
use are_core::model::ToolSpec;

use super::{Manifest, RESULT_READ, SEARCH, bytes_of};
use crate::flow::{ToolWords, Vocabulary};
use crate::secrets::DISCLOSE;

/// A manifest with what is derived from it. Cheap to clone, and derived once: a set that is made of those of another
/// costs little.
#[derive(Clone)]
pub struct Declaration(Arc<Derived>);

struct Derived {
    manifest: Manifest,
    /// The manifest in canonical JSON.
    text: String,
    digest: Digest,
    spec_bytes: OnceLock<u64>,
    words: OnceLock<Arc<ToolWords>>,
}

impl From<Manifest> for Declaration {
    fn from(manifest: Manifest) -> Self {
        let (text, digest) = manifest.sealed();
        Self(Arc::new(Derived { manifest, text, digest, spec_bytes: OnceLock::new(), words: OnceLock::new() }))
    }
}

impl Declaration {
    /// What was declared.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// [`Manifest::digest`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// As the model is told of it, with its bytes.
    fn spec(&self) -> (ToolSpec, u64) {
        let spec = self.0.manifest.spec();
        let bytes = *self.0.spec_bytes.get_or_init(|| bytes_of(&spec));
        (spec, bytes)
    }

    fn words(&self) -> Arc<ToolWords> {
        Arc::clone(self.0.words.get_or_init(|| Arc::new(ToolWords::new(&self.0.manifest))))
    }

    /// False for what only commands use, which has no words by which somebody could ask for it, and for what reads
    /// results that the runtime has shortened, which nobody's words are about.
    fn is_for_words(&self) -> bool {
        !self.manifest().is_granted() && self.manifest().name.as_str() != RESULT_READ
    }

    fn is_shown(&self) -> bool {
        self.is_for_words() && !matches!(self.manifest().name.as_str(), SEARCH | DISCLOSE)
    }
}

impl fmt::Debug for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Declaration({} {})", self.manifest().name, self.digest())
    }
}

/// The tools served at one moment. Cheap to clone: what is derived from all of
/// them, but for the digest, is derived when it is first asked for, and not for
/// each turn.
#[derive(Debug, Clone)]
pub struct ToolSet(Arc<Served>);

#[derive(Debug)]
struct Served {
    tools: BTreeMap<ToolName, Declaration>,
    digest: Digest,
    shown: OnceLock<(Arc<[ToolSpec]>, u64)>,
    vocabulary: OnceLock<Vocabulary>,
}

impl ToolSet {
    /// A set from manifests, or from what was derived from some before.
    ///
    /// # Errors
    /// The name that stands twice.
    pub fn new<T: Into<Declaration>>(tools: impl IntoIterator<Item = T>) -> Result<Self, ToolName> {
        let mut set = BTreeMap::new();
        for tool in tools {
            let tool: Declaration = tool.into();
            if let Some(other) = set.insert(tool.manifest().name.clone(), tool) {
                return Err(other.manifest().name.clone());
            }
        }
        Ok(Self::of(set))
    }

    fn of(tools: BTreeMap<ToolName, Declaration>) -> Self {
        let digest = Digest::of(&pieces(&tools));
        Self(Arc::new(Served { tools, digest, shown: OnceLock::new(), vocabulary: OnceLock::new() }))
    }

    /// The bytes under whose digest the set is stored: all manifests, as a list in canonical JSON.
    #[must_use]
    pub fn object(&self) -> Vec<u8> {
        pieces(&self.0.tools).concat()
    }

    /// The inverse of [`object`](Self::object); `None` when the bytes are no tool set.
    #[must_use]
    pub fn from_object(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Vec<Manifest>>(bytes).ok().and_then(|manifests| Self::new(manifests).ok())
    }

    /// A tool and its digest.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&Manifest, Digest)> {
        let name: ToolName = name.parse().ok()?;
        self.0.tools.get(&name).map(|tool| (tool.manifest(), tool.digest()))
    }

    /// All tools by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Manifest, Digest)> {
        self.0.tools.values().map(|tool| (tool.manifest(), tool.digest()))
    }

    /// All tools as the model is told of them, by name, without the one that finds others, the one that reads
    /// shortened results, and those that only commands and components use.
    #[must_use]
    pub fn specs(&self) -> &Arc<[ToolSpec]> {
        &self.shown().0
    }

    /// Bytes of names, descriptions and schemas, for estimates.
    #[must_use]
    pub fn spec_bytes(&self) -> u64 {
        self.shown().1
    }

    fn shown(&self) -> &(Arc<[ToolSpec]>, u64) {
        self.0.shown.get_or_init(|| {
            let shown = self.0.tools.values().filter(|tool| tool.is_shown()).map(Declaration::spec);
            let (specs, bytes): (Vec<_>, Vec<_>) = shown.unzip();
            (specs.into(), bytes.into_iter().sum())
        })
    }

    /// The part of the set that an agent may use.
    #[must_use]
    pub fn narrowed(&self, may_use: impl Fn(&ToolName) -> bool) -> Self {
        let kept = self.0.tools.iter().filter(|(name, _)| may_use(name));
        Self::of(kept.map(|(name, tool)| (name.clone(), tool.clone())).collect())
    }

    /// The words of all tools, as requests are compared with them.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        self.words()
    }

    fn words(&self) -> &Vocabulary {
        self.0.vocabulary.get_or_init(|| {
            let asked_for = self.0.tools.iter().filter(|(_, tool)| tool.is_for_words());
            asked_for.map(|(name, tool)| (name.clone(), tool.words())).collect()
        })
    }

    /// Derives now what would be derived when it is first asked for.
    pub fn derive(&self) {
        self.shown();
        self.words();
    }

    /// Digest over all manifests.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }
}

/// The list of manifests in canonical JSON, piece by piece.
fn pieces(tools: &BTreeMap<ToolName, Declaration>) -> Vec<&[u8]> {
    let mut pieces: Vec<&[u8]> = Vec::with_capacity(2 * tools.len() + 2);
    for tool in tools.values() {
        pieces.push(if pieces.is_empty() { b"[" } else { b"," });
        pieces.push(tool.0.text.as_bytes());
    }
    pieces.push(if pieces.is_empty() { b"[]" } else { b"]" });
    pieces
}

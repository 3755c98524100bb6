//! How files become tools: one loader a kind of implementation.
//!
//! A loader checks everything about its file that can be checked without
//! running it, and fails for this file alone. Its manifests begin as the worst
//! case and become milder by what is declared beside the file.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_policy::manifest::Manifest;

pub(crate) use super::declared::Declared;
use crate::http::Http;
use crate::js::Scripts;
use crate::lane::Runs;
use crate::mcp::{Consented, Runtime};
use crate::templates::Templates;
use crate::wasm::Components;
use crate::wasm::engine::Engine;

/// Turns files of one kind into tools.
pub(crate) trait Loads: Send + Sync {
    /// Extensions of its files, without dots.
    fn extensions(&self) -> &'static [&'static str];

    /// Extensions of the texts beside its files that these may draw in.
    fn draws_in(&self) -> &'static [&'static str] {
        &[]
    }

    /// The tools of a file. `file` is its name for messages and for the tools' names; its content is `bytes`, and
    /// nothing else may be read but `beside`. The registry adds the content's digest to each manifest's version, so
    /// that another content is another tool; what is drawn in counts by the loader's own version. Called on a thread
    /// that may block.
    fn load(&self, file: &Path, bytes: Vec<u8>, declared: &Declared, beside: &Beside) -> Result<Loaded, Fault>;

    /// Whether its files may lose single tools, with the others being served.
    fn is_partial(&self) -> bool {
        false
    }

    /// Name of the hidden file that is kept beside a file of this content, and goes with it.
    fn keeps_beside(&self, _file: &Path, _bytes: &[u8]) -> Option<String> {
        None
    }

    /// Another number whenever the same files would become other tools.
    fn revision(&self) -> u64 {
        0
    }
}

/// What a file came to.
pub(crate) struct Loaded {
    pub(crate) tools: Vec<Tool>,
    /// Why further tools of it are not served.
    pub(crate) refused: Vec<Fault>,
    /// What lives as long as the file is served.
    pub(crate) anchor: Option<Arc<dyn Any + Send + Sync>>,
}

impl From<Vec<Tool>> for Loaded {
    fn from(tools: Vec<Tool>) -> Self {
        Self { tools, refused: Vec::new(), anchor: None }
    }
}

/// Texts of the folder by name, for files that draw others in.
pub(crate) type Beside = BTreeMap<String, String>;

/// A tool that was loaded.
pub(crate) type Tool = (Manifest, Arc<dyn Runs>);

/// The loaders that there are. A lane that is added is added here.
pub(super) fn lanes(http: &Arc<Http>, cache: Option<PathBuf>, servers: &Arc<Runtime>) -> Vec<Box<dyn Loads>> {
    let engine = Engine::new(cache);
    vec![
        Box::new(Templates::new(Arc::clone(http))),
        Box::new(Components::on(engine.clone())),
        Box::new(Scripts::on(engine)),
        Box::new(Consented::on(Arc::clone(servers))),
    ]
}

/// A file that cannot be loaded.
pub(crate) fn invalid(why: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault::new(Code::MANIFEST_INVALID, why, help)
}

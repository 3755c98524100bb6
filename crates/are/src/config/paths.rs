//! Where things lie by default, and which directories an agent may not work in.
//!
//! SOURCE: XDG Base Directory Specification 0.8; relative paths in its
//! variables are ignored, as it demands.

use std::path::{Path, PathBuf};

use are_core::error::{Code, Fault};

use super::files;
use super::layers::Surroundings;

fn base(surroundings: &Surroundings, variable: &str, below_home: &str) -> Option<PathBuf> {
    let named = surroundings.get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| surroundings.home().map(|home| home.join(below_home)))
}

/// `are.toml` in the platform's configuration directory.
pub(super) fn config_file(surroundings: &Surroundings) -> Option<PathBuf> {
    base(surroundings, "XDG_CONFIG_HOME", ".config").map(|dir| dir.join("are").join("are.toml"))
}

/// The platform's data directory.
pub(super) fn data_dir(surroundings: &Surroundings) -> Result<PathBuf, Fault> {
    base(surroundings, "XDG_DATA_HOME", ".local/share").map(|dir| dir.join("are")).ok_or_else(|| {
        Fault::new(
            Code::DATA_DIR_UNUSABLE,
            "there is no data directory: `HOME` is not set",
            "set `ARE_DATA_DIR`, or give `--data-dir DIR`",
        )
    })
}

/// Where model files are kept: the platform's cache, because they can be fetched again and every
/// data directory of the user can share them.
pub(super) fn models_dir(surroundings: &Surroundings, data_dir: &Path) -> PathBuf {
    base(surroundings, "XDG_CACHE_HOME", ".cache")
        .map_or_else(|| data_dir.join("models"), |dir| dir.join("are").join("models"))
}

/// Where each workspace has the cache of its commands: below the platform's cache, never in the data directory's
/// reach of a workspace.
pub(super) fn commands_dir(surroundings: &Surroundings, data_dir: &Path) -> PathBuf {
    base(surroundings, "XDG_CACHE_HOME", ".cache")
        .map_or_else(|| data_dir.join("commands"), |dir| dir.join("are").join("commands"))
}

/// The workspace of sessions that were given none: beside the data directory, never inside it.
pub(super) fn fallback_workspace(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.file_name().unwrap_or_default().to_owned();
    name.push("-workspace");
    data_dir.with_file_name(name)
}

/// What a workspace may not be or contain.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// The user's home: refused itself, not what is below.
    pub home: Option<PathBuf>,
    /// Neither inside a workspace nor around one.
    pub kept_apart: Vec<PathBuf>,
}

impl Guard {
    /// The canonical path of an acceptable workspace.
    ///
    /// # Errors
    /// ARE-0008 with the reason.
    pub fn check(&self, path: &Path) -> Result<PathBuf, Fault> {
        let refused = |why: String| {
            Fault::new(
                Code::WORKSPACE_REFUSED,
                format!("`{}` cannot be a workspace: {why}", path.display()),
                "work in a project directory, or set `ARE_WORKSPACE` to one",
            )
        };
        if !path.is_absolute() {
            return Err(refused("it is not an absolute path".to_owned()));
        }
        let found = files::canonical(path).map_err(|error| refused(error.to_string()))?;
        if !files::is_dir(&found) {
            return Err(refused("it is not a directory".to_owned()));
        }
        if found.parent().is_none() {
            return Err(refused("it is the whole file system".to_owned()));
        }
        if self.home.as_ref().is_some_and(|home| is_same(home, &found)) {
            return Err(refused("it is the whole home directory".to_owned()));
        }
        for apart in &self.kept_apart {
            let apart = files::canonical(apart).unwrap_or_else(|_| apart.clone());
            if apart.starts_with(&found) || found.starts_with(&apart) {
                return Err(refused(format!(
                    "it overlaps `{}`, where the runtime keeps its own files",
                    apart.display()
                )));
            }
        }
        Ok(found)
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    a == b || files::canonical(a).is_ok_and(|a| a == b)
}

#[cfg(test)]
mod tests;

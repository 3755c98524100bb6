//! From what the user wishes to a file that may be opened.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use are_core::error::{Code, Fault};

use super::catalog::{Catalog, Entry};
use super::{gguf, verified};

/// Whether a listed model's file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// There, of the right size.
    Installed,
    /// Not there.
    Missing,
    /// There, but of another size or not a file.
    Wrong,
}

/// A listed model and its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed<'a> {
    /// The model.
    pub entry: &'a Entry,
    /// Its file.
    pub presence: Presence,
}

/// The listed models, without hashing anything.
#[must_use]
pub fn list(models_dir: &Path) -> Vec<Installed<'static>> {
    Catalog::builtin()
        .entries()
        .map(|entry| {
            let presence = match fs::metadata(entry.path(models_dir)) {
                Ok(metadata) if metadata.is_file() && metadata.size() == entry.size => Presence::Installed,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Presence::Missing,
                Ok(_) | Err(_) => Presence::Wrong,
            };
            Installed { entry, presence }
        })
        .collect()
}

/// The file of a wish: an alias of the list, or the path of a GGUF file.
///
/// Hashes a listed file the first time it is seen, which takes a second or two.
///
/// # Errors
/// ARE-0006 for an unknown name, ARE-0410 for a missing file, ARE-0411 for one
/// that is cut off, damaged or of another kind. Each names the remedy.
pub fn locate(models_dir: &Path, wish: &str) -> Result<PathBuf, Fault> {
    let catalog = Catalog::builtin();
    match catalog.find(wish) {
        Some(entry) => listed(models_dir, entry),
        None if is_path(wish) => own(Path::new(wish)),
        None => Err(catalog.get(wish).err().unwrap_or_else(|| missing(Path::new(wish)))),
    }
}

/// Removes a listed model's file; true when there was one.
///
/// # Errors
/// ARE-0006 for an unknown name, ARE-0411 when the file cannot be removed.
pub fn remove(models_dir: &Path, alias: &str) -> Result<bool, Fault> {
    let entry = Catalog::builtin().get(alias)?;
    let removed = match fs::remove_file(entry.path(models_dir)) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            return Err(Fault::new(
                Code::MODEL_FILE_WRONG,
                format!("the file of model `{alias}` cannot be removed: {error}"),
                format!("check the permissions of `{}`", models_dir.display()),
            ));
        }
    };
    verified::forget(models_dir, &entry.file);
    Ok(removed)
}

/// The path of a listed model whose file is the manifest's, byte for byte.
pub(super) fn listed(models_dir: &Path, entry: &Entry) -> Result<PathBuf, Fault> {
    let path = entry.path(models_dir);
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Fault::new(
                Code::MODEL_FILE_MISSING,
                format!("model `{}` is not installed", entry.alias),
                format!("fetch it ({}): `are model pull {}`", entry.size_text(), entry.alias),
            ));
        }
        Err(error) => return Err(damaged(entry, &format!("it cannot be read: {error}"))),
    };
    if !metadata.is_file() {
        return Err(damaged(entry, "it is not a regular file"));
    }
    if metadata.size() != entry.size {
        let fewer = if metadata.size() < entry.size { "it is cut off" } else { "it is too long" };
        return Err(damaged(entry, &format!("{fewer}: {} of {} bytes", metadata.size(), entry.size)));
    }
    match verified::sha256(models_dir, &entry.file) {
        Ok(sha256) if sha256 == entry.sha256 => Ok(path),
        Ok(_) => Err(damaged(entry, "its SHA-256 is not the listed one")),
        Err(error) => Err(damaged(entry, &format!("it cannot be read: {error}"))),
    }
}

fn damaged(entry: &Entry, why: &str) -> Fault {
    Fault::new(
        Code::MODEL_FILE_WRONG,
        format!("the file of model `{}` cannot be used: {why}", entry.alias),
        format!("fetch it anew: `are model pull {}`", entry.alias),
    )
}

fn is_path(wish: &str) -> bool {
    let looks_like_gguf = Path::new(wish).extension().is_some_and(|kind| kind.eq_ignore_ascii_case("gguf"));
    looks_like_gguf || wish.contains(std::path::MAIN_SEPARATOR)
}

fn own(path: &Path) -> Result<PathBuf, Fault> {
    // The kind is asked before the file is opened: opening a pipe would wait.
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(path)),
        Err(error) => return Err(unusable(path, &format!("it cannot be read: {error}"))),
    };
    if !metadata.is_file() {
        return Err(unusable(path, "it is not a regular file"));
    }
    let file = File::open(path).map_err(|error| unusable(path, &format!("it cannot be read: {error}")))?;
    gguf::check(file).map_err(|flaw| unusable(path, &flaw.to_string()))?;
    fs::canonicalize(path).map_err(|error| unusable(path, &format!("it cannot be read: {error}")))
}

fn missing(path: &Path) -> Fault {
    Fault::new(
        Code::MODEL_FILE_MISSING,
        format!("there is no model file `{}`", path.display()),
        format!("check the path, or use a listed model: `are model pull {}`", Catalog::DEFAULT),
    )
}

fn unusable(path: &Path, why: &str) -> Fault {
    Fault::new(
        Code::MODEL_FILE_WRONG,
        format!("`{}` cannot be used as a model: {why}", path.display()),
        format!("give a whole GGUF file, or use a listed model: `are model pull {}`", Catalog::DEFAULT),
    )
}

#[cfg(test)]
mod tests;

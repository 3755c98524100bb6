//! The directory of a measurement: workspaces of tasks, and what runs came to, a line each.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use serde::{Deserialize, Serialize};

use super::{Run, unreadable};

/// Bytes of a file that a task left behind that are looked at.
const LEFT_BYTES_MAX: u64 = 1 << 20;

/// The directory.
pub(super) struct Place {
    dir: PathBuf,
}

/// What the runs of a directory have in common: others are not compared with them.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Conditions {
    tiers: Vec<String>,
    /// Of the tasks.
    digest: Digest,
}

impl Place {
    /// # Errors
    /// The directory cannot be used, or what was measured there was asked of other models, or is about other tasks.
    pub(super) fn open(dir: &Path, tiers: &[String], data: &str) -> Result<Self, Fault> {
        fs::create_dir_all(dir.join("work")).map_err(|error| unusable(dir, &error))?;
        // Sessions are told absolute paths, and those without links.
        let dir = dir.canonicalize().map_err(|error| unusable(dir, &error))?;
        let conditions = Conditions { tiers: tiers.to_vec(), digest: Digest::of(&[data.as_bytes()]) };
        let path = dir.join("conditions.json");
        let failed = |error: std::io::Error| unusable(&path, &error);
        match fs::read(&path) {
            Ok(before) if serde_json::from_slice::<Conditions>(&before).is_ok_and(|before| before == conditions) => {}
            Ok(_) => {
                let what = format!("what was measured in `{}` had other models or other tasks", dir.display());
                return Err(Fault::new(Code::DATA_DIR_UNUSABLE, what, "name another directory with `--dir DIR`"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let bytes = serde_json::to_vec(&conditions).map_err(|error| failed(error.into()))?;
                fs::write(&path, bytes).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(Self { dir })
    }

    /// A new workspace with these files.
    pub(super) fn workspace(&self, name: &str, files: &BTreeMap<String, String>) -> Result<PathBuf, Fault> {
        let workspace = self.dir.join("work").join(name);
        if workspace.exists() {
            // Of a run that was not finished.
            fs::remove_dir_all(&workspace).map_err(|error| unusable(&workspace, &error))?;
        }
        fs::create_dir_all(&workspace).map_err(|error| unusable(&workspace, &error))?;
        for (path, text) in files {
            let path = workspace.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|error| unusable(parent, &error))?;
            }
            fs::write(&path, text).map_err(|error| unusable(&path, &error))?;
        }
        Ok(workspace)
    }

    /// What a file of a workspace holds; `None` where there is none, or none that is a text.
    pub(super) fn read(&self, workspace: &Path, path: &str) -> Option<String> {
        // silent-ok: what cannot be read is not what the task asked for.
        let (path, dir) = (workspace.join(path), self.dir.canonicalize().ok()?);
        let is_below = path.parent()?.canonicalize().ok()?.starts_with(dir);
        let metadata = fs::symlink_metadata(&path).ok()?;
        if !metadata.is_file() || metadata.len() > LEFT_BYTES_MAX || !is_below {
            return None;
        }
        fs::read_to_string(path).ok()
    }

    /// What earlier measurements in this directory came to.
    pub(super) fn runs(&self) -> Result<Vec<Run>, Fault> {
        let path = self.results();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unusable(&path, &error)),
        };
        let lines = text.lines().filter(|line| !line.is_empty());
        let run = |line| {
            serde_json::from_str(line)
                .map_err(|error| unreadable(&format!("`{}` holds a line that is no run: {error}", path.display())))
        };
        lines.map(run).collect()
    }

    /// Keeps a run.
    pub(super) fn keep(&self, run: &Run) -> Result<(), Fault> {
        let path = self.results();
        let failed = |error: std::io::Error| unusable(&path, &error);
        let line = serde_json::to_string(run).map_err(|error| failed(error.into()))?;
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        writeln!(file, "{line}").map_err(failed)
    }

    fn results(&self) -> PathBuf {
        self.dir.join("results.jsonl")
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Fault {
    let help = "name a directory of your own with `--dir DIR`";
    Fault::new(Code::DATA_DIR_UNUSABLE, format!("`{}` cannot be used: {error}", path.display()), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_otherwise_is_not_compared() {
        let dir = tempfile::tempdir().unwrap();
        let (two, one) = (["a".to_owned(), "b".to_owned()], ["b".to_owned()]);
        Place::open(dir.path(), &two, "tasks").unwrap();
        Place::open(dir.path(), &two, "tasks").unwrap();
        for (tiers, data) in [(&one[..], "tasks"), (&two[..], "others")] {
            let fault = Place::open(dir.path(), tiers, data).err().unwrap();
            assert_eq!(fault.code, Code::DATA_DIR_UNUSABLE);
        }
    }
}

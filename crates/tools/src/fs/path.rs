//! Paths as the model writes them, turned into paths below the workspace.
//!
//! The rule is lexical and comes before any access: `..` takes back the name
//! before it, as a reader of the path expects, and what then leads outside is
//! refused by its text alone. Links are the kernel's affair, later.

use std::path::{Component, Path, PathBuf};

use are_core::error::{Code, Fault};

use super::PATH_BYTES_MAX;
use crate::text::short;

/// Bytes of one name; the common file systems take no longer one.
const NAME_BYTES_MAX: usize = 255;

/// The path below `workspace` that `text` means; empty for the workspace itself.
pub(super) fn below(workspace: &Path, text: &str) -> Result<PathBuf, Fault> {
    if text.is_empty() || text.len() > PATH_BYTES_MAX || text.contains('\0') {
        return Err(refused(text, "it is empty, too long or holds a zero byte"));
    }
    let path = if text.starts_with('/') {
        let whole = normal(Path::new(text)).ok_or_else(|| outside(text))?;
        let workspace = normal(workspace).ok_or_else(|| outside(text))?;
        whole.strip_prefix(&workspace).map_err(|_| outside(text))?.to_owned()
    } else {
        normal(Path::new(text)).ok_or_else(|| outside(text))?
    };
    if path.components().any(|part| part.as_os_str().len() > NAME_BYTES_MAX) {
        return Err(refused(text, "a name in it is longer than 255 bytes"));
    }
    Ok(path)
}

/// The path without `.` and `..`; `None` when a relative one climbs out.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::CurDir => {}
            Component::RootDir => out.push("/"),
            // At the root, `..` is the root.
            Component::ParentDir if path.is_absolute() => {
                out.pop();
            }
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::Prefix(_) => return None,
        }
    }
    Some(out)
}

/// How a path is shown: `.` for the workspace itself.
pub(super) fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { ".".to_owned() } else { path.display().to_string() }
}

fn outside(text: &str) -> Fault {
    refused(text, "it leads outside the workspace")
}

pub(super) fn refused(path: &str, why: &str) -> Fault {
    Fault::new(
        Code::PATH_REFUSED,
        format!("the path `{}` is refused: {why}", short(path)),
        "use a path relative to the workspace, such as `notes.txt`",
    )
}

#[cfg(test)]
mod tests;

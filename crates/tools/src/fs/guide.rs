//! `AGENTS.md` of a workspace: what it says to agents that work in it.
//!
//! Read before a turn as far as it is bounded, never written. Whoever may write
//! into the workspace wrote it, so it is labelled as every file there.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::workspace::Workspace;
use crate::text::utf8_start;

/// The file, at the workspace's root.
pub(crate) const FILE: &str = "AGENTS.md";

/// Its text, at most so many bytes of it; `None` where there is none, or nothing that can be read as text.
pub(crate) fn read(root: &Path, bytes_max: usize) -> Option<String> {
    let workspace = Workspace::open(root).ok()?;
    let path = workspace.entry(FILE).ok()?;
    // A link could mean a file that is none of the workspace's business to show.
    workspace.look(&path).ok()?.filter(cap_std::fs::Metadata::is_file)?;
    let (file, metadata) = workspace.open_file(&path).ok()?;
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(bytes_max);
    let mut bytes = vec![0; length];
    file.into_std().read_exact_at(&mut bytes, 0).ok()?;
    let text = utf8_start(&bytes, metadata.len() > length as u64)?;
    (!text.trim().is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_text_of_the_workspace_itself_is_read_and_no_more_than_asked() {
        let root = tempfile::tempdir().expect("directory");
        let work = root.path().join("work");
        std::fs::create_dir(&work).expect("directory");
        assert_eq!(read(&work, 100), None, "there is none");
        std::fs::write(work.join(FILE), "Use tabs. ä").expect("file");
        assert_eq!(read(&work, 100).as_deref(), Some("Use tabs. ä"));
        assert_eq!(read(&work, 11).as_deref(), Some("Use tabs. "), "not half a character");
        for bytes in [b"\xff\xfe\x00".as_slice(), b" \n ", b""] {
            std::fs::write(work.join(FILE), bytes).expect("file");
            assert_eq!(read(&work, 100), None, "{bytes:?}");
        }
        std::fs::remove_file(work.join(FILE)).expect("removed");
        std::fs::write(root.path().join("secret"), "secret").expect("file");
        std::os::unix::fs::symlink("../secret", work.join(FILE)).expect("link");
        assert_eq!(read(&work, 100), None, "a link");
        std::fs::remove_file(work.join(FILE)).expect("removed");
        std::fs::create_dir(work.join(FILE)).expect("directory");
        assert_eq!(read(&work, 100), None, "a directory");
    }
}

//! Changed files without secrets in their names and targets.

use are_core::change::{FileChange, FileState, Lost};

use super::Scrubber;

impl Scrubber {
    /// A change whose path held a secret is only told of: nothing can be put back where it says.
    pub(crate) fn clean_changes(&self, mut changes: Vec<FileChange>) -> Vec<FileChange> {
        for FileChange { path, from, before, after, lost } in &mut changes {
            let mut clean = |text: &mut String| {
                if self.finds(text) {
                    *text = self.clean(std::mem::take(text));
                    *lost = Some(Lost::Name);
                }
            };
            clean(path);
            from.iter_mut().for_each(&mut clean);
            for state in [before, after].into_iter().flatten() {
                if let FileState::Link { target } = state {
                    clean(target);
                }
            }
        }
        changes
    }
}

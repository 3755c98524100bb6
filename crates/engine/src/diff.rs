//! What a turn made of each path, and how that reads as a unified diff.
//!
//! The changes of a turn's calls become one entry a path, from what stood there
//! before the turn to what the turn left. Pure: contents are passed in. Bounded:
//! a long text is named and not shown, and a comparison that takes too long is
//! coarser.
//!
//! SOURCE: the format is that of POSIX `diff -u` with git's `/dev/null`.

use std::time::Duration;

use are_core::change::{FileChange, FileState, Lost};
use are_core::digest::Digest;
use similar::TextDiff;

use crate::api::FileDiff;
use crate::state::CallChanges;

/// Bytes of diffs in one answer.
pub(crate) const TEXT_BYTES_MAX: usize = 4 << 20;
/// Bytes of one side of a text that is compared.
const SIDE_BYTES_MAX: usize = 2 << 20;
/// Time for one comparison; then it gives up looking for the shortest.
const COMPARE_TIME: Duration = Duration::from_millis(500);
/// Lines around a change.
const CONTEXT_LINES: usize = 3;
/// Bytes of a content in which a zero byte makes it binary, as git has it.
const BINARY_BYTES: usize = 8 << 10;

/// Before or after the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

/// What a turn made of one path.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    path: String,
    from: Option<String>,
    before: Option<FileState>,
    after: Option<FileState>,
    lost: Option<Lost>,
    is_certain: bool,
}

impl Net {
    /// The content that is needed to show a side, and where it may stand.
    pub(crate) fn wanted(&self, side: Side) -> Option<(String, Digest)> {
        let is_same = matches!((&self.before, &self.after), (Some(before), Some(after)) if before.is_same(after));
        let state = match side {
            Side::Before => &self.before,
            Side::After => &self.after,
        };
        match state {
            Some(FileState::File { digest: Some(digest), bytes, .. })
                if !is_same && *bytes <= SIDE_BYTES_MAX as u64 =>
            {
                Some((self.path.clone(), *digest))
            }
            _ => None,
        }
    }
}

/// One entry a path; what is as it was before is left out.
pub(crate) fn net(calls: &[CallChanges]) -> Vec<Net> {
    let mut nets: Vec<Net> = Vec::new();
    for call in calls {
        for change in &call.changes {
            match &change.from {
                None => put(&mut nets, change, call.is_certain),
                Some(from) => rename(&mut nets, from, change, call.is_certain),
            }
        }
    }
    let is_change = |net: &Net| match (&net.before, &net.after) {
        (None, None) => false,
        (Some(before), Some(after)) => net.from.is_some() || !before.is_same(after),
        (None, Some(_)) | (Some(_), None) => true,
    };
    nets.retain(is_change);
    nets
}

fn put(nets: &mut Vec<Net>, change: &FileChange, is_certain: bool) {
    if let Some(net) = nets.iter_mut().rev().find(|net| net.path == change.path) {
        net.after.clone_from(&change.after);
        net.is_certain &= is_certain;
        return;
    }
    nets.push(Net {
        path: change.path.clone(),
        from: None,
        before: change.before.clone(),
        after: change.after.clone(),
        lost: change.lost,
        is_certain,
    });
}

fn rename(nets: &mut Vec<Net>, from: &str, change: &FileChange, is_certain: bool) {
    let below = format!("{from}/");
    let mut is_known = false;
    for net in nets.iter_mut().filter(|net| net.after.is_some()) {
        let rest = if net.path == from { Some("") } else { net.path.strip_prefix(&below) };
        let Some(rest) = rest else { continue };
        is_known |= rest.is_empty();
        let path = if rest.is_empty() { change.path.clone() } else { format!("{}/{rest}", change.path) };
        let was = std::mem::replace(&mut net.path, path);
        if net.before.is_some() && net.from.is_none() {
            net.from = Some(was);
        }
        if net.from.as_ref() == Some(&net.path) {
            net.from = None;
        }
        net.is_certain &= is_certain;
    }
    if !is_known {
        nets.push(Net {
            path: change.path.clone(),
            from: Some(from.to_owned()),
            before: change.after.clone(),
            after: change.after.clone(),
            lost: change.lost,
            is_certain,
        });
    }
}

/// An entry with its text, which takes at most `room` bytes.
pub(crate) fn file(net: Net, before: Option<Vec<u8>>, after: Option<Vec<u8>>, room: usize) -> FileDiff {
    let (text, note) = match text(&net, before, after) {
        Ok(Some(text)) if text.len() > room => (None, Some("the diff is too long to be shown")),
        Ok(text) => (text, None),
        Err(note) => (None, Some(note)),
    };
    let Net { path, from, before, after, lost, is_certain } = net;
    FileDiff { path, from, before, after, lost, is_certain, text, note }
}

fn text(net: &Net, before: Option<Vec<u8>>, after: Option<Vec<u8>>) -> Result<Option<String>, &'static str> {
    if matches!((&net.before, &net.after), (Some(before), Some(after)) if before.is_same(after)) {
        return Ok(None);
    }
    let old = side(net.before.as_ref(), before)?;
    let new = side(net.after.as_ref(), after)?;
    if old.is_none() && new.is_none() {
        return Ok(None);
    }
    let old_name = match &net.before {
        Some(FileState::File { .. }) => format!("a/{}", net.from.as_ref().unwrap_or(&net.path)),
        _ => "/dev/null".to_owned(),
    };
    let new_name = match &net.after {
        Some(FileState::File { .. }) => format!("b/{}", net.path),
        _ => "/dev/null".to_owned(),
    };
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let diff = TextDiff::configure().timeout(COMPARE_TIME).diff_lines(&old, &new);
    let text = diff.unified_diff().context_radius(CONTEXT_LINES).header(&old_name, &new_name).to_string();
    Ok(Some(text))
}

/// The text of a side; `None` where no file stands.
fn side(state: Option<&FileState>, content: Option<Vec<u8>>) -> Result<Option<String>, &'static str> {
    let Some(FileState::File { bytes, .. }) = state else { return Ok(None) };
    if *bytes > SIDE_BYTES_MAX as u64 {
        return Err("the file is too large to be shown");
    }
    let content = content.ok_or("the content is not kept, or was changed since")?;
    if content.iter().take(BINARY_BYTES).any(|byte| *byte == 0) {
        return Err("the file is binary");
    }
    String::from_utf8(content).map(Some).map_err(|_| "the file is binary")
}

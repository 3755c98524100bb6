//! Where a change would land, judged by the rules before it is made.
//!
//! A call is decided by the path that it names. A link on the way makes the
//! change land elsewhere, and a repository without a `.git` makes ordinary
//! names work like those below one. Both are seen only here, so the rules are
//! asked again, as if the call had named that place.
//!
//! A link that another program swaps in between this and the change is not
//! seen; it still cannot lead outside the workspace.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use are_core::error::{Code, Fault};
use are_policy::rules::PathRules;

use super::path::shown;
use super::workspace::Workspace;
use crate::text::short;

/// What a directory holds that git takes for a repository.
const HEAD: &str = "HEAD";
/// Beside a `HEAD`, what names programs that git runs, or where to look for such names.
const RUN_BY_GIT: [&str; 4] = ["config", "config.worktree", "commondir", "hooks"];

/// Judges an entry, whose last name is not followed, and says where it lies without links.
pub(super) fn entry(workspace: &Workspace, named: &Path, entry: &Path, rules: &PathRules) -> Result<PathBuf, Fault> {
    if rules.are_silent() {
        return Ok(entry.to_owned());
    }
    let above = workspace.without_links(entry.parent().unwrap_or(Path::new("")))?;
    let lands = above.join(entry.file_name().unwrap_or(OsStr::new("")));
    must_be_allowed(workspace, named, &lands, rules)?;
    Ok(lands)
}

/// Judges a directory, whose last name is followed.
pub(super) fn directory(workspace: &Workspace, named: &Path, rules: &PathRules) -> Result<(), Fault> {
    if rules.are_silent() {
        return Ok(());
    }
    must_be_allowed(workspace, named, &workspace.without_links(named)?, rules)
}

fn must_be_allowed(workspace: &Workspace, named: &Path, lands: &Path, rules: &PathRules) -> Result<(), Fault> {
    // The name itself was judged when the call was decided.
    if lands != named && !rules.allow(&shown(lands)) {
        return Err(Fault::new(
            Code::DENIED,
            format!(
                "`{}` leads to `{}`, which the rules do not let this call change",
                short(&shown(named)),
                short(&shown(lands))
            ),
            "name it by that path, so that it can be decided, or tell the user that it was not allowed",
        ));
    }
    match head_beside(workspace, lands)? {
        Some(head) if !rules.allow(&shown(&head)) => Err(Fault::new(
            Code::DENIED,
            format!("`{}` says what git runs, and the rules do not let this call change that", short(&shown(named))),
            "tell the user that it was not allowed",
        )),
        Some(_) | None => Ok(()),
    }
}

/// The `HEAD` of a repository for which a path says what git runs.
fn head_beside(workspace: &Workspace, lands: &Path) -> Result<Option<PathBuf>, Fault> {
    let is_run =
        |path: &&Path| path.file_name().is_some_and(|name| RUN_BY_GIT.iter().any(|run| name.eq_ignore_ascii_case(run)));
    for path in lands.ancestors().filter(is_run) {
        let head = path.with_file_name(HEAD);
        if workspace.look(&head)?.is_some_and(|found| !found.is_dir()) {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

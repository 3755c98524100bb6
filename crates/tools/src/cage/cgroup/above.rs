//! Below which control groups those of commands can be made.
//!
//! Of version 2 a group has either processes or groups that are limited, not both
//! (the kernel's rule of no internal processes). So when this process is alone in its
//! group, it moves into one below and gives the rest to commands; when it is not,
//! groups are made beside its own, unless a limit would be passed by that way.

use std::fs;
use std::io;
use std::path::Path;

use super::group::Dirs;
use super::names::Names;
use super::own::Own;
use super::{Version, write};

/// What has to be counted.
const WANTED: [&str; 2] = ["memory", "pids"];
/// The same, switched on for the groups below one.
const ENABLED: &str = "+memory +pids";

/// Groups in which those of commands are made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Above {
    pub(super) version: Version,
    pub(super) dirs: Dirs,
}

/// Of version 1: the process's own groups, which may have both processes and groups.
pub(super) fn first(own: &Own) -> Result<Above, String> {
    let dir = |controller: &str| {
        own.first(controller).map(Path::to_owned).ok_or_else(|| format!("it does not count {controller} here"))
    };
    let [memory, pids] = WANTED;
    // What is not counted by the kernel as a whole is counted process by process.
    let cpu = own.first("cpuacct").map(Path::to_owned);
    Ok(Above { version: Version::One, dirs: Dirs { memory: dir(memory)?, pids: dir(pids)?, cpu } })
}

/// Of version 2.
pub(super) fn second(own: &Own, names: &Names) -> Result<Above, String> {
    let Some((dir, mounted)) = &own.second else { return Err("it is not there".to_owned()) };
    if let Some(parent) = dir.parent()
        && dir.file_name().is_some_and(|name| names.is_ours(&name.to_string_lossy()))
    {
        // This process moved aside before.
        return within(parent);
    }
    if !has_all(&dir.join("cgroup.controllers")) {
        return Err("memory and processes are not delegated to this process".to_owned());
    }
    if has_all(&dir.join("cgroup.subtree_control")) {
        return within(dir);
    }
    match make_room(dir, names) {
        Ok(()) => within(dir),
        Err(why) => {
            beside(dir, mounted).map_err(|also| format!("not below its own group: {why}; not beside it: {also}"))
        }
    }
}

/// Whether a list of controllers, which the file holds, has those that are wanted.
fn has_all(path: &Path) -> bool {
    let listed = fs::read_to_string(path).unwrap_or_default();
    WANTED.iter().all(|wanted| listed.split_ascii_whitespace().any(|one| one == *wanted))
}

/// Has the groups below one limited; moves this process out of the way if it is the only one.
fn make_room(dir: &Path, names: &Names) -> io::Result<()> {
    let enable = || write(dir.join("cgroup.subtree_control"), ENABLED);
    let refused = match enable() {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let alone = format!("{}\n", std::process::id());
    if refused.kind() != io::ErrorKind::ResourceBusy || fs::read_to_string(dir.join("cgroup.procs"))? != alone {
        return Err(refused);
    }
    let aside = dir.join(names.next());
    fs::create_dir(&aside)?;
    let moved = write(aside.join("cgroup.procs"), "0").and_then(|()| enable());
    if moved.is_err() {
        let back = write(dir.join("cgroup.procs"), "0").and_then(|()| fs::remove_dir(&aside));
        if let Err(error) = back {
            tracing::warn!(%error, "this process stays in a control group of its own");
        }
    }
    moved
}

/// Groups in the same group as this process's own.
fn beside(dir: &Path, mounted: &Path) -> Result<Above, String> {
    let parent = dir.parent().filter(|parent| parent.starts_with(mounted)).ok_or("that is not seen")?;
    let limit = fs::read_to_string(dir.join("memory.max")).unwrap_or_default();
    if limit.trim() != "max" {
        return Err("commands would be outside of a limit of memory that this process is under".to_owned());
    }
    if !has_all(&parent.join("cgroup.subtree_control")) {
        return Err("memory and processes are not limited there".to_owned());
    }
    within(parent)
}

/// Groups right below one, into which processes may be moved only by whom it is writable for.
fn within(dir: &Path) -> Result<Above, String> {
    let procs = fs::OpenOptions::new().write(true).open(dir.join("cgroup.procs"));
    procs.map_err(|error| format!("processes cannot be moved: {error}"))?;
    let dir = || dir.to_owned();
    Ok(Above { version: Version::Two, dirs: Dirs { memory: dir(), pids: dir(), cpu: Some(dir()) } })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks as one of version 2 does, with these files.
    fn group(dir: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(dir).expect("directory");
        for (name, text) in files {
            fs::write(dir.join(name), text).expect(name);
        }
    }

    fn own(dir: &Path, mounted: &Path) -> Own {
        Own { second: Some((dir.to_owned(), mounted.to_owned())), ..Own::default() }
    }

    #[test]
    fn groups_are_made_below_or_beside_or_not_at_all() {
        let tree = tempfile::tempdir().expect("directory");
        let (root, dir) = (tree.path(), tree.path().join("slice/scope"));
        let names = Names::of(&root.join("installation")).expect("names");
        let found = |dir: &Path| second(&own(dir, root), &names);
        let why = |dir: &Path| found(dir).expect_err("no groups");
        assert!(second(&Own::default(), &names).is_err());

        group(&dir, &[("cgroup.controllers", "cpu memory\n"), ("cgroup.procs", "1\n"), ("memory.max", "max\n")]);
        assert!(why(&dir).contains("not delegated"));
        group(&dir, &[("cgroup.controllers", "cpu memory pids\n")]);
        // There is no file to switch it on with, as if it were refused.
        assert!(why(&dir).contains("not limited there"));
        let slice = root.join("slice");
        group(&slice, &[("cgroup.subtree_control", "memory pids\n")]);
        assert!(why(&dir).contains("cannot be moved"));
        group(&slice, &[("cgroup.procs", "")]);
        assert_eq!(found(&dir).expect("beside").dirs.memory, slice);
        group(&dir, &[("memory.max", "1073741824\n")]);
        assert!(why(&dir).contains("limit of memory"));
        assert!(second(&own(&dir, &dir), &names).expect_err("none").contains("not seen"));

        group(&dir, &[("cgroup.subtree_control", "")]);
        assert_eq!(found(&dir).expect("below").dirs.memory, dir);
        assert_eq!(fs::read_to_string(dir.join("cgroup.subtree_control")).expect("file"), ENABLED);
        group(&dir, &[("cgroup.subtree_control", "cpu memory pids\n")]);
        assert_eq!(found(&dir).expect("below").dirs.pids, dir);
        assert_eq!(found(&dir.join(names.next())).expect("moved aside before").dirs.pids, dir);
    }

    #[test]
    fn of_the_first_version_both_trees_are_needed() {
        assert!(first(&Own::default()).expect_err("none").contains("memory"));
    }
}

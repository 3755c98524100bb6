//! Control groups: the kernel counts and limits what a command takes with all that it starts.
//!
//! Each command has a group of its own, below the one that this process is in or
//! beside it, so that a tree of many small processes is held to the same bounds as
//! one large process. Both versions are known: the second where memory and processes
//! are delegated to this process, else the first where it may write.
//!
//! The server makes a group and removes it. A command's first process puts itself in
//! before it gets anything ready: a supervisor that stands ready has paid for that
//! already. Names bear the directory of this installation and the process that made
//! them, so that what a killed server left behind is found, and nothing else is ever
//! touched. Where no group can be made the cage holds without one; memory and
//! processes are then counted from outside.

mod above;
mod group;
mod names;
mod own;
mod remover;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::above::Above;
pub(crate) use self::group::Cgroup;
use self::group::Dirs;
pub(super) use self::group::is_out_of_memory;
use self::names::Names;
use self::own::Own;
use self::remover::Remover;
use super::spec::Limits;

/// How long the end of this process waits for groups whose processes are dying.
const REST_TIME: Duration = Duration::from_secs(1);

/// The kernel's two ways to control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// A tree for each controller.
    One,
    /// One tree for all of them.
    Two,
}

/// Where groups of commands are made.
#[derive(Debug)]
pub(crate) struct Cgroups {
    above: Above,
    names: Names,
    remover: Arc<Remover>,
    /// Whether memory that is swapped out counts as well.
    is_swap_counted: bool,
}

impl Cgroups {
    /// Looks for a place, makes a group in it to see that it can be, and removes what servers of the installation with
    /// this directory left behind and are gone. Blocks.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn find(dir: &Path) -> Result<Self, String> {
        let unread = |error: io::Error| format!("what is known of control groups cannot be read: {error}");
        let own = Own::read().map_err(unread)?;
        let names = Names::of(dir).map_err(unread)?;
        let second = above::second(&own, &names).and_then(|above| Self::tried(above, &names));
        second.or_else(|why| {
            let first = above::first(&own).and_then(|above| Self::tried(above, &names));
            first.map_err(|also| format!("version 2: {why}; version 1: {also}"))
        })
    }

    fn tried(above: Above, names: &Names) -> Result<Self, String> {
        let mut found = Self { above, names: names.clone(), remover: Arc::default(), is_swap_counted: false };
        let trial =
            found.make(&Limits::default(), false).and_then(|group| Ok((group.files()?, group.is_swap_counted())));
        let (_files, is_swap_counted) = trial.map_err(|error| format!("no group can be made: {error}"))?;
        found.is_swap_counted = is_swap_counted;
        found.sweep();
        Ok(found)
    }

    /// Makes the group of a command, with its limits; the first process of its namespaces, if it has such, is in it too.
    /// Dropping it ends and removes it. Blocks, shortly.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn make(&self, limits: &Limits, has_namespaces: bool) -> io::Result<Cgroup> {
        let made = Cgroup::make(self.above.version, self.above.dirs.below(&self.names.next()), &self.remover)?;
        made.limited(limits.memory_bytes, limits.processes.saturating_add(u64::from(has_namespaces)))
    }

    /// What they are, for people.
    pub(crate) fn text(&self) -> String {
        let version = match self.above.version {
            Version::One => 1,
            Version::Two => 2,
        };
        let swap = if self.is_swap_counted { "" } else { " (what is swapped out is not)" };
        format!("version {version}: the kernel counts memory{swap} and processes of each command as a whole")
    }

    /// Removes the groups of servers that are gone.
    fn sweep(&self) {
        for dir in self.above.dirs.each() {
            let entries = match fs::read_dir(dir) {
                Ok(entries) => entries.flatten(),
                Err(error) => {
                    tracing::debug!(%error, "control groups that were left behind cannot be looked for");
                    continue;
                }
            };
            for entry in entries.filter(|entry| self.names.is_left_behind(&entry.file_name().to_string_lossy())) {
                self.remover.push(self.above.version, Dirs::one(entry.path()));
            }
        }
        self.remover.rest(REST_TIME);
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // A supervisor that stood ready ends right now, and nobody looks after its group when this process has ended.
        self.remover.rest(REST_TIME);
    }
}

/// Reads the number behind a name in a file of lines such as `oom_kill 3`.
fn counted(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Writes to a file of the kernel's, which must be there.
fn write(path: PathBuf, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())
}

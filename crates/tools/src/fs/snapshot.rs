//! What a workspace holds before a command runs in it, and what the command changed.
//!
//! Nobody can say beforehand what a command will change, so everything that it
//! may change is kept before it starts, and compared with what stands there
//! afterwards. A file whose `stat` is the same, change time included, is the same:
//! no command can set that time. What was kept once costs a `stat` the next time.
//!
//! Not looked at, and so not undone: directories that tools fill and can fill
//! again ([`REBUILT`]), and what git keeps of its own history below `.git`.
//! Bounded: beyond [`ENTRIES_MAX`] entries or [`BYTES_MAX`] new bytes the
//! rest is not kept, and [`Compared::is_whole`] or the change itself says so.
//!
//! What is kept says also, while a command runs, which one began before what: when this
//! process is killed together with it, [`Snapshot::settle`] finds out afterwards what it changed.
//!
//! The same walk finds what the call may not change although it is in the
//! workspace: hooks, CI files and whatever else the rules keep from it. These are
//! sealed where the kernel can, and put back afterwards in any case.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use are_core::change::{FileChange, FileState, Lost};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{CallNo, SessionKey};
use are_policy::gate::Spent;
use cap_std::fs::{Metadata, MetadataExt};
use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::observe::observe;
use super::path::shown;
use super::undo::put_back;
use super::workspace::{Workspace, at, fault};
use crate::lane::{Error, Room};

/// Entries that are looked at; a large repository without what is built has fewer.
const ENTRIES_MAX: usize = 50_000;
/// Bytes of contents that one call newly keeps.
const BYTES_MAX: u64 = 256 << 20;
/// Bytes that are held in memory before they are written.
const BATCH_BYTES: u64 = 32 << 20;
/// Changes of one call that are recorded; undoing takes their list as an argument.
const CHANGES_MAX: usize = 2_000;
/// Directories that a tool fills and can fill again.
const REBUILT: [&str; 12] = [
    "target",
    "node_modules",
    ".venv",
    "venv",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".tox",
    ".gradle",
    ".next",
    ".cache",
];
const GIT: &str = ".git";
/// What git writes in its directory when it adds, commits, switches and merges. Everything else there names programs
/// that run, or settings that do.
const GIT_WRITES: [&str; 22] = [
    "objects",
    "refs",
    "logs",
    "index",
    "index.lock",
    "HEAD",
    "HEAD.lock",
    "ORIG_HEAD",
    "FETCH_HEAD",
    "MERGE_HEAD",
    "MERGE_MSG",
    "MERGE_MODE",
    "MERGE_RR",
    "AUTO_MERGE",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "SQUASH_MSG",
    "COMMIT_EDITMSG",
    "packed-refs",
    "packed-refs.lock",
    "rr-cache",
    "gc.log",
];
/// Whole repositories below `.git`: sealed, and too large to be looked at.
const GIT_WITHIN: [&str; 4] = ["modules", "worktrees", "lfs", "annex"];

/// What tells one state of a file from another without reading it.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64), u32);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    stamp: Stamp,
    state: FileState,
    lost: Option<Lost>,
}

/// Digests of files by what their `stat` said.
pub(crate) type Digests = BTreeMap<PathBuf, (Stamp, Digest)>;

/// A snapshot as it is kept while its command runs, for whoever comes after a crash.
#[derive(Serialize, Deserialize)]
struct Stored {
    entries: BTreeMap<String, Entry>,
    is_whole: bool,
}

/// A workspace before a command.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    entries: BTreeMap<PathBuf, Entry>,
    is_whole: bool,
    /// Existing paths that must stay as they are.
    pub(crate) sealed: Vec<PathBuf>,
    /// Directories that must stay where they are.
    pub(crate) pinned: Vec<PathBuf>,
}

/// What a command changed.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// For undoing.
    pub(crate) changes: Vec<FileChange>,
    /// Guarded paths that it changed and that were put back.
    pub(crate) put_back: Vec<String>,
    /// False when there was more than is looked at.
    pub(crate) is_whole: bool,
}

impl Snapshot {
    /// Looks at everything and keeps it.
    pub(crate) fn take(spent: &Spent, room: &Room, digests: &mut Digests) -> Result<Self, Fault> {
        let workspace = Workspace::open(&room.workspace)?;
        let mut walk = Walk::new(&workspace, Some(spent));
        let is_whole = walk.all()?;
        let Walk { found, seals, .. } = walk;
        let mut snapshot = seals.map(|(seals, _)| seals).unwrap_or_default();
        snapshot.is_whole = is_whole;
        let mut keeping =
            Keeping { kept: room.kept.as_deref(), spent, batch: Vec::new(), bytes: 0, total: 0, lost: BTreeSet::new() };
        let earlier = std::mem::take(digests);
        for (path, metadata) in found {
            let entry = keeping.entry(&workspace, &path, &metadata, &earlier)?;
            if let FileState::File { digest: Some(digest), .. } = &entry.state {
                digests.insert(path.clone(), (entry.stamp, *digest));
            }
            snapshot.entries.insert(path, entry);
        }
        // Kept together with the contents, so that this costs no sync of its own.
        let before = snapshot.stored();
        let digest = Digest::of(&[&before]);
        let is_kept = keeping.add(digest, before);
        let lost = keeping.finish()?;
        if let Some(kept) = room.kept.as_deref().filter(|_| is_kept && !lost.contains(&digest)) {
            kept.note_before(spent.session, spent.call, digest)?;
        }
        for entry in snapshot.entries.values_mut() {
            if matches!(&entry.state, FileState::File { digest: Some(digest), .. } if lost.contains(digest)) {
                entry.lost = Some(Lost::NoRoom);
            }
        }
        Ok(snapshot)
    }

    /// Finds what was changed since, and puts back what the call must not have changed.
    pub(crate) fn compare(&self, spent: &Spent, room: &Room) -> Result<Compared, Error> {
        let workspace = Workspace::open(&room.workspace)?;
        let (changes, is_whole) = self.changes(&workspace)?;
        let (guarded, mut changes): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| !is_allowed(spent, Path::new(&change.path)));
        restore(&workspace, room.kept.as_deref(), spent, &guarded)?;
        remove_hulls(&workspace, &guarded, &mut changes)?;
        order(&mut changes);
        let is_whole = is_whole && changes.len() <= CHANGES_MAX;
        changes.truncate(CHANGES_MAX);
        let put_back = guarded.into_iter().map(|change| change.path).collect();
        Ok(Compared { changes, put_back, is_whole })
    }

    /// Notes what a call changed whose process was killed with this one's: all that differs from what it kept before.
    ///
    /// The rules that it ran under are not known any more, so that nothing is put back: what it must not have changed is
    /// told with the rest.
    pub(super) fn settle(kept: &Kept, session: SessionKey, workspace: &Path, call: CallNo) -> Result<(), Fault> {
        let Some(before) = kept.before(session, call)? else { return Ok(()) };
        let Some(stored) = kept.get(session, before)?.and_then(|bytes| Self::of(&bytes)) else {
            tracing::warn!(%session, call, "what stood in the workspace before an interrupted command is not kept");
            return Ok(());
        };
        let (mut changes, _) = stored.changes(&Workspace::open(workspace)?)?;
        order(&mut changes);
        changes.truncate(CHANGES_MAX);
        kept.note(session, call, &changes)
    }

    fn stored(&self) -> Vec<u8> {
        // What has no name as text cannot be put back anyway.
        let named = self.entries.iter().filter_map(|(path, entry)| Some((path.to_str()?.to_owned(), entry.clone())));
        let stored = Stored { entries: named.collect(), is_whole: self.is_whole };
        // A map with texts as keys, so that encoding cannot fail.
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    fn of(stored: &[u8]) -> Option<Self> {
        let Stored { entries, is_whole } = serde_json::from_slice(stored).ok()?;
        let entries = entries.into_iter().map(|(path, entry)| (path.into(), entry)).collect();
        Some(Self { entries, is_whole, ..Self::default() })
    }

    /// What differs now, and whether that is all.
    fn changes(&self, workspace: &Workspace) -> Result<(Vec<FileChange>, bool), Fault> {
        let mut walk = Walk::new(workspace, None);
        let is_whole = walk.all()? && self.is_whole;
        let mut changes = Vec::new();
        let paths: BTreeSet<&PathBuf> = self.entries.keys().chain(walk.found.keys()).collect();
        for path in paths {
            let (before, now) = (self.entries.get(path), walk.found.get(path));
            // What was beyond the limit before cannot be told from what is new.
            if before.is_none() && !self.is_whole {
                continue;
            }
            if let (Some(before), Some(now)) = (before, now)
                && before.stamp == stamp(now)
            {
                continue;
            }
            let after = if now.is_some() { observe(workspace, path, 0)?.map(|found| found.state) } else { None };
            let is_same = match (before, &after) {
                (None, None) => true,
                (Some(before), Some(after)) => before.state.is_same(after),
                (None, Some(_)) | (Some(_), None) => false,
            };
            if !is_same {
                let lost =
                    before.and_then(|before| before.lost).or_else(|| path.to_str().is_none().then_some(Lost::Name));
                let before = before.map(|before| before.state.clone());
                changes.push(FileChange { path: shown(path), from: None, before, after, lost });
            }
        }
        Ok((changes, is_whole))
    }
}

impl Compared {
    /// Records the changes as those of a call.
    pub(crate) fn tell(&self, spent: &Spent, room: &Room) -> Result<(), Fault> {
        if let Some(kept) = room.kept.as_deref().filter(|_| !self.changes.is_empty()) {
            kept.note(spent.session, spent.call, &self.changes)?;
        }
        room.changes.tell(self.changes.clone(), self.changes.len());
        Ok(())
    }
}

/// Removals from the innermost on, then what was changed, then what was made from the outermost on: each is possible
/// when those before it are done, and undoing goes the other way.
fn order(changes: &mut Vec<FileChange>) {
    let (mut gone, rest): (Vec<_>, Vec<_>) =
        std::mem::take(changes).into_iter().partition(|change| change.after.is_none());
    let (new, changed): (Vec<_>, Vec<_>) = rest.into_iter().partition(|change| change.before.is_none());
    gone.reverse();
    changes.extend(gone.into_iter().chain(changed).chain(new));
}

/// Puts back what the call was not allowed to change.
fn restore(workspace: &Workspace, kept: Option<&Kept>, spent: &Spent, guarded: &[FileChange]) -> Result<(), Error> {
    let (made, changed): (Vec<_>, Vec<_>) = guarded.iter().partition(|change| change.before.is_none());
    for change in &made {
        let path = Path::new(&change.path);
        let removed = match workspace.look(path)? {
            Some(found) if found.is_dir() => workspace.dir().remove_dir_all(path),
            Some(_) => workspace.dir().remove_file(path),
            // It lay in one that was removed just now.
            None => Ok(()),
        };
        removed.map_err(|error| not_put_back(&change.path, &error.to_string()))?;
    }
    let Some(first) = changed.first() else { return Ok(()) };
    let mut changed: Vec<FileChange> = changed.iter().map(|change| (*change).clone()).collect();
    order(&mut changed);
    let Some(kept) = kept else { return Err(not_put_back(&first.path, "nothing is kept here")) };
    put_back(workspace, kept, spent, &changed).map_err(|error| {
        let (Error::Failed(fault) | Error::Unknown(fault)) = error;
        not_put_back(&first.path, &fault.message)
    })
}

/// Removes the directories that were made only to hold what was put back.
fn remove_hulls(workspace: &Workspace, guarded: &[FileChange], changes: &mut Vec<FileChange>) -> Result<(), Error> {
    for change in guarded.iter().filter(|change| change.before.is_none()) {
        for above in Path::new(&change.path).ancestors().skip(1) {
            let is_hull = |change: &FileChange| {
                Path::new(&change.path) == above
                    && change.before.is_none()
                    && matches!(change.after, Some(FileState::Directory { .. }))
            };
            let Some(at) = changes.iter().position(is_hull) else { break };
            match workspace.dir().remove_dir(above) {
                Ok(()) => {}
                // It went with one above it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                // Something else is in it.
                Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => break,
                Err(error) => return Err(not_put_back(&shown(above), &error.to_string())),
            }
            changes.remove(at);
        }
    }
    Ok(())
}

fn not_put_back(path: &str, why: &str) -> Error {
    tracing::error!(path, why, "a command changed a guarded path, and it could not be put back");
    Error::Unknown(Fault::new(
        Code::TOOL_OUTCOME_UNKNOWN,
        format!(
            "the command changed `{}`, which it must not, and that could not be put back",
            crate::text::short(path)
        ),
        "tell the user to look at that file",
    ))
}

/// Whether the call may change a path.
fn is_allowed(spent: &Spent, path: &Path) -> bool {
    is_gits_own(path) || spent.paths.allow(&shown(path))
}

/// Whether git keeps its history there.
fn is_gits_own(path: &Path) -> bool {
    let mut names = path.components().map(|part| part.as_os_str());
    names.any(|name| name == GIT) && names.next().is_some_and(|name| GIT_WRITES.iter().any(|own| name == *own))
}

/// Whether a directory of that name is filled by a tool that can fill it again.
pub(super) fn is_rebuilt(name: &OsStr) -> bool {
    REBUILT.iter().any(|known| name == *known)
}

struct Walk<'a> {
    workspace: &'a Workspace,
    found: BTreeMap<PathBuf, Metadata>,
    /// Collects what is to be sealed for a call, where that is wanted.
    seals: Option<(Snapshot, &'a Spent)>,
}

impl<'a> Walk<'a> {
    fn new(workspace: &'a Workspace, sealing: Option<&'a Spent>) -> Self {
        let seals = sealing.map(|spent| (Snapshot::default(), spent));
        Self { workspace, found: BTreeMap::new(), seals }
    }

    /// Looks at everything; false when there is more than is looked at.
    fn all(&mut self) -> Result<bool, Fault> {
        let mut open = vec![(PathBuf::new(), false)];
        while let Some((dir, is_sealed)) = open.pop() {
            let Ok(handle) = self.workspace.dir().open_dir(at(&dir)) else { continue };
            let entries = handle.entries().map_err(|error| fault(&error, &dir))?;
            let is_git = dir.file_name().is_some_and(|name| name == GIT);
            for entry in entries {
                let entry = entry.map_err(|error| fault(&error, &dir))?;
                let name = entry.file_name();
                let path = dir.join(&name);
                let is_one_of = |names: &[&str]| names.iter().any(|known| name == *known);
                if is_git && is_one_of(&GIT_WRITES) {
                    continue;
                }
                // One that has gone meanwhile is not there.
                let Ok(metadata) = entry.metadata() else { continue };
                let is_directory = metadata.is_dir();
                if is_directory && !is_git && is_rebuilt(&name) {
                    continue;
                }
                let is_sealed = self.seal(&path, is_sealed, is_directory);
                if is_git && is_one_of(&GIT_WITHIN) {
                    continue;
                }
                if self.found.len() >= ENTRIES_MAX {
                    return Ok(false);
                }
                self.found.insert(path.clone(), metadata);
                if is_directory {
                    open.push((path, is_sealed));
                }
            }
        }
        Ok(true)
    }

    /// Notes what is to be sealed; true when the path is, itself or with a directory above.
    fn seal(&mut self, path: &Path, is_sealed: bool, is_directory: bool) -> bool {
        let Some((seals, spent)) = &mut self.seals else { return is_sealed };
        if is_sealed || is_allowed(spent, path) {
            return is_sealed;
        }
        // git writes into its directory, so that one stays in place and what is in it is looked at one by one.
        if is_directory && path.file_name().is_some_and(|name| name == GIT) {
            seals.pinned.push(path.to_owned());
            return false;
        }
        seals.sealed.push(path.to_owned());
        true
    }
}

/// Keeps contents in batches.
struct Keeping<'a> {
    kept: Option<&'a Kept>,
    spent: &'a Spent,
    batch: Vec<(Digest, Vec<u8>)>,
    bytes: u64,
    total: u64,
    lost: BTreeSet<Digest>,
}

impl Keeping<'_> {
    fn entry(
        &mut self,
        workspace: &Workspace,
        path: &Path,
        metadata: &Metadata,
        known: &Digests,
    ) -> Result<Entry, Fault> {
        let stamp = stamp(metadata);
        let mode = metadata.mode() & 0o777;
        let bytes = metadata.len();
        if metadata.is_file() {
            let unread = |lost| Entry { stamp, state: FileState::File { mode, bytes, digest: None }, lost };
            let Some(kept) = self.kept else { return Ok(unread(None)) };
            if let Some((_, digest)) = known.get(path).filter(|(earlier, _)| *earlier == stamp)
                && kept.has(self.spent.session, *digest)
            {
                return Ok(Entry { stamp, state: FileState::File { mode, bytes, digest: Some(*digest) }, lost: None });
            }
            if bytes > kept.file_bytes_max() || self.total + bytes > BYTES_MAX {
                return Ok(unread(Some(Lost::TooLarge)));
            }
        }
        let most = self.kept.map_or(0, Kept::file_bytes_max);
        let Some(found) = observe(workspace, path, most)? else {
            return Ok(Entry { stamp, state: FileState::Other {}, lost: Some(Lost::Special) });
        };
        if let (FileState::File { digest: Some(digest), .. }, Some(content), Some(kept)) =
            (&found.state, found.content, self.kept)
            && !kept.has(self.spent.session, *digest)
        {
            self.total += content.len() as u64;
            self.bytes += content.len() as u64;
            self.batch.push((*digest, content));
            if self.bytes > BATCH_BYTES {
                self.flush()?;
            }
        }
        Ok(Entry { stamp: self::stamp(&found.metadata), state: found.state, lost: found.lost })
    }

    /// Adds a content of ours; false when nothing is kept, or it is too large.
    fn add(&mut self, digest: Digest, content: Vec<u8>) -> bool {
        let Some(kept) = self.kept.filter(|kept| content.len() as u64 <= kept.file_bytes_max()) else { return false };
        if !kept.has(self.spent.session, digest) {
            self.bytes += content.len() as u64;
            self.batch.push((digest, content));
        }
        true
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let Some(kept) = self.kept else { return Ok(()) };
        if !self.batch.is_empty() {
            self.batch.sort_by_key(|(digest, _)| *digest);
            self.batch.dedup_by_key(|(digest, _)| *digest);
            self.lost.extend(kept.put_all(self.spent.session, &self.batch)?);
        }
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<BTreeSet<Digest>, Fault> {
        self.flush()?;
        Ok(self.lost)
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    // The times of a directory say what was made in it, which is looked at itself.
    if metadata.is_dir() {
        return (metadata.dev(), metadata.ino(), 0, (0, 0), (0, 0), metadata.mode());
    }
    (
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        (metadata.mtime(), metadata.mtime_nsec()),
        (metadata.ctime(), metadata.ctime_nsec()),
        metadata.mode(),
    )
}

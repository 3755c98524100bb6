//! The open handle on a workspace, and how its errors read.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use are_core::error::{Code, Fault};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::path::{below, refused, shown};

/// Links followed from a path's last name to the file that a write replaces.
const LINKS_MAX: usize = 8;
/// Directories that one call makes, each of which is noted before.
const DIRS_AT_ONCE_MAX: usize = 128;

/// One workspace for the time of one call.
pub(super) struct Workspace {
    dir: Dir,
    root: PathBuf,
}

impl Workspace {
    /// Opens the directory that the session was given; only this path is resolved without a cage.
    pub(super) fn open(root: &Path) -> Result<Self, Fault> {
        let dir = Dir::open_ambient_dir(root, ambient_authority()).map_err(|error| {
            tracing::debug!(%error, "workspace cannot be opened");
            Fault::new(
                Code::TOOL_FAILED,
                "the workspace cannot be opened",
                "tell the user that the workspace is missing",
            )
        })?;
        Ok(Self { dir, root: root.to_owned() })
    }

    /// The path below the workspace that `text` means.
    pub(super) fn path(&self, text: &str) -> Result<PathBuf, Fault> {
        below(&self.root, text)
    }

    /// The same, for what cannot be the workspace itself.
    pub(super) fn entry(&self, text: &str) -> Result<PathBuf, Fault> {
        let path = self.path(text)?;
        if path.as_os_str().is_empty() {
            return Err(refused(text, "it is the workspace itself"));
        }
        Ok(path)
    }

    /// The handle itself; paths given to it are resolved below it.
    pub(super) const fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Opens a regular file for reading.
    pub(super) fn open_file(&self, path: &Path) -> Result<(File, Metadata), Fault> {
        // Asked first so that a device is not even opened; asked again on what was opened.
        self.must_be_file(path, &self.dir.metadata(at(path)).map_err(|error| fault(&error, path))?)?;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
        let file = self.dir.open_with(at(path), &options).map_err(|error| fault(&error, path))?;
        let metadata = file.metadata().map_err(|error| fault(&error, path))?;
        self.must_be_file(path, &metadata)?;
        Ok((file, metadata))
    }

    fn must_be_file(&self, path: &Path, metadata: &Metadata) -> Result<(), Fault> {
        if metadata.is_file() {
            return Ok(());
        }
        if metadata.is_dir() {
            return Err(failed(path, "is a directory", "list it with `fs_list`"));
        }
        Err(refused(&shown(path), "it is neither a file nor a directory"))
    }

    /// What stands at the path, links not followed; `None` when nothing does.
    pub(super) fn look(&self, path: &Path) -> Result<Option<Metadata>, Fault> {
        match self.dir.symlink_metadata(at(path)) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault(&error, path)),
        }
    }

    /// The path of the file that a link at `path` stands for, so that a write
    /// replaces the file and not the link, with what stands there now.
    pub(super) fn follow(&self, path: &Path) -> Result<(PathBuf, Option<Metadata>), Fault> {
        let mut path = path.to_owned();
        for links in 0..=LINKS_MAX {
            let found = self.look(&path)?;
            match &found {
                Some(metadata) if metadata.is_symlink() => {}
                None if links > 0 => return Err(refused(&shown(&path), "it is a link to nothing")),
                _ => return Ok((path, found)),
            }
            let target = self.dir.read_link_contents(&path).map_err(|error| fault(&error, &path))?;
            // `..` behind a link is the kernel's to resolve, below the handle.
            let next = path.parent().unwrap_or(Path::new("")).join(&target);
            if target.is_absolute() || next.file_name().is_none() {
                return Err(refused(&shown(&path), "it is a link that leads elsewhere"));
            }
            path = next;
        }
        Err(refused(&shown(&path), "it is a chain of too many links"))
    }

    /// The path of a directory with its links resolved; what is missing of it stays as it is.
    pub(super) fn without_links(&self, path: &Path) -> Result<PathBuf, Fault> {
        for above in path.ancestors().take_while(|above| !above.as_os_str().is_empty()) {
            match self.dir.metadata(above) {
                Ok(metadata) if metadata.is_dir() => {
                    let real = self.dir.canonicalize(above).map_err(|error| fault(&error, above))?;
                    let missing = path.strip_prefix(above).unwrap_or(Path::new(""));
                    // Collected from its names, so that neither `.` nor a slash at the end is left.
                    return Ok(real.join(missing).components().filter(|part| *part != Component::CurDir).collect());
                }
                // The change itself says what is wrong with a file in the way.
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(fault(&error, above)),
            }
        }
        Ok(path.to_owned())
    }

    /// The directory that holds the path's last name, opened, and that name.
    pub(super) fn parent(&self, path: &Path) -> Result<(Dir, OsString), Fault> {
        let name = path.file_name().ok_or_else(|| refused(&shown(path), "it has no name"))?.to_owned();
        let parent = path.parent().unwrap_or(Path::new(""));
        let dir = self.dir.open_dir(at(parent)).map_err(|error| fault(&error, parent))?;
        Ok((dir, name))
    }

    /// The directories of `path` that are missing, outermost first.
    pub(super) fn missing_dirs(&self, path: &Path) -> Result<Vec<PathBuf>, Fault> {
        let mut missing = Vec::new();
        let mut prefix = PathBuf::new();
        for name in path.components() {
            prefix.push(name);
            if missing.is_empty() {
                match self.dir.metadata(&prefix) {
                    Ok(metadata) if metadata.is_dir() => continue,
                    Ok(_) => return Err(failed(&prefix, "is not a directory", "choose another path")),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(fault(&error, &prefix)),
                }
            }
            missing.push(prefix.clone());
            if missing.len() > DIRS_AT_ONCE_MAX {
                let help = "make the outer ones first";
                return Err(failed(path, &format!("needs more than {DIRS_AT_ONCE_MAX} new directories"), help));
            }
        }
        Ok(missing)
    }

    /// Makes one directory, durably; false when it was there already.
    pub(super) fn make_dir(&self, path: &Path) -> Result<bool, Fault> {
        let is_made = match self.dir.create_dir(path) {
            Ok(()) => true,
            // Somebody else made it just now; were it no directory, the next step says so.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(fault(&error, path)),
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        let dir = self.dir.open_dir(at(parent)).map_err(|error| fault(&error, parent))?;
        sync_dir(&dir).map_err(|error| fault(&error, parent))?;
        Ok(is_made)
    }
}

/// Makes renames and removals in a directory durable.
pub(super) fn sync_dir(dir: &Dir) -> io::Result<()> {
    // The handle itself is opened for walking only, so it cannot be synced.
    match dir.open(".")?.sync_all() {
        // Some file systems cannot sync a directory; they have nothing more durable to offer.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        other => other,
    }
}

/// The path as the kernel wants it: `.` where it is empty.
pub(super) fn at(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// True when both are the same content of the same file, as far as a `stat` can tell.
pub(super) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino(), one.len(), one.mtime(), one.mtime_nsec())
        == (other.dev(), other.ino(), other.len(), other.mtime(), other.mtime_nsec())
}

/// A failure about a path.
pub(super) fn failed(path: &Path, what: &str, help: &str) -> Fault {
    Fault::new(Code::TOOL_FAILED, format!("`{}` {what}", crate::text::short(&shown(path))), help)
}

/// What an error of the file system means to the model.
pub(super) fn fault(error: &io::Error, path: &Path) -> Fault {
    let name = crate::text::short(&shown(path));
    // A path that the cage stopped comes as an error that the kernel never gave a number.
    if error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none() {
        return refused(&name, "a link in it leads outside the workspace");
    }
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    let failed = |what, help| failed(path, what, help);
    match number {
        Some(Errno::NOENT) => {
            Fault::new(Code::TOOL_NOT_FOUND, format!("`{name}` does not exist"), "see what there is with `fs_list`")
        }
        Some(Errno::LOOP) => refused(&name, "it is a chain of links without an end"),
        Some(Errno::NAMETOOLONG) => refused(&name, "it is too long"),
        Some(Errno::NXIO | Errno::NODEV) => refused(&name, "it is neither a file nor a directory"),
        Some(Errno::ACCESS | Errno::PERM) => {
            failed("is not accessible to the server", "tell the user about its permissions")
        }
        Some(Errno::NOSPC | Errno::DQUOT) => {
            failed("cannot be written: no space is left", "tell the user that the disk is full")
        }
        Some(Errno::ROFS) => failed("is on a read-only file system", "choose another path"),
        Some(Errno::NOTDIR) => failed("has a file in its path where a directory should be", "choose another path"),
        Some(Errno::ISDIR) => failed("is a directory", "list it with `fs_list`"),
        Some(Errno::EXIST) => failed("exists already", "choose another path or delete it first"),
        Some(Errno::NOTEMPTY) => failed("is a directory that is not empty", "delete what is in it first"),
        Some(Errno::XDEV) => failed("cannot be moved to another file system", "write a copy and delete the original"),
        Some(Errno::BUSY | Errno::TXTBSY) => failed("is in use", "try again later").retryable(),
        Some(Errno::INVAL) => failed("cannot be moved or opened that way", "check the paths"),
        _ => {
            tracing::debug!(%error, "file system error");
            failed("cannot be accessed: the file system reported an error", "tell the user")
        }
    }
}

//! The folder of tools on disk: bounded reading, whole writing, no links.
//!
//! SECURITY: a link could lead into a workspace, where an agent writes; what is
//! run must only ever come from the folder itself. So names are opened without
//! following, and only regular files that not everybody may write are read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;

/// Files looked at; more are no longer a folder that somebody keeps.
pub(super) const FILES_MAX: usize = 256;
/// Bytes of one implementation.
pub(super) const FILE_BYTES_MAX: u64 = 32 << 20;
/// Bytes of one manifest.
pub(super) const MANIFEST_BYTES_MAX: u64 = 256 << 10;
/// Seconds within which two changes of a file may have the same times: file systems count coarsely.
const FRESH_SECONDS: i64 = 2;
/// Mode of the folder.
const PRIVATE_DIR: u32 = 0o700;
/// Mode of a file in it.
const PRIVATE_FILE: u32 = 0o600;
/// Permission of everybody to write.
const WORLD_WRITABLE: u32 = 0o002;

/// Names of the files, sorted, hidden ones left out, and whether there are more than are looked at. No folder is no
/// files.
pub(super) fn names(dir: &Path) -> io::Result<(Vec<String>, bool)> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), false)),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries.take(FILES_MAX * 4) {
        // What is no UTF-8 is looked at as far as it can be named, and then not found.
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !name.ends_with('~') {
            names.push(name);
        }
    }
    names.sort();
    let has_more = names.len() > FILES_MAX;
    names.truncate(FILES_MAX);
    Ok((names, has_more))
}

/// The bytes of a file.
pub(crate) fn read(dir: &Path, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    // Not waiting, because a FIFO would make the reader wait for ever.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(dir.join(name));
    let file = opened.map_err(|error| {
        let is_link = fs::symlink_metadata(dir.join(name)).is_ok_and(|found| found.is_symlink());
        if is_link { io::Error::other("it is a link; put the file itself here") } else { error }
    })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if found.mode() & WORLD_WRITABLE != 0 {
        return Err(io::Error::other("everybody may write it"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Writes a file for this user alone, whole or not at all, and durably.
pub(crate) fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(dir)?;
    // Hidden, so that it is never taken for a tool.
    let temporary = dir.join(format!(".{name}.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE_FILE)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, dir.join(name)));
    if let Err(error) = written {
        if let Err(error) = fs::remove_file(&temporary) {
            tracing::debug!(%error, "a half-written file stays behind");
        }
        return Err(error);
    }
    File::open(dir)?.sync_all()
}

/// Removes a file, durably; one that is not there is removed already.
pub(crate) fn remove(dir: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(dir.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    File::open(dir)?.sync_all()
}

/// What tells whether the files have changed, or what they become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of what the same files become.
    revision: u64,
    files: Result<Vec<(String, [i64; 7])>, io::ErrorKind>,
}

impl Fingerprint {
    /// Of a folder as it is now.
    pub(super) fn of(dir: &Path, revision: u64) -> Self {
        let stat = |name: String| match fs::symlink_metadata(dir.join(&name)) {
            Ok(found) => {
                let (inode, size, mode) = (found.ino().cast_signed(), found.size().cast_signed(), found.mode().into());
                let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
                (name, [inode, size, mode, times[0], times[1], times[2], times[3]])
            }
            Err(_) => (name, [-1; 7]),
        };
        let files = names(dir).map(|(names, _)| names.into_iter().map(stat).collect());
        Self { revision, files: files.map_err(|error| error.kind()) }
    }

    /// True when a file changed so lately that another change need not show in its times.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since_1970.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        self.files.iter().flatten().any(|(_, [.., changed, _])| now - changed <= FRESH_SECONDS)
    }
}

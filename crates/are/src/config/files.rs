//! The only file access of this crate: configuration, credentials, agents,
//! rules to try out, chat history and disk facts.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use are_core::error::{Code, Fault};
use are_core::limits::PROMPT_BYTES_MAX;

use super::secret::Secret;

/// Bytes of a configuration, agent, rule or test file; more is not one.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a file that holds one credential.
const SECRET_BYTES_MAX: u64 = 16 << 10;
/// Files read from one directory of agents or rules.
const FILES_MAX: usize = 1_000;
/// Seconds within which two changes of a file may have the same times: file systems count coarsely.
const FRESH_SECONDS: i64 = 2;
/// Mode of what only the user may read.
const PRIVATE_FILE: u32 = 0o600;
/// Mode of a directory that only the user may enter.
const PRIVATE_DIR: u32 = 0o700;

/// Reads a text of bounded size.
fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let bytes = read_bytes(path, bytes_max)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it is larger than {bytes_max} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// What a regular file holds, of one that is too large a byte more than it may.
fn read_bytes(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The configuration file's text; `None` when there is none and none was asked for.
pub(super) fn read_config(path: &Path, is_asked_for: bool) -> Result<Option<String>, Fault> {
    match read_text(path, TEXT_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_asked_for => Ok(None),
        Err(error) => Err(Fault::new(
            Code::CONFIG_UNREADABLE,
            format!("cannot read the configuration `{}`: {error}", path.display()),
            "give a readable file with `--config FILE`, or remove the flag or variable",
        )),
    }
}

/// A suite of tasks and attacks, for `are bench --suite`.
///
/// # Errors
/// ARE-0003 when it cannot be read or is larger than any suite.
pub fn read_suite(path: &Path) -> Result<String, Fault> {
    /// The largest known suite has half a megabyte.
    const SUITE_BYTES_MAX: u64 = 64 << 20;
    read_text(path, SUITE_BYTES_MAX).map_err(|error| {
        Fault::new(
            Code::CONFIG_UNREADABLE,
            format!("the suite `{}` cannot be read: {error}", path.display()),
            "name a file that you can read",
        )
    })
}

/// A file of texts to scan, opened to be read as far as somebody wants it.
///
/// # Errors
/// ARE-0003 when it cannot be opened.
pub fn open_texts(path: &Path) -> Result<io::BufReader<fs::File>, Fault> {
    fs::File::open(path).map(io::BufReader::new).map_err(|error| {
        Fault::new(
            Code::CONFIG_UNREADABLE,
            format!("`{}` cannot be read: {error}", path.display()),
            "name a readable file, or `-` for stdin",
        )
    })
}

/// The time zone whose file a link leads to, as its IANA name; `None` where the link is none, or its file is not one of
/// the system's zones under their own names.
#[must_use]
pub fn linked_zone(link: &Path) -> Option<String> {
    const ZONES: &str = "/usr/share/zoneinfo/";
    let target = link.read_link().ok()?;
    let target = target.to_str()?;
    // Of the directory that the link stands in: `/etc`.
    let name = target.strip_prefix("..").unwrap_or(target).strip_prefix(ZONES)?;
    let is_own = !["posix/", "right/"].iter().any(|other| name.starts_with(other)) && !name.contains("..");
    (is_own && Path::new(ZONES).join(name).is_file()).then(|| name.to_owned())
}

/// Weights of the prompt firewall.
///
/// # Errors
/// ARE-0003 when the file cannot be read.
pub fn read_weights(path: &Path) -> Result<Vec<u8>, Fault> {
    let unreadable = |error: io::Error| {
        Fault::new(
            Code::CONFIG_UNREADABLE,
            format!("the weights `{}` cannot be read: {error}", path.display()),
            "name a readable file, or leave `firewall_model` out",
        )
    };
    let mut bytes = Vec::new();
    // One byte more than a file of weights has is enough to see that it is none.
    let most = are_policy::firewall::MODEL_BYTES as u64 + 1;
    fs::File::open(path).map_err(unreadable)?.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// A file of cases for rules.
///
/// # Errors
/// ARE-0605 when it cannot be read.
pub fn read_cases(path: &Path) -> Result<String, Fault> {
    read_text(path, TEXT_BYTES_MAX).map_err(|error| {
        Fault::new(
            Code::POLICY_INVALID,
            format!("cannot read the test file `{}`: {error}", path.display()),
            "name a readable file: `are policy test FILE`",
        )
    })
}

/// A file that somebody hands over with a prompt.
///
/// # Errors
/// ARE-0003 when it cannot be read, ARE-0702 when it is larger than a prompt may be.
pub fn read_attachment(path: &Path) -> Result<Vec<u8>, Fault> {
    let bytes = read_bytes(path, PROMPT_BYTES_MAX as u64).map_err(|error| {
        let what = format!("`{}` cannot be read: {error}", path.display());
        Fault::new(Code::CONFIG_UNREADABLE, what, "name a readable file")
    })?;
    if bytes.len() > PROMPT_BYTES_MAX {
        let what = format!("`{}` is larger than {PROMPT_BYTES_MAX} bytes", path.display());
        return Err(Fault::new(Code::PROMPT_TOO_LARGE, what, "hand over less, or a smaller image"));
    }
    Ok(bytes)
}

/// A file of tools, or a manifest, as somebody hands it over.
///
/// # Errors
/// ARE-0003 when it cannot be read.
pub fn read_tool(path: &Path) -> Result<Vec<u8>, Fault> {
    /// As much as the registry takes.
    const TOOL_BYTES_MAX: u64 = 32 << 20;
    let unreadable = |why: String| {
        Fault::new(
            Code::CONFIG_UNREADABLE,
            format!("`{}` cannot be read: {why}", path.display()),
            "name a readable file",
        )
    };
    let file = fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(TOOL_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > TOOL_BYTES_MAX {
        return Err(unreadable(format!("it is larger than {TOOL_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// A directory of this process's own, empty and for this user alone, below the one for such things.
///
/// # Errors
/// ARE-0101 when it cannot be made.
pub fn make_scratch(name: &str) -> Result<PathBuf, Fault> {
    let path = std::env::temp_dir().join(name);
    fs::DirBuilder::new().mode(PRIVATE_DIR).create(&path).map_err(|error| data_dir_unusable(&path, &error))?;
    Ok(path)
}

/// Removes such a directory with all that is in it; links are removed, not followed.
///
/// # Errors
/// ARE-0101 when it cannot be removed.
pub fn remove_scratch(path: &Path) -> Result<(), Fault> {
    fs::remove_dir_all(path).map_err(|error| data_dir_unusable(path, &error))
}

/// Writes a file into a directory of this process's own, with the directories above it.
///
/// # Errors
/// ARE-0101 when it cannot be written.
pub fn write_scratch(dir: &Path, name: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let is_below = name.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !is_below {
        return Err(data_dir_unusable(name, &io::Error::other("it is no path below the directory")));
    }
    let path = dir.join(name);
    let parent = path.parent().unwrap_or(dir);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_DIR)
        .create(parent)
        .map_err(|error| data_dir_unusable(parent, &error))?;
    let written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE_FILE).open(&path);
    written.and_then(|mut file| file.write_all(bytes)).map_err(|error| data_dir_unusable(&path, &error))
}

/// The `SKILL.md` of each folder of skills, by name, and at most so many. No directory is no skills.
///
/// # Errors
/// The directory cannot be read.
pub fn read_skills(dir: &Path, most: usize) -> io::Result<Vec<(String, io::Result<String>)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let is_plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let mut names = Vec::new();
    for entry in entries.take(FILES_MAX) {
        let entry = entry?;
        // A link is no directory here, so that nothing outside is listed.
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.retain(is_plain);
    names.sort();
    names.truncate(most);
    let read = |name: String| {
        let path = dir.join(&name).join("SKILL.md");
        let text = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => read_text(&path, TEXT_BYTES_MAX),
            Ok(_) => Err(io::Error::other("its `SKILL.md` is not a regular file")),
            Err(error) => Err(error),
        };
        (name, text)
    };
    Ok(names.into_iter().map(read).collect())
}

/// A credential from a file.
pub(super) fn read_secret(path: &Path) -> Result<Secret, Fault> {
    let text = zeroize::Zeroizing::new(read_text(path, SECRET_BYTES_MAX).map_err(|error| {
        Fault::new(
            Code::CONFIG_UNREADABLE,
            format!("cannot read the credential in `{}`: {error}", path.display()),
            "name a readable file, or set the variable without `_FILE`",
        )
    })?);
    Ok(Secret::new(&text))
}

/// Makes the data directory, for this user alone.
///
/// # Errors
/// ARE-0101 when it cannot be made or is no directory.
pub fn make_data_dir(path: &Path) -> Result<(), Fault> {
    let outcome = fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(path);
    outcome.map_err(|error| data_dir_unusable(path, &error))
}

/// Makes a directory for sessions without a workspace of their own.
///
/// # Errors
/// ARE-0008 when it cannot be made.
pub fn make_workspace(path: &Path) -> Result<(), Fault> {
    fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(path).map_err(|error| {
        Fault::new(
            Code::WORKSPACE_REFUSED,
            format!("cannot make the workspace `{}`: {error}", path.display()),
            "set `ARE_WORKSPACE` to a directory that exists",
        )
    })
}

fn data_dir_unusable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(
        Code::DATA_DIR_UNUSABLE,
        format!("cannot use the data directory `{}`: {error}", path.display()),
        "choose another with `--data-dir DIR`, or mend its permissions",
    )
}

/// The administrator's token of a data directory; made at first start, readable by this user alone.
///
/// # Errors
/// ARE-0101 when it can be neither read nor made.
pub fn admin_token(data_dir: &Path, make: impl FnOnce() -> Result<Secret, Fault>) -> Result<Secret, Fault> {
    let path = data_dir.join("admin.token");
    match read_text(&path, SECRET_BYTES_MAX) {
        Ok(text) => {
            let secret = Secret::new(&zeroize::Zeroizing::new(text));
            if !secret.is_empty() {
                return Ok(secret);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(data_dir_unusable(&path, &error)),
    }
    let secret = make()?;
    write_private(&path, secret.expose()).map_err(|error| data_dir_unusable(&path, &error))?;
    Ok(secret)
}

/// A file of keys; `None` when there is none.
///
/// # Errors
/// ARE-0812 when it cannot be read.
pub fn read_key(path: &Path) -> Result<Option<String>, Fault> {
    match read_text(path, SECRET_BYTES_MAX) {
        Ok(text) => {
            if mode(path).is_some_and(|mode| mode & 0o077 != 0) {
                // A mounted volume may belong to somebody else and be opened to us by its group.
                tracing::warn!(path = %path.display(), "others may be able to read this key");
            }
            Ok(Some(text))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(key_unusable(path, &error)),
    }
}

/// Writes a file of keys for this user alone, whole or not at all, and durably.
///
/// # Errors
/// ARE-0812 when it cannot be written.
pub fn write_key(path: &Path, text: &str) -> Result<(), Fault> {
    write_private(path, text).and_then(|()| sync_names(path)).map_err(|error| key_unusable(path, &error))
}

/// Gives a file of keys the name of another one, in its place, durably.
///
/// # Errors
/// ARE-0812 when that is not possible.
pub fn rename_key(from: &Path, to: &Path) -> Result<(), Fault> {
    fs::rename(from, to).and_then(|()| sync_names(to)).map_err(|error| key_unusable(to, &error))
}

/// Removes a file of keys; none is removed already.
///
/// # Errors
/// ARE-0812 when that is not possible.
pub fn remove_key(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(key_unusable(path, &error)),
        _ => Ok(()),
    }
}

fn sync_names(path: &Path) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("it has no directory"))?;
    fs::File::open(dir)?.sync_all()
}

fn key_unusable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(
        Code::AUDIT_KEY,
        format!("the key file `{}` cannot be used: {error}", path.display()),
        "mend its permissions, or switch auditing off with `ARE_AUDIT_LOG=false`",
    )
}

/// A file that somebody hands over to be checked: keys, checkpoints, a proof, a line.
///
/// # Errors
/// ARE-0003 when it cannot be read.
pub fn read_evidence(path: &Path) -> Result<String, Fault> {
    /// As many checkpoints as a store keeps, and more.
    const EVIDENCE_BYTES_MAX: u64 = 32 << 20;
    read_text(path, EVIDENCE_BYTES_MAX).map_err(|error| unreadable_evidence(path, &error))
}

/// A log that somebody hands over to be checked, read piece by piece.
///
/// # Errors
/// ARE-0003 when it cannot be read.
pub fn open_evidence(path: &Path) -> Result<io::BufReader<fs::File>, Fault> {
    /// Bytes read at once.
    const PIECE_BYTES: usize = 256 << 10;
    let file = fs::File::open(path).map_err(|error| unreadable_evidence(path, &error))?;
    Ok(io::BufReader::with_capacity(PIECE_BYTES, file))
}

fn unreadable_evidence(path: &Path, error: &io::Error) -> Fault {
    Fault::new(
        Code::CONFIG_UNREADABLE,
        format!("`{}` cannot be read: {error}", path.display()),
        "name a file that you can read",
    )
}

/// Name of the file of the data directory that holds the master key.
pub const MASTER_KEY: &str = "master.key";

/// The master key's file; `None` when there is none.
///
/// # Errors
/// As the file system says.
pub fn read_master(path: &Path) -> io::Result<Option<zeroize::Zeroizing<String>>> {
    match read_text(path, SECRET_BYTES_MAX) {
        Ok(text) => {
            if mode(path).is_some_and(|mode| mode & 0o077 != 0) {
                tracing::warn!(path = %path.display(), "the master key can be read by others: `chmod 600` it");
            }
            Ok(Some(zeroize::Zeroizing::new(text)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the master key's file for this user alone, whole or not at all, and so that it survives a power cut: what is
/// sealed by it right afterwards is nothing without it.
///
/// # Errors
/// ARE-0101 when it cannot be written.
pub fn write_master(path: &Path, text: &str) -> Result<(), Fault> {
    write_rules(path, text, false).map_err(|error| data_dir_unusable(path, &error))
}

/// Writes rules for this user alone, whole or not at all; their directory is made when `may_make_dir`.
///
/// # Errors
/// As the file system says.
pub fn write_rules(path: &Path, text: &str, may_make_dir: bool) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("it has no directory"))?;
    if may_make_dir {
        fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(dir)?;
    }
    write_private(path, text)?;
    // The name too, so that a rule that was acknowledged survives a power cut.
    fs::File::open(dir)?.sync_all()
}

/// Whether files can be made in a directory: tried, because permission bits do not say it all.
///
/// # Errors
/// Why not.
pub fn try_to_write_in(dir: &Path) -> io::Result<()> {
    let path = dir.join(format!(".are-probe-{}", std::process::id()));
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE_FILE).open(&path)?;
    fs::remove_file(&path)
}

/// What tells whether the files of a directory have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    files: Result<Vec<(PathBuf, [i64; 6])>, io::ErrorKind>,
}

impl Fingerprint {
    /// Of the files with that extension, links followed.
    #[must_use]
    pub fn of(dir: &Path, extension: &str) -> Self {
        let stat = |path: PathBuf| match fs::metadata(&path) {
            Ok(meta) => {
                let (inode, size) = (meta.ino().cast_signed(), meta.size().cast_signed());
                (path, [inode, size, meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()])
            }
            Err(_) => (path, [-1; 6]),
        };
        let files = paths_in(dir, extension).map(|paths| paths.into_iter().map(stat).collect());
        Self { files: files.map_err(|(_, error)| error.kind()) }
    }

    /// True when a file changed so lately that another change need not show in its times.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = since_1970.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        self.files.iter().flatten().any(|(_, [.., changed, _])| now - changed <= FRESH_SECONDS)
    }
}

/// Writes a file for this user alone, whole or not at all.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let outcome = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE_FILE)
        .open(&temporary)
        .and_then(|mut file| {
            file.set_permissions(fs::Permissions::from_mode(PRIVATE_FILE))?;
            file.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                file.write_all(b"\n")?;
            }
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if outcome.is_err()
        && let Err(error) = fs::remove_file(&temporary)
    {
        tracing::debug!(%error, "a half-written file stays behind");
    }
    outcome
}

/// The files of a directory with that extension, by name, with their text. No directory is no files.
///
/// # Errors
/// The path and reason of the first file that cannot be read.
pub fn read_dir_texts(dir: &Path, extension: &str) -> Result<Vec<(PathBuf, String)>, (PathBuf, io::Error)> {
    let read = |path: PathBuf| match read_text(&path, TEXT_BYTES_MAX) {
        Ok(text) => Ok((path, text)),
        Err(error) => Err((path, error)),
    };
    paths_in(dir, extension)?.into_iter().map(read).collect()
}

/// The same, a file that cannot be read among them.
///
/// # Errors
/// The directory cannot be read.
pub fn read_dir_each(dir: &Path, extension: &str) -> Result<Vec<(PathBuf, io::Result<String>)>, (PathBuf, io::Error)> {
    let read = |path: PathBuf| {
        let text = read_text(&path, TEXT_BYTES_MAX);
        (path, text)
    };
    Ok(paths_in(dir, extension)?.into_iter().map(read).collect())
}

/// The files of a directory with that extension, sorted.
fn paths_in(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err((dir.to_owned(), error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(at(dir))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
        if paths.len() > FILES_MAX {
            return Err((dir.to_owned(), io::Error::other(format!("it holds more than {FILES_MAX} files"))));
        }
    }
    paths.sort();
    Ok(paths)
}

/// A path without links and dots.
///
/// # Errors
/// When it does not exist or cannot be followed.
pub fn canonical(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

/// True when the path is a directory.
#[must_use]
pub fn is_dir(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// True when the path is anything at all.
#[must_use]
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// What `/proc` says of a process, for benchmarks; `None` where it does not.
#[must_use]
pub fn process_file(pid: u32, name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/{name}")).ok()
}

/// Permission bits of a path, for the diagnosis.
#[must_use]
pub fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o777)
}

/// Writes what a verb was asked to put into a file, which must not exist yet.
///
/// # Errors
/// As the file system says, `AlreadyExists` included.
pub fn create_new(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(path)
}

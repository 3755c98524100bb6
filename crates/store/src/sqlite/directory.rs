//! The data directory: its lock, its identity, and the marks by which lost entries are noticed.
//!
//! | file | what |
//! |---|---|
//! | `are.lock` | locked while a store is open; empty |
//! | `store.id` | the store's identity, a UUID; made once, after the database |
//! | `are.db`, `are.db-wal`, `are.db-shm` | the database, its log, the log's index |
//! | `are.db.new*`, `store.id.new` | of a first start that was interrupted; removed by the next |
//!
//! The database is made whole under another name, synced and renamed; only then
//! is the identity made in the same way. So a kill at any instant leaves either
//! nothing, or a database without sessions and without identity (the next start
//! finishes it), or both. Every other combination is refused.
//!
//! NOTE for this module: opening and closing a file drops all locks that this
//! process holds on it, SQLite's too. While SQLite has a file open it is only
//! asked about by path.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use uuid::Uuid;

use super::error::OpenError;

/// Bytes reserved for the log's index: 32 KiB for each 4,096 pages of the log
/// (16 MiB), so enough for 256 MiB, four times what the log should grow to. Without
/// them a full disk would be met while a commit is half published.
const SHM_BYTES: u64 = 512 << 10;
/// Bytes of the header of a database, of its log, and of each frame in the log.
const DB_HEADER_BYTES: usize = 100;
const WAL_HEADER_BYTES: usize = 32;
const WAL_FRAME_HEADER_BYTES: usize = 24;
/// Bytes read of the identity file; it has 37.
const IDENTITY_BYTES_MAX: u64 = 256;
/// First bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// A data directory that this value has locked.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Released when the value is dropped, and by the kernel when the process ends.
    _lock: File,
    /// Kept open, because closing it would drop SQLite's locks on the index.
    log_index: Option<File>,
}

/// What stands at the database's path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Absent,
    /// A database whose pages are all there, in the file or in its log.
    Whole,
    /// Something else.
    Damaged(String),
}

impl Directory {
    /// Makes the directory if need be and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, OpenError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(OpenError::io(path))?;
        tighten(path, 0o700);
        let lock_path = path.join("are.lock");
        let lock = private().create(true).truncate(false).open(&lock_path).map_err(OpenError::io(&lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock, log_index: None }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked { path: path.to_owned() }),
            Err(errno) => Err(OpenError::io(lock_path)(errno.into())),
        }
    }

    /// The database.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join("are.db")
    }

    /// The database's log.
    pub(super) fn log(&self) -> PathBuf {
        self.beside("-wal")
    }

    /// A database that is being made.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.path.join("are.db.new")
    }

    /// The identity file.
    pub(super) fn identity_path(&self) -> PathBuf {
        self.path.join("store.id")
    }

    /// The store's identity, if the directory has one.
    pub(super) fn identity(&self) -> Result<Option<Uuid>, OpenError> {
        let path = self.identity_path();
        let mut text = String::new();
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io(path)(error)),
            Ok(file) => match file.take(IDENTITY_BYTES_MAX).read_to_string(&mut text) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => text.clear(),
                Err(error) => return Err(OpenError::io(path)(error)),
            },
        }
        match Uuid::try_parse(text.trim_ascii()) {
            Ok(id) => Ok(Some(id)),
            Err(_) => Err(OpenError::Mismatch { path, what: "is not an identity file of this program".to_owned() }),
        }
    }

    /// Gives the directory its identity, durably.
    pub(super) fn set_identity(&self, id: Uuid) -> Result<(), OpenError> {
        let unfinished = self.path.join("store.id.new");
        let write = || {
            let mut file = private().create(true).truncate(true).open(&unfinished)?;
            writeln!(file, "{id}")?;
            file.sync_all()?;
            fs::rename(&unfinished, self.identity_path())?;
            self.sync_entries()
        };
        write().map_err(OpenError::io(&self.path))
    }

    /// Makes room for a new database: an empty private file at [`unfinished`](Self::unfinished).
    pub(super) fn begin_database(&self) -> Result<(), OpenError> {
        for leftover in ["are.db.new", "are.db.new-journal", "are.db.new-wal", "are.db.new-shm", "store.id.new"] {
            remove(&self.path.join(leftover))?;
        }
        let path = self.unfinished();
        private().create_new(true).open(&path).map(drop).map_err(OpenError::io(path))
    }

    /// Gives a database that is whole and closed its name, durably.
    pub(super) fn finish_database(&self) -> Result<(), OpenError> {
        let path = self.unfinished();
        let finish = || {
            File::open(&path)?.sync_all()?;
            fs::rename(&path, self.database())?;
            self.sync_entries()?;
            // The directory itself may be as new as the database.
            match self.path.canonicalize()?.parent() {
                Some(parent) => File::open(parent)?.sync_all(),
                None => Ok(()),
            }
        };
        finish().map_err(OpenError::io(&path))
    }

    /// Looks at the database before SQLite does.
    ///
    /// SQLite would enlarge a file that was cut short and serve zeros from it,
    /// so the missing pages are looked for in the log, where a crash during a
    /// checkpoint leaves them.
    pub(super) fn inspect(&self) -> Result<Found, OpenError> {
        let path = self.database();
        let log = self.log();
        let found = (|| {
            let mut file = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(match fs::metadata(&log) {
                        Ok(log) if log.len() > 0 => Found::Damaged("is missing, but its log is there".to_owned()),
                        _ => Found::Absent,
                    });
                }
                other => other?,
            };
            let length = file.metadata()?.len();
            let mut header = [0; DB_HEADER_BYTES];
            if length < DB_HEADER_BYTES as u64 {
                let what = if length == 0 { "is empty" } else { "is cut short" };
                return Ok(Found::Damaged(what.to_owned()));
            }
            file.read_exact(&mut header)?;
            if !header.starts_with(MAGIC) {
                return Ok(Found::Damaged("is not a database".to_owned()));
            }
            let page_bytes = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
                1 => 65536,
                bytes if bytes.is_power_of_two() && bytes >= 512 => bytes,
                _ => return Ok(Found::Damaged("is not a database".to_owned())),
            };
            let pages = u64::from(u32::from_be_bytes([header[28], header[29], header[30], header[31]]));
            let missing = (length / page_bytes + 1)..=pages;
            if missing.is_empty() || log_holds(&log, page_bytes, missing)? {
                return Ok(Found::Whole);
            }
            Ok(Found::Damaged(format!("is cut short: {length} bytes of {}", pages * page_bytes)))
        })();
        found.map_err(OpenError::io(path))
    }

    /// Takes group and world off files that an older umask or a copy left open to them.
    pub(super) fn tighten_files(&self) {
        for path in [self.database(), self.log(), self.beside("-shm"), self.identity_path()] {
            if path.exists() {
                tighten(&path, 0o600);
            }
        }
    }

    /// Makes the names of all files durable: SQLite does so for its log too, but ignores when that fails.
    pub(super) fn sync(&self) -> Result<(), OpenError> {
        self.sync_entries().map_err(OpenError::io(&self.path))
    }

    /// Reserves space for the log's index, once SQLite has made it.
    pub(super) fn reserve_log_index(&mut self) {
        let reserve = || -> io::Result<File> {
            let file = OpenOptions::new().read(true).write(true).open(self.beside("-shm"))?;
            fallocate(&file, FallocateFlags::empty(), 0, SHM_BYTES)?;
            Ok(file)
        };
        match reserve() {
            Ok(file) => self.log_index = Some(file),
            // Not every file system can; a full disk may then end the process instead of refusing an append.
            Err(error) => tracing::debug!(%error, "no space reserved for the log's index"),
        }
    }

    /// What changes when the database is copied or restored: the file's device and number.
    pub(super) fn place(&self) -> Result<String, OpenError> {
        let path = self.database();
        let metadata = fs::metadata(&path).map_err(OpenError::io(path))?;
        Ok(format!("{}:{}", metadata.dev(), metadata.ino()))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.path.join(format!("are.db{suffix}"))
    }

    fn sync_entries(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// What changes with every boot of the machine. Where it cannot be read it
/// never repeats, so that an unclean end counts as a power cut.
pub(super) fn boot() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(text) => text.trim_ascii().to_owned(),
        Err(_) => Uuid::new_v4().to_string(),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn tighten(path: &Path, mode: u32) {
    let change = fs::metadata(path).and_then(|metadata| {
        if metadata.mode() & 0o077 == 0 { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(mode)) }
    });
    if let Err(error) = change {
        // A mounted volume may belong to somebody else and be opened to us by its group.
        tracing::warn!(path = %path.display(), %error, "others may be able to read the store");
    }
}

fn remove(path: &Path) -> Result<(), OpenError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(OpenError::io(path)(error)),
        _ => Ok(()),
    }
}

/// True when the log holds every one of these pages.
///
/// SOURCE: <https://sqlite.org/fileformat2.html#walformat>. Frames count while
/// they carry the header's salt; their checksums are SQLite's business.
fn log_holds(log: &Path, page_bytes: u64, pages: std::ops::RangeInclusive<u64>) -> io::Result<bool> {
    let mut file = match File::open(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => io::BufReader::new(other?),
    };
    let mut missing: std::collections::BTreeSet<u64> = pages.take(MISSING_PAGES_MAX + 1).collect();
    let mut header = [0; WAL_HEADER_BYTES];
    if missing.len() > MISSING_PAGES_MAX || !read_whole(&mut file, &mut header)? {
        return Ok(false);
    }
    let mut frame = [0; WAL_FRAME_HEADER_BYTES];
    while read_whole(&mut file, &mut frame)? && frame[8..16] == header[16..24] {
        missing.remove(&u64::from(u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]])));
        file.seek(SeekFrom::Current(i64::try_from(page_bytes).unwrap_or(i64::MAX)))?;
    }
    Ok(missing.is_empty())
}

/// Pages looked for in the log: 1 GiB of pages of 4 KiB, far more than a log holds.
const MISSING_PAGES_MAX: usize = 1 << 18;

/// Fills `buffer`; false at the end of the file.
fn read_whole(file: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

//! Files that only this process can read, and only as it wrote them.
//!
//! What a local model has read of conversations is too large for memory and
//! costs seconds to compute again, so it may go to disk. It holds what people
//! said, in an encoded form. Therefore each file is sealed (XChaCha20-Poly1305)
//! with a key that is made when the directory is opened and never leaves
//! memory: with the process the key is gone, and what the files hold with it.
//! The next process removes them. A file that was changed, or put in another
//! one's place, does not open; it counts as missing and is removed.
//!
//! Plain bytes exist in memory alone, in a file without a name, which is what
//! the writer and the reader are given the path of. So nobody can exchange them
//! between the check and their use.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rustix::fs::{FlockOperation, MemfdFlags, OFlags, flock, memfd_create};
use zeroize::Zeroizing;

/// Bytes of all files; the oldest go first. Some forty thousand tokens of `small`.
const TOTAL_BYTES_MAX: u64 = 512 << 20;
/// Bytes of one file: the whole context of `medium`.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Age after which a file is of no use: its conversation has ended.
const AGE_MAX: Duration = Duration::from_secs(60 * 60);
const ENDING: &str = "sealed";
/// Says which process the directory belongs to.
const LOCK: &str = "lock";
/// Bytes of a nonce.
const NONCE_BYTES: usize = 24;

/// A directory of sealed files.
pub struct Sealed {
    dir: PathBuf,
    cipher: XChaCha20Poly1305,
    /// The next file's number, which is its nonce too: no two files of a key have the same.
    next: u64,
    /// Oldest first.
    files: VecDeque<Entry>,
    // Holds the directory for this process.
    _lock: File,
}

struct Entry {
    number: u64,
    bytes: u64,
    made: Instant,
}

/// Bytes in memory under a path, for code that reads files; gone when it is dropped.
pub struct Plain(File);

impl Plain {
    fn new() -> io::Result<Self> {
        Ok(Self(File::from(memfd_create("are-sequence", MemfdFlags::CLOEXEC)?)))
    }

    /// Where this process finds it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

impl Sealed {
    /// Opens a directory, which is made if need be, and removes what an earlier process left in it.
    ///
    /// # Errors
    /// It cannot be made or read, belongs to another process that runs, or there is no randomness.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let lock = private().create(true).truncate(false).open(dir.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        clear(&dir)?;
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(io::Error::other)?;
        let cipher = XChaCha20Poly1305::new(&(*key).into());
        Ok(Self { dir, cipher, next: 0, files: VecDeque::new(), _lock: lock })
    }

    /// Seals what `fill` writes into the file of a path; `None` when that fails or is too large.
    ///
    /// # Errors
    /// The disk is full, or the directory cannot be written.
    pub fn put(&mut self, fill: impl FnOnce(&Path) -> bool) -> io::Result<Option<u64>> {
        self.expire();
        let mut plain = Plain::new()?;
        if !fill(&plain.path()) {
            return Ok(None);
        }
        plain.0.rewind()?;
        let Some(mut bytes) = whole(&plain.0)? else { return Ok(None) };
        let number = self.next;
        self.next += 1;
        self.cipher
            .encrypt_in_place(&nonce(number), &[], &mut *bytes)
            .map_err(|_| io::Error::other("it is too large to be sealed"))?;
        let size = bytes.len() as u64;
        while self.files.iter().map(|entry| entry.bytes).sum::<u64>() + size > TOTAL_BYTES_MAX {
            let Some(oldest) = self.files.pop_front() else { break };
            self.remove(oldest.number);
        }
        let written = private().create_new(true).open(self.path(number)).and_then(|mut file| file.write_all(&bytes));
        if let Err(error) = written {
            self.remove(number);
            return Err(error);
        }
        self.files.push_back(Entry { number, bytes: size, made: Instant::now() });
        Ok(Some(number))
    }

    /// True while a file is there, as far as is known without looking.
    #[must_use]
    pub fn holds(&self, number: u64) -> bool {
        self.files.iter().any(|entry| entry.number == number && entry.made.elapsed() < AGE_MAX)
    }

    /// Removes a file.
    pub fn discard(&mut self, number: u64) {
        self.files.retain(|entry| entry.number != number);
        self.remove(number);
    }

    /// Opens a file and removes it; `None` when it is not there as it was written.
    pub fn take(&mut self, number: u64) -> Option<Plain> {
        let is_ours = self.holds(number);
        let opened = if is_ours { self.opened(number) } else { Err(io::Error::from(io::ErrorKind::NotFound)) };
        self.discard(number);
        self.expire();
        opened.inspect_err(|error| tracing::warn!(%error, "what a local model had read is computed again")).ok()
    }

    fn opened(&self, number: u64) -> io::Result<Plain> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(self.path(number))?;
        let mut bytes = whole(&file)?.ok_or_else(|| io::Error::other("its file is too large"))?;
        self.cipher
            .decrypt_in_place(&nonce(number), &[], &mut *bytes)
            .map_err(|_| io::Error::other("its file was changed by somebody else"))?;
        let mut plain = Plain::new()?;
        plain.0.write_all(&bytes)?;
        plain.0.rewind()?;
        Ok(plain)
    }

    /// Removes files that are too old.
    fn expire(&mut self) {
        while let Some(old) = self.files.pop_front_if(|entry| entry.made.elapsed() >= AGE_MAX) {
            self.remove(old.number);
        }
    }

    fn remove(&self, number: u64) {
        match fs::remove_file(self.path(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a sealed file cannot be removed");
            }
            _ => {}
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(number.to_string()).with_extension(ENDING)
    }
}

impl Drop for Sealed {
    /// Without the key the files are of no use to anyone.
    fn drop(&mut self) {
        for entry in &self.files {
            self.remove(entry.number);
        }
    }
}

/// Removes what processes that ended left in the directories below `dir`, whose models may never be loaded again. One
/// that belongs to a process which runs is left alone.
pub fn sweep(dir: &Path) {
    // silent-ok: mostly there is none, and what cannot be looked at cannot be opened by anybody either.
    let Ok(below) = fs::read_dir(dir) else { return };
    for own in below.flatten().map(|entry| entry.path()) {
        let swept = private().open(own.join(LOCK)).and_then(|lock| {
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            clear(&own)
        });
        if let Err(error) = swept {
            tracing::debug!(%error, "a directory of sealed files is left as it is");
        }
    }
}

fn clear(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

fn nonce(number: u64) -> XNonce {
    let mut bytes = [0; NONCE_BYTES];
    bytes[..size_of::<u64>()].copy_from_slice(&number.to_le_bytes());
    XNonce::from(bytes)
}

/// A file's bytes; `None` for too many.
fn whole(file: &File) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let size = file.metadata()?.len();
    if size > FILE_BYTES_MAX {
        return Ok(None);
    }
    // Room for the seal, so that no copy of the plain bytes is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 64));
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests;

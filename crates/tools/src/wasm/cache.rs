//! Compiled code on disk, so that a component is compiled once.
//!
//! Compiled code is machine code: whoever can make this process load a file of
//! theirs runs what they like in it. So an entry is loaded only when this
//! installation wrote it for exactly this source and this engine: it carries
//! an HMAC-SHA-256, over its name and its bytes, under a random key that lies
//! beside the directory and not in it. The name is a digest of source, wasmtime's
//! version and settings, and the processor's features. What is loaded are the
//! very bytes in memory that were checked, never the file again.
//!
//! A file that does not hold, is torn or unreadable counts as missing: it is
//! compiled anew and replaced. The cache never makes a call fail.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use are_core::digest::Digest;
use rustix::fs::OFlags;
use subtle::ConstantTimeEq as _;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use super::compile::Compiled;

/// Bytes of all entries; the ones that were not used for longest go first. A large tool takes some megabytes.
const TOTAL_BYTES_MAX: u64 = 512 << 20;
/// Bytes of one entry.
const ENTRY_BYTES_MAX: u64 = 256 << 20;
/// Files of the directory that are looked at.
const ENTRIES_MAX: usize = 10_000;
/// Bytes of an entry's authentication code, which stands before the code.
const MAC_BYTES: usize = 32;
/// Changes when the meaning of an entry does.
const FORMAT: &[u8] = b"are compiled code 1";
const ENDING: &str = "cwasm";

/// The cache in one directory.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
    key: OnceLock<Option<[u8; 32]>>,
}

/// Loading code that was compiled before. Implemented here only, where it is known to be ours.
pub(super) trait Load: Sized {
    /// # Safety
    /// The bytes are what this engine's own compilation gave.
    // SAFETY: a declaration; see its `# Safety`.
    #[expect(unsafe_code, reason = "wasmtime cannot check machine code; the caller has authenticated it")]
    unsafe fn load(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Self>;
}

#[expect(unsafe_code, reason = "see the trait")]
impl Load for Component {
    // SAFETY: the trait's condition is passed on to the one call inside.
    unsafe fn load(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Self> {
        // SAFETY: the caller's promise is wasmtime's condition.
        unsafe { Self::deserialize(engine, bytes) }
    }
}

#[expect(unsafe_code, reason = "see the trait")]
impl Load for Module {
    // SAFETY: the trait's condition is passed on to the one call inside.
    unsafe fn load(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Self> {
        // SAFETY: the caller's promise is wasmtime's condition.
        unsafe { Self::deserialize(engine, bytes) }
    }
}

impl Cache {
    /// The cache in `dir`, which is made when something is to be kept.
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self { dir, key: OnceLock::new() }
    }

    /// What is kept for this source; `None` when nothing is that can be trusted.
    pub(super) fn get<C: Compiled>(&self, engine: &Engine, source: &[u8]) -> Option<C> {
        let name = name::<C>(engine, source);
        let path = self.path(&name);
        let entry = match read(&path) {
            Ok(entry) => entry,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, entry = %name, "compiled code cannot be read and is made again");
                return None;
            }
        };
        let key = self.key()?;
        let (mac, code) = entry.split_at_checked(MAC_BYTES)?;
        if !bool::from(mac.ct_eq(&seal(&key, &name, code).0)) {
            tracing::warn!(entry = %name, "compiled code was changed by somebody else and is made again");
            return None;
        }
        // SAFETY: the code stands under a key that only this installation has, together with a name that holds the
        // digest of this engine's version, settings and processor; so this function's counterpart `put` wrote exactly
        // these bytes, as such an engine's compilation gave them.
        #[expect(unsafe_code, reason = "loading precompiled guest code, authenticated above")]
        let loaded = unsafe { C::load(engine, code) };
        loaded
            .inspect_err(|error| tracing::warn!(%error, entry = %name, "compiled code does not load and is made again"))
            .ok()
    }

    /// Keeps compiled code; what goes wrong is logged.
    pub(super) fn put<C: Compiled>(&self, engine: &Engine, source: &[u8], code: &[u8]) {
        let name = name::<C>(engine, source);
        let Some(key) = self.key() else { return };
        if code.len() as u64 > ENTRY_BYTES_MAX {
            return;
        }
        let mac = seal(&key, &name, code);
        if let Err(error) = replace(&self.path(&name), &[&mac.0, code]).and_then(|()| self.shrink()) {
            tracing::warn!(%error, "compiled code cannot be kept");
        }
    }

    fn path(&self, name: &Digest) -> PathBuf {
        self.dir.join(name.to_string()).with_extension(ENDING)
    }

    /// The key of this installation, made at first use. Without one nothing is kept or loaded.
    fn key(&self) -> Option<[u8; 32]> {
        *self.key.get_or_init(|| {
            let path = self.dir.with_extension("key");
            private_dir(&self.dir)
                .and_then(|()| read_key(&path))
                .inspect_err(|error| tracing::warn!(%error, "there is no key for compiled code, none is kept"))
                .ok()
        })
    }

    /// Removes what was not used for longest until the rest fits.
    fn shrink(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        let mut total = 0;
        for entry in fs::read_dir(&self.dir)?.take(ENTRIES_MAX) {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                total += metadata.len();
                entries.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        entries.sort();
        for (_, bytes, path) in entries {
            if total <= TOTAL_BYTES_MAX {
                break;
            }
            fs::remove_file(path)?;
            total -= bytes;
        }
        Ok(())
    }
}

/// What an entry is called: all that its code depends on.
fn name<C: Compiled>(engine: &Engine, source: &[u8]) -> Digest {
    let mut hasher = DefaultHasher::new();
    // Holds wasmtime's version, the settings, and the target with the processor's features.
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let engine = hasher.finish().to_le_bytes();
    Digest::of(&[FORMAT, C::KIND.as_bytes(), &engine, source])
}

/// HMAC-SHA-256 over name and code.
///
/// SOURCE: RFC 2104; the key is shorter than a block.
fn seal(key: &[u8; 32], name: &Digest, code: &[u8]) -> Digest {
    let padded = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Digest::of(&[&padded(0x36), &name.0, code]);
    Digest::of(&[&padded(0x5c), &inner.0])
}

/// An entry, whole; marked as used now.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > ENTRY_BYTES_MAX {
        return Err(io::Error::other("it is too large"));
    }
    let mut entry = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    (&file).take(ENTRY_BYTES_MAX).read_to_end(&mut entry)?;
    file.set_modified(SystemTime::now())?;
    Ok(entry)
}

/// Puts a file in place at once, so that nobody reads half of one.
fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    // A process of the same number may have been killed while it wrote.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create(&temporary)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    fs::rename(temporary, path)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The key in this file; a new one when there is none, or when others could have read it.
fn read_key(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    match OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path) {
        Ok(mut file) => {
            let is_private = file.metadata()?.mode() & 0o077 == 0;
            if is_private && file.metadata()?.len() == key.len() as u64 {
                file.read_exact(&mut key)?;
                return Ok(key);
            }
            fs::remove_file(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    create(path)?.write_all(&key)?;
    Ok(key)
}

#[cfg(test)]
mod tests;

//! Which files were hashed: inode, size and time of change → SHA-256.
//!
//! Hashing half a gigabyte takes a second or two; `verified.json` in the models
//! directory lets it happen once per file. The stamp is a cache: without it, or
//! with a broken one, the file is hashed again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const FILE: &str = "verified.json";
/// Bytes of the stamp file; more is not ours.
const STAMPS_BYTES_MAX: u64 = 1 << 20;
/// Bytes read at a time while hashing.
const CHUNK_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    inode: u64,
    size: u64,
    mtime_ns: i128,
    sha256: String,
}

/// SHA-256 of a file in the models directory, from its stamp where that holds.
pub(super) fn sha256(models_dir: &Path, file: &str) -> io::Result<String> {
    let path = models_dir.join(file);
    let before = fs::metadata(&path)?;
    if let Some(known) = read(models_dir).remove(file)
        && known == stamp(&before, known.sha256.clone())
    {
        return Ok(known.sha256);
    }
    let sha256 = hash(&path)?;
    // Only what did not change meanwhile is worth a stamp.
    if stamp(&before, String::new()) == stamp(&fs::metadata(&path)?, String::new()) {
        record(models_dir, file, &sha256);
    }
    Ok(sha256)
}

/// Remembers a hash just computed.
pub(super) fn record(models_dir: &Path, file: &str, sha256: &str) {
    let outcome = fs::metadata(models_dir.join(file)).and_then(|metadata| {
        let mut stamps = read(models_dir);
        stamps.insert(file.to_owned(), stamp(&metadata, sha256.to_owned()));
        write(models_dir, &stamps)
    });
    if let Err(error) = outcome {
        tracing::warn!(%error, file, "cannot note that the model file was verified; it will be hashed again");
    }
}

/// Forgets a file.
pub(super) fn forget(models_dir: &Path, file: &str) {
    let mut stamps = read(models_dir);
    if stamps.remove(file).is_some()
        && let Err(error) = write(models_dir, &stamps)
    {
        tracing::warn!(%error, file, "cannot forget a removed model file's stamp");
    }
}

fn stamp(metadata: &fs::Metadata, sha256: String) -> Stamp {
    let mtime_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Stamp { inode: metadata.ino(), size: metadata.size(), mtime_ns, sha256 }
}

fn read(models_dir: &Path) -> BTreeMap<String, Stamp> {
    let mut text = String::new();
    let outcome = File::open(models_dir.join(FILE))
        .and_then(|file| file.take(STAMPS_BYTES_MAX).read_to_string(&mut text))
        .and_then(|_| serde_json::from_str(&text).map_err(io::Error::other));
    match outcome {
        Ok(stamps) => stamps,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::debug!(%error, "the stamps of verified model files are unreadable and begun anew");
            }
            BTreeMap::new()
        }
    }
}

fn write(models_dir: &Path, stamps: &BTreeMap<String, Stamp>) -> io::Result<()> {
    let temporary = models_dir.join(format!(".{FILE}.{}", std::process::id()));
    fs::write(&temporary, serde_json::to_vec_pretty(stamps)?)?;
    fs::rename(&temporary, models_dir.join(FILE))
}

fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(chunk.get(..count).unwrap_or_default());
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // silent-ok: writing to a string cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

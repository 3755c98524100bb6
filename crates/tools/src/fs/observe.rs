//! What stands at a path of the workspace, and its content where that is wanted.
//!
//! The last name is never followed: a link is a link here.

use std::io::Read;
use std::path::Path;

use are_core::change::{FileState, Lost};
use are_core::digest::Digest;
use are_core::error::Fault;
use cap_std::fs::{Metadata, OpenOptions, OpenOptionsExt, PermissionsExt};
use rustix::fs::OFlags;
use sha2::Digest as _;

use super::workspace::{Workspace, fault};

/// Permission bits that are kept and put back: not those that lend somebody's rights.
pub(super) const MODE: u32 = 0o777;
/// Bytes of a file that is hashed, to be recognised after it was moved; a second of reading or so.
const HASHED_BYTES_MAX: u64 = 256 << 20;
/// Bytes read at a time.
const PIECE: usize = 128 << 10;

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) state: FileState,
    /// As it was when the content was read.
    pub(super) metadata: Metadata,
    /// Content of a file that is not larger than was wanted.
    pub(super) content: Option<Vec<u8>>,
    pub(super) lost: Option<Lost>,
}

/// Looks at a path; content up to `bytes_max` is taken along.
pub(super) fn observe(workspace: &Workspace, path: &Path, bytes_max: u64) -> Result<Option<Found>, Fault> {
    let Some(metadata) = workspace.look(path)? else { return Ok(None) };
    let mode = metadata.permissions().mode() & MODE;
    let found = |state, lost| Some(Found { state, metadata: metadata.clone(), content: None, lost });
    if metadata.is_file() {
        return file(workspace, path, bytes_max).map(|read| {
            read.or_else(|| {
                let state = FileState::File { mode, bytes: metadata.len(), digest: None };
                found(state, Some(Lost::Unreadable))
            })
        });
    }
    if metadata.is_symlink() {
        let target = workspace.dir().read_link_contents(path).map_err(|error| fault(&error, path))?;
        let lost = target.to_str().is_none().then_some(Lost::Name);
        return Ok(found(FileState::Link { target: target.to_string_lossy().into_owned() }, lost));
    }
    if metadata.is_dir() {
        return Ok(found(FileState::Directory { mode: Some(mode) }, None));
    }
    Ok(found(FileState::Other {}, Some(Lost::Special)))
}

/// A regular file; `None` when it cannot be read.
fn file(workspace: &Workspace, path: &Path, bytes_max: u64) -> Result<Option<Found>, Fault> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
    options.read(true).custom_flags(flags.bits().cast_signed());
    let Ok(file) = workspace.dir().open_with(path, &options) else { return Ok(None) };
    let metadata = file.metadata().map_err(|error| fault(&error, path))?;
    let mode = metadata.permissions().mode() & MODE;
    let mut content = (metadata.len() <= bytes_max).then(Vec::new);
    let mut hash = sha2::Sha256::new();
    let mut bytes = 0;
    let mut piece = vec![0; PIECE];
    let mut file = file.into_std();
    let digest = loop {
        if bytes > HASHED_BYTES_MAX || metadata.len() > HASHED_BYTES_MAX {
            break None;
        }
        let Ok(read) = file.read(&mut piece) else { return Ok(None) };
        if read == 0 {
            break Some(Digest(hash.finalize().into()));
        }
        bytes += read as u64;
        hash.update(&piece[..read]);
        if bytes > bytes_max {
            content = None;
        }
        if let Some(content) = &mut content {
            content.extend_from_slice(&piece[..read]);
        }
    };
    let bytes = if digest.is_some() { bytes } else { metadata.len() };
    let lost = content.is_none().then_some(Lost::TooLarge);
    Ok(Some(Found { state: FileState::File { mode, bytes, digest }, metadata, content, lost }))
}

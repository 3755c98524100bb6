//! The store of checkpoints: what files held before calls changed them.
//!
//! One directory a session below the data directory, for this user alone. In
//! it each content lies once, in a file named by its SHA-256, and a log says
//! what each call was about to change. Both are synced before the call changes
//! anything, so that the old content is there and can be found whenever the
//! change is. A content that is there already costs no write. Deleting a
//! session removes its directory; no other session can need it, because
//! contents are not shared between sessions.
//!
//! Bounded by [`CheckpointOptions`]: a larger file is not kept, and above the
//! total the oldest contents go first. Undoing says what is not there any more.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use are_core::change::{FileChange, FileState, Lost};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::{CallNo, SessionKey};
use serde::{Deserialize, Serialize};

/// Bytes of one file that are kept: sources and documents, not disk images.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of all contents that are kept.
const TOTAL_BYTES_MAX: u64 = 2 << 30;
/// Bytes of a session's log; beyond it its older half goes. It is only needed for calls without an outcome.
const LOG_BYTES_MAX: u64 = 4 << 20;
/// Sessions whose logs' ends are remembered.
const LOGS_KNOWN_MAX: usize = 1_000;
/// Share of the total that stays when room is made, in percent, so that it is not made for every file.
const ROOM_KEPT_PERCENT: u64 = 90;
const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;
const LOG: &str = "log";
const TEMPORARY: &str = "new";

/// Where and how much is kept.
#[derive(Debug, Clone)]
pub struct CheckpointOptions {
    /// The directory; made when it is first needed.
    pub dir: PathBuf,
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// Bytes of all contents.
    pub total_bytes_max: u64,
}

impl CheckpointOptions {
    /// The usual limits.
    #[must_use]
    pub const fn within(dir: PathBuf) -> Self {
        Self { dir, file_bytes_max: FILE_BYTES_MAX, total_bytes_max: TOTAL_BYTES_MAX }
    }
}

/// The store.
#[derive(Debug)]
pub(crate) struct Kept {
    options: CheckpointOptions,
    known: Mutex<Known>,
}

/// What need not be read from the disk again.
#[derive(Debug, Default)]
struct Known {
    /// Bytes of all contents, once counted.
    total: Option<u64>,
    logs: HashMap<SessionKey, End>,
    erased: BTreeSet<SessionKey>,
}

/// The end of a log.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    bytes: u64,
    /// Call of its last whole line; 0 for none.
    call: CallNo,
    /// A power cut tore its last line.
    is_torn: bool,
}

/// A line of a log: all that a call is about to change, so far; its last line counts.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    call: CallNo,
    changes: Vec<FileChange>,
    /// Content that says what stood in the workspace, of a call that nobody knows the changes of until it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Digest>,
}

impl Kept {
    pub(crate) fn new(options: CheckpointOptions) -> Self {
        Self { options, known: Mutex::new(Known::default()) }
    }

    /// Most bytes of a file that can be kept.
    pub(super) const fn file_bytes_max(&self) -> u64 {
        self.options.file_bytes_max
    }

    /// Keeps a content, durably; says why it cannot.
    pub(super) fn put(&self, session: SessionKey, digest: Digest, bytes: &[u8]) -> Result<Option<Lost>, Fault> {
        if bytes.len() as u64 > self.options.file_bytes_max {
            return Ok(Some(Lost::TooLarge));
        }
        let mut known = self.known(session)?;
        // A write that failed half-way leaves a file that the next one replaces.
        self.put_into(&mut known, session, digest, bytes).map_err(|error| unkept(&error))
    }

    fn put_into(
        &self,
        known: &mut Known,
        session: SessionKey,
        digest: Digest,
        bytes: &[u8],
    ) -> io::Result<Option<Lost>> {
        let length = bytes.len() as u64;
        let dir = self.session_dir(session)?;
        let path = dir.join(digest.to_string());
        if path.exists() {
            return Ok(None);
        }
        let mut total = match known.total {
            Some(total) => total,
            None => self.contents()?.iter().map(|content| content.bytes).sum(),
        };
        if total + length > self.options.total_bytes_max {
            total = self.make_room(length)?;
        }
        known.total = Some(total);
        if total + length > self.options.total_bytes_max {
            return Ok(Some(Lost::NoRoom));
        }
        write_whole(&dir, &path, bytes)?;
        known.total = Some(total + length);
        Ok(None)
    }

    /// Keeps contents, durably, with one sync for all: for those of a whole workspace. The digests of those that
    /// are not kept come back.
    pub(super) fn put_all(&self, session: SessionKey, contents: &[(Digest, Vec<u8>)]) -> Result<Vec<Digest>, Fault> {
        let mut known = self.known(session)?;
        self.put_all_into(&mut known, session, contents).map_err(|error| unkept(&error))
    }

    fn put_all_into(
        &self,
        known: &mut Known,
        session: SessionKey,
        contents: &[(Digest, Vec<u8>)],
    ) -> io::Result<Vec<Digest>> {
        let dir = self.session_dir(session)?;
        let bytes: u64 = contents.iter().map(|(_, content)| content.len() as u64).sum();
        let mut total = match known.total {
            Some(total) => total,
            None => self.contents()?.iter().map(|content| content.bytes).sum(),
        };
        if total + bytes > self.options.total_bytes_max {
            total = self.make_room(bytes)?;
        }
        known.total = Some(total);
        if total + bytes > self.options.total_bytes_max {
            return Ok(contents.iter().map(|(digest, _)| *digest).collect());
        }
        let mut written = Vec::new();
        for (index, (digest, content)) in contents.iter().enumerate() {
            let temporary = dir.join(format!("{TEMPORARY}-{index}"));
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(PRIVATE_FILE);
            options.open(&temporary)?.write_all(content)?;
            written.push((temporary, dir.join(digest.to_string())));
        }
        // A content gets its name only when it is whole on the disk.
        rustix::fs::syncfs(File::open(&dir)?)?;
        for (temporary, path) in written {
            fs::rename(temporary, path)?;
        }
        known.total = Some(total + bytes);
        sync(&dir)?;
        Ok(Vec::new())
    }

    /// True when a content is kept.
    pub(super) fn has(&self, session: SessionKey, digest: Digest) -> bool {
        self.path(session).join(digest.to_string()).exists()
    }

    /// A content, if it is kept and still what its name says.
    pub(super) fn get(&self, session: SessionKey, digest: Digest) -> Result<Option<Vec<u8>>, Fault> {
        let mut bytes = Vec::new();
        let read = File::open(self.path(session).join(digest.to_string()))
            .and_then(|file| file.take(self.options.file_bytes_max.max(FILE_BYTES_MAX)).read_to_end(&mut bytes));
        match read {
            Ok(_) if Digest::of(&[&bytes]) == digest => Ok(Some(bytes)),
            Ok(_) => {
                tracing::error!(%session, "a kept file is not what its name says");
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unkept(&error)),
        }
    }

    /// Notes durably what a call is about to change.
    pub(super) fn note(&self, session: SessionKey, call: CallNo, changes: &[FileChange]) -> Result<(), Fault> {
        self.note_line(session, &Line { call, changes: changes.to_vec(), before: None })
    }

    /// Notes durably that a call begins which may change anything, and the content that says what stands there now.
    pub(super) fn note_before(&self, session: SessionKey, call: CallNo, before: Digest) -> Result<(), Fault> {
        self.note_line(session, &Line { call, changes: Vec::new(), before: Some(before) })
    }

    fn note_line(&self, session: SessionKey, line: &Line) -> Result<(), Fault> {
        let call = line.call;
        let mut known = self.known(session)?;
        let mut note = || -> io::Result<()> {
            let dir = self.session_dir(session)?;
            let mut end = self.end(&mut known, session)?;
            let mut line = serde_json::to_vec(line)?;
            line.push(b'\n');
            if end.bytes + line.len() as u64 > LOG_BYTES_MAX {
                end.bytes = shorten(&dir)?;
                end.is_torn = false;
            }
            if end.is_torn {
                line.insert(0, b'\n');
            }
            let is_new = end.bytes == 0;
            let mut log = OpenOptions::new().append(true).create(true).mode(PRIVATE_FILE).open(dir.join(LOG))?;
            log.write_all(&line)?;
            log.sync_data()?;
            if is_new {
                sync(&dir)?;
            }
            known.logs.insert(session, End { bytes: end.bytes + line.len() as u64, call, is_torn: false });
            Ok(())
        };
        let noted = note();
        if noted.is_err() {
            // What is in the file now is read again before the next line.
            known.logs.remove(&session);
        }
        noted.map_err(|error| unkept(&error))
    }

    /// What an earlier run of the call noted, if the call is the last that noted anything.
    pub(super) fn noted_last(&self, session: SessionKey, call: CallNo) -> Result<Vec<FileChange>, Fault> {
        let end = {
            let mut known = self.known(session)?;
            self.end(&mut known, session).map_err(|error| unkept(&error))?
        };
        if end.call == call { self.noted(session, call) } else { Ok(Vec::new()) }
    }

    /// What a call noted last.
    pub(super) fn noted(&self, session: SessionKey, call: CallNo) -> Result<Vec<FileChange>, Fault> {
        let log = read_log(&self.path(session)).map_err(|error| unkept(&error))?;
        let line = lines(&log).filter(|line| line.call == call).last();
        Ok(line.map(|line| line.changes).unwrap_or_default())
    }

    /// Keeps under one session what is kept under another of what stood there before these changes. What is lost there,
    /// or has no room here, is lost here too, and undoing says so.
    pub(super) fn adopt(&self, from: SessionKey, to: SessionKey, changes: &[FileChange]) -> Result<(), Fault> {
        for change in changes {
            let Some(FileState::File { digest: Some(digest), .. }) = &change.before else { continue };
            if self.has(to, *digest) {
                continue;
            }
            if let Some(bytes) = self.get(from, *digest)?
                && let Some(lost) = self.put(to, *digest, &bytes)?
            {
                tracing::warn!(session = %to, path = change.path, ?lost, "what an agent replaced is not kept");
            }
        }
        Ok(())
    }

    /// What a call noted before it began, if that is all it noted: it may have changed anything since.
    pub(super) fn before(&self, session: SessionKey, call: CallNo) -> Result<Option<Digest>, Fault> {
        let log = read_log(&self.path(session)).map_err(|error| unkept(&error))?;
        Ok(lines(&log).filter(|line| line.call == call).last().and_then(|line| line.before))
    }

    /// Removes what is kept under a session; nothing is kept of it from now on.
    pub(super) fn erase(&self, session: SessionKey) -> Result<(), Fault> {
        let mut known = self.lock();
        known.erased.insert(session);
        known.logs.remove(&session);
        known.total = None;
        match fs::remove_dir_all(self.path(session)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unkept(&error)),
            _ => Ok(()),
        }
    }

    /// Sessions of which something is kept.
    pub(super) fn sessions(&self) -> Result<Vec<SessionKey>, Fault> {
        let entries = match fs::read_dir(&self.options.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unkept(&error)),
        };
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    fn path(&self, session: SessionKey) -> PathBuf {
        self.options.dir.join(session.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, session: SessionKey) -> Result<MutexGuard<'_, Known>, Fault> {
        let known = self.lock();
        if known.erased.contains(&session) {
            return Err(Fault::new(Code::SESSION_UNKNOWN, "the session was deleted", "begin another one"));
        }
        Ok(known)
    }

    fn session_dir(&self, session: SessionKey) -> io::Result<PathBuf> {
        let path = self.path(session);
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(&path)?;
            sync(&self.options.dir)?;
            if let Some(parent) = self.options.dir.parent() {
                sync(parent)?;
            }
        }
        Ok(path)
    }

    fn end(&self, known: &mut Known, session: SessionKey) -> io::Result<End> {
        if let Some(end) = known.logs.get(&session) {
            return Ok(*end);
        }
        let log = read_log(&self.path(session))?;
        let call = lines(&log).last().map_or(0, |line| line.call);
        let end = End { bytes: log.len() as u64, call, is_torn: log.last().is_some_and(|byte| *byte != b'\n') };
        if known.logs.len() >= LOGS_KNOWN_MAX {
            known.logs.clear();
        }
        known.logs.insert(session, end);
        Ok(end)
    }

    /// All contents of all sessions.
    fn contents(&self) -> io::Result<Vec<Content>> {
        let mut found = Vec::new();
        for session in fs::read_dir(&self.options.dir)?.flatten() {
            // A session that is deleted meanwhile has no contents.
            let Ok(entries) = fs::read_dir(session.path()) else { continue };
            for entry in entries.flatten().filter(|entry| entry.file_name() != LOG) {
                let Ok(metadata) = entry.metadata() else { continue };
                let at = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(Content { path: entry.path(), bytes: metadata.len(), at });
            }
        }
        Ok(found)
    }

    /// Removes the oldest contents until `need` bytes fit; the bytes that stay.
    fn make_room(&self, need: u64) -> io::Result<u64> {
        let mut contents = self.contents()?;
        contents.sort_by_key(|content| std::cmp::Reverse(content.at));
        let mut total: u64 = contents.iter().map(|content| content.bytes).sum();
        let most = self.options.total_bytes_max * ROOM_KEPT_PERCENT / 100;
        while total + need > most {
            let Some(oldest) = contents.pop() else { break };
            fs::remove_file(&oldest.path)?;
            total -= oldest.bytes;
        }
        Ok(total)
    }
}

struct Content {
    path: PathBuf,
    bytes: u64,
    at: SystemTime,
}

/// Writes a file of a directory for this user alone, whole or not at all, and durably.
fn write_whole(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(TEMPORARY);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE_FILE).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync(dir)
}

/// Takes the older half of a log away; its new length.
fn shorten(dir: &Path) -> io::Result<u64> {
    let log = read_log(dir)?;
    let middle = log.len() / 2;
    let start = log[middle..].iter().position(|byte| *byte == b'\n').map_or(log.len(), |at| middle + at + 1);
    let mut rest = log[start..].to_vec();
    if rest.last().is_some_and(|byte| *byte != b'\n') {
        rest.push(b'\n');
    }
    write_whole(dir, &dir.join(LOG), &rest)?;
    Ok(rest.len() as u64)
}

fn read_log(dir: &Path) -> io::Result<Vec<u8>> {
    match fs::read(dir.join(LOG)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// The whole lines of a log; a torn one was never durable, so its call changed nothing.
fn lines(log: &[u8]) -> impl Iterator<Item = Line> {
    log.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

fn sync(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // Some file systems cannot sync a directory; they have nothing more durable to offer.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

fn unkept(error: &io::Error) -> Fault {
    tracing::warn!(%error, "the store of checkpoints cannot be used");
    if error.kind() == io::ErrorKind::StorageFull {
        return Fault::new(
            Code::STORE_FULL,
            "no space is left to keep what the call would replace; nothing was changed",
            "tell the user that the data directory's disk is full",
        );
    }
    Fault::new(
        Code::TOOL_FAILED,
        "what the call would replace cannot be kept; nothing was changed",
        "tell the user that the data directory cannot be written",
    )
}

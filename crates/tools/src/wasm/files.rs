//! `wasi:filesystem` over the file tools: one directory, `/`, which is the workspace.
//!
//! No file is opened here. Whatever a component does with files becomes calls
//! of `fs_read`, `fs_write` and their like, each with its own decision, record
//! and undo; so the rules about paths, guarded paths, links that lead
//! elsewhere and labels hold for it as for everybody. A preopened handle of the
//! host would know none of these.
//!
//! A file's content is fetched when it is opened and kept in memory; it is
//! written when it was changed and is synchronised or closed, or when the call
//! ends. As the file tools, this carries text only; other content is
//! `illegal-byte-sequence`. Links, times and modes are not carried.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use are_core::error::{Code, Fault};
use are_policy::manifest::FileAccess;
use serde_json::{Value, json};
use wasmtime::component::Resource;
use wasmtime_wasi::TrappableError;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use super::bindings::wasi::clocks::wall_clock::Datetime;
use super::bindings::wasi::filesystem::preopens;
use super::bindings::wasi::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, Filesize,
    MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use super::calls::Calls;
use super::guest::Guest;
use super::streams::{Reading, Writing};

/// Bytes of one file.
const FILE_BYTES_MAX: usize = 8 << 20;
/// Bytes of all files that a call holds open.
const HELD_BYTES_MAX: usize = 16 << 20;
/// Bytes that one read gives at most.
pub(super) const READ_BYTES_MAX: usize = 64 << 10;
/// Bytes of a window of `fs_read`, its largest.
const WINDOW_BYTES: u64 = 256 << 10;
/// Name of the only directory that a component begins with.
const ROOT: &str = "/";

/// An error code for the guest, or a trap.
pub(super) type Error = TrappableError<ErrorCode>;
type Done<T> = Result<T, Error>;

/// An open directory or file.
#[expect(unreachable_pub, reason = "the generated bindings export it again")]
pub struct Node(Open);

enum Open {
    /// Its path; empty for the workspace.
    Directory(String),
    File(Arc<File>),
}

/// An open file with its content.
pub(super) struct File {
    path: String,
    flags: DescriptorFlags,
    content: Mutex<Content>,
    held: Arc<AtomicUsize>,
}

struct Content {
    bytes: Vec<u8>,
    is_changed: bool,
}

impl Drop for File {
    fn drop(&mut self) {
        self.held.fetch_sub(self.len(), Ordering::Relaxed);
    }
}

/// What is left of a directory's entries.
#[expect(unreachable_pub, reason = "the generated bindings export it again")]
pub struct Entries(std::vec::IntoIter<DirectoryEntry>);

impl File {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> usize {
        self.content().bytes.len()
    }

    /// Bytes from a place on; whether they reach the end.
    pub(super) fn get(&self, offset: u64, length: usize) -> (Vec<u8>, bool) {
        let content = self.content();
        let rest = content.bytes.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or(&[]);
        let wanted = length.min(READ_BYTES_MAX).min(rest.len());
        (rest[..wanted].to_vec(), wanted == rest.len())
    }

    /// Puts bytes at a place, or at the end.
    pub(super) fn put(&self, bytes: &[u8], offset: Option<u64>) -> Result<(), ErrorCode> {
        let mut content = self.content();
        let start = offset.map_or(Ok(content.bytes.len()), usize::try_from).map_err(|_| ErrorCode::FileTooLarge)?;
        let end = start.checked_add(bytes.len()).ok_or(ErrorCode::FileTooLarge)?;
        let length = end.max(content.bytes.len());
        self.resize(&mut content, length)?;
        content.bytes[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn resize(&self, content: &mut Content, length: usize) -> Result<(), ErrorCode> {
        if !self.flags.contains(DescriptorFlags::WRITE) {
            return Err(ErrorCode::BadDescriptor);
        }
        if length > FILE_BYTES_MAX {
            return Err(ErrorCode::FileTooLarge);
        }
        hold(&self.held, length.saturating_sub(content.bytes.len()))?;
        self.held.fetch_sub(content.bytes.len().saturating_sub(length), Ordering::Relaxed);
        content.bytes.resize(length, 0);
        content.is_changed = true;
        Ok(())
    }

    /// Writes the content when it was changed.
    pub(super) async fn save(&self, calls: &Calls) -> Result<(), Fault> {
        let text = {
            let mut content = self.content();
            if !std::mem::take(&mut content.is_changed) {
                return Ok(());
            }
            String::from_utf8(content.bytes.clone())
        };
        let text = text.map_err(|_| {
            Fault::new(Code::TOOL_FAILED, format!("`{}` cannot be written: it is no text", self.path), "write text")
        })?;
        calls.act("fs_write", json!({"path": self.path, "content": text})).await.map(|_| ())
    }
}

/// Counts bytes of open files.
fn hold(held: &AtomicUsize, more: usize) -> Result<(), ErrorCode> {
    let count = |held: usize| held.checked_add(more).filter(|held| *held <= HELD_BYTES_MAX);
    let counted = held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
    counted.map(|_| ()).map_err(|_| ErrorCode::InsufficientMemory)
}

fn code(fault: &Fault) -> ErrorCode {
    match fault.code {
        Code::TOOL_NOT_FOUND => ErrorCode::NoEntry,
        Code::PATH_REFUSED => ErrorCode::NotPermitted,
        Code::DENIED => ErrorCode::Access,
        Code::TOOL_ARGS => ErrorCode::Invalid,
        _ => ErrorCode::Io,
    }
}

fn failed(fault: &Fault) -> Error {
    tracing::debug!(%fault, "a component's use of a file failed");
    code(fault).into()
}

fn kind(word: &Value) -> DescriptorType {
    match word.as_str() {
        Some("file") => DescriptorType::RegularFile,
        Some("directory") => DescriptorType::Directory,
        Some("link") => DescriptorType::SymbolicLink,
        _ => DescriptorType::Unknown,
    }
}

fn stat_of(kind: DescriptorType, size: u64, modified_at_ms: Option<u64>) -> DescriptorStat {
    let modified = modified_at_ms.map(|ms| {
        let nanoseconds = u32::try_from(ms % 1000).unwrap_or(0) * 1_000_000;
        Datetime { seconds: ms / 1000, nanoseconds }
    });
    DescriptorStat {
        type_: kind,
        link_count: 1,
        size,
        data_access_timestamp: None,
        data_modification_timestamp: modified,
        status_change_timestamp: None,
    }
}

fn must_write(calls: &Calls) -> Done<()> {
    if calls.files() == FileAccess::Write { Ok(()) } else { Err(ErrorCode::ReadOnly.into()) }
}

async fn look(calls: &Calls, path: &str) -> Done<Value> {
    calls.ask("fs_stat", json!({"path": path})).await.map_err(|fault| failed(&fault))
}

async fn change(calls: &Calls, tool: &str, args: Value) -> Done<()> {
    must_write(calls)?;
    calls.act(tool, args).await.map(|_| ()).map_err(|fault| failed(&fault))
}

/// The content of a file, window by window.
async fn fetch(calls: &Calls, path: &str) -> Done<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut offset = 0;
    loop {
        let args = json!({"path": path, "offset": offset, "limit": WINDOW_BYTES});
        let window = calls.ask("fs_read", args).await.map_err(|fault| failed(&fault))?;
        let Some(text) = window["content"].as_str() else { return Err(ErrorCode::IllegalByteSequence.into()) };
        bytes.extend_from_slice(text.as_bytes());
        if bytes.len() > FILE_BYTES_MAX || window["bytes"].as_u64() > Some(FILE_BYTES_MAX as u64) {
            return Err(ErrorCode::FileTooLarge.into());
        }
        match window["next_offset"].as_u64() {
            Some(next) if next > offset => offset = next,
            _ => return Ok(bytes),
        }
    }
}

fn hash(path: &str, size: u64) -> MetadataHashValue {
    let mut hasher = DefaultHasher::new();
    (path, size).hash(&mut hasher);
    MetadataHashValue { lower: hasher.finish(), upper: size }
}

impl Guest {
    fn node(&self, fd: &Resource<Node>) -> Done<&Open> {
        self.table.get(fd).map(|node| &node.0).map_err(Error::trap)
    }

    fn file(&self, fd: &Resource<Node>) -> Done<Arc<File>> {
        match self.node(fd)? {
            Open::File(file) => Ok(Arc::clone(file)),
            Open::Directory(_) => Err(ErrorCode::IsDirectory.into()),
        }
    }

    /// The path below the workspace; what it leads to is the file tools' to say.
    fn path(&self, fd: &Resource<Node>, path: &str) -> Done<String> {
        match self.node(fd)? {
            _ if path.starts_with('/') => Err(ErrorCode::NotPermitted.into()),
            Open::File(_) => Err(ErrorCode::NotDirectory.into()),
            Open::Directory(dir) if dir.is_empty() => Ok(path.to_owned()),
            Open::Directory(dir) => Ok(format!("{dir}/{path}")),
        }
    }

    async fn open(&mut self, path: String, oflags: OpenFlags, flags: DescriptorFlags) -> Done<Open> {
        let is_writing = flags.contains(DescriptorFlags::WRITE) || oflags.contains(OpenFlags::TRUNCATE);
        if is_writing || oflags.contains(OpenFlags::CREATE) {
            must_write(&self.calls)?;
        }
        // What this call holds open and has changed is newer than what is on disk.
        let open = self.open_files.iter().rev().find(|file| file.path == path && file.content().is_changed);
        if let Some(open) = open.cloned() {
            open.save(&self.calls).await.map_err(|fault| failed(&fault))?;
        }
        let found = match look(&self.calls, &path).await {
            Ok(found) => kind(&found["kind"]),
            Err(error) if error.downcast_ref() == Some(&ErrorCode::NoEntry) && oflags.contains(OpenFlags::CREATE) => {
                let content = Content { bytes: Vec::new(), is_changed: true };
                return self.opened(path, flags, content);
            }
            Err(error) => return Err(error),
        };
        if oflags.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE) {
            return Err(ErrorCode::Exist.into());
        }
        let is_directory = match found {
            DescriptorType::Directory => true,
            // Whether a link leads to a directory only listing it tells.
            DescriptorType::SymbolicLink => self.calls.ask("fs_list", json!({"path": path})).await.is_ok(),
            _ => false,
        };
        if is_directory {
            return if is_writing { Err(ErrorCode::IsDirectory.into()) } else { Ok(Open::Directory(path)) };
        }
        if oflags.contains(OpenFlags::DIRECTORY) {
            return Err(ErrorCode::NotDirectory.into());
        }
        let content = if oflags.contains(OpenFlags::TRUNCATE) {
            Content { bytes: Vec::new(), is_changed: true }
        } else {
            Content { bytes: fetch(&self.calls, &path).await?, is_changed: false }
        };
        self.opened(path, flags, content)
    }

    fn opened(&mut self, path: String, flags: DescriptorFlags, content: Content) -> Done<Open> {
        hold(&self.held_bytes, content.bytes.len())?;
        let held = Arc::clone(&self.held_bytes);
        let file = Arc::new(File { path, flags, content: Mutex::new(content), held });
        self.open_files.retain(|file| Arc::strong_count(file) > 1 || file.content().is_changed);
        self.open_files.push(Arc::clone(&file));
        Ok(Open::File(file))
    }
}

impl preopens::Host for Guest {
    async fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Node>, String)>> {
        if self.calls.files().is_none() {
            return Ok(Vec::new());
        }
        Ok(vec![(self.table.push(Node(Open::Directory(String::new())))?, ROOT.to_owned())])
    }
}

impl types::Host for Guest {
    async fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<ErrorCode>().copied())
    }

    fn convert_error_code(&mut self, error: Error) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl types::HostDirectoryEntryStream for Guest {
    async fn read_directory_entry(&mut self, stream: Resource<Entries>) -> Done<Option<DirectoryEntry>> {
        Ok(self.table.get_mut(&stream).map_err(Error::trap)?.0.next())
    }

    async fn drop(&mut self, stream: Resource<Entries>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

impl types::HostDescriptor for Guest {
    async fn read_via_stream(&mut self, fd: Resource<Node>, offset: Filesize) -> Done<Resource<DynInputStream>> {
        let stream: DynInputStream = Box::new(Reading::new(self.file(&fd)?, offset));
        self.table.push(stream).map_err(Error::trap)
    }

    async fn write_via_stream(&mut self, fd: Resource<Node>, offset: Filesize) -> Done<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Writing::new(self.file(&fd)?, Some(offset)));
        self.table.push(stream).map_err(Error::trap)
    }

    async fn append_via_stream(&mut self, fd: Resource<Node>) -> Done<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Writing::new(self.file(&fd)?, None));
        self.table.push(stream).map_err(Error::trap)
    }

    async fn advise(&mut self, fd: Resource<Node>, _: Filesize, _: Filesize, _: Advice) -> Done<()> {
        self.file(&fd).map(|_| ())
    }

    async fn sync_data(&mut self, fd: Resource<Node>) -> Done<()> {
        match self.node(&fd)? {
            Open::File(file) => Arc::clone(file).save(&self.calls).await.map_err(|fault| failed(&fault)),
            Open::Directory(_) => Ok(()),
        }
    }

    async fn sync(&mut self, fd: Resource<Node>) -> Done<()> {
        types::HostDescriptor::sync_data(self, fd).await
    }

    async fn get_flags(&mut self, fd: Resource<Node>) -> Done<DescriptorFlags> {
        Ok(match self.node(&fd)? {
            Open::File(file) => file.flags,
            Open::Directory(_) if self.calls.files() == FileAccess::Write => {
                DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY
            }
            Open::Directory(_) => DescriptorFlags::READ,
        })
    }

    async fn get_type(&mut self, fd: Resource<Node>) -> Done<DescriptorType> {
        Ok(match self.node(&fd)? {
            Open::File(_) => DescriptorType::RegularFile,
            Open::Directory(_) => DescriptorType::Directory,
        })
    }

    async fn set_size(&mut self, fd: Resource<Node>, size: Filesize) -> Done<()> {
        let file = self.file(&fd)?;
        let size = usize::try_from(size).map_err(|_| ErrorCode::FileTooLarge)?;
        let mut content = file.content();
        Ok(file.resize(&mut content, size)?)
    }

    async fn set_times(&mut self, _: Resource<Node>, _: NewTimestamp, _: NewTimestamp) -> Done<()> {
        Err(ErrorCode::Unsupported.into())
    }

    async fn read(&mut self, fd: Resource<Node>, length: Filesize, offset: Filesize) -> Done<(Vec<u8>, bool)> {
        Ok(self.file(&fd)?.get(offset, usize::try_from(length).unwrap_or(usize::MAX)))
    }

    async fn write(&mut self, fd: Resource<Node>, bytes: Vec<u8>, offset: Filesize) -> Done<Filesize> {
        self.file(&fd)?.put(&bytes, Some(offset))?;
        Ok(bytes.len() as u64)
    }

    async fn read_directory(&mut self, fd: Resource<Node>) -> Done<Resource<Entries>> {
        let path = match self.node(&fd)? {
            Open::Directory(path) if path.is_empty() => ".".to_owned(),
            Open::Directory(path) => path.clone(),
            Open::File(_) => return Err(ErrorCode::NotDirectory.into()),
        };
        let listed = self.calls.ask("fs_list", json!({"path": path})).await.map_err(|fault| failed(&fault))?;
        if listed["truncated"] == Value::Bool(true) {
            return Err(ErrorCode::Overflow.into());
        }
        let entry = |entry: &Value| {
            let name = entry["name"].as_str().unwrap_or_default().to_owned();
            DirectoryEntry { type_: kind(&entry["kind"]), name }
        };
        let entries: Vec<_> = listed["entries"].as_array().into_iter().flatten().map(entry).collect();
        self.table.push(Entries(entries.into_iter())).map_err(Error::trap)
    }

    async fn create_directory_at(&mut self, fd: Resource<Node>, path: String) -> Done<()> {
        let path = self.path(&fd, &path)?;
        change(&self.calls, "fs_mkdir", json!({"path": path})).await
    }

    async fn stat(&mut self, fd: Resource<Node>) -> Done<DescriptorStat> {
        let path = match self.node(&fd)? {
            Open::File(file) => return Ok(stat_of(DescriptorType::RegularFile, file.len() as u64, None)),
            Open::Directory(path) if path.is_empty() => ".".to_owned(),
            Open::Directory(path) => path.clone(),
        };
        let found = look(&self.calls, &path).await?;
        Ok(stat_of(DescriptorType::Directory, 0, found["modified_at_ms"].as_u64()))
    }

    async fn stat_at(&mut self, fd: Resource<Node>, _: PathFlags, path: String) -> Done<DescriptorStat> {
        let path = self.path(&fd, &path)?;
        let found = look(&self.calls, &path).await?;
        let size = found["bytes"].as_u64().unwrap_or(0);
        Ok(stat_of(kind(&found["kind"]), size, found["modified_at_ms"].as_u64()))
    }

    async fn set_times_at(
        &mut self,
        _: Resource<Node>,
        _: PathFlags,
        _: String,
        _: NewTimestamp,
        _: NewTimestamp,
    ) -> Done<()> {
        Err(ErrorCode::Unsupported.into())
    }

    async fn link_at(&mut self, _: Resource<Node>, _: PathFlags, _: String, _: Resource<Node>, _: String) -> Done<()> {
        Err(ErrorCode::Unsupported.into())
    }

    async fn open_at(
        &mut self,
        fd: Resource<Node>,
        _: PathFlags,
        path: String,
        oflags: OpenFlags,
        flags: DescriptorFlags,
    ) -> Done<Resource<Node>> {
        let path = self.path(&fd, &path)?;
        let node = self.open(path, oflags, flags).await?;
        self.table.push(Node(node)).map_err(Error::trap)
    }

    async fn readlink_at(&mut self, _: Resource<Node>, _: String) -> Done<String> {
        Err(ErrorCode::Unsupported.into())
    }

    async fn remove_directory_at(&mut self, fd: Resource<Node>, path: String) -> Done<()> {
        let path = self.path(&fd, &path)?;
        if kind(&look(&self.calls, &path).await?["kind"]) != DescriptorType::Directory {
            return Err(ErrorCode::NotDirectory.into());
        }
        change(&self.calls, "fs_delete", json!({"path": path})).await
    }

    async fn rename_at(&mut self, fd: Resource<Node>, old: String, to: Resource<Node>, new: String) -> Done<()> {
        let (from, to) = (self.path(&fd, &old)?, self.path(&to, &new)?);
        change(&self.calls, "fs_move", json!({"from": from, "to": to})).await
    }

    async fn symlink_at(&mut self, _: Resource<Node>, _: String, _: String) -> Done<()> {
        Err(ErrorCode::Unsupported.into())
    }

    async fn unlink_file_at(&mut self, fd: Resource<Node>, path: String) -> Done<()> {
        let path = self.path(&fd, &path)?;
        if kind(&look(&self.calls, &path).await?["kind"]) == DescriptorType::Directory {
            return Err(ErrorCode::IsDirectory.into());
        }
        change(&self.calls, "fs_delete", json!({"path": path})).await
    }

    async fn is_same_object(&mut self, one: Resource<Node>, other: Resource<Node>) -> wasmtime::Result<bool> {
        let path = |node: &Node| match &node.0 {
            Open::Directory(path) => path.clone(),
            Open::File(file) => file.path.clone(),
        };
        Ok(path(self.table.get(&one)?) == path(self.table.get(&other)?))
    }

    async fn metadata_hash(&mut self, fd: Resource<Node>) -> Done<MetadataHashValue> {
        Ok(match self.node(&fd)? {
            Open::Directory(path) => hash(path, 0),
            Open::File(file) => hash(&file.path, file.len() as u64),
        })
    }

    async fn metadata_hash_at(&mut self, fd: Resource<Node>, _: PathFlags, path: String) -> Done<MetadataHashValue> {
        let path = self.path(&fd, &path)?;
        let size = look(&self.calls, &path).await?["bytes"].as_u64().unwrap_or(0);
        Ok(hash(&path, size))
    }

    async fn drop(&mut self, fd: Resource<Node>) -> wasmtime::Result<()> {
        if let Open::File(file) = self.table.delete(fd)?.0
            && let Err(fault) = file.save(&self.calls).await
        {
            // Closing tells no guest of an error, so the call says it when it ends.
            self.unsaved.get_or_insert(fault);
        }
        Ok(())
    }
}

//! Files of the workspace, by directory handle.
//!
//! Every path is resolved by the kernel below one open handle (`openat2` with
//! `RESOLVE_BENEATH`, a component-wise walk where that is missing), so a link
//! that is swapped in between two steps still cannot lead outside. Only regular
//! files are opened; a FIFO, socket or device is refused without waiting on it.
//! Writes replace: temporary file, fsync, rename, fsync of the directory. So a
//! reader sees the old or the new content and never a part, another hard link
//! keeps the old one, and mode bits are kept; owner, ACLs and extended
//! attributes are not.
//!
//! What a change replaces or removes is kept before it, so that it can be undone.
//!
//! What a kill between temporary file and rename leaves behind is a file
//! `.are-KEY.tmp`; running the same call again replaces it, and a later write
//! to that directory removes it.

mod below;
mod checkpoints;
mod declared;
pub(crate) mod guide;
mod kept;
mod landing;
mod leftover;
mod observe;
mod path;
mod plan;
mod read;
mod recorder;
mod search;
mod snapshot;
mod undo;
mod workspace;
mod write;

use std::io::Read as _;

use are_core::error::{Code, Fault};
use are_policy::gate::{Permit, Spent};

pub(crate) use self::checkpoints::Keeper;
pub(crate) use self::declared::manifests;
pub use self::kept::CheckpointOptions;
pub(crate) use self::kept::Kept;
use self::recorder::Recorder;
pub(crate) use self::snapshot::{Compared, Digests, Snapshot};
use self::workspace::Workspace;
use crate::lane::{Answer, Error, Room, read as args};

/// Bytes of a path; the kernel takes no longer one.
const PATH_BYTES_MAX: usize = 4096;

/// Which of the file tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Read,
    Write,
    Edit,
    List,
    Search,
    Stat,
    Delete,
    Move,
    Mkdir,
    /// Behind the user's own door only; it is in no set of tools.
    Undo,
}

impl Tool {
    /// The tool of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "fs_read" => Self::Read,
            "fs_write" => Self::Write,
            "fs_edit" => Self::Edit,
            "fs_list" => Self::List,
            "fs_search" => Self::Search,
            "fs_stat" => Self::Stat,
            "fs_delete" => Self::Delete,
            "fs_move" => Self::Move,
            "fs_mkdir" => Self::Mkdir,
            _ => return None,
        })
    }
}

/// Runs one call on a thread that may block.
pub(crate) async fn run(tool: Tool, permit: Permit, room: Room) -> Result<Answer, Error> {
    let spent = permit.spend();
    match tokio::task::spawn_blocking(move || run_blocking(tool, &spent, &room)).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            // The registry turns a panic into an outcome, the same way for every lane.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Fault::new(Code::UNAVAILABLE, "the server is shutting down", "call it again later").into()),
        },
    }
}

/// A workspace without links in its path, and a directory below it, for a command to work in.
pub(crate) fn workspace_of(
    root: &std::path::Path,
    directory: &str,
) -> Result<(std::path::PathBuf, std::path::PathBuf), Fault> {
    let directory = Workspace::open(root)?.path(directory)?;
    let root = root.canonicalize().map_err(|error| workspace::fault(&error, root))?;
    Ok((root, directory))
}

/// All bytes of a file of the workspace, if they are no more than `bytes_max`. Blocks.
pub(crate) fn whole(root: &std::path::Path, path: &str, bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let workspace = Workspace::open(root)?;
    let path = workspace.entry(path)?;
    let (file, metadata) = workspace.open_file(&path)?;
    let too_large = |bytes: u64| {
        let message = format!("`{}` has {bytes} bytes, and {bytes_max} is the most", path::shown(&path));
        Fault::new(Code::TOOL_FAILED, message, "leave it in the workspace and say where it is")
    };
    if metadata.len() > bytes_max as u64 {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    let mut window = file.into_std().take(bytes_max as u64 + 1);
    window.read_to_end(&mut bytes).map_err(|error| workspace::fault(&error, &path))?;
    // It can have grown meanwhile.
    if bytes.len() > bytes_max { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

fn run_blocking(tool: Tool, spent: &Spent, room: &Room) -> Result<Answer, Error> {
    let workspace = Workspace::open(&room.workspace)?;
    let recorder = || Recorder::new(&workspace, spent, room);
    let value = match tool {
        Tool::Read => read::file(&workspace, &args(&spent.args)?)?,
        Tool::List => read::list(&workspace, &args(&spent.args)?)?,
        Tool::Stat => read::stat(&workspace, &args(&spent.args)?)?,
        Tool::Search => search::search(&workspace, &args(&spent.args)?, &spent.paths, room)?,
        Tool::Write => write::write(&workspace, &args(&spent.args)?, spent, &mut recorder()?)?,
        Tool::Edit => write::edit(&workspace, &args(&spent.args)?, spent, &mut recorder()?)?,
        Tool::Mkdir => write::mkdir(&workspace, &args(&spent.args)?, &spent.paths, &mut recorder()?)?,
        Tool::Delete => write::delete(&workspace, &args(&spent.args)?, &spent.paths, &mut recorder()?)?,
        Tool::Move => write::rename(&workspace, &args(&spent.args)?, &spent.paths, &mut recorder()?)?,
        Tool::Undo => undo::undo(&workspace, &args(&spent.args)?, spent, &mut recorder()?)?,
    };
    Ok(value.into())
}

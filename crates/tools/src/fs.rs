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
//! What a kill between temporary file and rename leaves behind is a file
//! `.are-KEY.tmp`; running the same call again replaces it, and a later write
//! to that directory removes it.

mod below;
mod leftover;
mod path;
mod read;
mod search;
mod workspace;
mod write;

use are_core::body::{Effect, Retry};
use are_core::error::{Code, Fault};
use are_core::ids::InvalidId;
use are_policy::gate::{Permit, Spent};
use are_policy::manifest::{Manifest, Role};
use serde_json::json;

use self::workspace::Workspace;
use crate::declare::{does, finds, ours, roles, tool};
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

fn run_blocking(tool: Tool, spent: &Spent, room: &Room) -> Result<Answer, Error> {
    let workspace = Workspace::open(&room.workspace)?;
    let value = match tool {
        Tool::Read => read::file(&workspace, &args(&spent.args)?)?,
        Tool::List => read::list(&workspace, &args(&spent.args)?)?,
        Tool::Stat => read::stat(&workspace, &args(&spent.args)?)?,
        Tool::Search => search::search(&workspace, &args(&spent.args)?, &spent.paths, room)?,
        Tool::Write => write::write(&workspace, &args(&spent.args)?, &spent.key, &room.latch)?,
        Tool::Edit => write::edit(&workspace, &args(&spent.args)?, &spent.key, &room.latch)?,
        Tool::Mkdir => write::mkdir(&workspace, &args(&spent.args)?, &room.latch)?,
        Tool::Delete => write::delete(&workspace, &args(&spent.args)?, &room.latch)?,
        Tool::Move => write::rename(&workspace, &args(&spent.args)?, &spent.paths, room)?,
    };
    Ok(value.into())
}

/// The manifests of the file tools.
pub(crate) fn manifests() -> Result<Vec<Manifest>, InvalidId> {
    let mut all = reading()?;
    all.extend(writing()?);
    Ok(all)
}

fn path_schema(what: &str) -> serde_json::Value {
    json!({"type": "string", "minLength": 1, "maxLength": PATH_BYTES_MAX, "description": what})
}

fn reading() -> Result<Vec<Manifest>, InvalidId> {
    let pure =
        |manifest: Manifest| Manifest { effect: Effect::None, retry: Retry::Pure, is_contained: true, ..manifest };
    Ok(vec![
        Manifest {
            args: roles(&[("path", Role::Selector), ("offset", Role::Option), ("limit", Role::Option)]),
            output_fields: ours(&["/bytes", "/truncated", "/offset", "/next_offset", "/binary"]),
            ..pure(tool(
                "fs_read",
                "Read a text file of the workspace. A long file comes in windows: call again with `offset` = `next_offset`.",
                json!({
                    "path": path_schema("file, relative to the workspace"),
                    "offset": {"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_i64, "description": "first byte to read, 0 if absent"},
                    "limit": {"type": "integer", "minimum": read::WINDOW_BYTES_MIN, "maximum": read::WINDOW_BYTES_MAX, "description": format!("bytes to read, {} if absent", read::WINDOW_BYTES)},
                }),
                &["path"],
                finds(
                    "What does notes.txt say about the rent?",
                    json!({"path": "notes.txt"}),
                    "rent 700\nfood 250",
                    "The rent is 700.",
                ),
            )?)
        },
        Manifest {
            args: roles(&[("path", Role::Selector)]),
            output_fields: ours(&["/total", "/truncated"]),
            ..pure(tool(
                "fs_list",
                "List the entries of a directory of the workspace.",
                json!({"path": path_schema("directory, relative to the workspace; the workspace itself if absent")}),
                &[],
                finds(
                    "List the files in reports",
                    json!({"path": "reports"}),
                    "may.txt\njune.txt",
                    "reports has two files: may.txt and june.txt.",
                ),
            )?)
        },
        Manifest {
            args: roles(&[("pattern", Role::Selector), ("path", Role::Selector)]),
            output_fields: ours(&["/files", "/truncated", "/truncated_by", "/lines_cut", "/not_allowed"]),
            ..pure(tool(
                "fs_search",
                "Find the lines of text files that match a regular expression. Skips `.git`, binary files and links.",
                json!({
                    "pattern": {"type": "string", "minLength": 1, "maxLength": search::PATTERN_CHARS_MAX, "description": "regular expression without look-around and back-references; `(?i)` ignores case"},
                    "path": path_schema("file or directory to search, relative to the workspace; all of it if absent"),
                }),
                &["pattern"],
                finds(
                    "Find TODO in reports",
                    json!({"pattern": "TODO", "path": "reports"}),
                    "may.txt:3: TODO add sums",
                    "There is one in line 3 of may.txt: add sums.",
                ),
            )?)
        },
        Manifest {
            args: roles(&[("path", Role::Selector)]),
            output_fields: ours(&["/kind", "/bytes", "/modified_at_ms", "/is_read_only"]),
            ..pure(tool(
                "fs_stat",
                "Tell kind, size and time of a file, directory or link of the workspace.",
                json!({"path": path_schema("path, relative to the workspace")}),
                &["path"],
                finds(
                    "How large is the file photo.jpg?",
                    json!({"path": "photo.jpg"}),
                    "bytes: 5120",
                    "photo.jpg has 5120 bytes.",
                ),
            )?)
        },
    ])
}

fn writing() -> Result<Vec<Manifest>, InvalidId> {
    Ok(vec![
        Manifest {
            // Whether the file exists is known only later, so the worse of create and modify is declared.
            effect: Effect::Modify,
            retry: Retry::Idempotent,
            args: roles(&[("path", Role::Selector), ("content", Role::Content)]),
            output_fields: ours(&["/bytes", "/created"]),
            is_contained: true,
            ..tool(
                "fs_write",
                "Write a text file of the workspace: a new one, or all of an existing one. Missing directories are made.",
                json!({
                    "path": path_schema("file, relative to the workspace"),
                    "content": {"type": "string", "description": "the whole new content"},
                }),
                &["path", "content"],
                does(
                    "Write \"first line\" to letter.txt",
                    json!({"path": "letter.txt", "content": "first line"}),
                    "I wrote it to letter.txt.",
                ),
            )?
        },
        Manifest {
            effect: Effect::Modify,
            retry: Retry::AtMostOnce,
            args: roles(&[("path", Role::Selector), ("old", Role::Content), ("new", Role::Content)]),
            output_fields: ours(&["/bytes"]),
            is_contained: true,
            ..tool(
                "fs_edit",
                "Replace a piece of a text file of the workspace. `old` must occur exactly once.",
                json!({
                    "path": path_schema("file, relative to the workspace"),
                    "old": {"type": "string", "minLength": 1, "description": "text to replace, exactly as it stands in the file"},
                    "new": {"type": "string", "description": "text to put in its place"},
                }),
                &["path", "old", "new"],
                does(
                    "In draft.txt replace \"first line\" with \"better line\"",
                    json!({"path": "draft.txt", "old": "first line", "new": "better line"}),
                    "I replaced it in draft.txt.",
                ),
            )?
        },
        Manifest {
            effect: Effect::Create,
            retry: Retry::Idempotent,
            args: roles(&[("path", Role::Selector)]),
            output_fields: ours(&["/created"]),
            is_contained: true,
            ..tool(
                "fs_mkdir",
                "Make a directory of the workspace, and those above it.",
                json!({"path": path_schema("directory, relative to the workspace")}),
                &["path"],
                does("Make a directory reports", json!({"path": "reports"}), "The directory reports is there."),
            )?
        },
        Manifest {
            effect: Effect::Destructive,
            retry: Retry::AtMostOnce,
            args: roles(&[("path", Role::Selector)]),
            output_fields: ours(&["/deleted"]),
            is_contained: true,
            ..tool(
                "fs_delete",
                "Delete a file, a link or an empty directory of the workspace.",
                json!({"path": path_schema("path, relative to the workspace")}),
                &["path"],
                does("Delete old.txt", json!({"path": "old.txt"}), "old.txt is deleted."),
            )?
        },
        Manifest {
            effect: Effect::Modify,
            retry: Retry::AtMostOnce,
            args: roles(&[("from", Role::Selector), ("to", Role::Selector)]),
            output_fields: ours(&["/moved"]),
            is_contained: true,
            ..tool(
                "fs_move",
                "Move or rename a file or directory within the workspace. Nothing is overwritten.",
                json!({
                    "from": path_schema("what to move, relative to the workspace"),
                    "to": path_schema("its new path, relative to the workspace"),
                }),
                &["from", "to"],
                does(
                    "Rename draft.txt to final.txt",
                    json!({"from": "draft.txt", "to": "final.txt"}),
                    "draft.txt is now final.txt.",
                ),
            )?
        },
    ])
}

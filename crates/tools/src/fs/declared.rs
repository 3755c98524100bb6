//! The manifests of the file tools: what the model is told, and what rules and gate go by.

use are_core::body::{Effect, Retry};
use are_core::ids::InvalidId;
use are_policy::manifest::{Manifest, Role};
use serde_json::{Value, json};

use super::{PATH_BYTES_MAX, read, search};
use crate::declare::{does, finds, intents, ours, roles, tool};

/// All of them.
pub(crate) fn manifests() -> Result<Vec<Manifest>, InvalidId> {
    Ok(vec![
        fs_read()?,
        fs_list()?,
        fs_search()?,
        fs_stat()?,
        fs_write()?,
        fs_edit()?,
        fs_mkdir()?,
        fs_delete()?,
        fs_move()?,
    ])
}

fn path_schema(what: &str) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": PATH_BYTES_MAX, "description": what})
}

/// A tool that only reads the workspace.
fn pure(manifest: Manifest) -> Manifest {
    Manifest { effect: Effect::None, retry: Retry::Pure, is_contained: true, ..manifest }
}

fn fs_read() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
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
    })
}

fn fs_list() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
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
    })
}

fn fs_search() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
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
    })
}

fn fs_stat() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
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
    })
}

fn fs_write() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        // Whether the file exists is known only later, so the worse of create and modify is declared.
        effect: Effect::Modify,
        retry: Retry::Idempotent,
        args: roles(&[("path", Role::Selector), ("content", Role::Content)]),
        output_fields: ours(&["/bytes", "/created"]),
        intents: intents(&["write", "save", "create", "put"], &["写", "保存", "创建", "新建"]),
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
    })
}

fn fs_edit() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::Modify,
        retry: Retry::AtMostOnce,
        args: roles(&[("path", Role::Selector), ("old", Role::Content), ("new", Role::Content)]),
        output_fields: ours(&["/bytes"]),
        intents: intents(
            &["edit", "fix", "change", "replace", "correct", "update", "insert"],
            &["修改", "改", "修复", "更正", "替换", "更新"],
        ),
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
    })
}

fn fs_mkdir() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::Create,
        retry: Retry::Idempotent,
        args: roles(&[("path", Role::Selector)]),
        output_fields: ours(&["/created"]),
        intents: intents(
            &["mkdir", "make a directory", "create a directory", "make a folder", "create a folder"],
            &["新建目录", "创建目录", "新建文件夹", "创建文件夹"],
        ),
        is_contained: true,
        ..tool(
            "fs_mkdir",
            "Make a directory of the workspace, and those above it.",
            json!({"path": path_schema("directory, relative to the workspace")}),
            &["path"],
            does("Make a directory reports", json!({"path": "reports"}), "The directory reports is there."),
        )?
    })
}

fn fs_delete() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::Destructive,
        retry: Retry::AtMostOnce,
        args: roles(&[("path", Role::Selector)]),
        output_fields: ours(&["/deleted"]),
        intents: intents(&["delete", "remove", "erase"], &["删除", "删掉", "移除"]),
        is_contained: true,
        ..tool(
            "fs_delete",
            "Delete a file, a link or an empty directory of the workspace.",
            json!({"path": path_schema("path, relative to the workspace")}),
            &["path"],
            does("Delete old.txt", json!({"path": "old.txt"}), "old.txt is deleted."),
        )?
    })
}

fn fs_move() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::Modify,
        retry: Retry::AtMostOnce,
        args: roles(&[("from", Role::Selector), ("to", Role::Selector)]),
        output_fields: ours(&["/moved"]),
        intents: intents(&["move", "rename"], &["移动", "重命名", "改名"]),
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
    })
}

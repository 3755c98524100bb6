//! Lines that match, found by a walk that is bounded in every direction.
//!
//! The expression is matched in time linear in the text (no back-references,
//! no look-around), so no pattern and no file can make the walk hang. It stops
//! at the first bound it meets and says at which.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use are_core::error::{Code, Fault};
use are_policy::rules::PathRules;
use cap_std::fs::File;
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::path::shown;
use super::workspace::{Workspace, at, fault};
use crate::lane::Room;
use crate::text::{json_cost, short};

/// Characters of a pattern.
pub(super) const PATTERN_CHARS_MAX: usize = 1000;
/// Bytes of a compiled pattern, and of its cache while matching.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Files looked into.
const FILES_MAX: usize = 20_000;
/// Directory entries looked at.
const ENTRIES_MAX: usize = 200_000;
/// Bytes of one file; bigger ones are skipped, as they are rarely text that somebody wrote.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Bytes read in all.
const BYTES_MAX: u64 = 256 << 20;
/// Directories below one another.
const DEPTH_MAX: usize = 32;
/// Bytes of a line that are looked at; the rest of it is not somebody's prose. Together with the bound on the
/// expression it also bounds the time between two looks at the clock.
const LINE_BYTES_MAX: usize = 8 << 10;
/// Bytes matched between two looks at the clock.
const BYTES_BETWEEN_LOOKS: usize = 8 << 10;
/// Bytes read at once.
const CHUNK_BYTES: u64 = 256 << 10;
/// Stands where a line was cut.
const CUT: char = '…';
/// Lines found.
const MATCHES_MAX: usize = 200;
/// Bytes of all matches inside JSON.
const MATCHES_JSON_BYTES_MAX: usize = 256 << 10;
/// Characters of a line that are shown.
const LINE_CHARS_MAX: usize = 300;
/// Of these, characters before the match.
const LINE_CHARS_BEFORE: usize = 80;
/// Milliseconds kept for the answer out of what the call has.
const ANSWER_MS: u64 = 500;
/// Directory whose content is the tool's own and not the user's text.
const SKIPPED: &str = ".git";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchArgs {
    pattern: String,
    path: Option<String>,
}

/// Searches a file, or all files below a directory.
pub(super) fn search(workspace: &Workspace, args: &SearchArgs, rules: &PathRules, room: &Room) -> Result<Value, Fault> {
    let mut walk = Walk {
        workspace,
        pattern: compile(&args.pattern)?,
        rules,
        room,
        stop_at: room.deadline.checked_sub(Duration::from_millis(ANSWER_MS)).unwrap_or(room.deadline),
        files: 0,
        entries: 0,
        bytes: 0,
        json_bytes: 0,
        lines_cut: 0,
        not_allowed: 0,
        matches: Vec::new(),
    };
    let path = workspace.path(args.path.as_deref().unwrap_or("."))?;
    let metadata = workspace.dir().metadata(at(&path)).map_err(|error| fault(&error, &path))?;
    let result = if metadata.is_dir() {
        walk.below(path)
    } else {
        workspace.open_file(&path)?;
        walk.file(&path)
    };
    let mut value = json!({"matches": walk.matches, "files": walk.files, "truncated": result.is_err()});
    if let Err(Stopped(by)) = result {
        value["truncated_by"] = by.into();
    }
    if walk.lines_cut > 0 {
        value["lines_cut"] = walk.lines_cut.into();
    }
    if walk.not_allowed > 0 {
        value["not_allowed"] = walk.not_allowed.into();
    }
    Ok(value)
}

fn compile(pattern: &str) -> Result<Regex, Fault> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build().map_err(
        |error| {
            // The last line says what is wrong; those before it draw a picture.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Fault::new(
                Code::TOOL_ARGS,
                format!("the pattern is not usable: {}", short(last)),
                "put a backslash before `( [ { * + ? . | ^ $` to search for the character itself",
            )
        },
    )
}

/// The bound at which the walk stopped.
struct Stopped(&'static str);

struct Walk<'a> {
    workspace: &'a Workspace,
    pattern: Regex,
    rules: &'a PathRules,
    room: &'a Room,
    stop_at: Instant,
    files: usize,
    entries: usize,
    bytes: u64,
    json_bytes: usize,
    /// Lines of which only the beginning was looked at.
    lines_cut: usize,
    /// Files that the rules keep closed.
    not_allowed: usize,
    matches: Vec<Value>,
}

impl Walk<'_> {
    /// All files below a directory, by name, links not followed.
    fn below(&mut self, start: PathBuf) -> Result<(), Stopped> {
        let base = start.components().count();
        let mut open = vec![start];
        let mut is_deep = false;
        while let Some(directory) = open.pop() {
            if directory.components().count() - base >= DEPTH_MAX {
                is_deep = true;
                continue;
            }
            let (files, directories) = self.entries(&directory)?;
            for file in files {
                self.file(&file)?;
            }
            open.extend(directories.into_iter().rev());
        }
        if is_deep { Err(Stopped("depth")) } else { Ok(()) }
    }

    /// Files and directories of a directory, sorted; one that cannot be read counts as empty.
    fn entries(&mut self, directory: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Stopped> {
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        let Ok(entries) = self.workspace.dir().read_dir(at(directory)) else { return Ok((files, directories)) };
        for entry in entries.flatten() {
            self.entries += 1;
            self.check()?;
            match entry.file_type() {
                Ok(kind) if kind.is_file() => files.push(directory.join(entry.file_name())),
                Ok(kind) if kind.is_dir() && entry.file_name() != SKIPPED => {
                    directories.push(directory.join(entry.file_name()));
                }
                Ok(_) | Err(_) => {}
            }
        }
        files.sort();
        directories.sort();
        Ok((files, directories))
    }

    fn check(&self) -> Result<(), Stopped> {
        match () {
            () if self.files >= FILES_MAX || self.entries >= ENTRIES_MAX => Err(Stopped("files")),
            () if self.bytes >= BYTES_MAX => Err(Stopped("bytes")),
            () => self.check_time(),
        }
    }

    fn check_time(&self) -> Result<(), Stopped> {
        let is_over = Instant::now() >= self.stop_at || self.room.latch.is_abandoned();
        if is_over { Err(Stopped("time")) } else { Ok(()) }
    }

    /// The lines of one file; one that is forbidden, binary, too big or not readable is skipped.
    fn file(&mut self, path: &Path) -> Result<(), Stopped> {
        self.check()?;
        // SECURITY: before it is opened, as if the call had named it.
        if !self.rules.allow(&shown(path)) {
            self.not_allowed += 1;
            return Ok(());
        }
        let Ok((file, metadata)) = self.workspace.open_file(path) else { return Ok(()) };
        if metadata.len() > FILE_BYTES_MAX {
            return Ok(());
        }
        let Some(content) = self.content(file)? else { return Ok(()) };
        self.files += 1;
        let mut since_look = 0;
        for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let (seen, is_cut) = beginning(line);
            self.lines_cut += usize::from(is_cut);
            since_look += seen.len() + 1;
            if since_look > BYTES_BETWEEN_LOOKS {
                since_look = 0;
                self.check_time()?;
            }
            if let Some(found) = self.pattern.find(seen) {
                let start = found.start();
                self.add(path, index + 1, seen, start, is_cut)?;
            }
        }
        Ok(())
    }

    /// What is in a file, read in pieces so that a slow one is left in time; `None` when it is not text.
    fn content(&mut self, file: File) -> Result<Option<Vec<u8>>, Stopped> {
        let mut file = file.into_std().take(FILE_BYTES_MAX);
        let mut content = Vec::new();
        loop {
            let before = content.len();
            let is_read = file.by_ref().take(CHUNK_BYTES).read_to_end(&mut content).is_ok();
            let piece = &content[before..];
            self.bytes += piece.len() as u64;
            match () {
                () if !is_read || piece.contains(&0) => return Ok(None),
                () if piece.is_empty() => return Ok(Some(content)),
                () => self.check_time()?,
            }
        }
    }

    fn add(&mut self, path: &Path, number: usize, line: &[u8], start: usize, is_cut: bool) -> Result<(), Stopped> {
        let before = String::from_utf8_lossy(&line[..start]);
        let from = before.char_indices().rev().nth(LINE_CHARS_BEFORE).map_or(0, |(at, _)| at);
        // Where nothing had to be replaced, the offset is the same in both; elsewhere it is close enough to show.
        let line = String::from_utf8_lossy(&line[from.min(line.len())..]);
        let mut text: String = line.chars().take(LINE_CHARS_MAX).collect();
        if is_cut || text.len() < line.len() {
            text.push(CUT);
        }
        if from > 0 {
            text.insert(0, CUT);
        }
        let path = shown(path);
        self.json_bytes += path.chars().chain(text.chars()).map(json_cost).sum::<usize>() + 32;
        if self.matches.len() >= MATCHES_MAX || self.json_bytes > MATCHES_JSON_BYTES_MAX {
            return Err(Stopped("matches"));
        }
        self.matches.push(json!({"path": path, "line": number, "text": text}));
        Ok(())
    }
}

/// What is looked at of a line, ending between two characters, and whether there is more.
fn beginning(line: &[u8]) -> (&[u8], bool) {
    let is_continued = |at: &usize| line.get(*at).is_some_and(|byte| byte & 0xC0 == 0x80);
    if line.len() <= LINE_BYTES_MAX {
        return (line, false);
    }
    let end = (LINE_BYTES_MAX - 3..=LINE_BYTES_MAX).rev().find(|at| !is_continued(at)).unwrap_or(LINE_BYTES_MAX);
    (&line[..end], true)
}

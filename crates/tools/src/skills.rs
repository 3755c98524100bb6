//! `skill_read`: instructions that are read when they are needed.
//!
//! A skill is a folder `skills/NAME` with a `SKILL.md` and what that refers to.
//! Those of the data directory are the operator's, so their text is labelled as
//! the platform's. Those of a workspace are whoever's who wrote there: they are
//! read by a call of `fs_read`, decided on its own, and stay untrusted.
//!
//! Neither links nor anything outside of a skill's folder is ever opened.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use are_core::BoxFuture;
use are_core::body::{Effect, Retry};
use are_core::error::{Code, Fault};
use are_core::ids::InvalidId;
use are_core::label::{Confidentiality, Integrity, Label, Labels};
use are_policy::gate::Permit;
use are_policy::manifest::{Manifest, Role};
use are_policy::tools::ToolOutcome;
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use serde::Deserialize;
use serde_json::json;

use crate::declare::{finds, roles, tool};
use crate::lane::{Answer, Error, Room, Runs, read};
use crate::text::{short, within};

/// Name of the tool.
pub(crate) const NAME: &str = "skill_read";
/// The file that a skill begins with.
const MAIN: &str = "SKILL.md";
/// Bytes of a file inside JSON; a model reads it whole.
const FILE_BYTES_MAX: usize = 48 << 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    name: String,
    file: Option<String>,
}

/// The skills.
pub(crate) struct Skills {
    /// The data directory's folder; `None` where there is none.
    dir: Arc<std::sync::OnceLock<PathBuf>>,
}

impl Skills {
    pub(crate) const fn new(dir: Arc<std::sync::OnceLock<PathBuf>>) -> Self {
        Self { dir }
    }

    async fn read(&self, args: Args, room: &Room) -> Result<Answer, Error> {
        let file = args.file.unwrap_or_else(|| MAIN.to_owned());
        if !is_name(&args.name) || !is_below(&file) {
            let help = "give the name of a skill, and a path below its folder";
            return Err(Fault::new(Code::TOOL_ARGS, "this is no skill or no file of one", help).into());
        }
        if let Some(dir) = self.dir.get() {
            let (dir, path) = (dir.clone(), format!("{}/{file}", args.name));
            let found = tokio::task::spawn_blocking(move || read_below(&dir, &path)).await;
            match found.map_err(|_| Fault::new(Code::UNAVAILABLE, "the server is shutting down", "call it again"))? {
                Ok(text) => return Ok(operators(&args.name, &file, &text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&args.name, &file, &error).into()),
            }
        }
        let path = format!("skills/{}/{file}", args.name);
        match room.host.call("fs_read", json!({ "path": path, "limit": FILE_BYTES_MAX })).await {
            ToolOutcome::Completed { value, labels, .. } => {
                let labels = labels.into_iter().map(|(at, label)| (format!("/content{at}"), label)).collect();
                let value = json!({ "skill": args.name, "file": file, "of": "workspace", "content": value });
                Ok(Answer { value, labels, bindings: Vec::new() })
            }
            ToolOutcome::Failed { fault, .. } => Err(Error::Failed(fault)),
            ToolOutcome::Unknown { fault, .. } => Err(Error::Unknown(fault)),
        }
    }
}

impl Runs for Skills {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move {
            let args = read(&permit.spend().args)?;
            self.read(args, &room).await
        })
    }
}

/// What the operator wrote.
fn operators(name: &str, file: &str, text: &str) -> Answer {
    let shown = within(text, FILE_BYTES_MAX);
    let mut value = json!({ "skill": name, "file": file, "of": "operator", "content": shown });
    if shown.len() < text.len() {
        value["truncated"] = true.into();
    }
    let label = Label::new(Integrity::Platform, Confidentiality::Private, &format!("skill:{name}"));
    Answer { value, labels: Labels::from([(String::new(), label)]), bindings: Vec::new() }
}

/// Text of a file below a folder, without following a link anywhere on the way.
fn read_below(dir: &Path, path: &str) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = open(dir, flags | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // Not waiting, because a FIFO would make the reader wait for ever.
    let file = File::from(openat2(&dir, path, flags | OFlags::NONBLOCK, Mode::empty(), resolve)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX as u64 * 2).read_to_end(&mut bytes)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        // Cut inside of a character.
        Err(error) if error.utf8_error().error_len().is_none() => {
            Ok(String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned())
        }
        Err(_) => Err(io::Error::other("it is not a text")),
    }
}

fn unreadable(name: &str, file: &str, error: &io::Error) -> Fault {
    let what = format!("`{}` of the skill `{}` cannot be read: {error}", short(file), short(name));
    Fault::new(Code::TOOL_FAILED, what, "go on without it, and tell the user")
}

/// Names as folders of skills have them.
fn is_name(name: &str) -> bool {
    const BYTES_MAX: usize = 64;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= BYTES_MAX && name.chars().all(is_plain)
}

/// A path that goes down only.
fn is_below(path: &str) -> bool {
    let is_plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
    !path.is_empty() && path.len() <= 1024 && !path.contains('\0') && Path::new(path).components().all(is_plain)
}

/// The manifest.
pub(crate) fn manifest() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::None,
        retry: Retry::Pure,
        args: roles(&[("name", Role::Selector), ("file", Role::Selector)]),
        is_contained: true,
        ..tool(
            NAME,
            "Read a skill: instructions for one kind of task. Read it before you begin such a task.",
            json!({
                "name": {"type": "string", "minLength": 1, "maxLength": 64, "description": "name of the skill"},
                "file": {"type": "string", "minLength": 1, "maxLength": 1024, "description": "another file of it; SKILL.md if absent"},
            }),
            &["name"],
            finds(
                "Make the release notes as our skill says",
                json!({"name": "release-notes"}),
                "content: List changes by user-visible effect.",
                "I will list the changes by their effect.",
            ),
        )?
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_files_below_a_skill_are_named() {
        for (path, expected) in [
            ("SKILL.md", true),
            ("references/a.md", true),
            ("../x", false),
            ("a/../../x", false),
            ("/etc/passwd", false),
            ("", false),
            ("a\u{0}b", false),
        ] {
            assert_eq!(is_below(path), expected, "{path:?}");
        }
        assert!(is_name("release-notes") && !is_name("..") && !is_name("a/b") && !is_name(""));
    }

    #[test]
    fn links_are_not_followed() {
        let root = tempfile::tempdir().expect("directory");
        let skill = root.path().join("skills/s");
        std::fs::create_dir_all(&skill).expect("directories");
        std::fs::write(root.path().join("secret"), "secret").expect("file");
        std::fs::write(skill.join("SKILL.md"), "text").expect("file");
        std::os::unix::fs::symlink(root.path().join("secret"), skill.join("link.md")).expect("link");
        std::os::unix::fs::symlink(root.path(), skill.join("up")).expect("link");
        let read = |path: &str| read_below(&root.path().join("skills"), path);
        assert_eq!(read("s/SKILL.md").expect("text"), "text");
        for path in ["s/link.md", "s/up/secret", "../secret", "s"] {
            assert!(read(path).is_err(), "{path}");
        }
        assert_eq!(read("other/SKILL.md").expect_err("none").kind(), io::ErrorKind::NotFound);
        let value: Value = operators("s", "SKILL.md", "text").value;
        assert_eq!(value, json!({"skill": "s", "file": "SKILL.md", "of": "operator", "content": "text"}));
    }
}

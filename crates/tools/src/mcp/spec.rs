//! How a server is started or reached, as people write it down.
//!
//! The entries of an `mcpServers` object are read as they are. Keys that mean
//! nothing here are told, not obeyed; values that somebody else would have to
//! fill in, but for secrets of the store, are refused. Values of variables and headers are never told to
//! anybody but the server.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_policy::address::{Host, Target};
use are_policy::secrets::Piece;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{filled, network};
use crate::http::headers_of;
use crate::text::{plain, short};

/// Characters of a server's name; its tools' names begin with it.
const NAME_CHARS_MAX: usize = 32;
/// Words of a command line.
const ARGS_MAX: usize = 256;
/// Variables, and headers.
const VALUES_MAX: usize = 64;
/// Paths that it may read.
const READS_MAX: usize = 32;
/// Places that it may reach.
const EGRESS_MAX: usize = 32;
/// Bytes of all of it.
const BYTES_MAX: usize = 64 << 10;
/// Headers that the protocol itself sets.
const PROTOCOL_HEADERS: [&str; 5] =
    ["accept", "content-type", "mcp-session-id", "mcp-protocol-version", "last-event-id"];
/// Keys of an entry that say nothing that is not known already.
const SILENT_KEYS: [&str; 3] = ["name", "description", "type"];

/// How a server is started or reached.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Spec {
    /// A program of this machine, in the cage.
    Local(Local),
    /// A place on a network.
    Remote(Remote),
}

/// A program of this machine.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Local {
    pub(super) command: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) args: Vec<String>,
    /// All that its environment holds beside what every command's does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) env: BTreeMap<String, String>,
    /// Where it starts; its own directory when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cwd: Option<PathBuf>,
    /// Paths beside the toolchains that it may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reads: Vec<PathBuf>,
    /// Whether it may read the workspace of the session that calls it, and is told where that is.
    #[serde(default)]
    pub(super) workspace: bool,
    /// Places that it may reach, and presets of them; none when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) egress: Vec<String>,
}

/// A place on a network.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remote {
    pub(super) url: String,
    /// Headers of every request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, String>,
}

/// What an entry says, and the keys of it that mean nothing here.
pub(crate) struct Written {
    pub(crate) spec: Spec,
    pub(crate) ignored: Vec<String>,
}

impl Spec {
    /// Reads an entry of `mcpServers`.
    pub(crate) fn read(text: &str) -> Result<Written, Fault> {
        if text.len() > BYTES_MAX {
            return Err(invalid(format!("it is larger than {BYTES_MAX} bytes"), "make it shorter"));
        }
        let value = are_core::canonical::parse_strict(text.as_bytes())
            .map_err(|error| invalid(error.to_string(), "write one JSON object"))?;
        let Value::Object(mut entry) = value else {
            return Err(invalid("it is no JSON object", "write `{\"command\": …}` or `{\"url\": …}`"));
        };
        let kind = entry.remove("type").or_else(|| entry.remove("transport"));
        let kind = kind.as_ref().and_then(Value::as_str).map(str::to_ascii_lowercase);
        if kind.as_deref() == Some("sse") {
            return Err(invalid(
                "the transport `sse` is not spoken: the protocol replaced it",
                "use the server's address for streamable HTTP",
            ));
        }
        let spec = match (entry.contains_key("command"), entry.contains_key("url")) {
            (true, false) => Self::Local(read_local(&mut entry)?),
            (false, true) => Self::Remote(read_remote(&mut entry)?),
            _ => {
                let help = "write either `command` with `args`, or `url`";
                return Err(invalid("it says neither how it is started nor where it is, or both", help));
            }
        };
        spec.check()?;
        let silent = |key: &&String| !SILENT_KEYS.contains(&key.as_str());
        let mut ignored: Vec<String> =
            entry.keys().filter(silent).map(|key| short(&plain(key))).take(VALUES_MAX).collect();
        // The order of a JSON object depends on how the reader was built.
        ignored.sort();
        Ok(Written { spec, ignored })
    }

    fn check(&self) -> Result<(), Fault> {
        match self {
            Self::Local(local) => local.check(),
            Self::Remote(remote) => remote.check(),
        }
    }

    /// What it is and what it is given, a line each, without values that nobody is to see.
    pub(crate) fn given(&self) -> Vec<String> {
        match self {
            Self::Local(local) => local.given(),
            Self::Remote(remote) => remote.given(),
        }
    }

    /// Digest of what may be told of it.
    pub(crate) fn digest(&self, name: &str) -> Digest {
        let told = self.given().join("\n");
        Digest::of(&[name.as_bytes(), b"\n", told.as_bytes()])
    }

    /// The host that it is reached at.
    pub(super) fn host(&self) -> Option<String> {
        let Self::Remote(remote) = self else { return None };
        let target = Target::parse(&remote.url).ok()?;
        let usual = if target.url.scheme() == "https" { 443 } else { 80 };
        let host = match &target.host {
            Host::Ip(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        };
        Some(if target.port == usual { host } else { format!("{host}:{}", target.port) })
    }

    /// Values that nobody but the server is to see: those of headers, of variables whose name says so, and those of
    /// secrets that were put in.
    pub(super) fn secrets(&self, put_in: Vec<String>) -> Vec<String> {
        /// Shorter ones would be found everywhere.
        const BYTES_MIN: usize = 8;
        const NAMES: [&str; 7] = ["KEY", "TOKEN", "SECRET", "PASS", "AUTH", "CRED", "COOKIE"];
        let is_secret = |name: &str| NAMES.iter().any(|part| name.to_ascii_uppercase().contains(part));
        let mut values: Vec<String> = match self {
            Self::Local(local) => {
                local.env.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value.clone()).collect()
            }
            Self::Remote(remote) => {
                let bare = |value: &String| value.split_once(' ').map(|(_, rest)| rest.trim().to_owned());
                remote.headers.values().flat_map(|value| [bare(value), Some(value.clone())]).flatten().collect()
            }
        };
        values.extend(put_in);
        values.retain(|value| value.len() >= BYTES_MIN);
        // The longest first, so that no part of one stays behind.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        values
    }
}

impl Local {
    fn check(&self) -> Result<(), Fault> {
        if self.egress.len() > EGRESS_MAX {
            return Err(invalid(
                format!("it reaches more than {EGRESS_MAX} places"),
                "leave out what it does not need",
            ));
        }
        network::read(&self.egress)?;
        if self.command.is_empty() || self.args.len() > ARGS_MAX || self.reads.len() > READS_MAX {
            let why = format!("a command line has from 1 to {ARGS_MAX} words, and reads at most {READS_MAX} paths");
            return Err(invalid(why, "make it shorter"));
        }
        let mut words = std::iter::once(&self.command).chain(&self.args);
        if words.any(|word| word.contains('\0')) {
            return Err(invalid("a word of the command line holds a zero byte", "remove it"));
        }
        for (name, value) in &self.env {
            let is_name = |at: usize, character: char| {
                character == '_' || character.is_ascii_alphabetic() || (at > 0 && character.is_ascii_digit())
            };
            let is_named = !name.is_empty() && name.char_indices().all(|(at, character)| is_name(at, character));
            if !is_named || value.contains('\0') {
                let shown = short(&plain(name));
                return Err(invalid(
                    format!("`{shown}` is no variable of an environment"),
                    "use letters, digits and `_`",
                ));
            }
            filled::read(name, value)?;
        }
        if self.env.len() > VALUES_MAX {
            return Err(invalid(
                format!("there are more than {VALUES_MAX} variables"),
                "leave out what it does not need",
            ));
        }
        for path in self.reads.iter().chain(&self.cwd) {
            let is_plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
            if !is_plain || path == Path::new("/") {
                let shown = short(&plain(&path.display().to_string()));
                return Err(invalid(
                    format!("`{shown}` is not a whole path to something below `/`"),
                    "write it in full",
                ));
            }
        }
        Ok(())
    }

    fn given(&self) -> Vec<String> {
        let words: Vec<String> = std::iter::once(&self.command).chain(&self.args).map(|word| quoted(word)).collect();
        let mut lines = vec![format!("runs {}", words.join(" "))];
        lines.extend(self.cwd.iter().map(|dir| format!("starts in {}", plain(&dir.display().to_string()))));
        lines.extend(self.reads.iter().map(|path| format!("reads {}", plain(&path.display().to_string()))));
        if self.workspace {
            lines.push("reads the workspace of each session that calls it".to_owned());
        }
        lines.extend(self.env.iter().map(|(name, value)| format!("is told {}", filled::told(name, value))));
        let holds_secrets = self.env.iter().any(|(name, value)| {
            filled::read(name, value).is_ok_and(|pieces| pieces.iter().any(|piece| matches!(piece, Piece::Secret(_))))
        });
        lines.push(match (self.egress.is_empty(), holds_secrets) {
            (true, _) => "has no network".to_owned(),
            (false, false) => format!("reaches {} and nothing else", self.egress.join(", ")),
            (false, true) => {
                format!("reaches {}, as far as its secrets are bound to that, and nothing else", self.egress.join(", "))
            }
        });
        lines
    }
}

impl Remote {
    fn check(&self) -> Result<(), Fault> {
        if self.url.contains("${") {
            return Err(invalid("`url` holds a `${…}` that nobody fills in", "name secrets in headers"));
        }
        Target::parse(&self.url)
            .map_err(|refusal| invalid(refusal.to_string(), "write a whole address, as `https://example.com/mcp`"))?;
        for (name, value) in &self.headers {
            if PROTOCOL_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                return Err(invalid(format!("the header `{name}` is set by the protocol itself"), "leave it out"));
            }
            filled::read(name, value)?;
        }
        headers_of(&self.headers).map(drop).map_err(|fault| invalid(fault.message, "correct the header"))
    }

    fn given(&self) -> Vec<String> {
        // What stands behind a `?` is often a key.
        let (place, query) = self.url.split_once('?').map_or((self.url.as_str(), ""), |(place, _)| (place, "?…"));
        let mut lines = vec![format!("is reached at {}{query}", plain(place))];
        lines.extend(
            self.headers
                .iter()
                .map(|(name, value)| format!("is sent the header {}", plain(&filled::told(name, value)))),
        );
        lines
    }
}

/// A server's name, from which its file's and its tools' names are made.
pub(crate) fn check_name(name: &str) -> Result<(), Fault> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    let is_begun = name.starts_with(|first: char| first.is_ascii_alphabetic());
    if is_begun && name.len() <= NAME_CHARS_MAX && name.chars().all(is_plain) {
        return Ok(());
    }
    let shown = short(&plain(name));
    let help = format!("begin with a letter; use at most {NAME_CHARS_MAX} letters, digits, `_` and `-`");
    Err(invalid(format!("`{shown}` is no name for a server"), help))
}

fn read_local(entry: &mut Map<String, Value>) -> Result<Local, Fault> {
    let path = |key: &str, entry: &mut Map<String, Value>| match entry.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(PathBuf::from(text))),
        Some(_) => Err(wrong(key, "a text")),
    };
    Ok(Local {
        command: text_of("command", entry.remove("command"))?,
        args: texts_of("args", entry.remove("args"))?,
        env: values_of("env", entry.remove("env"))?,
        cwd: path("cwd", entry)?,
        reads: texts_of("reads", entry.remove("reads"))?.into_iter().map(PathBuf::from).collect(),
        workspace: match entry.remove("workspace") {
            None => false,
            Some(Value::Bool(is_read)) => is_read,
            Some(_) => return Err(wrong("workspace", "true or false")),
        },
        egress: texts_of("egress", entry.remove("egress"))?,
    })
}

fn read_remote(entry: &mut Map<String, Value>) -> Result<Remote, Fault> {
    Ok(Remote { url: text_of("url", entry.remove("url"))?, headers: values_of("headers", entry.remove("headers"))? })
}

fn text_of(key: &str, value: Option<Value>) -> Result<String, Fault> {
    match value {
        Some(Value::String(text)) => Ok(text),
        _ => Err(wrong(key, "a text")),
    }
}

fn texts_of(key: &str, value: Option<Value>) -> Result<Vec<String>, Fault> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items.into_iter().map(|item| text_of(key, Some(item))).collect(),
        Some(_) => Err(wrong(key, "a list of texts")),
    }
}

fn values_of(key: &str, value: Option<Value>) -> Result<BTreeMap<String, String>, Fault> {
    match value {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(members)) => {
            members.into_iter().map(|(name, value)| text_of(key, Some(value)).map(|text| (name, text))).collect()
        }
        Some(_) => Err(wrong(key, "names with texts")),
    }
}

/// A word as a shell would need it.
fn quoted(word: &str) -> String {
    let is_bare = |character: char| character.is_ascii_alphanumeric() || "-_./:=@,+%".contains(character);
    if !word.is_empty() && word.chars().all(is_bare) {
        return word.to_owned();
    }
    format!("'{}'", plain(word).replace('\n', "\\n").replace('\'', "'\\''"))
}

fn wrong(key: &str, wanted: &str) -> Fault {
    invalid(format!("`{key}` must be {wanted}"), "correct it")
}

pub(super) fn invalid(why: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault::new(Code::SERVER_INVALID, why, help)
}

#[cfg(test)]
mod tests;

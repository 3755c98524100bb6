//! Flag over environment over file over default, and where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use are_core::error::{Code, Fault};

use super::file::FileLayer;
use super::files;
use super::keys::{self, Key};
use super::secret::Secret;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable, by name.
    Environment(String),
    /// A command-line flag.
    Flag(&'static str),
}

impl Origin {
    /// Higher beats lower.
    #[must_use]
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File(_) => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value in force.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// A value nobody set.
    pub const fn default_of(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    /// The same origin with another value.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Setting<U> {
        Setting { value: with(self.value), origin: self.origin }
    }
}

/// What flags say; each is absent when not given.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--bind`
    pub bind: Option<String>,
    /// `--port`
    pub port: Option<u16>,
    /// `--model`
    pub model: Option<String>,
    /// `--local-llm`, with `true` for the flag alone
    pub local_llm: Option<String>,
    /// `--no-auth`
    pub no_auth: bool,
}

/// The process's environment and directory, passed in so that tests can make up their own.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Environment variables; an empty one counts as unset.
    pub env: BTreeMap<String, String>,
    /// Current directory.
    pub directory: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    ///
    /// # Errors
    /// ARE-0002 when an `ARE_*` variable is not UTF-8 or the current directory is gone.
    pub fn of_process() -> Result<Self, Fault> {
        let mut env = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) if value.is_empty() => {}
                Ok(value) => {
                    env.insert(name, value);
                }
                Err(_) if name.starts_with("ARE_") => {
                    return Err(Fault::new(
                        Code::CONFIG_INVALID,
                        format!("the variable `{name}` is not UTF-8"),
                        "set it to plain text",
                    ));
                }
                Err(_) => {}
            }
        }
        let directory = std::env::current_dir().map_err(|error| {
            Fault::new(
                Code::CONFIG_INVALID,
                format!("the current directory cannot be read: {error}"),
                "change to a directory that exists",
            )
        })?;
        Ok(Self { env, directory })
    }

    /// A variable's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The user's home directory.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// A path as seen from the current directory.
    #[must_use]
    pub fn absolute(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }
}

/// The three layers above the defaults.
pub(super) struct Layers<'a> {
    pub(super) flags: BTreeMap<&'static str, (&'static str, String)>,
    pub(super) surroundings: &'a Surroundings,
    pub(super) file: FileLayer,
}

impl Layers<'_> {
    /// The highest layer's text for a setting.
    pub(super) fn text(&self, name: &str) -> Option<Setting<String>> {
        let key = keys::find(name)?;
        if let Some((flag, text)) = self.flags.get(name) {
            return Some(Setting { value: text.clone(), origin: Origin::Flag(flag) });
        }
        if let Some((variable, text)) = self.variable(key) {
            return Some(Setting { value: text.to_owned(), origin: Origin::Environment(variable.to_owned()) });
        }
        let (text, path) = (self.file.values.get(name)?, &self.file.path);
        Some(Setting { value: text.clone(), origin: Origin::File(path.clone()) })
    }

    fn variable(&self, key: &Key) -> Option<(&'static str, &str)> {
        key.env.iter().find_map(|name| self.surroundings.get(name).map(|text| (*name, text)))
    }

    /// A secret from its variable, or from the file that `…_FILE` names.
    pub(super) fn secret(&self, name: &str) -> Result<Option<Setting<Secret>>, Fault> {
        let Some(variable) = keys::find(name).and_then(|key| key.env.first()) else { return Ok(None) };
        self.secret_variable(variable)
    }

    /// The same for any variable, as `[providers.NAME] key_env` names them.
    pub(super) fn secret_variable(&self, variable: &str) -> Result<Option<Setting<Secret>>, Fault> {
        let by_file = format!("{variable}_FILE");
        let (origin, secret) = match (self.surroundings.get(variable), self.surroundings.get(&by_file)) {
            (Some(_), Some(_)) => {
                return Err(Fault::new(
                    Code::CONFIG_CONFLICT,
                    format!("both `{variable}` and `{by_file}` are set"),
                    "unset one of them",
                ));
            }
            (Some(text), None) => (variable.to_owned(), Secret::new(text)),
            (None, Some(path)) => {
                let path = self.surroundings.absolute(Path::new(path));
                (by_file, files::read_secret(&path)?)
            }
            (None, None) => return Ok(None),
        };
        Ok((!secret.is_empty()).then_some(Setting { value: secret, origin: Origin::Environment(origin) }))
    }
}

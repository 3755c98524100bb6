//! Which rules are in force: a profile, or a directory of rules.

use std::path::{Path, PathBuf};

use are_core::error::{Code, Fault};
use are_policy::manifest::ToolSet;
use are_policy::rules::{AllowError, Profile, Rules, expand};

use super::keys::nearest;
use super::layers::{Layers, Setting, Surroundings};
use super::values::Bind;
use super::{Config, files, values};

/// Profiles of this version.
pub const PROFILES: &[&str] = &["observe", "contained", "ask", "strict"];

/// What `ARE_POLICY` and `ARE_ZERO_TRUST` come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyChoice {
    /// A profile by name.
    Profile(&'static str),
    /// A directory of `*.cedar` files.
    Directory(PathBuf),
}

impl PolicyChoice {
    /// True when nothing is refused but recorded.
    #[must_use]
    pub fn is_observe(&self) -> bool {
        *self == Self::Profile("observe")
    }

    /// The directory, if it is one.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Profile(_) => None,
            Self::Directory(path) => Some(path),
        }
    }

    /// A profile or an existing directory.
    ///
    /// # Errors
    /// What to say after "`text` is not": the help, with the nearest profile.
    pub fn parse(text: &str, surroundings: &Surroundings) -> Result<Self, String> {
        if let Some(profile) = PROFILES.iter().find(|profile| **profile == text) {
            return Ok(Self::Profile(profile));
        }
        let path = surroundings.absolute(text.as_ref());
        if files::is_dir(&path) {
            return Ok(Self::Directory(path));
        }
        Err(match nearest(text, PROFILES.iter().copied()) {
            Some(profile) => format!("did you mean `{profile}`?"),
            None => "choose `observe`, `contained`, `ask`, `strict` or a directory of rules that exists".to_owned(),
        })
    }
}

/// `bind` decides the default: on loopback only programs of this machine speak to the server.
pub(super) fn choose(
    layers: &Layers<'_>,
    surroundings: &Surroundings,
    bind: &Bind,
) -> Result<Setting<PolicyChoice>, Fault> {
    let chosen = match layers.text("policy") {
        Some(setting) => {
            let value = PolicyChoice::parse(&setting.value, surroundings)
                .map_err(|help| values::invalid("policy", &setting, "a profile or directory of rules", &help))?;
            Some(Setting { value, origin: setting.origin })
        }
        None => None,
    };
    let zero_trust = values::boolean(layers, "zero_trust", true)?;
    let is_said = layers.text("zero_trust").is_some();
    match chosen {
        Some(policy) if is_said && zero_trust.value == policy.value.is_observe() => Err(Fault::new(
            Code::CONFIG_CONFLICT,
            format!(
                "`zero_trust` is {} (from {}), but `policy` is {} (from {})",
                zero_trust.value,
                zero_trust.origin,
                shown(&policy.value),
                policy.origin
            ),
            "unset one of them; `zero_trust = false` is the profile `observe`",
        )),
        Some(policy) => Ok(policy),
        None if !zero_trust.value => Ok(zero_trust.map(|_| PolicyChoice::Profile("observe"))),
        None => Ok(Setting::default_of(PolicyChoice::Profile(if bind.is_loopback() { "contained" } else { "strict" }))),
    }
}

/// As it is shown and could be written.
pub(super) fn shown(choice: &PolicyChoice) -> String {
    match choice {
        PolicyChoice::Profile(profile) => (*profile).to_owned(),
        PolicyChoice::Directory(path) => path.display().to_string(),
    }
}

/// Rule files of a directory, name and text.
///
/// # Errors
/// ARE-0605 when one cannot be read.
pub fn read_rules(dir: &Path) -> Result<Vec<(String, String)>, Fault> {
    let texts = files::read_dir_texts(dir, "cedar").map_err(|(path, error)| {
        Fault::new(
            Code::POLICY_INVALID,
            format!("cannot read the rules `{}`: {error}", path.display()),
            "mend its permissions, or move it out of the directory",
        )
    })?;
    let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(texts.into_iter().map(|(path, text)| (name(path), text)).collect())
}

/// The rules of a choice: a profile with the data directory's `policies/`, or a directory under `strict`; and with
/// either what `allow` permits.
///
/// # Errors
/// ARE-0605 with the first error's file and line.
pub fn rules(choice: &PolicyChoice, config: &Config, tools: &ToolSet) -> Result<Rules, Fault> {
    let (profile, mut files) = match choice {
        PolicyChoice::Profile(name) => (*name, read_rules(&config.data_dir.value.join("policies"))?),
        PolicyChoice::Directory(dir) => ("strict", read_rules(dir)?),
    };
    files.extend(allowed(&config.allow, tools)?);
    let rules = build(profile, &files)?;
    if config.prompt_injection_defense.value {
        return Ok(rules);
    }
    rules.without_flow().map_err(|error| Fault::new(Code::POLICY_INVALID, error.to_string(), "report this as a bug"))
}

/// What `allow` permits, as a rule file.
///
/// # Errors
/// ARE-0605 with the line that is no rule, and what to write.
pub fn allowed(allow: &Setting<Vec<String>>, tools: &ToolSet) -> Result<Option<(String, String)>, Fault> {
    expand(allow.value.iter().map(String::as_str), tools).map_err(|error| {
        let help = match &error {
            AllowError::Line { help, .. } => help.clone(),
            AllowError::UnknownTool { tool, .. } => {
                let known = tools.iter().map(|(manifest, _)| manifest.name.as_str());
                match nearest(tool, known) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => "begin with the name of a tool; `are tool list` lists them".to_owned(),
                }
            }
        };
        Fault::new(Code::POLICY_INVALID, format!("{error} (from {})", allow.origin), help)
    })
}

/// Rules from a profile's name and files.
///
/// # Errors
/// ARE-0605 with the first error's file and line.
pub fn build(profile: &str, files: &[(String, String)]) -> Result<Rules, Fault> {
    let invalid = |what: String| Fault::new(Code::POLICY_INVALID, what, "see all findings with `are policy check DIR`");
    let profile: Profile =
        profile.parse().map_err(|error: are_policy::rules::UnknownProfile| invalid(error.to_string()))?;
    Rules::new(profile, files).map_err(|error| invalid(error.to_string()))
}

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

/// The file of rules that people approved with `allow_always`.
pub const APPROVED: &str = "approved.cedar";
/// How it begins.
const APPROVED_HEAD: &str = "// Added by answers `allow_always`. Delete a rule to be asked again.\n";

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
    let source = Source::of(choice, config, tools)?;
    source.build(&source.read()?)
}

/// Where the rules in force come from and where others are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    profile: &'static str,
    directory: PathBuf,
    /// True for the data directory's own, which may be made.
    is_own: bool,
    /// What `allow` permits, as a rule file of its own.
    allowed: Option<(String, String)>,
    /// False when the decision by flow is switched off.
    has_flow: bool,
}

impl Source {
    /// The source that was chosen: a profile with the data directory's `policies/`, or a directory under `strict`.
    #[must_use]
    pub fn at(choice: &PolicyChoice, data_dir: &Path) -> Self {
        let (profile, directory, is_own) = match choice {
            PolicyChoice::Profile(profile) => (*profile, data_dir.join("policies"), true),
            PolicyChoice::Directory(dir) => ("strict", dir.clone(), false),
        };
        Self { profile, directory, is_own, allowed: None, has_flow: true }
    }

    /// The same with what `allow` permits and what the settings switch off.
    ///
    /// # Errors
    /// ARE-0605 when a line of `allow` is no rule.
    pub fn of(choice: &PolicyChoice, config: &Config, tools: &ToolSet) -> Result<Self, Fault> {
        let allowed = allowed(&config.allow, tools)?;
        let has_flow = config.prompt_injection_defense.value;
        Ok(Self { allowed, has_flow, ..Self::at(choice, &config.data_dir.value) })
    }

    /// Files, name and text.
    ///
    /// # Errors
    /// ARE-0605 when one cannot be read.
    pub fn read(&self) -> Result<Vec<(String, String)>, Fault> {
        // Once in force, a directory that somebody named may not vanish in silence.
        if !self.is_own && !files::is_dir(&self.directory) {
            let what = format!("the directory of rules `{}` is gone", self.directory.display());
            return Err(Fault::new(Code::POLICY_INVALID, what, "put it back, or start with another `ARE_POLICY`"));
        }
        read_rules(&self.directory)
    }

    /// Rules of these files under the profile.
    ///
    /// # Errors
    /// ARE-0605 with the first error's file and line.
    pub fn build(&self, files: &[(String, String)]) -> Result<Rules, Fault> {
        let all: Vec<_> = files.iter().chain(&self.allowed).cloned().collect();
        let rules = build(self.profile, &all)?;
        if self.has_flow {
            return Ok(rules);
        }
        rules
            .without_flow()
            .map_err(|error| Fault::new(Code::POLICY_INVALID, error.to_string(), "report this as a bug"))
    }

    /// What tells whether the files have changed.
    #[must_use]
    pub fn fingerprint(&self) -> files::Fingerprint {
        files::Fingerprint::of(&self.directory, "cedar")
    }

    /// Whether rules can be added.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn can_keep(&self) -> Result<(), String> {
        if self.is_own && !files::exists(&self.directory) {
            return Ok(());
        }
        files::try_to_write_in(&self.directory)
            .map_err(|error| format!("`{}` cannot be written: {error}", self.directory.display()))
    }

    /// Adds a rule that a person approved and reads all rules; one that is there already is not written again.
    ///
    /// # Errors
    /// ARE-0607 when the rules on disk have errors, a limit is reached, or it cannot be written; nothing is.
    pub fn keep(&self, rule: &str) -> Result<Rules, Fault> {
        let mut files = self.read()?;
        let before = self.build(&files).map_err(|fault| not_kept(&fault.message, "mend the rules first"))?;
        let index = match files.iter().position(|(name, _)| name == APPROVED) {
            Some(index) => index,
            None => {
                files.push((APPROVED.to_owned(), APPROVED_HEAD.to_owned()));
                files.len() - 1
            }
        };
        let (_, text) = &mut files[index];
        if text.contains(rule) {
            return Ok(before);
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push('\n');
        text.push_str(rule);
        let text = text.clone();
        let rules = self.build(&files).map_err(|fault| not_kept(&fault.message, "take rules out that nobody needs"))?;
        files::write_rules(&self.directory.join(APPROVED), &text, self.is_own)
            .map_err(|error| not_kept(&error.to_string(), "mend the directory of the rules, or answer `allow_once`"))?;
        Ok(rules)
    }
}

fn not_kept(why: &str, help: &str) -> Fault {
    Fault::new(Code::RULE_NOT_KEPT, format!("the rule was not added to `{APPROVED}`: {why}"), help)
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

#[cfg(test)]
mod tests;

//! Reads rule files, and says what is wrong with them where.
//!
//! Besides Cedar's own grammar and the published schema it refuses what would
//! weaken a rule in silence: an annotation nobody reads (`@aks`), `@ask` on a
//! `forbid`, two rules of one name, a template that nothing links.

use std::collections::BTreeMap;
use std::fmt;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};

use super::text;

/// Rule files in one set.
pub const FILES_MAX: usize = 64;
/// Bytes of one rule file; hundreds of rules fit.
pub const FILE_BYTES_MAX: usize = 64 << 10;
/// Rules in one set: each costs about a microsecond in every decision.
pub const RULES_MAX: usize = 512;
/// Bytes of a file's name, which stands in rule names and thus in audit lines.
const FILE_NAME_BYTES_MAX: usize = 64;
/// Bytes of a rule's name.
const RULE_NAME_BYTES_MAX: usize = 64;
/// Bytes of the text of `@ask`, which the model reads too.
const ASK_BYTES_MAX: usize = 500;
/// Diagnostics reported at once; the rest follows when these are mended.
pub(super) const DIAGNOSTICS_MAX: usize = 100;
/// Bytes of one message; Cedar repeats parts of the rule in it.
const MESSAGE_BYTES_MAX: usize = 1000;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The rules are not used.
    Error,
    /// They are, but may not mean what was meant.
    Warning,
}

/// A finding in a rule file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)?;
        self.help.iter().try_for_each(|help| write!(f, " (help: {help})"))
    }
}

/// Rules that are read and checked.
#[derive(Debug)]
pub(super) struct Read {
    /// The rules under their names.
    pub(super) policies: PolicySet,
    /// What the rules with `@ask` say, by name.
    pub(super) asks: BTreeMap<String, String>,
    /// File and line by rule name.
    pub(super) places: BTreeMap<String, (String, u32)>,
}

/// Reads `files`; the rules are there only if no finding is an error. Findings are sorted.
pub(super) fn read(files: &BTreeMap<String, String>, schema: &Schema) -> (Option<Read>, Vec<Diagnostic>) {
    let mut reader = Reader::default();
    for (file, text) in files {
        reader.file(file, text);
    }
    if files.len() > FILES_MAX || reader.places.len() > RULES_MAX {
        let (file, line) = (files.keys().next_back().cloned().unwrap_or_default(), 1);
        reader.error(&file, line, format!("more than {FILES_MAX} files or {RULES_MAX} rules"), "join or drop some");
    }
    if reader.found.is_empty() {
        reader.validate(schema, files);
    }
    let mut found = std::mem::take(&mut reader.found);
    let is_usable = found.iter().all(|finding| finding.severity != Severity::Error);
    // Beside an error Cedar's warnings only repeat it in other words.
    found.retain(|finding| is_usable || finding.severity == Severity::Error);
    found.sort();
    found.dedup();
    found.truncate(DIAGNOSTICS_MAX);
    let Reader { policies, asks, places, .. } = reader;
    (is_usable.then_some(Read { policies, asks, places }), found)
}

#[derive(Default)]
struct Reader {
    policies: PolicySet,
    asks: BTreeMap<String, String>,
    /// File and line by rule name.
    places: BTreeMap<String, (String, u32)>,
    found: Vec<Diagnostic>,
}

impl Reader {
    fn error(&mut self, file: &str, line: u32, message: impl Into<String>, help: impl Into<String>) {
        let (message, help) = (cut(message.into()), cut(help.into()));
        let help = Some(help).filter(|help| !help.is_empty());
        self.found.push(Diagnostic { file: file.to_owned(), line, severity: Severity::Error, message, help });
    }

    fn file(&mut self, file: &str, text: &str) {
        if !is_file_name(file) {
            let shown: String = file.chars().take(FILE_NAME_BYTES_MAX).collect();
            let rule = format!("1 to {FILE_NAME_BYTES_MAX} of A-Z, a-z, 0-9, _, - and ., ending in `.cedar`");
            return self.error(&shown, 1, "not the name of a rule file", format!("name it with {rule}"));
        }
        if text.len() > FILE_BYTES_MAX {
            let message = format!("the file is larger than {FILE_BYTES_MAX} bytes");
            return self.error(file, 1, message, "split it");
        }
        let lines = match text::scan(text) {
            Ok(lines) => lines,
            Err(found) => return self.error(file, found.line, found.message, "make it simpler or split it"),
        };
        match text.parse::<PolicySet>() {
            Ok(set) => self.statements(file, &set, &lines),
            Err(errors) => {
                for error in errors.iter() {
                    let line = line_of(error, text).unwrap_or(1);
                    let help = help_of(error).unwrap_or_default();
                    self.error(file, line, error.to_string(), help);
                }
            }
        }
    }

    fn statements(&mut self, file: &str, set: &PolicySet, lines: &[u32]) {
        // Cedar numbers the statements of a text in order, as `policyN`; templates count.
        let line_at = |id: &PolicyId| {
            let number = number_of(id);
            number.and_then(|number| lines.get(number)).copied().unwrap_or(1)
        };
        for template in set.templates() {
            let line = line_at(template.id());
            self.error(file, line, "a template never applies", "write the principal or resource in place of `?…`");
        }
        for policy in set.policies() {
            self.statement(file, line_at(policy.id()), policy);
        }
    }

    fn statement(&mut self, file: &str, line: u32, policy: &Policy) {
        let name = policy.annotation("id").map_or_else(|| format!("{file}:{}", policy.id()), str::to_owned);
        if policy.annotation("id").is_some_and(|id| !is_rule_name(id)) {
            let rule = format!("1 to {RULE_NAME_BYTES_MAX} of A-Z, a-z, 0-9, _, - and .");
            return self.error(file, line, "`@id` is not a rule name", format!("use {rule}"));
        }
        for (key, _) in policy.annotations() {
            if !matches!(key, "id" | "ask") {
                let key: String = key.chars().take(RULE_NAME_BYTES_MAX).collect();
                return self.error(file, line, format!("unknown annotation `@{key}`"), "known are `@id` and `@ask`");
            }
        }
        if let Some(ask) = policy.annotation("ask") {
            if policy.effect() == Effect::Forbid {
                return self.error(file, line, "`@ask` stands on a `forbid`", "a forbid is final; write a `permit`");
            }
            if ask.trim().is_empty() || ask.len() > ASK_BYTES_MAX || ask.chars().any(char::is_control) {
                let help = format!("say why a person is asked, in one line of at most {ASK_BYTES_MAX} bytes");
                return self.error(file, line, "`@ask` gives no usable reason", help);
            }
            self.asks.insert(name.clone(), ask.to_owned());
        }
        if let Some((other, at)) = self.places.get(&name).cloned() {
            let help = format!("the other one is at {other}:{at}");
            return self.error(file, line, format!("two rules are called `{name}`"), help);
        }
        if let Err(error) = self.policies.add(policy.new_id(PolicyId::new(&name))) {
            return self.error(file, line, error.to_string(), "");
        }
        self.places.insert(name, (file.to_owned(), line));
    }

    fn validate(&mut self, schema: &Schema, files: &BTreeMap<String, String>) {
        let result = Validator::new(schema.clone()).validate(&self.policies, ValidationMode::Strict);
        let errors = result
            .validation_errors()
            .map(|error| (error.policy_id(), Severity::Error, error.to_string(), error as &dyn miette::Diagnostic));
        let warnings = result.validation_warnings().map(|warning| {
            (warning.policy_id(), Severity::Warning, warning.to_string(), warning as &dyn miette::Diagnostic)
        });
        for (id, severity, message, cedar) in errors.chain(warnings) {
            let rule: &str = id.as_ref();
            let (file, begin) = self.places.get(rule).cloned().unwrap_or_default();
            let line = files.get(&file).and_then(|text| line_of(cedar, text)).unwrap_or(begin);
            let help = help_of(cedar).map(cut);
            self.found.push(Diagnostic { file, line, severity, message: cut(without_action(message)), help });
        }
    }
}

/// The `N` of Cedar's own `policyN`.
fn number_of(id: &PolicyId) -> Option<usize> {
    let id: &str = id.as_ref();
    id.strip_prefix("policy")?.parse().ok()
}

fn line_of(error: &(impl miette::Diagnostic + ?Sized), text: &str) -> Option<u32> {
    let offset = error.labels()?.map(|label| label.offset()).min()?;
    let before = text.as_bytes().get(..offset.min(text.len()))?;
    u32::try_from(before.iter().filter(|byte| **byte == b'\n').count() + 1).ok()
}

/// Cedar's suggestion, else what it says it had expected.
fn help_of(error: &(impl miette::Diagnostic + ?Sized)) -> Option<String> {
    let help = error.help().map(|help| help.to_string());
    help.or_else(|| error.labels()?.find_map(|label| label.label().map(str::to_owned)))
}

/// Cedar checks a rule once for every action it can apply to, and says the same each time.
fn without_action(message: String) -> String {
    const MARK: &str = " for Action::\"";
    let Some((before, after)) = message.split_once(MARK) else { return message };
    after.split_once('"').map_or_else(|| message.clone(), |(_, rest)| format!("{before}{rest}"))
}

fn cut(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    message
}

fn is_file_name(name: &str) -> bool {
    name.len() <= FILE_NAME_BYTES_MAX && name.ends_with(".cedar") && !name.starts_with('.') && is_plain(name)
}

// No colon: the names of profile rules and of rules without `@id` have one, so no `@id` can pass for them.
fn is_rule_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= RULE_NAME_BYTES_MAX && is_plain(name) && !super::RESERVED.contains(&name)
}

fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests;

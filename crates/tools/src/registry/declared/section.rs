//! What is declared of one tool, or of all tools of a file.

use std::collections::BTreeMap;

use are_core::body::{Effect, Retry};
use are_core::error::Fault;
use are_core::limits::TOOL_STORED_BYTES_MAX;
use are_core::model::Example;
use are_policy::manifest::{CallLimits, Capabilities, EffectBy, OutputLabel, Role};
use serde::Deserialize;
use toml::Table;

use crate::registry::load::invalid;

/// Milliseconds that a call may take at most.
const TIMEOUT_MS_MAX: u64 = 600_000;
/// Bytes of memory that an implementation may ask for at most.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Words of one language that ask for a tool.
const INTENTS_MAX: usize = 64;
/// Languages of them.
const LANGUAGES_MAX: usize = 16;
/// Characters of a version.
const VERSION_CHARS_MAX: usize = 64;

/// Keys of the whole file or of one tool; all may be absent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    pub(super) description: Option<String>,
    pub(super) version: Option<String>,
    pub(super) effect: Option<Effect>,
    pub(super) effect_by: Option<EffectBy>,
    pub(super) retry: Option<Retry>,
    pub(super) args: Option<BTreeMap<String, Arg>>,
    pub(super) output: Option<Output>,
    pub(super) capabilities: Option<Capabilities>,
    #[serde(default, deserialize_with = "limits")]
    pub(super) limits: Option<CallLimits>,
    pub(super) intents: Option<BTreeMap<String, Vec<String>>>,
    pub(super) example: Option<Example>,
}

/// What is declared of an argument.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arg {
    pub(crate) role: Option<Role>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) required: Option<bool>,
    #[serde(rename = "enum")]
    pub(crate) one_of: Option<Vec<serde_json::Value>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Output {
    #[serde(default, deserialize_with = "label")]
    pub(super) default: Option<OutputLabel>,
    #[serde(default, deserialize_with = "labels")]
    pub(super) fields: BTreeMap<String, OutputLabel>,
}

impl Section {
    /// Reads a table whose keys are known.
    pub(super) fn read(table: Table) -> Result<Self, Fault> {
        let section: Self = toml::Value::Table(table).try_into().map_err(|error: toml::de::Error| {
            invalid(error.message().to_owned(), "docs/reference/tools.md lists the keys and their values")
        })?;
        section.check()?;
        Ok(section)
    }

    /// This one's keys, and those of `whole` where it has none.
    pub(super) fn over(&self, whole: &Self) -> Self {
        let own = self.clone();
        let whole = whole.clone();
        Self {
            description: own.description.or(whole.description),
            version: own.version.or(whole.version),
            // An effect by argument belongs to the effect that it makes milder.
            effect_by: if own.effect.is_some() { own.effect_by } else { own.effect_by.or(whole.effect_by) },
            effect: own.effect.or(whole.effect),
            retry: own.retry.or(whole.retry),
            args: own.args.or(whole.args),
            output: own.output.or(whole.output),
            capabilities: own.capabilities.or(whole.capabilities),
            limits: own.limits.or(whole.limits),
            intents: own.intents.or(whole.intents),
            example: own.example.or(whole.example),
        }
    }

    fn check(&self) -> Result<(), Fault> {
        let out_of = |key: &str, most: u64| {
            Err(invalid(format!("`limits.{key}` must be from 1 to {most}"), "choose a number in that range"))
        };
        if let Some(CallLimits { timeout_ms, output_bytes, memory_bytes }) = self.limits {
            if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
                return out_of("timeout_ms", TIMEOUT_MS_MAX);
            }
            if !(1..=TOOL_STORED_BYTES_MAX as u64).contains(&output_bytes) {
                return out_of("output_bytes", TOOL_STORED_BYTES_MAX as u64);
            }
            if memory_bytes.is_some_and(|bytes| !(1..=MEMORY_BYTES_MAX).contains(&bytes)) {
                return out_of("memory_bytes", MEMORY_BYTES_MAX);
            }
        }
        let intents = self.intents.iter().flatten();
        if self.intents.as_ref().is_some_and(|all| all.len() > LANGUAGES_MAX)
            || intents.into_iter().any(|(_, words)| words.len() > INTENTS_MAX)
        {
            let why = format!("`intents` may hold {LANGUAGES_MAX} languages of {INTENTS_MAX} words each");
            return Err(invalid(why, "keep the words that people really use"));
        }
        let is_plain = |text: &String| text.chars().count() <= VERSION_CHARS_MAX && !text.chars().any(char::is_control);
        if self.version.as_ref().is_some_and(|version| !is_plain(version)) {
            return Err(invalid(format!("`version` is longer than {VERSION_CHARS_MAX} characters"), "shorten it"));
        }
        Ok(())
    }
}

/// `"untrusted"`, `"private"`, or both: `"platform public"`.
fn read_label(text: &str) -> Result<OutputLabel, String> {
    let mut label = OutputLabel::default();
    let (mut has_integrity, mut has_confidentiality) = (false, false);
    for word in text.split_whitespace() {
        let value = serde_json::Value::from(word);
        let is_again = if let Ok(integrity) = serde_json::from_value(value.clone()) {
            label.integrity = integrity;
            std::mem::replace(&mut has_integrity, true)
        } else if let Ok(confidentiality) = serde_json::from_value(value) {
            label.confidentiality = confidentiality;
            std::mem::replace(&mut has_confidentiality, true)
        } else {
            return Err(format!(
                "`{word}` is no label: `system`, `user`, `platform` or `untrusted`, and `public`, `private` or `secret`"
            ));
        };
        if is_again {
            return Err(format!("the label `{text}` says the same thing twice"));
        }
    }
    if has_integrity || has_confidentiality { Ok(label) } else { Err("a label is empty".to_owned()) }
}

fn label<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<OutputLabel>, D::Error> {
    let text = String::deserialize(from)?;
    read_label(&text).map(Some).map_err(serde::de::Error::custom)
}

fn labels<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, OutputLabel>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(from)?;
    let read = |(name, text): (String, String)| read_label(&text).map(|label| (name, label));
    texts.into_iter().map(read).collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

fn limits<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<CallLimits>, D::Error> {
    #[derive(Deserialize)]
    struct Some_ {
        timeout_ms: Option<u64>,
        output_bytes: Option<u64>,
        memory_bytes: Option<u64>,
    }
    let said = Some_::deserialize(from)?;
    let default = CallLimits::default();
    Ok(Some(CallLimits {
        timeout_ms: said.timeout_ms.unwrap_or(default.timeout_ms),
        output_bytes: said.output_bytes.unwrap_or(default.output_bytes),
        memory_bytes: said.memory_bytes,
    }))
}

//! The manifest beside a file of tools, `NAME.toml`.
//!
//! Strict: an unknown key is an error with a suggestion, because a misspelt one
//! would leave the worst case in force without anybody noticing, or worse, a
//! milder one that was meant for something else. What is not declared is the
//! worst case.

mod keys;
mod section;
mod tests_of;

use std::collections::BTreeMap;
use std::path::Path;

use are_core::body::{Effect, Retry};
use are_core::error::Fault;
use are_core::ids::ToolName;
use are_policy::manifest::{ArgRule, CallLimits, Lane, Manifest, OutputLabel, Role};
use are_policy::schema;
use are_policy::secrets;
use serde_json::Value;
use toml::Table;

pub(crate) use self::section::Arg;
use self::section::Section;
pub use self::tests_of::Test;
use super::load::invalid;
use super::names::{nearest, tool_name, visible};

/// Tools that one manifest may describe.
const TOOLS_MAX: usize = 256;

/// What a manifest says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Declared {
    whole: Section,
    tools: BTreeMap<String, Section>,
    tests: Vec<Test>,
    /// Lane and template of a tool that has no other file.
    template: Option<Table>,
}

impl Declared {
    /// Reads a manifest.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
            invalid(format!("it is not valid TOML in line {line}: {}", error.message()), "mend that line")
        })?;
        let lane = keys::lane(&table)?;
        keys::check(&table, lane)?;
        let tools = match table.remove("tools") {
            None => BTreeMap::new(),
            Some(toml::Value::Table(tools)) if tools.len() <= TOOLS_MAX => {
                let section = |(name, value)| match value {
                    toml::Value::Table(table) => Ok((name, Section::read(table)?)),
                    _ => Err(invalid(format!("`tools.{name}` must be a table"), "write `[tools.NAME]`")),
                };
                tools.into_iter().map(section).collect::<Result<_, _>>()?
            }
            Some(_) => {
                return Err(invalid(format!("`tools` must be at most {TOOLS_MAX} tables"), "write `[tools.NAME]`"));
            }
        };
        let tests = tests_of::take(&mut table)?;
        let template = keys::take_template(&mut table, lane);
        Ok(Self { whole: Section::read(table)?, tools, tests, template })
    }

    /// Lane and template, for a manifest that is itself the implementation.
    pub(crate) const fn template(&self) -> Option<&Table> {
        self.template.as_ref()
    }

    /// The uses that its author expects to work.
    pub(super) fn into_tests(self) -> Vec<Test> {
        self.tests
    }

    /// Arguments that are declared for the whole file.
    pub(crate) fn args(&self) -> impl Iterator<Item = (&str, &Arg)> {
        self.whole.args.iter().flatten().map(|(name, arg)| (name.as_str(), arg))
    }

    /// The manifest of a file's only tool (`export` is `None`), or of one of its exports: the worst case, and what is
    /// declared. `description` counts where none is declared.
    pub(crate) fn manifest(
        &self,
        file: &Path,
        export: Option<&str>,
        lane: Lane,
        description: &str,
        schema: Value,
    ) -> Result<Manifest, Fault> {
        let worst = Manifest {
            name: tool_name(file, export)?,
            description: description.to_owned(),
            lane,
            version: "1".to_owned(),
            schema,
            example: None,
            effect: Effect::Credential,
            effect_by: None,
            retry: Retry::AtMostOnce,
            args: BTreeMap::new(),
            output_default: OutputLabel::default(),
            output_fields: BTreeMap::new(),
            is_contained: false,
            capabilities: None,
            limits: CallLimits::default(),
            intents: BTreeMap::new(),
        };
        self.over(file, export, worst)
    }

    /// What a file says of one of its tools itself, with what is declared beside it in its place.
    pub(crate) fn over(&self, file: &Path, export: Option<&str>, base: Manifest) -> Result<Manifest, Fault> {
        let name = base.name.clone();
        let section = match export.and_then(|export| self.section_of(file, export, &name)) {
            Some(own) => own.over(&self.whole),
            None => self.whole.clone(),
        };
        let at = |why: String, help: &str| invalid(format!("`{name}`: {why}"), help);
        let mut schema = base.schema;
        let args = section.args.clone().unwrap_or_default();
        describe(&mut schema, &args).map_err(|(why, help)| at(why, &help))?;
        schema::supported(&schema).map_err(|why| at(why, "use only keywords that are checked"))?;
        let effect = section.effect.unwrap_or(base.effect);
        // A milder retry that the file itself may have does not outlast a worse effect.
        let own_retry = if effect == base.effect { base.retry } else { Retry::AtMostOnce };
        let retry = section.retry.unwrap_or(own_retry);
        if retry == Retry::Transactional {
            return Err(at("`retry` cannot be `transactional`".to_owned(), "that is for tools of the runtime itself"));
        }
        if retry == Retry::Pure && effect != Effect::None {
            return Err(at("`retry = \"pure\"` needs `effect = \"none\"`".to_owned(), "use `idempotent`"));
        }
        let has = |arg: &str| schema["properties"].get(arg).is_some();
        if let Some(by) = section.effect_by.as_ref().filter(|by| !has(&by.arg)) {
            return Err(at(
                format!("`effect_by` names `{}`, which is no argument", by.arg),
                "name one of its arguments",
            ));
        }
        let description = visible(section.description.as_deref().unwrap_or(&base.description));
        if description.is_empty() {
            return Err(at("it has no description".to_owned(), "add `description = \"…\"`: the model chooses by it"));
        }
        let mut rules = base.args;
        for (name, arg) in args {
            let own = rules.get(&name).map_or(Role::Destination, |rule| rule.role);
            rules.insert(name, ArgRule { role: arg.role.unwrap_or(own) });
        }
        // What nothing would keep must not look as if something did.
        let takes_memory = matches!(base.lane, Lane::Wasm | Lane::Js);
        if section.limits.is_some_and(|limits| limits.memory_bytes.is_some()) && !takes_memory {
            return Err(at("`limits.memory_bytes` holds for components and scripts only".to_owned(), "leave it out"));
        }
        let environment = section.capabilities.as_ref().map(|declared| &declared.env).filter(|env| !env.is_empty());
        if let Some(environment) = environment {
            check_environment(environment, base.lane).map_err(|(why, help)| at(why, help))?;
        }
        // Whoever is given a value can do with it all that it is good for.
        let has_value = environment.is_some_and(|env| env.values().any(|value| secrets::in_env(value).is_some()));
        if has_value && effect != Effect::Credential {
            return Err(at(
                "a tool that is given a secret's value has the effect `credential`".to_owned(),
                "write `effect = \"credential\"`, or let it use `${secret:NAME}` in its requests",
            ));
        }
        let output = section.output.unwrap_or_default();
        let mut output_fields = base.output_fields;
        output_fields.extend(output.fields);
        Ok(Manifest {
            name,
            description,
            lane: base.lane,
            version: section.version.unwrap_or(base.version),
            schema,
            example: section.example.or(base.example),
            effect,
            effect_by: section.effect_by.or(base.effect_by),
            retry,
            args: rules,
            output_default: output.default.unwrap_or(base.output_default),
            output_fields,
            is_contained: base.is_contained && effect == Effect::None,
            capabilities: section.capabilities.or(base.capabilities),
            limits: section.limits.unwrap_or(base.limits),
            intents: section.intents.unwrap_or(base.intents),
        })
    }

    /// Names in `[tools.NAME]` that are none of these tools.
    pub(crate) fn strangers(&self, file: &Path, tools: &[&str]) -> Vec<String> {
        let is_known =
            |key: &&String| tool_name(file, Some(key.as_str())).is_ok_and(|name| tools.contains(&name.as_str()));
        self.tools.keys().filter(|key| !is_known(key)).cloned().collect()
    }

    /// By the export's own name, or by what it becomes.
    fn section_of(&self, file: &Path, export: &str, named: &ToolName) -> Option<&Section> {
        let same = |key: &str| tool_name(file, Some(key)).is_ok_and(|name| name == *named);
        self.tools.get(export).or_else(|| self.tools.iter().find(|(key, _)| same(key)).map(|(_, own)| own))
    }
}

/// The environment of a process or guest; a secret's name must be possible.
fn check_environment(environment: &BTreeMap<String, String>, lane: Lane) -> Result<(), (String, &'static str)> {
    /// Variables of one tool.
    const VARIABLES_MAX: usize = 64;
    if !matches!(lane, Lane::Wasm | Lane::Command) {
        return Err(("`capabilities.env` holds for components and command lines only".to_owned(), "leave it out"));
    }
    if environment.len() > VARIABLES_MAX {
        return Err((format!("`capabilities.env` names more than {VARIABLES_MAX} variables"), "name fewer"));
    }
    let is_name = |name: &str| {
        !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    for (name, value) in environment {
        if !is_name(name) || value.contains('\0') {
            return Err((format!("`capabilities.env.{name}` is no variable"), "use letters, digits and `_`"));
        }
        if let Some(Err(error)) = secrets::in_env(value) {
            return Err((format!("`capabilities.env.{name}`: {error}"), "write `secret:NAME`"));
        }
    }
    Ok(())
}

/// Adds what is declared of arguments to their schema, which must have them all.
fn describe(schema: &mut Value, args: &BTreeMap<String, Arg>) -> Result<(), (String, String)> {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    let Some(properties) = properties else {
        return if args.is_empty() {
            Ok(())
        } else {
            Err(("it has no arguments".to_owned(), "remove `args`".to_owned()))
        };
    };
    for (name, arg) in args {
        let Some(property) = properties.get_mut(name) else {
            let known = nearest(name, properties.keys().map(String::as_str));
            let help = known.map_or_else(|| "remove it".to_owned(), |known| format!("did you mean `{known}`?"));
            return Err((format!("`args.{name}` is no argument of it"), help));
        };
        if let (Some(property), Some(text)) = (property.as_object_mut(), &arg.description) {
            property.insert("description".to_owned(), visible(text).into());
        }
    }
    // What a file's author writes inside its types is read by the model too.
    for property in properties.values_mut() {
        if let Some(text) = property.get("description").and_then(Value::as_str).map(visible) {
            property["description"] = text.into();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

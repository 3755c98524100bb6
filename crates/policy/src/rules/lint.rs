//! Finds rules that no call can match, where that is cheap to see.
//!
//! Cedar's own checker knows the types; this knows the tools and the normal
//! forms. Only what is certain is said: a condition counts when the whole rule
//! depends on it. Warnings only: a tool may be added later.

use std::collections::BTreeSet;

use are_core::body::Effect;
use serde_json::Value;

use super::check::{Diagnostic, Read, Severity};
use super::object::plain_path;
use super::typed::Host;
use super::{allow, words};
use crate::address;
use crate::manifest::{Manifest, ToolSet};

/// Warnings about rules that can never match.
pub(super) fn never(read: &Read, tools: &ToolSet) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for policy in read.policies.policies() {
        let (Ok(rule), Some((file, line))) = (policy.to_json(), read.places.get(policy.id().to_string().as_str()))
        else {
            continue;
        };
        let mut said = BTreeSet::new();
        literals(&rule, tools, &mut said);
        said.extend(scope(&rule, tools));
        found.extend(said.into_iter().map(|(message, help)| Diagnostic {
            file: file.clone(),
            line: *line,
            severity: Severity::Warning,
            message,
            help: Some(help),
        }));
    }
    found
}

type Said = (String, String);

/// Names that nothing has. Recursion is bounded: a rule's nesting is.
fn literals(rule: &Value, tools: &ToolSet, said: &mut BTreeSet<Said>) {
    let Some(fields) = rule.as_object() else {
        for item in rule.as_array().into_iter().flatten() {
            literals(item, tools, said);
        }
        return;
    };
    if let (Some(kind), Some(id)) = (text(rule, "type"), text(rule, "id")) {
        said.extend(literal(kind, id, tools));
    }
    for field in fields.values() {
        literals(field, tools, said);
    }
}

fn literal(kind: &str, id: &str, tools: &ToolSet) -> Option<Said> {
    let normal = match kind {
        "Tool" if tools.get(id).is_none() => {
            let help = "the tools there are: `are tool list`".to_owned();
            return Some((format!("there is no tool `{id}`"), help));
        }
        "Path" => plain_path(id),
        "Host" => match (Host::read(id), address::Host::parse(id)) {
            (Some(host), _) => host.id(),
            (None, Ok(host)) => host.to_string(),
            (None, Err(_)) => {
                let help = "write `Host::\"example.org\"` or `Host::\"example.org:443\"`".to_owned();
                return Some((format!("`Host::\"{id}\"` is no host and never matches"), help));
            }
        },
        _ => return None,
    };
    let message = format!("`{kind}::\"{id}\"` never matches: a rule sees the normal form");
    (normal != id).then(|| (message, format!("write `{kind}::\"{normal}\"`")))
}

/// What the tool that the rule is for cannot do or name.
fn scope(rule: &Value, tools: &ToolSet) -> Option<Said> {
    let tool = rule.get("resource").filter(|resource| text(resource, "op") == Some("=="))?;
    let (manifest, _) = tools.get(text(tool.get("entity")?, "id")?)?;
    let name = &manifest.name;
    let action = rule.get("action").filter(|action| text(action, "op") == Some("=="));
    if let Some(action) = action.and_then(|action| text(action.get("entity")?, "id")) {
        let can: BTreeSet<_> = effects(manifest).into_iter().map(words::effect).collect();
        if words::EFFECTS.map(words::effect).contains(&action) && !can.contains(action) {
            let can = can.into_iter().map(|effect| format!("`{effect}`")).collect::<Vec<_>>().join(", ");
            return Some((format!("no call of `{name}` has the action `{action}`"), format!("its actions are {can}")));
        }
    }
    let mut needs = BTreeSet::new();
    for condition in rule.get("conditions")?.as_array()? {
        if text(condition, "kind") == Some("when") {
            required(condition.get("body")?, &mut needs);
        }
    }
    let missing = needs.into_iter().find(|attribute| match *attribute {
        "path" => !manifest.is_contained,
        "host" | "url" => manifest.is_contained,
        "argv" => !allow::has_argv(manifest),
        _ => false,
    })?;
    let help = match manifest.is_contained {
        true => "what it acts upon is `context.path`",
        false => "what it acts upon is `context.host` and `context.url`, or `context.object`",
    };
    Some((format!("no call of `{name}` has a `context.{missing}`"), help.to_owned()))
}

fn effects(manifest: &Manifest) -> Vec<Effect> {
    let by = manifest.effect_by.iter();
    by.flat_map(|by| by.map.values().copied().chain(by.absent)).chain([manifest.effect]).collect()
}

/// Attributes of the context without which the condition is false.
fn required<'a>(condition: &'a Value, needs: &mut BTreeSet<&'a str>) {
    if let Some(both) = condition.get("&&") {
        for side in ["left", "right"].iter().filter_map(|side| both.get(side)) {
            required(side, needs);
        }
    }
    if let Some(has) = condition.get("has").filter(|has| has["left"]["Var"] == "context") {
        needs.extend(text(has, "attr"));
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

#[cfg(test)]
mod tests;

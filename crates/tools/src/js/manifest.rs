//! The manifest of an exported function: the worst case, and what its comment declares.

use std::collections::BTreeMap;

use are_core::body::{Effect, Retry};
use are_core::error::Fault;
use are_policy::manifest::{ArgRule, CallLimits, Lane, Manifest};
use are_policy::schema;
use serde_json::{Map, Value, json};

use super::faults::unloadable;
use super::jsdoc::{self, Doc, Param};
use super::params::{self, Params};
use super::script::{Export, Script};

/// The manifest, and how its arguments become parameters.
pub(super) fn of(script: &Script, source: &str, export: &Export) -> Result<(Manifest, Params), Fault> {
    let at = |why: &str| unloadable(&script.file, &format!("`{}`: {why}", crate::text::short(&export.name)));
    let comment = jsdoc::before(source, &export.source, export.line);
    let doc = comment.map(jsdoc::read).transpose().map_err(|why| at(&why))?.unwrap_or_default();
    let top: Vec<String> = doc.params.iter().filter(|p| !p.name.contains('.')).map(|p| p.name.clone()).collect();
    let params = params::read(&export.source, &top).map_err(|why| at(&why))?;
    let schema = schema_of(&params, &doc);
    schema::supported(&schema).map_err(|why| at(&why))?;
    if let Some(stranger) = doc.roles.keys().find(|name| schema["properties"].get(name.as_str()).is_none()) {
        return Err(at(&format!("`@role` names `{stranger}`, which is no parameter")));
    }
    let effect = doc.effect.unwrap_or(Effect::Credential);
    let retry = doc.retry.unwrap_or(Retry::AtMostOnce);
    if retry == Retry::Transactional || (retry == Retry::Pure && effect != Effect::None) {
        return Err(at("`@retry pure` needs `@effect none`, and `transactional` is for the runtime's own tools"));
    }
    let description = match doc.description.as_str() {
        "" => format!("The function {} of {}.", export.name, script.file),
        text => text.to_owned(),
    };
    let manifest = Manifest {
        name: name(&script.file, &export.name).map_err(|why| at(&why))?,
        description,
        lane: Lane::Js,
        version: format!("sha256:{}", script.siblings.digest(source)),
        schema,
        example: None,
        effect,
        effect_by: None,
        retry,
        args: doc.roles.iter().map(|(name, role)| (name.clone(), ArgRule { role: *role })).collect(),
        output_default: doc.output_default.unwrap_or_default(),
        output_fields: doc.output_fields.clone(),
        is_contained: false,
        capabilities: None,
        limits: limits(&doc),
        intents: BTreeMap::new(),
    };
    Ok((manifest, params))
}

fn limits(doc: &Doc) -> CallLimits {
    let default = CallLimits::default();
    CallLimits { timeout_ms: doc.timeout_ms.unwrap_or(default.timeout_ms), ..default }
}

fn schema_of(params: &Params, doc: &Doc) -> Value {
    // `@param {object} options` with `@param {string} options.path` describes `({ path })` too.
    let own = |name: &str| {
        let top = doc.params.iter().find(|param| param.name == name);
        top.or_else(|| {
            doc.params.iter().find(|p| params.is_object && p.name.split_once('.').is_some_and(|(_, m)| m == name))
        })
    };
    let mut properties = Map::new();
    let mut required = Vec::new();
    for name in &params.names {
        let told = own(name);
        let property = property_of(name, told, doc);
        if !params.optional.contains(name) && !told.is_some_and(|param| param.is_optional) {
            required.push(name.clone());
        }
        properties.insert(name.clone(), property);
    }
    if let Some(name) = &params.rest {
        let mut property = property_of(name, own(name), doc);
        // JSDoc describes one of the values: `@param {...string} names`.
        if property.get("type") != Some(&json!("array")) {
            let text = property.as_object_mut().and_then(|map| map.remove("description"));
            property = json!({"type": "array", "items": property});
            if let Some(text) = text {
                property["description"] = text;
            }
        }
        properties.insert(name.clone(), property);
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": params.is_open,
    })
}

fn property_of(name: &str, told: Option<&Param>, doc: &Doc) -> Value {
    let mut property = told.map_or_else(|| json!({}), |param| param.schema.clone());
    let prefix = format!("{name}.");
    let members: Vec<(&str, &Param)> =
        doc.params.iter().filter_map(|param| Some((param.name.strip_prefix(&prefix)?, param))).collect();
    if !members.is_empty() {
        let mut of_members = Map::new();
        let mut required = Vec::new();
        for (member, param) in members.into_iter().filter(|(member, _)| !member.contains('.')) {
            if !param.is_optional {
                required.push(member.to_owned());
            }
            of_members.insert(member.to_owned(), described(param.schema.clone(), &param.text));
        }
        property = json!({"type": "object", "properties": of_members, "required": required});
    }
    described(property, told.map_or("", |param| param.text.as_str()))
}

fn described(mut schema: Value, text: &str) -> Value {
    if !text.is_empty() {
        schema["description"] = text.into();
    }
    schema
}

/// `<file stem>_<export>` in snake case.
fn name(file: &str, export: &str) -> Result<are_core::ids::ToolName, String> {
    let stem = file.strip_suffix(".js").unwrap_or(file);
    let (stem, export) = (snake(stem), snake(export));
    let whole = format!("{stem}_{export}");
    if stem.is_empty() || export.is_empty() {
        return Err("its name has no letter or digit, which the name of a tool is made of".to_owned());
    }
    whole.parse().map_err(|error: are_core::ids::InvalidId| format!("`{whole}` cannot be the name of a tool: {error}"))
}

/// `readFile`, `read-file` and `read.file` as `read_file`.
fn snake(text: &str) -> String {
    let mut out = String::new();
    let mut before: Option<char> = None;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        if !character.is_ascii_alphanumeric() {
            if !out.is_empty() && !out.ends_with('_') {
                out.push('_');
            }
            before = None;
            continue;
        }
        let starts_word = character.is_ascii_uppercase()
            && before.is_some_and(|before| {
                !before.is_ascii_uppercase() || rest.peek().is_some_and(char::is_ascii_lowercase)
            });
        if starts_word && !out.ends_with('_') {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
        before = Some(character);
    }
    out.truncate(out.trim_end_matches('_').len());
    out
}

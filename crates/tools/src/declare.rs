//! How builtin tools write their manifests: worst case first, then what is milder.

use std::collections::BTreeMap;

use are_core::body::{Effect, Retry};
use are_core::ids::InvalidId;
use are_core::label::{Confidentiality, Integrity};
use are_core::model::Example;
use are_policy::manifest::{ArgRule, CallLimits, Lane, Manifest, OutputLabel, Role};
use serde_json::{Value, json};

/// Changes whenever a builtin's behaviour changes: another version is another tool.
const VERSION: &str = "1";

/// A manifest in which everything is still the worst case.
pub(crate) fn tool(
    name: &str,
    description: &str,
    properties: Value,
    required: &[&str],
    example: Example,
) -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        name: name.parse()?,
        description: description.to_owned(),
        lane: Lane::Builtin,
        version: VERSION.to_owned(),
        schema: json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        }),
        example: Some(example),
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
    })
}

/// A use of a tool that finds something out.
pub(crate) fn finds(ask: &str, arguments: Value, result: &str, answer: &str) -> Example {
    Example { result: Some(result.to_owned()), ..does(ask, arguments, answer) }
}

/// A use of a tool that does something.
pub(crate) fn does(ask: &str, arguments: Value, answer: &str) -> Example {
    Example { ask: ask.to_owned(), arguments, result: None, answer: answer.to_owned() }
}

/// The roles of the arguments.
pub(crate) fn roles(roles: &[(&str, Role)]) -> BTreeMap<String, ArgRule> {
    roles.iter().map(|(name, role)| ((*name).to_owned(), ArgRule { role: *role })).collect()
}

/// Words of the user that ask for a tool, in English and in Chinese.
pub(crate) fn intents(english: &[&str], chinese: &[&str]) -> BTreeMap<String, Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    BTreeMap::from([("en".to_owned(), words(english)), ("zh".to_owned(), words(chinese))])
}

/// What the runtime itself says about private things, such as a file's size.
pub(crate) const OURS: OutputLabel =
    OutputLabel { integrity: Integrity::Platform, confidentiality: Confidentiality::Private };

/// Output fields, by JSON pointer, that the runtime itself vouches for.
pub(crate) fn ours(pointers: &[&str]) -> BTreeMap<String, OutputLabel> {
    pointers.iter().map(|pointer| ((*pointer).to_owned(), OURS)).collect()
}

//! The planner's question and its answer: which tools do the user's words ask for.
//!
//! The model that is asked sees the words of the user and the declarations of
//! the tools, nothing that was read and nothing that another model wrote, so
//! what is hidden in a page cannot steer it. Its answer may only narrow: the
//! [decision by flow](crate::flow) takes a tool that the plan does not name as
//! not asked for, and a plan makes nothing allowed. Pure: who asks the model,
//! and records what it said, is the caller.
//!
//! SOURCE: Beurer-Kellner et al., "Design Patterns for Securing LLM Agents against Prompt Injections" (2025),
//! plan-then-execute; Debenedetti et al., "Defeating Prompt Injections by Design" (2025), the privileged model.

use std::collections::BTreeSet;

use are_core::body::Effect;
use are_core::ids::ToolName;
use are_core::model::{Effort, Format, Message, ModelInfo, ModelRequest, Shape};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::manifest::{Manifest, ToolSet};
use crate::rules::effect_word;

/// Tools that are shown, which is as many as grammars of local models hold to their names.
pub const TOOLS_MAX: usize = 64;
/// Tokens of the longest answer: every name once, with room for a model that thinks first.
pub const ANSWER_TOKENS_MAX: u64 = 1_024;
/// Bytes of an answer that are read; a longer one is no plan.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes of a tool's description that are shown.
const DESCRIPTION_BYTES_MAX: usize = 240;
/// Parameters of a tool that are shown.
const PARAMETERS_MAX: usize = 16;
/// Bytes of a parameter's name that are shown.
const PARAMETER_BYTES_MAX: usize = 64;
/// Names the list in the answer, and the answer's form.
const TOOLS: &str = "tools";

const INSTRUCTIONS: &str = "You read a user's request and say which tools carrying it out needs. \
Name every tool that the request asks for, in its own words or by what it wants done. \
Name no tool for what the request only asks about, mentions or forbids. \
Answer with JSON alone: {\"tools\": [names]}. The list is empty when the request needs none of these tools.";

/// True for a tool that can do more than read.
fn has_effect(manifest: &Manifest) -> bool {
    let milder = manifest.effect_by.iter().flat_map(|by| by.absent.iter().chain(by.map.values()));
    manifest.effect != Effect::None || milder.into_iter().any(|effect| *effect != Effect::None)
}

/// Of the tools on offer those that a plan is about, at most [`TOOLS_MAX`]: with an effect, and called by the model. Where
/// there are more, those that `words` are about come first.
#[must_use]
pub fn shown<'a>(offered: impl Iterator<Item = &'a ToolName>, tools: &'a ToolSet, words: &str) -> Vec<&'a Manifest> {
    let is_shown = |manifest: &&Manifest| has_effect(manifest) && !manifest.is_granted();
    let mut shown: Vec<&Manifest> =
        offered.filter_map(|name| tools.get(name.as_str())).map(|(manifest, _)| manifest).filter(is_shown).collect();
    if shown.len() > TOOLS_MAX {
        let found = tools.vocabulary().find(words);
        shown.sort_by_key(|manifest| found.iter().position(|name| *name == manifest.name).unwrap_or(usize::MAX));
        shown.truncate(TOOLS_MAX);
    }
    shown
}

/// The request for a plan, of at most `output_tokens_max` in its answer. Holds the words and the declarations of
/// `tools` ([`shown`]) alone.
#[must_use]
pub fn request(info: &ModelInfo, words: &str, tools: &[&Manifest], output_tokens_max: u64) -> ModelRequest {
    let lines: Vec<String> = tools.iter().map(|manifest| line(manifest)).collect();
    let names: Vec<&str> = tools.iter().map(|manifest| manifest.name.as_str()).collect();
    let schema = json!({
        "type": "object",
        "properties": { TOOLS: { "type": "array", "items": { "type": "string", "enum": names }, "maxItems": names.len() } },
        "required": [TOOLS],
        "additionalProperties": false,
    });
    let effort = Effort::Low.nearest(&info.efforts);
    let takes_temperature = info.takes_temperature && !(info.is_either && effort.is_some());
    ModelRequest {
        model: info.name.clone(),
        messages: vec![
            Message::System { text: format!("{INSTRUCTIONS}\n\nTools:\n{}", lines.join("\n")) },
            Message::User { text: words.to_owned() },
        ],
        tools: [].into(),
        temperature_milli: takes_temperature.then_some(0),
        effort,
        output_tokens_max,
        goes_on: false,
        shape: Shape {
            format: Some(Format::Schema { name: TOOLS.to_owned(), schema, strict: true }),
            ..Shape::default()
        },
    }
}

/// A tool as the planner is told of it: `- send_mail (send): Send a mail. Parameters: to, text`.
fn line(manifest: &Manifest) -> String {
    let description = manifest.description.split_whitespace().collect::<Vec<_>>().join(" ");
    let description = &description[..description.floor_char_boundary(DESCRIPTION_BYTES_MAX)];
    let parameters = manifest.schema.get("properties").and_then(Value::as_object);
    // Names come from whoever serves the tool, too: each is one short word here.
    let word = |name: &String| name.split_whitespace().collect::<String>();
    let short = |name: String| name[..name.floor_char_boundary(PARAMETER_BYTES_MAX)].to_owned();
    let mut parameters: Vec<String> = parameters.into_iter().flatten().map(|(name, _)| short(word(name))).collect();
    // The order of a JSON object depends on how this program was built.
    parameters.sort_unstable();
    parameters.truncate(PARAMETERS_MAX);
    let with = if parameters.is_empty() { String::new() } else { format!(" Parameters: {}", parameters.join(", ")) };
    format!("- {} ({}): {description}{with}", manifest.name, effect_word(manifest.effect))
}

#[derive(Debug, Deserialize)]
struct Answer {
    tools: Vec<String>,
}

/// The plan in an answer to `request`: the tools that it names, sorted, each once. Names that were not shown are
/// ignored; `None` when the answer is no plan.
#[must_use]
pub fn read(answer: &str, request: &ModelRequest) -> Option<Vec<ToolName>> {
    if answer.len() > ANSWER_BYTES_MAX {
        return None;
    }
    // Models that are told of the form in words put it between fences, or a word before it.
    let object = answer.get(answer.find('{')?..=answer.rfind('}')?)?;
    let Answer { tools } = serde_json::from_str(object).ok()?;
    let Some(Format::Schema { schema, .. }) = &request.shape.format else { return None };
    let shown = schema["properties"][TOOLS]["items"]["enum"].as_array()?;
    let shown: BTreeSet<&str> = shown.iter().filter_map(Value::as_str).collect();
    let named: BTreeSet<ToolName> =
        tools.iter().filter(|name| shown.contains(name.as_str())).filter_map(|name| name.parse().ok()).collect();
    Some(named.into_iter().collect())
}

#[cfg(test)]
mod tests;

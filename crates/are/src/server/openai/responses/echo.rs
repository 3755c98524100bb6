//! What an answer repeats of its request, so that it can be made again from what is recorded of the turn.

use std::collections::BTreeMap;

use are_core::ids::ToolName;
use are_core::model::{Effort, Format, Shape, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What is kept with a turn because nothing else in its session says it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    /// The model as the client named it.
    pub(super) model: String,
    /// The answer that it goes on after, as the client named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<String>,
    /// The client's own labels.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) metadata: Map<String, Value>,
    /// `auto` or `none`.
    pub(super) tool_choice: String,
    /// True when the first of the messages that came with the words is the field `instructions`.
    pub(super) is_instructed: bool,
    /// The client's names of its tools by the model's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) names: BTreeMap<ToolName, String>,
}

impl Kept {
    /// As it is recorded.
    pub(super) fn to_value(&self) -> Value {
        // A struct of texts, so encoding cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// As it was recorded; of a turn that another door began, nothing.
    pub(super) fn read(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }
}

/// The repeated fields.
pub(super) struct Echo {
    pub(super) model: String,
    pub(super) previous: Option<String>,
    pub(super) fields: Map<String, Value>,
}

impl Echo {
    /// Of a request: what is kept of it, its wishes, the tools and the shape that were asked for, its instructions.
    pub(super) fn of(
        kept: Kept,
        (effort, temperature_milli): (Option<Effort>, Option<u32>),
        (tools, shape): (&[ToolSpec], &Shape),
        instructions: Option<String>,
    ) -> Self {
        let milli = |milli: Option<u32>| milli.map_or(1.0, |milli| f64::from(milli) / 1000.0);
        let tool_choice = if kept.tool_choice.is_empty() { "auto" } else { kept.tool_choice.as_str() };
        let tools: Vec<Value> = tools.iter().map(|tool| declaration(tool, &kept.names)).collect();
        let fields = json!({
            "instructions": instructions,
            "max_output_tokens": shape.output_tokens_max,
            "metadata": kept.metadata,
            "reasoning": {"effort": effort.map(Effort::word), "summary": null},
            "temperature": milli(temperature_milli),
            "text": {"format": form(shape.format.as_ref())},
            "tool_choice": tool_choice,
            "tools": tools,
            "top_p": milli(shape.top_p_milli),
        });
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { model: kept.model, previous: kept.previous, fields }
    }
}

fn declaration(tool: &ToolSpec, names: &BTreeMap<ToolName, String>) -> Value {
    let name = names.get(&tool.name).map_or(tool.name.as_str(), String::as_str);
    json!({
        "type": "function",
        "name": name,
        "description": tool.description,
        "parameters": tool.schema,
        "strict": null,
    })
}

fn form(format: Option<&Format>) -> Value {
    match format {
        None => json!({"type": "text"}),
        Some(Format::Object) => json!({"type": "json_object"}),
        Some(Format::Schema { name, schema, strict }) => {
            json!({"type": "json_schema", "name": name, "schema": schema, "strict": strict})
        }
    }
}

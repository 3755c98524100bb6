//! Whether an answer has the form that was asked for, and what a model is told whose answer has not.
//!
//! An answer without its form is asked for once more in a turn: the same
//! request again with the answer and what is wrong with it behind. A model that
//! fails twice would fail again, so the second answer ends the turn, whatever
//! it is; whoever hands it on looks once more. All of it follows from the
//! recorded steps, so that a replay asks again where the turn did.

use are_core::model::{Format, Message, Shape, StopReason};
use are_policy::schema;
use serde_json::Value;

use crate::envelope;
use crate::state::{ModelStep, Step, Turn};

/// Bytes of what is said about an answer: a line for a person, many for a schema.
const WHY_BYTES_MAX: usize = 1 << 10;
/// Stands before it.
const WRONG: &str = "Your answer was refused: it does not have the form that was asked for. What is wrong with it:";
/// Stands behind it.
const AGAIN: &str = "Give the whole answer again, as that JSON alone, without words or marks around it.";

/// Whether an answer has the form; the JSON of it, without the fence that some models put around it.
///
/// # Errors
/// What is wrong with it, in words that may repeat parts of the answer and of the schema.
pub fn fitting(text: &str, shape: &Shape) -> Result<String, String> {
    let text = text.trim();
    let inner = text.strip_prefix("```json").or_else(|| text.strip_prefix("```")).and_then(|t| t.strip_suffix("```"));
    let json = inner.unwrap_or(text).trim();
    let value: Value = serde_json::from_str(json).map_err(|error| format!("the answer is no JSON: {error}"))?;
    match &shape.format {
        Some(Format::Schema { schema, .. }) => schema::fits(schema, &value)?,
        Some(Format::Object) if !value.is_object() => return Err("the answer is no JSON object".to_owned()),
        Some(Format::Object) | None => {}
    }
    Ok(json.to_owned())
}

/// True when the turn's last answer is to be asked for once more.
pub(crate) fn is_to_repair(turn: &Turn, model: &ModelStep) -> bool {
    // Two answers stand next to one another only where the first was asked for again: otherwise something comes between
    // them, a call or further words.
    let is_repaired = || turn.steps.windows(2).any(|pair| matches!(pair, [Step::Model(_), Step::Model(_)]));
    unfit(turn, model).is_some() && !is_repaired()
}

/// What the model is told behind an answer, where it was asked for again or is to be.
pub(crate) fn note(turn: &Turn, model: &ModelStep, is_followed: bool, delimiter: &str) -> Option<Message> {
    if !is_followed && (turn.ended.is_some() || !is_to_repair(turn, model)) {
        return None;
    }
    let why = envelope::capped(&unfit(turn, model)?, WHY_BYTES_MAX);
    // It quotes the answer and the schema, and neither is the user's word.
    Some(Message::User { text: format!("{WRONG}\n{}\n{AGAIN}", envelope::quoted(&why, delimiter)) })
}

/// What is wrong with a whole answer that calls nothing. One that was cut off has no form, and its reason to end says so.
fn unfit(turn: &Turn, model: &ModelStep) -> Option<String> {
    turn.asked.shape.format.as_ref()?;
    let is_whole = matches!(model.stop_reason, Some(StopReason::Stop | StopReason::ToolCalls));
    (is_whole && model.calls.is_empty()).then(|| fitting(&model.text, &turn.asked.shape).err()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_must_fit_and_a_fence_around_it_is_taken_off() {
        let schema = json!({"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]});
        let format = Format::Schema { name: "n".into(), schema, strict: true };
        let shape = Shape { format: Some(format), ..Shape::default() };
        assert_eq!(fitting("```json\n{\"x\": 1}\n```", &shape), Ok("{\"x\": 1}".to_owned()));
        assert!(fitting("{\"x\": \"1\"}", &shape).is_err() && fitting("Here it is: {}", &shape).is_err());
        let object = Shape { format: Some(Format::Object), ..Shape::default() };
        assert!(fitting("[1]", &object).is_err() && fitting("{}", &object).is_ok());
    }
}

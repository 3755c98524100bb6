//! What a call came to, as MCP says it.
//!
//! A value that is shaped as the protocol's own result (`content` blocks, with
//! `structuredContent`, `isError`) is passed on as it is: so a tool returns
//! images, sound, resources. Any other value is shown as text, an object as
//! structured content too. What failed is a result too, which a model can act
//! on; only what is no call at all is an error of the protocol.

use are_core::error::{Code, Fault};
use are_core::ids::{SessionKey, TurnNo};
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode, MetaObject};
use serde_json::{Map, Value, json};

use super::call::Ended;

/// Keys of a value that is shaped as the protocol's own result.
const SHAPE: [&str; 4] = ["content", "structuredContent", "isError", "_meta"];
/// An error of this server that JSON-RPC has no number for.
const SERVER_ERROR: ErrorCode = ErrorCode(-32000);

/// The result of a call.
pub(super) fn of(ended: Ended) -> CallToolResult {
    let place = Some((ended.session, ended.turn));
    match ended.outcome {
        Ok(called) => {
            let mut result = shaped(called.value);
            let mut meta = result.meta.take().unwrap_or_default();
            meta.extend(about(place));
            meta.insert("are/call".to_owned(), called.call.into());
            result.meta = Some(meta);
            result
        }
        Err(fault) => failed(&fault, place),
    }
}

fn shaped(value: Value) -> CallToolResult {
    let is_shaped = value.as_object().is_some_and(|map| {
        map.get("content").is_some_and(Value::is_array) && map.keys().all(|key| SHAPE.contains(&key.as_str()))
    });
    if is_shaped && let Ok(result) = serde_json::from_value(value.clone()) {
        return result;
    }
    match value {
        Value::String(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
        value => {
            let mut result = CallToolResult::success(vec![ContentBlock::text(value.to_string())]);
            // Revisions before the last allow objects only.
            result.structured_content = value.is_object().then_some(value);
            result
        }
    }
}

/// The result of a call that failed, was denied, or of which nobody knows whether it happened.
pub(super) fn failed(fault: &Fault, place: Option<(SessionKey, TurnNo)>) -> CallToolResult {
    let text = format!("{}: {}\n{}", fault.code, fault.message, fault.help);
    let mut result = CallToolResult::error(vec![ContentBlock::text(text.trim_end())]);
    let mut meta = about(place);
    meta.insert("are/error".to_owned(), data(fault));
    result.meta = Some(meta);
    result
}

/// Where a call stands in the journal.
fn about(place: Option<(SessionKey, TurnNo)>) -> MetaObject {
    let mut meta = Map::new();
    if let Some((session, turn)) = place {
        meta.insert("are/session".to_owned(), session.to_string().into());
        meta.insert("are/turn".to_owned(), turn.into());
    }
    MetaObject(meta)
}

/// A fault as an error of the protocol.
pub(super) fn error(fault: &Fault) -> ErrorData {
    let code = match fault.code {
        Code::TOOL_UNKNOWN | Code::TOOL_ARGS | Code::REQUEST_INVALID => ErrorCode::INVALID_PARAMS,
        Code::TOOL_NOT_FOUND | Code::NOT_FOUND => ErrorCode::RESOURCE_NOT_FOUND,
        Code::INTERNAL => ErrorCode::INTERNAL_ERROR,
        _ => SERVER_ERROR,
    };
    ErrorData::new(code, format!("{}: {}; {}", fault.code, fault.message, fault.help), Some(data(fault)))
}

fn data(fault: &Fault) -> Value {
    let mut data = json!({
        "code": fault.code,
        "message": fault.message,
        "help": fault.help,
        "retryable": fault.retryable,
    });
    if let Some(ms) = fault.retry_after_ms {
        data["retry_after_ms"] = ms.into();
    }
    data
}

/// No such tool.
pub(super) fn unknown_tool() -> Fault {
    Fault::new(Code::TOOL_UNKNOWN, "there is no such tool", "`tools/list` shows what there is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_as_what_it_is() {
        let image = json!({"content": [{"type": "image", "data": "aGk=", "mimeType": "image/png"}]});
        assert!(matches!(shaped(image).content.as_slice(), [ContentBlock::Image(image)] if image.data == "aGk="));
        let said = shaped(json!({"content": [{"type": "text", "text": "no"}], "isError": true}));
        assert_eq!(said.is_error, Some(true));
        // What only looks like it is shown whole.
        for value in [
            json!({"content": [{"type": "hologram"}]}),
            json!({"content": [], "status": 200}),
            json!({"content": "text"}),
        ] {
            let result = shaped(value.clone());
            assert_eq!(result.structured_content.as_ref(), Some(&value));
            assert_eq!(result.content, [ContentBlock::text(value.to_string())]);
        }
        let list = shaped(json!([1, 2]));
        assert_eq!((list.structured_content, list.content), (None, vec![ContentBlock::text("[1,2]")]));
        assert_eq!(shaped(json!("hi")).content, [ContentBlock::text("hi")]);
    }
}

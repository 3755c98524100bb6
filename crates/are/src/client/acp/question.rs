//! A call that waits for a person, as the editor asks about it.
//!
//! The editor is shown all that an answer is bound to: tool, exact arguments, why it asks, where the values came from and
//! the rule that is added for always. The answer goes back with the digest of exactly that. What the person does not
//! choose to allow is denied; where nobody can be asked, nothing is answered, and the call goes on waiting.

use agent_client_protocol::v1::schema::{
    PermissionOption, PermissionOptionKind, RequestPermissionOutcome, RequestPermissionRequest,
    RequestPermissionResponse, ToolCallUpdate, ToolCallUpdateFields,
};
use agent_client_protocol::{Error, is_connection_terminated, is_incoming_transport_closed};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::session::Voice;
use super::told::{block, call_id, fenced, title};
use crate::cli::output::one_line;

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// A decision of `are.v2`.
    Decision(&'static str),
    /// The turn is to be stopped.
    Stop,
    /// Nothing: somebody else answered, or the editor is gone.
    Nothing,
}

/// Asks about the call of an `approval_requested`, until `withdrawn` is dropped.
pub(super) async fn ask(
    voice: Voice,
    event: Value,
    offers_always: bool,
    withdrawn: oneshot::Receiver<()>,
) -> (u64, Said) {
    let number = event["approval"].as_u64().unwrap_or_default();
    let asked = voice.editor.send_request(request(&voice, &event, offers_always)).block_task();
    tokio::select! {
        answer = asked => (number, said(answer)),
        // Dropping the request tells the editor that it is void.
        _ = withdrawn => (number, Said::Nothing),
    }
}

fn request(voice: &Voice, event: &Value, offers_always: bool) -> RequestPermissionRequest {
    let tool = event["tool"].as_str().unwrap_or("a tool");
    let fields = ToolCallUpdateFields::new()
        .title(title(tool, &event["args"]))
        .raw_input(event["args"].clone())
        .content(vec![block(&fenced("", &words(event)))]);
    let call = ToolCallUpdate::new(call_id(event["call"].as_u64().unwrap_or_default()), fields);
    let meta: Map<String, Value> =
        ["digest", "approval"].iter().map(|name| (format!("are/{name}"), event[*name].clone())).collect();
    RequestPermissionRequest::new(voice.session.clone(), call, options(event, offers_always)).meta(meta)
}

/// All that the digest covers.
fn words(event: &Value) -> String {
    let text = |name: &str| one_line(event[name].as_str().unwrap_or_default());
    let origins: Vec<&str> = event["origins"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let from = if origins.is_empty() { "unknown".to_owned() } else { one_line(&origins.join(", ")) };
    let args = serde_json::to_string_pretty(&event["args"]).unwrap_or_default();
    let mut words = format!("{} {args}\n\nwhy:  {}\nfrom: {from}", text("tool"), text("why"));
    if let Some(rule) = event["rule"].as_str() {
        words.push_str("\nalways adds the rule:\n");
        words.extend(rule.lines().map(|line| format!("  {}\n", one_line(line))));
    }
    words
}

fn options(event: &Value, offers_always: bool) -> Vec<PermissionOption> {
    use PermissionOptionKind::{AllowAlways, AllowOnce, RejectOnce};
    let mut options = vec![
        PermissionOption::new("allow_once", "Allow once", AllowOnce),
        PermissionOption::new("allow_session", "Allow this call in this session", AllowAlways),
    ];
    if offers_always && event["rule"].is_string() {
        options.push(PermissionOption::new("allow_always", "Always allow: add the rule", AllowAlways));
    }
    options.push(PermissionOption::new("deny", "Deny", RejectOnce));
    options
}

fn said(answer: Result<RequestPermissionResponse, Error>) -> Said {
    match answer {
        Ok(answer) => match answer.outcome {
            RequestPermissionOutcome::Selected(chosen) => Said::Decision(decision(&chosen.option_id.0)),
            RequestPermissionOutcome::Cancelled => Said::Stop,
            _ => Said::Decision("deny"),
        },
        // Nobody was asked: the turn goes on without the editor, and somebody else may answer.
        Err(error) if is_incoming_transport_closed(&error) || is_connection_terminated(&error) => Said::Nothing,
        Err(error) => {
            tracing::warn!(code = i32::from(error.code), "the editor cannot ask about a call; it is denied");
            Said::Decision("deny")
        }
    }
}

fn decision(chosen: &str) -> &'static str {
    match chosen {
        "allow_once" => "allow_once",
        "allow_session" => "allow_session",
        "allow_always" => "allow_always",
        _ => "deny",
    }
}

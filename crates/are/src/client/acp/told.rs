//! What happens in a session, as an editor is told.
//!
//! An editor shows texts as Markdown and cannot take words back. So what tools and others wrote stands in blocks that
//! nothing in them can end, characters that turn the reading direction are shown, and what becomes void is said to be.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use agent_client_protocol::v1::schema::{
    Content, ContentBlock, ContentChunk, Diff, ImageContent, Notice, NoticeSeverity, SessionUpdate, ToolCall,
    ToolCallContent, ToolCallId, ToolCallLocation, ToolCallStatus, ToolCallUpdate, ToolCallUpdateFields, ToolKind,
};
use serde_json::Value;

use crate::cli::output::{one_line, plain};
use crate::client::follow::{Item, Said, left_out};

/// Characters of a call's title beside the tool's name.
const TITLE_CHARS_MAX: usize = 100;
/// Bytes of a result that are shown; all of it is in the session's journal.
const RESULT_BYTES_MAX: usize = 32 << 10;
/// Bytes of a running call's output that are shown: its end.
const OUTPUT_BYTES_MAX: usize = 8 << 10;
/// Calls that are remembered until they end: more than may run at once.
const CALLS_MAX: usize = 1 << 10;
/// Arguments that say best what a call is about, in this order.
const TELLING: [&str; 10] = ["path", "from", "url", "argv", "shell", "pattern", "query", "name", "agent", "prompt"];

/// Whose turn an item is of, and when it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Before the editor came.
    Past,
    /// Now, in a turn that the editor did not begin.
    Others,
    /// Now, in the editor's own.
    Own,
}

/// Turns items into updates of one session.
pub(super) struct Telling {
    /// The editor shows notices.
    has_notices: bool,
    /// Where the session works.
    workspace: Option<PathBuf>,
    /// Its files are the editor's too.
    is_here: bool,
    /// Calls that have not ended.
    calls: HashMap<u64, Called>,
    /// What the model has said in the turn.
    said: Said,
}

/// What is still needed of a call.
struct Called {
    tool: String,
    args: Value,
    output: String,
}

impl Telling {
    pub(super) fn new(has_notices: bool, workspace: Option<PathBuf>, is_here: bool) -> Self {
        Self { has_notices, workspace, is_here, calls: HashMap::new(), said: Said::default() }
    }

    /// What one item comes to.
    pub(super) fn updates(&mut self, item: &Item, when: When) -> Vec<SessionUpdate> {
        match item {
            Item::Token { turn, text, .. } => {
                self.said.add(*turn, text);
                vec![SessionUpdate::AgentMessageChunk(chunk(text.as_str()))]
            }
            Item::Event(event) => self.event(event, when),
            Item::Lost => self.remark("the connection to the server is lost; it is being mended", when),
            Item::Reset => vec![between("the server's journal lost its end; what follows is told from the beginning")],
            Item::Notice(_) => Vec::new(),
        }
    }

    /// What the person should know; it must not be missed.
    pub(super) fn note(&self, text: &str) -> SessionUpdate {
        if self.has_notices {
            return SessionUpdate::Notice(Notice::new(NoticeSeverity::Warning, one_line(text)));
        }
        between(text)
    }

    /// What the person may want to know of a turn; of the past nobody does.
    fn remark(&self, text: &str, when: When) -> Vec<SessionUpdate> {
        if when == When::Past {
            return Vec::new();
        }
        if self.has_notices {
            return vec![SessionUpdate::Notice(Notice::new(NoticeSeverity::Info, one_line(text)))];
        }
        vec![SessionUpdate::AgentThoughtChunk(chunk(format!("{}\n\n", one_line(text))))]
    }

    fn event(&mut self, event: &Value, when: When) -> Vec<SessionUpdate> {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        match event["type"].as_str().unwrap_or_default() {
            // The editor knows what was said in a turn of its own.
            "turn_started" if when == When::Own => Vec::new(),
            "turn_started" | "steered" => said(&event["content"]),
            "reasoning" => match event["text"].as_str() {
                Some(text) => vec![SessionUpdate::AgentThoughtChunk(chunk(text))],
                None => Vec::new(),
            },
            "model_restarted" => {
                if self.said.restart(event) {
                    return Vec::new();
                }
                vec![between("the model begins again; what it said since its last step is void")]
            }
            "turn_failed" if when != When::Own => vec![between(&format!("the turn failed: {}", why(&event["error"])))],
            "turn_parked" if when != When::Past => vec![self.note(
                "nobody answered in time: the turn is parked, and goes on with an answer (`are approval list` shows what waits)",
            )],
            "turn_resumed" => self.remark("the turn goes on after a restart", when),
            "model_failed" => {
                let why = event["error"]["message"].as_str().unwrap_or_default();
                self.remark(&format!("{} could not answer: {why}", text("model")), when)
            }
            "strategy" | "firewall" => {
                let reasons = texts(&event["reasons"]).join("; ");
                let head = if event["type"] == "firewall" { "this looks like an attack: " } else { "" };
                self.remark(&format!("{head}{reasons}"), when)
            }
            "planned" if event["tools"].is_null() => {
                self.remark(&format!("there is no plan: {}", why(&event["error"])), when)
            }
            "planned" => self.remark(&format!("the plan: {}", texts(&event["tools"]).join(", ")), when),
            "context_trimmed" => self.remark(&left_out(event), when),
            "compaction_requested" => {
                self.remark(&format!("the context is full: turns 1 to {} are being summed up", event["until"]), when)
            }
            "limit_reached" if event["waits"] == true => {
                self.remark(&format!("the turn waits for room: the limit {}", text("limit")), when)
            }
            "child_started" => {
                self.remark(&format!("the agent {} works in the session {}", text("agent"), text("session")), when)
            }
            _ => self.of_call(event).into_iter().collect(),
        }
    }

    fn of_call(&mut self, event: &Value) -> Option<SessionUpdate> {
        let number = event["call"].as_u64()?;
        let fields = ToolCallUpdateFields::new;
        let fields = match event["type"].as_str()? {
            "tool_requested" => return Some(SessionUpdate::ToolCall(self.begun(number, event))),
            "tool_started" => fields().status(ToolCallStatus::InProgress),
            "tool_output" => {
                let called = self.calls.get_mut(&number)?;
                called.output.push_str(event["text"].as_str()?);
                let from = called.output.len().saturating_sub(OUTPUT_BYTES_MAX);
                let from = called.output.ceil_char_boundary(from);
                called.output.drain(..from);
                fields().content(vec![block(&fenced("", &called.output))])
            }
            "tool_completed" => {
                let called = self.calls.remove(&number);
                let result = &event["result"];
                let content = called.and_then(|called| self.change(&called, result));
                let content = content.unwrap_or_else(|| block(&shown(result)));
                fields().status(ToolCallStatus::Completed).content(vec![content])
            }
            "tool_handed_over" => {
                self.calls.remove(&number);
                fields().status(ToolCallStatus::Completed)
            }
            "tool_failed" | "tool_unknown" => {
                self.calls.remove(&number);
                let head = if event["is_denied"] == true { "denied: " } else { "" };
                let text = format!("{head}{}", why(&event["error"]));
                fields().status(ToolCallStatus::Failed).content(vec![block(&fenced("", &text))])
            }
            _ => return None,
        };
        Some(SessionUpdate::ToolCallUpdate(ToolCallUpdate::new(call_id(number), fields)))
    }

    fn begun(&mut self, number: u64, event: &Value) -> ToolCall {
        let called = Called {
            tool: event["tool"].as_str().unwrap_or("a tool").to_owned(),
            args: event["args"].clone(),
            output: String::new(),
        };
        let mut call = ToolCall::new(call_id(number), title(&called.tool, &called.args))
            .name(called.tool.clone())
            .kind(kind(&called.tool))
            .locations(self.locations(&called))
            .raw_input(called.args.clone());
        // Known before it runs; what a write replaces is not.
        if called.tool == "fs_edit" {
            call = call.content(self.change(&called, &Value::Null).into_iter().collect());
        }
        if self.calls.len() < CALLS_MAX {
            self.calls.insert(number, called);
        }
        call
    }

    /// Files of the editor's machine that a call is about.
    fn locations(&self, called: &Called) -> Vec<ToolCallLocation> {
        let Some(workspace) = self.workspace.as_deref().filter(|_| self.is_here && is_file_tool(&called.tool)) else {
            return Vec::new();
        };
        let paths = ["path", "from", "to"].iter().filter_map(|name| called.args[*name].as_str());
        paths.map(|path| ToolCallLocation::new(workspace.join(path))).collect()
    }

    /// What a call changes in a file, where that is known.
    fn change(&self, called: &Called, result: &Value) -> Option<ToolCallContent> {
        let text = |name: &str| called.args[name].as_str();
        let path = self.workspace.as_deref().unwrap_or(Path::new("/")).join(text("path")?);
        let diff = match called.tool.as_str() {
            "fs_edit" => Diff::new(path, text("new")?).old_text(text("old")?),
            "fs_write" if result["created"] == true => Diff::new(path, text("content")?),
            _ => return None,
        };
        Some(ToolCallContent::Diff(diff))
    }
}

/// How a call is named towards the editor.
pub(super) fn call_id(number: u64) -> ToolCallId {
    ToolCallId::new(format!("call-{number}"))
}

/// What a call is about, in one line.
pub(super) fn title(tool: &str, args: &Value) -> String {
    let words = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => texts(value).join(" "),
        other => other.to_string(),
    };
    let about = TELLING.iter().find_map(|name| args.get(name)).map(words).unwrap_or_default();
    let mut about = one_line(&about);
    if let Some((at, _)) = about.char_indices().nth(TITLE_CHARS_MAX) {
        about.truncate(at);
        about.push('…');
    }
    one_line(&format!("{tool} {about}")).trim_end().to_owned()
}

/// A text in a block that nothing in it can end.
pub(super) fn fenced(kind: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}{kind}\n{}\n{fence}", plain(text))
}

/// A text as part of a call.
pub(super) fn block(text: &str) -> ToolCallContent {
    ToolCallContent::Content(Content::new(ContentBlock::from(text)))
}

fn chunk(text: impl Into<String>) -> ContentChunk {
    ContentChunk::new(ContentBlock::from(text))
}

/// A remark at this place between the model's words.
fn between(text: &str) -> SessionUpdate {
    // Others' words may be in it, and are neither a link nor an image there.
    let mut plain = String::with_capacity(text.len());
    for character in one_line(text).chars() {
        if matches!(character, '[' | ']' | '<' | '>' | '\\') {
            plain.push('\\');
        }
        plain.push(character);
    }
    SessionUpdate::AgentMessageChunk(chunk(format!("\n\n*[{plain}]*\n\n")))
}

/// The user's words and images, and the names of what was attached.
fn said(content: &Value) -> Vec<SessionUpdate> {
    let text = |part: &Value, name: &str| part[name].as_str().unwrap_or_default().to_owned();
    let block = |part: &Value| match part["type"].as_str() {
        Some("text") => Some(chunk(text(part, "text"))),
        Some("file") => Some(chunk(format!("\n[{}]\n", one_line(&text(part, "name"))))),
        Some("image") => {
            let image = ImageContent::new(text(part, "data"), text(part, "media_type"));
            Some(ContentChunk::new(ContentBlock::Image(image)))
        }
        _ => None,
    };
    let parts = content.as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter_map(block).map(SessionUpdate::UserMessageChunk).collect()
}

/// A result for people: the text in it where there is one, else JSON.
fn shown(result: &Value) -> String {
    let text = |name: &str| result[name].as_str();
    let (kind, text) = match (result.as_str().or_else(|| text("content")), text("stdout"), text("stderr")) {
        (Some(text), _, _) => ("", text.to_owned()),
        (None, Some(out), Some(err)) => {
            let end = if result["signal"].is_null() { &result["exit_code"] } else { &result["signal"] };
            ("", format!("{out}{err}\n[ended with {end}]"))
        }
        _ => ("json", serde_json::to_string_pretty(result).unwrap_or_default()),
    };
    if text.len() <= RESULT_BYTES_MAX {
        return fenced(kind, &text);
    }
    let head = &text[..text.floor_char_boundary(RESULT_BYTES_MAX)];
    format!("{}\n\n*[{} more bytes are in the session's journal]*", fenced(kind, head), text.len() - head.len())
}

/// Why something failed, with its code and what to do.
fn why(error: &Value) -> String {
    let text = |name: &str| error[name].as_str().unwrap_or_default();
    one_line(&format!("{}: {}; {}", text("code"), text("message"), text("help")))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn is_file_tool(tool: &str) -> bool {
    tool.starts_with("fs_")
}

/// For icons; what a tool may do is decided elsewhere.
fn kind(tool: &str) -> ToolKind {
    match tool {
        "fs_read" | "fs_list" | "fs_stat" | "variable_get" | "result_read" | "skill_read" => ToolKind::Read,
        "fs_write" | "fs_edit" | "fs_mkdir" => ToolKind::Edit,
        "fs_delete" => ToolKind::Delete,
        "fs_move" => ToolKind::Move,
        "fs_search" | "tool_search" | "memory_search" => ToolKind::Search,
        "http_request" => ToolKind::Fetch,
        tool if tool.starts_with("process_") => ToolKind::Execute,
        _ => ToolKind::Other,
    }
}

#[cfg(test)]
mod tests;

//! `are session show --timeline`: how long each step of a session took.
//!
//! Made from the events alone, so it tells of any session, also one that runs:
//! what has not ended is open.

use std::collections::BTreeMap;

use are_core::journal::timestamp;
use serde::Serialize;
use serde_json::Value;

/// Columns of the bar that shows where in its turn a step lies.
const BAR_COLUMNS: usize = 24;
/// Characters of a turn's words.
const WORDS_CHARS_MAX: usize = 60;

/// A stretch of time in which one thing went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Span {
    /// Number of the turn.
    turn: u64,
    /// `turn`, `model`, `tool` or `approval`.
    kind: &'static str,
    /// Model or tool, or the first words of the prompt.
    name: String,
    /// Number of the call, or of the call that is asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<u64>,
    /// The call that made this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<u64>,
    /// When it began, milliseconds since 1970.
    start_ms: u64,
    /// When it ended; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_ms: Option<u64>,
    /// How it ended, or stands.
    status: String,
    /// Tokens of a model's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
}

/// Reads events in their order.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    spans: Vec<Span>,
    /// Spans that have not ended, by kind and number.
    open: BTreeMap<(&'static str, u64), usize>,
}

impl Timeline {
    /// Takes in the next event; tokens and what has no time say nothing.
    pub(super) fn take(&mut self, event: &Value) {
        let (Some(kind), Some(at)) = (event["type"].as_str(), event["at_ms"].as_u64()) else { return };
        let turn = event["turn"].as_u64().unwrap_or_default();
        let number = |key: &str| event[key].as_u64().unwrap_or_default();
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        match kind {
            "turn_started" => self.begin(("turn", turn), turn, words(&event["content"]), at),
            "turn_completed" => self.end(("turn", turn), at, &text("stop_reason"), "completed"),
            "turn_failed" => {
                self.end(("turn", turn), at, event["error"]["code"].as_str().unwrap_or_default(), "failed")
            }
            "turn_cancelled" => self.end(("turn", turn), at, "", "cancelled"),
            "model_requested" => {
                // A model that was asked again had not answered.
                self.end(("model", turn), at, "", "broken off");
                self.begin(("model", turn), turn, text("model"), at);
            }
            "model_completed" => {
                if let Some(span) = self.opened(("model", turn)) {
                    span.usage = Some(event["usage"].clone()).filter(Value::is_object);
                }
                self.end(("model", turn), at, &text("stop_reason"), "completed");
            }
            "planned" => {
                if let Some(span) = self.opened(("model", turn)) {
                    span.usage = Some(event["usage"].clone()).filter(Value::is_object);
                }
                let (code, status) = match event["error"]["code"].as_str() {
                    Some(code) => (code, "failed"),
                    None => ("planned", "completed"),
                };
                self.end(("model", turn), at, code, status);
            }
            "tool_requested" => {
                let call = number("call");
                self.begin(("tool", call), turn, text("tool"), at);
                if let Some(span) = self.opened(("tool", call)) {
                    (span.call, span.parent) = (Some(call), event["parent"].as_u64());
                }
            }
            "decision" => {
                let outcome = text("outcome");
                if let Some(span) = self.opened(("tool", number("call"))) {
                    span.status.clone_from(&outcome);
                }
                if outcome == "deny" {
                    self.end(("tool", number("call")), at, "", "denied");
                }
            }
            "tool_completed" => self.end(("tool", number("call")), at, "", "completed"),
            "tool_failed" => {
                self.end(("tool", number("call")), at, event["error"]["code"].as_str().unwrap_or_default(), "failed");
            }
            "tool_unknown" => self.end(("tool", number("call")), at, "", "unknown"),
            "approval_requested" => {
                self.begin(("approval", number("approval")), turn, text("tool"), at);
                if let Some(span) = self.opened(("approval", number("approval"))) {
                    span.call = event["call"].as_u64();
                }
            }
            "approval_resolved" => self.end(("approval", number("approval")), at, &text("decision"), "answered"),
            _ => {}
        }
    }

    fn begin(&mut self, key: (&'static str, u64), turn: u64, name: String, at: u64) {
        self.open.insert(key, self.spans.len());
        let status = "open".to_owned();
        let span =
            Span { turn, kind: key.0, name, call: None, parent: None, start_ms: at, end_ms: None, status, usage: None };
        self.spans.push(span);
    }

    fn opened(&mut self, key: (&'static str, u64)) -> Option<&mut Span> {
        self.open.get(&key).and_then(|at| self.spans.get_mut(*at))
    }

    fn end(&mut self, key: (&'static str, u64), at: u64, detail: &str, how: &str) {
        let Some(span) = self.opened(key) else { return };
        span.end_ms = Some(at.max(span.start_ms));
        span.status = if detail.is_empty() { how.to_owned() } else { format!("{how}, {detail}") };
        self.open.remove(&key);
        if key.0 != "turn" {
            return;
        }
        // What was going on when the turn ended ended with it.
        let left: Vec<_> =
            self.open.iter().filter(|(_, at)| self.spans[**at].turn == key.1).map(|(key, _)| *key).collect();
        for key in left {
            self.end(key, at, "", "ended with the turn");
        }
    }

    /// All spans in the order in which they began.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// A line for each turn and one for each step below it, with a bar that shows where in the turn it lies.
    pub(super) fn lines(&self, tz: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for turn in self.spans.iter().filter(|span| span.kind == "turn") {
            let begun = timestamp(turn.start_ms)
                .and_then(|at| at.in_tz(tz).ok())
                .map_or_else(String::new, |at| at.strftime("%F %T").to_string());
            lines.push(format!("turn {}  {begun}  {}  {}  {}", turn.turn, took(turn), turn.status, turn.name));
            let steps = || self.spans.iter().filter(|span| span.turn == turn.turn && span.kind != "turn");
            let last = steps().filter_map(|span| span.end_ms).max().unwrap_or(turn.start_ms);
            let end = turn.end_ms.unwrap_or(last).max(turn.start_ms + 1);
            lines.extend(steps().map(|span| step(span, (turn.start_ms, end))));
        }
        lines
    }
}

fn step(span: &Span, (from, to): (u64, u64)) -> String {
    let scale = |at: u64| {
        let at = at.clamp(from, to) - from;
        usize::try_from(at * BAR_COLUMNS as u64 / (to - from)).unwrap_or(BAR_COLUMNS)
    };
    let begin = scale(span.start_ms).min(BAR_COLUMNS - 1);
    let end = scale(span.end_ms.unwrap_or(to)).max(begin + 1);
    let bar: String = (0..BAR_COLUMNS).map(|at| if (begin..end).contains(&at) { '█' } else { '·' }).collect();
    let indent = if span.parent.is_some() { "  " } else { "" };
    let tokens = span
        .usage
        .as_ref()
        .map_or_else(String::new, |usage| format!("  {} in, {} out", usage["input_tokens"], usage["output_tokens"]));
    let call = span.call.map_or_else(String::new, |call| format!(" #{call}"));
    let at = format!("+{}", seconds(span.start_ms.saturating_sub(from)));
    format!("  {at:>9} {:>9} {bar} {indent}{} {}{call}  {}{tokens}", took(span), span.kind, span.name, span.status)
}

fn took(span: &Span) -> String {
    span.end_ms.map_or_else(|| "…".to_owned(), |end| seconds(end - span.start_ms))
}

fn seconds(ms: u64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10) }
}

/// The first words of a prompt.
fn words(content: &Value) -> String {
    let text = match content {
        Value::String(text) => text.clone(),
        content => {
            let parts = content.as_array().into_iter().flatten();
            let said = |part: &Value| match part["type"].as_str() {
                Some("image") => Some("[image]".to_owned()),
                _ => part["text"].as_str().map(str::to_owned),
            };
            parts.filter_map(said).collect::<Vec<_>>().join(" ")
        }
    };
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ");
    let cut: String = line.chars().take(WORDS_CHARS_MAX).collect();
    if cut.len() < line.len() { format!("{cut}…") } else { cut }
}

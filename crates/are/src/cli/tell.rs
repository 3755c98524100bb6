//! Tells a turn as it happens: the answer on stdout, everything about it on stderr.

use are_core::error::{Code, Fault};
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::output::markdown::Markdown;
use super::output::{Output, one_line};
use crate::client::{Item, Said, fault_of, left_out};

/// Characters of a call's arguments in a line about it; an approval shows all of them.
const ARGS_SHOWN: usize = 300;

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// With an answer.
    Completed,
    /// Without one.
    Failed(Fault),
    /// Stopped by a user.
    Cancelled,
    /// It waits for an answer that did not come in time; it goes on when that comes.
    Parked,
}

/// Tells one turn.
pub(super) struct Teller {
    out: Output,
    markdown: Markdown,
    /// Text on stdout does not end with a line break.
    is_open_line: bool,
    /// A progress line stands on the terminal.
    is_progress_shown: bool,
    /// The last call of the turn so far was denied.
    is_last_call_denied: bool,
    /// What the model has said in the turn.
    said: Said,
    /// The model goes on in the middle of its answer.
    goes_on: bool,
}

impl Teller {
    pub(super) fn new(out: Output) -> Self {
        Self {
            out,
            markdown: Markdown::default(),
            is_open_line: false,
            is_progress_shown: false,
            is_last_call_denied: false,
            said: Said::default(),
            goes_on: false,
        }
    }

    /// Tells one item; the turn's end when it was that.
    pub(super) fn tell(&mut self, item: &Item) -> Result<Option<Ended>, Failure> {
        if self.out.is_json {
            if let Some(line) = as_json(item) {
                self.out.json(&line)?;
            }
        } else {
            self.in_words(item)?;
        }
        let Item::Event(event) = item else { return Ok(None) };
        self.note_denial(event);
        let ended = match event["type"].as_str() {
            Some("turn_completed") => Ended::Completed,
            Some("turn_failed") => Ended::Failed(fault_of(&event["error"])),
            Some("turn_cancelled") => Ended::Cancelled,
            Some("turn_parked") => Ended::Parked,
            _ => return Ok(None),
        };
        self.close_line()?;
        Ok(Some(ended))
    }

    /// The exit code of a turn that ended thus. A denial counts when nothing was called after it: the model then
    /// had to finish without what it wanted.
    pub(super) fn exit(&self, ended: &Ended) -> Exit {
        match ended {
            Ended::Completed if self.is_last_call_denied => Exit::Denied,
            Ended::Completed => Exit::Done,
            Ended::Failed(fault) => Exit::of(fault.code),
            Ended::Cancelled => Exit::Interrupted,
            Ended::Parked => Exit::Denied,
        }
    }

    fn note_denial(&mut self, event: &Value) {
        match event["type"].as_str() {
            Some("tool_failed") => self.is_last_call_denied = event["is_denied"] == true,
            Some("tool_completed" | "tool_unknown") => self.is_last_call_denied = false,
            _ => {}
        }
    }

    /// Ends the line that the answer is in, so that what follows stands alone.
    pub(super) fn close_line(&mut self) -> Result<(), Failure> {
        self.clear_progress();
        self.out.end_answer(&mut self.markdown)?;
        if self.is_open_line {
            self.is_open_line = false;
            self.out.piece("\n")?;
        }
        Ok(())
    }

    fn in_words(&mut self, item: &Item) -> Result<(), Failure> {
        match item {
            Item::Token { turn, text, .. } => {
                self.clear_progress();
                self.said.add(*turn, text);
                self.is_open_line = !text.ends_with('\n');
                self.out.answer(&mut self.markdown, text)
            }
            Item::Event(event) => self.event(event),
            Item::Notice(notice) => self.notice(notice),
            Item::Lost => self.aside("the connection is lost; attaching again"),
            Item::Reset => self.aside("the journal is another than before; what was shown may be superseded"),
        }
    }

    fn event(&mut self, event: &Value) -> Result<(), Failure> {
        let text = |key: &str| one_line(event[key].as_str().unwrap_or_default());
        match event["type"].as_str().unwrap_or_default() {
            // Each answer of the model begins on a line of its own.
            "model_requested" if std::mem::take(&mut self.goes_on) => Ok(()),
            "model_requested" => self.close_line(),
            "model_restarted" => {
                self.goes_on = self.said.restart(event) && !self.said.is_nothing();
                if self.goes_on {
                    return Ok(());
                }
                self.aside("the model begins again; what it said since its last step is superseded")
            }
            "model_failed" => {
                let why = one_line(event["error"]["message"].as_str().unwrap_or_default());
                self.aside(&format!("{} could not answer: {why}", text("model")))
            }
            "planned" => {
                let tools: Vec<&str> =
                    event["tools"].as_array().into_iter().flatten().filter_map(|one| one.as_str()).collect();
                let code = event["error"]["code"].as_str().unwrap_or_default();
                match (event["tools"].is_null(), tools.is_empty()) {
                    (true, _) => self.aside(&format!("no plan ({code}): calls are decided without one")),
                    (false, true) => self.aside("the plan: no tool with an effect"),
                    (false, false) => self.aside(&format!("the plan: {}", tools.join(", "))),
                }
            }
            "artifact" => {
                let about = format!("{}, {} bytes, {}", text("media_type"), event["bytes"], text("digest"));
                self.aside(&format!("artifact {} ({about})", text("name")))
            }
            "strategy" => {
                let reasons: Vec<&str> =
                    event["reasons"].as_array().into_iter().flatten().filter_map(|one| one.as_str()).collect();
                self.aside(&one_line(&reasons.join("; ")))
            }
            "context_trimmed" => self.aside(&left_out(event)),
            "results_shortened" => {
                self.aside(&format!("the context is full: {} earlier results are shown shortened", event["results"]))
            }
            "compaction_requested" => {
                self.aside(&format!("the context is full: turns 1 to {} are being summed up", event["until"]))
            }
            "compaction_failed" => {
                let why = one_line(event["error"]["message"].as_str().unwrap_or_default());
                self.aside(&format!("they are not summed up: {why}"))
            }
            "turn_resumed" => self.aside("the turn goes on after a restart"),
            "limit_reached" if event["waits"] == true => {
                let seconds = event["retry_after_ms"].as_u64().unwrap_or_default().div_ceil(1_000);
                self.aside(&format!("waits {seconds} s for room: the limit {}", text("limit")))
            }
            "tool_requested" => {
                let args = shortened(&event["args"].to_string());
                // What a running call makes stands below it.
                let indent = if event["parent"].is_null() { "" } else { "  " };
                self.aside(&format!("{indent}\u{2192} {} {args}", text("tool")))
            }
            "firewall" => {
                let reasons: Vec<&str> =
                    event["reasons"].as_array().into_iter().flatten().filter_map(|one| one.as_str()).collect();
                let what = if event["call"].is_null() { "the prompt" } else { "what the call returned" };
                self.aside(&format!("! {what} looks like an attack: {}", one_line(&reasons.join(", "))))
            }
            "decision" => self.decision(event),
            "approval_resolved" if event["by"] == "nobody" => {
                self.aside("  denied: nobody who may approve it is there")
            }
            "approval_resolved" => self.aside(&format!("  {} by {}", text("decision").replace('_', " "), text("by"))),
            "approval_withdrawn" => self.aside("  the rules changed; the call is decided anew"),
            "child_started" => {
                let (agent, session) = (text("agent"), text("session"));
                self.aside(&format!("  the agent {agent} works in {session}; what it asks shows `are approval list`"))
            }
            "child_completed" => self.aside(&format!("  its turn has {}", text("ended"))),
            "turn_parked" => {
                self.aside("the turn is parked: `are approval list` shows what waits, an answer goes on with it")
            }
            "tool_failed" if event["is_denied"] == true => Ok(()),
            "tool_failed" => {
                self.aside(&format!("\u{2717} {}", one_line(event["error"]["message"].as_str().unwrap_or_default())))
            }
            "tool_unknown" => self.aside("? nobody knows whether it happened; it is not repeated"),
            _ => Ok(()),
        }
    }

    fn decision(&mut self, event: &Value) -> Result<(), Failure> {
        let why = one_line(event["why"].as_str().unwrap_or_default());
        let say = one_line(event["say"].as_str().unwrap_or_default());
        match (event["outcome"].as_str(), event["would"].as_str()) {
            (Some("deny"), _) => {
                self.aside(&format!("\u{2717} denied: {why}"))?;
                if say.is_empty() { Ok(()) } else { self.aside(&format!("  {say}")) }
            }
            (_, Some(would)) => self.aside(&format!("  strict would {would}")),
            _ => Ok(()),
        }
    }

    fn notice(&mut self, notice: &Value) -> Result<(), Failure> {
        match notice["type"].as_str() {
            Some("progress") if self.out.is_coloured && !self.is_open_line => {
                let phase = one_line(notice["phase"].as_str().unwrap_or_default());
                let (done, total) = (notice["done"].as_u64().unwrap_or(0), notice["total"].as_u64().unwrap_or(0));
                let share = done.saturating_mul(100).checked_div(total);
                let share = share.map_or_else(String::new, |share| format!(" {share} %"));
                self.out.transient(&format!("{phase}{share}"));
                self.is_progress_shown = true;
                Ok(())
            }
            Some("error") => {
                let fault = fault_of(notice);
                // Somebody else was quicker with the answer.
                if fault.code == Code::APPROVAL_UNKNOWN {
                    return Ok(());
                }
                self.close_line()?;
                self.out.fault(&fault);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn aside(&mut self, text: &str) -> Result<(), Failure> {
        self.clear_progress();
        if self.out.is_terminal {
            self.close_line()?;
        }
        self.out.aside(text);
        Ok(())
    }

    fn clear_progress(&mut self) {
        if self.is_progress_shown {
            self.is_progress_shown = false;
            self.out.transient("");
        }
    }
}

/// The item as `--json` prints it: an event is as on the wire, a token an object.
pub(super) fn as_json(item: &Item) -> Option<Value> {
    match item {
        Item::Token { turn, first, last, text } => {
            let mut line = json!({"type": "token", "turn": turn, "seq": last, "text": text});
            if first != last {
                line["first_seq"] = json!(first);
            }
            Some(line)
        }
        Item::Event(event) | Item::Notice(event) => Some(event.clone()),
        Item::Reset => Some(json!({"type": "reset"})),
        Item::Lost => None,
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= ARGS_SHOWN {
        return one_line(text);
    }
    let head: String = text.chars().take(ARGS_SHOWN).collect();
    format!("{}…", one_line(&head))
}

#[cfg(test)]
mod tests;

//! Turns journal entries into events, in order.
//!
//! A frame does not say which turn it belongs to; the records around it do. So
//! the narrator remembers the turn of the records it has passed, and before the
//! first one takes the turn of the next record that follows.

use std::fmt::Write as _;

use are_core::body::Body;
use are_core::error::Code;
use are_core::ids::{Seq, TurnNo};
use are_core::journal::{Entry, Frame, Record};
use are_core::model::Image;
use are_core::payload::{Part, Payload};
use serde_json::{Value, json};

use super::event::{Event, Parent, What, WireError};

/// Narrates one session.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct Narrator {
    turn: Option<TurnNo>,
}

impl Narrator {
    /// Starts in the middle of a journal, where `turn` runs, if that is known.
    pub(in crate::server) fn within(turn: Option<TurnNo>) -> Self {
        Self { turn }
    }

    /// Looks ahead for the turn that the first frames belong to.
    pub(in crate::server) fn look_ahead<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) {
        if self.turn.is_none() {
            self.turn = entries.into_iter().find_map(turn_within);
        }
    }

    /// The turn whose frames come now.
    pub(in crate::server) fn turn(&self) -> Option<TurnNo> {
        self.turn
    }

    /// Notes what an entry says about the turn that runs.
    pub(in crate::server) fn pass(&mut self, entry: &Entry) {
        self.turn = turn_within(entry).or(self.turn);
    }

    /// One entry as the text of a frame.
    pub(in crate::server) fn tell(&mut self, entry: &Entry) -> String {
        self.pass(entry);
        match entry {
            Entry::Frame(seq, Frame::Token { text }) => token(*seq, *seq, text),
            Entry::Frame(seq, Frame::Reasoning { at_ms, text, opaque }) => {
                self.frame(*seq, *at_ms, What::Reasoning { text: text.clone(), opaque: opaque.clone() })
            }
            Entry::Frame(seq, Frame::ToolOutput { at_ms, call, stream, text }) => {
                self.frame(*seq, *at_ms, What::ToolOutput { call: *call, stream: stream.clone(), text: text.clone() })
            }
            Entry::Record(record, payload) => encode(&event(record, payload.as_ref())),
        }
    }

    /// The name under which an entry goes out on an event stream.
    pub(in crate::server) fn name(entry: &Entry) -> String {
        match entry {
            Entry::Frame(_, Frame::Token { .. }) => "token".to_owned(),
            Entry::Frame(_, Frame::Reasoning { .. }) => "reasoning".to_owned(),
            Entry::Frame(_, Frame::ToolOutput { .. }) => "tool_output".to_owned(),
            Entry::Record(record, _) => record.body.action(),
        }
    }

    fn frame(&self, seq: Seq, at_ms: u64, what: What) -> String {
        encode(&Event { what, turn: self.turn, seq, at_ms })
    }
}

/// Token text as `[seq,"text"]`, or `[first,last,"text"]` when several were joined.
pub(in crate::server) fn token(first: Seq, last: Seq, text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 24);
    // Writing to a `String` does not fail.
    let written = if first == last { write!(out, "[{first},") } else { write!(out, "[{first},{last},") };
    debug_assert!(written.is_ok());
    out.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned()));
    out.push(']');
    out
}

/// The turn that an entry shows to be running; a prompt that waits says nothing of the frames around it.
fn turn_within(entry: &Entry) -> Option<TurnNo> {
    match entry {
        Entry::Record(record, _)
            if !matches!(record.body, Body::TurnStarted { .. } | Body::Firewall { .. } | Body::Feedback { .. }) =>
        {
            record.turn
        }
        Entry::Record(..) | Entry::Frame(..) => None,
    }
}

fn encode(event: &Event) -> String {
    // Texts, integers and JSON values always encode; `{}` is a frame that clients skip.
    serde_json::to_string(event).unwrap_or_else(|_| "{}".to_owned())
}

fn event(record: &Record, payload: Option<&Payload>) -> Event {
    let at_ms = u64::try_from(record.timestamp.as_millisecond()).unwrap_or_default();
    Event { what: what(record, payload), turn: record.turn, seq: record.seq, at_ms }
}

fn what(record: &Record, payload: Option<&Payload>) -> What {
    match &record.body {
        Body::SessionCreated { owner, agent, parent, child_of, engine } => What::SessionCreated {
            owner: owner.to_string(),
            agent: agent.to_string(),
            workspace: match payload {
                Some(Payload::Created { workspace, .. }) => Some(workspace.clone()),
                _ => None,
            },
            parent: match (parent, child_of) {
                (Some((session, seq)), _) => Some(Parent { session: session.to_string(), seq: Some(*seq), call: None }),
                (None, Some((session, call))) => {
                    Some(Parent { session: session.to_string(), seq: None, call: Some(*call) })
                }
                (None, None) => None,
            },
            engine: engine.clone(),
        },
        Body::TurnStarted {
            request_id, thread, integrity, temperature_milli, effort, model, undoes, compacts, ..
        } => What::TurnStarted {
            request_id: request_id.as_ref().map(ToString::to_string),
            account: record.account.to_string(),
            thread: thread.to_string(),
            integrity: *integrity,
            temperature: temperature_milli.map(|milli| f64::from(milli) / 1000.0),
            effort: *effort,
            model: model.clone(),
            undoes: *undoes,
            compacts: *compacts,
            content: content(payload),
        },
        Body::Firewall { verdict, score_milli, reasons, call, allowed, .. } => What::Firewall {
            verdict: verdict.clone(),
            score: f64::from(*score_milli) / 1000.0,
            reasons: reasons.clone(),
            call: *call,
            allowed: *allowed,
        },
        Body::Steered { integrity } => What::Steered { content: content(payload), integrity: *integrity },
        Body::Feedback { rating } => {
            let note = match payload {
                Some(Payload::Note { note }) => Some(note.clone()),
                _ => None,
            };
            What::Feedback { rating: *rating, note }
        }
        Body::VariableSet { scope, call } => {
            let (name, value) = match payload {
                Some(Payload::Variable { name, value, .. }) => (Some(name.to_string()), value.clone()),
                _ => (None, None),
            };
            What::VariableSet { scope: *scope, call: *call, name, value }
        }
        Body::Artifact { call, bytes, labels } => {
            let (name, media_type, digest) = match payload {
                Some(Payload::Artifact { name, media_type, digest, .. }) => {
                    (Some(name.clone()), Some(media_type.clone()), Some(digest.to_string()))
                }
                _ => (None, None, None),
            };
            What::Artifact { call: *call, name, media_type, bytes: *bytes, digest, labels: *labels }
        }
        Body::MemoryAdded { memory, call } => {
            let text = match payload {
                Some(Payload::Memory { text, .. }) => Some(text.clone()),
                _ => None,
            };
            What::MemoryAdded { memory: memory.to_string(), call: *call, text }
        }
        Body::TurnResumed { gap_ms, .. } => What::TurnResumed { gap_ms: *gap_ms },
        Body::TurnCompleted { stop_reason } => What::TurnCompleted { stop_reason: *stop_reason },
        Body::TurnFailed { code, .. } => What::TurnFailed { error: error(code.to_string(), payload) },
        Body::TurnCancelled {} => What::TurnCancelled {},
        Body::ContextTrimmed { turns, tokens, calls } => {
            What::ContextTrimmed { turns: *turns, tokens: *tokens, calls: *calls }
        }
        Body::ModelRequested { attempt, model, digest, plans, .. } => {
            What::ModelRequested { attempt: *attempt, model: model.clone(), digest: digest.to_string(), plans: *plans }
        }
        Body::Planned { tools, error, usage, cost } => What::Planned {
            tools: tools.as_ref().map(|tools| tools.iter().map(ToString::to_string).collect()),
            error: error.map(|code| unplanned(code, payload)),
            usage: *usage,
            cost: *cost,
        },
        Body::Strategy { model, effort, temperature_milli, reasons, checks } => What::Strategy {
            model: model.clone(),
            effort: *effort,
            temperature: temperature_milli.map(|milli| f64::from(milli) / 1000.0),
            reasons: reasons.clone(),
            checks: *checks,
        },
        Body::ModelFailed { attempt, model, code, .. } => {
            What::ModelFailed { attempt: *attempt, model: model.clone(), error: error(code.to_string(), payload) }
        }
        Body::ModelCompleted { stop_reason, usage, frames, calls, cost, cached } => What::ModelCompleted {
            stop_reason: *stop_reason,
            usage: *usage,
            text_digest: frames.map(|frames| frames.digest.to_string()),
            calls: *calls,
            cost: *cost,
            cached: *cached,
        },
        body @ (Body::ResultsShortened { .. }
        | Body::CompactionRequested { .. }
        | Body::Compacted { .. }
        | Body::CompactionFailed { .. }
        | Body::CompactionUndone {}) => of_compaction(body, payload),
        body @ (Body::LimitReached { .. } | Body::LimitLifted {}) => of_limit(body),
        Body::ModelRestarted { attempt, keep_bytes } => {
            What::ModelRestarted { attempt: *attempt, keep_bytes: *keep_bytes }
        }
        body => of_call(body, payload),
    }
}

/// The events of making room in a context.
fn of_compaction(body: &Body, payload: Option<&Payload>) -> What {
    match body {
        Body::ResultsShortened { until, results, tokens, .. } => {
            What::ResultsShortened { until: *until, results: *results, tokens: *tokens }
        }
        Body::CompactionRequested { until, model, digest, context_tokens, covered_tokens, .. } => {
            What::CompactionRequested {
                until: *until,
                model: model.clone(),
                digest: digest.to_string(),
                context_tokens: *context_tokens,
                covered_tokens: *covered_tokens,
            }
        }
        Body::Compacted { until, labels, usage, cost } => What::Compacted {
            until: *until,
            summary: match payload {
                Some(Payload::Summary { text, .. }) => Some(text.clone()),
                _ => None,
            },
            labels: *labels,
            usage: *usage,
            cost: *cost,
        },
        Body::CompactionFailed { code, .. } => What::CompactionFailed { error: error(code.to_string(), payload) },
        _ => What::CompactionUndone {},
    }
}

/// Why there is no plan. What a model said that was none is not repeated: it is in the journal.
fn unplanned(code: Code, payload: Option<&Payload>) -> WireError {
    let message = match payload {
        Some(Payload::Plan { text }) if code != Code::ANSWER_UNFIT => Some(text.clone()),
        _ => None,
    };
    WireError { code: code.to_string(), message, help: None }
}

/// The events of limits that span sessions.
fn of_limit(body: &Body) -> What {
    match body {
        Body::LimitReached { call, limit, used, wanted, max, retry_after_ms, waits } => What::LimitReached {
            call: *call,
            limit: limit.clone(),
            used: *used,
            wanted: *wanted,
            max: *max,
            retry_after_ms: *retry_after_ms,
            waits: *waits,
        },
        _ => What::LimitLifted {},
    }
}

/// The events of tool calls. What belongs to the system session has no event: no client can attach to it.
fn of_call(body: &Body, payload: Option<&Payload>) -> What {
    match body {
        Body::ToolRequested { call, parent, resource, .. } => {
            let (args, name) = match payload {
                Some(Payload::Call { args, name }) => {
                    (args.as_ref().map(|args| Value::Object(args.to_map())), name.clone())
                }
                _ => (None, None),
            };
            let tool = name.unwrap_or_else(|| resource.clone());
            What::ToolRequested { call: *call, parent: *parent, tool, args }
        }
        Body::Decision { call, decision, would, rules, labels, .. } => {
            let (why, say, origins) = match payload {
                Some(Payload::Why { why, say, origins }) => (Some(why.clone()), Some(say.clone()), origins.clone()),
                _ => (None, None, Vec::new()),
            };
            What::Decision {
                call: *call,
                outcome: *decision,
                would: *would,
                rules: rules.clone(),
                labels: *labels,
                origins,
                why,
                say,
            }
        }
        Body::ApprovalRequested { approval, call, digest, expires_at_ms } => {
            let shown = shown(payload);
            What::ApprovalRequested {
                approval: *approval,
                call: *call,
                digest: digest.to_string(),
                tool: shown.get("tool").and_then(Value::as_str).map(str::to_owned),
                args: shown.get("args").cloned(),
                why: shown["why"].as_str().map(str::to_owned),
                origins: serde_json::from_value(shown["origins"].clone()).unwrap_or_default(),
                expires_at_ms: *expires_at_ms,
                rule: shown["rule"].as_str().map(str::to_owned),
            }
        }
        Body::ApprovalWithdrawn { approval, .. } => What::ApprovalWithdrawn { approval: *approval },
        Body::TurnParked { approval } => What::TurnParked { approval: *approval },
        Body::ApprovalResolved { approval, decision, by, .. } => {
            What::ApprovalResolved { approval: *approval, decision: *decision, by: by.clone() }
        }
        Body::ChildStarted { call, child, resource } => {
            What::ChildStarted { call: *call, session: child.to_string(), agent: resource.to_string() }
        }
        Body::ChildCompleted { call, child, result, labels } => {
            let used = match payload {
                Some(Payload::Made { made }) => Some(made["used"].clone()),
                _ => None,
            };
            let (session, ended) = (child.to_string(), result.clone());
            What::ChildCompleted { call: *call, session, ended, labels: *labels, used }
        }
        Body::GuideRead { .. } => {
            let text = match payload {
                Some(Payload::Guide { text, .. }) => text.clone(),
                _ => None,
            };
            What::GuideRead { text }
        }
        Body::ToolStarted { call, effect, retry, key } => {
            What::ToolStarted { call: *call, effect: *effect, retry: *retry, key: key.to_string() }
        }
        Body::ToolCompleted { call, labels, ms, .. } => {
            let result = match payload {
                Some(Payload::Result { value, .. }) => Some(value.clone()),
                _ => None,
            };
            What::ToolCompleted { call: *call, result, labels: *labels, ms: *ms }
        }
        Body::ToolFailed { call, result, code, .. } => {
            What::ToolFailed { call: *call, is_denied: result == "denied", error: error(code.to_string(), payload) }
        }
        Body::ToolUnknown { call, .. } => {
            let code = Code::TOOL_OUTCOME_UNKNOWN.to_string();
            What::ToolUnknown { call: *call, error: error(code, payload) }
        }
        Body::ToolHandedOver { call } => What::ToolHandedOver { call: *call },
        Body::SessionDeleted {} => What::SessionDeleted {},
        other => What::Other { action: other.action() },
    }
}

fn error(code: String, payload: Option<&Payload>) -> WireError {
    match payload {
        Some(Payload::Failure { message, help, .. }) => {
            WireError { code, message: Some(message.clone()), help: Some(help.clone()) }
        }
        _ => WireError { code, message: None, help: None },
    }
}

/// What was shown for an approval: canonical JSON of tool, arguments and origins.
fn shown(payload: Option<&Payload>) -> Value {
    match payload {
        Some(Payload::Shown { shown }) => serde_json::from_str(shown).unwrap_or_else(|_| json!({})),
        _ => json!({}),
    }
}

fn content(payload: Option<&Payload>) -> Option<Vec<Value>> {
    let content = match payload {
        Some(Payload::Prompt { content, .. }) => content.as_slice(),
        Some(Payload::Undo { .. }) => &[],
        _ => return None,
    };
    let part = |part: &Part| match part {
        Part::Text { text } => json!({"type": "text", "text": text}),
        Part::File { name, media_type, text } => {
            json!({"type": "file", "name": name, "media_type": media_type, "data": text})
        }
        Part::Image(Image { media_type, data }) => json!({"type": "image", "media_type": media_type, "data": data}),
        Part::Exchange { messages } => json!({"type": "exchange", "messages": messages}),
    };
    Some(content.iter().map(part).collect())
}

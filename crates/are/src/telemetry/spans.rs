//! Spans from entries: a turn (`invoke_agent`), a model's call (`chat`), a tool's call (`execute_tool`).
//!
//! A span is made when the record of its end is stored. When it began is known
//! from the state of the session or from the record that began it; a call that
//! an earlier process began has only its end. Times are those of the records,
//! but for the first piece of an answer, which has none: that is measured here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use are_core::body::Body;
use are_core::error::Code;
use are_core::ids::{CallNo, Seq, SessionKey, TurnNo};
use are_core::journal::{Entry, Frame, Record};
use are_core::model::{StopReason, Usage};
use are_engine::observer::Observer;
use are_engine::state::{CallStep, State, Step, Turn};
use are_engine::trace::{self, Part, Trace};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::{Telemetry, semconv};

/// Things that go on at once and are noted; of what begins beyond that the beginning is not known.
const NOTED_MAX: usize = 16 << 10;
/// What has no code: an answer that a restart cut off, and a turn that the user stopped.
const INTERRUPTED: &str = "interrupted";
const CANCELLED: &str = "cancelled";

/// What goes on, shared by the sessions.
pub(super) type Shared = Mutex<GoingOn>;

/// What has begun and not ended.
#[derive(Default)]
pub(super) struct GoingOn {
    models: HashMap<SessionKey, Asked>,
    calls: HashMap<(SessionKey, CallNo), (TurnNo, SystemTime)>,
    /// The model that a session asked last, and in which turn.
    last: HashMap<SessionKey, (TurnNo, String)>,
}

/// A model that was asked.
struct Asked {
    /// The turn: another one of the session can end meanwhile.
    turn: TurnNo,
    /// The record of the request.
    seq: Seq,
    /// `provider:model`.
    model: String,
    at: SystemTime,
    since: Instant,
    first: Option<Duration>,
}

/// How the call of a model ended.
#[derive(Default)]
struct Ended<'a> {
    reason: Option<StopReason>,
    usage: Option<&'a Usage>,
    error: Option<String>,
}

/// A span before it has its place.
struct Draft {
    name: String,
    kind: SpanKind,
    part: Part,
    /// The span within the session that it is a part of.
    parent: Option<Part>,
    from: SystemTime,
    until: SystemTime,
    error: Option<String>,
    attributes: Vec<KeyValue>,
}

impl Observer for Telemetry {
    fn stored(&self, session: SessionKey, state: &State, entries: &[(usize, Entry)]) {
        // PERF: once for all of them, because tokens come in great numbers.
        let mut going_on = self.going_on.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, entry) in entries {
            match entry {
                Entry::Record(record, _) => self.record(&mut going_on, session, state, record),
                Entry::Frame(_, Frame::Token { .. } | Frame::Reasoning { .. }) => {
                    if let Some(asked) = going_on.models.get_mut(&session).filter(|asked| asked.first.is_none()) {
                        asked.first = Some(asked.since.elapsed());
                    }
                }
                Entry::Frame(_, Frame::ToolOutput { .. }) => {}
            }
        }
    }
}

impl Telemetry {
    fn record(&self, going_on: &mut GoingOn, session: SessionKey, state: &State, record: &Record) {
        let Some(turn) = record.turn.and_then(|no| state.turn(no)) else { return };
        // What is put back asks no model and calls no tool.
        if turn.undo.is_some() {
            return;
        }
        let of = (session, turn, record);
        match &record.body {
            Body::ModelRequested { model, .. } | Body::CompactionRequested { model, .. } => {
                going_on.ask((session, turn.no), record, model);
            }
            // Nobody was asked.
            Body::ModelCompleted { cached: true, .. } => {
                going_on.models.remove(&session);
            }
            Body::ModelCompleted { stop_reason, usage, .. } => {
                self.answered(going_on, of, Ended { reason: Some(*stop_reason), usage: Some(usage), error: None });
            }
            Body::Compacted { usage, .. } => {
                self.answered(going_on, of, Ended { usage: Some(usage), ..Ended::default() });
            }
            Body::Planned { usage, error, .. } => {
                let error = error.map(|code| code.to_string());
                self.answered(going_on, of, Ended { usage: usage.as_ref(), error, ..Ended::default() });
            }
            Body::ModelFailed { code, .. } | Body::CompactionFailed { code, .. } => {
                self.answered(going_on, of, Ended { error: Some(code.to_string()), ..Ended::default() });
            }
            Body::TurnResumed { .. } => {
                self.answered(going_on, of, Ended { error: Some(INTERRUPTED.to_owned()), ..Ended::default() });
            }
            Body::ToolStarted { call, .. } if going_on.calls.len() < NOTED_MAX => {
                going_on.calls.insert((session, *call), (turn.no, time_of(record)));
            }
            Body::ToolCompleted { call, .. } => self.called(going_on, of, *call, None),
            Body::ToolFailed { call, code, .. } => self.called(going_on, of, *call, Some(*code)),
            Body::ToolUnknown { call, .. } => self.called(going_on, of, *call, Some(Code::TOOL_OUTCOME_UNKNOWN)),
            Body::TurnCompleted { stop_reason } => self.ended(going_on, of, Some(*stop_reason), None),
            Body::TurnFailed { code, .. } => self.ended(going_on, of, None, Some(code.to_string())),
            Body::TurnCancelled {} => self.ended(going_on, of, None, Some(CANCELLED.to_owned())),
            _ => {}
        }
    }

    /// The call of a model is over.
    fn answered(&self, going_on: &mut GoingOn, of: (SessionKey, &Turn, &Record), ended: Ended<'_>) {
        let (session, turn, record) = of;
        if going_on.models.get(&session).is_none_or(|asked| asked.turn != turn.no) {
            return;
        }
        let Some(asked) = going_on.models.remove(&session) else { return };
        let until = time_of(record);
        let (provider, model) = named(&asked.model);
        self.measure(&asked, &ended, until);
        let mut attributes = vec![
            KeyValue::new(semconv::OPERATION_NAME, "chat"),
            KeyValue::new(semconv::REQUEST_STREAM, true),
            KeyValue::new(semconv::OUTPUT_TYPE, if turn.asked.shape.format.is_some() { "json" } else { "text" }),
        ];
        attributes.extend(of_model(provider, model));
        attributes.extend(ended.reason.map(finish_reason));
        attributes.extend(ended.usage.into_iter().flat_map(of_usage));
        let first = asked.first.map(|first| KeyValue::new(semconv::TIME_TO_FIRST_CHUNK, first.as_secs_f64()));
        attributes.extend(first);
        self.make(
            of,
            Draft {
                name: format!("chat {model}"),
                kind: SpanKind::Client,
                part: Part::Model(asked.seq),
                parent: Some(Part::Turn(turn.no)),
                from: asked.at,
                until,
                error: ended.error,
                attributes,
            },
        );
    }

    fn measure(&self, asked: &Asked, ended: &Ended<'_>, until: SystemTime) {
        let (provider, model) = named(&asked.model);
        let mut of: Vec<KeyValue> = vec![KeyValue::new(semconv::OPERATION_NAME, "chat")];
        of.extend(of_model(provider, model));
        if let Some(usage) = ended.usage {
            for (kind, tokens) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
                let of = [of.as_slice(), &[KeyValue::new(semconv::TOKEN_TYPE, kind)]].concat();
                self.instruments.tokens.record(tokens, &of);
            }
        }
        if let Some(first) = asked.first {
            self.instruments.first_chunk_seconds.record(first.as_secs_f64(), &of);
        }
        of.extend(ended.error.clone().map(|error| KeyValue::new(semconv::ERROR_TYPE, error)));
        let took = until.duration_since(asked.at).unwrap_or_default();
        self.instruments.seconds.record(took.as_secs_f64(), &of);
    }

    /// A tool's call is over. One that was denied, or that an earlier process began, has only an end.
    fn called(&self, going_on: &mut GoingOn, of: (SessionKey, &Turn, &Record), call: CallNo, code: Option<Code>) {
        let (session, turn, record) = of;
        let until = time_of(record);
        let from = going_on.calls.remove(&(session, call)).map_or(until, |(_, from)| from);
        let Some(step) = step_of(turn, call) else { return };
        self.make(
            of,
            Draft {
                name: format!("execute_tool {}", step.tool),
                kind: SpanKind::Internal,
                part: Part::Call(call),
                parent: Some(step.parent.map_or(Part::Turn(turn.no), Part::Call)),
                from,
                until,
                error: code.map(|code| code.to_string()),
                attributes: vec![
                    KeyValue::new(semconv::OPERATION_NAME, "execute_tool"),
                    KeyValue::new(semconv::TOOL_NAME, step.tool.clone()),
                    KeyValue::new(semconv::TOOL_CALL_ID, format!("call_{call}")),
                    KeyValue::new(semconv::TOOL_TYPE, "function"),
                ],
            },
        );
    }

    /// A turn is over, and with it what it had begun.
    fn ended(
        &self,
        going_on: &mut GoingOn,
        of: (SessionKey, &Turn, &Record),
        reason: Option<StopReason>,
        error: Option<String>,
    ) {
        let (session, turn, record) = of;
        self.answered(going_on, of, Ended { error: error.clone(), ..Ended::default() });
        going_on.calls.retain(|(key, _), (of, _)| *key != session || *of != turn.no);
        let mut attributes = vec![KeyValue::new(semconv::OPERATION_NAME, "invoke_agent")];
        let is_of_turn = going_on.last.get(&session).is_some_and(|(of, _)| *of == turn.no);
        if is_of_turn && let Some((_, model)) = going_on.last.remove(&session) {
            let (provider, model) = named(&model);
            attributes.extend(of_model(provider, model));
        }
        attributes.extend(reason.map(finish_reason));
        attributes.extend(of_usage(&used(turn)));
        self.make(
            of,
            Draft {
                name: format!("invoke_agent {}", record.agent_id),
                kind: SpanKind::Internal,
                part: Part::Turn(turn.no),
                parent: None,
                from: UNIX_EPOCH + Duration::from_millis(turn.started_at_ms),
                until: time_of(record),
                error,
                attributes,
            },
        );
    }

    fn make(&self, (session, turn, record): (SessionKey, &Turn, &Record), draft: Draft) {
        let trace = Trace::of(turn);
        if !trace.is_sampled {
            return;
        }
        let Draft { name, kind, part, parent, from, until, error, mut attributes } = draft;
        attributes.extend([
            KeyValue::new(semconv::CONVERSATION_ID, session.to_string()),
            KeyValue::new(semconv::AGENT_NAME, record.agent_id.clone()),
            KeyValue::new(semconv::TURN, i64::from(turn.no)),
        ]);
        attributes.extend(error.clone().map(|error| KeyValue::new(semconv::ERROR_TYPE, error)));
        let within = parent.map(|part| trace::span(session, part));
        let parent = within.or(trace.parent).map_or(SpanId::INVALID, SpanId::from_bytes);
        let span_context = SpanContext::new(
            TraceId::from_bytes(trace.id),
            SpanId::from_bytes(trace::span(session, part)),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        );
        self.give(SpanData {
            span_context,
            parent_span_id: parent,
            parent_span_is_remote: within.is_none() && trace.parent.is_some(),
            span_kind: kind,
            name: name.into(),
            start_time: from.min(until),
            end_time: until,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: error.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }
}

impl GoingOn {
    fn ask(&mut self, (session, turn): (SessionKey, TurnNo), record: &Record, model: &str) {
        if self.models.len() >= NOTED_MAX || self.last.len() >= NOTED_MAX {
            return;
        }
        self.last.insert(session, (turn, model.to_owned()));
        let (at, since) = (time_of(record), Instant::now());
        self.models.insert(session, Asked { turn, seq: record.seq, model: model.to_owned(), at, since, first: None });
    }
}

/// Provider and model of `provider:model`.
fn named(model: &str) -> (&str, &str) {
    model.split_once(':').unwrap_or((model, model))
}

fn of_model(provider: &str, model: &str) -> [KeyValue; 2] {
    [
        KeyValue::new(semconv::PROVIDER_NAME, provider.to_owned()),
        KeyValue::new(semconv::REQUEST_MODEL, model.to_owned()),
    ]
}

fn of_usage(usage: &Usage) -> impl Iterator<Item = KeyValue> + use<> {
    let count = |name, tokens: u64| KeyValue::new(name, i64::try_from(tokens).unwrap_or(i64::MAX));
    let written = usage.cache_written_tokens;
    [
        Some(count(semconv::INPUT_TOKENS, usage.input_tokens)),
        Some(count(semconv::OUTPUT_TOKENS, usage.output_tokens)),
        Some(count(semconv::CACHE_READ_TOKENS, usage.cached_tokens)),
        (written > 0).then(|| count(semconv::CACHE_CREATION_TOKENS, written)),
    ]
    .into_iter()
    .flatten()
}

fn finish_reason(reason: StopReason) -> KeyValue {
    let word = match reason {
        StopReason::Stop => "stop",
        StopReason::ToolCalls => "tool_calls",
        StopReason::Length => "length",
        StopReason::ContentFilter => "content_filter",
        StopReason::Steered => "steered",
        StopReason::Cancelled => CANCELLED,
    };
    KeyValue::new(semconv::FINISH_REASONS, Value::Array(Array::String(vec![StringValue::from(word)])))
}

/// What the answers of a turn took together, those before a restart included.
fn used(turn: &Turn) -> Usage {
    let answers = turn.steps.iter().filter_map(|step| match step {
        Step::Model(step) => Some(step.usage),
        Step::Call(_) | Step::Steer { .. } => None,
    });
    answers.fold(Usage::default(), |sum, one| Usage {
        input_tokens: sum.input_tokens + one.input_tokens,
        cached_tokens: sum.cached_tokens + one.cached_tokens,
        cache_written_tokens: sum.cache_written_tokens + one.cache_written_tokens,
        output_tokens: sum.output_tokens + one.output_tokens,
    })
}

/// A call of the turn, whichever of its answers made it.
fn step_of(turn: &Turn, call: CallNo) -> Option<&CallStep> {
    turn.steps.iter().rev().find_map(|step| match step {
        Step::Call(step) if step.no == call => Some(step.as_ref()),
        Step::Call(_) | Step::Model(_) | Step::Steer { .. } => None,
    })
}

/// When a record was written.
fn time_of(record: &Record) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(record.timestamp.as_millisecond()).unwrap_or(0))
}

//! Responses: one request, one turn, answered by items.
//!
//! `previous_response_id` and `conversation` go on in a session, so a request
//! brings only what is new. Every session is kept, whatever `store` says, and
//! with it every answer: it is found again by its id.

mod echo;
mod events;
mod input;
mod stored;

use std::sync::Arc;

use are_core::error::Fault;
use are_core::ids::{SessionKey, TurnNo};
use are_core::model::{Shape, StopReason, Usage};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use serde_json::{Map, Value, json};

use self::echo::{Echo, Kept};
use self::events::Events;
pub(in crate::server) use self::stored::{__path_forget, __path_look_up, forget, look_up};
use super::asking::{self, Ask, Place};
use super::chat::conversation;
use super::error::Wrong;
use super::fields::{Fields, HELP};
use super::names::{self, Declared, Names};
use super::running::{ClientCall, Done, Heard};
use super::stream::{self, Words};
use super::wishes;
use crate::server::api::{self, Who};
use crate::server::app::App;

/// What the id of an answer begins with.
const ID: &str = "resp_";
/// What the id of a conversation may begin with.
const CONVERSATION: &str = "conv_";

/// One answer, as OpenAI's responses: whole, or with `stream` as typed events.
#[utoipa::path(post, path = "/v1/responses", request_body = Value, params(("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Value), (status = "default", body = Value)))]
pub(in crate::server) async fn respond(
    State(app): State<Arc<App>>,
    who: Who,
    request: Request<Body>,
) -> Result<Response, Wrong> {
    let (parts, body) = request.into_parts();
    let mut fields = Fields::read(body).await?;
    let is_streamed = fields.take::<bool>("stream")?.unwrap_or(false);
    let (ask, echo) = asked(&mut fields)?;
    let mut running = asking::begin(&app, &who, &parts.headers, ask).await?;
    let created = running.created_s().await?;
    let mut answer = Answer::of((running.session(), running.turn()), created, echo);
    if is_streamed {
        return Ok(stream::response(&app, &who, running, Events::new(answer)));
    }
    let (session, turn) = (running.session().to_string(), running.turn());
    let done = loop {
        if let Some(done) = answer.hear(running.next().await?) {
            break done;
        }
    };
    let mut response = api::json(&answer.ended(done)).map_err(|refusal| Wrong::from(refusal.fault().clone()))?;
    stream::name(&mut response, &session, turn);
    Ok(response)
}

fn asked(fields: &mut Fields) -> Result<(Ask, Echo), Wrong> {
    for name in ["prompt", "top_logprobs", "max_tool_calls"] {
        fields.refuse(name, &[json!(0)])?;
    }
    fields.refuse("background", &[json!(false)])?;
    fields.refuse("parallel_tool_calls", &[json!(true)])?;
    let reasoning: Map<String, Value> = fields.take("reasoning")?.unwrap_or_default();
    let effort = wishes::effort("reasoning.effort", reasoning.get("effort").cloned())?;
    let metadata = wishes::metadata(fields)?;
    let model: String = fields.require("model")?;
    let (temperature_milli, top_p_milli) = wishes::chance(fields)?;
    let output_tokens_max = wishes::limit(fields, "max_output_tokens")?;
    let text: Map<String, Value> = fields.take("text")?.unwrap_or_default();
    let format = wishes::format("text.format", text.get("format"), None)?;
    let tools: Vec<Value> = fields.take("tools")?.unwrap_or_default();
    let (names, mut specs) = Names::of(declared(&tools)?)?;
    let choice = fields.take::<Value>("tool_choice")?.unwrap_or_else(|| json!("auto"));
    let tool_choice = match choice.as_str() {
        Some(choice @ ("auto" | "none" | "required")) => choice.to_owned(),
        _ => {
            let help = "leave it out, or send `auto`, `none` or `required`: which one to call, the words should say";
            return Err(Wrong::at("tool_choice", "this choice of tools is not supported", help));
        }
    };
    let calls = (tool_choice == "required").then_some(true);
    let shape = Shape { format, output_tokens_max, top_p_milli, calls, ..Shape::default() };
    if tool_choice == "none" {
        specs.clear();
    }
    let instructions: Option<String> = fields.take("instructions")?;
    let previous: Option<String> = fields.take("previous_response_id")?;
    let place = place(previous.as_deref(), conversation(fields)?)?;
    let is_instructed = instructions.as_ref().is_some_and(|text| !text.is_empty());
    let kept = Kept { model, previous, metadata, tool_choice, is_instructed, names: names.kept() };
    let placed = input::placed(instructions.clone(), fields.require("input")?, &names, place)?;
    let ask = Ask {
        model: kept.model.clone(),
        placed,
        names,
        tools: specs,
        shape,
        temperature_milli,
        effort,
        place,
        echo: kept.to_value(),
    };
    let echo = Echo::of(kept, (ask.effort, ask.temperature_milli), (&ask.tools, &ask.shape), instructions);
    Ok((ask, echo))
}

fn place(previous: Option<&str>, conversation: Option<String>) -> Result<Place, Wrong> {
    match (previous, conversation) {
        (None, None) => Ok(Place::Fresh),
        (Some(_), Some(_)) => {
            Err(Wrong::at("conversation", "an answer to go on after is named as well", "name one of them"))
        }
        (Some(previous), None) => match names::answered(ID, previous) {
            Some((session, turn)) => Ok(Place::After(session, turn)),
            None => {
                Err(Wrong::at("previous_response_id", "this is no answer's id", "send the `id` of an earlier answer"))
            }
        },
        (None, Some(named)) => {
            let key = named.strip_prefix(CONVERSATION).unwrap_or(&named).parse::<SessionKey>();
            let help = "send the `conversation.id` of an earlier answer, or a session's key";
            key.map(Place::Session).map_err(|_| Wrong::at("conversation", "this is no conversation", help))
        }
    }
}

fn declared(tools: &[Value]) -> Result<Vec<Declared>, Wrong> {
    let read = |(at, tool): (usize, &Value)| {
        let param = format!("tools[{at}].name");
        let Some(name) = tool["name"].as_str().filter(|_| tool["type"] == "function") else {
            return Err(Wrong::at(param, "only tools of the type `function` are taken, each with a name", HELP));
        };
        let description = tool["description"].as_str().unwrap_or_default().to_owned();
        let schema = tool.get("parameters").filter(|schema| schema.is_object()).cloned();
        Ok(Declared { param, name: name.to_owned(), description, schema })
    };
    tools.iter().enumerate().map(read).collect()
}

/// An answer as it grows.
struct Answer {
    id: String,
    message_id: String,
    session: SessionKey,
    created: u64,
    echo: Echo,
    words: Words,
    calls: Vec<ClientCall>,
}

impl Answer {
    fn of((session, turn): (SessionKey, TurnNo), created: u64, echo: Echo) -> Self {
        Self {
            id: names::answer_id(ID, session, turn),
            message_id: names::answer_id("msg_", session, turn),
            session,
            created,
            echo,
            words: Words::default(),
            calls: Vec::new(),
        }
    }

    /// Takes in what was heard; how the turn ended when that was its end.
    fn hear(&mut self, heard: Heard) -> Option<Done> {
        match heard {
            Heard::Text(text) => self.words.text.push_str(&text),
            Heard::Cut(keep) => self.words.cut(keep),
            Heard::Call(call) => self.calls.push(call),
            Heard::Done(done) => return Some(done),
        }
        None
    }

    /// The object as it stands while the turn runs, or with the status and items given.
    fn object(&self, status: &str, output: Vec<Value>, used: Option<Usage>) -> Value {
        let mut object = json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": null,
            "model": self.echo.model,
            "output": output,
            "parallel_tool_calls": true,
            "previous_response_id": self.echo.previous,
            "conversation": {"id": format!("{CONVERSATION}{}", self.session)},
            "service_tier": "default",
            "store": true,
            "truncation": "disabled",
            "usage": used.map(usage),
            "user": null,
        });
        if let Value::Object(fields) = &mut object {
            fields.extend(self.echo.fields.clone());
        }
        object
    }

    /// The object of a turn that ended with an answer.
    fn ended(&self, done: Done) -> Value {
        let (status, reason) = match done.stop_reason {
            StopReason::Length => ("incomplete", Some("max_output_tokens")),
            StopReason::ContentFilter => ("incomplete", Some("content_filter")),
            StopReason::Stop | StopReason::ToolCalls | StopReason::Steered | StopReason::Cancelled => {
                ("completed", None)
            }
        };
        // An answer that said nothing is a message all the same.
        let words = (!self.words.text.is_empty() || self.calls.is_empty()).then(|| self.message(status));
        let calls = self.calls.iter().map(|call| item_of(call, "completed"));
        let mut object = self.object(status, words.into_iter().chain(calls).collect(), Some(done.usage));
        if let Some(reason) = reason {
            object["incomplete_details"] = json!({"reason": reason});
        }
        object
    }

    /// The object of a turn that goes on, with what was said so far.
    fn unfinished(&self) -> Value {
        let words = (!self.words.text.is_empty()).then(|| self.message("in_progress"));
        let calls = self.calls.iter().map(|call| item_of(call, "completed"));
        self.object("in_progress", words.into_iter().chain(calls).collect(), None)
    }

    /// The object of a turn that ended without an answer.
    fn failed(&self, status: &str, fault: &Fault) -> Value {
        let mut object = self.object(status, Vec::new(), None);
        object["error"] = json!({"code": "server_error", "message": format!("{}: {}", fault.code, fault.message)});
        object
    }

    fn part(&self) -> Value {
        json!({"type": "output_text", "text": self.words.text, "annotations": [], "logprobs": []})
    }

    fn message(&self, status: &str) -> Value {
        let content = [self.part()];
        json!({"id": self.message_id, "type": "message", "status": status, "role": "assistant", "content": content})
    }
}

fn item_id(call: &ClientCall) -> String {
    format!("fc_{}", call.id.strip_prefix("call_").unwrap_or(&call.id))
}

fn item_of(call: &ClientCall, status: &str) -> Value {
    json!({
        "id": item_id(call),
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    })
}

fn usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    })
}

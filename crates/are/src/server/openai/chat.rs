//! Chat completions: one request, one turn, one choice.

use std::sync::Arc;

use are_core::ids::SessionKey;
use are_core::model::{CallRef, Message, RawCall, StopReason, Usage};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use serde_json::{Map, Value, json};

use super::asking::{self, Ask, Place};
use super::error::Wrong;
use super::fields::{Fields, HELP};
use super::input::{self, Placed};
use super::names::{self, Declared, Names};
use super::running::{ClientCall, Done, Heard, Running};
use super::stream::{self, Scribe, Words};
use super::wishes;
use crate::server::api::{self, Who};
use crate::server::app::App;

/// What the id of an answer begins with.
const ID: &str = "chatcmpl-";

/// One answer to a conversation, as OpenAI's chat completions: whole, or with `stream` as events. Beside their
/// parameters `conversation` names a session in which the request goes on.
#[utoipa::path(post, path = "/v1/chat/completions", request_body = Value, params(("Idempotency-Key" = Option<String>, Header)), responses((status = 200, body = Value), (status = "default", body = Value)))]
pub(in crate::server) async fn complete(
    State(app): State<Arc<App>>,
    who: Who,
    request: Request<Body>,
) -> Result<Response, Wrong> {
    let (parts, body) = request.into_parts();
    let mut fields = Fields::read(body).await?;
    let is_streamed = fields.take::<bool>("stream")?.unwrap_or(false);
    let options: Map<String, Value> = fields.take("stream_options")?.unwrap_or_default();
    let tells_usage = options.get("include_usage").is_some_and(|tells| *tells == true);
    let (model, ask) = asked(&mut fields)?;
    let mut running = asking::begin(&app, &who, &parts.headers, ask).await?;
    let created = running.created_s().await?;
    let answer = Answer::of(&running, created, model);
    if is_streamed {
        let scribe = Chunks { answer, tells_usage, calls: 0, sent: 0 };
        return Ok(stream::response(&app, &who, running, scribe));
    }
    let (session, turn) = (running.session().to_string(), running.turn());
    let mut words = Words::default();
    let mut calls = Vec::new();
    let done = loop {
        match running.next().await? {
            Heard::Text(text) => words.text.push_str(&text),
            Heard::Cut(keep) => words.cut(keep),
            Heard::Call(call) => calls.push(call),
            Heard::Done(done) => break done,
        }
    };
    let mut response =
        api::json(&answer.whole(&words.text, &calls, done)).map_err(|refusal| Wrong::from(refusal.fault().clone()))?;
    stream::name(&mut response, &session, turn);
    Ok(response)
}

/// Reads the request: the model as it is named, and what is asked.
fn asked(fields: &mut Fields) -> Result<(String, Ask), Wrong> {
    for name in ["functions", "function_call", "audio", "top_logprobs", "web_search_options", "prediction"] {
        fields.refuse(name, &[])?;
    }
    fields.refuse("n", &[json!(1)])?;
    fields.refuse("logprobs", &[json!(false)])?;
    fields.refuse("modalities", &[json!(["text"])])?;
    fields.refuse("parallel_tool_calls", &[json!(true)])?;
    let effort = wishes::effort("reasoning_effort", fields.take("reasoning_effort")?)?;
    wishes::metadata(fields)?;
    let model: String = fields.require("model")?;
    let (temperature_milli, top_p_milli) = wishes::chance(fields)?;
    let limits = (wishes::limit(fields, "max_completion_tokens")?, wishes::limit(fields, "max_tokens")?);
    let mut shape = are_core::model::Shape {
        format: wishes::format(
            "response_format",
            fields.take::<Value>("response_format")?.as_ref(),
            Some("json_schema"),
        )?,
        output_tokens_max: limits.0.or(limits.1),
        stop: wishes::stops(fields)?,
        seed: fields.take("seed")?,
        top_p_milli,
        calls: None,
    };
    let (names, mut tools) = Names::of(declared(fields)?)?;
    match fields.take::<Value>("tool_choice")? {
        None => {}
        Some(choice) if choice == "auto" => {}
        Some(choice) if choice == "none" => tools.clear(),
        Some(choice) if choice == "required" => shape.calls = Some(true),
        Some(_) => {
            let help = "leave it out, or send `auto`, `none` or `required`: which one to call, the words should say";
            return Err(Wrong::at("tool_choice", "this choice of tools is not supported", help));
        }
    }
    let session: Option<String> = conversation(fields)?;
    let session = session.map(|key| key.parse::<SessionKey>());
    let place = match session {
        None => Place::Fresh,
        Some(Ok(session)) => Place::Session(session),
        Some(Err(_)) => {
            let help = "send the key of a session, as the header `are-session` gives it";
            return Err(Wrong::at("conversation", "this is no conversation", help));
        }
    };
    let messages: Vec<Value> = fields.require("messages")?;
    let mut placed = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        let param = format!("messages[{at}]");
        let messages = messages_of(message, &param, &names, place)?;
        placed.extend(messages.into_iter().map(|message| Placed { param: param.clone(), message }));
    }
    let ask = Ask {
        model: model.clone(),
        placed,
        names,
        tools,
        shape,
        temperature_milli,
        effort,
        place,
        // Nobody looks an answer of this door up.
        echo: Value::Null,
    };
    Ok((model, ask))
}

/// The conversation that a request names: a text, or an object with an `id`.
pub(super) fn conversation(fields: &mut Fields) -> Result<Option<String>, Wrong> {
    match fields.take::<Value>("conversation")? {
        None => Ok(None),
        Some(Value::String(id)) => Ok(Some(id)),
        Some(Value::Object(named)) => Ok(named.get("id").and_then(Value::as_str).map(str::to_owned)),
        Some(_) => Err(Wrong::at("conversation", "this is no conversation", HELP)),
    }
}

fn declared(fields: &mut Fields) -> Result<Vec<Declared>, Wrong> {
    let tools: Vec<Value> = fields.take("tools")?.unwrap_or_default();
    let read = |(at, tool): (usize, &Value)| {
        let param = format!("tools[{at}].function.name");
        let function = &tool["function"];
        let Some(name) = function["name"].as_str().filter(|_| tool["type"] == "function") else {
            return Err(Wrong::at(param, "only tools of the type `function` are taken, each with a name", HELP));
        };
        let description = function["description"].as_str().unwrap_or_default().to_owned();
        let schema = function.get("parameters").filter(|schema| schema.is_object()).cloned();
        Ok(Declared { param, name: name.to_owned(), description, schema })
    };
    tools.iter().enumerate().map(read).collect()
}

fn messages_of(message: &Value, param: &str, names: &Names, place: Place) -> Result<Vec<Message>, Wrong> {
    if message["role"] == "user" {
        return input::said(&message["content"], &format!("{param}.content"), "text", "image_url");
    }
    message_of(message, param, names, place).map(|message| vec![message])
}

/// One of another role than the user's.
fn message_of(message: &Value, param: &str, names: &Names, place: Place) -> Result<Message, Wrong> {
    let content = format!("{param}.content");
    let text = || input::text(&message["content"], &content, &["text"]);
    match message["role"].as_str() {
        Some("system" | "developer") => Ok(Message::System { text: text()? }),
        Some("tool") => {
            let Some(id) = message["tool_call_id"].as_str() else {
                return Err(Wrong::at(format!("{param}.tool_call_id"), "the id of the call is missing", HELP));
            };
            Ok(Message::Tool { id: within(place, id), text: text()? })
        }
        Some("assistant") => {
            let text = if message["content"].is_null() {
                message["refusal"].as_str().unwrap_or_default().to_owned()
            } else {
                input::text(&message["content"], &content, &["text", "refusal"])?
            };
            let calls = message["tool_calls"].as_array().into_iter().flatten();
            let call = |(at, call): (usize, &Value)| {
                let function = &call["function"];
                let found = (call["id"].as_str(), function["name"].as_str(), function["arguments"].as_str());
                let (Some(id), Some(name), Some(arguments)) = found else {
                    return Err(Wrong::at(format!("{param}.tool_calls[{at}]"), "this is no call of a function", HELP));
                };
                let call = RawCall { name: names.inner(name), arguments: arguments.to_owned() };
                Ok(CallRef { id: within(place, id), call })
            };
            let calls = calls.enumerate().map(call).collect::<Result<_, _>>()?;
            Ok(Message::Assistant { text, reasoning: Vec::new(), calls })
        }
        _ => Err(Wrong::at(format!("{param}.role"), "this role is not known", HELP)),
    }
}

/// The id of a call as the session knows it in which the request goes on.
pub(super) fn within(place: Place, id: &str) -> String {
    match place {
        Place::Fresh => id.to_owned(),
        Place::Session(session) | Place::After(session, _) => names::call_within(session, id),
    }
}

/// What all of an answer's objects repeat.
struct Answer {
    id: String,
    created: u64,
    model: String,
    session: SessionKey,
}

impl Answer {
    fn of(running: &Running, created: u64, model: String) -> Self {
        let id = names::answer_id(ID, running.session(), running.turn());
        Self { id, created, model, session: running.session() }
    }

    fn whole(&self, text: &str, calls: &[ClientCall], done: Done) -> Value {
        let content = if text.is_empty() && !calls.is_empty() { Value::Null } else { json!(text) };
        let mut message = json!({"role": "assistant", "content": content, "refusal": null, "annotations": []});
        if !calls.is_empty() {
            message["tool_calls"] = calls.iter().map(call_of).collect();
        }
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": message,
                "logprobs": null,
                "finish_reason": finish_reason(done.stop_reason),
            }],
            "usage": usage(done.usage),
            "service_tier": "default",
            "system_fingerprint": null,
            "conversation": {"id": self.session.to_string()},
        })
    }
}

fn call_of(call: &ClientCall) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments});
    json!({"id": call.id, "type": "function", "function": function})
}

const fn finish_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Stop | StopReason::Steered | StopReason::Cancelled => "stop",
        StopReason::ToolCalls => "tool_calls",
        StopReason::Length => "length",
        StopReason::ContentFilter => "content_filter",
    }
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    })
}

/// An answer in chunks.
struct Chunks {
    answer: Answer,
    tells_usage: bool,
    calls: usize,
    /// Bytes of text that were sent.
    sent: u64,
}

impl Chunks {
    fn chunk(&self, choices: &Value, used: Value) -> String {
        let Answer { id, created, model, session } = &self.answer;
        let mut chunk = json!({
            "id": id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "service_tier": "default",
            "system_fingerprint": null,
            "choices": choices,
            "conversation": {"id": session.to_string()},
        });
        if self.tells_usage {
            chunk["usage"] = used;
        }
        format!("data: {chunk}\n\n")
    }

    fn delta(&self, delta: &Value, finish_reason: Option<&str>) -> String {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        self.chunk(&json!([choice]), Value::Null)
    }
}

impl Scribe for Chunks {
    fn open(&mut self) -> String {
        self.delta(&json!({"role": "assistant", "content": "", "refusal": null}), None)
    }

    fn hear(&mut self, heard: Heard) -> Result<String, Wrong> {
        Ok(match heard {
            Heard::Text(text) => {
                self.sent += text.len() as u64;
                self.delta(&json!({"content": text}), None)
            }
            Heard::Cut(keep) if keep >= self.sent => String::new(),
            Heard::Cut(_) => return Err(Wrong::began_again()),
            Heard::Call(call) => {
                let index = self.calls;
                self.calls += 1;
                let function = json!({"name": call.name, "arguments": ""});
                let head = json!({"index": index, "id": call.id, "type": "function", "function": function});
                let rest = json!({"index": index, "function": {"arguments": call.arguments}});
                let head = self.delta(&json!({"tool_calls": [head]}), None);
                head + &self.delta(&json!({"tool_calls": [rest]}), None)
            }
            Heard::Done(done) => {
                let mut text = self.delta(&json!({}), Some(finish_reason(done.stop_reason)));
                if self.tells_usage {
                    text.push_str(&self.chunk(&json!([]), usage(done.usage)));
                }
                text + "data: [DONE]\n\n"
            }
        })
    }

    fn fail(&mut self, wrong: &Wrong) -> String {
        format!("data: {}\n\n", wrong.body())
    }
}

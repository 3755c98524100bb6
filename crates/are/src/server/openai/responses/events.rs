//! An answer as typed events, numbered from 0.

use serde_json::{Value, json};

use super::super::error::Wrong;
use super::super::running::{ClientCall, Heard};
use super::super::stream::Scribe;
use super::{Answer, item_id, item_of};

/// Where the words of an answer are.
#[derive(PartialEq, Eq)]
enum Words {
    None,
    Open,
    Closed,
}

/// Writes the events of one answer.
pub(super) struct Events {
    answer: Answer,
    number: u64,
    /// The last event that whoever listens has.
    seen: Option<u64>,
    words: Words,
}

impl Events {
    pub(super) fn new(answer: Answer) -> Self {
        Self::after(answer, None)
    }

    /// For somebody who has the events up to the one of this number.
    pub(super) fn after(answer: Answer, seen: Option<u64>) -> Self {
        Self { answer, number: 0, seen, words: Words::None }
    }

    fn event(&mut self, kind: &str, mut event: Value) -> String {
        event["type"] = json!(kind);
        event["sequence_number"] = json!(self.number);
        let is_seen = self.seen.is_some_and(|seen| self.number <= seen);
        self.number += 1;
        if is_seen { String::new() } else { format!("event: {kind}\ndata: {event}\n\n") }
    }

    /// Begins the message that holds the words.
    fn begin(&mut self) -> String {
        self.words = Words::Open;
        let id = self.answer.message_id.clone();
        let item = json!({"id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": []});
        let part = self.answer.part();
        let added = self.event("response.output_item.added", json!({"output_index": 0, "item": item}));
        let place = json!({"item_id": id, "output_index": 0, "content_index": 0, "part": part});
        added + &self.event("response.content_part.added", place)
    }

    /// Ends the message that holds the words, if it was begun.
    fn close(&mut self, status: &str) -> String {
        if self.words != Words::Open {
            return String::new();
        }
        self.words = Words::Closed;
        let (id, part) = (self.answer.message_id.clone(), self.answer.part());
        let text = self.answer.words.text.clone();
        let message = self.answer.message(status);
        let done = json!({"item_id": id, "output_index": 0, "content_index": 0, "text": text, "logprobs": []});
        let mut out = self.event("response.output_text.done", done);
        let done = json!({"item_id": id, "output_index": 0, "content_index": 0, "part": part});
        out.push_str(&self.event("response.content_part.done", done));
        out + &self.event("response.output_item.done", json!({"output_index": 0, "item": message}))
    }

    fn call(&mut self, call: ClientCall) -> String {
        let mut out = self.close("completed");
        let index = usize::from(self.words == Words::Closed) + self.answer.calls.len();
        let id = item_id(&call);
        let begun = ClientCall { arguments: String::new(), ..call.clone() };
        let item = item_of(&begun, "in_progress");
        out.push_str(&self.event("response.output_item.added", json!({"output_index": index, "item": item})));
        let delta = json!({"item_id": id, "output_index": index, "delta": call.arguments});
        out.push_str(&self.event("response.function_call_arguments.delta", delta));
        let done = json!({"item_id": id, "output_index": index, "name": call.name, "arguments": call.arguments});
        out.push_str(&self.event("response.function_call_arguments.done", done));
        let item = item_of(&call, "completed");
        out.push_str(&self.event("response.output_item.done", json!({"output_index": index, "item": item})));
        self.answer.calls.push(call);
        out
    }
}

impl Scribe for Events {
    fn open(&mut self) -> String {
        let object = self.answer.object("in_progress", Vec::new(), None);
        let created = self.event("response.created", json!({"response": object}));
        created + &self.event("response.in_progress", json!({"response": object}))
    }

    fn hear(&mut self, heard: Heard) -> Result<String, Wrong> {
        match heard {
            Heard::Text(text) => {
                let mut out = if self.words == Words::None { self.begin() } else { String::new() };
                self.answer.words.text.push_str(&text);
                let id = self.answer.message_id.clone();
                let delta =
                    json!({"item_id": id, "output_index": 0, "content_index": 0, "delta": text, "logprobs": []});
                out.push_str(&self.event("response.output_text.delta", delta));
                Ok(out)
            }
            Heard::Cut(keep) if keep >= self.answer.words.text.len() as u64 => Ok(String::new()),
            Heard::Cut(_) => Err(Wrong::began_again()),
            Heard::Call(call) => Ok(self.call(call)),
            Heard::Done(done) => {
                let object = self.answer.ended(done);
                let is_whole = object["status"] == "completed";
                let mut out = String::new();
                // An answer that said nothing is a message all the same.
                if self.words == Words::None && self.answer.calls.is_empty() {
                    out.push_str(&self.begin());
                }
                out.push_str(&self.close(if is_whole { "completed" } else { "incomplete" }));
                let kind = if is_whole { "response.completed" } else { "response.incomplete" };
                Ok(out + &self.event(kind, json!({"response": object})))
            }
        }
    }

    fn fail(&mut self, wrong: &Wrong) -> String {
        let object = self.answer.failed("failed", wrong.fault());
        self.event("response.failed", json!({"response": object}))
    }
}

//! Messages as Anthropic streams them, block by block.

use serde_json::{Value, json};

use super::reply::{Ending, Reply};

/// An answer that is being put together.
#[derive(Debug, Clone)]
pub struct Message {
    events: Vec<Value>,
    blocks: u64,
    has_calls: bool,
}

impl Default for Message {
    fn default() -> Self {
        let usage = json!({ "input_tokens": 7, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300,
            "output_tokens": 1 });
        let start = json!({ "type": "message_start", "message": { "id": "msg_mock", "type": "message",
            "role": "assistant", "content": [], "model": "mock", "stop_reason": null, "usage": usage } });
        Self { events: vec![start, json!({ "type": "ping" })], blocks: 0, has_calls: false }
    }
}

impl Message {
    /// An answer without a block.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Words, one event a token.
    #[must_use]
    pub fn text<T: AsRef<str>>(self, tokens: impl IntoIterator<Item = T>) -> Self {
        let deltas = tokens.into_iter().map(|token| json!({ "type": "text_delta", "text": token.as_ref() })).collect();
        self.block(&json!({ "type": "text", "text": "" }), deltas)
    }

    /// Thinking and what signs it.
    #[must_use]
    pub fn thinking(self, words: &str, signature: &str) -> Self {
        let (head, tail) = words.split_at(words.floor_char_boundary(words.len() / 2));
        let deltas = [head, tail].map(|part| json!({ "type": "thinking_delta", "thinking": part }));
        let signed = json!({ "type": "signature_delta", "signature": signature });
        let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
        self.block(&block, [deltas.to_vec(), vec![signed]].concat())
    }

    /// Thinking that nobody may read.
    #[must_use]
    pub fn redacted(self, data: &str) -> Self {
        self.block(&json!({ "type": "redacted_thinking", "data": data }), Vec::new())
    }

    /// A tool call, its arguments in pieces.
    #[must_use]
    pub fn call(mut self, name: &str, arguments: &Value) -> Self {
        self.has_calls = true;
        let arguments: Vec<char> = arguments.to_string().chars().collect();
        let part = |part: &[char]| json!({ "type": "input_json_delta", "partial_json": String::from_iter(part) });
        let block = json!({ "type": "tool_use", "id": "toolu_mock", "name": name, "input": {} });
        self.block(&block, arguments.chunks(7).map(part).collect())
    }

    /// The whole answer, which ends because the model is done or wants its calls.
    #[must_use]
    pub fn reply(self) -> Reply {
        let reason = if self.has_calls { "tool_use" } else { "end_turn" };
        self.ends(reason)
    }

    /// The whole answer with another reason to end.
    #[must_use]
    pub fn ends(mut self, reason: &str) -> Reply {
        self.events.push(json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null },
            "usage": { "output_tokens": 12 } }));
        self.events.push(json!({ "type": "message_stop" }));
        self.stream()
    }

    /// What is there of it, and then an error in the stream.
    #[must_use]
    pub fn fails(mut self, kind: &str) -> Reply {
        self.events.push(json!({ "type": "error", "error": { "type": kind, "message": "no" } }));
        self.stream()
    }

    /// What is there of it, and then the connection breaks.
    #[must_use]
    pub fn breaks(self) -> Reply {
        Reply { ending: Ending::Reset, ..self.stream() }
    }

    fn block(mut self, block: &Value, deltas: Vec<Value>) -> Self {
        let index = self.blocks;
        self.events.push(json!({ "type": "content_block_start", "index": index, "content_block": block }));
        let delta = |delta| json!({ "type": "content_block_delta", "index": index, "delta": delta });
        self.events.extend(deltas.into_iter().map(delta));
        self.events.push(json!({ "type": "content_block_stop", "index": index }));
        self.blocks += 1;
        self
    }

    fn stream(self) -> Reply {
        let event = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
        Reply::events(self.events.iter().map(event))
    }
}

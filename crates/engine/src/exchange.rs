//! What a client says was exchanged: how much it is, and the same without secrets.

use are_core::model::{CallRef, Message, RawCall};

use crate::image;

/// Bytes of a message's texts.
pub(crate) fn bytes(message: &Message) -> usize {
    match message {
        Message::System { text } | Message::User { text } => text.len(),
        Message::Tool { id, text } => id.len() + text.len(),
        Message::Image(image) => image::bytes(image),
        Message::Assistant { text, calls, .. } => {
            let call = |call: &CallRef| call.id.len() + call.call.name.len() + call.call.arguments.len();
            text.len() + calls.iter().map(call).sum::<usize>()
        }
    }
}

/// A message with each of its texts changed; reasoning is left out.
pub(crate) fn map_texts(message: Message, change: impl Fn(String) -> String) -> Message {
    match message {
        Message::System { text } => Message::System { text: change(text) },
        Message::User { text } => Message::User { text: change(text) },
        Message::Tool { id, text } => Message::Tool { id: change(id), text: change(text) },
        Message::Image(image) => Message::Image(image),
        Message::Assistant { text, calls, .. } => {
            let call = |CallRef { id, call }: CallRef| CallRef {
                id: change(id),
                call: RawCall { name: change(call.name), arguments: change(call.arguments) },
            };
            let calls = calls.into_iter().map(call).collect();
            Message::Assistant { text: change(text), reasoning: Vec::new(), calls }
        }
    }
}

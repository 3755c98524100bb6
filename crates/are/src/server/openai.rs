//! The doors that speak OpenAI's interface: chat completions, responses, models, embeddings.
//!
//! A request is one turn. Only messages of the role `user` are the user's words,
//! and the newest of them says what is wanted; messages of every other role,
//! `system` too, are untrusted, whoever sent them. The runtime's own tools run
//! here, as in every turn. A tool that the request declares is the client's own:
//! a call of it ends the turn and goes to the client, and nothing of it runs
//! here. What needs a person waits while somebody who may approve follows the
//! inbox or the session; whoever speaks here does not count as that.
//!
//! SOURCE: <https://platform.openai.com/docs/api-reference>, as the official SDKs read it.

mod asking;
mod chat;
mod embeddings;
mod error;
mod fields;
mod input;
mod models;
mod names;
mod responses;
mod running;
mod stream;
mod wishes;

pub(super) use self::chat::{__path_complete, complete};
pub(super) use self::embeddings::{__path_embed, embed};
pub(super) use self::error::reshaped;
pub(super) use self::models::{__path_list, __path_show, list, show};
pub(super) use self::responses::{__path_forget, __path_look_up, __path_respond, forget, look_up, respond};

/// What the paths of these doors begin with.
const PREFIX: &str = "/v1/";

/// True for a path of these doors: what is refused there is refused in their shape.
pub(super) fn is_door(path: &str) -> bool {
    path.starts_with(PREFIX)
}

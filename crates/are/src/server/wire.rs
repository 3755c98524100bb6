//! The frames of `are.v2` and of live event streams: what clients send, what
//! they are sent, and the schema of both.
//!
//! Wire types live in the server only. They are built from the journal's record
//! and payload here and nowhere else, so that the engine's types stay free to
//! change while the wire does not. Fields are added, never renamed.

mod client;
mod event;
mod narrator;
mod schema;

pub(super) use client::{
    Attach, ClientFrame, Effort, Incoming, PromptFrame, model_name, note, read, session_key, temperature_milli,
};
pub(super) use event::{Announced, Direct};
pub(super) use narrator::{Narrator, token};
pub(super) use schema::ws_schema;

#[cfg(test)]
mod tests;

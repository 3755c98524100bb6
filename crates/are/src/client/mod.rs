//! Speaks to a server as any other client would: HTTP for things, `are.v2` for turns.
//!
//! The command line has no other way to the engine, so what it can do, any
//! client can. A broken connection is mended by attaching again; a prompt is
//! repeated under its request id, so that it becomes one turn however often it
//! is sent.

mod acp;
mod callback;
mod door;
mod follow;
mod http;
mod mcp;
mod probe;
mod socket;

pub use acp::{Beginning, editor};
pub use callback::Callback;
pub use door::Door;
pub use follow::{Follower, Item, Place, Said, Wishes, fault_of, left_out};
pub use http::Client;
pub use mcp::{Over, bridge};
pub use probe::ollama;
pub use socket::{Message, Socket};

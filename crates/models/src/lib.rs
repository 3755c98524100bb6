//! Calling language models: providers over HTTP, a local engine, and its files.
//!
//! Each adapter turns one request into one stream of deltas and each failure into
//! a fault of the 04 group; [`http`] is the only place with sockets.
pub mod anthropic;
pub mod files;
pub mod http;
pub mod local;
pub mod openai;
mod remote;

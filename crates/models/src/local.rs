//! The local model: llama.cpp behind the same port as any provider.
//!
//! [`LocalModel`] owns one thread; that thread owns the model and its one
//! context, and answers a few requests side by side. What prompts have in
//! common at their beginning is read once. Small models are
//! helped in two ways: they are told of tools in few words ([`prompt`]), and a
//! call that they begin cannot go wrong in form ([`grammar`]). A plain answer
//! is always possible.
//!
//! The engine is behind the feature `local-llm`; all else here is pure text.

pub mod answer;
#[cfg(feature = "local-llm")]
mod engine;
pub mod grammar;
pub mod prompt;
pub mod stops;
pub mod threads;

#[cfg(feature = "local-llm")]
pub use engine::{LocalModel, Options, State, bench};

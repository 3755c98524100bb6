//! are-models
pub mod files;
pub mod http;
pub mod local;
pub mod openai;

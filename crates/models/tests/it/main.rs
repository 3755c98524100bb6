//! The models crate through its public door.

#[cfg(feature = "local-llm")]
mod local;
#[cfg(feature = "local-llm")]
mod local_quality;
mod openai;

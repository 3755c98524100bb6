//! The models crate through its public door.

#[cfg(test)]
mod anthropic;
#[cfg(feature = "local-llm")]
#[cfg(test)]
mod local;
#[cfg(test)]
mod openai;

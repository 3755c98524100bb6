//! The models crate through its public door.

#[cfg(feature = "local-llm")]
#[cfg(test)]
mod local;
#[cfg(feature = "local-llm")]
#[cfg(test)]
mod local_quality;
#[cfg(test)]
mod openai;

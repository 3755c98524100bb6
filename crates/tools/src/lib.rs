//! What the agent can do: the registry of tools and the lanes that run them.
//!
//! Every lane takes a [`Permit`](are_policy::gate::Permit) by value and reads
//! the arguments from it, so nothing runs that was not decided and recorded.
//! A lane fails alone: errors, panics and time-outs come back as an outcome
//! that the model can act on.

mod agents;
mod artifact;
pub mod cage;
mod declare;
mod egress;
mod fs;
mod http;
mod js;
mod lane;
mod launch;
mod mcp;
mod memory;
mod process;
pub mod registry;
mod results;
mod secrets;
mod skills;
mod templates;
mod text;
mod variables;
mod wasm;

pub use cage::CageOptions;
pub use egress::{Destinations, InvalidDestination};
pub use fs::CheckpointOptions;
pub use http::{HttpOptions, Resolver};
pub use js::bench as js_bench;
pub use registry::Registry;
pub use wasm::bench;

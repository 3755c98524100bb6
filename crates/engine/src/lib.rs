//! Sessions and turns over ports: the actor, the pure turn machine, recovery,
//! replay. Compiles without SQL, TLS, HTTP or a WebAssembly engine.

pub mod api;
pub mod engine;
pub mod state;
pub mod context;
pub mod envelope;
pub mod machine;
pub mod scrub;
mod actor;
mod tail;
mod journal;
mod replay;
mod faults;

//! Sessions and turns over ports: the actor, the pure turn machine, recovery,
//! replay. Compiles without SQL, TLS, HTTP or a WebAssembly engine.

mod actor;
pub mod adapt;
mod answers;
pub mod api;
pub mod context;
mod diff;
pub mod engine;
pub mod envelope;
mod exchange;
mod fair;
mod faults;
pub mod fitting;
pub mod image;
mod inbox;
mod journal;
mod limiter;
pub mod limits;
pub mod machine;
mod memory;
pub mod observer;
mod replay;
mod resting;
mod rights;
mod screen;
pub mod scrub;
mod search;
pub mod secrets;
pub mod state;
mod surroundings;
mod tail;
pub mod trace;

//! WebAssembly: one engine for all guests.

#![expect(dead_code, unused_imports, reason = "the lanes that use the engine follow")]

mod cache;
mod clock;
mod compile;
pub(crate) mod engine;
mod inspect;
mod limits;
mod ticker;

//! Doubles of the ports and of the outside world, for tests and benchmarks.
//!
//! Never part of the product: a scripted model, a mock provider with faults,
//! stores that fail, a clock that stands still, tools that count.

pub mod clock;
pub mod damage;
pub mod kill;
pub mod memory;
pub mod oauth;
pub mod provider;
pub mod run;
pub mod script;
pub mod store;
pub mod tools;

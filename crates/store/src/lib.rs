//! Durable storage behind [`are_core::store::Store`]: the only crate that knows SQL.
//!
//! [`append`] holds what every implementation of the port must check before it
//! writes; [`sqlite`] is the embedded implementation; [`probe`] times the disk.

pub mod append;
pub mod probe;
pub mod sqlite;

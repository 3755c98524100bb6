//! Durable storage behind [`are_core::store::Store`]: the only crate that knows SQL.
//!
//! [`append`] holds what every implementation of the port must check before it
//! writes, [`tree`] what it does with the hashes of records; [`sqlite`] is the
//! embedded implementation; [`probe`] times the disk.

pub mod append;
pub mod probe;
pub mod sqlite;
pub mod tree;

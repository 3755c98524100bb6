//! The words every other crate speaks: identifiers, journal entries, canonical
//! encoding, labels, limits, errors, and the ports `Model`, `Store`, `Clock`.
//!
//! Nothing here does I/O, reads a clock or draws a random number; whatever is
//! not deterministic enters through [`clock::Clock`]. The crate stays below
//! two thousand lines, so that it can be read in one sitting.

pub mod account;
pub mod body;
pub mod canonical;
pub mod change;
pub mod clock;
pub mod digest;
pub mod error;
pub mod ids;
pub mod journal;
pub mod label;
pub mod limits;
pub mod model;
pub mod payload;
pub mod spent;
pub mod store;

/// A boxed, sendable future: what the asynchronous ports return, so that they
/// stay object safe.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

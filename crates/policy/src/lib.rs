//! Pure decisions: may this call run, and the proof that it may.
//!
//! No clock, no I/O, no `async`: the caller passes in everything a decision
//! depends on, so that each one can be replayed from the journal.

#![deny(clippy::wildcard_enum_match_arm)]

pub mod address;
pub mod agent;
pub mod budget;
pub mod call;
pub mod firewall;
pub mod flow;
pub mod gate;
pub mod limits;
pub mod logins;
pub mod manifest;
pub mod pauses;
pub mod planner;
pub mod prices;
pub mod replay;
pub mod rules;
pub mod schema;
pub mod secrets;
pub mod tools;
pub mod undo;

//! The agent runtime: server, command line, configuration, and the wiring of
//! engine, tools, models and store.

pub mod audit;
pub mod bench;
pub mod cli;
pub mod client;
pub mod config;
pub mod cpu;
pub mod log;
pub mod metrics;
pub mod server;
pub mod telemetry;
pub mod wiring;

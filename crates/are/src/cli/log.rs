//! What each verb logs.

use are_core::error::Fault;

use super::args::Verb;
use super::output::Output;
use crate::config::{Config, Surroundings, log_filter};
use crate::log;

/// What a server logs unless told otherwise: the life of sessions, and of llama.cpp only what fails:
/// its warnings are about how a model file was made. What servers of tools say is no line of this log; what matters of
/// it the lane writes itself.
const SERVER: &str = "info,llama-cpp-2=error,rmcp=off";
/// What other verbs log: only what is wrong. An editor is answered what its protocol's library would log.
const CLIENT: &str = "warn,rmcp=off,agent_client_protocol=off";

/// Starts the log with `ARE_LOG`'s filter.
pub(super) fn start(surroundings: &Surroundings, config: &Config, verb: &Verb, out: Output) -> Result<(), Fault> {
    let default = if matches!(verb, Verb::Start(_)) { SERVER } else { CLIENT };
    let text = log_filter(surroundings, Some(config)).unwrap_or_else(|| default.to_owned());
    log::start(&text, config.log.clone(), !out.is_coloured)
}

//! The log on stderr.

use std::io::IsTerminal;

use are_core::error::{Code, Fault};
use tracing_subscriber::EnvFilter;

use super::args::Verb;
use super::output::Output;
use crate::config::{Config, Surroundings, log_filter};

/// What a server logs unless told otherwise: the life of sessions, and of llama.cpp only what fails:
/// its warnings are about how a model file was made. What servers of tools say is no line of this log; what matters of
/// it the lane writes itself.
const SERVER: &str = "info,llama-cpp-2=error,rmcp=off";
/// What other verbs log: only what is wrong.
const CLIENT: &str = "warn,rmcp=off";

/// Starts the log with `ARE_LOG`'s filter.
pub(super) fn start(surroundings: &Surroundings, config: &Config, verb: &Verb, out: Output) -> Result<(), Fault> {
    let default = if matches!(verb, Verb::Start(_)) { SERVER } else { CLIENT };
    let text = log_filter(surroundings, Some(config)).unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(&text).map_err(|error| {
        Fault::new(
            Code::CONFIG_INVALID,
            format!("`{text}` is not a log filter: {error}"),
            "write a level such as `debug`, or `are_engine=debug,warn`",
        )
    })?;
    let is_plain = !std::io::stderr().is_terminal() || !out.is_coloured;
    let started =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(!is_plain).try_init();
    started.map_err(|error| Fault::new(Code::INTERNAL, format!("the log cannot be started: {error}"), "report this"))
}

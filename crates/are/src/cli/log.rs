//! The log on stderr, without the secrets that are known by then.

use std::io::{self, IsTerminal, Write};

use are_core::error::{Code, Fault};
use are_engine::scrub::Live;
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
    let live = config.log.clone();
    complain_cleanly(live.clone());
    let writer = move || Clean(live.clone());
    let started = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(!is_plain).try_init();
    started.map_err(|error| Fault::new(Code::INTERNAL, format!("the log cannot be started: {error}"), "report this"))
}

/// Writes whole events, each without what is known to be a secret.
struct Clean(Live);

impl Write for Clean {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = self.0.clean(String::from_utf8_lossy(bytes).into_owned());
        io::stderr().write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// What a panic says can hold whatever the code had in its hands.
fn complain_cleanly(live: Live) {
    std::panic::set_hook(Box::new(move |panic| {
        let trace = std::backtrace::Backtrace::capture();
        let trace = match trace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("\n{trace}"),
            _ => String::new(),
        };
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name");
        // silent-ok: nobody can be told where nothing can be written.
        let _written = Clean(live.clone()).write_all(format!("thread `{name}` {panic}{trace}\n").as_bytes());
    }));
}

//! The log on stderr, without the secrets that are known by then, and its filter while the process runs.

use std::io::{self, IsTerminal as _, Write};
use std::str::FromStr as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use are_core::error::{Code, Fault};
use are_engine::scrub::Live;
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// The library of the local models, as its events name it.
const LOCAL: &str = "llama-cpp-2";
/// Bytes of a filter.
const FILTER_BYTES_MAX: usize = 1 << 10;

/// The filter in force, and the way to exchange it.
struct Log {
    text: Mutex<String>,
    handle: reload::Handle<EnvFilter, Registry>,
}

/// One log a process.
static LOG: OnceLock<Log> = OnceLock::new();

/// Starts the log.
///
/// # Errors
/// ARE-0002 for a filter that is none.
pub fn start(text: &str, live: Live, is_plain: bool) -> Result<(), Fault> {
    let (filter, handle) = reload::Layer::new(parsed(text)?);
    complain_cleanly(live.clone());
    let writer = move || Clean(live.clone());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(io::stderr().is_terminal() && !is_plain);
    let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
    started
        .map_err(|error| Fault::new(Code::INTERNAL, format!("the log cannot be started: {error}"), "report this"))?;
    // The subscriber is the process's first, so this is too.
    LOG.get_or_init(|| Log { text: Mutex::new(text.to_owned()), handle });
    Ok(())
}

/// The filter in force; `None` where this process keeps no log.
#[must_use]
pub fn filter() -> Option<String> {
    LOG.get().map(|log| log.text.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Has another filter from here on, until the process ends.
///
/// # Errors
/// ARE-0002 for a filter that is none, ARE-0213 where this process keeps no log.
pub fn set_filter(text: &str) -> Result<(), Fault> {
    let filter = parsed(text)?;
    let none = || Fault::new(Code::UNAVAILABLE, "this process keeps no log", "ask a server that `are start` runs");
    let log = LOG.get().ok_or_else(none)?;
    log.handle.reload(filter).map_err(|_| none())?;
    text.clone_into(&mut log.text.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(())
}

fn parsed(text: &str) -> Result<EnvFilter, Fault> {
    let help = "write a level such as `debug`, or `are_engine=debug,warn`";
    if text.len() > FILTER_BYTES_MAX {
        return Err(Fault::new(
            Code::CONFIG_INVALID,
            format!("a log filter takes at most {FILTER_BYTES_MAX} bytes"),
            help,
        ));
    }
    let wrong = |error: &dyn std::fmt::Display| {
        Fault::new(Code::CONFIG_INVALID, format!("`{text}` is not a log filter: {error}"), help)
    };
    let mut filter = EnvFilter::try_new(text).map_err(|error| wrong(&error))?;
    // What it warns of is how it reads a model's file; whoever looks for that asks for it.
    let is_asked_for = text.contains(LOCAL) || filter.max_level_hint().is_some_and(|level| level >= LevelFilter::DEBUG);
    if !is_asked_for {
        filter = filter.add_directive(Directive::from_str(&format!("{LOCAL}=error")).map_err(|error| wrong(&error))?);
    }
    // SECURITY: what a place to log in at answers is written out there, with codes and whatever stands beside a token.
    let quiet =
        "rmcp::transport::auth=off".parse().map_err(|error: tracing_subscriber::filter::ParseError| wrong(&error))?;
    Ok(filter.add_directive(quiet))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_of_local_models_is_heard_where_it_is_asked_for() {
        for (text, is_quiet) in [("warn", true), ("info", true), ("debug", false), ("llama-cpp-2=info,warn", false)] {
            assert_eq!(parsed(text).unwrap().to_string().contains("llama-cpp-2=error"), is_quiet, "{text}");
        }
    }
}

//! What goes wrong in a script, in words that its author and the model can act on.
//!
//! Every text that a script made up is bounded. Nothing of the host is in it.

use are_core::error::{Code, Fault};
use are_policy::manifest::Manifest;
use serde::Deserialize;
use serde_json::Value;
use wasmtime::Trap;

use crate::lane::Error;
use crate::text::short;

/// Characters of what was thrown.
const MESSAGE_CHARS_MAX: usize = 1_000;
pub(super) const OUT_OF_MEMORY: &str = "it needs more memory than it may have";
/// A script can change how JSON is made of its own values.
pub(super) const MEDDLED: &str = "what it answered with cannot be read as JSON";

/// What a script threw.
#[derive(Debug, Deserialize)]
pub(super) struct Thrown {
    name: String,
    message: String,
    /// Lines of the stack that are about files of scripts.
    frames: String,
    fault: Option<Inner>,
}

/// The fault of a further call, when that is what was thrown.
#[derive(Debug, Deserialize)]
struct Inner {
    code: String,
    help: String,
    outcome: String,
}

impl Thrown {
    /// `tools/x.js:12`, or the file where the line is not known.
    fn place(&self, file: &str) -> String {
        let frame = self.frames.lines().find_map(|line| line.split_once("tools/").map(|(_, rest)| rest));
        let place = frame.and_then(|rest| {
            let mut parts = rest.trim_end_matches(')').splitn(3, ':');
            let (name, line) = (parts.next()?, parts.next()?.parse::<u32>().ok()?);
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
            is_name.then(|| format!("tools/{name}:{line}"))
        });
        place.unwrap_or_else(|| format!("tools/{file}"))
    }

    fn text(&self) -> String {
        let message: String = self.message.chars().take(MESSAGE_CHARS_MAX).collect();
        let code = self.fault.as_ref().map_or_else(String::new, |inner| format!("{}: ", short(&inner.code)));
        match self.name.as_str() {
            "" => "something that cannot be looked at was thrown".to_owned(),
            "thrown" => format!("thrown: {message}"),
            name => format!("{}: {code}{message}", short(name)),
        }
    }
}

/// The error of a call whose script threw. `has_refused`: the host refused it memory before.
pub(super) fn thrown(file: &str, thrown: &Thrown, has_refused: bool) -> Error {
    // Without memory for an error, QuickJS throws `null`.
    if has_refused && thrown.name == "thrown" && thrown.message == "null" {
        return failed(file, OUT_OF_MEMORY).into();
    }
    let message = format!("{}: {}", thrown.place(file), thrown.text());
    let Some(inner) = &thrown.fault else {
        return Fault::new(
            Code::TOOL_FAILED,
            message,
            "call it in another way, or tell the user of the script's error",
        )
        .into();
    };
    let help: String = inner.help.chars().take(MESSAGE_CHARS_MAX).collect();
    if inner.outcome == "unknown" {
        return Error::Unknown(Fault::new(Code::TOOL_OUTCOME_UNKNOWN, message, help));
    }
    Fault::new(Code::TOOL_FAILED, message, help).into()
}

/// A call that ended without a word of the script.
pub(super) fn failed(file: &str, why: &str) -> Fault {
    Fault::new(
        Code::TOOL_FAILED,
        format!("tools/{file}: {why}"),
        "ask for less, or tell the user of the script's error",
    )
}

/// Why the sandbox ended a script.
pub(super) fn trapped(error: &wasmtime::Error, ms: u64) -> String {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => format!("evaluating it takes longer than {ms} ms"),
        Some(Trap::StackOverflow | Trap::MemoryOutOfBounds) => "it nests or recurses too deeply".to_owned(),
        Some(_) => "the JavaScript engine failed inside".to_owned(),
        None => short(&error.root_cause().to_string()),
    }
}

/// A call that has no instance.
pub(super) fn unstarted(file: &str, error: &wasmtime::Error) -> Fault {
    tracing::warn!(file, error = format!("{error:#}"), "no instance for a script");
    failed(file, "there is no room to run it now").retryable()
}

/// A call whose time is over.
pub(super) fn too_late(manifest: &Manifest) -> Fault {
    let message = format!("`{}` took longer than it may and was stopped", manifest.name);
    Fault::new(Code::TOOL_TIMEOUT, message, "ask for less at once, or try again later").retryable()
}

/// What the script returned.
pub(super) fn result(file: &str, json: &str, bytes_max: usize) -> Result<Value, Error> {
    if json.len() > bytes_max {
        return Err(failed(file, &format!("it returned {} bytes, and {bytes_max} is the most", json.len())).into());
    }
    // Nested deeper than anything else reads.
    serde_json::from_str(json)
        .map_err(|error| failed(file, &format!("what it returned: {}", short(&error.to_string()))).into())
}

/// A file that cannot be a tool.
pub(super) fn unloadable(file: &str, why: &str) -> Fault {
    Fault::new(
        Code::MANIFEST_INVALID,
        format!("tools/{file}: {why}"),
        "mend the file; it is read again when it changes",
    )
}

/// A file whose evaluation threw.
pub(super) fn not_evaluated(file: &str, thrown: &Thrown) -> Fault {
    let help = match thrown.name.as_str() {
        "SyntaxError" => "mend that line; tools are CommonJS files: `module.exports = { … }`, no `import` or `export`",
        _ => thrown.fault.as_ref().map_or("mend that line", |inner| inner.help.as_str()),
    };
    Fault::new(Code::MANIFEST_INVALID, format!("{}: {}", thrown.place(file), thrown.text()), help)
}

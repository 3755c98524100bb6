//! What a call of a script costs, without the gate.
//!
//! Runs one script that is part of the program and asks the host for nothing,
//! so that there is nothing to decide.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use are_core::error::{Code, Fault};

use super::script::{self, Halt, Script, Tool};
use super::{Scripts, Siblings, manifest};
use crate::lane::Error;
use crate::lane::bare::room;
use crate::wasm::engine::{Clock, drive};

const SOURCE: &str = "module.exports = { async echo(text) { return { text }; } };";
const ARGS: &str = r#"{"text":"hello"}"#;
/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of its result.
const OUTPUT_BYTES: usize = 1 << 10;

/// The script, loaded.
pub struct Echo(Tool);

impl Echo {
    /// Loads it on a new engine, compiled or from the code kept in `cache`. Blocks.
    ///
    /// # Errors
    /// WebAssembly cannot be run here.
    pub fn load(cache: Option<&Path>) -> Result<Self, Fault> {
        let scripts = Scripts::new(cache.map(PathBuf::from));
        let (script, exports) = Script::load(scripts.0, "bench.js", SOURCE, Siblings::default())?;
        let export = exports.first().ok_or_else(|| wrong("a function is missing"))?;
        let script = Arc::new(script);
        let (manifest, params) = manifest::of(&script, SOURCE, export)?;
        Ok(Self(Tool::new(&script, &export.name, params, manifest)))
    }

    /// A whole call: a fresh instance, the script's memory, an object in and out, everything released.
    ///
    /// # Errors
    /// The call failed.
    pub async fn cold(&self) -> Result<Duration, Fault> {
        let (begun, room) = (Instant::now(), room(TIMEOUT));
        let answer = self.0.execute(ARGS, room).await;
        let took = begun.elapsed();
        match answer {
            Ok((value, _)) if value["text"] == "hello" => Ok(took),
            Ok(_) => Err(wrong("it gave back something else")),
            Err(Error::Failed(fault) | Error::Unknown(fault)) => Err(fault),
        }
    }

    /// The call alone, on an instance that was prepared beforehand and is thrown away with it.
    ///
    /// # Errors
    /// The call failed.
    pub async fn warm(&self) -> Result<Duration, Fault> {
        let room = room(TIMEOUT);
        let clock = Clock::of(&room);
        let script = &self.0.script;
        let _slot = script.machine.engine.slot(&clock).await?;
        let mut running = script.prepare(None, &clock, room).await?;
        let request = self.0.request(ARGS);
        let work = async move {
            let begun = Instant::now();
            let ended = script::run("bench.js", &mut running, request, OUTPUT_BYTES).await;
            (begun.elapsed(), ended)
        };
        match drive(&clock, work).await {
            Ok((took, Ok(_))) => Ok(took),
            Ok((_, Err(Halt::Failed(Error::Failed(fault) | Error::Unknown(fault))))) => Err(fault),
            Ok((_, Err(Halt::Interrupted))) | Err(_) => Err(wrong("it did not end")),
        }
    }
}

fn wrong(why: &str) -> Fault {
    Fault::new(Code::TOOL_FAILED, format!("the benchmark's script does not work: {why}"), "report this as a bug")
}

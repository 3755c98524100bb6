//! JavaScript: CommonJS files whose exported functions are tools.
//!
//! The engine is QuickJS-ng, compiled to WebAssembly, so that a script is
//! confined twice: by a language that holds no door to the machine, and by
//! the sandbox around the engine. The WebAssembly module imports eight
//! functions and nothing of WASI (`guest/shim.c`); everything a script can use
//! (`prelude/*.js`) is written on top of them, and every use of files, commands
//! and the network is a further call that is decided and recorded on its own.
//!
//! Nothing survives from call to call. A file is evaluated once, when it is
//! loaded, without any effect; the memory that leaves is kept as an
//! [`Image`](image::Image), and each call begins on a copy of it that is thrown
//! away afterwards.

pub mod bench;
mod faults;
mod host;
mod image;
mod jsdoc;
mod link;
mod machine;
mod manifest;
mod params;
mod script;
mod siblings;
mod state;
mod types;
mod urls;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use are_core::error::Fault;
use are_policy::manifest::Manifest;

use self::machine::Machine;
use self::script::{Export, Script, Tool};
pub(crate) use self::siblings::Siblings;
use crate::lane::Runs;
use crate::registry::load::{Beside, Declared, Loaded, Loads};
use crate::wasm::engine::Engine;

/// Bytes of one file.
const SOURCE_BYTES_MAX: usize = 2 << 20;

/// Turns the declaration of the worst case into what its author declares.
type Declare<'a> = dyn Fn(&str, Manifest) -> Result<Manifest, Fault> + 'a;

/// Loads files of JavaScript.
#[derive(Debug, Clone)]
pub(crate) struct Scripts(Arc<Machine>);

impl Scripts {
    /// Scripts on an engine of their own, which keeps compiled code in the directory `cache`. Costs nothing until the
    /// first is loaded.
    #[must_use]
    pub(crate) fn new(cache: Option<PathBuf>) -> Self {
        Self::on(Engine::new(cache))
    }

    /// Scripts on this engine.
    pub(crate) fn on(engine: Engine) -> Self {
        Self(Arc::new(Machine::new(engine)))
    }

    /// The tools of a file. `siblings` are the files that it may require as `./name`. `declare` is given each export's
    /// name and its tool as the worst case with what its comment declares, and says what it is. Blocks; bounded in time.
    ///
    /// # Errors
    /// ARE-0509 when the file cannot be evaluated or an export cannot be a tool.
    pub(crate) fn tools(
        &self,
        file: &Path,
        bytes: &[u8],
        siblings: &Siblings,
        declare: &Declare<'_>,
    ) -> Result<Vec<(Manifest, Arc<dyn Runs>)>, Fault> {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let source = std::str::from_utf8(bytes).map_err(|_| faults::unloadable(&name, "it is not UTF-8"))?;
        if source.len() > SOURCE_BYTES_MAX {
            return Err(faults::unloadable(&name, &format!("it is larger than {SOURCE_BYTES_MAX} bytes")));
        }
        let needed = siblings.needed_by(&name, source);
        let (script, exports) = Script::load(Arc::clone(&self.0), &name, source, needed)?;
        let script = Arc::new(script);
        let tool = |export: Export| {
            let (manifest, params) = manifest::of(&script, source, &export)?;
            let manifest = declare(&export.name, manifest)?;
            let runs: Arc<dyn Runs> = Arc::new(Tool::new(&script, &export.name, params, manifest.clone()));
            Ok((manifest, runs))
        };
        exports.into_iter().map(tool).collect()
    }
}

impl Loads for Scripts {
    fn extensions(&self) -> &'static [&'static str] {
        &["js"]
    }

    fn draws_in(&self) -> &'static [&'static str] {
        &["js", "json"]
    }

    fn load(&self, file: &Path, bytes: Vec<u8>, declared: &Declared, beside: &Beside) -> Result<Loaded, Fault> {
        let over = |export: &str, made| declared.over(file, Some(export), made);
        self.tools(file, &bytes, &Siblings::new(beside.clone()), &over).map(Loaded::from)
    }
}

#[cfg(test)]
mod tests;

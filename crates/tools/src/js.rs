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
use self::script::Script;
pub(crate) use self::siblings::Siblings;
use crate::lane::Runs;
use crate::registry::load::{Beside, Declared, Loads, invalid};
use crate::wasm::engine::Engine;

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

    /// The tools of a file. `siblings` are the files that it may require as `./name`; `declare` is given each export with
    /// what its comment says, and says what it is. Blocks; bounded in time.
    ///
    /// # Errors
    /// ARE-0509 when the file cannot be evaluated or an export cannot be a tool.
    pub(crate) fn tools(
        &self,
        file: &str,
        source: &str,
        siblings: &Siblings,
        declare: &dyn Fn(&str, Manifest) -> Result<Manifest, Fault>,
    ) -> Result<Vec<(Manifest, Arc<dyn Runs>)>, Fault> {
        let siblings = siblings.needed_by(file, source);
        let (script, exports) = Script::load(Arc::clone(&self.0), file, source, siblings)?;
        let script = Arc::new(script);
        let tool = |export| {
            let (manifest, params) = manifest::of(&script, source, &export)?;
            let manifest = declare(&export.name, manifest)?;
            let runs: Arc<dyn Runs> = Arc::new(script::Tool::new(&script, &export.name, params, manifest.clone()));
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

    fn load(
        &self,
        file: &Path,
        bytes: Vec<u8>,
        declared: &Declared,
        beside: &Beside,
    ) -> Result<Vec<(Manifest, Arc<dyn Runs>)>, Fault> {
        let source = String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8", "write it as a text in UTF-8"))?;
        let name = file.to_string_lossy();
        self.tools(&name, &source, &Siblings::new(beside.clone()), &|export, made| {
            declared.over(file, Some(export), made)
        })
    }
}

#[cfg(test)]
mod tests;

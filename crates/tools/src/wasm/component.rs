//! From a component to tools: one per exported function.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use are_core::body::{Effect, Retry};
use are_core::digest::Digest;
use are_core::error::Fault;
use are_core::ids::InvalidId;
use are_policy::manifest::{CallLimits, Lane, Manifest, OutputLabel};
use are_policy::schema as checked;
use wasmtime::component::{Component, ComponentExportIndex};
use wit_parser::decoding::{DecodedWasm, decode};
use wit_parser::{Function, Resolve, WorldId, WorldItem};

use super::compile::refused;
use super::engine::Engine;
use super::guest::{linker, only_computes};
use super::run::Tool;
use super::schema;
use super::shape::{Signature, words};
use crate::lane::Runs;
use crate::registry::load::{self, Beside, Declared, Loads};
use crate::registry::names::snake;

/// Characters of a function's documentation that the model is told.
const DESCRIPTION_CHARS_MAX: usize = 1_000;
/// Functions of one component.
const FUNCTIONS_MAX: usize = 256;
/// Reasons that one message lists.
const REASONS_MAX: usize = 8;

/// Turns the declaration of the worst case into what its author declares; is also given the export's name, of an
/// interface's function that of the interface before it.
type Declare<'a> = dyn Fn(&str, Manifest) -> Result<Manifest, Fault> + 'a;

/// Makes tools of components.
#[derive(Debug, Clone)]
pub(crate) struct Components {
    engine: Engine,
}

/// A tool with its implementation.
type One = (Manifest, Tool);

/// What became of one component.
#[derive(Default)]
struct Loaded {
    tools: Vec<One>,
    /// Exported functions that are no tools, each with the reason.
    left_out: Vec<(String, String)>,
}

impl Components {
    /// Components on an engine of their own, which keeps compiled code in the directory `cache`. Costs nothing until
    /// the first is loaded.
    #[must_use]
    pub(crate) fn new(cache: Option<PathBuf>) -> Self {
        Self::on(Engine::new(cache))
    }

    /// Components on this engine.
    pub(crate) const fn on(engine: Engine) -> Self {
        Self { engine }
    }

    /// The tools of a component's file. Blocks while it is compiled. Functions that cannot be tools are logged, each
    /// with the reason; none at all is an error that lists them.
    ///
    /// `declare` is given each tool as the worst case, or as one without effect when its imports show that it can
    /// have none, and says what it is.
    pub(super) fn functions(&self, file: &Path, bytes: &[u8], declare: &Declare<'_>) -> Result<Vec<One>, Fault> {
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let loaded = self.read(&stem, bytes, declare)?;
        for (export, why) in &loaded.left_out {
            tracing::warn!(file = %file.display(), %export, %why, "an exported function is no tool");
        }
        if loaded.tools.is_empty() {
            let shown = |(export, why): &(String, String)| format!("`{export}`: {why}");
            let reasons: Vec<String> = loaded.left_out.iter().take(REASONS_MAX).map(shown).collect();
            let reasons = if reasons.is_empty() { "it exports none".to_owned() } else { reasons.join("; ") };
            return Err(refused("component", &format!("none of its functions is a tool ({reasons})")));
        }
        Ok(loaded.tools)
    }

    fn read(&self, stem: &str, bytes: &[u8], declare: &Declare<'_>) -> Result<Loaded, Fault> {
        let refuse = |why: &str| refused("component", why);
        if wasmparser::Parser::is_core_wasm(bytes) {
            return Err(refuse("it is a core module; make a component of it with `wasm-tools component new`"));
        }
        let component = self.engine.component(bytes)?;
        let engine = self.engine.wasmtime()?;
        let pre = linker(engine, &component).and_then(|linker| linker.instantiate_pre(&component));
        let pre = pre.map_err(|error| refuse(&format!("it needs what is not given: {error:#}")))?;
        let (resolve, world) = decoded(bytes).map_err(|why| refuse(&why))?;
        let source = Source {
            stem,
            version: Digest::of(&[bytes]).to_string(),
            is_pure: only_computes(engine, &component),
            resolve: &resolve,
        };
        let mut loaded = Loaded::default();
        for (path, function) in functions(&resolve, world) {
            let shown = path.join("#");
            if loaded.tools.len() == FUNCTIONS_MAX {
                loaded.left_out.push((shown, format!("the component exports more than {FUNCTIONS_MAX} functions")));
                continue;
            }
            let made = source.tool(&path, function).and_then(|(manifest, signature)| {
                let export = export(&component, &path).ok_or("it cannot be found in the component")?;
                Ok((manifest, signature, export))
            });
            let (manifest, signature, export) = match made {
                Ok(made) => made,
                Err(why) => {
                    loaded.left_out.push((shown, why));
                    continue;
                }
            };
            let manifest = declare(&exported(&path), manifest)?;
            let tool = Tool::new(self.engine.clone(), pre.clone(), export, signature, &manifest);
            loaded.tools.push((manifest, tool));
        }
        Ok(loaded)
    }
}

impl Loads for Components {
    fn extensions(&self) -> &'static [&'static str] {
        &["wasm"]
    }

    fn load(&self, file: &Path, bytes: Vec<u8>, declared: &Declared, _: &Beside) -> Result<load::Loaded, Fault> {
        let functions = self.functions(file, &bytes, &|export, made| declared.over(file, Some(export), made))?;
        let tool = |(manifest, tool)| (manifest, Arc::new(tool) as Arc<dyn Runs>);
        Ok(functions.into_iter().map(tool).collect::<Vec<_>>().into())
    }
}

/// The names under which a function is exported: its own, or its interface's and its own.
type Names = Vec<String>;

/// Exported functions in the order of the file.
fn functions(resolve: &Resolve, world: WorldId) -> Vec<(Names, &Function)> {
    let mut found = Vec::new();
    for (key, item) in &resolve.worlds[world].exports {
        let name = resolve.name_world_key(key);
        match item {
            WorldItem::Function(function) => found.push((vec![name], function)),
            WorldItem::Interface { id, .. } => {
                let functions = resolve.interfaces[*id].functions.values();
                found.extend(functions.map(|function| (vec![name.clone(), function.name.clone()], function)));
            }
            WorldItem::Type { .. } => {}
        }
    }
    found
}

fn export(component: &Component, path: &[String]) -> Option<ComponentExportIndex> {
    path.iter().try_fold(None, |above, name| component.get_export_index(above.as_ref(), name.as_str()).map(Some))?
}

/// The component's WIT, with the documentation that its compiler kept.
fn decoded(bytes: &[u8]) -> Result<(Resolve, WorldId), String> {
    // The decoder expects what compilers write; other components may surprise it.
    let decoded = catch_unwind(AssertUnwindSafe(|| decode(bytes)));
    match decoded.map_err(|_| "its types cannot be read".to_owned())? {
        Ok(DecodedWasm::Component(resolve, world)) => Ok((resolve, world)),
        Ok(DecodedWasm::WitPackage(..)) => Err("it holds interfaces only, and no code".to_owned()),
        Err(error) => Err(format!("its types cannot be read: {error:#}")),
    }
}

struct Source<'a> {
    stem: &'a str,
    version: String,
    is_pure: bool,
    resolve: &'a Resolve,
}

impl Source<'_> {
    fn tool(&self, path: &[String], function: &Function) -> Result<(Manifest, Signature), String> {
        let signature = Signature::of(self.resolve, function)?;
        let schema = schema::of(&signature);
        checked::supported(&schema)?;
        let name = snake(&format!("{}_{}", self.stem, exported(path)));
        let described = words(&function.docs, DESCRIPTION_CHARS_MAX);
        let manifest = Manifest {
            name: name.parse().map_err(|error: InvalidId| format!("its name would be `{name}`: {error}"))?,
            description: described.unwrap_or_else(|| format!("`{}` of `{}`.", path.join("/"), self.stem)),
            lane: Lane::Wasm,
            version: self.version.clone(),
            schema,
            example: None,
            effect: if self.is_pure { Effect::None } else { Effect::Credential },
            effect_by: None,
            retry: if self.is_pure { Retry::Pure } else { Retry::AtMostOnce },
            args: std::collections::BTreeMap::new(),
            output_default: OutputLabel::default(),
            output_fields: std::collections::BTreeMap::new(),
            is_contained: self.is_pure,
            capabilities: None,
            limits: CallLimits::default(),
            intents: std::collections::BTreeMap::new(),
        };
        Ok((manifest, signature))
    }
}

/// An export's name; of an interface its own counts, not its package's or version.
fn exported(path: &[String]) -> String {
    let plain = |part: &String| {
        let part = part.rsplit('/').next().unwrap_or(part);
        part.split('@').next().unwrap_or(part).to_owned()
    };
    path.iter().map(plain).collect::<Vec<_>>().join("_")
}

//! From the files of the folder to one set of tools.
//!
//! Each file stands for itself: what is wrong with one is a problem of that one
//! and takes nothing else down. A name belongs to the runtime's own tool first,
//! then to whoever is served under it already; two newcomers both go without.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use are_core::digest::Digest;
use are_core::error::Fault;
use are_core::ids::ToolName;
use are_policy::manifest::Manifest;
use are_policy::schema;
use are_policy::tools::Problem;
use serde_json::Value;

use super::declared::Declared;
use super::folder::{self, FILE_BYTES_MAX, FILES_MAX, MANIFEST_BYTES_MAX};
use super::load::{self, Beside, Loads, invalid};
use super::names::{is_hidden, visible};
use super::served::{One, Served};

/// Bytes of all texts that files may draw in.
const BESIDE_BYTES_MAX: usize = 16 << 20;
/// Tools of one file.
const TOOLS_OF_FILE_MAX: usize = 256;
/// Tools of all files.
const TOOLS_MAX: usize = 1_000;
/// Bytes of a tool's declaration; a model reads most of them.
const MANIFEST_JSON_BYTES_MAX: usize = 64 << 10;

/// Files that were loaded, by name, so that only what changed is loaded again.
pub(super) type Cache = BTreeMap<String, Arc<Loaded>>;

/// What a file came to, and of which bytes.
pub(super) struct Loaded {
    content: Digest,
    pub(super) tools: Result<Vec<One>, Fault>,
    /// Why further tools of it are not served.
    refused: Vec<Fault>,
    /// What lives as long as the file is served.
    _anchor: Option<Arc<dyn Any + Send + Sync>>,
}

/// The tools of a file, each checked as a model and a policy will see it.
pub(super) struct Checked {
    pub(super) tools: Vec<One>,
    pub(super) refused: Vec<Fault>,
    anchor: Option<Arc<dyn Any + Send + Sync>>,
}

/// What is needed to load files.
pub(super) struct Lanes {
    pub(super) builtin: Vec<One>,
    pub(super) loaders: Vec<Box<dyn Loads>>,
}

/// A file with the manifest beside it.
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: Option<Vec<u8>>,
    /// What it may draw in.
    pub(super) beside: Arc<Beside>,
}

/// Reads the folder. `before` is what is served until now.
pub(super) fn collect(dir: &Path, lanes: &Lanes, before: &Served, cache: &mut Cache) -> Result<Served, Fault> {
    let (names, has_more) = folder::names(dir).map_err(|error| {
        invalid(format!("the folder of tools cannot be read: {error}"), "mend `tools/` in the data directory")
    })?;
    let mut problems = Vec::new();
    if has_more {
        let why = format!("there are more than {FILES_MAX} files; those that come last by name are not read");
        problems.push(Problem { file: "tools/".to_owned(), why, help: "put fewer files there".to_owned() });
    }
    let mut loaded = Cache::new();
    let beside = Arc::new(beside(dir, &names, lanes));
    for (name, manifest) in pairs(&names, lanes, &mut problems) {
        let file = load_file(dir, (&name, manifest.as_deref(), &beside), lanes, cache.get(&name));
        problems.extend(file.tools.as_ref().err().into_iter().chain(&file.refused).map(|fault| problem(&name, fault)));
        loaded.insert(name, file);
    }
    let tools = settle(lanes, before, &loaded, &mut problems);
    *cache = loaded;
    Served::new(tools, problems).map_err(|name| super::builtin::invalid(&format!("there are two tools `{name}`")))
}

/// Each implementation with the name of its manifest.
fn pairs(names: &[String], lanes: &Lanes, problems: &mut Vec<Problem>) -> Vec<(String, Option<String>)> {
    let mut pairs = Vec::new();
    let mut described = BTreeSet::new();
    let all: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    for name in names.iter().filter(|name| !name.ends_with(".toml")) {
        let is_drawn_only = lanes.draws_only(name);
        if is_drawn_only {
            continue;
        }
        if lanes.loader(name).is_none() {
            let known = lanes.extensions().join(", ");
            problems
                .push(problem(name, &invalid("no lane runs such a file", format!("files of tools end in {known}"))));
            continue;
        }
        let manifest = manifest_of(name).filter(|manifest| all.contains(manifest.as_str()));
        described.extend(manifest.clone());
        pairs.push((name.clone(), manifest));
    }
    // A manifest alone is its own implementation, or it finds out that it is none.
    let alone = names.iter().filter(|name| name.ends_with(".toml") && !described.contains(*name));
    pairs.extend(alone.map(|name| (name.clone(), None)));
    pairs.sort();
    pairs
}

/// Name of the manifest beside a file; `None` for a manifest.
pub(super) fn manifest_of(name: &str) -> Option<String> {
    let (stem, extension) = name.rsplit_once('.')?;
    (extension != "toml").then(|| format!("{stem}.toml"))
}

/// The texts that other files may draw in. One that cannot be read is not there for them.
pub(super) fn beside(dir: &Path, names: &[String], lanes: &Lanes) -> Beside {
    let endings: BTreeSet<&str> = lanes.loaders.iter().flat_map(|loader| loader.draws_in().iter().copied()).collect();
    let is_drawn = |name: &str| name.rsplit_once('.').is_some_and(|(_, ending)| endings.contains(ending));
    let mut texts = Beside::new();
    let mut room = BESIDE_BYTES_MAX;
    for name in names.iter().filter(|name| is_drawn(name)) {
        let text = folder::read(dir, name, room as u64).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(text) = text {
            room -= text.len();
            texts.insert(name.clone(), text);
        }
    }
    texts
}

fn load_file(
    dir: &Path,
    (name, manifest, beside): (&str, Option<&str>, &Arc<Beside>),
    lanes: &Lanes,
    known: Option<&Arc<Loaded>>,
) -> Arc<Loaded> {
    let unreadable = |name: &str, error: &std::io::Error| {
        invalid(format!("`{name}` cannot be read: {error}"), "mend it, or move it out of the folder")
    };
    let bytes_max = if name.ends_with(".toml") { MANIFEST_BYTES_MAX } else { FILE_BYTES_MAX };
    let pair = folder::read(dir, name, bytes_max).map_err(|error| unreadable(name, &error)).and_then(|bytes| {
        let read = |manifest: &str| {
            folder::read(dir, manifest, MANIFEST_BYTES_MAX).map_err(|error| unreadable(manifest, &error))
        };
        Ok(Pair { name: name.to_owned(), bytes, manifest: manifest.map(read).transpose()?, beside: Arc::clone(beside) })
    });
    match pair {
        Ok(pair) => {
            let content = pair.content(lanes);
            match known.filter(|known| known.content == content) {
                Some(known) => Arc::clone(known),
                None => Arc::new(Loaded::of(content, load(&pair, lanes))),
            }
        }
        Err(fault) => Arc::new(Loaded::of(Digest::ZERO, Err(fault))),
    }
}

impl Loaded {
    fn of(content: Digest, loaded: Result<Checked, Fault>) -> Self {
        match loaded {
            Ok(Checked { tools, refused, anchor }) => Self { content, tools: Ok(tools), refused, _anchor: anchor },
            Err(fault) => Self { content, tools: Err(fault), refused: Vec::new(), _anchor: None },
        }
    }
}

impl Pair {
    fn content(&self, lanes: &Lanes) -> Digest {
        let manifest = self.manifest.as_deref().map_or(Digest::ZERO, |bytes| Digest::of(&[bytes]));
        let draws_in = lanes.loader(&self.name).is_some_and(|loader| !loader.draws_in().is_empty());
        let drawn = self.beside.iter().filter(|_| draws_in).flat_map(|(name, text)| [name, text]);
        let drawn: Vec<[u8; 32]> = drawn.map(|text| Digest::of(&[text.as_bytes()]).0).collect();
        let drawn = Digest::of(&drawn.iter().map(<[u8; 32]>::as_slice).collect::<Vec<_>>());
        let own = Digest::of(&[&self.bytes]);
        let revision = lanes.loader(&self.name).map_or(0, Loads::revision).to_be_bytes();
        let parts = [own.0.as_slice(), manifest.0.as_slice(), drawn.0.as_slice(), &revision, self.name.as_bytes()];
        Digest::of(&parts)
    }

    /// What lies beside it, or is it.
    pub(super) fn declared(&self) -> Result<Declared, Fault> {
        let is_manifest = self.name.ends_with(".toml");
        let Some(bytes) = self.manifest.as_deref().or_else(|| is_manifest.then_some(self.bytes.as_slice())) else {
            return Ok(Declared::default());
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|_| invalid("the manifest is not UTF-8", "write it as a text in UTF-8"))?;
        let declared = Declared::parse(text)?;
        match (declared.template().is_some(), is_manifest) {
            (true, false) => Err(invalid(
                "the manifest beside it names a `lane` of its own",
                "leave `lane` out, or remove the other file",
            )),
            (false, true) => Err(invalid(
                "there is no file that it describes, and it has no `lane`",
                "put the implementation beside it, or write `lane = \"http\"` or `lane = \"command\"`",
            )),
            _ => Ok(declared),
        }
    }
}

impl Lanes {
    pub(super) fn loader(&self, name: &str) -> Option<&dyn Loads> {
        let (_, extension) = name.rsplit_once('.')?;
        self.loaders.iter().map(AsRef::as_ref).find(|loader| loader.extensions().contains(&extension))
    }

    /// Whether a file is there for others alone: a text that no lane runs, or one whose name begins with `_`.
    fn draws_only(&self, name: &str) -> bool {
        let Some((_, ending)) = name.rsplit_once('.') else { return false };
        let is_drawn = self.loaders.iter().any(|loader| loader.draws_in().contains(&ending));
        is_drawn && (name.starts_with('_') || self.loader(name).is_none())
    }

    /// Another number whenever the same files would become other tools.
    pub(super) fn revision(&self) -> u64 {
        self.loaders.iter().fold(0, |sum, loader| sum.wrapping_add(loader.revision()))
    }

    /// Extensions of files that become tools.
    pub(super) fn extensions(&self) -> Vec<String> {
        self.loaders.iter().flat_map(|loader| loader.extensions()).map(|extension| format!("`.{extension}`")).collect()
    }
}

/// Loads a file and checks its tools.
pub(super) fn load(pair: &Pair, lanes: &Lanes) -> Result<Checked, Fault> {
    let Some(loader) = lanes.loader(&pair.name) else {
        return Err(invalid(
            "no lane runs such a file",
            format!("files of tools end in {}", lanes.extensions().join(", ")),
        ));
    };
    let (declared, file) = (pair.declared()?, Path::new(&pair.name));
    let digest = Digest::of(&[&pair.bytes]);
    // A loader that panics over a file has failed for that file.
    let loading = catch_unwind(AssertUnwindSafe(|| loader.load(file, pair.bytes.clone(), &declared, &pair.beside)));
    let load::Loaded { tools: loaded, mut refused, anchor } =
        loading.map_err(|_| invalid("it cannot be read: the loader gave up", "report this with the file"))??;
    let least = if loader.is_partial() { 0 } else { 1 };
    if !(least..=TOOLS_OF_FILE_MAX).contains(&loaded.len()) {
        let why = format!("it has {} tools; a file may have from 1 to {TOOLS_OF_FILE_MAX}", loaded.len());
        return Err(invalid(why, "export the functions that are tools, and only them"));
    }
    let mut tools = Vec::new();
    for (manifest, lane) in loaded {
        match sealed(manifest, digest) {
            Ok(manifest) => tools.push(One::new(manifest, lane)),
            Err(fault) if loader.is_partial() => refused.push(fault),
            Err(fault) => return Err(fault),
        }
    }
    let mut names: Vec<&str> = tools.iter().map(|one| one.manifest().name.as_str()).collect();
    names.sort_unstable();
    if let Some(same) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(invalid(format!("two of its functions become the tool `{}`", same[0]), "rename one of them"));
    }
    // A loader whose files may lose tools knows which there would be.
    if !loader.is_partial()
        && let Some(stranger) = declared.strangers(file, &names).first()
    {
        let help = format!("its tools: {}", names.join(", "));
        return Err(invalid(format!("`tools.{stranger}` in the manifest is none of its tools"), help));
    }
    Ok(Checked { tools, refused, anchor })
}

/// A manifest as it is served: nothing invisible in it, and another one whenever the file is another.
fn sealed(mut manifest: Manifest, file: Digest) -> Result<Manifest, Fault> {
    let at = |why: &str, help: &str| invalid(format!("`{}`: {why}", manifest.name), help);
    clean_descriptions(&mut manifest.schema);
    schema::supported(&manifest.schema).map_err(|why| at(&why, "use only keywords that are checked"))?;
    let example = manifest.example.as_ref().map(|example| serde_json::to_string(example).unwrap_or_default());
    let intents = serde_json::to_string(&manifest.intents).unwrap_or_default();
    let shown = [manifest.schema.to_string(), example.unwrap_or_default(), intents];
    if shown.iter().flat_map(|text| text.chars()).any(is_hidden) {
        return Err(at("its schema, example or intents hold characters that nobody sees", "remove them"));
    }
    if shown.iter().map(String::len).sum::<usize>() > MANIFEST_JSON_BYTES_MAX {
        return Err(at(&format!("its declaration is larger than {MANIFEST_JSON_BYTES_MAX} bytes"), "make it shorter"));
    }
    manifest.description = visible(&manifest.description);
    let version = visible(&manifest.version);
    manifest.version = format!("{version} sha256:{file}");
    Ok(manifest)
}

/// Descriptions at any depth without what nobody sees.
fn clean_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(text) if key == "description" || key == "title" => *text = visible(text),
                    other => clean_descriptions(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(clean_descriptions),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Who is served under each name.
fn settle(lanes: &Lanes, before: &Served, loaded: &Cache, problems: &mut Vec<Problem>) -> Vec<(One, Option<Arc<str>>)> {
    let mut tools: Vec<_> = lanes.builtin.iter().map(|one| (one.clone(), None)).collect();
    let own: BTreeSet<&ToolName> = lanes.builtin.iter().map(|one| &one.manifest().name).collect();
    let mut wanted: BTreeMap<&ToolName, Vec<(&One, &str)>> = BTreeMap::new();
    for (file, loaded) in loaded {
        for one in loaded.tools.iter().flatten() {
            wanted.entry(&one.manifest().name).or_default().push((one, file));
        }
    }
    for (name, asking) in wanted {
        let taken = |other: &str| {
            let help = "rename the file or the function; the one that is served stays";
            invalid(format!("the name `{name}` is taken by {other}"), help)
        };
        if own.contains(name) {
            problems.extend(asking.iter().map(|(_, file)| problem(file, &taken("a tool of the runtime"))));
            continue;
        }
        let holder = match asking.as_slice() {
            [only] => Some(*only),
            several => several.iter().copied().find(|(_, file)| before.file_of(name.as_str()) == Some(file)),
        };
        for (_, file) in asking.iter().filter(|(_, file)| holder.is_none_or(|(_, holder)| holder != *file)) {
            let others = asking.iter().map(|(_, other)| *other).filter(|other| other != file);
            let others: Vec<String> = others.map(|other| format!("`{other}`")).collect();
            problems.push(problem(file, &taken(&others.join(", "))));
        }
        match holder {
            Some((_, file)) if tools.len() >= TOOLS_MAX + own.len() => {
                let why = format!("`{name}` is one tool more than the {TOOLS_MAX} that files may bring");
                problems.push(problem(file, &invalid(why, "remove files that nobody needs")));
            }
            Some((one, file)) => tools.push((one.clone(), Some(file.into()))),
            None => {}
        }
    }
    tools
}

pub(super) fn problem(file: &str, fault: &Fault) -> Problem {
    let seen = |text: &str| text.chars().filter(|character| !is_hidden(*character)).collect();
    Problem { file: seen(file), why: seen(&fault.message), help: seen(&fault.help) }
}

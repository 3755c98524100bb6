//! The set that is served, and the files that it comes from.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use are_core::BoxFuture;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::ToolName;
use are_policy::schema;
use are_policy::tools::{Problem, Reading, Shelf, Shelved, ToolFile};

use super::builtin::Shown;
use super::collect::{self, Cache, Checked, Lanes, Pair, manifest_of};
use super::folder::{self, FILE_BYTES_MAX, Fingerprint, MANIFEST_BYTES_MAX};
use super::load::{Loads, invalid};
use super::served::{One, Served};

/// Lines of what a replacement changes.
const CHANGES_MAX: usize = 100;

/// The set that is served, with all that is needed to make another.
pub(super) struct Files {
    served: ArcSwap<Served>,
    /// The set of it, for the tool that searches it.
    shown: Shown,
    lanes: Lanes,
    dir: OnceLock<PathBuf>,
    /// Held by whoever reads or writes the folder.
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    cache: Cache,
    prepared: Option<Arc<Served>>,
}

impl Files {
    pub(super) fn new(builtin: Vec<One>, loaders: Vec<Box<dyn Loads>>, shown: Shown) -> Result<Self, Fault> {
        let served = Served::new(builtin.iter().map(|one| (one.clone(), None)), Vec::new())
            .map_err(|name| super::builtin::invalid(&format!("there are two tools `{name}`")))?;
        let lanes = Lanes { builtin, loaders };
        shown.store(Some(Arc::clone(&served.set)));
        Ok(Self { served: ArcSwap::from_pointee(served), shown, lanes, dir: OnceLock::new(), work: Mutex::default() })
    }

    /// Adds tools of the runtime, before the folder is opened.
    pub(super) fn add(&mut self, tools: impl Iterator<Item = One>) -> Result<(), Fault> {
        for tool in tools {
            schema::supported(&tool.manifest().schema)
                .map_err(|why| super::builtin::invalid(&format!("`{}`: {why}", tool.manifest().name)))?;
            self.lanes.builtin.push(tool);
        }
        let served = Served::new(self.lanes.builtin.iter().map(|one| (one.clone(), None)), Vec::new())
            .map_err(|name| super::builtin::invalid(&format!("there are two tools `{name}`")))?;
        self.store(Arc::new(served));
        Ok(())
    }

    pub(super) fn served(&self) -> Arc<Served> {
        self.served.load_full()
    }

    pub(super) fn is_open(&self) -> bool {
        self.dir.get().is_some()
    }

    /// Takes a folder and serves what it holds.
    pub(super) fn open(&self, dir: PathBuf) -> Result<(), Fault> {
        self.dir.set(dir).map_err(|_| super::builtin::invalid("there is a folder already"))?;
        let mut work = self.work();
        let served = self.collect(&mut work)?;
        for problem in &served.problems {
            tracing::warn!(file = problem.file, why = problem.why, "a file of tools is not served");
        }
        self.store(served);
        Ok(())
    }

    fn store(&self, served: Arc<Served>) {
        self.shown.store(Some(Arc::clone(&served.set)));
        self.served.store(served);
    }

    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        self.dir.get().map(|dir| Fingerprint::of(dir, self.lanes.revision()))
    }

    fn collect(&self, work: &mut Work) -> Result<Arc<Served>, Fault> {
        let dir = self.dir.get().ok_or_else(no_folder)?;
        collect::collect(dir, &self.lanes, &self.served(), &mut work.cache).map(Arc::new)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<Reading, Fault> {
        let mut work = self.work();
        let served = self.collect(&mut work)?;
        let reading = Reading { tools: Arc::clone(&served.set), problems: served.problems.clone() };
        work.prepared = Some(served);
        Ok(reading)
    }

    fn put(&self, file: &ToolFile, may_replace: bool) -> Result<Shelved, Fault> {
        let dir = self.dir.get().ok_or_else(no_folder)?;
        check_name(&file.name)?;
        let beside = manifest_of(&file.name);
        if beside.is_none() && file.manifest.is_some() {
            return Err(invalid("a manifest has no manifest beside it", "leave `--manifest` out"));
        }
        let most = if beside.is_some() { FILE_BYTES_MAX } else { MANIFEST_BYTES_MAX };
        let manifest_bytes = file.manifest.as_ref().map_or(0, String::len) as u64;
        if file.bytes.len() as u64 > most || manifest_bytes > MANIFEST_BYTES_MAX {
            return Err(invalid(format!("`{}` is larger than {most} bytes", file.name), "make it smaller"));
        }
        let work = self.work();
        let there = |name: &str, most| folder::read(dir, name, most).ok();
        let old_manifest = beside.as_deref().and_then(|name| there(name, MANIFEST_BYTES_MAX));
        let new_manifest = file.manifest.clone().map(String::into_bytes);
        let old = there(&file.name, most);
        let pair = self.pair(dir, file, old_manifest.clone());
        let tools = collect::load(&pair, &self.lanes)?.tools;
        self.check_names(&file.name, &tools)?;
        let is_new_manifest = new_manifest.is_some() && new_manifest != old_manifest;
        if old.as_ref() == Some(&file.bytes) && !is_new_manifest {
            return Ok(Shelved::Same);
        }
        if (old.is_some() || (is_new_manifest && old_manifest.is_some())) && !may_replace {
            let before = work.cache.get(&file.name).and_then(|loaded| loaded.tools.as_deref().ok()).unwrap_or_default();
            return Ok(Shelved::Differs { changes: changes(before, &tools) });
        }
        let unwritten = |error: std::io::Error| {
            invalid(format!("`{}` cannot be written: {error}", file.name), "mend `tools/` in the data directory")
        };
        if let (true, Some(name), Some(manifest)) = (is_new_manifest, &beside, &new_manifest) {
            // A power cut in between leaves a manifest without its file, which is served as nothing, and never one
            // file with the manifest of another.
            folder::remove(dir, &file.name).map_err(unwritten)?;
            folder::write(dir, name, manifest).map_err(unwritten)?;
        }
        folder::write(dir, &file.name, &file.bytes).map_err(unwritten)?;
        if let Some(old) = old.filter(|old| *old != file.bytes) {
            self.drop_beside(dir, &file.name, &old);
        }
        Ok(Shelved::Written { tools: tools.into_iter().map(|one| one.manifest().name.clone()).collect() })
    }

    /// Removes what was kept beside a file of this content. It is of no use to another one, so that it may stay behind.
    fn drop_beside(&self, dir: &Path, name: &str, bytes: &[u8]) {
        let kept = self.lanes.loader(name).and_then(|loader| loader.keeps_beside(Path::new(name), bytes));
        if let Some(Err(error)) = kept.map(|kept| folder::remove(dir, &kept)) {
            tracing::debug!(%error, "what was kept beside a file of tools stays behind");
        }
    }

    /// A file with the manifest that it is handed over with, or the one that lies there.
    fn pair(&self, dir: &Path, file: &ToolFile, there: Option<Vec<u8>>) -> Pair {
        Pair {
            name: file.name.clone(),
            bytes: file.bytes.clone(),
            manifest: file.manifest.clone().map(String::into_bytes).or(there),
            beside: Arc::new(collect::beside(dir, &folder::names(dir).unwrap_or_default().0, &self.lanes)),
        }
    }

    /// What a file would come to, without it being written. Blocks.
    pub(super) fn try_out(&self, file: &ToolFile) -> Result<Checked, Fault> {
        let dir = self.dir.get().ok_or_else(no_folder)?;
        check_name(&file.name)?;
        let there = manifest_of(&file.name).and_then(|name| folder::read(dir, &name, MANIFEST_BYTES_MAX).ok());
        collect::load(&self.pair(dir, file, there), &self.lanes)
    }

    /// The bytes of a file of the folder, if there is one. Blocks.
    pub(super) fn stored(&self, name: &str) -> Option<Vec<u8>> {
        check_name(name).ok()?;
        folder::read(self.dir.get()?, name, FILE_BYTES_MAX).ok()
    }

    /// Names of the files of the folder. Blocks, shortly.
    pub(super) fn file_names(&self) -> Vec<String> {
        // silent-ok: a folder that cannot be read is told of when it is collected.
        self.dir.get().and_then(|dir| folder::names(dir).ok()).map(|(names, _)| names).unwrap_or_default()
    }

    /// Refuses a file whose tools could not be served beside the others.
    fn check_names(&self, file: &str, tools: &[One]) -> Result<(), Fault> {
        let served = self.served();
        let taken = tools.iter().map(|one| one.manifest().name.as_str()).find_map(|name| {
            served.get(name)?;
            let holder = served.file_of(name);
            (holder != Some(file)).then(|| (name.to_owned(), holder.map(str::to_owned)))
        });
        let Some((name, holder)) = taken else { return Ok(()) };
        let holder = holder.map_or_else(|| "a tool of the runtime".to_owned(), |file| format!("`{file}`"));
        Err(invalid(format!("the name `{name}` is taken by {holder}"), "rename the file or the function"))
    }

    fn remove(&self, name: &str) -> Result<String, Fault> {
        let dir = self.dir.get().ok_or_else(no_folder)?;
        let served = self.served();
        if served.get(name).is_some() && served.file_of(name).is_none() {
            let help = "a rule can forbid it: `are policy`";
            return Err(Fault::new(Code::TOOL_UNKNOWN, format!("`{name}` is part of the runtime"), help));
        }
        let _one = self.work();
        let file = served.file_of(name).unwrap_or(name).to_owned();
        check_name(&file)?;
        let (names, _) = folder::names(dir).map_err(|error| invalid(error.to_string(), "mend `tools/`"))?;
        if !names.contains(&file) {
            let help = "`are tool list` shows the tools and the files that are not served";
            return Err(Fault::new(Code::TOOL_UNKNOWN, format!("there is no tool or file `{file}`"), help));
        }
        let gone = |name: &str| {
            folder::remove(dir, name)
                .map_err(|error| invalid(format!("`{name}` cannot be removed: {error}"), "mend `tools/`"))
        };
        let bytes = folder::read(dir, &file, FILE_BYTES_MAX);
        gone(&file)?;
        if let Ok(bytes) = bytes {
            self.drop_beside(dir, &file, &bytes);
        }
        if let Some(manifest) = manifest_of(&file).filter(|manifest| names.contains(manifest)) {
            gone(&manifest)?;
        }
        Ok(file)
    }
}

/// The folder, to whoever may change it.
pub(super) struct Keeper(pub(super) Arc<Files>);

impl Keeper {
    /// Work on files, off the threads that serve.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, Fault> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Fault>> {
        let files = Arc::clone(&self.0);
        Box::pin(async move {
            tokio::task::spawn_blocking(move || work(&files))
                .await
                .map_err(|_| Fault::new(Code::INTERNAL, "reading the tools ended in a panic", "report this as a bug"))?
        })
    }
}

impl Shelf for Keeper {
    fn read(&self) -> BoxFuture<'_, Result<Reading, Fault>> {
        self.blocking(Files::read)
    }

    fn serve(&self, tools: Digest) {
        let prepared = self.0.work().prepared.take();
        if let Some(prepared) = prepared.filter(|prepared| prepared.set.digest() == tools) {
            self.0.store(prepared);
        }
    }

    fn problems(&self) -> Vec<Problem> {
        self.0.served().problems.clone()
    }

    fn file_of(&self, tool: &str) -> Option<String> {
        self.0.served().file_of(tool).map(str::to_owned)
    }

    fn put(&self, file: ToolFile, may_replace: bool) -> BoxFuture<'_, Result<Shelved, Fault>> {
        self.blocking(move |files| files.put(&file, may_replace))
    }

    fn remove(&self, name: String) -> BoxFuture<'_, Result<String, Fault>> {
        self.blocking(move |files| files.remove(&name))
    }
}

/// A name that is a file of the folder and nothing else.
fn check_name(name: &str) -> Result<(), Fault> {
    const BYTES_MAX: usize = 128;
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    if name.len() <= BYTES_MAX && !name.starts_with('.') && name.contains('.') && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(invalid(
        format!("`{}` is no name for a file of tools", name.chars().take(BYTES_MAX).collect::<String>().escape_debug()),
        "use letters, digits, `_` and `-`, and the extension of its lane",
    ))
}

/// What becomes of the tools of a file, a line each.
fn changes(before: &[One], after: &[One]) -> Vec<String> {
    let mut lines = Vec::new();
    let find = |all: &[One], name: &ToolName| all.iter().find(|one| one.manifest().name == *name).cloned();
    for one in before.iter().filter(|one| find(after, &one.manifest().name).is_none()) {
        lines.push(format!("{}: is removed", one.manifest().name));
    }
    for one in after {
        let name = &one.manifest().name;
        let Some(old) = find(before, name) else {
            lines.push(format!("{name}: is added"));
            continue;
        };
        let value = |one: &One| serde_json::to_value(one.manifest()).unwrap_or_default();
        let (old, new) = (value(&old), value(one));
        for (key, new) in new.as_object().into_iter().flatten().filter(|(key, new)| old.get(key.as_str()) != Some(new))
        {
            lines
                .push(format!("{name}: {key} was {}, becomes {new}", old.get(key).unwrap_or(&serde_json::Value::Null)));
        }
        let keys = old.as_object().into_iter().flatten();
        for (key, old) in keys.filter(|(key, _)| new.get(key.as_str()).is_none()) {
            lines.push(format!("{name}: {key} was {old}, is no longer declared"));
        }
    }
    if lines.is_empty() {
        lines.push("the content, but no tool's declaration".to_owned());
    }
    lines.truncate(CHANGES_MAX);
    lines
}

fn no_folder() -> Fault {
    Fault::new(Code::UNAVAILABLE, "there is no folder of tools here", "start with a data directory")
}

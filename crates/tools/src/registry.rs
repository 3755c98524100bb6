//! The tools that are served, and the way from a permit to an outcome.
//!
//! A permit runs only on the very tool it was decided about (same digest) and
//! with arguments that fit its schema. Whatever happens inside a lane, an error,
//! a panic or a time-out, comes back as an outcome: failed where it is certain
//! what happened, unknown where it is not.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use are_core::BoxFuture;
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::InvalidId;
use are_core::label::{Confidentiality, Integrity, Label};
use are_policy::gate::Permit;
use are_policy::manifest::{Manifest, ToolSet};
use are_policy::schema;
use are_policy::tools::{Checkpoints, Place, ToolOutcome, Tools};
use are_policy::undo;
use futures_util::FutureExt as _;
use tokio::time::Instant;

use crate::cage::{CageOptions, Report};
use crate::fs::{CheckpointOptions, Keeper, Kept};
use crate::http::{Http, HttpOptions};
use crate::lane::{AbandonOnDrop, Answer, Error, Latch, Room, Runs as _};
use crate::launch::Launcher;
use crate::process::Processes;
use crate::{fs, http, process, variables};

/// The builtin tools.
#[derive(Debug)]
pub struct Registry {
    tools: Arc<ToolSet>,
    http: Http,
    /// What only the user can ask for; no model hears of it.
    undo: (Manifest, Digest),
    kept: Option<Arc<Kept>>,
    /// Native commands; `None` where no cage holds them.
    processes: Option<Arc<Processes>>,
}

impl Registry {
    /// The tools that are part of the runtime.
    ///
    /// # Errors
    /// ARE-0509 when a manifest is invalid, which only a bug of this crate can cause.
    pub fn builtin(http: HttpOptions) -> Result<Self, Fault> {
        let all = manifests().map_err(|error| invalid_manifest(&error.to_string()))?;
        let tools = checked(all)?;
        let undo = undo::manifest().map_err(|error| invalid_manifest(&error.to_string()))?;
        let digest = undo.digest();
        Ok(Self { tools: Arc::new(tools), http: Http::new(http), undo: (undo, digest), kept: None, processes: None })
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
        let mut all: Vec<Manifest> = self.tools.iter().map(|(manifest, _)| manifest.clone()).collect();
        all.extend(process::manifests(report.is_whole()).map_err(|error| invalid_manifest(&error.to_string()))?);
        self.tools = Arc::new(checked(all)?);
        let launcher = Launcher { has_namespaces: report.has_namespaces(), options: Arc::new(options) };
        self.processes = Some(Arc::new(Processes::new(launcher)));
        Ok(self)
    }

    fn tool(&self, name: &str) -> Option<(&Manifest, Digest)> {
        if name == undo::NAME { Some((&self.undo.0, self.undo.1)) } else { self.tools.get(name) }
    }

    /// Sends the permit down its lane.
    async fn dispatch(&self, permit: Permit, room: Room) -> Result<Answer, Error> {
        let name = permit.call().tool.clone();
        let undo = (name == undo::NAME).then_some(fs::Tool::Undo);
        if let Some(tool) = fs::Tool::named(&name).or(undo) {
            return fs::run(tool, permit, room).await;
        }
        if let Some(tool) = variables::Tool::named(&name) {
            return variables::run(tool, permit, &room);
        }
        if name == http::NAME {
            return self.http.run(permit, room).await;
        }
        if let Some(processes) = self.processes.as_ref().filter(|_| Processes::has(&name)) {
            return processes.run(permit, room).await;
        }
        Err(unknown_tool(&name).into())
    }

    async fn run_to_outcome(&self, permit: Permit, place: Place) -> ToolOutcome {
        let call = permit.call();
        let origin = format!("{}#{}", call.tool, call.call);
        let ours = Label::new(Integrity::Platform, Confidentiality::Private, &origin).join(&place.label);
        let Some((manifest, digest)) = self.tool(&call.tool) else {
            return ToolOutcome::Failed { fault: unknown_tool(&call.tool), label: ours };
        };
        if digest != call.tool_digest {
            return ToolOutcome::Failed { fault: revoked(manifest), label: ours };
        }
        if let Err(fault) = schema::validate(manifest, &call.args) {
            return ToolOutcome::Failed { fault, label: ours };
        }
        // What an error says can hold what the tool saw outside, such as the host of a redirect.
        let label = if manifest.name.as_str() == http::NAME { Label::worst(&origin).join(&place.label) } else { ours };
        let timeout_ms = place.timeout_ms.min(manifest.limits.timeout_ms);
        let latch = Arc::new(Latch::default());
        let room = Room {
            workspace: place.workspace,
            variables: place.variables,
            label: place.label,
            deadline: Instant::now() + Duration::from_millis(timeout_ms),
            latch: Arc::clone(&latch),
            changes: place.changes,
            kept: self.kept.clone(),
            output: place.output,
            host: place.host,
        };
        match guarded(manifest, timeout_ms, &latch, self.dispatch(permit, room)).await {
            Ok(answer) => completed(manifest, &origin, answer),
            Err(Error::Failed(fault)) => ToolOutcome::Failed { fault, label },
            Err(Error::Unknown(fault)) => ToolOutcome::Unknown { fault, label },
        }
    }
}

impl Tools for Registry {
    fn snapshot(&self) -> Arc<ToolSet> {
        Arc::clone(&self.tools)
    }

    fn run(&self, permit: Permit, place: Place) -> BoxFuture<'_, ToolOutcome> {
        Box::pin(self.run_to_outcome(permit, place))
    }

    fn checkpoints(&self) -> Option<Arc<dyn Checkpoints>> {
        let keeper = |kept| Keeper { kept, processes: self.processes.clone() };
        self.kept.clone().map(|kept| Arc::new(keeper(kept)) as Arc<dyn Checkpoints>)
    }
}

/// Runs a lane so that neither its time nor its panic is anybody else's.
async fn guarded(
    manifest: &Manifest,
    timeout_ms: u64,
    latch: &Arc<Latch>,
    lane: impl Future<Output = Result<Answer, Error>>,
) -> Result<Answer, Error> {
    let _guard = AbandonOnDrop(Arc::clone(latch));
    let lane = AssertUnwindSafe(lane).catch_unwind();
    match tokio::time::timeout(Duration::from_millis(timeout_ms), lane).await {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(given_up(latch, panicked(manifest))),
        Err(_elapsed) => Err(given_up(latch, timed_out(manifest, timeout_ms))),
    }
}

/// A set of tools whose schemas can be checked and whose names differ.
fn checked(all: Vec<Manifest>) -> Result<ToolSet, Fault> {
    for manifest in &all {
        schema::supported(&manifest.schema).map_err(|why| invalid_manifest(&format!("`{}`: {why}", manifest.name)))?;
    }
    ToolSet::new(all).map_err(|name| invalid_manifest(&format!("there are two tools `{name}`")))
}

fn manifests() -> Result<Vec<Manifest>, InvalidId> {
    let mut all = fs::manifests()?;
    all.push(http::manifest()?);
    all.extend(variables::manifests()?);
    Ok(all)
}

fn completed(manifest: &Manifest, origin: &str, answer: Answer) -> ToolOutcome {
    let mut labels = manifest.labels(&answer.value, origin);
    labels.extend(answer.labels);
    // A label of a field that is not there would make the whole look better or worse than it is.
    labels.retain(|pointer, _| pointer.is_empty() || answer.value.pointer(pointer).is_some());
    ToolOutcome::Completed { value: answer.value, labels, bindings: answer.bindings }
}

/// Failed when the effect had not begun and now never will, else unknown.
fn given_up(latch: &Latch, mut fault: Fault) -> Error {
    if latch.abandon() {
        return Error::Failed(fault);
    }
    fault.code = Code::TOOL_OUTCOME_UNKNOWN;
    fault.retryable = false;
    fault.help = "it may or may not have happened: find out before calling it again".to_owned();
    Error::Unknown(fault)
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

fn invalid_manifest(why: &str) -> Fault {
    Fault::new(
        Code::MANIFEST_INVALID,
        format!("a builtin tool's manifest is invalid: {why}"),
        "this is a bug; report it",
    )
}

#[cfg(test)]
mod tests;

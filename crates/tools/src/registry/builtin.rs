//! The lanes of the tools that are part of the runtime.

use std::sync::Arc;

use are_core::BoxFuture;
use are_core::error::{Code, Fault};
use are_core::ids::InvalidId;
use are_policy::gate::Permit;
use are_policy::manifest::Manifest;
use are_policy::{schema, undo};

use super::served::One;
use crate::http::Http;
use crate::lane::{Answer, Error, Room, Runs};
use crate::{fs, http, memory, variables};

struct File(fs::Tool);

impl Runs for File {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(fs::run(self.0, permit, room))
    }
}

struct Variable(variables::Tool);

impl Runs for Variable {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move { variables::run(self.0, permit, &room) })
    }
}

struct Memory(memory::Tool);

impl Runs for Memory {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move { memory::run(self.0, permit, &room).await })
    }
}

struct Request(Arc<Http>);

impl Runs for Request {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(self.0.run(permit, room))
    }
}

/// All builtin tools.
pub(super) fn tools(http: &Arc<Http>) -> Result<Vec<One>, Fault> {
    let manifests = manifests().map_err(|error| invalid(&error.to_string()))?;
    let mut tools = Vec::new();
    for manifest in manifests {
        schema::supported(&manifest.schema).map_err(|why| invalid(&format!("`{}`: {why}", manifest.name)))?;
        let lane =
            lane(manifest.name.as_str(), http).ok_or_else(|| invalid(&format!("nothing runs `{}`", manifest.name)))?;
        tools.push(One::new(manifest, lane));
    }
    Ok(tools)
}

/// What puts back what a turn changed; in no set of tools.
pub(super) fn undo() -> Result<One, Fault> {
    let manifest = undo::manifest().map_err(|error| invalid(&error.to_string()))?;
    Ok(One::new(manifest, Arc::new(File(fs::Tool::Undo))))
}

fn lane(name: &str, http: &Arc<Http>) -> Option<Arc<dyn Runs>> {
    if let Some(tool) = fs::Tool::named(name) {
        return Some(Arc::new(File(tool)));
    }
    if let Some(tool) = variables::Tool::named(name) {
        return Some(Arc::new(Variable(tool)));
    }
    if let Some(tool) = memory::Tool::named(name) {
        return Some(Arc::new(Memory(tool)));
    }
    (name == http::NAME).then(|| Arc::new(Request(Arc::clone(http))) as Arc<dyn Runs>)
}

fn manifests() -> Result<Vec<Manifest>, InvalidId> {
    let mut all = fs::manifests()?;
    all.push(http::manifest()?);
    all.extend(variables::manifests()?);
    all.extend(memory::manifests()?);
    Ok(all)
}

/// A fault that only a mistake in this crate can cause.
pub(super) fn invalid(why: &str) -> Fault {
    Fault::new(
        Code::MANIFEST_INVALID,
        format!("a builtin tool's manifest is invalid: {why}"),
        "this is a bug; report it",
    )
}

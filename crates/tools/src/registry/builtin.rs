//! The lanes of the tools that are part of the runtime.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use are_core::BoxFuture;
use are_core::body::{Effect, Retry};
use are_core::error::{Code, Fault};
use are_core::ids::InvalidId;
use are_policy::gate::Permit;
use are_policy::manifest::{Manifest, RESULT_READ, Role, SEARCH, SPAWN, ToolSet};
use are_policy::secrets::DISCLOSE;
use are_policy::{schema, undo};
use serde::Deserialize;
use serde_json::json;

use super::served::One;
use crate::declare::{OURS, finds, roles, tool};
use crate::http::Http;
use crate::lane::{Answer, Error, Room, Runs, read};
use crate::skills::{self, Skills};
use crate::{agents, artifact, fs, http, memory, results, secrets, variables};

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

struct Artifact;

impl Runs for Artifact {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(artifact::run(permit, room))
    }
}

struct Disclosure;

impl Runs for Disclosure {
    fn run(&self, permit: Permit, _: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(std::future::ready(secrets::run(permit)))
    }
}

struct Request(Arc<Http>);

impl Runs for Request {
    fn run(&self, permit: Permit, room: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(self.0.run(permit, room))
    }
}

/// The set that is served, as the tool that finds others sees it.
pub(super) type Shown = Arc<ArcSwapOption<ToolSet>>;

/// Tools that one search returns, unless it says otherwise.
const FOUND: usize = 8;
/// Tools that it returns at most.
const FOUND_MAX: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    query: String,
    limit: Option<usize>,
}

/// Finds tools that a model is not shown.
struct Search(Shown);

impl Runs for Search {
    fn run(&self, permit: Permit, _: Room) -> BoxFuture<'_, Result<Answer, Error>> {
        Box::pin(async move {
            let wanted: Wanted = read(&permit.spend().args)?;
            let Some(set) = self.0.load_full() else { return Ok(json!({ "tools": [], "total": 0 }).into()) };
            let mut found = set.vocabulary().find(&wanted.query);
            found.retain(|name| name.as_str() != DISCLOSE);
            let total = found.len();
            let shown = found.iter().take(wanted.limit.unwrap_or(FOUND).clamp(1, FOUND_MAX));
            let tools = shown.filter_map(|name| set.get(name.as_str())).map(|(manifest, _)| {
                json!({ "name": manifest.name, "description": manifest.description, "effect": manifest.effect })
            });
            Ok(json!({ "tools": tools.collect::<Vec<_>>(), "total": total }).into())
        })
    }
}

fn search() -> Result<Manifest, InvalidId> {
    Ok(Manifest {
        effect: Effect::None,
        retry: Retry::Pure,
        args: roles(&[("query", Role::Selector), ("limit", Role::Option)]),
        output_default: OURS,
        is_contained: true,
        ..tool(
            SEARCH,
            "Find further tools by what they do. A tool that is found can be called from then on.",
            json!({
                "query": {"type": "string", "minLength": 1, "maxLength": 500, "description": "what the tool should do"},
                "limit": {"type": "integer", "minimum": 1, "maximum": FOUND_MAX, "description": "8 if absent"},
            }),
            &["query"],
            finds(
                "Put the meeting into my calendar",
                json!({"query": "add an event to a calendar"}),
                "calendar_add: Adds an event.",
                "I can do that with `calendar_add`.",
            ),
        )?
    })
}

/// All builtin tools.
pub(super) fn tools(http: &Arc<Http>, shown: &Shown) -> Result<Vec<One>, Fault> {
    let manifests = manifests().map_err(|error| invalid(&error.to_string()))?;
    let mut tools = Vec::new();
    for manifest in manifests {
        schema::supported(&manifest.schema).map_err(|why| invalid(&format!("`{}`: {why}", manifest.name)))?;
        let lane = lane(manifest.name.as_str(), http, shown)
            .ok_or_else(|| invalid(&format!("nothing runs `{}`", manifest.name)))?;
        tools.push(One::new(manifest, lane));
    }
    Ok(tools)
}

/// What puts back what a turn changed; in no set of tools.
pub(super) fn undo() -> Result<One, Fault> {
    let manifest = undo::manifest().map_err(|error| invalid(&error.to_string()))?;
    Ok(One::new(manifest, Arc::new(File(fs::Tool::Undo))))
}

/// What reads skills.
pub(super) fn skills(dir: PathBuf) -> Result<One, Fault> {
    let manifest = skills::manifest().map_err(|error| invalid(&error.to_string()))?;
    Ok(One::new(manifest, Arc::new(Skills::new(Arc::new(OnceLock::from(dir))))))
}

fn lane(name: &str, http: &Arc<Http>, shown: &Shown) -> Option<Arc<dyn Runs>> {
    if name == DISCLOSE {
        return Some(Arc::new(Disclosure));
    }
    if name == SEARCH {
        return Some(Arc::new(Search(Arc::clone(shown))));
    }
    if name == RESULT_READ {
        return Some(Arc::new(results::Reader));
    }
    if name == artifact::NAME {
        return Some(Arc::new(Artifact));
    }
    if name == SPAWN {
        return Some(Arc::new(agents::Spawner));
    }
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
    all.push(search()?);
    all.push(secrets::manifest()?);
    all.extend(variables::manifests()?);
    all.extend(memory::manifests()?);
    all.push(artifact::manifest()?);
    all.push(agents::manifest()?);
    all.push(results::manifest()?);
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

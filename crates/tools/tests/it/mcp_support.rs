//! A registry with a folder of tools, a cage, and scripted servers to add to it.

use std::path::{Path, PathBuf};

use are_core::error::Fault;
use are_policy::tools::{Examined, Problem, ServerStanding, ServerWish, Servers, Shelved, ToolFile, Tools};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::cage::caged;
use crate::support::World;

/// The scripted server, which lies beside this crate's own program.
pub(crate) fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_are-cage")).with_file_name("mcp_server");
    assert!(program.exists(), "{} is built with the whole workspace", program.display());
    program
}

/// An entry of `mcpServers` for a scripted server.
pub(crate) fn entry(script: &Value) -> Value {
    let program = program();
    let dir = program.parent().expect("a directory");
    json!({"command": program, "args": [script.to_string()], "reads": [dir]})
}

/// A tool as a server declares it, with an empty schema where it has none.
pub(crate) fn tool(mut declared: Value) -> Value {
    if declared.get("inputSchema").is_none() {
        declared["inputSchema"] = json!({"type": "object"});
    }
    declared
}

/// A script with one tool for each of these calls, named alike, that declares these hints.
pub(crate) fn script(calls: &Value, hints: &Value) -> Value {
    let names = calls.as_object().expect("calls").keys();
    let tools: Vec<Value> = names
        .map(|name| tool(json!({"name": name, "description": format!("Does {name}."), "annotations": hints})))
        .collect();
    json!({"tools": tools, "calls": calls})
}

/// A world with a cage and a folder of tools; `None` where this machine allows no such cage, which was said.
pub(crate) async fn world() -> Option<World> {
    world_of(World::new()).await
}

/// The same of one that may reach more.
pub(crate) async fn world_of(world: World) -> Option<World> {
    let mut world = caged(world, true).await?;
    std::fs::create_dir(world.tools_dir()).expect("folder of tools");
    let registry = std::mem::replace(&mut world.registry, World::new().registry);
    world.registry = registry.with_folder(world.tools_dir()).expect("folder");
    Some(world)
}

impl World {
    pub(crate) fn servers(&self) -> Arc<dyn Servers> {
        self.registry.servers().expect("servers")
    }

    pub(crate) async fn examine(&self, name: &str, entry: &Value) -> Result<Examined, Fault> {
        let wish = ServerWish { name: name.to_owned(), server: Some(entry.to_string()), manifest: None };
        self.servers().examine(wish).await
    }

    /// Adds a server as somebody would who consents to all that it declares; what is not served of it.
    pub(crate) async fn add(&self, name: &str, entry: &Value) -> Vec<Problem> {
        let examined = self.examine(name, entry).await.unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let file = self.servers().consented(name, examined.digest).expect("a consent");
        self.put(file).await
    }

    pub(crate) async fn put(&self, file: ToolFile) -> Vec<Problem> {
        let shelf = self.registry.shelf().expect("a shelf");
        let shelved = shelf.put(file, true).await.expect("a file");
        assert!(matches!(shelved, Shelved::Written { .. }), "{shelved:?}");
        self.reload().await
    }

    pub(crate) fn standing(&self, name: &str) -> ServerStanding {
        let all = self.servers().standing();
        all.into_iter().find(|server| server.name == name).expect(name)
    }

    /// Lines that a scripted server heard in its own directory.
    pub(crate) fn heard(&self, name: &str) -> Vec<Value> {
        let path = self.root.path().join(format!("cache/own-{name}/heard.jsonl"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    pub(crate) fn serves(&self, tool: &str) -> bool {
        self.registry.snapshot().get(tool).is_some()
    }
}

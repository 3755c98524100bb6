//! One set of tools with the lanes that run them. Never changed, only exchanged.

use std::collections::BTreeMap;
use std::sync::Arc;

use are_core::ids::ToolName;
use are_policy::manifest::{Declaration, Manifest, ToolSet};
use are_policy::tools::Problem;

use crate::lane::Runs;

/// A tool.
#[derive(Clone)]
pub(crate) struct One {
    pub(crate) declaration: Declaration,
    pub(crate) lane: Arc<dyn Runs>,
}

impl One {
    pub(crate) fn new(manifest: Manifest, lane: Arc<dyn Runs>) -> Self {
        Self { declaration: manifest.into(), lane }
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        self.declaration.manifest()
    }
}

/// What is served at one moment, and what is not.
pub(crate) struct Served {
    /// As engine and rules see it.
    pub(crate) set: Arc<ToolSet>,
    /// Why files, or tools of them, are not in it.
    pub(crate) problems: Vec<Problem>,
    tools: BTreeMap<ToolName, (One, Option<Arc<str>>)>,
}

impl Served {
    /// From tools, each with the file that it comes from.
    ///
    /// # Errors
    /// The name that stands twice.
    pub(crate) fn new(
        tools: impl IntoIterator<Item = (One, Option<Arc<str>>)>,
        problems: Vec<Problem>,
    ) -> Result<Self, ToolName> {
        let mut served = BTreeMap::new();
        for (one, file) in tools {
            if let Some((other, _)) = served.insert(one.manifest().name.clone(), (one, file)) {
                return Err(other.manifest().name.clone());
            }
        }
        let set = ToolSet::new(served.values().map(|(one, _)| one.declaration.clone()))?;
        Ok(Self { set: Arc::new(set), problems, tools: served })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&One> {
        let name: ToolName = name.parse().ok()?;
        self.tools.get(&name).map(|(one, _)| one)
    }

    /// The file that a tool comes from; `None` for one of the runtime's own.
    pub(crate) fn file_of(&self, name: &str) -> Option<&str> {
        let name: ToolName = name.parse().ok()?;
        self.tools.get(&name)?.1.as_deref()
    }
}

//! `[[test]]`: uses of a tool that its author expects to work.

use std::collections::BTreeMap;

use are_core::error::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::Table;

use crate::registry::load::invalid;

/// Tests of one file.
const TESTS_MAX: usize = 100;

/// One use and what must come of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The export, in a file of several tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The arguments.
    #[serde(default)]
    pub args: Map<String, Value>,
    /// What the result must hold; fields that are not named do not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Value>,
    /// The code that it must fail with instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails: Option<String>,
    /// Files of the workspace before it, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

pub(super) fn take(table: &mut Table) -> Result<Vec<Test>, Fault> {
    let Some(tests) = table.remove("test") else { return Ok(Vec::new()) };
    let tests: Vec<Test> = tests.try_into().map_err(|error: toml::de::Error| {
        invalid(format!("`test`: {}", error.message()), "write `[[test]]` with `args` and `expect`")
    })?;
    if tests.len() > TESTS_MAX {
        return Err(invalid(format!("it has more than {TESTS_MAX} tests"), "keep the telling ones"));
    }
    Ok(tests)
}

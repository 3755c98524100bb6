//! Tools that are a template: of a request (`lane = "http"`) or of a command
//! line (`lane = "command"`), filled with the arguments of each call.
//!
//! The manifest is the implementation. What a template fixes, no argument can
//! change: not the host of a request, not the program or the number of the
//! elements of a command line. No shell sees any of it.

mod command;
mod fill;
mod http;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use are_core::error::Fault;
use serde_json::{Map, Value, json};
use toml::Table;

use self::fill::Text;
use crate::http::Http;
use crate::registry::load::{Beside, Declared, Loaded, Loads, invalid};

/// Loads manifests that are templates.
pub(crate) struct Templates {
    http: Arc<Http>,
}

impl Templates {
    pub(crate) const fn new(http: Arc<Http>) -> Self {
        Self { http }
    }
}

impl Loads for Templates {
    fn extensions(&self) -> &'static [&'static str] {
        &["toml"]
    }

    fn load(&self, file: &Path, _: Vec<u8>, declared: &Declared, _: &Beside) -> Result<Loaded, Fault> {
        let Some(template) = declared.template() else {
            return Err(invalid("it has no `lane`", "write `lane = \"http\"` or `lane = \"command\"`"));
        };
        let tool = match template.get("lane").and_then(toml::Value::as_str) {
            Some("http") => http::load(file, template, declared, &self.http),
            _ => command::load(file, template, declared),
        }?;
        Ok(vec![tool].into())
    }
}

/// Types that an argument of a template may have.
const KINDS: &[&str] = &["string", "integer", "number", "boolean", "array", "object"];

/// The schema of the declared arguments. Every one of them has a place in the template, and none is missing.
fn schema_of(declared: &Declared, used: &BTreeSet<&str>) -> Result<Value, Fault> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, arg) in declared.args() {
        if !used.contains(name) {
            return Err(invalid(
                format!("`args.{name}` stands nowhere in the template"),
                format!("write `{{{name}}}` where it belongs"),
            ));
        }
        let kind = arg.kind.as_deref().unwrap_or("string");
        if !KINDS.contains(&kind) {
            return Err(invalid(
                format!("`args.{name}.type` is not known: `{kind}`"),
                format!("one of {}", KINDS.join(", ")),
            ));
        }
        let mut property = json!({ "type": kind });
        if let Some(allowed) = &arg.one_of {
            property["enum"] = allowed.clone().into();
        }
        if arg.required.unwrap_or(true) {
            required.push(name);
        }
        properties.insert(name.to_owned(), property);
    }
    if let Some(name) = used.iter().find(|name| !properties.contains_key(**name)) {
        return Err(invalid(
            format!("the template names `{{{name}}}`, which is no argument"),
            format!("add `[args.{name}]`"),
        ));
    }
    Ok(json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false }))
}

/// A text of the template.
fn text(table: &Table, key: &str) -> Result<Option<Text>, Fault> {
    match table.get(key) {
        None => Ok(None),
        Some(toml::Value::String(text)) => Text::parse(text).map(Some),
        Some(_) => Err(invalid(format!("`{key}` must be a text"), "put it in quotation marks")),
    }
}

/// TOML as JSON; what JSON has no word for is an error.
fn json_of(value: &toml::Value) -> Result<Value, Fault> {
    let whole = serde_json::to_value(value).map_err(|error| invalid(error.to_string(), "use what JSON can say"))?;
    Ok(whole)
}

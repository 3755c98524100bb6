//! Reads `are.toml`. It comes from the platform's configuration directory or
//! `--config`, never from a workspace; an unknown key is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use are_core::error::{Code, Fault};
use are_policy::limits::Limits;
use are_policy::prices::Prices;
use serde::Deserialize;
use toml::{Table, Value};

use super::files;
use super::keys::{self, KEYS, TABLES, nearest};
use super::limits::{read_limits, read_prices};

/// One `[providers.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderTable {
    pub(super) kind: String,
    pub(super) base_url: String,
    pub(super) key_env: Option<String>,
}

/// Keys that a provider's table may hold, for suggestions.
const PROVIDER_KEYS: &[&str] = &["kind", "base_url", "key_env"];
/// Keys that an `[mcp.NAME]` table may hold.
const SERVER_KEYS: &[&str] = &["command", "args", "env", "cwd", "reads", "workspace", "egress", "url", "headers"];

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileLayer {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// Scalars as text, lists joined by commas, `allow` as lines.
    pub(super) values: BTreeMap<String, String>,
    /// Providers by name.
    pub(super) providers: BTreeMap<String, ProviderTable>,
    /// Servers of tools by name, as JSON.
    pub(super) servers: BTreeMap<String, String>,
    /// Limits, those that the file does not name as they are by default.
    pub(super) limits: Limits,
    /// What models cost.
    pub(super) prices: Prices,
}

/// Reads the file; one that does not exist is empty, unless it was asked for.
pub(super) fn read(path: &Path, is_asked_for: bool) -> Result<FileLayer, Fault> {
    match files::read_config(path, is_asked_for)? {
        Some(text) => parse(path, &text),
        None => Ok(FileLayer { path: path.to_owned(), ..FileLayer::default() }),
    }
}

fn parse(path: &Path, text: &str) -> Result<FileLayer, Fault> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
        Fault::new(
            Code::CONFIG_UNREADABLE,
            format!("`{}` is not valid TOML in line {line}: {}", path.display(), error.message()),
            "mend that line; the format is described at https://toml.io",
        )
    })?;
    let mut layer = FileLayer { path: path.to_owned(), ..FileLayer::default() };
    for (name, value) in table {
        match (name.as_str(), value) {
            ("providers", Value::Table(providers)) => layer.providers = read_providers(path, providers)?,
            ("providers", _) => return Err(invalid(path, "`providers` must be tables: `[providers.NAME]`")),
            ("mcp", Value::Table(servers)) => layer.servers = read_servers(path, servers)?,
            ("limits", Value::Table(limits)) => layer.limits = read_limits(path, limits)?,
            ("prices", Value::Table(prices)) => layer.prices = read_prices(path, prices)?,
            ("limits" | "prices", _) => return Err(invalid(path, &format!("`{name}` must be a table: `[{name}]`"))),
            ("mcp", _) => return Err(invalid(path, "`mcp` must be tables: `[mcp.NAME]`")),
            (_, value) => {
                check_key(path, &name)?;
                let text = match name.as_str() {
                    "allow" => lines(&value).ok_or_else(|| {
                        invalid(path, "`allow` must be a list of texts of one line: `allow = [\"fs_write docs/*\"]`")
                    })?,
                    _ => scalar(&value).ok_or_else(|| {
                        invalid(path, &format!("`{name}` must be a text, a number, true or false, or a list of texts"))
                    })?,
                };
                layer.values.insert(name, text);
            }
        }
    }
    Ok(layer)
}

fn check_key(path: &Path, name: &str) -> Result<(), Fault> {
    match keys::find(name) {
        Some(key) if key.is_in_file => Ok(()),
        Some(key) => Err(Fault::new(
            Code::CONFIG_UNKNOWN_KEY,
            format!("`{name}` is not read from `{}`", path.display()),
            format!("set the environment variable `{}` instead", key.env.first().copied().unwrap_or_default()),
        )),
        None => {
            let known = KEYS.iter().filter(|key| key.is_in_file).map(|key| key.name).chain(TABLES.iter().copied());
            Err(unknown(path, name, nearest(name, known)))
        }
    }
}

fn read_providers(path: &Path, providers: Table) -> Result<BTreeMap<String, ProviderTable>, Fault> {
    let mut read = BTreeMap::new();
    for (name, value) in providers {
        let Value::Table(table) = value else {
            return Err(invalid(path, &format!("`providers.{name}` must be a table")));
        };
        if let Some(key) = table.keys().find(|key| !PROVIDER_KEYS.contains(&key.as_str())) {
            return Err(unknown(path, &format!("providers.{name}.{key}"), nearest(key, PROVIDER_KEYS.iter().copied())));
        }
        let provider: ProviderTable = Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| invalid(path, &format!("`providers.{name}`: {}", error.message())))?;
        read.insert(name, provider);
    }
    Ok(read)
}

/// Servers of tools. What their values mean is checked when one is added.
fn read_servers(path: &Path, servers: Table) -> Result<BTreeMap<String, String>, Fault> {
    let mut read = BTreeMap::new();
    for (name, value) in servers {
        let Value::Table(table) = value else {
            return Err(invalid(path, &format!("`mcp.{name}` must be a table")));
        };
        if let Some(key) = table.keys().find(|key| !SERVER_KEYS.contains(&key.as_str())) {
            return Err(unknown(path, &format!("mcp.{name}.{key}"), nearest(key, SERVER_KEYS.iter().copied())));
        }
        let json = serde_json::to_string(&table)
            .map_err(|error| invalid(path, &format!("`mcp.{name}` cannot be read: {error}")))?;
        read.insert(name, json);
    }
    Ok(read)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(is_on) => Some(is_on.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

/// A list whose items may hold commas: each becomes a line.
fn lines(value: &Value) -> Option<String> {
    let line = |item: &Value| item.as_str().filter(|text| !text.contains('\n')).map(|text| format!("{text}\n"));
    value.as_array()?.iter().map(line).collect()
}

pub(super) fn unknown(path: &Path, name: &str, suggestion: Option<&str>) -> Fault {
    let help = suggestion.map_or_else(
        || "remove it; `are config show` lists the keys there are".to_owned(),
        |suggestion| format!("did you mean `{suggestion}`?"),
    );
    Fault::new(Code::CONFIG_UNKNOWN_KEY, format!("unknown key `{name}` in `{}`", path.display()), help)
}

pub(super) fn invalid(path: &Path, what: &str) -> Fault {
    Fault::new(
        Code::CONFIG_INVALID,
        format!("`{}`: {what}", path.display()),
        "mend the file, then try `are config check`",
    )
}

#[cfg(test)]
mod tests;

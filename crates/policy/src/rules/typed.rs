//! What a call names, in the terms of the schema: paths, hosts, secrets, command lines.
//!
//! Everything here is text alone; nothing is resolved or looked up. One place
//! has one name: a path without `.` and `..`, a host in lower case without a
//! trailing dot and with its port, an IPv4 address as four numbers however it
//! was written. What is over a limit is an error, hence a denial where a rule
//! would look at it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use are_core::canonical::Args;
use serde_json::Value;
use url::Url;

use crate::address;

/// Parts of a path that has parents; deeper than any tree of sources, and a hostile one stays cheap.
pub(super) const PATH_PARTS_MAX: usize = 128;
/// Elements of a command line that rules can name; the schema lists as many.
pub(super) const ARGV_NAMED_MAX: usize = 16;
/// Secrets that one call may name.
pub(super) const SECRETS_MAX: usize = crate::secrets::NAMED_MAX;
/// Bytes of a secret's name.
pub(super) const SECRET_NAME_BYTES_MAX: usize = 64;

/// How a secret is named in an argument.
const SECRET_MARK: &str = crate::secrets::MARK;
/// The argument with a command line as a list.
pub(super) const ARGV: &str = "argv";
/// The argument with a command line as a text.
pub(super) const SHELL: &str = "shell";

/// The directories that a plain path lies in, nearest first. What lies above the workspace is not within it.
pub(super) fn directories(path: &str) -> Result<Vec<&str>, String> {
    if path.split('/').count() > PATH_PARTS_MAX {
        return Err(format!("a path has more than {PATH_PARTS_MAX} parts"));
    }
    let above = path.split('/').take_while(|part| *part == "..").count();
    // The parts of `../../a` up to `../..`; `..` alone does not hold it.
    let least = (above * 3).saturating_sub(1);
    let mut found: Vec<_> = path.rmatch_indices('/').map(|(at, _)| &path[..at]).collect();
    found.retain(|directory| !directory.is_empty() && directory.len() >= least);
    match path {
        "." | "/" => {}
        _ if path.starts_with('/') => found.push("/"),
        _ if above == 0 => found.push("."),
        _ => {}
    }
    Ok(found)
}

/// The last part of a plain path; the path itself where it has one part.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path)
}

/// A place on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) host: address::Host,
    pub(super) port: Option<u16>,
    /// The whole address in its normal form, where it is one.
    pub(super) url: Option<String>,
}

impl Host {
    /// Reads a URL, `host:port`, or a host that is a number, has a dot or is `localhost`.
    pub(super) fn read(text: &str) -> Option<Self> {
        match Url::parse(text) {
            Ok(url) if url.has_host() => {
                let host = normal(url.host_str()?)?;
                Some(Self { host, port: url.port_or_known_default(), url: Some(url.into()) })
            }
            Ok(_) | Err(_) => Self::bare(text),
        }
    }

    fn bare(text: &str) -> Option<Self> {
        let (name, port) = match text.rsplit_once(':') {
            _ if text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) => (format!("[{text}]"), None),
            Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (name.to_owned(), Some(port.parse().ok()?))
            }
            _ => (text.to_owned(), None),
        };
        let host = normal(&name)?;
        let is_place = match &host {
            address::Host::Ip(_) => true,
            address::Host::Name(name) => port.is_some() || name.contains('.') || name == "localhost",
        };
        is_place.then_some(Self { host, port, url: None })
    }

    /// Without the port.
    pub(super) fn name(&self) -> String {
        self.host.to_string()
    }

    /// Its identity in rules.
    pub(super) fn id(&self) -> String {
        self.port.map_or_else(|| self.name(), |port| format!("{}:{port}", self.host))
    }

    /// What it belongs to: the host without the port, and the domains.
    pub(super) fn domains(&self) -> Vec<String> {
        let mut found: Vec<String> = self.port.iter().map(|_| self.name()).collect();
        if let address::Host::Name(name) = &self.host {
            found.extend(name.match_indices('.').map(|(at, _)| name[at + 1..].to_owned()));
        }
        found
    }

    pub(super) const fn ip(&self) -> Option<IpAddr> {
        match self.host {
            address::Host::Ip(ip) => Some(ip),
            address::Host::Name(_) => None,
        }
    }
}

/// An IPv4 address within an IPv6 one is the IPv4 address.
fn normal(text: &str) -> Option<address::Host> {
    match address::Host::parse(text) {
        Ok(address::Host::Ip(ip)) => Some(address::Host::Ip(ip.to_canonical())),
        Ok(name @ address::Host::Name(_)) => Some(name),
        Err(_) => None,
    }
}

/// The secrets that the arguments name anywhere, keys included.
pub(super) fn secrets(args: &Args) -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    // PERF: nearly no call names one. Canonical JSON never escapes a character of the mark.
    if args.as_str().contains(SECRET_MARK) {
        collect(&Value::Object(args.to_map()), &mut found)?;
    }
    Ok(found)
}

// Recursion is bounded: canonical arguments nest at most `DEPTH_MAX` deep.
fn collect(value: &Value, found: &mut BTreeSet<String>) -> Result<(), String> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => collect_text(text, found),
        Value::Array(items) => items.iter().try_for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.iter().try_for_each(|(key, field)| {
            collect_text(key, found)?;
            collect(field, found)
        }),
    }
}

fn collect_text(text: &str, found: &mut BTreeSet<String>) -> Result<(), String> {
    for piece in text.split(SECRET_MARK).skip(1) {
        let Some((name, _)) = piece.split_once('}') else { continue };
        if name.len() > SECRET_NAME_BYTES_MAX {
            return Err(format!("the name of a secret is longer than {SECRET_NAME_BYTES_MAX} bytes"));
        }
        found.insert(name.to_owned());
        if found.len() > SECRETS_MAX {
            return Err(format!("the arguments name more than {SECRETS_MAX} secrets"));
        }
    }
    Ok(())
}

/// How a call says what command to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    /// Number of elements, and the first of them.
    pub(super) argv: Option<(usize, Vec<String>)>,
    pub(super) is_shell: bool,
}

impl Command {
    pub(super) fn of(args: &Args) -> Self {
        let args = args.to_map();
        let text = |element: &Value| element.as_str().map_or_else(|| element.to_string(), str::to_owned);
        let argv = args.get(ARGV).and_then(Value::as_array);
        Self {
            argv: argv.map(|argv| (argv.len(), argv.iter().take(ARGV_NAMED_MAX).map(text).collect())),
            is_shell: args.contains_key(SHELL),
        }
    }
}

#[cfg(test)]
mod tests;

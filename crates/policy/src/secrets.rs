//! Secrets by their names: where `${secret:x}` may stand in a call, where a value may go, and the port that gives it.
//!
//! What is decided, shown, recorded and stored holds the name alone. The value
//! is put in by a lane, after the decision, at the last moment, and only for a
//! purpose that the secret is bound to: [`Secrets::reveal`] checks that and
//! records the use before it answers. A [`Value`] has no `Debug`, `Display` or
//! `Serialize` and is wiped when it is dropped.

use std::collections::BTreeSet;
use std::net::IpAddr;

use are_core::BoxFuture;
use are_core::canonical::Args;
use are_core::error::{Code, Fault};
use are_core::ids::{SecretName, ToolName};
use are_core::label::{Confidentiality, Integrity, Label};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::address::{Class, Host, Target, classify};
use crate::manifest::{Lane, Manifest};

/// Begins a secret's place in a text.
pub const MARK: &str = "${secret:";
/// Begins a value of `capabilities.env` that is a secret's.
pub const IN_ENV: &str = "secret:";
/// Secrets that one call may name.
pub const NAMED_MAX: usize = 64;
/// Hosts, and tools, that one secret is bound to: each is written by hand.
pub const BOUND_TO_MAX: usize = 32;
/// The tool that puts values into requests.
pub const HTTP_REQUEST: &str = "http_request";
/// The tool by which a component asks for a value that its manifest names. No model hears of it.
pub const DISCLOSE: &str = "secret_disclose";

/// A secret's value.
pub struct Value(Zeroizing<String>);

impl Value {
    /// Takes a value.
    #[must_use]
    pub fn new(value: Zeroizing<String>) -> Self {
        Self(value)
    }

    /// The text, for the one place that puts it in.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What a value is wanted for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A request to this place.
    Request(&'a Target),
    /// The environment of a process that this tool, or server of tools, starts.
    Process(&'a str),
    /// The code of this tool.
    Guest(&'a str),
}

impl Purpose<'_> {
    /// The word for it in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Process(_) => "process",
            Self::Guest(_) => "guest",
        }
    }
}

/// The secrets of the account that a call acts for.
pub trait Secrets: Send + Sync {
    /// The value for a purpose that the secret is bound to. The use is recorded before the value is given.
    ///
    /// The error is ARE-0802 for one that there is not, ARE-0803 while they cannot be opened, ARE-0804 for a purpose
    /// that it is not bound to, or that the call was not decided with.
    fn reveal<'a>(&'a self, name: &'a SecretName, purpose: Purpose<'a>) -> BoxFuture<'a, Result<Value, Fault>>;
}

/// Where there are none.
#[derive(Debug, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn reveal<'a>(&'a self, name: &'a SecretName, _: Purpose<'a>) -> BoxFuture<'a, Result<Value, Fault>> {
        Box::pin(std::future::ready(Err(unknown(name, &[]))))
    }
}

/// Told of a name that the account has no secret of; the others are named, so that a misspelt one is found.
#[must_use]
pub fn unknown(name: &SecretName, others: &[SecretName]) -> Fault {
    /// Names that are told.
    const TOLD_MAX: usize = 16;
    let told: Vec<String> = others.iter().take(TOLD_MAX).map(|other| format!("`{other}`")).collect();
    let help = match told.as_slice() {
        [] => "the user sets one with `are secret set NAME --to HOST`".to_owned(),
        told => format!("there are {}; the user sets others with `are secret set NAME --to HOST`", told.join(", ")),
    };
    Fault::new(Code::SECRET_UNKNOWN, format!("there is no secret `{name}`"), help)
}

/// A piece of a text with secrets in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it stands.
    Text(&'a str),
    /// A secret's place.
    Secret(SecretName),
}

/// The pieces of a text.
///
/// # Errors
/// ARE-0805 for a place that has no end or no possible name.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        let behind = &rest[at + MARK.len()..];
        let name = behind.split_once('}').and_then(|(name, after)| Some((name.parse::<SecretName>().ok()?, after)));
        let Some((name, after)) = name else {
            return Err(misplaced("`${secret:` is not followed by the name of a secret and `}`"));
        };
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        pieces.push(Piece::Secret(name));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// The secrets that a value names anywhere, keys included.
///
/// # Errors
/// ARE-0805 for a place without a name, ARE-0806 for too many.
pub fn in_json(value: &Json) -> Result<BTreeSet<SecretName>, Fault> {
    let mut found = BTreeSet::new();
    collect(value, &mut found)?;
    Ok(found)
}

// Recursion is bounded: canonical arguments nest at most `DEPTH_MAX` deep.
fn collect(value: &Json, found: &mut BTreeSet<SecretName>) -> Result<(), Fault> {
    let text = |text: &str, found: &mut BTreeSet<SecretName>| {
        found.extend(pieces(text)?.into_iter().filter_map(|piece| match piece {
            Piece::Secret(name) => Some(name),
            Piece::Text(_) => None,
        }));
        if found.len() > NAMED_MAX {
            let message = format!("the arguments name more than {NAMED_MAX} secrets");
            return Err(Fault::new(Code::SECRET_LIMIT, message, "name fewer at once"));
        }
        Ok(())
    };
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(()),
        Json::String(one) => text(one, found),
        Json::Array(items) => items.iter().try_for_each(|item| collect(item, found)),
        Json::Object(fields) => fields.iter().try_for_each(|(key, field)| {
            text(key, found)?;
            collect(field, found)
        }),
    }
}

/// The secrets that arguments name.
///
/// # Errors
/// As [`in_json`].
pub fn in_args(args: &Args) -> Result<BTreeSet<SecretName>, Fault> {
    // PERF: nearly no call names one. Canonical JSON never escapes a character of the mark.
    if !args.as_str().contains(MARK) {
        return Ok(BTreeSet::new());
    }
    in_json(&Json::Object(args.to_map()))
}

/// The secrets that a tool uses by itself, whatever it is called with.
pub fn declared(manifest: &Manifest) -> impl Iterator<Item = SecretName> + '_ {
    let named = manifest.capabilities.iter().flat_map(|declared| declared.secrets.iter().cloned());
    let given = manifest.capabilities.iter().flat_map(|declared| declared.env.values());
    named.chain(given.filter_map(|value| in_env(value)?.ok()))
}

/// The secret that a value of `capabilities.env` stands for, if it is meant for one.
#[must_use]
pub fn in_env(value: &str) -> Option<Result<SecretName, are_core::ids::InvalidId>> {
    value.strip_prefix(IN_ENV).map(str::parse)
}

/// The secret whose value a component asks for.
#[must_use]
pub fn disclosed(manifest: &Manifest, args: &Args) -> Option<SecretName> {
    if manifest.lane != Lane::Builtin || manifest.name.as_str() != DISCLOSE {
        return None;
    }
    args.to_map().get("name").and_then(Json::as_str)?.parse().ok()
}

/// All secrets that a call of this tool uses; of too many, those that were counted.
#[must_use]
pub fn of_call(manifest: &Manifest, args: &Args) -> BTreeSet<SecretName> {
    let mut found: BTreeSet<SecretName> = declared(manifest).collect();
    found.extend(disclosed(manifest, args));
    // One that cannot be read is refused before it is decided about.
    found.extend(in_args(args).unwrap_or_default());
    found
}

/// The label of what a call used these secrets for: nobody can tell in which shape a value is in it.
#[must_use]
pub fn label<'a>(names: impl IntoIterator<Item = &'a SecretName>) -> Option<Label> {
    let of = |name: &SecretName| Label::new(Integrity::System, Confidentiality::Secret, &format!("secret:{name}"));
    names.into_iter().map(of).reduce(|a, b| a.join(&b))
}

/// True for tools in whose arguments secrets may stand: the one that makes requests, and those whose own code may
/// hand a name on to it.
#[must_use]
pub fn takes(manifest: &Manifest) -> bool {
    match manifest.lane {
        Lane::Builtin => manifest.name.as_str() == HTTP_REQUEST,
        Lane::Wasm | Lane::Js | Lane::Http => true,
        Lane::Command | Lane::Agent | Lane::Mcp => false,
    }
}

/// Refuses arguments in which a secret stands where none can be put in, before anybody is asked about them.
///
/// # Errors
/// ARE-0805 with where it may stand, ARE-0806 for too many.
pub fn check(manifest: &Manifest, args: &Args) -> Result<(), Fault> {
    if in_args(args)?.is_empty() {
        return Ok(());
    }
    if !takes(manifest) {
        return Err(misplaced(format!("a secret cannot be given to `{}`", manifest.name)));
    }
    if manifest.lane != Lane::Builtin {
        return Ok(());
    }
    let args = args.to_map();
    let text = |key: &str| args.get(key).and_then(Json::as_str).unwrap_or_default();
    if text("method").contains(MARK) || args.keys().any(|key| key.contains(MARK)) {
        return Err(misplaced("a secret stands where no value of the request is"));
    }
    check_url(text("url"))?;
    let is_in_name = |fields: &serde_json::Map<String, Json>| fields.keys().any(|key| key.contains(MARK));
    match args.get("headers").and_then(Json::as_object) {
        Some(headers) if is_in_name(headers) => Err(misplaced("a secret stands in the name of a header")),
        Some(_) | None => Ok(()),
    }
}

/// Refuses a secret in any part of an address but its query: host and path are told to whoever resolves, routes and
/// logs.
///
/// # Errors
/// ARE-0805 for one elsewhere.
pub fn check_url(url: &str) -> Result<(), Fault> {
    let (Some(first), Some(last)) = (url.find(MARK), url.rfind(MARK)) else { return Ok(()) };
    let is_behind = |c: char, at: usize| url.find(c).is_some_and(|found| found < at);
    if is_behind('?', first) && !is_behind('#', last) {
        return Ok(());
    }
    Err(misplaced("of an address, only the query may hold a secret"))
}

/// A secret stands where it cannot be put in.
#[must_use]
pub fn misplaced(message: impl Into<String>) -> Fault {
    let help = "write `${secret:NAME}` in a header, the query or the body of a request to a host that the secret is \
                bound to; it cannot be read, stored or given to a command";
    Fault::new(Code::SECRET_MISPLACED, message, help)
}

/// Where a secret may go. Kept beside it and bound by its seal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundTo {
    /// Hosts of requests: `example.com` (https at its usual port), `example.com:8443`, `*.example.com`; a loopback
    /// address with its port also without TLS.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Tools that are given the value itself, in the environment of their process or in their code.
    #[serde(default)]
    pub tools: Vec<ToolName>,
}

impl BoundTo {
    /// Reads hosts and tools as somebody wrote them.
    ///
    /// # Errors
    /// ARE-0804 for what is no host or tool, for none at all and for too many.
    pub fn read(hosts: &[String], tools: &[String]) -> Result<Self, Fault> {
        let refuse = |message: String, help: &str| Fault::new(Code::SECRET_BOUND, message, help);
        if hosts.len() > BOUND_TO_MAX || tools.len() > BOUND_TO_MAX {
            return Err(refuse(
                format!("a secret is bound to at most {BOUND_TO_MAX} hosts and as many tools"),
                "set several secrets",
            ));
        }
        if hosts.is_empty() && tools.is_empty() {
            return Err(refuse(
                "a secret that may go nowhere cannot be used".to_owned(),
                "name the hosts that it is for, as `--to api.example.com`, or tools that are given it, as `--env TOOL`",
            ));
        }
        let host = |text: &String| {
            Pattern::read(text).map(|pattern| pattern.to_string()).ok_or_else(|| {
                refuse(
                    format!("`{}` is no host that a secret can be bound to", shown(text)),
                    "write `example.com`, `example.com:8443` or `*.example.com`, without scheme and path; a loopback \
                     address needs its port",
                )
            })
        };
        let tool = |text: &String| {
            text.parse::<ToolName>().map_err(|error| refuse(error.to_string(), "`are tool list` shows the names"))
        };
        let mut hosts: Vec<String> = hosts.iter().map(host).collect::<Result<_, _>>()?;
        let mut tools: Vec<ToolName> = tools.iter().map(tool).collect::<Result<_, _>>()?;
        hosts.sort();
        hosts.dedup();
        tools.sort();
        tools.dedup();
        Ok(Self { hosts, tools })
    }

    /// Whether a value may be given for this.
    ///
    /// # Errors
    /// ARE-0804 with where it may go.
    pub fn check(&self, name: &SecretName, purpose: Purpose<'_>) -> Result<(), Fault> {
        let (is_allowed, what) = match purpose {
            Purpose::Request(target) => {
                (self.allows(target), format!("{}://{}:{}", target.url.scheme(), target.host, target.port))
            }
            Purpose::Process(tool) | Purpose::Guest(tool) => {
                (self.tools.iter().any(|one| one.as_str() == tool), tool.to_owned())
            }
        };
        if is_allowed {
            return Ok(());
        }
        let list = |what: &str, items: Vec<&str>| match items.as_slice() {
            [] => format!("no {what}"),
            items => format!("the {what} `{}`", items.join("`, `")),
        };
        let hosts = list("hosts", self.hosts.iter().map(String::as_str).collect());
        let tools = list("tools", self.tools.iter().map(ToolName::as_str).collect());
        Err(Fault::new(
            Code::SECRET_BOUND,
            format!("the secret `{name}` may not go to `{}`", shown(&what)),
            format!(
                "it is bound to {hosts} over https and {tools}; only its owner changes that, with `are secret set {name}`"
            ),
        ))
    }

    fn allows(&self, target: &Target) -> bool {
        let is_secure = target.url.scheme() == "https";
        let patterns = self.hosts.iter().filter_map(|text| Pattern::read(text));
        // Without TLS the value is readable on the way; this machine's own is none.
        patterns.into_iter().any(|pattern| pattern.matches(target) && (is_secure || is_loopback(&target.host)))
    }
}

fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Ip(address) => classify(*address) == Class::Loopback,
        // A name is whatever it resolves to, and only this one cannot be anybody else's.
        Host::Name(name) => name == "localhost",
    }
}

/// A host as a secret is bound to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    host: Host,
    /// True for all below the host, and not itself.
    is_below: bool,
    port: Option<u16>,
}

impl Pattern {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (is_below, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        let (name, port) = match rest.rsplit_once(':') {
            _ if rest.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) => (format!("[{rest}]"), None),
            _ if rest.ends_with(']') => (rest.to_owned(), None),
            Some((name, port)) => (name.to_owned(), Some(port.parse().ok().filter(|port| *port != 0)?)),
            None => (rest.to_owned(), None),
        };
        let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '[' | ']' | ':' | '_');
        if name.is_empty() || !name.chars().all(is_plain) {
            return None;
        }
        let host = Host::parse(&name).ok()?;
        let is_possible = match &host {
            // Nothing is below an address; and one of this machine is many programs, so the port says which.
            Host::Ip(_) => !is_below && (port.is_some() || !is_loopback(&host)),
            // `*.com` is everybody.
            Host::Name(name) => (!is_below || name.contains('.')) && (port.is_some() || !is_loopback(&host)),
        };
        is_possible.then_some(Self { host, is_below, port })
    }

    fn matches(&self, target: &Target) -> bool {
        let is_host = match (&self.host, &target.host) {
            (Host::Name(domain), Host::Name(name)) if self.is_below => {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (own, other) => !self.is_below && own == other,
        };
        is_host && target.port == self.port.unwrap_or(443)
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let below = if self.is_below { "*." } else { "" };
        match self.port {
            Some(port) => write!(f, "{below}{}:{port}", self.host),
            None => write!(f, "{below}{}", self.host),
        }
    }
}

fn shown(text: &str) -> String {
    /// Characters of a text that an error repeats.
    const SHOWN_CHARS_MAX: usize = 80;
    text.chars().take(SHOWN_CHARS_MAX).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests;

//! Whether a running tool declared what it asks for.
//!
//! A tool whose manifest has `capabilities` makes no call beyond them, whatever
//! the rules permit: it gets what it asks for *and* policy grants. All tools of
//! the chain that makes a call must have declared it, so that no tool gets by
//! calling another what it may not have itself. A manifest without
//! `capabilities` declares nothing and narrows nothing.
//!
//! Variables and memory are the session's own state, not a capability.

use std::collections::BTreeSet;

use are_core::ids::SecretName;

use super::Verdict;
use super::allow::has_argv;
use super::object;
use super::profile::Reach;
use super::typed::{Command, Host, SHELL};
use crate::call::{Call, Context};
use crate::manifest::{Capabilities, FileAccess, Lane, Manifest};
use crate::secrets;

/// The argument by which a tool without effect names a file.
const PATH: &str = "path";

/// What a call uses of what a manifest can grant.
enum Use {
    /// Only the session's own state.
    Nothing,
    Files(FileAccess),
    Command(Command),
    /// What its arguments name; `Err` when that is too much to look at.
    Places(Result<Vec<String>, String>),
}

/// The denial of a call that a tool of its chain did not declare.
pub(super) fn outside(call: &Call, ctx: &Context<'_>, reach: Reach) -> Option<Verdict> {
    if ctx.parents.iter().all(|parent| parent.manifest.capabilities.is_none()) {
        return None;
    }
    let used = Use::of(call, ctx, reach);
    let mut named = secrets::in_args(&call.args).unwrap_or_default();
    named.extend(secrets::disclosed(ctx.manifest, &call.args));
    ctx.parents.iter().find_map(|parent| {
        let declared = parent.manifest.capabilities.as_ref()?;
        // A template is its own declaration: it starts one command line, or asks one host, and nothing else.
        let is_template = matches!(parent.manifest.lane, Lane::Command | Lane::Http);
        let beyond = if is_template { None } else { used.beyond(declared) };
        let (needs, help) = beyond.or_else(|| undeclared(&named, parent.manifest))?;
        let name = &parent.manifest.name;
        let mut verdict = Verdict::deny(
            [format!("capability:{name}")],
            format!("`{name}` {needs}, which the `capabilities` of its manifest do not name"),
        );
        verdict.say = format!("{help} to the `capabilities` of the manifest of `{name}`, if it is to have that");
        Some(verdict)
    })
}

/// The first secret that a call names and the manifest of its maker does not.
fn undeclared(named: &BTreeSet<SecretName>, maker: &Manifest) -> Option<(String, String)> {
    let other = named.iter().find(|name| !secrets::declared(maker).any(|declared| declared == **name))?;
    Some((format!("uses the secret `{other}`"), format!("add `{other}` to `secrets`")))
}

impl Use {
    fn of(call: &Call, ctx: &Context<'_>, reach: Reach) -> Self {
        let manifest = ctx.manifest;
        if secrets::disclosed(manifest, &call.args).is_some() {
            return Self::Nothing;
        }
        let takes = |name: &str| manifest.schema.get("properties").is_some_and(|all| all.get(name).is_some());
        if has_argv(manifest) || takes(SHELL) {
            return Self::Command(Command::of(&call.args));
        }
        match reach {
            Reach::OwnState => Self::Nothing,
            Reach::Workspace => Self::Files(FileAccess::Write),
            Reach::Nothing if manifest.is_contained && takes(PATH) => Self::Files(FileAccess::Read),
            Reach::Nothing if manifest.is_contained => Self::Nothing,
            Reach::Nothing | Reach::Outside => {
                Self::Places(object::of(call, ctx).map(|objects| objects.into_iter().collect()))
            }
        }
    }

    /// What is used beyond the declaration, and what would have to be added to it.
    fn beyond(&self, declared: &Capabilities) -> Option<(String, String)> {
        match self {
            Self::Nothing => None,
            Self::Files(access) if declared.fs >= *access => None,
            Self::Files(FileAccess::Write) => Some(("changes files".to_owned(), "add `fs = \"write\"`".to_owned())),
            Self::Files(FileAccess::None | FileAccess::Read) => {
                Some(("reads files".to_owned(), "add `fs = \"read\"`".to_owned()))
            }
            Self::Command(command) if declared.commands.iter().any(|line| matches_line(line, command)) => None,
            Self::Command(_) => Some(("runs a command".to_owned(), "add its command line to `commands`".to_owned())),
            Self::Places(Ok(places)) if !places.is_empty() => {
                let is_declared = |place: &str| {
                    let host = Host::read(place);
                    host.is_some_and(|host| declared.http.iter().any(|pattern| matches_host(pattern, &host)))
                };
                let other = places.iter().find(|place| !is_declared(place))?;
                Some(match Host::read(other) {
                    Some(host) => (format!("reaches `{}`", host.id()), format!("add `{}` to `http`", host.name())),
                    None => ("calls another tool".to_owned(), "that cannot be added".to_owned()),
                })
            }
            Self::Places(_) => Some(("calls another tool".to_owned(), "that cannot be added".to_owned())),
        }
    }
}

/// Element by element, as `allow` reads it; a lone `*` is any command, one of a shell too.
fn matches_line(line: &str, command: &Command) -> bool {
    let words: Vec<_> = line.split_whitespace().collect();
    let (elements, is_open) = match words.as_slice() {
        ["*"] => return true,
        [] => return false,
        [elements @ .., "*"] => (elements, true),
        elements => (elements, false),
    };
    let Some((count, first)) = &command.argv else { return false };
    let is_long_enough = if is_open { *count >= elements.len() } else { *count == elements.len() };
    // What is not looked at cannot match.
    !command.is_shell
        && is_long_enough
        && elements.len() <= first.len()
        && elements.iter().zip(first).all(|(element, word)| element == word)
}

/// `example.com` with any port, `example.com:8443` with that one, `*.example.com` for all below it.
fn matches_host(pattern: &str, host: &Host) -> bool {
    if let Some(domain) = pattern.strip_prefix("*.") {
        let Some(domain) = Host::read(domain) else { return false };
        let name = host.name();
        let below = name.strip_suffix(&domain.name()).and_then(|rest| rest.strip_suffix('.'));
        return host.ip().is_none() && domain.port.is_none_or(|port| host.port == Some(port)) && below.is_some();
    }
    Host::read(pattern).is_some_and(|named| {
        named.host == host.host && named.url.is_none() && named.port.is_none_or(|port| host.port == Some(port))
    })
}

#[cfg(test)]
mod tests;

//! The places that commands may reach: what the operator wrote, as it is compared.
//!
//! A host is compared in its one normal form, so that another spelling of an
//! address is the same address and a trailing dot is no other name. Without a
//! port an entry stands for those of the web. `*.example.com` is everything below
//! a domain, not the domain itself.

use std::fmt;
use std::str::FromStr;

use are_policy::address::{Host, Refusal};

use super::presets::{PRESETS, REGISTRIES};

/// Entries that one list may have; it is written by hand.
const ENTRIES_MAX: usize = 256;
/// Bytes of one place as a command names it: a host name has 253 at most.
pub(super) const PLACE_BYTES_MAX: usize = 264;
/// Ports of an entry that names none.
pub(super) const WEB: [u16; 2] = [443, 80];

/// One host at one port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl Place {
    /// Reads `host:port` as a proxy is asked for it. One way to read it, and no other character than those of a host.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let malformed = Refusal::Malformed("it is not `host:port`");
        if text.len() > PLACE_BYTES_MAX || !text.bytes().all(is_of_host) {
            return Err(malformed);
        }
        let Some((host, port)) = text.rsplit_once(':') else { return Err(malformed) };
        let port = read_port(port).ok_or(malformed)?;
        Ok(Self { host: normal(Host::parse(host)?), port })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// SECURITY: no user information, path, query, escape or white space is part of a place.
const fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
}

fn read_port(text: &str) -> Option<u16> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_plain && *port != 0)
}

/// An IPv4 address within an IPv6 one is the IPv4 address.
fn normal(host: Host) -> Host {
    match host {
        Host::Ip(address) => Host::Ip(address.to_canonical()),
        Host::Name(name) => Host::Name(name),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exactly(Host),
    Below(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    pattern: Pattern,
    port: Option<u16>,
}

/// Places that commands may reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destinations {
    entries: Vec<Entry>,
    /// As it was written.
    written: String,
}

impl Destinations {
    /// True when commands may reach nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a place is among them.
    pub(super) fn cover(&self, place: &Place) -> bool {
        self.entries.iter().any(|entry| entry.covers(place))
    }
}

impl fmt::Display for Destinations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Entry {
    fn covers(&self, place: &Place) -> bool {
        let is_port = self.port.map_or_else(|| WEB.contains(&place.port), |port| port == place.port);
        is_port
            && match (&self.pattern, &place.host) {
                (Pattern::Exactly(host), other) => host == other,
                (Pattern::Below(domain), Host::Name(name)) => {
                    name.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                }
                (Pattern::Below(_), Host::Ip(_)) => false,
            }
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.rsplit_once(':') {
            // A colon of an IPv6 address stands inside brackets.
            Some((name, port)) if !port.contains(']') => (name, Some(read_port(port)?)),
            _ => (text, None),
        };
        let host = |name: &str| name.bytes().all(is_of_host).then(|| Host::parse(name).ok()).flatten().map(normal);
        let pattern = match name.strip_prefix("*.") {
            Some(domain) => match host(domain)? {
                // A whole top-level domain is no grant that anybody means.
                Host::Name(domain) if domain.contains('.') => Pattern::Below(domain),
                Host::Name(_) | Host::Ip(_) => return None,
            },
            None => match host(name)? {
                // One word is a preset that there is not; as a host it needs a port.
                Host::Name(name) if !name.contains('.') && port.is_none() => return None,
                host => Pattern::Exactly(host),
            },
        };
        Some(Self { pattern, port })
    }
}

/// An entry that is neither a host nor a preset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a host, as `example.com`, `example.com:8443` or `*.example.com`, nor one of {known}", known = known())]
pub struct InvalidDestination(String);

fn known() -> String {
    let names = PRESETS.iter().map(|preset| preset.name);
    [REGISTRIES].into_iter().chain(names).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl FromStr for Destinations {
    type Err = InvalidDestination;

    /// Reads entries between commas; white space around one and empty ones are skipped.
    fn from_str(text: &str) -> Result<Self, InvalidDestination> {
        let (mut entries, mut written) = (Vec::new(), Vec::new());
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let invalid = || InvalidDestination(entry.chars().take(PLACE_BYTES_MAX).collect());
            let presets: Vec<_> = PRESETS.iter().filter(|preset| entry == REGISTRIES || preset.name == entry).collect();
            if presets.is_empty() {
                entries.push(Entry::parse(entry).ok_or_else(invalid)?);
            }
            for host in presets.iter().flat_map(|preset| preset.hosts()) {
                entries.push(Entry::parse(&host).ok_or_else(invalid)?);
            }
            written.push(entry);
            if entries.len() > ENTRIES_MAX {
                return Err(invalid());
            }
        }
        Ok(Self { entries, written: written.join(", ") })
    }
}

#[cfg(test)]
mod tests;

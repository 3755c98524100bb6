//! Which network addresses the runtime may connect to on a tool's behalf.
//!
//! Pure: the caller resolves names and passes the answers in, so that both
//! HTTP clients and the egress proxy obey one table. A URL is read once, as
//! the WHATWG parser reads it, and the parsed form is what gets connected to:
//! there is no second reading for an odd spelling to hide in.
//!
//! Fails closed: an IPv6 address outside global unicast, or one that embeds an
//! IPv4 address in a retired tunnel, is refused although nothing names it.
//!
//! SOURCE: IANA IPv4 and IPv6 special-purpose address registries; RFC 6052
//! (NAT64), 3056 (6to4), 4380 (Teredo); the cloud providers' own pages for
//! their metadata addresses.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use url::Url;

/// Bytes of a URL; longer ones are refused by common servers too.
pub const URL_BYTES_MAX: usize = 8 << 10;
/// Entries of one list of grants; it is written by hand.
pub const GRANTS_MAX: usize = 256;

/// Addresses at which a cloud hands out credentials to whoever asks.
const METADATA: [IpAddr; 12] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), // AWS, Azure, Google, DigitalOcean, OpenStack and others
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),   // AWS ECS task credentials
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),  // AWS EKS pod identity
    IpAddr::V4(Ipv4Addr::new(169, 254, 0, 23)),    // Tencent
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), // Alibaba
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),   // Azure's wire server, a public address
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),     // Oracle
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), // AWS
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)), // AWS EKS pod identity
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), // Google
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)), // Oracle
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe)), // OpenStack
];

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Anywhere on the Internet.
    Public,
    /// A private network: RFC 1918, unique local, site local.
    Private,
    /// Between a provider and its customers: 100.64.0.0/10.
    Shared,
    /// This machine.
    Loopback,
    /// This wire.
    LinkLocal,
    /// A cloud's metadata service.
    Metadata,
    /// `0.0.0.0/8` and `::`, which mean this machine to `connect`.
    Unspecified,
    /// Many machines at once.
    Multicast,
    /// All machines on the wire.
    Broadcast,
    /// For examples in documents.
    Documentation,
    /// For benchmarks of network devices.
    Benchmark,
    /// Everything else that is not plain global unicast.
    Reserved,
}

impl Class {
    /// True when a grant by host name covers it; other kinds need the address itself.
    const fn is_grantable_by_name(self) -> bool {
        matches!(self, Self::Private | Self::Shared | Self::Loopback)
    }

    /// True when no grant covers it: there is no single machine there.
    const fn is_never_granted(self) -> bool {
        matches!(self, Self::Unspecified | Self::Multicast | Self::Broadcast)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Shared => "carrier-shared",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Metadata => "cloud metadata",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Benchmark => "benchmark",
            Self::Reserved => "reserved",
        })
    }
}

/// The kind of an address, IPv4 addresses inside IPv6 ones included.
#[must_use]
pub fn classify(address: IpAddr) -> Class {
    if METADATA.contains(&address) {
        return Class::Metadata;
    }
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        [0, ..] => Class::Unspecified,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private,
        [100, 64..=127, ..] => Class::Shared,
        [127, ..] => Class::Loopback,
        [169, 254, ..] => Class::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Class::Documentation,
        [198, 18..=19, ..] => Class::Benchmark,
        // Protocol assignments, and the retired 6to4 relay.
        [192, 0, 0, _] | [192, 88, 99, _] => Class::Reserved,
        [224..=239, ..] => Class::Multicast,
        [255, 255, 255, 255] => Class::Broadcast,
        [240..=255, ..] => Class::Reserved,
        _ => Class::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> Class {
    let low = |at: usize| {
        let octets = address.octets();
        IpAddr::from([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        // IPv4-mapped and the well-known NAT64 prefix: the same place as the IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => classify(low(12)),
        // IPv4-compatible, IPv4-translated: retired.
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => retired(classify(low(12))),
        // A site's own NAT64, whose layout only that site knows.
        [0x64, 0xff9b, 1, ..] => Class::Private,
        [0x2002, ..] => retired(classify(low(2))),
        // Teredo keeps the client's address inverted.
        [0x2001, 0, .., a, b] => retired(classify(IpAddr::from(((u32::from(!a) << 16) | u32::from(!b)).to_be_bytes()))),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Documentation,
        [0x2001, 2, 0, ..] => Class::Benchmark,
        [0x2001, 1..=0x1ff, ..] => Class::Reserved,
        [0x2000..=0x3fff, ..] => Class::Public,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Class::Private,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xff00..=0xffff, ..] => Class::Multicast,
        _ => Class::Reserved,
    }
}

/// A retired embedding is never public, whatever it embeds.
fn retired(embedded: Class) -> Class {
    if embedded == Class::Public { Class::Reserved } else { embedded }
}

/// The host of a URL or grant in its one normal form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name: lower case, punycode, without a trailing dot.
    Name(String),
    /// An address that was written out, in whatever spelling.
    Ip(IpAddr),
}

impl Host {
    /// Reads a host as a URL would hold it; IPv6 addresses stand in brackets.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for what is no host.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let host = url::Host::parse(text).map_err(|_| Refusal::Malformed("its host is not valid"))?;
        Self::normal(host.to_owned())
    }

    fn normal(host: url::Host<String>) -> Result<Self, Refusal> {
        let name = match host {
            url::Host::Ipv4(v4) => return Ok(Self::Ip(v4.into())),
            url::Host::Ipv6(v6) => return Ok(Self::Ip(v6.into())),
            url::Host::Domain(name) => name,
        };
        let name = name.strip_suffix('.').unwrap_or(&name).to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(Refusal::Malformed("its host is not a valid name"));
        }
        Ok(Self::Name(name))
    }

    /// True for `localhost` and everything below it.
    ///
    /// SOURCE: RFC 6761 §6.3.
    #[must_use]
    pub fn is_localhost(&self) -> bool {
        matches!(self, Self::Name(name) if name == "localhost" || name.ends_with(".localhost"))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(v4)) => v4.fmt(f),
            Self::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
        }
    }
}

/// A URL that has been read: what is decided about and what is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The whole URL without its fragment.
    pub url: Url,
    /// Its host.
    pub host: Host,
    /// Its port, the scheme's own where it names none.
    pub port: u16,
}

impl Target {
    /// Reads an `http` or `https` URL.
    ///
    /// Stricter than a browser: white space, control characters, backslashes
    /// and user information are refused, because programs disagree about them.
    ///
    /// # Errors
    /// [`Refusal`] for everything else.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > URL_BYTES_MAX {
            return Err(Refusal::Malformed("it is longer than 8192 bytes"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(Refusal::Malformed("it holds white space, a control character or a backslash"));
        }
        let mut url = Url::parse(text).map_err(|_| Refusal::Malformed("it cannot be parsed"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme);
        }
        let authority = text.split_once(':').map_or("", |(_, rest)| rest.trim_start_matches('/'));
        if authority.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
            return Err(Refusal::UserInformation);
        }
        url.set_fragment(None);
        let host = url.host().ok_or(Refusal::Malformed("it has no host"))?.to_owned();
        let port = url.port_or_known_default().filter(|port| *port != 0);
        let port = port.ok_or(Refusal::Malformed("port 0 cannot be reached"))?;
        Ok(Self { host: Host::normal(host)?, port, url })
    }

    /// True when scheme, host and port are the same: credentials may follow there.
    #[must_use]
    pub fn is_same_origin(&self, other: &Self) -> bool {
        self.url.scheme() == other.url.scheme() && self.host == other.host && self.port == other.port
    }
}

/// Places that may be reached although they are not public.
///
/// A grant covers the host as it is written in the URL, at that port. By name it
/// reaches private, shared and loopback addresses; link-local, metadata and
/// reserved ones only when the grant names the address itself. `localhost` and
/// the loopback addresses stand for one another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(BTreeSet<(Host, u16)>);

impl Grants {
    /// True when it grants nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn covers(&self, host: &Host, port: u16, class: Class) -> bool {
        let is_near = |host: &Host| match host {
            Host::Name(name) => name == "localhost",
            Host::Ip(address) => *address == Ipv4Addr::LOCALHOST || *address == Ipv6Addr::LOCALHOST,
        };
        let is_named = || {
            self.0.contains(&(host.clone(), port))
                || (is_near(host) && self.0.iter().any(|(granted, at)| *at == port && is_near(granted)))
        };
        !class.is_never_granted()
            && (matches!(host, Host::Ip(_)) || class.is_grantable_by_name() || class == Class::Public)
            && is_named()
    }
}

/// A grant that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `host:port`")]
pub struct InvalidGrant(String);

impl FromStr for Grants {
    type Err = InvalidGrant;

    /// Reads `host:port,…`; white space around an entry and empty entries are skipped.
    fn from_str(text: &str) -> Result<Self, InvalidGrant> {
        let mut grants = BTreeSet::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let invalid = || InvalidGrant(entry.to_owned());
            let (host, port) = entry.rsplit_once(':').ok_or_else(invalid)?;
            let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(invalid)?;
            grants.insert((Host::parse(host).map_err(|_| invalid())?, port));
            if grants.len() > GRANTS_MAX {
                return Err(invalid());
            }
        }
        Ok(Self(grants))
    }
}

/// Why a URL or address is refused; safe to show to model and client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The URL is none that is accepted.
    #[error("the url is refused: {0}")]
    Malformed(&'static str),
    /// Not HTTP.
    #[error("the url is refused: only http and https are spoken")]
    Scheme,
    /// `user:password@`.
    #[error("the url is refused: it holds user information before an `@`")]
    UserInformation,
    /// The address, or the one a name resolves to, is not public and not granted.
    #[error("`{host}:{port}` is refused: it is a {class} address")]
    Address {
        /// Host as the URL names it.
        host: Host,
        /// Port.
        port: u16,
        /// What it turned out to be.
        class: Class,
    },
}

/// Whether `host:port`, resolved to `address`, may be connected to.
///
/// # Errors
/// [`Refusal::Address`] when it is not public and no grant covers it.
pub fn may_connect(host: &Host, port: u16, address: IpAddr, grants: &Grants) -> Result<(), Refusal> {
    let class = match host {
        // A written address is decided as written; nothing may resolve it to another.
        Host::Ip(written) if *written != address => {
            return Err(Refusal::Address { host: host.clone(), port, class: Class::Reserved });
        }
        // Whatever a resolver makes of it, the name says: this machine.
        Host::Name(_) if host.is_localhost() && classify(address) == Class::Public => Class::Loopback,
        Host::Ip(_) | Host::Name(_) => classify(address),
    };
    if class == Class::Public || grants.covers(host, port, class) {
        return Ok(());
    }
    Err(Refusal::Address { host: host.clone(), port, class })
}

/// Whether asking a resolver for the host is worth it; `localhost` needs a grant before that.
///
/// # Errors
/// [`Refusal::Address`] for a written address or a local name that may not be reached.
pub fn may_resolve(host: &Host, port: u16, grants: &Grants) -> Result<(), Refusal> {
    match host {
        Host::Ip(address) => may_connect(host, port, *address, grants),
        Host::Name(_) if host.is_localhost() => may_connect(host, port, Ipv4Addr::LOCALHOST.into(), grants),
        Host::Name(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;

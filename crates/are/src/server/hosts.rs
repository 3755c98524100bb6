//! Which `Host` and `Origin` headers are ours: the defence against DNS
//! rebinding and against foreign pages that drive a visitor's local server.
//!
//! Pure. `Host` must be a loopback name, an address we listen on, the address
//! this connection came in at, or a configured name. `Origin` may be absent
//! (no browser), must else be the very host and port of the request, or a
//! configured origin. `null`, which sandboxed pages send, is foreign.
//!
//! SOURCE: RFC 9112 §3.2 (Host), RFC 6454 §7 and RFC 6455 §10.2 (Origin).

use std::net::{IpAddr, SocketAddr};

use are_core::error::{Code, Fault};
use http::uri::Authority;
use http::{HeaderMap, Uri, header};
use url::Url;

use super::problem::invalid;

/// The names that are ours.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Addresses we listen on.
    listening: Vec<SocketAddr>,
    /// `ARE_HOSTS` and the host of `ARE_PUBLIC_URL`, lower case, with or without port.
    configured: Vec<String>,
    /// `ARE_ORIGINS` and the origin of `ARE_PUBLIC_URL`, serialised.
    origins: Vec<String>,
}

/// Host and port of a request after the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OurHost {
    name: String,
    port: Option<u16>,
}

impl Hosts {
    /// From the settings.
    ///
    /// # Errors
    /// ARE-0002 for an origin or public URL that is none.
    pub(super) fn new(
        listening: Vec<SocketAddr>,
        hosts: &[String],
        origins: &[String],
        public_url: Option<&str>,
    ) -> Result<Self, Fault> {
        let mut ours = Self {
            listening,
            configured: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            origins: Vec::new(),
        };
        for origin in origins {
            ours.origins.push(origin_of("ARE_ORIGINS", origin)?.0);
        }
        if let Some(public) = public_url {
            let (origin, url) = origin_of("ARE_PUBLIC_URL", public)?;
            ours.origins.push(origin);
            ours.configured.extend(url.host_str().map(str::to_owned));
        }
        Ok(ours)
    }

    /// The first address as a browser writes it.
    pub(super) fn base_url(&self) -> Option<String> {
        let first = self.listening.first()?;
        // `localhost` is the same in both families, and a browser lets a page there keep secrets.
        let is_local = first.ip().is_loopback() || first.ip().is_unspecified();
        Some(if is_local { format!("http://localhost:{}", first.port()) } else { format!("http://{first}") })
    }

    /// Checks `Host`, and the authority of a request in absolute form, which counts as one.
    pub(super) fn check_host(&self, uri: &Uri, headers: &HeaderMap, local: Option<IpAddr>) -> Result<OurHost, Fault> {
        let mut named = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (named.next(), named.next()) else {
            return Err(invalid("a request needs exactly one `Host` header", "send one `Host` header"));
        };
        let host: Authority = host
            .to_str()
            .ok()
            .filter(|host| !host.contains('@'))
            .and_then(|host| host.parse().ok())
            .ok_or_else(|| invalid("the `Host` header is no host", "send `host` or `host:port`"))?;
        let ours = self.accept(&host, local)?;
        if let Some(authority) = uri.authority() {
            self.accept(authority, local)?;
        }
        Ok(ours)
    }

    /// Checks `Origin`; `host` is the request's, absent on the unix socket.
    pub(super) fn check_origin(&self, headers: &HeaderMap, host: Option<&OurHost>) -> Result<(), Fault> {
        let mut named = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = named.next() else { return Ok(()) };
        let text = origin.to_str().unwrap_or_default();
        let is_ours = named.next().is_none() && Url::parse(text).is_ok_and(|url| self.is_our_origin(text, &url, host));
        if is_ours {
            return Ok(());
        }
        Err(Fault::new(
            Code::ORIGIN_REFUSED,
            "a page of another origin may not use this server",
            "add the page's origin to `ARE_ORIGINS`, for example `ARE_ORIGINS=https://app.example`",
        ))
    }

    fn is_our_origin(&self, text: &str, url: &Url, host: Option<&OurHost>) -> bool {
        let origin = url.origin();
        // An origin is scheme, host and port and nothing else; `ascii_serialization` of others is `null`.
        if !origin.is_tuple() || !matches!(url.scheme(), "http" | "https") || text.matches('/').count() != 2 {
            return false;
        }
        if self.origins.contains(&origin.ascii_serialization()) {
            return true;
        }
        host.is_some_and(|host| {
            let default = if url.scheme() == "https" { 443 } else { 80 };
            url.host_str() == Some(&host.name) && url.port_or_known_default() == Some(host.port.unwrap_or(default))
        })
    }

    fn accept(&self, authority: &Authority, local: Option<IpAddr>) -> Result<OurHost, Fault> {
        let name = authority.host().to_ascii_lowercase();
        let port = authority.port_u16();
        if authority.port().is_some() && port.is_none() {
            return Err(invalid("the `Host` header's port is no port", "send `host:port` with a port from 1 to 65535"));
        }
        let host = OurHost { name, port };
        if self.is_ours(&host, local) {
            return Ok(host);
        }
        Err(Fault::new(
            Code::HOST_REFUSED,
            "the `Host` header names another host than this server",
            "use `localhost`, or add the name to `ARE_HOSTS`",
        ))
    }

    fn is_ours(&self, host: &OurHost, local: Option<IpAddr>) -> bool {
        let with_port = host.port.map(|port| format!("{}:{port}", host.name));
        if self.configured.iter().any(|ours| *ours == host.name || Some(ours) == with_port.as_ref()) {
            return true;
        }
        let address = address_of(&host.name);
        let is_loopback = host.name == "localhost" || address.is_some_and(|address| address.is_loopback());
        if is_loopback {
            // Behind a port mapping (a container) the client's port is not ours, so only on loopback is it checked.
            return !self.is_loopback_only() || self.is_our_port(host.port);
        }
        // An address cannot be rebound as a name can; still it must be one we are really reached at.
        address.is_some_and(|address| {
            Some(address) == local
                || self.listening.iter().any(|ours| ours.ip() == address && !address.is_unspecified())
        })
    }

    fn is_loopback_only(&self) -> bool {
        self.listening.iter().all(|address| address.ip().is_loopback())
    }

    fn is_our_port(&self, port: Option<u16>) -> bool {
        let port = port.unwrap_or(80);
        self.listening.iter().any(|address| address.port() == port)
    }
}

/// The address that a host is, if it is one: brackets around IPv6.
fn address_of(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => name.parse().ok().map(IpAddr::V4),
    }
}

fn origin_of(setting: &str, text: &str) -> Result<(String, Url), Fault> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| {
        Fault::new(
            Code::CONFIG_INVALID,
            format!("`{setting}` holds `{text}`, which is no http or https URL"),
            "write it as `https://host` or `https://host:port`",
        )
    })?;
    Ok((url.origin().ascii_serialization(), url))
}

#[cfg(test)]
mod tests;

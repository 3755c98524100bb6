//! From a target to a client that can reach only the addresses that were let through.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_policy::address::{Class, Host, Target, classify, may_connect, may_resolve};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, retry};
use rustls::ClientConfig;
use rustls_platform_verifier::Verifier;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::request::connect_time;
use super::{HttpOptions, Resolver, refused};

/// Addresses of one name that are considered.
const ADDRESSES_MAX: usize = 32;

/// Resolves, checks, and builds clients.
#[derive(Debug)]
pub(super) struct Connector {
    options: HttpOptions,
    /// Made at the first request: reading the platform's certificates costs milliseconds and memory.
    tls: OnceCell<ClientConfig>,
}

/// The addresses that a target may be reached at.
#[derive(Debug)]
pub(super) struct Pinned(pub(super) Vec<SocketAddr>);

impl Pinned {
    /// True when all of them are on the Internet.
    pub(super) fn is_public(&self) -> bool {
        self.0.iter().all(|address| classify(address.ip()) == Class::Public)
    }
}

impl Connector {
    pub(super) fn new(options: HttpOptions) -> Self {
        Self { options, tls: OnceCell::new() }
    }

    /// Resolves a host and keeps the addresses that may be connected to.
    pub(super) async fn pin(&self, host: &Host, port: u16) -> Result<Pinned, Fault> {
        let grants = &self.options.grants;
        may_resolve(host, port, grants).map_err(refused)?;
        let found = match host {
            Host::Ip(address) => vec![*address],
            Host::Name(name) => self.resolve(name, port).await?,
        };
        let mut refusal = None;
        let mut kept = Vec::new();
        for address in found.into_iter().take(ADDRESSES_MAX) {
            match may_connect(host, port, address, grants) {
                Ok(()) => kept.push(SocketAddr::new(address, port)),
                Err(error) => refusal = Some(error),
            }
        }
        match refusal {
            Some(refusal) if kept.is_empty() => Err(refused(refusal)),
            None if kept.is_empty() => Err(unresolved(host)),
            _ => Ok(Pinned(kept)),
        }
    }

    async fn resolve(&self, name: &str, port: u16) -> Result<Vec<IpAddr>, Fault> {
        let unresolved = || unresolved(&Host::Name(name.to_owned()));
        match &self.options.resolver {
            Resolver::System => {
                let found = tokio::net::lookup_host((name, port)).await.map_err(|error| {
                    tracing::debug!(%error, "name cannot be resolved");
                    unresolved()
                })?;
                Ok(found.map(|address| address.ip()).collect())
            }
            Resolver::Fixed(table) => table.get(name).cloned().ok_or_else(unresolved),
        }
    }

    /// A client for one request to one target.
    pub(super) async fn client(&self, target: &Target, pinned: &Pinned, deadline: Instant) -> Result<Client, Fault> {
        let tls = if target.url.scheme() == "https" {
            self.tls.get_or_try_init(platform_tls).await?.clone()
        } else {
            without_roots()?
        };
        let left = deadline.saturating_duration_since(Instant::now());
        Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::new(Only { host: target.host.to_string(), addresses: pinned.0.clone() }))
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .retry(retry::never())
            .http1_only()
            .pool_max_idle_per_host(0)
            .connect_timeout(connect_time(left))
            .build()
            .map_err(|error| {
                tracing::error!(%error, "http client cannot be built");
                Fault::new(
                    Code::TOOL_FAILED,
                    "the http client cannot be built",
                    "tell the user to look at the server's log",
                )
            })
    }
}

fn unresolved(host: &Host) -> Fault {
    Fault::new(Code::TOOL_FAILED, format!("the name `{host}` cannot be resolved"), "check the name, or try again later")
        .retryable()
}

/// Verifies certificates as the platform does.
async fn platform_tls() -> Result<ClientConfig, Fault> {
    let failed = |error: rustls::Error| {
        tracing::error!(%error, "certificates of the platform cannot be used");
        Fault::new(
            Code::TOOL_FAILED,
            "https is not possible: the machine has no trusted certificates",
            "tell the user to install the package `ca-certificates`",
        )
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let loading = Arc::clone(&provider);
    let verifier = tokio::task::spawn_blocking(move || Verifier::new(loading));
    let verifier = verifier.await.map_err(|_| failed(rustls::Error::General("loading was stopped".to_owned())))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier.map_err(failed)?))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// For plain HTTP, where no certificate is ever seen: trusts none.
fn without_roots() -> Result<ClientConfig, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| {
        tracing::error!(%error, "tls cannot be configured");
        Fault::new(Code::TOOL_FAILED, "the http client cannot be built", "tell the user to look at the server's log")
    })?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

/// Answers for one host with the addresses that were checked, and for nothing else.
struct Only {
    host: String,
    addresses: Vec<SocketAddr>,
}

impl Resolve for Only {
    fn resolve(&self, name: Name) -> Resolving {
        let is_ours = name.as_str().trim_end_matches('.').eq_ignore_ascii_case(&self.host);
        let addresses = if is_ours { self.addresses.clone() } else { Vec::new() };
        Box::pin(async move { Ok(Box::new(addresses.into_iter()) as Addrs) })
    }
}

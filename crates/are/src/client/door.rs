//! Where a server is and how a connection to it is made.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use are_core::error::{Code, Fault};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use url::Url;

use crate::config::Secret;

/// How long a connection may take to come about.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// A connection to a server.
pub(super) type Stream = Box<dyn Duplex>;

/// What both HTTP and WebSocket run on.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A server's address with the credential for it.
#[derive(Clone)]
pub enum Door {
    /// The unix socket of a data directory; being the same user is the credential.
    Socket(PathBuf),
    /// An address with a token.
    Web {
        /// `http` or `https`, without a path.
        url: Url,
        /// Token.
        token: Option<Secret>,
    },
}

impl Door {
    /// The door that `ARE_URL` names.
    ///
    /// # Errors
    /// ARE-0002 when it is no web address.
    pub fn web(address: &str, token: Option<Secret>) -> Result<Self, Fault> {
        let refused = |why: &str| {
            Fault::new(Code::CONFIG_INVALID, format!("`ARE_URL` {why}"), "write for example `http://localhost:8888`")
        };
        let mut url: Url = address.parse().map_err(|_| refused("is not an address"))?;
        let scheme = match url.scheme() {
            "http" | "ws" => "http",
            "https" | "wss" => "https",
            _ => return Err(refused("is neither http nor https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("contains a credential; set `ARE_TOKEN` instead"));
        }
        if !url.has_host() || url.set_scheme(scheme).is_err() {
            return Err(refused("names no host"));
        }
        url.set_path("/");
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self::Web { url, token })
    }

    /// True when a token would travel unencrypted over a network.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let Self::Web { url, .. } = self else { return false };
        let is_loopback = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        url.scheme() == "http" && !is_loopback
    }

    /// What stands in `Host`.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Socket(_) => "localhost".to_owned(),
            Self::Web { url, .. } => url[url::Position::BeforeHost..url::Position::AfterPort].to_owned(),
        }
    }

    /// The `Authorization` header's text.
    pub(super) fn authorization(&self) -> Option<String> {
        let Self::Web { token: Some(token), .. } = self else { return None };
        Some(format!("Bearer {}", token.expose()))
    }

    /// Connects; ARE-0105 when nobody answers.
    pub(super) async fn connect(&self) -> Result<Stream, Fault> {
        let connected = timeout(CONNECT_TIME, self.open()).await;
        connected
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer")))
            .map_err(|error| self.unreachable(&error))
    }

    /// True when a server listens; a socket file left behind by a killed one does not.
    pub async fn is_open(&self) -> bool {
        self.connect().await.is_ok()
    }

    async fn open(&self) -> io::Result<Stream> {
        let (url, is_tls) = match self {
            Self::Socket(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Web { url, .. } => (url, url.scheme() == "https"),
        };
        let host = url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let tcp = TcpStream::connect((bare, url.port_or_known_default().unwrap_or(80))).await?;
        tcp.set_nodelay(true)?;
        if !is_tls {
            return Ok(Box::new(tcp));
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(tls()?).connect(name, tcp).await?))
    }

    pub(super) fn unreachable(&self, error: &io::Error) -> Fault {
        let (place, help) = match self {
            Self::Socket(path) => (path.display().to_string(), "start it with `are start`"),
            Self::Web { url, .. } => (url.to_string(), "check `ARE_URL`, and that the server runs"),
        };
        Fault::new(Code::SERVER_UNREACHABLE, format!("no server at `{place}`: {error}"), help).retryable()
    }
}

fn tls() -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(io::Error::other)?;
    Ok(Arc::new(config.with_no_client_auth()))
}

#[cfg(test)]
mod tests;

//! The way of a local server to the network: the places that were consented to, through a proxy of its own.
//!
//! Nothing else leads out of its cage. A server that is given secrets reaches only what every one of them is bound
//! to, over TLS: it holds the values, so whatever it reaches could get them. Each such place is asked for like a use of
//! the secret, and recorded as one.

use std::sync::Arc;

use are_core::BoxFuture;
use are_core::error::Fault;
use are_core::ids::SecretName;
use are_policy::address::Target;
use are_policy::secrets::{Piece, Purpose, Secrets};
use tokio::net::TcpListener;

use super::filled;
use super::runtime::Means;
use super::spec::{Local, invalid};
use crate::egress::{Condition, Destinations, Standing};
use crate::http::Http;

/// What a server may reach.
pub(super) struct Network {
    destinations: Destinations,
    http: Arc<Http>,
    bound: Bound,
}

impl Network {
    /// `None` for a server that was added without a network. `local` as it was consented to, with names of secrets.
    pub(super) async fn of(local: &Local, means: &Means) -> Result<Option<Self>, Fault> {
        let destinations = read(&local.egress)?;
        if destinations.is_empty() {
            return Ok(None);
        }
        let mut names = Vec::new();
        for (key, text) in &local.env {
            names.extend(filled::read(key, text)?.into_iter().filter_map(|piece| match piece {
                Piece::Secret(name) => Some(name),
                Piece::Text(_) => None,
            }));
        }
        let secrets = if names.is_empty() { None } else { Some(means.shared_secrets().await) };
        let bound = Bound { names, secrets };
        Ok(Some(Self { destinations, http: Arc::clone(&means.http), bound }))
    }

    /// Serves the server's connections for as long as what is returned lives.
    pub(super) fn serve(self, name: &str, listener: TcpListener) -> Standing {
        let condition: Option<Arc<dyn Condition>> =
            if self.bound.names.is_empty() { None } else { Some(Arc::new(self.bound)) };
        Standing::serve(name, listener, self.destinations, (self.http, condition))
    }
}

/// The places of an entry.
///
/// # Errors
/// ARE-0542 for what is no place.
pub(super) fn read(places: &[String]) -> Result<Destinations, Fault> {
    let help = "write hosts, as `api.example.com`, `api.example.com:8443` or `*.example.com`, or a preset";
    // A comma would be two of them, of which one was not looked at.
    if let Some(place) = places.iter().find(|place| place.contains(',')) {
        return Err(invalid(
            format!("`{}` is more than one place", crate::text::short(&crate::text::plain(place))),
            help,
        ));
    }
    places.join(",").parse().map_err(|error: crate::egress::InvalidDestination| invalid(error.to_string(), help))
}

/// The secrets that a server holds.
struct Bound {
    names: Vec<SecretName>,
    secrets: Option<Arc<dyn Secrets>>,
}

impl Condition for Bound {
    fn holds<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let Some(secrets) = &self.secrets else { return Ok(()) };
            // The port of the web without TLS stays one without.
            let scheme = if port == 80 { "http" } else { "https" };
            let target = Target::parse(&format!("{scheme}://{host}:{port}/"))
                .map_err(|refusal| invalid(refusal.to_string(), "name a host and a port"))?;
            for name in &self.names {
                secrets.reveal(name, Purpose::Request(&target)).await?;
            }
            Ok(())
        })
    }
}

//! Carries the requests of a login over the one HTTP client of all tools.
//!
//! What is asked is found out from what strangers say, so: no redirect is
//! followed, a server on the Internet sends nobody to a private place, not even
//! to a granted one, and what holds a code or a token leaves this machine over
//! https only.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_policy::address::{Host, Target};
use futures_util::StreamExt as _;
use rmcp::transport::{OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRequest};
use tokio::time::{Duration, timeout};

use crate::http::{Ask, Http, Opened, Unopened};

/// How long one request may take.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// Bytes of one answer; what is asked for has a few hundred.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// Carries the requests of a login at one server.
pub(super) struct Courier {
    http: Arc<Http>,
    /// The server itself.
    server: Target,
    is_public: bool,
}

impl Courier {
    pub(super) async fn of(http: &Arc<Http>, server: &Target) -> Result<Self, Fault> {
        let is_public = http.is_public(server).await?;
        Ok(Self { http: Arc::clone(http), server: server.clone(), is_public })
    }

    async fn carry(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, Fault> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string();
        let target = Target::parse(&url).map_err(|refusal| unusable(&refusal.to_string()))?;
        check_is_private(&target)?;
        let is_public_only = self.is_public && !target.is_same_origin(&self.server);
        let body = Some(body).filter(|body| !body.is_empty());
        let ask = Ask { method: parts.method, headers: parts.headers, body, is_public_only };
        let opened = self.http.open(&url, ask).await.map_err(|unopened| unopened.fault)?;
        whole(opened).await
    }
}

async fn whole(mut opened: Opened) -> Result<http::Response<Vec<u8>>, Fault> {
    let mut bytes = Vec::new();
    while let Some(piece) = opened.body.next().await {
        bytes.extend_from_slice(&piece.map_err(|_| unusable("its answer broke off").retryable())?);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(unusable(&format!("its answer is larger than {ANSWER_BYTES_MAX} bytes")));
        }
    }
    let mut response = http::Response::new(bytes);
    *response.status_mut() = http::StatusCode::from_u16(opened.status).map_err(|_| unusable("its status is none"))?;
    *response.headers_mut() = opened.headers;
    Ok(response)
}

impl OAuthHttpClient for Courier {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move {
            let late = || unusable("it did not answer in time").retryable();
            let carried = timeout(REQUEST_TIME, self.carry(request.request)).await.unwrap_or_else(|_| Err(late()));
            carried.map_err(|fault| Box::new(Unopened { fault, is_sent: true }) as _)
        })
    }
}

/// Refuses a place that codes and tokens would go to readable for everybody on the way.
pub(super) fn check_is_private(target: &Target) -> Result<(), Fault> {
    let is_here = match &target.host {
        Host::Ip(address) => address.is_loopback(),
        Host::Name(name) => name == "localhost",
    };
    if target.url.scheme() == "https" || is_here {
        return Ok(());
    }
    Err(unusable(&format!("`{}` is not reached over https", target.host)))
}

fn unusable(why: &str) -> Fault {
    let what = format!("a place that a login needs cannot be used: {why}");
    Fault::new(Code::LOGIN_FAILED, what, "tell whoever runs the server")
}

//! One request of a protocol on top of HTTP, whose answer is read as it comes.
//!
//! It goes through the same door as every other request: the name is resolved
//! here, its addresses are let through or refused, and exactly those are
//! connected to. No redirect is followed. How much is read, and for how long,
//! is up to whoever reads.

use std::time::Duration;

use are_core::error::{Code, Fault};
use are_policy::address::Target;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::Instant;

use super::request::unsent;
use super::{Http, refused};

/// How long connecting may take; how long an answer may take is the reader's affair.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    /// Whether to refuse a place that is not on the Internet, granted or not: somebody there named it.
    pub(crate) is_public_only: bool,
}

/// An answer whose body has not been read.
pub(crate) struct Opened {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: BoxStream<'static, Result<Bytes, std::io::Error>>,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{fault}")]
pub(crate) struct Unopened {
    pub(crate) fault: Fault,
    /// True when the request may have reached the server.
    pub(crate) is_sent: bool,
}

impl Http {
    /// Whether a place is on the Internet.
    pub(crate) async fn is_public(&self, target: &Target) -> Result<bool, Fault> {
        Ok(self.connector.pin(&target.host, target.port).await?.is_public())
    }

    /// Asks, and waits for the head of the answer.
    pub(crate) async fn open(&self, url: &str, ask: Ask) -> Result<Opened, Unopened> {
        let before = |fault| Unopened { fault, is_sent: false };
        let target = Target::parse(url).map_err(|refusal| before(refused(refusal)))?;
        let pinned = self.connector.pin(&target.host, target.port).await.map_err(before)?;
        if ask.is_public_only && !pinned.is_public() {
            let message =
                format!("`{}:{}` is refused: a public server names it, and it is none", target.host, target.port);
            let help = "its operator has to name a public address; a grant is for who asks for that place";
            return Err(before(Fault::new(Code::ADDRESS_REFUSED, message, help)));
        }
        let deadline = Instant::now() + CONNECT_TIME;
        let client = self.connector.client(&target, &pinned, deadline).await.map_err(before)?;
        let mut request = reqwest::Request::new(ask.method, target.url.clone());
        *request.headers_mut() = ask.headers;
        let ours = HeaderValue::from_static(concat!("are/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().entry(USER_AGENT).or_insert(ours);
        *request.body_mut() = ask.body.map(reqwest::Body::from);
        match client.execute(request).await {
            Ok(response) => Ok(Opened {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: response.bytes_stream().map(|piece| piece.map_err(std::io::Error::other)).boxed(),
            }),
            Err(error) => Err(match unsent(&target.host, &error) {
                Some(fault) => before(fault),
                None => {
                    let what = format!("`{}` broke off or answered something that is not HTTP", target.host);
                    Unopened {
                        fault: Fault::new(Code::TOOL_FAILED, what, "try again later").retryable(),
                        is_sent: true,
                    }
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpOptions;

    #[tokio::test]
    async fn a_place_that_a_public_one_names_is_public_or_refused_even_where_it_is_granted() {
        let grants = "127.0.0.1:9".parse().expect("a grant");
        let http = Http::new(HttpOptions { grants, ..HttpOptions::default() });
        let ask = Ask { method: Method::GET, headers: HeaderMap::new(), body: None, is_public_only: true };
        let refused = http.open("http://127.0.0.1:9/", ask).await.err().expect("refused");
        assert_eq!((refused.fault.code, refused.is_sent), (Code::ADDRESS_REFUSED, false), "{refused}");
        let target = Target::parse("http://127.0.0.1:9/").expect("a place");
        assert_eq!(http.is_public(&target).await, Ok(false));
    }
}

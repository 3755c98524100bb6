//! The one HTTP client of all tools.
//!
//! It resolves names itself, keeps of the answers only the addresses that
//! [`are_policy::address`] lets through (none left: refused), and connects to
//! exactly those: nothing resolves the name a second time. Each redirect is a
//! new target and goes through the same door; a public page cannot send the
//! client to a private address, not even to a granted one, and a request with
//! an effect is never carried on to another origin. No proxy from the
//! environment, no cookies, no referrer, no connection kept for another call.
//!
//! Secrets are put in last, each only for the places that it is bound to.
//!
//! Methods other than GET and HEAD are effects. They carry `Idempotency-Key`,
//! and once such a request may have left the machine, a lost connection or a
//! time-out has the outcome `unknown`.

mod connect;
mod filled;
mod open;
mod request;
mod response;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use are_core::body::{Effect, Retry};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::ids::InvalidId;
use are_policy::address::{Grants, Host, Refusal, Target};
use are_policy::gate::Permit;
use are_policy::manifest::{EffectBy, Manifest, Role};
use reqwest::header::LOCATION;
use serde_json::json;

use self::connect::Connector;
pub(crate) use self::open::{Ask, Opened, Unopened};
use self::request::Request;
pub(crate) use self::request::{Wanted, headers_of};
use crate::declare::{finds, intents, roles, tool};
use crate::lane::{Answer, Error, Room, read};

/// Name of the tool.
pub(crate) const NAME: &str = "http_request";
/// Redirects followed; more is a loop.
const REDIRECTS_MAX: usize = 5;

/// What the operator grants and how names are resolved.
#[derive(Debug, Clone, Default)]
pub struct HttpOptions {
    /// Places that may be reached although they are not public.
    pub grants: Grants,
    /// Who resolves names.
    pub resolver: Resolver,
}

/// Who resolves names.
#[derive(Debug, Clone, Default)]
pub enum Resolver {
    /// The operating system.
    #[default]
    System,
    /// This table and nothing else, for tests and simulations.
    Fixed(Arc<BTreeMap<String, Vec<IpAddr>>>),
}

/// The client.
#[derive(Debug)]
pub(crate) struct Http {
    connector: Connector,
}

impl Http {
    pub(crate) fn new(options: HttpOptions) -> Self {
        Self { connector: Connector::new(options) }
    }

    /// The addresses at which a host may be reached: resolved once, and each let through.
    pub(crate) async fn pin(&self, host: &Host, port: u16) -> Result<Vec<SocketAddr>, Fault> {
        Ok(self.connector.pin(host, port).await?.0)
    }

    /// Runs one call.
    pub(crate) async fn run(&self, permit: Permit, room: Room) -> Result<Answer, Error> {
        let spent = permit.spend();
        self.perform(read(&spent.args)?, &spent.key, &room).await
    }

    /// Makes a request that a permit covers; `key` is that of its call.
    pub(crate) async fn perform(&self, wanted: Wanted, key: &Digest, room: &Room) -> Result<Answer, Error> {
        let (wanted, told) = filled::fill(wanted, room).await?;
        let mut request = Request::new(wanted, key)?;
        request.told = told;
        let (mut response, mut is_public) = self.send(&request, false, room).await?;
        let mut hops = 0;
        while let Some(next) = redirect(&request, &response) {
            // What fails from here on fails after a request that was answered, though only by a redirect.
            let next = next.map_err(|refusal| request.after_sending(refused(refusal)))?;
            if hops == REDIRECTS_MAX {
                return Err(too_many_redirects(&request));
            }
            if !next.is_same_origin(&request.target) {
                // Nobody decided about asking there; the model sees the redirect and may.
                break;
            }
            request.follow(next, response.status());
            hops += 1;
            (response, is_public) = match self.send(&request, is_public, room).await {
                Err(Error::Failed(fault)) => return Err(request.after_sending(fault)),
                other => other?,
            };
        }
        Ok(response::read(&request, response, hops, room).await.into())
    }

    /// Sends the request and waits for the head of the response; also says whether it went to the
    /// Internet. One that a public place redirected may not go anywhere else, granted or not: the
    /// grant is for who asks for that place, not for a stranger's page.
    async fn send(
        &self,
        request: &Request,
        is_from_public: bool,
        room: &Room,
    ) -> Result<(reqwest::Response, bool), Error> {
        let target = &request.target;
        let pinned = self.connector.pin(&target.host, target.port).await?;
        if is_from_public && !pinned.is_public() {
            let message = format!(
                "the redirect to `{}:{}` is refused: it leads from a public address to another kind",
                target.host, target.port
            );
            return Err(Fault::new(Code::ADDRESS_REFUSED, message, "do not follow it").into());
        }
        let client = self.connector.client(target, &pinned, room.deadline).await?;
        if request.is_effect() {
            room.latch.begin()?;
        }
        match client.execute(request.build()).await {
            Ok(response) => Ok((response, pinned.is_public())),
            Err(error) => Err(request.failed(&error)),
        }
    }
}

/// Where the response sends the client, if it does.
fn redirect(request: &Request, response: &reqwest::Response) -> Option<Result<Target, Refusal>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    // Joined as the browser does, then read as strictly as any other URL.
    let joined = request.target.url.join(location).map_err(|_| Refusal::Malformed("the redirect cannot be parsed"));
    Some(joined.and_then(|url| Target::parse(url.as_str())))
}

fn too_many_redirects(request: &Request) -> Error {
    let fault = Fault::new(
        Code::TOOL_FAILED,
        format!("`{}` redirected more than {REDIRECTS_MAX} times", request.target.host),
        "ask for the final address directly",
    );
    request.after_sending(fault)
}

/// A refusal as the model sees it.
fn refused(refusal: Refusal) -> Fault {
    let code = match refusal {
        Refusal::Address { .. } => Code::ADDRESS_REFUSED,
        Refusal::Malformed(_) | Refusal::Scheme | Refusal::UserInformation => Code::TOOL_ARGS,
    };
    let help = match refusal {
        Refusal::Address { .. } => {
            "the operator can grant `host:port` in `ARE_EGRESS_PRIVATE`; do not try other spellings"
        }
        _ => "give a whole address such as `https://example.com/page`",
    };
    Fault::new(code, refusal.to_string(), help)
}

/// The manifest.
pub(crate) fn manifest() -> Result<Manifest, InvalidId> {
    let reading = [("GET", Effect::NetworkRead), ("HEAD", Effect::NetworkRead)];
    Ok(Manifest {
        effect: Effect::Send,
        effect_by: Some(EffectBy {
            arg: "method".to_owned(),
            map: reading.into_iter().map(|(method, effect)| (method.to_owned(), effect)).collect(),
            absent: Some(Effect::NetworkRead),
        }),
        // A server may ignore the key, so that even with it a repetition is not safe.
        retry: Retry::AtMostOnce,
        args: roles(&[
            ("url", Role::Destination),
            ("method", Role::Option),
            ("headers", Role::Content),
            ("body", Role::Content),
        ]),
        intents: intents(
            &["request", "fetch", "download", "visit", "open", "call", "post", "submit"],
            &["请求", "获取", "下载", "打开", "访问", "抓取", "提交"],
        ),
        ..tool(
            NAME,
            "Make an HTTP request and return status, headers and body. Public addresses only, unless the operator granted more.",
            json!({
                "url": {"type": "string", "format": "uri", "minLength": 1, "maxLength": are_policy::address::URL_BYTES_MAX, "description": "whole http or https address"},
                "method": {"type": "string", "enum": request::METHODS, "description": "GET if absent"},
                "headers": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": request::HEADERS_MAX, "description": "header names and values; `${secret:NAME}` stands for a secret"},
                "body": {"type": ["string", "object", "array"], "description": "text, or JSON to send as application/json; not with GET or HEAD"},
            }),
            &["url"],
            finds(
                "Fetch https://example.com/ and tell me what it says",
                json!({"url": "https://example.com/", "method": "GET"}),
                "status: 200\nbody: Example Domain",
                "It says: Example Domain.",
            ),
        )?
    })
}

//! What every request passes before anything else looks at it:
//! `Host`, then `Origin`, then the credential.
//!
//! The credential is a bearer token in `Authorization`, or for a browser's
//! socket the subprotocol `are.token.<base64url>`, and the console's half of a
//! login comes the same way, worth something only beside the cookie that holds
//! the other; on the unix socket it is the peer's user id, checked when the connection was accepted. Never a query
//! parameter, because those end in logs and histories; and never two, because
//! two readers might choose differently.
//!
//! The one header that names an account, `are-account`, is read here too and is
//! worth what the credential says: without the scope `delegate` it is refused.

use are_core::error::{Code, Fault};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Uri, header};
use tokio::time::Instant;

use super::app::App;
use super::auth::{Door, Principal};
use super::connection::{Connection, Peer};
use super::console::logins::{self, Root};
use super::problem::invalid;

/// Prefix of the subprotocol that carries a token.
pub(super) const TOKEN_PROTOCOL: &str = "are.token.";
/// Query parameters in which clients are known to put credentials.
const FORBIDDEN_PARAMETERS: [&str; 7] = ["token", "access_token", "api_key", "apikey", "authorization", "code", "half"];

/// Names the account for which a delegate speaks.
const ACCOUNT_HEADER: &str = "are-account";

/// Lets a request in as somebody, or says why not.
///
/// # Errors
/// ARE-0201 to ARE-0206, ARE-0210, ARE-0214.
pub(super) async fn admit(
    app: &App,
    connection: &Connection,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Principal, Fault> {
    let principal = identify(app, connection, uri, headers).await?;
    let Some(named) = account_named(headers)? else { return Ok(principal) };
    let operator = super::auth::admin_account()?;
    app.tokens.speak_for(principal, named.parse().ok(), &operator, &|account| app.engine.speaking_groups(account))
}

/// The account that a request names, if it names one.
fn account_named(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let help = "send `ARE-Account: NAME` once, or leave it out";
    // Gateways that turn `_` into `-` would let one header through as another.
    let is_disguised = |name: &str| name != ACCOUNT_HEADER && name.replace('_', "-") == ACCOUNT_HEADER;
    if headers.keys().any(|name| is_disguised(name.as_str())) {
        return Err(invalid("`ARE-Account` is written with a hyphen", help));
    }
    let mut values = headers.get_all(ACCOUNT_HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        // What is not ASCII is no account's name, and answered like one that does not exist.
        (Some(name), None) => Ok(Some(name.to_str().unwrap_or_default())),
        (Some(_), Some(_)) => Err(invalid("more than one account is named", help)),
    }
}

/// The checks of names alone, for what needs no credential.
///
/// # Errors
/// ARE-0202 to ARE-0204, ARE-0206.
pub(super) fn check_names(app: &App, connection: &Connection, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
    if let Peer::Remote { local, .. } = connection.peer() {
        let host = app.hosts.check_host(uri, headers, Some(local))?;
        app.hosts.check_origin(headers, Some(&host))?;
    } else {
        app.hosts.check_origin(headers, None)?;
    }
    check_query(uri)
}

async fn identify(app: &App, connection: &Connection, uri: &Uri, headers: &HeaderMap) -> Result<Principal, Fault> {
    match connection.peer() {
        Peer::Local => {
            app.hosts.check_origin(headers, None)?;
            return Principal::admin(Door::Local);
        }
        Peer::Remote { local, .. } => {
            let host = app.hosts.check_host(uri, headers, Some(local))?;
            app.hosts.check_origin(headers, Some(&host))?;
        }
    }
    if app.settings.no_auth {
        return Principal::admin(Door::Network);
    }
    let fault = match credential(uri, headers) {
        Ok(token) => match recognise(app, &token, headers) {
            Some(principal) => return Ok(principal),
            None => Fault::new(
                Code::CREDENTIAL_INVALID,
                "the token is not known, is over or was revoked, or its account is disabled",
                "use a token from `are token create`, or the one in `admin.token` of the data directory",
            ),
        },
        // Nothing was tried, so nothing is counted.
        Err(fault) if fault.code == Code::UNAUTHENTICATED => return Err(fault),
        Err(fault) => fault,
    };
    Err(wrong(app, connection, fault).await)
}

/// Counts a wrong credential; what its sender is told, and late when there were many.
pub(super) async fn wrong(app: &App, connection: &Connection, fault: Fault) -> Fault {
    let Peer::Remote { client, .. } = connection.peer() else { return fault };
    let slow = app.throttle(|throttle| throttle.wrong(client, Instant::now()));
    let Some(slow) = slow else { return fault };
    tokio::time::sleep(slow.lateness).await;
    Fault::new(
        Code::SLOWED_DOWN,
        "too many wrong credentials came from this address",
        "wait, then use a token from `are token create`",
    )
    .retry_after(slow.retry_after_ms)
}

fn recognise(app: &App, token: &str, headers: &HeaderMap) -> Option<Principal> {
    let now_ms = app.settings.clock.now_ms();
    let speaks = |account: &_| app.engine.speaking_groups(account);
    if !logins::is_half(token) {
        return app.tokens.recognise(token, now_ms, &speaks);
    }
    let login = app.logins.recognise(token, headers, now_ms)?;
    let principal = match &login.root {
        Root::Operator => Principal::admin(Door::Network).ok(),
        Root::Token(id) => app.tokens.standing(id, now_ms, &speaks),
    };
    principal.map(|principal| principal.through(login))
}

/// Refuses a credential in the query.
fn check_query(uri: &Uri) -> Result<(), Fault> {
    let query = uri.query().unwrap_or_default();
    let is_forbidden = |name: &str| FORBIDDEN_PARAMETERS.iter().any(|forbidden| forbidden.eq_ignore_ascii_case(name));
    if url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| is_forbidden(&name)) {
        return Err(Fault::new(
            Code::CREDENTIAL_INVALID,
            "a credential in the query is not accepted",
            "send `Authorization: Bearer <token>`, and replace this token: it may be in logs",
        ));
    }
    Ok(())
}

/// The one credential of a request.
fn credential(uri: &Uri, headers: &HeaderMap) -> Result<String, Fault> {
    let refuse = |message: &str, help: &str| Err(Fault::new(Code::CREDENTIAL_INVALID, message, help));
    check_query(uri)?;
    let mut found = Vec::new();
    for value in headers.get_all(header::AUTHORIZATION) {
        found.push(bearer(value.to_str().unwrap_or_default()));
    }
    for protocol in super::upgrade::offered(headers).filter_map(|offer| offer.strip_prefix(TOKEN_PROTOCOL)) {
        found.push(URL_SAFE_NO_PAD.decode(protocol).ok().and_then(|bytes| String::from_utf8(bytes).ok()));
    }
    match (found.pop(), found.pop()) {
        (None, _) => Err(Fault::new(
            Code::UNAUTHENTICATED,
            "no credential was sent",
            "send `Authorization: Bearer <token>`; `are token create` makes one",
        )),
        (Some(Some(token)), None) => Ok(token),
        (Some(None), None) => refuse("the credential is not readable", "send `Authorization: Bearer <token>`"),
        (Some(_), Some(_)) => refuse("more than one credential was sent", "send exactly one"),
    }
}

/// The token of an `Authorization` header (RFC 6750 §2.1).
fn bearer(value: &str) -> Option<String> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && is_token).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(uri: &'static str, pairs: &[(&'static str, &'static str)]) -> Result<String, Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        credential(&Uri::from_static(uri), &headers).map_err(|fault| fault.code)
    }

    #[test]
    fn one_bearer_token_or_one_token_protocol_is_read() {
        assert_eq!(code("/", &[("authorization", "Bearer abc")]), Ok("abc".into()));
        assert_eq!(code("/?x=1", &[("authorization", "bearer  abc ")]), Ok("abc".into()));
        assert_eq!(code("/", &[("sec-websocket-protocol", "are.v2, are.token.YWJj")]), Ok("abc".into()));
    }

    #[test]
    fn none_odd_doubled_and_query_credentials_are_refused() {
        assert_eq!(code("/", &[]), Err(Code::UNAUTHENTICATED));
        let wrong: &[(&'static str, &[(&'static str, &'static str)])] = &[
            ("/", &[("authorization", "Basic YWJj")]),
            ("/", &[("authorization", "Bearer")]),
            ("/", &[("authorization", "Bearer a b")]),
            ("/", &[("authorization", "Bearer abc"), ("authorization", "Bearer abc")]),
            ("/", &[("authorization", "Bearer abc"), ("sec-websocket-protocol", "are.v2, are.token.YWJj")]),
            ("/", &[("sec-websocket-protocol", "are.token.YWJj, are.token.YWJj")]),
            ("/", &[("sec-websocket-protocol", "are.v2, are.token.!!")]),
            ("/?token=abc", &[]),
            ("/?x=1&Access%5Ftoken=abc", &[("authorization", "Bearer abc")]),
        ];
        for (uri, pairs) in wrong {
            assert_eq!(code(uri, pairs), Err(Code::CREDENTIAL_INVALID), "{uri} {pairs:?}");
        }
    }
}

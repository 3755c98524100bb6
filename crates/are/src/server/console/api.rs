//! Logging in to the console and out of it.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Request, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::logins::{CODE_MS, Opened, Root, cookie_name};
use crate::server::api::{Answer, Who, created, done, json, told};
use crate::server::app::App;
use crate::server::auth::{Door, Principal};
use crate::server::connection::Connection;
use crate::server::gate;
use crate::server::problem::{Problem, invalid};

/// Bytes of a login's body: one token.
const BODY_BYTES_MAX: usize = 1024;
/// For how long a browser keeps its half, in seconds; the server ends it earlier.
const COOKIE_AGE_S: u64 = 7 * 24 * 60 * 60;

/// A one-time code.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct LoginCode {
    /// Good once.
    code: String,
    /// For so long, in milliseconds.
    expires_in_ms: u64,
    /// Where the console is, with the code behind `#`; absent when the server has no address but its unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// Makes a one-time code that logs the console in as the caller, with the caller's scopes.
#[utoipa::path(post, path = "/api/login/code", responses((status = 201, body = LoginCode), (status = "default", body = Problem)))]
pub(in crate::server) async fn offer(State(app): State<Arc<App>>, who: Who) -> Answer {
    if who.principal.via.is_some() || who.principal.login.is_some() {
        let message = "a code is not made by a console, or by who speaks for another account";
        return Err(Fault::new(Code::SCOPE_MISSING, message, "make it with a token of the account: `are open`").into());
    }
    let clock = &app.settings.clock;
    app.engine.record_login_offered(&who.caller, who.principal.token.clone()).await?;
    let code = app.logins.offer(root_of(&who.principal), &clock.random(), clock.now_ms())?;
    let url = app.base_url().map(|base| format!("{}/#code={code}", base.trim_end_matches('/')));
    created(&LoginCode { code, expires_in_ms: CODE_MS, url })
}

/// One of both.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Credential {
    /// A one-time code.
    code: Option<String>,
    /// A token.
    token: Option<String>,
}

/// The page's half of a login; the other half is a cookie.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct LoginMade {
    /// Goes into `Authorization: Bearer`, or for a socket into `are.token.<base64url>`.
    half: String,
    account: String,
}

/// Exchanges a one-time code or a token for a login. Needs no credential beside it.
#[utoipa::path(post, path = "/api/login", security(()), request_body = Credential, responses((status = 201, body = LoginMade), (status = "default", body = Problem)))]
pub(in crate::server) async fn open(State(app): State<Arc<App>>, request: Request<Body>) -> Answer {
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let connection = connection
        .ok_or_else(|| Fault::new(Code::INTERNAL, "the request has no connection", "report this as a bug"))?;
    let headers = request.headers().clone();
    let told: Option<Credential> = told(request, BODY_BYTES_MAX).await?;
    let credential = told.ok_or_else(|| invalid("the request needs a body", "send `code` or `token`"))?;
    let Some(principal) = principal_of(&app, &credential)? else {
        let fault = Fault::new(
            Code::CREDENTIAL_INVALID,
            "the code or token is not known, was used, is over or was revoked",
            "make another code with `are open`, or take a token from `are token create`",
        );
        return Err(gate::wrong(&app, &connection, fault).await.into());
    };
    let clock = &app.settings.clock;
    let random = [clock.random(), clock.random(), clock.random()];
    let [name, cookie, half] = &random;
    let root = root_of(&principal);
    let opened = app.logins.open(root, principal.account.clone(), [name, cookie, half], clock.now_ms())?;
    let caller = principal.caller(super::super::api::parsed("console")?);
    if let Err(fault) = app.engine.record_login_opened(&caller, opened.id.clone(), principal.token.clone()).await {
        // What is not recorded is not open.
        app.logins.close(&opened.id);
        return Err(fault.into());
    }
    app.tokens.look_again();
    connection.leave_lobby();
    let mut response =
        created(&LoginMade { half: opened.half.clone(), account: principal.account.as_str().to_owned() })?;
    set_cookies(&mut response, &app, &headers, &opened)?;
    Ok(response)
}

/// Ends the login that asks, and what it opened.
#[utoipa::path(post, path = "/api/logout", responses((status = 204), (status = "default", body = Problem)))]
pub(in crate::server) async fn close(State(app): State<Arc<App>>, who: Who) -> Answer {
    let Some(login) = &who.principal.login else {
        return Err(invalid("this is no login of the console", "a token is given up with `are token revoke`").into());
    };
    app.logins.close(login);
    app.engine.record_login_closed(&who.caller, login.clone()).await?;
    let mut response = done()?;
    forget(&mut response, &cookie_name(login))?;
    Ok(response)
}

/// Who asks, as the console shows it.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Speaker {
    account: String,
    /// What the credential may do.
    scopes: Vec<&'static str>,
    /// True for a login of the console, which can be logged out.
    is_login: bool,
}

/// Who asks, and what it may do.
#[utoipa::path(get, path = "/api/login", responses((status = 200, body = Speaker), (status = "default", body = Problem)))]
pub(in crate::server) async fn show(who: Who) -> Answer {
    let scopes = crate::server::auth::Scope::ALL.into_iter().filter(|&scope| who.principal.scopes.allow(scope));
    json(&Speaker {
        account: who.principal.account.as_str().to_owned(),
        scopes: scopes.map(crate::server::auth::Scope::name).collect(),
        is_login: who.principal.login.is_some(),
    })
}

fn root_of(principal: &Principal) -> Root {
    principal.token.clone().map_or(Root::Operator, Root::Token)
}

/// Whom a code or token stands for now; nobody when it is not good.
fn principal_of(app: &App, credential: &Credential) -> Result<Option<Principal>, Fault> {
    let now_ms = app.settings.clock.now_ms();
    let speaks = |account: &_| app.engine.speaking_groups(account);
    match (&credential.code, &credential.token) {
        (Some(code), None) => match app.logins.redeem(code, now_ms) {
            Some(Root::Operator) => Principal::admin(Door::Network).map(Some),
            Some(Root::Token(id)) => Ok(app.tokens.standing(&id, now_ms, &speaks)),
            None => Ok(None),
        },
        (None, Some(token)) => Ok(app.tokens.recognise(token, now_ms, &speaks)),
        _ => Err(invalid("one credential logs in", "send either `code` or `token`")),
    }
}

/// The new half, and an end to those of logins that are no more.
fn set_cookies(response: &mut Response, app: &App, headers: &HeaderMap, opened: &Opened) -> Result<(), Fault> {
    for name in app.logins.stale_cookies(headers) {
        forget(response, &name)?;
    }
    // The gate has seen that the origin is ours; a browser on https says so in it.
    let is_secure = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let rest = if is_secure { "; Secure" } else { "" };
    let line = format!("{}; Path=/; HttpOnly; SameSite=Strict; Max-Age={COOKIE_AGE_S}{rest}", opened.cookie);
    set_cookie(response, &line)
}

/// Has the browser forget a cookie.
fn forget(response: &mut Response, name: &str) -> Result<(), Fault> {
    set_cookie(response, &format!("{name}=; Path=/; Max-Age=0"))
}

fn set_cookie(response: &mut Response, line: &str) -> Result<(), Fault> {
    let value = HeaderValue::from_str(line)
        .map_err(|error| Fault::new(Code::INTERNAL, error.to_string(), "report this as a bug"))?;
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(())
}

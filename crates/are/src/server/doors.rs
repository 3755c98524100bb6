//! The way of one request: probes, then what is open to all (the console's files
//! and its login), then the [gate](super::gate), then a socket or a route. Everything that is refused here is a problem document.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Method, Request, StatusCode, header};
use tower::ServiceExt as _;

use super::app::App;
use super::connection::Connection;
use super::problem::Refusal;
use super::{access, console, gate, openai, upgrade};

/// Paths that need neither token nor `Host`, and show no data.
pub(super) const PROBES: [&str; 3] = ["/livez", "/readyz", "/metrics"];
/// Paths at which a socket begins.
pub(super) const SOCKETS: [&str; 2] = ["/", "/ws"];

/// Answers one request.
pub(super) async fn answer(
    app: Arc<App>,
    router: Router,
    connection: Arc<Connection>,
    request: Request<Body>,
) -> Response {
    if openai::is_door(request.uri().path()) {
        return openai::reshaped(admitted(app, router, connection, request).await);
    }
    admitted(app, router, connection, request).await
}

async fn admitted(app: Arc<App>, router: Router, connection: Arc<Connection>, request: Request<Body>) -> Response {
    if PROBES.contains(&request.uri().path()) {
        return short(&connection, probe(&app, &request));
    }
    let mut request = request;
    let is_upgrade = SOCKETS.contains(&request.uri().path()) && upgrade::is_requested(&request);
    if let Some(open) = console::open_way(request.method(), request.uri())
        && !is_upgrade
    {
        if let Err(fault) = gate::check_names(&app, &connection, request.uri(), request.headers()) {
            return short(&connection, Refusal::from(fault).into_response());
        }
        let response = match open {
            console::Open::File => console::answer(request.uri(), request.headers()).await,
            console::Open::Login => {
                request.extensions_mut().insert(connection.clone());
                routed(router, request).await
            }
        };
        return short(&connection, response);
    }
    let principal = match gate::admit(&app, &connection, request.uri(), request.headers()).await {
        Ok(principal) => principal,
        Err(fault) => {
            access::refused(&app, &fault, Some(connection.peer()));
            return short(&connection, Refusal::from(fault).into_response());
        }
    };
    app.ledger.let_in(&principal, app.settings.clock.now_ms());
    connection.leave_lobby();
    if is_upgrade {
        if app.stopping.is_cancelled() {
            return Refusal::from(app.goodbye()).into_response();
        }
        let upgraded = Box::pin(upgrade::accept(app.clone(), connection, principal, request)).await;
        return upgraded.unwrap_or_else(|refusal| {
            if refusal.fault().code == Code::SCOPE_MISSING {
                access::refused(&app, refusal.fault(), None);
            }
            refused_upgrade(refusal)
        });
    }
    request.extensions_mut().insert(principal);
    routed(router, request).await
}

async fn routed(router: Router, request: Request<Body>) -> Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// A connection that has shown no credential gets one answer.
fn short(connection: &Connection, mut response: Response) -> Response {
    if connection.is_in_lobby() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn refused_upgrade(refusal: Refusal) -> Response {
    let mut response = refusal.into_response();
    if response.status() == StatusCode::UPGRADE_REQUIRED {
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    response
}

fn probe(app: &App, request: &Request<Body>) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return method_not_allowed();
    }
    match request.uri().path() {
        "/livez" => plain("ok\n".to_owned()),
        "/readyz" => match ready(app) {
            Ok(()) => plain("ready\n".to_owned()),
            Err(fault) => Refusal::with_status(fault, StatusCode::SERVICE_UNAVAILABLE).into_response(),
        },
        _ => {
            let mut page = plain(metrics(app));
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            page
        }
    }
}

/// Ready to take prompts.
pub(super) fn ready(app: &App) -> Result<(), Fault> {
    if app.stopping.is_cancelled() {
        return Err(app.goodbye());
    }
    app.engine.ready()
}

/// Figures in the text format of OpenMetrics, which Prometheus reads.
fn metrics(app: &App) -> String {
    app.metrics.page(&[
        ("are_ready", "1 when prompts are taken", u64::from(ready(app).is_ok())),
        ("are_sockets", "Open WebSockets", app.sockets() as u64),
        ("are_mcp_sessions", "Open MCP sessions", app.mcp.count() as u64),
    ])
}

fn plain(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// No such path.
pub(super) async fn not_found() -> Response {
    let fault =
        Fault::new(Code::NOT_FOUND, "there is nothing at this path", "see `/api/openapi.json` for what there is");
    Refusal::from(fault).into_response()
}

/// No such method at this path.
pub(super) fn method_not_allowed() -> Response {
    let fault =
        Fault::new(Code::NOT_FOUND, "this path does not take this method", "see `/api/openapi.json` for what it takes");
    Refusal::with_status(fault, StatusCode::METHOD_NOT_ALLOWED).into_response()
}

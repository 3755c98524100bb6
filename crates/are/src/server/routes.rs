//! The one table of routes: method, path, who may, and the handler.
//!
//! The router is built from it; tests go through it to see that every route
//! refuses without a token and below its scope, and that the OpenAPI document
//! lists the same routes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use http::Request;

use super::access;
use super::api::{
    about, accounts, agents, approvals, audit, compaction, inbox, journal, logins, memory, registry, secrets, servers,
    sessions, tokens, usage, variables, workspace,
};
use super::app::App;
use super::auth::{Principal, Scope};
use super::console::api as login;
use super::doors;
use super::mcp;
use super::openai;
use super::problem::{Refusal, invalid};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever knows our name: what takes a credential in its body.
    Anyone,
    /// Whoever is known.
    Known,
    /// Whose token has this scope.
    Scope(Scope),
}

struct Route {
    method: &'static str,
    path: &'static str,
    access: Access,
    handler: fn() -> MethodRouter<Arc<App>>,
}

const READ: Access = Access::Scope(Scope::Read);
const PROMPT: Access = Access::Scope(Scope::Prompt);
const APPROVE: Access = Access::Scope(Scope::Approve);
const ADMIN: Access = Access::Scope(Scope::Admin);

macro_rules! routes {
    ($($method:ident $path:literal $access:expr => $handler:expr;)+) => {
        const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            access: $access,
            handler: || $method($handler),
        }),+];
    };
}

routes! {
    post "/v1/chat/completions" PROMPT => openai::complete;
    post "/v1/responses" PROMPT => openai::respond;
    get "/v1/responses/{id}" READ => openai::look_up;
    delete "/v1/responses/{id}" PROMPT => openai::forget;
    post "/v1/embeddings" PROMPT => openai::embed;
    get "/v1/models" Access::Known => openai::list;
    get "/v1/models/{model}" Access::Known => openai::show;
    post "/mcp" READ => mcp::post;
    get "/mcp" READ => mcp::get;
    delete "/mcp" READ => mcp::delete;
    get "/api/status" Access::Known => about::status;
    post "/api/login" Access::Anyone => login::open;
    get "/api/login" Access::Known => login::show;
    post "/api/login/code" Access::Known => login::offer;
    post "/api/logout" Access::Known => login::close;
    get "/api/log" ADMIN => about::log_filter;
    put "/api/log" ADMIN => about::set_log;
    get "/api/config" ADMIN => about::config;
    get "/api/openapi.json" Access::Known => about::openapi;
    get "/api/ws-schema.json" Access::Known => about::frames;
    get "/api/sessions" READ => sessions::list;
    post "/api/sessions" PROMPT => sessions::create;
    get "/api/sessions/{key}" READ => sessions::show;
    delete "/api/sessions/{key}" PROMPT => sessions::remove;
    post "/api/sessions/{key}/fork" PROMPT => sessions::fork;
    post "/api/sessions/{key}/replay" READ => sessions::replay;
    get "/api/sessions/{key}/diff" READ => workspace::diff;
    post "/api/sessions/{key}/undo" PROMPT => workspace::undo;
    post "/api/sessions/{key}/compact" PROMPT => compaction::compact;
    delete "/api/sessions/{key}/compact" PROMPT => compaction::undo;
    get "/api/sessions/{key}/events" READ => journal::events;
    get "/api/sessions/{key}/export" READ => journal::export;
    get "/api/sessions/{key}/artifacts/{digest}" READ => journal::artifact;
    get "/api/events" READ => inbox::follow;
    get "/api/variables" READ => variables::list;
    put "/api/variables/{name}" PROMPT => variables::set;
    delete "/api/variables/{name}" PROMPT => variables::remove;
    get "/api/secrets" READ => secrets::list;
    put "/api/secrets/{name}" APPROVE => secrets::set;
    delete "/api/secrets/{name}" APPROVE => secrets::remove;
    post "/api/secrets/rotate-key" ADMIN => secrets::rotate;
    get "/api/memory" READ => memory::list;
    post "/api/memory" PROMPT => memory::add;
    get "/api/memory/search" READ => memory::search;
    delete "/api/memory/{id}" PROMPT => memory::remove;
    get "/api/tools" READ => registry::tools;
    post "/api/tools" ADMIN => registry::add;
    get "/api/tools/{name}" READ => registry::tool;
    delete "/api/tools/{name}" ADMIN => registry::remove;
    post "/api/tools/{name}/call" PROMPT => registry::call;
    post "/api/registry/reload" ADMIN => registry::reload;
    get "/api/agents" READ => agents::list;
    get "/api/agents/{name}" READ => agents::show;
    get "/api/mcp" ADMIN => servers::list;
    post "/api/mcp/{name}" ADMIN => servers::consent;
    delete "/api/mcp/{name}" ADMIN => servers::remove;
    post "/api/mcp/{name}/examine" ADMIN => servers::examine;
    post "/api/mcp/{name}/login" ADMIN => logins::begin;
    delete "/api/mcp/{name}/login" ADMIN => logins::end;
    post "/api/mcp/{name}/login/finish" ADMIN => logins::finish;
    get "/api/models" READ => registry::models;
    get "/api/usage" READ => usage::show;
    get "/api/approvals" READ => approvals::list;
    post "/api/approvals/{key}/{approval}" APPROVE => approvals::answer;
    get "/api/tokens" Access::Known => tokens::list;
    post "/api/tokens" Access::Known => tokens::create;
    patch "/api/tokens/{id}" Access::Known => tokens::narrow;
    delete "/api/tokens/{id}" Access::Known => tokens::revoke;
    get "/api/accounts" ADMIN => accounts::list;
    post "/api/accounts" ADMIN => accounts::create;
    get "/api/accounts/{account}" ADMIN => accounts::show;
    patch "/api/accounts/{account}" ADMIN => accounts::change;
    delete "/api/accounts/{account}" ADMIN => accounts::remove;
    get "/api/audit/checkpoint" ADMIN => audit::checkpoint;
    get "/api/audit/checkpoints" ADMIN => audit::checkpoints;
    get "/api/audit/export" ADMIN => audit::export;
    get "/api/audit/prove" ADMIN => audit::prove;
    get "/api/audit/verify" ADMIN => audit::verify;
    get "/api/audit/vkey" ADMIN => audit::vkey;
    post "/api/audit/rotate-key" ADMIN => audit::rotate;
}

/// Method (upper case), path and access of every route, for tests and documents.
#[must_use]
pub fn table() -> Vec<(String, &'static str, Access)> {
    ROUTES.iter().map(|route| (route.method.to_uppercase(), route.path, route.access)).collect()
}

/// The router of everything behind the gate but the sockets.
pub(super) fn router(app: &Arc<App>) -> Router {
    let router = ROUTES.iter().fold(Router::new(), |router, route| {
        let (app, access) = (Arc::clone(app), route.access);
        let check = middleware::from_fn(move |request, next| guard(Arc::clone(&app), access, request, next));
        router.route(route.path, (route.handler)().route_layer(check))
    });
    router
        .fallback(doors::not_found)
        .method_not_allowed_fallback(|| async { doors::method_not_allowed() })
        .with_state(app.clone())
}

async fn guard(app: Arc<App>, access: Access, request: Request<Body>, next: Next) -> Response {
    let allowed = match (request.extensions().get::<Principal>(), access) {
        (Some(_), Access::Known) | (_, Access::Anyone) => Ok(()),
        (Some(principal), Access::Scope(scope)) => principal.require(scope),
        // Fails closed: the gate puts a principal on every request that comes here.
        (None, _) => Err(invalid("the request has no principal", "report this as a bug")),
    };
    match allowed {
        Ok(()) => next.run(request).await,
        Err(fault) => {
            access::refused(&app, &fault, None);
            Refusal::from(fault).into_response()
        }
    }
}

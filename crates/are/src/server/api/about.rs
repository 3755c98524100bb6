//! The server about itself: status, configuration, and its descriptions.

use std::sync::Arc;

use are_engine::engine::PolicyStanding;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{OpenApi, ToSchema};

use super::{Answer, Told, Who};
use crate::log;
use crate::server::app::App;
use crate::server::console::api as login;
use crate::server::problem::Problem;
use crate::server::{doors, mcp, openai, wire};

/// What runs: version, model, policy, what is off, whether it is ready.
#[utoipa::path(get, path = "/api/status", responses((status = 200, body = Value), (status = "default", body = Problem)))]
pub(in crate::server) async fn status(State(app): State<Arc<App>>, who: Who) -> Answer {
    let mut status = app.settings.status.clone();
    if let Value::Object(map) = &mut status {
        map.insert("ready".to_owned(), doors::ready(&app).is_ok().into());
        map.insert("sockets".to_owned(), app.sockets().into());
        map.insert("sessions_active".to_owned(), app.engine.sessions_active().into());
        if !app.engine.system_damage().is_empty() {
            map.insert("system_damage".to_owned(), app.engine.system_damage().into());
        }
        map.insert("policy".to_owned(), policy(&app.engine.policy()));
        map.insert("account".to_owned(), who.principal.account.as_str().into());
    }
    super::json(&status)
}

/// The rules in force, and why the files as they are now are not.
fn policy(standing: &PolicyStanding) -> Value {
    json!({
        "profile": standing.profile.as_str(),
        "digest": standing.digest,
        "files": standing.files,
        "keeps_rules": standing.keeps_rules,
        "refused": standing.refused,
    })
}

/// The effective configuration without secrets.
#[utoipa::path(get, path = "/api/config", responses((status = 200, body = Value), (status = "default", body = Problem)))]
pub(in crate::server) async fn config(State(app): State<Arc<App>>, _: Who) -> Answer {
    super::json(&app.settings.config)
}

/// What the server logs.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct LogFilter {
    /// A level such as `debug`, or levels by module: `are_engine=debug,warn`.
    filter: String,
}

/// The log's filter.
#[utoipa::path(get, path = "/api/log", responses((status = 200, body = LogFilter), (status = "default", body = Problem)))]
pub(in crate::server) async fn log_filter(_: Who) -> Answer {
    super::json(&LogFilter { filter: log::filter().unwrap_or_default() })
}

/// Has the log filtered otherwise, until the server ends.
#[utoipa::path(put, path = "/api/log", request_body = LogFilter, responses((status = 204), (status = "default", body = Problem)))]
pub(in crate::server) async fn set_log(who: Who, wish: Told<LogFilter>) -> Answer {
    let wish = wish.required()?;
    log::set_filter(&wish.filter)?;
    tracing::warn!(filter = wish.filter, account = %who.principal.account, "the log is filtered otherwise from here on");
    super::done()
}

/// This interface as OpenAPI.
#[utoipa::path(get, path = "/api/openapi.json", responses((status = 200, body = Value), (status = "default", body = Problem)))]
pub(in crate::server) async fn openapi(_: Who) -> Answer {
    super::json(&document())
}

/// The frames of the WebSocket as JSON Schema.
#[utoipa::path(get, path = "/api/ws-schema.json", responses((status = 200, body = Value), (status = "default", body = Problem)))]
pub(in crate::server) async fn frames(_: Who) -> Answer {
    super::json(&wire::ws_schema())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Agent Runtime Engine",
        description = "What the console and the command line do. Errors are problem documents (RFC 9457)."
    ),
    paths(
        status,
        config,
        log_filter,
        set_log,
        openapi,
        frames,
        login::open,
        login::show,
        login::offer,
        login::close,
        super::sessions::list,
        super::sessions::create,
        super::sessions::show,
        super::sessions::remove,
        super::sessions::fork,
        super::sessions::replay,
        super::workspace::diff,
        super::workspace::undo,
        super::compaction::compact,
        super::compaction::undo,
        super::journal::events,
        super::journal::export,
        super::journal::artifact,
        super::inbox::follow,
        super::usage::show,
        super::memory::list,
        super::memory::search,
        super::memory::add,
        super::memory::remove,
        super::secrets::list,
        super::secrets::set,
        super::secrets::remove,
        super::secrets::rotate,
        super::variables::list,
        super::variables::set,
        super::variables::remove,
        super::registry::tools,
        super::registry::tool,
        super::registry::add,
        super::registry::remove,
        super::registry::call,
        super::registry::reload,
        super::agents::list,
        super::agents::show,
        super::registry::models,
        super::servers::list,
        super::servers::examine,
        super::servers::consent,
        super::servers::remove,
        super::logins::begin,
        super::logins::finish,
        super::logins::end,
        super::approvals::list,
        super::approvals::answer,
        super::tokens::list,
        super::tokens::create,
        super::tokens::narrow,
        super::tokens::revoke,
        super::accounts::list,
        super::accounts::create,
        super::accounts::show,
        super::accounts::change,
        super::accounts::remove,
        openai::complete,
        openai::respond,
        openai::look_up,
        openai::forget,
        openai::embed,
        openai::list,
        openai::show,
        mcp::post,
        mcp::get,
        mcp::delete,
        super::audit::checkpoint,
        super::audit::checkpoints,
        super::audit::export,
        super::audit::prove,
        super::audit::verify,
        super::audit::vkey,
        super::audit::rotate,
    )
)]
struct Api;

fn document() -> Value {
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({"bearer": {"type": "http", "scheme": "bearer"}});
    document["security"] = json!([{"bearer": []}]);
    let items = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in items.filter_map(Value::as_object_mut).flat_map(|item| item.values_mut()) {
        name_refusals(operation);
    }
    name_widths(&mut document);
    document
}

/// Refusals are sent as problem documents, which the derived description takes for any JSON.
fn name_refusals(operation: &mut Value) {
    let Some(content) = operation.pointer_mut("/responses/default/content").and_then(Value::as_object_mut) else {
        return;
    };
    let is_problem = |content: &Value| content["schema"]["$ref"] == "#/components/schemas/Problem";
    if content.get("application/json").is_some_and(is_problem)
        && let Some(problem) = content.remove("application/json")
    {
        content.insert("application/problem+json".to_owned(), problem);
    }
}

/// Numbers without a sign are as wide as they are here; the derived description says half of it.
fn name_widths(value: &mut Value) {
    if value["minimum"] == 0 {
        match value["format"].as_str() {
            Some("int32") => value["format"] = json!("uint32"),
            Some("int64") => value["format"] = json!("uint64"),
            _ => {}
        }
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(name_widths),
        Value::Array(items) => items.iter_mut().for_each(name_widths),
        _ => {}
    }
}

//! Servers that tools come from: what they declare, the consent to it, how they stand.

use std::sync::Arc;

use are_core::digest::Digest;
use are_policy::tools::{Examined, ServerStanding, ServerWish, Shelved};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answer, Place, Told, Who, created, json};
use crate::server::app::App;
use crate::server::problem::{Problem, invalid};

/// The servers, and how they stand.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Servers {
    /// Name, what it is given, state, tools, tools that are not served any more, prompts.
    #[schema(value_type = Vec<serde_json::Value>)]
    servers: Vec<ServerStanding>,
}

/// The servers that were consented to.
#[utoipa::path(get, path = "/api/mcp", responses((status = 200, body = Servers), (status = "default", body = Problem)))]
pub(in crate::server) async fn list(State(app): State<Arc<App>>, _: Who) -> Answer {
    json(&Servers { servers: app.engine.servers() })
}

/// A server to look at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Wish {
    /// How it is started or reached, as an entry of `mcpServers`; absent, as it was consented to before.
    #[schema(value_type = Option<serde_json::Value>)]
    server: Option<serde_json::Value>,
    /// The manifest to lie beside it.
    manifest: Option<String>,
}

/// What a server declares.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct DeclaredTool {
    /// Digest to consent to, what it is given, its tools with effect, retry and state, what is refused, what is gone.
    #[schema(value_type = serde_json::Value)]
    #[serde(flatten)]
    examined: Examined,
}

/// Starts or reaches a server and tells what it declares; nothing of it is served by that.
#[utoipa::path(post, path = "/api/mcp/{name}/examine", params(("name" = String, Path)), request_body = Wish, responses((status = 200, body = DeclaredTool), (status = "default", body = Problem)))]
pub(in crate::server) async fn examine(
    State(app): State<Arc<App>>,
    who: Who,
    Place(name): Place<String>,
    told: Told<Wish>,
) -> Answer {
    let Wish { server, manifest } = told.required()?;
    let wish = ServerWish { name, server: server.map(|server| server.to_string()), manifest };
    json(&DeclaredTool { examined: app.engine.examine_server(&who.caller, wish).await? })
}

/// A consent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Consent {
    /// Digest of what was shown.
    #[schema(value_type = String)]
    digest: Digest,
}

/// What a consent brought.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Served {
    /// Names of its tools.
    tools: Vec<String>,
    /// Digest of the set that is served now.
    digest: String,
}

/// Serves what a server declared when it was examined last.
#[utoipa::path(post, path = "/api/mcp/{name}", params(("name" = String, Path)), request_body = Consent, responses((status = 201, body = Served), (status = "default", body = Problem)))]
pub(in crate::server) async fn consent(
    State(app): State<Arc<App>>,
    who: Who,
    Place(name): Place<String>,
    told: Told<Consent>,
) -> Answer {
    let Consent { digest } = told.required()?;
    let tools = match app.engine.consent_to_server(&who.caller, &name, digest).await? {
        Shelved::Written { tools } => tools.iter().map(ToString::to_string).collect(),
        Shelved::Same => Vec::new(),
        // It replaces whatever is there.
        Shelved::Differs { .. } => return Err(invalid("the server was not replaced", "report this as a bug").into()),
    };
    created(&Served { tools, digest: app.engine.tools().digest().to_string() })
}

/// What was removed.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Gone {
    file: String,
}

/// Removes a server with its tools.
#[utoipa::path(delete, path = "/api/mcp/{name}", params(("name" = String, Path)), responses((status = 200, body = Gone), (status = "default", body = Problem)))]
pub(in crate::server) async fn remove(State(app): State<Arc<App>>, who: Who, Place(name): Place<String>) -> Answer {
    json(&Gone { file: app.engine.remove_tool(&who.caller, format!("{name}.mcp")).await? })
}

//! What there is to call: tools and models.

use std::sync::Arc;

use are_core::body::{Effect, Retry};
use are_core::digest::Digest;
use are_core::error::{Code, Fault};
use are_core::model::ModelInfo;
use are_policy::manifest::{Lane, Manifest};
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Place, Who, json};
use crate::server::app::App;
use crate::server::problem::Problem;

/// A tool in a list.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Tool {
    name: String,
    description: String,
    #[schema(value_type = String)]
    lane: Lane,
    /// The worst it does.
    #[schema(value_type = String)]
    effect: Effect,
    #[schema(value_type = String)]
    retry: Retry,
    /// Digest of the declaration; what an approval holds for.
    digest: String,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Tools {
    tools: Vec<Tool>,
}

fn listed((manifest, digest): (&Manifest, Digest)) -> Tool {
    Tool {
        name: manifest.name.to_string(),
        description: manifest.description.clone(),
        lane: manifest.lane,
        effect: manifest.effect,
        retry: manifest.retry,
        digest: digest.to_string(),
    }
}

/// The tools served now.
#[utoipa::path(get, path = "/api/tools", responses((status = 200, body = Tools), (status = "default", body = Problem)))]
pub(in crate::server) async fn tools(State(app): State<Arc<App>>, _: Who) -> Answer {
    json(&Tools { tools: app.engine.tools().iter().map(listed).collect() })
}

/// A tool's whole declaration.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Declared {
    digest: String,
    /// The manifest.
    #[schema(value_type = serde_json::Value)]
    manifest: Manifest,
}

/// One tool.
#[utoipa::path(get, path = "/api/tools/{name}", params(("name" = String, Path)), responses((status = 200, body = Declared), (status = "default", body = Problem)))]
pub(in crate::server) async fn tool(State(app): State<Arc<App>>, _: Who, Place(name): Place<String>) -> Answer {
    let tools = app.engine.tools();
    let found =
        tools.get(&name).map(|(manifest, digest)| Declared { digest: digest.to_string(), manifest: manifest.clone() });
    json(&found.ok_or_else(|| {
        Fault::new(Code::TOOL_UNKNOWN, "there is no such tool", "`are tool list` shows what there is")
    })?)
}

/// A model.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Model {
    /// `provider:model`.
    name: String,
    context_tokens: u64,
    output_tokens: u64,
    /// False where the model refuses a temperature.
    takes_temperature: bool,
    /// True when nothing leaves the machine.
    is_local: bool,
}

impl From<ModelInfo> for Model {
    fn from(info: ModelInfo) -> Self {
        let ModelInfo { name, context_tokens, output_tokens, takes_temperature, is_local, .. } = info;
        Self { name, context_tokens, output_tokens, takes_temperature, is_local }
    }
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct ModelList {
    models: Vec<Model>,
}

/// Models that can be called now.
#[utoipa::path(get, path = "/api/models", responses((status = 200, body = ModelList), (status = "default", body = Problem)))]
pub(in crate::server) async fn models(State(app): State<Arc<App>>, _: Who) -> Answer {
    json(&ModelList { models: app.engine.models().into_iter().map(Model::from).collect() })
}

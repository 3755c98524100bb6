//! The models that a request can name.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_engine::engine::LEXICAL;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Wrong;
use crate::server::api::{Place, Who, json};
use crate::server::app::App;
use crate::server::problem::Refusal;

/// Stands for the server's default model.
pub(super) const DEFAULT: &str = "are";

/// A model as these doors list it.
#[derive(Serialize, ToSchema)]
struct CallableModel {
    id: String,
    object: &'static str,
    /// Not known here: always 0.
    created: u64,
    owned_by: String,
}

/// The models.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct CallableModels {
    object: &'static str,
    data: Vec<CallableModel>,
}

fn listed(app: &App) -> Vec<CallableModel> {
    let one = |id: &str, owned_by: &str| CallableModel {
        id: id.to_owned(),
        object: "model",
        created: 0,
        owned_by: owned_by.to_owned(),
    };
    let models = app.engine.models();
    let named = models.iter().map(|model| one(&model.name, model.name.split(':').next().unwrap_or_default()));
    [one(DEFAULT, "are")].into_iter().chain(named).chain([one(LEXICAL, "are")]).collect()
}

/// The engine's wish for a model that a request names.
pub(super) fn inner(model: String) -> Option<String> {
    (model != DEFAULT).then_some(model)
}

/// Models as OpenAI lists them: `are` for the default one, `provider:model`, and `are-lexical` for embeddings.
#[utoipa::path(get, path = "/v1/models", responses((status = 200, body = CallableModels), (status = "default", body = Value)))]
pub(in crate::server) async fn list(State(app): State<Arc<App>>, _: Who) -> Result<Response, Refusal> {
    json(&CallableModels { object: "list", data: listed(&app) })
}

/// One of them.
#[utoipa::path(get, path = "/v1/models/{model}", params(("model" = String, Path)), responses((status = 200, body = Value), (status = "default", body = Value)))]
pub(in crate::server) async fn show(
    State(app): State<Arc<App>>,
    _: Who,
    Place(model): Place<String>,
) -> Result<Response, Wrong> {
    match listed(&app).into_iter().find(|one| one.id == model) {
        Some(one) => json(&one).map_err(|refusal| refusal.fault().clone().into()),
        None => {
            let shown: String = model.chars().take(64).collect();
            let help = "`GET /v1/models` lists those there are";
            Err(Fault::new(Code::MODEL_UNKNOWN, format!("there is no model `{shown}`"), help).into())
        }
    }
}

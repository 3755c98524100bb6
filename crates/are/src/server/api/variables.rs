//! Variables of a session or an account.

use std::sync::Arc;

use are_core::body::Scope;
use are_core::error::Fault;
use are_core::ids::SessionKey;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{Answer, Params, Place, Told, Who, done, json, parsed, session, stored};
use crate::server::app::App;
use crate::server::problem::Problem;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct Whose {
    /// A session's own variables; the account's when absent.
    session: Option<String>,
}

impl Whose {
    fn key(&self) -> Result<Option<SessionKey>, Fault> {
        self.session.as_deref().map(session).transpose()
    }
}

/// A variable.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Variable {
    /// `session` or `account`.
    #[schema(value_type = String)]
    scope: Scope,
    name: String,
    value: Value,
    /// Labels of its leaves by JSON pointer.
    labels: Value,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Variables {
    variables: Vec<Variable>,
}

/// The account's variables, and a session's own before them when one is named.
#[utoipa::path(get, path = "/api/variables", params(Whose), responses((status = 200, body = Variables), (status = "default", body = Problem)))]
pub(in crate::server) async fn list(State(app): State<Arc<App>>, who: Who, Params(whose): Params<Whose>) -> Answer {
    let rows = app.engine.variables(&who.caller, whose.key()?).await?;
    let variable = |row: are_core::store::VariableRow| Variable {
        scope: row.scope,
        name: row.name.to_string(),
        value: stored(&row.value),
        labels: stored(&row.labels),
    };
    json(&Variables { variables: rows.into_iter().map(variable).collect() })
}

/// Sets a variable to the body's JSON value.
#[utoipa::path(put, path = "/api/variables/{name}", params(("name" = String, Path), Whose), request_body = Value, responses((status = 204), (status = "default", body = Problem)))]
pub(in crate::server) async fn set(
    State(app): State<Arc<App>>,
    who: Who,
    Place(name): Place<String>,
    Params(whose): Params<Whose>,
    value: Told<Value>,
) -> Answer {
    app.engine.set_variable(&who.caller, whose.key()?, parsed(&name)?, Some(value.required()?)).await?;
    done()
}

/// Deletes a variable.
#[utoipa::path(delete, path = "/api/variables/{name}", params(("name" = String, Path), Whose), responses((status = 204), (status = "default", body = Problem)))]
pub(in crate::server) async fn remove(
    State(app): State<Arc<App>>,
    who: Who,
    Place(name): Place<String>,
    Params(whose): Params<Whose>,
) -> Answer {
    app.engine.set_variable(&who.caller, whose.key()?, parsed(&name)?, None).await?;
    done()
}

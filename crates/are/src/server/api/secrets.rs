//! The caller's secrets: names and where they may go, never values.
//!
//! A body that holds a value is never repeated, however wrong it is.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_core::ids::SecretName;
use are_engine::engine::SecretView;
use are_policy::secrets::BoundTo;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{Answer, Place, Told, Who, done, json, parsed};
use crate::server::app::App;
use crate::server::problem::{Problem, invalid};

/// A secret without its value.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Secret {
    name: String,
    /// Hosts that it may be sent to.
    hosts: Vec<String>,
    /// Tools that are given its value.
    tools: Vec<String>,
    /// Id of the key that seals it.
    key: String,
    /// False while that key is missing.
    is_readable: bool,
    created_at_ms: u64,
    updated_at_ms: u64,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Secrets {
    secrets: Vec<Secret>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct NewSecret {
    /// 8 to 8,192 bytes.
    value: String,
    /// Hosts that it may be sent to, over https: `example.com`, `example.com:8443`, `*.example.com`.
    #[serde(default)]
    hosts: Vec<String>,
    /// Tools that are given its value.
    #[serde(default)]
    tools: Vec<String>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Rotation {
    /// Also makes a new master key, where it is kept in a file of the data directory.
    #[serde(default)]
    master: bool,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct Rotated {
    /// Id of the key that seals the secrets of all accounts from here on.
    key: String,
    /// Id of the master key that seals that one.
    master: String,
    /// Secrets that were sealed anew.
    secrets: usize,
    /// Secrets that do not open, and stay under their old key.
    left: usize,
}

/// The account's secrets, by name.
#[utoipa::path(get, path = "/api/secrets", responses((status = 200, body = Secrets), (status = "default", body = Problem)))]
pub(in crate::server) async fn list(State(app): State<Arc<App>>, who: Who) -> Answer {
    let secret = |view: SecretView| Secret {
        name: view.name,
        hosts: view.bound_to.hosts,
        tools: view.bound_to.tools.iter().map(ToString::to_string).collect(),
        key: view.key,
        is_readable: view.is_readable,
        created_at_ms: view.created_at_ms,
        updated_at_ms: view.updated_at_ms,
    };
    json(&Secrets { secrets: app.engine.secrets(&who.caller).into_iter().map(secret).collect() })
}

/// Sets a secret, anew or in place of the one of that name.
#[utoipa::path(put, path = "/api/secrets/{name}", params(("name" = String, Path)), request_body = NewSecret, responses((status = 204), (status = "default", body = Problem)))]
pub(in crate::server) async fn set(
    State(app): State<Arc<App>>,
    who: Who,
    Place(name): Place<String>,
    body: Told<serde_json::Value>,
) -> Answer {
    // SECURITY: what the reader says of a wrong field repeats it, and it may be the value.
    let new: Option<NewSecret> =
        Some(body.required()?).filter(serde_json::Value::is_object).and_then(|body| serde_json::from_value(body).ok());
    let help = "send `{\"value\": TEXT, \"hosts\": [TEXT], \"tools\": [TEXT]}`";
    let new = new.ok_or_else(|| invalid("the body is not as it should be", help))?;
    let value = Zeroizing::new(new.value);
    let bound_to = BoundTo::read(&new.hosts, &new.tools)?;
    app.engine.set_secret(&who.caller, parsed(&name)?, value, bound_to).await?;
    done()
}

/// Deletes a secret.
#[utoipa::path(delete, path = "/api/secrets/{name}", params(("name" = String, Path)), responses((status = 204), (status = "default", body = Problem)))]
pub(in crate::server) async fn remove(State(app): State<Arc<App>>, who: Who, Place(name): Place<String>) -> Answer {
    // What is no name is no secret's.
    let name = name.parse::<SecretName>().map_err(|_| {
        Fault::new(Code::SECRET_UNKNOWN, "there is no such secret", "`are secret list` shows those there are")
    })?;
    app.engine.delete_secret(&who.caller, name).await?;
    done()
}

/// Seals the secrets of all accounts anew.
#[utoipa::path(post, path = "/api/secrets/rotate-key", request_body = Option<Rotation>, responses((status = 200, body = Rotated), (status = "default", body = Problem)))]
pub(in crate::server) async fn rotate(State(app): State<Arc<App>>, who: Who, wish: Told<Rotation>) -> Answer {
    let wish = wish.0.unwrap_or_default();
    let rotated = app.engine.rotate_secrets(&who.caller, wish.master).await?;
    json(&Rotated { key: rotated.key, master: rotated.master, secrets: rotated.secrets, left: rotated.left })
}

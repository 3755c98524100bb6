//! Logins at servers of tools, in two steps, so that the person and their browser can be elsewhere.
//!
//! What comes back from the browser holds a code: it is never repeated, however wrong it is.

use std::sync::Arc;

use are_policy::logins::{LoggedIn, LoginBegun, LoginClient, LoginWish};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answer, Place, Told, Who, json, parsed};
use crate::server::app::App;
use crate::server::named;
use crate::server::problem::{Problem, invalid};

/// A login to begin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct ServerLogin {
    /// How the server is reached, as an entry of `mcpServers`; absent, as it was consented to.
    #[schema(value_type = Option<serde_json::Value>)]
    server: Option<serde_json::Value>,
    /// Where the browser is sent once the person has agreed: on loopback, or over https.
    redirect_uri: String,
    /// What the login is to be allowed to do; absent, what the server asks for.
    #[serde(default)]
    scopes: Vec<String>,
    /// Id of this program there; absent, it registers.
    client_id: Option<String>,
    /// Name of the stored secret that goes with it.
    client_secret: Option<String>,
}

/// A login that waits for a person.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct ServerLoginBegun {
    /// `url` to open, `state` that comes back with the answer, `scopes`, `expires_in_ms`.
    #[schema(value_type = serde_json::Value)]
    #[serde(flatten)]
    begun: LoginBegun,
}

/// Finds out where to log in at a server, and begins.
#[utoipa::path(post, path = "/api/mcp/{name}/login", params(("name" = String, Path)), request_body = ServerLogin, responses((status = 200, body = ServerLoginBegun), (status = "default", body = Problem)))]
pub(in crate::server) async fn begin(
    State(app): State<Arc<App>>,
    who: Who,
    Place(name): Place<String>,
    told: Told<ServerLogin>,
) -> Answer {
    let ServerLogin { server, redirect_uri, scopes, client_id, client_secret } = told.required()?;
    let secret = client_secret.map(|name| parsed(&name)).transpose()?;
    let client = match (client_id, secret) {
        (Some(id), secret) => Some(LoginClient { id, secret }),
        (None, None) => None,
        (None, Some(_)) => return Err(invalid("a client's secret goes with its id", "send `client_id` too").into()),
    };
    let wish = LoginWish { name, server: server.map(|server| server.to_string()), redirect_uri, scopes, client };
    json(&ServerLoginBegun { begun: app.engine.begin_login(&who.caller, wish).await? })
}

/// The address that a browser was sent to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct ServerLoginAnswer {
    callback: String,
}

/// A login that holds.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct ServerLoggedIn {
    /// `scopes`, `expires_in_ms`, and whether it `renews` itself.
    #[schema(value_type = serde_json::Value)]
    #[serde(flatten)]
    logged_in: LoggedIn,
}

/// Ends the login that was begun last at a server.
#[utoipa::path(post, path = "/api/mcp/{name}/login/finish", params(("name" = String, Path)), request_body = ServerLoginAnswer, responses((status = 200, body = ServerLoggedIn), (status = "default", body = Problem)))]
pub(in crate::server) async fn finish(
    State(app): State<Arc<App>>,
    who: Who,
    Place(name): Place<String>,
    body: Told<serde_json::Value>,
) -> Answer {
    // SECURITY: what the reader says of a wrong field repeats it.
    let answer: Option<ServerLoginAnswer> = named::read(body.required()?).ok();
    let help = "send `{\"callback\": \"http…\"}`, the whole address that the browser was sent to";
    let answer = answer.ok_or_else(|| invalid("the body is not as it should be", help))?;
    json(&ServerLoggedIn { logged_in: app.engine.finish_login(&who.caller, name, answer.callback).await? })
}

/// What became of a login.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct ServerLoginEnded {
    /// False when there was none.
    ended: bool,
}

/// Forgets the login at a server.
#[utoipa::path(delete, path = "/api/mcp/{name}/login", params(("name" = String, Path)), responses((status = 200, body = ServerLoginEnded), (status = "default", body = Problem)))]
pub(in crate::server) async fn end(State(app): State<Arc<App>>, who: Who, Place(name): Place<String>) -> Answer {
    json(&ServerLoginEnded { ended: app.engine.end_login(&who.caller, name).await? })
}

//! Tokens: listed, made, revoked. Without `admin` only those of the own account.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_core::ids::AccountId;
use are_core::store::TokenRow;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answer, Place, Told, Who, created, done, json};
use crate::server::app::App;
use crate::server::auth::{Minted, Scope, Scopes, Tokens, Wish};
use crate::server::problem::{Problem, invalid};

/// Bytes of a token's label.
const LABEL_BYTES_MAX: usize = 128;

/// A token without its secret.
#[derive(Serialize, ToSchema)]
pub(in crate::server) struct TokenListed {
    id: String,
    label: String,
    account: String,
    scopes: Vec<String>,
    created_at_ms: u64,
    is_revoked: bool,
    /// Id of the token that made it, with which it is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct TokenList {
    tokens: Vec<TokenListed>,
}

fn is_visible(who: &Who, row: &TokenRow) -> bool {
    row.account == who.principal.account || who.principal.scopes.allow(Scope::Admin)
}

/// Tokens, revoked ones too.
#[utoipa::path(get, path = "/api/tokens", responses((status = 200, body = TokenList), (status = "default", body = Problem)))]
pub(in crate::server) async fn list(State(app): State<Arc<App>>, who: Who) -> Answer {
    let rows = app.engine.tokens().await?;
    let listed = |row: TokenRow| TokenListed {
        id: row.id,
        label: row.label,
        account: row.account.to_string(),
        scopes: row.scopes.split(',').map(str::to_owned).collect(),
        created_at_ms: row.created_at_ms,
        is_revoked: row.is_revoked,
        parent: row.parent,
    };
    json(&TokenList { tokens: rows.into_iter().filter(|row| is_visible(&who, row)).map(listed).collect() })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct TokenWanted {
    /// For people.
    #[serde(default)]
    label: String,
    /// At most the maker's own.
    scopes: Vec<Scope>,
    /// Another account; needs `admin`.
    #[schema(value_type = Option<String>)]
    account: Option<AccountId>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::server) struct TokenMade {
    id: String,
    /// The token; it is not shown again.
    token: String,
}

/// Makes a token.
#[utoipa::path(post, path = "/api/tokens", request_body = TokenWanted, responses((status = 201, body = TokenMade), (status = "default", body = Problem)))]
pub(in crate::server) async fn create(State(app): State<Arc<App>>, who: Who, told: Told<TokenWanted>) -> Answer {
    let TokenWanted { label, scopes, account } = told.required()?;
    if label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
        return Err(invalid("the label is too long or holds control characters", "shorten it").into());
    }
    let clock = &app.settings.clock;
    let Minted { row, text } =
        Tokens::mint(&who.principal, Wish { account, scopes, label }, &clock.random(), clock.now_ms())?;
    app.engine.create_token(&who.caller, row.clone()).await?;
    let id = row.id.clone();
    if !app.tokens.insert(row) {
        // The maker was revoked meanwhile, and what it made goes with it.
        app.engine.revoke_token(&who.caller, &id).await?;
        return Err(Fault::new(Code::CREDENTIAL_INVALID, "the token was revoked", "use one that is good").into());
    }
    created(&TokenMade { id, token: text })
}

/// Revokes a token and those made with it, and closes what they opened.
#[utoipa::path(delete, path = "/api/tokens/{id}", params(("id" = String, Path)), responses((status = 204), (status = "default", body = Problem)))]
pub(in crate::server) async fn revoke(State(app): State<Arc<App>>, who: Who, Place(id): Place<String>) -> Answer {
    let rows = app.engine.tokens().await?;
    if !rows.iter().any(|row| row.id == id && is_visible(&who, row)) {
        return Err(Fault::new(Code::TOKEN_UNKNOWN, "there is no such token", "`are token list` shows them").into());
    }
    if rows.iter().any(|row| row.id == id && !who.principal.scopes.contain(Scopes::parse(&row.scopes))) {
        let message = "this token has scopes that yours lacks";
        return Err(Fault::new(Code::SCOPE_MISSING, message, "revoke it with a token that has them").into());
    }
    app.engine.revoke_token(&who.caller, &id).await?;
    app.tokens.revoke(&id);
    done()
}

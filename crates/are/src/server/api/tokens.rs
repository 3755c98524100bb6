//! Tokens: listed, made, revoked. Without `admin` only those of the own account.

use std::sync::Arc;

use are_core::error::{Code, Fault};
use are_core::ids::{AccountId, GroupName};
use are_core::store::TokenRow;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accounts::unknown as unknown_account;
use super::{Answer, Place, Told, Who, created, done, json};
use crate::server::app::App;
use crate::server::auth::{Minted, Reach, Scope, Scopes, Wish, names};
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
    /// For whom it may speak beside its owner: `group:NAME` and `account:NAME`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    speaks_for: Vec<String>,
    /// When it ends, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
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
        speaks_for: row.speaks_for.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect(),
        expires_at_ms: row.expires_at_ms,
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
    /// With the scope `delegate`: groups for whose accounts it may speak, of the maker's own list unless that is an
    /// administrator's.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    for_groups: Vec<GroupName>,
    /// With the scope `delegate`: single accounts for which it may speak.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    for_accounts: Vec<AccountId>,
    /// When it ends, in milliseconds since 1970; with its maker when absent.
    expires_at_ms: Option<u64>,
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
    let TokenWanted { label, scopes, account, for_groups, for_accounts, expires_at_ms } = told.required()?;
    if label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
        return Err(invalid("the label is too long or holds control characters", "shorten it").into());
    }
    let clock = &app.settings.clock;
    let named: Vec<_> = account.iter().chain(&for_accounts).cloned().collect();
    let reach = Reach::new(for_groups, for_accounts)?;
    let wish = Wish { account, scopes, label, reach, expires_at_ms };
    let Minted { row, text } = app.tokens.mint(&who.principal, wish, &clock.random(), clock.now_ms())?;
    // Only now: whoever may not name an account does not learn whether there is one.
    if named.iter().any(|name| app.engine.account(name).is_none()) {
        return Err(unknown_account().into());
    }
    app.engine.create_token(&who.caller, row.clone()).await?;
    let id = row.id.clone();
    if !app.tokens.insert(&row) {
        // The maker was revoked meanwhile, and what it made goes with it.
        app.engine.revoke_token(&who.caller, &id).await?;
        return Err(Fault::new(Code::CREDENTIAL_INVALID, "the token was revoked", "use one that is good").into());
    }
    created(&TokenMade { id, token: text })
}

/// What a token may still do.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Narrowed {
    /// Some of those it has.
    scopes: Vec<Scope>,
}

/// Takes scopes from a token, and closes what it and those made with it opened.
#[utoipa::path(patch, path = "/api/tokens/{id}", params(("id" = String, Path)), request_body = Narrowed, responses((status = 204), (status = "default", body = Problem)))]
pub(in crate::server) async fn narrow(
    State(app): State<Arc<App>>,
    who: Who,
    Place(id): Place<String>,
    told: Told<Narrowed>,
) -> Answer {
    let Narrowed { scopes } = told.required()?;
    let row = touchable(&app, &who, &id).await?;
    let (before, after) = (Scopes::parse(&row.scopes), Scopes::of(scopes.iter().copied()));
    if scopes.is_empty() || before.and(after) != after {
        return Err(invalid("a token keeps some of the scopes that it has", "name them, or revoke the token").into());
    }
    app.engine.narrow_token(&who.caller, &id, names(&scopes)).await?;
    app.tokens.narrow(&id, after);
    done()
}

/// A token that the caller may take something from.
async fn touchable(app: &App, who: &Who, id: &str) -> Result<TokenRow, Fault> {
    let rows = app.engine.tokens().await?;
    let row = rows.into_iter().find(|row| row.id == id && is_visible(who, row));
    let row =
        row.ok_or_else(|| Fault::new(Code::TOKEN_UNKNOWN, "there is no such token", "`are token list` shows them"))?;
    let message = if who.principal.via.is_some() {
        "one that speaks for another account does not touch its tokens"
    } else if !who.principal.scopes.contain(Scopes::parse(&row.scopes)) {
        "this token has scopes that yours lacks"
    } else {
        return Ok(row);
    };
    Err(Fault::new(Code::SCOPE_MISSING, message, "do it with a token of the account that has them"))
}

/// Revokes a token and those made with it, and closes what they opened.
#[utoipa::path(delete, path = "/api/tokens/{id}", params(("id" = String, Path)), responses((status = 204), (status = "default", body = Problem)))]
pub(in crate::server) async fn revoke(State(app): State<Arc<App>>, who: Who, Place(id): Place<String>) -> Answer {
    touchable(&app, &who, &id).await?;
    app.engine.revoke_token(&who.caller, &id).await?;
    app.tokens.revoke(&id);
    done()
}
